//! What the Leads endpoints take and give (CONTRACT.md, section 2).

use super::{ClientId, Email, Invalid, Object, Timestamp, quote};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// Largest `limit`, and most emails and ids in one request.
pub const LIMIT_MAX: usize = 5000;
/// Largest `offset`.
pub const OFFSET_MAX: u64 = 1_000_000_000;
/// `limit` where none is given.
pub const LIMIT_DEFAULT: u64 = 100;
/// Most different statuses in `filters.status`.
pub const STATUSES_MAX: usize = 100;
/// Longest `cursor`, in characters.
pub const CURSOR_MAX: usize = 4096;

/// A client as partners see it: the short form, without the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The client's id.
    pub id: ClientId,
    /// Email as it was given.
    pub email: String,
    /// Sales status.
    pub status: String,
    /// When the client was registered.
    pub created_date: Timestamp,
    /// When the client was last changed.
    pub updated_date: Timestamp,
    /// When the client made the first deposit.
    pub ftd: Option<Timestamp>,
}

impl Lead {
    /// Writes the lead as a partner's answer has it: JSON. The affiliate is the bucket's, as JSON text: a
    /// bucket holds leads of its own affiliate only. By hand, because a page writes up to 5,000 of them.
    pub fn write(&self, affiliate_id: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"id":"#);
        quote(self.id.as_str(), to);
        to.extend_from_slice(br#","email":"#);
        quote(&self.email, to);
        to.extend_from_slice(br#","affiliateID":"#);
        to.extend_from_slice(affiliate_id);
        to.extend_from_slice(br#","status":"#);
        quote(&self.status, to);
        to.extend_from_slice(br#","createdDate":""#);
        to.extend_from_slice(&self.created_date.text());
        match self.ftd {
            None => to.extend_from_slice(br#"","ftd":null}"#),
            Some(ftd) => {
                to.extend_from_slice(br#"","ftd":""#);
                to.extend_from_slice(&ftd.text());
                to.extend_from_slice(br#""}"#);
            }
        }
    }
}

/// What the answer's object is keyed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyBy {
    /// `"email"`.
    #[default]
    Email,
    /// `"id"`.
    Id,
}

/// A range of moments, both ends included; `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First moment.
    pub from: Option<i64>,
    /// Last moment.
    pub to: Option<i64>,
}

impl Range {
    /// Whether the moment is in the range.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= moment.millis()) && self.to.is_none_or(|to| moment.millis() <= to)
    }

    /// The range of possible moments; `None` where it holds none.
    pub fn bounds(&self) -> Option<RangeInclusive<i64>> {
        let from = self.from.unwrap_or(i64::MIN).max(Timestamp::MIN.millis());
        let to = self.to.unwrap_or(i64::MAX).min(Timestamp::MAX.millis());
        (from <= to).then_some(from..=to)
    }
}

/// `filters`, all of which a lead must pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `filters.createdDate`
    pub created: Range,
    /// `filters.updatedDate`; where present it also decides the order.
    pub updated: Option<Range>,
    /// `filters.status`; distinct and not empty: an empty list counts as absent, as with `emails`.
    pub statuses: Option<Vec<String>>,
}

impl Filters {
    /// Whether the lead passes all of them.
    pub fn accept(&self, lead: &Lead) -> bool {
        self.created.contains(lead.created_date)
            && self.updated.is_none_or(|range| range.contains(lead.updated_date))
            && self.statuses.as_ref().is_none_or(|statuses| statuses.contains(&lead.status))
    }
}

/// A request body of the Leads endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadsQuery {
    /// The emails and ids asked for, in the form they are compared in; `None` means all leads.
    pub keys: Option<Keys>,
    /// `keyBy`
    pub key_by: KeyBy,
    /// `filters`
    pub filters: Filters,
    /// `limit`
    pub limit: usize,
    /// `offset`
    pub offset: u64,
    /// `cursor`, not yet verified.
    pub cursor: Option<String>,
}

/// Distinct emails and ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Emails, as [`Email::key_of`] has them.
    pub emails: Vec<String>,
    /// Client ids.
    pub ids: Vec<String>,
}

impl LeadsQuery {
    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        let emails = distinct(object.texts("emails")?.unwrap_or_default(), |text| Email::key_of(&text));
        let ids = distinct(object.texts("ids")?.unwrap_or_default(), |text| text.into_owned());
        if emails.len() + ids.len() > LIMIT_MAX {
            return Err(Invalid::new(format!("emails and ids must have at most {LIMIT_MAX} entries in all")));
        }
        let key_by = match object.text("keyBy", usize::MAX)?.as_deref() {
            None | Some("email") => KeyBy::Email,
            Some("id") => KeyBy::Id,
            Some(_) => return Err(Invalid::new("keyBy must be \"email\" or \"id\"")),
        };
        let filters = match object.object("filters")? {
            None => Filters::default(),
            Some(filters) => Filters {
                created: range(&filters, "createdDate")?.unwrap_or_default(),
                updated: range(&filters, "updatedDate")?,
                statuses: statuses(&filters)?,
            },
        };
        let limit = object.integer("limit", 1..=LIMIT_MAX as u64)?.unwrap_or(LIMIT_DEFAULT) as usize;
        let offset = object.integer("offset", 0..=OFFSET_MAX)?;
        let cursor = object.text("cursor", CURSOR_MAX)?.map(std::borrow::Cow::into_owned);
        if cursor.is_some() && offset.is_some() {
            return Err(Invalid::new("cursor must not be given together with offset"));
        }
        let keys = (!emails.is_empty() || !ids.is_empty()).then_some(Keys { emails, ids });
        Ok(Self { keys, key_by, filters, limit, offset: offset.unwrap_or(0), cursor })
    }
}

fn distinct<T>(given: Vec<T>, normalise: impl Fn(T) -> String) -> Vec<String> {
    let mut texts: Vec<String> = given.into_iter().map(normalise).collect();
    let mut seen = HashSet::with_capacity(texts.len());
    let firsts: Vec<bool> = texts.iter().map(|text| seen.insert(text.as_str())).collect();
    let mut firsts = firsts.into_iter();
    texts.retain(|_| firsts.next().unwrap_or(true));
    texts
}

fn statuses(filters: &Object<'_>) -> Result<Option<Vec<String>>, Invalid> {
    let statuses = distinct(filters.texts("status")?.unwrap_or_default(), |text| text.into_owned());
    if statuses.len() > STATUSES_MAX {
        return Err(Invalid::new(format!("filters.status must have at most {STATUSES_MAX} entries")));
    }
    Ok((!statuses.is_empty()).then_some(statuses))
}

fn range(filters: &Object<'_>, name: &str) -> Result<Option<Range>, Invalid> {
    let Some(raw) = filters.raw(name) else { return Ok(None) };
    let expected = || {
        Invalid::new(format!(
            "{} must be [from, to] in epoch milliseconds, null for an open side",
            filters.place(name)
        ))
    };
    let ends: Vec<Option<Moment>> = serde_json::from_str(raw).map_err(|_| expected())?;
    let [from, to] = ends.try_into().map_err(|_| expected())?;
    let range = Range { from: from.map(|Moment(m)| m), to: to.map(|Moment(m)| m) };
    match (range.from, range.to) {
        (Some(from), Some(to)) if from > to => {
            Err(Invalid::new(format!("{} must not have from after to", filters.place(name))))
        }
        _ => Ok(Some(range)),
    }
}

/// Epoch milliseconds, as a string or a number.
struct Moment(i64);

impl<'de> serde::Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Digits;
        impl serde::de::Visitor<'_> for Digits {
            type Value = Moment;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("epoch milliseconds")
            }

            fn visit_i64<E: serde::de::Error>(self, millis: i64) -> Result<Moment, E> {
                Ok(Moment(millis))
            }

            fn visit_u64<E: serde::de::Error>(self, millis: u64) -> Result<Moment, E> {
                i64::try_from(millis).map(Moment).map_err(E::custom)
            }

            fn visit_f64<E: serde::de::Error>(self, millis: f64) -> Result<Moment, E> {
                // Beyond these a float does not hold every integer.
                let whole = millis.fract() == 0.0 && millis.abs() < 9_007_199_254_740_992.0;
                if whole { Ok(Moment(millis as i64)) } else { Err(E::custom(millis)) }
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Moment, E> {
                text.trim().parse().map(Moment).map_err(E::custom)
            }
        }
        from.deserialize_any(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lead: &Lead) -> String {
        let mut text = Vec::new();
        lead.write(br#""1234567890""#, &mut text);
        String::from_utf8(text).unwrap()
    }

    fn parse(body: &str) -> Result<LeadsQuery, String> {
        LeadsQuery::parse(body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_body_asks_for_the_first_hundred() {
        for body in ["", "{}", r#"{"emails":[],"ids":null,"filters":{},"limit":null,"cursor":null}"#] {
            let query = parse(body).unwrap();
            assert_eq!((query.keys, query.limit, query.offset), (None, 100, 0));
            assert_eq!(query.filters, Filters::default());
        }
    }

    #[test]
    fn the_published_body_is_read() {
        let query = parse(
            r#"{"emails": ["user1@example.com"], "ids": ["69ce524d741e8f2238329fff"], "keyBy": "email",
                "filters": {"createdDate": ["1676172330450", "1776172330450"]}, "limit": 100, "offset": 0}"#,
        )
        .unwrap();
        let keys = query.keys.unwrap();
        assert_eq!(
            (keys.emails, keys.ids),
            (vec!["user1@example.com".into()], vec!["69ce524d741e8f2238329fff".into()])
        );
        assert_eq!(
            query.filters.created,
            Range { from: Some(1_676_172_330_450), to: Some(1_776_172_330_450) }
        );
    }

    #[test]
    fn duplicates_count_once_and_blank_entries_do_not_mean_everything() {
        let keys = parse(r#"{"emails":[" A@x.com","a@X.com ",""],"ids":["1","1"]}"#).unwrap().keys.unwrap();
        assert_eq!((keys.emails, keys.ids), (vec!["a@x.com".into(), String::new()], vec!["1".into()]));
        assert!(parse(r#"{"emails":[""]}"#).unwrap().keys.is_some());
        let many = |n: usize| format!("{{\"emails\":[{}]}}", vec![r#""same@x.com""#; n].join(","));
        assert!(parse(&many(6000)).is_ok());
        let distinct = |n: usize| {
            format!("{{\"ids\":[{}]}}", (0..n).map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(","))
        };
        assert!(parse(&distinct(5000)).is_ok());
        assert_eq!(
            parse(&distinct(5001)).unwrap_err(),
            "emails and ids must have at most 5000 entries in all"
        );
    }

    #[test]
    fn ranges_take_strings_numbers_and_null() {
        let created = |text: &str| {
            parse(&format!(r#"{{"filters":{{"createdDate":{text}}}}}"#)).map(|q| q.filters.created)
        };
        assert_eq!(created("[1,\"2\"]").unwrap(), Range { from: Some(1), to: Some(2) });
        assert_eq!(created("[null,-5]").unwrap(), Range { from: None, to: Some(-5) });
        assert_eq!(created("[1.0,2e3]").unwrap(), Range { from: Some(1), to: Some(2000) });
        assert_eq!(created("null").unwrap(), Range::default());
        let expected = "filters.createdDate must be [from, to] in epoch milliseconds, null for an open side";
        for text in [
            "[]",
            "[1]",
            "[1,2,3]",
            "7",
            "{}",
            "[\"\",null]",
            "[\"x\",null]",
            "[1.5,null]",
            "[1e300,null]",
            "[true,null]",
        ] {
            assert_eq!(created(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(created("[\"99999999999999999999\",null]").unwrap_err(), expected);
        assert_eq!(created("[2,1]").unwrap_err(), "filters.createdDate must not have from after to");
        assert!(created("[2,2]").is_ok());
    }

    #[test]
    fn messages_name_the_field() {
        for (body, message) in [
            (r#"{"limit":0}"#, "limit must be an integer from 1 to 5000"),
            (r#"{"limit":5001}"#, "limit must be an integer from 1 to 5000"),
            (r#"{"limit":"10"}"#, "limit must be an integer from 1 to 5000"),
            (r#"{"limit":1.5}"#, "limit must be an integer from 1 to 5000"),
            (r#"{"offset":-1}"#, "offset must be an integer from 0 to 1000000000"),
            (r#"{"offset":1000000001}"#, "offset must be an integer from 0 to 1000000000"),
            (r#"{"keyBy":"phone"}"#, r#"keyBy must be "email" or "id""#),
            (r#"{"keyBy":1}"#, "keyBy must be a string"),
            (r#"{"emails":"a@b.c"}"#, "emails must be an array of strings"),
            (r#"{"ids":["a",7]}"#, "ids[1] must be a string"),
            (r#"{"filters":[]}"#, "filters must be an object"),
            (r#"{"filters":{"status":"new"}}"#, "filters.status must be an array of strings"),
            (r#"{"filters":{"status":[1]}}"#, "filters.status[0] must be a string"),
            (r#"{"cursor":"x","offset":0}"#, "cursor must not be given together with offset"),
            (r#"{"cursor":5}"#, "cursor must be a string"),
        ] {
            assert_eq!(parse(body).unwrap_err(), message, "{body}");
        }
    }

    #[test]
    fn a_lead_is_shown_as_published() {
        let lead = Lead {
            id: ClientId::new("69ce524d741e8f2238329fff"),
            email: "user1@example.com".into(),
            status: "active".into(),
            created_date: Timestamp::from_millis(1_609_459_200_000).unwrap(),
            updated_date: Timestamp::from_millis(1_609_459_200_000).unwrap(),
            ftd: None,
        };
        assert_eq!(
            written(&lead),
            r#"{"id":"69ce524d741e8f2238329fff","email":"user1@example.com","affiliateID":"1234567890","status":"active","createdDate":"2021-01-01T00:00:00.000Z","ftd":null}"#
        );
    }
}
