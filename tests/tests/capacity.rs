//! What each request costs, measured at the wire: rounds of calls and capacity units, against the
//! ceiling of its access pattern. `cargo test -p tests --test capacity -- --nocapture` prints the
//! figures.

use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::{Database, ImportOptions, Item};
use hyper::Method;
use serde_json::{Value, json};
use shared::model::{BucketId, Client, ClientId, Email, SignUp, Timestamp};
use shared::secret::Token;
use shared::store::{client_items, counters, keys};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tests::dynamodb::{Difference, Dynamodb};
use tests::proxy::{Measured, Proxy, QUIET, QUIET_MAX};
use tests::sessions;
use tests::{Answer, INVALID_KEY, TestApp, UNAUTHORIZED};

const AFFILIATE: &str = "AFF-123";
const BUCKET: &str = "68f0c2a79b5e4d1fa3c7e812";
const SOURCES: [&str; 2] = ["google", "facebook"];

const DAY: i64 = 86_400_000;
/// 2026-03-02T00:00:00Z.
const MONDAY: i64 = 1_772_409_600_000;

/// How often a request is measured at most.
const MEASUREMENTS: usize = 10;
/// Cold stacks made ready in advance; the most that one test needs, if none is measured again.
const COLD_STACKS: usize = 6;
/// As many more where large sets are loaded as a request needs that is measured again and again.
const COLD_STACKS_FOR_LARGE_SETS: usize = 16;

/// A DynamoDB, the proxy before it, a stack on it, and the figures measured so far.
struct Bench {
    dynamodb: Dynamodb,
    proxy: Proxy,
    app: TestApp,
    /// Stacks that served no request yet.
    cold: RefCell<Vec<TestApp>>,
    rows: RefCell<Vec<String>>,
    exceeded: RefCell<Vec<String>>,
}

/// The most that a request may cost.
#[derive(Clone, Copy)]
struct Ceiling {
    rounds: usize,
    read: f64,
}

const fn ceiling(rounds: usize, read: f64) -> Ceiling {
    Ceiling { rounds, read }
}

/// Cold requests are bounded in rounds alone.
const COLD: Ceiling = ceiling(4, f64::INFINITY);
/// What no ceiling is set for: measured to be known.
const UNBOUNDED: Ceiling = ceiling(usize::MAX, f64::INFINITY);

impl Bench {
    async fn start() -> Self {
        Self::start_set(&[("ORIGINS", "")], COLD_STACKS).await
    }

    /// With cold stacks to spare, which take long to start once there are many items.
    async fn start_for_large_sets() -> Self {
        Self::start_set(&[("ORIGINS", "")], COLD_STACKS_FOR_LARGE_SETS).await
    }

    async fn start_set(variables: &[(&str, &str)], cold_stacks: usize) -> Self {
        let dynamodb = Dynamodb::start().await;
        let proxy = Proxy::start(dynamodb.address).await;
        let app = TestApp::start_without_streams_on(proxy.endpoint(), variables).await;
        app.bucket(BUCKET, AFFILIATE, &SOURCES).await;
        // Started while the tables are small: a start describes them, and the engine counts their
        // items for that.
        let mut cold = Vec::new();
        for _ in 0..cold_stacks {
            cold.push(Self::start_cold(&proxy).await);
        }
        let (rows, exceeded) = (RefCell::default(), RefCell::default());
        Self { dynamodb, proxy, app, cold: cold.into(), rows, exceeded }
    }

    async fn start_cold(proxy: &Proxy) -> TestApp {
        TestApp::start_without_streams_on(proxy.endpoint(), &[("ORIGINS", "")]).await
    }

    /// Measures a request that follows another one, after which caches are warm.
    async fn warm_after(
        &self,
        pattern: &str,
        ceiling: Ceiling,
        warming: impl AsyncFn(&TestApp) -> Answer,
        request: impl AsyncFn(&TestApp) -> Answer,
    ) -> (Answer, Measured) {
        let measure = async || {
            warming(&self.app).await;
            self.proxy.measure(request(&self.app)).await
        };
        self.least(pattern, ceiling, measure).await
    }

    /// Measures a request's second time.
    async fn warm(
        &self,
        pattern: &str,
        ceiling: Ceiling,
        request: impl AsyncFn(&TestApp) -> Answer,
    ) -> (Answer, Measured) {
        self.warm_after(pattern, ceiling, &request, &request).await
    }

    /// Measures the first request of a stack.
    async fn cold(&self, pattern: &str, request: impl AsyncFn(&TestApp) -> Answer) -> (Answer, Measured) {
        let measure = async || {
            let spare = self.cold.borrow_mut().pop();
            let app = match spare {
                Some(app) => app,
                None => Self::start_cold(&self.proxy).await,
            };
            self.proxy.measure(request(&app)).await
        };
        self.least(&format!("{pattern}, cold"), COLD, measure).await
    }

    /// Stalls of the machine can only add rounds, and a cache that ages out between a request and
    /// the one that warmed it can only add capacity, so the least of a few measurements counts. Each
    /// waits twice as long as the one before for calls that belong to a round.
    async fn least(
        &self,
        pattern: &str,
        ceiling: Ceiling,
        measure: impl AsyncFn() -> (Answer, Measured),
    ) -> (Answer, Measured) {
        let mut quiet = QUIET;
        let mut least = measure().await;
        for _ in 1..MEASUREMENTS {
            if least.1.rounds <= ceiling.rounds && least.1.read <= ceiling.read {
                break;
            }
            quiet = (quiet * 2).min(QUIET_MAX);
            self.proxy.set_quiet(quiet);
            let again = measure().await;
            if (again.1.rounds, again.1.read) < (least.1.rounds, least.1.read) {
                least = again;
            }
        }
        self.proxy.set_quiet(QUIET);
        let Measured { rounds, read, write, ref calls, .. } = least.1;
        let most_rounds =
            if ceiling.rounds == usize::MAX { "–".to_owned() } else { ceiling.rounds.to_string() };
        let most_read =
            if ceiling.read.is_finite() { format!("{:.1}", ceiling.read) } else { "–".to_owned() };
        self.rows.borrow_mut().push(format!(
            "| {pattern} | {rounds} | {most_rounds} | {read:.1} | {most_read} | {write:.1} | {} |",
            summary(&least.1),
        ));
        self.expect(rounds <= ceiling.rounds && read <= ceiling.read, || {
            let calls: Vec<_> = calls
                .iter()
                .map(|call| {
                    let index = call.index.as_deref().unwrap_or_default();
                    format!("{}:{} {} {index} {:.1}", call.round, call.operation, call.table, call.read)
                })
                .collect();
            let calls = if calls.len() > 20 { summary(&least.1) } else { calls.join("; ") };
            format!(
                "{pattern}: {rounds} rounds of {}, read {read} of {}: {calls}",
                ceiling.rounds, ceiling.read
            )
        });
        least
    }

    /// Notes what is not as it should be, so that one run shows all of it.
    fn expect(&self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.exceeded.borrow_mut().push(problem());
        }
    }

    /// Prints the figures, and fails where a ceiling was exceeded.
    fn finish(&self, title: &str) {
        println!(
            "\n### {title}\n\n| pattern | rounds | at most | read | at most | write | calls |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |\n{}\n",
            self.rows.borrow().join("\n")
        );
        let exceeded = self.exceeded.borrow();
        assert!(exceeded.is_empty(), "{title}:\n{}", exceeded.join("\n"));
    }

    /// Loads clients past the API, with their items and counters as sign-ups would leave them.
    /// Ids are found only where `by_id`.
    async fn load(&self, clients: Arc<[Client]>, by_id: bool) {
        let database = self.dynamodb.engine().database().clone();
        let tables = self.app.store().tables().clone();
        let loading = tokio::task::spawn_blocking(move || {
            for some in clients.chunks(5000) {
                let items = some.iter().flat_map(client_items);
                let items = items.filter(|item| by_id || item["pk"].as_s().unwrap().starts_with("E#"));
                import(&database, &tables.clients, items.map(imported).collect());
            }
            import(&database, &tables.buckets, counter_items(&clients, 1));
        });
        loading.await.unwrap();
    }
}

fn summary(measured: &Measured) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    for call in &measured.calls {
        *counts.entry(call.operation.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(operation, count)| format!("{count} {operation}")).collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ") }
}

fn import(database: &Database, table: &str, items: Vec<Item>) {
    database.import_items(table, items, ImportOptions::default()).unwrap();
}

fn imported(item: HashMap<String, AttributeValue>) -> Item {
    item.into_iter().map(|(name, value)| (name, imported_value(value))).collect()
}

fn imported_value(value: AttributeValue) -> dynoxide::AttributeValue {
    use dynoxide::AttributeValue as Imported;
    match value {
        AttributeValue::S(text) => Imported::S(text),
        AttributeValue::N(number) => Imported::N(number),
        AttributeValue::Bool(flag) => Imported::BOOL(flag),
        AttributeValue::L(values) => Imported::L(values.into_iter().map(imported_value).collect()),
        AttributeValue::M(values) => Imported::M(imported(values)),
        other => panic!("clients have no such attribute: {other:?}"),
    }
}

/// The counters of these clients' lists, which take turns in this many shards.
fn counter_items(clients: &[Client], shards: u8) -> Vec<Item> {
    let mut items = BTreeMap::<(String, String), BTreeMap<String, u64>>::new();
    for (at, client) in clients.iter().enumerate() {
        let list = keys::bucket_list(client.bucket_id.as_ref().unwrap());
        let source = client.given.source_id.as_deref().map(|source| keys::source_list(&list, source));
        for list in [Some(list), source].into_iter().flatten() {
            let shard = ((at / SOURCES.len()) % usize::from(shards)) as u8;
            for counter in counters::of_moment(&list, client.created_date, shard) {
                let counts = items.entry((counter.pk, counter.sk)).or_default();
                *counts.entry(counter.attribute).or_default() += 1;
            }
        }
    }
    let text = dynoxide::AttributeValue::S;
    let number = |count: u64| dynoxide::AttributeValue::N(count.to_string());
    let item = |((pk, sk), counts): ((String, String), BTreeMap<String, u64>)| {
        let counts = counts.into_iter().map(|(attribute, count)| (attribute, number(count)));
        [("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))].into_iter().chain(counts).collect()
    };
    items.into_iter().map(item).collect()
}

fn email(at: usize) -> String {
    format!("jane.doe{at:06}@mail.example.com")
}

fn id(at: usize) -> String {
    format!("{:08x}-52ab-4c1e-9d3f-{at:012x}", at.wrapping_mul(2_654_435_761) & 0xffff_ffff)
}

/// A client of the bucket; the sources take turns.
fn client(like: &Client, at: usize, created: i64, updated: i64) -> Client {
    let mut client = like.clone();
    client.id = ClientId::new(id(at));
    client.given.email = Email::parse(&email(at)).unwrap();
    client.given.source_id = Some(SOURCES[at % SOURCES.len()].to_owned());
    client.created_date = Timestamp::from_millis(created).unwrap();
    client.updated_date = Timestamp::from_millis(updated).unwrap();
    client.status = if at.is_multiple_of(3) { "deposited".into() } else { "new".into() };
    client.ftd = at.is_multiple_of(3).then_some(client.updated_date);
    client
}

fn sample(meta: usize) -> Client {
    let body = json!({
        "email": "jane@example.com",
        "phone": "+1234567890",
        "firstName": "Jane",
        "lastName": "Doe",
        "sourceId": SOURCES[0],
        "meta": "m".repeat(meta),
    });
    let given = SignUp::parse(body.to_string().as_bytes()).unwrap();
    Client::register(given, Some(AFFILIATE.to_owned()), BucketId::parse(BUCKET))
}

/// Read capacity of leads asked for by key.
fn by_keys(count: usize) -> Ceiling {
    ceiling(2, 0.5 * count as f64 + 1.0)
}

fn emails(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(email).collect()
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_round_is_what_waits_for_no_answer() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start().await;
    let bucket = BucketId::parse(BUCKET).unwrap();
    let store = bench.app.store();
    let read = async || assert!(store.bucket(&bucket).await.unwrap().is_some());
    // Two chains beside each other, one of two calls and one of three, and a call behind both.
    let work = async || {
        let two = async {
            read().await;
            read().await;
        };
        let three = async {
            read().await;
            store.roles().await.unwrap();
            read().await;
        };
        tokio::join!(two, three);
        read().await;
    };
    let mut quiet = QUIET;
    let mut least = bench.proxy.measure(work()).await.1;
    for _ in 1..MEASUREMENTS {
        if least.rounds <= 4 {
            break;
        }
        quiet = (quiet * 2).min(QUIET_MAX);
        bench.proxy.set_quiet(quiet);
        let again = bench.proxy.measure(work()).await.1;
        least = if again.rounds < least.rounds { again } else { least };
    }
    assert_eq!((least.rounds, least.calls.len()), (4, 6), "{least:?}");
    assert_eq!((least.read, least.write), (3.0, 0.0), "{least:?}");
    let (_, none) = bench.proxy.measure(async {}).await;
    assert_eq!(none, Measured::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refused_requests() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start().await;
    let like = sample(0);
    let clients = (0..500).map(|at| client(&like, at, MONDAY + at as i64 * 60_000, MONDAY)).collect();
    bench.load(clients, true).await;
    bench.app.bucket("theirs", "another", &[]).await;
    // All tokens are made before the first request, which reads all roles.
    let partner = bench.app.partner(&[AFFILIATE]).await;
    let key = bench.app.sign_up_key(&[AFFILIATE]).await;
    let known = bench.app.partner(&["another"]).await;
    let mut others = Vec::new();
    for _ in 0..MEASUREMENTS {
        others.push(bench.app.partner(&["another"]).await);
    }
    let unknown = Token::generate().unwrap().expose().to_owned();
    let malformed = {
        let last = if partner.ends_with('0') { '1' } else { '0' };
        format!("{}{last}", &partner[..partner.len() - 1])
    };
    let leads =
        async |app: &TestApp, token: &str, body: &Value| app.leads(token, BUCKET, AFFILIATE, body).await;
    let all = json!({});
    let welcome = async |app: &TestApp| leads(app, &partner, &all).await;
    let unread = ceiling(0, 0.0);
    let refused = ceiling(1, 1.0);

    let request = async |app: &TestApp| leads(app, &malformed, &all).await;
    let (answer, measured) = bench.warm_after("leads, malformed token", unread, welcome, request).await;
    answer.assert(401, UNAUTHORIZED);
    assert_eq!(measured.calls, []);
    let request = async |app: &TestApp| app.sign_up(&malformed, &all).await;
    let (answer, measured) = bench.warm("sign-up, malformed token", unread, request).await;
    answer.assert(401, INVALID_KEY);
    assert_eq!(measured.calls, []);

    let request = async |app: &TestApp| leads(app, &unknown, &all).await;
    let (answer, _) = bench.warm_after("leads, unknown token", refused, welcome, request).await;
    answer.assert(401, UNAUTHORIZED);
    let (answer, _) = bench.cold("leads, unknown token", request).await;
    answer.assert(401, UNAUTHORIZED);
    let request = async |app: &TestApp| app.sign_up(&unknown, &all).await;
    let (answer, _) = bench.warm("sign-up, unknown token", refused, request).await;
    answer.assert(401, INVALID_KEY);

    // Each measurement has a token of its own, so that no earlier request has made it known.
    let fresh = Cell::new(0);
    let request = async |app: &TestApp| {
        let other = &others[fresh.replace(fresh.get() + 1)];
        leads(app, other, &all).await
    };
    let pattern = "leads, another affiliate's token, its first request";
    let (answer, _) = bench.warm_after(pattern, refused, welcome, request).await;
    answer.assert(401, UNAUTHORIZED);
    for (what, body) in [
        ("all leads", json!({})),
        ("offset 400", json!({"offset": 400})),
        ("100 emails", json!({"emails": emails(0..100)})),
    ] {
        let request = async |app: &TestApp| leads(app, &known, &body).await;
        let warming = async |app: &TestApp| {
            request(app).await;
            welcome(app).await
        };
        let pattern = format!("leads, another affiliate's token, repeated, {what}");
        let (answer, _) = bench.warm_after(&pattern, refused, warming, request).await;
        answer.assert(401, UNAUTHORIZED);
    }

    let request = async |app: &TestApp| leads(app, &key, &all).await;
    let (answer, _) =
        bench.warm_after("leads, token without the permission", refused, welcome, request).await;
    answer.assert(401, UNAUTHORIZED);
    let request = async |app: &TestApp| leads(app, &partner, &json!({"limit": 0})).await;
    let (answer, _) = bench.warm("leads, body refused", refused, request).await;
    assert_eq!(answer.status, 400);
    for (what, bucket) in [("an unknown bucket", "unknown"), ("another affiliate's bucket", "theirs")] {
        let request = async |app: &TestApp| app.leads(&partner, bucket, AFFILIATE, &all).await;
        let (answer, _) = bench.warm(&format!("leads of {what}"), UNBOUNDED, request).await;
        assert_eq!(answer.status, 400);
    }
    let request = async |app: &TestApp| app.sign_up(&partner, &all).await;
    let (answer, _) = bench.warm("sign-up, token without the permission", refused, request).await;
    answer.assert(401, INVALID_KEY);
    let request = async |app: &TestApp| app.sign_up(&key, &all).await;
    let (answer, _) = bench.warm("sign-up, body refused", refused, request).await;
    assert_eq!(answer.status, 400);
    bench.finish("Refused requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leads_by_emails_and_ids() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start().await;
    // Clients' own items from small to the largest that is stored in one piece, and beyond.
    let likes = [0, 2000, 3000, 16_000].map(sample);
    let at = |at: usize| client(&likes[at % likes.len()], at, MONDAY + at as i64 * 60_000, MONDAY);
    bench.load((0..5000).map(at).collect(), true).await;
    let partner = bench.app.partner(&[AFFILIATE]).await;
    let unused = RefCell::new(Vec::new());
    for _ in 0..MEASUREMENTS {
        let token = bench.app.partner(&[AFFILIATE]).await;
        unused.borrow_mut().push(token);
    }
    let leads = async |app: &TestApp, body: &Value| app.leads(&partner, BUCKET, AFFILIATE, body).await;

    let body = json!({"emails": emails(0..100)});
    let warming = async |app: &TestApp| leads(app, &body).await;
    let request = async |app: &TestApp| {
        let token = unused.borrow_mut().pop().unwrap();
        app.leads(&token, BUCKET, AFFILIATE, &body).await
    };
    let pattern = "leads by 100 emails, its token's first request";
    let (answer, _) = bench.warm_after(pattern, by_keys(100), warming, request).await;
    assert_eq!(answer.keys(), emails(0..100));

    for (pattern, keys, body, expected) in [
        ("leads by 100 emails", 100, json!({"emails": emails(0..100)}), emails(0..100)),
        ("leads by 100 ids", 100, json!({"ids": ids(0..100)}), emails(0..100)),
        (
            "leads by 50 emails and 50 ids",
            100,
            json!({"emails": emails(0..50), "ids": ids(50..100)}),
            emails(0..100),
        ),
        ("leads by 100 unknown emails", 100, json!({"emails": emails(9000..9100)}), vec![]),
    ] {
        let request = async |app: &TestApp| leads(app, &body).await;
        let (answer, measured) = bench.warm(pattern, by_keys(keys), request).await;
        assert_eq!((answer.status, answer.keys()), (200, expected), "{pattern}");
        assert_eq!(measured.of("BatchGetItem").count(), 1, "{pattern}");
        bench.cold(pattern, request).await;
    }

    let body = json!({"emails": emails(0..5000), "limit": 5000});
    let request = async |app: &TestApp| leads(app, &body).await;
    let (answer, measured) = bench.warm("leads by 5,000 emails", by_keys(5000), request).await;
    assert_eq!((answer.status, answer.keys()), (200, emails(0..5000)));
    assert_eq!(measured.of("BatchGetItem").count(), 50);
    assert!(measured.of("BatchGetItem").all(|call| call.keys <= 100));
    bench.cold("leads by 5,000 emails", request).await;

    // Keys left unprocessed cost a round more, and the same capacity.
    for (pattern, calls, keys) in [
        ("leads by 5,000 emails, 3 batches left 40 keys unprocessed", 3, 40),
        ("leads by 5,000 emails, 50 batches left 99 keys unprocessed", 50, 99),
    ] {
        let request = async |app: &TestApp| {
            bench.proxy.leave_unprocessed(calls, keys);
            leads(app, &body).await
        };
        let plain = async |app: &TestApp| leads(app, &body).await;
        let limit = Ceiling { rounds: 3, ..by_keys(5000) };
        let (answer, measured) = bench.warm_after(pattern, limit, plain, request).await;
        assert_eq!((answer.status, answer.keys()), (200, emails(0..5000)), "{pattern}");
        assert_eq!(answer.header("x-missing-count"), Some("0"), "{pattern}");
        assert_eq!(measured.of("BatchGetItem").count(), 50 + calls, "{pattern}");
    }
    bench.finish("Leads by emails and ids");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sign_ups() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start().await;
    bench.app.bucket("open-bucket", AFFILIATE, &[]).await;
    let key = bench.app.sign_up_key(&[AFFILIATE]).await;
    let next = Cell::new(0);
    let body = |at: usize, source: Option<&str>| {
        json!({
            "email": email(at), "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe",
            "affiliateID": AFFILIATE, "sourceId": source, "sendEmail": true,
            "billing": {"country": "DE", "city": "Berlin"},
        })
    };
    let new = || next.replace(next.get() + 1);
    let three = ceiling(3, 4.0);

    let sign_up = async |app: &TestApp, at: usize| {
        app.sign_up_once(&key, &format!("key-{at}"), &body(at, Some(SOURCES[0]))).await
    };
    let request = async |app: &TestApp| sign_up(app, new()).await;
    let pattern = "sign-up with affiliate, source and Idempotency-Key";
    let (answer, measured) = bench.warm(pattern, three, request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(measured.of("TransactWriteItems").count(), 1);
    let (answer, measured) = bench.cold(pattern, request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(measured.of("TransactWriteItems").count(), 1);

    let first = sign_up(&bench.app, 9000).await;
    let request = async |app: &TestApp| sign_up(app, 9000).await;
    let (answer, measured) = bench.warm("sign-up, replayed", three, request).await;
    assert_eq!(answer.text, first.text);
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    assert_eq!(measured.of("TransactWriteItems").count(), 1);

    let request = async |app: &TestApp| app.sign_up(&key, &body(9000, None)).await;
    let (answer, _) = bench.warm("sign-up, email taken", three, request).await;
    answer.assert_provider_error(400, "User with this email already exists");

    let request = async |app: &TestApp| app.sign_up(&key, &body(new(), None)).await;
    let (answer, measured) = bench.warm("sign-up without source and Idempotency-Key", three, request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(measured.of("TransactWriteItems").count(), 1);

    // A profile that is stored in an item of its own.
    let request = async |app: &TestApp| {
        let mut body = body(new(), Some(SOURCES[1]));
        body["meta"] = "m".repeat(16_000).into();
        app.sign_up(&key, &body).await
    };
    let (answer, measured) = bench.warm("sign-up with 16 KB of meta", three, request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(measured.of("TransactWriteItems").count(), 1);
    bench.finish("Sign-ups");
}

/// A person's way from the sign-up to the end of the session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start_set(&[], COLD_STACKS).await;
    let key = bench.app.sign_up_key(&[AFFILIATE]).await;
    let next = Cell::new(0);
    let request = async |app: &TestApp| {
        let at = next.replace(next.get() + 1);
        let body = json!({"email": email(at), "phone": "12345", "firstName": "Jane", "sourceId": SOURCES[0]});
        app.sign_up_once(&key, &format!("key-{at}"), &body).await
    };
    let (answer, measured) = bench.warm("sign-up with a link", ceiling(3, 4.0), request).await;
    assert_eq!(measured.of("TransactWriteItems").count(), 1);
    let url = answer.json()["url"].as_str().unwrap().to_owned();

    let nobody = "/autologin/00000000-0000-4000-8000-000000000000/";
    for (pattern, path, most) in [
        ("autologin page", sessions::path(&url), ceiling(1, 1.0)),
        ("autologin page, unknown link", nobody, ceiling(1, 1.0)),
        ("autologin page, malformed link", "/autologin/x", ceiling(0, 0.0)),
    ] {
        let request = async |app: &TestApp| app.send(Method::GET, path, &[], "").await;
        bench.warm(pattern, most, request).await;
    }
    let links = RefCell::new(Vec::new());
    for at in 0..MEASUREMENTS {
        let (_, url) = bench.app.signed_up_with_link(&format!("link{at}@example.com")).await;
        links.borrow_mut().push(url);
    }
    let request = async |app: &TestApp| {
        let url = links.borrow_mut().pop().unwrap();
        app.send(Method::POST, sessions::path(&url), &[], "").await
    };
    let nothing = async |app: &TestApp| app.send(Method::GET, "/autologin/x", &[], "").await;
    let (answer, _) = bench.warm_after("autologin", ceiling(2, 1.0), nothing, request).await;
    let cookie = answer.header("set-cookie").unwrap();

    for (pattern, path) in [("me", sessions::ME), ("Traders Room page", sessions::ROOM)] {
        let request = async |app: &TestApp| app.with_cookie(Method::GET, path, cookie).await;
        let (answer, measured) = bench.warm(pattern, ceiling(2, 2.0), request).await;
        answer.assert_ok();
        assert_eq!(measured.write, 0.0);
    }
    let soon = async |app: &TestApp| {
        app.set_record(&sessions::session_record(cookie), "expiresAt", sessions::now() + 60).await;
        app.send(Method::GET, "/autologin/x", &[], "").await
    };
    let request = async |app: &TestApp| app.with_cookie(Method::GET, sessions::ME, cookie).await;
    bench.warm_after("me, which keeps the session alive", ceiling(2, 2.0), soon, request).await;
    let request = async |app: &TestApp| app.send(Method::GET, sessions::ME, &[], "").await;
    bench.warm("me, signed out", ceiling(0, 0.0), request).await;
    let request = async |app: &TestApp| app.with_cookie(Method::POST, sessions::LOGOUT, cookie).await;
    bench.warm("log out", ceiling(1, 0.0), request).await;
    bench.finish("People");
}

/// What an operator does, in a system of 5,000 clients, 20 buckets and 40 tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start().await;
    let like = sample(0);
    let clients: Arc<[Client]> = (0..5000)
        .map(|at| client(&like, at, 1_700_000_000_000 + at as i64 * 60_000, 1_700_000_000_000))
        .collect();
    bench.load(clients, true).await;
    bench.app.bucket("other", AFFILIATE, &[]).await;
    for number in 0..18 {
        bench.app.bucket(&format!("bucket-{number}"), "AFF-2", &[]).await;
    }
    for _ in 0..40 {
        bench.app.sign_up_key(&[AFFILIATE]).await;
    }
    let tokens = bench.app.walk(bench.app.administrator(), "/api/admin/tokens", 100).await;
    let token = format!("/api/admin/tokens/{}", tokens[0]["id"].as_str().unwrap());
    let next = Cell::new(0);
    let new = || next.replace(next.get() + 1);
    let path = |at: usize| format!("/api/admin/clients/{}", id(at));
    let bench = &bench;
    let call = async |pattern: &str,
                      ceiling: Ceiling,
                      method: &str,
                      path: &dyn Fn() -> String,
                      body: &dyn Fn() -> Option<Value>| {
        let request =
            async |app: &TestApp| app.admin(app.administrator(), method, &path(), body().as_ref()).await;
        let (answer, measured) = bench.warm(pattern, ceiling, request).await;
        assert!((200..300).contains(&answer.status), "{pattern}: {answer:?}");
        (answer, measured)
    };
    let none = || None;
    let get = async |pattern: &str, ceiling: Ceiling, path: &str| {
        call(pattern, ceiling, "GET", &|| path.to_owned(), &none).await
    };
    get("a token's self-check", ceiling(1, 1.0), "/api/public/token").await;
    get("tokens, a page of 100 (42)", ceiling(3, 70.0), "/api/admin/tokens").await;
    get("a token", ceiling(3, 4.0), &token).await;
    let whitelist = || Some(json!({ "whitelist": ["10.0.0.1"] }));
    call("a token's whitelist", ceiling(4, 5.0), "PATCH", &|| token.clone(), &whitelist).await;
    get("roles", ceiling(2, 10.0), "/api/admin/roles").await;
    get("buckets, a page of 100 (20)", ceiling(2, 10.0), "/api/admin/buckets").await;
    get("a bucket's stats", ceiling(3, 10.0), &format!("/api/admin/buckets/{BUCKET}/stats")).await;
    let (answer, _) = get("clients, a page of 100", ceiling(3, 130.0), "/api/admin/clients").await;
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), 100);
    let of_bucket = format!("/api/admin/clients?bucketId={BUCKET}&status=new");
    get("clients of a bucket and status, a page of 100", ceiling(4, 130.0), &of_bucket).await;
    get("a client by email", ceiling(3, 4.0), &format!("/api/admin/clients?email={}", email(7))).await;
    get("a client", ceiling(2, 3.0), &path(7)).await;
    let four = ceiling(4, 6.0);
    let status = || Some(json!({ "status": format!("status {}", new()) }));
    let (_, measured) = call("a client's status", four, "PATCH", &|| path(8), &status).await;
    assert_eq!(measured.of("TransactWriteItems").count(), 1);
    let there = || {
        let bucket = ["other", BUCKET][new() % 2];
        Some(json!({ "bucketId": bucket }))
    };
    call("a client's bucket", four, "PATCH", &|| path(9), &there).await;
    let address = || Some(json!({ "email": format!("new{}@example.com", new()) }));
    call("a client's email", four, "PATCH", &|| path(10), &address).await;
    let bucket =
        || Some(json!({ "name": "n", "affiliateID": AFFILIATE, "sources": [format!("s{}", new())] }));
    let (answer, _) =
        call("a new bucket with a source", four, "POST", &|| "/api/admin/buckets".into(), &bucket).await;
    let created = format!("/api/admin/buckets/{}", answer.json()["id"].as_str().unwrap());
    let sources = || Some(json!({ "sources": [format!("s{}", new())] }));
    call("a bucket's source", four, "PATCH", &|| created.clone(), &sources).await;
    bench.finish("Operators");
}

const LEADS: usize = 120_000;

/// When the leads of a big bucket were created: one after another, evenly.
#[derive(Clone, Copy)]
struct Distribution {
    start: i64,
    step: i64,
    /// A `createdDate` filter, as the first and the last lead in it, that needs the most counters.
    widest_filter: (usize, usize),
}

impl Distribution {
    fn created(&self, at: usize) -> i64 {
        self.start + at as i64 * self.step
    }

    /// Leads change in the opposite order of their creation, after all were created.
    fn updated(&self, at: usize) -> i64 {
        self.created(LEADS) + (LEADS - at) as i64 * 1000
    }

    fn clients(&self) -> Arc<[Client]> {
        let like = sample(0);
        (0..LEADS).map(|at| client(&like, at, self.created(at), self.updated(at))).collect()
    }
}

/// Pages of a bucket of [`LEADS`] leads.
struct Pages<'a> {
    bench: &'a Bench,
    distribution: Distribution,
    clients: Arc<[Client]>,
    partner: String,
    /// Tokens that were not used yet.
    unused: RefCell<Vec<String>>,
    /// Capacity of reading a page's own items.
    own: f64,
}

impl<'a> Pages<'a> {
    async fn load(bench: &'a Bench, distribution: Distribution) -> Self {
        let clients = distribution.clients();
        bench.load(clients.clone(), false).await;
        let partner = bench.app.partner(&[AFFILIATE]).await;
        let mut unused = Vec::new();
        for _ in 0..MEASUREMENTS {
            unused.push(bench.app.partner(&[AFFILIATE]).await);
        }
        let first = bench.app.leads(&partner, BUCKET, AFFILIATE, &json!({})).await;
        assert_eq!(first.header("x-total-count"), Some("120000"), "{:?}", first.headers);
        let (_, measured) =
            bench.proxy.measure(bench.app.leads(&partner, BUCKET, AFFILIATE, &json!({}))).await;
        let own = measured.read_of_index("bucket-created");
        assert!(own > 0.0, "{measured:?}");
        Self { bench, distribution, clients, partner, unused: unused.into(), own }
    }

    /// A page whose capacity may exceed that of its own items by so much.
    fn besides(&self, read: f64) -> Ceiling {
        ceiling(3, self.own + read)
    }

    /// Measures a page and checks the leads in it. Gives its capacity and the next page's cursor.
    async fn page(
        &self,
        pattern: &str,
        ceiling: Ceiling,
        source: Option<&str>,
        body: Value,
        expected: impl IntoIterator<Item = usize>,
    ) -> (f64, Option<String>) {
        let request = async |app: &TestApp| match source {
            Some(source) => app.leads_by_source(&self.partner, BUCKET, AFFILIATE, source, &body).await,
            None => app.leads(&self.partner, BUCKET, AFFILIATE, &body).await,
        };
        let (answer, measured) = self.bench.warm(pattern, ceiling, request).await;
        let expected: Vec<_> = expected.into_iter().map(email).collect();
        assert_eq!((answer.status, answer.keys()), (200, expected), "{pattern}");
        (measured.read, answer.header("x-next-cursor").map(str::to_owned))
    }

    async fn cold(&self, pattern: &str, body: Value) {
        let request = async |app: &TestApp| app.leads(&self.partner, BUCKET, AFFILIATE, &body).await;
        let (answer, _) = self.bench.cold(pattern, request).await;
        assert_eq!(answer.status, 200, "{pattern}");
    }

    /// A token's first page from an instance that is warm: nothing is read before the token is.
    async fn by_newcomer(&self) {
        let body = json!({"offset": 50_000});
        let warming = async |app: &TestApp| app.leads(&self.partner, BUCKET, AFFILIATE, &body).await;
        let request = async |app: &TestApp| {
            let token = self.unused.borrow_mut().pop().unwrap();
            app.leads(&token, BUCKET, AFFILIATE, &body).await
        };
        let pattern = "page at offset 50000, its token's first request";
        let (answer, _) = self.bench.warm_after(pattern, COLD, warming, request).await;
        assert_eq!(answer.keys(), emails(50_000..50_100));
    }

    /// Pages at every depth, whose capacities may be apart by no more than `spread`, without a
    /// filter and with two. The last offsets lie behind the
    /// others' multiples of what a second, a minute or a day holds.
    async fn by_offset(&self, spread: f64) {
        let filters = [
            ("", None),
            (", createdDate", Some((7, 119_990))),
            (", createdDate at its worst", Some(self.distribution.widest_filter)),
        ];
        for (what, filter) in filters {
            let (first, last) = filter.unwrap_or((0, LEADS - 1));
            let mut reads = Vec::new();
            for offset in [0, 1000, 50_000, 100_000, 119_950, 50_299, 50_499] {
                let mut body = json!({"offset": offset});
                if filter.is_some() {
                    let range = [first, last].map(|at| self.distribution.created(at).to_string());
                    body["filters"] = json!({"createdDate": range});
                }
                let expected = (first + offset..=last).take(100);
                let pattern = format!("page at offset {offset}{what}");
                reads.push(self.page(&pattern, self.besides(40.0), None, body.clone(), expected).await.0);
                if offset == 50_000 {
                    self.cold(&pattern, body).await;
                }
            }
            let least = reads.iter().copied().fold(f64::INFINITY, f64::min);
            let most = reads.iter().copied().fold(0.0, f64::max);
            self.bench.expect(most - least <= spread, || {
                format!("capacity depends on the offset{what}: {reads:?}")
            });
        }
    }

    /// Pages where the counters' items are spread over all their shards, as they are once
    /// sign-ups came so fast that their transactions met. The leads must be so dense that every
    /// shard has a part in every minute: only then nothing is left of the counters loaded before.
    async fn with_all_shards(&self) {
        let database = self.bench.dynamodb.engine().database().clone();
        let buckets = self.bench.app.store().tables().buckets.clone();
        let clients = self.clients.clone();
        let loading = tokio::task::spawn_blocking(move || {
            import(&database, &buckets, counter_items(&clients, counters::SHARDS));
        });
        loading.await.unwrap();
        let (first, last) = self.distribution.widest_filter;
        for offset in [0, 50_000] {
            let pattern = format!("page at offset {offset}, {} shards", counters::SHARDS);
            let expected = offset..offset + 100;
            self.page(&pattern, UNBOUNDED, None, json!({"offset": offset}), expected).await;
            let range = [first, last].map(|at| self.distribution.created(at).to_string());
            let body = json!({"offset": offset, "filters": {"createdDate": range}});
            let expected = first + offset..first + offset + 100;
            let pattern = format!("{pattern}, createdDate at its worst");
            self.page(&pattern, UNBOUNDED, None, body, expected).await;
        }
        let expected = (1 + 2 * 30_149..LEADS).step_by(2).take(100);
        let pattern = format!("page by source at offset 30149, {} shards", counters::SHARDS);
        self.page(&pattern, UNBOUNDED, Some(SOURCES[1]), json!({"offset": 30_149}), expected).await;
    }

    /// Pages that begin with a cursor of the page before.
    async fn by_cursor(&self) {
        let answer = self.bench.app.leads(&self.partner, BUCKET, AFFILIATE, &json!({"offset": 49_999})).await;
        let body = json!({"cursor": answer.header("x-next-cursor").unwrap()});
        self.page("page by cursor", self.besides(10.0), None, body.clone(), 50_099..50_199).await;
        self.cold("page by cursor", body).await;
    }

    /// Pages of one source: every second lead.
    async fn by_source(&self) {
        for offset in [0, 1000, 30_149, 59_950] {
            let pattern = format!("page by source at offset {offset}");
            let expected = (1 + 2 * offset..LEADS).step_by(2).take(100);
            let body = json!({"offset": offset});
            let (_, cursor) = self.page(&pattern, self.besides(10.0), Some(SOURCES[1]), body, expected).await;
            if let Some(cursor) = cursor {
                let pattern = format!("page by source by cursor, behind offset {offset}");
                let expected = (1 + 2 * (offset + 100)..LEADS).step_by(2).take(100);
                let body = json!({"cursor": cursor});
                self.page(&pattern, self.besides(10.0), Some(SOURCES[1]), body, expected).await;
            }
        }
    }

    /// Pages by last change: the last created lead comes first.
    async fn by_updated(&self) {
        let since = |position: usize| json!([self.distribution.updated(LEADS - 1 - position), null]);
        let expected = |position: usize| (0..LEADS - position).rev().take(100);
        for position in [0, 70_000] {
            let body = json!({"filters": {"updatedDate": since(position)}});
            let pattern = format!("page by updatedDate, {position} before");
            let (_, cursor) =
                self.page(&pattern, self.besides(10.0), None, body.clone(), expected(position)).await;
            self.cold(&pattern, body.clone()).await;
            let mut body = body;
            body["cursor"] = cursor.unwrap().into();
            let pattern = format!("page by updatedDate by cursor, {position} before");
            self.page(&pattern, self.besides(10.0), None, body, expected(position + 100)).await;
        }
        let body = json!({"offset": 5000, "filters": {"updatedDate": since(0)}});
        self.page("page by updatedDate at offset 5000", UNBOUNDED, None, body, expected(5000)).await;
        let body = json!({"filters": {"updatedDate": since(70_000)}});
        let expected = (0..LEADS - 70_000).rev().filter(|at| at % 2 == 1).take(100);
        self.page("page by updatedDate of a source", self.besides(10.0), Some(SOURCES[1]), body, expected)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_leads_spread_over_three_years() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start_for_large_sets().await;
    let step = 3 * 365 * DAY / LEADS as i64 + 1;
    let distribution = Distribution { start: MONDAY - 3 * 365 * DAY, step, widest_filter: (9, 119_991) };
    let pages = Pages::load(&bench, distribution).await;
    pages.by_offset(3.0).await;
    pages.by_newcomer().await;
    pages.by_cursor().await;
    pages.by_source().await;
    pages.by_updated().await;
    bench.finish("120,000 leads over three years");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_leads_of_one_day() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start_for_large_sets().await;
    // 20,000 leads in each cell of four hours: the filter begins and ends at the end of a cell.
    let distribution =
        Distribution { start: MONDAY, step: DAY / LEADS as i64, widest_filter: (19_999, 119_999) };
    let pages = Pages::load(&bench, distribution).await;
    pages.by_offset(40.0).await;
    pages.by_newcomer().await;
    pages.by_cursor().await;
    pages.by_source().await;
    pages.with_all_shards().await;
    bench.finish("120,000 leads within a day");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_leads_of_a_burst() {
    if Difference::Capacity.skips() {
        return;
    }
    let bench = Bench::start_for_large_sets().await;
    // 500 leads in each second: the filter begins and ends at the end of a second.
    let distribution =
        Distribution { start: MONDAY + 13 * 3_600_000, step: 2, widest_filter: (499, 119_498) };
    let pages = Pages::load(&bench, distribution).await;
    pages.by_offset(40.0).await;
    pages.by_newcomer().await;
    pages.by_cursor().await;
    pages.by_source().await;
    pages.with_all_shards().await;
    bench.finish("120,000 leads within four minutes");
}
