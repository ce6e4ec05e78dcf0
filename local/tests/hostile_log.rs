//! The log while clients mean it ill: one JSON object a line, with the fields that lines have, and nothing in it of what
//! requests carry.

use crate::program::Running;
use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// What lines may have.
const FIELDS: [&str; 12] = [
    "clientId",
    "durationMs",
    "function",
    "level",
    "message",
    "outcome",
    "reason",
    "requestId",
    "route",
    "status",
    "timestamp",
    "tokenId",
];
const MARK: &str = "zq7Marked";

/// Sends a request as it is, and gives the answer's head and body.
fn send(stack: &Running, bytes: &[u8]) -> (String, String) {
    let host = stack.credential("baseUrl").strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let _ = socket.write_all(bytes);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => (head.to_owned(), body.to_owned()),
        None => (answer, String::new()),
    }
}

fn request(line: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut request = format!("{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    (request + "\r\n" + body).into_bytes()
}

#[test]
fn a_line_is_a_line_and_tells_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = ["--port", "0", "--memory", "--log", "info"];
    let stack = Running::start(directory.path(), &options);
    let [admin, partner, key] =
        ["adminToken", "partnerToken", "signupKey"].map(|name| stack.credential(name).to_owned());
    let (bucket, affiliate) =
        (stack.credential("bucketId").to_owned(), stack.credential("affiliateID").to_owned());
    let mut secrets = vec![admin.clone(), partner.clone(), key.clone()];

    let forged_line =
        r#"{"timestamp":"2026-01-01T00:00:00.000Z","level":"INFO","message":"request","status":200}"#;
    let hostile = [
        format!("{MARK}\n{forged_line}\n"),
        format!("{MARK}\r\n{forged_line}"),
        format!("{MARK}\",\"status\":200,\"x\":\""),
        format!("{MARK}\\"),
        format!("{MARK}\u{1b}[2J\u{1b}[31m"),
        format!("{MARK}\0"),
        format!("{MARK}\u{2028}{forged_line}"),
        format!("{MARK}\u{85}{forged_line}"),
        format!("{MARK}\u{202e}"),
        format!("{MARK}${{jndi:ldap://x}}"),
        format!("{MARK}%0a{forged_line}"),
        format!("{MARK}{}", "x".repeat(900)),
    ];
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let mut answered = 0;
    let mut seen = Vec::new();
    let mut ask = |bytes: &[u8]| {
        let (head, body) = send(&stack, bytes);
        // Those that a function saw have a line: the gateway's own have none, and no envelope.
        let is_own = body.starts_with(r#"{"message":""#)
            && !body.contains("Status\":")
            && !body.contains("statusCode");
        answered += usize::from(head.starts_with("HTTP/1.1 ") && !is_own);
        seen.push(head.split(' ').nth(1).unwrap_or_default().to_owned());
        (head, body)
    };
    for (number, text) in hostile.iter().enumerate() {
        let part = encoded(text);
        let quoted = |field: &str| json!({ field: text, "name": text }).to_string();
        let as_key = ("authorization", admin.as_str());
        // Every field of a sign-up.
        let mut body: Map<String, Value> = Map::new();
        for field in [
            "firstName",
            "lastName",
            "affiliateID",
            "sourceId",
            "status",
            "state",
            "meta",
            "subID",
            "passport",
            "nationality",
        ] {
            body.insert(field.into(), text.as_str().into());
        }
        body.insert("email".into(), format!("{MARK}.{number}@secret.example.com").into());
        body.insert("phone".into(), format!("+49170555{number:04}").into());
        body.insert("sendEmail".into(), true.into());
        let body = Value::Object(body).to_string();
        let sign_up = "POST /tradersroom/api/auth/signup";
        let (_, answer) = ask(&request(
            sign_up,
            &[("x-api-key", &key), ("idempotency-key", &format!("{MARK}{number}"))],
            &body,
        ));
        if let Some(url) = serde_json::from_str::<Value>(&answer).unwrap()["url"].as_str() {
            // The link, and the session that it begins.
            let path = url.splitn(4, '/').nth(3).unwrap().to_owned();
            secrets.push(path.split('/').nth(1).unwrap().to_owned());
            let (head, _) = ask(&request(&format!("POST /{path}"), &[], ""));
            let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
            let cookie = cookie.split(';').next().unwrap().to_owned();
            secrets.push(cookie.split('=').nth(1).unwrap().to_owned());
            ask(&request("GET /tradersroom/api/auth/me", &[("cookie", &cookie)], ""));
        }
        ask(&request(sign_up, &[("x-api-key", &key)], &body));
        ask(&request(sign_up, &[("x-api-key", &key)], &quoted("email")));
        // Bodies, paths and queries of the others.
        for (line, body) in [
            (format!("POST /api/public/buckets/{bucket}/{affiliate}/leads"), quoted("emails")),
            (
                format!("POST /api/public/buckets/{bucket}/{affiliate}/leads"),
                json!({ "emails": [text], "ids": [text] }).to_string(),
            ),
            (format!("POST /api/public/buckets/{part}/{part}/leads/{part}"), "{}".to_owned()),
            (format!("POST /api/public/buckets/{bucket}/{affiliate}/leads/{part}"), "{}".to_owned()),
            ("POST /api/admin/buckets".to_owned(), quoted("affiliateID")),
            ("POST /api/admin/roles".to_owned(), quoted("permissions")),
            ("POST /api/admin/tokens".to_owned(), quoted("roleId")),
            ("PATCH /api/admin/clients/x".to_owned(), json!({ text.as_str(): text }).to_string()),
            (format!("GET /api/admin/clients/{part}"), String::new()),
            (format!("GET /api/admin/tokens/{part}"), String::new()),
            (format!("GET /api/admin/roles/{part}"), String::new()),
            (format!("GET /api/admin/clients?{part}={part}"), String::new()),
            (format!("GET /api/admin/clients?email={part}&status={part}&cursor={part}"), String::new()),
            (format!("GET /autologin/{part}"), String::new()),
            (format!("GET /console/{part}"), String::new()),
            (format!("GET /docs/assets/{part}"), String::new()),
            (format!("GET /{part}"), String::new()),
        ] {
            ask(&request(&line, &[as_key, ("content-type", "application/json")], &body));
        }
        // Headers, as far as a header can hold it, and tokens that are none.
        let value: String =
            text.chars().filter(|letter| !['\n', '\r', '\0', '\u{1b}'].contains(letter)).collect();
        for name in [
            "authorization",
            "x-api-key",
            "user-agent",
            "x-request-id",
            "x-amzn-trace-id",
            "x-forwarded-for",
            "forwarded",
            "cookie",
            "origin",
            "idempotency-key",
            "if-match",
            "content-type",
            "accept",
        ] {
            ask(&request("GET /api/public/token", &[(name, &value)], ""));
            ask(&request(
                "POST /tradersroom/api/auth/signup",
                &[("x-api-key", &partner), (name, &value)],
                "{}",
            ));
        }
        ask(&request("GET /api/public/token", &[("authorization", &format!("Bearer {admin}"))], ""));
        ask(&request("GET /api/public/token", &[("authorization", &admin[..40])], ""));
        ask(&request(&format!("GET /api/public/token?token={admin}"), &[], ""));
    }
    assert!(answered > 450, "{answered}: {seen:?}");
    for status in ["200", "201", "303", "400", "401", "404", "410"] {
        assert!(seen.iter().any(|one| one == status), "{status}: {seen:?}");
    }
    assert!(!seen.iter().any(|status| status.starts_with('5')), "{seen:?}");

    let (status, log) = stack.end("-TERM");
    assert!(status.success());
    let mut lines = 0;
    let ends = |line: &str| line.contains(['\r', '\u{1b}', '\0', '\u{2028}', '\u{85}', '\u{202e}']);
    for line in log.lines() {
        assert!(!ends(line), "{line:?}");
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let fields = parsed.as_object().unwrap();
        assert!(fields.keys().all(|name| FIELDS.contains(&name.as_str())), "{line}");
        assert_eq!(parsed["function"], "local", "{line}");
        lines += usize::from(parsed["message"] == "request");
    }
    assert_eq!(lines, answered, "a line for each request that a function saw");
    // In whatever form.
    let lower = log.to_lowercase();
    for told in [
        MARK,
        &encoded(MARK),
        "secret.example.com",
        "+49170555",
        "49170555",
        "jndi",
        "wbcs_",
        "bearer",
        "wbcs-session",
    ] {
        assert!(!lower.contains(&told.to_lowercase()), "the log tells {told}");
    }
    for secret in secrets {
        assert!(!log.contains(&secret) && !log.contains(&secret[..12]), "the log tells a secret");
    }
}
