//! Registration of clients: one transaction for all that is written.

use super::counters::{self, Counter, SHARDS};
use super::item::{Item, Reader, b, item, n, s};
use super::leads::PlacedLead;
use super::{Store, StoreError, keys};
use crate::model::{Agreement, Billing, BucketId, Client, ClientId, Lead, Timestamp, TokenId};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an `Idempotency-Key` is remembered (CONTRACT.md, section 3).
const REMEMBERED_SECONDS: i64 = 24 * 3600;
/// A client's own item stays below one read unit; a larger profile is stored apart.
const INLINE_MAX_BYTES: usize = 3_500;
/// Conflicting transactions are tried again for this long.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The client is stored.
    Created,
    /// This `Idempotency-Key` registered this client before, with the same request.
    Replayed(ClientId),
    /// This `Idempotency-Key` was used with another request.
    KeyReused,
    /// A client with this email exists.
    EmailTaken,
}

/// An `Idempotency-Key` of a token, and the request that it came with.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    pk: String,
    request: [u8; 32],
}

impl IdempotencyKey {
    /// The key is the token's own; `request` tells whether a repeated request is the same.
    pub fn new(token: &TokenId, key: &str, request: &[u8]) -> Self {
        Self { pk: keys::idempotency(token, key), request: Sha256::digest(request).into() }
    }
}

/// Lists whose counters met conflicts lately, by which new counts are spread over shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread(Arc<Mutex<HashMap<String, Instant>>>);

impl Spread {
    const MEMORY: Duration = Duration::from_secs(300);
    const LISTS_MAX: usize = 1000;

    fn shard(&self, list: &str) -> u8 {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lists.get(list) {
            Some(since) if since.elapsed() < Self::MEMORY => (random() % u32::from(SHARDS)) as u8,
            _ => 0,
        }
    }

    fn note_conflict(&self, list: &str) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= Self::LISTS_MAX {
            lists.clear();
        }
        lists.insert(list.to_owned(), Instant::now());
    }
}

fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// What an entry of the transaction is there for; tells what its failure means.
enum Part {
    Client,
    Lead,
    Idempotency,
    Details,
    Counter { list: String },
}

impl Store {
    /// Registers a client that is new at this moment: as [`Store::register`], but each attempt is
    /// dated anew, so that a lead which waits for others does not appear behind those that were
    /// read meanwhile.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub async fn sign_up(
        &self,
        mut client: Client,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Registered, StoreError> {
        self.write(&mut client, idempotency, true).await
    }

    /// Stores a client, its email's uniqueness, its place in the lists, their counters and the
    /// `Idempotency-Key` in one transaction. Conflicts with other transactions are tried again,
    /// with jitter; an answer that was lost after the write took place is recognised as success.
    ///
    /// # Errors
    /// DynamoDB failed after all retries. Then either all of it is stored or nothing.
    pub async fn register(
        &self,
        client: &Client,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Registered, StoreError> {
        self.write(&mut client.clone(), idempotency, false).await
    }

    async fn write(
        &self,
        client: &mut Client,
        idempotency: Option<&IdempotencyKey>,
        is_new: bool,
    ) -> Result<Registered, StoreError> {
        let started = Instant::now();
        let mut attempt = 0u32;
        loop {
            let (parts, entries) = self.transaction(client, idempotency)?;
            let sent = self.client.transact_write_items().set_transact_items(Some(entries)).send().await;
            let Err(error) = sent else { return Ok(Registered::Created) };
            let reasons = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons()
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => &[],
                Some(other) if other.code() == Some("TransactionConflictException") => &[],
                _ => return Err(StoreError::of("register", &error)),
            };
            if let Some(outcome) = verdict(client, idempotency, &parts, reasons)? {
                return Ok(outcome);
            }
            for (part, reason) in parts.iter().zip(reasons) {
                if let (Part::Counter { list }, Some("TransactionConflict")) = (part, reason.code()) {
                    self.spread.note_conflict(list);
                }
            }
            let ceiling = 20u32 << attempt.min(6);
            attempt += 1;
            if started.elapsed() > PATIENCE {
                return Err(StoreError::of("register", &error));
            }
            tokio::time::sleep(Duration::from_millis(u64::from(random() % ceiling))).await;
            if is_new {
                client.created_date = Timestamp::now();
                client.updated_date = client.created_date;
            }
        }
    }

    fn transaction(
        &self,
        client: &Client,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<(Vec<Part>, Vec<TransactWriteItem>), StoreError> {
        let unbuilt = |_| StoreError::new("register", "request could not be built");
        let mut parts = Vec::with_capacity(10);
        let mut entries = Vec::with_capacity(10);
        let put = |table: &str, item: Item| {
            Put::builder()
                .table_name(table)
                .set_item(Some(item))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        };
        let fresh = "attribute_not_exists(pk)";
        let tables = &self.tables;

        let placed = PlacedLead::of(client);
        let (own, details) = client_item(client, &placed);
        let own = put(&tables.clients, own).condition_expression(fresh).build().map_err(unbuilt)?;
        parts.push(Part::Client);
        entries.push(TransactWriteItem::builder().put(own).build());
        let lead =
            put(&tables.clients, placed.to_item()).condition_expression(fresh).build().map_err(unbuilt)?;
        parts.push(Part::Lead);
        entries.push(TransactWriteItem::builder().put(lead).build());
        if let Some(details) = details {
            let details = put(&tables.clients, details).build().map_err(unbuilt)?;
            parts.push(Part::Details);
            entries.push(TransactWriteItem::builder().put(details).build());
        }
        if let Some(key) = idempotency {
            let now = Timestamp::now().millis() / 1000;
            let record = item([
                ("pk", s(&key.pk)),
                ("id", s(client.id.as_str())),
                ("request", b(&key.request)),
                ("expiresAt", n(now + REMEMBERED_SECONDS)),
            ]);
            // TTL deletes late: an expired record counts as none.
            let record = put(&tables.expiring, record)
                .condition_expression("attribute_not_exists(pk) OR expiresAt < :now")
                .expression_attribute_values(":now", n(now))
                .build()
                .map_err(unbuilt)?;
            parts.push(Part::Idempotency);
            entries.push(TransactWriteItem::builder().put(record).build());
        }
        let Some(bucket) = &client.bucket_id else { return Ok((parts, entries)) };
        let mut count = |list: &str, counter: Counter, extra: Option<&str>| {
            let update = Update::builder()
                .table_name(&tables.buckets)
                .key("pk", s(counter.pk))
                .key("sk", s(counter.sk))
                .update_expression(match extra {
                    Some(_) => "ADD #count :one SET #status = :status",
                    None => "ADD #count :one",
                })
                .expression_attribute_names("#count", counter.attribute)
                .expression_attribute_values(":one", n(1));
            let update = match extra {
                Some(status) => update
                    .expression_attribute_names("#status", "status")
                    .expression_attribute_values(":status", s(status)),
                None => update,
            };
            parts.push(Part::Counter { list: list.to_owned() });
            entries.push(TransactWriteItem::builder().update(update.build().map_err(unbuilt)?).build());
            Ok::<_, StoreError>(())
        };
        for list in [Some(&placed.list), placed.source_list.as_ref()].into_iter().flatten() {
            for counter in counters::of_moment(list, client.created_date, self.spread.shard(list)) {
                count(list, counter, None)?;
            }
        }
        let shard = self.spread.shard(&placed.list);
        let per_status = Counter {
            pk: keys::status_counters(bucket),
            sk: format!("{}#{shard}", keys::text_digest(&client.status)),
            attribute: "n".into(),
        };
        count(&placed.list, per_status, Some(&client.status))?;
        Ok((parts, entries))
    }
}

/// What a cancelled transaction means; `None`: nothing final, try again.
fn verdict(
    client: &Client,
    idempotency: Option<&IdempotencyKey>,
    parts: &[Part],
    reasons: &[CancellationReason],
) -> Result<Option<Registered>, StoreError> {
    let failed = |wanted: fn(&Part) -> bool| {
        let mut both = parts.iter().zip(reasons);
        both.find(|(part, reason)| wanted(part) && reason.code() == Some("ConditionalCheckFailed"))
            .map(|(_, reason)| reason.item())
    };
    // An item that names this very client was written by an attempt whose answer was lost.
    if let (Some(stored), Some(key)) = (failed(|part| matches!(part, Part::Idempotency)), idempotency) {
        let empty = Item::new();
        let reader = Reader::new("idempotency record", stored.unwrap_or(&empty));
        let id = reader.text("id")?;
        return Ok(Some(if id == client.id.as_str() {
            Registered::Created
        } else if reader.bytes("request")? == key.request {
            Registered::Replayed(ClientId::new(id))
        } else {
            Registered::KeyReused
        }));
    }
    if let Some(stored) = failed(|part| matches!(part, Part::Lead)) {
        let stored = PlacedLead::from_item(stored.unwrap_or(&Item::new()))?;
        return Ok(Some(if stored.lead.id == client.id {
            Registered::Created
        } else {
            Registered::EmailTaken
        }));
    }
    if failed(|part| matches!(part, Part::Client)).is_some() {
        return Err(StoreError::new("register", "client id is taken"));
    }
    let transient = |reason: &CancellationReason| {
        matches!(
            reason.code(),
            None | Some(
                "None"
                    | "TransactionConflict"
                    | "ThrottlingError"
                    | "ProvisionedThroughputExceeded"
                    | "InternalServerError"
            )
        )
    };
    match reasons.iter().find(|reason| !transient(reason)) {
        Some(reason) => Err(StoreError::new("register", reason.code().unwrap_or_default().to_owned())),
        None => Ok(None),
    }
}

/// The items of a client in the clients table, without counters: for bulk loads.
pub fn client_items(client: &Client) -> Vec<Item> {
    let placed = PlacedLead::of(client);
    let (own, details) = client_item(client, &placed);
    [own, placed.to_item()].into_iter().chain(details).collect()
}

impl PlacedLead {
    /// A client's short form, in the list of its bucket or of those that have none.
    pub fn of(client: &Client) -> Self {
        let list = match &client.bucket_id {
            Some(bucket) => keys::bucket_list(bucket),
            None => keys::unassigned_list(client.affiliate_id.as_deref(), &client.id),
        };
        Self {
            lead: Lead {
                id: client.id.clone(),
                email: client.given.email.as_str().to_owned(),
                status: client.status.clone(),
                created_date: client.created_date,
                updated_date: client.updated_date,
                ftd: client.ftd,
            },
            source_list: client.given.source_id.as_deref().map(|source| keys::source_list(&list, source)),
            list,
        }
    }
}

/// The client's item and, where its profile is large, the item with the rest of it.
fn client_item(client: &Client, placed: &PlacedLead) -> (Item, Option<Item>) {
    let given = &client.given;
    let mut own = item([
        ("pk", s(keys::client(client.id.as_str()))),
        ("id", s(client.id.as_str())),
        ("email", s(given.email.as_str())),
        ("status", s(&client.status)),
        ("createdDate", n(client.created_date.millis())),
        ("updatedDate", n(client.updated_date.millis())),
        ("list", s(&placed.list)),
        ("firstName", s(&given.first_name)),
        ("sendEmail", AttributeValue::Bool(given.send_email)),
    ]);
    if let Some(ftd) = client.ftd {
        own.insert("ftd".into(), n(ftd.millis()));
    }
    if let Some(list) = &placed.source_list {
        own.insert("sourceList".into(), s(list));
    }
    if let Some(bucket) = client.bucket_id.as_ref().map(BucketId::as_str) {
        own.insert("bucketId".into(), s(bucket));
    }

    let mut rest = item([("phone", s(&given.phone)), ("state", s(&client.state))]);
    let texts = [
        ("affiliateID", client.affiliate_id.as_deref()),
        ("sourceId", given.source_id.as_deref()),
        ("meta", given.meta.as_deref()),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
    rest.extend(texts.chain(given.profile.present()).map(|(name, text)| (name.to_owned(), s(text))));
    let flags = [("processed", given.processed), ("allowToCreateAsset", given.allow_to_create_asset)];
    rest.extend(
        flags.into_iter().filter_map(|(name, flag)| Some((name.to_owned(), AttributeValue::Bool(flag?)))),
    );
    if let Some(billing) = &given.billing {
        rest.insert("billing".into(), billing_value(billing));
    }
    if !given.agreements.is_empty() {
        rest.insert(
            "agreements".into(),
            AttributeValue::L(given.agreements.iter().map(agreement_value).collect()),
        );
    }

    let bytes = |item: &Item| item.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>();
    if bytes(&own) + bytes(&rest) <= INLINE_MAX_BYTES {
        own.extend(rest);
        return (own, None);
    }
    own.insert("details".into(), AttributeValue::Bool(true));
    rest.insert("pk".into(), s(keys::client_details(&client.id)));
    (own, Some(rest))
}

fn billing_value(billing: &Billing) -> AttributeValue {
    AttributeValue::M(billing.present().map(|(name, text)| (name.to_owned(), s(text))).collect())
}

fn agreement_value(agreement: &Agreement) -> AttributeValue {
    let fields = [("label", &agreement.label), ("ip", &agreement.ip), ("signedAt", &agreement.signed_at)];
    let present = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), s(text.as_deref()?))));
    AttributeValue::M(present.collect())
}

/// About what DynamoDB counts for a value.
fn size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        AttributeValue::M(values) => {
            3 + values.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SignUp;

    fn client(meta: usize) -> Client {
        let body = format!(
            r#"{{"email":"User@Example.com","phone":"+1234567890","firstName":"Jane","sourceId":"s","meta":"{}"}}"#,
            "m".repeat(meta)
        );
        let given = SignUp::parse(body.as_bytes()).unwrap();
        Client::register(given, Some("AFF-123".into()), BucketId::parse("b1"))
    }

    #[test]
    fn a_large_profile_is_stored_apart_and_the_clients_own_item_stays_small() {
        assert_eq!(client_items(&client(10)).len(), 2);
        let items = client_items(&client(10_000));
        assert_eq!(items.len(), 3);
        assert!(!items[0].contains_key("meta") && items[2].contains_key("meta"));
        assert!(items[0].contains_key("firstName") && items[0].contains_key("email"));
    }

    #[test]
    fn only_the_lead_is_in_the_indexes() {
        let items = client_items(&client(10_000));
        for (at, item) in items.iter().enumerate() {
            for attribute in ["b", "bs", "bt", "c", "u"] {
                assert_eq!(item.contains_key(attribute), at == 1, "{attribute} of item {at}");
            }
        }
    }

    #[test]
    fn both_forms_of_a_lead_read_back_the_same() {
        let client = client(10);
        let items = client_items(&client);
        let placed = PlacedLead::of(&client);
        assert_eq!(PlacedLead::from_item(&items[0]).unwrap(), placed);
        assert_eq!(PlacedLead::from_item(&items[1]).unwrap(), placed);
        assert_eq!(placed.lead.email, "User@Example.com");
    }

    #[test]
    fn reasons_of_a_cancelled_transaction() {
        let client = client(10);
        let key =
            IdempotencyKey::new(&crate::secret::Token::generate().unwrap().digest().token_id(), "k", b"one");
        let parts = [Part::Client, Part::Lead, Part::Idempotency, Part::Counter { list: "l".into() }];
        let judge = |reasons: [(&str, Option<Item>); 4]| {
            let reasons =
                reasons.map(|(code, item)| CancellationReason::builder().code(code).set_item(item).build());
            verdict(&client, Some(&key), &parts, &reasons)
        };
        let record = |id: &str, request: &[u8]| {
            let request: [u8; 32] = Sha256::digest(request).into();
            Some(item([("id", s(id)), ("request", b(&request))]))
        };
        let failed = "ConditionalCheckFailed";
        let own_lead = Some(client_items(&client).remove(1));
        let mut other = client.clone();
        other.id = ClientId::generate();
        let other_lead = Some(client_items(&other).remove(1));

        let none = || ("None", None);
        let conflict = || ("TransactionConflict", None);
        assert_eq!(judge([none(), none(), none(), conflict()]).unwrap(), None);
        assert_eq!(
            judge([none(), (failed, other_lead.clone()), none(), conflict()]).unwrap(),
            Some(Registered::EmailTaken)
        );
        assert_eq!(judge([none(), (failed, own_lead), none(), none()]).unwrap(), Some(Registered::Created));
        let replayed =
            judge([none(), (failed, other_lead.clone()), (failed, record("first", b"one")), none()]);
        assert_eq!(replayed.unwrap(), Some(Registered::Replayed(ClientId::new("first"))));
        let reused = judge([none(), none(), (failed, record("first", b"two")), none()]);
        assert_eq!(reused.unwrap(), Some(Registered::KeyReused));
        let own =
            judge([(failed, None), (failed, None), (failed, record(client.id.as_str(), b"one")), none()]);
        assert_eq!(own.unwrap(), Some(Registered::Created));
        assert!(judge([none(), none(), none(), ("ValidationError", None)]).is_err());
    }
}
