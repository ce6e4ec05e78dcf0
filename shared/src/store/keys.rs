//! Every key of every table (`docs/data-model.md`). Parts are joined with `#`; free text that
//! partners choose (sources, statuses, affiliates of clients) goes in as a digest, so that it can
//! neither hold the separator nor outgrow DynamoDB's 2,048 bytes of a key. Keys of lists are
//! digests as a whole: each lead carries three of them into up to five indexes, and every page of
//! leads pays for their length.

use crate::model::{BucketId, ClientId, Timestamp, TokenId};
use crate::secret::SecretDigest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Partition of the roles table: roles are few and are read all at once.
pub const ROLES: &str = "role";
/// Sort key of a bucket's own record in the buckets table.
pub const BUCKET_RECORD: &str = "bucket";
/// Lists that clients without affiliate and bucket are spread over, so that no single index
/// partition takes all of them.
const UNAFFILIATED_SHARDS: u8 = 8;

/// 96 bits of SHA-256 in base64url: stands for free text in a key.
pub fn text_digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text.as_bytes())[..12])
}

/// Indexes `tokens-created` and `buckets-created`: the partition that lists all.
pub const TOKEN_KIND: &str = "token";
/// As [`TOKEN_KIND`], of buckets.
pub const BUCKET_KIND: &str = "bucket";
/// Above every sort key that begins with a moment.
pub const LAST: &str = "~";

/// Index `all-created`: partitions that all leads are spread over.
pub const ALL_LISTS: u8 = 16;

/// Index `all-created`: the partition that a client is in.
pub fn all_list(client: &ClientId) -> String {
    format!("{:x}", crc32fast::hash(client.as_str().as_bytes()) % u32::from(ALL_LISTS))
}

/// Index `all-created`: every partition.
pub fn all_lists() -> impl Iterator<Item = String> {
    (0..ALL_LISTS).map(|shard| format!("{shard:x}"))
}

/// Indexes of tokens and buckets: sort key by creation, then id.
pub fn created_then_id(created: Timestamp, id: &str) -> String {
    format!("{:013}#{id}", created.millis())
}

/// Token activity: the refused attempts of a token.
pub fn refused_attempts(token: &TokenId) -> String {
    format!("{token}#refused")
}

/// Clients table: the client by id.
pub fn client(id: &str) -> String {
    ["C#", id].concat()
}

/// Clients table: what does not fit the client's own item (over 3 KB of profile).
pub fn client_details(id: &ClientId) -> String {
    format!("D#{id}")
}

/// Clients table: the lead by email; the item that keeps the email unique.
pub fn lead(email_key: &str) -> String {
    ["E#", email_key].concat()
}

/// Lead indexes: the list of a bucket's leads.
pub fn bucket_list(bucket: &BucketId) -> String {
    text_digest(&format!("bucket#{bucket}"))
}

/// Lead indexes: the list of an affiliate's clients that have no bucket.
pub fn affiliates_unassigned(affiliate_id: &str) -> String {
    text_digest(&format!("affiliate#{affiliate_id}"))
}

/// Lead indexes: the list that a client without a bucket is in.
pub fn unassigned_list(affiliate_id: Option<&str>, client: &ClientId) -> String {
    match affiliate_id {
        Some(affiliate) => affiliates_unassigned(affiliate),
        None => {
            let shard = crc32fast::hash(client.as_str().as_bytes()) % u32::from(UNAFFILIATED_SHARDS);
            text_digest(&format!("nobody#{shard}"))
        }
    }
}

/// Lead indexes: the part of a list that has this source.
pub fn source_list(list: &str, source: &str) -> String {
    text_digest(&format!("source#{list}#{source}"))
}

/// Lead indexes: the part of a list that has this status.
pub fn status_list(list: &str, status: &str) -> String {
    text_digest(&format!("status#{list}#{status}"))
}

/// Lead indexes: sort key by a moment, then id. Thirteen digits sort as the numbers do, and every
/// `<moment>#…` lies between `<moment>` and `<moment + 1>`.
pub fn moment_then_id(moment: Timestamp, id: &ClientId) -> String {
    format!("{:013}#{id}", moment.millis())
}

/// Lead indexes: bound below every key of this moment and above every key of the one before.
pub fn before_moment(millis: i64) -> String {
    format!("{millis:013}")
}

/// Lead indexes: bound above every key of this moment: `$` follows the `#` that ids come behind.
pub fn after_moment(millis: i64) -> String {
    format!("{millis:013}$")
}

/// Takes a key of [`moment_then_id`] apart.
pub fn split_moment(key: &str) -> Option<(Timestamp, ClientId)> {
    let (millis, id) = key.split_once('#')?;
    Some((Timestamp::from_millis(millis.parse().ok()?)?, ClientId::new(id)))
}

/// Buckets table, partition: a bucket by id.
pub fn bucket(id: &BucketId) -> String {
    format!("B#{id}")
}

/// Buckets table, partition: what an affiliate's sign-ups are routed by.
pub fn affiliate(affiliate_id: &str) -> String {
    format!("A#{affiliate_id}")
}

/// Buckets table, within an affiliate: which bucket a source is assigned to.
pub fn assigned_source(source: &str) -> String {
    format!("source#{}", text_digest(source))
}

/// Buckets table, within an affiliate: prefix of the buckets without sources, oldest first.
pub const OPEN_BUCKETS: &str = "open#";
/// Buckets table, within an affiliate: prefix of the buckets with sources, oldest first.
pub const SOURCED_BUCKETS: &str = "sourced#";

/// Buckets table, within an affiliate: one of its buckets.
pub fn affiliates_bucket(has_sources: bool, created: Timestamp, id: &BucketId) -> String {
    let prefix = if has_sources { SOURCED_BUCKETS } else { OPEN_BUCKETS };
    format!("{prefix}{:013}#{id}", created.millis())
}

/// Buckets table, partition: counters of a list, a month an item.
pub fn month_counters(list: &str) -> String {
    format!("M#{list}")
}

/// Buckets table, partition: counters of a list within one four-hour cell, a minute an item.
pub fn minute_counters(list: &str, cell: i64) -> String {
    format!("S#{list}#{cell}")
}

/// Buckets table, partition: a bucket's leads per status.
pub fn status_counters(bucket: &BucketId) -> String {
    format!("T#{bucket}")
}

/// Expiring table: the answer that an `Idempotency-Key` of a token got.
pub fn idempotency(token: &TokenId, key: &str) -> String {
    format!("I#{token}#{}", URL_SAFE_NO_PAD.encode(Sha256::digest(key.as_bytes())))
}

/// Expiring table: an autologin link.
pub fn link(link: &SecretDigest) -> String {
    format!("L#{}", URL_SAFE_NO_PAD.encode(link.as_bytes()))
}

/// Expiring table: a session.
pub fn session(session: &SecretDigest) -> String {
    format!("S#{}", URL_SAFE_NO_PAD.encode(session.as_bytes()))
}

/// Expiring table: whether a client's registration email was sent.
pub fn registration_email(client: &ClientId) -> String {
    format!("M#{client}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_numbers_and_bound_their_keys() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let id = ClientId::new("\u{10ffff}");
        for millis in [0, 9, 10, 999_999_999_999, 1_609_459_200_000, Timestamp::MAX.millis()] {
            let key = moment_then_id(at(millis), &id);
            assert!(before_moment(millis) < key && key < after_moment(millis), "{key}");
            assert!(millis == Timestamp::MAX.millis() || after_moment(millis) < before_moment(millis + 1));
            assert_eq!(split_moment(&key), Some((at(millis), id.clone())));
        }
    }

    #[test]
    fn text_of_any_size_and_content_gives_a_short_plain_key() {
        for text in ["", "#", "a#b", &"é".repeat(1024)] {
            let digest = text_digest(text);
            assert!(digest.len() == 16 && !digest.contains('#'), "{digest}");
        }
        assert_ne!(source_list("list", "a"), source_list("list", "b"));
        assert_ne!(source_list("list", "a"), status_list("list", "a"));
    }
}
