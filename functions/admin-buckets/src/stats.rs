//! `GET /api/admin/buckets/{bucketId}/stats`: leads per day and per status, for charts.

use super::find;
use futures_util::future::join;
use lambda_http::Request;
use serde::Serialize;
use shared::App;
use shared::admin::{self, Parameters};
use shared::auth::Caller;
use shared::error::ApiError;
use shared::http::Answer;
use shared::model::Timestamp;
use shared::store::{counters, keys};
use std::collections::BTreeMap;

const DAY_MS: i64 = 86_400_000;
/// Most statuses of an answer, and bytes of their names: whoever signs clients up makes statuses, and an answer has
/// at most 6 MB.
const STATUSES_MAX: usize = 1000;
const STATUSES_MAX_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct Stats {
    /// All leads of the bucket, whatever `from` and `to`.
    total: u64,
    /// Days (UTC) that have leads, by `createdDate`, in order.
    days: Vec<Day>,
    /// Statuses that leads have now, the most frequent first; as many as an answer should have.
    statuses: Vec<Status>,
}

#[derive(Serialize)]
struct Day {
    day: String,
    leads: u64,
}

#[derive(Serialize)]
struct Status {
    status: String,
    leads: u64,
}

/// Answers from the counters: no lead is read. `from` and `to` limit the days.
pub(super) async fn stats(
    app: &App,
    caller: &Caller,
    request: &Request,
    id: &str,
) -> Result<Answer, ApiError> {
    let scope = caller.view_scope()?;
    let parameters = Parameters::read(request, &["from", "to"])?;
    let day = |name: &str, open: Timestamp| match parameters.get(name) {
        None => Ok(open.millis()),
        Some(text) => Timestamp::parse_iso(text).map(Timestamp::millis).ok_or_else(|| {
            ApiError::bad_request(format!("{name} must be an ISO 8601 date from 1970 to 2286"))
        }),
    };
    let (from, to) = (day("from", Timestamp::MIN)?, day("to", Timestamp::MAX)?);
    if from > to {
        return Err(ApiError::bad_request("from must not be after to"));
    }
    let bucket = find(app, scope, id).await?.value;
    let whole = Timestamp::MIN.millis()..=Timestamp::MAX.millis();
    let list = keys::bucket_list(&bucket.id);
    let (cells, statuses) = join(app.store.cells(&list, &whole), app.store.statuses(&bucket.id)).await;
    let (mut days, mut total) = (BTreeMap::<i64, u64>::new(), 0);
    for (cell, leads) in cells?.iter() {
        total += leads;
        *days.entry(counters::cell_start(cell).div_euclid(DAY_MS)).or_default() += leads;
    }
    let days = days.range(from.div_euclid(DAY_MS)..=to.div_euclid(DAY_MS));
    let mut statuses: Vec<_> =
        statuses?.into_iter().map(|(status, leads)| Status { status, leads }).collect();
    statuses.sort_by(|one, other| other.leads.cmp(&one.leads).then_with(|| one.status.cmp(&other.status)));
    let mut bytes = 0;
    let fitting = statuses.iter().take(STATUSES_MAX).take_while(|one| {
        bytes += one.status.len();
        bytes <= STATUSES_MAX_BYTES
    });
    let fitting = fitting.count();
    statuses.truncate(fitting);
    let stats = Stats {
        total,
        days: days.map(|(day, leads)| Day { day: shown(*day), leads: *leads }).collect(),
        statuses,
    };
    Ok(admin::private(Answer::of(200, &stats)?))
}

/// `YYYY-MM-DD` of a day counted from 1970.
fn shown(day: i64) -> String {
    Timestamp::clamped(day * DAY_MS).to_string().chars().take(10).collect()
}
