//! `GET /api/admin/tokens`, `POST /api/admin/tokens`, `GET /api/admin/tokens/{tokenId}`,
//! `PATCH /api/admin/tokens/{tokenId}`, `DELETE /api/admin/tokens/{tokenId}` (CONTRACT.md, sections
//! 1 and 5): identification tokens. A token's text is in the answer that creates it, and nowhere else.

use lambda_http::{Request, RequestExt};
use serde::Serialize;
use shared::App;
use shared::admin::{self, Parameters};
use shared::error::ApiError;
use shared::http::{Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{
    NewToken, Permission, Stored, Timestamp, TokenActivity, TokenId, TokenRecord, Version, WhitelistChange,
};
use shared::store::{Changed, CreateToken, StoreError};
use std::sync::Arc;

const LIST: &str = "admin tokens";
const NOT_FOUND: ApiError = ApiError::NotFound("There is no such token");

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| answer(&app, exchange, &request).await;
    Exchange::run(&app, Envelope::Platform, &request, answer).await
}

async fn answer(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::Authorization).await?;
    caller.require(Permission::SecurityManage)?;
    let parameters = request.path_parameters();
    let id = parameters.first("tokenId").unwrap_or_default();
    match exchange.route() {
        "GET /api/admin/tokens" => list(app, request).await,
        "POST /api/admin/tokens" => create(app, request).await,
        "GET /api/admin/tokens/{tokenId}" => {
            let Stored { value, version } = find(app, id).await?;
            show(app, &value, &version).await
        }
        "PATCH /api/admin/tokens/{tokenId}" => change(app, request, id).await,
        "DELETE /api/admin/tokens/{tokenId}" => {
            let found = find(app, id).await?;
            admin::check_if_match(request, &found.version)?;
            let from = admin::has_if_match(request).then_some(&found.version);
            if !app.store.delete_token(&found.value, from).await? {
                return Err(admin::outdated());
            }
            Ok(Answer::empty())
        }
        _ => Err(NOT_FOUND),
    }
}

async fn list(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let parameters = Parameters::read(request, &["limit", "cursor"])?;
    let (limit, after) = (parameters.limit(admin::LIMIT_MAX)?, parameters.cursor(LIST)?);
    let tokens = app.store.tokens(after.as_deref(), limit).await?;
    let activity = app.store.activity(tokens.records.iter().map(|record| &record.id)).await?;
    let none = TokenActivity::default();
    let items = tokens.records.iter().map(|record| {
        let place = shared::store::keys::created_then_id(record.created_date, record.id.as_str());
        (record.to_answer(activity.get(&record.id).unwrap_or(&none)), place)
    });
    admin::page(LIST, items, tokens.next)
}

async fn create(app: &App, request: &Request) -> Result<Answer, ApiError> {
    /// The record and, this once, the token.
    #[derive(Serialize)]
    struct Created<'a, R> {
        #[serde(flatten)]
        record: R,
        token: &'a str,
    }
    let given = NewToken::parse(admin::body(request)?, Timestamp::now())?;
    let no_role = || ApiError::bad_request("roleId must be the id of a role");
    let role = app.store.role(&given.role_id).await?.ok_or_else(no_role)?.role;
    let owns_only = role.permissions.contains(Permission::BucketsViewOwn)
        && !role.permissions.contains(Permission::BucketsViewAll);
    if owns_only && given.affiliate_ids.is_empty() {
        return Err(ApiError::bad_request(
            "affiliateIDs must have at least one affiliate for a role with buckets:view-own and without buckets:view-all",
        ));
    }
    let (token, record) = given.generate().map_err(|_| StoreError::outrun("generate token"))?;
    match app.store.create_token(&record, &token.digest()).await? {
        CreateToken::Created => {}
        CreateToken::NoRole | CreateToken::Outrun => return Err(no_role()),
    }
    let unused = TokenActivity::default();
    let shown = Created { record: record.to_answer(&unused), token: token.expose() };
    Ok(admin::record(201, &shown, &Version::default())?
        .header("location", format!("/api/admin/tokens/{}", record.id)))
}

async fn change(app: &App, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let WhitelistChange(whitelist) = WhitelistChange::parse(admin::body(request)?)?;
    let Stored { value: mut record, version } = find(app, id).await?;
    admin::check_if_match(request, &version)?;
    match app.store.change_whitelist(&record.id, &version, &whitelist).await? {
        Changed::Done(version) => {
            record.whitelist = whitelist;
            show(app, &record, &version).await
        }
        Changed::Conflict => Err(admin::outdated()),
        Changed::Gone => Err(NOT_FOUND),
    }
}

async fn find(app: &App, id: &str) -> Result<Stored<TokenRecord>, ApiError> {
    let Some(id) = TokenId::parse(id) else { return Err(NOT_FOUND) };
    app.store.token_by_id(&id).await?.ok_or(NOT_FOUND)
}

async fn show(app: &App, record: &TokenRecord, version: &Version) -> Result<Answer, ApiError> {
    let activity = app.store.activity([&record.id]).await?.remove(&record.id).unwrap_or_default();
    admin::record(200, &record.to_answer(&activity), version)
}
