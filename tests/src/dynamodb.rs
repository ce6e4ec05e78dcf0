//! The DynamoDB of a test: an embedded engine of its own, or, where `WBCS_TEST_DYNAMODB` names another
//! DynamoDB by its URL, a database of its own in that one (`tests/dynamodb/run.py`).

use crate::server::Server;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local::engine::Engine;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

/// The URL of an emulator that keeps a database for each access key or region; it must not check
/// signatures.
const VARIABLE: &str = "WBCS_TEST_DYNAMODB";

/// A database that no other test sees.
#[derive(Debug)]
pub struct Dynamodb {
    /// Where it answers.
    pub address: SocketAddr,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Embedded(Box<Engine>),
    Other(Relay),
}

impl Dynamodb {
    /// Starts an embedded engine in memory, or reaches the other DynamoDB.
    pub async fn start() -> Self {
        match Relay::start().await {
            Some(relay) => Self { address: relay.server.address, kind: Kind::Other(relay) },
            None => {
                let engine = Engine::start((Ipv4Addr::LOCALHOST, 0).into(), None).await.unwrap();
                Self { address: engine.address, kind: Kind::Embedded(Box::new(engine)) }
            }
        }
    }

    /// The embedded engine.
    ///
    /// # Panics
    /// It is another DynamoDB: a test that needs the engine itself asks for its [`Difference`] first.
    pub fn engine(&self) -> &Engine {
        match &self.kind {
            Kind::Embedded(engine) => engine,
            Kind::Other(_) => panic!("the DynamoDB of this run is none that is embedded"),
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        match self.kind {
            Kind::Embedded(engine) => engine.stop().await,
            Kind::Other(relay) => drop(relay),
        }
    }
}

/// Passes calls on to the other DynamoDB as those of an account and region of their own, whatever
/// the caller's are.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) server: Server,
}

impl Relay {
    /// `None` where tests use embedded engines.
    pub(crate) async fn start() -> Option<Self> {
        let url = other()?;
        let target = Target {
            url: url.trim_end_matches('/').to_owned(),
            // Its keys are random.
            name: format!("test{:016x}", RandomState::new().build_hasher().finish()),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let server = Server::start(move |request| {
            let target = target.clone();
            async move { Ok::<_, Infallible>(target.pass(request).await.unwrap_or_else(bad_gateway)) }
        });
        Some(Self { server: server.await })
    }
}

#[derive(Clone, Debug)]
struct Target {
    url: String,
    /// Of the database: the access key id and the region.
    name: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Target {
    async fn pass(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("{}{path}", self.url).parse()?;
        let signature = parts.headers.get(AUTHORIZATION).ok_or("an unsigned call")?;
        let moved = moved(signature.to_str()?, &self.name).ok_or("a signature of another kind")?;
        parts.headers.insert(AUTHORIZATION, HeaderValue::from_str(&moved)?);
        let (parts, body) =
            self.client.request(Request::from_parts(parts, Full::new(body))).await?.into_parts();
        Ok(Response::from_parts(parts, Full::new(body.collect().await?.to_bytes())))
    }
}

/// A signature's header with another access key id and region:
/// `AWS4-HMAC-SHA256 Credential=KEY/20260301/REGION/dynamodb/aws4_request, …`
fn moved(signature: &str, name: &str) -> Option<String> {
    let (before, credential) = signature.split_once("Credential=")?;
    let mut parts = credential.splitn(4, '/');
    let (_key, date, _region, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{before}Credential={name}/{date}/{name}/{rest}"))
}

fn bad_gateway(problem: Failure) -> Response<Full<Bytes>> {
    let mut failed = Response::new(Full::from(problem.to_string()));
    *failed.status_mut() = StatusCode::BAD_GATEWAY;
    failed
}

fn other() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

/// What another DynamoDB does otherwise than the embedded one: each is the reason why tests are
/// skipped there, and is told for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// moto gives 0.5 units for a read and 1 for a write whatever they are of, and no more than
    /// counts keys in a batch. The tests that look at units also load the embedded engine past its
    /// API, with 120,000 leads.
    Capacity,
    /// moto does a transaction again that it did under the same token.
    Tokens,
}

impl Difference {
    const fn reason(self) -> &'static str {
        match self {
            Self::Capacity => "emulators invent the capacity that a call consumes",
            Self::Tokens => "emulators do not remember the tokens of transactions",
        }
    }

    /// Whether this run is on another DynamoDB, so that the test that asks must not go on; says so on
    /// standard error.
    #[must_use]
    pub fn skips(self) -> bool {
        let is_other = other().is_some();
        if is_other {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("?");
            // Past the test runner, which shows what failed tests print, and no others.
            let _ = writeln!(std::io::stderr(), "skipped: {test}: {}", self.reason());
        }
        is_other
    }
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn a_call_is_signed_as_one_of_another_account_and_region() {
        let rest = "dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab/cd";
        let call = format!("AWS4-HMAC-SHA256 Credential=local/20260301/eu-west-1/{rest}");
        let expected = format!("AWS4-HMAC-SHA256 Credential=test1/20260301/test1/{rest}");
        assert_eq!(moved(&call, "test1"), Some(expected));
        assert_eq!(moved("Basic bG9jYWw6bG9jYWw=", "test1"), None);
        assert_eq!(moved("AWS4-HMAC-SHA256 Credential=local", "test1"), None);
    }
}
