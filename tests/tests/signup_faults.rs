//! Sign Up while DynamoDB fails in the ways that the embedded engine never does by itself:
//! nothing acknowledged is lost, nothing is stored twice, and nobody hears of a duplicate that is
//! their own.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tests::TestApp;
use tests::dynamodb::Dynamodb;
use tests::proxy::Fault::{self, Conflict, WrittenThenConflict, WrittenThenServerError};
use tests::proxy::Proxy;

struct Faulty {
    app: TestApp,
    key: String,
    partner: String,
    proxy: Proxy,
    // Dropped last: the stack goes on calling it.
    dynamodb: Dynamodb,
}

impl Faulty {
    async fn start() -> Self {
        let dynamodb = Dynamodb::start().await;
        let proxy = Proxy::start(dynamodb.address).await;
        let app = TestApp::start_on(proxy.endpoint()).await;
        app.bucket("campaigns", "AFF-123", &["facebook_ads"]).await;
        let key = app.sign_up_key(&[]).await;
        let partner = app.partner(&["AFF-123"]).await;
        Self { app, key, partner, proxy, dynamodb }
    }

    async fn fails(&self, faults: &[Fault]) {
        self.proxy.fail_transactions(faults.iter().copied());
    }

    /// The bucket's leads, which list, source and every counter must agree on.
    async fn leads(&self) -> Value {
        let all = json!({ "limit": 5000 });
        let listed = self.app.leads(&self.partner, "campaigns", "AFF-123", &all).await;
        let of_source =
            self.app.leads_by_source(&self.partner, "campaigns", "AFF-123", "facebook_ads", &all).await;
        assert_eq!(listed.text, of_source.text);
        let count = listed.keys().len();
        for answer in [&listed, &of_source] {
            assert_eq!(answer.header("x-total-count"), Some(count.to_string().as_str()));
        }
        // Months and seconds count each lead in its bucket's list and in its source's.
        let mut sums = BTreeMap::new();
        for (kind, _, counts) in self.counters().await {
            *sums.entry(kind).or_insert(0) += counts;
        }
        let expected = [("M", 2 * count), ("S", 2 * count), ("T", count)];
        assert_eq!(sums, expected.map(|(kind, count)| (kind.to_owned(), count)).into());
        listed.json()
    }

    /// The shards that counters of months were written to.
    async fn shards(&self) -> BTreeSet<String> {
        let counters = self.counters().await.into_iter();
        counters.filter(|(kind, ..)| kind == "M").map(|(_, shard, _)| shard).collect()
    }

    /// Every counter item: its kind, its shard, and the sum of what it counts.
    async fn counters(&self) -> Vec<(String, String, usize)> {
        let tables = self.app.store().tables();
        let scanned = self.app.store().sdk().scan().table_name(&tables.buckets).send().await.unwrap();
        let mut counters = Vec::new();
        for item in scanned.items() {
            let (kind, _) = item["pk"].as_s().unwrap().split_once('#').unwrap();
            if ["M", "S", "T"].contains(&kind) {
                let (_, shard) = item["sk"].as_s().unwrap().rsplit_once('#').unwrap();
                // A month's `n` counts arrivals, whatever months their leads are of.
                let counting = item.iter().filter(|(name, _)| kind != "M" || *name != "n");
                let numbers = counting.filter_map(|(_, value)| value.as_n().ok()?.parse::<usize>().ok());
                counters.push((kind.to_owned(), shard.to_owned(), numbers.sum()));
            }
        }
        counters
    }
}

fn body(email: &str) -> Value {
    json!({
        "email": email, "phone": "+1234567890", "firstName": "Jane", "affiliateID": "AFF-123",
        "sourceId": "facebook_ads",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_tried_again_and_spread_the_counters() {
    let faulty = Faulty::start().await;
    faulty.app.signed_up(&faulty.key, &body("calm@example.com")).await;
    assert_eq!(faulty.shards().await, ["0".to_owned()].into(), "a list without conflicts stays at one shard");

    for number in 0..20 {
        faulty.fails(&[Conflict; 3]).await;
        faulty.app.signed_up(&faulty.key, &body(&format!("user{number}@example.com"))).await;
        assert_eq!(faulty.proxy.faults_left(), 0);
    }

    assert_eq!(faulty.leads().await.as_object().unwrap().len(), 21);
    assert!(faulty.shards().await.len() > 1, "a list with conflicts is spread");
    faulty.dynamodb.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_a_success_and_not_a_duplicate() {
    for faults in [
        &[WrittenThenConflict][..],
        &[WrittenThenServerError],
        &[Conflict, WrittenThenConflict],
        &[WrittenThenConflict, Conflict, Conflict],
        &[WrittenThenServerError, WrittenThenServerError, Conflict],
    ] {
        let faulty = Faulty::start().await;

        faulty.fails(faults).await;
        let id = faulty.app.signed_up(&faulty.key, &body("user@example.com")).await;

        assert_eq!(faulty.proxy.faults_left(), 0, "{faults:?}");
        assert_eq!(faulty.leads().await["user@example.com"]["id"], json!(id), "{faults:?}");

        faulty.fails(faults).await;
        let first = faulty.app.sign_up_once(&faulty.key, "once", &body("another@example.com")).await;
        first.assert_ok();
        assert_eq!(first.header("idempotency-replayed"), None, "{faults:?}");
        let again = faulty.app.sign_up_once(&faulty.key, "once", &body("another@example.com")).await;
        again.assert(200, &first.text);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(faulty.leads().await.as_object().unwrap().len(), 2, "{faults:?}");
        faulty.dynamodb.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_retries_amid_conflicts_end_in_one_client() {
    let faulty = Faulty::start().await;
    faulty
        .fails(&[Conflict, WrittenThenConflict, Conflict, Conflict, WrittenThenServerError, Conflict])
        .await;
    let body = body("user@example.com");
    let requests = (0..16).map(|_| faulty.app.sign_up_once(&faulty.key, "once", &body));
    let answers = futures_util::future::join_all(requests).await;
    for answer in &answers {
        answer.assert(200, &answers[0].text);
    }
    assert_eq!(faulty.proxy.faults_left(), 0);
    assert_eq!(faulty.leads().await["user@example.com"]["id"], answers[0].json()["id"]);
    faulty.dynamodb.stop().await;
}
