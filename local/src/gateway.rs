//! The HTTP gateway: turns a request into the event that API Gateway (HTTP API, payload format
//! 2.0) would send, and the function's answer into an HTTP response.

use crate::admission::{Admission, Exhausted, Held};
use crate::functions::Deployed;
use crate::patience::Patient;
use crate::template::Route;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

/// API Gateway's own limit.
const BODY_MAX: usize = 10 * 1024 * 1024;
/// API Gateway's own limit, of the request line and the headers' values.
const HEAD_MAX: usize = 10_240;
/// What is read of a head before it is taken apart: what [`HEAD_MAX`] does not count is in it.
const HEAD_BUFFER: usize = 4 * HEAD_MAX;
/// API Gateway's own limit.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// What a connection too many is given for its request, which is read so that its answer arrives.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// A body of more is not read for that.
const REFUSAL_BODY_MAX: usize = 64 * 1024;

/// What is read, and dropped, of a body that is too large.
const DRAINED_MAX: usize = 2 * BODY_MAX;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How long the gateway waits for a client. A byte now and then does not make it wait longer for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request's head, and on a connection that is idle.
    pub head: Duration,
    /// For its whole body.
    pub body: Duration,
    /// For more of a body that is too large: who sends nothing for this long has no more to send, or waits for the
    /// answer.
    pub rest: Duration,
    /// For the client to take any more of what is sent to it.
    pub taking: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(60), body: seconds(30), rest: seconds(1), taking: seconds(30) }
    }
}

/// Routes and the functions behind them.
#[derive(Debug)]
pub struct Gateway {
    routes: Vec<(Route, Deployed)>,
    admission: Admission,
    timeouts: Timeouts,
}

impl Gateway {
    /// A gateway with these routes, which takes on what is admitted.
    pub(crate) fn new(routes: Vec<(Route, Deployed)>, admission: Admission, timeouts: Timeouts) -> Self {
        Self { routes, admission, timeouts }
    }

    /// Serves connections until told to stop; then those under way are finished.
    pub async fn serve(self, listener: TcpListener, mut stop: oneshot::Receiver<()>) {
        let timeouts = self.timeouts;
        let gateway = Arc::new(self);
        let connections = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = &mut stop => break,
            };
            let Ok((socket, peer)) = accepted else {
                // Out of descriptors, most likely: give those in use a moment to close.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let _ = socket.set_nodelay(true);
            let place = tokio::select! {
                place = gateway.admission.connection() => place,
                _ = &mut stop => break,
            };
            let is_admitted = place.is_admitted;
            let gateway = gateway.clone();
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                async move {
                    Ok::<_, Infallible>(match is_admitted {
                        true => gateway.answer(request, peer).await,
                        false => turn_away(request).await,
                    })
                }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(if is_admitted { timeouts.head } else { REFUSAL_TIMEOUT })
                .max_header_size(HEAD_BUFFER)
                // Who has no more to ask may say so before the answer comes.
                .half_close(true)
                .serve_connection(TokioIo::new(Patient::new(socket, timeouts.taking)), service);
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                let _ = connection.await;
                drop(place);
            });
        }
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, connections.shutdown()).await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let (mut parts, mut body) = request.into_parts();
        let mut held = self.admission.held();
        let admitted = admit(&mut parts, &body, peer);
        // Who asks before sending hears the answer without having sent.
        let is_sent = admitted.is_ok() || !parts.headers.contains_key(EXPECT);
        let read = match admitted {
            Ok(()) => self.read(&mut body, &mut held).await,
            Err(status) => Err(status),
        };
        if is_sent && read == Err(StatusCode::PAYLOAD_TOO_LARGE) {
            let _ = tokio::time::timeout(self.timeouts.body, drain(&mut body, self.timeouts.rest)).await;
        }
        let is_read = read.is_ok();
        let mut answer = match read {
            Ok(body) => self.pass_on(&parts, &body, held, peer, &request_id).await,
            Err(StatusCode::SERVICE_UNAVAILABLE) => overload(&request_id),
            Err(status) => refusal(status, message(status), &request_id),
        };
        // What was not read, or was framed by chunks where a length may have been given as well, has no end that
        // everybody would agree on: nothing behind it is taken for a request.
        if !is_read || parts.headers.contains_key(TRANSFER_ENCODING) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// Reads a body whole.
    async fn read(&self, body: &mut Incoming, held: &mut Held) -> Result<Bytes, StatusCode> {
        let body = Limited::new(held.metered(body), BODY_MAX);
        match tokio::time::timeout(self.timeouts.body, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<Exhausted>() => Err(StatusCode::SERVICE_UNAVAILABLE),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
            Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
        }
    }

    async fn pass_on(
        &self,
        parts: &Parts,
        body: &Bytes,
        held: Held,
        peer: SocketAddr,
        request_id: &str,
    ) -> Response<Full<Bytes>> {
        let path = parts.uri.path();
        let Some((route, deployed, parameters)) = self.find(parts.method.as_str(), path) else {
            return refusal(StatusCode::NOT_FOUND, "Not Found", request_id);
        };
        if let Some(seconds) = self.admission.throttled(route) {
            let refusal = refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", request_id);
            return retry_after(refusal, seconds);
        }
        let Some(place) = self.admission.invocation(held) else { return overload(request_id) };
        let event = event(route, &parameters, parts, path, body, peer, request_id);
        let invocation = place.run(deployed.clone().invoke(event.to_string()));
        match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
            Ok(Ok(Ok(answer))) => response(&answer).unwrap_or_else(|_| {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", request_id)
            }),
            Ok(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", request_id),
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", request_id),
        }
    }

    fn find(&self, method: &str, path: &str) -> Option<(&Route, &Deployed, Map<String, Value>)> {
        let matching = self.routes.iter().filter(|(route, _)| route.method == method);
        matching
            .filter_map(|(route, deployed)| Some((route, deployed, parameters(&route.path, path)?)))
            // As in API Gateway, the route with the most literal parts wins, and a greedy one loses.
            .min_by_key(|(route, _, parameters)| (route.path.ends_with("+}"), parameters.len()))
    }
}

/// Refuses a request that API Gateway would not let in, and gives it the headers that API Gateway writes.
fn admit(parts: &mut Parts, body: &Incoming, peer: SocketAddr) -> Result<(), StatusCode> {
    // What follows is for a tunnel, and no request.
    if parts.method == Method::CONNECT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let line = parts.method.as_str().len() + parts.uri.to_string().len() + " HTTP/1.1 ".len();
    if line + parts.headers.values().map(HeaderValue::len).sum::<usize>() > HEAD_MAX {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, other) = (hosts.next(), hosts.next());
    let host = match (host, other) {
        (Some(host), None) => host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?,
        (None, _) if parts.version == Version::HTTP_10 => "localhost",
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    // The runtime of the functions makes a URL of it.
    let url = Url::parse(&format!("http://{host}/")).map_err(|_| StatusCode::BAD_REQUEST)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let named = parts.uri.authority();
    if !host.bytes().all(is_plain) || named.is_some_and(|named| named.as_str() != host) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let port = url.port_or_known_default().unwrap_or_default();
    // What the client wrote there comes first, and proves nothing, as with API Gateway.
    let mut addresses: Vec<u8> = Vec::new();
    for given in parts.headers.get_all(X_FORWARDED_FOR) {
        addresses.extend_from_slice(given.as_bytes());
        addresses.extend_from_slice(b", ");
    }
    addresses.extend_from_slice(peer.ip().to_string().as_bytes());
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).map_err(|_| StatusCode::BAD_REQUEST);
    parts.headers.insert(X_FORWARDED_FOR, value(&addresses)?);
    parts.headers.insert(X_FORWARDED_PORT, value(port.to_string().as_bytes())?);
    parts.headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    Ok(())
}

/// Reads on in a body that is too large, so that a client that writes first and reads then gets the answer: a connection
/// that is closed under its hands would take that along. Not for long, and not for what never comes.
async fn drain(body: &mut Incoming, idle: Duration) {
    let mut left = DRAINED_MAX;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(idle, body.frame()).await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// The decoded parameters, where the path is one of the route's.
fn parameters(route: &str, path: &str) -> Option<Map<String, Value>> {
    let (mut names, mut parts) = (route.split('/'), path.split('/'));
    let mut found = Map::new();
    loop {
        match (names.next(), parts.next()) {
            (None, None) => return Some(found),
            (Some(name), Some(part)) => {
                match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    // It takes nothing, too: API Gateway has no route that ends in a slash.
                    Some(name) if name.ends_with('+') => {
                        let rest: Vec<_> = std::iter::once(part).chain(parts).collect();
                        let decoded = percent_decode_str(&rest.join("/")).decode_utf8_lossy().into_owned();
                        found.insert(name.trim_end_matches('+').to_owned(), Value::String(decoded));
                        return Some(found);
                    }
                    Some(_) if part.is_empty() => return None,
                    Some(name) => {
                        let decoded = percent_decode_str(part).decode_utf8_lossy().into_owned();
                        found.insert(name.to_owned(), Value::String(decoded));
                    }
                    None if name == part => {}
                    None => return None,
                }
            }
            _ => return None,
        }
    }
}

/// The event, in the form that AWS documents for payload format 2.0.
fn event(
    route: &Route,
    parameters: &Map<String, Value>,
    parts: &Parts,
    path: &str,
    body: &Bytes,
    peer: SocketAddr,
    request_id: &str,
) -> Value {
    let host = header(&parts.headers, "host").unwrap_or_default();
    let route_key = format!("{} {}", route.method, route.path);
    let now = shared::model::Timestamp::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers(&parts.headers),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split('.').next(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": header(&parts.headers, "user-agent").unwrap_or_default(),
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": now.to_string(),
            "timeEpoch": now.millis(),
        },
        "pathParameters": parameters,
        "isBase64Encoded": false,
    });
    // Payload format 2.0 has cookies apart from the headers.
    let cookies: Vec<&str> = parts.headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).collect();
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies.iter().flat_map(|text| text.split("; ")).collect::<Vec<_>>());
    }
    if !body.is_empty() {
        // API Gateway encodes what is not declared as text; what is not UTF-8 can't pass otherwise.
        match std::str::from_utf8(body) {
            Ok(text) if is_text(&parts.headers) => event["body"] = json!(text),
            _ => {
                event["body"] = json!(STANDARD.encode(body));
                event["isBase64Encoded"] = json!(true);
            }
        }
    }
    event
}

fn is_text(headers: &HeaderMap) -> bool {
    header(headers, CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.starts_with("text/") || kind.contains("json") || kind.contains("xml"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Repeated headers are joined with commas; bytes that are no text are read as Latin-1.
fn headers(given: &HeaderMap) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in given.keys().filter(|name| **name != COOKIE) {
        let values = given.get_all(name).iter();
        let texts: Vec<String> =
            values.map(|value| value.as_bytes().iter().map(|byte| char::from(*byte)).collect()).collect();
        joined.insert(name.as_str().to_owned(), Value::String(texts.join(",")));
    }
    joined
}

fn response(answer: &Value) -> Result<Response<Full<Bytes>>> {
    let status =
        answer["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).context("no status")?;
    let body = answer["body"].as_str().unwrap_or_default();
    let body =
        if answer["isBase64Encoded"] == true { STANDARD.decode(body)? } else { body.as_bytes().to_vec() };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status)?;
    let single = answer["headers"].as_object().into_iter().flatten();
    for (name, value) in single {
        let value = HeaderValue::from_str(value.as_str().unwrap_or_default())?;
        response.headers_mut().insert(HeaderName::try_from(name)?, value);
    }
    for cookie in answer["cookies"].as_array().into_iter().flatten() {
        let value = HeaderValue::from_str(cookie.as_str().unwrap_or_default())?;
        response.headers_mut().append("set-cookie", value);
    }
    Ok(response)
}

/// What API Gateway says of a request that it does not let in.
fn message(status: StatusCode) -> &'static str {
    match status {
        // By its older name.
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        other => other.canonical_reason().unwrap_or_default(),
    }
}

/// An answer of the gateway itself, which no function saw.
fn refusal(status: StatusCode, message: &str, request_id: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json!({ "message": message }).to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(shared::http::X_REQUEST_ID, id);
    }
    response
}

/// The answer where too much is under way: nothing was begun.
fn overload(request_id: &str) -> Response<Full<Bytes>> {
    retry_after(refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", request_id), 1)
}

/// API Gateway leaves it out; the guide's clients heed it where it is there.
fn retry_after(mut response: Response<Full<Bytes>>, seconds: u64) -> Response<Full<Bytes>> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Answers on a connection too many, which is closed then.
async fn turn_away(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), REFUSAL_BODY_MAX).collect();
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, body).await;
    let mut response = overload(&uuid::Uuid::new_v4().to_string());
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_part_by_part_and_parameters_are_decoded() {
        let route = "/buckets/{bucketId}/{affiliateID}/leads";
        let found = parameters(route, "/buckets/b%2F1/a%20b/leads").unwrap();
        assert_eq!(Value::Object(found), json!({ "bucketId": "b/1", "affiliateID": "a b" }));
        for path in ["/buckets/1/2", "/buckets/1/2/leads/", "/buckets//2/leads", "/bucket/1/2/leads", "/"] {
            assert_eq!(parameters(route, path), None, "{path}");
        }
        for (path, link) in [
            ("/autologin/", ""),
            ("/autologin/a", "a"),
            ("/autologin/a/", "a/"),
            ("/autologin/a/b%20c//", "a/b c//"),
        ] {
            let found = parameters("/autologin/{link+}", path).unwrap();
            assert_eq!(Value::Object(found), json!({ "link": link }));
        }
        assert_eq!(parameters("/autologin/{link+}", "/autologin"), None);
    }

    #[test]
    fn repeated_and_unreadable_headers_pass_as_one_text() {
        let mut given = HeaderMap::new();
        given.append("authorization", HeaderValue::from_static("a"));
        given.append("authorization", HeaderValue::from_static("b"));
        given.insert("cookie", HeaderValue::from_static("a=1"));
        given.insert("x-odd", HeaderValue::from_bytes(b"\xe9").unwrap());
        assert_eq!(Value::Object(headers(&given)), json!({ "authorization": "a,b", "x-odd": "é" }));
    }
}
