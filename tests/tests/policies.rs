//! Least privilege: each function's role allows what the function calls, and nothing else. What it
//! calls is recorded at the wire while every path through it is taken.

use hyper::Method;
use local::functions::Deployed;
use local::template::Template;
use serde_json::{Value, json};
use shared::model::Timestamp;
use shared::secret::Token;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tests::dynamodb::Dynamodb;
use tests::proxy::{Access, Proxy};
use tests::sessions;
use tests::{Answer, TestApp, TokenSpec, new_client};

/// What `registration-email` may besides: what Lambda calls as its role, and SES for the one sender.
const BESIDE_TABLES: [(&str, &str); 9] = [
    ("dynamodb:DescribeStream", "ClientsTable.StreamArn"),
    ("dynamodb:GetRecords", "ClientsTable.StreamArn"),
    ("dynamodb:GetShardIterator", "ClientsTable.StreamArn"),
    ("dynamodb:ListStreams", "*"),
    ("sqs:SendMessage", "UnsentEmailsQueue.Arn"),
    ("ses:SendEmail", "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/*"),
    ("ses:SendRawEmail", "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/*"),
    ("ses:SendEmail", "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:configuration-set/*"),
    ("ses:SendRawEmail", "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:configuration-set/*"),
];

/// What a function's role allows on tables.
fn allowed(template: &Template, logical_id: &str) -> BTreeSet<Access> {
    let role = template.resource(&logical_id.replace("Function", "Role"));
    let one_or_more = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let policies = role["Properties"]["Policies"].as_array().unwrap();
    // What is there on a condition is for tracing: `template.rs` looks at it.
    let own = policies.iter().filter(|policy| policy["Fn::If"][0] != "HasTracing");
    let statements = own.flat_map(|policy| one_or_more(&policy["PolicyDocument"]["Statement"]));
    let mut allowed = BTreeSet::new();
    for statement in statements {
        assert_eq!(statement["Effect"], "Allow");
        for action in one_or_more(&statement["Action"]) {
            let action = action.as_str().unwrap().to_owned();
            assert!(!action.contains('*'), "{logical_id}: {action}");
            for resource in one_or_more(&statement["Resource"]) {
                let named = resource["Fn::GetAtt"].as_str().or(resource["Fn::Sub"].as_str());
                let named = named.or(resource.as_str()).unwrap_or_else(|| panic!("{logical_id}: {resource}"));
                let is_beside = logical_id == "RegistrationEmailFunction"
                    && BESIDE_TABLES.contains(&(action.as_str(), named));
                let resource = named.replace("${", "").replace(".Arn}", "").replace(".Arn", "");
                if is_beside {
                    continue;
                } else if action.starts_with("dynamodb:") {
                    let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
                    match keys.as_array() {
                        None => drop(allowed.insert(Access { action: action.clone(), resource })),
                        Some(kinds) => allowed.extend(kinds.iter().map(|kind| Access {
                            action: action.clone(),
                            resource: format!("{resource} {}", kind.as_str().unwrap().trim_end_matches('*')),
                        })),
                    }
                } else {
                    assert!(resource.ends_with("LogGroup"), "{logical_id}: {action} on {resource}");
                }
            }
        }
    }
    allowed
}

/// A stack whose calls are recorded by the function that makes them.
struct Recorder {
    proxy: Proxy,
    app: TestApp,
    called: BTreeMap<&'static str, BTreeSet<Access>>,
}

impl Recorder {
    async fn note(&mut self, function: &'static str, request: impl AsyncFn(&TestApp) -> Answer) -> Answer {
        let (answer, accesses) = self.proxy.accesses(request(&self.app)).await;
        assert!(answer.status < 500, "{function}: {answer:?}");
        self.called.entry(function).or_default().extend(accesses);
        answer
    }

    async fn admin(&mut self, function: &'static str, method: &str, path: &str, body: Value) -> Value {
        let body = Some(body).filter(|body| !body.is_null());
        let call = async |app: &TestApp| app.admin(app.administrator(), method, path, body.as_ref()).await;
        let answer = self.note(function, call).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    /// What a role allows on token activity is called beside requests, by every function.
    async fn used_and_refused(&mut self) {
        let paths = [
            ("leads", "/api/public/buckets/b1/A/leads", "authorization"),
            ("leads-by-source", "/api/public/buckets/b1/A/leads/s", "authorization"),
            ("signup", "/tradersroom/api/auth/signup", "x-api-key"),
        ];
        for (function, path, header) in paths {
            let (token, id) =
                self.app.token_and_id(TokenSpec { expires_at: Some(1), ..TokenSpec::default() }).await;
            self.until_noted(function, async |app| app.post(path, &[(header, &token)], "{}").await, &id)
                .await;
        }
        for (function, path) in [
            ("token", "/api/public/token"),
            ("admin-tokens", "/api/admin/tokens"),
            ("admin-roles", "/api/admin/roles"),
            ("admin-buckets", "/api/admin/buckets"),
            ("admin-clients", "/api/admin/clients"),
        ] {
            let (token, id) =
                self.app.token_and_id(TokenSpec { expires_at: Some(1), ..TokenSpec::default() }).await;
            self.until_noted(function, async |app| app.admin(&token, "GET", path, None).await, &id).await;
        }
    }

    async fn until_noted(
        &mut self,
        function: &'static str,
        request: impl AsyncFn(&TestApp) -> Answer,
        id: &shared::model::TokenId,
    ) {
        let (_, accesses) = self
            .proxy
            .accesses(async {
                assert_eq!(request(&self.app).await.status, 401);
                tests::eventually(|| async {
                    !self.app.store().activity([id]).await.unwrap()[id].refused.is_empty()
                })
                .await;
            })
            .await;
        // All but what the test itself reads to know that it was noted.
        let of_test =
            Access { action: "dynamodb:BatchGetItem".into(), resource: "TokenActivityTable".into() };
        self.called
            .entry(function)
            .or_default()
            .extend(accesses.into_iter().filter(|access| *access != of_test));
    }

    /// Waits until the use of a token is noted, beside the requests: the call must not be taken for
    /// one of a function that comes next.
    async fn until_use_is_noted(&self, token: &str) {
        let id = Token::parse(token).unwrap().digest().token_id();
        tests::eventually(|| async {
            self.app.store().activity([&id]).await.unwrap()[&id].last_used.is_some()
        })
        .await;
    }

    async fn leads(&mut self, function: &'static str, path: &str) {
        let partner = self.app.partner(&["A"]).await;
        let moments = json!([(Timestamp::now().millis() - 86_400_000).to_string(), null]);
        for body in [
            json!({ "emails": ["c1@example.com"], "ids": ["x"] }),
            json!({}),
            json!({ "offset": 400 }),
            json!({ "filters": { "createdDate": moments } }),
            json!({ "filters": { "updatedDate": moments } }),
            json!({ "filters": { "status": ["new", "hot"] } }),
        ] {
            let request =
                async |app: &TestApp| app.post(path, &[("authorization", &partner)], body.to_string()).await;
            self.note(function, request).await.assert_ok();
        }
        self.until_use_is_noted(&partner).await;
    }

    async fn sign_ups(&mut self) {
        let key = self.app.sign_up_key(&[]).await;
        for (number, meta) in [0, 5000].into_iter().enumerate() {
            let body = json!({ "email": format!("new{number}@example.com"), "phone": "12345", "firstName": "A", "affiliateID": "A",
                "sourceId": "s", "meta": "m".repeat(meta) });
            let request = async |app: &TestApp| app.sign_up_once(&key, &format!("key {number}"), &body).await;
            self.note("signup", request).await.assert_ok();
        }
        self.until_use_is_noted(&key).await;
        // The affiliate is the token's: where its client goes is looked up after the token.
        let key = self.app.sign_up_key(&["A"]).await;
        let body = json!({ "email": "own@example.com", "phone": "12345", "firstName": "A", "sourceId": "elsewhere" });
        self.note("signup", async |app: &TestApp| app.sign_up(&key, &body).await).await.assert_ok();
        self.until_use_is_noted(&key).await;
    }

    async fn people(&mut self) {
        let key = self.app.sign_up_key(&[]).await;
        let body = json!({ "email": "person@example.com", "phone": "12345", "firstName": "A", "meta": "m".repeat(5000) });
        let signed_up =
            self.note("signup", async |app: &TestApp| app.sign_up(&key, &body).await).await.json();
        self.until_use_is_noted(&key).await;
        let path = sessions::path(signed_up["url"].as_str().unwrap());
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let request = async |app: &TestApp| app.send(method.clone(), path, &[], "").await;
            let answer = self.note("autologin", request).await;
            if let Some(cookie) = answer.header("set-cookie") {
                let session = [("cookie", sessions::pair(cookie))];
                // Soon idle for too long, so that using it is noted.
                self.app
                    .set_record(&sessions::session_record(cookie), "expiresAt", sessions::now() + 60)
                    .await;
                for (method, path) in [
                    (Method::GET, "/tradersroom"),
                    (Method::GET, "/tradersroom/api/auth/me"),
                    (Method::POST, "/tradersroom/api/auth/logout"),
                ] {
                    let request = async |app: &TestApp| app.send(method.clone(), path, &session, "").await;
                    assert!(self.note("session", request).await.status < 300);
                }
            }
        }
    }

    async fn emails(&mut self) {
        let (function, environment) =
            local::stack::environment("registration-email", self.app.directory.path()).unwrap();
        let lookup = |name: &str| environment.get(name).cloned();
        let function = Deployed::new(&function, lookup, &self.app.stack.outbox).unwrap();
        for case in ["batch", "undeliverable", "not-asked"] {
            let file = format!("../events/registration-email/{case}.json");
            let event = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
            let (answer, accesses) = self.proxy.accesses(function.clone().invoke(event)).await;
            assert_eq!(answer.unwrap()["batchItemFailures"], json!([]));
            self.called.entry("registration-email").or_default().extend(accesses);
        }
    }

    async fn readers(&mut self) {
        let request = async |app: &TestApp| app.send(Method::GET, "/docs/openapi.json", &[], "").await;
        self.note("docs", request).await.assert_ok();
        let request = async |app: &TestApp| app.send(Method::GET, "/console", &[], "").await;
        self.note("console", request).await.assert_ok();
    }

    async fn operators(&mut self) {
        self.admin("token", "GET", "/api/public/token", Value::Null).await;

        let token = json!({ "name": "n", "roleId": "sign-up" });
        let token = self.admin("admin-tokens", "POST", "/api/admin/tokens", token).await;
        let path = format!("/api/admin/tokens/{}", token["id"].as_str().unwrap());
        self.admin("admin-tokens", "GET", "/api/admin/tokens", Value::Null).await;
        self.admin("admin-tokens", "GET", &path, Value::Null).await;
        self.admin("admin-tokens", "PATCH", &path, json!({ "whitelist": [] })).await;
        self.admin("admin-tokens", "DELETE", &path, Value::Null).await;

        let role = json!({ "name": "n", "permissions": [] });
        let role = self.admin("admin-roles", "POST", "/api/admin/roles", role).await;
        let path = format!("/api/admin/roles/{}", role["id"].as_str().unwrap());
        self.admin("admin-roles", "GET", "/api/admin/roles", Value::Null).await;
        self.admin("admin-roles", "GET", &path, Value::Null).await;
        self.admin("admin-roles", "PATCH", &path, json!({ "name": "m" })).await;
        self.admin("admin-roles", "DELETE", &path, Value::Null).await;

        let bucket = json!({ "name": "n", "affiliateID": "A", "sources": ["t"] });
        let bucket = self.admin("admin-buckets", "POST", "/api/admin/buckets", bucket).await;
        let path = format!("/api/admin/buckets/{}", bucket["id"].as_str().unwrap());
        self.admin("admin-buckets", "GET", "/api/admin/buckets", Value::Null).await;
        self.admin("admin-buckets", "GET", "/api/admin/buckets?affiliateID=A", Value::Null).await;
        self.admin("admin-buckets", "GET", &path, Value::Null).await;
        self.admin("admin-buckets", "GET", "/api/admin/buckets/b1/stats", Value::Null).await;
        self.admin("admin-buckets", "PATCH", &path, json!({ "sources": ["u"] })).await;
        self.admin("admin-buckets", "DELETE", &path, Value::Null).await;
        // Clients without a bucket, one of them with a profile apart, whose bucket comes later.
        let key = self.app.sign_up_key(&[]).await;
        let mut ids = Vec::new();
        for (number, meta) in [0, 5000].into_iter().enumerate() {
            let body = json!({ "email": format!("late{number}@example.com"), "phone": "12345", "firstName": "A", "affiliateID": "B",
                "meta": "m".repeat(meta) });
            ids.push(self.app.signed_up(&key, &body).await);
        }
        self.app.bucket("b2", "B", &[]).await;
        let routed = self.admin("admin-buckets", "POST", "/api/admin/buckets/b2/route", json!({})).await;
        assert_eq!(routed["routed"], 2);

        for query in
            ["", "?bucketId=b1", "?affiliateID=A", "?affiliateID=A&status=new", "?email=late0@example.com"]
        {
            self.admin("admin-clients", "GET", &format!("/api/admin/clients{query}"), Value::Null).await;
        }
        let path = |at: usize| format!("/api/admin/clients/{}", ids[at]);
        for body in [
            json!({ "status": "hot" }),
            json!({ "email": "later@example.com" }),
            json!({ "affiliateID": "A", "bucketId": "b1" }),
            json!({ "affiliateID": "B", "sourceId": "s" }),
        ] {
            self.admin("admin-clients", "PATCH", &path(0), body).await;
        }
        self.admin("admin-clients", "GET", &path(1), Value::Null).await;
        self.admin("admin-clients", "PATCH", &path(1), json!({ "meta": "" })).await;
    }
}

#[tokio::test]
async fn each_role_allows_what_its_function_calls_and_nothing_else() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_without_streams_on(proxy.endpoint(), &[]).await;
    app.bucket("b1", "A", &["s"]).await;
    let clients: Vec<_> =
        (0..500).map(|number| new_client(&format!("c{number}@example.com"), "A", "b1", Some("s"))).collect();
    app.store_clients(&clients).await;
    let mut recorder = Recorder { proxy, app, called: BTreeMap::new() };
    // First, when no use of a token is noted beside them: they may call nothing.
    recorder.readers().await;
    recorder.leads("leads", "/api/public/buckets/b1/A/leads").await;
    recorder.leads("leads-by-source", "/api/public/buckets/b1/A/leads/s").await;
    recorder.sign_ups().await;
    recorder.people().await;
    recorder.emails().await;
    recorder.operators().await;
    recorder.used_and_refused().await;

    let template = Template::built_in().unwrap();
    assert_eq!(template.functions.len(), recorder.called.len());
    for function in &template.functions {
        let allowed = allowed(&template, &function.logical_id);
        let called = &recorder.called[function.name.as_str()];
        let lacking: Vec<_> = called.difference(&allowed).collect();
        let needless: Vec<_> = allowed.difference(called).collect();
        assert!(lacking.is_empty(), "{} calls what its role does not allow: {lacking:#?}", function.name);
        assert!(needless.is_empty(), "{}'s role allows what is never called: {needless:#?}", function.name);
    }
    drop(recorder);
    dynamodb.stop().await;
}
