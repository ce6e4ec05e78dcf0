//! `POST /tradersroom/api/auth/signup` (CONTRACT.md, section 3).

use lambda_http::Request;
use shared::App;
use shared::auth::Presented;
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{Client, ClientId, SignUp};
use shared::store::{IdempotencyKey, Registered};
use std::sync::Arc;

/// Largest request body: the longest of all documented fields, and room for undocumented ones.
const BODY_MAX: usize = 256 * 1024;
const IDEMPOTENCY_KEY_MAX: usize = 255;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let mut exchange = Exchange::begin(Envelope::TradersRoom, &request);
    let outcome = sign_up(&app, &mut exchange, &request).await;
    exchange.end(outcome)
}

async fn sign_up(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let presented = Presented::read(TokenHeader::ApiKey.read(request))?;
    let authentication = app.auth.authenticate(&presented, http::source_ip(request)).await?;
    let caller = authentication.caller(|id| exchange.token_id(id))?;

    let body = http::json_body(request, BODY_MAX);
    let given = body.and_then(|body| Ok(SignUp::parse(body)?));
    // A body that can't be read names no affiliate; whoever may not sign up at all hears that first.
    let affiliate =
        caller.sign_up_affiliate(given.as_ref().ok().and_then(|given| given.affiliate_id.as_deref()));
    let (given, affiliate_id) = match (given, affiliate) {
        (Ok(given), affiliate) => (given, affiliate?),
        (Err(error), _) => {
            caller.require(shared::model::Permission::ClientsCreate)?;
            return Err(error);
        }
    };
    let idempotency = idempotency_key(request)?;
    let idempotency =
        idempotency.map(|key| IdempotencyKey::new(caller.token_id(), key, request.body().as_ref()));

    let bucket_id = match &affiliate_id {
        Some(affiliate_id) => app.store.route(affiliate_id, given.source_id.as_deref()).await?,
        None => None,
    };
    let client = Client::register(given, affiliate_id, bucket_id);
    match app.store.register(&client, idempotency.as_ref()).await? {
        Registered::Created => Ok(registered(&client.id)),
        Registered::Replayed(id) => Ok(registered(&id).header("idempotency-replayed", "true")),
        Registered::EmailTaken => Err(ApiError::bad_request("User with this email already exists")),
        Registered::KeyReused => {
            Err(ApiError::bad_request("Idempotency-Key must not be used again with another request body"))
        }
    }
}

fn registered(id: &ClientId) -> Answer {
    Answer::json(200, format!("{{\"id\":\"{id}\"}}"))
}

fn idempotency_key(request: &Request) -> Result<Option<&str>, ApiError> {
    let invalid = || {
        ApiError::bad_request(format!(
            "Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_MAX} ASCII characters"
        ))
    };
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().map_err(|_| invalid())?;
    if (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) { Ok(Some(key)) } else { Err(invalid()) }
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
        let event = include_str!("../../../events/signup/no-token.json");
        let answer = handle(app(), lambda_http::request::from_str(event).unwrap()).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.headers()["x-request-id"], "Jx1abcdEDoEEPlg=");
        let published = r#"{"message":"Invalid secret key","providerStatus":401}"#;
        assert_eq!(answer.body().as_ref(), published.as_bytes());
    }

    #[tokio::test]
    async fn a_placeholder_in_place_of_a_token_is_malformed() {
        let event = include_str!("../../../events/signup/success.json");
        let answer = handle(app(), lambda_http::request::from_str(event).unwrap()).await;
        assert_eq!(answer.status(), 401);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_reached_is_a_500_that_says_nothing() {
        let token = shared::secret::Token::generate().unwrap();
        let event =
            include_str!("../../../events/signup/success.json").replace("{{signupKey}}", token.expose());
        let answer = handle(app(), lambda_http::request::from_str(&event).unwrap()).await;
        assert_eq!(answer.status(), 500);
        let published = r#"{"message":"Internal server error","providerStatus":500}"#;
        assert_eq!(answer.body().as_ref(), published.as_bytes());
    }
}
