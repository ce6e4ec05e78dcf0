//! The `local` program as developers run it: its options, its files, its end.

use crate::program::{Output, PROGRAM, Running, run};
use serde_json::Value;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

const NEW: &str = r#"{"email":"new@example.com","phone":"+1234567890","firstName":"Jane"}"#;

#[test]
fn it_serves_writes_credentials_and_keeps_its_state_over_restarts() {
    let directory = directory();
    let path = directory.path().join("credentials.json");

    let first = Running::start(directory.path(), &["--port", "0"]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = first.credentials.as_object().unwrap().keys().cloned().collect();
    let expected =
        ["adminToken", "affiliateID", "baseUrl", "bucketId", "partnerToken", "signupKey", "sourceId"];
    assert_eq!(names, expected);
    assert!(first.greeting.contains(first.credential("baseUrl")));
    assert_eq!(first.sign_up(NEW).0, 200);
    let credentials = first.credentials.clone();
    let (status, _) = first.end("-TERM");
    assert!(status.success());

    let second = Running::start(directory.path(), &["serve", "--port", "0"]);
    for name in expected.iter().filter(|name| **name != "baseUrl") {
        assert_eq!(second.credentials[name], credentials[name], "{name}");
    }
    assert_eq!(
        second.sign_up(NEW),
        (400, serde_json::json!({ "message": "User with this email already exists", "providerStatus": 400 }))
    );
    let (status, published) = second.leads(r#"{"emails": ["user1@example.com"]}"#);
    assert_eq!((status, &published["user1@example.com"]["id"]), (200, &"69ce524d741e8f2238329fff".into()));
    assert!(second.end("-INT").0.success());
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = directory();
    let first = Running::start(directory.path(), &["--port", "0"]);
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let body = NEW.replace("new@", &format!("kill{number}@"));
            let (status, answer) = first.sign_up(&body);
            assert_eq!(status, 200);
            (body, answer)
        })
        .collect();
    assert!(!first.end("-KILL").0.success());

    let second = Running::start(directory.path(), &["--port", "0"]);
    for (body, _) in &clients {
        assert_eq!(second.sign_up(body).0, 400, "{body}");
    }
}

#[test]
fn the_printed_curl_commands_work_as_they_are() {
    let directory = directory();
    let stack = Running::start(directory.path(), &["--port", "0", "--memory"]);
    let commands: Vec<_> = stack.greeting.lines().filter(|line| line.contains("curl")).collect();
    assert_eq!(commands.len(), 4);
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let answers: Vec<Value> = commands
        .iter()
        .map(|command| {
            let command = command.replace("curl ", "curl --silent --fail ");
            let output = Command::new("sh").args(["-c", &command]).output().unwrap();
            assert!(output.status.success(), "{command}");
            serde_json::from_slice(&output.stdout).unwrap()
        })
        .collect();
    assert_eq!(answers[0]["user1@example.com"]["affiliateID"], "1234567890");
    assert!(answers[1].as_object().unwrap().len() > 10);
    assert_eq!(answers[2]["id"].as_str().unwrap().len(), 36);
    let (_, found) = stack.leads(r#"{"emails": ["jane.doe@example.com"]}"#);
    assert_eq!(found["jane.doe@example.com"]["id"], answers[3]["id"]);
}

#[test]
fn plain_tokens_are_neither_printed_nor_logged_nor_stored() {
    let directory = directory();
    let stack = Running::start(directory.path(), &["--port", "0", "--log", "info"]);
    let names = ["adminToken", "partnerToken", "signupKey"];
    let tokens: Vec<_> = names.iter().map(|name| stack.credential(name).to_owned()).collect();
    let path = "/api/public/buckets/b/a/leads";
    for token in &tokens {
        stack.post(path, "authorization", token, "{}");
        stack.post(path, "authorization", &format!("Bearer {token}"), "{");
        stack.post("/tradersroom/api/auth/signup", "x-api-key", token, &NEW.replace("Jane", "Zebedee"));
    }
    let greeting = stack.greeting.clone();
    let (_, log) = stack.end("-TERM");

    assert_eq!(log.lines().count(), 9);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(
            line["requestId"].is_string() && line["status"].is_u64() && line["route"].is_string(),
            "{line}"
        );
    }
    for personal in ["Zebedee", "new@example.com", "1234567890"] {
        assert!(!log.contains(personal), "{personal} in {log}");
    }
    for token in &tokens {
        let random = &token[9..37];
        assert!(!greeting.contains(random) && !log.contains(random));
        for file in ["dynamodb.sqlite", "dynamodb.sqlite-wal", "stack.json"] {
            let bytes = std::fs::read(directory.path().join(file)).unwrap_or_default();
            assert!(!bytes.windows(random.len()).any(|part| part == random.as_bytes()), "in {file}");
        }
    }
}

#[test]
fn a_stack_without_demo_data_has_an_administrator_only() {
    let directory = directory();
    let stack = Running::start(directory.path(), &["--port", "0", "--memory", "--no-demo-data"]);
    let names: Vec<_> = stack.credentials.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["adminToken", "baseUrl"]);
    let (status, answer) =
        stack.post("/api/public/buckets/b/a/leads", "authorization", stack.credential("adminToken"), "{}");
    assert_eq!(
        (status, &answer["message"]),
        (400, &"Bucket with corresponding affiliateID doesn't exist".into())
    );
}

#[test]
fn another_stack_can_use_the_first_ones_dynamodb_with_tokens_of_its_own() {
    let (one, two) = (directory(), directory());
    let first = Running::start(one.path(), &["--port", "0", "--memory", "--dynamodb-listen", "127.0.0.1:0"]);
    let stack: Value =
        serde_json::from_slice(&std::fs::read(one.path().join("stack.json")).unwrap()).unwrap();
    let endpoint = stack["dynamodbEndpoint"].as_str().unwrap();

    let second = Running::start(two.path(), &["--port", "0", "--dynamodb-endpoint", endpoint]);

    assert_ne!(first.credential("adminToken"), second.credential("adminToken"));
    assert_eq!(first.sign_up(NEW).0, 200);
    assert_eq!(second.sign_up(NEW).0, 400);
    let (_, mine) = first.leads("{}");
    assert_eq!(second.leads("{}").1, mine);
    let admin = second.credential("adminToken").to_owned();
    drop(second);
    let again = Running::start(two.path(), &["--port", "0", "--dynamodb-endpoint", endpoint]);
    assert_eq!(again.credential("adminToken"), admin);
}

#[test]
fn it_says_plainly_what_is_in_the_way() {
    let directory = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let Output { success: done, stderr: error, .. } = run(directory.path(), &["--port", &port, "--memory"]);
    assert!(!done);
    assert_eq!(
        error,
        format!("error: port {port} is taken; choose another with --port (0 picks a free one)\n")
    );

    let _stack = Running::start(directory.path(), &["--port", "0", "--memory"]);
    let Output { success: done, stderr: error, .. } = run(directory.path(), &["--port", "0", "--memory"]);
    assert!(!done && error.contains("is in use by another running stack"), "{error}");

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Output { success: done, stderr: error, .. } = run(&file, &["--port", "0"]);
    assert!(!done && error.starts_with("error: can't use the data directory"), "{error}");

    let unreachable = ["--port", "0", "--dynamodb-endpoint", "http://127.0.0.1:9"];
    let Output { success: done, stderr: error, .. } = run(&directory.path().join("other"), &unreachable);
    assert!(!done && error.starts_with("error: DynamoDB can't be reached"), "{error}");
}

#[test]
fn env_prints_what_a_functions_bootstrap_needs() {
    let directory = directory();
    let Output { success: done, stderr: error, .. } = run(directory.path(), &["env", "signup"]);
    assert!(!done && error.contains("no stack was started on"), "{error}");

    let stack = Running::start(directory.path(), &["--port", "0", "--memory"]);
    let Output { success: done, stdout: lines, .. } = run(directory.path(), &["env", "signup"]);
    assert!(done);
    let pairs: Vec<_> = lines.lines().map(|line| line.split_once('=').unwrap()).collect();
    let value =
        |name: &str| pairs.iter().find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no {name}")).1;
    assert_eq!((value("CLIENTS_TABLE"), value("EXPIRING_TABLE")), ("ClientsTable", "ExpiringTable"));
    assert!(stack.greeting.contains(value("AWS_ENDPOINT_URL_DYNAMODB")));

    let Output { stdout: json, .. } = run(directory.path(), &["env", "leads-by-source", "--sam"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["LeadsBySourceFunction"]["TOKENS_TABLE"], "TokensTable");

    let Output { success: done, stderr: error, .. } = run(directory.path(), &["env", "nothing"]);
    assert!(
        !done && error.contains("there is no function nothing; there are: admin-buckets, admin-clients, "),
        "{error}"
    );
}

#[test]
fn help_names_every_option() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "--port",
        "--data-dir",
        "--memory",
        "--no-demo-data",
        "--dynamodb-listen",
        "--dynamodb-endpoint",
        "--log",
        "serve",
        "env",
        "event",
        "bootstrap",
        "check",
    ] {
        assert!(help.contains(option), "{option} in {help}");
    }
}

#[test]
fn links_and_sessions_are_not_logged() {
    let directory = directory();
    let running = Running::start(directory.path(), &["--port", "0", "--memory", "--log", "info"]);
    let (_, signed_up) = running.sign_up(NEW);
    let url = signed_up["url"].as_str().unwrap();
    let path = url.strip_prefix(running.credential("baseUrl")).unwrap();
    let link = path.split('/').nth(2).unwrap();
    let session = "a1B2".repeat(8);
    assert_eq!(running.send("POST", path, ("accept", "*/*"), "").0, 303);
    let cookie = format!("wbcs-session={session}");
    assert_eq!(running.send("GET", "/tradersroom/api/auth/me", ("cookie", &cookie), "").0, 401);
    let (_, log) = running.end("-TERM");
    for route in ["POST /autologin/{link+}", "GET /tradersroom/api/auth/me"] {
        assert!(log.contains(route), "{log}");
    }
    for secret in [link, &session] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn without_origins_sign_ups_get_no_link() {
    let directory = directory();
    let running = Running::start(directory.path(), &["--port", "0", "--memory", "--origins", ""]);
    assert_eq!(running.sign_up(NEW).1.as_object().unwrap().len(), 1);
}

#[test]
fn demo_data_that_was_deleted_stays_deleted() {
    let directory = directory();
    // Of the demo buckets that no demo lead is in.
    let bucket = "/api/admin/buckets/69ce5200741e8f2238320004";
    let stack = Running::start(directory.path(), &["--port", "0"]);
    let administrator = stack.credential("adminToken").to_owned();
    assert_eq!(stack.get(bucket, &administrator).0, 200);
    assert_eq!(stack.delete(bucket, &administrator), 204);
    assert!(stack.end("-TERM").0.success());
    let stack = Running::start(directory.path(), &["--port", "0"]);
    assert_eq!(stack.get(bucket, &administrator).0, 404);
    // The published example still works.
    assert_eq!(stack.leads(r#"{"emails":["user1@example.com"]}"#).1.as_object().unwrap().len(), 1);
    assert!(stack.end("-TERM").0.success());
    let checked = run(directory.path(), &["check"]);
    assert!(checked.success, "{checked:?}");
}
