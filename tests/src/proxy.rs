//! A proxy in front of DynamoDB that counts, at the wire, what a request costs: calls, rounds and
//! capacity.
//!
//! A round is a set of calls made at the same time. Clocks can't tell it reliably, so it is
//! measured by logic: while measuring, every answer is held back until nothing has happened for a
//! while ([`Proxy::set_quiet`]), so that all calls that do not wait for one another have arrived by then; then all
//! answers held are released together and the next round begins with the next call. A call thus
//! is in round *n* where the longest chain of calls that had to wait for each other's answers and
//! ends with it has *n* members. A machine that stalls for longer than the window can split a
//! round in two, and never joins two: the least of several measurements is the true one.

use crate::server::Server;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};

/// How long nothing may happen before a round counts as complete, unless [`Proxy::set_quiet`] says
/// otherwise.
pub const QUIET: Duration = Duration::from_millis(80);
/// The longest that it makes sense to wait: an attempt of a call must not end meanwhile.
pub const QUIET_MAX: Duration = Duration::from_secs(2);

/// Notes of the use of tokens go beside the requests, seldom, and no answer waits for them.
const ACTIVITY: &str = "TokenActivityTable";
const READS: [&str; 5] = ["BatchGetItem", "GetItem", "Query", "Scan", "TransactGetItems"];
const WRITES: [&str; 5] = ["BatchWriteItem", "DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"];

/// The proxy; it passes calls on without delay except while it measures.
#[derive(Debug)]
pub struct Proxy {
    state: Arc<State>,
    server: Server,
}

/// One call, as it went over the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `GetItem`, `Query`, …
    pub operation: String,
    /// Table; several of a transaction are joined with `+`.
    pub table: String,
    /// Index, where the call names one.
    pub index: Option<String>,
    /// Keys of a batch, entries of a transaction, 1 of any other call.
    pub keys: usize,
    /// Status of the answer.
    pub status: u16,
    /// Round that it was made in, from 1.
    pub round: usize,
    /// When it arrived, from the start of the measurement.
    pub arrived: Duration,
    /// When DynamoDB had answered.
    pub answered: Duration,
    /// When the answer was handed on.
    pub released: Duration,
    /// Read capacity units consumed.
    pub read: f64,
    /// Write capacity units consumed.
    pub write: f64,
}

/// What was measured of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Rounds of calls, one after another; of those that the answer waits for.
    pub rounds: usize,
    /// Read capacity units of these calls.
    pub read: f64,
    /// Write capacity units of these calls.
    pub write: f64,
    /// These calls, in the order of their arrival.
    pub calls: Vec<Call>,
    /// Notes of the use of tokens.
    pub beside: Vec<Call>,
}

impl Measured {
    /// The calls of one operation.
    pub fn of(&self, operation: &str) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.operation == operation)
    }

    /// Read capacity of the queries of one index.
    pub fn read_of_index(&self, index: &str) -> f64 {
        let of_index = self.calls.iter().filter(|call| call.index.as_deref() == Some(index));
        of_index.map(|call| call.read).sum()
    }
}

impl Proxy {
    /// Starts a proxy on a free port in front of the DynamoDB at this address.
    pub async fn start(dynamodb: SocketAddr) -> Self {
        let state = Arc::new(State {
            dynamodb,
            client: Client::builder(TokioExecutor::new()).build_http(),
            recording: Mutex::default(),
            quiet: Mutex::new(QUIET),
            kept: Mutex::default(),
            changed: Notify::new(),
            shortfall: Mutex::default(),
            faults: Mutex::default(),
            late: Mutex::default(),
            delayed: Mutex::default(),
            hold: Mutex::default(),
            gate: Semaphore::new(0),
            latency: Mutex::default(),
            under_way: Mutex::default(),
            accesses: Mutex::default(),
            lost: Mutex::default(),
            counted: Mutex::default(),
        });
        let passing = state.clone();
        let server = Server::start(move |request| {
            // Its own task, so that a call is accounted for to its end when the caller hangs up.
            let passing = tokio::spawn(passing.clone().pass(request));
            async move { Ok::<_, Infallible>(passing.await.unwrap_or_else(|_| bad_gateway())) }
        });
        Self { state, server: server.await }
    }

    /// URL to reach DynamoDB by, through the proxy.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Measures all calls that are made until the future is done; no other requests may be under
    /// way meanwhile.
    ///
    /// # Panics
    /// Another measurement is under way.
    pub async fn measure<T>(&self, request: impl Future<Output = T>) -> (T, Measured) {
        let quiet = *lock(&self.state.quiet);
        let before = self.state.recording().replace(Recording::new(quiet));
        assert!(before.is_none(), "one measurement at a time");
        let output = tokio::select! {
            output = request => output,
            never = self.state.release_rounds() => match never {},
        };
        let calls = self.state.recording().take().unwrap().calls;
        let (beside, calls): (Vec<Call>, Vec<Call>) =
            calls.into_iter().partition(|call| call.table == ACTIVITY);
        let measured = Measured {
            rounds: calls.iter().map(|call| call.round).max().unwrap_or(0),
            // An empty sum of floats would be a negative zero.
            read: calls.iter().fold(0.0, |sum, call| sum + call.read),
            write: calls.iter().fold(0.0, |sum, call| sum + call.write),
            calls,
            beside,
        };
        (output, measured)
    }

    /// Sets how long nothing may happen before a round counts as complete, in measurements to come:
    /// the longer, the less a machine that stalls splits rounds.
    pub fn set_quiet(&self, quiet: Duration) {
        *lock(&self.state.quiet) = quiet;
    }

    /// Keeps each `TransactWriteItems` call that arrives from now on, each attempt of it.
    pub fn keep_transactions(&self) {
        *lock(&self.state.kept) = Some(Vec::new());
    }

    /// The calls that were kept, in the order of their arrival.
    pub fn kept_transactions(&self) -> Vec<Value> {
        lock(&self.state.kept).clone().unwrap_or_default()
    }

    /// How often what was called since the last time that this was asked.
    pub fn take_counts(&self) -> BTreeMap<Access, usize> {
        std::mem::take(&mut *lock(&self.state.counted))
    }

    /// What the calls of a request, and those that are still under way, need to be allowed.
    pub async fn accesses<T>(&self, request: impl Future<Output = T>) -> (T, BTreeSet<Access>) {
        lock(&self.state.accesses).clear();
        let output = request.await;
        (output, std::mem::take(&mut *lock(&self.state.accesses)))
    }

    /// Leaves the last `keys` keys of each of the next `calls` `BatchGetItem` calls unprocessed,
    /// as DynamoDB does under load; at least one key of a call is answered.
    pub fn leave_unprocessed(&self, calls: usize, keys: usize) {
        *lock(&self.state.shortfall) = Shortfall { calls, keys };
    }

    /// Lets the next `TransactWriteItems` calls fail, one fault a call.
    pub fn fail_transactions(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state.faults).extend(faults);
    }

    /// Lets transactions that write clients wait before they reach DynamoDB, but for the first
    /// `passing`, until [`Proxy::release`].
    pub fn hold_clients(&self, passing: usize) {
        *lock(&self.state.hold) = Hold { is_on: true, passing, held: 0 };
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        lock(&self.state.hold).held
    }

    /// Lets the calls that wait go on.
    pub fn release(&self) {
        let mut hold = lock(&self.state.hold);
        self.state.gate.add_permits(hold.held);
        *hold = Hold::default();
    }

    /// Lets the next calls of an operation be done, and answers them with DynamoDB's own 500.
    pub fn lose_answers(&self, operation: &str, calls: usize) {
        lock(&self.state.lost).insert(operation.to_owned(), calls);
    }

    /// Takes this long for each transaction, and lets one that meets another on an item fail, as
    /// DynamoDB does; the embedded engine by itself runs one after the other.
    pub fn take_time(&self, latency: Duration) {
        *lock(&self.state.latency) = latency;
    }

    /// How many transactions arrived, and how many of them met others, since [`Proxy::take_time`].
    pub fn transactions(&self) -> (usize, usize) {
        let under_way = lock(&self.state.under_way);
        (under_way.arrived, under_way.met)
    }

    /// Answers the next call of an operation on a table with DynamoDB's own 500 while it is on its way, until
    /// [`Proxy::deliver_late`].
    pub fn delay(&self, operation: &str, table: &str) {
        lock(&self.state.delayed).insert((operation.to_owned(), table.to_owned()));
    }

    /// Lets the calls arrive that are still on their way, and tells how many there were.
    ///
    /// # Panics
    /// DynamoDB does not answer.
    pub async fn deliver_late(&self) -> usize {
        let late = std::mem::take(&mut *lock(&self.state.late));
        let calls = late.len();
        for call in late {
            self.state.client.request(call).await.unwrap().into_body().collect().await.unwrap();
        }
        calls
    }

    /// Forgets the faults that are yet to come.
    pub fn end_faults(&self) {
        lock(&self.state.faults).clear();
    }

    /// Faults that are yet to come.
    pub fn faults_left(&self) -> usize {
        lock(&self.state.faults).len()
    }
}

/// An action on a table or on one of its indexes, as an IAM policy names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// `dynamodb:GetItem`, …
    pub action: String,
    /// The table, as `TokensTable`, or its index, as `TokensTable/index/tokens-created`; with the kind of record, as
    /// `ExpiringTable S#`, where policies tell them apart.
    pub resource: String,
}

/// How a transaction fails; the embedded engine by itself never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It comes faster than the tables take: nothing is written.
    Throttled,
    /// It met another transaction on its counters: nothing is written.
    Conflict,
    /// It is written, its answer is lost, and what arrives is a conflict. DynamoDB forgets its token: whoever tries again
    /// must tell their own work by what is stored.
    WrittenThenConflict,
    /// It is written, and what arrives is DynamoDB's own 500.
    WrittenThenServerError,
    /// What arrives is DynamoDB's own 500, and the call itself is still on its way, until
    /// [`Proxy::deliver_late`].
    Late,
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut failed = Response::new(Full::default());
    *failed.status_mut() = StatusCode::BAD_GATEWAY;
    failed
}

#[derive(Debug)]
struct State {
    dynamodb: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    recording: Mutex<Option<Recording>>,
    quiet: Mutex<Duration>,
    kept: Mutex<Option<Vec<Value>>>,
    /// Something happened that the release of a round may depend on.
    changed: Notify,
    shortfall: Mutex<Shortfall>,
    faults: Mutex<VecDeque<Fault>>,
    late: Mutex<Vec<Request<Full<Bytes>>>>,
    /// Operations on tables whose next call is late.
    delayed: Mutex<HashSet<(String, String)>>,
    hold: Mutex<Hold>,
    gate: Semaphore,
    latency: Mutex<Duration>,
    under_way: Mutex<UnderWay>,
    accesses: Mutex<BTreeSet<Access>>,
    /// How many answers of each operation are lost yet.
    lost: Mutex<HashMap<String, usize>>,
    counted: Mutex<BTreeMap<Access, usize>>,
}

/// The transactions that [`Proxy::take_time`] makes last, by the items that they write.
#[derive(Debug, Default)]
struct UnderWay {
    items: HashSet<String>,
    arrived: usize,
    met: usize,
}

/// What [`Proxy::hold_clients`] asked for.
#[derive(Debug, Default)]
struct Hold {
    is_on: bool,
    passing: usize,
    held: usize,
}

/// What [`Proxy::leave_unprocessed`] asked for and is yet to be done.
#[derive(Debug, Default)]
struct Shortfall {
    calls: usize,
    keys: usize,
}

/// A measurement under way.
#[derive(Debug)]
struct Recording {
    quiet: Duration,
    started: Instant,
    last_event: Instant,
    calls: Vec<Call>,
    /// Calls of the round that is open; it is released when all of them are answered.
    waiting: usize,
    answered: usize,
    /// Number of the last round that was released.
    released: watch::Sender<usize>,
}

/// A call's place in a measurement.
struct Ticket {
    at: usize,
    round: usize,
    released: watch::Receiver<usize>,
}

impl Recording {
    fn new(quiet: Duration) -> Self {
        let now = Instant::now();
        Self {
            quiet,
            started: now,
            last_event: now,
            calls: Vec::new(),
            waiting: 0,
            answered: 0,
            released: watch::Sender::new(0),
        }
    }

    fn arrive(&mut self, operation: &str, request: &Value) -> Ticket {
        self.last_event = Instant::now();
        let round = *self.released.borrow() + 1;
        let arrived = self.started.elapsed();
        self.calls.push(Call {
            operation: operation.to_owned(),
            table: tables(request).join("+"),
            index: request["IndexName"].as_str().map(str::to_owned),
            keys: keys(request),
            status: 0,
            round,
            arrived,
            answered: arrived,
            released: arrived,
            read: 0.0,
            write: 0.0,
        });
        self.waiting += 1;
        Ticket { at: self.calls.len() - 1, round, released: self.released.subscribe() }
    }

    fn answer(&mut self, ticket: &Ticket, status: StatusCode, answer: &[u8]) {
        self.last_event = Instant::now();
        let elapsed = self.started.elapsed();
        let call = &mut self.calls[ticket.at];
        call.answered = elapsed;
        call.status = status.as_u16();
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        (call.read, call.write) = capacity(&call.operation, &answer["ConsumedCapacity"]);
        self.answered += 1;
    }

    /// When the open round can be released, unless something happens before.
    fn due(&self) -> Option<Instant> {
        (self.waiting > 0 && self.answered == self.waiting).then(|| self.last_event + self.quiet)
    }

    fn release(&mut self) {
        let round = *self.released.borrow() + 1;
        let elapsed = self.started.elapsed();
        for call in self.calls.iter_mut().filter(|call| call.round == round) {
            call.released = elapsed;
        }
        (self.waiting, self.answered) = (0, 0);
        self.released.send_replace(round);
    }
}

impl State {
    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        lock(&self.recording)
    }

    /// Releases one round after another for as long as it is polled.
    async fn release_rounds(&self) -> Infallible {
        loop {
            let due = self.recording().as_ref().and_then(Recording::due);
            let Some(due) = due else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {
                    if let Some(recording) = self.recording().as_mut()
                        && recording.due().is_some_and(|due| due <= Instant::now())
                    {
                        recording.release();
                    }
                }
            }
        }
    }

    async fn pass(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (mut parts, body) = request.into_parts();
        let mut body = body.collect().await.unwrap().to_bytes();
        let operation = operation(&parts);
        for access in accesses(&operation, &body) {
            *lock(&self.counted).entry(access.clone()).or_default() += 1;
            lock(&self.accesses).insert(access);
        }
        let known = READS.contains(&operation.as_str()) || WRITES.contains(&operation.as_str());
        let mut unprocessed = None;
        let mut ticket = None;
        if known && let Ok(mut request) = serde_json::from_slice::<Value>(&body) {
            ticket = self.recording().as_mut().map(|recording| recording.arrive(&operation, &request));
            self.changed.notify_one();
            if operation == "BatchGetItem" {
                unprocessed = self.hold_back(&mut request);
            }
            if ticket.is_some() {
                request["ReturnConsumedCapacity"] = "INDEXES".into();
            }
            if ticket.is_some() || unprocessed.is_some() {
                body = request.to_string().into();
                parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
        }

        if operation == "TransactWriteItems"
            && let Some(kept) = lock(&self.kept).as_mut()
        {
            kept.push(serde_json::from_slice(&body).unwrap());
        }
        let fault = (operation == "TransactWriteItems").then(|| lock(&self.faults).pop_front()).flatten();
        match fault {
            Some(Fault::Conflict) => return conflict(&body),
            Some(Fault::Throttled) => {
                let error = json!({ "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException" });
                return failure(StatusCode::BAD_REQUEST, &error);
            }
            _ => {}
        }
        if operation == "TransactWriteItems" && self.is_held(&body) {
            self.gate.acquire().await.unwrap().forget();
        }
        let latency = *lock(&self.latency);
        let mut items = Vec::new();
        if operation == "TransactWriteItems" && !latency.is_zero() {
            items = written(&body);
            {
                let mut under_way = lock(&self.under_way);
                under_way.arrived += 1;
                if items.iter().any(|item| under_way.items.contains(item)) {
                    under_way.met += 1;
                    return conflict(&body);
                }
                under_way.items.extend(items.iter().cloned());
            }
            tokio::time::sleep(latency).await;
        }
        let asked = body.clone();
        if fault == Some(Fault::WrittenThenConflict) {
            let mut request: Value = serde_json::from_slice(&body).unwrap();
            request.as_object_mut().unwrap().remove("ClientRequestToken");
            body = request.to_string().into();
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", self.dynamodb).parse::<Uri>().unwrap();
        let next = |left: &mut usize| std::mem::replace(left, left.saturating_sub(1)) > 0;
        let is_delayed = |table: &&str| lock(&self.delayed).remove(&(operation.clone(), (*table).to_owned()));
        let asked_of: Value = serde_json::from_slice(&body).unwrap_or_default();
        if fault == Some(Fault::Late) || tables(&asked_of).iter().any(is_delayed) {
            lock(&self.late).push(Request::from_parts(parts, Full::new(body)));
            return lost();
        }
        // Of an engine that ended while something in the background still called.
        let Ok(answer) = self.client.request(Request::from_parts(parts, Full::new(body))).await else {
            return bad_gateway();
        };
        let (mut parts, body) = answer.into_parts();
        let Ok(body) = body.collect().await else { return bad_gateway() };
        let mut body = body.to_bytes();
        lock(&self.under_way).items.retain(|item| !items.contains(item));
        if lock(&self.lost).get_mut(&operation).is_some_and(next) {
            return lost();
        }
        match fault {
            Some(Fault::WrittenThenConflict) => return conflict(&asked),
            Some(Fault::WrittenThenServerError) => return lost(),
            Some(Fault::Throttled | Fault::Conflict | Fault::Late) | None => {}
        }
        if let (Some(unprocessed), StatusCode::OK) = (unprocessed, parts.status) {
            let mut answer: Value = serde_json::from_slice(&body).unwrap();
            answer["UnprocessedKeys"] = unprocessed;
            body = answer.to_string().into();
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            // It is of the body as it was; a client takes an answer without it.
            parts.headers.remove("x-amz-crc32");
        }

        if let Some(mut ticket) = ticket {
            if let Some(recording) = self.recording().as_mut() {
                recording.answer(&ticket, parts.status, &body);
            }
            self.changed.notify_one();
            // An error: the measurement has ended, which releases the call as well.
            let _ = ticket.released.wait_for(|released| *released >= ticket.round).await;
        }
        Response::from_parts(parts, Full::new(body))
    }

    fn is_held(&self, transaction: &[u8]) -> bool {
        let mut hold = lock(&self.hold);
        let writes_clients = || {
            let request = serde_json::from_slice::<Value>(transaction).unwrap_or_default();
            tables(&request).contains(&"ClientsTable")
        };
        if !hold.is_on || !writes_clients() {
            return false;
        }
        if hold.passing > 0 {
            hold.passing -= 1;
            return false;
        }
        hold.held += 1;
        true
    }

    /// Takes the keys that are to be left unprocessed out of a batch, and gives them as an answer
    /// has them.
    fn hold_back(&self, request: &mut Value) -> Option<Value> {
        let mut shortfall = lock(&self.shortfall);
        if shortfall.calls == 0 {
            return None;
        }
        shortfall.calls -= 1;
        let mut unprocessed = json!({});
        for (table, asked) in request["RequestItems"].as_object_mut()? {
            let mut rest = asked.clone();
            let keys = asked["Keys"].as_array_mut()?;
            let kept = keys.len().saturating_sub(shortfall.keys).max(1);
            let held_back = keys.split_off(kept);
            if !held_back.is_empty() {
                rest["Keys"] = held_back.into();
                unprocessed[table] = rest;
            }
        }
        Some(unprocessed)
    }
}

/// DynamoDB's own 500.
fn lost() -> Response<Full<Bytes>> {
    let error = json!({ "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError" });
    failure(StatusCode::INTERNAL_SERVER_ERROR, &error)
}

/// The answer to a transaction whose updates met those of another one.
pub(crate) fn conflict(request: &[u8]) -> Response<Full<Bytes>> {
    let request: Value = serde_json::from_slice(request).unwrap();
    let entries = request["TransactItems"].as_array().unwrap().iter();
    let reason = |entry: &Value| {
        let code = if entry.get("Update").is_some() { "TransactionConflict" } else { "None" };
        json!({ "Code": code })
    };
    let reasons: Value = entries.map(reason).collect();
    let error = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    });
    failure(StatusCode::BAD_REQUEST, &error)
}

/// What a call needs to be allowed; a transaction needs what its parts need.
fn accesses(operation: &str, request: &[u8]) -> Vec<Access> {
    let request = serde_json::from_slice::<Value>(request).unwrap_or_default();
    let access = |action: &str, table: &str, index: Option<&str>, call: &Value| Access {
        action: format!("dynamodb:{action}"),
        resource: match (index, table) {
            (Some(index), _) => format!("{table}/index/{index}"),
            (None, _) if table == "ExpiringTable" || (table == "BucketsTable" && action == "UpdateItem") => {
                let key = call["Key"]["pk"]["S"].as_str().or(call["Item"]["pk"]["S"].as_str());
                format!("{table} {}", key.and_then(|key| key.get(..2)).unwrap_or("any"))
            }
            (None, _) => table.to_owned(),
        },
    };
    match operation {
        "TransactWriteItems" | "TransactGetItems" => {
            let entries =
                request["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let parts = entries.flatten().map(|(kind, part)| {
                access(&format!("{kind}Item"), part["TableName"].as_str().unwrap_or_default(), None, part)
            });
            parts.collect()
        }
        _ => tables(&request)
            .into_iter()
            .map(|table| access(operation, table, request["IndexName"].as_str(), &request))
            .collect(),
    }
}

/// The items that a transaction writes.
fn written(transaction: &[u8]) -> Vec<String> {
    let request = serde_json::from_slice::<Value>(transaction).unwrap_or_default();
    let entries = request["TransactItems"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let actions = entries.flat_map(|entry| entry.values());
    actions
        .map(|action| {
            let key = if action["Key"].is_object() { &action["Key"] } else { &action["Item"] };
            let table = action["TableName"].as_str().unwrap_or_default();
            let names = match table {
                "ClientsTable" | "ExpiringTable" => ["pk", ""],
                "BucketsTable" => ["pk", "sk"],
                "RolesTable" => ["pk", "id"],
                _ => ["id", ""],
            };
            names.iter().fold(table.to_owned(), |text, name| format!("{text} {}", key[*name]))
        })
        .collect()
}

pub(crate) fn failure(status: StatusCode, error: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `Query`, from `DynamoDB_20120810.Query`.
pub(crate) fn operation(parts: &Parts) -> String {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    target.and_then(|target| target.split_once('.')).map_or("", |(_, operation)| operation).to_owned()
}

fn tables(request: &Value) -> Vec<&str> {
    let mut tables: Vec<_> = request["TableName"].as_str().into_iter().collect();
    tables.extend(request["RequestItems"].as_object().into_iter().flatten().map(|(table, _)| table.as_str()));
    let entries = request["TransactItems"].as_array().into_iter().flatten();
    let actions = entries.filter_map(Value::as_object).flat_map(|entry| entry.values());
    for table in actions.filter_map(|action| action["TableName"].as_str()) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

fn keys(request: &Value) -> usize {
    if let Some(tables) = request["RequestItems"].as_object() {
        let count = |asked: &Value| asked.as_array().or(asked["Keys"].as_array()).map_or(0, Vec::len);
        return tables.values().map(count).sum();
    }
    request["TransactItems"].as_array().map_or(1, Vec::len)
}

/// Read and write units of `ConsumedCapacity`, which is an object or, of calls that can name
/// several tables, an array.
fn capacity(operation: &str, consumed: &Value) -> (f64, f64) {
    let tables = match consumed {
        Value::Array(tables) => tables.as_slice(),
        table => std::slice::from_ref(table),
    };
    let units = |table: &Value, name: &str| table[name].as_f64();
    tables.iter().fold((0.0, 0.0), |(read, write), table| {
        // Where an answer splits the units it says so; else they are what the operation does.
        let split = (units(table, "ReadCapacityUnits"), units(table, "WriteCapacityUnits"));
        let all = units(table, "CapacityUnits").unwrap_or(0.0);
        match split {
            (None, None) if READS.contains(&operation) => (read + all, write),
            (None, None) => (read, write + all),
            (reads, writes) => (read + reads.unwrap_or(0.0), write + writes.unwrap_or(0.0)),
        }
    })
}
