//! Tokens and cursors that nobody was given: none is let in, all are answered alike, and what its checksum or its
//! digest tells costs no call of DynamoDB. Everything is random, of fixed seeds.

use futures_util::future::join_all;
use local::functions::Deployed;
use local::outbox::Outbox;
use local::template::Template;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use shared::cursor;
use shared::model::{Permission, Range};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tests::dynamodb::Dynamodb;
use tests::proxy::{Access, Proxy};
use tests::{INVALID_KEY, TestApp, TokenSpec, UNAUTHORIZED, encoded, new_client};

const FORGED: usize = 100_000;
/// Cursors that go through the functions, each with its token's look-up; the others are opened only.
const CURSORS_SENT: usize = 4_000;
/// Of the tokens, those whose checksum is right.
const UNKNOWN: usize = 2_000;
const WORKERS: usize = 4;
/// Fewer calls are made again of some hundreds: those that a stalled machine lets time out.
const REPEATED: usize = 20;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const NO_CURSOR: &str = r#"{"message":"cursor must be the x-next-cursor of an answer to the same bucket and filters","statusCode":400}"#;
const NO_ADMIN_CURSOR: &str = r#"{"message":"cursor must be the nextCursor of an answer to the same list and filters","statusCode":400}"#;

/// The functions behind a DynamoDB whose calls are counted.
struct Counted {
    app: TestApp,
    functions: BTreeMap<String, Deployed>,
    proxy: Proxy,
    // Dropped last: the stack goes on calling it.
    _dynamodb: Dynamodb,
}

impl Counted {
    async fn start() -> Self {
        let dynamodb = Dynamodb::start().await;
        let proxy = Proxy::start(dynamodb.address).await;
        let app = TestApp::start_without_streams_on(proxy.endpoint(), &[("ORIGINS", "")]).await;
        let outbox = Outbox::open(app.directory.path()).unwrap();
        let mut functions = BTreeMap::new();
        for function in Template::built_in().unwrap().functions {
            let (_, environment) = local::stack::environment(&function.name, app.directory.path()).unwrap();
            let deployed = Deployed::new(&function, |name| environment.get(name).cloned(), &outbox).unwrap();
            functions.insert(function.name, deployed);
        }
        Self { app, functions, proxy, _dynamodb: dynamodb }
    }
}

/// How many calls a table had.
fn calls_of(counts: &BTreeMap<Access, usize>, table: &str) -> usize {
    counts.iter().filter(|(access, _)| access.resource == table).map(|(_, count)| count).sum()
}

/// An event of `events/`, as API Gateway sends it.
fn event(function: &str, case: &str) -> Value {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("events");
    serde_json::from_str(&std::fs::read_to_string(events.join(function).join(case)).unwrap()).unwrap()
}

/// The functions that take a token, the header that it is in, and the 401 that they answer.
fn takers() -> Vec<(&'static str, &'static str, &'static str)> {
    let platform = [
        "leads",
        "leads-by-source",
        "token",
        "admin-tokens",
        "admin-roles",
        "admin-buckets",
        "admin-clients",
    ];
    let mut takers: Vec<_> = platform.map(|name| (name, "authorization", UNAUTHORIZED)).to_vec();
    takers.push(("signup", "x-api-key", INVALID_KEY));
    takers
}

/// The contract's checksum, the long way: CRC-32 in base62.
fn checksum(body: &str) -> String {
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = Vec::new();
    for _ in 0..6 {
        digits.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
    }
    digits.into_iter().rev().collect()
}

fn base62(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(*BASE62.choose(random).unwrap())).collect()
}

fn is_right(token: &str) -> bool {
    token.is_ascii()
        && token.len() == 43
        && token.starts_with("wbcs_")
        && token[5..].bytes().all(|byte| byte.is_ascii_alphanumeric())
        && token[37..] == checksum(&token[..37])
}

/// Swaps, flips, drops or adds something.
fn damaged(random: &mut StdRng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(..=at)),
        2 => drop(bytes.remove(at)),
        3 => bytes.insert(at, *BASE62.choose(random).unwrap()),
        4 => bytes[at] ^= 1 << random.random_range(0..7),
        5 => {
            let other = random.random_range(0..bytes.len());
            bytes.swap(at, other);
        }
        _ => bytes[at] = *BASE62.choose(random).unwrap(),
    }
    // API Gateway lets no other bytes into a header.
    bytes.retain(|byte| (b' '..=b'~').contains(byte));
    String::from_utf8(bytes).unwrap()
}

/// A token that is none; never one of the right form and checksum.
fn forged_token(random: &mut StdRng, real: &[String]) -> String {
    loop {
        let (one, other) = (real.choose(random).unwrap(), real.choose(random).unwrap());
        let text = match random.random_range(0..12) {
            0 => {
                let length = random.random_range(0..120);
                (0..length).map(|_| random.random_range(b' '..=b'~') as char).collect()
            }
            1 => format!("wbcs_{}", base62(random, 38)),
            2 | 3 => damaged(random, one),
            4 => format!("{}{}", &one[..37], &other[37..]),
            5 => format!("{}{}", &one[..20], &other[20..]),
            6 => format!(
                "{}{one}",
                ["Bearer ", "bearer ", "Basic ", "Token ", "x", "\"", "0"].choose(random).unwrap()
            ),
            7 => {
                format!("{one}{}", [",", ";", "=", "\"", "x", "\t", "%00", "\u{a0}"].choose(random).unwrap())
            }
            8 => format!("{one},{other}"),
            9 => {
                let at = random.random_range(0..one.len());
                let (before, rest) = one.split_at(at);
                let (letter, after) = rest.split_at(1);
                let turned = if letter == letter.to_uppercase() {
                    letter.to_lowercase()
                } else {
                    letter.to_uppercase()
                };
                format!("{before}{turned}{after}")
            }
            10 => one.replacen(['a', 'e', 'o', 'w'], ["а", "е", "о", "ｗ"].choose(random).unwrap(), 1),
            _ => {
                let body = format!(
                    "{}{}",
                    ["wbcs-", "WBCS_", "wbcs", "test_", "wbcz_"].choose(random).unwrap(),
                    base62(random, 32)
                );
                let sum = checksum(&body);
                body + &sum
            }
        };
        if !is_right(&text) {
            return text;
        }
    }
}

/// Sends events, several at a time, and gives how many were answered with this.
async fn send_all(function: &Deployed, events: Vec<String>, expected: &Value, why: &str) -> usize {
    let expected = Arc::new((expected.clone(), why.to_owned()));
    let size = events.len().div_ceil(WORKERS).max(1);
    let workers = events.chunks(size).map(|chunk| {
        let (chunk, function, expected) = (chunk.to_vec(), function.clone(), expected.clone());
        tokio::spawn(async move {
            for event in &chunk {
                let answer = function.clone().invoke(event.clone()).await.unwrap();
                assert_eq!(answer, expected.0, "{}: {event}", expected.1);
            }
            chunk.len()
        })
    });
    join_all(workers).await.into_iter().map(Result::unwrap).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_lets_nobody_in_and_costs_nothing() {
    let counted = Counted::start().await;
    let mut random = StdRng::seed_from_u64(20_261_126);
    let mut real = vec![counted.app.administrator().to_owned()];
    for _ in 0..150 {
        let all = TokenSpec { permissions: Permission::ALL.to_vec(), ..TokenSpec::default() };
        real.push(counted.app.token(all).await);
    }
    assert!(real.iter().all(|token| is_right(token)));
    let takers = takers();
    let answers: BTreeMap<_, _> = takers
        .iter()
        .map(|(name, _, body)| {
            let mut answer = json!({
                "statusCode": 401,
                "headers": { "content-type": "application/json", "x-request-id": "Jx1abcdEDoEEPlg=" },
                "multiValueHeaders": {},
                "body": body,
                "isBase64Encoded": false,
                "cookies": [],
            });
            if *name == "token" {
                answer["headers"]["x-caller-address"] = "203.0.113.7".into();
            }
            (*name, answer)
        })
        .collect();

    let each = (FORGED - UNKNOWN) / takers.len();
    let (mut sent, mut distinct) = (0, BTreeSet::new());
    counted.proxy.take_counts();
    for (name, header, _) in &takers {
        let mut event = event(name, "success.json");
        let mut events = Vec::with_capacity(each);
        for _ in 0..each {
            let token = forged_token(&mut random, &real);
            event["headers"][*header] = token.as_str().into();
            events.push(event.to_string());
            distinct.insert(token);
        }
        sent += send_all(&counted.functions[*name], events, &answers[name], name).await;
        let counts = counted.proxy.take_counts();
        assert!(counts.is_empty(), "{name}: {counts:?}");
    }
    assert!(distinct.len() > sent / 2, "{} of {sent}", distinct.len());

    // Right in form and checksum, and never made: each costs the one look-up.
    for (name, header, _) in &takers {
        let mut event = event(name, "success.json");
        let unknown = UNKNOWN / takers.len();
        let events: Vec<_> = (0..unknown)
            .map(|_| {
                let body = format!("wbcs_{}", base62(&mut random, 32));
                event["headers"][*header] = format!("{body}{}", checksum(&body)).into();
                event.to_string()
            })
            .collect();
        sent += send_all(&counted.functions[*name], events, &answers[name], name).await;
        let counts = counted.proxy.take_counts();
        let of_tokens = calls_of(&counts, "TokensTable");
        assert!((unknown..unknown + REPEATED).contains(&of_tokens), "{name}: {counts:?}");
        let tables: BTreeSet<_> = counts.keys().map(|access| access.resource.as_str()).collect();
        assert!(
            tables.is_subset(&["TokensTable", "BucketsTable", "RolesTable"].into()),
            "{name}: {counts:?}"
        );
    }
    assert_eq!(sent, FORGED);
    // The functions are the ones that let a real token in.
    let mut good = event("token", "success.json");
    good["headers"]["authorization"] = real[0].as_str().into();
    assert_eq!(counted.functions["token"].clone().invoke(good.to_string()).await.unwrap()["statusCode"], 200);
}

/// A list that is read page by page: how a request names a cursor, and what it says of one that is none.
struct List {
    function: &'static str,
    /// The search that its cursors are bound to.
    search: Vec<u8>,
    /// A cursor that it gave, where it has more than a page.
    cursor: String,
    event: Value,
    answer: &'static str,
}

impl List {
    /// The event with a cursor.
    fn with(&self, cursor: &str) -> String {
        let mut event = self.event.clone();
        if self.answer == NO_CURSOR {
            let mut body: Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
            body["cursor"] = cursor.into();
            event["body"] = body.to_string().into();
        } else {
            let query = event["rawQueryString"].as_str().unwrap();
            event["rawQueryString"] = format!("{query}&cursor={}", encoded(cursor)).into();
        }
        event.to_string()
    }
}

/// What binds a cursor of leads, as `shared::leads` has it.
fn fingerprint(list: &str, filters: &Value) -> Vec<u8> {
    let query =
        shared::model::LeadsQuery::parse(json!({ "filters": filters }).to_string().as_bytes()).unwrap();
    let mut parts = vec!["leads cursor 1".to_owned(), list.to_owned()];
    parts.extend(
        [Some(query.filters.created), query.filters.updated].map(|range: Option<Range>| format!("{range:?}")),
    );
    if let Some(statuses) = query.filters.statuses {
        parts.extend(["status".to_owned(), statuses.len().to_string()]);
        parts.extend(statuses);
    }
    let mut hashed = Vec::new();
    for part in parts {
        hashed.extend_from_slice(&(part.len() as u64).to_be_bytes());
        hashed.extend_from_slice(part.as_bytes());
    }
    sha256(&hashed)
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).to_vec()
}

async fn lists(counted: &Counted) -> (Vec<List>, Vec<String>) {
    use shared::store::keys;
    let app = &counted.app;
    let mut clients = Vec::new();
    for (bucket, affiliate) in [("b1", "A"), ("b2", "A"), ("b3", "B")] {
        app.bucket(bucket, affiliate, &[&format!("{bucket}-s1"), &format!("{bucket}-s2")]).await;
        for number in 0..6 {
            let source = format!("{bucket}-s{}", number % 2 + 1);
            clients.push(new_client(
                &format!("c{number}@{bucket}.example.com"),
                affiliate,
                bucket,
                Some(&source),
            ));
        }
    }
    app.store_clients(&clients).await;
    let all = |affiliates: &[&str]| TokenSpec {
        permissions: Permission::ALL.to_vec(),
        affiliates: affiliates.iter().map(|id| (*id).to_owned()).collect(),
        ..TokenSpec::default()
    };
    let mut tokens = vec![app.token(all(&[])).await];
    for affiliate in ["A", "B"] {
        tokens.push(app.partner(&[affiliate]).await);
    }
    let mut lists = Vec::new();
    for (bucket, affiliate, token) in [("b1", "A", 1), ("b2", "A", 1), ("b3", "B", 2)] {
        for filters in [
            json!({}),
            json!({ "updatedDate": [null, null] }),
            json!({ "status": ["new"] }),
            json!({ "createdDate": [1, null] }),
        ] {
            for source in [None, Some(format!("{bucket}-s1"))] {
                let list = keys::bucket_list(&shared::model::BucketId::parse(bucket).unwrap());
                let own =
                    source.as_ref().map_or_else(|| list.clone(), |source| keys::source_list(&list, source));
                let function = if source.is_some() { "leads-by-source" } else { "leads" };
                let mut event = event(function, "success.json");
                event["headers"]["authorization"] = tokens[token].as_str().into();
                event["pathParameters"] = json!({ "bucketId": bucket, "affiliateID": affiliate });
                if let Some(source) = source {
                    event["pathParameters"]["sourceId"] = source.into();
                }
                event["body"] = json!({ "filters": filters, "limit": 1 }).to_string().into();
                lists.push(List {
                    function,
                    search: fingerprint(&own, &filters),
                    cursor: String::new(),
                    event,
                    answer: NO_CURSOR,
                });
            }
        }
    }
    let unassigned = keys::affiliates_unassigned("A");
    for (function, route, path, query, search) in [
        ("admin-tokens", "GET /api/admin/tokens", json!({}), "limit=1", "admin tokens".to_owned()),
        ("admin-roles", "GET /api/admin/roles", json!({}), "limit=1", "admin roles".to_owned()),
        ("admin-buckets", "GET /api/admin/buckets", json!({}), "limit=1", "admin buckets None".to_owned()),
        (
            "admin-buckets",
            "GET /api/admin/buckets",
            json!({}),
            "limit=1&affiliateID=A",
            "admin buckets Some(\"A\")".to_owned(),
        ),
        (
            "admin-buckets",
            "POST /api/admin/buckets/{bucketId}/route",
            json!({ "bucketId": "b1" }),
            "limit=1",
            unassigned,
        ),
        (
            "admin-clients",
            "GET /api/admin/clients",
            json!({}),
            "limit=1",
            "admin clients [None, None, None]".to_owned(),
        ),
        (
            "admin-clients",
            "GET /api/admin/clients",
            json!({}),
            "limit=1&affiliateID=A",
            "admin clients [None, Some(\"A\"), None]".to_owned(),
        ),
        (
            "admin-clients",
            "GET /api/admin/clients",
            json!({}),
            "limit=1&bucketId=b3&status=new",
            "admin clients [Some(\"b3\"), None, Some(\"new\")]".to_owned(),
        ),
    ] {
        let mut event = event("admin-buckets", "success.json");
        event["headers"]["authorization"] = tokens[0].as_str().into();
        event["routeKey"] = route.into();
        event["requestContext"]["routeKey"] = route.into();
        event["requestContext"]["http"]["method"] = route.split(' ').next().unwrap().into();
        event["pathParameters"] = path;
        event["rawQueryString"] = query.into();
        lists.push(List {
            function,
            search: search.into_bytes(),
            cursor: String::new(),
            event,
            answer: NO_ADMIN_CURSOR,
        });
    }
    // What each gives for its next page is bound as this test has it: others are forged by the same rule.
    for list in &mut lists {
        let answer = counted.functions[list.function].clone().invoke(list.event.to_string()).await.unwrap();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let next = if list.answer == NO_CURSOR {
            answer["headers"]["x-next-cursor"].clone()
        } else {
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            body["nextCursor"].clone()
        };
        if let Some(next) = next.as_str() {
            assert!(
                cursor::open(&list.search, next).is_some(),
                "{} {}",
                list.function,
                list.event["rawQueryString"]
            );
            list.cursor = next.to_owned();
        }
    }
    assert_eq!(
        lists.iter().filter(|list| list.cursor.is_empty()).count(),
        1,
        "all but that of clients to be routed"
    );
    (lists, tokens)
}

/// Whether the text is what the rule makes of some place of the search, read apart from the product.
fn is_cursor(search: &[u8], text: &str) -> bool {
    use base64::Engine;
    let Ok(bytes) = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text) else { return false };
    bytes.len() >= 12 && sha256(&[search, &bytes[12..]].concat())[..12] == bytes[..12]
}

/// A cursor that this list never gave.
fn forged_cursor(random: &mut StdRng, lists: &[List], own: usize) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    loop {
        let with_cursor = || lists.iter().filter(|list| !list.cursor.is_empty());
        let real = if lists[own].cursor.is_empty() {
            &with_cursor().choose(random).unwrap().cursor
        } else {
            &lists[own].cursor
        };
        let bytes = URL_SAFE_NO_PAD.decode(real).unwrap();
        let (digest, place) = bytes.split_at(12);
        let place = std::str::from_utf8(place).unwrap();
        let sealed = |digest: &[u8], place: &[u8]| URL_SAFE_NO_PAD.encode([digest, place].concat());
        let text = match random.random_range(0..10) {
            0 => {
                let length = *[1, 2, 15, 16, 17, 40, 80, 300, 301, 400].choose(random).unwrap();
                base62(random, length)
            }
            1 | 2 => damaged(random, real),
            // Of another list, bucket, source, filter or endpoint.
            3 => with_cursor().choose(random).unwrap().cursor.clone(),
            4 => cursor::seal(&lists.choose(random).unwrap().search, place),
            // Another place with the digest of the real one.
            5 => sealed(digest, damaged(random, place).as_bytes()),
            // A digest by guess.
            6 => sealed(&random.random::<[u8; 12]>(), place.as_bytes()),
            7 => sealed(&digest[..random.random_range(0..12)], place.as_bytes()),
            8 => match random.random_range(0..4) {
                0 => STANDARD.encode(&bytes) + "=",
                1 => URL_SAFE.encode(&bytes) + "==",
                2 => format!(" {real}"),
                _ => format!("{real}\u{0}"),
            },
            _ => sealed(digest, &random.random::<[u8; 16]>()),
        };
        // What the rule makes of another place of this list is a cursor.
        if !text.trim().is_empty() && !is_cursor(&lists[own].search, &text) {
            return text;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cursor_leads_nowhere_and_costs_the_token_only() {
    let counted = Counted::start().await;
    let (lists, _) = lists(&counted).await;
    let mut random = StdRng::seed_from_u64(20_261_127);
    let mut refused = 0;
    let each = CURSORS_SENT.div_ceil(lists.len());
    for (own, list) in lists.iter().enumerate() {
        let events: Vec<_> = (0..each).map(|_| list.with(&forged_cursor(&mut random, &lists, own))).collect();
        counted.proxy.take_counts();
        let answer = json!({
            "statusCode": 400,
            "headers": { "content-type": "application/json", "x-request-id": "Jx1abcdEDoEEPlg=" },
            "multiValueHeaders": {},
            "body": list.answer,
            "isBase64Encoded": false,
            "cookies": [],
        });
        refused += send_all(&counted.functions[list.function], events, &answer, list.function).await;
        let counts = counted.proxy.take_counts();
        let tables: BTreeSet<_> = counts.keys().map(|access| access.resource.as_str()).collect();
        let known = ["TokensTable", "BucketsTable", "RolesTable", "TokenActivityTable"];
        assert!(tables.is_subset(&known.into()), "{}: {counts:?}", list.function);
        let queries =
            counts.keys().any(|access| access.action == "dynamodb:Query" && access.resource != "RolesTable");
        assert!(!queries, "{}: {counts:?}", list.function);
        // Each costs the token's look-up, and no more of it.
        assert!(calls_of(&counts, "TokensTable") < each + REPEATED, "{}: {counts:?}", list.function);
        assert!(calls_of(&counts, "BucketsTable") < each + REPEATED, "{}: {counts:?}", list.function);
    }
    // The others by the function that all of them are opened with: a forged one is none by its own digest.
    while refused < FORGED {
        let own = random.random_range(0..lists.len());
        let text = forged_cursor(&mut random, &lists, own);
        let real = &lists[own];
        assert!(text != real.cursor && cursor::open(&real.search, &text).is_none());
        refused += 1;
    }
}

/// The rule by which cursors are made is no secret. One that is made by it leads to a place of one's own list, and a
/// place that no list has is refused as any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_ones_own_making_is_a_place_in_ones_own_list() {
    let counted = Counted::start().await;
    let (lists, _) = lists(&counted).await;
    let places = [
        "",
        "~",
        "~~",
        "\u{10ffff}",
        "\0",
        " ",
        "0",
        "#",
        ":",
        "9999999999999#x",
        "0000000000000#",
        "-1#x",
        "1#",
        "99999999999999999999#x",
        "0000000000000",
        "1700000000000$",
        "1700000000000#\u{0}",
        "1700000000000#\u{10ffff}",
    ];
    let long = format!("1700000000000#{}", "x".repeat(200));
    let positions = [
        "",
        "0:",
        "1:",
        "18446744073709551615:",
        "18446744073709551616:",
        "9007199254740993:",
        "-1:",
        "+1:",
        "1e3:",
        ":",
    ];
    let mut answered = BTreeMap::<u64, usize>::new();
    for list in &lists {
        let bucket = list.event["pathParameters"]["bucketId"].as_str();
        // The lists of leads of the other buckets are alike.
        let (own, positions) = match (list.answer == NO_CURSOR, bucket) {
            (true, Some("b1")) => ("b1", &positions[..]),
            (true, _) => continue,
            (false, _) => ("", &positions[..1]),
        };
        for place in places.iter().copied().chain([long.as_str()]) {
            for position in positions {
                let forged = cursor::seal(&list.search, &format!("{position}{place}"));
                let answer =
                    counted.functions[list.function].clone().invoke(list.with(&forged)).await.unwrap();
                let status = answer["statusCode"].as_u64().unwrap();
                let body = answer["body"].as_str().unwrap();
                assert!(
                    status == 200 || body == list.answer,
                    "{} {position}{place:?}: {answer}",
                    list.function
                );
                for bucket in
                    ["b1", "b2", "b3"].iter().filter(|bucket| list.answer == NO_CURSOR && **bucket != own)
                {
                    assert!(!body.contains(&format!("@{bucket}.example.com")), "{own}: {body}");
                }
                *answered.entry(status).or_default() += 1;
            }
        }
    }
    assert!(answered[&200] > 100 && answered[&400] > 800, "{answered:?}");
}
