//! `/api/admin/buckets` with `/route` and `/stats`: CONTRACT.md, sections 3 and 5.

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use shared::model::{BucketId, Permission, Timestamp};
use shared::store::{DeleteBucket, keys};
use std::collections::BTreeSet;
use tests::dynamodb::{Difference, Dynamodb};
use tests::proxy::Fault::{Conflict, Late, Throttled, WrittenThenConflict, WrittenThenServerError};
use tests::proxy::Proxy;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED};

const BUCKETS: &str = "/api/admin/buckets";
const ROLES: &str = "/api/admin/roles";
const NOT_FOUND: &str = "There is no such bucket";

async fn call(app: &TestApp, method: &str, path: &str, body: Value) -> Answer {
    let body = Some(body).filter(|body| !body.is_null());
    app.admin(app.administrator(), method, path, body.as_ref()).await
}

fn path_of(id: &str) -> String {
    format!("{BUCKETS}/{id}")
}

/// Creates a bucket and gives its id.
async fn create(app: &TestApp, affiliate: &str, sources: &[&str]) -> String {
    let answer =
        call(app, "POST", BUCKETS, json!({ "name": "Test", "affiliateID": affiliate, "sources": sources }))
            .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn sign_up(email: &str, affiliate: Option<&str>, source: Option<&str>) -> Value {
    json!({ "email": email, "phone": "+1234567890", "firstName": "Jane", "affiliateID": affiliate, "sourceId": source })
}

async fn signed_up(app: &TestApp, email: &str, affiliate: &str, source: Option<&str>) -> String {
    let key = app.sign_up_key(&[]).await;
    app.signed_up(&key, &sign_up(email, Some(affiliate), source)).await
}

/// The bucket that a client is in, as operators see it.
async fn bucket_of(app: &TestApp, client: &str) -> Option<String> {
    let answer = call(app, "GET", &format!("/api/admin/clients/{client}"), Value::Null).await;
    answer.json()["bucketId"].as_str().map(str::to_owned)
}

/// A bucket's leads, as its partner sees them.
async fn leads(app: &TestApp, bucket: &str, affiliate: &str) -> BTreeSet<String> {
    let token = app.partner(&[affiliate]).await;
    let answer = app.leads(&token, bucket, affiliate, &json!({ "limit": 5000 })).await;
    answer.assert_ok();
    let keys: BTreeSet<_> = answer.keys().into_iter().collect();
    assert_eq!(answer.header("x-total-count"), Some(keys.len().to_string().as_str()));
    keys
}

#[tokio::test]
async fn the_whole_life_of_a_bucket() {
    let app = TestApp::start().await;
    let new = json!({ "name": " Campaigns ", "affiliateID": "AFF-1", "sources": ["facebook", "google", "facebook"] });
    let created = call(&app, "POST", BUCKETS, new).await;
    let record = created.json();
    let id = record["id"].as_str().unwrap();
    let expected = json!({ "id": id, "name": "Campaigns", "affiliateID": "AFF-1", "sources": ["facebook", "google"],
        "createdDate": record["createdDate"] });
    assert_eq!((created.status, &record), (201, &expected));
    assert_eq!(created.header("location"), Some(path_of(id).as_str()));
    let shown = call(&app, "GET", &path_of(id), Value::Null).await;
    assert_eq!((shown.status, shown.text), (200, created.text));
    assert_eq!(shown.headers["etag"], created.headers["etag"]);

    let changed =
        call(&app, "PATCH", &path_of(id), json!({ "name": "All", "sources": ["google", "bing"] })).await;
    let mut expected = expected;
    expected["name"] = "All".into();
    expected["sources"] = json!(["google", "bing"]);
    assert_eq!((changed.status, changed.json()), (200, expected.clone()));
    let list = app.walk(app.administrator(), BUCKETS, 100).await;
    assert_eq!(list, [expected]);

    call(&app, "DELETE", &path_of(id), Value::Null).await.assert(204, "");
    for (method, path, body) in [
        ("GET", path_of(id), Value::Null),
        ("DELETE", path_of(id), Value::Null),
        ("PATCH", path_of(id), json!({ "name": "x" })),
        ("POST", path_of(id) + "/route", json!({})),
        ("GET", path_of(id) + "/stats", Value::Null),
    ] {
        call(&app, method, &path, body).await.assert_error(404, NOT_FOUND);
    }
    // The sources are free again, and the partner is told that the bucket is gone.
    create(&app, "AFF-1", &["google", "bing"]).await;
    let partner = app.partner(&["AFF-1"]).await;
    let gone = app.leads(&partner, id, "AFF-1", &json!({})).await;
    gone.assert_error(400, "Bucket with corresponding affiliateID doesn't exist");
    app.assert_consistent().await;
}

#[tokio::test]
async fn what_is_given_is_checked() {
    let app = TestApp::start().await;
    let id = create(&app, "AFF-1", &["a"]).await;
    let path = path_of(&id);
    let many: Vec<_> = (0..81).map(|number| format!("s{number}")).collect();
    for (field, value) in [
        ("name", json!("")),
        ("name", json!(5)),
        ("name", json!("x".repeat(129))),
        ("name", json!("a\u{7}b")),
        ("affiliateID", json!(null)),
        ("affiliateID", json!("  ")),
        ("sources", json!("facebook")),
        ("sources", json!([1])),
        ("sources", json!([""])),
        ("sources", json!(many)),
    ] {
        let mut body = json!({ "name": "n", "affiliateID": "A", "sources": [] });
        body[field] = value;
        let answer = call(&app, "POST", BUCKETS, body.clone()).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && message.starts_with(field), "{body}: {message}");
    }
    for field in ["affiliateID", "id", "createdDate"] {
        call(&app, "PATCH", &path, json!({ "name": "x", field: "AFF-2" }))
            .await
            .assert_error(400, &format!("{field} cannot be changed"));
    }
    call(&app, "PATCH", &path, json!({})).await.assert_error(400, "body must have name or sources to change");
    for (method, path) in [("POST", BUCKETS), ("PATCH", &path), ("POST", &format!("{path}/route"))] {
        app.assert_reads_json(app.administrator(), method, path).await;
    }
    for (path, message) in [
        (format!("{BUCKETS}?limit=x"), "limit must be an integer from 1 to 1000"),
        (format!("{BUCKETS}?affiliateId=x"), "affiliateId is not a known parameter"),
        (format!("{path}/stats?from=x"), "from must be an ISO 8601 date from 1970 to 2286"),
        (format!("{path}/stats?from=2026-01-02&to=2026-01-01"), "from must not be after to"),
        (format!("{path}/stats?limit=1"), "limit is not a known parameter"),
    ] {
        call(&app, "GET", &path, Value::Null).await.assert_error(400, message);
    }
    call(&app, "POST", &format!("{path}/route?limit=101"), json!({}))
        .await
        .assert_error(400, "limit must be an integer from 1 to 100");
    assert_eq!(call(&app, "GET", &path, Value::Null).await.json()["sources"], json!(["a"]));
}

#[tokio::test]
async fn every_call_needs_its_permission() {
    let app = TestApp::start().await;
    let path = path_of(&create(&app, "A", &[]).await);
    let (route, stats) = (format!("{path}/route"), format!("{path}/stats"));
    let views = [Permission::BucketsViewOwn, Permission::BucketsViewAll];
    app.assert_needs(
        &views,
        &[
            ("GET", BUCKETS, None),
            ("GET", &path, None),
            ("GET", &stats, None),
            ("GET", "/api/admin/buckets/nowhere", None),
        ],
    )
    .await;
    app.assert_needs(
        &[Permission::BucketsManage],
        &[
            ("POST", BUCKETS, Some(json!({ "name": "n", "affiliateID": "A" }))),
            ("PATCH", &path, Some(json!({ "name": "n" }))),
            ("POST", &route, Some(json!({}))),
            ("DELETE", &path, None),
            ("PATCH", "/api/admin/buckets/nowhere", Some(json!({ "name": "n" }))),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_token_of_affiliates_sees_and_changes_theirs_only() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(create(&app, ["A", "B", "C"][number % 3], &[]).await);
    }
    let token = async |permissions: &[Permission]| {
        let spec = TokenSpec {
            permissions: permissions.to_vec(),
            affiliates: vec!["A".into(), "B".into()],
            ..TokenSpec::default()
        };
        app.token(spec).await
    };
    let own = token(&[Permission::BucketsViewOwn]).await;
    let listed = app.walk(&own, BUCKETS, 3).await;
    let expected: Vec<_> =
        (0..12).rev().filter(|number| number % 3 != 2).map(|number| ids[number].clone()).collect();
    let shown: Vec<_> = listed.iter().map(|bucket| bucket["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, expected);
    assert_eq!(app.walk(&own, &format!("{BUCKETS}?affiliateID=B"), 3).await.len(), 4);
    app.admin(&own, "GET", &format!("{BUCKETS}?affiliateID=C"), None).await.assert(401, UNAUTHORIZED);
    for path in [path_of(&ids[2]), path_of(&ids[2]) + "/stats"] {
        app.admin(&own, "GET", &path, None).await.assert_error(404, NOT_FOUND);
    }
    assert_eq!(app.admin(&own, "GET", &path_of(&ids[0]), None).await.status, 200);
    app.admin(&own, "GET", &path_of("nowhere"), None).await.assert_error(404, NOT_FOUND);
    let all = token(&[Permission::BucketsViewAll]).await;
    assert_eq!(app.walk(&all, BUCKETS, 5).await.len(), 12);

    let manage = token(&[Permission::BucketsManage]).await;
    let new = |affiliate: &str| json!({ "name": "n", "affiliateID": affiliate });
    assert_eq!(app.admin(&manage, "POST", BUCKETS, Some(&new("A"))).await.status, 201);
    app.admin(&manage, "POST", BUCKETS, Some(&new("C"))).await.assert(401, UNAUTHORIZED);
    let other = path_of(&ids[2]);
    for (method, path, body) in [
        ("PATCH", other.clone(), Some(json!({ "name": "x" }))),
        ("POST", other.clone() + "/route", Some(json!({}))),
        ("DELETE", other, None),
    ] {
        app.admin(&manage, method, &path, body.as_ref()).await.assert_error(404, NOT_FOUND);
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_read_page_by_page() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(create(&app, ["A", "B"][number % 2], &[]).await);
    }
    for limit in [1, 6, 20, 1000] {
        let listed = app.walk(app.administrator(), BUCKETS, limit).await;
        let dates: Vec<_> = listed.iter().map(|bucket| bucket["createdDate"].as_str().unwrap()).collect();
        assert!(dates.is_sorted_by(|one, other| one >= other));
        let shown: BTreeSet<_> =
            listed.iter().map(|bucket| bucket["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((shown, listed.len()), (ids.iter().cloned().collect(), 20), "limit {limit}");
    }
    let of_a = call(&app, "GET", &format!("{BUCKETS}?affiliateID=A&limit=2"), Value::Null).await.json();
    let cursor = of_a["nextCursor"].as_str().unwrap();
    // A cursor is the list's own.
    for filter in ["", "affiliateID=B&"] {
        call(&app, "GET", &format!("{BUCKETS}?{filter}cursor={cursor}"), Value::Null)
            .await
            .assert_error(400, "cursor must be the nextCursor of an answer to the same list and filters");
    }
}

#[tokio::test]
async fn a_source_is_one_buckets_of_an_affiliate() {
    let app = TestApp::start().await;
    let first = create(&app, "A", &["facebook", "google"]).await;
    let taken = |source: &str| format!("Source {source} is assigned to another bucket of the affiliate");
    let new = json!({ "name": "n", "affiliateID": "A", "sources": ["bing", "google"] });
    call(&app, "POST", BUCKETS, new).await.assert_error(409, &taken("google"));
    let second = create(&app, "A", &["bing"]).await;
    call(&app, "PATCH", &path_of(&second), json!({ "sources": ["facebook"] }))
        .await
        .assert_error(409, &taken("facebook"));
    create(&app, "B", &["facebook", "google"]).await;
    // Given up by the one, it can be the other's.
    assert_eq!(call(&app, "PATCH", &path_of(&first), json!({ "sources": ["facebook"] })).await.status, 200);
    assert_eq!(
        call(&app, "PATCH", &path_of(&second), json!({ "sources": ["bing", "google"] })).await.status,
        200
    );
    // All sources at once for others, as many as there may be.
    let sources =
        |from: u32| -> Vec<String> { (from..from + 80).map(|number| format!("s{number}")).collect() };
    assert_eq!(call(&app, "PATCH", &path_of(&first), json!({ "sources": sources(0) })).await.status, 200);
    let answer = call(&app, "PATCH", &path_of(&first), json!({ "sources": sources(100) })).await;
    assert!(
        answer.status == 400 && answer.text.contains("sources must not differ in more than 97"),
        "{answer:?}"
    );
    assert_eq!(call(&app, "PATCH", &path_of(&first), json!({ "sources": [] })).await.status, 200);
    assert_eq!(call(&app, "PATCH", &path_of(&first), json!({ "sources": sources(100) })).await.status, 200);

    let new = json!({ "name": "n", "affiliateID": "A", "sources": ["wanted"] });
    let answers = join_all((0..16).map(|_| call(&app, "POST", BUCKETS, new.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    answers
        .iter()
        .filter(|answer| answer.status != 201)
        .for_each(|answer| answer.assert_error(409, &taken("wanted")));
    app.assert_consistent().await;
}

#[tokio::test]
async fn sign_ups_follow_the_assignment_at_once() {
    let app = TestApp::start().await;
    let campaigns = create(&app, "A", &["facebook"]).await;
    let direct = create(&app, "A", &[]).await;
    let other = create(&app, "A", &["google"]).await;
    let at = async |number: u32, source: Option<&str>| {
        let client = signed_up(&app, &format!("c{number}@example.com"), "A", source).await;
        bucket_of(&app, &client).await
    };
    assert_eq!(at(1, Some("facebook")).await, Some(campaigns.clone()));
    assert_eq!(at(2, Some("bing")).await, Some(direct.clone()));
    assert_eq!(at(3, None).await, Some(direct.clone()));
    call(&app, "PATCH", &path_of(&other), json!({ "sources": ["google", "bing"] })).await.assert_ok();
    assert_eq!(at(4, Some("bing")).await, Some(other.clone()));
    // The open one gets a source and is open no more; then the oldest without sources is.
    call(&app, "PATCH", &path_of(&direct), json!({ "sources": ["mail"] })).await.assert_ok();
    assert_eq!(at(5, None).await, None);
    call(&app, "PATCH", &path_of(&other), json!({ "sources": [] })).await.assert_ok();
    call(&app, "PATCH", &path_of(&campaigns), json!({ "sources": [] })).await.assert_ok();
    assert_eq!(at(6, Some("bing")).await, Some(campaigns.clone()));
    // What it had by its source, it keeps.
    assert_eq!(leads(&app, &other, "A").await, BTreeSet::from(["c4@example.com".to_owned()]));
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_bucket_with_leads_stays() {
    let app = TestApp::start().await;
    let (full, empty) = (create(&app, "A", &["s"]).await, create(&app, "A", &[]).await);
    let client = signed_up(&app, "one@example.com", "A", Some("s")).await;
    call(&app, "DELETE", &path_of(&full), Value::Null)
        .await
        .assert_error(409, "The bucket has leads: move them to another one first");
    // Untouched: a sign-up goes there still.
    signed_up(&app, "two@example.com", "A", Some("s")).await;
    assert_eq!(leads(&app, &full, "A").await.len(), 2);
    let list = call(&app, "GET", &format!("/api/admin/clients?bucketId={full}"), Value::Null).await.json();
    for client in list["items"].as_array().unwrap() {
        let path = format!("/api/admin/clients/{}", client["id"].as_str().unwrap());
        call(&app, "PATCH", &path, json!({ "bucketId": empty })).await.assert_ok();
    }
    call(&app, "DELETE", &path_of(&full), Value::Null).await.assert(204, "");
    assert_eq!(bucket_of(&app, &client).await, Some(empty.clone()));
    let routed = signed_up(&app, "three@example.com", "A", Some("s")).await;
    assert_eq!(bucket_of(&app, &routed).await, Some(empty));
    app.assert_consistent().await;
}

#[tokio::test]
async fn no_sign_up_is_lost_in_a_bucket_that_is_deleted_meanwhile() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    let key = app.sign_up_key(&[]).await;
    for held in [16, 15, 16, 8] {
        let bucket = create(&app, "A", &["s"]).await;
        // Sign-ups that know where to go, and reach DynamoDB after the bucket is gone.
        proxy.hold_clients(16 - held);
        let sign_ups = join_all((0..16).map(|number| {
            let body = sign_up(&format!("{bucket}-{number}@example.com"), Some("A"), Some("s"));
            let (app, key) = (&app, &key);
            async move { app.signed_up(key, &body).await }
        }));
        let delete = async {
            tests::eventually(|| async { proxy.held() >= held }).await;
            if held < 16 {
                tests::eventually(|| async { leads(&app, &bucket, "A").await.len() == 16 - held }).await;
            }
            let answer = call(&app, "DELETE", &path_of(&bucket), Value::Null).await;
            proxy.release();
            answer
        };
        let (clients, answer) = join(sign_ups, delete).await;
        let expected = if held == 16 { None } else { Some(bucket.clone()) };
        assert_eq!(answer.status, if held == 16 { 204 } else { 409 }, "{answer:?}");
        for client in clients {
            assert_eq!(bucket_of(&app, &client).await, expected, "{held} of 16");
        }
        app.assert_consistent().await;
        if expected.is_some() {
            // Its source is wanted again in the next round.
            let sources = json!({ "sources": [format!("done{held}")] });
            call(&app, "PATCH", &path_of(&bucket), sources).await.assert_ok();
        }
    }
    drop(app);
    dynamodb.stop().await;
}

#[tokio::test]
async fn no_edit_is_lost() {
    let app = TestApp::start().await;
    let path = path_of(&create(&app, "A", &[]).await);
    let tag = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    let patch = async |number: usize| {
        let body = Some(json!({ "sources": [format!("s{number}")] }).to_string());
        app.admin_with(app.administrator(), "PATCH", &path, &[("if-match", &tag)], body).await
    };
    let answers = join_all((0..16).map(patch)).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| [200, 409].contains(&answer.status)), "{answers:?}");
    assert_eq!(call(&app, "GET", &path, Value::Null).await.text, won[0].text);
    let stale = app.admin_with(app.administrator(), "DELETE", &path, &[("if-match", &tag)], None).await;
    assert_eq!(stale.status, 409);
    app.assert_consistent().await;
}

#[tokio::test]
async fn clients_without_a_bucket_are_routed_page_by_page() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let source = [Some("s"), None, Some("other")][number % 3];
        ids.push(signed_up(&app, &format!("c{number}@example.com"), "A", source).await);
    }
    signed_up(&app, "foreign@example.com", "B", Some("s")).await;
    let key = app.sign_up_key(&[]).await;
    let nobodys = app.signed_up(&key, &sign_up("nobody@example.com", None, Some("s"))).await;

    // Only those of the source have a place to go.
    let of_source = create(&app, "A", &["s"]).await;
    let route = async |bucket: &str, limit: usize| {
        let (mut routed, mut pages, mut cursor) = (0, 0, String::new());
        loop {
            let path = format!("{}/route?limit={limit}&cursor={cursor}", path_of(bucket));
            let answer = call(&app, "POST", &path, json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let answer = answer.json();
            (routed, pages) = (routed + answer["routed"].as_u64().unwrap(), pages + 1);
            match answer["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return (routed, pages),
            }
        }
    };
    let before = shared::model::Timestamp::now();
    let (routed, pages) = route(&of_source, 3).await;
    assert!(routed == 4 && pages >= 4, "{routed} in {pages} pages");
    assert_eq!(route(&of_source, 3).await.0, 0);
    // Partners who poll for changes see them arrive.
    let partner = app.partner(&["A"]).await;
    let since = json!({ "filters": { "updatedDate": [before.millis().to_string(), null] } });
    assert_eq!(app.leads(&partner, &of_source, "A", &since).await.keys().len(), 4);

    // Stopped in the middle and begun again: it does the rest.
    let open = create(&app, "A", &[]).await;
    call(&app, "POST", &format!("{}/route?limit=2", path_of(&open)), json!({})).await.assert_ok();
    // By hand, one call with the default limit and no body.
    let rest = app.admin(app.administrator(), "POST", &format!("{}/route", path_of(&open)), None).await;
    rest.assert(200, r#"{"routed":4,"nextCursor":null}"#);
    for (number, id) in ids.iter().enumerate() {
        let expected = if number % 3 == 0 { &of_source } else { &open };
        assert_eq!(bucket_of(&app, id).await.as_ref(), Some(expected), "{number}");
    }
    assert_eq!(bucket_of(&app, &nobodys).await, None);
    assert_eq!(leads(&app, &open, "A").await.len(), 6);
    app.assert_consistent().await;
}

#[tokio::test]
async fn stats_agree_with_the_leads() {
    let app = TestApp::start().await;
    app.bucket("b1", "A", &["s"]).await;
    app.bucket("b2", "A", &[]).await;
    let day = |number: i64| 1_700_000_000_000 + number * 86_400_000;
    let clients: Vec<_> = (0..30)
        .map(|number| {
            let mut client = tests::new_client(&format!("c{number}@example.com"), "A", "b1", Some("s"));
            client.created_date = shared::model::Timestamp::clamped(day(number % 4) + number);
            client.status = ["new", "active", "no answer"][usize::try_from(number).unwrap() % 3].to_owned();
            client
        })
        .collect();
    app.store_clients(&clients).await;
    let stats =
        async |query: &str| call(&app, "GET", &format!("{}/stats{query}", path_of("b1")), Value::Null).await;
    stats("").await.assert(
        200,
        r#"{"total":30,"days":[{"day":"2023-11-14","leads":8},{"day":"2023-11-15","leads":8},{"day":"2023-11-16","leads":7},{"day":"2023-11-17","leads":7}],"statuses":[{"status":"active","leads":10},{"status":"new","leads":10},{"status":"no answer","leads":10}]}"#,
    );
    let part = stats("?from=2023-11-15T23:00:00Z&to=2023-11-16").await.json();
    assert_eq!(
        part["days"],
        json!([{ "day": "2023-11-15", "leads": 8 }, { "day": "2023-11-16", "leads": 7 }])
    );
    assert_eq!(part["total"], 30);
    for (number, change) in [
        (0, json!({ "status": "active" })),
        (1, json!({ "bucketId": "b2" })),
        (3, json!({ "status": "lost" })),
    ] {
        let path = format!("/api/admin/clients/{}", clients[number].id);
        call(&app, "PATCH", &path, change).await.assert_ok();
    }
    let now = stats("").await.json();
    let statuses = json!([
        { "status": "active", "leads": 10 }, { "status": "no answer", "leads": 10 },
        { "status": "new", "leads": 8 }, { "status": "lost", "leads": 1 },
    ]);
    assert_eq!(
        (&now["total"], &now["statuses"], &now["days"][1]["leads"]),
        (&json!(29), &statuses, &json!(7))
    );
    let empty = call(&app, "GET", &format!("{}/stats", path_of("b2")), Value::Null).await.json();
    assert_eq!(empty["total"], 1);
    app.assert_consistent().await;
}

/// Whoever signs clients up makes statuses: as many as there may be, there is an answer.
#[tokio::test]
async fn of_very_many_statuses_the_most_frequent_are_shown() {
    let app = TestApp::start().await;
    app.bucket("b1", "A", &[]).await;
    let long = "\u{1f600}".repeat(1020);
    let clients: Vec<_> = (0..403)
        .map(|number| {
            let mut client = tests::new_client(&format!("c{number}@example.com"), "A", "b1", None);
            client.status = if number < 3 { "new".to_owned() } else { format!("{long}{number}") };
            client
        })
        .collect();
    app.store_clients(&clients).await;
    let stats = call(&app, "GET", &format!("{}/stats", path_of("b1")), Value::Null).await;
    stats.assert_ok();
    let (stats, length) = (stats.json(), stats.text.len());
    assert_eq!(
        (&stats["total"], &stats["statuses"][0]),
        (&json!(403), &json!({ "status": "new", "leads": 3 }))
    );
    let shown = stats["statuses"].as_array().unwrap().len();
    assert!((200..400).contains(&shown) && length < 1_200_000, "{shown} statuses, {length} bytes");
}

#[tokio::test]
async fn an_affiliate_that_can_have_no_bucket_has_none() {
    let app = TestApp::start().await;
    for affiliate in ["x".repeat(129), "x".repeat(2100), "%C3%A9".repeat(1100)] {
        for path in [BUCKETS, "/api/admin/clients"] {
            let answer = call(&app, "GET", &format!("{path}?affiliateID={affiliate}"), Value::Null).await;
            answer.assert(200, r#"{"items":[],"nextCursor":null}"#);
        }
    }
}

/// The answer of a write that took place was lost: whoever made it does not hear of a conflict.
#[tokio::test]
async fn nobody_conflicts_with_their_own_write() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    for (round, fault) in [Conflict, WrittenThenConflict, WrittenThenServerError].into_iter().enumerate() {
        let source = format!("s{round}");
        proxy.fail_transactions([fault]);
        let bucket = create(&app, "A", &[&source]).await;
        proxy.fail_transactions([fault]);
        let changed = call(&app, "PATCH", &path_of(&bucket), json!({ "sources": [&source, "more"] })).await;
        assert_eq!(changed.status, 200, "{fault:?}: {changed:?}");
        assert_eq!(call(&app, "GET", &path_of(&bucket), Value::Null).await.text, changed.text);
        proxy.fail_transactions([fault]);
        let deleted = call(&app, "DELETE", &path_of(&bucket), Value::Null).await;
        assert_eq!(deleted.status, 204, "{fault:?}: {deleted:?}");
        assert_eq!(proxy.faults_left(), 0);
    }
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

/// An attempt to create something was given up, and another one succeeded; it arrives when that was deleted again.
#[tokio::test]
async fn what_was_deleted_does_not_come_back_with_a_late_attempt_to_create_it() {
    if Difference::Tokens.skips() {
        return;
    }
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    let role =
        call(&app, "POST", ROLES, json!({ "name": "Kept", "permissions": ["buckets:view-all"] })).await;
    let token = json!({ "name": "Late", "roleId": role.json()["id"] });
    let bucket = json!({ "name": "Late", "affiliateID": "A", "sources": ["late"] });
    let role = json!({ "name": "Late", "permissions": ["buckets:view-all"] });
    for (path, body) in [(BUCKETS, bucket), ("/api/admin/tokens", token), (ROLES, role)] {
        for faults in [vec![Late], vec![Late, Conflict], vec![Late, Conflict, Late, Throttled, Conflict]] {
            let late = faults.iter().filter(|fault| **fault == Late).count();
            proxy.fail_transactions(faults);
            let created = call(&app, "POST", path, body.clone()).await;
            assert_eq!((created.status, proxy.faults_left()), (201, 0), "{path}: {created:?}");
            let created = format!("{path}/{}", created.json()["id"].as_str().unwrap());
            let deleted = call(&app, "DELETE", &created, Value::Null).await;
            assert_eq!(deleted.status, 204, "{created}: {deleted:?}");
            assert_eq!(proxy.deliver_late().await, late);
            let found = call(&app, "GET", &created, Value::Null).await;
            assert_eq!(found.status, 404, "{found:?}");
        }
    }
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

/// Deletion closes the bucket's counters: what is not a number among them must not keep them from being read.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_bucket_is_empty_to_whoever_read_it_a_moment_ago() {
    let app = TestApp::start().await;
    app.bucket("closing", "AFF-1", &[]).await;
    let partner = app.partner(&["AFF-1"]).await;
    app.leads(&partner, "closing", "AFF-1", &json!({})).await.assert(200, "{}");
    let id = BucketId::parse("closing").unwrap();
    let stored = app.store().stored_bucket(&id).await.unwrap().unwrap();
    // Twice, as where the first answer was lost.
    for _ in 0..2 {
        assert_eq!(app.store().delete_bucket(&stored).await.unwrap(), DeleteBucket::Deleted);
    }
    let everything = Timestamp::MIN.millis()..=Timestamp::MAX.millis();
    let cells = app.store().cells(&keys::bucket_list(&id), &everything).await.unwrap();
    assert_eq!(cells.total(), 0);
    // The function's copy of the bucket serves for five seconds.
    let answer = app.leads(&partner, "closing", "AFF-1", &json!({ "offset": 1 })).await;
    assert!([200, 400].contains(&answer.status), "{} {}", answer.status, answer.text);
}
