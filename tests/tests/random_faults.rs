//! The system while a quarter of all calls of DynamoDB go wrong: an answer is right and whole or the published
//! 500; what was acknowledged is there, once; what was not is there whole or not at all.
//!
//! `cargo test -p tests --test random_faults -- --nocapture` prints what happened. `FAULTS_SEED` picks other
//! calls, `FAULTS_TIMES` multiplies the work.

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::store::Store;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tests::dynamodb::Dynamodb;
use tests::faults::{AS_DEPLOYED, Faults};
use tests::ses::Ses;
use tests::sessions::{ME, path};
use tests::{Answer, TestApp, eventually, new_client};

const SHARE: f64 = 0.25;
const WORKERS: usize = 20;
const LEADS_FAILED: &str = r#"{"message":"Internal server error","statusCode":500}"#;
const SIGN_UP_FAILED: &str = r#"{"message":"Internal server error","providerStatus":500}"#;
const STILL_LEADS: usize = 230;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

struct Faulty {
    app: TestApp,
    key: String,
    partner: String,
    faults: Faults,
    ses: Ses,
    // Dropped last: the stack goes on calling it.
    dynamodb: Dynamodb,
}

impl Faulty {
    /// `AFF-L` has a bucket that sign-ups come to, `AFF-S` one whose leads stay as they are.
    async fn start(seed: u64) -> Self {
        let dynamodb = Dynamodb::start().await;
        let faults = Faults::start(dynamodb.address, seed).await;
        let ses = Ses::start().await;
        let variables = [AS_DEPLOYED, ("AWS_ENDPOINT_URL_SESV2", &ses.endpoint())];
        let app = TestApp::start_on_set(faults.endpoint(), &variables).await;
        app.bucket("live", "AFF-L", &["facebook_ads"]).await;
        app.bucket("still", "AFF-S", &["facebook_ads"]).await;
        let key = app.sign_up_key(&[]).await;
        let partner = app.partner(&["AFF-L", "AFF-S"]).await;
        Self { app, key, partner, faults, ses, dynamodb }
    }

    async fn stop(self) {
        drop(self.app);
        self.dynamodb.stop().await;
    }

    /// Every copy, counter and index agrees; asked past the proxy, with the patience of a local store.
    async fn assert_consistent(&self) {
        let credentials = Credentials::new("local", "local", None, None, "test");
        let endpoint = format!("http://{}", self.dynamodb.address);
        let credentials = SharedCredentialsProvider::new(credentials);
        let store = Store::connect("eu-west-1", credentials, Some(&endpoint), self.app.store().tables());
        let report = local::check::check(&store).await.unwrap();
        assert!(report.is_consistent() && report.unsettled == 0, "{report:#?}");
    }

    /// Prints a part's figures.
    fn report(&self, part: &str, counts: &[(&str, usize)]) {
        let met = self.faults.met();
        let total: usize = met.faults.values().sum();
        println!("{part}: {} calls of DynamoDB, {total} faults", met.calls);
        for (kind, count) in &met.faults {
            println!("  {kind}: {count}");
        }
        for (name, count) in counts {
            println!("  {name}: {count}");
        }
        assert!(total * 10 > met.calls, "{total} faults of {} calls", met.calls);
    }
}

fn body(email: &str, send_email: bool) -> Value {
    json!({ "email": email, "phone": "+1234567890", "firstName": "Jane", "affiliateID": "AFF-L",
        "sourceId": "facebook_ads", "sendEmail": send_email })
}

/// A sign-up and what its caller knows of it.
#[derive(Clone, Debug)]
struct SignedUp {
    email: String,
    /// `Idempotency-Key`
    key: Option<String>,
    send_email: bool,
    id: Option<String>,
    url: Option<String>,
}

impl SignedUp {
    async fn send(&mut self, faulty: &Faulty) -> Answer {
        let body = body(&self.email, self.send_email);
        let answer = match &self.key {
            Some(key) => faulty.app.sign_up_once(&faulty.key, key, &body).await,
            None => faulty.app.sign_up(&faulty.key, &body).await,
        };
        match answer.status {
            200 => {
                let text = |name: &str| answer.json()[name].as_str().map(str::to_owned);
                (self.id, self.url) = (text("id"), text("url"));
                assert!(self.id.is_some() && self.url.is_some(), "{answer:?}");
            }
            // Never a duplicate: nobody else signs up with this email.
            _ => answer.assert(500, SIGN_UP_FAILED),
        }
        answer
    }
}

/// All of a list, page by page; `None` where one answer was the published 500.
async fn walk(faulty: &Faulty, source: bool, filters: &Value, by_cursor: bool) -> Option<Vec<String>> {
    let (mut keys, mut place) = (Vec::new(), json!({}));
    loop {
        let mut asked = json!({ "limit": 100, "filters": filters });
        asked.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        let (app, partner) = (&faulty.app, &faulty.partner);
        let answer = if source {
            app.leads_by_source(partner, "still", "AFF-S", "facebook_ads", &asked).await
        } else {
            app.leads(partner, "still", "AFF-S", &asked).await
        };
        if answer.status != 200 {
            answer.assert(500, LEADS_FAILED);
            return None;
        }
        keys.extend(answer.keys());
        assert_eq!(answer.header("x-total-count"), Some(STILL_LEADS.to_string().as_str()));
        let next = if by_cursor { "x-next-cursor" } else { "x-next-offset" };
        match answer.header(next) {
            Some(next) if by_cursor => place = json!({ "cursor": next }),
            Some(next) => place = json!({ "offset": next.parse::<usize>().unwrap() }),
            None => return Some(keys),
        }
    }
}

/// Reads what does not change, again and again: each answer is all of it or the published 500.
async fn read_on(faulty: &Faulty, emails: &[String], done: &AtomicBool) -> (usize, usize) {
    let (mut whole, mut failed) = (0, 0);
    let everything = json!({ "createdDate": [null, "4102444800000"] });
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) {
        let (source, dated, by_cursor) = (turn & 1 > 0, turn & 2 > 0, turn & 4 > 0);
        let filters = if dated { &everything } else { &Value::Null };
        match walk(faulty, source, filters, by_cursor).await {
            Some(found) => {
                assert_eq!(found, emails);
                whole += 1;
            }
            None => failed += 1,
        }
        let asked: Vec<_> = emails.iter().chain([&"nobody@example.com".to_owned()]).cloned().collect();
        let asked = json!({ "emails": asked, "limit": 5000 });
        let answer = faulty.app.leads(&faulty.partner, "still", "AFF-S", &asked).await;
        if answer.status == 200 {
            assert_eq!(answer.keys(), emails);
            assert_eq!(answer.header("x-missing-count"), Some("1"));
            whole += 1;
        } else {
            answer.assert(500, LEADS_FAILED);
            failed += 1;
        }
        turn += 1;
    }
    (whole, failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ups_are_whole_or_nothing_and_reads_are_right_or_nothing() {
    let faulty = Faulty::start(setting("FAULTS_SEED", 1) as u64).await;
    let still: Vec<_> = (0..STILL_LEADS)
        .map(|n| new_client(&format!("still{n}@example.com"), "AFF-S", "still", Some("facebook_ads")))
        .collect();
    faulty.app.store_clients(&still).await;
    let emails = walk(&faulty, false, &Value::Null, true).await.unwrap();
    assert_eq!(emails.len(), STILL_LEADS);

    faulty.faults.set_share(SHARE);
    let count = 360 * setting("FAULTS_TIMES", 1);
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let made = Mutex::new(Vec::new());
    let worker = async |_| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let mut one = SignedUp {
                email: format!("live{number}@example.com"),
                key: (number % 4 > 0).then(|| format!("key-{number}")),
                send_email: number % 3 == 0,
                id: None,
                url: None,
            };
            one.send(&faulty).await;
            made.lock().unwrap().push(one);
        }
    };
    let write = async {
        join_all((0..WORKERS).map(worker)).await;
        done.store(true, Ordering::Relaxed);
    };
    let ((), (whole, failed)) = tokio::join!(write, read_on(&faulty, &emails, &done));
    assert!(whole > 0, "no read succeeded");
    faulty.faults.set_share(0.0);

    let mut made = made.into_inner().unwrap();
    let succeeded = made.iter().filter(|one| one.id.is_some()).count();
    // What was acknowledged is there by now, before anything is repeated.
    let mut stored_though_failed = 0;
    for one in &made {
        let found = faulty.app.admin(faulty.app.administrator(), "GET", &by_email(&one.email), None).await;
        found.assert_ok();
        let items = found.json()["items"].as_array().unwrap().clone();
        match &one.id {
            Some(id) => assert_eq!((items.len(), &items[0]["id"]), (1, &json!(id)), "{one:?}"),
            None => {
                assert!(items.len() <= 1, "{one:?}");
                stored_though_failed += items.len();
            }
        }
    }
    // What a caller does whose answer was lost: with a key the same client, without one a client, where there is
    // none, or the news that there is one.
    for one in &mut made {
        let known = one.id.clone();
        if one.key.is_some() {
            one.send(&faulty).await.assert_ok();
            assert!(known.is_none() || known == one.id, "{one:?}");
            continue;
        }
        let answer = faulty.app.sign_up(&faulty.key, &body(&one.email, one.send_email)).await;
        match answer.status {
            200 if known.is_none() => one.id = answer.json()["id"].as_str().map(str::to_owned),
            _ => answer.assert_provider_error(400, "User with this email already exists"),
        }
    }

    // One client each, in every view.
    let all = json!({ "limit": 5000 });
    let listed = faulty.app.leads(&faulty.partner, "live", "AFF-L", &all).await;
    let of_source = faulty.app.leads_by_source(&faulty.partner, "live", "AFF-L", "facebook_ads", &all).await;
    assert_eq!(listed.text, of_source.text);
    let expected: BTreeSet<_> = made.iter().map(|one| one.email.clone()).collect();
    assert_eq!(listed.keys().into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(listed.header("x-total-count"), Some(count.to_string().as_str()));
    let leads = listed.json();
    for one in made.iter().filter(|one| one.id.is_some()) {
        assert_eq!(leads[&one.email]["id"], json!(one.id), "{one:?}");
    }
    for some in made.chunks(1000) {
        let emails: Vec<_> = some.iter().map(|one| &one.email).collect();
        let asked = json!({ "emails": emails, "limit": 5000 });
        let found = faulty.app.leads(&faulty.partner, "live", "AFF-L", &asked).await.json();
        assert!(some.iter().all(|one| found[&one.email] == leads[&one.email]), "{found}");
    }
    faulty.assert_consistent().await;
    // An email each to those who asked for one, however often it was tried.
    let mailed: BTreeSet<_> = made.iter().filter(|one| one.send_email).map(|one| one.email.clone()).collect();
    let receivers = || faulty.ses.taken().into_iter().map(|taken| taken.to).collect::<BTreeSet<_>>();
    eventually(async || receivers() == mailed).await;
    // A second one only where the note of the first was lost with all its attempts.
    let twice = faulty.ses.taken().len() - mailed.len();
    assert!(twice * 20 <= mailed.len(), "{twice} of {} emails were sent twice", mailed.len());

    faulty.report(
        "Sign-ups",
        &[
            ("sign-ups", count),
            ("answered 200 at the first request", succeeded),
            ("answered 500, and stored whole", stored_though_failed),
            ("answered 500, and nothing stored", count - succeeded - stored_though_failed),
            ("whole lists and look-ups read meanwhile", whole),
            ("answered 500", failed),
            ("emails", mailed.len()),
            ("emails sent twice", twice),
        ],
    );
    assert!(succeeded * 10 >= count * 9, "{succeeded} of {count} succeeded");
    faulty.stop().await;
}

fn by_email(email: &str) -> String {
    format!("/api/admin/clients?email={}", email.replace('@', "%40"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_used_once_and_its_session_works() {
    let faulty = Faulty::start(setting("FAULTS_SEED", 2) as u64).await;
    let count = 60 * setting("FAULTS_TIMES", 1);
    let mut urls = Vec::new();
    for number in 0..count {
        urls.push(faulty.app.signed_up_with_link(&format!("user{number}@example.com")).await);
    }
    faulty.faults.set_share(SHARE);
    let (signed_in, failed, signed_out) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let one = async |(id, url): &(String, String)| {
        let post = async || faulty.app.send(hyper::Method::POST, path(url), &[], "").await;
        // Nobody else uses it: only what is answered 500 may have used it up.
        let mut answer = post().await;
        let mut unsure = false;
        while answer.status == 500 {
            failed.fetch_add(1, Ordering::Relaxed);
            (answer, unsure) = (post().await, true);
        }
        if answer.status == 410 {
            assert!(unsure, "{answer:?}");
            return;
        }
        assert_eq!(answer.status, 303, "{answer:?}");
        signed_in.fetch_add(1, Ordering::Relaxed);
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let get = async || faulty.app.with_cookie(hyper::Method::GET, ME, &cookie).await;
        let mut me = get().await;
        while me.status == 500 {
            me = get().await;
        }
        me.assert_ok();
        assert_eq!(me.json()["id"], json!(id));
        // Once: also while DynamoDB fails.
        let again = post().await;
        assert!([410, 500].contains(&again.status), "{again:?}");
        let out = faulty.app.with_cookie(hyper::Method::POST, "/tradersroom/api/auth/logout", &cookie).await;
        if out.status == 204 {
            signed_out.fetch_add(1, Ordering::Relaxed);
            let me = get().await;
            assert!([401, 500].contains(&me.status), "{me:?}");
        } else {
            assert_eq!(out.status, 500, "{out:?}");
        }
    };
    for some in urls.chunks(WORKERS) {
        join_all(some.iter().map(one)).await;
    }
    faulty.faults.set_share(0.0);
    faulty.assert_consistent().await;
    let signed_in = signed_in.into_inner();
    faulty.report(
        "Autologin",
        &[
            ("links", count),
            ("signed in", signed_in),
            ("answers 500 before", failed.load(Ordering::Relaxed)),
            ("signed out", signed_out.load(Ordering::Relaxed)),
        ],
    );
    assert!(signed_in * 10 >= count * 9, "{signed_in} of {count} signed in");
    faulty.stop().await;
}

/// A record that one operator changes, and what it may be: its last acknowledged state, and those of changes
/// that were answered 500 since.
#[derive(Debug, Default)]
struct Record {
    path: String,
    may_be: Vec<Value>,
}

impl Record {
    fn note(&mut self, answer: &Answer, state: Value) {
        match answer.status {
            200 | 201 => self.may_be = vec![state],
            204 => self.may_be = vec![Value::Null],
            // Nobody else changes it: a conflict or a record that is gone would be one's own work.
            _ => {
                answer.assert(500, LEADS_FAILED);
                self.may_be.push(state);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_changes_hold_and_nobody_conflicts_with_themselves() {
    let faulty = Faulty::start(setting("FAULTS_SEED", 3) as u64).await;
    let app = &faulty.app;
    app.bucket("second", "AFF-L", &["tiktok"]).await;
    let mut clients = Vec::new();
    for number in 0..24 {
        let client =
            new_client(&format!("client{number}@example.com"), "AFF-L", "live", Some("facebook_ads"));
        app.store_clients(std::slice::from_ref(&client)).await;
        clients.push(client.id.to_string());
    }
    let role = app
        .admin(
            app.administrator(),
            "POST",
            "/api/admin/roles",
            Some(&json!({
        "name": "Partner", "permissions": ["buckets:view-all"] })),
        )
        .await;
    let role = role.json()["id"].as_str().unwrap().to_owned();
    faulty.faults.set_share(SHARE);

    let rounds = 2 * setting("FAULTS_TIMES", 1);
    let changes = AtomicUsize::new(0);
    let failures = AtomicUsize::new(0);
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let answer = app.admin(app.administrator(), method, path, body.as_ref()).await;
        changes.fetch_add(1, Ordering::Relaxed);
        failures.fetch_add(usize::from(answer.status == 500), Ordering::Relaxed);
        answer
    };

    let client = async |number: usize| {
        let path = format!("/api/admin/clients/{}", clients[number]);
        let first = json!({ "status": "new", "bucketId": "live" });
        let mut record = Record { path: path.clone(), may_be: vec![first] };
        for round in 0..rounds {
            let status = format!("status-{number}-{round}");
            let bucket = if round % 2 == 0 { "second" } else { "live" };
            let change = json!({ "status": status, "bucketId": bucket });
            let answer = call("PATCH", &path, Some(change.clone())).await;
            record.note(&answer, change);
        }
        record
    };
    let bucket = async |number: usize| {
        let mut records = Vec::new();
        for round in 0..rounds {
            let source = format!("source-{number}-{round}");
            let body = json!({ "name": source, "affiliateID": "AFF-L", "sources": [source] });
            let created = call("POST", "/api/admin/buckets", Some(body)).await;
            if created.status != 201 {
                created.assert(500, LEADS_FAILED);
                continue;
            }
            let path = format!("/api/admin/buckets/{}", created.json()["id"].as_str().unwrap());
            let mut record = Record { path: path.clone(), may_be: vec![] };
            let state = |sources: &[&str]| json!({ "sources": sources });
            record.note(&created, state(&[&source]));
            let more = format!("{source}-more");
            let change = json!({ "sources": [source, more] });
            record.note(&call("PATCH", &path, Some(change)).await, state(&[&source, &more]));
            if round % 2 == 1 {
                record.note(&call("DELETE", &path, None).await, Value::Null);
            }
            records.push(record);
        }
        records
    };
    let token = async |number: usize| {
        let mut records = Vec::new();
        for round in 0..rounds {
            let body = json!({ "name": format!("token-{number}-{round}"), "roleId": role });
            let created = call("POST", "/api/admin/tokens", Some(body)).await;
            if created.status != 201 {
                created.assert(500, LEADS_FAILED);
                continue;
            }
            let path = format!("/api/admin/tokens/{}", created.json()["id"].as_str().unwrap());
            let mut record = Record { path: path.clone(), may_be: vec![] };
            record.note(&created, json!({ "whitelist": [] }));
            let change = json!({ "whitelist": ["192.0.2.0/24"] });
            record.note(&call("PATCH", &path, Some(change.clone())).await, change);
            if round % 2 == 1 {
                record.note(&call("DELETE", &path, None).await, Value::Null);
            }
            records.push(record);
        }
        records
    };
    let (of_clients, of_buckets, of_tokens) = tokio::join!(
        join_all((0..clients.len()).map(client)),
        join_all((0..6).map(bucket)),
        join_all((0..6).map(token)),
    );
    faulty.faults.set_share(0.0);

    let records: Vec<Record> = of_clients
        .into_iter()
        .chain(of_buckets.into_iter().flatten())
        .chain(of_tokens.into_iter().flatten())
        .collect();
    for record in &records {
        let found = app.admin(app.administrator(), "GET", &record.path, None).await;
        let found = if found.status == 404 { Value::Null } else { found.json() };
        let is = |state: &Value| match state {
            Value::Null => found.is_null(),
            Value::Object(fields) => {
                !found.is_null() && fields.iter().all(|(name, value)| found[name] == *value)
            }
            _ => false,
        };
        assert!(record.may_be.iter().any(is), "{record:?}: {found}");
    }
    faulty.assert_consistent().await;
    let (changes, failures) = (changes.load(Ordering::Relaxed), failures.load(Ordering::Relaxed));
    let counts = [("changes", changes), ("answered 500", failures), ("records compared", records.len())];
    faulty.report("Operators", &counts);
    assert!(failures * 10 <= changes, "{failures} of {changes} failed");
    faulty.stop().await;
}
