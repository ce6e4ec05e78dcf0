//! Doors for fuzzing (`fuzz/`) and for tests: a store over an HTTP client that is no network, and the readers
//! of DynamoDB's answers by themselves. Compiled for tests, and with the feature that only `fuzz/` asks for; never in what is deployed.

use super::leads::{Batch, Rows, Slots};
use super::transaction::Sent;
use super::{Item, PlacedLead, Store, StoreError, batch, wire};
use crate::config::Tables;
use crate::model::{Bucket, Client, TokenRecord};
use crate::secret::TokenDigest;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};

/// What became of an answer's text: `None` where it is no answer, and an inner error where an item of it is
/// not as it was written.
pub type Read<T> = Option<Result<T, StoreError>>;

impl Store {
    /// A store whose calls go through this client.
    pub fn over(http_client: SharedHttpClient, tables: &Tables) -> Self {
        let credentials = Credentials::new("id", "secret", None, None, "fuzzing");
        let credentials = SharedCredentialsProvider::new(credentials);
        let endpoint = Some("http://dynamodb.invalid");
        Self::connect_by(http_client, "eu-west-1", credentials, endpoint, tables, super::ATTEMPT_TIMEOUT)
    }
}

/// `GetItem`'s answer.
pub fn item(answer: &[u8]) -> Read<Option<Item>> {
    wire::got_item(answer).ok()
}

/// A `Query`'s answer of any items, and the key to go on from.
pub fn items(answer: &[u8]) -> Read<(Vec<Item>, Option<String>)> {
    let read = wire::queried(answer).ok()?;
    Some(read.map(|read| (read.items, read.last_evaluated_key.map(|key| key.get().to_owned()))))
}

/// A `Query`'s answer of leads, and the key to go on from.
pub fn page(answer: &[u8]) -> Read<(Vec<PlacedLead>, Option<String>)> {
    let read = Rows::read(answer).ok()?;
    Some(read.map(|Rows { leads, next }| (leads, next.map(|key| key.get().to_owned()))))
}

/// `BatchGetItem`'s answer of leads, and the keys that are left.
pub fn batch(answer: &[u8]) -> Read<(Vec<PlacedLead>, Vec<String>)> {
    let read = Batch::read(answer).ok()?;
    Some(read.map(|Batch { leads, left }| (leads, left)))
}

/// An item with its table.
pub type InTable = (String, Item);

/// `BatchGetItem`'s answer of items with their tables, and the tables that are left.
pub fn mixed(answer: &[u8]) -> Read<(Vec<InTable>, Vec<String>)> {
    let read = batch::Mixed::read(answer).ok()?;
    Some(read.map(|batch::Mixed { items, left }| (items, left)))
}

/// Items of counters: each sort key with its counts of two-byte names.
#[allow(clippy::type_complexity)]
pub fn slots(answer: &[u8]) -> Read<Vec<(String, Vec<([u8; 2], i64)>)>> {
    let read = Slots::read(answer).ok()?;
    Some(read.map(|read| read.items.into_iter().map(|Slots { sk, counts }| (sk, counts)).collect()))
}

/// A count.
pub fn count(answer: &[u8]) -> Option<u64> {
    wire::number(answer).ok()?.ok().map(|number| number.count)
}

/// Whether it is an answer that has nothing to tell.
pub fn done(answer: &[u8]) -> bool {
    wire::done(answer).is_ok()
}

/// The code of a refusal.
pub fn refusal(answer: &[u8]) -> Option<String> {
    wire::refusal(answer).code().map(str::to_owned)
}

/// The reasons of a cancelled transaction; `None` of any other refusal.
pub fn cancelled(answer: &[u8]) -> Option<Vec<(Option<String>, Option<Item>)>> {
    match Sent::cancelled(answer)? {
        Sent::Done => None,
        Sent::Cancelled(reasons) => {
            let of = |reason: &aws_sdk_dynamodb::types::CancellationReason| {
                (reason.code().map(str::to_owned), reason.item().cloned())
            };
            Some(reasons.iter().map(of).collect())
        }
    }
}

/// A lead of the item of a lead or of a client.
pub fn lead(item: &Item) -> Result<PlacedLead, StoreError> {
    PlacedLead::from_item(item)
}

/// The item of a lead, as the request that writes it has it.
pub fn lead_item(lead: &PlacedLead) -> Item {
    lead.to_item()
}

/// An item as JSON.
pub fn written(item: &Item) -> String {
    serde_json::to_string(&wire::Attributes(item)).unwrap_or_default()
}

/// A token's record, where the item is this token's.
pub fn token(digest: &TokenDigest, item: &Item) -> Result<Option<TokenRecord>, StoreError> {
    super::access::token_with_digest(digest, digest.token_id(), item)
}

/// A client of its items: its own, and its details where there are some.
pub fn client(own: &Item, details: Option<&Item>) -> Result<Client, StoreError> {
    super::clients::client_from(own, details).map(|stored| stored.value)
}

/// A bucket of its item.
pub fn bucket(item: &Item) -> Result<Bucket, StoreError> {
    super::buckets::bucket_from(item)
}
