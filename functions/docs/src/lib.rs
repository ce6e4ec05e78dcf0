//! `GET /docs`, `GET /docs/`, `GET /docs/openapi.json`, `GET /docs/admin`, `GET /docs/openapi-admin.json`,
//! `GET /docs/assets/{file}`: the interactive documentation (Swagger UI) and the OpenAPI documents.
//!
//! All of it is built in: the function reads no table, and the page loads nothing from elsewhere.

use flate2::read::GzDecoder;
use lambda_http::http::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, IF_NONE_MATCH};
use lambda_http::{Request, RequestExt};
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Response};
use shared::store::StoreError;
use std::io::Read;

/// Scripts and styles are files of this function; images are icons within the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A file as it is built in.
struct File {
    name: &'static str,
    content_type: &'static str,
    tag: &'static str,
    compressed: &'static [u8],
}

const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Answers one request.
pub async fn handle(request: Request) -> Response {
    http::respond(Envelope::Platform, &request, answer)
}

fn answer(request: &Request) -> Result<Answer, ApiError> {
    let parameters = request.path_parameters();
    let asset = parameters.first("file").map(|name| format!("assets/{name}"));
    let name = match http::route(request) {
        "GET /docs" | "GET /docs/" => "page",
        route => asset.as_deref().or(route.strip_prefix("GET /docs/")).unwrap_or_default(),
    };
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Err(ApiError::NotFound("There is no such file"));
    };
    let headers = request.headers();
    let answer = if is_named(headers, file.tag) {
        Answer::unchanged()
    } else if lists(headers, &ACCEPT_ENCODING, accepts_gzip) {
        Answer::bytes(200, file.content_type, file.compressed.to_vec()).header("content-encoding", "gzip")
    } else {
        let mut plain = Vec::new();
        let read = GzDecoder::new(file.compressed).read_to_end(&mut plain);
        read.map_err(|_| StoreError::malformed("file"))?;
        Answer::bytes(200, file.content_type, plain)
    };
    Ok(answer
        .header("etag", file.tag)
        .header("cache-control", "public, max-age=300")
        .header("vary", "accept-encoding")
        .header("content-security-policy", POLICY)
        .header("referrer-policy", "no-referrer")
        .header("x-content-type-options", "nosniff"))
}

fn is_named(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    lists(headers, &IF_NONE_MATCH, |listed| listed == "*" || bare(listed) == bare(tag))
}

/// Whether one of a header's comma-separated elements is such.
fn lists(headers: &HeaderMap, name: &HeaderName, is_such: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|element| is_such(element.trim()))
}

fn accepts_gzip(element: &str) -> bool {
    let (coding, weight) = element.split_once(';').unwrap_or((element, "q=1"));
    let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
    ["gzip", "x-gzip", "*"].contains(&coding.trim().to_ascii_lowercase().as_str())
        && weight.is_none_or(|q| q > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_accepted_where_it_is_listed_with_a_weight_above_zero() {
        for (element, expected) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("gzip; q=1.0", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("br", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(element), expected, "{element}");
        }
    }

    #[test]
    fn every_file_is_whole() {
        for file in FILES {
            let mut plain = Vec::new();
            GzDecoder::new(file.compressed).read_to_end(&mut plain).unwrap();
            assert!(plain.len() > 100, "{}", file.name);
        }
        assert_eq!(FILES.len(), 8);
    }
}
