//! What the local stack refuses when there is more than it takes on, and that it goes on afterwards.

use futures_util::future::join_all;
use hyper::Method;
use local::admission::{Limits, Throttling};
use local::template::Throttle;
use serde_json::{Value, json};
use shared::model::Permission;
use tests::dynamodb::Dynamodb;
use tests::proxy::Proxy;
use tests::{Answer, TestApp, TokenSpec, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TOKEN: &str = "/api/public/token";
const SIGN_UP: &str = "/tradersroom/api/auth/signup";

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, message: &str) {
    answer.assert(status, &json!({ "message": message }).to_string());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "{answer:?}");
}

async fn self_check(app: &TestApp, token: &str) -> Answer {
    app.send(Method::GET, TOKEN, &[("authorization", token)], "").await
}

fn client(number: usize, more: &str) -> Value {
    json!({ "email": format!("c{number}@example.com"), "phone": "+1234567890", "firstName": "Jane", "more": more })
}

/// A DynamoDB behind a proxy.
async fn proxied() -> (Dynamodb, Proxy) {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    (dynamodb, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_concurrency_requests_are_refused_and_nothing_of_them_is_done() {
    let (_dynamodb, proxy) = proxied().await;
    let limits = Limits { concurrency: 2, ..Limits::default() };
    let app = TestApp::start_limited_on(proxy.endpoint(), limits).await;
    let key = app.sign_up_key(&[]).await;
    proxy.hold_clients(0);
    let (bodies, third) = ([client(1, ""), client(2, "")], client(3, ""));
    let under_way = join_all(bodies.iter().map(|body| app.sign_up(&key, body)));
    let beside = async {
        eventually(|| async { proxy.held() >= 2 }).await;
        assert_refused(&app.sign_up(&key, &third).await, 503, "Service Unavailable");
        assert_refused(&self_check(&app, &key).await, 503, "Service Unavailable");
        // What no function answers needs none.
        app.send(Method::GET, "/nothing", &[], "").await.assert(404, r#"{"message":"Not Found"}"#);
        proxy.release();
    };
    let (answers, ()) = futures_util::future::join(under_way, beside).await;
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Its email is free still.
    app.signed_up(&key, &third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_memory_for_them_are_refused() {
    let (_dynamodb, proxy) = proxied().await;
    let limits = Limits { bodies: 64 * 1024, ..Limits::default() };
    let app = TestApp::start_limited_on(proxy.endpoint(), limits).await;
    let key = app.sign_up_key(&[]).await;
    proxy.hold_clients(0);
    let large = client(1, &"x".repeat(50 * 1024));
    let under_way = app.sign_up(&key, &large);
    let beside = async {
        eventually(|| async { proxy.held() >= 1 }).await;
        assert_refused(&app.sign_up(&key, &client(2, "")).await, 503, "Service Unavailable");
        // Without a body there is nothing to keep.
        assert_eq!(self_check(&app, &key).await.status, 200);
        proxy.release();
    };
    let (answer, ()) = futures_util::future::join(under_way, beside).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app.signed_up(&key, &client(2, "")).await;
}

/// A request on a connection of its own, and all that comes until it is closed.
async fn asked(socket: &mut TcpStream, close: bool) -> String {
    let connection = if close { "connection: close\r\n" } else { "" };
    let request = format!("GET /nothing HTTP/1.1\r\nhost: localhost\r\n{connection}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") || close {
        let mut part = [0; 4096];
        match socket.read(&mut part).await.unwrap() {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_answered_and_closed() {
    let app = TestApp::start_limited(Limits { connections: 2, ..Limits::default() }).await;
    let address = app.stack.credentials.base_url.trim_start_matches("http://");
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        assert!(asked(&mut socket, false).await.starts_with("HTTP/1.1 404 "));
        open.push(socket);
    }
    // More than are told so at the same time, one after the other and at once.
    for _ in 0..70 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let answer = asked(&mut socket, false).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        for part in ["connection: close", "retry-after: 1", r#"{"message":"Service Unavailable"}"#] {
            assert!(answer.contains(part), "{answer}");
        }
        assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    }
    let at_once = (0..100).map(|_| async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        asked(&mut socket, true).await
    });
    for answer in join_all(at_once).await {
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    // Those that are open are served still, and where one is closed another one comes in.
    assert!(asked(&mut open[0], false).await.starts_with("HTTP/1.1 404 "));
    drop(open.pop());
    eventually(|| async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        asked(&mut socket, true).await.starts_with("HTTP/1.1 404 ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_takes_its_burst_and_then_refuses() {
    let throttle = Throttle { rate: 0.001, burst: 3.0 };
    let limits = Limits { throttling: Throttling::Each(throttle), ..Limits::default() };
    let app = TestApp::start_limited(limits).await;
    let token =
        app.token(TokenSpec { permissions: vec![Permission::ClientsCreate], ..TokenSpec::default() }).await;
    for _ in 0..3 {
        assert_eq!(self_check(&app, &token).await.status, 200);
    }
    for _ in 0..2 {
        assert_refused(&self_check(&app, &token).await, 429, "Too Many Requests");
    }
    // Each route by itself; refused tokens count as well, as API Gateway knows nothing of tokens.
    for _ in 0..3 {
        assert_eq!(app.send(Method::POST, SIGN_UP, &[("x-api-key", "none")], "{}").await.status, 401);
    }
    assert_refused(&app.sign_up(&token, &client(1, "")).await, 429, "Too Many Requests");
    // What the stack adds is not API Gateway's.
    for _ in 0..5 {
        assert_eq!(app.send(Method::GET, "/local/emails", &[], "").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_that_wait_for_their_turn_are_all_answered() {
    let app = TestApp::start_limited(Limits { at_once: Some(1), ..Limits::default() }).await;
    let key = app.sign_up_key(&[]).await;
    let bodies: Vec<Value> = (0..24).map(|number| client(number / 2, "")).collect();
    let answers = join_all(bodies.iter().map(|body| app.sign_up(&key, body))).await;
    let stored = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((stored, answers.iter().filter(|answer| answer.status == 400).count()), (12, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_starts_where_answers_to_what_makes_its_tables_are_lost() {
    let (_dynamodb, proxy) = proxied().await;
    for operation in ["CreateTable", "UpdateTimeToLive"] {
        proxy.lose_answers(operation, 2);
    }
    let app = TestApp::start_limited_on(proxy.endpoint(), Limits::default()).await;
    let key = app.sign_up_key(&[]).await;
    app.signed_up(&key, &client(1, "")).await;
    for table in ["ExpiringTable", "TokenActivityTable"] {
        let described = app.store().sdk().describe_time_to_live().table_name(table).send().await.unwrap();
        let status = described.time_to_live_description.unwrap().time_to_live_status.unwrap();
        assert_eq!(status.as_str(), "ENABLED", "{table}");
    }
}
