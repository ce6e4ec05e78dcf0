//! Request bodies as JSON objects whose fields are read one by one, so that every message can
//! name the field and what is expected of it.

use super::Invalid;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 32;

/// A JSON object with its values unread. Of a repeated name the last one counts, as in
/// JavaScript; `null` counts as absent.
#[derive(Debug)]
pub struct Object<'a> {
    path: String,
    fields: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &RawValue>()? {
                    fields.insert(name, value);
                }
                Ok(Object { path: String::new(), fields })
            }
        }
        from.deserialize_map(Fields)
    }
}

/// Writes a text as JSON. What needs no escape, which is nearly all there is, goes in one piece.
pub fn quote(text: &str, to: &mut Vec<u8>) {
    let plain = |byte: &u8| *byte >= b' ' && *byte != b'"' && *byte != b'\\';
    if text.as_bytes().iter().all(plain) {
        to.push(b'"');
        to.extend_from_slice(text.as_bytes());
        to.push(b'"');
    } else {
        let escaped = serde_json::Value::from(text).to_string();
        to.extend_from_slice(escaped.as_bytes());
    }
}

/// Whether brackets nest deeper than `limit`, in one pass that needs no stack. It counts those
/// of malformed JSON as well, which is refused anyway.
pub fn depth_exceeds(body: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (true, _) => {}
            (false, b'"') => in_text = true,
            (false, b'[' | b'{') => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    false
}

impl<'a> Object<'a> {
    /// Reads a request body; an empty one is `{}`.
    ///
    /// # Errors
    /// Not UTF-8, not JSON, nested deeper than 32 levels, or not an object.
    pub fn parse(body: &'a [u8]) -> Result<Self, Invalid> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { path: String::new(), fields: BTreeMap::new() });
        }
        let text = std::str::from_utf8(body).map_err(|_| Invalid::new("body must be UTF-8"))?;
        if depth_exceeds(body, DEPTH_MAX) {
            return Err(Invalid::new("body must not be nested deeper than 32 levels"));
        }
        serde_json::from_str(text).map_err(|error| {
            Invalid::new(match error.classify() {
                serde_json::error::Category::Data => "body must be a JSON object",
                _ => "body must be valid JSON",
            })
        })
    }

    /// A field's place as messages name it: `billing.city`, `agreements[0].ip`.
    pub fn place(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn invalid<T>(&self, name: &str, expected: &str) -> Result<T, Invalid> {
        Err(Invalid::new(format!("{} {expected}", self.place(name))))
    }

    /// Names of the fields that are present, those that are `null` included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(|name| &**name)
    }

    /// Refuses fields that an operator's request cannot have (CONTRACT.md, section 5): a typo must
    /// not pass silently.
    ///
    /// # Errors
    /// Names the first field that is not among `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), Invalid> {
        match self.names().find(|name| !known.contains(name)) {
            Some(unknown) => {
                let shown: String = unknown.chars().take(64).collect();
                self.invalid(&shown, "is not a known field")
            }
            None => Ok(()),
        }
    }

    /// A string of 1 to `max` characters, without surrounding blanks.
    ///
    /// # Errors
    /// Missing, another type, blank, longer, or with control characters.
    pub fn name(&self, name: &str, max: usize) -> Result<String, Invalid> {
        let text = self.text(name, usize::MAX)?;
        match text.as_deref().map(str::trim) {
            Some(text) if is_name(text, max) => Ok(text.to_owned()),
            _ => self.invalid(
                name,
                &format!("must be a string of 1 to {max} characters without control characters"),
            ),
        }
    }

    /// An array of at most `most` distinct names as [`Object::name`] reads them; duplicates count once.
    ///
    /// # Errors
    /// Another type, an element that is no such name, or more elements.
    pub fn list_of_names(&self, name: &str, max: usize, most: usize) -> Result<Option<Vec<String>>, Invalid> {
        let Some(texts) = self.texts(name)? else { return Ok(None) };
        let mut names: Vec<String> = Vec::new();
        for (at, text) in texts.iter().map(|text| text.trim()).enumerate() {
            if !is_name(text, max) {
                return self.invalid(
                    &format!("{name}[{at}]"),
                    &format!("must have 1 to {max} characters and no control characters"),
                );
            }
            if names.iter().all(|known| known != text) {
                // Looked at here: each further one would be compared with all that are too many.
                if names.len() == most {
                    return self.invalid(name, &format!("must have at most {most} elements"));
                }
                names.push(text.to_owned());
            }
        }
        Ok(Some(names))
    }

    /// A field's JSON text, where it is present and not `null`.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|value| value.get()).filter(|text| *text != "null")
    }

    /// A string of at most `max` characters.
    ///
    /// # Errors
    /// Another type, or a longer text.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<Cow<'a, str>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let Ok(Text(text)) = serde_json::from_str(raw) else { return self.invalid(name, "must be a string") };
        // A character is at least one byte, so most texts need no counting.
        if text.len() > max && text.chars().count() > max {
            return self.invalid(name, &format!("must have at most {max} characters"));
        }
        Ok(Some(text))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// Another type.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Invalid> {
        match self.raw(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => self.invalid(name, "must be true or false"),
        }
    }

    /// An integer within bounds.
    ///
    /// # Errors
    /// Another type, or out of bounds.
    pub fn integer(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        // `7.0` is an integer as well: JSON does not tell the two apart, and some writers have floats only.
        let whole = match raw.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => raw,
        };
        match whole.parse() {
            Ok(value) if bounds.contains(&value) && !raw.starts_with('+') => Ok(Some(value)),
            _ => {
                self.invalid(name, &format!("must be an integer from {} to {}", bounds.start(), bounds.end()))
            }
        }
    }

    /// A nested object.
    ///
    /// # Errors
    /// Another type.
    pub fn object(&self, name: &str) -> Result<Option<Object<'a>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        match serde_json::from_str::<Object<'a>>(raw) {
            Ok(object) => Ok(Some(Object { path: self.place(name), ..object })),
            Err(_) => self.invalid(name, "must be an object"),
        }
    }

    /// An array of at most `max` objects.
    ///
    /// # Errors
    /// Another type, an element of another type, or more elements.
    pub fn objects(&self, name: &str, max: usize) -> Result<Option<Vec<Object<'a>>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
            return self.invalid(name, "must be an array of objects");
        };
        if elements.len() > max {
            return self.invalid(name, &format!("must have at most {max} elements"));
        }
        let read = |(at, element): (usize, &&'a RawValue)| {
            let path = format!("{}[{at}]", self.place(name));
            match serde_json::from_str::<Object<'a>>(element.get()) {
                Ok(object) => Ok(Object { path, ..object }),
                Err(_) => Err(Invalid::new(format!("{path} must be an object"))),
            }
        };
        elements.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// An array of strings.
    ///
    /// # Errors
    /// Another type, or an element of another type.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<Cow<'a, str>>>, Invalid> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        if let Ok(texts) = serde_json::from_str::<Vec<Text<'a>>>(raw) {
            return Ok(Some(texts.into_iter().map(|Text(text)| text).collect()));
        }
        let elements = serde_json::from_str::<Vec<&RawValue>>(raw).unwrap_or_default();
        let wrong =
            elements.iter().position(|element| serde_json::from_str::<Text<'_>>(element.get()).is_err());
        match wrong {
            Some(at) => self.invalid(&format!("{name}[{at}]"), "must be a string"),
            None => self.invalid(name, "must be an array of strings"),
        }
    }
}

fn is_name(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_json_has_them() {
        for text in ["", "plain", "Zoë 🎉", "a\"b", "a\\b", "\u{0}\n\u{1f}\u{7f}", "</script>"] {
            let mut quoted = b"x".to_vec();
            quote(text, &mut quoted);
            assert_eq!(
                String::from_utf8(quoted).unwrap(),
                format!("x{}", serde_json::to_string(text).unwrap())
            );
        }
    }

    fn message<T: std::fmt::Debug>(result: Result<T, Invalid>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn bodies_that_are_no_object() {
        for (body, expected) in [
            (&b"{"[..], "body must be valid JSON"),
            (b"{\"a\":1}x", "body must be valid JSON"),
            (b"{\"a\":01}", "body must be valid JSON"),
            (b"[]", "body must be a JSON object"),
            (b"null", "body must be a JSON object"),
            (b"\"text\"", "body must be a JSON object"),
            (b"7", "body must be a JSON object"),
            (b"{\"a\":\"\xff\"}", "body must be UTF-8"),
        ] {
            assert_eq!(message(Object::parse(body)), expected, "{}", String::from_utf8_lossy(body));
        }
        assert!(Object::parse(b"").unwrap().raw("a").is_none());
        assert!(Object::parse(b" \r\n").unwrap().raw("a").is_none());
    }

    #[test]
    fn unknown_fields_and_names_that_are_none() {
        let object =
            Object::parse(br#"{"name":" a ","blank":" ","l":["x","x"," y "],"bad":["x",""]}"#).unwrap();
        assert_eq!(message(object.only(&["name", "l"])), "bad is not a known field");
        assert!(object.only(&["name", "l", "blank", "bad"]).is_ok());
        assert_eq!(object.name("name", 1).unwrap(), "a");
        for name in ["blank", "missing", "l"] {
            assert!(object.name(name, 9).is_err(), "{name}");
        }
        assert_eq!(object.list_of_names("l", 9, 2).unwrap().unwrap(), ["x", "y"]);
        assert_eq!(message(object.list_of_names("l", 9, 1)), "l must have at most 1 elements");
        assert_eq!(
            message(object.list_of_names("bad", 9, 9)),
            "bad[1] must have 1 to 9 characters and no control characters"
        );
    }

    #[test]
    fn nesting_is_read_to_32_levels() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(Object::parse(nested(32).as_bytes()).is_ok());
        assert_eq!(
            message(Object::parse(nested(33).as_bytes())),
            "body must not be nested deeper than 32 levels"
        );
        assert!(Object::parse("[".repeat(1_000_000).as_bytes()).is_err());
        assert!(Object::parse(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["}"#).is_ok());
    }

    #[test]
    fn fields_are_read_by_type_and_named_in_messages() {
        let body = br#"{"t":"x\n","n":7,"b":true,"z":null,"o":{"i":1},"l":[{"k":2},3],"s":["a",null],"n":8}"#;
        let object = Object::parse(body).unwrap();
        assert_eq!(object.text("t", 2).unwrap().unwrap(), "x\n");
        assert_eq!(message(object.text("t", 1)), "t must have at most 1 characters");
        assert_eq!(message(object.text("n", 9)), "n must be a string");
        assert_eq!(object.integer("n", 1..=9).unwrap(), Some(8));
        let floats = Object::parse(br#"{"whole":7.00,"half":7.5,"large":7e0,"minus":-0.0}"#).unwrap();
        assert_eq!(floats.integer("whole", 1..=9).unwrap(), Some(7));
        for name in ["half", "large", "minus"] {
            assert!(floats.integer(name, 0..=9).is_err(), "{name}");
        }
        assert_eq!(message(object.integer("n", 1..=7)), "n must be an integer from 1 to 7");
        assert_eq!(message(object.integer("t", 1..=7)), "t must be an integer from 1 to 7");
        assert_eq!(object.boolean("b").unwrap(), Some(true));
        assert_eq!(message(object.boolean("n")), "n must be true or false");
        assert!(object.text("z", 9).unwrap().is_none() && object.boolean("missing").unwrap().is_none());
        let inner = object.object("o").unwrap().unwrap();
        assert_eq!(message(inner.text("i", 9)), "o.i must be a string");
        assert_eq!(message(object.object("n")), "n must be an object");
        assert_eq!(message(object.objects("l", 9)), "l[1] must be an object");
        assert_eq!(message(object.objects("l", 1)), "l must have at most 1 elements");
        assert_eq!(message(object.texts("s")), "s[1] must be a string");
        assert_eq!(message(object.texts("n")), "n must be an array of strings");
    }
}
