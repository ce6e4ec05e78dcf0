//! `GET /api/admin/clients`: newest first, by bucket, affiliate, email and status.

use futures_util::future::try_join_all;
use lambda_http::Request;
use shared::App;
use shared::admin::{self, Parameters};
use shared::auth::Scope;
use shared::error::ApiError;
use shared::http::Answer;
use shared::model::{Bucket, BucketId, Client, ClientId, Email};
use shared::store::{ListPlace, Order, Store, StoreError, StoredBuckets, keys};
use std::collections::VecDeque;

/// Rounds of reads of one page. A page whose filter finds little ends early then, with fewer clients
/// than asked for or none, and a cursor to go on.
const ROUNDS_MAX: usize = 20;
/// Lists that are merged: those of buckets, and of the affiliates' clients without one.
const LISTS_MAX: usize = 1000;
const TOO_MANY: &str =
    "The clients are in more than 1000 buckets: use bucketId, or an affiliateID with fewer";

/// One list on its way from its newest lead to its oldest.
struct Stream {
    order: Order,
    list: String,
    before: String,
    buffer: VecDeque<ListPlace>,
    exhausted: bool,
}

pub(super) async fn list(app: &App, scope: Scope<'_>, request: &Request) -> Result<Answer, ApiError> {
    let known = ["bucketId", "affiliateID", "email", "status", "limit", "cursor"];
    let parameters = Parameters::read(request, &known)?;
    let filter = Filter {
        bucket: parameters.get("bucketId"),
        affiliate: parameters.get("affiliateID"),
        status: parameters.get("status"),
        scope,
    };
    let email = parameters.get("email").map(|text| {
        Email::parse(text).ok_or_else(|| ApiError::bad_request("email must be a valid email address"))
    });
    let email = email.transpose()?;
    if filter.affiliate.is_some() {
        scope.require(filter.affiliate)?;
    }
    let list = format!("admin clients {:?}", [filter.bucket, filter.affiliate, filter.status]);
    let (limit, after) = (parameters.limit(admin::LIMIT_MAX)?, parameters.cursor(&list)?);
    if let Some(email) = email {
        let found = app.store.client_by_email(&email).await?.map(|stored| stored.value);
        let found = found.filter(|client| filter.accepts(client));
        return admin::page(&list, found.map(|client| (client, String::new())), None);
    }

    let before = after.unwrap_or_else(|| keys::LAST.to_owned());
    let mut streams = filter.streams(&app.store, &before).await?;
    let found = newest(&app.store, &mut streams, filter.status, limit).await?;
    let ids: Vec<ClientId> = found.places.iter().filter_map(ListPlace::id).collect();
    let clients = app.store.clients(&ids).await?;
    // A client that changed between the two reads is shown only where it still fits.
    let shown = clients.into_iter().filter(|client| filter.accepts(client));
    let items = shown.map(|client| (place(&client), client)).map(|(place, client)| (client, place));
    admin::page(&list, items, found.next)
}

fn place(client: &Client) -> String {
    keys::moment_then_id(client.created_date, &client.id)
}

struct Filter<'a> {
    bucket: Option<&'a str>,
    affiliate: Option<&'a str>,
    status: Option<&'a str>,
    scope: Scope<'a>,
}

impl Filter<'_> {
    fn accepts(&self, client: &Client) -> bool {
        let affiliate = client.affiliate_id.as_deref();
        self.bucket.is_none_or(|id| client.bucket_id.as_ref().map(BucketId::as_str) == Some(id))
            && self.affiliate.is_none_or(|id| affiliate == Some(id))
            && self.status.is_none_or(|status| client.status == status)
            && self.scope.require(affiliate).is_ok()
    }

    /// The lists that hold what is asked for, and little else.
    async fn streams(&self, store: &Store, before: &str) -> Result<Vec<Stream>, ApiError> {
        let stream = |order, list| Stream {
            order,
            list,
            before: before.to_owned(),
            buffer: VecDeque::new(),
            exhausted: false,
        };
        let of_list = |list: String| match self.status {
            Some(status) => stream(Order::StatusCreated, keys::status_list(&list, status)),
            None => stream(Order::BucketCreated, list),
        };
        if let Some(bucket) = self.bucket {
            let Some(id) = BucketId::parse(bucket) else { return Ok(Vec::new()) };
            // A bucket's leads are its affiliate's; of another one's bucket nothing is read.
            let bucket = store.bucket(&id).await?;
            let visible = bucket.is_some_and(|bucket| {
                let affiliate = Some(bucket.affiliate_id.as_str());
                self.scope.require(affiliate).is_ok()
                    && (self.affiliate.is_none() || self.affiliate == affiliate)
            });
            return Ok(if visible { vec![of_list(keys::bucket_list(&id))] } else { Vec::new() });
        }
        let affiliates: Vec<&str> = match (self.affiliate, self.scope) {
            (Some(affiliate), _) => vec![affiliate],
            (None, Scope::Of(affiliates)) => affiliates.iter().map(String::as_str).collect(),
            (None, Scope::All) => {
                return Ok(keys::all_lists().map(|list| stream(Order::AllCreated, list)).collect());
            }
        };
        let mut buckets = Vec::new();
        // A few at a time, so that no more are read than are merged, or not many.
        for some in affiliates.chunks(10) {
            let found = try_join_all(some.iter().map(|affiliate| buckets_of(store, affiliate))).await?;
            buckets.extend(found.into_iter().flatten());
            if affiliates.len() + buckets.len() > LISTS_MAX {
                return Err(ApiError::bad_request(TOO_MANY));
            }
        }
        let unassigned = affiliates.iter().map(|affiliate| keys::affiliates_unassigned(affiliate));
        let assigned = buckets.iter().map(|bucket| keys::bucket_list(&bucket.id));
        Ok(unassigned.chain(assigned).map(of_list).collect())
    }
}

async fn buckets_of(store: &Store, affiliate: &str) -> Result<Vec<Bucket>, StoreError> {
    let mut all: Vec<Bucket> = Vec::new();
    loop {
        let last = all.last().map(|last| keys::created_then_id(last.created_date, last.id.as_str()));
        let StoredBuckets { buckets, exhausted } =
            store.buckets(Some(affiliate), last.as_deref(), LISTS_MAX).await?;
        all.extend(buckets);
        if exhausted || all.len() >= LISTS_MAX {
            return Ok(all);
        }
    }
}

struct Found {
    places: Vec<ListPlace>,
    next: Option<String>,
}

/// Merges lists, newest first, until `limit` places have the status.
async fn newest(
    store: &Store,
    streams: &mut [Stream],
    status: Option<&str>,
    limit: usize,
) -> Result<Found, StoreError> {
    let accepts = |place: &ListPlace| status.is_none_or(|status| place.status == status);
    let mut places = Vec::new();
    let mut last_seen: Option<String> = None;
    // Each of several lists holds a part of the page only; what one lacks is read on.
    let mut chunk = (2 * limit).div_ceil(streams.len().max(1)).clamp(10, 1000);
    for _ in 0..ROUNDS_MAX {
        try_join_all(streams.iter_mut().map(|stream| stream.refill(store, chunk))).await?;
        chunk = (chunk * 2).min(1000);
        // Until a list that may hold more runs dry, the greatest of all heads is the next.
        loop {
            if streams.iter().any(|stream| stream.buffer.is_empty() && !stream.exhausted) {
                break;
            }
            let heads = streams.iter_mut().filter(|stream| !stream.buffer.is_empty());
            let greatest = heads.max_by(|one, other| one.head().cmp(&other.head()));
            let Some(next) = greatest.and_then(|stream| stream.buffer.pop_front()) else {
                return Ok(Found { places, next: None });
            };
            // One that moves meanwhile may be in the list that it left and in the one that it came to.
            if last_seen.as_ref() == Some(&next.key) {
                continue;
            }
            if places.len() == limit {
                return Ok(Found { places, next: last_seen });
            }
            last_seen = Some(next.key.clone());
            if accepts(&next) {
                places.push(next);
            }
        }
    }
    let next = last_seen.or_else(|| streams.iter().map(|stream| stream.before.clone()).max());
    Ok(Found { places, next })
}

impl Stream {
    fn head(&self) -> Option<&str> {
        self.buffer.front().map(|place| place.key.as_str())
    }

    async fn refill(&mut self, store: &Store, limit: usize) -> Result<(), StoreError> {
        if self.exhausted || !self.buffer.is_empty() {
            return Ok(());
        }
        let newest = store.newest(self.order, &self.list, &self.before, limit).await?;
        self.exhausted = newest.exhausted;
        if let Some(last) = newest.places.last() {
            self.before.clone_from(&last.key);
        }
        self.buffer = newest.places.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::model::Timestamp;

    #[test]
    fn the_first_page_begins_above_every_place() {
        let id = ClientId::new("\u{10ffff}");
        assert!(keys::moment_then_id(Timestamp::MAX, &id).as_str() < keys::LAST);
    }
}
