//! `GET /api/admin/buckets`, `POST /api/admin/buckets`, `GET /api/admin/buckets/{bucketId}`,
//! `PATCH /api/admin/buckets/{bucketId}`, `DELETE /api/admin/buckets/{bucketId}`,
//! `POST /api/admin/buckets/{bucketId}/route`, `GET /api/admin/buckets/{bucketId}/stats`
//! (CONTRACT.md, section 5): buckets, routing of clients that have none, and counts for charts.

mod route;
mod stats;

use futures_util::future::try_join_all;
use lambda_http::{Request, RequestExt};
use shared::App;
use shared::admin::{self, Parameters};
use shared::auth::{Caller, Scope};
use shared::error::ApiError;
use shared::http::{Answer, Envelope, Exchange, Response, TokenHeader};
use shared::model::{Bucket, BucketChange, BucketId, NewBucket, Permission, Stored, Version};
use shared::store::{ChangeBucket, CreateBucket, DeleteBucket, StoreError, StoredBuckets, keys};
use std::sync::Arc;

pub use route::LIMIT_MAX as ROUTE_LIMIT_MAX;

const NOT_FOUND: ApiError = ApiError::NotFound("There is no such bucket");

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let answer = async |exchange: &mut Exchange| answer(&app, exchange, &request).await;
    Exchange::run(&app, Envelope::Platform, &request, answer).await
}

async fn answer(app: &App, exchange: &mut Exchange, request: &Request) -> Result<Answer, ApiError> {
    let caller = exchange.authenticate(&app.auth, request, TokenHeader::Authorization).await?;
    let parameters = request.path_parameters();
    let id = parameters.first("bucketId").unwrap_or_default();
    match exchange.route() {
        "GET /api/admin/buckets" => list(app, &caller, request).await,
        "POST /api/admin/buckets" => create(app, &caller, request).await,
        "GET /api/admin/buckets/{bucketId}" => {
            let found = find(app, caller.view_scope()?, id).await?;
            admin::record(200, &found.value, &found.version)
        }
        "PATCH /api/admin/buckets/{bucketId}" => change(app, &caller, request, id).await,
        "DELETE /api/admin/buckets/{bucketId}" => delete(app, &caller, request, id).await,
        "POST /api/admin/buckets/{bucketId}/route" => route::route(app, &caller, request, id).await,
        "GET /api/admin/buckets/{bucketId}/stats" => stats::stats(app, &caller, request, id).await,
        _ => Err(NOT_FOUND),
    }
}

async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Answer, ApiError> {
    let scope = caller.view_scope()?;
    let parameters = Parameters::read(request, &["limit", "cursor", "affiliateID"])?;
    let affiliate = parameters.get("affiliateID");
    if affiliate.is_some() {
        scope.require(affiliate)?;
    }
    let list = format!("admin buckets {affiliate:?}");
    let (limit, after) = (parameters.limit(admin::LIMIT_MAX)?, parameters.cursor(&list)?);
    // One list of all, or one an affiliate, merged.
    let lists: Vec<Option<&str>> = match (affiliate, scope) {
        (Some(affiliate), _) => vec![Some(affiliate)],
        (None, Scope::All) => vec![None],
        (None, Scope::Of(affiliates)) => affiliates.iter().map(|id| Some(id.as_str())).collect(),
    };
    let read = lists.iter().map(|list| read_list(app, *list, after.as_deref(), limit + 1));
    let mut found: Vec<_> = try_join_all(read).await?.into_iter().flatten().map(|b| (place(&b), b)).collect();
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(place, _)| place.clone());
    admin::page(&list, found.into_iter().map(|(place, bucket)| (bucket, place)), next)
}

/// Up to `limit` buckets of a list; DynamoDB gives a megabyte at once.
async fn read_list(
    app: &App,
    affiliate: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Bucket>, StoreError> {
    let mut all: Vec<Bucket> = Vec::new();
    loop {
        let last = all.last().map(place);
        let from = last.as_deref().or(after);
        let StoredBuckets { buckets, exhausted } =
            app.store.buckets(affiliate, from, limit - all.len()).await?;
        let empty = buckets.is_empty();
        all.extend(buckets);
        if exhausted || empty || all.len() >= limit {
            return Ok(all);
        }
    }
}

fn place(bucket: &Bucket) -> String {
    keys::created_then_id(bucket.created_date, bucket.id.as_str())
}

async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Answer, ApiError> {
    let scope = caller.scope(Permission::BucketsManage)?;
    let bucket = NewBucket::parse(admin::body(request)?)?.create();
    scope.require(Some(&bucket.affiliate_id))?;
    match app.store.create_bucket(&bucket).await? {
        CreateBucket::Created => Ok(admin::record(201, &bucket, &Version::default())?
            .header("location", format!("/api/admin/buckets/{}", bucket.id))),
        CreateBucket::SourceTaken(source) => Err(source_taken(&source)),
        CreateBucket::IdTaken => Err(StoreError::outrun("create bucket").into()),
    }
}

async fn change(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let scope = caller.scope(Permission::BucketsManage)?;
    let change = BucketChange::parse(admin::body(request)?)?;
    let found = find(app, scope, id).await?;
    admin::check_if_match(request, &found.version)?;
    let bucket = change.apply(&found.value);
    match app.store.change_bucket(&found, &bucket).await? {
        ChangeBucket::Changed(version) => admin::record(200, &bucket, &version),
        ChangeBucket::Conflict => Err(admin::outdated()),
        ChangeBucket::SourceTaken(source) => Err(source_taken(&source)),
        ChangeBucket::TooManySources => Err(ApiError::bad_request(
            "sources must not differ in more than 97 from those assigned now: change them in several requests",
        )),
    }
}

async fn delete(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Answer, ApiError> {
    let found = find(app, caller.scope(Permission::BucketsManage)?, id).await?;
    admin::check_if_match(request, &found.version)?;
    match app.store.delete_bucket(&found).await? {
        DeleteBucket::Deleted => Ok(Answer::empty()),
        DeleteBucket::HasLeads => {
            Err(ApiError::conflict("The bucket has leads: move them to another one first"))
        }
        DeleteBucket::Conflict => Err(admin::outdated()),
    }
}

/// The bucket, where there is one and the caller may do its affiliate's business. Another affiliate's is answered
/// as none: that an id exists is its affiliate's to know.
async fn find(app: &App, scope: Scope<'_>, id: &str) -> Result<Stored<Bucket>, ApiError> {
    let Some(id) = BucketId::parse(id) else { return Err(NOT_FOUND) };
    let found = app.store.stored_bucket(&id).await?;
    found.filter(|found| scope.require(Some(&found.value.affiliate_id)).is_ok()).ok_or(NOT_FOUND)
}

fn source_taken(source: &str) -> ApiError {
    ApiError::conflict(format!("Source {source} is assigned to another bucket of the affiliate"))
}
