//! `POST /api/admin/buckets/{bucketId}/route`: clients that have no bucket get one.

use super::find;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use lambda_http::Request;
use serde::Serialize;
use shared::App;
use shared::admin::{self, Parameters};
use shared::auth::Caller;
use shared::error::ApiError;
use shared::http::Answer;
use shared::model::{ClientId, Object, Permission};
use shared::store::{ChangeClient, Order, StoreError, keys};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Clients of one page at most: each is a transaction, and all of them fit the request's time.
pub const LIMIT_MAX: usize = 100;
const AT_ONCE: usize = 8;
/// How often a client is tried again that others change meanwhile.
const ATTEMPTS: u32 = 5;
/// After one that met a deleted bucket: what routes sign-ups is read as it was a moment ago.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Routed {
    routed: u64,
    next_cursor: Option<String>,
}

/// Goes through a page of the affiliate's clients without a bucket, oldest first, and puts each into
/// the bucket that the rule of section 3 gives it. Those for which there is none stay as they are.
pub(super) async fn route(
    app: &App,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Answer, ApiError> {
    let scope = caller.scope(Permission::BucketsManage)?;
    let parameters = Parameters::read(request, &["limit", "cursor"])?;
    let body = Object::parse(admin::body(request)?)?;
    body.only(&[])?;
    let limit = parameters.limit(LIMIT_MAX)?;
    let affiliate = find(app, scope, id).await?.value.affiliate_id;
    let list = keys::affiliates_unassigned(&affiliate);
    let after = parameters.cursor(&list)?;

    let first = after.map_or_else(|| keys::before_moment(0), |last| format!("{last}\u{1}"));
    let range = first..=keys::LAST.to_owned();
    let page = app.store.page(Order::BucketCreated, &list, range, limit).await?;
    let routed = AtomicU64::new(0);
    let ids: Vec<ClientId> = page.leads.iter().map(|placed| placed.lead.id.clone()).collect();
    let routings = ids.into_iter().map(|id| count_routed(app, id, &routed));
    iter(routings).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let last = page.leads.last().filter(|_| !page.exhausted);
    let next = last.map(|last| admin::next_cursor(&list, &Order::BucketCreated.sort_key(&last.lead)));
    let answer = Routed { routed: routed.into_inner(), next_cursor: next };
    Ok(admin::private(Answer::of(200, &answer)?))
}

async fn count_routed(app: &App, id: ClientId, routed: &AtomicU64) -> Result<(), StoreError> {
    if route_one(app, &id).await? {
        routed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn route_one(app: &App, id: &ClientId) -> Result<bool, StoreError> {
    for _ in 0..ATTEMPTS {
        // Changed meanwhile: it may have a bucket by now, or another affiliate.
        let Some(client) = app.store.client(id).await? else { return Ok(false) };
        let (None, Some(affiliate)) = (&client.value.bucket_id, &client.value.affiliate_id) else {
            return Ok(false);
        };
        let source = client.value.given.source_id.as_deref();
        let Some(bucket) = app.store.route(affiliate, source).await? else { return Ok(false) };
        let mut routed = client.value.clone();
        routed.bucket_id = Some(bucket);
        match app.store.change_client(&client, &routed).await? {
            ChangeClient::Changed(_) => return Ok(true),
            ChangeClient::Conflict | ChangeClient::EmailTaken => {}
            ChangeClient::BucketGone => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(StoreError::outrun("route client"))
}
