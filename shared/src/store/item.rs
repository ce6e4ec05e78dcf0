//! DynamoDB items: building and reading their attributes.

use super::StoreError;
use crate::model::Timestamp;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// An item as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// A string attribute.
pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub(super) fn n(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A binary attribute.
pub(super) fn b(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// A list of strings.
pub(super) fn list<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> AttributeValue {
    AttributeValue::L(texts.into_iter().map(s).collect())
}

/// An item of these attributes.
pub(super) fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Reads an item's attributes; a missing or mistyped one is a [`StoreError`] that names the kind
/// of item.
pub(super) struct Reader<'a> {
    kind: &'static str,
    item: &'a Item,
}

impl<'a> Reader<'a> {
    pub(super) fn new(kind: &'static str, item: &'a Item) -> Self {
        Self { kind, item }
    }

    pub(super) fn malformed(&self) -> StoreError {
        StoreError::malformed(self.kind)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.item.contains_key(name)
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<&'a str> {
        self.item.get(name)?.as_s().ok().map(String::as_str)
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        self.optional_text(name).ok_or_else(|| self.malformed())
    }

    pub(super) fn optional_moment(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let Some(value) = self.item.get(name) else { return Ok(None) };
        let millis = value.as_n().ok().and_then(|text| text.parse().ok());
        millis.and_then(Timestamp::from_millis).map(Some).ok_or_else(|| self.malformed())
    }

    pub(super) fn moment(&self, name: &str) -> Result<Timestamp, StoreError> {
        self.optional_moment(name)?.ok_or_else(|| self.malformed())
    }

    pub(super) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.item.get(name)?.as_bool().ok().copied()
    }

    pub(super) fn map(&self, name: &str) -> Option<&'a Item> {
        self.item.get(name)?.as_m().ok()
    }

    pub(super) fn maps(&self, name: &str) -> impl Iterator<Item = &'a Item> {
        let values = self.item.get(name).and_then(|value| value.as_l().ok());
        values.into_iter().flatten().filter_map(|value| value.as_m().ok())
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        let number = self.item.get(name).and_then(|value| value.as_n().ok());
        number.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&'a [u8], StoreError> {
        match self.item.get(name) {
            Some(AttributeValue::B(blob)) => Ok(blob.as_ref()),
            _ => Err(self.malformed()),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let Some(AttributeValue::L(values)) = self.item.get(name) else { return Err(self.malformed()) };
        values.iter().map(|value| value.as_s().cloned().map_err(|_| self.malformed())).collect()
    }
}
