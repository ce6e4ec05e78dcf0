//! `local check --repair`: whatever damage is done to what follows from the records is undone, nothing else
//! is touched, and a system at work loses nothing by it.

use crate::items::{delete, get, key, n, pk, pk_sk, put, s};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use local::check::{Repaired, check, repair};
use local::{Options, Stack, demo};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use shared::model::{
    Bucket, BucketId, Client, ClientId, Email, NewToken, RoleId, SignUp, Timestamp, TokenId, Whitelist,
};
use shared::secret::Link;
use shared::store::{
    ChangeBucket, ChangeClient, ClaimMail, CreateBucket, CreateToken, DeleteBucket, IdempotencyKey, Item,
    NewLink, Registered, Store, counters, keys,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};

const PATIENCE: Duration = Duration::from_secs(120);
const CLIENTS: usize = 240;
const AFFILIATES: [&str; 3] = ["aff one", "aff-two", "aff-3"];
const SOURCES: [&str; 3] = ["src a", "src-b", "c"];
const STATUSES: [&str; 5] = ["new", "active", "no answer", "sold # 1", "ü"];

/// Numbers that are the same in each run.
struct Rng(StdRng);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.random_range(..limit)
    }

    fn of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }
}

/// Sets an attribute, or takes it away.
async fn set(store: &Store, table: &str, key: &Item, name: &str, value: Option<AttributeValue>) {
    let mut item = get(store, table, key).await.unwrap_or_else(|| panic!("there is no {key:?}"));
    let before = item.clone();
    match value {
        Some(value) => item.insert(name.to_owned(), value),
        None => item.remove(name),
    };
    assert_ne!(item, before, "nothing was damaged: {key:?} {name}");
    put(store, table, item).await;
}

async fn add(store: &Store, key: &Item, attribute: &str, by: i64) {
    let update = store.sdk().update_item().table_name(&store.tables().buckets).set_key(Some(key.clone()));
    let update = update.update_expression("ADD #a :by").expression_attribute_names("#a", attribute);
    update.expression_attribute_values(":by", n(by)).send().await.unwrap();
}

fn client(number: usize, rng: &mut Rng, buckets: &[Bucket]) -> Client {
    let meta = if number.is_multiple_of(9) { 9000 } else { 5 };
    let mut body = serde_json::json!({
        "email": format!("{}{number}@example.com", if number.is_multiple_of(4) { "Client" } else { "client" }),
        "phone": "+1234567890", "firstName": "Jane", "meta": "m".repeat(meta), "status": rng.of(&STATUSES),
    });
    let (mut affiliate, mut bucket) = (None, None);
    match number % 10 {
        0 => {}
        1 => affiliate = Some((*rng.of(&AFFILIATES)).to_owned()),
        _ => {
            let chosen = rng.of(buckets);
            (affiliate, bucket) = (Some(chosen.affiliate_id.clone()), Some(chosen.id.clone()));
        }
    }
    if rng.below(3) > 0 {
        body["sourceId"] = (*rng.of(&SOURCES)).into();
    }
    let mut client = Client::register(SignUp::parse(body.to_string().as_bytes()).unwrap(), affiliate, bucket);
    client.id = ClientId::new(format!("id-{number}"));
    // Some in one second.
    client.created_date = Timestamp::clamped(1_700_000_000_000 + rng.below(40) as i64 * 3_000_007);
    client.updated_date = client.created_date;
    client.ftd = (rng.below(4) == 0).then_some(client.created_date);
    client
}

fn bucket(id: &str, affiliate: &str, sources: &[&str]) -> Bucket {
    Bucket {
        id: BucketId::parse(id).unwrap(),
        name: id.to_owned(),
        affiliate_id: affiliate.to_owned(),
        sources: sources.iter().map(|source| (*source).to_owned()).collect(),
        created_date: Timestamp::clamped(1_600_000_000_000 + id.len() as i64),
    }
}

fn buckets() -> Vec<Bucket> {
    vec![
        bucket("one-with", AFFILIATES[0], &SOURCES[..2]),
        bucket("one-open", AFFILIATES[0], &[]),
        bucket("two-open", AFFILIATES[1], &[]),
        bucket("three-with", AFFILIATES[2], &["c"]),
        bucket("three-late", AFFILIATES[2], &["x", "y"]),
    ]
}

/// A system of hundreds of clients, with a past: what was changed, moved and deleted.
async fn stack() -> (Stack, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { read_streams: false, ..Options::in_memory(directory.path()) };
    let stack = Stack::start(&options).await.unwrap();
    fill(&stack.store).await;
    (stack, directory)
}

async fn fill(store: &Store) {
    let rng = &mut Rng::new(0x5eed);
    let buckets = buckets();
    let gone = bucket("gone", AFFILIATES[0], &["z"]);
    for bucket in buckets.iter().chain([&gone]) {
        assert_eq!(store.create_bucket(bucket).await.unwrap(), CreateBucket::Created);
    }
    for number in 0..CLIENTS {
        let client = client(number, rng, &buckets);
        let token = TokenId::parse(&"0".repeat(32)).unwrap();
        let key = IdempotencyKey::new(&token, &number.to_string(), b"request");
        let key = (number % 7 == 0).then_some(&key);
        let store = store.in_lane((number % 3) as u8);
        assert_eq!(store.register(&client, key).await.unwrap(), Registered::Created);
        if number % 50 == 0 {
            let link = NewLink { digest: Link::generate().unwrap().digest(), lifetime: 600 };
            store.create_link(&link, &client.id).await.unwrap();
            assert!(matches!(store.claim_mail(&client.id, false).await.unwrap(), ClaimMail::Claimed(_)));
        }
    }
    for number in 0..60 {
        change(store, number * 4, |client| match number % 4 {
            0 => client.status = (*rng.of(&STATUSES)).to_owned(),
            1 => client.given.email = Email::parse(&format!("Other{number}@example.com")).unwrap(),
            2 => client.given.meta = Some("m".repeat(if number % 8 == 2 { 9000 } else { 5 })),
            _ => {
                (client.affiliate_id, client.bucket_id) =
                    (Some(gone.affiliate_id.clone()), Some(gone.id.clone()));
            }
        })
        .await;
    }
    for number in (3..60).step_by(4) {
        change(store, number * 4, |client| client.bucket_id = Some(buckets[0].id.clone())).await;
    }
    for id in [&gone.id, &buckets[4].id] {
        let stored = store.stored_bucket(id).await.unwrap().unwrap();
        if *id == gone.id {
            assert_eq!(store.delete_bucket(&stored).await.unwrap(), DeleteBucket::Deleted);
        } else {
            let to = Bucket { sources: vec!["x".into(), "w".into()], ..stored.value.clone() };
            let changed = store.change_bucket(&stored, &to).await.unwrap();
            assert!(matches!(changed, ChangeBucket::Changed(_)), "{changed:?}");
        }
    }
    for number in 0..6 {
        let new = NewToken {
            name: format!("token {number}"),
            role_id: RoleId::new(if number % 2 == 0 { "partner" } else { "sign-up" }),
            expires_at: None,
            whitelist: Whitelist::default(),
            affiliate_ids: vec![AFFILIATES[0].to_owned()],
        };
        let (token, record) = new.generate().unwrap();
        assert_eq!(store.create_token(&record, &token.digest()).await.unwrap(), CreateToken::Created);
    }
    assert_eq!(check(store).await.unwrap().problems, []);
}

async fn change(store: &Store, number: usize, edit: impl FnOnce(&mut Client)) {
    let stored = store.client(&ClientId::new(format!("id-{number}"))).await.unwrap().unwrap();
    let mut to = stored.value.clone();
    edit(&mut to);
    let changed = store.change_client(&stored, &to).await.unwrap();
    assert!(matches!(changed, ChangeClient::Changed(_)), "{changed:?}");
}

async fn scan(store: &Store, table: &str) -> Vec<Item> {
    let scan = store.sdk().scan().table_name(table).consistent_read(true);
    scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap()
}

/// Every item as it is stored, by its key.
async fn everything(store: &Store) -> BTreeMap<String, Item> {
    let tables = store.tables();
    let mut all = BTreeMap::new();
    for table in [&tables.clients, &tables.buckets, &tables.expiring, &tables.tokens, &tables.roles] {
        for item in scan(store, table).await {
            let key = ["pk", "sk", "id"].map(|name| item.get(name).and_then(|value| value.as_s().ok()));
            all.insert(format!("{table} {key:?}"), item);
        }
    }
    all
}

/// Everything that is stored: of counters, whose shards may share a count otherwise, their sums. How many
/// writes brought leads to a bucket (`n`) follows from nothing.
async fn content(store: &Store) -> BTreeMap<String, String> {
    let tables = store.tables();
    let mut all = BTreeMap::new();
    let mut sums = BTreeMap::<String, i64>::new();
    let named =
        [&tables.clients, &tables.buckets, &tables.expiring, &tables.tokens, &tables.roles, &tables.activity];
    for table in named {
        for item in scan(store, table).await {
            let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
            let (first, sk) = (text("pk").or(text("id")).unwrap(), text("sk").unwrap_or_default());
            let is_counter = *table == tables.buckets && ["M#", "S#", "T#"].contains(&&first[..2]);
            let unit = sk.split('#').next().unwrap_or_default().to_owned();
            for (name, value) in &item {
                match value.as_n() {
                    Ok(count) if is_counter => {
                        if !(first.starts_with("M#") && name == "n") {
                            *sums.entry(format!("{first} {unit} {name}")).or_default() +=
                                count.parse::<i64>().unwrap();
                        }
                    }
                    _ if is_counter && ["pk", "sk", "status"].contains(&name.as_str()) => {}
                    _ if is_counter => drop(all.insert(format!("{first} {name}"), format!("{value:?}"))),
                    _ => {
                        let key = format!("{table} {first} {sk} {} {name}", text("id").unwrap_or_default());
                        all.insert(key, format!("{value:?}"));
                    }
                }
            }
        }
    }
    let sums = sums.into_iter().filter(|(_, sum)| *sum != 0);
    all.extend(sums.map(|(name, sum)| (name, sum.to_string())));
    all
}

/// What is stored of one and not of the other, for people.
fn assert_same(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>, what: &str) {
    let differing = left.iter().filter(|(name, value)| right.get(*name) != Some(value));
    let others = right.iter().filter(|(name, value)| left.get(*name) != Some(value));
    let (differing, others): (Vec<_>, Vec<_>) = (differing.collect(), others.collect());
    assert!(differing.is_empty() && others.is_empty(), "{what}: {differing:?} became {others:?}");
}

fn assert_consistent(repaired: &Repaired, what: &str) {
    let report = &repaired.report;
    assert!(report.is_consistent() && report.unsettled == 0, "{what}: {:?}", report.problems);
}

/// How many kinds of damage there are that can be repaired.
const KINDS: usize = 34;

/// Damages one place by this kind; each client is damaged once, `at` chooses it.
async fn damage(store: &Store, kind: usize, at: usize, rng: &mut Rng) {
    let tables = store.tables();
    let (clients, buckets_table) = (&tables.clients, &tables.buckets);
    let all = buckets();
    let stored = async |number: usize| {
        store.client(&ClientId::new(format!("id-{number}"))).await.unwrap().unwrap().value
    };
    let client = stored(at).await;
    let own = pk(&keys::client(client.id.as_str()));
    let lead = pk(&keys::lead(client.given.email.key()));
    // One that has a bucket, and its counters.
    let counted = async || {
        let mut at = at;
        loop {
            let client = stored(at % CLIENTS).await;
            match client.bucket_id.clone() {
                Some(bucket) => return (client, bucket),
                None => at += 1,
            }
        }
    };
    let counters_of = |client: &Client, bucket: &BucketId, rng: &mut Rng| {
        let list = keys::bucket_list(bucket);
        let list = match &client.given.source_id {
            Some(source) if rng.below(2) == 0 => keys::source_list(&list, source),
            _ => list,
        };
        counters::of_moment(&list, client.created_date, rng.below(8) as u8)
    };
    let route = |bucket: &Bucket, at: usize| {
        let sk = match bucket.sources.get(at) {
            Some(source) => keys::assigned_source(source),
            None => keys::affiliates_bucket(!bucket.sources.is_empty(), bucket.created_date, &bucket.id),
        };
        pk_sk(&keys::affiliate(&bucket.affiliate_id), &sk)
    };
    let stray = format!("stray-{at}-{kind}");
    match kind {
        0 => delete(store, clients, &lead).await,
        1..=7 => {
            let name = ["b", "bt", "c", "g", "s", "u", "e"][kind - 1];
            let value = match name {
                "c" | "u" => format!("1700000000001#id-{}", (at + 1) % CLIENTS),
                _ => "x".to_owned(),
            };
            set(store, clients, &lead, name, Some(s(&value))).await;
        }
        8 => set(store, clients, &lead, "bt", None).await,
        9 => set(store, clients, &lead, "f", Some(n(5))).await,
        10 => set(store, clients, &lead, "own", Some(AttributeValue::Bool(true))).await,
        11 | 12 => {
            // Of a client who is not there, or has another email.
            let mut item = get(store, clients, &lead).await.unwrap();
            item.insert("pk".into(), s(&format!("E#{stray}@example.com")));
            if kind == 11 {
                item.insert("c".into(), s(&format!("1700000000001#{stray}")));
            }
            put(store, clients, item).await;
        }
        13 => {
            let item = [("pk", s(&format!("D#{stray}"))), ("phone", s("1")), ("state", s("active"))];
            put(store, clients, item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                .await;
        }
        14 => {
            // Of a client whose item has all.
            let small = stored(if at.is_multiple_of(9) { at + 1 } else { at }).await;
            if get(store, clients, &pk(&keys::client_details(&small.id))).await.is_none() {
                let item =
                    [("pk", s(&keys::client_details(&small.id))), ("phone", s("1")), ("state", s("a"))];
                let item = item.into_iter().map(|(name, value)| (name.to_owned(), value));
                put(store, clients, item.collect()).await;
            }
        }
        15 => set(store, clients, &own, "list", Some(s("x"))).await,
        16 => set(store, clients, &own, "sourceList", Some(s("x"))).await,
        17 => set(store, clients, &own, "id", Some(s("x"))).await,
        18 => {
            // A list, and its lead with it.
            set(store, clients, &own, "list", Some(s("x"))).await;
            set(store, clients, &lead, "b", Some(s("x"))).await;
        }
        19 => {
            let (client, bucket) = counted().await;
            let counter = &counters_of(&client, &bucket, rng)[rng.below(2)];
            let by = [-3, -1, 1, 7][rng.below(4)];
            add(store, &pk_sk(&counter.pk, &counter.sk), &counter.attribute, by).await;
        }
        20 | 21 => {
            // A whole item of counters, of one shard.
            let prefix = if kind == 20 { "M#" } else { "S#" };
            let items = scan(store, buckets_table).await;
            let live: Vec<_> = items
                .iter()
                .filter(|item| item["pk"].as_s().unwrap().starts_with(prefix) && !item.contains_key("closed"))
                .filter(|item| {
                    let counts = item.iter().filter(|(name, _)| name.as_str() != "n");
                    let mut counts = counts.filter_map(|(_, value)| value.as_n().ok());
                    counts.any(|count| count != "0")
                })
                .collect();
            let item = rng.of(&live);
            let (one, other) = (item["pk"].as_s().unwrap(), item["sk"].as_s().unwrap());
            delete(store, buckets_table, &pk_sk(one, other)).await;
        }
        22 => {
            let list = keys::text_digest(&stray);
            for counter in counters::of_moment(&list, client.created_date, rng.below(8) as u8) {
                add(store, &pk_sk(&counter.pk, &counter.sk), &counter.attribute, 2).await;
            }
            let key = pk_sk(&format!("T#{stray}"), &format!("{}#3", keys::text_digest("new")));
            let item = key.into_iter().chain([("status".to_owned(), s("new")), ("n".to_owned(), n(1))]);
            put(store, buckets_table, item.collect()).await;
        }
        23 | 24 => {
            let (client, bucket) = counted().await;
            let sk = format!("{}#", keys::text_digest(&client.status));
            let items = scan(store, buckets_table).await;
            let found = items.iter().find(|item| {
                item["pk"].as_s().unwrap() == &keys::status_counters(&bucket)
                    && item["sk"].as_s().unwrap().starts_with(&sk)
                    && item["status"].as_s().is_ok_and(|status| *status == client.status)
            });
            let Some(found) = found else { return };
            let key = pk_sk(found["pk"].as_s().unwrap(), found["sk"].as_s().unwrap());
            if kind == 23 {
                set(store, buckets_table, &key, "status", Some(s("another"))).await;
            } else {
                delete(store, buckets_table, &key).await;
            }
        }
        25 => delete_if_there(store, &route(&all[at % 5], rng.below(3))).await,
        26 => {
            let key = route(&all[at % 4], 0);
            if get(store, buckets_table, &key).await.is_some() {
                set(store, buckets_table, &key, "bucketId", Some(s("nowhere"))).await;
            }
        }
        27 => {
            // Of a bucket that is gone, of one that has no such source, and of nobody.
            for (at, bucket) in [stray.as_str(), "two-open", "no id"].into_iter().enumerate() {
                let mut item = pk_sk("A#aff-two", &format!("source#{stray}{at}"));
                item.insert("bucketId".into(), s(bucket));
                item.insert("sourceId".into(), s("x"));
                put(store, buckets_table, item).await;
            }
            let mut item = pk_sk("A#aff-two", &format!("sourced#1600000000008#{stray}"));
            item.insert("bucketId".into(), s("two-open"));
            put(store, buckets_table, item).await;
        }
        28 => {
            let record = pk_sk(&keys::bucket(&all[at % 5].id), keys::BUCKET_RECORD);
            let name = ["kind", "created", "id"][rng.below(3)];
            set(store, buckets_table, &record, name, Some(s(&stray))).await;
        }
        29 => {
            let list = keys::bucket_list(&all[at % 5].id);
            let items = scan(store, buckets_table).await;
            let own = items.iter().find(|item| *item["pk"].as_s().unwrap() == keys::month_counters(&list));
            let Some(own) = own else { return };
            let key = pk_sk(own["pk"].as_s().unwrap(), own["sk"].as_s().unwrap());
            set(store, buckets_table, &key, "closed", Some(AttributeValue::Bool(true))).await;
        }
        30 => {
            let tokens = store.all_tokens().await.unwrap();
            let own = key([("id", rng.of(&tokens).id.as_str())]);
            let name = *rng.of(&["kind", "created"]);
            set(store, &tables.tokens, &own, name, [None, Some(s(&stray))][rng.below(2)].clone()).await;
        }
        31 => {
            let own = key([("pk", "role"), ("id", "partner")]);
            set(store, &tables.roles, &own, "tokens", Some(n(100 + at as i64))).await;
        }
        32 => {
            for kind in ["I#", "L#", "S#", "M#"] {
                let mut item = pk(&format!("{kind}{stray}"));
                item.insert("id".into(), s(&stray));
                for name in ["expiresAt", "endsAt"] {
                    item.insert(name.into(), n(4_000_000_000));
                }
                for name in ["request", "claim"] {
                    item.insert(name.into(), AttributeValue::B(b"x".to_vec().into()));
                }
                put(store, &tables.expiring, item).await;
            }
        }
        _ => {
            let own = key([("pk", "role"), ("id", "sign-up")]);
            set(store, &tables.roles, &own, "tokens", None).await;
        }
    }
}

async fn delete_if_there(store: &Store, key: &Item) {
    if get(store, &store.tables().buckets, key).await.is_some() {
        delete(store, &store.tables().buckets, key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_damage_is_repaired_to_what_was_there_before() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let before = content(store).await;
    let rng = &mut Rng::new(1);
    // A few at a time, each of another client.
    for first in 0..6 {
        let kinds: Vec<_> = (first..KINDS).step_by(6).collect();
        for kind in &kinds {
            let undamaged = everything(store).await;
            damage(store, *kind, 11 + kind, rng).await;
            assert!(everything(store).await != undamaged, "kind {kind} damaged nothing");
        }
        let repaired = repair(store).await.unwrap();
        assert!(repaired.count >= kinds.len() as u64, "kinds {kinds:?}: {:?}", repaired.repaired);
        assert_consistent(&repaired, &format!("kinds {kinds:?}"));
        assert_same(&before, &content(store).await, &format!("kinds {kinds:?}"));
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_damage_at_once_is_repaired_to_what_was_there_before() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let before = content(store).await;
    let rng = &mut Rng::new(77);
    for at in 0..CLIENTS / 2 {
        // Of the places that are few, each is damaged once.
        let kind = if at < KINDS { at } else { rng.below(25) };
        damage(store, kind, at * 2, rng).await;
    }
    let report = check(store).await.unwrap();
    assert!(report.problems.len() > CLIENTS / 2, "{}", report.problems.len());
    // Two at once do not undo one another's work.
    let (one, other) = tokio::join!(repair(store), repair(store));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.count + other.count >= report.problems.len() as u64);
    assert_consistent(&repair(store).await.unwrap(), "two at once");
    assert_same(&before, &content(store).await, "two at once");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_leaves_behind_who_is_gone_is_taken_away() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let before = content(store).await;
    let (rng, buckets) = (&mut Rng::new(3), buckets());
    let token = TokenId::parse(&"1".repeat(32)).unwrap();
    for number in CLIENTS..CLIENTS + 30 {
        let client = client(number, rng, &buckets);
        let key = IdempotencyKey::new(&token, &number.to_string(), b"request");
        assert_eq!(store.register(&client, Some(&key)).await.unwrap(), Registered::Created);
        delete(store, &store.tables().clients, &pk(&keys::client(client.id.as_str()))).await;
    }
    assert!(!check(store).await.unwrap().is_consistent());
    assert_consistent(&repair(store).await.unwrap(), "gone clients");
    assert_same(&before, &content(store).await, "gone clients");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_damage_than_one_round_takes_is_repaired_in_several() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let (before, clients) = (content(store).await, store.tables().clients.clone());
    // What can't be repaired does not keep others from it.
    let mut strays = Vec::new();
    for number in 0..1500 {
        strays.push(pk(&format!("X#{number}")));
        put(store, &clients, strays[number].clone()).await;
    }
    for number in 0..1200 {
        let list = keys::text_digest(&format!("nobody {number}"));
        let [counter, _] = counters::of_moment(&list, Timestamp::clamped(1_700_000_000_000), 0);
        add(store, &pk_sk(&counter.pk, &counter.sk), &counter.attribute, 1).await;
    }
    for number in 0..CLIENTS {
        let client = store.client(&ClientId::new(format!("id-{number}"))).await.unwrap().unwrap().value;
        delete(store, &clients, &pk(&keys::lead(client.given.email.key()))).await;
    }
    let repaired = repair(store).await.unwrap();
    assert_eq!(repaired.count, 1200 + CLIENTS as u64);
    assert_eq!((repaired.report.problems.len(), repaired.report.more), (1000, 500));
    assert!(repaired.report.problems.iter().all(|problem| problem.key.starts_with("X#")));
    for stray in &strays {
        delete(store, &clients, stray).await;
    }
    assert_consistent(&repair(store).await.unwrap(), "all of it");
    assert_same(&before, &content(store).await, "all of it");
    stack.stop().await;
}

/// What is done to it can't be repaired: nothing tells what it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_follow_from_anything_is_left_and_told() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let tables = store.tables();
    let own = |number: usize| pk(&format!("C#id-{number}"));
    let email_of = async |number: usize| {
        let client = store.client(&ClientId::new(format!("id-{number}"))).await.unwrap().unwrap();
        client.value.given.email
    };
    // Malformed, of no bucket, of another affiliate, without details.
    set(store, &tables.clients, &own(2), "email", Some(s("nothing"))).await;
    set(store, &tables.clients, &own(3), "status", None).await;
    set(store, &tables.clients, &own(13), "bucketId", Some(n(1))).await;
    set(store, &tables.clients, &own(4), "bucketId", Some(s("not a bucket"))).await;
    set(store, &tables.clients, &own(6), "affiliateID", Some(s("another"))).await;
    set(store, &tables.clients, &own(7), "phone", None).await;
    delete(store, &tables.clients, &pk("D#id-108")).await;
    // Two clients with one email; the other's is gone.
    let taken = email_of(16).await;
    let lost = email_of(17).await;
    set(store, &tables.clients, &own(17), "email", Some(s(taken.as_str()))).await;
    delete(store, &tables.clients, &pk(&keys::lead(lost.key()))).await;
    // Unrecognised, a count that is none, tokens of no role, a bucket that can't be read.
    put(store, &tables.clients, pk("X#1")).await;
    put(store, &tables.buckets, pk_sk("B#x", "x")).await;
    add(store, &pk_sk(&keys::month_counters("list"), "202301#0"), "n", 1).await;
    set(store, &tables.buckets, &pk_sk(&keys::month_counters("list"), "202301#0"), "10", Some(s("x"))).await;
    set(store, &tables.buckets, &pk_sk("B#two-open", "bucket"), "createdDate", None).await;
    let token = store.all_tokens().await.unwrap().remove(0);
    set(store, &tables.tokens, &key([("id", token.id.as_str())]), "roleId", Some(s("no role"))).await;
    set(store, &tables.tokens, &key([("id", token.id.as_str())]), "digest", None).await;

    let before = content(store).await;
    let repaired = repair(store).await.unwrap();
    // One count: the client's counters of the bucket that is none.
    let told: Vec<_> = repaired.report.problems.iter().map(ToString::to_string).collect();
    assert!(!repaired.report.is_consistent());
    assert!(repaired.report.problems.iter().all(|problem| !problem.remedy.is_empty()));
    let remedies: Vec<_> = repaired.report.problems.iter().map(|problem| problem.remedy.as_str()).collect();
    assert!(!remedies.iter().any(|remedy| remedy.contains("--repair` mends")), "{remedies:?} {told:?}");
    assert_same(&before, &content(store).await, &format!("{:?}; {told:?}", repaired.repaired));
    for (what, remedy) in [
        ("C#id-2: email is malformed", "can't read it"),
        ("C#id-3: missing or malformed: status", "can't read it"),
        ("C#id-4: its bucket does not exist", "PATCH its bucketId"),
        ("C#id-6: its bucket is another affiliate's", "in the admin API"),
        ("D#id-108: is missing", "restored table"),
        ("(of client id-17)", "another client has this email as well"),
        ("X#1: is nothing", "delete it"),
        ("202301#0 10: is no count", "can't read it"),
        ("B#two-open: missing or malformed: createdDate", "can't read it"),
        ("its role does not exist", "create the role"),
    ] {
        let found = repaired.report.problems.iter().find(|problem| problem.to_string().contains(what));
        let found = found.unwrap_or_else(|| panic!("{what} is not told: {told:?}"));
        assert!(found.remedy.contains(remedy), "{found:?}");
    }
    // What an operator is told to do helps.
    change(store, 17, |client| client.given.email = Email::parse("new17@example.com").unwrap()).await;
    let repaired = repair(store).await.unwrap();
    let of_emails = |repaired: &Repaired| {
        repaired.report.problems.iter().filter(|problem| problem.to_string().contains("id-17")).count()
    };
    assert_eq!(of_emails(&repaired), 0, "{:?}", repaired.report.problems);
    for (number, email) in [(16, taken), (17, Email::parse("new17@example.com").unwrap())] {
        let found = store.client_by_email(&email).await.unwrap().unwrap();
        assert_eq!(found.value.id.as_str(), format!("id-{number}"));
    }
    stack.stop().await;
}

// -------------------------------------------------------------------- a system at work

#[tokio::test(flavor = "multi_thread")]
async fn a_system_at_work_is_repaired_and_loses_nothing() {
    let (stack, _directory) = stack().await;
    let store = stack.store.clone();
    let rng = &mut Rng::new(9);
    for at in 0..60 {
        damage(&store, if at < KINDS { at } else { rng.below(25) }, at * 3, rng).await;
    }
    let (stop, signed_up) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers = (0..3).map(|writer| {
        let (store, stop, signed_up) = (store.clone(), stop.clone(), signed_up.clone());
        tokio::spawn(async move { work(&store, writer, &stop, &signed_up).await })
    });
    let writers: Vec<_> = writers.collect();
    let (mut count, mut repairs, begin) = (0, 0, Instant::now());
    // However slow the machine is, some work is done meanwhile.
    while repairs < 2 || signed_up.load(Ordering::SeqCst) < 20 {
        assert!(begin.elapsed() < PATIENCE, "the writers do nothing");
        count += repair(&store).await.unwrap().count;
        repairs += 1;
    }
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(count > 0, "nothing was repaired");
    assert_consistent(&repair(&store).await.unwrap(), "at rest");
    for (id, (email, status, bucket)) in acknowledged {
        let stored = store.client(&id).await.unwrap().unwrap().value;
        assert_eq!((&stored.given.email, &stored.status, &stored.bucket_id), (&email, &status, &bucket));
        assert_eq!(store.client_by_email(&email).await.unwrap().unwrap().value, stored);
    }
    stack.stop().await;
}

type Acknowledged = BTreeMap<ClientId, (Email, String, Option<BucketId>)>;

/// Signs clients up, moves them and others, makes and deletes buckets; what was acknowledged of its own.
async fn work(store: &Store, writer: usize, stop: &AtomicBool, signed_up: &AtomicUsize) -> Acknowledged {
    let rng = &mut Rng::new(100 + writer as u64);
    let mut acknowledged = Acknowledged::new();
    let all = buckets();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let number = 10_000 * (writer + 1) + number;
        let mut own = client(number, rng, &all);
        own.created_date = Timestamp::now();
        own.updated_date = own.created_date;
        let state =
            |client: &Client| (client.given.email.clone(), client.status.clone(), client.bucket_id.clone());
        if store.sign_up(own.clone(), None, None).await.unwrap() == Registered::Created {
            acknowledged.insert(own.id.clone(), state(&own));
            signed_up.fetch_add(1, Ordering::SeqCst);
        }
        let chosen = rng.below(CLIENTS);
        let theirs = ClientId::new(format!("id-{chosen}"));
        for id in [own.id, theirs] {
            // Others may be damaged; what fails is not done.
            let Ok(Some(stored)) = store.client(&id).await else { continue };
            let mut to = stored.value.clone();
            match rng.below(3) {
                0 => to.status = (*rng.of(&STATUSES)).to_owned(),
                1 => {
                    let bucket = rng.of(&all);
                    (to.affiliate_id, to.bucket_id) =
                        (Some(bucket.affiliate_id.clone()), Some(bucket.id.clone()));
                }
                _ => {
                    to.given.email =
                        Email::parse(&format!("W{writer}-{number}-{chosen}@example.com")).unwrap()
                }
            }
            let changed = store.change_client(&stored, &to).await;
            if let (Some(known), Ok(ChangeClient::Changed(_))) = (acknowledged.get_mut(&id), changed) {
                *known = state(&to);
            }
        }
        let new = bucket(&format!("w{number}"), &format!("aff w{writer}"), &["s"]);
        assert_eq!(store.create_bucket(&new).await.unwrap(), CreateBucket::Created);
        let stored = store.stored_bucket(&new.id).await.unwrap().unwrap();
        assert_eq!(store.delete_bucket(&stored).await.unwrap(), DeleteBucket::Deleted);
    }
    acknowledged
}

// -------------------------------------------------------------------- kills, and changes in between

/// What becomes of a transaction on its way.
#[derive(Clone, Copy)]
enum Fate {
    Passes,
    /// It does not arrive.
    IsLost,
    /// It is written, and not answered.
    HasNoAnswer,
    /// It waits until all are let go.
    IsHeld,
}

/// A DynamoDB in front of the stack's.
struct Between {
    store: Store,
    /// A transaction met its fate.
    met: Arc<Notify>,
    /// Closed, it lets go what is held.
    gate: Arc<Semaphore>,
}

/// `fate` is that of a transaction by its number, from 0.
async fn between(stack: &Stack, fate: impl Fn(usize) -> Fate + Clone + Send + Sync + 'static) -> Between {
    let (met, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (signal, closed, count) = (met.clone(), gate.clone(), Arc::new(AtomicUsize::new(0)));
    let store = crate::between::store(stack, move |call, dynamodb| {
        let (signal, closed) = (signal.clone(), closed.clone());
        let is_write = call.headers()["x-amz-target"].to_str().unwrap().contains("Transact");
        let fate = if is_write { fate(count.fetch_add(1, Ordering::SeqCst)) } else { Fate::Passes };
        async move {
            match fate {
                Fate::Passes => {}
                Fate::IsLost => {
                    signal.notify_one();
                    std::future::pending::<()>().await;
                }
                Fate::HasNoAnswer => {
                    dynamodb.answer(call).await;
                    signal.notify_one();
                    return std::future::pending().await;
                }
                Fate::IsHeld => {
                    signal.notify_one();
                    let _ = closed.acquire().await;
                }
            }
            dynamodb.answer(call).await
        }
    });
    Between { store: store.await, met, gate }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_leaves_nothing_worse_and_the_next_one_ends() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let before = content(store).await;
    for kill in 0..2 {
        let rng = &mut Rng::new(500 + kill as u64);
        for at in 0..50 {
            damage(store, if at < KINDS { at } else { rng.below(25) }, at * 3 + kill, rng).await;
        }
        let damaged = check(store).await.unwrap().problems.len();
        let after = 1 + kill + rng.below(30);
        let last = [Fate::IsLost, Fate::HasNoAnswer][kill];
        let between = between(&stack, move |number| if number < after { Fate::Passes } else { last }).await;
        let repairing = tokio::spawn(async move { repair(&between.store).await });
        tokio::time::timeout(PATIENCE, between.met.notified()).await.unwrap();
        repairing.abort();
        let _ = repairing.await;
        let left = check(store).await.unwrap().problems.len();
        assert!(left < damaged, "{left} of {damaged} after {after} transactions");
        assert_consistent(&repair(store).await.unwrap(), "after a kill");
        assert_same(&before, &content(store).await, "after a kill");
    }
    stack.stop().await;
}

/// Somebody changes a record after the repair has looked at it, and before it writes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_between_is_left_alone() {
    let (stack, _directory) = stack().await;
    let store = &stack.store;
    let tables = store.tables();
    // What was repaired in the end: what the change made wrong itself.
    let repaired = async |damaged: &str, change: Change| {
        // Whatever its number: what is held for long is sent again.
        let Between { store: through, met, gate } = between(&stack, |_| Fate::IsHeld).await;
        let repairing = tokio::spawn(async move { repair(&through).await });
        tokio::time::timeout(PATIENCE, met.notified()).await.unwrap();
        change.make(store).await;
        gate.close();
        let repaired = repairing.await.unwrap().unwrap();
        assert_consistent(&repaired, damaged);
        repaired.repaired.iter().map(ToString::to_string).collect::<Vec<_>>()
    };

    // A client's list.
    set(store, &tables.clients, &pk("C#id-22"), "list", Some(s("x"))).await;
    assert_eq!(repaired("a list", Change::Moves).await, <[&str; 0]>::default());
    // Details that nobody has, until the client gets some.
    let stray = [("pk", s("D#id-23")), ("phone", s("1")), ("state", s("a"))];
    let stray = stray.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    put(store, &tables.clients, stray).await;
    assert_eq!(repaired("details", Change::Grows).await, <[&str; 0]>::default());
    let grown = store.client(&ClientId::new("id-23")).await.unwrap().unwrap().value;
    assert_eq!(grown.given.meta.map(|meta| meta.len()), Some(9000));
    // A count, which another repair mends.
    let counter = keys::status_counters(&BucketId::parse("two-open").unwrap());
    add(store, &pk_sk(&counter, &format!("{}#0", keys::text_digest("new"))), counters::STATUS_COUNT, 3).await;
    assert_eq!(repaired("a count", Change::IsRepaired).await, <[&str; 0]>::default());
    // A source's routing record.
    let route = pk_sk(&keys::affiliate(AFFILIATES[0]), &keys::assigned_source(SOURCES[0]));
    delete(store, &tables.buckets, &route).await;
    assert_eq!(repaired("a route", Change::LosesSource).await, <[&str; 0]>::default());
    // A lead.
    let email = store.client(&ClientId::new("id-24")).await.unwrap().unwrap().value.given.email;
    delete(store, &tables.clients, &pk(&keys::lead(email.key()))).await;
    let told = repaired("a lead", Change::GetsStatus).await;
    let leads = told.iter().filter(|line| line.starts_with("lead")).count();
    assert_eq!((leads, told.len()), (1, 3), "{told:?}");
    stack.stop().await;
}

/// A change that somebody makes.
#[derive(Clone, Copy)]
enum Change {
    Moves,
    Grows,
    IsRepaired,
    LosesSource,
    GetsStatus,
}

impl Change {
    async fn make(self, store: &Store) {
        match self {
            Self::Moves => {
                change(store, 22, |client| {
                    (client.affiliate_id, client.bucket_id) =
                        (Some(AFFILIATES[1].to_owned()), BucketId::parse("two-open"));
                })
                .await;
            }
            Self::Grows => {
                change(store, 23, |client| client.given.meta = Some("m".repeat(9000))).await;
            }
            Self::IsRepaired => assert_eq!(repair(store).await.unwrap().count, 1),
            Self::LosesSource => {
                let id = BucketId::parse("one-with").unwrap();
                let stored = store.stored_bucket(&id).await.unwrap().unwrap();
                let to = Bucket { sources: vec![SOURCES[1].to_owned()], ..stored.value.clone() };
                let changed = store.change_bucket(&stored, &to).await.unwrap();
                assert!(matches!(changed, ChangeBucket::Changed(_)), "{changed:?}");
            }
            Self::GetsStatus => {
                // As a change in the admin API would, if it found the lead.
                let table = &store.tables().clients;
                set(store, table, &pk("C#id-24"), "status", Some(s("meddled"))).await;
                set(store, table, &pk("C#id-24"), "rev", Some(s("meddled"))).await;
            }
        }
    }
}

// -------------------------------------------------------------------- the command

#[test]
fn the_command_repairs_and_ends_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let lead = format!("E#{}", "user1@example.com");
    // A stack that runs.
    let running = crate::program::Running::start(directory, &["--port", "0"]);
    running.delete_item("ClientsTable", &lead);
    let found = crate::program::run(directory, &["check"]);
    assert_eq!(found.code, Some(4), "{found:?}");
    let repaired = crate::program::run(directory, &["check", "--repair"]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    assert!(repaired.stdout.contains(": lead in clients, E#u…@example.com: is missing"), "{repaired:?}");
    assert!(repaired.stdout.contains("1 problems repaired\n"), "{repaired:?}");
    assert!(repaired.stdout.ends_with("Consistent.\n"), "{repaired:?}");
    let (_, leads) = running.leads(r#"{"emails":["user1@example.com"]}"#);
    assert_eq!(leads["user1@example.com"]["id"], demo::CLIENT);
    // Something that can't be repaired, and another DynamoDB.
    running.delete_item("ClientsTable", &lead);
    let endpoint = running.greeting.lines().find_map(|line| line.strip_prefix("DynamoDB")).unwrap().trim();
    let store = {
        let credentials =
            SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "test"));
        let names = ["Tokens", "Roles", "Buckets", "Clients", "Expiring", "TokenActivity"];
        let [tokens, roles, buckets, clients, expiring, activity] = names.map(|name| format!("{name}Table"));
        let tables = shared::config::Tables { tokens, roles, buckets, clients, expiring, activity };
        Store::connect("eu-west-1", credentials, Some(endpoint), &tables)
    };
    tokio::runtime::Runtime::new().unwrap().block_on(put(&store, "ClientsTable", pk("X#1")));
    let endpoint = endpoint.to_owned();
    let arguments = ["check", "--repair", "--json", "--dynamodb-endpoint", &endpoint];
    let left = crate::program::output(crate::program::plain(&arguments));
    assert_eq!(left.code, Some(4), "{left:?}");
    let report: serde_json::Value = serde_json::from_str(&left.stdout).unwrap();
    assert_eq!((&report["consistent"], &report["repairedCount"]), (&false.into(), &1.into()), "{report}");
    assert_eq!(report["repaired"][0]["kind"], "lead", "{report}");
    assert_eq!(report["problems"][0]["key"], "X#1", "{report}");
    assert!(report["problems"][0]["remedy"].as_str().unwrap().starts_with("nothing reads it"), "{report}");
    running.end("-TERM");
    // One that does not run.
    let begin = Instant::now();
    let left = crate::program::run(directory, &["check", "--repair"]);
    assert_eq!(left.code, Some(4), "{left:?}");
    assert!(left.stdout.contains("1 problems left:\nleft: unrecognised in clients, X#1"), "{left:?}");
    assert!(left.stdout.contains("\n  nothing reads it: delete it"), "{left:?}");
    assert!(begin.elapsed() < PATIENCE);
}
