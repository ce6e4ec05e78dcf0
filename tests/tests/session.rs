//! `GET /tradersroom/api/auth/me`, `POST /tradersroom/api/auth/logout`, `GET /tradersroom`, `GET /tradersroom/{page+}`
//! (CONTRACT.md, section 4).

use hyper::Method;
use serde_json::{Value, json};
use shared::secret::SessionKey;
use tests::sessions::{LOGOUT, ME, ROOM, moment, now, pair, session_record};
use tests::{Answer, TestApp};

#[track_caller]
fn assert_signed_out(answer: &Answer) {
    answer.assert_provider_error(401, "Not signed in");
}

/// A signed-in client: the app, the client's id, the cookie.
async fn signed_in() -> (TestApp, String, String) {
    let app = TestApp::start_set(&[]).await;
    let (id, url) = app.signed_up_with_link("user@example.com").await;
    let cookie = app.signed_in(&url).await;
    (app, id, cookie)
}

#[tokio::test]
async fn me_is_the_clients_own_profile_and_nothing_of_the_platforms() {
    let app = TestApp::start_set(&[]).await;
    app.bucket("campaigns", "AFF-123", &["s"]).await;
    let key = app.sign_up_key(&[]).await;
    let body = json!({
        "email": "Jane.Doe@example.com", "phone": "+1 (234) 567-890", "firstName": "Jane", "lastName": "Doe",
        "dateOfBirth": "1990-01-31", "billing": { "country": "CY", "city": "Limassol" }, "affiliateID": "AFF-123",
        "sourceId": "s", "campaignId": "CMP", "manager": "boss", "desk": "sales", "meta": "secret note", "status": "hot",
        "verificationLevel": "2", "agreements": [{ "label": "T&C" }], "sendEmail": true,
    });
    let answer = app.sign_up(&key, &body).await.json();
    let cookie = app.signed_in(answer["url"].as_str().unwrap()).await;

    let me = app.with_cookie(Method::GET, ME, &cookie).await;
    me.assert_ok();
    assert_eq!(me.header("content-type"), Some("application/json"));
    assert_eq!(me.header("cache-control"), Some("no-store"));
    let mut profile = me.json();
    let created = profile.as_object_mut().unwrap().remove("createdDate").unwrap();
    assert!(created.as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "id": answer["id"], "email": "Jane.Doe@example.com", "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe",
        "dateOfBirth": "1990-01-31", "verificationLevel": "2", "billing": { "country": "CY", "city": "Limassol" },
    });
    assert_eq!(profile, expected);
}

#[tokio::test]
async fn without_a_session_there_is_nobody() {
    let (app, ..) = signed_in().await;
    let unknown = format!("wbcs-session={}", SessionKey::generate().unwrap().expose());
    let long = format!("wbcs-session={}", "a".repeat(5000));
    for cookie in ["a=b", "wbcs-session=", "wbcs-session=x", "=;;=", &long, &unknown] {
        assert_signed_out(&app.with_cookie(Method::GET, ME, cookie).await);
        let page = app.with_cookie(Method::GET, ROOM, cookie).await;
        page.assert_ok();
        assert!(page.text.contains("You are signed out"), "{page:?}");
        assert_eq!(app.with_cookie(Method::POST, LOGOUT, cookie).await.status, 204);
    }
    assert_signed_out(&app.send(Method::GET, ME, &[], "").await);
}

#[tokio::test]
async fn the_page_names_the_client_and_logging_out_ends_the_session_everywhere() {
    let (app, _, cookie) = signed_in().await;
    let page = app.with_cookie(Method::GET, ROOM, &cookie).await;
    page.assert_ok();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.text.contains("Welcome, Jane") && page.text.contains("Jane Doe"), "{page:?}");
    assert!(page.text.contains("user@example.com") && page.text.contains(LOGOUT), "{page:?}");

    let out = app.with_cookie(Method::POST, LOGOUT, &cookie).await;
    assert_eq!((out.status, out.text.as_str()), (204, ""));
    let ended = out.header("set-cookie").unwrap();
    assert_eq!(ended, "wbcs-session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    assert_eq!(app.record(&session_record(&cookie)).await, None);
    assert_signed_out(&app.with_cookie(Method::GET, ME, &cookie).await);
    assert_eq!(app.with_cookie(Method::POST, LOGOUT, &cookie).await.status, 204);
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_pages_own_form_comes_back_to_the_page() {
    let (app, _, cookie) = signed_in().await;
    // Browsers send no cookie along with a form of another site, and would take its answer's.
    let elsewhere = app.send(Method::POST, LOGOUT, &[("accept", "text/html")], "").await;
    assert_eq!((elsewhere.status, elsewhere.header("set-cookie")), (303, None));
    app.with_cookie(Method::GET, ME, &cookie).await.assert_ok();
    let headers = [("cookie", pair(&cookie)), ("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    let out = app.send(Method::POST, LOGOUT, &headers, "").await;
    assert_eq!((out.status, out.header("location")), (303, Some(ROOM)));
    assert_signed_out(&app.with_cookie(Method::GET, ME, &cookie).await);
}

#[tokio::test]
async fn sessions_of_one_client_are_apart() {
    let app = TestApp::start_set(&[]).await;
    let key = app.sign_up_key(&[]).await;
    let body = json!({ "email": "user@example.com", "phone": "12345", "firstName": "A" });
    let mut cookies = Vec::new();
    for _ in 0..2 {
        let answer = app.sign_up_once(&key, "k", &body).await.json();
        cookies.push(app.signed_in(answer["url"].as_str().unwrap()).await);
    }
    assert_ne!(cookies[0], cookies[1]);
    app.with_cookie(Method::POST, LOGOUT, &cookies[0]).await;
    assert_signed_out(&app.with_cookie(Method::GET, ME, &cookies[0]).await);
    app.with_cookie(Method::GET, ME, &cookies[1]).await.assert_ok();
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_and_is_kept_alive_by_use() {
    let (app, _, cookie) = signed_in().await;
    let pk = session_record(&cookie);
    let expiry = async || moment(&app.record(&pk).await.unwrap(), "expiresAt");
    let first = expiry().await;
    assert!((1740..=1800).contains(&(first - now())), "{}", first - now());

    // Used at once again: nothing is written.
    app.with_cookie(Method::GET, ME, &cookie).await.assert_ok();
    assert_eq!(expiry().await, first);
    app.set_record(&pk, "expiresAt", now() + 60).await;
    app.with_cookie(Method::GET, ME, &cookie).await.assert_ok();
    assert!(expiry().await >= first);
    app.set_record(&pk, "expiresAt", now() + 60).await;
    app.with_cookie(Method::GET, ROOM, &cookie).await.assert_ok();
    assert!(expiry().await >= first, "the page is use as well");

    app.set_record(&pk, "expiresAt", now()).await;
    assert_signed_out(&app.with_cookie(Method::GET, ME, &cookie).await);
    assert!(expiry().await <= now(), "it does not come back to life");
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_end_however_it_is_used() {
    let (app, _, cookie) = signed_in().await;
    let pk = session_record(&cookie);
    let ends = moment(&app.record(&pk).await.unwrap(), "endsAt");
    assert!((43_140..=43_200).contains(&(ends - now())));
    app.set_record(&pk, "endsAt", now() + 600).await;
    app.set_record(&pk, "expiresAt", now() + 60).await;
    app.with_cookie(Method::GET, ME, &cookie).await.assert_ok();
    let record = app.record(&pk).await.unwrap();
    assert_eq!(moment(&record, "expiresAt"), moment(&record, "endsAt"), "no longer than the session");
    app.set_record(&pk, "endsAt", now()).await;
    assert_signed_out(&app.with_cookie(Method::GET, ME, &cookie).await);
}

#[tokio::test]
async fn lifetimes_are_the_parameters() {
    let app = TestApp::start_set(&[("SESSION_IDLE_LIFETIME", "500"), ("SESSION_LIFETIME", "300")]).await;
    let (_, url) = app.signed_up_with_link("user@example.com").await;
    let cookie = app.signed_in(&url).await;
    let record = app.record(&session_record(&cookie)).await.unwrap();
    assert!((240..=300).contains(&(moment(&record, "expiresAt") - now())));
    assert_eq!(moment(&record, "expiresAt"), moment(&record, "endsAt"));
}

#[tokio::test]
async fn what_a_sign_up_gave_is_text_on_the_page() {
    let app = TestApp::start_set(&[]).await;
    let key = app.sign_up_key(&[]).await;
    let name = "<img src=x onerror=alert(1)>\u{202e}\"'&</title><script>";
    let body = json!({ "email": "a&b'c@example.com", "phone": "12345", "firstName": name, "lastName": "x".repeat(1024) });
    let answer = app.sign_up(&key, &body).await;
    let Value::String(url) = answer.json()["url"].clone() else { panic!("{answer:?}") };
    let cookie = app.signed_in(&url).await;
    let page = app.with_cookie(Method::GET, ROOM, &cookie).await;
    page.assert_ok();
    for markup in ["<img", "&b'c", "<script", "\u{202e}"] {
        assert!(!page.text.contains(markup), "{markup}");
    }
    assert!(page.text.contains("&lt;img src=x onerror=alert(1)&gt;"));
}

#[tokio::test]
async fn its_page_is_there_with_a_slash_too_and_there_is_no_other() {
    let (app, _, cookie) = signed_in().await;
    for path in [ROOM, "/tradersroom/"] {
        let page = app.with_cookie(Method::GET, path, &cookie).await;
        page.assert_ok();
        assert!(page.text.contains("You are signed in to the Traders Room."), "{path} {page:?}");
    }
    for path in ["/tradersroom/x", "/tradersroom//", "/tradersroom/api", "/tradersroom/api/auth/signup"] {
        let page = app.with_cookie(Method::GET, path, &cookie).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(
            page.text.contains("There is no such page") && !page.text.contains("signed in"),
            "{path} {page:?}"
        );
    }
}
