//! Whole requests: an event of API Gateway through the deployed handler, whose DynamoDB answers by a script.
//!
//! The first line is a byte that picks the function and the token's role, and the event; each further line is an
//! answer of DynamoDB, behind a status where it is not 200. The token, its role and its activity are answered as
//! they are stored; what the script does not have is answered as by empty tables.

use crate::answers::checksum;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Request, RequestExt};
use serde_json::{Value, json};
use shared::App;
use shared::activity::Activity;
use shared::auth::Authenticator;
use shared::config::{Tables, TradersRoom};
use shared::http::{Response, TokenHeader, source_ip};
use shared::model::{Permission, Whitelist};
use shared::secret::Token;
use shared::store::Store;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
type Handler = fn(Arc<App>, Request) -> Answering;

/// Functions, and where they take a token from.
const FUNCTIONS: [(Handler, Option<TokenHeader>); 10] = [
    (|app, request| Box::pin(::leads::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(leads_by_source::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(signup::handle(app, request)), Some(TokenHeader::ApiKey)),
    (|app, request| Box::pin(token::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(admin_tokens::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(admin_roles::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(admin_buckets::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(admin_clients::handle(app, request)), Some(TokenHeader::Authorization)),
    (|app, request| Box::pin(autologin::handle(app, request)), None),
    (|app, request| Box::pin(session::handle(app, request)), None),
];

/// The one token there is.
static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let body = format!("wbcs_{}", "Fuzz".repeat(8));
    format!("{body}{}", checksum(&body))
});
const WHITELIST: [&str; 2] = ["203.0.113.0/24", "2001:db8::/32"];
const AFFILIATE: &str = "1234567890";
/// What no answer may show.
const HIDDEN: [&str; 3] = ["zz-table-", "DynamoDB", "secret of the store"];

/// Answers by a script.
#[derive(Clone, Debug)]
struct Fake(Arc<Script>);

#[derive(Debug)]
struct Script {
    token: Value,
    lines: Mutex<VecDeque<Vec<u8>>>,
    /// Answers that were read from the script.
    read: AtomicUsize,
    calls: AtomicUsize,
}

impl Script {
    fn next(&self) -> Option<Vec<u8>> {
        let line = self.lines.lock().expect("no panic before").pop_front()?;
        self.read.fetch_add(1, Ordering::Relaxed);
        Some(line)
    }

    fn scripted(&self, otherwise: &str) -> (u16, Vec<u8>) {
        let Some(line) = self.next() else { return (200, otherwise.as_bytes().to_vec()) };
        let status =
            line.get(..4).filter(|head| head[3] == b' ').and_then(|head| std::str::from_utf8(head).ok());
        match status
            .and_then(|status| status.trim().parse().ok())
            .filter(|status| (200..600).contains(status))
        {
            Some(status) => (status, line[4..].to_vec()),
            None => (200, line),
        }
    }

    fn answer(&self, action: &str, request: &Value) -> (u16, Vec<u8>) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let table = request["TableName"].as_str().unwrap_or_default();
        let own = |key: &Value| key["id"] == self.token["id"];
        match (action, table) {
            ("GetItem", "zz-table-tokens") if own(&request["Key"]) => {
                (200, json!({ "Item": self.token }).to_string().into_bytes())
            }
            ("GetItem", "zz-table-tokens") => (200, b"{}".to_vec()),
            ("BatchGetItem", _) if request["RequestItems"].get("zz-table-tokens").is_some() => {
                let own = own(&request["RequestItems"]["zz-table-tokens"]["Keys"][0]);
                let tokens = if own { self.token.to_string() } else { String::new() };
                let bucket = self.next().unwrap_or_else(|| bucket().to_string().into_bytes());
                let bucket = String::from_utf8_lossy(&bucket).into_owned();
                let tables = format!(r#""zz-table-tokens":[{tokens}],"zz-table-buckets":[{bucket}]"#);
                (200, format!(r#"{{"Responses":{{{tables}}},"UnprocessedKeys":{{}}}}"#).into_bytes())
            }
            ("BatchGetItem", _) => self.scripted(r#"{"Responses":{},"UnprocessedKeys":{}}"#),
            ("Query", "zz-table-roles") => (200, roles().to_string().into_bytes()),
            ("Query" | "Scan", _) => self.scripted(r#"{"Items":[],"Count":0,"ScannedCount":0}"#),
            ("UpdateItem", "zz-table-activity") => (200, b"{}".to_vec()),
            _ => self.scripted("{}"),
        }
    }
}

impl HttpConnector for Fake {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let action = target.rsplit('.').next().unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        // What is sent is JSON, whatever came in.
        let body: Value = serde_json::from_slice(body).expect("a request of DynamoDB is JSON");
        let (status, text) = self.0.answer(action, &body);
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(text))))
    }
}

fn text(text: &str) -> Value {
    json!({ "S": text })
}

fn list(texts: &[&str]) -> Value {
    json!({ "L": texts.iter().map(|entry| text(entry)).collect::<Vec<_>>() })
}

fn bucket() -> Value {
    json!({
        "id": text("b1"), "name": text("Bucket"), "affiliateID": text(AFFILIATE), "sources": list(&["ads"]),
        "createdDate": { "N": "1700000000000" },
    })
}

fn roles() -> Value {
    let all: Vec<&str> = Permission::ALL.iter().map(|permission| permission.as_str()).collect();
    let role = |id: &str, permissions: &[&str]| json!({ "pk": text("role"), "id": text(id), "name": text(id), "permissions": list(permissions) });
    let partner = ["buckets:view-own", "clients:create"];
    json!({ "Items": [role("all", &all), role("partner", &partner)], "Count": 2 })
}

fn token(role: &str, affiliates: &[&str]) -> Value {
    let digest = Token::parse(&TOKEN).expect("a token").digest();
    json!({
        "id": text(digest.token_id().as_str()),
        "digest": { "B": STANDARD.encode(digest.as_bytes()) },
        "name": text("Token"), "roleId": text(role), "hint": text("wbcs_Fuzz…"),
        "whitelist": list(&WHITELIST), "affiliateIDs": list(affiliates),
        "createdDate": { "N": "1700000000000" },
    })
}

fn app(fake: Fake) -> App {
    let name = |table: &str| format!("zz-table-{table}");
    let tables = Tables {
        tokens: name("tokens"),
        roles: name("roles"),
        buckets: name("buckets"),
        clients: name("clients"),
        expiring: name("expiring"),
        activity: name("activity"),
    };
    let connector = SharedHttpConnector::new(fake);
    let store = Store::over(http_client_fn(move |_, _| connector.clone()), &tables);
    App {
        auth: Authenticator::new(store.clone()),
        activity: Activity::new(store.clone()),
        traders_room: TradersRoom {
            origins: vec!["https://trade.example.com".to_owned(), "https://other.example.com".to_owned()],
            url: TradersRoom::BUILT_IN.to_owned(),
            link_lifetime: 600,
            idle_lifetime: 1800,
            session_lifetime: 43_200,
        },
        buckets: Default::default(),
        served: Default::default(),
        places: Default::default(),
        store,
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some((picked, event)) = lines.next().and_then(<[u8]>::split_first) else { return };
    let scoped = usize::from(*picked) / FUNCTIONS.len() % 2 == 1;
    let (handler, header) = FUNCTIONS[usize::from(*picked) % FUNCTIONS.len()];
    let Ok(event) = serde_json::from_slice::<Value>(event) else { return };
    let Some(event) = possible(event) else { return };
    let Ok(mut request) = serde_json::from_str::<LambdaRequest>(&event.to_string()) else { return };
    shared::http::encode_query(&mut request);
    let request = Request::from(request);
    let presented = header.and_then(|header| header.read(&request)).map(str::to_owned);
    let parameters = request.path_parameters();
    let affiliate = parameters.first("affiliateID").unwrap_or_default().to_owned();
    let address = source_ip(&request);
    let whitelisted = Whitelist::parse(WHITELIST).expect("a whitelist").allows(address);

    let script = Script {
        token: if scoped { token("partner", &[AFFILIATE]) } else { token("all", &[]) },
        lines: Mutex::new(lines.take(40).map(<[u8]>::to_vec).collect()),
        read: AtomicUsize::new(0),
        calls: AtomicUsize::new(0),
    };
    let fake = Fake(Arc::new(script));
    let script = fake.0.clone();
    // Time stands still but where all wait: retries cost none.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let response =
        runtime.expect("a runtime").block_on(async { handler(Arc::new(app(fake)), request).await });

    let status = response.status().as_u16();
    let body = match response.body() {
        Body::Text(text) => text.clone(),
        Body::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let shown = format!("{status} {body} of {event}");
    assert!([200, 201, 204, 303, 400, 401, 404, 409, 410, 413, 415, 500].contains(&status), "{shown}");
    assert!(status != 500 || script.read.load(Ordering::Relaxed) > 0, "a request alone made it: {shown}");
    if header.is_some() {
        let is_own = presented.as_deref() == Some(&**TOKEN);
        assert!(status == 401 || (is_own && whitelisted) || status == 500, "let in: {shown}");
        if !is_own {
            assert_eq!(status, 401, "{shown}");
        }
        if presented.as_deref().and_then(Token::parse).is_none() {
            assert_eq!(script.calls.load(Ordering::Relaxed), 0, "{shown}");
        }
        let is_leads = matches!(usize::from(*picked) % FUNCTIONS.len(), 0 | 1);
        assert!(!(is_leads && scoped && affiliate != AFFILIATE) || status == 401 || status == 500, "{shown}");
    }
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("a type"));
    let is_error = status >= 400;
    if kind == Some("application/json") {
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {shown}"));
        if is_error {
            let message = answer["message"].as_str().unwrap_or_else(|| panic!("no message: {shown}"));
            let named = answer.get("statusCode").or(answer.get("providerStatus"));
            assert_eq!(named, Some(&json!(status)), "{shown}");
            assert_eq!(answer.as_object().map(|answer| answer.len()), Some(2), "{shown}");
            assert!(status != 500 || message == "Internal server error", "{shown}");
            assert!(!message.is_empty() && !message.chars().any(|c| c == '\n'), "{shown}");
        }
    } else {
        assert!(body.is_empty() || kind == Some("text/html; charset=utf-8"), "{kind:?} {shown}");
    }
    // What the caller wrote itself it may be shown again.
    let given = event.to_string();
    let headers = format!("{:?}", response.headers());
    for hidden in HIDDEN.into_iter().filter(|hidden| !given.contains(hidden)) {
        let scripted = data.windows(hidden.len()).any(|part| part == hidden.as_bytes());
        assert!(scripted || (!body.contains(hidden) && !headers.contains(hidden)), "{shown}");
    }
    if given.matches(&TOKEN[5..]).count() <= 1 {
        assert!(!body.contains(&TOKEN[5..]) && !headers.contains(&TOKEN[5..]), "{shown}");
    }
}

/// What API Gateway can send: the caller writes headers, parameters and the body, and API Gateway the rest.
pub(crate) fn possible(event: Value) -> Option<Value> {
    let texts = |value: &Value| -> Option<Value> {
        let object = value.as_object()?.iter().filter(|(_, value)| value.is_string());
        Some(Value::Object(object.map(|(name, value)| (name.clone(), value.clone())).collect()))
    };
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    let context = &event["requestContext"];
    let method = text(&context["http"]["method"])
        .filter(|method| ["GET", "HEAD", "POST", "PATCH", "DELETE"].contains(&method.as_str()))?;
    let route = text(&event["routeKey"]).unwrap_or_default();
    let query = text(&event["rawQueryString"]).unwrap_or_default();
    let body = text(&event["body"]);
    let encoded =
        event["isBase64Encoded"] == true && STANDARD.decode(body.as_deref().unwrap_or_default()).is_ok();
    // API Gateway knows its APIs by their host, and says itself how it was called; `lambda_http` panics at a host
    // that is none.
    let mut headers = texts(&event["headers"]).unwrap_or_else(|| json!({}));
    headers
        .as_object_mut()?
        .retain(|name, _| !["host", "x-forwarded-proto"].contains(&&*name.to_lowercase()));
    headers["host"] = json!("api.example.com");
    let mut possible = json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": "/path",
        "rawQueryString": query,
        "queryStringParameters": texts(&event["queryStringParameters"]),
        "cookies": event["cookies"].as_array().map(|cookies| cookies.iter().filter_map(text).collect::<Vec<_>>()),
        "headers": headers,
        "pathParameters": texts(&event["pathParameters"]),
        "requestContext": {
            "accountId": "1", "apiId": "a", "stage": "$default", "time": "", "timeEpoch": 1,
            "domainName": text(&context["domainName"]).unwrap_or_default(),
            "http": {
                "method": method, "path": "/path", "protocol": "HTTP/1.1", "userAgent": "fuzz",
                "sourceIp": text(&context["http"]["sourceIp"]).unwrap_or_default(),
            },
            "requestId": "id", "routeKey": route,
        },
        "body": body,
        "isBase64Encoded": encoded,
    });
    possible.as_object_mut()?.retain(|_, value| !value.is_null());
    Some(possible)
}
