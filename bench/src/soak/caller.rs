//! A caller's connection to the stack.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The gateway answers within 30 seconds, whatever happens; this is said to be none at all.
const HANGS: Duration = Duration::from_secs(120);

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Lost {
    /// No connection could be made.
    Refused(String),
    /// The connection ended, or nothing came.
    Broken(String),
}

/// One connection, made anew where the stack closed it.
#[derive(Debug)]
pub(crate) struct Caller {
    address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Caller {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), sender: None }
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Lost> {
        let begun = Instant::now();
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let answered = async {
            sender.ready().await?;
            let (parts, body) = sender.send_request(request).await.map(Response::into_parts)?;
            Ok::<_, hyper::Error>((parts, body.collect().await?.to_bytes()))
        };
        let (parts, body) = match tokio::time::timeout(HANGS, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Lost::Broken(format!("the connection ended: {error}"))),
            Err(_) => return Err(Lost::Broken(format!("no answer in {} s", HANGS.as_secs()))),
        };
        if parts.headers.get(CONNECTION).is_none_or(|value| value != "close") {
            self.sender = Some(sender);
        }
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body, took: begun.elapsed() })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Lost> {
        let connected = tokio::time::timeout(HANGS, TcpStream::connect(&self.address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Lost::Refused(error.to_string())),
            Err(_) => return Err(Lost::Refused("no connection in time".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let made = handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| Lost::Broken(error.to_string()))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
