//! `local bootstrap` as operators run it: the first administrator's token on the embedded engine,
//! stopped and running.

use crate::program::{Output, Running, run};
use local::{Options, Stack};
use serde_json::json;
use shared::model::{NewToken, Permissions, Role, RoleId, Timestamp, Whitelist};
use std::path::Path;

/// Whether a token is an administrator's: it lists roles.
fn administrates(stack: &Running, token: &str) -> bool {
    let (status, answer) = stack.get("/api/admin/roles", token);
    match status {
        200 => true,
        401 => false,
        _ => panic!("{status} {answer}"),
    }
}

fn bootstrap(directory: &Path, options: &[&str]) -> Output {
    run(directory, &[&["bootstrap"], options].concat())
}

/// The token that a bootstrap printed, alone on standard output.
fn token(output: &Output) -> String {
    assert!(output.success, "{output:?}");
    let token = output.stdout.strip_suffix('\n').unwrap();
    assert!(token.starts_with("wbcs_") && !token.contains(char::is_whitespace), "{output:?}");
    assert!(!output.stderr.contains(token), "{output:?}");
    token.to_owned()
}

fn refused(output: &Output) -> &str {
    assert!(!output.success && output.stdout.is_empty(), "{output:?}");
    &output.stderr
}

#[test]
fn the_first_token_is_made_once_and_printed_once() {
    let directory = tempfile::tempdir().unwrap();
    let first = bootstrap(directory.path(), &[]);
    let administrator = token(&first);
    assert!(first.stderr.contains("It cannot be shown again"), "{first:?}");

    let second = bootstrap(directory.path(), &[]);
    let message = refused(&second);
    assert!(message.starts_with("error: an administrator's token exists;"), "{message}");
    assert!(message.contains(&administrator[..9]) && !message.contains(&administrator[..12]), "{message}");

    let forced = bootstrap(directory.path(), &["--force", "--json", "--name", " Night shift "]);
    let printed: serde_json::Value = serde_json::from_str(&forced.stdout).unwrap();
    let other = printed["token"].as_str().unwrap().to_owned();
    assert_eq!((&printed["name"], &printed["expiresAt"]), (&json!("Night shift"), &json!(null)));

    let stack = Running::start(directory.path(), &["--port", "0", "--no-demo-data"]);
    assert!(administrates(&stack, &administrator) && administrates(&stack, &other));
    let (_, list) = stack.get("/api/admin/tokens", &administrator);
    assert!(list["items"].as_array().unwrap().iter().any(|item| item["id"] == printed["id"]), "{list}");
    drop(stack);
    let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.is_file()) {
        let bytes = std::fs::read(&path).unwrap();
        for token in [&administrator, &other] {
            let found = bytes.windows(token.len()).any(|part| part == token.as_bytes());
            assert!(!found, "{} has the token", path.display());
        }
    }
}

#[test]
fn it_works_beside_the_running_stack() {
    let directory = tempfile::tempdir().unwrap();
    let stack = Running::start(directory.path(), &["--port", "0", "--no-demo-data"]);
    let own = stack.credential("adminToken").to_owned();
    refused(&bootstrap(directory.path(), &[]));
    assert_eq!(stack.delete(&format!("/api/admin/tokens/{}", stack.token_id(&own)), &own), 204);
    let made = bootstrap(directory.path(), &["--whitelist", "127.0.0.1, 10.0.0.0/8"]);
    let check = format!("{}/api/public/token", stack.credential("baseUrl"));
    assert!(made.stderr.contains(&check), "{made:?}");
    let administrator = token(&made);
    assert!(administrates(&stack, &administrator) && !administrates(&stack, &own));
    // One that may be used from elsewhere only is an administrator's all the same.
    let elsewhere = token(&bootstrap(directory.path(), &["--force", "--whitelist", "192.0.2.1"]));
    assert!(!administrates(&stack, &elsewhere));
}

#[test]
fn of_simultaneous_commands_one_makes_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let stack = Running::start(directory.path(), &["--port", "0", "--no-demo-data"]);
    let own = stack.credential("adminToken").to_owned();
    assert_eq!(stack.delete(&format!("/api/admin/tokens/{}", stack.token_id(&own)), &own), 204);
    let commands: Vec<_> = (0..8)
        .map(|_| {
            let path = directory.path().to_owned();
            std::thread::spawn(move || bootstrap(&path, &[]))
        })
        .collect();
    let outputs: Vec<_> = commands.into_iter().map(|command| command.join().unwrap()).collect();
    let made: Vec<_> = outputs.iter().filter(|output| output.success).map(token).collect();
    assert_eq!(made.len(), 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.success) {
        assert!(refused(output).contains("an administrator's token exists"), "{output:?}");
    }
    let (_, list) = stack.get("/api/admin/tokens", &made[0]);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
}

/// Adds a token to a stopped stack's tables, past what the commands allow.
async fn add(directory: &Path, role: &str, expires_at: Option<Timestamp>) {
    let options = Options { memory: false, ..Options::in_memory(directory) };
    let stack = Stack::start(&options).await.unwrap();
    for own in stack.store.all_tokens().await.unwrap() {
        stack.store.delete_token(&own, None).await.unwrap();
    }
    let new = NewToken {
        name: "Added".into(),
        role_id: RoleId::new(role),
        expires_at,
        whitelist: Whitelist::default(),
        affiliate_ids: vec!["A".into()],
    };
    let (token, record) = new.generate().unwrap();
    let created = stack.store.create_token(&record, &token.digest()).await.unwrap();
    assert_eq!(created, shared::store::CreateToken::Created);
    stack.stop().await;
}

#[tokio::test]
async fn expired_tokens_and_those_of_other_roles_are_no_administrators() {
    let past = Timestamp::clamped(Timestamp::now().millis() - 1);
    for (role, expires_at) in [("administrator", Some(past)), ("partner", None)] {
        let directory = tempfile::tempdir().unwrap();
        add(directory.path(), role, expires_at).await;
        token(&bootstrap(directory.path(), &[]));
    }
    let directory = tempfile::tempdir().unwrap();
    let later = Timestamp::clamped(Timestamp::now().millis() + 3_600_000);
    add(directory.path(), "administrator", Some(later)).await;
    refused(&bootstrap(directory.path(), &[]));
}

#[tokio::test]
async fn a_changed_administrator_role_is_given_back_by_force_only() {
    let directory = tempfile::tempdir().unwrap();
    token(&bootstrap(directory.path(), &[]));
    let options = Options { memory: false, ..Options::in_memory(directory.path()) };
    let stack = Stack::start(&options).await.unwrap();
    let changed = Role {
        id: RoleId::new(Role::ADMINISTRATOR),
        name: "Less".into(),
        permissions: Permissions::default(),
    };
    let stored = stack.store.role(&changed.id).await.unwrap().unwrap();
    stack.store.change_role(&stored.version, &changed).await.unwrap();
    stack.stop().await;
    let message = bootstrap(directory.path(), &[]);
    assert!(refused(&message).contains("does not grant security:manage"), "{message:?}");
    let administrator = token(&bootstrap(directory.path(), &["--force"]));
    let stack = Running::start(directory.path(), &["--port", "0", "--no-demo-data"]);
    assert!(administrates(&stack, &administrator));
}

#[test]
fn what_cannot_be_printed_is_not_left_valid() {
    let directory = tempfile::tempdir().unwrap();
    let failed = crate::program::command(directory.path(), &["bootstrap"])
        .stdout(std::fs::File::options().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(!failed.status.success() && message.contains("was deleted again"), "{message}");
    token(&bootstrap(directory.path(), &[]));
}

#[test]
fn mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let names = ["tokens", "roles", "buckets", "clients", "expiring", "activity"];
    let six: Vec<_> =
        names.iter().flat_map(|name| [format!("--{name}-table"), format!("My{name}")]).collect();
    let six: Vec<_> = six.iter().map(String::as_str).collect();
    let _stack = Running::start(directory.path(), &["--port", "0", "--no-demo-data"]);
    let running = std::fs::read(directory.path().join("stack.json")).unwrap();
    let running: serde_json::Value = serde_json::from_slice(&running).unwrap();
    let endpoint = running["dynamodbEndpoint"].as_str().unwrap();
    let at_endpoint = ["--dynamodb-endpoint", endpoint];
    for (options, expected) in [
        (vec!["--expires-at", "2001-01-01"], "use a date in the future"),
        (vec!["--whitelist", "10.0.0.0/8,nonsense"], "whitelist[1] must be an IP address or CIDR block"),
        (vec!["--name", " "], "use 1 to "),
        (vec!["--tokens-table", "MyTokens"], "--roles-table"),
        (vec!["--stack-name", "prod", "--dynamodb-endpoint", "http://localhost"], "cannot be used with"),
        (
            vec!["--dynamodb-endpoint", "http://127.0.0.1:1"],
            "http://127.0.0.1:1: can't read table TokensTable",
        ),
        ([at_endpoint.as_slice(), six.as_slice()].concat(), "there is no table Mytokens"),
    ] {
        let output =
            crate::program::output(crate::program::plain(&[&["bootstrap"], options.as_slice()].concat()));
        assert!(refused(&output).contains(expected), "{output:?}");
    }
    refused(&crate::program::output(crate::program::plain(&["bootstrap", at_endpoint[0], at_endpoint[1]])));
}
