//! Two stacks, each a process with caches of its own, on one database: what CONTRACT.md, section
//! 1, promises across running instances.

use crate::program::Running;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A changed role reaches every instance within a minute; and what a slow machine needs besides.
const ROLE_LAG: Duration = Duration::from_secs(120);
const LEADS: &str = "/api/public/buckets/69ce5200741e8f2238320001/1234567890/leads";

struct Pair {
    one: Running,
    two: Running,
    administrator: String,
    _directories: [TempDir; 2],
}

impl Pair {
    fn start() -> Self {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let one = Running::start(directories[0].path(), &["--port", "0", "--log", "off"]);
        let running = std::fs::read(directories[0].path().join("stack.json")).unwrap();
        let running: Value = serde_json::from_slice(&running).unwrap();
        let endpoint = running["dynamodbEndpoint"].as_str().unwrap();
        let options = ["--port", "0", "--log", "off", "--dynamodb-endpoint", endpoint];
        let two = Running::start(directories[1].path(), &options);
        let administrator = one.credential("adminToken").to_owned();
        Self { one, two, administrator, _directories: directories }
    }

    /// A call of the admin API, through the first stack.
    fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) =
            self.one.send(method, path, ("authorization", &self.administrator), &body.to_string());
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn token(&self, role: &str) -> (String, String) {
        let body = json!({ "name": "Test", "roleId": role, "affiliateIDs": ["1234567890"] });
        let created = self.admin("POST", "/api/admin/tokens", &body);
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }
}

/// Whether a stack lets a token read leads.
fn reads(stack: &Running, token: &str) -> bool {
    match stack.post(LEADS, "authorization", token, r#"{"limit":1}"#) {
        (200, _) => true,
        (401, _) => false,
        (status, answer) => panic!("{status} {answer}"),
    }
}

#[test]
fn a_token_that_one_instance_deletes_is_refused_by_the_others_next_request() {
    let pair = Pair::start();
    for _ in 0..20 {
        let (token, id) = pair.token("partner");
        // Warm in both instances.
        for _ in 0..3 {
            assert!(reads(&pair.one, &token) && reads(&pair.two, &token));
        }
        pair.admin("DELETE", &format!("/api/admin/tokens/{id}"), &Value::Null);
        assert!(!reads(&pair.two, &token));
        assert!(!reads(&pair.one, &token));
    }
}

#[test]
fn a_whitelist_that_one_instance_changes_binds_the_others_next_request() {
    let pair = Pair::start();
    let (token, id) = pair.token("partner");
    let path = format!("/api/admin/tokens/{id}");
    for _ in 0..10 {
        assert!(reads(&pair.two, &token));
        pair.admin("PATCH", &path, &json!({ "whitelist": ["192.0.2.1"] }));
        assert!(!reads(&pair.two, &token) && !reads(&pair.one, &token));
        pair.admin("PATCH", &path, &json!({ "whitelist": ["192.0.2.1", "127.0.0.0/8"] }));
    }
}

#[test]
fn a_role_that_one_instance_changes_binds_the_other_within_a_minute() {
    let pair = Pair::start();
    let (reading, other) = (json!(["buckets:view-own"]), json!(["clients:create"]));
    // One role has the permission taken away, the other one is given it.
    let changes = [(&reading, &other, false), (&other, &reading, true)];
    let roles = changes.map(|(from, to, expected)| {
        let role =
            pair.admin("POST", "/api/admin/roles", &json!({ "name": "Changing", "permissions": from }));
        let id = role["id"].as_str().unwrap().to_owned();
        let (token, _) = pair.token(&id);
        (format!("/api/admin/roles/{id}"), token, to, expected)
    });
    let all = |wanted: &dyn Fn(bool) -> bool| {
        let mut tokens = roles.iter();
        tokens.all(|(_, token, _, expected)| {
            reads(&pair.one, token) == wanted(*expected) && reads(&pair.two, token) == wanted(*expected)
        })
    };
    assert!(all(&|expected| !expected));
    for (path, _, to, _) in &roles {
        pair.admin("PATCH", path, &json!({ "permissions": to }));
    }
    // With requests going on all the time.
    let changed = Instant::now();
    while !all(&|expected| expected) {
        assert!(changed.elapsed() < ROLE_LAG, "still an old role after {:?}", changed.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
}
