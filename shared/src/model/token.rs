use super::{Invalid, NAME_MAX_CHARS, Object, RoleId, Timestamp};
use crate::secret::Token;
use ipnet::IpNet;
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// Names a token in logs and in the admin API; derived from the token's digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(String);

impl TokenId {
    /// From the hexadecimal text that [`crate::secret::TokenDigest::token_id`] makes.
    pub(crate) fn from_hex(hex: String) -> Self {
        Self(hex)
    }

    /// Reads an id of the admin API's paths; any other text than 32 hexadecimal digits names no token.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The addresses a token may be used from: single ones or CIDR blocks, IPv4 or IPv6. An empty
/// list allows any address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whitelist(Vec<IpNet>);

impl Whitelist {
    /// Most entries.
    pub const MAX: usize = 100;

    /// Reads entries such as `203.0.113.7`, `203.0.113.0/24` or `2001:db8::/32`.
    ///
    /// # Errors
    /// More than [`Whitelist::MAX`] entries, or one that is neither an address nor a block.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, Invalid> {
        let read = |(at, entry): (usize, S)| {
            let text = entry.as_ref().trim();
            let block = read_block(text);
            // An IPv4 address written as IPv6 means the IPv4 address; a block of those does not
            // keep its meaning, so it is not accepted.
            match block {
                Some(block) if block.addr().to_canonical() == block.addr() => Ok(block.trunc()),
                Some(block) if block.prefix_len() == block.max_prefix_len() => {
                    Ok(IpNet::from(block.addr().to_canonical()))
                }
                _ => Err(Invalid::new(format!("whitelist[{at}] must be an IP address or CIDR block"))),
            }
        };
        let blocks: Vec<_> = entries.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        if blocks.len() > Self::MAX {
            return Err(Invalid::new(format!("whitelist must have at most {} entries", Self::MAX)));
        }
        Ok(Self(blocks))
    }

    /// Whether the token may be used from this address. One that is not known is in no list.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        self.0.is_empty()
            || address.is_some_and(|address| {
                let address = address.to_canonical();
                self.0.iter().any(|block| block.contains(&address))
            })
    }

    /// The entries, as they are shown and stored: a single address without `/32` or `/128`.
    pub fn entries(&self) -> Vec<String> {
        let show = |block: &IpNet| {
            if block.prefix_len() == block.max_prefix_len() {
                block.addr().to_string()
            } else {
                block.to_string()
            }
        };
        self.0.iter().map(show).collect()
    }
}

/// Reads an address or a block. The library's own reader of blocks takes `203.0.113.010`, which is octal to
/// others; the standard library's takes no leading zeros, and neither does the length of a prefix.
fn read_block(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return Some(text.parse::<IpAddr>().ok()?.into());
    };
    let is_plain =
        length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    let length = length.parse().ok().filter(|_| is_plain)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// A token as stored and as administrators see it; never its plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// Id.
    pub id: TokenId,
    /// Name as operators see it.
    pub name: String,
    /// The role that gives its permissions.
    pub role_id: RoleId,
    /// First characters of the token.
    pub hint: String,
    /// The addresses it may be used from.
    pub whitelist: Whitelist,
    /// The affiliates whose business it may do.
    pub affiliate_ids: Vec<String>,
    /// When it stops being valid; never, where absent.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_date: Timestamp,
}

impl TokenRecord {
    /// Most affiliates of one token.
    pub const AFFILIATES_MAX: usize = 100;
}

/// When a token was used and refused, as far as that is known (CONTRACT.md, section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenActivity {
    /// The last use, up to an hour behind.
    pub last_used: Option<Timestamp>,
    /// The last refused attempts, latest first, one an address and reason.
    pub refused: Vec<RefusedAttempt>,
}

/// A use of a token that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedAttempt {
    /// The caller's address.
    pub address: String,
    /// Why, as the log names it.
    pub reason: String,
    /// When, last.
    pub date: Timestamp,
}

impl TokenRecord {
    /// The record of the admin API (CONTRACT.md, section 5); `lastRefused` is ours, so that an
    /// operator can see why a partner is refused.
    pub fn to_answer<'a>(&'a self, activity: &'a TokenActivity) -> impl Serialize + 'a {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'a> {
            id: &'a str,
            name: &'a str,
            role_id: &'a str,
            hint: &'a str,
            whitelist: Vec<String>,
            #[serde(rename = "affiliateIDs")]
            affiliate_ids: &'a [String],
            expires_at: Option<String>,
            created_date: String,
            last_used_date: Option<String>,
            last_refused: Vec<Refused<'a>>,
        }
        #[derive(Serialize)]
        struct Refused<'a> {
            address: &'a str,
            reason: &'a str,
            date: String,
        }
        let refused = activity.refused.iter().map(|attempt| Refused {
            address: &attempt.address,
            reason: &attempt.reason,
            date: attempt.date.to_string(),
        });
        Shown {
            id: self.id.as_str(),
            name: &self.name,
            role_id: self.role_id.as_str(),
            hint: &self.hint,
            whitelist: self.whitelist.entries(),
            affiliate_ids: &self.affiliate_ids,
            expires_at: self.expires_at.map(|expiry| expiry.to_string()),
            created_date: self.created_date.to_string(),
            last_used_date: activity.last_used.map(|used| used.to_string()),
            last_refused: refused.collect(),
        }
    }
}

/// The body that creates a token (CONTRACT.md, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// `name`
    pub name: String,
    /// `roleId`
    pub role_id: RoleId,
    /// `expiresAt`; valid indefinitely where absent.
    pub expires_at: Option<Timestamp>,
    /// `whitelist`; any address where absent or empty.
    pub whitelist: Whitelist,
    /// `affiliateIDs`
    pub affiliate_ids: Vec<String>,
}

impl NewToken {
    /// The fields of the body.
    pub const FIELDS: [&str; 5] = ["name", "roleId", "expiresAt", "whitelist", "affiliateIDs"];

    /// Reads a request body.
    ///
    /// # Errors
    /// A message that names the first field that is not as expected.
    pub fn parse(body: &[u8], now: Timestamp) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        object.only(&Self::FIELDS)?;
        let name = object.name("name", NAME_MAX_CHARS)?;
        let role_id = RoleId::new(object.name("roleId", NAME_MAX_CHARS)?);
        let expires_at =
            match object.text("expiresAt", usize::MAX)? {
                Some(text) => Some(Timestamp::parse_iso(&text).ok_or_else(|| {
                    Invalid::new("expiresAt must be an ISO 8601 date-time from 1970 to 2286")
                })?),
                None => None,
            };
        if expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(Invalid::new("expiresAt must be in the future"));
        }
        let affiliate_ids =
            object.list_of_names("affiliateIDs", NAME_MAX_CHARS, TokenRecord::AFFILIATES_MAX)?;
        Ok(Self {
            name,
            role_id,
            expires_at,
            whitelist: read_whitelist(&object)?.unwrap_or_default(),
            affiliate_ids: affiliate_ids.unwrap_or_default(),
        })
    }

    /// The token itself, and what is stored of it.
    ///
    /// # Errors
    /// The system has no random source.
    pub fn generate(self) -> Result<(Token, TokenRecord), getrandom::Error> {
        let token = Token::generate()?;
        let record = TokenRecord {
            id: token.digest().token_id(),
            name: self.name,
            role_id: self.role_id,
            hint: token.hint(),
            whitelist: self.whitelist,
            affiliate_ids: self.affiliate_ids,
            expires_at: self.expires_at,
            created_date: Timestamp::now(),
        };
        Ok((token, record))
    }
}

/// The body that changes a token: its whitelist alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhitelistChange(pub Whitelist);

impl WhitelistChange {
    /// Reads a request body.
    ///
    /// # Errors
    /// Any other field than `whitelist`, or a whitelist that is missing or malformed.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let object = Object::parse(body)?;
        if let Some(other) = object.names().find(|name| *name != "whitelist") {
            let shown: String = other.chars().take(64).collect();
            return Err(Invalid::new(format!(
                "{shown} cannot be changed: only the whitelist of a token can be changed"
            )));
        }
        let whitelist = read_whitelist(&object)?;
        whitelist
            .map(Self)
            .ok_or_else(|| Invalid::new("whitelist must be an array of IP addresses and CIDR blocks"))
    }
}

fn read_whitelist(object: &Object<'_>) -> Result<Option<Whitelist>, Invalid> {
    object.texts("whitelist")?.map(Whitelist::parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Whitelist {
        Whitelist::parse(entries).unwrap()
    }

    fn allows(entries: &[&str], address: &str) -> bool {
        list(entries).allows(Some(address.parse().unwrap()))
    }

    #[test]
    fn addresses_and_blocks_of_both_families() {
        assert!(allows(&["203.0.113.7"], "203.0.113.7"));
        assert!(!allows(&["203.0.113.7"], "203.0.113.8"));
        assert!(allows(&["203.0.113.0/24"], "203.0.113.255"));
        assert!(!allows(&["203.0.113.0/24"], "203.0.114.0"));
        assert!(allows(&["203.0.113.9/24"], "203.0.113.1"));
        assert!(allows(&["2001:db8::/32"], "2001:db8:ffff::1"));
        assert!(!allows(&["2001:db8::/32"], "2001:db9::1"));
        assert!(allows(&["10.0.0.1", "::1"], "::1"));
        assert!(!allows(&["0.0.0.0/0"], "::1"));
    }

    #[test]
    fn an_ipv4_address_written_as_ipv6_is_the_ipv4_address() {
        assert!(allows(&["203.0.113.7"], "::ffff:203.0.113.7"));
        assert!(allows(&["::ffff:203.0.113.7"], "203.0.113.7"));
        assert!(Whitelist::parse(["::ffff:203.0.113.0/120"]).is_err());
    }

    #[test]
    fn an_empty_list_allows_any_address_and_a_filled_one_no_unknown_address() {
        assert!(list(&[]).allows(None));
        assert!(!list(&["0.0.0.0/0", "::/0"]).allows(None));
    }

    #[test]
    fn malformed_entries_are_refused_and_named() {
        for entry in [
            "",
            "203.0.113",
            "203.0.113.7/33",
            "203.0.113.7/",
            "example.com",
            "203.0.113.07",
            "203.0.113.07/32",
            "010.0.0.0/8",
            "203.0.113.0/024",
            "203.0.113.0/+24",
            "1.2.3.4-5",
        ] {
            let error = Whitelist::parse(["10.0.0.1", entry]).unwrap_err().to_string();
            assert_eq!(error, "whitelist[1] must be an IP address or CIDR block", "{entry}");
        }
        assert!(Whitelist::parse(vec!["10.0.0.1"; 101]).is_err());
    }

    #[test]
    fn entries_read_back_to_the_same_list() {
        let whitelist = list(&["203.0.113.7", "203.0.113.9/24", "2001:DB8::1", "2001:db8::/32"]);
        assert_eq!(whitelist.entries(), ["203.0.113.7", "203.0.113.0/24", "2001:db8::1", "2001:db8::/32"]);
        assert_eq!(Whitelist::parse(whitelist.entries()).unwrap(), whitelist);
    }
}
