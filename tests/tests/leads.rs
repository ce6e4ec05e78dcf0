//! `POST /api/public/buckets/{bucketId}/{affiliateID}/leads`

use aws_sdk_dynamodb::types::AttributeValue;
use hyper::Method;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared::model::{BucketId, Client, ClientId, Permission, Timestamp, TokenId};
use shared::secret::Token;
use shared::store::ChangeClient;
use tests::{Answer, TestApp, TokenSpec, UNAUTHORIZED, encoded, new_client};

const AFFILIATE: &str = "1234567890";
const BUCKET: &str = "69ce5200741e8f2238320001";
/// Another bucket of the same affiliate.
const SECOND_BUCKET: &str = "69ce5200741e8f2238320002";
const OTHER_AFFILIATE: &str = "9876543210";
const OTHERS_BUCKET: &str = "69ce5200741e8f2238320003";

const NO_BUCKET: &str = "Bucket with corresponding affiliateID doesn't exist";
const NOT_THE_AFFILIATES: &str = "Provided bucketId does not belong to the provided affiliateID";
const FOREIGN_CURSOR: &str = "cursor must be the x-next-cursor of an answer to the same bucket and filters";

const NEW_YEAR_2021: i64 = 1_609_459_200_000;
const BODY_MAX: usize = 2 * 1024 * 1024;
/// What Lambda takes for an answer.
const LAMBDA_MAX: usize = 6 * 1024 * 1024;

fn path(bucket: &str, affiliate: &str) -> String {
    format!("/api/public/buckets/{bucket}/{affiliate}/leads")
}

/// Two affiliates, three buckets without leads, and a token that reads the first affiliate's.
async fn start() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.bucket(BUCKET, AFFILIATE, &[]).await;
    app.bucket(SECOND_BUCKET, AFFILIATE, &["facebook_ads"]).await;
    app.bucket(OTHERS_BUCKET, OTHER_AFFILIATE, &[]).await;
    let token = app.partner(&[AFFILIATE]).await;
    (app, token)
}

fn lead(email: &str, bucket: &str, created: i64) -> Client {
    let affiliate = if bucket == OTHERS_BUCKET { OTHER_AFFILIATE } else { AFFILIATE };
    let created = Timestamp::from_millis(created).unwrap();
    Client { created_date: created, updated_date: created, ..new_client(email, affiliate, bucket, None) }
}

/// `n` leads of the first bucket, a second apart.
fn leads(n: usize) -> Vec<Client> {
    (0..n)
        .map(|i| lead(&format!("lead{i:04}@example.com"), BUCKET, NEW_YEAR_2021 + i as i64 * 1000))
        .collect()
}

fn emails(clients: &[Client]) -> Vec<String> {
    clients.iter().map(|client| client.given.email.as_str().to_owned()).collect()
}

fn page_headers(answer: &Answer) -> [Option<&str>; 3] {
    ["x-total-count", "x-missing-count", "x-next-offset"].map(|name| answer.header(name))
}

async fn delete_token(app: &TestApp, id: &TokenId) {
    let tokens = &app.store().tables().tokens;
    let key = AttributeValue::S(id.to_string());
    app.store().sdk().delete_item().table_name(tokens).key("id", key).send().await.unwrap();
}

fn permission_spec(permissions: &[Permission], affiliates: &[&str]) -> TokenSpec {
    TokenSpec {
        permissions: permissions.to_vec(),
        affiliates: affiliates.iter().map(|id| (*id).to_owned()).collect(),
        ..TokenSpec::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_to_refuse_gives_the_same_published_401() {
    let (app, good) = start().await;
    let view = permission_spec(&[Permission::BucketsViewOwn], &[AFFILIATE]);
    let no_view: Vec<_> = Permission::ALL
        .into_iter()
        .filter(|p| !matches!(p, Permission::BucketsViewOwn | Permission::BucketsViewAll))
        .collect();
    let now = Timestamp::now().millis();
    let mut wrong_sum = good.clone();
    let last = if wrong_sum.pop() == Some('0') { '1' } else { '0' };
    wrong_sum.push(last);
    let wrong_case: String = good.to_uppercase();
    let bearer = format!("Bearer {good}");
    let unknown = Token::generate().unwrap().expose().to_owned();
    let expired = app.token(TokenSpec { expires_at: Some(now - 1), ..view.clone() }).await;
    let expired_long_ago = app.token(TokenSpec { expires_at: Some(0), ..view.clone() }).await;
    let elsewhere =
        app.token(TokenSpec { whitelist: vec!["10.0.0.1".into(), "::1".into()], ..view.clone() }).await;
    let unprivileged = app.token(permission_spec(&[], &[AFFILIATE])).await;
    let other_permissions = app.token(permission_spec(&no_view, &[AFFILIATE])).await;
    let other_affiliate = app.partner(&[OTHER_AFFILIATE, "", "1234567890 ", "123456789", "*"]).await;
    let no_affiliate = app.partner(&[]).await;

    let authorization = |value: &str| vec![("authorization", value.to_owned())];
    let cases = [
        ("no header", vec![]),
        ("in another header", vec![("x-api-key", good.clone())]),
        ("empty", authorization("")),
        ("no token by form", authorization("let me in")),
        ("checksum", authorization(&wrong_sum)),
        ("upper case", authorization(&wrong_case)),
        ("Bearer prefix", authorization(&bearer)),
        ("two in one", authorization(&format!("{good},{good}"))),
        ("repeated", [authorization(&good), authorization(&good)].concat()),
        ("unknown", authorization(&unknown)),
        ("expired", authorization(&expired)),
        ("expired long ago", authorization(&expired_long_ago)),
        ("outside the whitelist", authorization(&elsewhere)),
        ("role without permissions", authorization(&unprivileged)),
        ("role with all other permissions", authorization(&other_permissions)),
        ("affiliate not in the list", authorization(&other_affiliate)),
        ("no affiliates", authorization(&no_affiliate)),
    ];
    // Twice: what an instance learns from the first request must not let the second one in.
    for _ in 0..2 {
        for (reason, headers) in &cases {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = app.post(&path(BUCKET, AFFILIATE), &headers, "{}").await;
            assert_eq!((answer.status, answer.text.as_str()), (401, UNAUTHORIZED), "{reason}");
            let shown: Vec<_> = answer.headers.keys().map(String::as_str).collect();
            assert_eq!(shown, ["content-length", "content-type", "date", "x-request-id"], "{reason}");
        }
    }
    app.leads(&good, BUCKET, AFFILIATE, &json!({})).await.assert(200, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_may_read() {
    let (app, _) = start().await;
    let own = permission_spec(&[Permission::BucketsViewOwn], &["other", AFFILIATE]);
    let in_an_hour = Some(Timestamp::now().millis() + 3_600_000);
    let whitelist = |entry: &str| TokenSpec { whitelist: vec![entry.into()], ..own.clone() };
    for spec in [
        own.clone(),
        permission_spec(&[Permission::BucketsViewAll], &[]),
        permission_spec(&[Permission::BucketsViewAll], &["another"]),
        TokenSpec { expires_at: in_an_hour, ..own.clone() },
        whitelist("127.0.0.1"),
        whitelist("127.0.0.0/8"),
        whitelist("::ffff:127.0.0.1"),
    ] {
        let token = app.token(spec.clone()).await;
        let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({})).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "{}"), "{spec:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_a_caller_writes_do_not_get_past_a_whitelist() {
    let (app, _) = start().await;
    let spec = permission_spec(&[Permission::BucketsViewOwn], &[AFFILIATE]);
    let token = app.token(TokenSpec { whitelist: vec!["203.0.113.7".into()], ..spec }).await;
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"] {
        for value in ["203.0.113.7", "for=203.0.113.7", "203.0.113.7, 127.0.0.1"] {
            let headers = [("authorization", token.as_str()), (name, value)];
            app.post(&path(BUCKET, AFFILIATE), &headers, "{}").await.assert(401, UNAUTHORIZED);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_token_is_refused_by_the_next_request() {
    let (app, _) = start().await;
    let (token, id) = app.token_and_id(permission_spec(&[Permission::BucketsViewOwn], &[AFFILIATE])).await;
    app.store_clients(&leads(1)).await;
    let query = json!({});
    // GIVEN a token that the instance knows, whose reads begin beside its look-up
    for _ in 0..3 {
        assert_eq!(app.leads(&token, BUCKET, AFFILIATE, &query).await.keys().len(), 1);
    }
    // WHEN it is deleted
    delete_token(&app, &id).await;
    // THEN the very next request is refused, and so are those after it
    for _ in 0..3 {
        app.leads(&token, BUCKET, AFFILIATE, &query).await.assert(401, UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_come_in_the_documented_order() {
    let (app, good) = start().await;
    let stranger = app.partner(&["another"]).await;
    let unknown = Token::generate().unwrap().expose().to_owned();
    let too_large = vec![b' '; BODY_MAX + 1];
    let wrong_limit = br#"{"limit":0}"#.to_vec();
    let fine = b"{}".to_vec();
    let limit_message = r#"{"message":"limit must be an integer from 1 to 5000","statusCode":400}"#;
    let size_message = r#"{"message":"Request body is too large","statusCode":413}"#;
    let no_bucket = format!(r#"{{"message":"{NO_BUCKET}","statusCode":400}}"#);
    let not_the_affiliates = format!(r#"{{"message":"{NOT_THE_AFFILIATES}","statusCode":400}}"#);

    let cases = [
        // Token and permission come before the body, and before the bucket.
        (&unknown, "none", AFFILIATE, &wrong_limit, 401, UNAUTHORIZED),
        (&unknown, BUCKET, AFFILIATE, &too_large, 401, UNAUTHORIZED),
        (&stranger, "none", AFFILIATE, &wrong_limit, 401, UNAUTHORIZED),
        (&stranger, BUCKET, AFFILIATE, &wrong_limit, 401, UNAUTHORIZED),
        (&stranger, BUCKET, AFFILIATE, &fine, 401, UNAUTHORIZED),
        (&good, OTHERS_BUCKET, OTHER_AFFILIATE, &wrong_limit, 401, UNAUTHORIZED),
        (&good, OTHERS_BUCKET, OTHER_AFFILIATE, &fine, 401, UNAUTHORIZED),
        // The body comes before the bucket.
        (&good, "none", AFFILIATE, &too_large, 413, size_message),
        (&good, "none", AFFILIATE, &wrong_limit, 400, limit_message),
        (&good, "no bucket's id", AFFILIATE, &wrong_limit, 400, limit_message),
        (&good, OTHERS_BUCKET, AFFILIATE, &wrong_limit, 400, limit_message),
        // That there is a bucket comes before whose it is.
        (&good, "none", AFFILIATE, &fine, 400, &no_bucket),
        (&good, OTHERS_BUCKET, AFFILIATE, &fine, 400, &not_the_affiliates),
    ];
    // Twice: cold, and with a token that the instance knows.
    for _ in 0..2 {
        for (token, bucket, affiliate, body, status, text) in cases {
            let path = path(&encoded(bucket), affiliate);
            let answer = app.post(&path, &[("authorization", token)], body.clone()).await;
            assert_eq!((answer.status, answer.text.as_str()), (status, text), "{bucket} {affiliate}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_bucket_errors() {
    let (app, _) = start().await;
    let token = app.partner(&[AFFILIATE, OTHER_AFFILIATE, "né #1/2"]).await;
    let query = json!({});
    let too_long = "a".repeat(129);
    for bucket in ["69ce5200741e8f2238320009", "69CE5200741E8F2238320001x", "a b", "é", "#", "a/b", &too_long]
    {
        app.leads(&token, &encoded(bucket), AFFILIATE, &query).await.assert_error(400, NO_BUCKET);
    }
    for (bucket, affiliate) in [
        (OTHERS_BUCKET, AFFILIATE),
        (BUCKET, OTHER_AFFILIATE),
        (BUCKET, "né #1/2"),
        (SECOND_BUCKET, OTHER_AFFILIATE),
    ] {
        let answer = app.leads(&token, bucket, &encoded(affiliate), &query).await;
        answer.assert_error(400, NOT_THE_AFFILIATES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bucket_answers_at_once() {
    let (app, token) = start().await;
    let query = json!({});
    app.leads(&token, "new-bucket", AFFILIATE, &query).await.assert_error(400, NO_BUCKET);
    app.bucket("new-bucket", AFFILIATE, &[]).await;
    app.leads(&token, "new-bucket", AFFILIATE, &query).await.assert(200, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn path_parameters_are_percent_decoded_once() {
    let app = TestApp::start().await;
    // GIVEN affiliates whose ids need encoding, two of which are each other's encoded form
    let affiliates = ["AFF 1", "аффилиат", "a/b", "a%2Fb", "100%", "a+b", "a#b?c=d"];
    let token = app.partner(&affiliates).await;
    for (at, affiliate) in affiliates.iter().enumerate() {
        app.bucket(&format!("bucket_{at}"), affiliate, &[]).await;
        let email = format!("lead{at}@example.com");
        app.store_clients(&[new_client(&email, affiliate, &format!("bucket_{at}"), None)]).await;
    }
    for (at, affiliate) in affiliates.iter().enumerate() {
        // WHEN an affiliate's bucket is asked for
        let bucket = encoded(&format!("bucket_{at}"));
        let answer = app.leads(&token, &bucket, &encoded(affiliate), &json!({})).await;
        // THEN its lead answers, with the affiliate's id as it is
        assert_eq!(answer.keys(), [format!("lead{at}@example.com")], "{affiliate}");
        assert_eq!(answer.json()[format!("lead{at}@example.com")]["affiliateID"], **affiliate);
    }
    app.leads(&token, "bucket_2", "a%252Fb", &json!({})).await.assert_error(400, NOT_THE_AFFILIATES);
    app.leads(&token, "bucket_0", "%FF", &json!({})).await.assert(401, UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_refused() {
    let (app, token) = start().await;
    let expected_range = |name: &str| {
        format!("filters.{name} must be [from, to] in epoch milliseconds, null for an open side")
    };
    let distinct = |n: usize| (0..n).map(|i| format!("{i}@x.com")).collect::<Vec<_>>();
    let integer_limit = "limit must be an integer from 1 to 5000";
    let integer_offset = "offset must be an integer from 0 to 1000000000";
    let too_many = "emails and ids must have at most 5000 entries in all";
    let nested = |levels: usize| format!(r#"{{"x":{}1{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let mut cases: Vec<(Vec<u8>, String)> = vec![
        (b"{\"emails\":[\"\xff@example.com\"]}".to_vec(), "body must be UTF-8".into()),
        (b"\xc0\xaf".to_vec(), "body must be UTF-8".into()),
        (json!({ "emails": distinct(5001) }).to_string().into(), too_many.into()),
        (json!({ "emails": distinct(2500), "ids": distinct(2501) }).to_string().into(), too_many.into()),
        (nested(33).into(), "body must not be nested deeper than 32 levels".into()),
        (nested(100_000).into(), "body must not be nested deeper than 32 levels".into()),
        (
            json!({ "filters": { "status": (0..101).map(|i| i.to_string()).collect::<Vec<_>>() } })
                .to_string()
                .into(),
            "filters.status must have at most 100 entries".into(),
        ),
    ];
    for (body, message) in [
        // Not JSON.
        ("{", "body must be valid JSON"),
        ("{\"limit\":1", "body must be valid JSON"),
        ("{} {}", "body must be valid JSON"),
        ("{\"limit\":1,}", "body must be valid JSON"),
        ("{'limit':1}", "body must be valid JSON"),
        ("{\"limit\":01}", "body must be valid JSON"),
        ("\u{feff}{}", "body must be valid JSON"),
        ("limit=1", "body must be valid JSON"),
        // Not an object.
        ("[]", "body must be a JSON object"),
        ("null", "body must be a JSON object"),
        ("\"{}\"", "body must be a JSON object"),
        ("7", "body must be a JSON object"),
        // Emails and ids.
        (r#"{"emails":"a@b.c"}"#, "emails must be an array of strings"),
        (r#"{"emails":{}}"#, "emails must be an array of strings"),
        (r#"{"emails":["a@b.c",null]}"#, "emails[1] must be a string"),
        (r#"{"emails":["a@b.c",["d@e.f"]]}"#, "emails[1] must be a string"),
        (r#"{"emails":["\ud800"]}"#, "emails[0] must be a string"),
        (r#"{"ids":7}"#, "ids must be an array of strings"),
        (r#"{"ids":[7]}"#, "ids[0] must be a string"),
        // keyBy
        (r#"{"keyBy":"phone"}"#, r#"keyBy must be "email" or "id""#),
        (r#"{"keyBy":"ID"}"#, r#"keyBy must be "email" or "id""#),
        (r#"{"keyBy":""}"#, r#"keyBy must be "email" or "id""#),
        (r#"{"keyBy":1}"#, "keyBy must be a string"),
        // Filters
        (r#"{"filters":[]}"#, "filters must be an object"),
        (r#"{"filters":"status"}"#, "filters must be an object"),
        (r#"{"filters":{"status":"new"}}"#, "filters.status must be an array of strings"),
        (r#"{"filters":{"status":["new",5]}}"#, "filters.status[1] must be a string"),
        (r#"{"filters":{"createdDate":["2","1"]}}"#, "filters.createdDate must not have from after to"),
        (r#"{"filters":{"updatedDate":[2,"1"]}}"#, "filters.updatedDate must not have from after to"),
        // Paging
        (r#"{"limit":0}"#, integer_limit),
        (r#"{"limit":-1}"#, integer_limit),
        (r#"{"limit":5001}"#, integer_limit),
        (r#"{"limit":18446744073709551616}"#, integer_limit),
        (r#"{"limit":1.5}"#, integer_limit),
        (r#"{"limit":"10"}"#, integer_limit),
        (r#"{"limit":true}"#, integer_limit),
        (r#"{"limit":[1]}"#, integer_limit),
        (r#"{"offset":-1}"#, integer_offset),
        (r#"{"offset":1000000001}"#, integer_offset),
        (r#"{"offset":0.5}"#, integer_offset),
        (r#"{"offset":"0"}"#, integer_offset),
        (r#"{"cursor":5}"#, "cursor must be a string"),
        (r#"{"cursor":""}"#, FOREIGN_CURSOR),
        (r#"{"cursor":"bm90IG91cnM"}"#, FOREIGN_CURSOR),
        (r#"{"cursor":"x","offset":0}"#, "cursor must not be given together with offset"),
        (r#"{"cursor":"x","offset":10}"#, "cursor must not be given together with offset"),
    ] {
        cases.push((body.into(), message.to_owned()));
    }
    for name in ["createdDate", "updatedDate"] {
        for range in [
            "\"1\"",
            "5",
            "{}",
            "[]",
            "[1]",
            "[1,2,3]",
            r#"["yesterday",null]"#,
            r#"["",null]"#,
            r#"["2021-01-01T00:00:00.000Z",null]"#,
            "[1.5,null]",
            "[true,null]",
            "[[1],null]",
            r#"["99999999999999999999",null]"#,
            "[99999999999999999999,null]",
        ] {
            cases.push((format!(r#"{{"filters":{{"{name}":{range}}}}}"#).into(), expected_range(name)));
        }
    }
    for (body, message) in cases {
        let answer = app.post(&path(BUCKET, AFFILIATE), &[("authorization", &token)], body.clone()).await;
        let expected = format!(r#"{{"message":{},"statusCode":400}}"#, Value::from(message));
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        assert_eq!((answer.status, answer.text), (400, expected), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_read() {
    let (app, token) = start().await;
    let clients = leads(3);
    app.store_clients(&clients).await;
    let all: Vec<String> = emails(&clients);
    let nested_32 = format!(r#"{{"x":{}1{}}}"#, "[".repeat(31), "]".repeat(31));
    let largest = format!("{{{}}}", " ".repeat(BODY_MAX - 2));
    let duplicates = |n| format!(r#"{{"emails":[{}]}}"#, vec![r#""lead0001@example.com""#; n].join(","));
    let most =
        json!({ "emails": all, "ids": (0..4997).map(|i| i.to_string()).collect::<Vec<_>>() }).to_string();
    let everything: Vec<&str> = all.iter().map(String::as_str).collect();
    let second = &everything[1..2];
    for (body, expected) in [
        ("", &everything[..]),
        (" \r\n\t", &everything),
        ("{}", &everything),
        (
            r#"{"emails":null,"ids":null,"keyBy":null,"filters":null,"limit":null,"offset":null,"cursor":null}"#,
            &everything,
        ),
        (r#"{"filters":{"createdDate":null,"updatedDate":null,"status":null}}"#, &everything),
        (r#"{"emails":[],"ids":[],"filters":{}}"#, &everything),
        (r#"{"filters":{"status":[]}}"#, &everything),
        (r#"{"filters":{"createdDate":[null,null]}}"#, &everything),
        // What is not documented is ignored, at any place and of any type.
        (r#"{"Limit":"x","email":7,"sort":{"by":[]},"filters":{"ftd":"x","createddate":[1]}}"#, &everything),
        // Of a repeated name the last counts.
        (r#"{"limit":0,"limit":3}"#, &everything),
        (&nested_32, &everything),
        (&largest, &everything),
        (&most, &everything),
        (&duplicates(6000), second),
        (r#"{"emails":["lead\u0030001@example.com"]}"#, second),
        // Moments as strings and as numbers; both ends are in the range.
        (r#"{"filters":{"createdDate":["1609459201000","1609459201000"]}}"#, second),
        (r#"{"filters":{"createdDate":[1609459200001,"1609459201999"]}}"#, second),
        (r#"{"filters":{"createdDate":[1609459200001,1609459201999]}}"#, second),
        (r#"{"filters":{"createdDate":["-9223372036854775808","9223372036854775807"]}}"#, &everything),
        (r#"{"filters":{"createdDate":[null,-1]}}"#, &[]),
        (r#"{"filters":{"createdDate":[10000000000000,null]}}"#, &[]),
        (r#"{"limit":1,"offset":1}"#, second),
        (r#"{"limit":5000,"offset":1000000000}"#, &[]),
        // A list of blanks asks for nothing, never for everything.
        (r#"{"emails":[""," "]}"#, &[]),
        (r#"{"ids":[""]}"#, &[]),
    ] {
        let answer = app.post(&path(BUCKET, AFFILIATE), &[("authorization", &token)], body.to_owned()).await;
        let shown: String = body.chars().take(200).collect();
        assert_eq!(answer.status, 200, "{shown} {answer:?}");
        assert_eq!(answer.keys(), expected, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_two_mebibytes_is_too_large() {
    let (app, token) = start().await;
    for size in [BODY_MAX + 1, 5 * BODY_MAX - 1] {
        let answer = app.post(&path(BUCKET, AFFILIATE), &[("authorization", &token)], vec![b' '; size]).await;
        answer.assert_error(413, "Request body is too large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_types() {
    let (app, token) = start().await;
    let body = r#"{"limit":0}"#;
    let (read, refused) = (
        r#"{"message":"limit must be an integer from 1 to 5000","statusCode":400}"#,
        r#"{"message":"Content-Type must be application/json","statusCode":415}"#,
    );
    for (declared, expected) in [
        (None, read),
        (Some("application/json"), read),
        (Some("Application/JSON; charset=utf-8"), read),
        (Some("text/plain"), refused),
        (Some("text/plain; application/json"), refused),
        (Some("application/x-www-form-urlencoded"), refused),
        (Some("multipart/form-data; boundary=x"), refused),
        (Some("application/xml"), refused),
        (Some("application/jsonp"), refused),
    ] {
        let declared: Vec<_> = declared.map(|kind| ("content-type", kind)).into_iter().collect();
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(&declared);
        let answer = app.send(Method::POST, &path(BUCKET, AFFILIATE), &headers, body).await;
        assert_eq!(answer.text, expected, "{declared:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        // The token comes before the type.
        let answer = app.send(Method::POST, &path(BUCKET, AFFILIATE), &declared, body).await;
        answer.assert(401, UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_answer_to_the_byte() {
    let (app, token) = start().await;
    // GIVEN the published lead, and one that has not deposited and has characters that JSON escapes
    let published = Client {
        id: ClientId::new("69ce524d741e8f2238329fff"),
        status: "active".into(),
        ftd: Timestamp::from_millis(NEW_YEAR_2021),
        ..lead("user1@example.com", BUCKET, NEW_YEAR_2021)
    };
    let second = Client {
        id: ClientId::new("é \"7\""),
        status: "no \"answer\"\n".into(),
        ..lead("O'Neil+Ünï@Example.com", BUCKET, 1_676_172_330_450)
    };
    app.store_clients(&[second, published]).await;
    let first = r#"{"id":"69ce524d741e8f2238329fff","email":"user1@example.com","affiliateID":"1234567890","status":"active","createdDate":"2021-01-01T00:00:00.000Z","ftd":"2021-01-01T00:00:00.000Z"}"#;
    let second = r#"{"id":"é \"7\"","email":"O'Neil+Ünï@Example.com","affiliateID":"1234567890","status":"no \"answer\"\n","createdDate":"2023-02-12T03:25:30.450Z","ftd":null}"#;

    // WHEN they are asked for with the published body
    let query = json!({
        "emails": ["user1@example.com"],
        "ids": ["69ce524d741e8f2238329fff"],
        "keyBy": "email",
        "filters": { "createdDate": ["1576172330450", "1776172330450"] },
        "limit": 100,
        "offset": 0,
    });
    // THEN the answer is the published one
    let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
    answer.assert(200, &format!(r#"{{"user1@example.com":{first}}}"#));
    assert_eq!(page_headers(&answer), [Some("1"), Some("0"), None]);

    // AND the whole bucket answers in order of creation, keyed by email or by id
    let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({})).await;
    answer.assert(200, &format!(r#"{{"user1@example.com":{first},"O'Neil+Ünï@Example.com":{second}}}"#));
    let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({ "keyBy": "id" })).await;
    answer.assert(200, &format!(r#"{{"69ce524d741e8f2238329fff":{first},"é \"7\"":{second}}}"#));
    app.leads(&token, SECOND_BUCKET, AFFILIATE, &json!({})).await.assert(200, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_id_is_keyed_by_its_email() {
    let (app, token) = start().await;
    let with_id = Client { id: ClientId::new("7"), ..lead("a@example.com", BUCKET, 1) };
    let without_id = Client { id: ClientId::new(""), ..lead("b@example.com", BUCKET, 2) };
    app.store_clients(&[with_id, without_id]).await;
    let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({ "keyBy": "id" })).await;
    assert_eq!(answer.keys(), ["7", "b@example.com"]);
    let query = json!({ "keyBy": "id", "emails": ["b@example.com"] });
    assert_eq!(app.leads(&token, BUCKET, AFFILIATE, &query).await.keys(), ["b@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn emails_and_ids_ask_for_the_union_of_what_is_in_the_bucket() {
    let (app, token) = start().await;
    // GIVEN three leads of the bucket, and one each of the affiliate's other bucket and of another affiliate
    let id = |id: &str, client: Client| Client { id: ClientId::new(id), ..client };
    app.store_clients(&[
        id("id-A", lead("Mixed.Case@Example.com", BUCKET, 1000)),
        id("id-B", lead("b@example.com", BUCKET, 2000)),
        id("id-C", lead("ÜNÏ@exämple.de", BUCKET, 3000)),
        id("id-second", lead("second@example.com", SECOND_BUCKET, 4000)),
        id("id-other", lead("other@example.com", OTHERS_BUCKET, 5000)),
    ])
    .await;
    let (a, b, c) = ("Mixed.Case@Example.com", "b@example.com", "ÜNÏ@exämple.de");
    for (given_emails, given_ids, expected, missing) in [
        // Case and surrounding blanks do not matter in emails.
        (&["mixed.case@example.com"][..], &[][..], &[a][..], 0),
        (&[" \tMIXED.CASE@EXAMPLE.COM\n"], &[], &[a], 0),
        (&["ünï@EXÄMPLE.de"], &[], &[c], 0),
        // They do in ids.
        (&[], &["id-A"], &[a], 0),
        (&[], &["ID-A", " id-A"], &[], 2),
        // The union, in the list's order, each lead once.
        (&["b@example.com"], &["id-A"], &[a, b], 0),
        (&[c, b, "mixed.case@example.com"], &["id-C", "id-A", "id-B"], &[a, b, c], 0),
        // What is given twice counts once, also as missing.
        (&["B@example.com", "b@example.com ", "none@x.com", "None@X.com"], &["none", "none"], &[b], 2),
        // Leads of another bucket are absent, as unknown ones are.
        (&["second@example.com", b], &["id-second"], &[b], 2),
        (&["other@example.com"], &["id-other", "id-B"], &[b], 2),
        // An id is no email, an email no id.
        (&["id-A"], &["b@example.com"], &[], 2),
        // Text that can't be an email or an id matches nothing.
        (&["", "no address", "a@b@c"], &["", "#", "\u{0}", "é"], &[], 7),
        (&[&"x".repeat(100_000)], &[&"x".repeat(100_000), "id-B"], &[b], 2),
    ] {
        let query = json!({ "emails": given_emails, "ids": given_ids });
        let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
        let shown: String = query.to_string().chars().take(200).collect();
        assert_eq!(answer.keys(), expected, "{shown}");
        let (total, missing) = (expected.len().to_string(), missing.to_string());
        assert_eq!(page_headers(&answer), [Some(total.as_str()), Some(missing.as_str()), None], "{shown}");
    }
    // A lead that a filter drops is not missing.
    let query = json!({ "ids": ["id-A", "id-B", "none"], "filters": { "createdDate": [2000, null] } });
    let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
    assert_eq!(answer.keys(), [b]);
    assert_eq!(page_headers(&answer), [Some("1"), Some("1"), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greek_email_is_found_in_either_case() {
    let (app, token) = start().await;
    app.store_clients(&[lead("ΝΙΚΟΣ@example.com", BUCKET, 1)]).await;
    for spelling in ["ΝΙΚΟΣ@example.com", "νικος@example.com", "Νικοσ@example.com"] {
        let answer = app.leads(&token, BUCKET, AFFILIATE, &json!({ "emails": [spelling] })).await;
        assert_eq!(answer.keys(), ["ΝΙΚΟΣ@example.com"], "{spelling}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_their_order() {
    let (app, token) = start().await;
    let make = |email: &str, created, updated, status: &str| Client {
        updated_date: Timestamp::from_millis(updated).unwrap(),
        status: status.into(),
        ..lead(email, BUCKET, created)
    };
    // GIVEN a lead of March that was changed today, and others
    let (march, april, today) = (NEW_YEAR_2021, NEW_YEAR_2021 + 1000, NEW_YEAR_2021 + 10_000_000);
    app.store_clients(&[
        make("changed@x.com", march, today, "active"),
        make("quiet@x.com", april, april, "new"),
        make("fresh@x.com", today, today + 1, "new"),
    ])
    .await;
    let (changed, quiet, fresh) = ("changed@x.com", "quiet@x.com", "fresh@x.com");
    for (filters, expected) in [
        (json!({}), &[changed, quiet, fresh][..]),
        // What changed since the last poll, in the order of the changes.
        (json!({ "updatedDate": [today, null] }), &[changed, fresh]),
        (json!({ "updatedDate": [null, null] }), &[quiet, changed, fresh]),
        (json!({ "updatedDate": [null, today] }), &[quiet, changed]),
        (json!({ "updatedDate": [today + 2, null] }), &[]),
        (json!({ "updatedDate": [null, null], "createdDate": [null, april] }), &[quiet, changed]),
        (json!({ "createdDate": [march, april] }), &[changed, quiet]),
        (json!({ "createdDate": [march + 1, april] }), &[quiet]),
        (json!({ "status": ["new"] }), &[quiet, fresh]),
        (json!({ "status": ["new", "active", "new", "unknown"] }), &[changed, quiet, fresh]),
        (json!({ "status": ["New"] }), &[]),
        (json!({ "status": ["new", "active"], "updatedDate": [april, today] }), &[quiet, changed]),
        (json!({ "status": ["active"], "createdDate": [april, null] }), &[]),
    ] {
        let all = [changed, quiet, fresh];
        for query in [json!({ "filters": filters }), json!({ "filters": filters, "emails": all })] {
            let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
            assert_eq!(answer.keys(), expected, "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_where_a_page_stands() {
    let (app, token) = start().await;
    let clients = leads(150);
    app.store_clients(&clients).await;
    let some = json!(emails(&clients[..5]));
    for (query, shown, expected) in [
        // A hundred is the default.
        (json!({}), 100, [Some("150"), None, Some("100")]),
        (json!({ "limit": 150 }), 150, [Some("150"), None, None]),
        (json!({ "limit": 149 }), 149, [Some("150"), None, Some("149")]),
        (json!({ "limit": 5000 }), 150, [Some("150"), None, None]),
        (json!({ "limit": 10, "offset": 139 }), 10, [Some("150"), None, Some("149")]),
        (json!({ "limit": 10, "offset": 140 }), 10, [Some("150"), None, None]),
        (json!({ "offset": 150 }), 0, [Some("150"), None, None]),
        (json!({ "offset": 1_000_000_000 }), 0, [Some("150"), None, None]),
        (json!({ "emails": some, "limit": 2, "ids": ["?"] }), 2, [Some("5"), Some("1"), Some("2")]),
        (json!({ "emails": some, "limit": 2, "offset": 3 }), 2, [Some("5"), Some("0"), None]),
        (json!({ "emails": some, "offset": 5 }), 0, [Some("5"), Some("0"), None]),
        (json!({ "filters": { "createdDate": [null, NEW_YEAR_2021 - 1] } }), 0, [Some("0"), None, None]),
    ] {
        let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
        assert_eq!((answer.keys().len(), page_headers(&answer)), (shown, expected), "{query}");
        // There is a cursor where there is an offset to go on from.
        assert_eq!(answer.header("x-next-cursor").is_some(), expected[2].is_some(), "{query}");
    }
}

/// How a partner goes on to the next page.
#[derive(Clone, Copy, Debug)]
enum Paging {
    Offset,
    Cursor,
}

impl Paging {
    /// The query of the page behind an answer; `None` at the end.
    fn next(self, query: &Value, answer: &Answer) -> Option<Value> {
        let mut next = query.clone();
        match self {
            Self::Offset => next["offset"] = answer.header("x-next-offset")?.parse::<u64>().unwrap().into(),
            Self::Cursor => next["cursor"] = answer.header("x-next-cursor")?.into(),
        }
        Some(next)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_meets_every_lead_once_while_new_ones_arrive() {
    for paging in [Paging::Offset, Paging::Cursor] {
        for filters in
            [json!({}), json!({ "status": ["new", "active"] }), json!({ "updatedDate": [0, null] })]
        {
            let (app, token) = start().await;
            let mut clients = leads(25);
            app.store_clients(&clients).await;
            let query = json!({ "limit": 7, "filters": filters });
            let (mut met, mut next) = (Vec::new(), Some(query.clone()));
            while let Some(page) = next {
                let answer = app.leads(&token, BUCKET, AFFILIATE, &page).await;
                met.extend(answer.keys());
                next = paging.next(&query, &answer);
                // WHEN leads arrive after this page
                for _ in 0..if met.len() < 30 { 3 } else { 0 } {
                    let at = NEW_YEAR_2021 + 1_000_000 + clients.len() as i64;
                    let arrival = lead(&format!("arrival{at}@example.com"), BUCKET, at);
                    app.store_clients(std::slice::from_ref(&arrival)).await;
                    clients.push(arrival);
                }
            }
            // THEN none is met twice and none is missed
            assert_eq!(met, emails(&clients), "{paging:?} {query}");
            assert!(clients.len() > 35);
        }
    }
}

/// An instance remembers where pages began; leads that come and go before them move them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_by_offset_is_right_wherever_it_was_before() {
    let mut rng = StdRng::seed_from_u64(0x0ff5e7);
    let (app, token) = start().await;
    // Cells of few leads, and one of many.
    let moments = (0..400).map(|at| at * 600_000).chain((0..500).map(|at| 400 * 600_000 + at * 7_000));
    let mut here: Vec<Client> = moments
        .enumerate()
        .map(|(at, moment)| lead(&format!("lead{at}@example.com"), BUCKET, NEW_YEAR_2021 + moment))
        .collect();
    app.store_clients(&here).await;
    let (mut elsewhere, mut arrived) = (Vec::new(), 0);
    for round in 0..60 {
        for _ in 0..4 {
            let offset = *[3, 120, 390, 410, 700, 885].choose(&mut rng).unwrap();
            let mut next = json!({ "offset": offset, "limit": 10 });
            // The page, and those behind it.
            for place in [offset, offset + 10, offset + 20] {
                let answer = app.leads(&token, BUCKET, AFFILIATE, &next).await;
                let place = place.min(here.len());
                let page = &here[place..here.len().min(place + 10)];
                assert_eq!(answer.keys(), emails(page), "round {round}, offset {place}");
                assert_eq!(answer.header("x-total-count"), Some(here.len().to_string().as_str()));
                let Some(offset) = answer.header("x-next-offset") else { break };
                next = json!({ "offset": offset.parse::<u64>().unwrap(), "limit": 10 });
            }
        }
        // WHEN a lead leaves for another bucket, comes back, or is new
        let (from, bucket) = match rng.random_range(0..3) {
            0 => (&mut here, SECOND_BUCKET),
            1 if !elsewhere.is_empty() => (&mut elsewhere, BUCKET),
            _ => {
                let moment = NEW_YEAR_2021 + rng.random_range(0..400 * 600_000);
                let new = lead(&format!("arrival{arrived}@example.com"), BUCKET, moment);
                app.store_clients(std::slice::from_ref(&new)).await;
                arrived += 1;
                here.push(new);
                here.sort_by_key(|client| (client.created_date, client.id.as_str().to_owned()));
                continue;
            }
        };
        let client = from.swap_remove(rng.random_range(0..from.len()));
        let stored = app.store().client(&client.id).await.unwrap().unwrap();
        let moved = Client { bucket_id: BucketId::parse(bucket), ..stored.value.clone() };
        let changed = app.store().change_client(&stored, &moved).await.unwrap();
        assert!(matches!(changed, ChangeClient::Changed(_)), "{changed:?}");
        if bucket == BUCKET {
            here.push(client)
        } else {
            elsewhere.push(client)
        }
        here.sort_by_key(|client| (client.created_date, client.id.as_str().to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_belongs_to_its_bucket_and_filters() {
    let (app, token) = start().await;
    let clients = leads(6);
    let second = lead("second@example.com", SECOND_BUCKET, 1);
    app.store_clients(&clients).await;
    app.store_clients(&[second]).await;
    let all = emails(&clients);
    let searches = [
        json!({ "filters": {} }),
        json!({ "filters": { "createdDate": [0, null] } }),
        json!({ "filters": { "createdDate": [null, NEW_YEAR_2021 + 1_000_000] } }),
        json!({ "filters": { "updatedDate": [0, null] } }),
        json!({ "filters": { "updatedDate": [null, null] } }),
        json!({ "filters": { "status": ["new"] } }),
        json!({ "emails": all }),
        json!({ "emails": all[1..] }),
    ];
    let mut cursors = Vec::new();
    for search in &searches {
        let mut query = search.clone();
        query["limit"] = 2.into();
        let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
        cursors.push(answer.header("x-next-cursor").unwrap().to_owned());
    }
    for (at, search) in searches.iter().enumerate() {
        for (from, cursor) in cursors.iter().enumerate() {
            let mut query = search.clone();
            query["cursor"] = cursor.as_str().into();
            let answer = app.leads(&token, BUCKET, AFFILIATE, &query).await;
            if from == at {
                assert_eq!(answer.status, 200, "{query}");
            } else {
                answer.assert_error(400, FOREIGN_CURSOR);
            }
        }
    }
    let cursor = &cursors[0];
    let (app, token) = (&app, &token);
    let ask =
        |bucket: &'static str, query: Value| async move { app.leads(token, bucket, AFFILIATE, &query).await };

    // The page's size and its keys may change from page to page.
    let answer = ask(BUCKET, json!({ "cursor": cursor, "limit": 1, "keyBy": "id" })).await;
    assert_eq!(answer.keys(), [clients[2].id.as_str()]);
    let answer = ask(BUCKET, json!({ "cursor": cursor, "offset": null, "filters": null })).await;
    assert_eq!(answer.keys(), all[2..]);
    assert_eq!(page_headers(&answer), [Some("6"), None, None]);

    // Another bucket, the source endpoint, or damage is refused; an offset beside it as well.
    ask(SECOND_BUCKET, json!({ "cursor": cursor })).await.assert_error(400, FOREIGN_CURSOR);
    let by_source = app
        .leads_by_source(token, SECOND_BUCKET, AFFILIATE, "facebook_ads", &json!({ "cursor": cursor }))
        .await;
    by_source.assert_error(400, FOREIGN_CURSOR);
    let mut damaged =
        vec![format!("{cursor}A"), format!(" {cursor}"), format!("{cursor}="), "A".repeat(4096)];
    for at in [0, 1, cursor.len() / 2, cursor.len() - 1] {
        damaged.push(cursor[..at].to_owned());
        let swap = if &cursor[at..=at] == "A" { "B" } else { "A" };
        damaged.push(format!("{}{swap}{}", &cursor[..at], &cursor[at + 1..]));
    }
    for damaged in damaged {
        ask(BUCKET, json!({ "cursor": damaged })).await.assert_error(400, FOREIGN_CURSOR);
    }
    for offset in [0, 2] {
        let answer = ask(BUCKET, json!({ "cursor": cursor, "offset": offset })).await;
        answer.assert_error(400, "cursor must not be given together with offset");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_lambda_could_not_return_ends_early_and_says_where_to_go_on() {
    let (app, token) = start().await;
    // GIVEN leads whose statuses are as long as Sign Up takes them, and double in each JSON around them
    let mut clients = leads(1500);
    for client in &mut clients {
        client.status = "\"".repeat(1024);
    }
    app.store_clients(&clients).await;
    let all = emails(&clients);
    for query in [json!({ "limit": 5000 }), json!({ "limit": 5000, "emails": all })] {
        for paging in [Paging::Offset, Paging::Cursor] {
            let (mut met, mut next) = (Vec::new(), Some(query.clone()));
            while let Some(page) = next {
                let answer = app.leads(&token, BUCKET, AFFILIATE, &page).await;
                assert_eq!(answer.status, 200);
                // THEN the answer fits, as the JSON text that a function returns it in
                let returned = serde_json::to_string(&answer.text).unwrap().len();
                assert!(returned < LAMBDA_MAX, "{returned} bytes for {} leads", answer.keys().len());
                met.extend(answer.keys());
                next = paging.next(&query, &answer);
            }
            // AND the pages together hold every lead
            assert_eq!(met, all, "{paging:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_shows_nothing_and_never_comes_before_the_token() {
    let (app, _) = start().await;
    let (token, id) = app.token_and_id(permission_spec(&[Permission::BucketsViewOwn], &[AFFILIATE])).await;
    app.leads(&token, BUCKET, AFFILIATE, &json!({})).await.assert(200, "{}");
    // GIVEN a table that is gone
    let clients = &app.store().tables().clients;
    app.store().sdk().delete_table().table_name(clients).send().await.unwrap();
    for query in [json!({}), json!({ "emails": ["a@b.c"] }), json!({ "filters": { "status": ["new"] } })] {
        app.leads(&token, BUCKET, AFFILIATE, &query).await.assert_error(500, "Internal server error");
    }
    // WHEN the instance knows the token, and it is deleted
    delete_token(&app, &id).await;
    // THEN the reads that began beside its look-up do not show
    app.leads(&token, BUCKET, AFFILIATE, &json!({})).await.assert(401, UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id_of_its_own() {
    let (app, token) = start().await;
    let mut ids = std::collections::HashSet::new();
    for token in [token.as_str(), "none"] {
        for body in [json!({}), json!({ "limit": 0 })] {
            let answer = app.leads(token, BUCKET, AFFILIATE, &body).await;
            ids.insert(answer.header("x-request-id").unwrap().to_owned());
        }
    }
    assert_eq!(ids.len(), 4);
}
