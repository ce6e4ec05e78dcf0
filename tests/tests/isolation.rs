//! Nobody sees what is another's: random requests of tokens of all kinds over many affiliates, against a plain model of
//! who may see what; and what is another's is answered as what there is not, to the byte and to the call of DynamoDB.

use hyper::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared::model::Permission::{self, *};
use shared::secret::Token;
use std::collections::{BTreeMap, BTreeSet};
use tests::dynamodb::Dynamodb;
use tests::proxy::{Access, Proxy};
use tests::{Answer, INVALID_KEY, TestApp, TokenSpec, UNAUTHORIZED, encoded};

const SEED: u64 = 20_261_126;
const REQUESTS: usize = 1500;
const AFFILIATES: [&str; 6] = ["aff-0q", "aff-1q", "aff-2q", "aff-3q", "AFF-0q", "aff-0q "];
/// The last of them has surrounding blanks, which none of ours keeps: nobody's.
const OWNERS: usize = 5;
const STATUSES: [&str; 3] = ["new", "hot", "lost"];
const NO_BUCKET: &str = "There is no such bucket";
const NO_CLIENT: &str = "There is no such client";

#[derive(Clone, Debug)]
struct Bucket {
    id: String,
    name: String,
    affiliate: String,
    sources: Vec<String>,
}

#[derive(Clone, Debug)]
struct Client {
    id: String,
    email: String,
    name: String,
    affiliate: Option<String>,
    source: Option<String>,
    bucket: Option<String>,
    status: String,
}

#[derive(Clone, Debug)]
struct Holder {
    text: String,
    permissions: Vec<Permission>,
    affiliates: Vec<String>,
}

impl Holder {
    fn has(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    /// Reads an affiliate's buckets and leads.
    fn views(&self, affiliate: &str) -> bool {
        self.has(BucketsViewAll)
            || self.has(BucketsViewOwn) && self.affiliates.iter().any(|own| own == affiliate)
    }

    fn views_buckets(&self) -> bool {
        self.has(BucketsViewAll) || self.has(BucketsViewOwn)
    }

    /// Does an affiliate's business, or that of none, by a permission that is not bound to any.
    fn may(&self, permission: Permission, affiliate: Option<&str>) -> bool {
        self.has(permission)
            && (self.affiliates.is_empty()
                || affiliate.is_some_and(|id| self.affiliates.iter().any(|own| own == id)))
    }
}

struct World {
    app: TestApp,
    random: StdRng,
    buckets: Vec<Bucket>,
    clients: Vec<Client>,
    holders: Vec<Holder>,
    statuses: BTreeMap<(&'static str, u16), usize>,
    names: usize,
    proxy: Proxy,
    // Dropped last: the stack goes on calling it.
    _dynamodb: Dynamodb,
}

impl World {
    async fn start() -> Self {
        let dynamodb = Dynamodb::start().await;
        let proxy = Proxy::start(dynamodb.address).await;
        let app = TestApp::start_without_streams_on(proxy.endpoint(), &[("ORIGINS", "")]).await;
        let mut world = Self {
            app,
            random: StdRng::seed_from_u64(SEED),
            buckets: vec![],
            clients: vec![],
            holders: vec![],
            statuses: BTreeMap::new(),
            names: 0,
            proxy,
            _dynamodb: dynamodb,
        };
        let mut buckets = Vec::new();
        for (number, affiliate) in AFFILIATES[..OWNERS].iter().enumerate() {
            // Sources of the same name, and one of its own; the first of each affiliate's is open.
            for (at, sources) in [vec![], vec!["s0", "s1"], vec!["own"]].into_iter().enumerate() {
                let sources: Vec<String> = sources
                    .into_iter()
                    .map(
                        |source| {
                            if source == "own" { format!("source-{number}q") } else { source.to_owned() }
                        },
                    )
                    .collect();
                buckets.push((affiliate.to_string(), format!("Bucket {number}{at}q"), sources));
            }
        }
        let admin = world.app.administrator().to_owned();
        for (affiliate, name, sources) in buckets {
            let body = json!({ "name": name, "affiliateID": affiliate, "sources": sources });
            let made = world.app.admin(&admin, "POST", "/api/admin/buckets", Some(&body)).await;
            assert_eq!(made.status, 201, "{made:?}");
            let id = made.json()["id"].as_str().unwrap().to_owned();
            world.buckets.push(Bucket { id, name, affiliate, sources });
        }
        let kinds: [&[Permission]; 11] = [
            &[BucketsViewOwn],
            &[BucketsViewAll],
            &[BucketsManage],
            &[BucketsViewOwn, BucketsManage],
            &[ClientsCreate],
            &[ClientsView],
            &[ClientsView, ClientsManage],
            &[SecurityManage],
            &[BucketsViewOwn, ClientsView, ClientsManage, ClientsCreate, BucketsManage],
            &Permission::ALL,
            &[],
        ];
        for permissions in kinds {
            for affiliates in [vec![], vec![0], vec![1, 2], vec![4]] {
                let affiliates: Vec<String> =
                    affiliates.iter().map(|at: &usize| AFFILIATES[*at].to_owned()).collect();
                let spec = TokenSpec {
                    permissions: permissions.to_vec(),
                    affiliates: affiliates.clone(),
                    ..TokenSpec::default()
                };
                let text = world.app.token(spec).await;
                world.holders.push(Holder { text, permissions: permissions.to_vec(), affiliates });
            }
        }
        let key = world.app.sign_up_key(&[]).await;
        let key = Holder { text: key, permissions: vec![ClientsCreate], affiliates: vec![] };
        for number in 0..150 {
            let affiliate = (number % 10 > 0).then(|| AFFILIATES[number % OWNERS].to_owned());
            let source = ["", "s0", "s1", "source-0q", "source-1q", "source-2q", "source-3q"][number % 7];
            let source = Some(source.to_owned()).filter(|source| !source.is_empty());
            world.sign_up(&key, affiliate, source).await;
        }
        world
    }

    fn bucket(&self, id: &str) -> Option<&Bucket> {
        self.buckets.iter().find(|bucket| bucket.id == id)
    }

    /// Section 3's rule.
    fn route(&self, affiliate: Option<&str>, source: Option<&str>) -> Option<String> {
        let own = || self.buckets.iter().filter(|bucket| Some(bucket.affiliate.as_str()) == affiliate);
        let assigned =
            own().find(|bucket| source.is_some_and(|source| bucket.sources.iter().any(|own| own == source)));
        assigned.or(own().find(|bucket| bucket.sources.is_empty())).map(|bucket| bucket.id.clone())
    }

    fn count(&mut self, kind: &'static str, answer: &Answer) {
        *self.statuses.entry((kind, answer.status)).or_default() += 1;
    }

    /// A sign-up, by the model of what it may do; one that succeeds is a client more.
    async fn sign_up(&mut self, by: &Holder, affiliate: Option<String>, source: Option<String>) {
        self.names += 1;
        let (email, name) = (format!("client-{}q@example.com", self.names), format!("Jane-{}q", self.names));
        let body = json!({
            "email": email, "phone": "+1234567890", "firstName": name, "affiliateID": affiliate, "sourceId": source,
        });
        let answer = self.app.sign_up(&by.text, &body).await;
        self.count("sign-up", &answer);
        let own = match (&affiliate, by.affiliates.as_slice()) {
            (None, [only]) => Some(only.clone()),
            _ => affiliate.as_deref().map(|id| id.trim().to_owned()),
        };
        if !by.may(ClientsCreate, own.as_deref()) {
            return answer.assert(401, INVALID_KEY);
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        let bucket = self.route(own.as_deref(), source.as_deref());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let status = "new".to_owned();
        self.clients.push(Client { id, email, name, affiliate: own, source, bucket, status });
    }

    /// Asserts that an answer has nothing of clients and buckets but of these, or what was asked with.
    fn assert_hides(
        &self,
        asked: &str,
        answer: &Answer,
        client: impl Fn(&Client) -> bool,
        bucket: impl Fn(&Bucket) -> bool,
    ) {
        let whole = format!("{:?} {}", answer.headers, answer.text);
        // None of the texts is a part of another one's: each ends in a letter.
        let tells = |text: &str| whole.contains(text) && !asked.contains(text);
        for hidden in self.clients.iter().filter(|one| !client(one)) {
            for text in [&hidden.id, &hidden.email, &hidden.name] {
                assert!(!tells(text), "{asked} tells {text}: {answer:?}");
            }
        }
        for hidden in self.buckets.iter().filter(|one| !bucket(one)) {
            for text in [&hidden.id, &hidden.name] {
                assert!(!tells(text), "{asked} tells {text}: {answer:?}");
            }
        }
    }

    fn any_affiliate(&mut self) -> String {
        let unknown = "nobodyq";
        AFFILIATES.iter().chain([&unknown]).collect::<Vec<_>>().choose(&mut self.random).unwrap().to_string()
    }

    fn any_bucket(&mut self) -> String {
        if self.random.random_ratio(1, 8) {
            return ["00000000-0000-4000-8000-000000000000", "nowhere", "%00"]
                .choose(&mut self.random)
                .unwrap()
                .to_string();
        }
        self.buckets.choose(&mut self.random).unwrap().id.clone()
    }

    fn any_client(&mut self) -> Client {
        let mut client = self.clients.choose(&mut self.random).unwrap().clone();
        if self.random.random_ratio(1, 8) {
            client.id = "00000000-0000-4000-8000-000000000000".to_owned();
            client.email = "nobodyq@example.com".to_owned();
        }
        client
    }

    fn any_source(&mut self) -> String {
        let known = ["s0", "s1", "source-0q", "source-1q", "source-2q", "source-3q", "source-4q", "nowhere"];
        known.choose(&mut self.random).unwrap().to_string()
    }

    /// Ids in an answer's list.
    fn ids(answer: &Answer) -> Vec<String> {
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn leads(&mut self, by: &Holder) {
        let bucket = self.any_bucket();
        // Mostly what belongs together: otherwise all is refused.
        let together = self.random.random_ratio(3, 4);
        let affiliate = match self.bucket(&bucket) {
            Some(bucket) if together => bucket.affiliate.clone(),
            _ => self.any_affiliate(),
        };
        let source = self.random.random_bool(0.5).then(|| self.any_source());
        let asked: Vec<Client> = (0..self.random.random_range(0..8)).map(|_| self.any_client()).collect();
        let status = self.random.random_bool(0.2).then(|| *STATUSES.choose(&mut self.random).unwrap());
        let mut body = json!({ "limit": 5000 });
        let by_email = self.random.random_bool(0.5);
        if !asked.is_empty() {
            let keys: Vec<_> =
                asked.iter().map(|client| if by_email { &client.email } else { &client.id }).collect();
            body[if by_email { "emails" } else { "ids" }] = json!(keys);
        }
        if let Some(status) = status {
            body["filters"] = json!({ "status": [status] });
        }
        match self.random.random_range(0..4) {
            0 => body["offset"] = json!(self.random.random_range(0..5)),
            1 => body["keyBy"] = "id".into(),
            2 if status.is_none() && asked.is_empty() => {
                body["filters"] = json!({ "updatedDate": [null, null] })
            }
            _ => {}
        }
        let answer = match &source {
            Some(source) => {
                self.app
                    .leads_by_source(&by.text, &bucket, &encoded(&affiliate), &encoded(source), &body)
                    .await
            }
            None => self.app.leads(&by.text, &bucket, &encoded(&affiliate), &body).await,
        };
        self.count("leads", &answer);
        let request = format!("{bucket} {affiliate} {source:?} {body}");
        let found = self.bucket(&bucket).cloned();
        if !by.views(&affiliate) {
            answer.assert(401, UNAUTHORIZED);
        } else if found.is_none() {
            answer.assert_error(400, "Bucket with corresponding affiliateID doesn't exist");
        } else if found.as_ref().is_some_and(|found| found.affiliate != affiliate) {
            answer.assert_error(400, "Provided bucketId does not belong to the provided affiliateID");
        } else if source.as_ref().is_some_and(|source| !found.as_ref().unwrap().sources.contains(source)) {
            answer.assert_error(400, "Provided sourceId does not belong to bucket");
        } else {
            answer.assert_ok();
            let here = |client: &Client| {
                client.bucket.as_ref() == Some(&bucket) && (source.is_none() || client.source == source)
            };
            let wanted = |client: &Client| {
                here(client)
                    && (asked.is_empty()
                        || asked.iter().any(|one| {
                            if by_email { one.email == client.email } else { one.id == client.id }
                        }))
                    && status.is_none_or(|status| client.status == status)
            };
            let mut expected: BTreeSet<_> =
                self.clients.iter().filter(|client| wanted(client)).map(|client| client.id.clone()).collect();
            let total = expected.len();
            let shown = answer.json();
            let shown: BTreeSet<_> = shown
                .as_object()
                .unwrap()
                .values()
                .map(|lead| lead["id"].as_str().unwrap().to_owned())
                .collect();
            let offset = body["offset"].as_u64().unwrap_or(0) as usize;
            assert_eq!(shown.len(), total.saturating_sub(offset), "{request}: {answer:?}");
            expected.retain(|id| offset == 0 || shown.contains(id));
            assert_eq!(shown, expected, "{request}");
            if let Some(count) = answer.header("x-total-count") {
                assert_eq!(count, total.to_string(), "{request}");
            }
            if !asked.is_empty() {
                let keys: BTreeSet<_> =
                    asked.iter().map(|client| if by_email { &client.email } else { &client.id }).collect();
                let known = self.clients.iter().filter(|client| here(client));
                let known = known
                    .filter(|client| keys.contains(if by_email { &client.email } else { &client.id }))
                    .count();
                assert_eq!(
                    answer.header("x-missing-count"),
                    Some((keys.len() - known).to_string().as_str()),
                    "{request}"
                );
            }
            self.assert_hides(&request, &answer, here, |_| false);
            // What a partner sees of a lead has no first name.
            assert!(self.clients.iter().all(|client| !answer.text.contains(&client.name)), "{request}");
            return;
        }
        self.assert_hides(&request, &answer, |_| false, |_| false);
    }

    async fn admin(
        &mut self,
        by: &Holder,
        method: &str,
        path: &str,
        body: Option<&Value>,
        kind: &'static str,
    ) -> Answer {
        let answer = self.app.admin(&by.text, method, path, body).await;
        self.count(kind, &answer);
        answer
    }

    async fn buckets(&mut self, by: &Holder) {
        match self.random.random_range(0..7) {
            0 | 1 => {
                let affiliate = self.random.random_bool(0.5).then(|| self.any_affiliate());
                let query =
                    affiliate.as_ref().map(|id| format!("&affiliateID={}", encoded(id))).unwrap_or_default();
                let path = format!("/api/admin/buckets?limit=100{query}");
                let answer = self.admin(by, "GET", &path, None, "list of buckets").await;
                if !by.views_buckets() || affiliate.as_ref().is_some_and(|id| !by.views(id)) {
                    answer.assert(401, UNAUTHORIZED);
                    return self.assert_hides(&path, &answer, |_| false, |_| false);
                }
                let visible = |bucket: &Bucket| {
                    by.views(&bucket.affiliate) && affiliate.as_ref().is_none_or(|id| *id == bucket.affiliate)
                };
                let expected: BTreeSet<_> = self
                    .buckets
                    .iter()
                    .filter(|bucket| visible(bucket))
                    .map(|bucket| bucket.id.clone())
                    .collect();
                assert_eq!(Self::ids(&answer).into_iter().collect::<BTreeSet<_>>(), expected, "{path}");
                self.assert_hides(&path, &answer, |_| false, visible);
            }
            2 | 3 => {
                let id = self.any_bucket();
                let stats = self.random.random_bool(0.5);
                let path = format!("/api/admin/buckets/{id}{}", if stats { "/stats" } else { "" });
                let answer = self.admin(by, "GET", &path, None, "a bucket").await;
                let visible = |bucket: &Bucket| bucket.id == id && by.views(&bucket.affiliate);
                if !by.views_buckets() {
                    answer.assert(401, UNAUTHORIZED);
                } else if !self.buckets.iter().any(visible) {
                    answer.assert_error(404, NO_BUCKET);
                } else {
                    answer.assert_ok();
                    if stats {
                        let leads =
                            self.clients.iter().filter(|client| client.bucket.as_ref() == Some(&id)).count();
                        assert_eq!(answer.json()["total"], json!(leads));
                    }
                }
                self.assert_hides(&path, &answer, |_| false, visible);
            }
            _ => {
                let id = self.any_bucket();
                let (method, path, body) = match self.random.random_range(0..4) {
                    0 => ("PATCH", String::new(), Some(json!({ "sources": ["s0", "s1", "source-9q"] }))),
                    1 => ("DELETE", String::new(), None),
                    _ => ("POST", "/route".to_owned(), Some(json!({}))),
                };
                let path = format!("/api/admin/buckets/{id}{path}");
                let visible =
                    |bucket: &Bucket| bucket.id == id && by.may(BucketsManage, Some(&bucket.affiliate));
                // What would change the model is not done; what must be refused is tried.
                let is_allowed = self.buckets.iter().any(visible);
                if is_allowed && method != "POST" {
                    return;
                }
                let answer = self.admin(by, method, &path, body.as_ref(), "change of a bucket").await;
                if !by.has(BucketsManage) {
                    answer.assert(401, UNAUTHORIZED);
                } else if !is_allowed {
                    answer.assert_error(404, NO_BUCKET);
                } else {
                    // All are where they belong.
                    assert_eq!(answer.json()["routed"], json!(0), "{answer:?}");
                }
                self.assert_hides(&path, &answer, |_| false, visible);
            }
        }
    }

    async fn clients(&mut self, by: &Holder) {
        let one = self.any_client();
        match self.random.random_range(0..6) {
            0..=2 => {
                let bucket = self.random.random_bool(0.4).then(|| self.any_bucket());
                let affiliate = self.random.random_bool(0.3).then(|| self.any_affiliate());
                let status =
                    self.random.random_bool(0.3).then(|| *STATUSES.choose(&mut self.random).unwrap());
                let email = self.random.random_bool(0.2).then(|| one.email.clone());
                let mut path = "/api/admin/clients?limit=1000".to_owned();
                let mut ask = |name: &str, value: Option<&str>| {
                    if let Some(value) = value {
                        path += &format!("&{name}={}", encoded(value));
                    }
                };
                ask("bucketId", bucket.as_deref());
                ask("affiliateID", affiliate.as_deref());
                ask("status", status);
                ask("email", email.as_deref());
                let answer = self.admin(by, "GET", &path, None, "list of clients").await;
                if !by.has(ClientsView) || affiliate.as_ref().is_some_and(|id| !by.may(ClientsView, Some(id)))
                {
                    answer.assert(401, UNAUTHORIZED);
                    return self.assert_hides(&path, &answer, |_| false, |_| false);
                }
                let visible = |client: &Client| {
                    by.may(ClientsView, client.affiliate.as_deref())
                        && (bucket.is_none() || client.bucket == bucket)
                        && (affiliate.is_none() || client.affiliate == affiliate)
                        && status.is_none_or(|status| client.status == status)
                        && email.as_ref().is_none_or(|email| client.email == *email)
                };
                let expected: BTreeSet<_> = self
                    .clients
                    .iter()
                    .filter(|client| visible(client))
                    .map(|client| client.id.clone())
                    .collect();
                assert_eq!(Self::ids(&answer).into_iter().collect::<BTreeSet<_>>(), expected, "{path}");
                let shown: BTreeSet<_> = self
                    .clients
                    .iter()
                    .filter(|client| visible(client))
                    .filter_map(|client| client.bucket.clone())
                    .collect();
                self.assert_hides(&path, &answer, visible, |bucket| {
                    shown.contains(&bucket.id) && !answer.text.contains(&bucket.name)
                });
            }
            3 => {
                let path = format!("/api/admin/clients/{}", one.id);
                let answer = self.admin(by, "GET", &path, None, "a client").await;
                self.assert_client(by, ClientsView, &one, &path, &answer);
            }
            _ => {
                let path = format!("/api/admin/clients/{}", one.id);
                let status = *STATUSES.choose(&mut self.random).unwrap();
                let affiliate = self.random.random_bool(0.3).then(|| self.any_affiliate());
                let mut body = json!({ "status": status });
                if let Some(affiliate) = &affiliate {
                    body["affiliateID"] = affiliate.as_str().into();
                }
                let given = affiliate.as_deref().map(str::trim);
                let is_known = self.clients.iter().any(|known| known.id == one.id);
                let visible = is_known && by.may(ClientsManage, one.affiliate.as_deref());
                // Giving it away would change the model.
                if visible && given.is_some_and(|given| by.may(ClientsManage, Some(given))) {
                    return;
                }
                let answer = self.admin(by, "PATCH", &path, Some(&body), "change of a client").await;
                if by.has(ClientsManage) && given.is_some_and(|given| !by.may(ClientsManage, Some(given))) {
                    answer.assert(401, UNAUTHORIZED);
                    return self.assert_hides(&path, &answer, |_| false, |_| false);
                }
                self.assert_client(by, ClientsManage, &one, &path, &answer);
                if visible {
                    let changed = self.clients.iter_mut().find(|client| client.id == one.id).unwrap();
                    changed.status = status.to_owned();
                }
            }
        }
    }

    fn assert_client(&self, by: &Holder, permission: Permission, one: &Client, path: &str, answer: &Answer) {
        let visible =
            |client: &Client| client.id == one.id && by.may(permission, client.affiliate.as_deref());
        if !by.has(permission) {
            answer.assert(401, UNAUTHORIZED);
        } else if !self.clients.iter().any(visible) {
            answer.assert_error(404, NO_CLIENT);
        } else {
            answer.assert_ok();
            assert_eq!(answer.json()["email"], json!(one.email));
        }
        self.assert_hides(path, answer, visible, |bucket| {
            one.bucket.as_ref() == Some(&bucket.id) && answer.status == 200
        });
    }

    async fn security(&mut self, by: &Holder) {
        let other = self.holders.choose(&mut self.random).unwrap().clone();
        let id = Token::parse(&other.text).unwrap().digest().token_id().to_string();
        let path = match self.random.random_range(0..5) {
            0 => "/api/admin/tokens?limit=100".to_owned(),
            1 => format!("/api/admin/tokens/{id}"),
            2 => "/api/admin/roles".to_owned(),
            3 => format!("/api/admin/roles/role-of-{id}"),
            _ => "/api/public/token".to_owned(),
        };
        let answer = self.admin(by, "GET", &path, None, "security").await;
        if path.ends_with("/token") {
            answer.assert_ok();
            assert_eq!(answer.json()["affiliateIDs"], json!(by.affiliates));
            let names: BTreeSet<_> = by.permissions.iter().map(|permission| permission.as_str()).collect();
            let shown = answer.json()["permissions"].clone();
            let shown: BTreeSet<_> =
                shown.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(shown, names);
        } else if by.has(SecurityManage) {
            answer.assert_ok();
        } else {
            answer.assert(401, UNAUTHORIZED);
        }
        for holder in &self.holders {
            assert!(!answer.text.contains(&holder.text[..20]), "{path} shows a token");
        }
        self.assert_hides(&path, &answer, |_| false, |_| false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_show_what_is_ones_own() {
    let mut world = World::start().await;
    for _ in 0..REQUESTS {
        let holders = world.holders.clone();
        let by = holders.choose(&mut world.random).unwrap();
        match world.random.random_range(0..20) {
            0..=7 => world.leads(by).await,
            8..=11 => world.buckets(by).await,
            12..=16 => world.clients(by).await,
            17 => {
                let affiliate = world.random.random_bool(0.7).then(|| world.any_affiliate());
                let source = world.random.random_bool(0.7).then(|| world.any_source());
                world.sign_up(by, affiliate, source).await;
            }
            _ => world.security(by).await,
        }
    }
    // Each kind of request was answered in all of its ways.
    for (kind, statuses) in [
        ("leads", &[200, 400, 401][..]),
        ("list of buckets", &[200, 401]),
        ("a bucket", &[200, 401, 404]),
        ("change of a bucket", &[200, 401, 404]),
        ("list of clients", &[200, 401]),
        ("a client", &[200, 401, 404]),
        ("change of a client", &[200, 401, 404]),
        ("sign-up", &[200, 401]),
        ("security", &[200, 401]),
    ] {
        for status in statuses {
            let count = world.statuses.get(&(kind, *status)).copied().unwrap_or(0);
            assert!(count >= 3, "{kind} {status}: {:?}", world.statuses);
        }
    }
    world.app.assert_consistent().await;
}

/// One request, twice: of what is another's, and of what there is not.
struct Pair {
    what: &'static str,
    method: &'static str,
    /// `@@` is the thing.
    path: String,
    /// As in the path.
    body: Option<String>,
    foreign: String,
    nothing: String,
    token: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_anothers_is_answered_as_what_there_is_not() {
    let world = World::start().await;
    let app = &world.app;
    let holder = |permissions: &[Permission]| {
        let found = world
            .holders
            .iter()
            .find(|holder| holder.permissions == permissions && holder.affiliates == ["aff-0q"]);
        found.unwrap().text.clone()
    };
    let everything = holder(&Permission::ALL);
    let [view, own, manage] = [
        holder(&[ClientsView]),
        holder(&[BucketsViewOwn, ClientsView, ClientsManage, ClientsCreate, BucketsManage]),
        holder(&[BucketsViewOwn, BucketsManage]),
    ];
    let no_right = holder(&[]);
    let of = |affiliate: &str, at: usize| {
        world.buckets.iter().filter(|bucket| bucket.affiliate == affiliate).nth(at).unwrap()
    };
    let (mine, theirs) = (of("aff-0q", 0), of("aff-1q", 0));
    let sourced = of("aff-0q", 1);
    let client_of = |bucket: &Bucket| {
        world.clients.iter().find(|client| client.bucket.as_ref() == Some(&bucket.id)).unwrap()
    };
    let (my_client, their_client) = (client_of(mine), client_of(theirs));
    let nobodys = world.clients.iter().find(|client| client.affiliate.is_none()).unwrap();
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let token_id = Token::parse(app.administrator()).unwrap().digest().token_id().to_string();
    let mut pairs = Vec::new();
    let mut pair =
        |what, token: &String, method, path: String, body: Option<String>, foreign: &str, nothing: &str| {
            pairs.push(Pair {
                what,
                method,
                path,
                body,
                foreign: foreign.into(),
                nothing: nothing.into(),
                token: token.clone(),
            });
        };
    for (bucket, body) in [(mine, "{}"), (theirs, "{}"), (theirs, "{\"limit\":0}")] {
        let path = format!("/api/public/buckets/{}/@@/leads", bucket.id);
        pair("leads of an affiliate", &own, "POST", path.clone(), Some(body.into()), "aff-1q", "aff-9q");
        pair(
            "leads of an affiliate and source",
            &own,
            "POST",
            format!("{path}/s0"),
            Some(body.into()),
            "aff-1q",
            "aff-9q",
        );
    }
    let leads = format!("/api/public/buckets/{}/aff-0q/leads", sourced.id);
    for body in ["{}", r#"{"limit":1,"offset":2}"#] {
        pair(
            "leads of another bucket's source",
            &own,
            "POST",
            format!("{leads}/@@"),
            Some(body.into()),
            "source-0q",
            "source-9q",
        );
        pair(
            "leads of another affiliate's source",
            &own,
            "POST",
            format!("{leads}/@@"),
            Some(body.into()),
            "source-1q",
            "source-9q",
        );
    }
    for body in [
        r#"{"emails":["@@"]}"#,
        r#"{"emails":["@@"],"filters":{"status":["new"]}}"#,
        r#"{"emails":["@@"],"offset":1}"#,
    ] {
        pair(
            "leads by email",
            &own,
            "POST",
            leads.clone(),
            Some(body.into()),
            &their_client.email,
            "client-0q@example.com",
        );
        pair(
            "leads by another bucket's email",
            &own,
            "POST",
            leads.clone(),
            Some(body.into()),
            &my_client.email,
            "client-0q@example.com",
        );
    }
    pair(
        "leads by id",
        &own,
        "POST",
        leads.clone(),
        Some(r#"{"ids":["@@"]}"#.into()),
        &their_client.id,
        nowhere,
    );
    for (what, method, part, body) in [
        ("a bucket", "GET", "", None),
        ("a bucket's stats", "GET", "/stats", None),
        ("a bucket's stats, wrongly", "GET", "/stats?from=x", None),
        ("change of a bucket", "PATCH", "", Some(r#"{"name":"mine"}"#)),
        ("change of a bucket, wrongly", "PATCH", "", Some(r#"{"affiliateID":"aff-0q"}"#)),
        ("change of a bucket's sources", "PATCH", "", Some(r#"{"sources":["s0"]}"#)),
        ("deletion of a bucket", "DELETE", "", None),
        ("routing", "POST", "/route", Some("{}")),
        ("routing, wrongly", "POST", "/route?limit=0", Some("{}")),
    ] {
        let path = format!("/api/admin/buckets/@@{part}");
        // Who views all of them sees it.
        let others = [&everything].into_iter().filter(|_| method != "GET");
        for token in [&manage, &view, &no_right].into_iter().chain(others) {
            pair(what, token, method, path.clone(), body.map(str::to_owned), &theirs.id, nowhere);
        }
    }
    for (what, method, body) in [
        ("a client", "GET", None),
        ("change of a client", "PATCH", Some(r#"{"status":"hot"}"#)),
        ("change of a client's email", "PATCH", Some(r#"{"email":"taken@example.com"}"#)),
        ("change of a client's bucket", "PATCH", Some(r#"{"bucketId":"nowhere"}"#)),
        ("change of a client, wrongly", "PATCH", Some(r#"{"id":"x"}"#)),
    ] {
        for foreign in [their_client, nobodys] {
            for token in [&own, &everything, &view, &no_right] {
                pair(
                    what,
                    token,
                    method,
                    "/api/admin/clients/@@".into(),
                    body.map(str::to_owned),
                    &foreign.id,
                    nowhere,
                );
            }
        }
    }
    let mine_to = format!("/api/admin/clients/{}", my_client.id);
    pair(
        "a client into a bucket",
        &own,
        "PATCH",
        mine_to.clone(),
        Some(r#"{"bucketId":"@@"}"#.into()),
        &theirs.id,
        nowhere,
    );
    pair(
        "a client to an affiliate",
        &own,
        "PATCH",
        mine_to,
        Some(r#"{"affiliateID":"@@"}"#.into()),
        "aff-1q",
        "aff-9q",
    );
    pair(
        "a bucket for an affiliate",
        &manage,
        "POST",
        "/api/admin/buckets".into(),
        Some(r#"{"name":"n","affiliateID":"@@","sources":["s0"]}"#.into()),
        "aff-1q",
        "aff-9q",
    );
    pair(
        "buckets of an affiliate",
        &own,
        "GET",
        "/api/admin/buckets?affiliateID=@@".into(),
        None,
        "aff-1q",
        "aff-9q",
    );
    for query in ["", "&status=new", "&limit=1"] {
        pair(
            "clients of a bucket",
            &view,
            "GET",
            format!("/api/admin/clients?bucketId=@@{query}"),
            None,
            &theirs.id,
            nowhere,
        );
        pair(
            "clients of an affiliate",
            &view,
            "GET",
            format!("/api/admin/clients?affiliateID=@@{query}"),
            None,
            "aff-1q",
            "aff-9q",
        );
    }
    pair(
        "a client by email",
        &view,
        "GET",
        "/api/admin/clients?email=@@".into(),
        None,
        &their_client.email,
        "client-0q@example.com",
    );
    for token in [&own, &no_right] {
        for method in ["GET", "DELETE"] {
            pair("a token", token, method, "/api/admin/tokens/@@".into(), None, &token_id, &"0".repeat(32));
            pair(
                "a role",
                token,
                method,
                "/api/admin/roles/@@".into(),
                None,
                "administrator",
                "nobody-at-all",
            );
        }
    }
    let registration = r#"{"email":"new@example.com","phone":"+1234567890","firstName":"Jane","affiliateID":"@@","sourceId":"s0"}"#;
    pair(
        "a sign-up for an affiliate",
        &own,
        "POST",
        "/tradersroom/api/auth/signup".into(),
        Some(registration.into()),
        "aff-1q",
        "aff-9q",
    );

    let send = async |pair: &Pair, thing: &str| {
        let header = if pair.path.starts_with("/tradersroom") { "x-api-key" } else { "authorization" };
        let mut counts = BTreeMap::new();
        let mut answers = Vec::new();
        // The second time everything is as it stays.
        for _ in 0..2 {
            world.proxy.take_counts();
            let path = pair.path.replace("@@", &encoded(thing));
            let body = pair.body.as_ref().map(|body| body.replace("@@", thing)).unwrap_or_default();
            let headers = [(header, pair.token.as_str()), ("content-type", "application/json")];
            let mut answer =
                app.send(Method::from_bytes(pair.method.as_bytes()).unwrap(), &path, &headers, body).await;
            counts = world.proxy.take_counts();
            counts.retain(|access: &Access, _| {
                !["TokenActivityTable", "RolesTable"].contains(&access.resource.as_str())
            });
            for changing in ["x-request-id", "date"] {
                answer.headers.remove(changing);
            }
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "{}", pair.what);
        (answers.remove(0), counts)
    };
    let mut costly = BTreeSet::new();
    for pair in &pairs {
        // Copies of roles and buckets have an age, which one of the two may find passed.
        for attempt in 0..5 {
            let (foreign, of_foreign) = send(pair, &pair.foreign).await;
            let (nothing, of_nothing) = send(pair, &pair.nothing).await;
            assert_eq!(foreign, nothing, "{} {}", pair.what, pair.path);
            assert!(foreign.status < 500 && foreign.status != 201, "{}: {foreign:?}", pair.what);
            if of_foreign == of_nothing {
                break;
            }
            if attempt == 4 {
                costly.insert((pair.what, format!("{of_foreign:?}"), format!("{of_nothing:?}")));
            }
        }
    }
    assert!(pairs.len() >= 110, "{}", pairs.len());
    // A client is found by its email in two steps, and by an email that nobody has there is no second one. Whoever may
    // sign clients up hears of it in so many words.
    assert_eq!(
        costly.iter().map(|(what, ..)| *what).collect::<Vec<_>>(),
        ["a client by email"],
        "{costly:#?}"
    );

    // What the published pages tell: whose a bucket is not, and that an email is taken.
    let foreign = app.leads(&own, &theirs.id, "aff-0q", &json!({})).await;
    foreign.assert_error(400, "Provided bucketId does not belong to the provided affiliateID");
    let nothing = app.leads(&own, nowhere, "aff-0q", &json!({})).await;
    nothing.assert_error(400, "Bucket with corresponding affiliateID doesn't exist");
    let taken = json!({ "email": their_client.email, "phone": "+1234567890", "firstName": "Jane" });
    app.sign_up(&own, &taken).await.assert_provider_error(400, "User with this email already exists");
    // A cursor of another's list is none.
    let partner = app.partner(&["aff-1q"]).await;
    let stolen = app.leads(&partner, &theirs.id, "aff-1q", &json!({ "limit": 1 })).await;
    let stolen = stolen.header("x-next-cursor").unwrap();
    let used = app.leads(&own, &mine.id, "aff-0q", &json!({ "cursor": stolen })).await;
    let invented = app.leads(&own, &mine.id, "aff-0q", &json!({ "cursor": "invented" })).await;
    assert_eq!((used.status, &used.text), (400, &invented.text));
    // Of the admin API's lists as well: it leads to one's own list, or nowhere.
    let all = app.admin(app.administrator(), "GET", "/api/admin/clients?limit=1", None).await.json();
    let stolen = all["nextCursor"].as_str().unwrap();
    let page = app.admin(&view, "GET", &format!("/api/admin/clients?limit=1000&cursor={stolen}"), None).await;
    let foreign = page.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["affiliateID"] != "aff-0q")
        .count();
    assert_eq!((page.status, foreign), (200, 0));
    // A source of another's takes nobody there.
    let body = json!({ "email": "lost@example.com", "phone": "+1234567890", "firstName": "Jane", "sourceId": "source-1q" });
    let id = app.signed_up(&own, &body).await;
    let client = app.admin(&view, "GET", &format!("/api/admin/clients/{id}"), None).await.json();
    assert_eq!((&client["affiliateID"], &client["bucketId"]), (&json!("aff-0q"), &json!(mine.id)));
}
