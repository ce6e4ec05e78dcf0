//! The clients' stream → registration emails: sign-ups over HTTP with the stack's own stream pump,
//! and the handler on events of our own. Most go through a real SES client, to an SES that fails as
//! it is told.

use aws_sdk_dynamodb::types::AttributeValue;
use local::functions::Deployed;
use local::template::Template;
use mail_parser::{MessageParser, MimeHeaders};
use serde_json::{Value, json};
use shared::model::ClientId;
use shared::store::{ClaimMail, MailOutcome, keys};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tests::dynamodb::Dynamodb;
use tests::proxy::Proxy;
use tests::ses::{Ses, Verdict};
use tests::sessions::now;
use tests::{TestApp, eventually};

const THROTTLED: Verdict = Verdict::Error(429, "TooManyRequestsException", "Maximum sending rate exceeded.");
const DOWN: Verdict = Verdict::Error(500, "InternalFailure", "");
const REJECTED: Verdict = Verdict::Error(400, "MessageRejected", "Address is on the suppression list");

fn new_client(email: &str) -> Value {
    json!({ "email": email, "phone": "+1234567890", "firstName": "Jane", "sendEmail": true })
}

/// A stack whose emails go to an SES.
async fn app_with(ses: &Ses) -> TestApp {
    TestApp::start_set(&[("AWS_ENDPOINT_URL_SESV2", &ses.endpoint()), ("ORIGINS", "")]).await
}

/// The function itself, with the stack's environment.
fn deployed(app: &TestApp) -> Deployed {
    let (function, environment) =
        local::stack::environment("registration-email", app.directory.path()).unwrap();
    Deployed::new(&function, |name| environment.get(name).cloned(), &app.stack.outbox).unwrap()
}

/// A stream record of a new client.
fn record(number: usize, email: &str) -> Value {
    let id = format!("client-{number}");
    json!({
        "eventID": format!("{number}"), "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1", "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/T/stream/S",
        "dynamodb": {
            "ApproximateCreationDateTime": 1776172330.0, "SequenceNumber": sequence_number(number), "SizeBytes": 100,
            "StreamViewType": "NEW_IMAGE", "Keys": { "pk": { "S": format!("C#{id}") } },
            "NewImage": { "pk": { "S": format!("C#{id}") }, "id": { "S": id }, "email": { "S": email },
                "firstName": { "S": "Jane" }, "sendEmail": { "BOOL": true } },
        },
    })
}

fn sequence_number(number: usize) -> String {
    format!("1{number:020}")
}

/// Delivers records as one event; the numbers of those that are to be delivered again.
async fn deliver(function: &Deployed, records: &[Value]) -> Vec<usize> {
    let answer = function.clone().invoke(json!({ "Records": records }).to_string()).await.unwrap();
    let failures = answer["batchItemFailures"].as_array().unwrap();
    let names = failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap());
    names.map(|name| name[1..].parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_up_that_asks_for_it_gets_one_valid_email_with_both_parts() {
    let app = TestApp::start().await;
    let key = app.sign_up_key(&[]).await;
    let id = app.signed_up(&key, &new_client("jane@example.com")).await;
    let path = app.stack.outbox.directory().join(format!("{id}.eml"));
    eventually(|| async { path.exists() }).await;

    let bytes = std::fs::read(&path).unwrap();
    let message = MessageParser::new().parse(&bytes).unwrap();
    assert_eq!(message.to().unwrap().first().unwrap().address(), Some("jane@example.com"));
    let from = message.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("WBCS"), Some("no-reply@example.com")));
    assert_eq!(message.subject(), Some("Welcome to WBCS"));
    let text = message.body_text(0).unwrap();
    assert!(text.starts_with("Hello Jane,"), "{text}");
    let link = format!("{}/tradersroom", app.stack.credentials.base_url);
    assert!(text.contains(&link), "{text}");
    let html = message.body_html(0).unwrap();
    assert!(html.contains("Welcome, Jane") && html.contains(&format!("href=\"{link}\"")), "{html}");
    let kinds: Vec<_> = message.parts.iter().filter_map(|part| part.content_type()).collect();
    let kinds: Vec<_> = kinds.iter().map(|kind| (kind.ctype(), kind.subtype().unwrap())).collect();
    assert_eq!(kinds, [("multipart", "alternative"), ("text", "plain"), ("text", "html")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sign_ups_that_ask_get_an_email_and_each_one_only() {
    let ses = Ses::start().await;
    let app = app_with(&ses).await;
    let key = app.sign_up_key(&[]).await;
    for (number, ask) in [Value::Null, json!(false)].into_iter().enumerate() {
        let mut body = new_client(&format!("silent{number}@example.com"));
        body["sendEmail"] = ask;
        app.signed_up(&key, &body).await;
    }
    // Replays, a duplicate and changes of the client send nothing more.
    for replayed in [None, Some("true"), Some("true")] {
        let answer = app.sign_up_once(&key, "k", &new_client("once@example.com")).await;
        answer.assert_ok();
        assert_eq!(answer.header("idempotency-replayed"), replayed);
    }
    let again = app.sign_up(&key, &new_client("ONCE@example.com")).await;
    again.assert_provider_error(400, "User with this email already exists");
    let id = app.sign_up_once(&key, "k", &new_client("once@example.com")).await.json()["id"].clone();
    let path = format!("/api/admin/clients/{}", id.as_str().unwrap());
    for body in [json!({ "status": "hot" }), json!({ "email": "moved@example.com" })] {
        app.admin(app.administrator(), "PATCH", &path, Some(&body)).await.assert_ok();
    }
    // Records are delivered in order, those of one event at once: when the email of a record that came after the
    // event of the others is sent, all of theirs are.
    for email in ["last@example.com", "marker@example.com"] {
        app.signed_up(&key, &new_client(email)).await;
        eventually(|| async { ses.taken_for(email) >= 1 }).await;
    }

    let mut to: Vec<_> = ses.taken().into_iter().map(|taken| taken.to).collect();
    to.sort();
    assert_eq!(to, ["last@example.com", "marker@example.com", "once@example.com"]);
    app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_service_that_is_down_delays_emails_and_no_sign_up() {
    let ses = Ses::start().await;
    let is_down = Arc::new(AtomicBool::new(true));
    let asked = is_down.clone();
    ses.judge(move |_| if asked.load(Ordering::Relaxed) { DOWN } else { Verdict::Taken });
    let app = app_with(&ses).await;
    let key = app.sign_up_key(&[]).await;
    let emails: Vec<String> = (0..30).map(|number| format!("c{number}@example.com")).collect();
    for email in &emails {
        app.signed_up(&key, &new_client(email)).await;
    }
    eventually(|| async { ses.calls() > 0 }).await;
    assert_eq!(ses.taken().len(), 0);

    is_down.store(false, Ordering::Relaxed);
    eventually(|| async { emails.iter().all(|email| ses.taken_for(email) >= 1) }).await;
    app.signed_up(&key, &new_client("last@example.com")).await;
    eventually(|| async { ses.taken_for("last@example.com") >= 1 }).await;
    assert_eq!(ses.taken().len(), 31, "each once");
    app.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_delivered_again_sends_nothing_more() {
    let ses = Ses::start().await;
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let records: Vec<Value> =
        (0..20).map(|number| record(number, &format!("c{number}@example.com"))).collect();
    // Two invocations at once: what one has claimed the other reports as failed, to be told later.
    let (one, other) = tokio::join!(deliver(&function, &records), deliver(&function, &records));
    assert!(one.iter().all(|number| !other.contains(number)), "{one:?} {other:?}");
    for _ in 0..3 {
        assert_eq!(deliver(&function, &records).await, [0; 0]);
    }
    // The same client twice in one event.
    let twice = [record(20, "c20@example.com"), record(20, "c20@example.com")];
    assert!(deliver(&function, &twice).await.len() <= 1);
    assert_eq!(deliver(&function, &twice).await, [0; 0]);
    assert_eq!(ses.taken().len(), 21);
    assert!((0..21).all(|number| ses.taken_for(&format!("c{number}@example.com")) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_refused_for_good_does_not_block_others() {
    let ses = Ses::start().await;
    ses.judge(|to| match to {
        "refused@example.com" => REJECTED,
        "bad@example.com" => Verdict::Error(400, "BadRequestException", "Illegal address"),
        // In SES's sandbox: the receiver's address, not the sender's.
        "sandbox@example.com" => Verdict::Error(
            400,
            "MessageRejected",
            "Email address is not verified. The following identities failed the check in region EU-WEST-1: \
             sandbox@example.com",
        ),
        _ => Verdict::Taken,
    });
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let emails = [
        "a@example.com",
        "refused@example.com",
        "b@example.com",
        // Never handed to SES: it takes ASCII only.
        "jösé@example.com",
        "bad@example.com",
        "sandbox@example.com",
        "c@bücher.example",
    ];
    let records: Vec<Value> =
        emails.iter().enumerate().map(|(number, email)| record(number, email)).collect();
    for _ in 0..2 {
        assert_eq!(deliver(&function, &records).await, [0; 0]);
    }
    let mut to: Vec<_> = ses.taken().into_iter().map(|taken| taken.to).collect();
    to.sort();
    assert_eq!(to, ["a@example.com", "b@example.com", "c@xn--bcher-kva.example"]);
    assert_eq!(ses.calls(), 6, "what was refused is not tried again");
    let refused = app.record(&keys::registration_email(&ClientId::new("client-1"))).await.unwrap();
    assert_eq!(refused["refused"].as_s().unwrap(), "MessageRejected");
    // An operator who knows better can have them tried again.
    let id = ClientId::new("client-1");
    assert!(matches!(app.store().claim_mail(&id, false).await.unwrap(), ClaimMail::Settled));
    assert!(matches!(app.store().claim_mail(&id, true).await.unwrap(), ClaimMail::Claimed(_)));
    let mut malformed = record(9, "x@example.com");
    malformed["dynamodb"]["NewImage"] = json!({ "sendEmail": { "BOOL": true } });
    assert_eq!(deliver(&function, &[malformed]).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_reported_and_the_rest_is_sent() {
    let ses = Ses::start().await;
    let tries = Mutex::new(HashMap::<String, usize>::new());
    ses.judge(move |to| {
        let mut tries = tries.lock().unwrap();
        let tries = tries.entry(to.to_owned()).or_default();
        *tries += 1;
        // Three attempts are those of one invocation.
        if to.starts_with("late") && *tries <= 3 { DOWN } else { Verdict::Taken }
    });
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let names = ["a", "late1", "b", "c", "late2", "d"];
    let records: Vec<Value> =
        (0..6).map(|number| record(number, &format!("{}@example.com", names[number]))).collect();
    assert_eq!(deliver(&function, &records).await, [1, 4]);
    assert_eq!(ses.taken().len(), 4);
    // Lambda delivers again from the first failure on.
    assert_eq!(deliver(&function, &records[1..]).await, [0; 0]);
    assert_eq!(ses.taken().len(), 6);
    assert!(names.iter().all(|name| ses.taken_for(&format!("{name}@example.com")) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_throttles_is_left_alone_and_loses_nothing() {
    for (number, verdict) in [
        THROTTLED,
        Verdict::Error(400, "SendingPausedException", "Sending is paused"),
        Verdict::Error(400, "AccountSuspendedException", "Suspended"),
        Verdict::Error(403, "AccessDeniedException", "not authorized to perform ses:SendRawEmail"),
        Verdict::Error(
            400,
            "MessageRejected",
            "Email address is not verified. The following identities failed the check: no-reply@example.com",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let ses = Ses::start().await;
        ses.judge(move |_| verdict);
        let app = app_with(&ses).await;
        let function = deployed(&app);
        let records: Vec<Value> =
            (0..60).map(|client| record(client, &format!("c{client}@example.com"))).collect();
        assert_eq!(deliver(&function, &records).await.len(), 60, "case {number}");
        // Those that were under way at once, with all their attempts; none of the others.
        assert!((1..=15).contains(&ses.calls()), "case {number}: {}", ses.calls());
        ses.judge(|_| Verdict::Taken);
        assert_eq!(deliver(&function, &records).await, [0; 0], "case {number}");
        assert_eq!(ses.taken().len(), 60, "case {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_whose_answer_is_lost_is_never_lost_itself() {
    let ses = Ses::start().await;
    let mut number = 0;
    ses.judge(move |_| {
        number += 1;
        match number % 4 {
            0 => Verdict::TakenAnswerLost,
            1 => Verdict::Broken,
            _ => Verdict::Taken,
        }
    });
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let records: Vec<Value> =
        (0..40).map(|client| record(client, &format!("c{client}@example.com"))).collect();
    let mut rounds = 0;
    while !deliver(&function, &records).await.is_empty() {
        rounds += 1;
        assert!(rounds < 50);
    }
    // SES has no way to tell a repeated call: one too many is better than one too few.
    assert!((0..40).all(|client| ses.taken_for(&format!("c{client}@example.com")) >= 1));
    assert_eq!(deliver(&function, &records).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_others_away_until_it_is_over() {
    let ses = Ses::start().await;
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let id = ClientId::new("client-7");
    let ClaimMail::Claimed(_) = app.store().claim_mail(&id, false).await.unwrap() else {
        panic!("not claimed")
    };
    // Whoever claimed it was killed.
    assert_eq!(deliver(&function, &[record(7, "c7@example.com")]).await, [7]);
    assert_eq!(ses.calls(), 0);
    app.set_record(&keys::registration_email(&id), "claimedUntil", now()).await;
    assert_eq!(deliver(&function, &[record(7, "c7@example.com")]).await, [0; 0]);
    assert_eq!(ses.taken_for("c7@example.com"), 1);
    assert_eq!(deliver(&function, &[record(7, "c7@example.com")]).await, [0; 0]);
    assert_eq!(ses.taken_for("c7@example.com"), 1);
}

/// Writes of an email's record that arrive when it is another one's.
#[tokio::test]
async fn a_late_claim_or_refusal_changes_nothing() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    let (store, id) = (app.store(), ClientId::new("client-7"));
    let claim = async |refused_too| match store.claim_mail(&id, refused_too).await.unwrap() {
        ClaimMail::Claimed(claim) => Some(claim),
        ClaimMail::Settled => None,
        ClaimMail::Busy => panic!("nobody has it"),
    };
    proxy.delay("PutItem", "ExpiringTable");
    let first = claim(false).await.unwrap();
    store.release_mail(&first).await.unwrap();
    assert_eq!(proxy.deliver_late().await, 1);
    let second = claim(false).await.unwrap();
    proxy.delay("PutItem", "ExpiringTable");
    store.settle_mail(&second, &MailOutcome::Refused("code")).await.unwrap();
    let third = claim(true).await.unwrap();
    store.settle_mail(&third, &MailOutcome::Sent).await.unwrap();
    assert_eq!(proxy.deliver_late().await, 1);
    assert!(claim(true).await.is_none(), "it was sent");
    drop(app);
    dynamodb.stop().await;
}

/// A service that takes an email and does not say so gets no second one at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_email_that_is_not_answered_is_not_sent_again_before_its_claim_ends() {
    let ses = Ses::start().await;
    ses.judge(|_| Verdict::TakenUnanswered);
    let app = app_with(&ses).await;
    let function = deployed(&app);
    let records = [record(7, "c7@example.com")];
    assert_eq!(deliver(&function, &records).await, [7]);
    assert_eq!((ses.calls(), ses.taken_for("c7@example.com")), (1, 1));
    ses.judge(|_| Verdict::Taken);
    let claim = keys::registration_email(&ClientId::new("client-7"));
    let store = app.store();
    let get = store.sdk().get_item().table_name(&store.tables().expiring);
    let stored = get.key("pk", AttributeValue::S(claim.clone())).send().await.unwrap().item.unwrap();
    let until: i64 = stored["claimedUntil"].as_n().unwrap().parse().unwrap();
    assert!(until > 0, "it was given up");
    app.set_record(&claim, "claimedUntil", now()).await;
    assert_eq!(deliver(&function, &records).await, [0; 0]);
    assert_eq!(ses.taken_for("c7@example.com"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_from_sign_ups_become_neither_headers_nor_markup_nor_links() {
    let ses = Ses::start().await;
    let app = app_with(&ses).await;
    let key = app.sign_up_key(&[]).await;
    let names = [
        "Jane\r\nBcc: evil@evil.example",
        "Jane\u{0}\n\n<script>alert(1)</script>",
        "=?utf-8?B?QmNjOiBldmlsQGV2aWwuZXhhbXBsZQ==?=",
        "<img src=x onerror=alert(1)>",
        "</td></table><a href=\"//evil.example\">",
        "You won: www.evil.example",
        "\u{202e}enaJ\u{2066}",
        "\r\n.\r\nMAIL FROM:<evil@evil.example>",
        &"W".repeat(1024),
    ];
    for (number, name) in names.iter().enumerate() {
        let mut body = new_client(&format!("c{number}@example.com"));
        body["firstName"] = json!(name);
        body["lastName"] = json!(name);
        app.signed_up(&key, &body).await;
    }
    let all: BTreeSet<_> = (0..names.len()).map(|number| format!("c{number}@example.com")).collect();
    eventually(|| async { ses.taken().into_iter().map(|taken| taken.to).collect::<BTreeSet<_>>() == all })
        .await;
    for taken in ses.taken() {
        let message = MessageParser::new().parse(&taken.message).unwrap();
        let headers: Vec<_> = message.headers().iter().map(|header| header.name()).collect();
        let expected =
            ["From", "To", "Subject", "Message-ID", "Date", "MIME-Version", "Auto-Submitted", "Content-Type"];
        assert_eq!(headers, expected);
        assert_eq!(message.to().unwrap().iter().count(), 1);
        assert_eq!(message.to().unwrap().first().unwrap().address(), Some(taken.to.as_str()));
        let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        assert_eq!(html.matches("<a ").count(), 1, "{html}");
        for part in [&text, &html] {
            assert!(!part.contains("evil.example") && !part.contains('\u{202e}'), "{part}");
        }
        assert!(
            taken.message.is_ascii()
                && taken.message.split(|byte| *byte == b'\n').all(|line| line.len() < 999)
        );
    }
}

/// What the template gives Lambda, beyond what the stream pump does itself.
#[test]
fn the_stream_is_read_as_the_function_needs_it() {
    let template = Template::built_in().unwrap();
    let function = template.resource("RegistrationEmailFunction");
    let source = &function["Properties"]["Events"]["NewClients"]["Properties"];
    assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(source["BisectBatchOnFunctionError"], true);
    assert_eq!(source["DestinationConfig"]["OnFailure"]["Type"], "SQS");
    // Streams keep records for a day; what is not given up before is lost without a word.
    assert!(source["MaximumRecordAgeInSeconds"].as_i64().unwrap() < 24 * 3600);
    // An email takes no longer than its claim lasts; the function must have time for one.
    assert!(function["Properties"]["Timeout"].as_i64().unwrap() >= 2 * shared::store::CLAIM_SECONDS);
    let view = &template.resource("ClientsTable")["Properties"]["StreamSpecification"]["StreamViewType"];
    assert_eq!(view, "NEW_IMAGE");
}
