//! Random work of operators and landing pages, against a plain model of what CONTRACT.md, sections 2,
//! 3 and 5, says of it: where each client is, and in what order, by every endpoint.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::{Answer, TestApp};

const SEED: u64 = 20_261_124;
const STEPS: usize = 500;
const COMPARED_EVERY: usize = 25;
const AFFILIATES: [&str; 2] = ["A", "B"];
const SOURCES: [&str; 4] = ["s1", "s2", "s3", "s4"];
const STATUSES: [&str; 3] = ["new", "hot", "lost"];

#[derive(Clone, Debug)]
struct Client {
    email: String,
    affiliate: Option<String>,
    source: Option<String>,
    bucket: Option<String>,
    status: String,
    ftd: Option<String>,
    created: String,
}

#[derive(Clone, Debug)]
struct Bucket {
    affiliate: String,
    sources: BTreeSet<String>,
    created: String,
}

#[derive(Debug, Default)]
struct Model {
    clients: BTreeMap<String, Client>,
    buckets: BTreeMap<String, Bucket>,
}

impl Model {
    /// Section 3: the bucket of the source, else the affiliate's oldest without sources, else none.
    fn route(&self, affiliate: Option<&str>, source: Option<&str>) -> Option<String> {
        let own = || self.buckets.iter().filter(|(_, bucket)| Some(bucket.affiliate.as_str()) == affiliate);
        let assigned = own().find(|(_, bucket)| source.is_some_and(|source| bucket.sources.contains(source)));
        let open = own()
            .filter(|(_, bucket)| bucket.sources.is_empty())
            .min_by_key(|(id, bucket)| (&bucket.created, *id));
        assigned.or(open).map(|(id, _)| id.clone())
    }

    fn is_free(&self, affiliate: &str, sources: &BTreeSet<String>, besides: Option<&str>) -> bool {
        let mut others = self
            .buckets
            .iter()
            .filter(|(id, bucket)| bucket.affiliate == affiliate && Some(id.as_str()) != besides);
        others.all(|(_, bucket)| bucket.sources.is_disjoint(sources))
    }

    fn owner(&self, email: &str) -> Option<&str> {
        self.clients.iter().find(|(_, client)| client.email == email).map(|(id, _)| id.as_str())
    }

    /// Ids in the order of leads.
    fn leads(&self, accepts: impl Fn(&Client) -> bool) -> Vec<&str> {
        let mut found: Vec<_> = self.clients.iter().filter(|(_, client)| accepts(client)).collect();
        found.sort_by_key(|(id, client)| (&client.created, *id));
        found.into_iter().map(|(id, _)| id.as_str()).collect()
    }
}

struct Run {
    app: TestApp,
    key: String,
    random: StdRng,
    model: Model,
    refusals: BTreeMap<u16, usize>,
    done: BTreeMap<&'static str, usize>,
}

impl Run {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.choose(&mut self.random).unwrap()
    }

    fn maybe<'a>(&mut self, of: &[&'a str]) -> Option<&'a str> {
        if self.random.random_ratio(1, 4) { None } else { Some(self.one(of)) }
    }

    fn email(&mut self) -> String {
        format!("c{}@example.com", self.random.random_range(0..150))
    }

    fn sources(&mut self) -> BTreeSet<String> {
        let count = self.random.random_range(0..3);
        (0..count).map(|_| self.one(&SOURCES).to_owned()).collect()
    }

    fn any_client(&mut self) -> Option<String> {
        let ids: Vec<_> = self.model.clients.keys().cloned().collect();
        ids.choose(&mut self.random).cloned()
    }

    fn any_bucket(&mut self) -> Option<String> {
        let ids: Vec<_> = self.model.buckets.keys().cloned().collect();
        ids.choose(&mut self.random).cloned()
    }

    async fn call(&mut self, name: &'static str, method: &str, path: &str, body: Value) -> Answer {
        let body = Some(body).filter(|body| !body.is_null());
        let answer = self.app.admin(self.app.administrator(), method, path, body.as_ref()).await;
        self.note(name, &answer);
        answer
    }

    fn note(&mut self, name: &'static str, answer: &Answer) {
        match answer.status {
            200..300 => *self.done.entry(name).or_default() += 1,
            status => *self.refusals.entry(status).or_default() += 1,
        }
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..40 => self.sign_up().await,
            40..75 => self.change_client().await,
            75..83 => self.create_bucket().await,
            83..91 => self.change_sources().await,
            91..96 => self.delete_bucket().await,
            _ => self.route().await,
        }
    }

    async fn sign_up(&mut self) {
        let email = self.email();
        let (affiliate, source) = (self.maybe(&AFFILIATES), self.maybe(&SOURCES));
        let body = json!({ "email": email, "phone": "12345", "firstName": "A", "affiliateID": affiliate, "sourceId": source });
        let answer = self.app.sign_up(&self.key, &body).await;
        self.note("sign up", &answer);
        if self.model.owner(&email).is_some() {
            return answer.assert_provider_error(400, "User with this email already exists");
        }
        answer.assert_ok();
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let path = format!("/api/admin/clients/{id}");
        let shown = self.app.admin(self.app.administrator(), "GET", &path, None).await.json();
        let client = Client {
            email,
            affiliate: affiliate.map(str::to_owned),
            source: source.map(str::to_owned),
            bucket: self.model.route(affiliate, source),
            status: "new".into(),
            ftd: None,
            created: shown["createdDate"].as_str().unwrap().to_owned(),
        };
        self.model.clients.insert(id, client);
    }

    async fn change_client(&mut self) {
        let Some(id) = self.any_client() else { return };
        let (mut body, mut changed) = (json!({}), self.model.clients[&id].clone());
        let text = |value: &Option<String>| json!(value.clone().unwrap_or_default());
        let mut conflict = false;
        for _ in 0..self.random.random_range(1..4) {
            match self.random.random_range(0..6) {
                0 => {
                    changed.status = self.one(&STATUSES).to_owned();
                    body["status"] = json!(changed.status);
                }
                1 => {
                    changed.ftd = self
                        .maybe(&["2026-01-02T03:04:05.678Z", "2025-01-01T00:00:00.000Z"])
                        .map(str::to_owned);
                    body["ftd"] = text(&changed.ftd);
                }
                2 => {
                    changed.source = self.maybe(&SOURCES).map(str::to_owned);
                    body["sourceId"] = text(&changed.source);
                }
                3 => {
                    changed.email = self.email();
                    conflict = self.model.owner(&changed.email).is_some_and(|owner| owner != id);
                    body["email"] = json!(changed.email);
                }
                4 => {
                    changed.affiliate = self.maybe(&AFFILIATES).map(str::to_owned);
                    body["affiliateID"] = text(&changed.affiliate);
                }
                _ => {
                    changed.bucket = if self.random.random_ratio(1, 5) { None } else { self.any_bucket() };
                    body["bucketId"] = text(&changed.bucket);
                }
            }
        }
        let mut foreign = false;
        if !body["bucketId"].is_null() {
            let owner = changed.bucket.as_ref().map(|bucket| &self.model.buckets[bucket].affiliate);
            foreign = owner.is_some() && owner != changed.affiliate.as_ref();
        } else if changed.affiliate != self.model.clients[&id].affiliate {
            changed.bucket = self.model.route(changed.affiliate.as_deref(), changed.source.as_deref());
        }
        let answer =
            self.call("change client", "PATCH", &format!("/api/admin/clients/{id}"), body.clone()).await;
        let expected = if foreign {
            400
        } else if conflict {
            409
        } else {
            200
        };
        assert_eq!(answer.status, expected, "{id} {body}: {answer:?}");
        if expected == 200 {
            let shown = answer.json();
            assert_eq!(
                (&shown["bucketId"], &shown["email"]),
                (&json!(changed.bucket), &json!(changed.email))
            );
            self.model.clients.insert(id, changed);
        }
    }

    async fn create_bucket(&mut self) {
        let (affiliate, sources) = (self.one(&AFFILIATES), self.sources());
        let body = json!({ "name": "n", "affiliateID": affiliate, "sources": sources });
        let answer = self.call("create bucket", "POST", "/api/admin/buckets", body).await;
        if !self.model.is_free(affiliate, &sources, None) {
            return assert_eq!(answer.status, 409, "{answer:?}");
        }
        assert_eq!(answer.status, 201, "{answer:?}");
        let record = answer.json();
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        let bucket = Bucket { affiliate: affiliate.into(), sources, created: text("createdDate") };
        self.model.buckets.insert(text("id"), bucket);
    }

    async fn change_sources(&mut self) {
        let Some(id) = self.any_bucket() else { return };
        let sources = self.sources();
        let free = self.model.is_free(&self.model.buckets[&id].affiliate, &sources, Some(&id));
        let path = format!("/api/admin/buckets/{id}");
        let answer = self.call("change sources", "PATCH", &path, json!({ "sources": sources })).await;
        assert_eq!(answer.status, if free { 200 } else { 409 }, "{answer:?}");
        if free {
            self.model.buckets.get_mut(&id).unwrap().sources = sources;
        }
    }

    async fn delete_bucket(&mut self) {
        let used: BTreeSet<_> =
            self.model.clients.values().filter_map(|client| client.bucket.clone()).collect();
        let unused = self.model.buckets.keys().find(|id| !used.contains(*id)).cloned();
        // Most have leads: half of the time one that can be deleted is picked.
        let picked = if self.random.random_ratio(1, 2) { unused } else { None };
        let Some(id) = picked.or_else(|| self.any_bucket()) else { return };
        let has_leads = used.contains(&id);
        let answer =
            self.call("delete bucket", "DELETE", &format!("/api/admin/buckets/{id}"), Value::Null).await;
        assert_eq!(answer.status, if has_leads { 409 } else { 204 }, "{answer:?}");
        if !has_leads {
            self.model.buckets.remove(&id);
        }
    }

    async fn route(&mut self) {
        let Some(id) = self.any_bucket() else { return };
        let affiliate = self.model.buckets[&id].affiliate.clone();
        let mut expected = 0;
        let waiting =
            self.model.clients.clone().into_iter().filter(|(_, client)| {
                client.bucket.is_none() && client.affiliate.as_deref() == Some(&affiliate)
            });
        for (client, mut changed) in waiting {
            changed.bucket = self.model.route(Some(&affiliate), changed.source.as_deref());
            expected += u64::from(changed.bucket.is_some());
            self.model.clients.insert(client, changed);
        }
        let (mut routed, mut cursor) = (0, String::new());
        loop {
            let path = format!("/api/admin/buckets/{id}/route?limit=7&cursor={cursor}");
            let answer = self.call("route", "POST", &path, json!({})).await;
            answer.assert_ok();
            routed += answer.json()["routed"].as_u64().unwrap();
            match answer.json()["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(routed, expected);
    }

    /// Everything that can be asked, asked of a stack that remembers nothing.
    async fn compare(&self) {
        let fresh = TestApp::start_on(self.app.stack.dynamodb_endpoint.clone()).await;
        let model = &self.model;
        let partner = fresh.partner(&AFFILIATES).await;
        let all = json!({ "keyBy": "id", "limit": 5000 });
        for (id, bucket) in &model.buckets {
            let expected = model.leads(|client| client.bucket.as_ref() == Some(id));
            let listed = fresh.leads(&partner, id, &bucket.affiliate, &all).await;
            assert_eq!(listed.keys(), expected);
            assert_eq!(listed.header("x-total-count"), Some(expected.len().to_string().as_str()));
            for (id, lead) in listed.json().as_object().unwrap() {
                let client = &model.clients[id];
                let shown = (&lead["email"], &lead["status"], &lead["ftd"], &lead["createdDate"]);
                let expected =
                    (&json!(client.email), &json!(client.status), &json!(client.ftd), &json!(client.created));
                assert_eq!(shown, expected, "{id}");
            }
            let half = json!({ "keyBy": "id", "offset": expected.len() / 2, "limit": 3 });
            let part = fresh.leads(&partner, id, &bucket.affiliate, &half).await;
            let rest: Vec<_> = expected[expected.len() / 2..].iter().take(3).copied().collect();
            assert_eq!(part.keys(), rest);
            for source in &bucket.sources {
                let of_source = |client: &Client| {
                    client.bucket.as_ref() == Some(id) && client.source.as_ref() == Some(source)
                };
                let listed = fresh.leads_by_source(&partner, id, &bucket.affiliate, source, &all).await;
                assert_eq!(listed.keys(), model.leads(of_source), "{source}");
            }
            let mut counts = BTreeMap::<&str, usize>::new();
            for client in expected.iter().map(|id| &model.clients[*id]) {
                *counts.entry(&client.status).or_default() += 1;
            }
            let path = format!("/api/admin/buckets/{id}/stats");
            let stats = fresh.admin(fresh.administrator(), "GET", &path, None).await.json();
            assert_eq!(stats["total"], expected.len());
            let mut statuses: Vec<_> = counts
                .into_iter()
                .map(|(status, leads)| json!({ "status": status, "leads": leads }))
                .collect();
            statuses.sort_by_key(|entry| {
                (std::cmp::Reverse(entry["leads"].as_u64()), entry["status"].to_string())
            });
            assert_eq!(stats["statuses"], json!(statuses));
            for status in STATUSES {
                let filtered = json!({ "keyBy": "id", "limit": 5000, "filters": { "status": [status] } });
                let listed = fresh.leads(&partner, id, &bucket.affiliate, &filtered).await;
                let accepts = |client: &Client| client.bucket.as_ref() == Some(id) && client.status == status;
                assert_eq!(listed.keys(), model.leads(accepts), "{status}");
            }
        }
        for (query, affiliate) in [("", None), ("?affiliateID=A", Some("A")), ("?affiliateID=B", Some("B"))] {
            let listed = fresh.walk(fresh.administrator(), &format!("/api/admin/clients{query}"), 20).await;
            let listed: Vec<_> = listed.iter().map(|client| client["id"].as_str().unwrap()).collect();
            let mut expected =
                model.leads(|client| affiliate.is_none() || client.affiliate.as_deref() == affiliate);
            expected.reverse();
            assert_eq!(listed, expected, "{query}");
        }
        fresh.assert_consistent().await;
    }
}

#[tokio::test]
async fn random_work_leaves_what_the_model_says() {
    let app = TestApp::start().await;
    let key = app.sign_up_key(&[]).await;
    let mut run = Run {
        app,
        key,
        random: StdRng::seed_from_u64(SEED),
        model: Model::default(),
        refusals: BTreeMap::new(),
        done: BTreeMap::new(),
    };
    for step in 1..=STEPS {
        run.step().await;
        if step % COMPARED_EVERY == 0 {
            run.compare().await;
        }
    }
    println!("{:?}, refused: {:?}", run.done, run.refusals);
    // The dice made every kind of work succeed, and every kind of refusal happen.
    assert!(run.done.len() == 6 && run.done.values().all(|count| *count > 0), "{:?}", run.done);
    assert!([400, 409].iter().all(|status| run.refusals.contains_key(status)), "{:?}", run.refusals);
}
