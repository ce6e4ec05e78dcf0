//! Cursors: a place to go on from, bound to the search that it belongs to.
//!
//! A cursor holds the place and a digest over it and over its search. The digest tells a cursor of
//! another search, or a damaged one, without any read. It needs no secret: a place in a list gives
//! no access to the list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const DIGEST: usize = 12;
/// A place: a position, thirteen digits, an id of at most 128 bytes, and separators.
const TEXT_MAX: usize = 300;

/// The cursor of a place.
pub fn seal(search: &[u8], place: &str) -> String {
    let mut bytes = digest(search, place).to_vec();
    bytes.extend_from_slice(place.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place of a cursor of the same search; `None` for any other text.
pub fn open(search: &[u8], text: &str) -> Option<String> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (sum, place) = bytes.split_at_checked(DIGEST)?;
    let place = std::str::from_utf8(place).ok()?;
    // An empty place is none of ours, and DynamoDB compares no key with it.
    (sum == digest(search, place) && !place.is_empty()).then(|| place.to_owned())
}

fn digest(search: &[u8], place: &str) -> [u8; DIGEST] {
    let whole: [u8; 32] = Sha256::new().chain_update(search).chain_update(place).finalize().into();
    std::array::from_fn(|at| whole[at])
}
