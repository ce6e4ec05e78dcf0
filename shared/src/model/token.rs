use super::{Invalid, RoleId, Timestamp};
use ipnet::IpNet;
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
            let block = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            // An IPv4 address written as IPv6 means the IPv4 address; a block of those does not
            // keep its meaning, so it is not accepted.
            match block {
                Ok(block) if block.addr().to_canonical() == block.addr() => Ok(block.trunc()),
                Ok(block) if block.prefix_len() == block.max_prefix_len() => {
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
        for entry in
            ["", "203.0.113", "203.0.113.7/33", "203.0.113.7/", "example.com", "203.0.113.07", "1.2.3.4-5"]
        {
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
