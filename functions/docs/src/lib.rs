//! `GET /docs`, `GET /docs/{page+}`, `GET /docs/openapi.json`, `GET /docs/admin`, `GET /docs/openapi-admin.json`,
//! `GET /docs/assets/{file}`: the interactive documentation (Swagger UI) and the OpenAPI documents.
//!
//! All of it is built in: the function reads no table, and the page loads nothing from elsewhere.

use lambda_http::{Request, RequestExt};
use shared::error::ApiError;
use shared::files::File;
use shared::http::{self, Answer, Envelope, Response};

/// Scripts and styles are files of this function; images are icons within the style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Answers one request.
pub async fn handle(request: Request) -> Response {
    http::respond(Envelope::Platform, &request, answer)
}

fn answer(request: &Request) -> Result<Answer, ApiError> {
    let parameters = request.path_parameters();
    let asset = parameters.first("file").map(|name| format!("assets/{name}"));
    let name = match http::route(request) {
        "GET /docs" => "page",
        // API Gateway has no route that ends in a slash.
        "GET /docs/{page+}" if http::rest(request, "page").is_empty() => "page",
        route => asset.as_deref().or(route.strip_prefix("GET /docs/")).unwrap_or_default(),
    };
    let file = File::find(FILES, name).ok_or(ApiError::NotFound("There is no such file"))?;
    Ok(file
        .answer(request.headers())?
        .header("cache-control", "public, max-age=300")
        .header("content-security-policy", POLICY)
        .header("referrer-policy", "no-referrer")
        .header("x-content-type-options", "nosniff"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_whole() {
        for file in FILES {
            assert!(file.plain().unwrap().len() > 100, "{}", file.name());
        }
        assert_eq!(FILES.len(), 8);
    }
}
