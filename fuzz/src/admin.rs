//! Bodies of the admin endpoints.

use crate::{choice, plain_object};
use serde_json::{Value, json};
use shared::model::{
    BucketChange, Invalid, NewBucket, NewRole, NewToken, Object, Permission, RoleChange, Timestamp,
    Whitelist, WhitelistChange,
};

/// Runs one input: the first byte says which body the rest is.
pub fn run(data: &[u8]) {
    let Some((kind, body)) = choice(data, 7) else { return };
    let now = Timestamp::from_millis(1_800_000_000_000).expect("a moment");
    match kind {
        0 => {
            let Ok(token) = checked(body, &NewToken::FIELDS, |body| NewToken::parse(body, now)) else {
                return;
            };
            for text in
                [&token.name, &token.role_id.as_str().to_owned()].into_iter().chain(&token.affiliate_ids)
            {
                name(text);
            }
            distinct(&token.affiliate_ids, 100);
            assert!(token.expires_at.is_none_or(|expiry| expiry > now));
            whitelist(&token.whitelist);
            let again = json!({
                "name": token.name,
                "roleId": token.role_id.as_str(),
                "expiresAt": token.expires_at.map(|expiry| expiry.to_string()),
                "whitelist": token.whitelist.entries(),
                "affiliateIDs": token.affiliate_ids,
            });
            assert_eq!(NewToken::parse(again.to_string().as_bytes(), now).as_ref(), Ok(&token));
            // The text is in its own answer alone: neither the record nor what is shown of it has it.
            let (secret, record) = token.generate().expect("a random source");
            let shown =
                serde_json::to_string(&record.to_answer(&Default::default())).expect("a record is JSON");
            assert!(!shown.contains(secret.expose()) && !format!("{record:?}").contains(secret.expose()));
        }
        1 => {
            let Ok(change) = checked(body, &["whitelist"], WhitelistChange::parse) else { return };
            whitelist(&change.0);
            let again = json!({ "whitelist": change.0.entries() }).to_string();
            assert_eq!(WhitelistChange::parse(again.as_bytes()), Ok(change));
        }
        2 => {
            let Ok(role) = checked(body, &["name", "permissions"], NewRole::parse) else { return };
            name(&role.name);
            let names: Vec<&str> = role.permissions.iter().map(Permission::as_str).collect();
            let again = json!({ "name": role.name, "permissions": names }).to_string();
            assert_eq!(NewRole::parse(again.as_bytes()), Ok(role));
        }
        3 => {
            let Ok(change) = checked(body, &["name", "permissions"], RoleChange::parse) else { return };
            if let Some(text) = &change.name {
                name(text);
            }
        }
        4 => {
            let Ok(bucket) = checked(body, &NewBucket::FIELDS, NewBucket::parse) else { return };
            [&bucket.name, &bucket.affiliate_id]
                .into_iter()
                .chain(&bucket.sources)
                .for_each(|text| name(text));
            distinct(&bucket.sources, 80);
            let again = json!({
                "name": bucket.name, "affiliateID": bucket.affiliate_id, "sources": bucket.sources,
            });
            assert_eq!(NewBucket::parse(again.to_string().as_bytes()), Ok(bucket));
        }
        5 => {
            let Ok(change) = checked(body, &BucketChange::FIELDS, BucketChange::parse) else { return };
            change.name.iter().chain(change.sources.iter().flatten()).for_each(|text| name(text));
            distinct(change.sources.as_deref().unwrap_or_default(), 80);
        }
        _ => fields(body),
    }
}

/// Reads a body. An unknown field is never taken; a message names a field, and holds no more of the input.
fn checked<T>(body: &[u8], known: &[&str], parse: impl Fn(&[u8]) -> Result<T, Invalid>) -> Result<T, ()> {
    let object = plain_object(body);
    let unknown =
        object.as_ref().and_then(|object| object.keys().find(|name| !known.contains(&name.as_str())));
    match parse(body) {
        Ok(read) => {
            assert_eq!(unknown, None, "an unknown field was taken");
            Ok(read)
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.chars().count() <= 200, "{message}");
            let about = known.iter().chain(&["body"]).any(|name| message.starts_with(name));
            let shown = unknown.map(|name| name.chars().take(64).collect::<String>());
            let names = object.iter().flat_map(|object| object.keys());
            let named = shown.is_some()
                && names
                    .into_iter()
                    .any(|name| message.starts_with(&name.chars().take(64).collect::<String>()));
            assert!(about || named || object.is_none(), "{message}");
            Err(())
        }
    }
}

fn name(text: &str) {
    assert!((1..=128).contains(&text.chars().count()) && text.trim() == text, "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn distinct(texts: &[String], most: usize) {
    let mut sorted: Vec<_> = texts.iter().collect();
    sorted.sort();
    sorted.dedup();
    assert!(sorted.len() == texts.len() && texts.len() <= most);
}

fn whitelist(list: &Whitelist) {
    assert_eq!(Whitelist::parse(list.entries()).as_ref(), Ok(list));
    assert!(list.entries().len() <= Whitelist::MAX);
    // Whatever is in it, an address that is not known is in none but the empty one.
    assert_eq!(list.allows(None), list.entries().is_empty());
}

/// The readers of fields by themselves, against a plain reader of JSON.
fn fields(body: &[u8]) {
    let Ok(object) = Object::parse(body) else { return };
    let Some(plain) = plain_object(body) else { return };
    let mut names: Vec<&str> = object.names().collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = plain.keys().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, value) in &plain {
        let absent = value.is_null();
        assert_eq!(object.raw(name).is_none(), absent);
        if let Some(raw) = object.raw(name) {
            assert_eq!(serde_json::from_str::<Value>(raw).ok().as_ref(), Some(value));
        }
        let text = object.text(name, 5).ok();
        let fits = |text: &&str| text.chars().count() <= 5;
        assert_eq!(text.flatten().as_deref(), value.as_str().filter(fits));
        assert_eq!(object.boolean(name).ok().flatten(), value.as_bool());
        if !value.is_f64() {
            let bounded = value.as_u64().filter(|n| (3..=1 << 40).contains(n));
            assert_eq!(object.integer(name, 3..=1 << 40).ok().flatten(), bounded);
        }
        let texts =
            value.as_array().and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let read = object.texts(name).ok().flatten();
        assert_eq!(read.as_ref().map(|texts| texts.iter().map(|text| &**text).collect()), texts);
        assert_eq!(object.object(name).is_ok(), absent || value.is_object());
        let objects = value.as_array().filter(|list| list.len() <= 3 && list.iter().all(Value::is_object));
        let read = object.objects(name, 3).ok().flatten();
        assert_eq!(read.map(|list| list.len()), objects.map(Vec::len));
    }
}
