//! What a call of DynamoDB that partners wait for makes of answers that go wrong: a DynamoDB that answers by
//! a script. The embedded engine answers rightly, always.

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use shared::config::Tables;
use shared::model::{Client, ClientId, Keys, RoleId, Version};
use shared::store::{Registered, Store};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tests::new_client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Attempts of a call.
const ATTEMPTS: usize = 5;
const LEAD: &str = r#"{"Responses":{"clients":[{"pk":{"S":"E#jane@example.com"},"b":{"S":"list"},"s":{"S":"new"},
    "c":{"S":"1700000000000#id-1"},"u":{"S":"1700000000000#id-1"}}]},"UnprocessedKeys":{}}"#;

#[derive(Clone, Copy, Debug)]
enum Step {
    Answer(u16, &'static str),
    /// Says that the body is longer than what comes.
    CutOff(&'static str),
    /// Ends the connection without a word.
    Reset,
}
use Step::{Answer, CutOff, Reset};

#[derive(Clone, Debug)]
struct Asked {
    headers: String,
    body: String,
}

struct Scripted {
    store: Store,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Answers one step a request, and the last one again and again.
    async fn start(steps: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (asked, steps) =
            (Arc::<Mutex<Vec<_>>>::default(), Arc::new(Mutex::new(VecDeque::from(steps.to_vec()))));
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, steps.clone(), noted.clone()));
            }
        });
        let session = Some("session".to_owned());
        let given = Credentials::new("AKIDEXAMPLE", "secret", session, None, "test");
        let tables = Tables {
            tokens: "tokens".into(),
            roles: "roles".into(),
            buckets: "buckets".into(),
            clients: "clients".into(),
            expiring: "expiring".into(),
            activity: "activity".into(),
        };
        let credentials = SharedCredentialsProvider::new(given);
        Self { store: Store::connect("eu-west-1", credentials, Some(&endpoint), &tables), asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    steps: Arc<Mutex<VecDeque<Step>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut headers, mut length) = (String::new(), 0);
        loop {
            let from = headers.len();
            if stream.read_line(&mut headers).await.ok()? == 0 {
                return None;
            }
            let line = headers[from..].trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        asked.lock().ok()?.push(Asked { headers, body: String::from_utf8(body).ok()? });
        let step = {
            let mut steps = steps.lock().ok()?;
            if steps.len() > 1 { steps.pop_front()? } else { *steps.front()? }
        };
        let head = |status: u16, length: usize| {
            format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {length}\r\n\r\n"
            )
        };
        match step {
            Answer(status, body) => {
                stream.write_all((head(status, body.len()) + body).as_bytes()).await.ok()?;
            }
            CutOff(body) => {
                stream.write_all((head(200, body.len() + 10) + body).as_bytes()).await.ok()?;
                return None;
            }
            Reset => return None,
        }
    }
}

fn jane() -> Keys {
    Keys { emails: vec!["jane@example.com".into()], ids: vec![] }
}

#[tokio::test]
async fn what_goes_wrong_on_the_way_is_tried_again() {
    let refused = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"m"}"#;
    for wrong in [
        Answer(200, "garbage"),
        Answer(200, "{}"),
        Answer(200, r#"{"Responses":{"clients":[{"pk":"#),
        Answer(200, "<html></html>"),
        Answer(500, "{}"),
        Answer(503, "not now"),
        Answer(400, refused),
        CutOff(LEAD),
        Reset,
    ] {
        let dynamodb = Scripted::start(&[wrong, Answer(200, LEAD)]).await;
        let found = dynamodb.store.leads_by_keys(&jane()).await.unwrap();
        assert_eq!(found.len(), 1, "{wrong:?}");
        assert_eq!(found[0].lead.id, ClientId::new("id-1"));
        let asked = dynamodb.asked();
        assert_eq!((asked.len(), asked[0].body == asked[1].body), (2, true), "{wrong:?}");
    }
}

#[tokio::test]
async fn what_stays_wrong_is_an_error_and_no_empty_answer() {
    for (wrong, attempts, code) in [
        (Answer(200, "{}"), ATTEMPTS, "answer could not be read"),
        (Answer(500, "{}"), ATTEMPTS, "unknown"),
        (Answer(400, r#"{"__type":"x#ValidationException"}"#), 1, "ValidationException"),
        (Answer(400, r#"{"__type":"x#AccessDeniedException"}"#), 1, "AccessDeniedException"),
        // An item that is not as it was written would be the same again.
        (Answer(200, r#"{"Responses":{"clients":[{"pk":{"S":"E#a"}}]}}"#), 1, "stored item is malformed"),
    ] {
        let dynamodb = Scripted::start(&[wrong]).await;
        let error = dynamodb.store.leads_by_keys(&jane()).await.unwrap_err().to_string();
        assert_eq!((dynamodb.asked().len(), error.contains(code)), (attempts, true), "{wrong:?}: {error}");
    }
}

/// The SDK's own operations would take an empty answer for an item that does not exist.
#[tokio::test]
async fn calls_of_the_sdk_try_what_is_no_answer_again_too() {
    const TOKEN: &str = r#"{"Item":{"id":{"S":"t1"}}}"#;
    let get = async |dynamodb: &Scripted| {
        let get = dynamodb.store.sdk().get_item().table_name("tokens");
        get.key("id", AttributeValue::S("t1".into())).send().await
    };
    for wrong in ["", "garbage", "<html></html>", r#"{"Item":{"id":"#, "[]", "null"] {
        let dynamodb = Scripted::start(&[Answer(200, wrong), Answer(200, TOKEN)]).await;
        let found = get(&dynamodb).await.unwrap().item.unwrap();
        assert_eq!((found["id"].as_s().unwrap().as_str(), dynamodb.asked().len()), ("t1", 2), "{wrong:?}");

        let dynamodb = Scripted::start(&[Answer(200, wrong)]).await;
        assert!(get(&dynamodb).await.is_err(), "{wrong:?}");
        assert_eq!(dynamodb.asked().len(), ATTEMPTS, "{wrong:?}");
    }
    let dynamodb = Scripted::start(&[Answer(200, "{}")]).await;
    assert_eq!(get(&dynamodb).await.unwrap().item, None);
    assert_eq!(dynamodb.asked().len(), 1);
}

/// Where a transaction is under way on an item, the SDK's operations on it are tried again, too.
#[tokio::test]
async fn calls_of_the_sdk_wait_for_transactions_that_are_under_way() {
    const OWN: &str = r#"{"Item":{"pk":{"S":"C#1"},"details":{"BOOL":true}}}"#;
    const CONFLICT: Step = Answer(400, r#"{"__type":"x#TransactionConflictException","message":"busy"}"#);
    const CANCELLED: Step = Answer(
        400,
        r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict"}]}"#,
    );
    const REFUSED: Step = Answer(
        400,
        r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"ValidationError"},{"Code":"TransactionConflict"}]}"#,
    );
    let role = RoleId::new("r");
    let delete = async |steps: &[Step]| {
        let dynamodb = Scripted::start(steps).await;
        (dynamodb.store.delete_role(&role, &Version::default()).await.is_ok(), dynamodb.asked().len())
    };
    assert_eq!(delete(&[CONFLICT, CONFLICT, Answer(200, "{}")]).await, (true, 3));
    assert_eq!(delete(&[CONFLICT]).await, (false, ATTEMPTS));
    assert_eq!(delete(&[Answer(400, r#"{"__type":"x#ValidationException"}"#)]).await, (false, 1));

    let read = async |steps: &[Step]| {
        let dynamodb = Scripted::start(steps).await;
        let read = dynamodb.store.client(&ClientId::new("1")).await;
        (read.is_ok(), dynamodb.asked().len())
    };
    let gone = Answer(200, r#"{"Responses":[{},{}]}"#);
    assert_eq!(read(&[Answer(200, OWN), CANCELLED, CANCELLED, gone]).await, (true, 4));
    assert_eq!(read(&[Answer(200, OWN), CANCELLED]).await, (false, 1 + ATTEMPTS));
    assert_eq!(read(&[Answer(200, OWN), REFUSED]).await, (false, 2));
}

#[tokio::test]
async fn keys_that_are_left_are_asked_for_again_and_alone() {
    const LEFT: &str = r#"{"Responses":{"clients":[]},"UnprocessedKeys":{"clients":{"Keys":[{"pk":{"S":"E#jane@example.com"}}]}}}"#;
    let dynamodb = Scripted::start(&[Answer(200, LEFT), Answer(200, LEAD)]).await;
    let keys = Keys { emails: vec!["jane@example.com".into(), "john@example.com".into()], ids: vec![] };
    assert_eq!(dynamodb.store.leads_by_keys(&keys).await.unwrap().len(), 1);
    let asked = dynamodb.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].body.contains("john@example.com") && !asked[1].body.contains("john@example.com"));
}

#[tokio::test]
async fn requests_are_signed() {
    let dynamodb = Scripted::start(&[Answer(200, LEAD)]).await;
    dynamodb.store.leads_by_keys(&jane()).await.unwrap();
    let headers = dynamodb.asked()[0].headers.to_ascii_lowercase();
    for part in [
        "authorization: aws4-hmac-sha256 credential=akidexample/",
        "/eu-west-1/dynamodb/aws4_request",
        "x-amz-security-token: session",
        "x-amz-target: dynamodb_20120810.batchgetitem",
        "content-type: application/x-amz-json-1.0",
    ] {
        assert!(headers.contains(part), "{part} is not in {headers}");
    }
    let signed = headers.split("signedheaders=").nth(1).unwrap().split(',').next().unwrap();
    for name in ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"] {
        assert!(signed.split(';').any(|known| known == name), "{name} is not among {signed}");
    }
}

/// A write whose answer is lost is sent again as the same one: DynamoDB then writes it once.
#[tokio::test]
async fn attempts_of_a_transaction_have_one_token_and_transactions_their_own() {
    let client: Client = new_client("jane@example.com", "AFF-1", "bucket", None);
    let token = |asked: &Asked| {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        body["ClientRequestToken"].as_str().unwrap().to_owned()
    };
    let dynamodb = Scripted::start(&[Reset, CutOff("{}"), Answer(500, "{}"), Answer(200, "{}")]).await;
    assert_eq!(dynamodb.store.sign_up(client.clone(), None, None).await.unwrap(), Registered::Created);
    let first = dynamodb.asked();
    assert_eq!(first.len(), 4);
    assert!(first.iter().all(|asked| asked.body == first[0].body && token(asked).len() == 36));
    assert_eq!(dynamodb.store.sign_up(client, None, None).await.unwrap(), Registered::Created);
    assert_ne!(token(&dynamodb.asked()[4]), token(&first[0]));
}
