//! The work of the two Leads endpoints (CONTRACT.md, section 2): who may ask, which leads
//! answer, in which order, and from where on.

mod cursor;
#[cfg(any(test, feature = "doors"))]
#[doc(hidden)]
pub mod doors;
mod listing;
#[cfg(test)]
mod paging;

use crate::App;
use crate::auth::{Authentication, Presented};
use crate::error::ApiError;
use crate::http::{self, Answer, Envelope, Exchange, Response, TokenHeader};
use crate::model::{Bucket, BucketId, KeyBy, Keys, LeadsQuery, TokenId, quote};
use crate::store::{PlacedLead, Store, StoreError, keys};
use cursor::Cursor;
use lambda_http::Request;
pub use listing::Places;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Largest request body: 5,000 of the longest emails fit.
pub const BODY_MAX: usize = 2 * 1024 * 1024;
/// Largest answer as the function returns it, a JSON text within JSON, which must stay below
/// Lambda's 6 MB: a page ends early before it, and says where to go on.
const ANSWER_MAX: usize = 11 * 512 * 1024;

/// Published: there is no such bucket.
pub const NO_BUCKET: &str = "Bucket with corresponding affiliateID doesn't exist";
/// Published: the bucket is another affiliate's.
pub const NOT_THE_AFFILIATES: &str = "Provided bucketId does not belong to the provided affiliateID";
/// Published: the source is none of the bucket's.
pub const NOT_THE_BUCKETS: &str = "Provided sourceId does not belong to bucket";

/// What the path asks for.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// `{bucketId}`
    pub bucket_id: &'a str,
    /// `{affiliateID}`
    pub affiliate_id: &'a str,
    /// `{sourceId}`, on the endpoint that has it.
    pub source_id: Option<&'a str>,
}

/// Answers a request of either endpoint.
pub async fn respond(app: &App, request: &Request, path: Path<'_>) -> Response {
    let answer = async |exchange: &mut Exchange| answer(app, exchange, request, path).await;
    Exchange::run(app, Envelope::Platform, request, answer).await
}

async fn answer(
    app: &App,
    exchange: &mut Exchange,
    request: &Request,
    path: Path<'_>,
) -> Result<Answer, ApiError> {
    let presented = Presented::read(TokenHeader::Authorization.read(request))?;
    let query = http::json_body(request, BODY_MAX).and_then(|body| Ok(LeadsQuery::parse(body)?));
    let bucket_id = BucketId::parse(path.bucket_id);
    // An id that can't be a bucket's has no leads to search.
    let search = query.and_then(|query| {
        bucket_id.as_ref().map(|bucket_id| Search::new(query, bucket_id, path)).transpose()
    });

    let expected = app.served.take(presented.token_id(), path);
    let early = async {
        match &search {
            Ok(Some(search)) if expected => Ok(Some(search.run(app).await)),
            _ => Ok(None),
        }
    };
    let address = exchange.address();
    let look_up = async {
        let (authentication, bucket) = look_up(app, &presented, address, bucket_id.as_ref(), path).await?;
        exchange.caller(authentication)?.require_view(path.affiliate_id)?;
        Ok::<_, ApiError>(bucket)
    };
    // A refusal does not wait for what it would not show.
    let (bucket, early) = futures_util::future::try_join(look_up, early).await?;
    let (Some(search), Some(bucket)) = (search?, bucket) else {
        return Err(ApiError::BadRequest(NO_BUCKET.into()));
    };
    if let Some(problem) = path.problem(&bucket) {
        return Err(ApiError::BadRequest(problem.into()));
    }
    app.served.note(presented.token_id(), path);
    let found = match early {
        Some(found) => found?,
        None => search.run(app).await?,
    };
    search.render(&found)
}

/// Reads the token, and the bucket with it unless it was read a moment ago.
async fn look_up(
    app: &App,
    presented: &Presented,
    address: Option<IpAddr>,
    bucket_id: Option<&BucketId>,
    path: Path<'_>,
) -> Result<(Authentication, Option<Arc<Bucket>>), StoreError> {
    let serves = |bucket: &Bucket| path.problem(bucket).is_none();
    let known = bucket_id.and_then(|id| app.buckets.get(id, serves));
    match bucket_id.filter(|_| known.is_none()) {
        None => Ok((app.auth.authenticate(presented, address).await?, known)),
        Some(id) => {
            let since = Instant::now();
            let (authentication, bucket) = app.auth.authenticate_with_bucket(presented, address, id).await?;
            let views = matches!(&authentication, Authentication::Accepted(caller)
                if caller.require_view(path.affiliate_id).is_ok());
            // What a refused request read is not remembered: the next one's calls would tell whose the bucket is.
            let bucket = match bucket {
                Some(bucket) if !views => Some(Arc::new(bucket)),
                bucket => app.buckets.note(id, since, bucket),
            };
            Ok((authentication, bucket))
        }
    }
}

impl Path<'_> {
    /// The published message of what the path says wrongly about the bucket.
    fn problem(&self, bucket: &Bucket) -> Option<&'static str> {
        if bucket.affiliate_id != self.affiliate_id {
            return Some(NOT_THE_AFFILIATES);
        }
        let assigned = self.source_id.is_none_or(|source| bucket.sources.iter().any(|own| own == source));
        (!assigned).then_some(NOT_THE_BUCKETS)
    }
}

/// Buckets that this instance read a moment ago, so that a partner who pages does not pay for the
/// bucket with each page. What would refuse a request is always read afresh, so that a new bucket
/// or source works at once; one that was taken away may answer for [`Buckets::MAX_AGE`] more.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<HashMap<BucketId, (Instant, Arc<Bucket>)>>);

impl Buckets {
    /// Oldest record that still serves.
    pub const MAX_AGE: Duration = Duration::from_secs(5);
    const MAX: usize = 256;

    fn get(&self, id: &BucketId, serves: impl Fn(&Bucket) -> bool) -> Option<Arc<Bucket>> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, bucket) = cache.get(id)?;
        (since.elapsed() < Self::MAX_AGE && serves(bucket)).then(|| bucket.clone())
    }

    /// Takes what was read, from this moment on.
    fn note(&self, id: &BucketId, since: Instant, bucket: Option<Bucket>) -> Option<Arc<Bucket>> {
        let Some(bucket) = bucket.map(Arc::new) else {
            self.forget(id);
            return None;
        };
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= Self::MAX {
            cache.clear();
        }
        cache.insert(id.clone(), (since, bucket.clone()));
        Some(bucket)
    }

    /// Drops a record that this instance changed itself.
    pub fn forget(&self, id: &BucketId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Who was served which path by this instance within the last minute. Such a request will most
/// likely be served again, so its reads begin beside the look-ups that decide it. Nothing of them
/// is answered before those are done; a refused request was not served, so it costs no such reads.
#[derive(Debug, Default)]
pub struct Served(Mutex<HashMap<(TokenId, String), Instant>>);

impl Served {
    const MEMORY: Duration = Duration::from_secs(60);
    const MAX: usize = 1000;

    /// Forgets it as well: a request that comes to be refused leaves nothing behind.
    fn take(&self, token: &TokenId, path: Path<'_>) -> bool {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        served
            .remove(&(token.clone(), format!("{path:?}")))
            .is_some_and(|since| since.elapsed() < Self::MEMORY)
    }

    fn note(&self, token: &TokenId, path: Path<'_>) {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if served.len() >= Self::MAX {
            served.clear();
        }
        served.insert((token.clone(), format!("{path:?}")), Instant::now());
    }
}

/// A request that is right in itself: which leads it means, and from where on.
struct Search<'a> {
    query: LeadsQuery,
    affiliate_id: &'a str,
    /// The bucket's list.
    list: String,
    /// The source's part of it, on the endpoint that has one.
    source_list: Option<String>,
    /// See [`Search::fingerprint`].
    fingerprint: OnceLock<[u8; 32]>,
    after: Option<Cursor>,
    /// How many leads it may look at where filters drop them: [`listing::READ_MAX`].
    read_max: usize,
}

/// What a search found.
#[derive(Debug, Default)]
struct Found {
    /// The page's leads, in order.
    leads: Vec<PlacedLead>,
    /// Whether more match behind them.
    more: bool,
    /// How many match in all, where that is known without reading on.
    total: Option<u64>,
    /// How many of the emails and ids given are of no lead in this bucket and source.
    missing: Option<usize>,
    /// Where to go on, where so much was read that the page ends before it is full.
    stopped: Option<Cursor>,
}

impl<'a> Search<'a> {
    fn new(query: LeadsQuery, bucket_id: &BucketId, path: Path<'a>) -> Result<Self, ApiError> {
        let list = keys::bucket_list(bucket_id);
        let source_list = path.source_id.map(|source| keys::source_list(&list, source));
        let affiliate_id = path.affiliate_id;
        let mut search = Self {
            query,
            affiliate_id,
            list,
            source_list,
            fingerprint: OnceLock::new(),
            after: None,
            read_max: listing::READ_MAX,
        };
        if let Some(text) = &search.query.cursor {
            search.after = Some(Cursor::parse(text, search.fingerprint()).ok_or(ApiError::BadRequest(
                "cursor must be the x-next-cursor of an answer to the same bucket and filters".into(),
            ))?);
        }
        Ok(search)
    }

    /// What a cursor of this search is bound to. Most searches by emails need none, and it takes as long as
    /// they are many.
    fn fingerprint(&self) -> &[u8; 32] {
        self.fingerprint
            .get_or_init(|| cursor::fingerprint(self.source_list.as_ref().unwrap_or(&self.list), &self.query))
    }

    async fn run(&self, app: &App) -> Result<Found, StoreError> {
        match &self.query.keys {
            Some(keys) => self.by_keys(&app.store, keys).await,
            None => self.by_list(app).await,
        }
    }

    /// How many matching leads come before this page.
    fn skipped(&self) -> u64 {
        self.after.as_ref().map_or(self.query.offset, |cursor| cursor.position + cursor.skip)
    }

    async fn by_keys(&self, store: &Store, keys: &Keys) -> Result<Found, StoreError> {
        let mut here = store.leads_by_keys(keys).await?;
        here.retain(|placed| match &self.source_list {
            Some(_) => placed.source_list == self.source_list,
            None => placed.list == self.list,
        });
        let missing = keys.emails.len() + keys.ids.len() - here.len();
        let order = self.order();
        here.retain(|placed| self.query.filters.accept(&placed.lead));
        // A lead that was given both by email and by id comes once; where a change came between the two reads, as
        // it is now.
        here.sort_unstable_by(|one, other| {
            (&one.lead.id, other.lead.updated_date).cmp(&(&other.lead.id, one.lead.updated_date))
        });
        here.dedup_by(|one, other| one.lead.id == other.lead.id);
        here.sort_unstable_by(|one, other| order.place(&one.lead).cmp(&order.place(&other.lead)));
        let total = here.len();
        let start = match &self.after {
            Some(cursor) => here.partition_point(|placed| order.sort_key(&placed.lead) <= cursor.key),
            None => usize::try_from(self.query.offset).unwrap_or(usize::MAX).min(total),
        };
        here.drain(..start);
        here.truncate(self.query.limit);
        let leads = here;
        Ok(Found {
            more: start + leads.len() < total,
            leads,
            total: Some(total as u64),
            missing: Some(missing),
            stopped: None,
        })
    }

    fn render(&self, found: &Found) -> Result<Answer, ApiError> {
        let mut body = Vec::with_capacity(2 + found.leads.len() * 280);
        let mut affiliate_id = Vec::new();
        quote(self.affiliate_id, &mut affiliate_id);
        body.push(b'{');
        // Length as part of another JSON text, of what was counted so far.
        let (mut shown, mut returned, mut counted) = (0, 1, 0);
        for PlacedLead { lead, .. } in &found.leads {
            let before = body.len();
            if shown > 0 {
                body.push(b',');
            }
            let key = match self.query.key_by {
                KeyBy::Id if !lead.id.as_str().is_empty() => lead.id.as_str(),
                KeyBy::Id | KeyBy::Email => &lead.email,
            };
            quote(key, &mut body);
            body.push(b':');
            lead.write(&affiliate_id, &mut body);
            // No text gets longer than twice its length.
            if body.len() * 2 > ANSWER_MAX {
                returned += escaped_len(&body[counted..]);
                counted = body.len();
                if returned > ANSWER_MAX {
                    body.truncate(before);
                    break;
                }
            }
            shown += 1;
        }
        body.push(b'}');
        let body = String::from_utf8(body).map_err(|_| StoreError::malformed("lead"))?;
        let mut answer = Answer::json(200, body);
        if let Some(total) = found.total {
            answer = answer.header("x-total-count", total);
        }
        if let Some(missing) = found.missing {
            answer = answer.header("x-missing-count", missing);
        }
        if found.more || shown < found.leads.len() {
            let position = self.skipped() + shown as u64;
            if let Some(last) = found.leads[..shown].last() {
                let cursor = Cursor { position, skip: 0, key: self.order().sort_key(&last.lead) };
                answer = answer
                    .header("x-next-offset", position)
                    .header("x-next-cursor", cursor.to_text(self.fingerprint()));
            }
        } else if let Some(cursor) = &found.stopped {
            // An offset that does not grow would be asked for over and over.
            if shown > 0 {
                answer = answer.header("x-next-offset", cursor.position);
            }
            answer = answer.header("x-next-cursor", cursor.to_text(self.fingerprint()));
        }
        Ok(answer)
    }
}

/// Length of a JSON text as part of another one.
fn escaped_len(json: &[u8]) -> usize {
    json.len() + json.iter().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}
