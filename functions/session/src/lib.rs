//! `GET /tradersroom/api/auth/me`, `POST /tradersroom/api/auth/logout`, `GET /tradersroom`, `GET /tradersroom/{page+}`
//! (CONTRACT.md, section 4).
//!
//! API Gateway has no route that ends in a slash: `/tradersroom/` is a page without a name.

use lambda_http::Request;
use lambda_http::http::header::ACCEPT;
use shared::App;
use shared::config::TradersRoom;
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Exchange, Response};
use shared::model::{Client, OwnProfile};
use shared::page::Page;
use shared::session;
use std::sync::Arc;

const PAGE: &str = "GET /tradersroom";
const PAGES: &str = "GET /tradersroom/{page+}";
const LOGOUT: &str = "/tradersroom/api/auth/logout";

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let is_page = [PAGE, PAGES].contains(&http::route(&request));
    let envelope = if is_page { Envelope::Page } else { Envelope::TradersRoom };
    let answer = async |exchange: &mut Exchange| match exchange.route() {
        PAGE => page(&app, &request).await,
        PAGES if http::rest(&request, "page").is_empty() => page(&app, &request).await,
        PAGES => Ok(no_page()),
        "POST /tradersroom/api/auth/logout" => log_out(&app, &request).await,
        _ => me(&app, &request).await,
    };
    Exchange::run(&app, envelope, &request, answer).await
}

/// The client whose session the request carries; using it keeps it alive.
async fn signed_in(app: &App, request: &Request) -> Result<Option<Client>, ApiError> {
    let Some(key) = session::key(request) else { return Ok(None) };
    let digest = key.digest();
    let Some(session) = app.store.session(&digest).await? else { return Ok(None) };
    let (client, touched) = futures_util::join!(
        app.store.client(&session.client_id),
        app.store.touch_session(&digest, &session, app.traders_room.idle_lifetime)
    );
    touched?;
    Ok(client?.map(|stored| stored.value))
}

async fn me(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let client = signed_in(app, request).await?.ok_or(ApiError::NotSignedIn)?;
    Ok(Answer::of(200, &OwnProfile(&client))?.private())
}

/// 204; to the form of a page, 303 back to the page.
async fn log_out(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let key = session::key(request);
    if let Some(key) = &key {
        app.store.end_session(&key.digest()).await?;
    }
    let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let answer = if accepted.contains("text/html") {
        Answer::see_other(TradersRoom::BUILT_IN)
    } else {
        Answer::empty()
    };
    // A form of another site comes without the cookie, and must not take it away.
    Ok(match key {
        Some(_) => answer.header("set-cookie", session::end_cookie(request)).private(),
        None => answer.private(),
    })
}

fn no_page() -> Answer {
    let page = Page::new("There is no such page");
    page.link("Go to the Traders Room", TradersRoom::BUILT_IN).answer(404)
}

async fn page(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let Some(client) = signed_in(app, request).await? else {
        let page = Page::new("You are signed out").paragraph(
            "Open your sign-in link to come to the Traders Room, or ask for a new one where you signed up.",
        );
        return Ok(page.answer(200));
    };
    let given = &client.given;
    let name = match &given.profile.last_name {
        Some(last) => format!("{} {last}", given.first_name),
        None => given.first_name.clone(),
    };
    let page = Page::new(&format!("Welcome, {}", given.first_name))
        .paragraph("You are signed in to the Traders Room.")
        .details(&[("Name", &name), ("Email", given.email.as_str()), ("Phone", &given.phone)])
        .button("Log out", Some(LOGOUT));
    Ok(page.answer(200))
}
