//! Text that means ill, in every field of every endpoint that takes text: it is refused with a 400 that names the field,
//! or stored and shown as it is; it becomes no header, no second recipient, and no second account of one address.

use hyper::Method;
use mail_parser::MessageParser;
use serde_json::{Value, json};
use shared::model::{Billing, Permission, Profile};
use std::collections::BTreeSet;
use tests::raw::exchange;
use tests::{Answer, TestApp, TokenSpec, encoded, eventually};

const SIGN_UP: &str = "/tradersroom/api/auth/signup";

/// Texts of every kind that is known to break something somewhere.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\t",
        "\r\n",
        "a\r\nb",
        "a\nX-Injected: 1",
        "a\r\nSet-Cookie: x=1\r\n\r\n<html>",
        "\0",
        "a\0b",
        "\u{1}",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "a\u{2028}b\u{2029}c",
        "\u{feff}",
        "\u{feff}a",
        "a\u{200b}b",
        "\u{200d}",
        "\u{2060}",
        "\u{ad}",
        "\u{202e}gpj.exe",
        "\u{202d}a\u{202c}",
        "\u{2066}a\u{2069}",
        "\u{200e}\u{200f}",
        "e\u{301}",
        "\u{e9}",
        "a\u{300}\u{301}\u{302}\u{303}",
        "\u{1100}\u{1161}\u{11a8}",
        "\u{ac01}",
        "\u{212b}",
        "\u{c5}",
        "ﬁ",
        "ſ",
        "\u{212a}",
        "İ",
        "ı",
        "ß",
        "ẞ",
        "ς",
        "ǅ",
        "Ⅷ",
        "а",
        "ａ",
        "𝐚",
        "😀",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "\u{10ffff}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{e000}",
        "\u{1f1e9}",
        "\u{202e}\u{2067}",
        "שלום",
        "مرحبا",
        "中文",
        "'",
        "\"",
        "\\",
        "/",
        "#",
        "a#b",
        "%",
        "%00",
        "%2F",
        "&amp;",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "{{7*7}}",
        "${7*7}",
        "$(id)",
        "`id`",
        "'; DROP TABLE clients; --",
        "=cmd|' /C calc'!A0",
        "-1+1",
        "../../etc/passwd",
        "null",
        "undefined",
        "true",
        "NaN",
        "0",
        "-0",
        "1e309",
        "[]",
        "{}",
        "{\"S\":\"x\"}",
        "__proto__",
        "constructor",
        "C#x",
        "E#a@b.co",
        "A#aff#source",
        "~",
        "javascript:alert(1)",
        "data:text/html,x",
        "\\u0000",
        "\\ud800",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.extend([
        "x".repeat(1024),
        "x".repeat(1025),
        "é".repeat(1024),
        "😀".repeat(1024),
        "😀".repeat(1025),
        "\u{301}".repeat(500),
    ]);
    texts
}

struct Hostile {
    app: TestApp,
    admin: String,
    key: String,
    emails: usize,
}

impl Hostile {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let all = TokenSpec { permissions: Permission::ALL.to_vec(), ..TokenSpec::default() };
        let admin = app.token(all).await;
        let key = app.sign_up_key(&[]).await;
        Self { app, admin, key, emails: 0 }
    }

    /// A sign-up that is right, with an email of its own.
    fn good(&mut self) -> Value {
        self.emails += 1;
        json!({ "email": format!("c{}@example.com", self.emails), "phone": "+1234567890", "firstName": "Jane" })
    }

    async fn client(&self, id: &str) -> Value {
        let answer = self.app.admin(&self.admin, "GET", &format!("/api/admin/clients/{id}"), None).await;
        answer.assert_ok();
        answer.json()
    }

    async fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let answer = self.app.admin(&self.admin, method, path, Some(body)).await;
        assert!(answer.status < 500, "{method} {path} {body}: {answer:?}");
        answer
    }
}

/// Asserts that a refusal names the field.
#[track_caller]
fn assert_names(answer: &Answer, field: &str, text: &str) {
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    let is_required = message == "Email, phone and first name are required"
        && ["email", "phone", "firstName"].contains(&field)
        && text.trim().is_empty();
    assert!(
        answer.status == 400 && (message.starts_with(field) || is_required),
        "{field} {text:?}: {answer:?}"
    );
}

/// The value at a dotted path.
fn at<'a>(record: &'a Value, path: &str) -> &'a Value {
    record.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null)
}

fn put(record: &mut Value, path: &str, value: Value) {
    match path.split_once('.') {
        None => record[path] = value,
        Some((outer, "0.label")) => record[outer] = json!([{ "label": value }]),
        Some((outer, "0.ip")) => record[outer] = json!([{ "ip": value }]),
        Some((outer, "0.signedAt")) => record[outer] = json!([{ "signedAt": value }]),
        Some((outer, inner)) => {
            if record[outer].is_null() {
                record[outer] = json!({});
            }
            record[outer][inner] = value;
        }
    }
}

/// Fields of Sign Up that take any text.
fn free_fields() -> Vec<String> {
    let profile = Profile::NAMES.iter().filter(|name| **name != "dateOfBirth").map(|name| (*name).to_owned());
    let billing = Billing::NAMES.iter().map(|name| format!("billing.{name}"));
    let others =
        ["affiliateID", "sourceId", "status", "state", "meta", "agreements.0.label"].map(str::to_owned);
    profile.chain(billing).chain(others).collect()
}

/// Surrounding blanks of these are dropped, and what is blank counts as absent.
const TRIMMED: [&str; 5] = ["affiliateID", "sourceId", "status", "state", "firstName"];

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_stores_what_it_takes() {
    let mut hostile = Hostile::start().await;
    let fields = free_fields();
    assert_eq!(fields.len(), 27, "{fields:?}");
    let (mut stored, mut refused) = (0, 0);
    for text in texts() {
        // All that take any text, at once.
        let mut body = hostile.good();
        for field in &fields {
            put(&mut body, field, text.as_str().into());
        }
        let answer = hostile.app.sign_up(&hostile.key, &body).await;
        if answer.status == 200 {
            let shown = hostile.client(answer.json()["id"].as_str().unwrap()).await;
            for field in &fields {
                let default = match field.as_str() {
                    "status" => json!("new"),
                    "state" => json!("active"),
                    _ => Value::Null,
                };
                let expected = match (TRIMMED.contains(&field.as_str()), text.trim()) {
                    (true, "") => default,
                    (true, trimmed) => trimmed.into(),
                    (false, _) => text.as_str().into(),
                };
                assert_eq!(at(&shown, field), &expected, "{field} {text:?}");
                stored += 1;
            }
        } else {
            assert_eq!(text.chars().count(), 1025, "{text:?}: {answer:?}");
            for field in fields.iter().filter(|field| *field != "meta") {
                let mut body = hostile.good();
                put(&mut body, field, text.as_str().into());
                let answer = hostile.app.sign_up(&hostile.key, &body).await;
                assert_names(&answer, &field.replace(".0.", "[0]."), &text);
                refused += 1;
            }
        }
        // Those that have a form, one by one.
        for field in
            ["email", "phone", "firstName", "dateOfBirth", "agreements.0.ip", "agreements.0.signedAt"]
        {
            let mut body = hostile.good();
            put(&mut body, field, text.as_str().into());
            let answer = hostile.app.sign_up(&hostile.key, &body).await;
            if answer.status == 200 {
                let shown = hostile.client(answer.json()["id"].as_str().unwrap()).await;
                let trimmed = ["email", "firstName"].contains(&field);
                assert_eq!(
                    at(&shown, field),
                    &json!(if trimmed { text.trim() } else { text.as_str() }),
                    "{field}"
                );
                assert!(["firstName", "email"].contains(&field), "{text:?} is no {field}");
                stored += 1;
            } else {
                assert_names(&answer, &field.replace(".0.", "[0]."), &text);
                refused += 1;
            }
        }
    }
    assert!(stored > 2000 && refused > 400, "{stored} {refused}");

    // What is no text at all.
    for field in fields.iter().map(String::as_str).chain(["email", "phone", "firstName"]) {
        let mut body = hostile.good();
        put(&mut body, field, "PLACE".into());
        let body = body.to_string();
        for (text, in_whole) in [
            (&br#""\ud800""#[..], None),
            (br#""\udc00\ud800""#, None),
            (br#""a\ud83d""#, None),
            (b"7", None),
            (b"[]", None),
            (b"{}", None),
            (b"\"\x01\"", Some("body must be valid JSON")),
            (b"\"a\nb\"", Some("body must be valid JSON")),
            (br#""\u00""#, Some("body must be valid JSON")),
            (br#""\x41""#, Some("body must be valid JSON")),
            (b"\"\xc0\x80\"", Some("body must be UTF-8")),
            (b"\"\xed\xa0\x80\"", Some("body must be UTF-8")),
            (b"\"\xf4\x90\x80\x80\"", Some("body must be UTF-8")),
            (b"\"\xff\"", Some("body must be UTF-8")),
        ] {
            let (before, after) = body.split_once("\"PLACE\"").unwrap();
            let bytes = [before.as_bytes(), text, after.as_bytes()].concat();
            let answer = hostile.app.post(SIGN_UP, &[("x-api-key", &hostile.key)], bytes).await;
            match in_whole {
                Some(message) => answer.assert_provider_error(400, message),
                None => assert_names(&answer, &field.replace(".0.", "[0]."), "x"),
            }
        }
    }
    // A pair of surrogates is one character.
    let body = hostile.good().to_string().replace("Jane", "\\ud83d\\ude00");
    let answer = hostile.app.post(SIGN_UP, &[("x-api-key", &hostile.key)], body).await;
    answer.assert_ok();
    assert_eq!(hostile.client(answer.json()["id"].as_str().unwrap()).await["firstName"], "😀");
    hostile.app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_stores_what_it_takes() {
    let mut hostile = Hostile::start().await;
    let good = hostile.good();
    let client = hostile.app.signed_up(&hostile.key, &good).await;
    let role = hostile
        .admin("POST", "/api/admin/roles", &json!({ "name": "r", "permissions": ["clients:view"] }))
        .await
        .json();
    let role = role["id"].as_str().unwrap().to_owned();
    let fields = free_fields();
    let mut kept = 0;
    for text in texts() {
        let is_name = |most: usize| {
            (1..=most).contains(&text.trim().chars().count()) && !text.trim().chars().any(char::is_control)
        };
        // Buckets, and leads by hostile paths.
        let body = json!({ "name": text, "affiliateID": text, "sources": [text] });
        let made = hostile.admin("POST", "/api/admin/buckets", &body).await;
        if is_name(128) {
            assert_eq!(made.status, 201, "{text:?}: {made:?}");
            let bucket = made.json();
            let trimmed = text.trim();
            assert_eq!(
                (&bucket["name"], &bucket["affiliateID"], &bucket["sources"][0]),
                (&json!(trimmed), &json!(trimmed), &json!(trimmed))
            );
            let mut lead = hostile.good();
            for field in ["affiliateID", "sourceId", "status"] {
                lead[field] = text.as_str().into();
            }
            let id = hostile.app.signed_up(&hostile.key, &lead).await;
            let (bucket, part) = (bucket["id"].as_str().unwrap(), encoded(trimmed));
            for body in [json!({}), json!({ "filters": { "status": [trimmed] } }), json!({ "ids": [id] })] {
                let found = hostile.app.leads_by_source(&hostile.admin, bucket, &part, &part, &body).await;
                found.assert_ok();
                let found = found.json();
                let found = &found[lead["email"].as_str().unwrap()];
                assert_eq!(
                    (&found["id"], &found["affiliateID"], &found["status"]),
                    (&json!(id), &json!(trimmed), &json!(trimmed)),
                    "{text:?}"
                );
            }
            let stats = hostile
                .app
                .admin(&hostile.admin, "GET", &format!("/api/admin/buckets/{bucket}/stats"), None)
                .await
                .json();
            assert_eq!(stats["statuses"], json!([{ "status": trimmed, "leads": 1 }]));
            kept += 1;
        } else {
            assert_names(&made, "name", &text);
            for field in ["affiliateID", "sources"] {
                let mut body = json!({ "name": "n", "affiliateID": "A" });
                body[field] = if field == "sources" { json!([text]) } else { json!(text) };
                assert_names(&hostile.admin("POST", "/api/admin/buckets", &body).await, field, &text);
            }
        }
        // Roles and tokens.
        let made =
            hostile.admin("POST", "/api/admin/roles", &json!({ "name": text, "permissions": [] })).await;
        if is_name(128) {
            assert_eq!((made.status, &made.json()["name"]), (201, &json!(text.trim())));
            let body = json!({ "name": text, "roleId": role, "affiliateIDs": [text] });
            let made = hostile.admin("POST", "/api/admin/tokens", &body).await;
            assert_eq!(made.status, 201, "{text:?}: {made:?}");
            let shown = hostile
                .app
                .admin(made.json()["token"].as_str().unwrap(), "GET", "/api/public/token", None)
                .await
                .json();
            assert_eq!(
                (&shown["name"], &shown["affiliateIDs"]),
                (&json!(text.trim()), &json!([text.trim()]))
            );
        } else {
            assert_names(&made, "name", &text);
            for field in ["name", "affiliateIDs"] {
                let mut body = json!({ "name": "n", "roleId": role });
                body[field] = if field == "name" { json!(text) } else { json!([text]) };
                assert_names(&hostile.admin("POST", "/api/admin/tokens", &body).await, field, &text);
            }
        }
        for (path, field, value) in [
            ("/api/admin/roles", "permissions", json!([text])),
            ("/api/admin/tokens", "roleId", json!(text)),
            ("/api/admin/tokens", "expiresAt", json!(text)),
            ("/api/admin/tokens", "whitelist", json!([text])),
        ] {
            let mut body = json!({ "name": "n" });
            if path.ends_with("tokens") {
                body["roleId"] = role.as_str().into();
            }
            body[field] = value;
            assert_names(&hostile.admin("POST", path, &body).await, field, &text);
        }
        // A field of that name.
        let mut body = json!({});
        body[text.as_str()] = 1.into();
        let refused = hostile.admin("PATCH", &format!("/api/admin/clients/{client}"), &body).await;
        let shown: String = text.chars().take(64).collect();
        refused.assert_error(400, &format!("{shown} is not a known field"));
        // A client's fields.
        let mut body = json!({});
        for field in &fields {
            put(&mut body, field, text.as_str().into());
        }
        let changed = hostile.admin("PATCH", &format!("/api/admin/clients/{client}"), &body).await;
        if changed.status == 200 {
            for field in &fields {
                let expected = match (TRIMMED.contains(&field.as_str()), text.as_str()) {
                    (_, "") if field != "agreements.0.label" => Value::Null,
                    (true, text) if text.trim().is_empty() => Value::Null,
                    (true, text) => text.trim().into(),
                    (false, text) => text.into(),
                };
                assert_eq!(at(&changed.json(), field), &expected, "{field} {text:?}");
            }
            kept += 1;
        } else {
            let blank = text.trim().is_empty();
            assert!(blank || text.chars().count() == 1025, "{text:?}: {changed:?}");
            let message = changed.json()["message"].as_str().unwrap().to_owned();
            assert!(
                fields.iter().any(|field| message.starts_with(&field.replace(".0.", "[0]."))),
                "{changed:?}"
            );
        }
        // Queries, bodies of leads, and paths.
        for name in ["email", "status", "bucketId", "affiliateID", "limit", "cursor"] {
            let path =
                format!("/api/admin/clients?{name}={}", encoded(&text.chars().take(500).collect::<String>()));
            let answer = hostile.app.admin(&hostile.admin, "GET", &path, None).await;
            assert!([200, 400].contains(&answer.status), "{path}: {answer:?}");
            assert!(
                answer.status == 200 || answer.json()["message"].as_str().unwrap().starts_with(name),
                "{answer:?}"
            );
        }
        let name = encoded(&text.chars().take(500).collect::<String>());
        let answer =
            hostile.app.admin(&hostile.admin, "GET", &format!("/api/admin/clients?{name}=1"), None).await;
        assert!([200, 400].contains(&answer.status), "{text:?}: {answer:?}");
        let all = [
            ("emails", json!([text])),
            ("ids", json!([text])),
            ("filters", json!({ "status": [text] })),
            ("cursor", json!(text)),
            ("keyBy", json!(text)),
        ];
        for (field, value) in all {
            let mut body = json!({});
            body[field] = value;
            let answer = hostile.app.leads(&hostile.admin, "nowhere", "A", &body).await;
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(
                answer.status == 400 && (message.starts_with("Bucket with") || message.starts_with(field)),
                "{answer:?}"
            );
        }
    }
    assert!(kept > 150, "{kept}");
    hostile.app.assert_consistent().await;
}

/// An address is one account, however it is written; and two that only look alike are two.
#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_one_account() {
    let mut hostile = Hostile::start().await;
    let mut sign_up = async |email: &str| {
        let mut body = hostile.good();
        body["email"] = email.into();
        hostile.app.sign_up(&hostile.key, &body).await
    };
    let mut known = 0;
    for spellings in [
        &[
            "kate@example.com",
            "KATE@EXAMPLE.COM",
            "\u{212a}ate@example.com",
            " kate@example.com\u{a0}",
            "kate@ｅｘａｍｐｌｅ．com",
        ] as &[&str],
        &["sue@example.com", "ſue@example.com", "SUE@example.com"],
        &["νικος@example.com", "ΝΙΚΟΣ@example.com", "νικοσ@example.com"],
        &[
            "jane@exämple.com",
            "JANE@EXÄMPLE.com",
            "jane@xn--exmple-cua.com",
            "jane@exa\u{308}mple.com",
            "jane@XN--EXMPLE-CUA.COM",
        ],
        &["joe@mail.example.com", "joe@mail。example.com", "joe@MAIL｡example.com"],
    ] {
        let mut taken = false;
        for spelling in spellings {
            let answer = sign_up(spelling).await;
            if taken {
                // Or it is written in a way that no address is.
                assert_eq!(answer.status, 400, "{spelling}: {answer:?}");
                let message = answer.json()["message"].as_str().unwrap().to_owned();
                known += usize::from(message == "User with this email already exists");
            } else {
                answer.assert_ok();
            }
            taken = true;
        }
    }
    assert!(known >= 10, "{known}");
    // These look alike, and are mailboxes of their own.
    for email in [
        "jаne@example.com",
        "jane@example.com",
        "jane+1@example.com",
        "j.ane@example.com",
        "jane@examp1e.com",
        "ıan@example.com",
        "ian@example.com",
    ] {
        sign_up(email).await.assert_ok();
    }
    // Characters that nobody sees, or that turn text around, are part of no address.
    for hidden in [
        "\u{200b}", "\u{200c}", "\u{200d}", "\u{feff}", "\u{ad}", "\u{202e}", "\u{2066}", "\u{2060}",
        "\u{180e}", "\0", "\r\n", "\n", "\u{85}", "\u{2028}", " ", "\u{a0}", "\"", "<", ">", ",", ";", ":",
        "(", "\\",
    ] {
        for email in [
            format!("ja{hidden}ne@example.com"),
            format!("jane@exam{hidden}ple.com"),
            format!("jane{hidden}@example.com"),
        ] {
            let answer = sign_up(&email).await;
            assert_eq!(answer.status, 400, "{email:?}: {answer:?}");
            assert_names(&answer, "email", &email);
        }
    }
    // Leads are found by any spelling.
    hostile.app.bucket("b", "A", &[]).await;
    let mut body = hostile.good();
    body["email"] = "Zoë@Exämple.com".into();
    body["affiliateID"] = "A".into();
    hostile.app.signed_up(&hostile.key, &body).await;
    for spelling in ["zoë@exämple.com", "ZOË@EXÄMPLE.COM", "zoë@xn--exmple-cua.com"] {
        let found = hostile.app.leads(&hostile.admin, "b", "A", &json!({ "emails": [spelling] })).await;
        assert_eq!(found.keys(), ["Zoë@Exämple.com"], "{spelling}");
    }
    hostile.app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_becomes_a_header() {
    let mut hostile = Hostile::start().await;
    // Of a registration email.
    for name in [
        "Jane\r\nBcc: other@example.com",
        "\r\n\r\nGet rich",
        "=?utf-8?q?=0D=0ABcc:_other@example.com?=",
        "\u{202e}enaJ",
        "Jane\0",
        "<a href=http://evil.example>x</a>",
        "http://evil.example",
    ] {
        let mut body = hostile.good();
        body["firstName"] = name.into();
        body["lastName"] = name.into();
        body["sendEmail"] = true.into();
        let id = hostile.app.signed_up(&hostile.key, &body).await;
        let path = hostile.app.stack.outbox.directory().join(format!("{id}.eml"));
        eventually(|| async { path.exists() }).await;
        let bytes = std::fs::read(&path).unwrap();
        let mail = MessageParser::default().parse(&bytes).unwrap();
        let headers: BTreeSet<_> = mail.headers().iter().map(|header| header.name().to_lowercase()).collect();
        let expected =
            ["auto-submitted", "content-type", "date", "from", "message-id", "mime-version", "subject", "to"];
        assert_eq!(headers, expected.map(str::to_owned).into(), "{name:?}");
        assert_eq!(mail.to().unwrap().first().unwrap().address(), body["email"].as_str(), "{name:?}");
        assert_eq!((mail.to().unwrap().iter().count(), mail.bcc().is_none()), (1, true), "{name:?}");
        assert_eq!(mail.subject(), Some("Welcome to WBCS"));
        let html = mail.body_html(0).unwrap();
        assert!(!html.contains("evil.example\"") && !html.contains("href=http://evil"), "{html}");
    }

    // Of an answer: bytes in headers that a request can have.
    let url = hostile.app.stack.credentials.base_url.clone();
    let bytes: [&[u8]; 14] = [
        b"\xff",
        b"\xc3\xa9",
        b"\xf0\x9f\x98\x80",
        b"a\tb",
        b"\"",
        b"'",
        b"%0d%0aset-cookie:%20x=1",
        b"\\r\\n",
        b"<script>",
        b"\xe2\x80\xae",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b",",
        b"\xef\xbb\xbf",
    ];
    let good = hostile.good().to_string();
    let all =
        bytes.iter().map(|bytes| bytes.to_vec()).chain([vec![b'k'; 255], vec![b'k'; 256], vec![b'k'; 8000]]);
    for bytes in all {
        for name in [
            "idempotency-key",
            "if-match",
            "if-none-match",
            "origin",
            "user-agent",
            "accept",
            "content-type",
            "cookie",
            "x-api-key",
            "authorization",
            "x-request-id",
            "accept-language",
        ] {
            for (line, own) in [
                (format!("POST {SIGN_UP}"), format!("x-api-key: {}\r\n", hostile.key)),
                (
                    "PATCH /api/admin/clients/nobody".to_owned(),
                    format!("authorization: {}\r\n", hostile.admin),
                ),
                ("GET /api/public/token".to_owned(), format!("authorization: {}\r\n", hostile.admin)),
                ("GET /tradersroom/api/auth/me".to_owned(), String::new()),
                ("GET /docs/openapi.json".to_owned(), String::new()),
            ] {
                let own = if own.starts_with(&format!("{name}:")) { String::new() } else { own };
                let begin = format!(
                    "{line} HTTP/1.1\r\nhost: localhost\r\n{own}content-length: {}\r\n{name}: ",
                    good.len()
                );
                let request = [begin.as_bytes(), &bytes, b"\r\n\r\n", good.as_bytes()].concat();
                let found = exchange(&url, &request).await;
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
                assert_eq!(found.len(), 1, "{line} {name}: {shown}");
                assert!(found[0].status < 500, "{line} {name}: {shown}: {found:?}");
                let head = found[0].head.to_lowercase();
                assert!(
                    !head.contains("<script") && !head.contains("x=1") && !head.contains("kkkk"),
                    "{line} {name}: {head}"
                );
            }
        }
    }
    let answer = hostile
        .app
        .send(Method::GET, "/api/admin/clients?limit=1000", &[("authorization", &hostile.admin)], "")
        .await;
    answer.assert_ok();
}
