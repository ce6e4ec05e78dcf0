use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The state of a record that can be changed. A change is conditional on the state it is based on,
/// so that of two changes made at once one is refused instead of lost (CONTRACT.md, section 5), and
/// gives the record a new, random state, by which its own write is recognised when the answer to it
/// was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version(Option<String>);

impl Version {
    /// A state that no record has had. (96 random bits.)
    ///
    /// # Errors
    /// The operating system's random source failed.
    pub fn fresh() -> Result<Self, getrandom::Error> {
        let mut noise = [0u8; 12];
        getrandom::fill(&mut noise)?;
        Ok(Self(Some(URL_SAFE_NO_PAD.encode(noise))))
    }

    /// A stored state; `None` is that of a record which has none until it is changed.
    pub fn stored(text: Option<&str>) -> Self {
        Self(text.map(str::to_owned))
    }

    /// The text to store, where there is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The state as an entity tag.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.0.as_deref().unwrap_or("0"))
    }

    /// Whether an `If-Match` header's value names this state.
    pub fn matches(&self, if_match: &str) -> bool {
        let own = self.etag();
        if_match.split(',').map(str::trim).any(|tag| tag == "*" || tag == own)
    }
}

/// A record and the state that it was read in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// The record.
    pub value: T,
    /// Its state, on which changes are conditional.
    pub version: Version,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_matches_its_own_tag_and_the_star() {
        let (one, other) = (Version::fresh().unwrap(), Version::fresh().unwrap());
        assert_ne!(one, other);
        assert!(one.matches(&one.etag()) && one.matches("*"));
        assert!(one.matches(&format!("{}, {}", other.etag(), one.etag())));
        assert!(!one.matches(&other.etag()) && !one.matches(""));
        assert_eq!(Version::default().etag(), "\"0\"");
        assert_eq!(Version::stored(one.as_str()), one);
    }
}
