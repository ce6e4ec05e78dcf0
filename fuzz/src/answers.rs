//! DynamoDB's answers, and records of its streams. What is made of a text is what a reader makes of it that takes
//! its time; a text that is no answer is never taken for an empty one.

use crate::choice;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use shared::model::{ClientId, Lead, Timestamp};
use shared::secret::Token;
use shared::store::counters::{Groups, Month};
use shared::store::{Item, PlacedLead, doors};
use std::collections::HashSet;

#[allow(dead_code, missing_docs)]
#[path = "../../functions/registration-email/src/stream.rs"]
mod stream;

/// Runs one input: the first byte says what the rest answers.
pub fn run(data: &[u8]) {
    let Some((kind, answer)) = choice(data, 9) else { return };
    let plain: Option<Value> = serde_json::from_slice(answer).ok();
    // Serde takes an array for a structure as well; nobody sends one.
    let plain = plain.as_ref().filter(|plain| plain.is_object());
    match kind {
        0 => item(answer, plain),
        1 => page(answer, plain),
        2 => batch(answer, plain),
        3 => mixed(answer, plain),
        4 => slots(answer, plain),
        5 => {
            if let (Some(count), Some(plain)) = (doors::count(answer), plain) {
                assert_eq!(Some(count), plain["Count"].as_u64());
            }
            // Told by its braces: it may hold numbers and texts that the plain reader refuses.
            if doors::done(answer) {
                let text = answer.trim_ascii();
                assert!(text.starts_with(b"{") && text.ends_with(b"}"));
            }
        }
        6 => cancelled(answer, plain),
        7 => records(answer, plain),
        _ => items(answer),
    }
}

/// An attribute, by a reader that takes its time.
fn same(attribute: &AttributeValue, plain: &Value) -> bool {
    use AttributeValue as A;
    let Some((kind, plain)) = plain.as_object().filter(|o| o.len() == 1).and_then(|o| o.iter().next()) else {
        return false;
    };
    let texts = |texts: &[String]| {
        plain
            .as_array()
            .is_some_and(|list| list.iter().map(Value::as_str).eq(texts.iter().map(|t| Some(t.as_str()))))
    };
    match (attribute, kind.as_str()) {
        (A::S(text), "S") | (A::N(text), "N") => plain.as_str() == Some(text),
        (A::B(bytes), "B") => {
            plain.as_str().and_then(|text| STANDARD.decode(text).ok()).as_deref() == Some(bytes.as_ref())
        }
        (A::Bool(flag), "BOOL") | (A::Null(flag), "NULL") => plain.as_bool() == Some(*flag),
        (A::L(values), "L") => plain.as_array().is_some_and(|list| {
            list.len() == values.len() && values.iter().zip(list).all(|(value, plain)| same(value, plain))
        }),
        (A::M(item), "M") => same_item(item, plain),
        (A::Ss(list), "SS") | (A::Ns(list), "NS") => texts(list),
        _ => false,
    }
}

fn same_item(item: &Item, plain: &Value) -> bool {
    plain.as_object().is_some_and(|plain| {
        plain.len() == item.len()
            && item.iter().all(|(name, value)| plain.get(name).is_some_and(|plain| same(value, plain)))
    })
}

fn item(answer: &[u8], plain: Option<&Value>) {
    let Some(Ok(read)) = doors::item(answer) else { return };
    if let Some(plain) = plain {
        match (&read, plain.get("Item").filter(|item| !item.is_null())) {
            (None, None) => {}
            (Some(item), Some(plain)) => assert!(same_item(item, plain), "{item:?}"),
            (read, plain) => panic!("{read:?} of {plain:?}"),
        }
    }
    let Some(item) = read else { return };
    // What is read of it is what it says, or an error; nothing here may fail otherwise.
    if let Ok(client) = doors::client(&item, None) {
        crate::sign_up::email(&client.given.email);
    }
    let _ = doors::bucket(&item);
    let token = format!("wbcs_{}", "a".repeat(32));
    let token = Token::parse(&format!("{token}{}", checksum(&token))).expect("a token");
    if let Ok(Some(record)) = doors::token(&token.digest(), &item) {
        // A token's record is found by its whole digest alone, and its whitelist is not lost.
        let digest = item.get("digest").and_then(|value| value.as_b().ok()).map(|blob| blob.as_ref());
        assert_eq!(digest, Some(token.digest().as_bytes().as_slice()));
        let entries = item.get("whitelist").and_then(|list| list.as_l().ok()).map(Vec::len);
        assert_eq!(Some(record.whitelist.entries().len()), entries);
    }
}

/// A token's checksum.
pub(crate) fn checksum(body: &str) -> String {
    const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

/// A lead of the item of a lead or of a client, by a reader that takes its time.
fn plain_lead(item: &Value) -> Option<PlacedLead> {
    let text = |name: &str| Some(item.get(name)?.get("S")?.as_str()?.to_owned());
    let millis = |text: &str| text.parse().ok().and_then(Timestamp::from_millis);
    let moment = |name: &str| match item.get(name).filter(|value| !value.is_null()) {
        None => Some(None),
        Some(value) => millis(value.get("N")?.as_str()?).map(Some),
    };
    let split = |key: String| {
        let (at, id) = key.split_once('#')?;
        Some((millis(at)?, ClientId::new(id)))
    };
    let lead = match text("pk").as_deref().and_then(|pk| pk.strip_prefix("E#")) {
        Some(email) => {
            let (created_date, id) = split(text("c")?)?;
            Lead {
                id,
                email: text("e").unwrap_or_else(|| email.to_owned()),
                status: text("s")?,
                created_date,
                updated_date: split(text("u")?)?.0,
                ftd: moment("f")?,
            }
        }
        None => {
            return Some(PlacedLead {
                lead: Lead {
                    id: ClientId::new(text("id")?),
                    email: text("email")?,
                    status: text("status")?,
                    created_date: moment("createdDate")??,
                    updated_date: moment("updatedDate")??,
                    ftd: moment("ftd")?,
                },
                list: text("list")?,
                source_list: text("sourceList"),
            });
        }
    };
    Some(PlacedLead { lead, list: text("b")?, source_list: text("bs") })
}

fn page(answer: &[u8], plain: Option<&Value>) {
    if let (Some(Ok((items, next))), Some(plain)) = (doors::items(answer), plain) {
        let list = plain["Items"].as_array().expect("items");
        assert!(
            list.len() == items.len() && items.iter().zip(list).all(|(item, plain)| same_item(item, plain))
        );
        key(next.as_deref(), plain);
    }
    let Some(read) = doors::page(answer) else { return };
    let Some(plain) = plain else { return };
    let list = plain["Items"].as_array().expect("an answer without items was taken for one");
    let expected: Option<Vec<PlacedLead>> = list.iter().map(plain_lead).collect();
    assert_eq!(read.as_ref().ok().map(|(leads, _)| leads), expected.as_ref());
    if let Ok((_, next)) = read {
        key(next.as_deref(), plain);
    }
}

/// The key to go on from goes into the next request as it came.
fn key(read: Option<&str>, plain: &Value) {
    let expected = plain.get("LastEvaluatedKey").filter(|key| !key.is_null());
    let read = read.map(|text| serde_json::from_str::<Value>(text).expect("a key is JSON"));
    assert_eq!(read.as_ref(), expected);
}

fn batch(answer: &[u8], plain: Option<&Value>) {
    let Some(read) = doors::batch(answer) else { return };
    let Some(plain) = plain else { return };
    let tables = plain["Responses"].as_object().expect("an answer without items was taken for one");
    let items = tables.values().flat_map(|items| items.as_array().expect("items"));
    let expected: Option<Vec<PlacedLead>> = items.map(plain_lead).collect();
    let sorted = |leads: &[PlacedLead]| {
        let mut shown: Vec<String> = leads.iter().map(|lead| format!("{lead:?}")).collect();
        shown.sort();
        shown
    };
    let Ok((leads, left)) = read else {
        assert_eq!(expected, None);
        return;
    };
    assert_eq!(Some(sorted(&leads)), expected.as_deref().map(sorted));
    let none = Map::new();
    let tables = plain.get("UnprocessedKeys").and_then(Value::as_object).unwrap_or(&none);
    if !tables.values().all(Value::is_object) {
        return;
    }
    let keys = tables.values().flat_map(|table| table["Keys"].as_array().expect("keys"));
    let mut keys: Vec<&str> = keys.filter_map(|key| key["pk"]["S"].as_str()).collect();
    let mut left: Vec<&str> = left.iter().map(String::as_str).collect();
    keys.sort_unstable();
    left.sort_unstable();
    assert_eq!(left, keys);
}

fn mixed(answer: &[u8], plain: Option<&Value>) {
    let (Some(Ok((items, left))), Some(plain)) = (doors::mixed(answer), plain) else { return };
    let tables = plain["Responses"].as_object().expect("an answer without items was taken for one");
    for (table, plain) in tables {
        let own: Vec<&Item> = items.iter().filter(|(of, _)| of == table).map(|(_, item)| item).collect();
        let plain = plain.as_array().expect("items");
        assert!(
            own.len() == plain.len() && own.iter().zip(plain).all(|(item, plain)| same_item(item, plain))
        );
    }
    let keys = plain.get("UnprocessedKeys").and_then(Value::as_object);
    assert_eq!(left.len(), keys.map_or(0, Map::len));
}

fn slots(answer: &[u8], plain: Option<&Value>) {
    let Some(Ok(read)) = doors::slots(answer) else { return };
    // Of a name that comes twice a plain reader knows the last one.
    if let Some(plain) = plain.filter(|_| serde_json::from_slice::<Distinct>(answer).is_ok()) {
        let items = plain["Items"].as_array().expect("an answer without items was taken for one");
        assert_eq!(items.len(), read.len());
        for (plain, (sk, counts)) in items.iter().zip(&read) {
            assert_eq!(plain["sk"]["S"].as_str(), Some(sk.as_str()));
            for (name, value) in plain.as_object().expect("an item") {
                let Ok(name) = <[u8; 2]>::try_from(name.as_bytes()) else { continue };
                let count = value["N"].as_str().and_then(|digits| digits.parse::<i64>().ok());
                let own: Vec<i64> = counts.iter().filter(|(of, _)| *of == name).map(|(_, n)| *n).collect();
                assert_eq!(own, count.into_iter().collect::<Vec<_>>());
            }
        }
    }
    let mut cells = Vec::new();
    for (sk, counts) in &read {
        let Some(month) = sk.split('#').next().and_then(Month::parse) else { continue };
        cells.extend(counts.iter().filter_map(|(name, count)| Some((month.cell(*name)?, *count))));
    }
    groups(cells);
}

/// Sums, totals and places of what counters say, counted one by one.
fn groups(cells: Vec<(i64, i64)>) {
    let mut sums = std::collections::BTreeMap::<i64, i128>::new();
    for (cell, count) in &cells {
        *sums.entry(*cell).or_default() += i128::from(*count);
    }
    // More than any list has: such are cut off, and do no harm.
    if cells.iter().any(|(_, count)| count.unsigned_abs() > 1 << 32) {
        let groups = Groups::of(cells);
        let _ = (groups.total(), groups.locate(1 << 50), groups.before(i64::MAX));
        return;
    }
    let groups = Groups::of(cells);
    sums.retain(|_, sum| *sum > 0);
    assert!(groups.iter().map(|(cell, sum)| (cell, i128::from(sum))).eq(sums.iter().map(|(c, s)| (*c, *s))));
    let total: i128 = sums.values().sum();
    assert_eq!(i128::from(groups.total()), total);
    let mut before = 0;
    for (cell, sum) in groups.iter() {
        assert_eq!((groups.before(cell), groups.within(cell)), (before, sum));
        assert_eq!(groups.locate(before), Some((cell, 0)));
        assert_eq!(groups.locate(before + sum - 1), Some((cell, sum - 1)));
        before += sum;
    }
    assert_eq!(groups.locate(before), None);
}

fn cancelled(answer: &[u8], plain: Option<&Value>) {
    let (code, reasons) = (doors::refusal(answer), doors::cancelled(answer));
    let Some(plain) = plain else { return };
    let kind = plain.get("__type").and_then(Value::as_str);
    assert_eq!(code.as_deref(), kind.map(|kind| kind.rsplit('#').next().unwrap_or_default()));
    let Some(reasons) = reasons else { return };
    assert!(kind.is_some_and(|kind| kind.ends_with("TransactionCanceledException")));
    let list = plain.get("CancellationReasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    assert_eq!(list.len(), reasons.len());
    for (plain, (code, item)) in list.iter().zip(&reasons).filter(|(plain, _)| plain.is_object()) {
        assert_eq!(plain.get("Code").and_then(Value::as_str), code.as_deref());
        match (item, plain.get("Item").filter(|item| !item.is_null())) {
            (None, None) => {}
            (Some(item), Some(plain)) => assert!(same_item(item, plain)),
            (item, plain) => panic!("{item:?} of {plain:?}"),
        }
    }
}

/// Records of the stream of clients.
fn records(event: &[u8], plain: Option<&Value>) {
    let Ok(read) = serde_json::from_slice::<stream::Event>(event) else { return };
    let Some(plain) = plain else { return };
    let Some(list) = plain.get("Records").and_then(Value::as_array) else { return };
    assert_eq!(list.len(), read.records.len());
    for (record, plain) in read.records.iter().zip(list).filter(|(_, plain)| plain["dynamodb"].is_object()) {
        assert_eq!(plain["eventName"].as_str(), Some(record.event_name.as_str()));
        let change = &plain["dynamodb"];
        assert_eq!(change["SequenceNumber"].as_str(), Some(record.change.sequence_number.as_str()));
        for name in ["pk", "id", "email", "firstName", "sendEmail"] {
            let attribute = change["NewImage"].get(name).filter(|attribute| attribute.is_object());
            let Some(attribute) = attribute else { continue };
            assert_eq!(record.text(name), attribute.get("S").and_then(Value::as_str));
            let flag = attribute.get("BOOL").and_then(Value::as_bool) == Some(true);
            assert_eq!(record.has_flag(name), flag);
        }
    }
    let names = read.records.iter().map(|record| record.change.sequence_number.clone());
    let failures = names.map(|item_identifier| stream::Failure { item_identifier }).collect();
    let answer = stream::Answer { batch_item_failures: failures };
    let answer = serde_json::to_value(&answer).expect("an answer is JSON");
    assert_eq!(answer["batchItemFailures"].as_array().map(Vec::len), Some(read.records.len()));
}

/// Items are read as they were written.
fn items(answer: &[u8]) {
    let Some(Ok(Some(item))) = doors::item(answer) else { return };
    use AttributeValue as A;
    fn is_ours(value: &A) -> bool {
        match value {
            A::S(_) | A::N(_) | A::B(_) | A::Bool(_) => true,
            A::L(values) => values.iter().all(is_ours),
            A::M(item) => item.values().all(is_ours),
            _ => false,
        }
    }
    if item.values().all(is_ours) {
        let written = format!(r#"{{"Item":{}}}"#, doors::written(&item));
        assert_eq!(doors::item(written.as_bytes()).and_then(Result::ok).flatten(), Some(item));
    }
}

/// JSON whose objects have no name twice.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Distinct;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("any JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Distinct, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, _)) = map.next_entry::<String, Distinct>()? {
                    if !names.insert(name) {
                        return Err(serde::de::Error::custom("a name that comes twice"));
                    }
                }
                Ok(Distinct)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Distinct, A::Error> {
                while list.next_element::<Distinct>()?.is_some() {}
                Ok(Distinct)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
                Ok(Distinct)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
                Ok(Distinct)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
                Ok(Distinct)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
                Ok(Distinct)
            }

            fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
                Ok(Distinct)
            }

            fn visit_unit<E>(self) -> Result<Distinct, E> {
                Ok(Distinct)
            }
        }
        from.deserialize_any(Any)
    }
}
