//! What the function reads of a DynamoDB stream's event, and its answer: names of records that are to
//! be delivered again. AWS's own types of these would bring crates that no other function has.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A batch of stream records.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// In the order of the changes.
    #[serde(rename = "Records")]
    pub records: Vec<Record>,
}

/// A change of an item.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// `INSERT`, `MODIFY` or `REMOVE`.
    #[serde(rename = "eventName")]
    pub event_name: String,
    /// What changed.
    #[serde(rename = "dynamodb")]
    pub change: Change,
}

/// What changed.
#[derive(Debug, Deserialize)]
pub struct Change {
    /// The record's name, by which it is reported.
    #[serde(rename = "SequenceNumber")]
    pub sequence_number: String,
    /// The item after the change; empty where it was removed.
    #[serde(rename = "NewImage", default)]
    pub new_image: HashMap<String, Attribute>,
}

/// An attribute, as far as it is a text or a flag.
#[derive(Debug, Deserialize)]
pub struct Attribute {
    #[serde(rename = "S")]
    text: Option<String>,
    #[serde(rename = "BOOL")]
    flag: Option<bool>,
}

/// The records that are to be delivered again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Lambda goes back to the first of them.
    pub batch_item_failures: Vec<Failure>,
}

/// A record that is to be delivered again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its sequence number.
    pub item_identifier: String,
}

impl Record {
    /// A text of the new item.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.change.new_image.get(name)?.text.as_deref()
    }

    /// Whether a flag of the new item is there and set.
    pub fn has_flag(&self, name: &str) -> bool {
        self.change.new_image.get(name).and_then(|attribute| attribute.flag) == Some(true)
    }
}
