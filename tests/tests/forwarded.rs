//! What a caller writes of itself is not believed: its address is the one that was seen, and an origin is one of those
//! that are configured, whatever forwarding headers and hosts a request has.

use hyper::Method;
use serde_json::json;
use shared::model::Permission;
use std::collections::BTreeSet;
use tests::raw::exchange;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED, eventually};

const SEEN: &str = "127.0.0.1";
const WHITELISTED: &str = "203.0.113.7";
const EVIL: &str = "evil.example";

/// Headers by which proxies tell of addresses and hosts, with what would be worth a lie.
fn lies() -> Vec<Vec<(String, String)>> {
    let addresses = [
        WHITELISTED.to_owned(),
        format!("{WHITELISTED}, {SEEN}"),
        format!("{SEEN}, {WHITELISTED}"),
        format!("{WHITELISTED}:443"),
        format!("::ffff:{WHITELISTED}"),
        format!("\"[::ffff:{WHITELISTED}]\""),
        format!("for={WHITELISTED};host={EVIL};proto=https;by={WHITELISTED}"),
        format!("{WHITELISTED}\t"),
    ];
    let names = [
        "x-forwarded-for",
        "X-Real-IP",
        "forwarded",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "client-ip",
        "x-cluster-client-ip",
        "fastly-client-ip",
        "x-original-forwarded-for",
        "x-envoy-external-address",
        "x-amzn-source-ip",
        "x-forwarded",
        "forwarded-for",
        "via",
        "x-appengine-user-ip",
        "x-azure-clientip",
    ];
    let mut lies: Vec<Vec<(String, String)>> = Vec::new();
    for name in names {
        lies.extend(addresses.iter().map(|address| vec![(name.to_owned(), address.clone())]));
        // Repeated, and in another case.
        lies.push(vec![(name.to_owned(), SEEN.to_owned()), (name.to_uppercase(), WHITELISTED.to_owned())]);
    }
    let all = |value: &str| names.iter().map(|name| ((*name).to_owned(), value.to_owned())).collect();
    lies.push(all(WHITELISTED));
    let hosts =
        ["x-forwarded-host", "x-original-host", "x-host", "x-forwarded-server", "x-http-host-override"];
    for name in hosts {
        lies.push(vec![(name.to_owned(), EVIL.to_owned())]);
    }
    for (name, value) in [
        ("x-forwarded-proto", "javascript"),
        ("x-forwarded-proto", ""),
        ("x-forwarded-proto", "//"),
        ("x-forwarded-scheme", "ftp"),
        ("x-forwarded-port", "0"),
        ("x-forwarded-prefix", "//evil.example"),
        ("x-original-url", "/api/admin/tokens"),
        ("x-rewrite-url", "/api/admin/tokens"),
        ("x-http-method-override", "DELETE"),
        ("x-forwarded-uri", "/api/admin/tokens"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("referer", "http://evil.example/"),
        ("x-request-id", EVIL),
        ("x-amzn-trace-id", EVIL),
        ("x-amz-cf-id", EVIL),
        ("x-caller-address", WHITELISTED),
    ] {
        lies.push(vec![(name.to_owned(), value.to_owned())]);
    }
    lies
}

async fn send(
    app: &TestApp,
    method: &str,
    path: &str,
    own: &[(&str, &str)],
    lie: &[(String, String)],
    body: &str,
) -> Answer {
    let lie = lie.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers: Vec<_> = own.iter().copied().chain(lie).collect();
    let answer =
        app.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &headers, body.to_owned()).await;
    let whole = format!("{:?}{}", answer.headers, answer.text);
    assert!(!whole.contains(EVIL) && !whole.contains("javascript:"), "{headers:?}: {answer:?}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_the_one_that_was_seen() {
    let app = TestApp::start().await;
    let spec = |address: &str| TokenSpec {
        permissions: vec![Permission::BucketsViewAll],
        whitelist: vec![address.to_owned()],
        ..TokenSpec::default()
    };
    let (elsewhere, elsewhere_id) = app.token_and_id(spec(WHITELISTED)).await;
    let here = app.token(spec(SEEN)).await;
    let lies = lies();
    assert!(lies.len() > 170, "{}", lies.len());
    for lie in &lies {
        let refused = send(&app, "GET", "/api/public/token", &[("authorization", &elsewhere)], lie, "").await;
        refused.assert(401, UNAUTHORIZED);
        assert_eq!(refused.header("x-caller-address"), Some(SEEN), "{lie:?}");
        let accepted = send(&app, "GET", "/api/public/token", &[("authorization", &here)], lie, "").await;
        assert_eq!((accepted.status, &accepted.json()["address"]), (200, &json!(SEEN)), "{lie:?}");
    }
    // The operator is told the same.
    let path = format!("/api/admin/tokens/{elsewhere_id}");
    let noted =
        async || app.admin(app.administrator(), "GET", &path, None).await.json()["lastRefused"].clone();
    eventually(|| async {
        noted().await.as_array().is_some_and(|all| !all.is_empty()) || noted().await.is_object()
    })
    .await;
    let told = noted().await.to_string();
    assert!(told.contains(SEEN) && !told.contains(WHITELISTED), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_one_of_those_that_are_configured() {
    const ORIGINS: [&str; 2] = ["https://first.example.com", "https://second.example.com"];
    let app = TestApp::start_set(&[("ORIGINS", &ORIGINS.join(","))]).await;
    let key = app.sign_up_key(&[]).await;
    let mut number = 0;
    let mut url = async |own: &[(&str, &str)], lie: &[(String, String)]| {
        number += 1;
        let body =
            json!({ "email": format!("c{number}@example.com"), "phone": "+1234567890", "firstName": "Jane" });
        let headers: Vec<_> = [("x-api-key", key.as_str())].iter().chain(own).copied().collect();
        let answer =
            send(&app, "POST", "/tradersroom/api/auth/signup", &headers, lie, &body.to_string()).await;
        answer.assert_ok();
        answer.json()["url"].as_str().unwrap().to_owned()
    };
    let mut path = String::new();
    for lie in lies() {
        let url = url(&[], &lie).await;
        path = url.strip_prefix(ORIGINS[0]).unwrap_or_else(|| panic!("{lie:?}: {url}")).to_owned();
        assert!(path.starts_with("/autologin/"), "{lie:?}: {url}");
    }
    for (origin, expected) in [
        ("https://second.example.com", 1),
        ("HTTPS://SECOND.EXAMPLE.COM", 1),
        ("https://second.example.com.", 0),
        ("https://second.example.com.evil.example", 0),
        ("https://second.example.com:443", 0),
        ("http://second.example.com", 0),
        ("https://second.example.com/", 0),
        ("https://second.example.com, https://first.example.com", 0),
        ("https://user@second.example.com", 0),
        ("second.example.com", 0),
        ("https://second.example.com#", 0),
        ("*", 0),
    ] {
        assert!(
            url(&[("origin", origin)], &[]).await.starts_with(&format!("{}/autologin/", ORIGINS[expected])),
            "{origin}"
        );
    }
    for host in [EVIL, "second.example.com", "127.0.0.1:1", "localhost"] {
        assert!(url(&[("host", host)], &[]).await.starts_with(ORIGINS[0]), "{host}");
    }

    // Redirects lead to the Traders Room, whatever the request says.
    let everything: Vec<_> =
        lies().into_iter().flatten().filter(|(name, _)| !name.eq_ignore_ascii_case("origin")).collect();
    let mut seen = BTreeSet::new();
    let everything: Vec<_> =
        everything.into_iter().filter(|(name, _)| seen.insert(name.to_lowercase())).collect();
    let page = send(&app, "GET", &path, &[("host", EVIL)], &everything, "").await;
    assert!(page.status == 200 && !page.text.contains("http"), "{page:?}");
    let signed_in = send(&app, "POST", &path, &[("host", EVIL)], &everything, "").await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/tradersroom")));
    // Another host than this machine's gets the stricter cookie.
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure"), "{cookie}");
    let out = send(
        &app,
        "POST",
        "/tradersroom/api/auth/logout",
        &[("accept", "text/html"), ("host", EVIL)],
        &everything,
        "",
    )
    .await;
    assert_eq!((out.status, out.header("location")), (303, Some("/tradersroom")));
}

/// A header that is given twice is one that nobody gave: of two tokens, none.
#[tokio::test(flavor = "multi_thread")]
async fn of_repeated_tokens_none_counts() {
    let app = TestApp::start().await;
    let url = &app.stack.credentials.base_url;
    let token = app.administrator();
    let own = format!("authorization: {token}\r\n");
    for headers in [
        format!("{own}{own}"),
        format!("{own}authorization: x\r\n"),
        format!("authorization: x\r\n{own}"),
        format!("{own}authorization: \r\n"),
        format!("authorization: {token},{token}\r\n"),
        format!("x-api-key: {token}\r\n"),
        format!("cookie: authorization={token}\r\n"),
        format!("proxy-authorization: {token}\r\n"),
        format!("authorization: {token};\r\n"),
    ] {
        let request = format!("GET /api/public/token HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let found = exchange(url, request.as_bytes()).await;
        assert_eq!(found.len(), 1);
        let text = String::from_utf8(found[0].body.clone()).unwrap();
        assert_eq!((found[0].status, text.as_str()), (401, UNAUTHORIZED), "{headers}");
    }
    let request = format!(
        "GET /api/public/token?authorization={token}&token={token} HTTP/1.1\r\nhost: localhost\r\n\r\n"
    );
    assert_eq!(exchange(url, request.as_bytes()).await[0].status, 401);
}
