//! `GET /api/public/token` (CONTRACT.md, section 1): a partner's check of its own token.

use lambda_http::Request;
use lambda_http::http::{HeaderValue, StatusCode};
use serde::Serialize;
use shared::App;
use shared::admin;
use shared::error::ApiError;
use shared::http::{self, Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::Permissions;
use std::sync::Arc;

/// Answers one request. A refusal shows the address seen, so that a partner can tell an operator
/// what to whitelist; it is all that the refused learn.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let address = http::source_ip(&request).map(|address| address.to_canonical().to_string());
    let answer = async |exchange: &mut Exchange| check(&app, exchange, &request, address.as_deref()).await;
    let mut response = Exchange::run(&app, Envelope::Platform, &request, answer).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(address) = address.and_then(|address| HeaderValue::try_from(address).ok())
    {
        response.headers_mut().insert("x-caller-address", address);
    }
    response
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    permissions: Permissions,
    #[serde(rename = "affiliateIDs")]
    affiliate_ids: &'a [String],
    expires_at: Option<String>,
    whitelist: Vec<String>,
    address: Option<&'a str>,
}

async fn check(
    app: &App,
    exchange: &mut Exchange,
    request: &Request,
    address: Option<&str>,
) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::Authorization).await?;
    let token = caller.token();
    let shown = Shown {
        name: &token.name,
        permissions: caller.permissions(),
        affiliate_ids: &token.affiliate_ids,
        expires_at: token.expires_at.map(|expiry| expiry.to_string()),
        whitelist: token.whitelist.entries(),
        address,
    };
    Ok(admin::private(Answer::of(200, &shown)?))
}
