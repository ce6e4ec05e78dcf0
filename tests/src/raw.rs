//! Requests written byte by byte, which no client library would send.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longer than any answer takes, on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One answer on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// Status code.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    /// The socket itself.
    pub stream: TcpStream,
}

impl Raw {
    /// Connects to a stack's gateway by its URL.
    pub async fn connect(base_url: &str) -> Self {
        let stream = TcpStream::connect(base_url.strip_prefix("http://").unwrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// As [`Raw::connect`], with a small buffer for what comes.
    pub async fn connect_narrow(base_url: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address = base_url.strip_prefix("http://").unwrap().parse().unwrap();
        Self { stream: socket.connect(address).await.unwrap() }
    }

    /// Sends bytes; whether the other side still took them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        tokio::time::timeout(LIMIT, self.stream.write_all(bytes)).await.expect("it takes nothing").is_ok()
    }

    /// Has no more to send.
    pub async fn finish(&mut self) {
        // An error: the other side closed the connection.
        let _ = self.stream.shutdown().await;
    }

    /// What comes until the other side closes the connection.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well; what came before it is kept.
        let read = self.stream.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(LIMIT, read).await.expect("the connection stays open");
        bytes
    }
}

/// Sends bytes, and nothing more, and reads the answers.
pub async fn exchange(base_url: &str, bytes: &[u8]) -> Vec<RawAnswer> {
    let mut raw = Raw::connect(base_url).await;
    raw.send(bytes).await;
    raw.finish().await;
    answers(&raw.rest().await)
}

/// Takes answers apart; one that is cut off counts as none.
pub fn answers(mut bytes: &[u8]) -> Vec<RawAnswer> {
    let mut found = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no answer: {head}"));
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        let length: usize = length.unwrap_or(0);
        bytes = &bytes[end + 4..];
        if status == 100 {
            continue;
        }
        if bytes.len() < length {
            return found;
        }
        let (body, rest) = bytes.split_at(length);
        found.push(RawAnswer { status, head, body: body.to_vec() });
        bytes = rest;
    }
    found
}
