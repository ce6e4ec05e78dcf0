//! Logs: one JSON object a line; on standard output, where Lambda collects it.
//!
//! A request's line has the request id, the function, the token's id, the status and the reason of a
//! refusal or the cause of a 500; an email's line has the client's id. No line ever has a token, an
//! email address, a name or a body: the fields are listed here, and nothing else can get in.

use crate::config::LogLevel;
use serde::Serialize;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

static LOGGER: OnceLock<Logger> = OnceLock::new();

#[derive(Debug)]
struct Logger {
    function: &'static str,
    level: LogLevel,
    output: Output,
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output: a deployed function.
    Stdout,
    /// Standard error: the local stack, whose standard output is for people.
    Stderr,
}

/// One request, as the log shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine<'a> {
    /// API Gateway's request id.
    pub request_id: &'a str,
    /// Route and method as the template writes them.
    pub route: &'a str,
    /// The token's id, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<&'a str>,
    /// Status of the answer.
    pub status: u16,
    /// Why it was refused, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// From the event's arrival to the answer.
    #[serde(serialize_with = "milliseconds")]
    pub duration_ms: Duration,
}

/// One record of the stream of clients, as the log shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MailLine<'a> {
    /// Lambda's request id of the invocation.
    pub request_id: &'a str,
    /// The client's id, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'a str>,
    /// What became of its registration email.
    pub outcome: MailStatus,
    /// Why it was refused, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// From the record's turn to its end.
    #[serde(serialize_with = "milliseconds")]
    pub duration_ms: Duration,
}

/// What became of a registration email.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailStatus {
    /// The mail service took it.
    Sent,
    /// It was sent, or refused, before.
    Repeated,
    /// The mail service will never take it.
    Refused,
    /// It will be tried again.
    Failed,
}

/// Why work that no request waits for is held up.
#[derive(Debug, Serialize)]
struct ProblemLine<'a> {
    reason: &'a str,
}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    function: &'a str,
    #[serde(flatten)]
    fields: &'a T,
}

fn milliseconds<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

/// Sets the process's name, level and output, once; later calls change nothing, and before it
/// nothing is logged.
pub fn init(function: &'static str, level: LogLevel, output: Output) {
    let _ = LOGGER.set(Logger { function, level, output });
}

/// Logs a request: 5xx as errors, 401 as warnings, the rest as information.
pub fn request(line: &RequestLine<'_>) {
    let level = match line.status {
        500.. => LogLevel::Error,
        401 => LogLevel::Warn,
        _ => LogLevel::Info,
    };
    write(level, "request", line);
}

/// Logs an email: failed ones as errors, refused ones as warnings, the rest as information.
pub fn mail(line: &MailLine<'_>) {
    let level = match line.outcome {
        MailStatus::Failed => LogLevel::Error,
        MailStatus::Refused => LogLevel::Warn,
        MailStatus::Sent | MailStatus::Repeated => LogLevel::Info,
    };
    write(level, "registration email", line);
}

/// Logs what holds up work that no request waits for.
pub fn problem(message: &'static str, reason: &str) {
    write(LogLevel::Error, message, &ProblemLine { reason });
}

fn write(level: LogLevel, message: &'static str, fields: &impl Serialize) {
    let Some(logger) = LOGGER.get() else { return };
    if level > logger.level {
        return;
    }
    let line = Line {
        timestamp: crate::model::Timestamp::now().to_string(),
        level: match level {
            LogLevel::Error => "ERROR",
            LogLevel::Warn => "WARN",
            LogLevel::Info => "INFO",
        },
        message,
        function: logger.function,
        fields,
    };
    let Ok(mut text) = serde_json::to_vec(&line) else { return };
    text.push(b'\n');
    // A log that can't be written must not fail the request.
    let _ = match logger.output {
        Output::Stdout => std::io::stdout().lock().write_all(&text),
        Output::Stderr => std::io::stderr().lock().write_all(&text),
    };
}
