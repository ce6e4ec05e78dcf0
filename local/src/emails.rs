//! `GET /local/emails` and what its items lead to: what is in the outbox, for the console's Mail page. Not in
//! the template: a deployed stack sends its emails away.
//!
//! The list needs a token, as the admin API does. A frame and a download cannot send one, so that the paths
//! which the list names hold a key that nobody else knows.

use crate::functions::Deployed;
use crate::outbox::Outbox;
use crate::template::Route;
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lambda_http::{Request, RequestExt};
use mail_parser::{Address, MessageParser};
use serde::Serialize;
use shared::admin::{self, Parameters};
use shared::auth::Scope;
use shared::http::{Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{ClientId, Permission, Timestamp};
use shared::store::StoreError;
use shared::{ApiError, App, Config};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use subtle::ConstantTimeEq;

/// Where the list is.
pub(crate) const PATH: &str = "/local/emails";
const LIST: &str = "GET /local/emails";
const HTML: &str = "GET /local/emails/{key}/{id}/html";
const FILE: &str = "GET /local/emails/{key}/{file}";
const NOT_FOUND: ApiError = ApiError::NotFound("There is no such email");

/// An email's own markup runs nothing and loads nothing, also where it is opened outside of the console.
const POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

/// The outbox, as the gateway serves it.
pub(crate) struct Emails {
    app: App,
    directory: PathBuf,
    key: String,
}

/// An email in the order of the list.
struct Place {
    id: String,
    date: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Email {
    id: String,
    client_id: String,
    date: String,
    from: String,
    to: String,
    subject: String,
    text: String,
    view: String,
    file: String,
}

impl Emails {
    /// An outbox with a new key.
    pub(crate) fn new(config: &Config, outbox: &Outbox) -> Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        let (app, directory) = (App::new(config), outbox.directory().to_owned());
        Ok(Self { app, directory, key: URL_SAFE_NO_PAD.encode(key) })
    }

    /// The gateway's routes.
    pub(crate) fn routes(self) -> Vec<(Route, Deployed)> {
        let emails = Arc::new(self);
        let deployed = Deployed::of_the_stack(move |request| handle(emails.clone(), request));
        let routes = [LIST, HTML, FILE].into_iter().filter_map(|route| route.split_once(' '));
        let route = |(method, path): (&str, &str)| Route { method: method.to_owned(), path: path.to_owned() };
        routes.map(|parts| (route(parts), deployed.clone())).collect()
    }

    async fn answer(&self, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
        if exchange.route() == LIST {
            let caller = exchange.authenticate(&self.app.auth, request, TokenHeader::Authorization).await?;
            return self.list(caller.scope(Permission::ClientsView)?, request).await;
        }
        let parameters = request.path_parameters();
        let given = |name: &str| parameters.first(name).unwrap_or_default();
        if !bool::from(given("key").as_bytes().ct_eq(self.key.as_bytes())) {
            return Err(NOT_FOUND);
        }
        if exchange.route() == HTML {
            let message = self.read(given("id")).ok_or(NOT_FOUND)?;
            let message = MessageParser::new().parse(&message).ok_or(NOT_FOUND)?;
            let html = message.body_html(0).ok_or(NOT_FOUND)?.into_owned();
            return Ok(Answer::html(200, html).private().header("content-security-policy", POLICY));
        }
        let id = given("file").strip_suffix(".eml").ok_or(NOT_FOUND)?;
        let answer = Answer::bytes(200, "message/rfc822", self.read(id).ok_or(NOT_FOUND)?).private();
        Ok(answer.header("content-disposition", format!("attachment; filename=\"{id}.eml\"")))
    }

    async fn list(&self, scope: Scope<'_>, request: &Request) -> Result<Answer, ApiError> {
        let parameters = Parameters::read(request, &["limit", "cursor"])?;
        let (limit, before) = (parameters.limit(admin::LIMIT_MAX)?, parameters.cursor(LIST)?);
        let mut places = self.places().map_err(|_| StoreError::malformed("outbox"))?;
        places.retain(|place| before.as_ref().is_none_or(|before| place.key() < *before));
        places.sort_by_key(|place| std::cmp::Reverse(place.key()));
        let mut shown = Vec::new();
        for chunk in places.chunks(limit + 1) {
            if shown.len() > limit {
                break;
            }
            let visible = self.visible(scope, chunk).await?;
            shown.extend(chunk.iter().filter(|place| visible.contains(&place.id)));
        }
        let more = shown.get(limit).and(shown.get(limit - 1)).map(|last| last.key());
        shown.truncate(limit);
        // One that was taken out a moment ago is left out.
        let items = shown.iter().filter_map(|place| Some((self.email(place)?, place.key())));
        admin::page(LIST, items, more)
    }

    fn places(&self) -> std::io::Result<Vec<Place>> {
        let mut places = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".eml")).filter(|id| is_id(id));
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            if let (Some(id), Ok(written)) = (id, written) {
                let millis = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                let date = Timestamp::clamped(i64::try_from(millis).unwrap_or(i64::MAX));
                places.push(Place { id: id.to_owned(), date });
            }
        }
        Ok(places)
    }

    /// Those whose clients the caller may see.
    async fn visible(&self, scope: Scope<'_>, places: &[Place]) -> Result<BTreeSet<String>, StoreError> {
        if scope == Scope::All {
            return Ok(places.iter().map(|place| place.id.clone()).collect());
        }
        let ids: Vec<_> = places.iter().map(|place| ClientId::new(&place.id)).collect();
        let clients = self.app.store.clients(&ids).await?.into_iter();
        let own = clients.filter(|client| scope.require(client.affiliate_id.as_deref()).is_ok());
        Ok(own.map(|client| client.id.as_str().to_owned()).collect())
    }

    fn email(&self, place: &Place) -> Option<Email> {
        let bytes = self.read(&place.id)?;
        let message = MessageParser::new().parse(&bytes)?;
        let base = format!("{PATH}/{}/{}", self.key, place.id);
        Some(Email {
            id: place.id.clone(),
            client_id: place.id.clone(),
            date: place.date.to_string(),
            from: addresses(message.from()),
            to: addresses(message.to()),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).unwrap_or_default().replace("\r\n", "\n"),
            view: format!("{base}/html"),
            file: format!("{base}.eml"),
        })
    }

    /// The file of an email, where there is one.
    fn read(&self, id: &str) -> Option<Vec<u8>> {
        if !is_id(id) {
            return None;
        }
        std::fs::read(self.directory.join(format!("{id}.eml"))).ok()
    }
}

impl Place {
    fn key(&self) -> String {
        format!("{:013} {}", self.date.millis(), self.id)
    }
}

async fn handle(emails: Arc<Emails>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| emails.answer(exchange, &request).await;
    Exchange::run(&emails.app, Envelope::Platform, &request, answer).await
}

/// What `registration-email` names its emails by: no path leads out of the outbox.
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn addresses(given: Option<&Address<'_>>) -> String {
    let written = given.into_iter().flat_map(Address::iter).map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => address.or(name).unwrap_or_default().to_owned(),
    });
    written.collect::<Vec<_>>().join(", ")
}
