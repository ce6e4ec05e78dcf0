//! Where the next page of leads begins, bound to the list and the filters of the page before.

use crate::cursor;
use crate::model::LeadsQuery;
use crate::store::keys;
use sha2::{Digest, Sha256};

/// No list is as long, and a page more can be counted still.
const POSITION_MAX: u64 = 1 << 53;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// How many matching leads were passed.
    pub(super) position: u64,
    /// How many more to pass before the page: what is left of an offset.
    pub(super) skip: u64,
    /// Sort key of the last lead that was looked at.
    pub(super) key: String,
}

/// Digest of all that decides which leads match and in which order. `limit` and `keyBy` may
/// change from page to page.
pub(super) fn fingerprint(list: &str, query: &LeadsQuery) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    part("leads cursor 1");
    part(list);
    let filters = &query.filters;
    for range in [Some(filters.created), filters.updated] {
        part(&format!("{range:?}"));
    }
    let mut texts = |name: &str, texts: &[String]| {
        part(name);
        part(&texts.len().to_string());
        let mut sorted: Vec<_> = texts.iter().collect();
        sorted.sort_unstable();
        sorted.into_iter().for_each(|text| part(text));
    };
    if let Some(statuses) = &filters.statuses {
        texts("status", statuses);
    }
    if let Some(keys) = &query.keys {
        texts("emails", &keys.emails);
        texts("ids", &keys.ids);
    }
    hash.finalize().into()
}

impl Cursor {
    pub(super) fn to_text(&self, fingerprint: &[u8; 32]) -> String {
        let skip = if self.skip == 0 { String::new() } else { format!("+{}", self.skip) };
        cursor::seal(fingerprint, &format!("{}{skip}:{}", self.position, self.key))
    }

    /// Reads a cursor of the same search; `None` for any other text.
    pub(super) fn parse(text: &str, fingerprint: &[u8; 32]) -> Option<Self> {
        let place = cursor::open(fingerprint, text)?;
        let (position, key) = place.split_once(':')?;
        // Anybody can make a cursor of any place: one that no list has is none.
        keys::split_moment(key)?;
        let (position, skip) = position.split_once('+').unwrap_or((position, "0"));
        let count = |text: &str| text.parse().ok().filter(|count| *count <= POSITION_MAX);
        Some(Self { position: count(position)?, skip: count(skip)?, key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(list: &str, body: &str) -> [u8; 32] {
        fingerprint(list, &LeadsQuery::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn reads_back_for_the_same_search_with_another_limit_and_key() {
        let cursor = Cursor { position: 100, skip: 0, key: "1609459200000#69ce524d741e8f2238329fff".into() };
        let text = cursor.to_text(&print("B#1", r#"{"limit":100,"filters":{"status":["a","b"]}}"#));
        let same = print("B#1", r#"{"limit":7,"keyBy":"id","filters":{"status":["b","a"]}}"#);
        assert_eq!(Cursor::parse(&text, &same), Some(cursor));
    }

    #[test]
    fn every_part_of_the_search_binds() {
        let searches = [
            ("B#1", "{}"),
            ("B#2", "{}"),
            ("B#1#source", "{}"),
            ("B#1", r#"{"filters":{"createdDate":[1,null]}}"#),
            ("B#1", r#"{"filters":{"createdDate":[null,1]}}"#),
            ("B#1", r#"{"filters":{"updatedDate":[1,null]}}"#),
            ("B#1", r#"{"filters":{"updatedDate":[null,null]}}"#),
            ("B#1", r#"{"filters":{"status":["a"]}}"#),
            ("B#1", r#"{"emails":["a"]}"#),
            ("B#1", r#"{"ids":["a"]}"#),
            ("B#1", r#"{"ids":["a","b"]}"#),
        ];
        let prints: std::collections::HashSet<_> =
            searches.iter().map(|(list, body)| print(list, body)).collect();
        assert_eq!(prints.len(), searches.len());
    }

    #[test]
    fn damaged_and_invented_text_is_refused() {
        let search = print("B#1", "{}");
        let text = Cursor { position: 7, skip: 3, key: "1609459200000#id".into() }.to_text(&search);
        assert_eq!(Cursor::parse(&text, &print("B#2", "{}")), None);
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert!(Cursor::parse(&damaged, &search).is_none(), "{damaged}");
            assert!(Cursor::parse(&text[..at], &search).is_none());
        }
        // It needs no secret: whoever knows how can seal a place that was never given out.
        let sealed = |position| Cursor { position, skip: 0, key: "1609459200000#id".into() }.to_text(&search);
        assert!(Cursor::parse(&sealed(POSITION_MAX), &search).is_some());
        assert!(Cursor::parse(&sealed(u64::MAX), &search).is_none());
        for invented in ["", "AAAA", "é", &"A".repeat(5000)] {
            assert_eq!(Cursor::parse(invented, &search), None);
        }
    }
}
