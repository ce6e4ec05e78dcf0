//! A proxy in front of DynamoDB that lets a share of all calls go wrong, in every way that is known of DynamoDB
//! and of the way to it. Which calls a seed picks depends on the order of their arrival.

use crate::proxy::{conflict, failure, lock, operation};
use crate::server::Server;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::http::response;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a call or its answer is held up: longer than a deployed function waits before it sends it again.
pub const STALL: Duration = Duration::from_secs(2);

/// What can go wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It comes faster than the table takes: nothing is done.
    Throttled,
    /// DynamoDB's own 500: nothing is done.
    ServerError,
    /// The connection ends before DynamoDB gets the call.
    ResetBefore,
    /// It is done, and the connection ends before the answer.
    ResetAfter,
    /// It is done, and what arrives is DynamoDB's own 500.
    ServerErrorAfter,
    /// DynamoDB got to some of a batch's keys only.
    HalfBatch,
    /// The items are another transaction's at the moment: nothing is done.
    Conflict,
    /// It reaches DynamoDB late, when the caller has given this attempt up.
    StallBefore,
    /// It is done, and its answer comes when the caller has given this attempt up.
    StallAfter,
    /// It is done, and what arrives is cut off, empty, a proxy's page or noise.
    Garbage,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttled => "throttled",
            Self::ServerError => "500",
            Self::ResetBefore => "reset before the call",
            Self::ResetAfter => "reset before the answer",
            Self::ServerErrorAfter => "done, answered 500",
            Self::HalfBatch => "half a batch",
            Self::Conflict => "transaction conflict",
            Self::StallBefore => "stalled before the call",
            Self::StallAfter => "stalled before the answer",
            Self::Garbage => "garbage",
        })
    }
}

/// How long a deployed function waits for an attempt, where a local one has more patience.
pub const AS_DEPLOYED: (&str, &str) = ("DYNAMODB_ATTEMPT_TIMEOUT", "1500");

/// The proxy; calm until told otherwise.
#[derive(Debug)]
pub struct Faults {
    state: Arc<State>,
    server: Server,
}

#[derive(Debug)]
struct State {
    dynamodb: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    random: Mutex<StdRng>,
    share: Mutex<f64>,
    met: Mutex<Met>,
}

/// What calls met.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Calls while faults were on.
    pub calls: usize,
    /// Faults by kind.
    pub faults: BTreeMap<Kind, usize>,
}

impl Faults {
    /// Starts the proxy on a free port in front of the DynamoDB at this address.
    pub async fn start(dynamodb: SocketAddr, seed: u64) -> Self {
        let state = Arc::new(State {
            dynamodb,
            client: Client::builder(TokioExecutor::new()).build_http(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            share: Mutex::default(),
            met: Mutex::default(),
        });
        let passing = state.clone();
        let server = Server::start(move |request| {
            // Its own task: a call that DynamoDB got is done, also when the caller has hung up.
            let passing = tokio::spawn(passing.clone().pass(request));
            async move { passing.await.map_err(io::Error::other)? }
        });
        Self { state, server: server.await }
    }

    /// URL to reach DynamoDB by, through the proxy.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Lets this share of the calls go wrong from now on.
    pub fn set_share(&self, share: f64) {
        *lock(&self.state.share) = share;
    }

    /// What calls met until now.
    pub fn met(&self) -> Met {
        lock(&self.state.met).clone()
    }
}

type Answered = io::Result<Response<Full<Bytes>>>;

impl State {
    /// What goes wrong with this call, if anything does.
    fn draw(&self, operation: &str, request: &Value) -> Option<Kind> {
        let share = *lock(&self.share);
        if share == 0.0 {
            return None;
        }
        let mut random = lock(&self.random);
        let mut met = lock(&self.met);
        met.calls += 1;
        if !random.random_bool(share) {
            return None;
        }
        let mut kinds = vec![
            Kind::Throttled,
            Kind::ServerError,
            Kind::ResetBefore,
            Kind::ResetAfter,
            Kind::ServerErrorAfter,
            Kind::StallBefore,
            Kind::StallAfter,
            Kind::Garbage,
        ];
        match operation {
            "BatchGetItem" if keys(request) > 1 => kinds.push(Kind::HalfBatch),
            "TransactWriteItems" | "TransactGetItems" | "PutItem" | "UpdateItem" | "DeleteItem" => {
                kinds.push(Kind::Conflict);
            }
            _ => {}
        }
        // In turn, so that each has its share.
        let kind = kinds[met.faults.values().sum::<usize>() % kinds.len()];
        *met.faults.entry(kind).or_default() += 1;
        Some(kind)
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Answered {
        let (mut parts, body) = request.into_parts();
        let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let operation = operation(&parts);
        let mut request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let fault = self.draw(&operation, &request);
        let mut left = None;
        match fault {
            Some(Kind::Throttled) => return Ok(throttled(&operation, &body)),
            Some(Kind::ServerError) => return Ok(server_error()),
            Some(Kind::ResetBefore) => return Err(reset()),
            Some(Kind::Conflict) => return Ok(in_conflict(&operation, &body)),
            Some(Kind::StallBefore) => tokio::time::sleep(STALL).await,
            Some(Kind::HalfBatch) => {
                left = Some(halve(&mut request, &mut lock(&self.random)));
                body = request.to_string().into();
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            _ => {}
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", self.dynamodb).parse::<Uri>().map_err(io::Error::other)?;
        let answer = self.client.request(Request::from_parts(parts, Full::new(body))).await;
        let (mut parts, body) = answer.map_err(io::Error::other)?.into_parts();
        let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        match fault {
            Some(Kind::ResetAfter) => return Err(reset()),
            Some(Kind::ServerErrorAfter) => return Ok(server_error()),
            Some(Kind::StallAfter) => tokio::time::sleep(STALL).await,
            Some(Kind::Garbage) => return garbled(parts, &body, &mut lock(&self.random)),
            _ => {}
        }
        if let (Some(left), StatusCode::OK) = (left, parts.status) {
            let mut answer: Value = serde_json::from_slice(&body)?;
            answer["UnprocessedKeys"] = left;
            body = answer.to_string().into();
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            parts.headers.remove(CHECKSUM);
        }
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

/// Of the body as it was; a client takes an answer without it.
const CHECKSUM: &str = "x-amz-crc32";

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    failure(status, &json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}") }))
}

fn server_error() -> Response<Full<Bytes>> {
    error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")
}

fn throttled(operation: &str, request: &[u8]) -> Response<Full<Bytes>> {
    if operation == "TransactWriteItems" {
        return cancelled(request, "ThrottlingError");
    }
    error(StatusCode::BAD_REQUEST, "ProvisionedThroughputExceededException")
}

fn in_conflict(operation: &str, request: &[u8]) -> Response<Full<Bytes>> {
    match operation {
        "TransactWriteItems" => conflict(request),
        "TransactGetItems" => cancelled(request, "TransactionConflict"),
        _ => error(StatusCode::BAD_REQUEST, "TransactionConflictException"),
    }
}

/// A transaction that was cancelled for its first entry.
fn cancelled(request: &[u8], code: &str) -> Response<Full<Bytes>> {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let entries = request["TransactItems"].as_array().map_or(0, Vec::len);
    let reasons: Vec<_> =
        (0..entries).map(|at| json!({ "Code": if at == 0 { code } else { "None" } })).collect();
    let error = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    });
    failure(StatusCode::BAD_REQUEST, &error)
}

/// Something else than the answer, of the length that it says or shorter.
fn garbled(mut parts: response::Parts, body: &Bytes, random: &mut StdRng) -> Answered {
    parts.headers.remove(CHECKSUM);
    let noise: Vec<u8> = match random.random_range(0..4) {
        0 => Vec::new(),
        1 => b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec(),
        2 => body[..body.len() / 2].to_vec(),
        _ => (0..body.len().clamp(1, 500)).map(|_| random.random()).collect(),
    };
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(noise.len()));
    Ok(Response::from_parts(parts, Full::new(noise.into())))
}

fn keys(request: &Value) -> usize {
    let tables = request["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
    tables.map(|asked| asked["Keys"].as_array().map_or(0, Vec::len)).sum()
}

/// Takes some keys out of a batch, one at least and never all, and gives them as an answer has them.
fn halve(request: &mut Value, random: &mut StdRng) -> Value {
    let (total, mut left) = (keys(request), json!({}));
    let mut spare = random.random_range(1..total);
    let Some(tables) = request["RequestItems"].as_object_mut() else { return left };
    for (table, asked) in tables.iter_mut() {
        let mut rest = asked.clone();
        let Some(keys) = asked["Keys"].as_array_mut() else { continue };
        let taken = keys.split_off(keys.len() - spare.min(keys.len()));
        spare -= taken.len();
        if !taken.is_empty() {
            rest["Keys"] = taken.into();
            left[table] = rest;
        }
    }
    tables.retain(|_, asked| asked["Keys"].as_array().is_some_and(|keys| !keys.is_empty()));
    left
}
