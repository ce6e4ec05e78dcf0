//! Identification tokens (CONTRACT.md, section 1), autologin links and sessions (section 4): how
//! they are made, recognised and digested.
//!
//! A token in plain text is a [`Token`]; it shows itself only through [`Token::expose`], and its
//! `Debug` is redacted. What is stored is its [`TokenDigest`]; what names it in logs and in the
//! admin API is its [`TokenId`], which is derived from the digest, so that one key serves both
//! the look-up by token and the look-up by id.

use crate::model::TokenId;
use sha2::{Digest, Sha256};
use std::fmt;

const PREFIX: &str = "wbcs_";
/// 32 base62 characters carry 190 random bits.
const RANDOM: usize = 32;
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + RANDOM + CHECKSUM;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An identification token in plain text: `wbcs_`, 32 random base62 characters, and the base62
/// CRC-32 of all that precedes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// SHA-256 of a token: what is stored in its place.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl Token {
    /// Makes a new token from the operating system's random source.
    ///
    /// # Errors
    /// The random source failed.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        random_base62(&mut text)?;
        let sum = checksum(text.as_bytes());
        text.extend(sum.map(char::from));
        Ok(Self(text))
    }

    /// Recognises a token by its form and checksum, without any look-up. Anything else, a
    /// `Bearer ` prefix included, is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != LENGTH || !text.starts_with(PREFIX) {
            return None;
        }
        let (body, sum) = bytes.split_at(LENGTH - CHECKSUM);
        let alphabetic = body[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric);
        (alphabetic && checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The plain text, for the one answer that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in the token's place.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The first characters, by which a person recognises the token in a list: `wbcs_AbCd…`.
    pub fn hint(&self) -> String {
        format!("{}…", &self.0[..PREFIX.len() + 4])
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl TokenDigest {
    /// The token's id: 128 bits of a second digest, in hexadecimal. It tells nothing that would
    /// help to find the token.
    pub fn token_id(&self) -> TokenId {
        let second = Sha256::new().chain_update(b"wbcs token id").chain_update(self.0).finalize();
        TokenId::from_hex(second[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The bytes, for the store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares with a stored digest in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_slice(), stored).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(redacted)")
    }
}

/// Adds [`RANDOM`] base62 characters.
fn random_base62(text: &mut String) -> Result<(), getrandom::Error> {
    let wanted = text.len() + RANDOM;
    let mut noise = [0u8; 64];
    while text.len() < wanted {
        getrandom::fill(&mut noise)?;
        // 248 = 4 * 62: larger bytes are dropped, so that every character is equally likely.
        let even = noise.iter().filter(|byte| **byte < 248);
        for byte in even.take(wanted - text.len()) {
            text.push(char::from(BASE62[usize::from(byte % 62)]));
        }
    }
    Ok(())
}

/// The secret part of an autologin link: a random UUID (version 4: 122 random bits).
#[derive(Clone, PartialEq, Eq)]
pub struct Link(uuid::Uuid);

impl Link {
    /// Makes a new link from the operating system's random source.
    ///
    /// # Errors
    /// The random source failed.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut noise = [0u8; 16];
        getrandom::fill(&mut noise)?;
        Ok(Self(uuid::Builder::from_random_bytes(noise).into_uuid()))
    }

    /// Recognises the hyphenated form alone; anything else is no link, found without a look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = uuid::Uuid::try_parse(text).ok()?;
        (text.len() == uuid::fmt::Hyphenated::LENGTH).then_some(Self(uuid))
    }

    /// The plain text, for the one answer that hands it out.
    pub fn expose(&self) -> String {
        self.0.to_string()
    }

    /// What is stored in the link's place.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.expose().as_bytes())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(redacted)")
    }
}

/// A session's secret, as the cookie carries it: 32 base62 characters, 190 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(String);

impl SessionKey {
    /// Makes a new session key from the operating system's random source.
    ///
    /// # Errors
    /// The random source failed.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut text = String::with_capacity(RANDOM);
        random_base62(&mut text)?;
        Ok(Self(text))
    }

    /// Recognises a session key by its form, without any look-up.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == RANDOM && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then(|| Self(text.to_owned()))
    }

    /// The plain text, for the one cookie that hands it out.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored in the session key's place.
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(redacted)")
    }
}

/// SHA-256 of a link or a session key: what is stored in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The bytes, for the store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(redacted)")
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_generated_token_has_the_contracts_form_and_parses() {
        let token = Token::generate().unwrap();
        assert_eq!(token.expose().len(), 5 + 32 + 6);
        assert!(token.expose().starts_with("wbcs_"));
        assert_eq!(Token::parse(token.expose()).as_ref(), Some(&token));
        assert_eq!(token.hint().chars().count(), 10);
    }

    #[test]
    fn the_checksum_is_the_crc_32_of_what_precedes_it_in_base62() {
        // Computed the long way, by the polynomial, apart from the library.
        let body = format!("wbcs_{}", "a".repeat(32));
        let mut crc = u32::MAX;
        for byte in body.bytes() {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        let mut rest = u64::from(!crc);
        let mut digits = Vec::new();
        for _ in 0..6 {
            digits.push(char::from(BASE62[(rest % 62) as usize]));
            rest /= 62;
        }
        let sum: String = digits.into_iter().rev().collect();
        assert!(Token::parse(&format!("{body}{sum}")).is_some());
    }

    #[test]
    fn every_single_character_change_is_refused() {
        let token = Token::generate().unwrap();
        for (at, old) in token.expose().char_indices() {
            for new in ['0', 'a', 'Z', '-', ' ', 'é'].into_iter().filter(|new| *new != old) {
                let mut changed = token.expose().to_owned();
                changed.replace_range(at..=at, &new.to_string());
                assert_eq!(Token::parse(&changed), None, "{changed}");
            }
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let token = Token::generate().unwrap();
        let text = token.expose();
        for shape in
            ["", "wbcs_", &format!("Bearer {text}"), &format!(" {text}"), &format!("{text}\n"), &text[1..]]
        {
            assert_eq!(Token::parse(shape), None, "{shape:?}");
        }
    }

    #[test]
    fn tokens_and_ids_differ_and_debug_shows_neither_token_nor_digest() {
        let tokens: Vec<Token> = (0..1000).map(|_| Token::generate().unwrap()).collect();
        let ids: HashSet<String> = tokens.iter().map(|t| t.digest().token_id().to_string()).collect();
        assert_eq!(ids.len(), tokens.len());
        assert_eq!(format!("{:?}", tokens[0]), "Token(redacted)");
        assert_eq!(format!("{:?}", tokens[0].digest()), "TokenDigest(redacted)");
    }

    #[test]
    fn links_and_session_keys_are_random_and_known_by_their_form() {
        let links: Vec<Link> = (0..1000).map(|_| Link::generate().unwrap()).collect();
        let keys: Vec<SessionKey> = (0..1000).map(|_| SessionKey::generate().unwrap()).collect();
        assert_eq!(links.iter().map(Link::expose).collect::<HashSet<_>>().len(), 1000);
        assert_eq!(keys.iter().map(SessionKey::expose).collect::<HashSet<_>>().len(), 1000);
        let (link, key) = (&links[0], &keys[0]);
        assert_eq!(link.expose().as_bytes()[14], b'4', "a UUID of version 4");
        assert_eq!(Link::parse(&link.expose()).as_ref(), Some(link));
        assert_eq!(Link::parse(&link.expose().to_uppercase()).as_ref(), Some(link));
        assert_eq!(SessionKey::parse(key.expose()).as_ref(), Some(key));
        let plain = link.expose().replace('-', "");
        let braced = format!("{{{}}}", link.expose());
        for text in ["", "x", &plain, &braced, &format!("{} ", link.expose()), &"z".repeat(36)] {
            assert_eq!(Link::parse(text), None, "{text:?}");
        }
        for text in ["", &key.expose()[1..], &format!("{}0", key.expose()), &"-".repeat(32)] {
            assert_eq!(SessionKey::parse(text), None, "{text:?}");
        }
        assert_eq!(format!("{link:?} {key:?}"), "Link(redacted) SessionKey(redacted)");
        assert_eq!(format!("{:?}", key.digest()), "SecretDigest(redacted)");
    }

    #[test]
    fn a_digest_matches_itself_only() {
        let (a, b) = (Token::generate().unwrap().digest(), Token::generate().unwrap().digest());
        assert!(a.matches(a.as_bytes()));
        assert!(!a.matches(b.as_bytes()));
        assert!(!a.matches(&a.as_bytes()[..31]));
    }
}
