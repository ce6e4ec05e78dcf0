//! `POST /tradersroom/api/auth/signup` (CONTRACT.md, section 3).

use lambda_http::Request;
use shared::App;
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{Client, ClientId, Permission, SignUp};
use shared::store::{IdempotencyKey, Registered, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest request body. All documented fields at their longest, in characters of four bytes, are
/// about 340 KB; the rest is room for JSON escapes and undocumented fields.
const BODY_MAX: usize = 1024 * 1024;
const IDEMPOTENCY_KEY_MAX: usize = 255;
/// How long a sign-up looks for another bucket where its own was deleted meanwhile: routing is read
/// eventually consistently.
const REROUTING: Duration = Duration::from_secs(5);
const REROUTING_PAUSE: Duration = Duration::from_millis(50);

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let mut exchange = Exchange::begin(&app, Envelope::TradersRoom, &request);
    let outcome = sign_up(&app, &mut exchange, &request).await;
    exchange.end(outcome)
}

async fn sign_up(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::ApiKey).await?;

    // Whoever may not sign up at all hears that before anything of the body.
    caller.require(Permission::ClientsCreate)?;
    let given = SignUp::parse(http::json_body(request, BODY_MAX)?)?;
    let affiliate_id = caller.sign_up_affiliate(given.affiliate_id.as_deref())?;
    let started = Instant::now();
    let idempotency = idempotency_key(request)?;
    let idempotency =
        idempotency.map(|key| IdempotencyKey::new(caller.token_id(), key, request.body().as_ref()));

    loop {
        let bucket_id = match &affiliate_id {
            Some(affiliate_id) => app.store.route(affiliate_id, given.source_id.as_deref()).await?,
            None => None,
        };
        let client = Client::register(given.clone(), affiliate_id.clone(), bucket_id);
        let id = client.id.clone();
        return match app.store.sign_up(client, idempotency.as_ref()).await? {
            Registered::Created => Ok(registered(&id)),
            Registered::Replayed(id) => Ok(registered(&id).header("idempotency-replayed", "true")),
            Registered::EmailTaken => Err(ApiError::bad_request("User with this email already exists")),
            Registered::KeyReused => {
                Err(ApiError::bad_request("Idempotency-Key must not be used again with another request body"))
            }
            // Its routing records went with it, so the next look finds another bucket, or none.
            Registered::BucketGone if started.elapsed() < REROUTING => {
                tokio::time::sleep(REROUTING_PAUSE).await;
                continue;
            }
            Registered::BucketGone | Registered::IdTaken => Err(StoreError::outrun("sign up").into()),
        };
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

    fn read(key: &[u8]) -> Result<Option<String>, (u16, String)> {
        let request = lambda_http::http::Request::builder().header("idempotency-key", key);
        let request = request.body(lambda_http::Body::Empty).unwrap();
        let key = idempotency_key(&request).map(|key| key.map(str::to_owned));
        key.map_err(|error| Envelope::TradersRoom.render(&error))
    }

    #[test]
    fn idempotency_keys_are_bounded_text() {
        assert_eq!(read(b"k"), Ok(Some("k".into())));
        assert_eq!(read(&[b'k'; 255]), Ok(Some("k".repeat(255))));
        let published =
            r#"{"message":"Idempotency-Key must have 1 to 255 ASCII characters","providerStatus":400}"#;
        for key in [&b""[..], &[b'k'; 256], b"\xff"] {
            assert_eq!(read(key), Err((400, published.into())));
        }
        let none = Request::default();
        assert!(idempotency_key(&none).unwrap().is_none());
    }
}
