//! `/api/admin/tokens`: CONTRACT.md, sections 1 and 5, as an operator's console calls it.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::model::{Permission, Timestamp, TokenId};
use shared::secret::Token;
use std::collections::BTreeSet;
use tests::dynamodb::Dynamodb;
use tests::proxy::Proxy;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED, eventually};

const TOKENS: &str = "/api/admin/tokens";

/// Calls by the stack's own administrator.
async fn call(app: &TestApp, method: &str, path: &str, body: Value) -> Answer {
    let body = Some(body).filter(|body| !body.is_null());
    app.admin(app.administrator(), method, path, body.as_ref()).await
}

async fn create(app: &TestApp, body: Value) -> Value {
    let answer = call(app, "POST", TOKENS, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.json()
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record[name].as_str().unwrap_or_else(|| panic!("no {name}: {record}"))
}

fn path_of(record: &Value) -> String {
    format!("{TOKENS}/{}", text(record, "id"))
}

/// Whether a token lists roles: it is valid and an administrator's.
async fn works(app: &TestApp, token: &str) -> bool {
    let answer = app.admin(token, "GET", "/api/admin/roles", None).await;
    match answer.status {
        200 => true,
        401 => {
            answer.assert(401, UNAUTHORIZED);
            false
        }
        _ => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn the_published_steps_hold() {
    let app = TestApp::start().await;
    app.bucket("b1", "AFF-1", &[]).await;
    let new = json!({ "name": " Landing page ", "roleId": "partner", "affiliateIDs": ["AFF-1", "AFF-1"],
        "expiresAt": "2190-01-31T12:00:00+01:00", "whitelist": ["127.0.0.1", " 10.1.2.3/8 ", "2001:DB8::/32"] });
    let answer = call(&app, "POST", TOKENS, new).await;
    let created = answer.json();
    let token = text(&created, "token").to_owned();
    assert!(Token::parse(&token).is_some(), "{token}");
    assert_eq!(answer.header("location"), Some(path_of(&created).as_str()));
    let record = json!({
        "id": created["id"], "name": "Landing page", "roleId": "partner", "hint": format!("{}…", &token[..9]),
        "whitelist": ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"], "affiliateIDs": ["AFF-1"],
        "expiresAt": "2190-01-31T11:00:00.000Z", "createdDate": created["createdDate"],
        "lastUsedDate": null, "lastRefused": [],
    });
    let mut with_token = record.clone();
    with_token["token"] = token.clone().into();
    assert_eq!((answer.status, created.clone()), (201, with_token));

    // Shown once: everything else shows the record only.
    let shown = call(&app, "GET", &path_of(&created), Value::Null).await;
    assert_eq!((shown.status, shown.json()), (200, record.clone()));
    let list = app.walk(app.administrator(), TOKENS, 100).await;
    assert_eq!(list.len(), 2);
    assert_eq!(list[0], record);

    app.leads(&token, "b1", "AFF-1", &json!({})).await.assert(200, "{}");
    let changed = call(&app, "PATCH", &path_of(&created), json!({ "whitelist": ["192.0.2.1"] })).await;
    assert_eq!((changed.status, &changed.json()["whitelist"]), (200, &json!(["192.0.2.1"])));
    app.leads(&token, "b1", "AFF-1", &json!({})).await.assert(401, UNAUTHORIZED);
    let changed = call(&app, "PATCH", &path_of(&created), json!({ "whitelist": [] })).await;
    assert_eq!((changed.status, &changed.json()["whitelist"]), (200, &json!([])));
    app.leads(&token, "b1", "AFF-1", &json!({})).await.assert(200, "{}");

    call(&app, "DELETE", &path_of(&created), Value::Null).await.assert(204, "");
    app.leads(&token, "b1", "AFF-1", &json!({})).await.assert(401, UNAUTHORIZED);
    for (method, body) in
        [("GET", Value::Null), ("DELETE", Value::Null), ("PATCH", json!({ "whitelist": [] }))]
    {
        call(&app, method, &path_of(&created), body).await.assert_error(404, "There is no such token");
    }
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_text_of_a_token_is_stored_nowhere() {
    let app = TestApp::start().await;
    let mut tokens = vec![app.administrator().to_owned()];
    for number in 0..3 {
        let created = create(&app, json!({ "name": format!("Token {number}"), "roleId": "sign-up" })).await;
        app.admin(text(&created, "token"), "GET", "/api/public/token", None).await;
        tokens.push(text(&created, "token").to_owned());
    }
    for table in ["TokensTable", "RolesTable", "TokenActivityTable", "ExpiringTable"] {
        let items = app.store().sdk().scan().table_name(table).send().await.unwrap();
        let stored = format!("{:?}", items.items());
        for token in &tokens {
            // Not even half of it, beyond what the hint shows.
            assert!(!stored.contains(&token[9..24]) && !stored.contains(&token[24..]), "{table}");
        }
    }
}

#[tokio::test]
async fn a_token_without_expiry_and_whitelist_is_valid_indefinitely_from_anywhere() {
    let app = TestApp::start().await;
    let created = create(&app, json!({ "name": "x", "roleId": "administrator", "expiresAt": null })).await;
    assert_eq!((&created["expiresAt"], &created["whitelist"]), (&Value::Null, &json!([])));
    assert!(works(&app, text(&created, "token")).await);
    let soon = Timestamp::clamped(Timestamp::now().millis() + 10_000).to_string();
    let created = create(&app, json!({ "name": "x", "roleId": "administrator", "expiresAt": soon })).await;
    eventually(|| async { !works(&app, text(&created, "token")).await }).await;
    assert!(Timestamp::now().to_string() >= soon);
}

#[tokio::test]
async fn what_is_given_is_checked() {
    let app = TestApp::start().await;
    let good = json!({ "name": "n", "roleId": "administrator" });
    let entry = "must be an IP address or CIDR block";
    let own = "affiliateIDs must have at least one affiliate for a role with buckets:view-own and without buckets:view-all";
    for (field, value, message) in [
        ("name", json!(null), "name must be a string of 1 to 128 characters".to_owned()),
        ("name", json!(" "), "name must be a string of 1 to 128 characters".into()),
        ("name", json!("x".repeat(129)), "name must be a string of 1 to 128 characters".into()),
        ("roleId", json!("nobody"), "roleId must be the id of a role".into()),
        ("roleId", json!("partner"), own.into()),
        ("expiresAt", json!("soon"), "expiresAt must be an ISO 8601 date-time from 1970 to 2286".into()),
        ("expiresAt", json!("2001-01-01T00:00:00Z"), "expiresAt must be in the future".into()),
        ("whitelist", json!(["127.0.0.1", "localhost"]), format!("whitelist[1] {entry}")),
        ("whitelist", json!(["10.0.0.0/33"]), format!("whitelist[0] {entry}")),
        ("whitelist", json!(["10.0.0.256"]), format!("whitelist[0] {entry}")),
        ("whitelist", json!([""]), format!("whitelist[0] {entry}")),
        ("whitelist", json!(vec!["10.0.0.1"; 101]), "whitelist must have at most 100 entries".into()),
        ("token", json!("wbcs_mine"), "token is not a known field".into()),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = call(&app, "POST", TOKENS, body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        let shown = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(shown == message || (field == "name" && shown.starts_with("name must ")), "{body}: {shown}");
    }
    app.assert_reads_json(app.administrator(), "POST", TOKENS).await;
    let both = json!({ "name": "Both", "permissions": ["buckets:view-own", "buckets:view-all"] });
    let both = call(&app, "POST", "/api/admin/roles", both).await.json();
    create(&app, json!({ "name": "n", "roleId": both["id"] })).await;
    // Nothing of what was refused is there.
    assert_eq!(app.walk(app.administrator(), TOKENS, 100).await.len(), 2);
}

#[tokio::test]
async fn only_the_whitelist_can_be_changed() {
    let app = TestApp::start().await;
    let created = create(&app, json!({ "name": "n", "roleId": "sign-up", "affiliateIDs": ["A"] })).await;
    let path = path_of(&created);
    for field in
        ["name", "roleId", "expiresAt", "affiliateIDs", "id", "hint", "token", "createdDate", "surprise"]
    {
        let body = json!({ "whitelist": ["10.0.0.1"], field: "x" });
        let message = format!("{field} cannot be changed: only the whitelist of a token can be changed");
        call(&app, "PATCH", &path, body).await.assert_error(400, &message);
    }
    for body in [json!({}), json!({ "whitelist": null }), json!({ "whitelist": "10.0.0.1" })] {
        assert_eq!(call(&app, "PATCH", &path, body).await.status, 400);
    }
    call(&app, "PATCH", &path, json!({ "whitelist": ["10.0.0.1/8/8"] }))
        .await
        .assert_error(400, "whitelist[0] must be an IP address or CIDR block");
    let mut expected = created.clone();
    expected.as_object_mut().unwrap().remove("token");
    assert_eq!(call(&app, "GET", &path, Value::Null).await.json(), expected);
    // The body is looked at before the token is looked up.
    let nobody = format!("{TOKENS}/{}", "0".repeat(32));
    assert_eq!(call(&app, "PATCH", &nobody, json!({ "name": "x" })).await.status, 400);
    for id in ["0".repeat(32), "x".into(), "%00".into(), "a".repeat(3000)] {
        let path = format!("{TOKENS}/{id}");
        call(&app, "PATCH", &path, json!({ "whitelist": [] }))
            .await
            .assert_error(404, "There is no such token");
        call(&app, "GET", &path, Value::Null).await.assert_error(404, "There is no such token");
    }
}

#[tokio::test]
async fn every_call_needs_the_permission() {
    let app = TestApp::start().await;
    let created = create(&app, json!({ "name": "n", "roleId": "sign-up" })).await;
    let path = path_of(&created);
    app.assert_needs(
        &[Permission::SecurityManage],
        &[
            ("GET", TOKENS, None),
            ("POST", TOKENS, Some(json!({ "name": "n", "roleId": "sign-up" }))),
            ("GET", &path, None),
            ("PATCH", &path, Some(json!({ "whitelist": [] }))),
            ("DELETE", &path, None),
            ("GET", "/api/admin/tokens/nobody", None),
            ("GET", "/api/admin/tokens?limit=nonsense", None),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_are_newest_first_and_read_page_by_page() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for number in 0..25 {
        let created = create(&app, json!({ "name": format!("Token {number}"), "roleId": "sign-up" })).await;
        ids.push(text(&created, "id").to_owned());
    }
    for limit in [1, 7, 26, 1000] {
        let listed = app.walk(app.administrator(), TOKENS, limit).await;
        let dates: Vec<_> = listed.iter().map(|token| text(token, "createdDate")).collect();
        assert!(dates.is_sorted_by(|one, other| one >= other), "{dates:?}");
        let listed: BTreeSet<_> = listed[..25].iter().map(|token| text(token, "id").to_owned()).collect();
        assert_eq!(listed, ids.iter().cloned().collect(), "limit {limit}");
    }
    let first = call(&app, "GET", "/api/admin/tokens?limit=7", Value::Null).await.json();
    let cursor = text(&first, "nextCursor").to_owned();
    let other_list = call(&app, "GET", "/api/admin/roles?limit=1", Value::Null).await.json();
    let bad = "cursor must be the nextCursor of an answer to the same list and filters";
    for damaged in [
        text(&other_list, "nextCursor"),
        &cursor[..cursor.len() - 1],
        &format!("A{cursor}"),
        "x",
        &"é".repeat(9),
    ] {
        let path = format!("{TOKENS}?cursor={}", tests::encoded(damaged));
        call(&app, "GET", &path, Value::Null).await.assert_error(400, bad);
    }
    for (query, message) in [
        ("limit=0", "limit must be an integer from 1 to 1000"),
        ("limit=1001", "limit must be an integer from 1 to 1000"),
        ("limit=-1", "limit must be an integer from 1 to 1000"),
        ("limit=%2B5", "limit must be an integer from 1 to 1000"),
        ("limit=5&limit=6", "limit must be given once"),
        ("offset=5", "offset is not a known parameter"),
    ] {
        call(&app, "GET", &format!("{TOKENS}?{query}"), Value::Null).await.assert_error(400, message);
    }
    // A token that is deleted between two pages takes no other with it.
    call(&app, "DELETE", &path_of(&first["items"][6]), Value::Null).await.assert(204, "");
    let rest = call(&app, "GET", &format!("{TOKENS}?limit=1000&cursor={cursor}"), Value::Null).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 26 - 7);
}

#[tokio::test]
async fn no_edit_is_lost() {
    let app = TestApp::start().await;
    let created = create(&app, json!({ "name": "n", "roleId": "sign-up" })).await;
    let path = path_of(&created);
    let tag = call(&app, "GET", &path, Value::Null).await.header("etag").unwrap().to_owned();
    let patch = async |tag: &str, address: &str| {
        let body = Some(json!({ "whitelist": [address] }).to_string());
        app.admin_with(app.administrator(), "PATCH", &path, &[("if-match", tag)], body).await
    };
    let edits: Vec<_> = (1..=16).map(|number| format!("10.0.0.{number}")).collect();
    let answers = join_all(edits.iter().map(|address| patch(&tag, address))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let outdated = "The record was changed by another request: read it again, then change it";
    answers
        .iter()
        .filter(|answer| answer.status != 200)
        .for_each(|answer| answer.assert_error(409, outdated));
    let shown = call(&app, "GET", &path, Value::Null).await;
    assert_eq!((shown.text.as_str(), shown.header("etag")), (won[0].text.as_str(), won[0].header("etag")));
    patch(&tag, "10.0.0.99").await.assert_error(409, outdated);
    assert_eq!(patch(shown.header("etag").unwrap(), "10.0.0.99").await.status, 200);
    assert_eq!(patch("*", "10.0.0.98").await.status, 200);
    let delete = app.admin_with(app.administrator(), "DELETE", &path, &[("if-match", &tag)], None).await;
    delete.assert_error(409, outdated);
    // The same where the change comes after the look; one that names no state is deleted in any.
    let id = TokenId::parse(path.rsplit('/').next().unwrap()).unwrap();
    let read = app.store().token_by_id(&id).await.unwrap().unwrap();
    assert_eq!(patch("*", "10.0.0.97").await.status, 200);
    assert!(!app.store().delete_token(&read.value, Some(&read.version)).await.unwrap());
    assert!(app.store().token_by_id(&id).await.unwrap().is_some());

    // Without If-Match as well: each that succeeds is based on the state before it.
    let plain =
        async |address: &String| call(&app, "PATCH", &path, json!({ "whitelist": [address] })).await.status;
    let statuses = join_all(edits.iter().map(plain)).await;
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 409].contains(status)),
        "{statuses:?}"
    );

    let delete = async |_| call(&app, "DELETE", &path, Value::Null).await.status;
    let statuses = join_all((0..16).map(delete)).await;
    assert!(
        statuses.contains(&204) && statuses.iter().all(|status| [204, 404].contains(status)),
        "{statuses:?}"
    );
    app.assert_consistent().await;
}

#[tokio::test]
async fn uses_are_noted_seldom_and_beside_the_request() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    let created = create(&app, json!({ "name": "n", "roleId": "administrator" })).await;
    let token = text(&created, "token");
    let shown = async || call(&app, "GET", &path_of(&created), Value::Null).await.json();
    assert_eq!(shown().await["lastUsedDate"], Value::Null);
    let before = Timestamp::now().to_string();
    assert!(works(&app, token).await);
    eventually(|| async { shown().await["lastUsedDate"].is_string() }).await;
    let used = shown().await["lastUsedDate"].clone();
    assert!(used.as_str().unwrap() >= before.as_str(), "{used}");
    let (_, measured) = proxy
        .measure(async {
            for _ in 0..20 {
                assert!(works(&app, token).await);
            }
        })
        .await;
    assert_eq!(measured.beside.len(), 0, "{:?}", measured.beside);
    assert_eq!(shown().await["lastUsedDate"], used);
    drop(app);
    dynamodb.stop().await;
}

#[tokio::test]
async fn an_operator_sees_why_a_token_was_refused() {
    let app = TestApp::start().await;
    let refused = async |spec: TokenSpec, path: &str, affiliate: &str| {
        let (token, id) = app.token_and_id(spec).await;
        app.post(path, &[("authorization", &token)], "{}").await.assert(401, UNAUTHORIZED);
        let path = format!("{TOKENS}/{id}");
        let shown = async || call(&app, "GET", &path, Value::Null).await.json()["lastRefused"].clone();
        eventually(|| async { !shown().await.as_array().unwrap().is_empty() }).await;
        let attempts = shown().await;
        assert_eq!(attempts.as_array().unwrap().len(), 1, "{affiliate}: {attempts}");
        assert_eq!(attempts[0]["address"], "127.0.0.1");
        assert!(attempts[0]["date"].as_str().unwrap() <= Timestamp::now().to_string().as_str());
        attempts[0]["reason"].as_str().unwrap().to_owned()
    };
    let own = || TokenSpec {
        permissions: vec![Permission::BucketsViewOwn],
        affiliates: vec!["A".into()],
        ..TokenSpec::default()
    };
    let leads = "/api/public/buckets/b/A/leads";
    let mut reasons = BTreeSet::new();
    let elsewhere = TokenSpec { whitelist: vec!["192.0.2.1".into()], ..own() };
    reasons.insert(refused(elsewhere, leads, "A").await);
    reasons.insert(refused(TokenSpec { expires_at: Some(1), ..own() }, leads, "A").await);
    reasons.insert(
        refused(TokenSpec { permissions: vec![Permission::ClientsCreate], ..own() }, leads, "A").await,
    );
    reasons.insert(refused(own(), "/api/public/buckets/b/B/leads", "B").await);
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    // Tokens that do not exist leave nothing behind.
    let unknown = Token::generate().unwrap();
    app.post(leads, &[("authorization", unknown.expose())], "{}").await.assert(401, UNAUTHORIZED);
    let id = unknown.digest().token_id();
    assert!(app.store().activity([&id]).await.unwrap()[&id].refused.is_empty());
}

/// The role cannot be deleted by the API as long as a token has it; a table can be edited.
#[tokio::test]
async fn a_token_whose_role_is_gone_is_deleted_all_the_same() {
    let app = TestApp::start().await;
    let role = json!({ "name": "Gone", "permissions": ["buckets:view-all"] });
    let role = call(&app, "POST", "/api/admin/roles", role).await.json();
    let created = create(&app, json!({ "name": "n", "roleId": role["id"] })).await;
    let store = app.store();
    let delete = store.sdk().delete_item().table_name(&store.tables().roles);
    let delete = delete.key("pk", AttributeValue::S("role".into()));
    delete.key("id", AttributeValue::S(text(&role, "id").to_owned())).send().await.unwrap();
    assert_eq!(call(&app, "DELETE", &path_of(&created), Value::Null).await.status, 204);
    assert_eq!(call(&app, "GET", &path_of(&created), Value::Null).await.status, 404);
    assert!(!works(&app, text(&created, "token")).await);
    app.assert_consistent().await;
}
