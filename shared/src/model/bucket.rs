use super::Timestamp;
use std::fmt;

/// Most sources that can be assigned to one bucket.
pub const SOURCES_MAX: usize = 90;
/// Longest bucket id, affiliate id of a bucket, source of a bucket, and name of anything an
/// operator names, in characters.
pub const NAME_MAX_CHARS: usize = 128;

/// Id of a bucket, as the partner's URL names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId(String);

impl BucketId {
    /// Reads an id: 1 to 128 ASCII letters, digits, `-` and `_`. Anything else names no bucket,
    /// which is known without a look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=NAME_MAX_CHARS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        valid.then(|| Self(text.to_owned()))
    }

    /// A new random id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container of one affiliate's leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Id.
    pub id: BucketId,
    /// Name as operators see it.
    pub name: String,
    /// The affiliate it belongs to, for good.
    pub affiliate_id: String,
    /// Its assigned sources; each is assigned to one bucket of an affiliate at most.
    pub sources: Vec<String>,
    /// When it was made; of an affiliate's buckets without sources the oldest takes what no
    /// other does.
    pub created_date: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_hold_what_the_keys_are_joined_with() {
        for text in ["", "a#b", "a/b", "é", "a b", &"a".repeat(129)] {
            assert_eq!(BucketId::parse(text), None);
        }
        for text in ["69ce5200741e8f2238320001", "a_b-C", &"a".repeat(128), BucketId::generate().as_str()] {
            assert!(BucketId::parse(text).is_some());
        }
    }
}
