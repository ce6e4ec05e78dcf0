//! `POST /tradersroom/api/auth/signup` (CONTRACT.md, section 3).

use lambda_http::Request;
use lambda_http::http::header::{HeaderValue, ORIGIN};
use serde::Serialize;
use shared::App;
use shared::auth::Presented;
use shared::config::TradersRoom;
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{Client, ClientId, Permission, SignUp};
use shared::secret::Link;
use shared::store::{IdempotencyKey, NewLink, Registered, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest request body. All documented fields at their longest, in characters of four bytes, are
/// about 340 KB; the rest is room for JSON escapes and undocumented fields.
pub const BODY_MAX: usize = 1024 * 1024;
/// Longest `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;
/// A client with this email exists.
pub const EMAIL_TAKEN: &str = "User with this email already exists";
/// The key is another request's.
pub const KEY_REUSED: &str = "Idempotency-Key must not be used again with another request body";
/// How long a sign-up looks for another bucket where its own was deleted meanwhile: routing is read
/// eventually consistently.
const REROUTING: Duration = Duration::from_secs(5);
const REROUTING_PAUSE: Duration = Duration::from_millis(50);

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| sign_up(&app, exchange, &request).await;
    Exchange::run(&app, Envelope::TradersRoom, &request, answer).await
}

async fn sign_up(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let presented = Presented::read(TokenHeader::ApiKey.read(request))?;
    let given = http::json_body(request, BODY_MAX).and_then(|body| Ok(SignUp::parse(body)?));
    let source = match &given {
        Ok(given) => given.affiliate_id.as_deref().zip(given.source_id.as_deref()),
        Err(_) => None,
    };
    let mut is_looked_up = source.is_some();
    let (caller, mut assigned) = exchange.authenticate_with_source(&app.auth, &presented, source).await?;

    // Whoever may not sign up at all hears that before anything of the body.
    caller.require(Permission::ClientsCreate)?;
    let given = given?;
    let affiliate_id = caller.sign_up_affiliate(given.affiliate_id.as_deref())?;
    let started = Instant::now();
    let idempotency = idempotency_key(request)?;
    let idempotency =
        idempotency.map(|key| IdempotencyKey::new(caller.token_id(), key, request.body().as_ref()));

    let autologin = Autologin::prepare(&app.traders_room, request)?;

    loop {
        // The source's bucket was read with the token, where the request names an affiliate: its own, or it
        // would have been refused.
        let bucket_id = match (&affiliate_id, assigned.take()) {
            (Some(_), Some(assigned)) => Some(assigned),
            (Some(affiliate_id), None) if is_looked_up => app.store.open_bucket(affiliate_id).await?,
            (Some(affiliate_id), None) => app.store.route(affiliate_id, given.source_id.as_deref()).await?,
            (None, _) => None,
        };
        is_looked_up = false;
        let client = Client::register(given.clone(), affiliate_id.clone(), bucket_id);
        let id = client.id.clone();
        return match app
            .store
            .sign_up(client, idempotency.as_ref(), autologin.as_ref().map(Autologin::new_link).as_ref())
            .await?
        {
            Registered::Created => registered(&id, autologin.as_ref()),
            // The first answer's link was never stored in plain text: the same client gets another.
            Registered::Replayed(id) => {
                if let Some(autologin) = &autologin {
                    app.store.create_link(&autologin.new_link(), &id).await?;
                }
                Ok(registered(&id, autologin.as_ref())?.header("idempotency-replayed", "true"))
            }
            Registered::EmailTaken => Err(ApiError::bad_request(EMAIL_TAKEN)),
            Registered::KeyReused => Err(ApiError::bad_request(KEY_REUSED)),
            // Its routing records went with it, so the next look finds another bucket, or none.
            Registered::BucketGone if started.elapsed() < REROUTING => {
                tokio::time::sleep(REROUTING_PAUSE).await;
                continue;
            }
            Registered::BucketGone | Registered::IdTaken => Err(StoreError::outrun("sign up").into()),
        };
    }
}

/// A sign-up's answer (CONTRACT.md, section 3).
#[derive(Serialize)]
struct SignedUp<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

fn registered(id: &ClientId, autologin: Option<&Autologin>) -> Result<Answer, ApiError> {
    Answer::of(200, &SignedUp { id: id.as_str(), url: autologin.map(Autologin::url) })
}

/// A link that is about to be handed out.
struct Autologin<'a> {
    origin: &'a str,
    link: Link,
    lifetime: u32,
}

impl<'a> Autologin<'a> {
    /// `None` where no origin is configured. The `Origin` header picks among those that are.
    fn prepare(room: &'a TradersRoom, request: &Request) -> Result<Option<Self>, ApiError> {
        let Some(first) = room.origins.first() else { return Ok(None) };
        let from = request.headers().get(ORIGIN).map(HeaderValue::as_bytes).unwrap_or_default();
        let named = room.origins.iter().find(|origin| origin.as_bytes().eq_ignore_ascii_case(from));
        let link = Link::generate().map_err(|_| StoreError::random())?;
        Ok(Some(Self { origin: named.unwrap_or(first), link, lifetime: room.link_lifetime }))
    }

    fn url(&self) -> String {
        format!("{}/autologin/{}/", self.origin, self.link.expose())
    }

    fn new_link(&self) -> NewLink {
        NewLink { digest: self.link.digest(), lifetime: self.lifetime }
    }
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
