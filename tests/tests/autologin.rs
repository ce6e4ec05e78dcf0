//! `GET`, `HEAD`, `POST /autologin/{link+}` (CONTRACT.md, sections 3 and 4).

use futures_util::future::join_all;
use hyper::Method;
use serde_json::json;
use shared::model::ClientId;
use shared::secret::{Link, SessionKey};
use shared::store::{NewLink, NewSession};
use tests::dynamodb::Dynamodb;
use tests::proxy::Fault::{Conflict, WrittenThenConflict, WrittenThenServerError};
use tests::proxy::Proxy;
use tests::sessions::{self, ME, link_record, moment, now, path, session_record};
use tests::{Answer, TestApp};

const GONE: &str = "This link no longer works";

/// What each of these answers has, whatever it says.
#[track_caller]
fn assert_private(answer: &Answer) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
}

#[track_caller]
fn assert_page(answer: &Answer, status: u16, title: &str) {
    assert_private(answer);
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text.contains(&format!("<title>{title}</title>")), "{answer:?}");
    let policy = answer.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

async fn get(app: &TestApp, url: &str) -> Answer {
    app.send(Method::GET, path(url), &[], "").await
}

async fn post(app: &TestApp, url: &str) -> Answer {
    app.send(Method::POST, path(url), &[], "").await
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let app = TestApp::start_set(&[]).await;
    let (id, url) = app.signed_up_with_link("user@example.com").await;
    let base = &app.stack.credentials.base_url;
    assert!(url.starts_with(&format!("{base}/autologin/")) && url.ends_with('/'), "{url}");

    let page = get(&app, &url).await;
    assert_page(&page, 200, "Signing you in");
    assert!(page.text.contains("<form method=\"post\"><button type=\"submit\">Continue</button></form>"));
    let link = path(&url).trim_start_matches("/autologin/").trim_end_matches('/');
    assert!(!page.text.contains(link), "the page does not hold the link");

    let signed_in = post(&app, &url).await;
    assert_private(&signed_in);
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/tradersroom")));
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{cookie}");
    let me = app.with_cookie(Method::GET, ME, cookie).await;
    assert_eq!(me.json()["id"], id.as_str());

    assert_page(&get(&app, &url).await, 410, GONE);
    let again = post(&app, &url).await;
    assert_page(&again, 410, GONE);
    assert_eq!(again.header("set-cookie"), None);
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_last_slash_may_be_left_out() {
    let app = TestApp::start_set(&[]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    let url = url.trim_end_matches('/');
    assert_page(&get(&app, url).await, 200, "Signing you in");
    assert_eq!(post(&app, url).await.status, 303);
}

#[tokio::test]
async fn scanners_do_not_use_a_link_up() {
    let app = TestApp::start_set(&[]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    for _ in 0..50 {
        let head = app.send(Method::HEAD, path(&url), &[], "").await;
        assert_private(&head);
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(get(&app, &url).await.status, 200);
    }
    assert_eq!(post(&app, &url).await.status, 303);
    assert_eq!(app.send(Method::HEAD, path(&url), &[], "").await.status, 410);
}

#[tokio::test]
async fn of_32_simultaneous_posts_one_signs_in() {
    let app = TestApp::start_set(&[]).await;
    for round in 0..5 {
        let (_, url) = app.signed_up_with_link(&format!("user{round}@example.com")).await;
        let answers = join_all((0..32).map(|_| post(&app, &url))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(303), count(410)), (1, 31));
        assert_eq!(answers.iter().filter(|answer| answer.header("set-cookie").is_some()).count(), 1);
    }
    app.assert_consistent().await;
}

#[tokio::test]
async fn expired_used_unknown_and_malformed_links_are_answered_alike() {
    let app = TestApp::start_set(&[]).await;
    let (_, used) = app.signed_up_with_link("used@example.com").await;
    app.signed_in(&used).await;
    let (_, expired) = app.signed_up_with_link("expired@example.com").await;
    let record = app.record(&link_record(&expired)).await.unwrap();
    let left = moment(&record, "expiresAt") - now();
    assert!((541..=601).contains(&left), "{left}");
    app.set_record(&link_record(&expired), "expiresAt", now() - 1).await;

    let mut bodies = Vec::new();
    for url in [
        &used,
        &expired,
        "/autologin/00000000-0000-4000-8000-000000000000/",
        "/autologin/x",
        "/autologin/x/y/z",
        "/autologin/%00%ff%22%3Cscript%3E/",
        &format!("/autologin/{}", "a".repeat(4000)),
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = app.send(method, path(url), &[], "").await;
            assert_page(&answer, 410, GONE);
            assert_eq!(answer.header("set-cookie"), None);
            bodies.push(answer.text);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert!(app.record(&link_record(&expired)).await.is_some(), "left to the table's time to live");
}

#[tokio::test]
async fn the_lifetime_is_the_parameters() {
    let app = TestApp::start_set(&[("AUTOLOGIN_LIFETIME", "1")]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    tests::eventually(|| async { get(&app, &url).await.status == 410 }).await;
    assert_page(&post(&app, &url).await, 410, GONE);
}

#[tokio::test]
async fn the_origin_is_one_of_the_configured() {
    let origins = "https://trade.example.com,https://other.example.com:8443";
    let app = TestApp::start_set(&[("ORIGINS", origins)]).await;
    let key = app.sign_up_key(&[]).await;
    for (number, (origin, expected)) in [
        ("https://trade.example.com", "https://trade.example.com"),
        ("https://other.example.com:8443", "https://other.example.com:8443"),
        ("HTTPS://Other.Example.com:8443", "https://other.example.com:8443"),
        ("https://evil.example", "https://trade.example.com"),
        ("https://other.example.com:8443.evil.example", "https://trade.example.com"),
        ("https://other.example.com", "https://trade.example.com"),
        ("null", "https://trade.example.com"),
        ("", "https://trade.example.com"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({ "email": format!("u{number}@example.com"), "phone": "12345", "firstName": "A" });
        let headers = [("x-api-key", key.as_str()), ("origin", origin)];
        let answer = app.post("/tradersroom/api/auth/signup", &headers, body.to_string()).await;
        let url = answer.json()["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&format!("{expected}/autologin/")), "{origin}: {url}");
    }
}

#[tokio::test]
async fn no_origin_no_link() {
    let app = TestApp::start_set(&[("ORIGINS", "")]).await;
    let id = app
        .signed_up(
            &app.sign_up_key(&[]).await,
            &json!({ "email": "u@example.com", "phone": "12345", "firstName": "A" }),
        )
        .await;
    let answer = app
        .sign_up_once(
            &app.sign_up_key(&[]).await,
            "k",
            &json!({ "email": "v@example.com", "phone": "12345", "firstName": "A" }),
        )
        .await;
    assert_eq!(answer.json().as_object().unwrap().len(), 1);
    assert_ne!(answer.json()["id"], id.as_str());
}

#[tokio::test]
async fn a_replayed_sign_up_gets_a_link_that_works() {
    let app = TestApp::start_set(&[]).await;
    let key = app.sign_up_key(&[]).await;
    let body = json!({ "email": "user@example.com", "phone": "12345", "firstName": "A" });
    let first = app.sign_up_once(&key, "k", &body).await;
    let again = app.sign_up_once(&key, "k", &body).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.json()["id"], again.json()["id"]);
    let urls = [&first, &again].map(|answer| answer.json()["url"].as_str().unwrap().to_owned());
    assert_ne!(urls[0], urls[1]);
    for url in &urls {
        let cookie = app.signed_in(url).await;
        let me = app.with_cookie(Method::GET, ME, &cookie).await;
        assert_eq!(me.json()["id"], first.json()["id"]);
    }
    app.assert_consistent().await;
}

/// An attempt to store a link may arrive when a later one was answered, and the link followed.
#[tokio::test]
async fn a_used_link_is_not_brought_back_by_a_late_attempt_to_store_it() {
    let app = TestApp::start_set(&[]).await;
    let (id, url) = app.signed_up_with_link("user@example.com").await;
    let (store, client) = (&app.stack.store, ClientId::new(&id));
    let link = NewLink { digest: Link::generate().unwrap().digest(), lifetime: 600 };
    let session = |key: SessionKey| NewSession { digest: key.digest(), idle_lifetime: 60, lifetime: 60 };
    for _ in 0..2 {
        store.create_link(&link, &client).await.unwrap();
        assert_eq!(store.link(&link.digest).await.unwrap(), Some(client.clone()));
    }
    let first = session(SessionKey::generate().unwrap());
    assert_eq!(store.use_link(&link.digest, &first).await.unwrap(), Some(client.clone()));
    store.create_link(&link, &client).await.unwrap();
    assert_eq!(store.link(&link.digest).await.unwrap(), None);
    let second = session(SessionKey::generate().unwrap());
    assert_eq!(store.use_link(&link.digest, &second).await.unwrap(), None);
    assert_eq!(store.session(&second.digest).await.unwrap(), None);
    app.signed_in(&url).await;
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_refused_sign_up_leaves_no_link() {
    let app = TestApp::start_set(&[]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    app.signed_in(&url).await;
    let key = app.sign_up_key(&[]).await;
    let body = json!({ "email": "USER@example.com", "phone": "12345", "firstName": "A" });
    app.sign_up(&key, &body).await.assert_provider_error(400, "User with this email already exists");
    assert_eq!(app.stored_text().await.matches("\"L#").count(), 1, "the first one's, used up");
}

#[tokio::test]
async fn lost_answers_and_conflicts_neither_lose_nor_double_a_sign_in() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on_set(proxy.endpoint(), &[]).await;
    let faults = [
        vec![Conflict],
        vec![WrittenThenServerError],
        vec![WrittenThenConflict],
        vec![Conflict, Conflict, WrittenThenServerError],
    ];
    for (number, faults) in faults.into_iter().enumerate() {
        proxy.fail_transactions(faults.clone());
        let (id, url) = app.signed_up_with_link(&format!("u{number}@example.com")).await;
        assert_eq!(proxy.faults_left(), 0);
        proxy.fail_transactions(faults);
        let cookie = app.signed_in(&url).await;
        assert_eq!(proxy.faults_left(), 0);
        let me = app.with_cookie(Method::GET, ME, &cookie).await;
        assert_eq!(me.json()["id"], id.as_str());
        assert_eq!(post(&app, &url).await.status, 410);
    }
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

#[tokio::test]
async fn another_traders_room_is_led_to() {
    let room = "https://trade.example.com/welcome?from=autologin";
    let app = TestApp::start_set(&[("TRADERS_ROOM_URL", room)]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    let page = get(&app, &url).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("form-action 'self' https://trade.example.com;"), "{policy}");
    let signed_in = post(&app, &url).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some(room)));
}

#[tokio::test]
async fn only_digests_are_stored() {
    let app = TestApp::start_set(&[]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    let (_, unused) = app.signed_up_with_link("other@example.com").await;
    let cookie = app.signed_in(&url).await;
    let stored = app.stored_text().await;
    assert!(stored.contains(&link_record(&unused)) && stored.contains(&session_record(&cookie)));
    let key = sessions::pair(&cookie).split_once('=').unwrap().1;
    for secret in [path(&url), path(&unused)].map(|path| path.split('/').nth(2).unwrap()).iter().chain([&key])
    {
        assert!(!stored.contains(secret), "{secret}");
    }
}
