//! Request bodies: the readers of fields against a plain reader of JSON, however the JSON is written.

use super::cases;
use crate::model::{LeadsQuery, Object, Range, depth_exceeds};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec!["", "a", "null", "[[", "\\", "\"", "}", "{\"a\":1}", "Zoë", "🎉", "\u{0}", " x "])
            .prop_map(str::to_owned),
        "\\PC{0,8}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..20u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(text(), 0..5).prop_map(Value::from),
            btree_map(text(), inner, 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(text(), value(), 0..6).prop_map(|fields| fields.into_iter().collect())
}

/// One of the ways of writing it: compact, with blanks, or with every character of a text escaped.
fn written(value: &Value, style: u8) -> String {
    match style % 3 {
        0 => value.to_string(),
        1 => format!(" {:#}\r\n", value),
        _ => escaped(value),
    }
}

fn escaped(value: &Value) -> String {
    let text = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    };
    match value {
        Value::String(found) => text(found),
        Value::Array(values) => format!("[{}]", values.iter().map(escaped).collect::<Vec<_>>().join("\t,")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} : {}", text(name), escaped(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// `filters.createdDate` as a partner writes an end of it.
fn end(end: Option<i64>, style: u8) -> Value {
    match (end, style % 2) {
        (None, _) => Value::Null,
        (Some(millis), 0) => json!(millis),
        (Some(millis), _) => json!(format!(" {millis} ")),
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn fields_are_what_a_plain_reader_finds(fields in object(), style in any::<u8>(), max in 0..6usize) {
        let whole = Value::Object(fields.clone());
        let body = written(&whole, style);
        let object = Object::parse(body.as_bytes()).expect("an object");
        for (name, value) in &fields {
            prop_assert_eq!(object.raw(name).is_none(), value.is_null());
            let fits = value.as_str().filter(|text| text.chars().count() <= max);
            let read = object.text(name, max);
            prop_assert_eq!(read.is_ok(), value.is_null() || fits.is_some());
            let read = read.ok().flatten();
            prop_assert_eq!(read.as_deref(), fits);
            let read = object.boolean(name);
            prop_assert_eq!(read.is_ok(), value.is_null() || value.is_boolean());
            prop_assert_eq!(read.ok().flatten(), value.as_bool());
            let bounded = value.as_u64().filter(|number| (3..=12).contains(number));
            let read = object.integer(name, 3..=12);
            prop_assert_eq!(read.is_ok(), value.is_null() || bounded.is_some());
            prop_assert_eq!(read.ok().flatten(), bounded);
            let list: Option<Vec<&str>> =
                value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
            match object.texts(name) {
                Ok(read) => prop_assert_eq!(
                    read.as_ref().map(|texts| texts.iter().map(|text| &**text).collect::<Vec<_>>()), list
                ),
                Err(error) => {
                    prop_assert!(!value.is_null() && list.is_none());
                    // The message names the first element at fault.
                    let wrong = value.as_array().and_then(|list| list.iter().position(|v| !v.is_string()));
                    let expected = match wrong {
                        Some(at) => format!("{name}[{at}] must be a string"),
                        None => format!("{name} must be an array of strings"),
                    };
                    prop_assert_eq!(error.to_string(), expected);
                }
            }
            let inner = object.object(name);
            prop_assert_eq!(inner.is_ok(), value.is_null() || value.is_object());
            if let (Ok(Some(inner)), Some(fields)) = (inner, value.as_object()) {
                prop_assert!(inner.names().eq(fields.keys().map(String::as_str)));
                let place = format!("{name}.x");
                prop_assert!(name.is_empty() || inner.place("x") == place);
            }
        }
        prop_assert!(object.names().eq(fields.keys().map(String::as_str)));
        let known: Vec<&str> = fields.keys().map(String::as_str).collect();
        prop_assert!(object.only(&known).is_ok());
        if let Some((first, rest)) = known.split_first() {
            let shown: String = first.chars().take(64).collect();
            prop_assert_eq!(
                object.only(rest).unwrap_err().to_string(), format!("{shown} is not a known field")
            );
        }
        for limit in depth(&whole).saturating_sub(1)..depth(&whole) + 2 {
            prop_assert_eq!(depth_exceeds(body.as_bytes(), limit), depth(&whole) > limit);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_body(fields in object(), style in any::<u8>(), at in any::<prop::sample::Index>()) {
        let body = written(&Value::Object(fields), style);
        let body = body.trim();
        let cut = &body.as_bytes()[..1 + at.index(body.len() - 1)];
        let message = Object::parse(cut).map(drop).unwrap_err().to_string();
        let is_text = std::str::from_utf8(cut).is_ok();
        prop_assert_eq!(message, if is_text { "body must be valid JSON" } else { "body must be UTF-8" });
    }

    #[test]
    fn ranges_hold_what_lies_between_their_ends(
        from in proptest::option::of(any::<i64>()), to in proptest::option::of(any::<i64>()),
        style in any::<u8>(), updated in any::<bool>(), limit in 0..6000u64, offset in any::<u32>(),
    ) {
        let name = if updated { "updatedDate" } else { "createdDate" };
        let body = json!({ "filters": { name: [end(from, style), end(to, style >> 1)] }, "limit": limit, "offset": offset });
        let read = LeadsQuery::parse(body.to_string().as_bytes());
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            let expected = format!("filters.{name} must not have from after to");
            prop_assert_eq!(read.unwrap_err().to_string(), expected);
        } else if !(1..=5000).contains(&limit) {
            prop_assert_eq!(read.unwrap_err().to_string(), "limit must be an integer from 1 to 5000");
        } else if offset > 1_000_000_000 {
            prop_assert_eq!(read.unwrap_err().to_string(), "offset must be an integer from 0 to 1000000000");
        } else {
            let query = read.expect("a query");
            prop_assert_eq!((query.limit as u64, query.offset), (limit, u64::from(offset)));
            let range = Range { from, to };
            let filters = query.filters;
            prop_assert_eq!(if updated { filters.updated } else { Some(filters.created) }, Some(range));
        }
    }
}
