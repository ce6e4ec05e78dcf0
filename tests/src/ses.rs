//! An SES (API v2) that answers as it is told, for what a real one can't be made to do: faults at the
//! wire. The real protocol is tried against an emulator by `tests/aws/registration_email.py`.

use crate::server::Server;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A running SES.
#[derive(Debug)]
pub struct Ses {
    state: Arc<State>,
    server: Server,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The email is taken.
    Taken,
    /// It is taken, and the connection breaks before the answer.
    TakenAnswerLost,
    /// It is taken, and no answer comes.
    TakenUnanswered,
    /// The connection breaks.
    Broken,
    /// An error: status, type and text.
    Error(u16, &'static str, &'static str),
}

/// An email that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Where it goes.
    pub to: String,
    /// The message as it came.
    pub message: Vec<u8>,
}

type Judge = Box<dyn FnMut(&str) -> Verdict + Send>;

struct State {
    judge: Mutex<Judge>,
    taken: Mutex<Vec<Taken>>,
    calls: Mutex<usize>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Ses {
    /// Starts one on a free port; it takes every email.
    pub async fn start() -> Self {
        let state = Arc::new(State {
            judge: Mutex::new(Box::new(|_| Verdict::Taken)),
            taken: Mutex::default(),
            calls: Mutex::default(),
        });
        let serving = state.clone();
        let server = Server::start(move |request| serving.clone().answer(request)).await;
        Self { state, server }
    }

    /// Its address, as `AWS_ENDPOINT_URL_SESV2` has it.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Decides from now on, by the address that an email goes to.
    pub fn judge(&self, judge: impl FnMut(&str) -> Verdict + Send + 'static) {
        *lock(&self.state.judge) = Box::new(judge);
    }

    /// The emails that it took, in the order of their arrival.
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.state.taken).clone()
    }

    /// How often it took an email to this address.
    pub fn taken_for(&self, address: &str) -> usize {
        lock(&self.state.taken).iter().filter(|taken| taken.to == address).count()
    }

    /// How many calls it had.
    pub fn calls(&self) -> usize {
        *lock(&self.state.calls)
    }
}

impl State {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let is_send = request.method() == "POST" && request.uri().path() == "/v2/email/outbound-emails";
        assert!(is_send, "{request:?}");
        assert!(request.headers()["authorization"].to_str().unwrap().contains("/ses/aws4_request"));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let to = asked["Destination"]["ToAddresses"][0].as_str().unwrap().to_owned();
        *lock(&self.calls) += 1;
        let verdict = lock(&self.judge)(&to);
        if matches!(verdict, Verdict::Taken | Verdict::TakenAnswerLost | Verdict::TakenUnanswered) {
            let message = STANDARD.decode(asked["Content"]["Raw"]["Data"].as_str().unwrap()).unwrap();
            lock(&self.taken).push(Taken { to, message });
        }
        match verdict {
            Verdict::Taken => Ok(Response::new(Full::new(json!({ "MessageId": "1" }).to_string().into()))),
            Verdict::TakenUnanswered => std::future::pending().await,
            Verdict::TakenAnswerLost | Verdict::Broken => {
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
            }
            Verdict::Error(status, kind, text) => {
                let answer = Response::builder().status(status).header("x-amzn-errortype", kind);
                Ok(answer.body(Full::new(json!({ "message": text }).to_string().into())).unwrap())
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
