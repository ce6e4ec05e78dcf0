//! `POST /api/public/buckets/{bucketId}/{affiliateID}/leads` (CONTRACT.md, section 2).

use lambda_http::{Request, RequestExt};
use shared::App;
use shared::http::Response;
use shared::leads::Path;
use std::sync::Arc;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let parameters = request.path_parameters();
    let path = Path {
        bucket_id: parameters.first("bucketId").unwrap_or_default(),
        affiliate_id: parameters.first("affiliateID").unwrap_or_default(),
        source_id: None,
    };
    shared::leads::respond(&app, &request, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal that needs no look-up is given without one: nothing listens at this endpoint.
    fn app() -> Arc<App> {
        let config = shared::Config::from_lookup(|name| {
            Some(if name.starts_with("AWS_ENDPOINT") { "http://127.0.0.1:9" } else { "x" }.to_owned())
                .filter(|_| !matches!(name, "LOG_LEVEL" | "ORIGINS"))
        });
        Arc::new(App::new(&config.unwrap()))
    }

    #[tokio::test]
    async fn the_event_without_a_token_gets_the_published_401_without_a_look_up() {
        let event = include_str!("../../../events/leads/no-token.json");
        let answer = handle(app(), lambda_http::request::from_str(event).unwrap()).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["x-request-id"], "Jx1abcdEDoEEPlg=");
        let published = r#"{"message":"Access with the provided credentials is incorrect. CODE: X-0005","statusCode":401}"#;
        assert_eq!(answer.body().as_ref(), published.as_bytes());
    }

    #[tokio::test]
    async fn a_placeholder_in_place_of_a_token_is_malformed() {
        let event = include_str!("../../../events/leads/success.json");
        let answer = handle(app(), lambda_http::request::from_str(event).unwrap()).await;
        assert_eq!(answer.status(), 401);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_reached_is_a_500_that_says_nothing() {
        let token = shared::secret::Token::generate().unwrap();
        let event =
            include_str!("../../../events/leads/success.json").replace("{{partnerToken}}", token.expose());
        let answer = handle(app(), lambda_http::request::from_str(&event).unwrap()).await;
        assert_eq!(answer.status(), 500);
        let published = r#"{"message":"Internal server error","statusCode":500}"#;
        assert_eq!(answer.body().as_ref(), published.as_bytes());
    }
}
