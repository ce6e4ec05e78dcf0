use email_address::{EmailAddress, Options};
use std::borrow::Cow;

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
        // provider gives out such addresses, and they are how headers get injected. Characters that
        // nobody sees make one address look like another.
        if given.chars().count() > Self::MAX_CHARS
            || given.chars().any(|c| c.is_control() || c.is_whitespace() || c == '"' || is_invisible(c))
            || EmailAddress::parse_with_options(given, options).is_err()
        {
            return None;
        }
        Some(Self { given: given.to_owned(), key: Self::key_of(given) })
    }

    /// What two spellings of one address have in common; also for text that is no address.
    pub fn key_of(text: &str) -> String {
        let text = text.trim();
        if text.is_ascii() {
            return text.to_ascii_lowercase();
        }
        let folded = |text: &str| text.chars().flat_map(folded).collect::<String>();
        // A domain has other spellings than by case: in wide letters, or in its ASCII form, in which it is
        // kept, so that both are one address. One that is too long has no such form, and costs much.
        let spelled = text.rsplit_once('@').filter(|(_, domain)| {
            domain.chars().count() <= Self::MAX_CHARS
                && domain.split('.').all(|label| label.chars().count() <= 63)
        });
        match spelled.and_then(|(user, domain)| Some((user, domain_to_ascii(domain)?))) {
            Some((user, domain)) => format!("{}@{domain}", folded(user)),
            None => folded(text),
        }
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// The address as mail services take it: international domains in their ASCII form. Local parts
    /// outside ASCII are valid, and no mail service that we know takes them.
    pub fn to_ascii(&self) -> Option<String> {
        let (user, domain) = self.given.rsplit_once('@')?;
        let domain = domain_to_ascii(domain)?;
        user.is_ascii().then(|| format!("{user}@{domain}"))
    }

    /// The address in the form that is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// A domain in the form that name servers have: letters, digits, hyphens and dots, whatever wide or unseen
/// characters stood for them. `None` for what has no such form: a wide comma would be one more address in a header.
fn domain_to_ascii(domain: &str) -> Option<String> {
    idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::STD3).ok().map(Cow::into_owned)
}

/// A letter without its case. A word's last sigma is the one within it, a long s an s.
fn folded(letter: char) -> impl Iterator<Item = char> {
    let mut upper = letter.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        // The dotless i is no i, though it has the same capital.
        (Some(upper), None) if letter != 'ı' => upper,
        _ => letter,
    };
    upper.to_lowercase()
}

/// Zero width, soft hyphens, and what turns the direction of text.
fn is_invisible(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_forms() {
        for text in
            ["user@example.com", " User.Name+tag@Sub.Example.co.uk ", "o'neil@example.ie", "ünï@example.de"]
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
        for (one, other) in [
            ("ΝΙΚΟΣ@x.com", "Νικος@X.com"),
            ("ΝΙΚΟΣ@x.com", "νικοσ@x.com"),
            (" A@b.co\t", "a@B.CO"),
            ("\u{212a}@x.com", "k@x.com"),
            ("ſ@x.com", "S@x.com"),
            ("jane@ｅxample.com", "jane@example.com"),
            ("jane@exampleſ.com", "jane@examples.com"),
            ("jane@mail。example.com", "jane@mail.example.com"),
            ("jane@EXÄMPLE.de", "jane@xn--exmple-cua.de"),
            ("jane@exa\u{308}mple.de", "jane@exämple.de"),
        ] {
            assert_eq!(Email::key_of(one), Email::key_of(other), "{one} {other}");
        }
        for (one, other) in [("ı@x.com", "i@x.com"), ("ß@x.com", "ss@x.com"), ("а@x.com", "a@x.com")] {
            assert_ne!(Email::key_of(one), Email::key_of(other), "{one} {other}");
        }
        // A domain without the form that name servers have keeps its own.
        for (text, key) in [
            ("İ@N\t \u{fe05}", "i\u{307}@n\t \u{fe05}"),
            ("a@B，c.de", "a@b，c.de"),
            ("a@b＠c.de", "a@b＠c.de"),
            ("É@b_C.de", "é@b_c.de"),
        ] {
            assert_eq!(Email::key_of(text), key);
            assert_eq!(Email::key_of(key), key);
        }
        let long = "é".repeat(300_000);
        assert_eq!(Email::key_of(&format!("a@{long}")), format!("a@{long}"));
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
            "ja\u{200b}ne@example.com",
            "\u{202e}enaj@example.com",
            "jane@exam\u{ad}ple.com",
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
    }
}
