//! Every file in `events/` is an event that its function takes and answers as its name says: they
//! are input of `sam local invoke` and of this test alike.

use local::credentials::Credentials;
use local::functions::Deployed;
use local::outbox::Outbox;
use local::template::Template;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tests::{TestApp, eventually};

fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("events")
}

/// The status and the `message` that a case's name stands for.
fn expected(case: &str, function: &str) -> (u16, Option<&'static str>) {
    match (case, function) {
        ("success", _) => (200, None),
        ("sign-in", "autologin") => (303, None),
        ("unknown-link" | "used-link" | "no-link", "autologin") => (410, None),
        ("not-signed-in" | "session-over", "session") => (401, Some("Not signed in")),
        ("log-out", "session") => (204, None),
        ("no-token", "signup") => (401, Some("Invalid secret key")),
        ("no-token", _) => (401, Some("Access with the provided credentials is incorrect. CODE: X-0005")),
        ("bad-body", "leads") => (400, Some("limit must be an integer from 1 to 5000")),
        ("bad-body", "leads-by-source") => {
            (400, Some("filters.createdDate must be [from, to] in epoch milliseconds, null for an open side"))
        }
        ("bad-body", "signup") => (400, Some("Email, phone and first name are required")),
        ("bad-body", "admin-tokens") => (400, Some("whitelist[0] must be an IP address or CIDR block")),
        ("bad-body", "admin-roles") => (
            400,
            Some(
                "permissions[0] must be one of buckets:view-own, buckets:view-all, buckets:manage, \
                 clients:create, clients:view, clients:manage, security:manage",
            ),
        ),
        ("bad-body", "admin-buckets") => (400, Some("affiliateID cannot be changed")),
        ("bad-body", "admin-clients") => (400, Some("stauts is not a known field")),
        ("create", _) => (201, None),
        ("change" | "document" | "route" | "stats", _) => (200, None),
        ("asset" | "deep-link", "console") => (200, None),
        ("slash", "console" | "docs" | "session") => (200, None),
        ("unchanged", "console" | "docs") => (304, None),
        ("not-found", "console" | "docs") => (404, Some("There is no such file")),
        ("not-found", "admin-tokens") => (404, Some("There is no such token")),
        ("not-found", "admin-clients") => (404, Some("There is no such client")),
        ("in-use", "admin-roles") => (409, Some("The role has tokens: delete them first")),
        ("source-taken", "admin-buckets") => {
            (409, Some("Source facebook_ads is assigned to another bucket of the affiliate"))
        }
        ("malformed-body", _) => (400, Some("body must be valid JSON")),
        ("unknown-bucket", _) => (400, Some("Bucket with corresponding affiliateID doesn't exist")),
        ("unknown-source", _) => (400, Some("Provided sourceId does not belong to bucket")),
        _ => panic!("events/{function}/{case}.json: what is it to show?"),
    }
}

/// The event of a case, with a well-formed token of nobody in place of the placeholders.
fn with_token_of_nobody(function: &str, case: &str) -> String {
    let token = shared::secret::Token::generate().unwrap();
    let credentials = Credentials {
        admin_token: token.expose().to_owned(),
        partner_token: Some(token.expose().to_owned()),
        signup_key: Some(token.expose().to_owned()),
        bucket_id: Some("bucket".into()),
        affiliate_id: Some("affiliate".into()),
        source_id: Some("source".into()),
        ..Credentials::default()
    };
    credentials.fill(&fs::read_to_string(events().join(function).join(format!("{case}.json"))).unwrap())
}

fn takes_a_token(function: &str) -> bool {
    !["autologin", "console", "docs", "session", "registration-email"].contains(&function)
}

/// Nothing listens there: a refusal that needs no look-up is given, and whatever needs one is a
/// 500 that says nothing of the cause.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_only_what_needs_none_is_answered() {
    let functions = Template::built_in().unwrap().functions;
    let directory = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(directory.path()).unwrap();
    for function in functions.into_iter().filter(|function| takes_a_token(&function.name)) {
        let stack = |name: &str| match name {
            "AWS_ENDPOINT_URL_DYNAMODB" => Some("http://127.0.0.1:9".to_owned()),
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("x".to_owned()),
            _ => None,
        };
        let deployed = Deployed::new(&function, stack, &outbox).unwrap();
        let status_field = if function.name == "signup" { "providerStatus" } else { "statusCode" };
        let error =
            |status: u16, message: &str| format!(r#"{{"message":"{message}","{status_field}":{status}}}"#);

        let (status, message) = expected("no-token", &function.name);
        let answer = deployed.clone().invoke(with_token_of_nobody(&function.name, "no-token")).await.unwrap();
        assert_eq!(
            (&answer["statusCode"], &answer["body"]),
            (&json!(status), &json!(error(status, message.unwrap())))
        );

        let answer = deployed.invoke(with_token_of_nobody(&function.name, "success")).await.unwrap();
        assert_eq!(
            (&answer["statusCode"], &answer["body"]),
            (&json!(500), &json!(error(500, "Internal server error")))
        );
        assert_eq!(answer["headers"]["x-request-id"], "Jx1abcdEDoEEPlg=");
        assert_eq!(answer["headers"]["content-type"], "application/json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_answered_as_its_name_says() {
    let app = TestApp::start_with_demo_data().await;
    let mut answered = 0;
    let mut mailed = vec!["69ce524d741e8f2238320001".to_owned(), "69ce524d741e8f2238329fff".to_owned()];
    for function in Template::built_in().unwrap().functions {
        let (_, environment) = local::stack::environment(&function.name, app.directory.path()).unwrap();
        let deployed =
            Deployed::new(&function, |name| environment.get(name).cloned(), &app.stack.outbox).unwrap();
        let files = fs::read_dir(events().join(&function.name)).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let event = app.stack.credentials.fill(&fs::read_to_string(&path).unwrap());
            let event = match event.contains("{{autologinLink}}") {
                true => event.replace(
                    "{{autologinLink}}",
                    &local::stack::autologin_link(app.directory.path()).await.unwrap(),
                ),
                false => event,
            };
            assert!(!event.contains("{{"), "{path:?} has an unknown placeholder");

            let answer = deployed.clone().invoke(event.clone()).await.unwrap();

            if function.routes.is_empty() {
                // Of no record is there more to be done.
                assert_eq!(answer, json!({ "batchItemFailures": [] }), "{path:?}");
                answered += 1;
                continue;
            }
            let (status, message) = expected(&case, &function.name);
            assert_eq!(answer["statusCode"], json!(status), "{path:?} {answer}");
            if takes_a_token(&function.name) || message.is_some() {
                let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
                if let Some(message) = message {
                    assert_eq!(body["message"], message, "{path:?}");
                }
                if (function.name.as_str(), case.as_str()) == ("signup", "success") {
                    mailed.push(body["id"].as_str().unwrap().to_owned());
                }
            }
            let event: Value = serde_json::from_str(&event).unwrap();
            assert_eq!(answer["headers"]["x-request-id"], event["requestContext"]["requestId"]);
            let routes = function.routes.iter().map(|route| format!("{} {}", route.method, route.path));
            assert!(
                routes.into_iter().any(|route| event["routeKey"] == route),
                "{path:?} is of another route"
            );
            answered += 1;
        }
    }
    assert!(answered >= 55, "{answered}");
    let mut expected: Vec<_> = mailed.iter().map(|id| format!("{id}.eml")).collect();
    expected.sort();
    let outbox = app.stack.outbox.directory();
    // The sign-up's own email comes by the stream, in its time.
    eventually(|| async { expected.iter().all(|name| outbox.join(name).exists()) }).await;
    let mails = fs::read_dir(outbox).unwrap();
    let mut mails: Vec<_> = mails.map(|mail| mail.unwrap().file_name().into_string().unwrap()).collect();
    mails.sort();
    assert_eq!(mails, expected);
}
