//! `POST /tradersroom/api/auth/signup` (CONTRACT.md, section 3).

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};
use shared::model::{Permission, Profile};
use std::collections::BTreeSet;
use tests::{INVALID_KEY, TestApp, TokenSpec};

const PATH: &str = "/tradersroom/api/auth/signup";

fn basic(email: &str) -> Value {
    json!({ "email": email, "phone": "+1234567890", "firstName": "Jane" })
}

fn full(email: &str) -> Value {
    json!({
        "email": email, "phone": "+1234567890", "firstName": "Jane", "lastName": "Doe", "affiliateID": "AFF-123",
        "subID": "SUB-1", "campaignId": "CMP-456", "sourceId": "facebook_ads", "project": "default",
        "desk": "sales", "sendEmail": true
    })
}

/// A stack with the buckets that the published full example is routed by.
async fn with_buckets() -> (TestApp, String, String) {
    let app = TestApp::start().await;
    app.bucket("campaigns", "AFF-123", &["facebook_ads", "google_ads"]).await;
    app.bucket("direct", "AFF-123", &[]).await;
    let key = app.sign_up_key(&[]).await;
    let partner = app.partner(&["AFF-123"]).await;
    (app, key, partner)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_full_example_is_found_by_email_id_date_bucket_and_source_at_once() {
    let (app, key, partner) = with_buckets().await;
    let before = shared::model::Timestamp::now().millis();

    let answer = app.sign_up(&key, &full("user@example.com")).await;

    let id = answer.json()["id"].as_str().unwrap().to_owned();
    answer.assert(200, &format!(r#"{{"id":"{id}"}}"#));
    assert_eq!(id.len(), 36);
    let after = shared::model::Timestamp::now().millis();
    for body in [
        json!({ "emails": ["user@example.com"] }),
        json!({ "ids": [id] }),
        json!({ "filters": { "createdDate": [before.to_string(), after.to_string()] } }),
        json!({ "filters": { "updatedDate": [before, after] } }),
        json!({ "filters": { "status": ["new"] } }),
        json!({}),
    ] {
        for answer in [
            app.leads(&partner, "campaigns", "AFF-123", &body).await,
            app.leads_by_source(&partner, "campaigns", "AFF-123", "facebook_ads", &body).await,
        ] {
            assert_eq!(answer.keys(), ["user@example.com"], "{body} {answer:?}");
            let lead = &answer.json()["user@example.com"];
            assert_eq!((&lead["id"], &lead["affiliateID"]), (&json!(id), &json!("AFF-123")));
            assert_eq!((&lead["status"], &lead["ftd"]), (&json!("new"), &Value::Null));
            assert_eq!(answer.header("x-total-count"), Some("1"), "{body}");
        }
        app.leads_by_source(&partner, "campaigns", "AFF-123", "google_ads", &body).await.assert(200, "{}");
        app.leads(&partner, "direct", "AFF-123", &body).await.assert(200, "{}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_to_the_bucket_of_their_source_else_to_the_oldest_without_sources_else_to_none() {
    let (app, key, partner) = with_buckets().await;
    app.bucket("direct-2", "AFF-123", &[]).await;
    app.bucket("other", "OTHER", &["facebook_ads"]).await;
    let cases = [
        ("a@x.com", json!({ "affiliateID": "AFF-123", "sourceId": "google_ads" }), Some("campaigns")),
        ("b@x.com", json!({ "affiliateID": "AFF-123", "sourceId": "unassigned" }), Some("direct")),
        ("c@x.com", json!({ "affiliateID": "AFF-123" }), Some("direct")),
        ("d@x.com", json!({ "affiliateID": " AFF-123 ", "sourceId": " " }), Some("direct")),
        ("e@x.com", json!({ "affiliateID": "OTHER", "sourceId": "google_ads" }), None),
        ("f@x.com", json!({ "affiliateID": "NOBODY" }), None),
        ("g@x.com", json!({ "sourceId": "facebook_ads" }), None),
        ("h@x.com", json!({ "affiliateID": "x".repeat(1024), "sourceId": "é".repeat(1024) }), None),
    ];
    let both = app.partner(&["AFF-123", "OTHER"]).await;
    for (email, extra, expected) in cases {
        let mut body = basic(email);
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        app.signed_up(&key, &body).await;
        let mut found = None;
        for (bucket, affiliate) in
            [("campaigns", "AFF-123"), ("direct", "AFF-123"), ("direct-2", "AFF-123"), ("other", "OTHER")]
        {
            let answer = app.leads(&both, bucket, affiliate, &json!({ "emails": [email] })).await;
            if !answer.keys().is_empty() {
                assert_eq!(found.replace(bucket), None, "{email} is in two buckets");
            }
        }
        assert_eq!(found, expected, "{email}");
    }
    let listed = app.leads(&partner, "direct", "AFF-123", &json!({})).await;
    assert_eq!(listed.keys(), ["b@x.com", "c@x.com", "d@x.com"]);
    assert_eq!(listed.header("x-total-count"), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_published_body() {
    let (app, key, partner) = with_buckets().await;
    let past = Some(1_000);
    let creator = || TokenSpec { permissions: vec![Permission::ClientsCreate], ..TokenSpec::default() };
    let expired = app.token(TokenSpec { expires_at: past, ..creator() }).await;
    let elsewhere = app.token(TokenSpec { whitelist: vec!["203.0.113.0/24".into()], ..creator() }).await;
    let unknown = shared::secret::Token::generate().unwrap().expose().to_owned();
    let bearer = format!("Bearer {key}");
    let mistyped = format!("{}0", &key[..key.len() - 1]);
    let mistyped = if mistyped == key { format!("{}1", &key[..key.len() - 1]) } else { mistyped };
    let keys = ["", "secret", &bearer, &mistyped, &unknown, &expired, &elsewhere, &partner];
    for refused in keys {
        // Whatever the body says, a caller without a good key hears of the key.
        for body in [basic("user@example.com").to_string(), "{".into(), "[]".into(), "x".repeat(1_100_000)] {
            app.post(PATH, &[("x-api-key", refused)], body).await.assert(401, INVALID_KEY);
        }
    }
    app.post(PATH, &[], "{}").await.assert(401, INVALID_KEY);
    app.post(PATH, &[("authorization", key.as_str())], "{}").await.assert(401, INVALID_KEY);
    app.post(PATH, &[("x-api-key", key.as_str()), ("x-api-key", key.as_str())], "{}")
        .await
        .assert(401, INVALID_KEY);
    let spoofed =
        [("x-api-key", elsewhere.as_str()), ("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.7")];
    app.post(PATH, &spoofed, basic("user@example.com").to_string()).await.assert(401, INVALID_KEY);
    app.sign_up(&key, &basic("user@example.com")).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_get_a_400_that_names_the_field() {
    let (app, key, _) = with_buckets().await;
    let key = key.as_str();
    let required = "Email, phone and first name are required";
    let deep = format!(r#"{{"email":"a@b.co","x":{}{}}}"#, "[".repeat(32), "]".repeat(32));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), required),
        (b"{}".to_vec(), required),
        (br#"{"email":"user@example.com","phone":" ","firstName":"Jane"}"#.to_vec(), required),
        (br#"{"email":"user@example.com","phone":"+1234567890","firstName":null}"#.to_vec(), required),
        (b"{".to_vec(), "body must be valid JSON"),
        (b"[]".to_vec(), "body must be a JSON object"),
        (b"\"text\"".to_vec(), "body must be a JSON object"),
        (b"{\"email\":\"\xff\"}".to_vec(), "body must be UTF-8"),
        (deep.into_bytes(), "body must not be nested deeper than 32 levels"),
    ];
    for (body, message) in cases {
        app.post(PATH, &[("x-api-key", key)], body).await.assert_provider_error(400, message);
    }
    for (field, value, message) in [
        ("email", json!("user"), "email must be a valid email address of at most 254 characters"),
        ("email", json!(7), "email must be a string"),
        ("phone", json!("call me"), "phone must have 5 to 15 digits and an optional leading +"),
        ("dateOfBirth", json!("soon"), "dateOfBirth must be an ISO 8601 date"),
        ("lastName", json!("x".repeat(1025)), "lastName must have at most 1024 characters"),
        ("meta", json!("x".repeat(16_385)), "meta must have at most 16384 bytes"),
        ("sendEmail", json!("true"), "sendEmail must be true or false"),
        ("billing", json!([]), "billing must be an object"),
        ("billing", json!({ "city": 5 }), "billing.city must be a string"),
        ("agreements", json!(vec![json!({}); 51]), "agreements must have at most 50 elements"),
        ("agreements", json!([{ "ip": "localhost" }]), "agreements[0].ip must be an IP address"),
        (
            "agreements",
            json!([{ "signedAt": "now" }]),
            "agreements[0].signedAt must be an ISO 8601 date-time",
        ),
    ] {
        let mut body = basic("user@example.com");
        body[field] = value;
        app.sign_up(key, &body).await.assert_provider_error(400, message);
    }
    app.post(PATH, &[("x-api-key", key)], vec![b' '; 1024 * 1024 + 1])
        .await
        .assert_provider_error(413, "Request body is too large");
    let form = [("x-api-key", key), ("content-type", "application/x-www-form-urlencoded")];
    let answer = app.send(Method::POST, PATH, &form, "email=user@example.com").await;
    answer.assert_provider_error(415, "Content-Type must be application/json");
    // Nothing of all this was stored.
    app.sign_up(key, &basic("user@example.com")).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_content_type_is_read_as_json() {
    let (app, key, _) = with_buckets().await;
    let body = basic("user@example.com").to_string();
    app.send(Method::POST, PATH, &[("x-api-key", key.as_str())], body).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_field_is_stored_and_managed_ones_are_ignored() {
    let (app, key, partner) = with_buckets().await;
    let mut body = full("User@Example.com");
    for name in Profile::NAMES {
        body[*name] =
            json!(if *name == "dateOfBirth" { "1990-05-01".into() } else { format!("value of {name}") });
    }
    let documented = json!({
        "meta": "m".repeat(16 * 1024), "status": "active", "state": "live", "processed": true, "allowToCreateAsset": false,
        "billing": { "country": "US", "region": "NY", "city": "New York", "postcode": "10001", "address": "Wall Street 1" },
        "agreements": [{ "label": "Terms and Conditions", "ip": "127.0.0.1", "signedAt": "2026-01-01T12:00:00Z" }],
    });
    body.as_object_mut().unwrap().extend(documented.as_object().unwrap().clone());
    let managed = json!({
        "id": "mine", "_id": "mine", "createdDate": "2000-01-01", "updatedDate": 5, "ftd": "2000-01-01",
        "bucketId": "direct", "undocumented": { "deep": [1, 2, 3] },
    });
    let mut sent = body.clone();
    sent.as_object_mut().unwrap().extend(managed.as_object().unwrap().clone());

    let id = app.signed_up(&key, &sent).await;

    assert_ne!(id, "mine");
    let lead = app.leads(&partner, "campaigns", "AFF-123", &json!({ "ids": [id] })).await.json();
    assert_eq!(lead["User@Example.com"]["status"], "active");
    assert_eq!(lead["User@Example.com"]["ftd"], Value::Null);
    // No endpoint of this version shows a whole client: look at what is stored.
    let stored = stored_client(&app, &id).await;
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&stored[name], value, "{name}");
    }
    assert_eq!(stored["bucketId"], "campaigns");
    assert!(stored["createdDate"].as_f64().unwrap() > 1.7e12);
    assert!(stored.get("undocumented").is_none() && stored.get("_id").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_fields_at_their_longest_are_stored() {
    let (app, key, partner) = with_buckets().await;
    let longest = "🦀".repeat(1024);
    let mut body = full("user@example.com");
    for name in Profile::NAMES.iter().filter(|name| **name != "dateOfBirth") {
        body[*name] = json!(longest);
    }
    for name in ["firstName", "status", "state"] {
        body[name] = json!(longest);
    }
    body["meta"] = json!("🦀".repeat(4 * 1024));
    let billing =
        ["country", "region", "city", "postcode", "address"].map(|name| (name.to_owned(), json!(longest)));
    body["billing"] = Value::Object(billing.into_iter().collect());
    let agreement = json!({ "label": longest, "ip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "signedAt": "2026-01-01T12:00:00.123456789+00:00" });
    body["agreements"] = json!(vec![agreement; 50]);

    let id = app.signed_up(&key, &body).await;

    let stored = stored_client(&app, &id).await;
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&stored[name], value, "{name}");
    }
    let found = app.leads(&partner, "campaigns", "AFF-123", &json!({ "ids": [id] })).await;
    assert_eq!(found.json()["user@example.com"]["status"], json!(longest));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_is_taken_in_every_spelling_and_a_second_sign_up_changes_nothing() {
    let (app, key, partner) = with_buckets().await;
    let id = app.signed_up(&key, &full("Jane.Doe@Example.com")).await;
    for spelling in ["Jane.Doe@Example.com", "jane.doe@example.com", " JANE.DOE@EXAMPLE.COM "] {
        let mut again = full(spelling);
        again["sourceId"] = json!("google_ads");
        again["status"] = json!("stolen");
        app.sign_up(&key, &again).await.assert_provider_error(400, "User with this email already exists");
    }
    let listed = app.leads(&partner, "campaigns", "AFF-123", &json!({})).await;
    assert_eq!(listed.json()["Jane.Doe@Example.com"]["id"], json!(id));
    assert_eq!(listed.json()["Jane.Doe@Example.com"]["status"], "new");
    assert_eq!(listed.header("x-total-count"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_40_simultaneous_sign_ups_with_one_email_one_makes_a_client() {
    let (app, key, partner) = with_buckets().await;
    for round in 0..5 {
        let email = format!("race{round}@example.com");
        let body = full(&email);
        let answers = join_all((0..40).map(|_| app.sign_up(&key, &body))).await;
        let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((made.len(), refused.len()), (1, 39));
        for answer in refused {
            answer.assert_provider_error(400, "User with this email already exists");
        }
        let found = app.leads(&partner, "campaigns", "AFF-123", &json!({ "emails": [email] })).await;
        assert_eq!(found.json()[&email]["id"], made[0].json()["id"]);
    }
    let listed = app.leads(&partner, "campaigns", "AFF-123", &json!({})).await;
    assert_eq!((listed.keys().len(), listed.header("x-total-count")), (5, Some("5")));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_different_simultaneous_sign_ups_are_all_stored_and_counted() {
    let (app, key, partner) = with_buckets().await;
    let emails: Vec<String> = (0..200).map(|number| format!("user{number}@example.com")).collect();
    let bodies: Vec<Value> = emails.iter().map(|email| full(email)).collect();
    // Of so many at once a slow machine may answer one 500 or 503: then it is sent again, as the guide says.
    let register = async |(number, body): (usize, &Value)| {
        let once = format!("sign-up-{number}");
        for attempt in 0..20 {
            let answer = app.sign_up_once(&key, &once, body).await;
            if ![500, 503].contains(&answer.status) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100 * attempt)).await;
        }
        panic!("{once} fails again and again")
    };
    let answers = join_all(bodies.iter().enumerate().map(register)).await;
    answers.iter().for_each(tests::Answer::assert_ok);
    let listed = app.leads(&partner, "campaigns", "AFF-123", &json!({ "limit": 5000 })).await;
    assert_eq!(listed.keys().into_iter().collect::<BTreeSet<_>>(), emails.into_iter().collect());
    assert_eq!(listed.header("x-total-count"), Some("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_simultaneous_requests_with_one_idempotency_key_make_one_client_and_equal_answers() {
    let (app, key, partner) = with_buckets().await;
    for round in 0..5 {
        let (email, once) = (format!("retry{round}@example.com"), format!("key-{round}"));
        let body = full(&email);
        let answers = join_all((0..16).map(|_| app.sign_up_once(&key, &once, &body))).await;
        for answer in &answers {
            answer.assert(200, &answers[0].text);
        }
        let fresh = answers.iter().filter(|answer| answer.header("idempotency-replayed").is_none()).count();
        assert_eq!(fresh, 1, "one of them registered the client, the others heard of it");
        let found = app.leads(&partner, "campaigns", "AFF-123", &json!({ "emails": [email] })).await;
        assert_eq!(found.json()[&email]["id"], answers[0].json()["id"]);
    }
    let listed = app.leads(&partner, "campaigns", "AFF-123", &json!({})).await;
    assert_eq!(listed.header("x-total-count"), Some("5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_belongs_to_its_token_and_its_body_and_remembers_successes_only() {
    let (app, key, _) = with_buckets().await;
    let other_key = app.sign_up_key(&[]).await;
    let body = full("user@example.com");

    // A failure is not remembered: the same key goes on to succeed.
    app.sign_up_once(&key, "k", &json!({}))
        .await
        .assert_provider_error(400, "Email, phone and first name are required");
    let first = app.sign_up_once(&key, "k", &body).await;
    first.assert_ok();
    assert_eq!(first.header("idempotency-replayed"), None);

    let again = app.sign_up_once(&key, "k", &body).await;
    again.assert(200, &first.text);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));

    let mut changed = body.clone();
    changed["firstName"] = json!("Joan");
    let reused = "Idempotency-Key must not be used again with another request body";
    app.sign_up_once(&key, "k", &changed).await.assert_provider_error(400, reused);
    app.sign_up_once(&key, "k", &full("another@example.com")).await.assert_provider_error(400, reused);

    // Another key, or the same key of another token, is another request.
    let taken = "User with this email already exists";
    app.sign_up_once(&key, "K", &body).await.assert_provider_error(400, taken);
    app.sign_up_once(&other_key, "k", &body).await.assert_provider_error(400, taken);
    app.sign_up_once(&other_key, "k", &full("another@example.com")).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_have_1_to_255_characters() {
    let (app, key, _) = with_buckets().await;
    let invalid = "Idempotency-Key must have 1 to 255 ASCII characters";
    let body = full("user@example.com");
    app.sign_up_once(&key, "", &body).await.assert_provider_error(400, invalid);
    app.sign_up_once(&key, &"k".repeat(256), &body).await.assert_provider_error(400, invalid);
    app.sign_up_once(&key, &"k".repeat(255), &body).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_with_affiliates_signs_up_for_them_only() {
    let (app, _, partner) = with_buckets().await;
    let one = app.sign_up_key(&["AFF-123"]).await;
    let two = app.sign_up_key(&["AFF-123", "OTHER"]).await;

    app.signed_up(&one, &basic("implied@example.com")).await;
    app.signed_up(&two, &full("named@example.com")).await;

    let mut foreign = full("foreign@example.com");
    foreign["affiliateID"] = json!("OTHER");
    app.sign_up(&one, &foreign).await.assert(401, INVALID_KEY);
    foreign["affiliateID"] = json!("aff-123");
    app.sign_up(&one, &foreign).await.assert(401, INVALID_KEY);
    app.sign_up(&two, &basic("ambiguous@example.com")).await.assert(401, INVALID_KEY);

    let found = json!({ "emails": ["implied@example.com", "named@example.com", "foreign@example.com"] });
    assert_eq!(app.leads(&partner, "direct", "AFF-123", &found).await.keys(), ["implied@example.com"]);
    assert_eq!(app.leads(&partner, "campaigns", "AFF-123", &found).await.keys(), ["named@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_stored_and_shown_as_text() {
    let (app, key, partner) = with_buckets().await;
    let nasty = "<img src=x onerror=alert(1)>\r\nX: y\u{0}\u{202e}🦀\"\\";
    let mut body = full("user@example.com");
    for field in ["status", "firstName", "lastName", "campaignId", "project"] {
        body[field] = json!(nasty);
    }
    let id = app.signed_up(&key, &body).await;
    let lead =
        app.leads(&partner, "campaigns", "AFF-123", &json!({ "filters": { "status": [nasty] } })).await;
    assert_eq!(lead.json()["user@example.com"]["status"], nasty);
    assert_eq!(stored_client(&app, &id).await["lastName"], nasty);
}

/// A client's items, as one JSON object.
async fn stored_client(app: &TestApp, id: &str) -> Value {
    use aws_sdk_dynamodb::types::AttributeValue;
    fn plain(value: &AttributeValue) -> Value {
        match value {
            AttributeValue::S(text) => json!(text),
            AttributeValue::N(number) => json!(number.parse::<f64>().unwrap()),
            AttributeValue::Bool(flag) => json!(flag),
            AttributeValue::L(values) => values.iter().map(plain).collect(),
            AttributeValue::M(values) => {
                values.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
            other => panic!("{other:?}"),
        }
    }
    let mut merged = serde_json::Map::new();
    for prefix in ["C#", "D#"] {
        let found = app
            .store()
            .sdk()
            .get_item()
            .table_name(&app.store().tables().clients)
            .key("pk", AttributeValue::S(format!("{prefix}{id}")))
            .send()
            .await
            .unwrap();
        merged.extend(found.item.iter().flatten().map(|(name, value)| (name.clone(), plain(value))));
    }
    Value::Object(merged)
}
