//! `GET /autologin/{link+}`, `HEAD /autologin/{link+}`, `POST /autologin/{link+}`
//! (CONTRACT.md, section 4).
//!
//! Mail scanners and chat previews fetch links: GET and HEAD never use one up. GET answers a page
//! that submits POST to its own address at once; POST uses the link up and begins the session.

use lambda_http::{Request, RequestExt};
use shared::App;
use shared::error::ApiError;
use shared::http::{Answer, Envelope, Exchange, Response};
use shared::page::Page;
use shared::secret::{Link, SessionKey};
use shared::session;
use shared::store::{NewSession, StoreError};
use std::sync::Arc;

/// A page that a browser renders ahead of a visit must not use the link up either.
const SUBMIT: &str = "\
(()=>{const go=()=>document.forms[0].submit();\
document.prerendering?document.addEventListener(\"prerenderingchange\",go,{once:true}):go()})()";

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |_: &mut Exchange| match request.method().as_str() {
        "POST" => sign_in(&app, &request).await,
        "HEAD" => show(&app, &request).await.map(Answer::without_body),
        _ => show(&app, &request).await,
    };
    Exchange::run(&app, Envelope::Page, &request, answer).await
}

async fn show(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let Some(link) = link(request) else { return Ok(gone(app)) };
    if app.store.link(&link.digest()).await?.is_none() {
        return Ok(gone(app));
    }
    let page = Page::new("Signing you in")
        .paragraph("One moment. If nothing happens, press the button.")
        .button("Continue", None)
        .form_leads_to(app.traders_room.foreign_origin())
        .script(SUBMIT);
    Ok(page.answer(200))
}

async fn sign_in(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let Some(link) = link(request) else { return Ok(gone(app)) };
    let key = SessionKey::generate().map_err(|_| StoreError::random())?;
    let session = NewSession::new(key.digest(), &app.traders_room);
    if app.store.use_link(&link.digest(), &session).await?.is_none() {
        return Ok(gone(app));
    }
    let cookie = session::begin_cookie(request, &key);
    Ok(Answer::see_other(&app.traders_room.url).header("set-cookie", cookie).private())
}

/// The link in the path, with or without the last slash.
fn link(request: &Request) -> Option<Link> {
    let parameters = request.path_parameters_ref()?;
    let text = parameters.first("link")?;
    Link::parse(text.strip_suffix('/').unwrap_or(text))
}

/// The same page for a link that is expired, used or unknown.
fn gone(app: &App) -> Answer {
    Page::new("This link no longer works")
        .paragraph("A sign-in link works once, and for a short time. Please ask for a new one where you got this one.")
        .link("Go to the Traders Room", &app.traders_room.url)
        .answer(410)
}
