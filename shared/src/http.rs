//! The HTTP edge: what a handler reads from an API Gateway event, and the answers it gives
//! (CONTRACT.md, section 0).

use crate::activity::Activity;
use crate::auth::{Authentication, Authenticator, Caller, Presented};
use crate::error::{ApiError, Refusal};
use crate::model::{BucketId, TokenId};
use crate::page::Page;
use crate::store::StoreError;
use crate::telemetry::{self, RequestLine};
use lambda_http::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Body, Request, RequestExt};
use serde::Serialize;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// An answer as the Lambda runtime takes it.
pub type Response = lambda_http::Response<Body>;

/// API Gateway's request id, on every answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The two published error envelopes, and that of pages for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `{"message", "statusCode"}`: the leads and admin endpoints.
    Platform,
    /// `{"message", "providerStatus"}`: the Traders Room endpoints.
    TradersRoom,
    /// An HTML page: what a person follows a link to.
    Page,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(rename = "statusCode", skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(rename = "providerStatus", skip_serializing_if = "Option::is_none")]
    provider_status: Option<u16>,
}

impl Envelope {
    /// The message of a 401, the same for every reason.
    fn unauthorized(self) -> &'static str {
        match self {
            Self::Platform => "Access with the provided credentials is incorrect. CODE: X-0005",
            Self::TradersRoom | Self::Page => "Invalid secret key",
        }
    }

    /// An error as an answer.
    fn answer(self, error: &ApiError) -> Answer {
        let (status, body) = self.render(error);
        match self {
            Self::Platform | Self::TradersRoom => Answer::json(status, body),
            Self::Page => Page::new("Something went wrong")
                .paragraph(&body)
                .paragraph("Please try again in a moment.")
                .answer(status),
        }
    }

    /// Logs an outcome, and builds the response.
    fn conclude(self, outcome: Result<Answer, ApiError>, line: RequestLine<'_>) -> Response {
        let (answer, reason) = match outcome {
            Ok(answer) => (answer, None),
            Err(error) => {
                let reason = match &error {
                    ApiError::Unauthorized(reason) => Some(reason.as_str().to_owned()),
                    ApiError::Internal(cause) => Some(cause.to_string()),
                    _ => None,
                };
                (self.answer(&error), reason)
            }
        };
        telemetry::request(&RequestLine { status: answer.status, reason: reason.as_deref(), ..line });
        let empty = answer.body.is_empty();
        let mut response = Response::new(if empty { Body::Empty } else { answer.body });
        *response.status_mut() = lambda_http::http::StatusCode::from_u16(answer.status).unwrap_or_default();
        let headers = response.headers_mut();
        if !empty {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        }
        if let Ok(id) = HeaderValue::from_str(line.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.extend(answer.headers);
        response
    }

    /// An error's status and body; of a page, its message.
    pub fn render(self, error: &ApiError) -> (u16, String) {
        let (status, message): (u16, &str) = match error {
            ApiError::Unauthorized(_) => (401, self.unauthorized()),
            ApiError::NotSignedIn => (401, "Not signed in"),
            ApiError::BadRequest(message) => (400, message),
            ApiError::NotFound(message) => (404, message),
            ApiError::Conflict(message) => (409, message),
            ApiError::PayloadTooLarge => (413, "Request body is too large"),
            ApiError::UnsupportedMediaType => (415, "Content-Type must be application/json"),
            ApiError::Internal(_) => (500, "Internal server error"),
        };
        if self == Self::Page {
            return (status, message.to_owned());
        }
        let body = ErrorBody {
            message,
            status_code: (self == Self::Platform).then_some(status),
            provider_status: (self == Self::TradersRoom).then_some(status),
        };
        (status, serde_json::to_string(&body).unwrap_or_default())
    }
}

/// Where a request carries its identification token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenHeader {
    /// `Authorization: <token>`, without `Bearer`.
    Authorization,
    /// `x-api-key: <token>`.
    ApiKey,
}

impl TokenHeader {
    /// The header's value; `None` where it is missing, repeated or not text.
    pub fn read(self, request: &Request) -> Option<&str> {
        let name = match self {
            Self::Authorization => AUTHORIZATION,
            Self::ApiKey => X_API_KEY,
        };
        let mut values = request.headers().get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }
}

/// The caller's address as API Gateway saw it; never read from a header.
pub fn source_ip(request: &Request) -> Option<IpAddr> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref()?.parse().ok(),
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

/// The route that led here, as the template writes it: `GET /api/admin/tokens/{tokenId}`.
pub fn route(request: &Request) -> &str {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.as_deref().unwrap_or_default(),
        #[allow(unreachable_patterns)]
        _ => "",
    }
}

/// What a greedy parameter (`{page+}`) took of the path; empty where the path ends with the slash before it.
pub fn rest<'a>(request: &'a Request, name: &str) -> &'a str {
    request.path_parameters_ref().and_then(|parameters| parameters.first(name)).unwrap_or_default()
}

fn request_id(request: &Request) -> Option<&str> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.as_deref(),
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

/// The request body, once its size and declared type are found to be right.
///
/// # Errors
/// 413 over `limit` bytes, 415 for a `Content-Type` that is not JSON.
pub fn json_body(request: &Request, limit: usize) -> Result<&[u8], ApiError> {
    let body = request.body().as_ref();
    if body.len() > limit {
        return Err(ApiError::PayloadTooLarge);
    }
    match request.headers().get(CONTENT_TYPE) {
        Some(declared) if !is_json(declared) => Err(ApiError::UnsupportedMediaType),
        _ => Ok(body),
    }
}

fn is_json(declared: &HeaderValue) -> bool {
    let Ok(text) = declared.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        None => essence.is_empty(),
        Some((_, "json")) => essence == "application/json" || essence == "text/json",
        Some((_, subtype)) => subtype.ends_with("+json"),
    }
}

/// Answers a request that needs no token and no store: logs it, and builds the response.
pub fn respond(
    envelope: Envelope,
    request: &Request,
    answer: impl FnOnce(&Request) -> Result<Answer, ApiError>,
) -> Response {
    let started = Instant::now();
    let outcome = answer(request);
    let line = RequestLine {
        request_id: request_id(request).unwrap_or_default(),
        route: route(request),
        token_id: None,
        status: 0,
        reason: None,
        duration_ms: started.elapsed(),
    };
    envelope.conclude(outcome, line)
}

/// One request on its way through a handler: gives every answer its headers and its log line.
#[derive(Debug)]
pub struct Exchange {
    envelope: Envelope,
    request_id: String,
    route: String,
    address: Option<IpAddr>,
    token_id: Option<TokenId>,
    activity: Activity,
    started: Instant,
}

/// Encodes what a query must not have as it is, as browsers do before they send it: `lambda_http` would panic. Whether API
/// Gateway lets it through is not documented.
pub fn encode_query(event: &mut LambdaRequest) {
    let is_unfit = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'#');
    if let LambdaRequest::ApiGatewayV2(event) = event
        && let Some(query) = &mut event.raw_query_string
        && query.bytes().any(is_unfit)
    {
        let encoded = query.bytes().map(|byte| match is_unfit(byte) {
            true => format!("%{byte:02X}"),
            false => char::from(byte).to_string(),
        });
        *query = encoded.collect();
    }
}

/// How long an answer may take; a function is ended soon after (`Timeout` in `template.yaml`), and API Gateway would
/// answer in its place, without an envelope.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(27);

impl Exchange {
    /// Answers a request in time: logs it, notes the token's use or refusal, and builds the response. What has no answer
    /// by [`ANSWER_WITHIN`] is given up where it is, as if the process ended there, and answered 500.
    pub async fn run(
        app: &crate::App,
        envelope: Envelope,
        request: &Request,
        answer: impl AsyncFnOnce(&mut Self) -> Result<Answer, ApiError>,
    ) -> Response {
        let mut exchange = Self::begin(app, envelope, request);
        // Boxed: the compiler looks no deeper than 128 futures within futures.
        let answer = Box::pin(answer(&mut exchange));
        let outcome = tokio::time::timeout(ANSWER_WITHIN, answer).await;
        exchange.end(outcome.unwrap_or_else(|_| Err(StoreError::late().into())))
    }

    /// Begins with what the event says of itself.
    fn begin(app: &crate::App, envelope: Envelope, request: &Request) -> Self {
        Self {
            envelope,
            request_id: request_id(request).unwrap_or_default().to_owned(),
            route: route(request).to_owned(),
            address: source_ip(request),
            token_id: None,
            activity: app.activity.clone(),
            started: Instant::now(),
        }
    }

    /// The route that led here; see [`route()`].
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The caller's address.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The caller that a look-up found; notes the token for the log.
    ///
    /// # Errors
    /// Why the token was refused.
    pub fn caller(&mut self, authentication: Authentication) -> Result<Caller, Refusal> {
        match authentication {
            Authentication::Accepted(caller) => {
                self.token_id = Some(caller.token_id().clone());
                Ok(caller)
            }
            Authentication::Refused(reason, id) => {
                self.token_id = Some(id);
                Err(reason)
            }
        }
    }

    /// Reads the token, looks it up, and gives the caller.
    ///
    /// # Errors
    /// The refusal, or a failed look-up.
    pub async fn authenticate(
        &mut self,
        auth: &Authenticator,
        request: &Request,
        header: TokenHeader,
    ) -> Result<Caller, ApiError> {
        let presented = Presented::read(header.read(request))?;
        let authentication = auth.authenticate(&presented, self.address).await?;
        Ok(self.caller(authentication)?)
    }

    /// Looks the token up and gives the caller; reads in the same call which bucket an affiliate's source is
    /// assigned to, where both are given.
    ///
    /// # Errors
    /// As [`Exchange::authenticate`].
    pub async fn authenticate_with_source(
        &mut self,
        auth: &Authenticator,
        presented: &Presented,
        source: Option<(&str, &str)>,
    ) -> Result<(Caller, Option<BucketId>), ApiError> {
        let (authentication, bucket) = match source {
            Some(source) => auth.authenticate_with_source(presented, self.address, source).await?,
            None => (auth.authenticate(presented, self.address).await?, None),
        };
        Ok((self.caller(authentication)?, bucket))
    }

    /// Ends with an answer or an error.
    fn end(self, outcome: Result<Answer, ApiError>) -> Response {
        match (&self.token_id, &outcome) {
            // Of a token that is not there nothing is noted, but in the log.
            (Some(_), Err(ApiError::Unauthorized(Refusal::Unknown))) => {}
            (Some(id), Err(ApiError::Unauthorized(reason))) => {
                self.activity.refused(id, self.address, *reason);
            }
            (Some(id), _) => self.activity.used(id),
            (None, _) => {}
        }
        let line = RequestLine {
            request_id: &self.request_id,
            route: &self.route,
            token_id: self.token_id.as_ref().map(TokenId::as_str),
            status: 0,
            reason: None,
            duration_ms: self.started.elapsed(),
        };
        self.envelope.conclude(outcome, line)
    }
}

/// An answer before it gets the headers that all have.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    content_type: &'static str,
    body: Body,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// An answer with a body that is JSON already.
    pub fn json(status: u16, body: String) -> Self {
        Self { status, content_type: "application/json", body: Body::Text(body), headers: Vec::new() }
    }

    /// An answer with a body of any type.
    pub fn bytes(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status, content_type, body: Body::Binary(body), headers: Vec::new() }
    }

    /// 304: the caller has it already.
    pub fn unchanged() -> Self {
        Self::json(304, String::new())
    }

    /// An answer with a body that is an HTML document.
    pub fn html(status: u16, body: String) -> Self {
        Self { content_type: "text/html; charset=utf-8", ..Self::json(status, body) }
    }

    /// 303 to a URL or path.
    pub fn see_other(location: &str) -> Self {
        Self::json(303, String::new()).header("location", location)
    }

    /// The same without its body: the answer to a HEAD.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body = Body::Empty;
        self
    }

    /// An answer of a value.
    ///
    /// # Errors
    /// The value is none that JSON can hold; those of this crate are.
    pub fn of(status: u16, value: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_string(value).map_err(|_| StoreError::malformed("answer"))?;
        Ok(Self::json(status, body))
    }

    /// 204.
    pub fn empty() -> Self {
        Self::json(204, String::new())
    }

    /// Keeps the answer from every cache, and its address from other sites.
    #[must_use]
    pub fn private(self) -> Self {
        self.header("cache-control", "no-store")
            .header("referrer-policy", "no-referrer")
            .header("x-content-type-options", "nosniff")
    }

    /// Adds a header whose value is a number or plain ASCII text; any other value is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    #[test]
    fn the_published_error_bodies_to_the_byte() {
        let refused = ApiError::Unauthorized(Refusal::Expired);
        assert_eq!(
            Envelope::Platform.render(&refused),
            (
                401,
                r#"{"message":"Access with the provided credentials is incorrect. CODE: X-0005","statusCode":401}"#
                    .into()
            )
        );
        assert_eq!(
            Envelope::TradersRoom.render(&refused),
            (401, r#"{"message":"Invalid secret key","providerStatus":401}"#.into())
        );
        assert_eq!(
            Envelope::TradersRoom.render(&ApiError::bad_request("Email, phone and first name are required")),
            (400, r#"{"message":"Email, phone and first name are required","providerStatus":400}"#.into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_answered_in_the_envelope_before_the_function_is_ended() {
        let needed =
            ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TOKENS_TABLE", "ROLES_TABLE"];
        let config = crate::Config::from_lookup(|name| needed.contains(&name).then(|| "some".to_owned()));
        let app = crate::App::new(&config.unwrap());
        for (envelope, body) in [
            (Envelope::Platform, r#"{"message":"Internal server error","statusCode":500}"#),
            (Envelope::TradersRoom, r#"{"message":"Internal server error","providerStatus":500}"#),
            (Envelope::Page, ""),
        ] {
            let begun = tokio::time::Instant::now();
            let never = async |_: &mut Exchange| std::future::pending().await;
            let response = Exchange::run(&app, envelope, &Request::default(), never).await;
            assert_eq!(begun.elapsed().as_secs(), ANSWER_WITHIN.as_secs());
            assert_eq!(response.status(), 500);
            match response.body() {
                Body::Text(shown) if body.is_empty() => {
                    assert!(shown.starts_with("<!doctype html>"), "{shown}")
                }
                shown => assert_eq!(shown, &Body::from(body)),
            }
            assert!(response.headers().contains_key("content-type"));
        }
    }

    #[test]
    fn a_query_that_is_none_is_read_all_the_same() {
        for (raw, encoded) in [
            ("limit=7&cursor=a%20b+c", "limit=7&cursor=a%20b+c"),
            ("x=\"<>#|{}\\^`~\u{7f} \u{e9}\n&limit=7", "x=%22%3C%3E%23|{}\\^`~%7F%20%C3%A9%0A&limit=7"),
            ("", ""),
        ] {
            let event = serde_json::json!({
                "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": raw, "headers": {}, "isBase64Encoded": false,
                "requestContext": {
                    "accountId": "1", "apiId": "a", "stage": "$default", "time": "", "timeEpoch": 1, "requestId": "id",
                    "http": { "method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "" },
                },
            });
            let mut event: LambdaRequest = serde_json::from_str(&event.to_string()).unwrap();
            encode_query(&mut event);
            let request = Request::from(event);
            assert_eq!(request.uri().query().unwrap_or_default(), encoded);
            let limit = request.query_string_parameters().first("limit").map(str::to_owned);
            assert_eq!(limit.is_some(), !raw.is_empty());
        }
    }

    #[test]
    fn json_types_are_told_from_others() {
        for (declared, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/json", true),
            ("application/problem+json", true),
            ("", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("image/json", false),
            ("json", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(declared)), expected, "{declared}");
        }
    }

    #[test]
    fn a_header_that_could_break_the_answer_is_left_out() {
        let answer = Answer::json(200, "{}".into()).header("x-next-cursor", "a\r\nb");
        assert!(answer.headers.is_empty());
    }
}
