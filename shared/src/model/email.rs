use email_address::{EmailAddress, Options};

/// A valid email address, kept as it was given and compared without regard to case
/// (CONTRACT.md, sections 2 and 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    given: String,
    key: String,
}

impl Email {
    /// Longest address, in characters.
    pub const MAX_CHARS: usize = 254;
    /// Longest key, in characters: the small form of a letter can be two (`İ`).
    pub const KEY_MAX_CHARS: usize = 2 * Self::MAX_CHARS;

    /// Reads an address of valid form; surrounding blanks are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let given = text.trim();
        let options = Options::default().without_display_text().without_domain_literal().with_required_tld();
        // A quoted local part may hold blanks and control characters by the standard; no mail
        // provider gives out such addresses, and they are how headers get injected.
        if given.chars().count() > Self::MAX_CHARS
            || given.chars().any(|c| c.is_control() || c.is_whitespace() || c == '"')
            || EmailAddress::parse_with_options(given, options).is_err()
        {
            return None;
        }
        Some(Self { given: given.to_owned(), key: Self::key_of(given) })
    }

    /// What two spellings of one address have in common; also for text that is no address.
    pub fn key_of(text: &str) -> String {
        if text.is_ascii() {
            return text.trim().to_ascii_lowercase();
        }
        // Letter by letter: a word's last sigma must not become another letter than one within.
        text.trim().chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// The address as mail services take it: international domains in their ASCII form. Local parts
    /// outside ASCII are valid, and no mail service that we know takes them.
    pub fn to_ascii(&self) -> Option<String> {
        let (user, domain) = self.given.rsplit_once('@')?;
        let domain = idna::domain_to_ascii(domain).ok()?;
        user.is_ascii().then(|| format!("{user}@{domain}"))
    }

    /// The address in the form that is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_forms() {
        for text in
            ["user@example.com", " User.Name+tag@Sub.Example.co.uk ", "o'neil@example.ie", "ünï@exämple.de"]
        {
            let email = Email::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(email.as_str(), text.trim());
            assert_eq!(email.key(), text.trim().to_lowercase());
        }
        let longest =
            format!("{}@{}.{}.{}.com", "l".repeat(64), "a".repeat(60), "b".repeat(60), "c".repeat(63));
        assert_eq!(longest.len(), 254);
        assert!(Email::parse(&longest).is_some());
        assert!(Email::parse(&format!("{longest}m")).is_none());
    }

    #[test]
    fn spellings_of_one_address_have_one_key() {
        for (one, other) in
            [("ΝΙΚΟΣ@x.com", "Νικος@X.com"), ("ΝΙΚΟΣ@x.com", "νικοσ@x.com"), (" A@b.co\t", "a@B.CO")]
        {
            assert_eq!(Email::key_of(one), Email::key_of(other));
        }
    }

    #[test]
    fn a_key_can_be_longer_than_its_address() {
        let dotted = "İ".repeat(31);
        let longest =
            format!("{}@{dotted}.{dotted}.{}.{}.com", "l".repeat(64), "b".repeat(60), "c".repeat(60));
        assert_eq!(longest.chars().count(), Email::MAX_CHARS);
        let email = Email::parse(&longest).unwrap();
        let length = email.key().chars().count();
        assert!(Email::MAX_CHARS < length && length <= Email::KEY_MAX_CHARS, "{length}");
    }

    #[test]
    fn invalid_forms() {
        for text in [
            "",
            "user",
            "@example.com",
            "user@",
            "user@@example.com",
            "user@example",
            "us er@example.com",
            "user@exam\r\nple.com",
            "\"a\r\nBcc: x\"@example.com",
            "Jane <user@example.com>",
            "user@[127.0.0.1]",
            "user@-example.com",
            "user@example..com",
            ".user@example.com",
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
    }
}
