//! `GET /api/admin/clients`, `GET /api/admin/clients/{clientId}`,
//! `PATCH /api/admin/clients/{clientId}` (CONTRACT.md, section 5): clients.

mod listing;

use lambda_http::{Request, RequestExt};
use shared::App;
use shared::admin;
use shared::auth::{Caller, Scope};
use shared::error::ApiError;
use shared::http::{Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{Client, ClientChange, ClientId, Permission, Stored};
use shared::store::{ChangeClient, StoreError};
use std::sync::Arc;
use std::time::Duration;

const NOT_FOUND: ApiError = ApiError::NotFound("There is no such client");
/// How often a change looks again for the bucket that its client goes to.
const REROUTINGS: u32 = 5;
/// Between two of them: what routes sign-ups is read as it was a moment ago.
const REROUTING_PAUSE: Duration = Duration::from_millis(200);

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| answer(&app, exchange, &request).await;
    Exchange::run(&app, Envelope::Platform, &request, answer).await
}

async fn answer(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::Authorization).await?;
    let parameters = request.path_parameters();
    let id = parameters.first("clientId").unwrap_or_default();
    match exchange.route() {
        "GET /api/admin/clients" => listing::list(app, caller.scope(Permission::ClientsView)?, request).await,
        "GET /api/admin/clients/{clientId}" => {
            let found = find(app, caller.scope(Permission::ClientsView)?, id).await?;
            admin::record(200, &found.value, &found.version)
        }
        "PATCH /api/admin/clients/{clientId}" => change(app, &caller, request, id).await,
        _ => Err(NOT_FOUND),
    }
}

async fn change(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let scope = caller.scope(Permission::ClientsManage)?;
    let change = ClientChange::parse(admin::body(request)?)?;
    if let Some(affiliate) = &change.affiliate_id {
        scope.require(affiliate.as_deref())?;
    }
    let found = find(app, scope, id).await?;
    admin::check_if_match(request, &found.version)?;
    for _ in 0..REROUTINGS {
        let mut changed = change.apply(&found.value);
        place(app, &change, &found.value, &mut changed).await?;
        match app.store.change_client(&found, &changed).await? {
            ChangeClient::Changed(changed) => return admin::record(200, &changed.value, &changed.version),
            ChangeClient::Conflict => return Err(admin::outdated()),
            ChangeClient::EmailTaken => {
                return Err(ApiError::conflict("A client with this email already exists"));
            }
            ChangeClient::BucketGone => tokio::time::sleep(REROUTING_PAUSE).await,
        }
    }
    Err(StoreError::outrun("change client").into())
}

/// Sees to it that a changed client is in a bucket of its own affiliate, or in none. One that gets
/// another affiliate, and is not put anywhere, goes where a sign-up would go.
async fn place(app: &App, change: &ClientChange, from: &Client, to: &mut Client) -> Result<(), ApiError> {
    if let Some(Some(bucket)) = &change.bucket_id {
        let found = app.store.stored_bucket(bucket).await?;
        return match found {
            Some(found) if Some(&found.value.affiliate_id) == to.affiliate_id.as_ref() => Ok(()),
            // The same for one that there is not: which ids other affiliates' buckets have is theirs to know.
            _ => Err(ApiError::bad_request("bucketId must be the id of a bucket of the client's affiliate")),
        };
    }
    if change.bucket_id.is_none() && to.affiliate_id != from.affiliate_id {
        to.bucket_id = match &to.affiliate_id {
            Some(affiliate) => app.store.route(affiliate, to.given.source_id.as_deref()).await?,
            None => None,
        };
    }
    Ok(())
}

/// The client, where there is one and the caller may do its affiliate's business. Another affiliate's is answered
/// as none: that an id exists is its affiliate's to know.
async fn find(app: &App, scope: Scope<'_>, id: &str) -> Result<Stored<Client>, ApiError> {
    let found = app.store.client(&ClientId::new(id)).await?;
    found.filter(|found| scope.require(found.value.affiliate_id.as_deref()).is_ok()).ok_or(NOT_FOUND)
}
