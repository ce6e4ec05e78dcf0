//! `POST /api/public/buckets/{bucketId}/{affiliateID}/leads/{sourceId}`

use serde_json::{Value, json};
use shared::model::{Client, ClientId, Timestamp};
use shared::secret::Token;
use tests::{TestApp, UNAUTHORIZED, encoded, new_client};

const AFFILIATE: &str = "1234567890";
const BUCKET: &str = "69ce5200741e8f2238320001";
const OTHER_AFFILIATE: &str = "9876543210";
const OTHERS_BUCKET: &str = "69ce5200741e8f2238320003";

const NO_BUCKET: &str = "Bucket with corresponding affiliateID doesn't exist";
const NOT_THE_AFFILIATES: &str = "Provided bucketId does not belong to the provided affiliateID";
const NOT_THE_BUCKETS: &str = "Provided sourceId does not belong to bucket";

/// Sources that differ in letter case, in blanks, or in being another one's encoded form, and
/// that hold what keys, paths and hashes are made of.
const SOURCES: [&str; 16] = [
    "facebook_ads",
    "Facebook_Ads",
    "facebook ads",
    "facebook  ads",
    "facebook+ads",
    "источник 1",
    "🎯",
    "é",
    "e\u{301}",
    "a#b",
    "a/b",
    "a%2Fb",
    "a%252Fb",
    "100%",
    "?x=1&y=2",
    "\"quoted\\\"",
];

fn lead(id: &str, source: Option<&str>, millis: i64) -> Client {
    let moment = Timestamp::from_millis(millis).unwrap();
    Client {
        id: ClientId::new(id),
        created_date: moment,
        updated_date: moment,
        ..new_client(&format!("{id}@example.com"), AFFILIATE, BUCKET, source)
    }
}

/// A bucket with sources `ads` and `mail`: of `ads` it has `ads0` to `ads5`, of `mail` `mail0` to
/// `mail5`, of a source that was taken from it `gone0`, and one without a source; another
/// affiliate's bucket with a source of the same name has one as well.
async fn start() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.bucket(BUCKET, AFFILIATE, &["ads", "mail"]).await;
    app.bucket(OTHERS_BUCKET, OTHER_AFFILIATE, &["ads", "theirs"]).await;
    let mut clients = vec![lead("gone0", Some("gone"), 50), lead("none0", None, 60)];
    for at in 0..6 {
        clients.push(lead(&format!("ads{at}"), Some("ads"), at * 10));
        clients.push(lead(&format!("mail{at}"), Some("mail"), at * 10));
    }
    clients.push(new_client("theirs@example.com", OTHER_AFFILIATE, OTHERS_BUCKET, Some("ads")));
    app.store_clients(&clients).await;
    let token = app.partner(&[AFFILIATE, OTHER_AFFILIATE]).await;
    (app, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_errors_in_their_order() {
    let (app, good) = start().await;
    let stranger = app.partner(&["another"]).await;
    let unknown = Token::generate().unwrap().expose().to_owned();
    let (fine, wrong) = (json!({}), json!({ "limit": 0 }));
    let error = |message: &str| format!(r#"{{"message":"{message}","statusCode":400}}"#);
    let wrong_limit = error("limit must be an integer from 1 to 5000");
    let refused = UNAUTHORIZED.to_owned();
    let cases = [
        // Token, body, bucket, its affiliate, source.
        (&unknown, "none", AFFILIATE, "none", &wrong, 401, refused.clone()),
        (&stranger, "none", AFFILIATE, "none", &wrong, 401, refused.clone()),
        (&stranger, BUCKET, AFFILIATE, "ads", &fine, 401, refused),
        (&good, "none", AFFILIATE, "none", &wrong, 400, wrong_limit.clone()),
        (&good, BUCKET, AFFILIATE, "none", &wrong, 400, wrong_limit),
        (&good, "none", AFFILIATE, "none", &fine, 400, error(NO_BUCKET)),
        (&good, "none", AFFILIATE, "ads", &fine, 400, error(NO_BUCKET)),
        (&good, OTHERS_BUCKET, AFFILIATE, "none", &fine, 400, error(NOT_THE_AFFILIATES)),
        (&good, OTHERS_BUCKET, AFFILIATE, "ads", &fine, 400, error(NOT_THE_AFFILIATES)),
        (&good, BUCKET, AFFILIATE, "none", &fine, 400, error(NOT_THE_BUCKETS)),
    ];
    // Twice: cold, and with a token that the instance knows.
    for _ in 0..2 {
        for (token, bucket, affiliate, source, body, status, text) in &cases {
            let answer = app.leads_by_source(token, bucket, affiliate, source, body).await;
            assert_eq!(
                (answer.status, &answer.text),
                (*status, text),
                "{bucket} {affiliate} {source} {body}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_assigned_sources_answer() {
    let (app, token) = start().await;
    app.bucket("without-sources", AFFILIATE, &[]).await;
    for (bucket, source) in [
        // Another bucket's, one that was taken away, other spellings, and no source at all.
        (BUCKET, "theirs"),
        (BUCKET, "gone"),
        (BUCKET, "ADS"),
        (BUCKET, "Ads"),
        (BUCKET, " ads"),
        (BUCKET, "ads "),
        (BUCKET, "ads\0"),
        (BUCKET, "ads,mail"),
        (BUCKET, " "),
        (BUCKET, "undefined"),
        ("without-sources", "ads"),
    ] {
        let answer = app.leads_by_source(&token, bucket, AFFILIATE, &encoded(source), &json!({})).await;
        answer.assert_error(400, NOT_THE_BUCKETS);
    }
    app.leads_by_source(&token, BUCKET, AFFILIATE, "%FF", &json!({}))
        .await
        .assert_error(400, NOT_THE_BUCKETS);
    // A new bucket's source answers at once, also after it was refused.
    app.leads_by_source(&token, "new", AFFILIATE, "news", &json!({})).await.assert_error(400, NO_BUCKET);
    app.bucket("new", AFFILIATE, &["news"]).await;
    app.leads_by_source(&token, "new", AFFILIATE, "news", &json!({})).await.assert(200, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_is_of_the_sources_leads_alone() {
    let (app, token) = start().await;
    for (query, expected, total, missing) in [
        (json!({}), &["ads0", "ads1", "ads2", "ads3", "ads4", "ads5"][..], "6", None),
        (json!({ "filters": { "createdDate": [10, 30] } }), &["ads1", "ads2", "ads3"], "3", None),
        (json!({ "filters": { "updatedDate": [40, null] } }), &["ads4", "ads5"], "2", None),
        (json!({ "filters": { "status": ["new"], "createdDate": [null, 0] } }), &["ads0"], "1", None),
        (json!({ "limit": 2, "offset": 4 }), &["ads4", "ads5"], "6", None),
        (json!({ "ids": ["ads3", "mail3", "gone0", "none0"] }), &["ads3"], "1", Some("3")),
        (
            json!({ "emails": ["ADS1@example.com", "mail1@example.com", "theirs@example.com"], "ids": ["ads1"] }),
            &["ads1"],
            "1",
            Some("2"),
        ),
        // A lead of the source that a filter drops is not missing.
        (json!({ "ids": ["ads1", "mail1"], "filters": { "createdDate": [20, null] } }), &[], "0", Some("1")),
    ] {
        let mut query: Value = query;
        query["keyBy"] = "id".into();
        let answer = app.leads_by_source(&token, BUCKET, AFFILIATE, "ads", &query).await;
        assert_eq!(answer.keys(), expected, "{query}");
        assert_eq!(answer.header("x-total-count"), Some(total), "{query}");
        assert_eq!(answer.header("x-missing-count"), missing, "{query}");
    }
    // The bucket's own endpoint answers all of them, whatever their source.
    let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({})).await;
    assert_eq!((answer.keys().len(), answer.header("x-total-count")), (14, Some("14")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_answer_to_the_byte() {
    let (app, token) = start().await;
    let lead = r#"{"id":"ads1","email":"ads1@example.com","affiliateID":"1234567890","status":"new","createdDate":"1970-01-01T00:00:00.010Z","ftd":null}"#;
    let query = json!({ "filters": { "createdDate": ["10", "19"] } });
    let answer = app.leads_by_source(&token, BUCKET, AFFILIATE, "ads", &query).await;
    answer.assert(200, &format!(r#"{{"ads1@example.com":{lead}}}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_any_text_are_told_apart() {
    let app = TestApp::start().await;
    app.bucket(BUCKET, AFFILIATE, &SOURCES).await;
    let token = app.partner(&[AFFILIATE]).await;
    let clients: Vec<_> =
        SOURCES.iter().zip(0..).map(|(source, at)| lead(&at.to_string(), Some(source), at)).collect();
    app.store_clients(&clients).await;
    let every_id: Vec<_> = clients.iter().map(|client| client.id.as_str()).collect();
    for (at, source) in SOURCES.iter().enumerate() {
        for query in [
            json!({ "keyBy": "id" }),
            json!({ "keyBy": "id", "ids": every_id }),
            json!({ "keyBy": "id", "filters": { "updatedDate": [null, null] } }),
            json!({ "keyBy": "id", "filters": { "status": ["new"] } }),
        ] {
            let answer = app.leads_by_source(&token, BUCKET, AFFILIATE, &encoded(source), &query).await;
            assert_eq!(answer.status, 200, "{source} {answer:?}");
            assert_eq!(answer.keys(), [at.to_string()], "{source} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_its_source() {
    let (app, token) = start().await;
    let page = json!({ "limit": 2 });
    let by_source = |source: &'static str, query: Value| {
        let (app, token) = (&app, &token);
        async move { app.leads_by_source(token, BUCKET, AFFILIATE, source, &query).await }
    };
    let of_source = by_source("ads", page.clone()).await.header("x-next-cursor").unwrap().to_owned();
    let bucket = app.leads(&token, BUCKET, AFFILIATE, &page).await;
    let of_bucket = bucket.header("x-next-cursor").unwrap().to_owned();

    let answer = by_source("ads", json!({ "cursor": of_source, "keyBy": "id" })).await;
    assert_eq!(answer.keys(), ["ads2", "ads3", "ads4", "ads5"]);

    let message = "cursor must be the x-next-cursor of an answer to the same bucket and filters";
    by_source("mail", json!({ "cursor": of_source })).await.assert_error(400, message);
    by_source("ads", json!({ "cursor": of_bucket })).await.assert_error(400, message);
    let to_bucket = app.leads(&token, BUCKET, AFFILIATE, &json!({ "cursor": of_source })).await;
    to_bucket.assert_error(400, message);
}
