//! A record of the input as a client: the fields of Sign Up, and what else a record may carry.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::model::{ClientChange, ClientId, Invalid, Object, SignUp, Timestamp};

/// What a record may carry besides the fields that can be changed in the admin API; the last two
/// are ignored: nobody is mailed, and the time of the import counts as the last change.
pub(super) const BESIDES: [&str; 4] = ["id", "createdDate", "updatedDate", "sendEmail"];

/// A valid record.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The fields of Sign Up.
    pub(super) given: SignUp,
    /// The same fields as a change of a client that exists, `ftd` and `bucketId` included.
    pub(super) change: ClientChange,
    /// Its own id.
    pub(super) id: Option<ClientId>,
    /// `createdDate`
    pub(super) created_date: Option<Timestamp>,
    /// `ftd`
    pub(super) ftd: Option<Timestamp>,
}

/// Why a record is not imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rejection {
    /// The field at fault; empty for the record as a whole.
    pub(super) field: String,
    /// What is expected of it.
    pub(super) reason: String,
}

impl Rejection {
    pub(super) fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}

impl Row {
    /// Reads a line of JSON Lines.
    pub(super) fn from_json(line: &[u8]) -> Result<Self, Rejection> {
        let whole = |error: Invalid| Rejection::new("", error.to_string().replace("body", "line"));
        Object::parse(line).map_err(whole)?;
        let fields = serde_json::from_slice(line);
        Self::read(fields.map_err(|_| Rejection::new("", "line must be a JSON object"))?)
    }

    /// Reads a record's fields. Their form is that of Sign Up (CONTRACT.md, section 3).
    pub(super) fn read(mut fields: Map<String, Value>) -> Result<Self, Rejection> {
        let created_date = moment(&mut fields, "createdDate")?;
        let ftd = moment(&mut fields, "ftd")?;
        let text = Value::Object(fields).to_string();
        let invalid = |error: Invalid| {
            let reason = error.to_string();
            // Messages begin with the field that they are about, except that one.
            let field = match reason.strip_prefix("Email, phone and first name") {
                Some(_) => missing(&text),
                None => reason.split(' ').next().unwrap_or_default().to_owned(),
            };
            Rejection { field, reason }
        };
        let object = Object::parse(text.as_bytes()).map_err(invalid)?;
        ClientChange::only_known(&object, &BESIDES).map_err(invalid)?;
        let mut given = SignUp::read(&object).map_err(invalid)?;
        given.send_email = false;
        let change = ClientChange::read(&object).map_err(invalid)?;
        let id = object.text("id", usize::MAX).map_err(invalid)?;
        let id = match id.as_deref().filter(|id| !id.is_empty()) {
            Some(id)
                if id.len() > ClientId::MAX_BYTES
                    || id.chars().any(|c| c.is_control() || c.is_whitespace()) =>
            {
                let max = ClientId::MAX_BYTES;
                return Err(Rejection::new(
                    "id",
                    format!("id must have at most {max} bytes, and no blanks or control characters"),
                ));
            }
            id => id.map(ClientId::new),
        };
        Ok(Self { given, change, id, created_date, ftd })
    }
}

/// The required fields that a record lacks.
fn missing(text: &str) -> String {
    let object = Object::parse(text.as_bytes()).ok();
    let is_blank = |name: &&str| {
        let found = object.as_ref().and_then(|object| object.text(name, usize::MAX).ok().flatten());
        found.is_none_or(|text| text.trim().is_empty())
    };
    ["email", "phone", "firstName"].into_iter().filter(is_blank).collect::<Vec<_>>().join(" ")
}

/// A moment of the past, ISO 8601 or epoch milliseconds; ISO 8601 afterwards.
fn moment(fields: &mut Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Rejection> {
    let Some(value) = fields.get_mut(name) else { return Ok(None) };
    let read = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.trim().is_empty() => return Ok(None),
        Value::String(text) => match text.trim() {
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().and_then(Timestamp::from_millis)
            }
            text => Timestamp::parse_iso(text),
        },
        Value::Number(number) => number.as_i64().and_then(Timestamp::from_millis),
        _ => None,
    };
    let Some(read) = read else {
        let reason = format!("{name} must be an ISO 8601 date-time or epoch milliseconds");
        return Err(Rejection { field: name.to_owned(), reason });
    };
    if read > Timestamp::now() {
        return Err(Rejection {
            field: name.to_owned(),
            reason: format!("{name} must not be in the future"),
        });
    }
    *value = read.to_string().into();
    Ok(Some(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Row, (String, String)> {
        Row::from_json(json.as_bytes()).map_err(|rejection| (rejection.field, rejection.reason))
    }

    fn with(fields: &str) -> Result<Row, (String, String)> {
        read(&format!(r#"{{"email":"a@example.com","phone":"12345","firstName":"A"{fields}}}"#))
    }

    #[test]
    fn a_record_carries_what_sign_up_ignores() {
        let row = with(r#","id":"69ce","createdDate":"1676172330450","ftd":1676172330451,"sendEmail":true"#)
            .unwrap();
        assert_eq!(row.id, Some(ClientId::new("69ce")));
        assert_eq!(row.created_date, Timestamp::from_millis(1_676_172_330_450));
        assert_eq!(row.ftd, Timestamp::from_millis(1_676_172_330_451));
        assert!(!row.given.send_email);
        let iso = with(r#","createdDate":"2023-02-12T03:25:30.450Z","ftd":null,"id":null"#).unwrap();
        assert_eq!((iso.created_date, iso.ftd, iso.id), (row.created_date, None, None));
    }

    #[test]
    fn a_rejection_names_the_field() {
        for (fields, field, reason) in [
            (r#","lastNam":"x""#, "lastNam", "lastNam is not a known field"),
            (r#","billing":{"town":"x"}"#, "billing.town", "billing.town is not a known field"),
            (r#","agreements":[{"ip":"x"}]"#, "agreements[0].ip", "agreements[0].ip must be an IP address"),
            (r#","ftd":"soon""#, "ftd", "ftd must be an ISO 8601 date-time or epoch milliseconds"),
            (r#","createdDate":"2280-01-01""#, "createdDate", "createdDate must not be in the future"),
            (
                r#","createdDate":true"#,
                "createdDate",
                "createdDate must be an ISO 8601 date-time or epoch milliseconds",
            ),
            (r#","id":"a b""#, "id", "id must have at most 128 bytes, and no blanks or control characters"),
            (r#","bucketId":"a b""#, "bucketId", "bucketId must be the id of a bucket"),
        ] {
            assert_eq!(with(fields).unwrap_err(), (field.to_owned(), reason.to_owned()));
        }
        let required = "Email, phone and first name are required".to_owned();
        assert_eq!(
            read(r#"{"email":"a@example.com","phone":" "}"#).unwrap_err(),
            ("phone firstName".into(), required)
        );
        for line in ["[]", "{", "7", "\"x\"", "{\"email\":}"] {
            let (field, reason) = read(line).unwrap_err();
            assert!(field.is_empty() && reason.starts_with("line must be"), "{line}: {reason}");
        }
    }
}
