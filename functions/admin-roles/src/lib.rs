//! `GET /api/admin/roles`, `POST /api/admin/roles`, `GET /api/admin/roles/{roleId}`,
//! `PATCH /api/admin/roles/{roleId}`, `DELETE /api/admin/roles/{roleId}` (CONTRACT.md, sections 1
//! and 5): roles. A change reaches the tokens that have the role within 60 seconds.

use lambda_http::{Request, RequestExt};
use shared::App;
use shared::admin::{self, Parameters};
use shared::error::ApiError;
use shared::http::{Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{NewRole, Permission, Role, RoleChange, RoleId};
use shared::store::{Changed, DeleteRole, StoreError, StoredRole};
use std::sync::Arc;

const LIST: &str = "admin roles";
/// Bytes of a name that a cursor has.
const NAME_IN_CURSOR: usize = 100;
const NOT_FOUND: ApiError = ApiError::NotFound("There is no such role");

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| answer(&app, exchange, &request).await;
    Exchange::run(&app, Envelope::Platform, &request, answer).await
}

async fn answer(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::Authorization).await?;
    caller.require(Permission::SecurityManage)?;
    let parameters = request.path_parameters();
    let id = parameters.first("roleId").unwrap_or_default();
    match exchange.route() {
        "GET /api/admin/roles" => list(app, request).await,
        "POST /api/admin/roles" => create(app, request).await,
        "GET /api/admin/roles/{roleId}" => {
            let found = find(app, id).await?;
            admin::record(200, &found.role, &found.version)
        }
        "PATCH /api/admin/roles/{roleId}" => change(app, request, id).await,
        "DELETE /api/admin/roles/{roleId}" => delete(app, request, id).await,
        _ => Err(NOT_FOUND),
    }
}

/// Roles are few and are read at once; in the order of their names.
async fn list(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let parameters = Parameters::read(request, &["limit", "cursor"])?;
    let (limit, after) = (parameters.limit(admin::LIMIT_MAX)?, parameters.cursor(LIST)?);
    let mut roles = app.store.roles().await?;
    roles.sort_by_cached_key(place);
    let start = after.map_or(0, |last| roles.partition_point(|role| place(role) <= last));
    let more = roles.len() > start + limit;
    let shown: Vec<_> = roles.into_iter().skip(start).take(limit).collect();
    let next = shown.last().filter(|_| more).map(place);
    admin::page(LIST, shown.iter().map(|role| (role, place(role))), next)
}

/// Where a role lies, whether it is there still or not: its name, as much of it as fits a cursor, and its id.
fn place(role: &Role) -> String {
    let name = role.name.to_lowercase();
    let end = name.floor_char_boundary(NAME_IN_CURSOR);
    // The blank keeps it before the end of all lists, whatever letter the name begins with.
    format!(" {}\u{1}{}", &name[..end], role.id.as_str())
}

async fn create(app: &App, request: &Request) -> Result<Answer, ApiError> {
    let role = NewRole::parse(admin::body(request)?)?.create();
    let Some(version) = app.store.create_role(&role).await? else {
        return Err(StoreError::outrun("create role").into());
    };
    Ok(admin::record(201, &role, &version)?
        .header("location", format!("/api/admin/roles/{}", role.id.as_str())))
}

async fn change(app: &App, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let change = RoleChange::parse(admin::body(request)?)?;
    let StoredRole { role, version, .. } = find(app, id).await?;
    admin::check_if_match(request, &version)?;
    let role = change.apply(&role);
    match app.store.change_role(&version, &role).await? {
        Changed::Done(version) => admin::record(200, &role, &version),
        Changed::Conflict => Err(admin::outdated()),
        Changed::Gone => Err(NOT_FOUND),
    }
}

async fn delete(app: &App, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let found = find(app, id).await?;
    admin::check_if_match(request, &found.version)?;
    match app.store.delete_role(&found.role.id, &found.version).await? {
        DeleteRole::Deleted => Ok(Answer::empty()),
        DeleteRole::Conflict => Err(admin::outdated()),
        DeleteRole::InUse => Err(ApiError::conflict("The role has tokens: delete them first")),
    }
}

async fn find(app: &App, id: &str) -> Result<StoredRole, ApiError> {
    app.store.role(&RoleId::new(id)).await?.ok_or(NOT_FOUND)
}
