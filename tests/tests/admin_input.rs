//! Whatever comes in, the admin API answers as CONTRACT.md says: never a 500, never a 401 for an
//! administrator, and every error in the envelope. Requests are random, of a fixed seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tests::{TestApp, encoded};

const REQUESTS: usize = 6000;
const FIELDS: &[&str] = &[
    "name",
    "roleId",
    "expiresAt",
    "whitelist",
    "affiliateIDs",
    "permissions",
    "affiliateID",
    "sources",
    "status",
    "state",
    "ftd",
    "bucketId",
    "sourceId",
    "email",
    "phone",
    "firstName",
    "meta",
    "billing",
    "agreements",
    "dateOfBirth",
    "city",
    "ip",
    "signedAt",
    "processed",
    "surprise",
    "lastName",
    "id",
    "createdDate",
    "token",
];
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "é",
    "new",
    "\u{202e}\u{0}<img src=x>",
    "\u{10ffff}",
    "2026-01-01",
    "2190-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "-000001-01-01",
    "2026-13-01",
    "10.0.0.0/8",
    "::1",
    "::ffff:1.2.3.4/96",
    "1.2.3.4",
    "clients:view",
    "buckets:view-own",
    "1234567890",
    "facebook_ads",
    "user1@example.com",
    "+12345678",
    "partner",
    "69ce5200741e8f2238320001",
];
const PARAMETERS: &[&str] =
    &["limit", "cursor", "bucketId", "affiliateID", "email", "status", "from", "to", "x"];

/// A list of the admin API and the ids that it is asked for.
struct Resource {
    path: &'static str,
    ids: Vec<String>,
    good: Value,
}

fn text(random: &mut StdRng) -> String {
    match random.random_range(0..12) {
        0 => "x".repeat(*[100, 1025, 20_000].choose(random).unwrap()),
        1 => (0..random.random_range(0..9)).map(|_| random.random::<char>()).collect(),
        _ => (*TEXTS.choose(random).unwrap()).to_owned(),
    }
}

fn value(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..10) {
        0 => Value::Null,
        1 => random.random::<bool>().into(),
        2 => [json!(0), json!(-1), json!(1e308), json!(u64::MAX), json!(3.5)].choose(random).unwrap().clone(),
        3 | 4 if depth < 4 => (0..random.random_range(0..4)).map(|_| value(random, depth + 1)).collect(),
        5 if depth < 4 => object(random, depth + 1),
        _ => text(random).into(),
    }
}

fn object(random: &mut StdRng, depth: usize) -> Value {
    let mut object = Map::new();
    for _ in 0..random.random_range(0..3) {
        object.insert((*FIELDS.choose(random).unwrap()).to_owned(), value(random, depth));
    }
    object.into()
}

fn body(random: &mut StdRng, good: &Value) -> Vec<u8> {
    let mut body = if random.random_ratio(2, 3) { good.clone() } else { json!({}) };
    for (name, value) in object(random, 0).as_object().unwrap() {
        body[name] = value.clone();
    }
    let mut bytes = body.to_string().into_bytes();
    match random.random_range(0..30) {
        0 => bytes.truncate(bytes.len() / 2),
        1 => {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        _ => {}
    }
    bytes
}

fn query(random: &mut StdRng) -> String {
    let pairs = (0..random.random_range(0..3)).map(|_| {
        let name = PARAMETERS.choose(random).unwrap();
        let value = match random.random_range(0..4) {
            0 => "%FF".to_owned(),
            1 => random.random_range(-1..1002_i64).to_string(),
            _ => encoded(&text(random).chars().take(600).collect::<String>()),
        };
        format!("{name}={value}")
    });
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn no_request_is_answered_otherwise_than_documented() {
    let app = TestApp::start_with_demo_data().await;
    let mut random = StdRng::seed_from_u64(20_261_124);
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let mut resources = [
        Resource {
            path: "/api/admin/tokens",
            ids: vec![],
            good: json!({ "name": "n", "roleId": "partner", "affiliateIDs": ["A"] }),
        },
        Resource {
            path: "/api/admin/roles",
            ids: ids(&["partner", "sign-up"]),
            good: json!({ "name": "n", "permissions": ["clients:view"] }),
        },
        Resource {
            path: "/api/admin/buckets",
            ids: ids(&["69ce5200741e8f2238320001", "69ce5200741e8f2238320002"]),
            good: json!({ "name": "n", "affiliateID": "1234567890" }),
        },
        Resource {
            path: "/api/admin/clients",
            ids: ids(&["69ce524d741e8f2238329fff"]),
            good: json!({ "status": "hot" }),
        },
    ];
    let mut statuses = BTreeMap::<u16, usize>::new();
    for _ in 0..REQUESTS {
        let at = random.random_range(0..resources.len());
        let resource = &resources[at];
        let mut method = *["GET", "POST", "PATCH", "DELETE"].choose(&mut random).unwrap();
        let mut path = resource.path.to_owned();
        let mut id = None;
        if method == "PATCH" || method == "DELETE" || (method == "GET" && random.random()) {
            let known = resource.ids.choose(&mut random).filter(|_| random.random_ratio(4, 5));
            let other = ["%00", "%FF", "%2F", "%C3%28", "%F0%9F%98%80", "nobody", "%23", "%20"]
                .choose(&mut random)
                .unwrap();
            path = format!("{path}/{}", known.map_or(*other, String::as_str));
            id = known.cloned();
            if resource.path.ends_with("buckets") && random.random_ratio(1, 3) {
                let (of, part) = *[("POST", "route"), ("GET", "stats")].choose(&mut random).unwrap();
                (method, path, id) = (of, format!("{path}/{part}"), None);
            }
        }
        if random.random_ratio(2, 5) {
            path += &query(&mut random);
        }
        let body =
            if matches!(method, "POST" | "PATCH") { body(&mut random, &resource.good) } else { vec![] };
        let tag = *["*", "\"x\"", "W/\"1\"", "\"", ""].choose(&mut random).unwrap();
        let mut headers = vec![("authorization", app.administrator()), ("content-type", "application/json")];
        if random.random_ratio(1, 10) {
            headers.push(("if-match", tag));
        }
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = app.send(method.parse().unwrap(), &path, &headers, body).await;
        *statuses.entry(answer.status).or_default() += 1;
        match answer.status {
            200 => drop(answer.json()),
            201 => resources[at].ids.push(answer.json()["id"].as_str().unwrap().to_owned()),
            204 => {
                assert_eq!(answer.text, "");
                resources[at].ids.retain(|known| Some(known) != id.as_ref());
            }
            400 | 404 | 409 => {
                let error = answer.json();
                let is_gateways = answer.status == 404 && answer.text == r#"{"message":"Not Found"}"#;
                let status = &error["statusCode"];
                assert!(is_gateways || *status == answer.status, "{method} {path} {shown}: {answer:?}");
                assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
            }
            _ => panic!("{method} {path} {shown}: {answer:?}"),
        }
    }
    println!("{statuses:?}");
    assert!(
        [200, 201, 204, 400, 404, 409].iter().all(|status| statuses.contains_key(status)),
        "{statuses:?}"
    );
    app.assert_consistent().await;
}
