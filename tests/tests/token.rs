//! `GET /api/public/token`: the self-check of CONTRACT.md, section 1.

use hyper::Method;
use serde_json::{Value, json};
use shared::model::{Permission, Timestamp};
use shared::secret::Token;
use tests::{TestApp, TokenSpec, UNAUTHORIZED};

const PATH: &str = "/api/public/token";

#[tokio::test]
async fn a_valid_token_sees_itself() {
    let app = TestApp::start().await;
    let spec = TokenSpec {
        permissions: vec![Permission::BucketsViewOwn, Permission::ClientsCreate],
        affiliates: vec!["AFF-1".into(), "AFF-2".into()],
        whitelist: vec!["127.0.0.0/8".into(), "2001:db8::1".into()],
        expires_at: Some(4_102_444_800_000),
    };
    let token = app.token(spec).await;
    let answer = app.admin(&token, "GET", PATH, None).await;
    answer.assert(
        200,
        r#"{"name":"Test","permissions":["buckets:view-own","clients:create"],"affiliateIDs":["AFF-1","AFF-2"],"expiresAt":"2100-01-01T00:00:00.000Z","whitelist":["127.0.0.0/8","2001:db8::1"],"address":"127.0.0.1"}"#,
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-caller-address"), None);
    // A role without any permission is no reason to refuse: that is what the caller wants to know.
    let powerless = app.token(TokenSpec::default()).await;
    let answer = app.admin(&powerless, "GET", PATH, None).await.json();
    assert_eq!((&answer["permissions"], &answer["expiresAt"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn any_other_is_told_the_address_to_whitelist() {
    let app = TestApp::start().await;
    let good = app.token(TokenSpec::default()).await;
    let tokens = [
        String::new(),
        "nonsense".into(),
        format!("Bearer {good}"),
        Token::generate().unwrap().expose().to_owned(),
        app.token(TokenSpec { expires_at: Some(Timestamp::now().millis() - 1), ..TokenSpec::default() })
            .await,
        app.token(TokenSpec { whitelist: vec!["192.0.2.7".into()], ..TokenSpec::default() }).await,
    ];
    for token in &tokens {
        // Headers that the caller writes say nothing about the address.
        let spoofed =
            [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7"), ("x-real-ip", "192.0.2.7")];
        let answer = app.admin_with(token, "GET", PATH, &spoofed, None).await;
        answer.assert(401, UNAUTHORIZED);
        assert_eq!(answer.header("x-caller-address"), Some("127.0.0.1"));
    }
    let without = app.send(Method::GET, PATH, &[], "").await;
    without.assert(401, UNAUTHORIZED);
    assert_eq!(without.header("x-caller-address"), Some("127.0.0.1"));
    assert_eq!(app.send(Method::GET, PATH, &[("x-api-key", &good)], "").await.status, 401);
}
