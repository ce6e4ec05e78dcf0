//! What the admin endpoints have in common (CONTRACT.md, section 5): query parameters, lists with
//! cursors, and entity tags against lost updates.

use crate::cursor;
use crate::error::ApiError;
use crate::http::{Answer, json_body};
use crate::model::Version;
use crate::store::keys;
use lambda_http::http::header::IF_MATCH;
use lambda_http::{Request, RequestExt};
use serde::Serialize;
use std::collections::BTreeMap;

/// Largest request body: a client with everything, as for Sign Up.
pub const BODY_MAX: usize = 1024 * 1024;
/// Largest `limit` of a list.
pub const LIMIT_MAX: usize = 1000;
/// `limit` where none is given, unless the largest is smaller.
pub const LIMIT_DEFAULT: usize = 100;
/// Largest answer, as JSON text within JSON, well below Lambda's 6 MB: a page ends early before it.
const ANSWER_MAX: usize = 5 * 1024 * 1024;

/// The request body.
///
/// # Errors
/// 413 or 415.
pub fn body(request: &Request) -> Result<&[u8], ApiError> {
    json_body(request, BODY_MAX)
}

/// The parameters of a query string, each given once.
#[derive(Clone, Debug)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query string; a blank parameter counts as absent.
    ///
    /// # Errors
    /// 400 for a parameter that is not among `known`, or is given twice.
    pub fn read(request: &Request, known: &[&str]) -> Result<Self, ApiError> {
        let mut parameters = BTreeMap::new();
        for (name, value) in request.query_string_parameters().iter() {
            if !known.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                return Err(ApiError::bad_request(format!("{shown} is not a known parameter")));
            }
            if value.trim().is_empty() {
                continue;
            }
            if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(ApiError::bad_request(format!("{name} must be given once")));
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `limit`, 1 to `max`.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn limit(&self, max: usize) -> Result<usize, ApiError> {
        match self.get("limit") {
            None => Ok(LIMIT_DEFAULT.min(max)),
            Some(text) => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let limit = text.parse().ok().filter(|limit| digits && (1..=max).contains(limit));
                limit
                    .ok_or_else(|| ApiError::bad_request(format!("limit must be an integer from 1 to {max}")))
            }
        }
    }

    /// The place that `cursor` stands for in this list.
    ///
    /// # Errors
    /// 400 for a cursor of another list, or none of ours.
    pub fn cursor(&self, list: &str) -> Result<Option<String>, ApiError> {
        let Some(text) = self.get("cursor") else { return Ok(None) };
        // Anybody can make a cursor of any place: one that no list has is no key that DynamoDB takes.
        let possible = |place: &String| !place.is_empty() && place.as_str() < keys::LAST;
        let place = cursor::open(list.as_bytes(), text).filter(possible).ok_or(ApiError::BadRequest(
            "cursor must be the nextCursor of an answer to the same list and filters".into(),
        ))?;
        Ok(Some(place))
    }
}

/// The cursor of a place in a list.
pub fn next_cursor(list: &str, place: &str) -> String {
    cursor::seal(list.as_bytes(), place)
}

/// A page of a list: each item with the place behind it. `more`: whether others follow the last
/// one. A page of very large items ends early, and its cursor goes on from there.
///
/// # Errors
/// As [`Answer::of`].
pub fn page<T: Serialize>(
    list: &str,
    items: impl IntoIterator<Item = (T, String)>,
    more: Option<String>,
) -> Result<Answer, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        items: Vec<Box<serde_json::value::RawValue>>,
        next_cursor: Option<String>,
    }
    let (mut shown, mut bytes, mut last) = (Vec::new(), 0, None::<String>);
    let mut next = more.map(|place| next_cursor(list, &place));
    for (item, place) in items {
        let text = serde_json::value::to_raw_value(&item)
            .map_err(|_| crate::store::StoreError::malformed("answer"))?;
        bytes += text.get().len() + text.get().bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
        if bytes > ANSWER_MAX
            && let Some(last) = &last
        {
            next = Some(next_cursor(list, last));
            break;
        }
        shown.push(text);
        last = Some(place);
    }
    Ok(private(Answer::of(200, &Page { items: shown, next_cursor: next })?))
}

/// A record with its entity tag.
///
/// # Errors
/// As [`Answer::of`].
pub fn record(status: u16, record: &impl Serialize, version: &Version) -> Result<Answer, ApiError> {
    Ok(private(Answer::of(status, record)?).header("etag", version.etag()))
}

/// An answer that no cache may keep.
#[must_use]
pub fn private(answer: Answer) -> Answer {
    answer.header("cache-control", "no-store")
}

/// Refuses a change that is based on another state of the record, where the request names one in
/// `If-Match`.
///
/// # Errors
/// 409.
pub fn check_if_match(request: &Request, version: &Version) -> Result<(), ApiError> {
    match request.headers().get(IF_MATCH) {
        Some(tag) if !tag.to_str().is_ok_and(|tag| version.matches(tag)) => Err(outdated()),
        _ => Ok(()),
    }
}

/// Whether the request names the state of the record that it is based on.
pub fn has_if_match(request: &Request) -> bool {
    request.headers().contains_key(IF_MATCH)
}

/// 409: the record was changed by another request since it was read.
pub fn outdated() -> ApiError {
    ApiError::Conflict("The record was changed by another request: read it again, then change it".into())
}
