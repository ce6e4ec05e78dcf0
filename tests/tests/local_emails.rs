//! `GET /local/emails` and what its items lead to: the outbox of the local stack, for the console.

use hyper::Method;
use mail_parser::MessageParser;
use serde_json::{Value, json};
use shared::model::Permission;
use std::collections::BTreeSet;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED, eventually};

const LIST: &str = "/local/emails";

async fn get(app: &TestApp, path: &str) -> Answer {
    app.send(Method::GET, path, &[], "").await
}

/// Signs a client up, and waits for its email.
async fn mailed(app: &TestApp, email: &str, first_name: &str, affiliate: Option<&str>) -> String {
    let key = app.sign_up_key(&[]).await;
    let body = json!({ "email": email, "phone": "+1234567890", "firstName": first_name, "affiliateID": affiliate,
        "sendEmail": true });
    let id = app.signed_up(&key, &body).await;
    let path = app.stack.outbox.directory().join(format!("{id}.eml"));
    eventually(|| async { path.exists() }).await;
    id
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

async fn listed(app: &TestApp, token: &str) -> Vec<Value> {
    let answer = app.admin(token, "GET", LIST, None).await;
    answer.assert_ok();
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["nextCursor"], Value::Null);
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_listed_shown_and_downloaded() {
    let app = TestApp::start().await;
    assert_eq!(listed(&app, app.administrator()).await, [Value::Null; 0]);
    let id = mailed(&app, "jane@example.com", "Jane", None).await;
    let items = listed(&app, app.administrator()).await;
    let item = &items[0];
    assert_eq!((items.len(), &item["id"], &item["clientId"]), (1, &json!(id), &json!(id)));
    assert_eq!(item["from"], "WBCS <no-reply@example.com>");
    assert_eq!(item["to"], "jane@example.com");
    assert_eq!(item["subject"], "Welcome to WBCS");
    let text = item["text"].as_str().unwrap();
    assert!(text.starts_with("Hello Jane,\n\nWelcome to WBCS.") && !text.contains('\r'), "{text:?}");
    let date = item["date"].as_str().unwrap();
    assert!(date.len() == 24 && date.ends_with('Z'), "{date}");
    assert_eq!(item.as_object().unwrap().len(), 9);

    let view = get(&app, item["view"].as_str().unwrap()).await;
    view.assert_ok();
    assert!(view.text.contains("Welcome, Jane</td>"), "{}", view.text);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        (
            "content-security-policy",
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
        ),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(view.header(name), Some(value), "{name}");
    }

    let file = get(&app, item["file"].as_str().unwrap()).await;
    file.assert_ok();
    let written = std::fs::read(app.stack.outbox.directory().join(format!("{id}.eml"))).unwrap();
    assert_eq!(file.text.as_bytes(), written);
    assert_eq!(file.header("content-type"), Some("message/rfc822"));
    let disposition = format!("attachment; filename=\"{id}.eml\"");
    assert_eq!(file.header("content-disposition"), Some(disposition.as_str()));
    assert_eq!(file.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_needs_a_token_that_views_clients() {
    let app = TestApp::start().await;
    app.assert_needs(&[Permission::ClientsView], &[("GET", LIST, None)]).await;
    let refused = get(&app, LIST).await;
    refused.assert(401, UNAUTHORIZED);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    app.admin(app.administrator(), "GET", "/local/emails?page=2", None)
        .await
        .assert_error(400, "page is not a known parameter");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_leads_to_needs_its_key_and_nothing_else_is_there() {
    let (app, other) = tokio::join!(TestApp::start(), TestApp::start());
    let id = mailed(&app, "jane@example.com", "Jane", None).await;
    mailed(&other, "jane@example.com", "Jane", None).await;
    let key_of = async |app: &TestApp| {
        let items = listed(app, app.administrator()).await;
        let view = items[0]["view"].as_str().unwrap();
        view.split('/').nth(3).unwrap().to_owned()
    };
    let (key, others) = (key_of(&app).await, key_of(&other).await);
    assert!(key.len() == 22 && key != others, "{key} {others}");
    // Beside the outbox, where a path might lead.
    std::fs::write(app.directory.path().join("secret.eml"), "Subject: x\r\n\r\nx").unwrap();
    std::fs::write(app.stack.outbox.directory().join("odd name.eml"), "Subject: x\r\n\r\nx").unwrap();
    std::fs::write(app.stack.outbox.directory().join("notes.txt"), "x").unwrap();
    assert_eq!(ids(&listed(&app, app.administrator()).await), [id.as_str()]);

    get(&app, &format!("{LIST}/{key}/{id}/html")).await.assert_ok();
    let wrong =
        [others.clone(), format!("{key}A"), key[..21].to_owned(), key.to_lowercase() + "x", "%00".into()];
    let of_wrong_keys =
        wrong.iter().flat_map(|wrong| [format!("{wrong}/{id}/html"), format!("{wrong}/{id}.eml")]);
    let names =
        ["nobody", "..%2fsecret", "..%2foutbox%2fodd name", "odd%20name", "%2e%2e%2fsecret", "notes", "%00"];
    let of_wrong_ids = names.map(|name| name.replace(' ', "%20"));
    let of_wrong_ids =
        of_wrong_ids.iter().flat_map(|name| [format!("{key}/{name}/html"), format!("{key}/{name}.eml")]);
    let others = [
        format!("{key}/{id}"),
        format!("{key}/{id}.txt"),
        format!("{key}/{id}.eml.eml"),
        format!("{key}/.eml"),
    ];
    for path in of_wrong_keys.chain(of_wrong_ids).chain(others) {
        let answer = get(&app, &format!("{LIST}/{path}")).await;
        answer.assert_error(404, "There is no such email");
        assert_eq!(answer.header("content-security-policy"), None);
    }
    for path in ["/local", "/local/", "/local/emails/", "/local/emails/x", "/local/emails/x/y/z"] {
        get(&app, path).await.assert(404, r#"{"message":"Not Found"}"#);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_come_first_page_by_page() {
    let app = TestApp::start().await;
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.insert(0, mailed(&app, &format!("c{number}@example.com"), "Jane", None).await);
        // The order is by moments of a millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for limit in [1, 2, 3, 5, 100] {
        let items = app.walk(app.administrator(), LIST, limit).await;
        assert_eq!(ids(&items), expected, "{limit}");
    }
    // What comes meanwhile changes nothing of the pages behind.
    let first = app.admin(app.administrator(), "GET", "/local/emails?limit=2", None).await.json();
    let newest = mailed(&app, "c5@example.com", "Jane", None).await;
    let next = format!("/local/emails?limit=100&cursor={}", first["nextCursor"].as_str().unwrap());
    let second = app.admin(app.administrator(), "GET", &next, None).await.json();
    assert_eq!(ids(second["items"].as_array().unwrap()), expected[2..]);
    assert_eq!(ids(&listed(&app, app.administrator()).await)[0], newest);
    for (query, message) in [
        ("limit=0", "limit must be an integer from 1 to 1000"),
        ("cursor=x", "cursor must be the nextCursor of an answer to the same list and filters"),
    ] {
        let answer = app.admin(app.administrator(), "GET", &format!("{LIST}?{query}"), None).await;
        answer.assert_error(400, message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_affiliates_sees_the_emails_of_their_clients() {
    let app = TestApp::start().await;
    let mut own = BTreeSet::new();
    for (number, affiliate) in
        [Some("A"), None, Some("B"), Some("A"), Some("B"), Some("C")].into_iter().enumerate()
    {
        let id = mailed(&app, &format!("c{number}@example.com"), "Jane", affiliate).await;
        if affiliate == Some("A") || affiliate == Some("C") {
            own.insert(id);
        }
    }
    // Of a client that there is none of.
    std::fs::write(app.stack.outbox.directory().join("nobody.eml"), "Subject: x\r\n\r\nx").unwrap();
    let affiliates = vec!["A".to_owned(), "C".to_owned()];
    let spec = TokenSpec { permissions: vec![Permission::ClientsView], affiliates, ..TokenSpec::default() };
    let token = app.token(spec).await;
    for limit in [1, 2, 100] {
        let items = app.walk(&token, LIST, limit).await;
        assert_eq!(ids(&items).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), own, "{limit}");
        assert_eq!(items.len(), own.len());
    }
    assert_eq!(listed(&app, app.administrator()).await.len(), 7);
}

/// Whoever signs a client up chooses its name.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_text() {
    const NAME: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    let app = TestApp::start().await;
    let id = mailed(&app, "jane@example.com", NAME, None).await;
    let items = listed(&app, app.administrator()).await;
    let view = get(&app, items[0]["view"].as_str().unwrap()).await.text;
    assert!(!view.contains("<script") && !view.contains("<img"), "{view}");

    // An email that another program put there: its markup is left as it is, and can do nothing.
    let message = "From: \"</script><b>\" <a@b.example>\r\nTo: c@d.example, \"E\" <e@f.example>\r\n\
                   Subject: =?utf-8?B?PC9zY3JpcHQ+PGI+4oKs?=\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
                   <script>parent.stolen = 1</script><p>Hi</p>";
    std::fs::write(app.stack.outbox.directory().join("strange.eml"), message).unwrap();
    let answer = app.admin(app.administrator(), "GET", LIST, None).await.json();
    let strange = answer["items"].as_array().unwrap().iter().find(|item| item["id"] == "strange").unwrap();
    assert_eq!(strange["subject"], "</script><b>€");
    assert_eq!(strange["from"], "</script><b> <a@b.example>");
    assert_eq!(strange["to"], "c@d.example, E <e@f.example>");
    let view = get(&app, strange["view"].as_str().unwrap()).await;
    assert!(view.header("content-security-policy").unwrap().starts_with("sandbox; default-src 'none'"));

    // One that is of no use is listed without what it does not have.
    std::fs::write(app.stack.outbox.directory().join("empty.eml"), "").unwrap();
    let known = listed(&app, app.administrator()).await;
    assert!(known.iter().any(|item| item["id"] == json!(id)), "{known:?}");
    let file = get(&app, items[0]["file"].as_str().unwrap()).await;
    assert!(MessageParser::new().parse(file.text.as_bytes()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_sends_its_emails_has_no_list() {
    let app = TestApp::start_set(&[("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9")]).await;
    let answer = app.send(Method::GET, LIST, &[("authorization", app.administrator())], "").await;
    answer.assert(404, r#"{"message":"Not Found"}"#);
}
