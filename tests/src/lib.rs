//! The driver of the black-box tests: a stack of its own for each test, on an embedded engine in
//! memory, called over HTTP as partners do.

pub mod dynamodb;
pub mod faults;
pub mod proxy;
pub mod raw;
mod server;
pub mod ses;
pub mod sessions;

use bytes::Bytes;
use dynamodb::Relay;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local::admission::Limits;
use local::gateway::Timeouts;
use local::{Options, Stack};
use serde_json::Value;
use shared::model::{Bucket, BucketId, Permission, Role, RoleId, Timestamp, TokenId, TokenRecord, Whitelist};
use shared::secret::Token;
use shared::store::{CreateBucket, CreateToken, Store};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// The published 401 of the leads and admin endpoints.
pub const UNAUTHORIZED: &str =
    r#"{"message":"Access with the provided credentials is incorrect. CODE: X-0005","statusCode":401}"#;
/// The published 401 of Sign Up.
pub const INVALID_KEY: &str = r#"{"message":"Invalid secret key","providerStatus":401}"#;

/// A running stack and a client for it.
pub struct TestApp {
    /// The stack itself.
    pub stack: Stack,
    client: Client<HttpConnector, Full<Bytes>>,
    /// The stack's data directory.
    pub directory: TempDir,
    // Dropped last: the stack goes on calling it.
    _relay: Option<Relay>,
}

/// An answer, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The keys of the body's object, in the order of the body.
    pub fn keys(&self) -> Vec<String> {
        struct Keys(Vec<String>);
        impl<'de> serde::de::Visitor<'de> for Keys {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                mut self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    self.0.push(key);
                }
                Ok(self.0)
            }
        }
        let mut reader = serde_json::Deserializer::from_str(&self.text);
        serde::de::Deserializer::deserialize_map(&mut reader, Keys(vec![]))
            .unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Asserts the status and the body, byte for byte.
    #[track_caller]
    pub fn assert(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }

    /// Asserts an error of the leads and admin endpoints, byte for byte.
    #[track_caller]
    pub fn assert_error(&self, status: u16, message: &str) {
        let message = Value::from(message);
        self.assert(status, &format!(r#"{{"message":{message},"statusCode":{status}}}"#));
    }

    /// Asserts an error of the Traders Room endpoints, byte for byte.
    #[track_caller]
    pub fn assert_provider_error(&self, status: u16, message: &str) {
        let message = Value::from(message);
        self.assert(status, &format!(r#"{{"message":{message},"providerStatus":{status}}}"#));
    }
}

/// What a token of a test is made with; the default is one without permissions.
#[derive(Clone, Debug, Default)]
pub struct TokenSpec {
    /// Permissions of the role that is made for it.
    pub permissions: Vec<Permission>,
    /// `affiliateIDs`
    pub affiliates: Vec<String>,
    /// `whitelist`
    pub whitelist: Vec<String>,
    /// `expiresAt`, epoch milliseconds.
    pub expires_at: Option<i64>,
}

/// No origin is configured.
const WITHOUT_AUTOLOGIN: [(&str, &str); 1] = [("ORIGINS", "")];

fn owned(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl TestApp {
    /// A stack in memory without demo data, and without autologin.
    pub async fn start() -> Self {
        Self::start_set(&WITHOUT_AUTOLOGIN).await
    }

    /// A stack with the demo data of a first start.
    pub async fn start_with_demo_data() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_with(Options { demo_data: true, ..Options::in_memory(directory.path()) }, directory).await
    }

    /// A stack in memory with other settings of the template's parameters, by their variables.
    pub async fn start_set(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { variables: owned(variables), ..Options::in_memory(directory.path()) };
        Self::start_with(options, directory).await
    }

    /// A stack on another DynamoDB, e.g. behind a proxy; without autologin.
    pub async fn start_on(dynamodb_endpoint: String) -> Self {
        Self::start_on_set(dynamodb_endpoint, &WITHOUT_AUTOLOGIN).await
    }

    /// As [`TestApp::start_on`], with other settings of the template's parameters.
    pub async fn start_on_set(dynamodb_endpoint: String, variables: &[(&str, &str)]) -> Self {
        Self::start_on_with(dynamodb_endpoint, variables, true).await
    }

    /// As [`TestApp::start_on`], with nothing that reads streams: all calls are those of requests,
    /// and can be counted.
    pub async fn start_without_streams_on(dynamodb_endpoint: String, variables: &[(&str, &str)]) -> Self {
        Self::start_on_with(dynamodb_endpoint, variables, false).await
    }

    async fn start_on_with(
        dynamodb_endpoint: String,
        variables: &[(&str, &str)],
        read_streams: bool,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            memory: false,
            dynamodb_endpoint: Some(dynamodb_endpoint),
            read_streams,
            variables: owned(variables),
            ..Options::in_memory(directory.path())
        };
        Self::start_with(options, directory).await
    }

    /// A stack on another DynamoDB, e.g. behind a proxy, that takes on this much.
    pub async fn start_limited_on(dynamodb_endpoint: String, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            memory: false,
            dynamodb_endpoint: Some(dynamodb_endpoint),
            variables: owned(&WITHOUT_AUTOLOGIN),
            limits,
            ..Options::in_memory(directory.path())
        };
        Self::start_with(options, directory).await
    }

    /// A stack in memory that takes on this much.
    pub async fn start_limited(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let variables = owned(&WITHOUT_AUTOLOGIN);
        let options = Options { variables, limits, ..Options::in_memory(directory.path()) };
        Self::start_with(options, directory).await
    }

    /// A stack in memory that waits for clients as long as this.
    pub async fn start_with_timeouts(timeouts: Timeouts) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let variables = owned(&WITHOUT_AUTOLOGIN);
        let options = Options { timeouts, variables, ..Options::in_memory(directory.path()) };
        Self::start_with(options, directory).await
    }

    async fn start_with(mut options: Options, directory: TempDir) -> Self {
        let relay = if options.dynamodb_endpoint.is_none() { Relay::start().await } else { None };
        if let Some(relay) = &relay {
            options.dynamodb_endpoint = Some(relay.server.url());
        }
        let stack = Stack::start(&options).await.unwrap();
        // Tests look at records whose time they have set to be over.
        if let Some(engine) = stack.engine() {
            engine.keep_expired();
        }
        Self { stack, client: Client::builder(TokioExecutor::new()).build_http(), directory, _relay: relay }
    }

    /// The tables, for set-up that has no endpoint.
    pub fn store(&self) -> &Store {
        &self.stack.store
    }

    /// Sends any request.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (parts, body) = self.send_for_bytes(method, path, headers, body).await;
        let text = String::from_utf8(body.to_vec()).unwrap();
        let headers = parts.headers.iter();
        Answer {
            status: parts.status.as_u16(),
            headers: headers.map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect(),
            text,
        }
    }

    /// As [`TestApp::send`], for an answer that is no text.
    pub async fn send_for_bytes(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (hyper::http::response::Parts, Bytes) {
        let uri = format!("{}{path}", self.stack.credentials.base_url);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    }

    /// A request to the admin API or the token's self-check, with a JSON body where there is one;
    /// asserts what every answer has.
    pub async fn admin(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.admin_with(token, method, path, &[], body.map(Value::to_string)).await
    }

    /// As [`TestApp::admin`], with more headers and any text as the body.
    pub async fn admin_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut all = vec![("authorization", token)];
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        all.extend_from_slice(headers);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = self.send(method, path, &all, body.unwrap_or_default()).await;
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
        let expected = (answer.status != 204).then_some("application/json");
        assert_eq!(answer.header("content-type"), expected, "{answer:?}");
        answer
    }

    /// The stack's administrator's token.
    pub fn administrator(&self) -> &str {
        &self.stack.credentials.admin_token
    }

    /// `POST` with a JSON body and these headers; asserts what every answer has.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let answer = self.send(Method::POST, path, &all, body).await;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
        answer
    }

    /// `POST /api/public/buckets/{bucketId}/{affiliateID}/leads`
    pub async fn leads(&self, token: &str, bucket: &str, affiliate: &str, body: &Value) -> Answer {
        let path = format!("/api/public/buckets/{bucket}/{affiliate}/leads");
        self.post(&path, &[("authorization", token)], body.to_string()).await
    }

    /// `POST /api/public/buckets/{bucketId}/{affiliateID}/leads/{sourceId}`
    pub async fn leads_by_source(
        &self,
        token: &str,
        bucket: &str,
        affiliate: &str,
        source: &str,
        body: &Value,
    ) -> Answer {
        let path = format!("/api/public/buckets/{bucket}/{affiliate}/leads/{source}");
        self.post(&path, &[("authorization", token)], body.to_string()).await
    }

    /// `POST /tradersroom/api/auth/signup`
    pub async fn sign_up(&self, key: &str, body: &Value) -> Answer {
        self.post("/tradersroom/api/auth/signup", &[("x-api-key", key)], body.to_string()).await
    }

    /// As [`TestApp::sign_up`], with an `Idempotency-Key`.
    pub async fn sign_up_once(&self, key: &str, idempotency_key: &str, body: &Value) -> Answer {
        let headers = [("x-api-key", key), ("idempotency-key", idempotency_key)];
        self.post("/tradersroom/api/auth/signup", &headers, body.to_string()).await
    }

    /// Signs a client up and gives its id.
    pub async fn signed_up(&self, key: &str, body: &Value) -> String {
        let answer = self.sign_up(key, body).await;
        assert_eq!(answer.status, StatusCode::OK.as_u16(), "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Makes a bucket, through the store.
    pub async fn bucket(&self, id: &str, affiliate: &str, sources: &[&str]) {
        let bucket = Bucket {
            id: BucketId::parse(id).unwrap(),
            name: format!("Bucket {id}"),
            affiliate_id: affiliate.to_owned(),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            created_date: Timestamp::now(),
        };
        assert_eq!(self.store().create_bucket(&bucket).await.unwrap(), CreateBucket::Created);
    }

    /// Makes a token and a role of its own, through the store.
    pub async fn token(&self, spec: TokenSpec) -> String {
        self.token_and_id(spec).await.0
    }

    /// As [`TestApp::token`], with the token's id.
    pub async fn token_and_id(&self, spec: TokenSpec) -> (String, TokenId) {
        let token = Token::generate().unwrap();
        let digest = token.digest();
        let role_id = RoleId::new(format!("role-of-{}", digest.token_id()));
        let role = Role {
            id: role_id.clone(),
            name: "Test".into(),
            permissions: spec.permissions.into_iter().collect(),
        };
        self.store().create_role(&role).await.unwrap();
        let record = TokenRecord {
            id: digest.token_id(),
            name: "Test".into(),
            role_id,
            hint: token.hint(),
            whitelist: Whitelist::parse(spec.whitelist).unwrap(),
            affiliate_ids: spec.affiliates,
            expires_at: spec.expires_at.map(|millis| Timestamp::from_millis(millis).unwrap()),
            created_date: Timestamp::now(),
        };
        assert_eq!(self.store().create_token(&record, &digest).await.unwrap(), CreateToken::Created);
        (token.expose().to_owned(), record.id)
    }

    /// A token that views the leads of these affiliates.
    pub async fn partner(&self, affiliates: &[&str]) -> String {
        self.token_that(Permission::BucketsViewOwn, affiliates).await
    }

    /// A token that signs clients up, for these affiliates only where there are any.
    pub async fn sign_up_key(&self, affiliates: &[&str]) -> String {
        self.token_that(Permission::ClientsCreate, affiliates).await
    }

    async fn token_that(&self, permission: Permission, affiliates: &[&str]) -> String {
        let affiliates = affiliates.iter().map(|id| (*id).to_owned()).collect();
        self.token(TokenSpec { permissions: vec![permission], affiliates, ..TokenSpec::default() }).await
    }
}

/// A call of the admin API: method, path, body.
pub type Call<'a> = (&'a str, &'a str, Option<Value>);

impl TestApp {
    /// Asserts that each of the calls is refused with the published 401, whatever its body and
    /// whatever its path names, for every kind of token that must not make it. `allowed`: the
    /// permissions each of which suffices.
    pub async fn assert_needs(&self, allowed: &[Permission], calls: &[Call<'_>]) {
        let all = || TokenSpec {
            permissions: allowed.to_vec(),
            affiliates: vec!["A".into()],
            ..TokenSpec::default()
        };
        let (deleted, id) = self.token_and_id(all()).await;
        let record = self.store().token_by_id(&id).await.unwrap().unwrap();
        self.store().delete_token(&record.value, None).await.unwrap();
        let good = self.token(all()).await;
        let mut tokens = vec![
            String::new(),
            "nonsense".to_owned(),
            format!("Bearer {good}"),
            good.replace("wbcs_", "wbcs-"),
            Token::generate().unwrap().expose().to_owned(),
            deleted,
            self.token(TokenSpec { expires_at: Some(1), ..all() }).await,
            self.token(TokenSpec { whitelist: vec!["192.0.2.0/24".into()], ..all() }).await,
            self.token(TokenSpec::default()).await,
        ];
        for permission in Permission::ALL.iter().filter(|permission| !allowed.contains(permission)) {
            tokens.push(self.token(TokenSpec { permissions: vec![*permission], ..all() }).await);
        }
        for (method, path, body) in calls {
            for token in &tokens {
                self.admin(token, method, path, body.as_ref()).await.assert(401, UNAUTHORIZED);
                self.admin(token, method, path, Some(&Value::from("bad body")))
                    .await
                    .assert(401, UNAUTHORIZED);
            }
            let without = self.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &[], "").await;
            without.assert(401, UNAUTHORIZED);
            let allowed = self.admin(&good, method, path, body.as_ref()).await;
            assert!(![401, 500].contains(&allowed.status), "{method} {path}: {allowed:?}");
        }
    }

    /// Asserts what every call with a body does with bodies that are none.
    pub async fn assert_reads_json(&self, token: &str, method: &str, path: &str) {
        let send = async |kind: &str, body: String| {
            let headers = [("authorization", token), ("content-type", kind)];
            self.send(Method::from_bytes(method.as_bytes()).unwrap(), path, &headers, body).await
        };
        for body in ["{", "[]", "7", "{\"a\":}", "null", "{\"name\":\"\u{1}\"}"] {
            let answer = send("application/json", body.into()).await;
            assert_eq!(answer.status, 400, "{method} {path} {body}: {answer:?}");
        }
        let deep = format!("{{\"name\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        assert_eq!(send("application/json", deep).await.status, 400);
        assert_eq!(send("text/plain", "{}".into()).await.status, 415);
        assert_eq!(
            send("application/json", format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20))).await.status,
            413
        );
        send("application/json", r#"{"surprise":1}"#.into())
            .await
            .assert_error(400, "surprise is not a known field");
    }

    /// Reads a list of the admin API to its end, `limit` items a page.
    pub async fn walk(&self, token: &str, path: &str, limit: usize) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        for _ in 0..1000 {
            let page =
                self.admin(token, "GET", &format!("{path}{joint}limit={limit}&cursor={cursor}"), None).await;
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            let found = page["items"].as_array().unwrap();
            assert!(found.len() <= limit, "{} items", found.len());
            items.extend(found.iter().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return items,
            }
        }
        panic!("{path} has no end");
    }

    /// Asserts that every copy, counter and index of what is stored agrees.
    pub async fn assert_consistent(&self) {
        let report = local::check::check(self.store()).await.unwrap();
        assert!(report.is_consistent() && report.unsettled == 0, "{report:#?}");
    }
}

/// Waits until a condition holds; fails after five minutes.
pub async fn eventually<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let begin = std::time::Instant::now();
    while !condition().await {
        assert!(begin.elapsed().as_secs() < 300, "it never came true");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

impl Answer {
    /// Asserts that the request succeeded.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!(self.status, 200, "{self:?}");
    }
}

/// A client as Sign Up stores it now, for set-up; what the platform manages is the test's to change.
pub fn new_client(email: &str, affiliate: &str, bucket: &str, source: Option<&str>) -> shared::model::Client {
    let body = serde_json::json!({ "email": email, "phone": "+1234567890", "firstName": "Test", "sourceId": source });
    let given = shared::model::SignUp::parse(body.to_string().as_bytes()).unwrap();
    let bucket = BucketId::parse(bucket).unwrap();
    shared::model::Client::register(given, Some(affiliate.to_owned()), Some(bucket))
}

impl TestApp {
    /// Stores clients by the write path of Sign Up, several at a time.
    pub async fn store_clients(&self, clients: &[shared::model::Client]) {
        use futures_util::stream::{StreamExt, iter};
        let registered = iter(clients).map(|client| self.store().register(client, None)).buffer_unordered(8);
        let outcomes: Vec<_> = registered.collect().await;
        for outcome in outcomes {
            assert_eq!(outcome.unwrap(), shared::store::Registered::Created);
        }
    }
}

/// A part of a path with every byte percent-encoded.
pub fn encoded(part: &str) -> String {
    part.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
