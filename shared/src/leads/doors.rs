//! Doors for fuzzing (`fuzz/`) and for tests: cursors of leads. Compiled for tests, and with the feature that only `fuzz/` asks for;
//! never in what is deployed.

use super::cursor::{self, Cursor};
use crate::model::LeadsQuery;

/// What a cursor is bound to.
pub fn fingerprint(list: &str, query: &LeadsQuery) -> [u8; 32] {
    cursor::fingerprint(list, query)
}

/// A cursor's text.
pub fn seal(search: &[u8; 32], position: u64, key: &str) -> String {
    Cursor { position, skip: 0, key: key.to_owned() }.to_text(search)
}

/// A cursor's position and key.
pub fn open(search: &[u8; 32], text: &str) -> Option<(u64, String)> {
    Cursor::parse(text, search).map(|cursor| (cursor.position, cursor.key))
}
