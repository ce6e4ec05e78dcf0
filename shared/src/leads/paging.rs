//! Property: however a partner pages, each lead comes once and in order. DynamoDB is played by a list in memory
//! that ends its pages anywhere, which the embedded engine never does.

use super::{Path, Search, doors};
use crate::App;
use crate::activity::Activity;
use crate::auth::Authenticator;
use crate::config::{Tables, TradersRoom};
use crate::http::{self, Envelope};
use crate::model::{BucketId, ClientId, Email, Lead, LeadsQuery, Timestamp};
use crate::properties::cases;
use crate::store::{self, Order, PlacedLead, Store, counters, keys};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const STATUSES: [&str; 3] = ["new", "active", "no answer"];
const SOURCES: [Option<&str>; 3] = [None, Some("ads"), Some("mail")];
/// Begins a second, a minute and a four-hour cell.
const CELL: i64 = 1_773_475_200_000;

/// A lead in few numbers: when it was created and changed, and its status and source.
type Made = (i64, i64, usize, usize);

/// Moments close together, at the ends of seconds, minutes and cells, and at those of time.
fn moment() -> impl Strategy<Value = i64> {
    let of_cell = counters::CELL_MS;
    prop_oneof![
        6 => (-1500..1500i64).prop_map(|by| CELL + 61_000 + by),
        3 => (-2..2i64).prop_map(|by| CELL + by),
        2 => (-5..5i64, -1..2i64).prop_map(move |(cells, by)| CELL + cells * of_cell + by),
        1 => select(vec![0, 1, 999, Timestamp::MAX.millis() - 1, Timestamp::MAX.millis()]),
    ]
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let lead = || (moment(), moment(), 0..STATUSES.len(), 0..SOURCES.len());
    // A cell of so many is looked into by its seconds.
    prop_oneof![6 => vec(lead(), 0..40), 1 => vec(lead(), 700..800)]
}

/// What a partner asks for.
#[derive(Clone, Debug)]
struct Asked {
    created: (Option<i64>, Option<i64>),
    updated: Option<(Option<i64>, Option<i64>)>,
    statuses: Vec<usize>,
    source: bool,
    offset: usize,
    /// Sizes of pages, and whether each goes on by cursor.
    pages: Vec<(usize, bool)>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let open = || proptest::option::weighted(0.4, moment());
    let range = || {
        (open(), open()).prop_map(|range| match range {
            (Some(from), Some(to)) if from > to => (Some(to), Some(from)),
            range => range,
        })
    };
    let pages = vec((prop_oneof![3 => 1..12usize, 1 => 1..400usize], any::<bool>()), 1..8);
    let offset = prop_oneof![2 => Just(0), 2 => 0..12usize, 1 => 0..800usize];
    (
        range(),
        proptest::option::weighted(0.3, range()),
        vec(0..STATUSES.len(), 0..4),
        any::<bool>(),
        offset,
        pages,
    )
        .prop_map(|(created, updated, statuses, source, offset, pages)| Asked {
            created,
            updated,
            statuses,
            source,
            offset,
            pages,
        })
}

/// A table's items by index, partition and place.
#[derive(Debug, Default)]
struct Fake {
    leads: Vec<BTreeMap<&'static str, String>>,
    items: Vec<Value>,
    counters: BTreeMap<(String, String), BTreeMap<String, i64>>,
    /// Lengths of pages, one after the other.
    cuts: Vec<usize>,
    calls: AtomicUsize,
}

impl Fake {
    fn new(leads: &[PlacedLead], cuts: Vec<usize>) -> Self {
        let mut fake = Self { cuts, ..Self::default() };
        for (number, lead) in leads.iter().enumerate() {
            let item = store::doors::lead_item(lead);
            let text = |name: &str| match item.get(name) {
                Some(AttributeValue::S(text)) => Some(text.clone()),
                _ => None,
            };
            let names = ["b", "bs", "bt", "c", "u"];
            fake.leads.push(names.into_iter().filter_map(|name| Some((name, text(name)?))).collect());
            fake.items.push(serde_json::from_str(&store::doors::written(&item)).expect("JSON"));
            for list in [Some(&lead.list), lead.source_list.as_ref()].into_iter().flatten() {
                let shard = (number % usize::from(counters::SHARDS)) as u8;
                for counter in counters::of_moment(list, lead.lead.created_date, shard) {
                    let counts = fake.counters.entry((counter.pk, counter.sk)).or_default();
                    *counts.entry(counter.attribute).or_default() += 1;
                }
            }
        }
        fake
    }

    /// Items whose keys lie in the asked range, in order, each with its key.
    fn matching(&self, request: &Value) -> Vec<(String, Value)> {
        let value = |name: &str| request["ExpressionAttributeValues"][name]["S"].as_str().unwrap_or_default();
        let (first, last) = (value(":first"), value(":last"));
        assert!(first <= last, "DynamoDB refuses such a range");
        let within = |key: &str| first <= key && key <= last;
        let mut found: Vec<(String, Value)> = match request["IndexName"].as_str() {
            None => {
                let own = self.counters.iter().filter(|((pk, sk), _)| pk == value(":pk") && within(sk));
                own.map(|((pk, sk), counts)| {
                    let mut item = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
                    for (name, count) in counts {
                        item[name] = json!({ "N": count.to_string() });
                    }
                    (sk.clone(), item)
                })
                .collect()
            }
            Some(index) => {
                let (partition, sort) = match index {
                    "bucket-created" => ("b", "c"),
                    "source-created" => ("bs", "c"),
                    "bucket-updated" => ("b", "u"),
                    "source-updated" => ("bs", "u"),
                    "status-created" => ("bt", "c"),
                    other => panic!("no index {other}"),
                };
                let leads = self.leads.iter().zip(&self.items);
                leads
                    .filter(|(keys, _)| keys.get(partition).is_some_and(|list| list == value(":list")))
                    .map(|(keys, item)| (keys[sort].clone(), item.clone()))
                    .filter(|(key, _)| within(key))
                    .collect()
            }
        };
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    fn query(&self, request: &Value) -> Value {
        let after = request["ExclusiveStartKey"]["place"]["S"].as_str();
        let mut found = self.matching(request);
        found.retain(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let limit = request["Limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
        let length = self.cuts[call % self.cuts.len()].min(limit);
        // A page that ends with the list may say that there is more.
        let more = found.len() >= length;
        found.truncate(length);
        let mut answer = json!({ "Count": found.len(), "ScannedCount": found.len() });
        if let (true, Some((last, _))) = (more, found.last()) {
            answer["LastEvaluatedKey"] = json!({ "place": { "S": last } });
        }
        if request["Select"] != "COUNT" {
            answer["Items"] = found.into_iter().map(|(_, item)| item).collect();
        }
        answer
    }
}

impl Fake {
    fn batch(&self, request: &Value) -> Value {
        let keys = request["RequestItems"]["clients"]["Keys"].as_array().expect("keys");
        let found = self.items.iter().filter(|item| keys.iter().any(|key| key["pk"] == item["pk"]));
        json!({ "Responses": { "clients": found.collect::<Vec<_>>() }, "UnprocessedKeys": {} })
    }
}

#[derive(Clone, Debug)]
struct Connector(Arc<Fake>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body: Value =
            serde_json::from_slice(request.body().bytes().unwrap_or_default()).expect("a request is JSON");
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let answer = match target {
            "DynamoDB_20120810.Query" => self.0.query(&body),
            "DynamoDB_20120810.BatchGetItem" => self.0.batch(&body),
            other => panic!("{other} is not called"),
        };
        let answer = answer.to_string();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            200.try_into().expect("a status"),
            SdkBody::from(answer),
        )))
    }
}

fn app(fake: Fake) -> App {
    let connector = SharedHttpConnector::new(Connector(Arc::new(fake)));
    let name = |table: &str| table.to_owned();
    let tables = Tables {
        tokens: name("tokens"),
        roles: name("roles"),
        buckets: name("buckets"),
        clients: name("clients"),
        expiring: name("expiring"),
        activity: name("activity"),
    };
    let store = Store::over(http_client_fn(move |_, _| connector.clone()), &tables);
    App {
        auth: Authenticator::new(store.clone()),
        activity: Activity::new(store.clone()),
        traders_room: TradersRoom {
            origins: Vec::new(),
            url: TradersRoom::BUILT_IN.to_owned(),
            link_lifetime: 1,
            idle_lifetime: 1,
            session_lifetime: 1,
        },
        buckets: Default::default(),
        served: Default::default(),
        places: Default::default(),
        store,
    }
}

fn leads(bucket: &BucketId, made: &[Made]) -> Vec<PlacedLead> {
    let list = keys::bucket_list(bucket);
    let at = |millis| Timestamp::from_millis(millis).expect("a moment");
    let lead = |(number, (created, updated, status, source)): (usize, &Made)| PlacedLead {
        lead: Lead {
            // Not in the order of their moments.
            id: ClientId::new(format!("{:x}", (number * 7919) % 10_007)),
            email: format!("{number}@example.com"),
            status: STATUSES[*status].to_owned(),
            created_date: at(*created),
            updated_date: at(*updated),
            ftd: None,
        },
        list: list.clone(),
        source_list: SOURCES[*source].map(|source| keys::source_list(&list, source)),
    };
    made.iter().enumerate().map(lead).collect()
}

/// One page: its ids in order, and what the answer's headers say of the next one and of the total.
async fn page(app: &App, query: LeadsQuery, bucket: &BucketId, path: Path<'_>, read_max: usize) -> Page {
    let mut search =
        Search::new(query, bucket, path).unwrap_or_else(|_| panic!("its own cursor was refused"));
    search.read_max = read_max;
    let found = search.run(app).await.expect("an answer");
    let ids = found.leads.iter().map(|placed| placed.lead.id.to_string()).collect();
    let answer = search.render(&found);
    let response = http::respond(Envelope::Platform, &lambda_http::Request::default(), |_| answer);
    let header =
        |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
    Page {
        ids,
        offset: header("x-next-offset"),
        cursor: header("x-next-cursor"),
        total: header("x-total-count"),
    }
}

#[derive(Debug)]
struct Page {
    ids: Vec<String>,
    offset: Option<String>,
    cursor: Option<String>,
    total: Option<String>,
}

/// Pages; where `read_max` is given, by cursor alone, and pages may end before they are full.
async fn walk(
    made: &[Made],
    asked: &Asked,
    cuts: Vec<usize>,
    read_max: Option<usize>,
) -> Result<(), TestCaseError> {
    let bucket = BucketId::parse("b1").expect("an id");
    let leads = leads(&bucket, made);
    let app = app(Fake::new(&leads, cuts));
    let path = Path { bucket_id: "b1", affiliate_id: "a", source_id: asked.source.then_some("ads") };
    let mut filters = json!({ "createdDate": [asked.created.0, asked.created.1] });
    if let Some((from, to)) = asked.updated {
        filters["updatedDate"] = json!([from, to]);
    }
    filters["status"] = asked.statuses.iter().map(|at| STATUSES[*at]).collect();
    let query = LeadsQuery::parse(json!({ "filters": filters }).to_string().as_bytes()).expect("a query");

    let source = keys::source_list(&keys::bucket_list(&bucket), "ads");
    let mut expected: Vec<&PlacedLead> = leads
        .iter()
        .filter(|placed| !asked.source || placed.source_list.as_ref() == Some(&source))
        .filter(|placed| query.filters.accept(&placed.lead))
        .collect();
    expected.sort_by_key(|placed| {
        let moment =
            if asked.updated.is_some() { placed.lead.updated_date } else { placed.lead.created_date };
        (moment, placed.lead.id.clone())
    });
    let all: Vec<String> = expected.iter().map(|placed| placed.lead.id.to_string()).collect();

    let (mut at, mut cursor) = (asked.offset, None::<String>);
    for (limit, by_cursor) in asked.pages.iter().cycle().take(5000) {
        let place = cursor.filter(|_| *by_cursor || read_max.is_some());
        let (offset, by) = if place.is_some() { (0, "cursor") } else { (at as u64, "offset") };
        let query = LeadsQuery { limit: *limit, offset, cursor: place, ..query.clone() };
        let page = page(&app, query, &bucket, path, read_max.unwrap_or(usize::MAX)).await;
        let here = &all[at.min(all.len())..];
        let is_short = page.cursor.is_some() && page.ids.len() < *limit;
        prop_assert!(!is_short || read_max.is_some());
        let own = &here[..here.len().min(if is_short { page.ids.len() } else { *limit })];
        prop_assert_eq!(&page.ids, own, "at {} by {}", at, by);
        if asked.updated.is_none() && asked.statuses.is_empty() {
            prop_assert_eq!(&page.total, &Some(all.len().to_string()), "at {} by {}", at, by);
        }
        // Also where the page is full, and what was read behind it did not match.
        if is_short || (read_max.is_some() && page.cursor.is_some() && own.len() == here.len()) {
            // Nobody knows whether more match.
            prop_assert_eq!(page.offset, (!own.is_empty()).then(|| (at + own.len()).to_string()));
            prop_assert_eq!(&page.total, &None);
            (at, cursor) = (at + own.len(), page.cursor);
            continue;
        }
        at += own.len();
        let more = here.len() > own.len();
        prop_assert_eq!(page.offset, more.then(|| at.to_string()));
        prop_assert_eq!(page.cursor.is_some(), more);
        cursor = page.cursor;
        if !more {
            return Ok(());
        }
    }
    Err(TestCaseError::fail("it never ends"))
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn each_lead_comes_once_and_in_order(
        made in made(), asked in asked(), cuts in vec(prop_oneof![3 => 1..9usize, 2 => 100..2000usize], 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(walk(&made, &asked, cuts, None))?;
    }

    /// Filters that drop nearly all of a long list end a page early, and lose nothing.
    #[test]
    fn pages_that_end_early_go_on_where_they_ended(
        made in made(), asked in asked(), cuts in vec(prop_oneof![3 => 1..9usize, 2 => 100..2000usize], 1..6),
        read_max in prop_oneof![0..4usize, 0..300usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(walk(&made, &asked, cuts, Some(read_max)))?;
    }
}

#[test]
fn a_lead_that_moves_between_the_lists_of_a_page_is_there_once() {
    let bucket = BucketId::parse("b1").expect("an id");
    let mut leads = leads(&bucket, &[(5, 50, 0, 0), (6, 60, 0, 0), (7, 70, 1, 0), (8, 80, 0, 0)]);
    let ids: Vec<_> = leads.iter().map(|placed| placed.lead.id.to_string()).collect();
    // It was read in the one list, left it, and is read in the other.
    let mut moved = leads[1].clone();
    moved.lead.status = STATUSES[1].to_owned();
    moved.lead.updated_date = Timestamp::from_millis(90).expect("a moment");
    leads.push(moved);
    let path = Path { bucket_id: "b1", affiliate_id: "a", source_id: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for cuts in [1, 2, 9] {
        let app = app(Fake::new(&leads, vec![cuts]));
        for (offset, limit) in [(0, 9), (0, 2), (1, 1), (1, 3), (2, 2), (3, 1), (4, 1)] {
            let body = json!({ "filters": { "status": &STATUSES[..2] }, "offset": offset, "limit": limit });
            let query = LeadsQuery::parse(body.to_string().as_bytes()).expect("a query");
            let found = runtime.block_on(page(&app, query, &bucket, path, usize::MAX));
            let end = ids.len().min(offset + limit);
            assert_eq!(found.ids, ids[offset..end], "{cuts} {body}");
            let next = (end < ids.len()).then(|| end.to_string());
            assert_eq!(found.offset, next, "{cuts} {body}");
        }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    /// Emails with letters whose small form is two letters are found however long they are.
    #[test]
    fn an_email_is_found_in_any_spelling(user in "[aİςΣ]{20,32}", label in "[aİ]{24,31}", labels in 4..7usize) {
        let text = format!("{user}@{}com", format!("{label}.").repeat(labels));
        let email = Email::parse(&text);
        prop_assume!(email.is_some(), "no address");
        let email = email.expect("an address");
        let bucket = BucketId::parse("b1").expect("an id");
        let mut leads = leads(&bucket, &[(0, 0, 0, 0)]);
        leads[0].lead.email = text.clone();
        let app = app(Fake::new(&leads, vec![1]));
        let path = Path { bucket_id: "b1", affiliate_id: "a", source_id: None };
        for spelling in [text.as_str(), email.key()] {
            let body = json!({ "emails": [spelling] }).to_string();
            let query = LeadsQuery::parse(body.as_bytes()).expect("a query");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let page = runtime.block_on(page(&app, query, &bucket, path, usize::MAX));
            prop_assert_eq!(page.ids.len(), 1, "{}", spelling);
        }
    }

    /// DynamoDB refuses a range whose end comes before its start; the list in memory does as well.
    #[test]
    fn a_range_that_holds_nothing_is_not_asked_for(start in "[0-9~]{1,3}", end in "[0-9~]{0,2}") {
        let app = app(Fake::new(&[], vec![1]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let page = app.store.page(Order::BucketCreated, "list", start..=end, 1);
        prop_assert!(runtime.block_on(page).expect("an answer").exhausted);
    }

    /// Whoever reads this source can seal a place of his own: he gets leads of his own list, or a 400.
    #[test]
    fn a_place_that_was_made_up_leads_nowhere_else(
        position in prop_oneof![any::<u64>(), u64::MAX - 4..=u64::MAX, 0..9u64], key in "\\PC{0,40}|[0-9]{13}#[a-z]{0,9}", limit in 1..5usize,
        made in vec((moment(), moment(), 0..3usize, 0..3usize), 0..8),
    ) {
        let bucket = BucketId::parse("b1").expect("an id");
        let leads = leads(&bucket, &made);
        let app = app(Fake::new(&leads, vec![3]));
        let path = Path { bucket_id: "b1", affiliate_id: "a", source_id: None };
        let mut query = LeadsQuery::parse(b"{}").expect("a query");
        query.limit = limit;
        let search = doors::fingerprint(&keys::bucket_list(&bucket), &query);
        query.cursor = Some(doors::seal(&search, position, &key));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let Ok(search) = Search::new(query, &bucket, path) else { return Ok(()) };
        let found = runtime.block_on(search.run(&app)).expect("an answer");
        prop_assert!(found.leads.iter().all(|placed| leads.contains(placed)));
        prop_assert!(search.render(&found).is_ok());
    }
}
