//! The local gateway against clients that mean it ill: one request never becomes two, what API Gateway would
//! not let in is a 4xx or a closed connection, waiting has an end, and nothing is left behind.

use hyper::Method;
use local::gateway::Timeouts;
use local::template::Template;
use shared::model::Permission;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::raw::{Raw, RawAnswer, answers, exchange};
use tests::{TestApp, TokenSpec, eventually};
use tokio::sync::{Mutex, MutexGuard};

/// Descriptors and tasks are counted of the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

const SIGN_UP: &str = "/tradersroom/api/auth/signup";

/// Short, and still long enough for a request of which all is there.
const SHORT: Timeouts = Timeouts {
    head: Duration::from_secs(2),
    body: Duration::from_secs(2),
    rest: Duration::from_secs(1),
    taking: Duration::from_secs(2),
};

/// Nobody is held longer on any machine.
const HELD_MAX: Duration = Duration::from_secs(120);

async fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().await
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0)
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// The stack answers a request as it should, on a connection of its own.
async fn serves(app: &TestApp) -> bool {
    let token = app.administrator();
    let request =
        format!("GET /api/public/token HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n\r\n");
    let answers = exchange(&app.stack.credentials.base_url, request.as_bytes()).await;
    answers.len() == 1 && answers[0].status == 200
}

/// A request that would be let in, smuggled in another one's body.
fn smuggled(key: &str, email: &str) -> String {
    let body = format!(r#"{{"email":"{email}","phone":"+1234567890","firstName":"Mallory"}}"#);
    let length = body.len();
    format!(
        "POST {SIGN_UP} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_never_becomes_two() {
    let _alone = alone().await;
    let app = TestApp::start().await;
    let url = &app.stack.credentials.base_url;
    let key = app.sign_up_key(&[]).await;
    let inner = smuggled(&key, "smuggled@example.com");
    let length = inner.len();
    let head = format!("POST {SIGN_UP} HTTP/1.1\r\nhost: localhost\r\n");
    let chunked = format!("0\r\n\r\n{inner}");
    let whole = chunked.len();
    let forms = [
        ("CL.TE", format!("{head}content-length: {whole}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}")),
        ("TE.CL", format!("{head}transfer-encoding: chunked\r\ncontent-length: {whole}\r\n\r\n{chunked}")),
        ("TE.CL 0", format!("{head}transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n{chunked}")),
        (
            "CL.TE with a short length",
            format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"),
        ),
        ("two lengths", format!("{head}content-length: 0\r\ncontent-length: {length}\r\n\r\n{inner}")),
        (
            "two lengths, the longer first",
            format!("{head}content-length: {length}\r\ncontent-length: 0\r\n\r\n{inner}"),
        ),
        ("lengths in a list", format!("{head}content-length: 0, {length}\r\n\r\n{inner}")),
        ("a length in a continued line", format!("{head}x: y\r\n content-length: {length}\r\n\r\n{inner}")),
        ("a continued length", format!("{head}content-length:\r\n 0\r\n\r\n{inner}")),
        (
            "a blank before the colon",
            format!("{head}transfer-encoding : chunked\r\ncontent-length: {whole}\r\n\r\n{chunked}"),
        ),
        ("a blank before the name", format!("{head} transfer-encoding: chunked\r\n\r\n{chunked}")),
        ("chunked, identity", format!("{head}transfer-encoding: chunked, identity\r\n\r\n{chunked}")),
        ("identity, chunked", format!("{head}transfer-encoding: identity, chunked\r\n\r\n{chunked}")),
        (
            "chunked twice",
            format!("{head}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked, then identity",
            format!("{head}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunked}"),
        ),
        ("xchunked", format!("{head}transfer-encoding: xchunked\r\n\r\n{chunked}")),
        ("a tab", format!("{head}transfer-encoding:\tchunked\r\ncontent-length: {whole}\r\n\r\n{chunked}")),
        (
            "a vertical tab",
            format!("{head}transfer-encoding: \x0bchunked\r\ncontent-length: {whole}\r\n\r\n{chunked}"),
        ),
        ("a signed length", format!("{head}content-length: +0\r\n\r\n{inner}")),
        ("a negative length", format!("{head}content-length: -1\r\n\r\n{inner}")),
        ("a hexadecimal length", format!("{head}content-length: 0x0\r\n\r\n{inner}")),
        ("a length beyond all numbers", format!("{head}content-length: 18446744073709551616\r\n\r\n{inner}")),
        ("an empty length", format!("{head}content-length: \r\n\r\n{inner}")),
        (
            "a chunk of a size beyond all numbers",
            format!("{head}transfer-encoding: chunked\r\n\r\n10000000000000000\r\n{inner}"),
        ),
        ("a chunk of no size", format!("{head}transfer-encoding: chunked\r\n\r\n\r\n{inner}")),
        ("a chunk of a signed size", format!("{head}transfer-encoding: chunked\r\n\r\n-1\r\n{inner}")),
        (
            "a chunk with more than its size",
            format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n{chunked}"),
        ),
        ("a chunk that bare line feeds end", format!("{head}transfer-encoding: chunked\r\n\r\n0\n\n{inner}")),
        (
            "a trailer that is a length",
            format!("{head}transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 9\r\n\r\n{inner}"),
        ),
        ("a bare carriage return", format!("{head}x: y\rcontent-length: {length}\r\n\r\n{inner}")),
        ("a NUL", format!("{head}content-length\0: 0\r\n\r\n{inner}")),
        (
            "HTTP/1.0 in chunks",
            format!(
                "POST {SIGN_UP} HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "a body of a GET",
            format!(
                "GET /api/public/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{inner}"
            ),
        ),
        (
            "a body of an unknown path",
            format!("POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{inner}"),
        ),
        ("a line without a colon, and bare line feeds", format!("{head}x: y\r\nz\n\n{inner}")),
        (
            "an upgrade",
            format!(
                "{head}connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: {length}\r\n\r\n{inner}"
            ),
        ),
        ("a tunnel", format!("CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n{inner}")),
        ("a body that is too large", format!("{head}content-length: 99999999\r\n\r\n{inner}")),
    ];
    for (form, request) in forms {
        let found = exchange(url, request.as_bytes()).await;
        assert!(found.len() <= 1, "{form}: {found:?}");
        assert!(found.iter().all(|answer| (400..500).contains(&answer.status)), "{form}: {found:?}");
    }
    // The smuggled request itself is one that is let in.
    assert_eq!(exchange(url, inner.as_bytes()).await[0].status, 200);
    // Pipelined requests are as many as they are, and bodies are not taken for requests.
    let none = format!("{head}content-length: 2\r\n\r\n{{}}");
    let found = exchange(url, format!("{none}{none}{}", smuggled(&key, "last@example.com")).as_bytes()).await;
    assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [401, 401, 200]);
    let clients = app.walk(app.administrator(), "/api/admin/clients", 100).await;
    let mut emails: Vec<_> = clients.iter().map(|client| client["email"].as_str().unwrap()).collect();
    emails.sort_unstable();
    assert_eq!(emails, ["last@example.com", "smuggled@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused() {
    let _alone = alone().await;
    let app = TestApp::start().await;
    let url = &app.stack.credentials.base_url;
    let token = app.administrator();
    let get = |line: &str, more: &str| format!("{line}\r\n{more}\r\n\r\n").into_bytes();
    let line = "GET /api/public/token HTTP/1.1";
    let own = format!("host: localhost\r\nauthorization: {token}");
    let mut requests = vec![
        b"GET /api/public/token\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(),
        get("GET /api/public/token HTTP/2", &own),
        get("GET /api/public/token HTTP/1.2", &own),
        get("GET /api/public/token HTTP/9.9", &own),
        get("GET /api/public/token http/1.1", &own),
        get("GET  /api/public/token HTTP/1.1", &own),
        get("GET /api/public/token\0 HTTP/1.1", &own),
        get("GET /api/public/ token HTTP/1.1", &own),
        get("GET api/public/token HTTP/1.1", &own),
        get("GET\0 /api/public/token HTTP/1.1", &own),
        get("get /api/public/token HTTP/1.1", &own),
        get("TRACE /api/public/token HTTP/1.1", &own),
        get("OPTIONS * HTTP/1.1", &own),
        get("GET * HTTP/1.1", &own),
        get("CONNECT /api/public/token HTTP/1.1", &own),
        get("GET http://elsewhere.example/api/public/token HTTP/1.1", &own),
        get("GET file:///etc/passwd HTTP/1.1", &own),
        get(line, &format!("authorization: {token}")),
        get(line, &format!("{own}\r\nhost: elsewhere.example")),
        get(line, &format!("{own}\r\nx: a\0b")),
        get(line, &format!("{own}\r\nx\0: y")),
        get(line, &format!("{own}\r\nx y: z")),
        get(line, &format!("{own}\r\nno colon")),
        get(line, &format!("{own}\r\n: no name")),
        get(line, &format!("{own}\r\nx: {}", "y".repeat(10_300))),
        get(line, &format!("{own}\r\nx: {}", "y".repeat(1 << 20))),
        get(line, &format!("{own}{}", "\r\nx: y".repeat(20_000))),
        get(&format!("GET /api/public/token?{} HTTP/1.1", "q".repeat(10_300)), &own),
        get(&format!("GET /{} HTTP/1.1", "p".repeat(70_000)), &own),
        get(&format!("GET /{} HTTP/1.1", "p".repeat(1 << 20)), &own),
    ];
    for host in [
        "",
        " ",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a@b",
        "user:password@localhost",
        "[::1",
        "[::g]",
        "localhost:99999",
        "localhost:x",
        "256.256.256.256",
        "xn--\u{7f}",
        "%00",
        "a,b",
        "<script>",
        "a\\b",
        "1.2.3.4.5",
        "http://a",
    ] {
        requests.push(get(line, &format!("host: {host}\r\nauthorization: {token}")));
    }
    for request in &requests {
        let found = exchange(url, request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
        assert!(found.len() <= 1, "{shown}: {found:?}");
        assert!(found.iter().all(|answer| (400..500).contains(&answer.status)), "{shown}: {found:?}");
    }
    // What is odd, and right.
    for request in [
        get(line, &own),
        get(line, &format!("{own}\r\nx: {}", "y".repeat(9_000))),
        get(line, &format!("HOST: LocalHost:3000\r\nAuthorization: {token}")),
        get(line, &format!("host: [::1]:80\r\nauthorization:\t{token} ")),
        get(&line.replace(" /", " http://localhost/"), &own),
        get("GET /api/public/token HTTP/1.0", &format!("authorization: {token}")),
        get(line, &format!("{own}\r\nx-forwarded-proto: no scheme\r\nx-forwarded-port: x")),
        get(line, &format!("{own}\r\nx: caf\u{e9}\r\naccept: *")),
    ] {
        let found = exchange(url, &request).await;
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
        assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200], "{shown}");
    }
}

/// What waits for a client's byte has an end, and whoever waits holds up nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_is_not_waited_for() {
    let _alone = alone().await;
    let app = TestApp::start_with_timeouts(SHORT).await;
    let url = &app.stack.credentials.base_url;
    eventually(|| serves(&app)).await;
    let (descriptors_before, tasks_before) = (descriptors(), tasks());

    // A byte now and then, and never the last one.
    let dripping = AtomicUsize::new(0);
    let drip = async |begin: &str| {
        let mut raw = Raw::connect(url).await;
        raw.send(begin.as_bytes()).await;
        dripping.fetch_add(1, Ordering::SeqCst);
        let begun = Instant::now();
        while raw.send(b"x").await {
            assert!(begun.elapsed() < HELD_MAX, "it is waited for");
            let mut byte = [0];
            match raw.stream.try_read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => break,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let host = "HTTP/1.1\r\nhost: localhost\r\n";
    let begins = [
        String::new(),
        "GET /".to_owned(),
        format!("GET /api/public/token {host}x: "),
        format!("POST {SIGN_UP} {host}content-length: 1000000\r\n\r\n"),
        format!("POST {SIGN_UP} {host}transfer-encoding: chunked\r\n\r\nfffff\r\n"),
        format!("POST {SIGN_UP} {host}expect: 100-continue\r\ncontent-length: 1000000\r\n\r\n"),
    ];
    let drips = begins.iter().flat_map(|begin| [begin; 20]).map(|begin| drip(begin));
    let served = AtomicUsize::new(0);
    let others = async {
        loop {
            let is_beside = dripping.load(Ordering::SeqCst) > 0;
            if serves(&app).await && is_beside {
                served.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    tokio::select! {
        _ = futures_util::future::join_all(drips) => {}
        () = others => {}
    }
    assert!(served.into_inner() > 0, "nobody else was served");

    // Silence: before a request, within its body, and after an answer.
    for begin in [
        String::new(),
        format!("POST {SIGN_UP} {host}content-length: 10\r\n\r\n"),
        format!("POST {SIGN_UP} {host}content-length: 2\r\n\r\n{{}}"),
    ] {
        let mut raw = Raw::connect(url).await;
        raw.send(begin.as_bytes()).await;
        let found = answers(&raw.rest().await);
        assert!(found.iter().all(|answer| (400..500).contains(&answer.status)), "{begin}: {found:?}");
    }

    // Answers that nobody takes: far more than the sockets hold.
    let request = format!("GET /docs/openapi.json {host}\r\n");
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect_narrow(url).await;
        assert!(raw.send(request.repeat(200).as_bytes()).await);
        silent.push(raw);
    }
    // Each is ended, which a byte more finds out.
    for raw in &mut silent {
        let begun = Instant::now();
        while raw.send(b"x").await {
            assert!(begun.elapsed() < HELD_MAX, "nobody takes it, and it is held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    drop(silent);
    eventually(|| async { descriptors() < descriptors_before + 10 && tasks() < tasks_before + 10 }).await;
    eventually(|| serves(&app)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_leaves_nothing_behind() {
    let _alone = alone().await;
    let app = TestApp::start().await;
    let url = &app.stack.credentials.base_url;
    for _ in 0..5 {
        assert!(serves(&app).await);
    }
    let (descriptors_before, tasks_before) = (descriptors(), tasks());
    let host = "HTTP/1.1\r\nhost: localhost\r\n";
    let large = format!("GET /docs/openapi.json {host}\r\n");
    for number in 0..120 {
        let mut raw = Raw::connect(url).await;
        let begin = match number % 6 {
            0 => String::new(),
            1 => format!("GET /api/public/token {host}x"),
            2 => format!("POST {SIGN_UP} {host}content-length: 100000\r\n\r\nhalf"),
            3 => format!("POST {SIGN_UP} {host}transfer-encoding: chunked\r\n\r\n10\r\nhalf"),
            4 => large.repeat(20),
            _ => format!("POST {SIGN_UP} {host}content-length: 2\r\n\r\n{{}}"),
        };
        raw.send(begin.as_bytes()).await;
        if number % 12 >= 6 {
            // Resets the connection where bytes lie unread.
            let mut some = [0; 64];
            let _ = raw.stream.try_read(&mut some);
            raw.finish().await;
        }
    }
    eventually(|| async { descriptors() < descriptors_before + 10 && tasks() < tasks_before + 10 }).await;
    assert!(serves(&app).await);

    // Who has no more to say gets the answer, and the whole of it.
    for request in [
        format!("POST {SIGN_UP} {host}content-length: 2\r\n\r\n{{}}"),
        format!("POST {SIGN_UP} {host}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        large,
    ] {
        let found = exchange(url, request.as_bytes()).await;
        assert_eq!(found.len(), 1, "{request}");
    }
    // Half a body is none.
    let half = format!("POST {SIGN_UP} {host}content-length: 9\r\n\r\n{{}}");
    let found = exchange(url, half.as_bytes()).await;
    assert!(found.iter().all(|answer| answer.status == 400), "{found:?}");
}

/// Every endpoint that takes a body: method, path with ids that are there, its token.
async fn endpoints(app: &TestApp) -> Vec<(String, String, &'static str, String)> {
    app.bucket("b1", "A", &["s1"]).await;
    let all = || TokenSpec {
        permissions: Permission::ALL.to_vec(),
        affiliates: vec!["A".into()],
        ..TokenSpec::default()
    };
    let (token, id) = app.token_and_id(all()).await;
    let body = serde_json::json!({ "email": "a@example.com", "phone": "+1234567890", "firstName": "A" });
    let client = app.signed_up(&token, &body).await;
    let routes = Template::built_in().unwrap().functions.into_iter().flat_map(|function| function.routes);
    let with_body = routes.filter(|route| ["POST", "PATCH"].contains(&route.method.as_str()));
    let takes_none = |path: &str| path.starts_with("/autologin") || path.ends_with("/logout");
    let found = with_body.filter(|route| !takes_none(&route.path)).map(|route| {
        let mut path = route.path;
        for (name, value) in [
            ("{bucketId}", "b1"),
            ("{affiliateID}", "A"),
            ("{sourceId}", "s1"),
            ("{clientId}", client.as_str()),
            ("{tokenId}", id.as_str()),
            ("{roleId}", "sign-up"),
        ] {
            path = path.replace(name, value);
        }
        let header = if path.contains("tradersroom") { "x-api-key" } else { "authorization" };
        (route.method, path, header, token.clone())
    });
    let found: Vec<_> = found.collect();
    assert!(found.len() >= 11, "{found:?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_too_much() {
    let _alone = alone().await;
    let app = TestApp::start().await;
    let url = &app.stack.credentials.base_url;
    let endpoints = endpoints(&app).await;
    let levels = 100_000;
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(levels), close.repeat(levels));
    let in_field = |value: &str| {
        format!(r#"{{"name":{value},"emails":{value},"email":{value},"status":{value},"x":{value}}}"#)
    };
    let digits = "9".repeat(100_000);
    let mut bodies: Vec<(&str, String, &[u16])> = vec![
        ("arrays", nested("[", "]"), &[400]),
        ("arrays without an end", "[".repeat(levels), &[400]),
        ("objects", nested(r#"{"a":"#, "}"), &[400]),
        ("objects without an end", r#"{"a":"#.repeat(levels), &[400]),
        ("both", nested(r#"[{"a":"#, "}]"), &[400]),
        ("arrays in fields", in_field(&nested("[", "]")), &[400]),
        ("closed only", "]".repeat(levels), &[400]),
        ("a text without an end", format!(r#"{{"name":"{}"#, "\\\"".repeat(levels)), &[400]),
        ("numbers in fields", in_field(&digits), &[400]),
        ("a number for a limit", format!(r#"{{"limit":{digits}}}"#), &[400]),
        ("a small number for a limit", format!(r#"{{"limit":-0.{digits}e-{digits}}}"#), &[400]),
        ("numbers beyond all", in_field(&format!("1e{digits}")), &[400]),
        ("infinity", in_field("1e999999999999999999999"), &[400]),
        ("not a number", in_field("NaN"), &[400]),
        (
            "one field many times",
            format!(
                r#"{{{}"name":7,"email":7,"emails":7,"status":7,"x":7}}"#,
                r#""name":"n","#.repeat(50_000)
            ),
            &[400],
        ),
        (
            "many fields",
            format!(
                "{{{}\"name\":1,\"email\":1,\"emails\":1,\"status\":1}}",
                (0..20_000).map(|n| format!("\"f{n}\":0,")).collect::<String>()
            ),
            &[400],
        ),
        (
            "a long name of a field",
            format!(r#"{{"{}":1,"email":1,"emails":1}}"#, "n".repeat(500_000)),
            &[400],
        ),
        ("a long text", in_field(&format!("\"{}\"", "x".repeat(150_000))), &[400]),
        ("escapes", in_field(&format!("\"{}\"", "\\u0000".repeat(20_000))), &[400]),
        ("surrogates", in_field(r#""\ud800""#), &[400]),
        ("a name that is no text", r#"{"\ud800":1}"#.to_owned(), &[400]),
        ("byte order mark", format!("\u{feff}{}", r#"{"name":"n"}"#), &[400]),
        ("nothing but blanks", " ".repeat(500_000), &[200, 400]),
    ];
    bodies.push(("2 MB and a byte", format!("{{{}}}", " ".repeat(2 * 1024 * 1024)), &[413]));
    let mut sent = 0;
    for (method, path, header, token) in &endpoints {
        for (kind, body, expected) in &bodies {
            let headers = [(*header, token.as_str()), ("content-type", "application/json")];
            let answer = app.send(method.parse().unwrap(), path, &headers, body.clone()).await;
            assert!(expected.contains(&answer.status), "{method} {path}, {kind}: {answer:?}");
            assert!(answer.text.len() < 1000, "{method} {path}, {kind}: {} bytes", answer.text.len());
            sent += 1;
        }
    }
    assert!(sent >= 11 * 24, "{sent}");

    // Beyond API Gateway's own limit, by a length and in chunks: refused with the first answer, whatever comes.
    let host = "HTTP/1.1\r\nhost: localhost\r\n";
    let more = vec![b'x'; 10 * 1024 * 1024 + 1];
    let mut by_length = format!("POST {SIGN_UP} {host}content-length: {}\r\n\r\n", more.len()).into_bytes();
    by_length.extend_from_slice(&more);
    let mut by_chunks =
        format!("POST {SIGN_UP} {host}transfer-encoding: chunked\r\n\r\n{:x}\r\n", more.len()).into_bytes();
    by_chunks.extend_from_slice(&more);
    by_chunks.extend_from_slice(b"\r\n0\r\n\r\n");
    // A machine that has much else to do sends it with pauses.
    let minute = Duration::from_secs(60);
    let patient = Timeouts { body: minute, rest: minute, ..Timeouts::default() };
    let patient = TestApp::start_with_timeouts(patient).await;
    for request in [by_length, by_chunks] {
        let found = exchange(&patient.stack.credentials.base_url, &request).await;
        // The rest is read, or the connection's end would overtake the answer.
        assert_eq!(found.iter().map(|answer| answer.status).collect::<Vec<_>>(), [413]);
    }
    // A length alone is enough to be refused, before a byte of it.
    for expect in ["", "expect: 100-continue\r\n"] {
        let mut raw = Raw::connect(url).await;
        raw.send(format!("POST {SIGN_UP} {host}{expect}content-length: 10485761\r\n\r\n").as_bytes()).await;
        let bytes = raw.rest().await;
        assert!(!bytes.starts_with(b"HTTP/1.1 100"));
        assert_eq!(answers(&bytes).iter().map(|answer| answer.status).collect::<Vec<_>>(), [413]);
    }
    assert!(serves(&app).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_taken_as_they_are() {
    let _alone = alone().await;
    let app = TestApp::start().await;
    app.bucket("b1", "A", &["s1"]).await;
    let url = &app.stack.credentials.base_url;
    let all = TokenSpec {
        permissions: Permission::ALL.to_vec(),
        affiliates: vec!["A".into()],
        ..TokenSpec::default()
    };
    let token = app.token(all).await;
    let parts = [
        "%",
        "%%",
        "%2",
        "%zz",
        "%00",
        "%2F",
        "%2f..%2f",
        "%2e%2e",
        "..",
        ".",
        "%252e%252e",
        "%5c..%5c",
        "%c0%af",
        "%e0%80%af",
        "%c0%ae%c0%ae",
        "%ff",
        "%fe%ff",
        "%ed%a0%80",
        "%f4%90%80%80",
        "%F0%9F%98%80",
        "%E2%80%AE",
        "%0d%0a",
        "%0d%0aset-cookie:%20x=y",
        "%3f",
        "%23",
        "%3b",
        "b1%00",
        "b1%20",
        "%20b1",
        "b1%2f",
        "b1;x",
        "b1?",
        "*",
        "~",
        "|",
        "\"",
        "<script>",
        "{bucketId}",
        "'",
        "`",
        "^",
        "caf\u{e9}",
        "%7e",
        "__proto__",
        "\\",
    ];
    let mut sent = 0;
    for part in parts {
        for (method, path) in [
            ("GET", format!("/api/admin/buckets/{part}")),
            ("GET", format!("/api/admin/buckets/{part}/stats")),
            ("POST", format!("/api/admin/buckets/{part}/route")),
            ("GET", format!("/api/admin/clients/{part}")),
            ("GET", format!("/api/admin/tokens/{part}")),
            ("GET", format!("/api/admin/roles/{part}")),
            ("DELETE", format!("/api/admin/roles/{part}")),
            ("POST", format!("/api/public/buckets/{part}/A/leads")),
            ("POST", format!("/api/public/buckets/b1/{part}/leads")),
            ("POST", format!("/api/public/buckets/b1/A/leads/{part}")),
            ("POST", format!("/autologin/{part}/")),
            ("GET", format!("/autologin/{part}/{part}")),
            ("GET", format!("/console/{part}")),
            ("GET", format!("/docs/assets/{part}")),
            ("GET", format!("/{part}/api/public/token")),
            ("GET", format!("/api/public/{part}/token")),
            ("GET", format!("/api/admin/clients?email={part}&status={part}&bucketId={part}")),
        ] {
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\ncontent-length: 0\r\n\r\n"
            );
            let found = exchange(url, request.as_bytes()).await;
            // What no path can hold may end the connection.
            let is_plain =
                path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/%-._~?=&;*'+".contains(&byte));
            assert!(found.len() == 1 || (found.is_empty() && !is_plain), "{method} {path}: {found:?}");
            for RawAnswer { status, head, .. } in found {
                assert!(status < 500, "{method} {path}: {status}");
                assert!(!head.to_lowercase().contains("set-cookie: x=y"), "{method} {path}: {head}");
                let is_named =
                    ["/console/", "/docs/"].iter().any(|own| path.starts_with(own)) || path.contains('?');
                let is_own = path.contains("b1%20") || path.contains("%20b1");
                assert!(is_named || is_own || (400..500).contains(&status), "{method} {path}: {status}");
            }
            sent += 1;
        }
    }
    assert_eq!(sent, parts.len() * 17);
    let answer = app.send(Method::GET, "/api/admin/buckets/b1", &[("authorization", &token)], "").await;
    answer.assert_ok();
}
