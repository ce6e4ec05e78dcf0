//! Logs: one JSON object a line, one line a request; on standard output, where Lambda collects it.
//!
//! A line has the request id, the function, the token's id, the status and the reason of a
//! refusal or the cause of a 500. It never has a token, an email, a name or a body: the fields
//! are listed here, and nothing else can get in.

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

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    function: &'a str,
    #[serde(flatten)]
    request: &'a RequestLine<'a>,
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
    let Some(logger) = LOGGER.get() else { return };
    let level = match line.status {
        500.. => LogLevel::Error,
        401 => LogLevel::Warn,
        _ => LogLevel::Info,
    };
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
        message: "request",
        function: logger.function,
        request: line,
    };
    let Ok(mut text) = serde_json::to_vec(&line) else { return };
    text.push(b'\n');
    // A log that can't be written must not fail the request.
    let _ = match logger.output {
        Output::Stdout => std::io::stdout().lock().write_all(&text),
        Output::Stderr => std::io::stderr().lock().write_all(&text),
    };
}
