//! `/api/admin/clients`: CONTRACT.md, section 5, and what partners see of each change.

use futures_util::future::{join, join_all};
use serde_json::{Map, Value, json};
use shared::model::{Permission, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::dynamodb::Dynamodb;
use tests::proxy::Fault::{Conflict, WrittenThenConflict, WrittenThenServerError};
use tests::proxy::Proxy;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED, new_client};

const CLIENTS: &str = "/api/admin/clients";
const NOT_FOUND: &str = "There is no such client";

async fn call(app: &TestApp, method: &str, path: &str, body: Value) -> Answer {
    let body = Some(body).filter(|body| !body.is_null());
    app.admin(app.administrator(), method, path, body.as_ref()).await
}

async fn get(app: &TestApp, id: &str) -> Value {
    let answer = call(app, "GET", &format!("{CLIENTS}/{id}"), Value::Null).await;
    answer.assert_ok();
    answer.json()
}

async fn patch(app: &TestApp, id: &str, body: Value) -> Answer {
    call(app, "PATCH", &format!("{CLIENTS}/{id}"), body).await
}

/// Two buckets of affiliate A, the first with source `s`; one of B.
async fn start() -> TestApp {
    let app = TestApp::start().await;
    set_up(&app).await;
    app
}

async fn set_up(app: &TestApp) {
    app.bucket("b1", "A", &["s"]).await;
    app.bucket("b2", "A", &["t"]).await;
    app.bucket("b3", "B", &[]).await;
}

fn body(email: &str) -> Value {
    json!({ "email": email, "phone": "+1234567890", "firstName": "Jane", "affiliateID": "A", "sourceId": "s" })
}

/// Signs a client up into `b1` and gives its id.
async fn sign_up(app: &TestApp, email: &str) -> String {
    let key = app.sign_up_key(&[]).await;
    app.signed_up(&key, &body(email)).await
}

/// What a partner gets from a bucket, and how many leads its counters say there are.
async fn leads(app: &TestApp, bucket: &str, filter: Value) -> Map<String, Value> {
    let affiliate = if bucket == "b3" { "B" } else { "A" };
    let token = app.partner(&[affiliate]).await;
    let answer = app.leads(&token, bucket, affiliate, &filter).await;
    answer.assert_ok();
    let leads = answer.json().as_object().unwrap().clone();
    if let Some(total) = answer.header("x-total-count") {
        assert_eq!(total, leads.len().to_string());
    }
    leads
}

async fn leads_of_source(app: &TestApp, bucket: &str, source: &str) -> Vec<String> {
    let token = app.partner(&["A"]).await;
    let answer = app.leads_by_source(&token, bucket, "A", source, &json!({})).await;
    answer.assert_ok();
    assert_eq!(answer.header("x-total-count"), Some(answer.keys().len().to_string().as_str()));
    answer.keys()
}

#[tokio::test]
async fn a_client_is_shown_to_the_last_field() {
    let app = start().await;
    let mut given = json!({
        "email": "Jane.Doe@Example.com", "phone": "+1 (234) 567-890", "firstName": "Jane", "middleName": "M", "lastName": "Doe",
        "gender": "f", "dateOfBirth": "1990-05-01", "nationality": "CH", "passport": "X1", "additionalPhone": "1", "subID": "SUB",
        "campaignId": "CMP", "externalId": "E1", "project": "p", "desk": "d", "manager": "m", "type": "t", "companyFeeGroup": "g",
        "verificationLevel": "1", "verificationStatus": "v", "affiliateID": "A", "sourceId": "s", "status": "hot", "state": "live",
        "meta": "{\"a\":\"é\u{202e}<img src=x onerror=alert(1)>\"}", "processed": false, "allowToCreateAsset": true, "sendEmail": true,
        "billing": { "country": "CH", "region": "ZH", "city": "Zürich", "postcode": "8000", "address": "Weg 1" },
        "agreements": [{ "label": "Terms", "ip": "127.0.0.1", "signedAt": "2026-01-01T12:00:00.000Z" }],
    });
    let key = app.sign_up_key(&[]).await;
    // A small profile is one item, a large one two.
    for (email, meta, agreements) in
        [("Jane.Doe@Example.com", None, 1), ("Large@Example.com", Some("é".repeat(8192)), 50)]
    {
        given["email"] = email.into();
        if let Some(meta) = meta {
            given["meta"] = meta.into();
        }
        given["agreements"] = vec![given["agreements"][0].clone(); agreements].into();
        let id = app.signed_up(&key, &given).await;
        let shown = get(&app, &id).await;
        let mut expected = given.clone();
        for (field, value) in [
            ("id", json!(id)),
            ("phone", json!("+1234567890")),
            ("bucketId", json!("b1")),
            ("createdDate", shown["createdDate"].clone()),
            ("updatedDate", shown["createdDate"].clone()),
            ("ftd", Value::Null),
        ] {
            expected[field] = value;
        }
        assert_eq!(shown, expected);
    }
}

#[tokio::test]
async fn lists_are_filtered_newest_first_and_read_page_by_page() {
    let app = start().await;
    let mut clients = Vec::new();
    for number in 0..250_i64 {
        let (bucket, affiliate) =
            [("b1", "A"), ("b2", "A"), ("b3", "B")][usize::try_from(number).unwrap() % 3];
        let mut client = new_client(&format!("c{number}@example.com"), affiliate, bucket, None);
        // Some at the same moment.
        client.created_date = Timestamp::clamped(1_700_000_000_000 + number / 4 * 1000);
        client.status = ["new", "hot"][usize::try_from(number).unwrap() / 3 % 2].into();
        clients.push(client);
    }
    for (affiliate, number) in [(Some("A"), 250), (None, 251), (Some("Z"), 252)] {
        let mut client = new_client(&format!("c{number}@example.com"), "A", "b1", None);
        client.affiliate_id = affiliate.map(str::to_owned);
        client.bucket_id = None;
        client.created_date = Timestamp::clamped(1_700_000_000_000 + number);
        clients.push(client);
    }
    app.store_clients(&clients).await;
    clients.sort_by(|one, other| (other.created_date, &other.id).cmp(&(one.created_date, &one.id)));
    let all = |_: &shared::model::Client| true;
    type Filter = Box<dyn Fn(&shared::model::Client) -> bool>;
    let affiliate =
        |id: &'static str| -> Filter { Box::new(move |client| client.affiliate_id.as_deref() == Some(id)) };
    let bucket = |id: &'static str| -> Filter {
        Box::new(move |client| client.bucket_id.as_ref().is_some_and(|bucket| bucket.as_str() == id))
    };
    let cases: Vec<(&str, Filter)> = vec![
        ("", Box::new(all)),
        ("?bucketId=b2", bucket("b2")),
        ("?affiliateID=A", affiliate("A")),
        ("?affiliateID=Z", affiliate("Z")),
        ("?affiliateID=nobody", Box::new(|_| false)),
        ("?bucketId=nowhere", Box::new(|_| false)),
        ("?status=hot", Box::new(|client| client.status == "hot")),
        ("?status=cold", Box::new(|_| false)),
        (
            "?affiliateID=B&status=hot",
            Box::new(|client| client.affiliate_id.as_deref() == Some("B") && client.status == "hot"),
        ),
        (
            "?bucketId=b1&affiliateID=A&status=new",
            Box::new(|client| {
                client.bucket_id.as_ref().is_some_and(|bucket| bucket.as_str() == "b1")
                    && client.status == "new"
            }),
        ),
        ("?bucketId=b1&affiliateID=B", Box::new(|_| false)),
        ("?email=C7@Example.com", Box::new(|client| client.given.email.as_str() == "c7@example.com")),
        ("?email=c7@example.com&status=cold", Box::new(|_| false)),
        ("?email=nobody@example.com", Box::new(|_| false)),
    ];
    for (query, accepts) in cases {
        let expected: Vec<_> =
            clients.iter().filter(|client| accepts(client)).map(|client| client.id.as_str()).collect();
        for limit in [7, 100, 1000] {
            let listed = app.walk(app.administrator(), &format!("{CLIENTS}{query}"), limit).await;
            let shown: Vec<_> = listed.iter().map(|client| client["id"].as_str().unwrap()).collect();
            assert_eq!(shown, expected, "{query} by {limit}");
        }
    }
    for (query, message) in [
        ("limit=0", "limit must be an integer from 1 to 1000"),
        ("email=nonsense", "email must be a valid email address"),
        ("bucketID=b1", "bucketID is not a known parameter"),
        ("cursor=x", "cursor must be the nextCursor of an answer to the same list and filters"),
    ] {
        call(&app, "GET", &format!("{CLIENTS}?{query}"), Value::Null).await.assert_error(400, message);
    }
}

#[tokio::test]
async fn every_call_needs_its_permission() {
    let app = start().await;
    let path = format!("{CLIENTS}/{}", sign_up(&app, "one@example.com").await);
    let nobody = format!("{CLIENTS}/nobody");
    app.assert_needs(
        &[Permission::ClientsView],
        &[
            ("GET", CLIENTS, None),
            ("GET", &path, None),
            ("GET", &nobody, None),
            ("GET", "/api/admin/clients?limit=x", None),
        ],
    )
    .await;
    let change = json!({ "status": "hot" });
    app.assert_needs(
        &[Permission::ClientsManage],
        &[("PATCH", &path, Some(change.clone())), ("PATCH", &nobody, Some(change))],
    )
    .await;
}

#[tokio::test]
async fn a_token_of_affiliates_sees_and_changes_their_clients_only() {
    let app = start().await;
    let key = app.sign_up_key(&[]).await;
    let mut ids = Vec::new();
    for (number, affiliate) in [Some("A"), Some("B"), Some("C"), None].into_iter().enumerate() {
        let mut body = body(&format!("c{number}@example.com"));
        body["affiliateID"] = json!(affiliate);
        ids.push(app.signed_up(&key, &body).await);
    }
    let token = async |permission| {
        let spec = TokenSpec {
            permissions: vec![permission],
            affiliates: vec!["A".into(), "B".into()],
            ..TokenSpec::default()
        };
        app.token(spec).await
    };
    let view = token(Permission::ClientsView).await;
    let listed = app.walk(&view, CLIENTS, 1).await;
    let shown: Vec<_> = listed.iter().map(|client| client["id"].as_str().unwrap()).collect();
    assert_eq!(shown, [&ids[1], &ids[0]]);
    app.admin(&view, "GET", &format!("{CLIENTS}?affiliateID=C"), None).await.assert(401, UNAUTHORIZED);
    for query in ["?email=c2@example.com", "?email=c3@example.com"] {
        assert_eq!(app.walk(&view, &format!("{CLIENTS}{query}"), 10).await.len(), 0, "{query}");
    }
    for (number, status) in [200, 200, 404, 404].into_iter().enumerate() {
        let path = format!("{CLIENTS}/{}", ids[number]);
        assert_eq!(app.admin(&view, "GET", &path, None).await.status, status);
        let manage = token(Permission::ClientsManage).await;
        let changed = app.admin(&manage, "PATCH", &path, Some(&json!({ "status": "hot" }))).await;
        assert_eq!(changed.status, status);
        // Nor can it give a client away, or make it nobody's.
        for affiliate in ["C", ""] {
            let given = app.admin(&manage, "PATCH", &path, Some(&json!({ "affiliateID": affiliate }))).await;
            given.assert(401, UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn what_is_given_is_checked() {
    let app = start().await;
    let id = sign_up(&app, "one@example.com").await;
    let before = get(&app, &id).await;
    for (change, message) in [
        (json!({}), "body must have a field to change; an empty text takes one away"),
        (json!({ "status": null }), "body must have a field to change; an empty text takes one away"),
        (json!({ "id": "x" }), "id cannot be changed"),
        (json!({ "createdDate": "2026-01-01" }), "createdDate cannot be changed"),
        (json!({ "updatedDate": "2026-01-01" }), "updatedDate cannot be changed"),
        (json!({ "status": "hot", "sendEmail": true }), "sendEmail cannot be changed"),
        (json!({ "Status": "hot" }), "Status is not a known field"),
        (json!({ "billing": { "town": "x" } }), "billing.town is not a known field"),
        (json!({ "agreements": [{}, { "date": "x" }] }), "agreements[1].date is not a known field"),
        (json!({ "status": " " }), "status must not be blank"),
        (json!({ "firstName": "" }), "firstName must not be blank"),
        (json!({ "email": "nobody" }), "email must be a valid email address of at most 254 characters"),
        (json!({ "phone": "1" }), "phone must have 5 to 15 digits and an optional leading +"),
        (json!({ "ftd": "yesterday" }), "ftd must be an ISO 8601 date-time from 1970 to 2286"),
        (json!({ "ftd": 5 }), "ftd must be a string"),
        (json!({ "dateOfBirth": "1.1.1990" }), "dateOfBirth must be an ISO 8601 date"),
        (json!({ "bucketId": "no/where" }), "bucketId must be the id of a bucket"),
        (json!({ "bucketId": "nowhere" }), "bucketId must be the id of a bucket of the client's affiliate"),
        (json!({ "bucketId": "b3" }), "bucketId must be the id of a bucket of the client's affiliate"),
        (
            json!({ "affiliateID": "B", "bucketId": "b1" }),
            "bucketId must be the id of a bucket of the client's affiliate",
        ),
        (json!({ "meta": "x".repeat(16_385) }), "meta must have at most 16384 bytes"),
        (json!({ "processed": "yes" }), "processed must be true or false"),
    ] {
        patch(&app, &id, change).await.assert_error(400, message);
    }
    app.assert_reads_json(app.administrator(), "PATCH", &format!("{CLIENTS}/{id}")).await;
    for id in ["nobody".to_owned(), "%23".into(), "x".repeat(3000)] {
        patch(&app, &id, json!({ "status": "hot" })).await.assert_error(404, NOT_FOUND);
        patch(&app, &id, json!({ "statu": "hot" })).await.assert_error(400, "statu is not a known field");
        call(&app, "GET", &format!("{CLIENTS}/{id}"), Value::Null).await.assert_error(404, NOT_FOUND);
    }
    assert_eq!(get(&app, &id).await, before);
}

#[tokio::test]
async fn every_field_is_changed_and_taken_away() {
    let app = start().await;
    let id = sign_up(&app, "one@example.com").await;
    let created = get(&app, &id).await;
    let texts = [
        "middleName",
        "lastName",
        "gender",
        "nationality",
        "passport",
        "additionalPhone",
        "subID",
        "campaignId",
        "externalId",
        "project",
        "desk",
        "manager",
        "type",
        "companyFeeGroup",
        "verificationLevel",
        "verificationStatus",
        "meta",
    ];
    let mut change = json!({
        "email": "two@example.com", "phone": "(030) 12345", "firstName": "Joan", "dateOfBirth": "1990-05-01", "status": "hot",
        "state": "frozen", "processed": true, "allowToCreateAsset": false, "sourceId": "t", "ftd": "2026-01-02T03:04:05+01:00",
        "billing": { "city": "Bern", "country": "CH" }, "agreements": [{ "label": "New" }],
    });
    for text in texts {
        change[text] = format!("{text}-value").into();
    }
    let answer = patch(&app, &id, change.clone()).await;
    answer.assert_ok();
    let mut expected = change;
    for (field, value) in [
        ("id", json!(id)),
        ("phone", json!("03012345")),
        ("affiliateID", json!("A")),
        ("bucketId", json!("b1")),
        ("ftd", json!("2026-01-02T02:04:05.000Z")),
        ("sendEmail", json!(false)),
        ("createdDate", created["createdDate"].clone()),
        ("updatedDate", answer.json()["updatedDate"].clone()),
    ] {
        expected[field] = value;
    }
    assert_eq!(answer.json(), expected);
    assert_eq!(get(&app, &id).await, expected);
    assert!(expected["updatedDate"].as_str() > created["updatedDate"].as_str());

    patch(&app, &id, json!({ "billing": { "city": "", "region": "BE" } })).await.assert_ok();
    assert_eq!(get(&app, &id).await["billing"], json!({ "country": "CH", "region": "BE" }));
    let mut away = json!({ "dateOfBirth": "", "sourceId": "", "ftd": "", "bucketId": "", "agreements": [],
        "billing": { "country": "", "region": "" } });
    for text in texts {
        away[text] = "".into();
    }
    let gone = patch(&app, &id, away).await;
    let mut left = json!({ "id": id, "email": "two@example.com", "phone": "03012345", "firstName": "Joan", "affiliateID": "A",
        "sourceId": null, "bucketId": null, "status": "hot", "state": "frozen", "processed": true, "allowToCreateAsset": false,
        "sendEmail": false, "ftd": null });
    left["createdDate"] = created["createdDate"].clone();
    left["updatedDate"] = gone.json()["updatedDate"].clone();
    assert_eq!(gone.json(), left);
    assert_eq!(get(&app, &id).await, left);
    app.assert_consistent().await;
}

#[tokio::test]
async fn partners_see_a_change_at_once_everywhere() {
    let app = start().await;
    let id = sign_up(&app, "one@example.com").await;
    sign_up(&app, "other@example.com").await;
    let before = Timestamp::now().millis();
    let since = json!({ "filters": { "updatedDate": [before.to_string(), null] } });
    let of_status = |status: &str| json!({ "filters": { "status": [status] } });
    // The other sign-up may be of this very millisecond.
    tests::eventually(|| async { Timestamp::now().millis() > before + 1 }).await;

    patch(&app, &id, json!({ "status": "hot" })).await.assert_ok();
    assert_eq!(leads(&app, "b1", of_status("hot")).await["one@example.com"]["id"], json!(id));
    assert_eq!(leads(&app, "b1", of_status("new")).await.len(), 1);
    assert!(leads(&app, "b1", since).await.contains_key("one@example.com"));

    patch(&app, &id, json!({ "ftd": "2026-01-02" })).await.assert_ok();
    let by_id = leads(&app, "b1", json!({ "ids": [id] })).await;
    assert_eq!(by_id["one@example.com"]["ftd"], "2026-01-02T00:00:00.000Z");

    patch(&app, &id, json!({ "sourceId": "t" })).await.assert_ok();
    assert_eq!(leads_of_source(&app, "b1", "s").await, ["other@example.com"]);

    patch(&app, &id, json!({ "bucketId": "b2" })).await.assert_ok();
    assert_eq!(leads(&app, "b1", json!({})).await.len(), 1);
    assert_eq!(leads(&app, "b1", json!({ "emails": ["one@example.com"], "ids": [id] })).await.len(), 0);
    assert_eq!(leads(&app, "b2", json!({})).await["one@example.com"]["status"], "hot");
    assert_eq!(leads(&app, "b2", of_status("hot")).await.len(), 1);
    assert_eq!(leads_of_source(&app, "b2", "t").await, ["one@example.com"]);

    // The old address is free for others, the new one is taken.
    patch(&app, &id, json!({ "email": "NEW@example.com" })).await.assert_ok();
    assert_eq!(leads(&app, "b2", json!({ "emails": ["new@Example.com", "one@example.com"] })).await.len(), 1);
    let key = app.sign_up_key(&[]).await;
    app.signed_up(&key, &body("one@example.com")).await;
    app.sign_up(&key, &body("new@example.com"))
        .await
        .assert_provider_error(400, "User with this email already exists");
    patch(&app, &id, json!({ "email": "Other@example.com" }))
        .await
        .assert_error(409, "A client with this email already exists");
    patch(&app, &id, json!({ "email": "New@Example.com" })).await.assert_ok();
    assert!(leads(&app, "b2", json!({})).await.contains_key("New@Example.com"));

    // Another affiliate's client is in that one's bucket, or in the one that is named.
    patch(&app, &id, json!({ "affiliateID": "B" })).await.assert_ok();
    assert_eq!(get(&app, &id).await["bucketId"], "b3");
    assert_eq!(leads(&app, "b2", json!({})).await.len(), 0);
    assert_eq!(leads(&app, "b3", json!({})).await.len(), 1);
    patch(&app, &id, json!({ "affiliateID": "A", "bucketId": "b1" })).await.assert_ok();
    assert_eq!(leads(&app, "b1", json!({})).await.len(), 3);
    patch(&app, &id, json!({ "affiliateID": "" })).await.assert_ok();
    let nobodys = get(&app, &id).await;
    assert_eq!((&nobodys["affiliateID"], &nobodys["bucketId"]), (&Value::Null, &Value::Null));
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_profile_grows_and_shrinks() {
    let app = start().await;
    let id = sign_up(&app, "one@example.com").await;
    for size in [16_000, 10, 3400, 3600, 0] {
        patch(&app, &id, json!({ "meta": "m".repeat(size), "lastName": "x".repeat(size.min(1000)) }))
            .await
            .assert_ok();
        let shown = get(&app, &id).await;
        assert_eq!(shown["meta"].as_str().map_or(0, str::len), size);
        let listed = app.walk(app.administrator(), CLIENTS, 10).await;
        assert_eq!(listed, [shown]);
        app.assert_consistent().await;
    }
}

#[tokio::test]
async fn no_edit_is_lost() {
    let app = start().await;
    let id = sign_up(&app, "one@example.com").await;
    let path = format!("{CLIENTS}/{id}");
    let fields = ["lastName", "desk", "manager", "project", "passport", "gender", "status", "state"];
    let edit = async |number: usize| {
        let (field, value) = (fields[number % 8], format!("edit {number}"));
        (field, value.clone(), patch(&app, &id, json!({ field: value })).await.status)
    };
    let edits = join_all((0..16).map(edit)).await;
    let now = get(&app, &id).await;
    let won: Vec<_> = edits.iter().filter(|(.., status)| *status == 200).collect();
    assert!(!won.is_empty() && edits.iter().all(|(.., status)| [200, 409].contains(status)), "{edits:?}");
    for field in fields {
        let candidates: Vec<_> =
            won.iter().filter(|(of, ..)| *of == field).map(|(_, value, _)| value.as_str()).collect();
        let shown = now[field].as_str();
        assert!(
            candidates.is_empty() || shown.is_some_and(|shown| candidates.contains(&shown)),
            "{field}: {shown:?} {edits:?}"
        );
        assert!(
            !candidates.is_empty() || !shown.is_some_and(|shown| shown.starts_with("edit")),
            "{field}: {shown:?} {edits:?}"
        );
    }

    let tag = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    let with_tag = async |number: usize| {
        let body = Some(json!({ "desk": format!("tagged {number}") }).to_string());
        app.admin_with(app.administrator(), "PATCH", &path, &[("if-match", &tag)], body).await.status
    };
    let statuses = join_all((0..16).map(with_tag)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
    app.assert_consistent().await;
}

#[tokio::test]
async fn an_address_is_one_clients_whatever_happens_at_once() {
    let app = start().await;
    let mut ids = Vec::new();
    for number in 0..8 {
        ids.push(sign_up(&app, &format!("c{number}@example.com")).await);
    }
    let wanted = |id: &String| {
        let id = id.clone();
        let app = &app;
        async move { patch(app, &id, json!({ "email": "wanted@example.com" })).await.status }
    };
    let statuses = join_all(ids.iter().map(wanted)).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    // Sign-ups and a change to the same address.
    let key = app.sign_up_key(&[]).await;
    let request = body("both@example.com");
    let sign_ups = join_all((0..8).map(|_| app.sign_up(&key, &request)));
    let (sign_ups, changed) =
        join(sign_ups, patch(&app, &ids[0], json!({ "email": "Both@example.com" }))).await;
    let signed_up = sign_ups.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(signed_up + usize::from(changed.status == 200), 1, "{sign_ups:?} {changed:?}");
    // Moves to and fro.
    let moves = join_all((0..16).map(|number| {
        let bucket = ["b1", "b2"][number % 2];
        patch(&app, &ids[number / 4], json!({ "bucketId": bucket }))
    }))
    .await;
    assert!(moves.iter().all(|answer| [200, 409].contains(&answer.status)), "{moves:?}");
    let mut shown = BTreeSet::new();
    for bucket in ["b1", "b2"] {
        shown.extend(
            leads(&app, bucket, json!({}))
                .await
                .into_iter()
                .map(|(_, lead)| lead["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(shown.len(), 8 + signed_up);
    app.assert_consistent().await;
}

/// The answer of a write that took place was lost: whoever made it does not hear of a conflict.
#[tokio::test]
async fn nobody_conflicts_with_their_own_write() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    set_up(&app).await;
    let id = sign_up(&app, "one@example.com").await;
    for faults in [
        &[Conflict][..],
        &[WrittenThenConflict],
        &[WrittenThenServerError],
        &[Conflict, WrittenThenServerError, Conflict],
    ] {
        for change in [
            json!({ "status": "hot" }),
            json!({ "bucketId": "b2" }),
            json!({ "email": "two@example.com" }),
            json!({ "email": "one@example.com", "bucketId": "b1", "status": "new", "ftd": "2026-01-01" }),
        ] {
            proxy.fail_transactions(faults.iter().copied());
            let answer = patch(&app, &id, change.clone()).await;
            assert_eq!(answer.status, 200, "{faults:?} {change}: {answer:?}");
            assert_eq!(get(&app, &id).await, answer.json(), "{faults:?} {change}");
        }
        app.assert_consistent().await;
    }
    assert_eq!(proxy.faults_left(), 0);
    drop(app);
    dynamodb.stop().await;
}

/// None is left out in silence: a list that can't be merged is refused, and what makes it shorter works.
#[tokio::test]
async fn clients_in_more_buckets_than_are_merged_are_asked_for_by_bucket() {
    let app = TestApp::start().await;
    for number in 0..1000 {
        app.bucket(&format!("b{number}"), "A", &[]).await;
    }
    app.store_clients(&[new_client("c@example.com", "A", "b7", None)]).await;
    let list = async |query: &str| {
        app.admin(app.administrator(), "GET", &format!("/api/admin/clients?{query}"), None).await
    };
    list("affiliateID=A").await.assert_error(
        400,
        "The clients are in more than 1000 buckets: use bucketId, or an affiliateID with fewer",
    );
    let by_bucket = list("affiliateID=A&bucketId=b7").await.json();
    assert_eq!(by_bucket["items"].as_array().unwrap().len(), 1);
}

/// A client may be in the list that it left and in the one that it came to, where both are read for one page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_while_it_is_listed_is_there_once() {
    let app = start().await;
    let mut ids = BTreeSet::new();
    for number in 0..5 {
        ids.insert(sign_up(&app, &format!("c{number}@example.com")).await);
    }
    let moving = ids.first().unwrap();
    let lists = AtomicUsize::new(0);
    let listing = async {
        let mut seen_in = BTreeSet::new();
        // Until it was seen in both, and often enough for a page to fall between the two changes.
        while lists.fetch_add(1, Ordering::Relaxed) < 400 || seen_in.len() < 2 {
            let answer = call(&app, "GET", &format!("{CLIENTS}?affiliateID=A"), Value::Null).await;
            answer.assert_ok();
            let listed = answer.json()["items"].as_array().unwrap().clone();
            let listed_ids: BTreeSet<_> =
                listed.iter().map(|client| client["id"].as_str().unwrap().to_owned()).collect();
            assert_eq!(listed.len(), listed_ids.len(), "twice: {listed:?}");
            assert!(listed_ids.is_subset(&ids) && listed.len() >= 4, "{listed_ids:?}");
            seen_in.extend(
                listed
                    .iter()
                    .filter(|client| client["id"] == **moving)
                    .map(|client| client["bucketId"].to_string()),
            );
        }
    };
    let moves = async {
        for bucket in ["b2", "b1"].iter().cycle() {
            let answer = patch(&app, moving, json!({ "bucketId": bucket })).await;
            answer.assert_ok();
        }
    };
    tokio::select! {
        () = listing => {}
        () = moves => {}
    }
    app.assert_consistent().await;
}
