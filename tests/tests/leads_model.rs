//! Both Leads endpoints against a naive model of them: the contract's sentences over a plain list.

use futures_util::stream::{StreamExt, iter};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use shared::model::{Client, ClientId, Permission, Role, RoleId, Timestamp, TokenRecord, Whitelist};
use shared::secret::Token;
use shared::store::counters;
use std::collections::{BTreeMap, HashSet};
use tests::{Answer, TestApp, encoded, new_client};

const SEED: u64 = 0x1ead5;
const SINGLE_QUERIES: usize = 3500;
const WALKS: usize = 200;
const AT_ONCE: usize = 4;
/// Share of requests with a token that no function has seen.
const COLD: f64 = 0.3;

const SECOND: i64 = 1000;
const CELL: i64 = 4 * 3_600_000;
const DAY: i64 = 86_400_000;
/// 2286-11-20T17:46:39.999Z, the last moment there is.
const LAST: i64 = 9_999_999_999_999;
/// 2026-03-14T08:00:00Z: begins a cell that holds most of the leads.
const BUSY: i64 = 1_773_475_200_000;

const STATUSES: [&str; 7] = ["new", "active", "New", "no answer", "отказ", "#", "depositor"];

/// A bucket and its sources, assigned or not.
struct Place {
    bucket: &'static str,
    affiliate: &'static str,
    sources: &'static [&'static str],
    leads: usize,
}

const PLACES: [Place; 4] = [
    Place { bucket: "large", affiliate: "AFF-1", sources: &["ads", "Mail #1/2 %"], leads: 3600 },
    Place { bucket: "same-affiliate", affiliate: "AFF-1", sources: &["other"], leads: 250 },
    Place { bucket: "without-sources", affiliate: "кл 2", sources: &[], leads: 250 },
    Place { bucket: "same-source", affiliate: "AFF-3", sources: &["ads"], leads: 400 },
];

/// What the model knows of a lead.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    email: String,
    /// The email as emails are compared.
    email_key: String,
    source: Option<&'static str>,
    status: &'static str,
    created: i64,
    updated: i64,
    ftd: Option<i64>,
}

// ---------------------------------------------------------------- leads

/// Moments at which counting and paging could go wrong.
fn any_moment(rng: &mut StdRng) -> i64 {
    let edge = rng.random_range(-1..=1);
    let moment = match rng.random_range(0..100) {
        // The busy cell: one millisecond, one second, its first and last second, all of it.
        0..8 => BUSY + 5_000_123,
        8..18 => BUSY + 5_000_000 + rng.random_range(0..SECOND),
        18..22 => BUSY + rng.random_range(0..SECOND),
        22..26 => BUSY + CELL - 1 - rng.random_range(0..SECOND),
        26..34 => BUSY + rng.random_range(0..240) * 60_000 + edge,
        34..58 => BUSY + rng.random_range(0..CELL),
        // Bounds of cells, of the busy one and its neighbours above all.
        58..66 => BUSY + rng.random_range(-3..=3) * CELL + edge,
        66..72 => BUSY + rng.random_range(-3000..3000) * CELL + edge,
        // Bounds of months and years, a leap day among them.
        72..82 => {
            let bounds = [
                946_684_800_000,   // 2000-01-01
                1_709_164_800_000, // 2024-02-29
                1_709_251_200_000, // 2024-03-01
                1_735_689_600_000, // 2025-01-01
                1_772_323_200_000, // 2026-03-01
                1_775_001_600_000, // 2026-04-01
                4_107_542_400_000, // 2100-03-01
            ];
            *bounds.choose(rng).unwrap() + edge * rng.random_range(1..3)
        }
        // Both ends of time.
        82..86 => *[0, 0, 1, 999, 1000, CELL - 1, CELL, CELL + 1, DAY - 1, DAY].choose(rng).unwrap(),
        86..90 => LAST - *[0, 0, 1, 998, 999, 1000, LAST % CELL, LAST % CELL + 1].choose(rng).unwrap(),
        _ => rng.random_range(0..=LAST),
    };
    moment.clamp(0, LAST)
}

fn any_id(rng: &mut StdRng, number: usize) -> String {
    match rng.random_range(0..8) {
        0 => format!("{number:024x}"),
        1 => format!("{number}"),
        2 => format!("legacy #{number}$ кл"),
        3 => format!("{}!{number}", ["A", "a", "é", "~", "-"].choose(rng).unwrap()),
        4 => format!("{number:0>128}"),
        _ => any_uuid(rng),
    }
}

/// A UUID that the seed decides, so that a failure repeats.
fn any_uuid(rng: &mut StdRng) -> String {
    let hex = format!("{:032x}", rng.random::<u128>());
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn any_case(rng: &mut StdRng, text: &str) -> String {
    text.chars()
        .map(
            |c| {
                if rng.random_bool(0.5) { c.to_uppercase().to_string() } else { c.to_lowercase().to_string() }
            },
        )
        .collect()
}

fn make_leads(rng: &mut StdRng) -> Vec<Vec<Known>> {
    let mut number = 0;
    let mut make = |rng: &mut StdRng, place: &Place| {
        number += 1;
        let created = any_moment(rng);
        let updated = match rng.random_range(0..3) {
            0 => created,
            1 => (created + rng.random_range(0..3) * SECOND).min(LAST),
            _ => any_moment(rng),
        };
        let plain = format!("{}{number}@{}", ["lead", "ünï.", "o'n+"].choose(rng).unwrap(), "example.com");
        Known {
            id: any_id(rng, number),
            email: if rng.random_bool(0.5) { plain.clone() } else { any_case(rng, &plain) },
            email_key: plain,
            source: match rng.random_range(0..10) {
                0 => None,
                // One that is not assigned, or no longer.
                1 => Some("gone"),
                2..8 => place.sources.first().copied(),
                _ => place.sources.last().copied(),
            },
            status: STATUSES.choose(rng).unwrap(),
            created,
            updated,
            ftd: rng.random_bool(0.4).then(|| any_moment(rng)),
        }
    };
    PLACES.iter().map(|place| (0..place.leads).map(|_| make(rng, place)).collect()).collect()
}

fn to_client(place: &Place, lead: &Known) -> Client {
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    Client {
        id: ClientId::new(&*lead.id),
        status: lead.status.to_owned(),
        created_date: at(lead.created),
        updated_date: at(lead.updated),
        ftd: lead.ftd.map(at),
        ..new_client(&lead.email, place.affiliate, place.bucket, lead.source)
    }
}

/// Moves counts between the shards of their counters, below zero in some, as sign-ups that meet
/// each other and leads that move do. The sums stay what they are.
async fn spread_counters(app: &TestApp, rng: &mut StdRng, place: &Place, leads: &[Known]) {
    use aws_sdk_dynamodb::types::AttributeValue::{N, S};
    for lead in leads.iter().step_by(10) {
        let placed = shared::store::PlacedLead::of(&to_client(place, lead));
        let (to, from) = (rng.random_range(0..counters::SHARDS), rng.random_range(0..counters::SHARDS));
        for list in [Some(&placed.list), placed.source_list.as_ref()].into_iter().flatten() {
            for (shard, change) in [(to, 1), (from, -1)] {
                for counter in counters::of_moment(list, placed.lead.created_date, shard) {
                    let buckets = &app.store().tables().buckets;
                    let update = app.store().sdk().update_item().table_name(buckets);
                    let update = update.key("pk", S(counter.pk)).key("sk", S(counter.sk));
                    let update = update.update_expression("ADD #count :change");
                    let update = update.expression_attribute_names("#count", counter.attribute);
                    update
                        .expression_attribute_values(":change", N(change.to_string()))
                        .send()
                        .await
                        .unwrap();
                }
            }
        }
    }
}

// ---------------------------------------------------------------- queries

type Bounds = (Option<i64>, Option<i64>);

/// A request without its paging.
#[derive(Clone, Debug)]
struct Query {
    place: usize,
    source: Option<&'static str>,
    emails: Vec<String>,
    ids: Vec<String>,
    by_id: bool,
    created: Option<Bounds>,
    updated: Option<Bounds>,
    statuses: Vec<&'static str>,
    /// The body with all of that, in one of the forms it can be written in.
    body: Map<String, Value>,
}

fn any_bounds(rng: &mut StdRng, leads: &[Known], moment: fn(&Known) -> i64) -> Bounds {
    let side = |rng: &mut StdRng| {
        let of_lead = moment(leads.choose(rng).unwrap());
        match rng.random_range(0..16) {
            0..4 => None,
            4..8 => Some(of_lead),
            8 => Some(of_lead - 1),
            9 => Some(of_lead + 1),
            10 => Some(of_lead - of_lead % SECOND),
            11 => Some(of_lead - of_lead % SECOND + SECOND - 1),
            12 => Some(of_lead - of_lead % CELL + rng.random_range(-1..=1)),
            13 => Some(BUSY + rng.random_range(0..CELL)),
            14 => Some(*[i64::MIN, -1, 0, 1, LAST - 1, LAST, LAST + 1, i64::MAX].choose(rng).unwrap()),
            _ => Some(rng.random_range(0..=LAST)),
        }
    };
    match (side(rng), side(rng)) {
        (Some(from), Some(to)) => (Some(from.min(to)), Some(from.max(to))),
        open => open,
    }
}

fn bounds_json(rng: &mut StdRng, (from, to): Bounds) -> Value {
    let mut side = |side: Option<i64>| match side {
        Some(millis) if rng.random_bool(0.5) => json!(millis),
        Some(millis) => json!(millis.to_string()),
        None => Value::Null,
    };
    json!([side(from), side(to)])
}

/// Emails or ids: of this place, of other ones, of nobody, some of them twice.
fn any_keys(rng: &mut StdRng, leads: &[Vec<Known>], place: usize, key: fn(&Known) -> &str) -> Vec<String> {
    let count = match rng.random_range(0..20) {
        0 => rng.random_range(90..500),
        1..4 => 0,
        _ => rng.random_range(1..15),
    };
    let mut keys: Vec<String> = Vec::with_capacity(count);
    for _ in 0..count {
        let own = key(leads[place].choose(rng).unwrap());
        let given = match rng.random_range(0..20) {
            0 | 1 => key(leads.choose(rng).unwrap().choose(rng).unwrap()).to_owned(),
            2 => format!("nobody{}@example.com", rng.random_range(0..3)),
            3 => ["", "#", "E#", &"x".repeat(300)].choose(rng).unwrap().to_string(),
            4 | 5 if !keys.is_empty() => keys.choose(rng).unwrap().clone(),
            // Another spelling: the same email, another id.
            6..10 => any_case(rng, own),
            10 => format!(" {own}\t"),
            _ => own.to_owned(),
        };
        keys.push(given);
    }
    keys
}

fn any_query(rng: &mut StdRng, leads: &[Vec<Known>]) -> Query {
    // Most questions are about the place with most leads.
    let place = if rng.random_bool(0.7) { 0 } else { rng.random_range(0..PLACES.len()) };
    let sources = PLACES[place].sources;
    let source = if rng.random_bool(0.4) { sources.choose(rng).copied() } else { None };
    let by_keys = rng.random_bool(0.35);
    let (mut emails, mut ids) = (vec![], vec![]);
    if by_keys {
        emails = any_keys(rng, leads, place, |lead| &lead.email);
        ids = any_keys(rng, leads, place, |lead| &lead.id);
    }
    let created = rng.random_bool(0.5).then(|| any_bounds(rng, &leads[place], |lead| lead.created));
    let updated = rng.random_bool(0.25).then(|| any_bounds(rng, &leads[place], |lead| lead.updated));
    let mut statuses = vec![];
    if rng.random_bool(0.25) {
        let known = STATUSES.into_iter().chain(["unknown"]).collect::<Vec<_>>();
        statuses = (0..rng.random_range(0..5)).map(|_| *known.choose(rng).unwrap()).collect();
    }
    let by_id = rng.random_bool(0.5);

    let mut body = Map::new();
    let mut put = |object: &mut Map<String, Value>, name: &str, value: Option<Value>| {
        match value {
            Some(value) => object.insert(name.into(), value),
            None if rng.random_bool(0.1) => object.insert(name.into(), Value::Null),
            None => None,
        };
    };
    let mut filters = Map::new();
    let filled = |keys: &[String]| (!keys.is_empty()).then(|| json!(keys));
    put(&mut body, "emails", filled(&emails));
    put(&mut body, "ids", filled(&ids));
    put(&mut body, "keyBy", by_id.then(|| json!("id")));
    put(&mut filters, "status", (!statuses.is_empty()).then(|| json!(statuses)));
    for (name, bounds) in [("createdDate", created), ("updatedDate", updated)] {
        if let Some(bounds) = bounds {
            filters.insert(name.into(), bounds_json(rng, bounds));
        }
    }
    if !filters.is_empty() {
        body.insert("filters".into(), filters.into());
    }
    Query { place, source, emails, ids, by_id, created, updated, statuses, body }
}

// ---------------------------------------------------------------- the model

/// What the contract says of a query.
struct Expected<'a> {
    /// All leads that match, in order.
    matching: Vec<&'a Known>,
    /// How many of the emails and ids given are of no lead here.
    missing: Option<usize>,
}

fn expected<'a>(query: &Query, leads: &'a [Known]) -> Expected<'a> {
    let emails: HashSet<String> = query.emails.iter().map(|email| email.trim().to_lowercase()).collect();
    let ids: HashSet<&str> = query.ids.iter().map(String::as_str).collect();
    let by_keys = !emails.is_empty() || !ids.is_empty();
    let within = |bounds: Option<Bounds>, moment: i64| {
        let (from, to) = bounds.unwrap_or_default();
        from.is_none_or(|from| from <= moment) && to.is_none_or(|to| moment <= to)
    };
    let (mut matching, mut found) = (vec![], 0);
    for lead in leads.iter().filter(|lead| query.source.is_none() || lead.source == query.source) {
        let asked = [emails.contains(&lead.email_key), ids.contains(lead.id.as_str())];
        found += asked.iter().filter(|asked| **asked).count();
        if (!by_keys || asked.contains(&true))
            && within(query.created, lead.created)
            && within(query.updated, lead.updated)
            && (query.statuses.is_empty() || query.statuses.contains(&lead.status))
        {
            matching.push(lead);
        }
    }
    let moment = |lead: &Known| if query.updated.is_some() { lead.updated } else { lead.created };
    matching.sort_by(|a, b| (moment(a), &a.id).cmp(&(moment(b), &b.id)));
    Expected { matching, missing: by_keys.then(|| emails.len() + ids.len() - found) }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, counted up year by year and month by month.
fn iso(millis: i64) -> String {
    let (mut days, rest) = (millis / DAY, millis % DAY);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", days + 1)
}

/// The body to the byte.
fn body_of(query: &Query, page: &[&Known]) -> String {
    let entry = |lead: &&Known| {
        let key = json!(if query.by_id { &lead.id } else { &lead.email });
        let (id, email, status) = (json!(lead.id), json!(lead.email), json!(lead.status));
        let (affiliate, created) = (json!(PLACES[query.place].affiliate), iso(lead.created));
        let ftd = lead.ftd.map_or(Value::Null, |ftd| iso(ftd).into());
        format!(
            r#"{key}:{{"id":{id},"email":{email},"affiliateID":{affiliate},"status":{status},"createdDate":"{created}","ftd":{ftd}}}"#
        )
    };
    format!("{{{}}}", page.iter().map(entry).collect::<Vec<_>>().join(","))
}

// ---------------------------------------------------------------- the comparison

struct Run {
    app: TestApp,
    leads: Vec<Vec<Known>>,
    /// A token that both functions know after its first request: their reads begin beside its look-up.
    warm: String,
}

/// Where a page begins, as the request says it.
#[derive(Clone, Debug)]
enum Start {
    Nothing,
    Offset(usize),
    /// A cursor, and the place that it stands for.
    Cursor(String, usize),
}

impl Run {
    /// The token that both functions know, or one that none has seen.
    async fn token(&self, cold: bool) -> String {
        if cold { token(&self.app).await } else { self.warm.clone() }
    }

    /// Asks for one page and compares all of the answer.
    async fn compare(
        &self,
        query: &Query,
        Expected { matching, missing }: &Expected<'_>,
        start: &Start,
        limit: Option<usize>,
        token: &str,
    ) -> Answer {
        let place = &PLACES[query.place];
        let mut body = query.body.clone();
        if let Some(limit) = limit {
            body.insert("limit".into(), limit.into());
        }
        let from = match start {
            Start::Nothing => 0,
            Start::Offset(offset) => {
                body.insert("offset".into(), (*offset).into());
                *offset
            }
            Start::Cursor(cursor, place) => {
                body.insert("cursor".into(), cursor.as_str().into());
                *place
            }
        };
        let (body, affiliate) = (body.into(), encoded(place.affiliate));
        let answer = match query.source {
            None => self.app.leads(token, place.bucket, &affiliate, &body).await,
            Some(source) => {
                self.app.leads_by_source(token, place.bucket, &affiliate, &encoded(source), &body).await
            }
        };

        let first = from.min(matching.len());
        let page = &matching[first..matching.len().min(first + limit.unwrap_or(100))];
        let text = body_of(query, page);
        let next = first + page.len();
        let more = next < matching.len();
        let mut headers = BTreeMap::new();
        if more {
            headers.insert("x-next-offset", next.to_string());
        }
        if let Some(missing) = missing {
            headers.insert("x-missing-count", missing.to_string());
        }
        // Only a filter that has no counters may leave the total out.
        let total = answer.header("x-total-count").map(str::to_owned);
        if total.is_some() || (query.updated.is_none() && query.statuses.is_empty()) {
            headers.insert("x-total-count", matching.len().to_string());
        }
        let shown: BTreeMap<&str, String> = ["x-next-offset", "x-missing-count", "x-total-count"]
            .into_iter()
            .filter_map(|name| Some((name, answer.header(name)?.to_owned())))
            .collect();
        let is_right = (answer.status, &answer.text, &shown) == (200, &text, &headers)
            && answer.header("x-next-cursor").is_some() == more;
        let [answered, expected] = if is_right { Default::default() } else { excerpts(&answer.text, &text) };
        assert!(
            is_right,
            "{}/{}/{:?} {body}\n{start:?}\nanswered: {} {shown:?} cursor {:?}\n{answered}\nexpected: 200 {headers:?} more {more}\n{expected}",
            place.bucket,
            place.affiliate,
            query.source,
            answer.status,
            answer.header("x-next-cursor"),
        );
        answer
    }

    /// Reads a query to its end, and compares what the pages hold together.
    async fn walk(
        &self,
        query: &Query,
        expected: &Expected<'_>,
        limit: usize,
        by_cursor: bool,
        token: &str,
    ) -> usize {
        let (mut met, mut start, mut pages) = (Vec::new(), Start::Nothing, 0);
        loop {
            let answer = self.compare(query, expected, &start, Some(limit), token).await;
            met.extend(answer.keys());
            pages += 1;
            start = match (by_cursor, answer.header("x-next-cursor"), answer.header("x-next-offset")) {
                (true, Some(cursor), _) => Start::Cursor(cursor.to_owned(), met.len()),
                (false, _, Some(offset)) => Start::Offset(offset.parse().unwrap()),
                _ => break,
            };
        }
        let key = |lead: &&Known| if query.by_id { lead.id.clone() } else { lead.email.clone() };
        let all: Vec<_> = expected.matching.iter().map(key).collect();
        assert_eq!(met, all, "by cursor: {by_cursor}, {limit} a page, {query:?}");
        pages
    }
}

/// A token of the role that reads the affiliates' leads.
async fn token(app: &TestApp) -> String {
    let token = Token::generate().unwrap();
    let digest = token.digest();
    let record = TokenRecord {
        id: digest.token_id(),
        name: "Test".into(),
        role_id: RoleId::new("reader"),
        hint: token.hint(),
        whitelist: Whitelist::default(),
        affiliate_ids: PLACES.iter().map(|place| place.affiliate.to_owned()).collect(),
        expires_at: None,
        created_date: Timestamp::now(),
    };
    app.store().create_token(&record, &digest).await.unwrap();
    token.expose().to_owned()
}

async fn load(rng: &mut StdRng) -> Run {
    let app = TestApp::start().await;
    let permissions = [Permission::BucketsViewOwn].into_iter().collect();
    let role = Role { id: RoleId::new("reader"), name: "Reader".into(), permissions };
    app.store().create_role(&role).await.unwrap();
    let leads = make_leads(rng);
    for (place, leads) in PLACES.iter().zip(&leads) {
        app.bucket(place.bucket, place.affiliate, place.sources).await;
        let mut clients: Vec<_> = leads.iter().map(|lead| to_client(place, lead)).collect();
        clients.shuffle(rng);
        app.store_clients(&clients).await;
        spread_counters(&app, rng, place, leads).await;
    }
    let warm = token(&app).await;
    Run { app, leads, warm }
}

fn any_start(rng: &mut StdRng, matching: usize) -> Start {
    match rng.random_range(0..10) {
        0..3 => Start::Nothing,
        3 => Start::Offset(0),
        4..9 => Start::Offset(rng.random_range(0..=matching + matching / 10 + 2)),
        _ => Start::Offset(*[matching.saturating_sub(1), matching, 1_000_000_000].choose(rng).unwrap()),
    }
}

fn any_limit(rng: &mut StdRng) -> Option<usize> {
    match rng.random_range(0..50) {
        0 => Some(5000),
        1 => Some(rng.random_range(1..=5000)),
        2..5 => Some(rng.random_range(1..=400)),
        5..8 => None,
        _ => Some(rng.random_range(1..=12)),
    }
}

/// Both from a little before they differ: whole ones have thousands of leads.
fn excerpts(answered: &str, expected: &str) -> [String; 2] {
    let same = answered.chars().zip(expected.chars()).take_while(|(one, other)| one == other).count();
    [answered, expected].map(|text| text.chars().skip(same.saturating_sub(80)).take(400).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_a_naive_model() {
    let mut rng = StdRng::seed_from_u64(SEED);
    let run = load(&mut rng).await;

    // GIVEN more leads in one cell than a page skips by reading, of the bucket and of one source
    let in_busy_cell = |lead: &&Known| (BUSY..BUSY + CELL).contains(&lead.created);
    let busy: Vec<_> = run.leads[0].iter().filter(in_busy_cell).collect();
    assert!(busy.len() > 2000 && busy.iter().filter(|lead| lead.source == Some("ads")).count() > 1000);

    // WHEN anything is asked for, THEN all of the answer is the model's
    let cases: Vec<_> = (0..SINGLE_QUERIES)
        .map(|_| {
            let query = any_query(&mut rng, &run.leads);
            let expected = expected(&query, &run.leads[query.place]);
            let start = any_start(&mut rng, expected.matching.len());
            (query, expected, start, any_limit(&mut rng), rng.random_bool(COLD))
        })
        .collect();
    let singles = iter(&cases).map(async |(query, expected, start, limit, cold)| {
        run.compare(query, expected, start, *limit, &run.token(*cold).await).await;
    });
    singles.buffer_unordered(AT_ONCE).collect::<()>().await;

    // AND the pages of a walk hold every matching lead once, whichever way it goes
    let walks: Vec<_> = (0..WALKS)
        .map(|at| {
            let query = any_query(&mut rng, &run.leads);
            let expected = expected(&query, &run.leads[query.place]);
            let limit = expected.matching.len().div_ceil(rng.random_range(1..=12)).max(1);
            (query, expected, limit, at % 2 == 0, rng.random_bool(COLD))
        })
        .collect();
    let walks = iter(&walks).map(async |(query, expected, limit, by_cursor, cold)| {
        run.walk(query, expected, *limit, *by_cursor, &run.token(*cold).await).await
    });
    let pages: usize = walks.buffer_unordered(AT_ONCE).fold(0, async |sum, pages| sum + pages).await;
    println!("{SINGLE_QUERIES} single queries, {WALKS} walks of {pages} pages");
}
