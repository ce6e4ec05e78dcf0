//! Bodies of the two Leads endpoints, and their cursors.

use crate::{assert_known, field, plain_object, position};
use serde_json::{Map, Value};
use shared::leads::doors::{fingerprint, open, seal};
use shared::model::{Email, Filters, KeyBy, Keys, LeadsQuery, Range, Timestamp};
use std::collections::BTreeSet;

const MESSAGES: [&str; 19] = [
    "emails must be an array of strings",
    "emails[] must be a string",
    "ids must be an array of strings",
    "ids[] must be a string",
    "emails and ids must have at most 5000 entries in all",
    "keyBy must be \"email\" or \"id\"",
    "keyBy must be a string",
    "filters must be an object",
    "filters.createdDate must be [from, to] in epoch milliseconds, null for an open side",
    "filters.createdDate must not have from after to",
    "filters.updatedDate must be [from, to] in epoch milliseconds, null for an open side",
    "filters.updatedDate must not have from after to",
    "filters.status must be an array of strings",
    "filters.status[] must be a string",
    "filters.status must have at most 100 entries",
    "limit must be an integer from 1 to 5000",
    "offset must be an integer from 0 to 1000000000",
    "cursor must not be given together with offset",
    "cursor must be a string",
];

/// Runs one input.
pub fn run(body: &[u8]) {
    let read = LeadsQuery::parse(body);
    let plain = plain_object(body);
    if let Some(object) = &plain {
        compare(object, &read);
    }
    let query = match read {
        Ok(query) => query,
        Err(error) => {
            let message = error.to_string();
            if message != "cursor must have at most 4096 characters" {
                assert_known(&message, &MESSAGES);
            }
            if let (Some(object), Some(at)) = (&plain, position(&message)) {
                let list = message.split('[').next().unwrap_or_default();
                let list = match list.strip_prefix("filters.") {
                    Some(name) => object["filters"].get(name),
                    None => object.get(list),
                };
                let list = list.and_then(Value::as_array);
                if let (Some(list), true) = (list, message.ends_with("must be a string")) {
                    assert!(!list[at].is_string(), "{message}");
                }
            }
            return;
        }
    };
    assert!((1..=5000).contains(&query.limit) && query.offset <= 1_000_000_000);
    ranges(&query.filters);

    // Nobody invents a cursor, and one that was given out is good for its own search alone.
    let search = fingerprint("list", &query);
    if let Some(text) = &query.cursor {
        assert_eq!(open(&search, text), None, "an invented cursor");
    }
    let id = String::from_utf8_lossy(&body[..body.len().min(90)]);
    let position = body.len() as u64 * 7919;
    // Where no list has a place, none begins.
    if !id.contains('#') {
        assert_eq!(open(&search, &seal(&search, position, &id)), None);
    }
    let key = format!("1700000000000#{id}");
    let text = seal(&search, position, &key);
    assert_eq!(open(&search, &text), Some((position, key)));
    assert_eq!(open(&fingerprint("another", &query), &text), None);
    let mut damaged = text.into_bytes();
    let at = body.iter().map(|byte| usize::from(*byte)).sum::<usize>() % damaged.len();
    damaged[at] = if damaged[at] == b'x' { b'y' } else { b'x' };
    assert_eq!(open(&search, &String::from_utf8_lossy(&damaged)), None);
    // Neither the size of a page nor its keys bind it.
    let other = LeadsQuery { limit: 7, key_by: KeyBy::Id, offset: 3, cursor: None, ..query.clone() };
    assert_eq!(fingerprint("list", &other), search);
}

fn ranges(filters: &Filters) {
    for range in [Some(filters.created), filters.updated].into_iter().flatten() {
        let bounds = range.bounds();
        for millis in [range.from, range.to, Some(0), Some(Timestamp::MAX.millis())].into_iter().flatten() {
            for millis in [millis.saturating_sub(1), millis, millis.saturating_add(1)] {
                let Some(moment) = Timestamp::from_millis(millis) else { continue };
                let within = bounds.as_ref().is_some_and(|bounds| bounds.contains(&millis));
                assert_eq!(range.contains(moment), within, "{range:?} {millis}");
            }
        }
    }
}

/// What the contract says of the body, by a reader that takes its time; `None` where it leaves it open.
fn plain(object: &Map<String, Value>) -> Option<Result<LeadsQuery, ()>> {
    let texts = |object: &Map<String, Value>, name: &str| match field(object, name) {
        None => Ok(Vec::new()),
        Some(value) => {
            let list = value.as_array().ok_or(())?;
            list.iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or(()))
                .collect::<Result<Vec<_>, ()>>()
        }
    };
    let integer = |name: &str, from: u64, to: u64| match field(object, name) {
        None => Some(Ok(None)),
        // `1.0` and `1e0` are one number, and the contract says of neither that it is an integer.
        Some(value) if value.is_f64() => None,
        Some(value) => Some(value.as_u64().filter(|n| (from..=to).contains(n)).map(Some).ok_or(())),
    };
    let (limit, offset) = (integer("limit", 1, 5000)?, integer("offset", 0, 1_000_000_000)?);
    let read = || {
        let mut emails: Vec<String> = texts(object, "emails")?;
        emails.iter_mut().for_each(|email| *email = lower(email));
        let (emails, ids) = (distinct(emails), distinct(texts(object, "ids")?));
        if emails.len() + ids.len() > 5000 {
            return Err(());
        }
        let key_by = match field(object, "keyBy").map(|value| value.as_str()) {
            None | Some(Some("email")) => KeyBy::Email,
            Some(Some("id")) => KeyBy::Id,
            Some(_) => return Err(()),
        };
        let mut filters = Filters::default();
        if let Some(given) = field(object, "filters") {
            let given = given.as_object().ok_or(())?;
            filters.created = range(field(given, "createdDate"))?.unwrap_or_default();
            filters.updated = range(field(given, "updatedDate"))?;
            let statuses = distinct(texts(given, "status")?);
            if statuses.len() > 100 {
                return Err(());
            }
            filters.statuses = Some(statuses).filter(|statuses| !statuses.is_empty());
        }
        let cursor = match field(object, "cursor") {
            None => None,
            Some(value) => {
                Some(value.as_str().filter(|text| text.chars().count() <= 4096).ok_or(())?.to_owned())
            }
        };
        let (limit, offset) = (limit?, offset?);
        if cursor.is_some() && offset.is_some() {
            return Err(());
        }
        let keys = (!emails.is_empty() || !ids.is_empty()).then_some(Keys { emails, ids });
        let limit = limit.unwrap_or(100) as usize;
        Ok(LeadsQuery { keys, key_by, filters, limit, offset: offset.unwrap_or(0), cursor })
    };
    Some(read())
}

fn compare(object: &Map<String, Value>, read: &Result<LeadsQuery, shared::model::Invalid>) {
    let Some(expected) = plain(object) else { return };
    match (read, expected) {
        (Ok(query), Ok(expected)) => assert_eq!(*query, expected),
        (Err(_), Err(())) => {}
        (read, expected) => panic!("read as {read:?}, expected {expected:?}"),
    }
}

fn lower(text: &str) -> String {
    // Of letters that have several forms the model's own rule is taken; see the tests of `Email`.
    if text.is_ascii() { text.trim().to_lowercase() } else { Email::key_of(text) }
}

fn distinct(texts: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

fn range(value: Option<&Value>) -> Result<Option<Range>, ()> {
    let Some(value) = value else { return Ok(None) };
    let end = |value: &Value| match value {
        Value::Null => Ok(None),
        Value::String(text) => text.trim().parse().map(Some).map_err(|_| ()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(millis), _) => Ok(Some(millis)),
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 => {
                Ok(Some(float as i64))
            }
            _ => Err(()),
        },
        _ => Err(()),
    };
    let [from, to] = value.as_array().ok_or(())?.as_slice() else { return Err(()) };
    let range = Range { from: end(from)?, to: end(to)? };
    if let (Some(from), Some(to)) = (range.from, range.to)
        && from > to
    {
        return Err(());
    }
    Ok(Some(range))
}
