//! `local check`: finds nothing in what the system writes, and each damage that is done to it.

use crate::items::{delete, get, key, n, pk, pk_sk, put, s};
use aws_sdk_dynamodb::types::AttributeValue;
use local::check::{Report, check};
use local::{Options, Stack, demo};
use shared::model::{Bucket, BucketId, Client, ClientId, Email, SignUp, Timestamp, TokenId, Whitelist};
use shared::store::{
    ChangeBucket, ChangeClient, CreateBucket, DeleteBucket, IdempotencyKey, Item, Registered, Store,
    counters, keys,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const LARGE: &str = "large";
const ALONE: &str = "alone";
const OPEN: &str = "69ce5200741e8f2238320002";

/// A stack with the demo data and the kinds of clients that are not in it.
async fn stack() -> (Stack, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { demo_data: true, ..Options::in_memory(directory.path()) };
    let stack = Stack::start(&options).await.unwrap();
    let client = |id: &str, email: &str, meta: usize| {
        let body = serde_json::json!({
            "email": email, "phone": "+1234567890", "firstName": "Jane", "meta": "m".repeat(meta),
        });
        let mut client = Client::register(SignUp::parse(body.to_string().as_bytes()).unwrap(), None, None);
        client.id = ClientId::new(id);
        client
    };
    let mut large = client(LARGE, "Large@Example.com", 10_000);
    large.affiliate_id = Some(demo::AFFILIATE.into());
    large.bucket_id = BucketId::parse(demo::BUCKET);
    large.given.source_id = Some(demo::SOURCE.into());
    let alone = client(ALONE, "alone@example.com", 10);
    let key = IdempotencyKey::new(&TokenId::parse(&"0".repeat(32)).unwrap(), "key", b"request");
    assert_eq!(stack.store.register(&large, Some(&key)).await.unwrap(), Registered::Created);
    assert_eq!(stack.store.register(&alone, None).await.unwrap(), Registered::Created);
    (stack, directory)
}

/// What is reported of the store, a line a problem.
fn lines(report: &Report) -> Vec<String> {
    assert_eq!((report.more, report.unsettled), (0, 0), "{report:?}");
    assert_eq!(report.is_consistent(), report.problems.is_empty());
    assert_eq!(report.walks, if report.problems.is_empty() { 1 } else { 3 });
    report.problems.iter().map(ToString::to_string).collect()
}

type Change = Box<dyn FnOnce(&mut Option<Item>)>;

/// A damaged item: its table and key, what is done to it (`None`: it is not there), and what must
/// be reported then, and nothing else.
struct Damage {
    table: String,
    key: Item,
    change: Change,
    expected: Vec<String>,
}

impl Damage {
    /// Does the damage, asserts what is reported, and undoes it.
    async fn assert(self, store: &Store) {
        let Self { table, key, change, expected } = self;
        let original = get(store, &table, &key).await;
        let mut item = original.clone();
        change(&mut item);
        assert_ne!(item, original, "nothing was damaged: {key:?}");
        write(store, &table, &key, item).await;
        let found = lines(&check(store).await.unwrap());
        assert_eq!(found, expected, "{key:?}");
        write(store, &table, &key, original).await;
    }
}

async fn write(store: &Store, table: &str, key: &Item, item: Option<Item>) {
    match item {
        Some(item) => put(store, table, item).await,
        None => delete(store, table, key).await,
    }
}

fn set(table: &str, key: Item, attribute: &str, value: AttributeValue, expected: &[String]) -> Damage {
    let attribute = attribute.to_owned();
    let change = move |item: &mut Option<Item>| {
        item.as_mut().unwrap().insert(attribute, value);
    };
    Damage { table: table.to_owned(), key, change: Box::new(change), expected: expected.to_vec() }
}

fn unset(table: &str, key: Item, attribute: &str, expected: &[String]) -> Damage {
    let attribute = attribute.to_owned();
    let change = move |item: &mut Option<Item>| {
        item.as_mut().unwrap().remove(&attribute).unwrap();
    };
    Damage { table: table.to_owned(), key, change: Box::new(change), expected: expected.to_vec() }
}

fn remove(table: &str, key: Item, expected: &[String]) -> Damage {
    Damage {
        table: table.to_owned(),
        key,
        change: Box::new(|item| *item = None),
        expected: expected.to_vec(),
    }
}

/// An item that should not be there.
fn add(table: &str, key: Item, attributes: Vec<(&str, AttributeValue)>, expected: &[String]) -> Damage {
    let mut added = key.clone();
    added.extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let change = move |item: &mut Option<Item>| {
        assert_eq!(item.replace(added), None);
    };
    Damage { table: table.to_owned(), key, change: Box::new(change), expected: expected.to_vec() }
}

fn one(line: &str) -> Vec<String> {
    vec![line.to_owned()]
}

const PUBLISHED: &str = "69ce524d741e8f2238329fff";
const PUBLISHED_LEAD: &str = "E#user1@example.com";
const CREATED: i64 = 1_609_459_200_000;

fn campaigns() -> String {
    keys::bucket_list(&BucketId::parse(demo::BUCKET).unwrap())
}

/// The counters of the published example's client: key, attribute, and how they are reported.
fn counters_of_published() -> Vec<(Item, String, String, String)> {
    let (list, moment) = (campaigns(), Timestamp::from_millis(CREATED).unwrap());
    let source = keys::source_list(&list, demo::SOURCE);
    let mut all = Vec::new();
    for (list, name) in [
        (&list, format!("bucket {}", demo::BUCKET)),
        (&source, format!("source {} of bucket {}", demo::SOURCE, demo::BUCKET)),
    ] {
        for counter in counters::of_moment(list, moment, 0) {
            let unit = counter.sk.strip_suffix("#0").unwrap();
            let shown = format!("{} {unit} {}", counter.pk, counter.attribute);
            let of = format!(" ({name}, 2021-01-01T00:00:00.000Z)");
            all.push((pk_sk(&counter.pk, &counter.sk), counter.attribute, shown, of));
        }
    }
    all
}

#[tokio::test]
async fn what_the_system_writes_is_consistent() {
    let (stack, _directory) = stack().await;
    let report = check(&stack.store).await.unwrap();
    assert_eq!(lines(&report), <[&str; 0]>::default());
    let counts = [report.clients, report.leads, report.buckets, report.tokens, report.roles];
    assert_eq!(counts, [63, 63, 4, 3, 4]);
    stack.stop().await;
}

#[tokio::test]
async fn what_changes_leave_behind_is_consistent() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let consistent = async |after: &str| {
        assert_eq!(lines(&check(store).await.unwrap()), <[&str; 0]>::default(), "{after}");
    };
    let change = async |id: &str, change: &dyn Fn(&mut Client)| {
        let stored = store.client(&ClientId::new(id)).await.unwrap().unwrap();
        let mut to = stored.value.clone();
        change(&mut to);
        let changed = store.change_client(&stored, &to).await.unwrap();
        assert!(matches!(changed, ChangeClient::Changed(_)), "{changed:?}");
    };
    type Edit<'a> = &'a dyn Fn(&mut Client);
    let changes: [(&str, Edit<'_>); 8] = [
        ("another status", &|client| client.status = "sold".into()),
        ("another bucket", &|client| client.bucket_id = BucketId::parse(OPEN)),
        ("no source", &|client| client.given.source_id = None),
        ("another email", &|client| client.given.email = Email::parse("Other@Example.com").unwrap()),
        ("a deposit", &|client| client.ftd = Some(client.created_date)),
        ("a large profile", &|client| client.given.meta = Some("m".repeat(9000))),
        ("a small profile", &|client| client.given.meta = None),
        ("no bucket and affiliate", &|client| (client.bucket_id, client.affiliate_id) = (None, None)),
    ];
    for (after, to) in changes {
        change(PUBLISHED, to).await;
        consistent(after).await;
    }

    let new = |name: &str, sources: &[&str]| Bucket {
        id: BucketId::parse(name).unwrap(),
        name: name.to_owned(),
        affiliate_id: "new".to_owned(),
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        created_date: Timestamp::now(),
    };
    let bucket = new("bucket", &[]);
    assert_eq!(store.create_bucket(&bucket).await.unwrap(), CreateBucket::Created);
    consistent("a new bucket").await;
    for sources in [&["one", "two"][..], &["two", "three"], &[]] {
        let stored = store.stored_bucket(&bucket.id).await.unwrap().unwrap();
        let to = Bucket { sources: new("bucket", sources).sources, ..stored.value.clone() };
        let changed = store.change_bucket(&stored, &to).await.unwrap();
        assert!(matches!(changed, ChangeBucket::Changed(_)), "{changed:?}");
        consistent("other sources").await;
    }
    // One that had leads, and was deleted once they had gone.
    change(ALONE, &|client| {
        (client.bucket_id, client.affiliate_id) = (BucketId::parse("bucket"), Some("new".into()));
    })
    .await;
    consistent("its first lead").await;
    change(ALONE, &|client| client.bucket_id = None).await;
    let stored = store.stored_bucket(&bucket.id).await.unwrap().unwrap();
    assert_eq!(store.delete_bucket(&stored).await.unwrap(), DeleteBucket::Deleted);
    consistent("a deleted bucket").await;

    let token = store.all_tokens().await.unwrap().remove(0);
    let stored = store.token_by_id(&token.id).await.unwrap().unwrap();
    let whitelist = Whitelist::parse(["127.0.0.1"]).unwrap();
    store.change_whitelist(&token.id, &stored.version, &whitelist).await.unwrap();
    store.note_used(&token.id, Timestamp::now(), Timestamp::MIN).await.unwrap();
    consistent("a changed token").await;
    store.delete_token(&token, None).await.unwrap();
    consistent("a deleted token").await;
    stack.stop().await;
}

#[tokio::test]
async fn damaged_leads_and_clients_are_reported() {
    let (stack, _directory) = stack().await;
    let (store, table) = (&stack.store, stack.store.tables().clients.as_str());
    let lead =
        |what: &str| one(&format!("lead in clients, E#u…@example.com: {what} (of client {PUBLISHED})"));
    let client = |what: &str| one(&format!("client in clients, C#{PUBLISHED}: {what}"));
    let own = || pk(&format!("C#{PUBLISHED}"));
    let published = || pk(PUBLISHED_LEAD);
    let stray = get(store, table, &published()).await.unwrap();
    let stray = ["b", "bs", "bt", "c", "f", "g", "s", "u"].map(|name| (name, stray[name].clone())).to_vec();
    let mut damages = vec![
        remove(table, published(), &lead("is missing or another client's")),
        add(
            table,
            pk("E#stray@example.com"),
            stray,
            &one(&format!(
                "lead in clients, E#s…@example.com: is left over: its client is gone or does not give it (of client {PUBLISHED})"
            )),
        ),
        unset(table, published(), "f", &lead("differs from its client in f")),
        set(table, published(), "e", s("User1@example.com"), &lead("differs from its client in e")),
        set(table, published(), "x", n(1), &lead("differs from its client in x")),
        set(table, own(), "updatedDate", n(CREATED + 1), &lead("differs from its client in u")),
        set(table, own(), "list", s("x"), &client("list is not that of its bucket or affiliate")),
        set(table, own(), "sourceList", s("x"), &client("sourceList is not that of its source")),
        unset(table, own(), "sourceList", &client("sourceList is not that of its source")),
        set(table, own(), "affiliateID", s("x"), &client("its bucket is another affiliate's")),
        set(table, own(), "id", s("x"), &client("id is not that of its key")),
        unset(table, own(), "firstName", &client("missing or malformed: firstName")),
        unset(table, own(), "state", &client("missing or malformed: state")),
        set(
            table,
            pk("C#alone"),
            "list",
            s("x"),
            &one("client in clients, C#alone: list is not that of its bucket or affiliate"),
        ),
        remove(table, pk("D#large"), &one("details in clients, D#large: is missing")),
        add(
            table,
            pk("D#stray"),
            vec![],
            &one("details in clients, D#stray: is left over: its client is gone or does not give it"),
        ),
        set(
            table,
            pk("D#large"),
            "affiliateID",
            s("x"),
            &one("client in clients, C#large: its bucket is another affiliate's"),
        ),
        add(table, pk("X#1"), vec![], &one("unrecognised in clients, X#1: is nothing that belongs here")),
    ];
    for name in ["b", "bs", "bt", "c", "g", "s", "u"] {
        let value =
            if name == "c" || name == "u" { format!("1609459200001#{PUBLISHED}") } else { "x".to_owned() };
        damages.push(set(
            table,
            published(),
            name,
            s(&value),
            &lead(&format!("differs from its client in {name}")),
        ));
        damages.push(unset(table, published(), name, &lead(&format!("differs from its client in {name}"))));
    }
    for damage in damages {
        damage.assert(store).await;
    }
    // In an index with what must not be there.
    for (name, value) in [("b", "x"), ("c", "x")] {
        let mut item = get(store, table, &own()).await.unwrap();
        item.insert(name.to_owned(), s(value));
        put(store, table, item).await;
    }
    assert_eq!(
        lines(&check(store).await.unwrap()),
        [format!("index in clients, bucket-created C#{PUBLISHED}: must not be in the index")]
    );
    stack.stop().await;
}

#[tokio::test]
async fn a_client_that_is_gone_leaves_its_lead_and_counters_behind() {
    let (stack, _directory) = stack().await;
    let (store, table) = (&stack.store, stack.store.tables().clients.as_str());
    delete(store, table, &pk(&format!("C#{PUBLISHED}"))).await;
    let mut found = lines(&check(store).await.unwrap());
    let lead = found.remove(0);
    assert!(lead.starts_with("lead in clients, E#u…@example.com: is left over: "), "{lead}");
    let mut expected: Vec<_> = counters_of_published()
        .into_iter()
        .map(|(.., shown, of)| format!("counter in buckets, {shown}: counts 1 leads, the clients give 0{of}"))
        .collect();
    let status = keys::text_digest("active");
    expected.push(format!(
        "counter in buckets, T#{} {status} n: counts 13 leads, the clients give 12",
        demo::BUCKET
    ));
    expected.sort();
    assert_eq!(found, expected);
    stack.stop().await;
}

#[tokio::test]
async fn a_client_in_a_bucket_that_does_not_exist_is_reported() {
    let (stack, _directory) = stack().await;
    let (store, table) = (&stack.store, stack.store.tables().clients.as_str());
    let mut item = get(store, table, &pk("C#alone")).await.unwrap();
    item.insert("bucketId".to_owned(), s("gone"));
    put(store, table, item).await;
    let found = lines(&check(store).await.unwrap());
    assert!(found.contains(&"client in clients, C#alone: its bucket does not exist".to_owned()), "{found:?}");
    stack.stop().await;
}

#[tokio::test]
async fn damaged_counters_are_reported() {
    let (stack, _directory) = stack().await;
    let (store, table) = (&stack.store, stack.store.tables().buckets.as_str());
    for (key, attribute, shown, of) in counters_of_published() {
        let counts = |count: i64| {
            one(&format!("counter in buckets, {shown}: counts {count} leads, the clients give 1{of}"))
        };
        for damage in [
            set(table, key.clone(), &attribute, n(2), &counts(2)),
            set(table, key.clone(), &attribute, n(-1), &counts(-1)),
            unset(table, key.clone(), &attribute, &counts(0)),
            remove(table, key.clone(), &counts(0)),
        ] {
            damage.assert(store).await;
        }
        let whole = format!("{} {}", key["pk"].as_s().unwrap(), key["sk"].as_s().unwrap());
        for (name, value) in [("zz", n(0)), (&attribute, s("1"))] {
            let mut expected = one(&format!("counter in buckets, {whole} {name}: is no count"));
            if name == attribute {
                expected.insert(0, counts(0).remove(0));
            }
            expected.sort();
            set(table, key.clone(), name, value, &expected).assert(store).await;
        }
        // What the shards sum up to is what counts, and they may be below zero.
        let sk = key["sk"].as_s().unwrap().replace("#0", "#3");
        let sharded = pk_sk(key["pk"].as_s().unwrap(), &sk);
        let mut item = sharded.clone();
        item.insert(attribute.clone(), n(-4));
        put(store, table, item).await;
        set(table, key.clone(), &attribute, n(5), &[]).assert(store).await;
        delete(store, table, &sharded).await;
    }
    let status = keys::text_digest("active");
    let statuses = format!("T#{}", demo::BUCKET);
    let per_status = |sk: &str| pk_sk(&statuses, &format!("{status}#{sk}"));
    let lone = keys::bucket_list(&BucketId::parse("gone").unwrap());
    let [month, second] = counters::of_moment(&lone, Timestamp::from_millis(CREATED).unwrap(), 0);
    let closed = keys::month_counters(&campaigns());
    let unrecognised =
        |key: &str| one(&format!("unrecognised in buckets, {key}: is nothing that belongs here"));
    for damage in [
        set(
            table,
            per_status("0"),
            "n",
            n(14),
            &one(&format!("counter in buckets, {statuses} {status} n: counts 14 leads, the clients give 13")),
        ),
        set(
            table,
            per_status("0"),
            "status",
            s("another"),
            &one(&format!("counter in buckets, {statuses} {status}#0: status is not that of its key")),
        ),
        unset(
            table,
            per_status("0"),
            "status",
            &one(&format!("counter in buckets, {statuses} {status}#0: missing or malformed: status")),
        ),
        // Of a bucket that was deleted: nothing, and closed.
        add(
            table,
            pk_sk(&month.pk, &month.sk),
            vec![(&month.attribute, n(0)), ("n", n(7)), ("closed", AttributeValue::Bool(true))],
            &[],
        ),
        add(
            table,
            pk_sk(&month.pk, &month.sk),
            vec![(&month.attribute, n(1))],
            &one(&format!(
                "counter in buckets, {} 202101 {}: counts 1 leads, the clients give 0 (2021-01-01T00:00:00.000Z)",
                month.pk, month.attribute
            )),
        ),
        add(
            table,
            pk_sk(&closed, "202601#5"),
            vec![("closed", AttributeValue::Bool(true))],
            &one(&format!(
                "counter in buckets, {closed}: is closed to new leads, and bucket {} exists",
                demo::BUCKET
            )),
        ),
        add(table, pk_sk(&month.pk, "202113#0"), vec![], &unrecognised(&format!("{} 202113#0", month.pk))),
        add(table, pk_sk(&month.pk, "202101#8"), vec![], &unrecognised(&format!("{} 202101#8", month.pk))),
        add(
            table,
            pk_sk(&second.pk, "000000001#0"),
            vec![],
            &unrecognised(&format!("{} 000000001#0", second.pk)),
        ),
    ] {
        damage.assert(store).await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn damaged_buckets_and_routes_are_reported() {
    let (stack, _directory) = stack().await;
    let (store, table) = (&stack.store, stack.store.tables().buckets.as_str());
    let affiliate = keys::affiliate(demo::AFFILIATE);
    let created = Timestamp::parse_iso("2021-01-01").unwrap();
    let open_id = BucketId::parse(OPEN).unwrap();
    let open = keys::affiliates_bucket(false, created, &open_id);
    let wrong = keys::affiliates_bucket(true, created, &open_id);
    let source = keys::assigned_source(demo::SOURCE);
    let record = |id: &str| pk_sk(&format!("B#{id}"), keys::BUCKET_RECORD);
    let route = |sk: &str, what: &str| one(&format!("route in buckets, {affiliate} {sk}: {what}"));
    let bucket = |what: &str| one(&format!("bucket in buckets, B#{OPEN}: {what}"));
    let misplaced = bucket("kind or created is not as the index needs it");
    let surplus = "is left over: its bucket is gone or does not give it";
    for damage in [
        remove(table, pk_sk(&affiliate, &open), &route(&open, "is missing")),
        add(table, pk_sk(&affiliate, &wrong), vec![("bucketId", s(OPEN))], &route(&wrong, surplus)),
        set(
            table,
            pk_sk(&affiliate, &open),
            "bucketId",
            s("x"),
            &route(&open, "differs from its bucket in bucketId"),
        ),
        remove(table, pk_sk(&affiliate, &source), &route(&source, "is missing")),
        set(
            table,
            pk_sk(&affiliate, &source),
            "bucketId",
            s(OPEN),
            &route(&source, "differs from its bucket in bucketId"),
        ),
        set(
            table,
            pk_sk(&affiliate, &source),
            "sourceId",
            s("x"),
            &route(&source, "differs from its bucket in sourceId"),
        ),
        add(
            table,
            pk_sk("A#nobody", "source#x"),
            vec![("bucketId", s("gone")), ("sourceId", s("x"))],
            &one(&format!("route in buckets, A#nobody source#x: {surplus}")),
        ),
        add(
            table,
            pk_sk("A#nobody", "x"),
            vec![],
            &one("unrecognised in buckets, A#nobody x: is nothing that belongs here"),
        ),
        add(
            table,
            pk_sk("B#x", "x"),
            vec![("kind", s("bucket")), ("created", s("x"))],
            &one("index in buckets, buckets-created B#x x: must not be in the index")
                .into_iter()
                .chain(one("unrecognised in buckets, B#x x: is nothing that belongs here"))
                .rev()
                .collect::<Vec<_>>(),
        ),
        set(table, record(OPEN), "kind", s("x"), &misplaced),
        unset(table, record(OPEN), "kind", &misplaced),
        set(table, record(OPEN), "created", s("1609459200001#x"), &misplaced),
        unset(table, record(OPEN), "name", &bucket("missing or malformed: name")),
        set(table, record(OPEN), "id", s("x"), &bucket("id is not that of its key")),
        set(
            table,
            record(OPEN),
            "sources",
            AttributeValue::L(vec![s("new")]),
            &[
                route(&open, surplus),
                route(&keys::assigned_source("new"), "is missing"),
                route(&wrong, "is missing"),
            ]
            .concat(),
        ),
    ] {
        damage.assert(store).await;
    }
    // A bucket that is gone leaves all of these behind.
    delete(store, table, &record(demo::BUCKET)).await;
    let found = lines(&check(store).await.unwrap());
    assert_eq!(found.iter().filter(|line| line.ends_with("its bucket does not exist")).count(), 50);
    assert_eq!(found.iter().filter(|line| line.ends_with(surplus)).count(), 3);
    assert_eq!(found.len(), 53, "{found:?}");
    stack.stop().await;
}

#[tokio::test]
async fn damaged_tokens_roles_and_idempotency_records_are_reported() {
    let (stack, _directory) = stack().await;
    let (store, tables) = (&stack.store, stack.store.tables());
    let tokens = store.all_tokens().await.unwrap();
    let id = tokens.iter().find(|token| token.role_id.as_str() == "partner").unwrap().id.to_string();
    let own = || key([("id", id.as_str())]);
    let token = |what: &str| one(&format!("token in tokens, {id}: {what}"));
    let role = |id: &str| key([("pk", "role"), ("id", id)]);
    let of_role = |what: &str| one(&format!("role in roles, partner: {what}"));
    let misplaced = token("kind or created is not as the index needs it");
    let remembered = {
        let scanned = store.sdk().scan().table_name(&tables.expiring).send().await.unwrap();
        scanned.items()[0]["pk"].as_s().unwrap().clone()
    };
    let no_role = one("role in roles, partner: counts 1 tokens, 0 have it");
    for damage in [
        set(&tables.roles, role("partner"), "tokens", n(2), &of_role("counts 2 tokens, 1 have it")),
        unset(&tables.roles, role("partner"), "tokens", &of_role("counts 0 tokens, 1 have it")),
        unset(&tables.roles, role("partner"), "name", &of_role("missing or malformed: name")),
        remove(&tables.roles, role("partner"), &token("its role does not exist")),
        add(
            &tables.roles,
            key([("pk", "x"), ("id", "x")]),
            vec![],
            &one("unrecognised in roles, x x: is nothing that belongs here"),
        ),
        set(
            &tables.tokens,
            own(),
            "roleId",
            s("gone"),
            &[token("its role does not exist"), no_role.clone()].concat(),
        ),
        remove(&tables.tokens, own(), &no_role),
        set(&tables.tokens, own(), "created", s("x"), &misplaced),
        unset(&tables.tokens, own(), "kind", &misplaced),
        unset(&tables.tokens, own(), "digest", &token("missing or malformed: digest")),
        set(
            &tables.tokens,
            own(),
            "whitelist",
            AttributeValue::L(vec![s("nowhere")]),
            &token("whitelist is malformed"),
        ),
        add(
            &tables.tokens,
            key([("id", "x")]),
            vec![],
            &one("unrecognised in tokens, x: is nothing that belongs here"),
        ),
        set(
            &tables.expiring,
            pk(&remembered),
            "id",
            s("nobody"),
            &one(&format!("idempotency in expiring, {remembered}: its client does not exist")),
        ),
        unset(
            &tables.expiring,
            pk(&remembered),
            "request",
            &one(&format!("idempotency in expiring, {remembered}: missing or malformed: request")),
        ),
        add(
            &tables.expiring,
            pk("X#1"),
            vec![],
            &one("unrecognised in expiring, X#1: is nothing that belongs here"),
        ),
        add(&tables.activity, key([("id", &format!("{id}#refused"))]), vec![], &[]),
        add(
            &tables.activity,
            key([("id", "x")]),
            vec![],
            &one("unrecognised in activity, x: is nothing that belongs here"),
        ),
    ] {
        damage.assert(store).await;
    }
    stack.stop().await;
}

// -------------------------------------------------------------------- what only an index shows

/// How the answer to the scan of an index is falsified: its items, and which walk it is, from 1.
type Falsify = fn(&mut Vec<serde_json::Value>, usize);

/// A DynamoDB in front of the stack's, with one index that is not as the table.
async fn falsified(stack: &Stack, index: &'static str, falsify: Falsify) -> Store {
    let walks = Arc::new(AtomicUsize::new(0));
    crate::between::store(stack, move |call, dynamodb| {
        let walks = walks.clone();
        async move {
            let is_wanted =
                serde_json::from_slice::<serde_json::Value>(call.body()).unwrap()["IndexName"] == index;
            let mut answer = dynamodb.answer(call).await;
            if is_wanted {
                let mut told: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                let walk = walks.fetch_add(1, Ordering::SeqCst) + 1;
                falsify(told["Items"].as_array_mut().unwrap(), walk);
                *answer.body_mut() = told.to_string().into();
            }
            answer.headers_mut().retain_only_type();
            answer
        }
    })
    .await
}

/// The answer's length and checksum are those of the answer that it was.
trait RetainOnlyType {
    fn retain_only_type(&mut self);
}

impl RetainOnlyType for hyper::HeaderMap {
    fn retain_only_type(&mut self) {
        let kept = self.get("content-type").cloned();
        self.clear();
        self.extend(kept.map(|value| (hyper::header::CONTENT_TYPE, value)));
    }
}

#[tokio::test]
async fn an_index_that_is_not_as_its_table_is_reported() {
    let (stack, _directory) = stack().await;
    let cases: [(&str, Falsify, &str); 4] = [
        (
            "bucket-created",
            |items, _| items.retain(|item| item["pk"]["S"] != PUBLISHED_LEAD),
            "index in clients, bucket-created E#u…@example.com: is missing",
        ),
        (
            "all-created",
            |items, _| {
                let item = items.iter_mut().find(|item| item["pk"]["S"] == PUBLISHED_LEAD).unwrap();
                item["s"]["S"] = "stale".into();
            },
            "index in clients, all-created E#u…@example.com: differs from the table in s",
        ),
        (
            "source-updated",
            |items, _| {
                let mut item = items[0].clone();
                item["pk"]["S"] = "E#stray@example.com".into();
                items.push(item);
            },
            "index in clients, source-updated E#s…@example.com: is left over: the table has no such item",
        ),
        (
            "affiliate-created",
            |items, _| items.retain(|item| item["id"]["S"] != OPEN),
            "index in buckets, affiliate-created B#69ce5200741e8f2238320002 bucket: is missing",
        ),
    ];
    for (index, falsify, expected) in cases {
        let store = falsified(&stack, index, falsify).await;
        assert_eq!(lines(&check(&store).await.unwrap()), [expected]);
    }
    stack.stop().await;
}

#[tokio::test]
async fn what_is_not_the_same_in_every_walk_is_not_reported() {
    let (stack, _directory) = stack().await;
    // Wrong once, twice, elsewhere each time, or otherwise each time: something was under way.
    let passing: [(Falsify, u64); 4] = [
        (|items, walk| items.truncate(items.len() - usize::from(walk == 1)), 0),
        (|items, walk| items.truncate(items.len() - usize::from(walk <= 2)), 0),
        (|items, walk| drop(items.remove(walk)), 0),
        (|items, walk| items[0]["s"]["S"] = walk.to_string().into(), 1),
    ];
    for (falsify, unsettled) in passing {
        let store = falsified(&stack, "bucket-created", falsify).await;
        let report = check(&store).await.unwrap();
        assert!(report.is_consistent(), "{report:?}");
        assert_eq!((report.walks, report.unsettled), (3, unsettled));
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_system_at_work_is_consistent() {
    let (stack, _directory) = stack().await;
    let (store, signed_up) = (stack.store.clone(), Arc::new(AtomicUsize::new(0)));
    let count = signed_up.clone();
    let writer = tokio::spawn(async move {
        for number in 0.. {
            let body = format!(
                r#"{{"email":"w{number}@example.com","phone":"+1234567890","firstName":"Jane","sourceId":"{}"}}"#,
                demo::SOURCE
            );
            let given = SignUp::parse(body.as_bytes()).unwrap();
            let client = Client::register(given, Some(demo::AFFILIATE.into()), BucketId::parse(demo::BUCKET));
            assert_eq!(store.sign_up(client, None, None).await.unwrap(), Registered::Created);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..5 {
        let report = check(&stack.store).await.unwrap();
        assert!(report.is_consistent(), "{report:?}");
    }
    // What is wrong for good is found all the same.
    let table = stack.store.tables().clients.as_str();
    delete(&stack.store, table, &pk("E#alone@example.com")).await;
    let expected = ["lead in clients, E#a…@example.com: is missing or another client's (of client alone)"];
    let mut found = Vec::new();
    for _ in 0..3 {
        let report = check(&stack.store).await.unwrap();
        found = report.problems.iter().map(ToString::to_string).collect();
        if found == expected {
            break;
        }
    }
    assert_eq!(found, expected);
    assert!(!writer.is_finished() && signed_up.load(Ordering::SeqCst) > 0, "nothing was at work");
    writer.abort();
    stack.stop().await;
}

#[tokio::test]
async fn of_very_many_problems_a_thousand_are_kept_and_the_others_counted() {
    let (stack, _directory) = stack().await;
    let table = stack.store.tables().expiring.as_str();
    for chunk in (0..1500).collect::<Vec<_>>().chunks(25) {
        let requests = chunk.iter().map(|number| {
            let put =
                aws_sdk_dynamodb::types::PutRequest::builder().set_item(Some(pk(&format!("X#{number}"))));
            aws_sdk_dynamodb::types::WriteRequest::builder().put_request(put.build().unwrap()).build()
        });
        let request = stack.store.sdk().batch_write_item().request_items(table, requests.collect());
        request.send().await.unwrap();
    }
    let report = check(&stack.store).await.unwrap();
    assert_eq!((report.problems.len(), report.more, report.walks), (1000, 500, 3));
    // And of leads, whose problems are found by sums.
    let clients = stack.store.tables().clients.as_str();
    for number in 1..=60 {
        delete(&stack.store, clients, &pk(&format!("E#lead{number}@example.com"))).await;
    }
    let report = check(&stack.store).await.unwrap();
    assert_eq!((report.problems.len(), report.more), (1000, 560));
    stack.stop().await;
}

#[test]
fn the_command_prints_the_report_and_ends_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let run = |options: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_local"));
        let output =
            command.arg("check").args(options).arg("--data-dir").arg(directory.path()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let serve = |damage: bool| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = Options { memory: false, demo_data: true, ..Options::in_memory(directory.path()) };
            let stack = Stack::start(&options).await.unwrap();
            if damage {
                delete(&stack.store, &stack.store.tables().clients, &pk(PUBLISHED_LEAD)).await;
            }
            stack.stop().await;
        });
    };
    serve(false);
    let (code, text) = run(&[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("61 clients, 61 leads, 4 buckets, ") && text.ends_with("Consistent.\n"), "{text}");
    serve(true);
    let (code, text) = run(&[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("lead in clients, E#u…@example.com: is missing"), "{text}");
    assert!(text.ends_with("Not consistent: each of these was the same in all 3 walks.\n"), "{text}");
    let (code, text) = run(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 4, "{text}");
    assert_eq!((&report["consistent"], &report["problems"][0]["kind"]), (&false.into(), &"lead".into()));
    assert!(!text.contains("user1@example.com"));
}
