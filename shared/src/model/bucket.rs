use super::{Invalid, Object, Timestamp};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;

/// Most sources that can be assigned to one bucket: creating or deleting it with all their records
/// and the fence against late sign-ups fits one transaction of 100 writes.
pub const SOURCES_MAX: usize = 80;
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

impl Serialize for Bucket {
    /// The record of the admin API (CONTRACT.md, section 5).
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut shown = to.serialize_struct("Bucket", 5)?;
        shown.serialize_field("id", self.id.as_str())?;
        shown.serialize_field("name", &self.name)?;
        shown.serialize_field("affiliateID", &self.affiliate_id)?;
        shown.serialize_field("sources", &self.sources)?;
        shown.serialize_field("createdDate", &self.created_date.to_string())?;
        shown.end()
    }
}

/// The body that creates a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBucket {
    /// `name`
    pub name: String,
    /// `affiliateID`
    pub affiliate_id: String,
    /// `sources`; none where absent.
    pub sources: Vec<String>,
}

impl NewBucket {
    /// The fields of the body.
    pub const FIELDS: [&str; 3] = ["name", "affiliateID", "sources"];

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        object.only(&Self::FIELDS)?;
        Ok(Self {
            name: object.name("name", NAME_MAX_CHARS)?,
            affiliate_id: object.name("affiliateID", NAME_MAX_CHARS)?,
            sources: object.list_of_names("sources", NAME_MAX_CHARS, SOURCES_MAX)?.unwrap_or_default(),
        })
    }

    /// The bucket, made now.
    pub fn create(self) -> Bucket {
        Bucket {
            id: BucketId::generate(),
            name: self.name,
            affiliate_id: self.affiliate_id,
            sources: self.sources,
            created_date: Timestamp::now(),
        }
    }
}

/// The body that changes a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketChange {
    /// `name`
    pub name: Option<String>,
    /// `sources`, the whole new list.
    pub sources: Option<Vec<String>>,
}

impl BucketChange {
    /// The fields of the body.
    pub const FIELDS: [&str; 2] = ["name", "sources"];

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected or cannot be changed.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        super::refuse_unchangeable(&object, &["affiliateID", "id", "createdDate"])?;
        object.only(&Self::FIELDS)?;
        let name = object.raw("name").map(|_| object.name("name", NAME_MAX_CHARS)).transpose()?;
        let sources = object.list_of_names("sources", NAME_MAX_CHARS, SOURCES_MAX)?;
        if name.is_none() && sources.is_none() {
            return Err(Invalid::new("body must have name or sources to change"));
        }
        Ok(Self { name, sources })
    }

    /// The bucket with the change.
    pub fn apply(self, bucket: &Bucket) -> Bucket {
        Bucket {
            name: self.name.unwrap_or_else(|| bucket.name.clone()),
            sources: self.sources.unwrap_or_else(|| bucket.sources.clone()),
            ..bucket.clone()
        }
    }
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
