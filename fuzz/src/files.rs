//! Files of the documentation and of the console: an event of API Gateway through their handlers, which have no
//! DynamoDB.

use crate::choice;
use crate::event::possible;
use flate2::read::GzDecoder;
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Request};
use serde_json::Value;
use std::io::Read;
use std::sync::{Arc, LazyLock};

static CONSOLE: LazyLock<Arc<console::Console>> =
    LazyLock::new(|| Arc::new(console::Console::from_lookup(|_| None).expect("settings")));

/// Runs one input: the first byte picks the function, the rest is the event.
pub fn run(data: &[u8]) {
    let Some((picked, event)) = choice(data, 2) else { return };
    let Ok(event) = serde_json::from_slice::<Value>(event) else { return };
    let Some(event) = possible(event) else { return };
    let Ok(mut request) = serde_json::from_str::<LambdaRequest>(&event.to_string()) else { return };
    shared::http::encode_query(&mut request);
    let request = Request::from(request);
    let asked = request.headers().clone();
    let names = |header: &str, known: &[&str]| {
        let values = asked.get_all(header).iter();
        let elements = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        elements.map(str::to_lowercase).any(|element| known.iter().any(|known| element.contains(known)))
    };

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let response = runtime.block_on(async {
        match picked {
            0 => docs::handle(request).await,
            _ => console::handle(CONSOLE.clone(), request).await,
        }
    });
    let (status, headers, body) = (response.status().as_u16(), response.headers(), response.body());
    let shown = format!("{status} {headers:?} of {event}");
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let body = match body {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes,
        _ => &[],
    };

    let is_whole = picked == 1 || status < 400;
    assert!(header("content-security-policy").is_some() == is_whole, "{shown}");
    assert!(header("cache-control").is_some() == is_whole, "{shown}");
    match status {
        200 if header("content-encoding").is_some() => {
            assert_eq!(header("content-encoding"), Some("gzip"), "{shown}");
            assert!(names("accept-encoding", &["gzip", "*"]), "{shown}");
            let mut plain = Vec::new();
            GzDecoder::new(body).read_to_end(&mut plain).unwrap_or_else(|_| panic!("damaged: {shown}"));
            assert!(!plain.is_empty() && plain != body, "{shown}");
        }
        200 => assert!(!body.is_empty() && !body.starts_with(b"\x1f\x8b"), "{shown}"),
        304 => assert!(body.is_empty() && names("if-none-match", &[&tag(header("etag")), "*"]), "{shown}"),
        404 => {
            let answer: Value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("no JSON: {shown}"));
            assert_eq!(answer["statusCode"], 404, "{shown}");
            assert_eq!(answer["message"], "There is no such file", "{shown}");
        }
        _ => panic!("an answer that is none of these functions': {shown}"),
    }
}

/// A tag without the mark of a weak one, as headers are compared here.
fn tag(tag: Option<&str>) -> String {
    tag.expect("a tag").trim_start_matches("W/").to_lowercase()
}
