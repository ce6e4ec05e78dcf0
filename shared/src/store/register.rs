//! Registration of clients: one transaction for all that is written.

use super::clients::{client_item, size};
use super::item::{Item, Reader, b, item, n, s};
use super::leads::PlacedLead;
use super::tally::{CounterPart, Tally};
use super::transaction::{Patience, Sent, WRITES_MAX, failed, met, transient};
use super::{NewLink, Store, StoreError, keys};
use crate::model::{Client, ClientId, Timestamp, TokenId};
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use sha2::{Digest, Sha256};

/// How long an `Idempotency-Key` is remembered (CONTRACT.md, section 3).
const REMEMBERED_SECONDS: i64 = 24 * 3600;
/// DynamoDB takes 4 MB in one transaction.
const BYTES_MAX: usize = 3_000_000;

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
    /// Another client has this id.
    IdTaken,
    /// The bucket was deleted meanwhile.
    BucketGone,
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

/// What a write of the transaction is there for; tells what its failure means.
#[derive(Debug)]
enum Part {
    Client(usize),
    Lead(usize),
    Idempotency,
    Link,
    Details,
    Counter(CounterPart),
}

/// What is written along with a client.
#[derive(Clone, Copy, Default)]
struct Extras<'a> {
    idempotency: Option<&'a IdempotencyKey>,
    link: Option<&'a NewLink>,
    dated: Dated,
}

/// Which dates the clients get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Dated {
    /// Those that they have.
    #[default]
    AsGiven,
    /// Those of the attempt: `updatedDate`, and `createdDate` unless it was given. A lead that waited
    /// for others or for DynamoDB must not appear behind those that partners read meanwhile.
    AtEachAttempt,
}

/// Dates a client at this moment. Where both dates are one, neither was given.
fn date(client: &mut Client) {
    let now = Timestamp::now();
    if client.created_date == client.updated_date {
        client.created_date = now;
    }
    client.updated_date = now;
}

/// One transaction and how many of the clients are in it.
struct Batch {
    parts: Vec<Part>,
    writes: Vec<TransactWriteItem>,
    clients: usize,
}

impl Store {
    /// Registers a client that is new at this moment: as [`Store::register`], but each attempt is
    /// dated anew, so that a lead which waits for others does not appear behind those that were
    /// read meanwhile. `link` is stored with it; where a client is found instead, there is none.
    ///
    /// # Errors
    /// As [`Store::register`].
    pub async fn sign_up(
        &self,
        client: Client,
        idempotency: Option<&IdempotencyKey>,
        link: Option<&NewLink>,
    ) -> Result<Registered, StoreError> {
        self.write_one(client, Extras { idempotency, link, dated: Dated::AtEachAttempt }).await
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
        self.write_one(client.clone(), Extras { idempotency, ..Extras::default() }).await
    }

    async fn write_one(&self, client: Client, extras: Extras<'_>) -> Result<Registered, StoreError> {
        let mut clients = [client];
        let outcomes = self.write(&mut clients, extras).await?;
        outcomes.into_iter().next().ok_or_else(|| StoreError::new("register", "nothing was sent"))
    }

    /// Stores several clients as [`Store::register`] does, as many to a transaction as it takes;
    /// gives the outcomes in their order. No two may have one email or one id. For imports: each
    /// client is stored whole or not at all, and one that the same import stored before is
    /// recognised. As of [`Store::sign_up`], each attempt is dated anew, but for a `createdDate` that
    /// was given.
    ///
    /// # Errors
    /// As [`Store::register`]; some of the clients may be stored then.
    pub async fn register_all(&self, clients: &[Client]) -> Result<Vec<Registered>, StoreError> {
        let extras = Extras { dated: Dated::AtEachAttempt, ..Extras::default() };
        self.write(&mut clients.to_vec(), extras).await
    }

    /// Writes clients, as many at once as fit a transaction: how many that are is told by each one, as later dates may
    /// need other counters. Those that cannot be stored are left out, and the others sent again.
    async fn write(&self, clients: &mut [Client], extras: Extras<'_>) -> Result<Vec<Registered>, StoreError> {
        let mut outcomes: Vec<Option<Registered>> = vec![None; clients.len()];
        let mut patience = Patience::new();
        loop {
            let open: Vec<usize> = (0..clients.len()).filter(|at| outcomes[*at].is_none()).collect();
            if open.is_empty() {
                return Ok(outcomes.into_iter().flatten().collect());
            }
            if extras.dated == Dated::AtEachAttempt {
                clients.iter_mut().for_each(date);
            }
            let left: Vec<Client> = open.iter().map(|at| clients[*at].clone()).collect();
            let Batch { parts, writes, clients: taken } = self.batch(&left, extras)?;
            let Sent::Cancelled(reasons) = self.transact_once("register", &writes).await? else {
                open.iter().take(taken).for_each(|at| outcomes[*at] = Some(Registered::Created));
                patience = Patience::new();
                continue;
            };
            let decided = verdicts(&left[..taken], extras.idempotency, &parts, &reasons)?;
            if decided.iter().any(Option::is_some) {
                for (at, outcome) in open.iter().zip(decided) {
                    outcomes[*at] = outcome;
                }
                continue;
            }
            for (part, reason) in parts.iter().zip(&reasons) {
                if let (Part::Counter(counter), Some("TransactionConflict")) = (part, reason.code()) {
                    self.spread.note_conflict(&counter.list);
                }
            }
            if !patience.wait().await {
                return Err(StoreError::outrun("register"));
            }
        }
    }

    /// The transaction of as many of the clients, from the first on, as fit.
    fn batch(&self, clients: &[Client], extras: Extras<'_>) -> Result<Batch, StoreError> {
        let unbuilt = |_| StoreError::new("register", "request could not be built");
        let tables = &self.tables;
        let put = |table: &str, item: Item| {
            Put::builder()
                .table_name(table)
                .set_item(Some(item))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        };
        let fresh = "attribute_not_exists(pk)";
        let (mut parts, mut writes) = (Vec::with_capacity(10), Vec::with_capacity(10));
        let mut tally = Tally::new(&self.spread);
        let (mut taken, mut bytes) = (0, 0);
        for (at, client) in clients.iter().enumerate() {
            let placed = PlacedLead::of(client);
            let (own, details) = client_item(client, &placed);
            let mut grown = tally.clone();
            if let Some(bucket) = &client.bucket_id {
                grown.enter(bucket, &placed);
            }
            bytes += [Some(&own), details.as_ref()]
                .into_iter()
                .flatten()
                .flatten()
                .map(|(_, v)| size(v))
                .sum::<usize>();
            let count = writes.len() + 2 + usize::from(details.is_some()) + grown.len();
            if taken > 0 && (count > WRITES_MAX || bytes > BYTES_MAX) {
                break;
            }
            (tally, taken) = (grown, taken + 1);
            let own = put(&tables.clients, own).condition_expression(fresh).build().map_err(unbuilt)?;
            parts.push(Part::Client(at));
            writes.push(TransactWriteItem::builder().put(own).build());
            let lead = put(&tables.clients, placed.to_item())
                .condition_expression(fresh)
                .build()
                .map_err(unbuilt)?;
            parts.push(Part::Lead(at));
            writes.push(TransactWriteItem::builder().put(lead).build());
            if let Some(details) = details {
                let details = put(&tables.clients, details).build().map_err(unbuilt)?;
                parts.push(Part::Details);
                writes.push(TransactWriteItem::builder().put(details).build());
            }
        }
        if let (Some(link), Some(client)) = (extras.link, clients.first()) {
            let link = put(&tables.expiring, link.item(&client.id)).build().map_err(unbuilt)?;
            parts.push(Part::Link);
            writes.push(TransactWriteItem::builder().put(link).build());
        }
        if let (Some(key), Some(client)) = (extras.idempotency, clients.first()) {
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
            writes.push(TransactWriteItem::builder().put(record).build());
        }
        for (counter, write) in tally.writes(&tables.buckets)? {
            parts.push(Part::Counter(counter));
            writes.push(write);
        }
        Ok(Batch { parts, writes, clients: taken })
    }
}

/// What a cancelled transaction means for each of its clients; `None`: nothing final, try again.
fn verdicts(
    clients: &[Client],
    idempotency: Option<&IdempotencyKey>,
    parts: &[Part],
    reasons: &[CancellationReason],
) -> Result<Vec<Option<Registered>>, StoreError> {
    let find = |wanted: &dyn Fn(&Part) -> bool| {
        let mut both = parts.iter().zip(reasons);
        both.find(|(part, reason)| wanted(part) && failed(reason)).map(|(_, reason)| reason.item())
    };
    // An item that names this very client was written by an attempt whose answer was lost.
    if let (Some(stored), Some(key), [client]) =
        (find(&|part| matches!(part, Part::Idempotency)), idempotency, clients)
    {
        let empty = Item::new();
        let reader = Reader::new("idempotency record", stored.unwrap_or(&empty));
        let id = reader.text("id")?;
        return Ok(vec![Some(if id == client.id.as_str() {
            Registered::Created
        } else if reader.bytes("request")? == key.request {
            Registered::Replayed(ClientId::new(id))
        } else {
            Registered::KeyReused
        })]);
    }
    if let Some(reason) = reasons.iter().find(|reason| !transient(reason) && !failed(reason)) {
        return Err(StoreError::new("register", reason.code().unwrap_or_default().to_owned()));
    }
    // Another sign-up with this key is being written, item after item: what else is there already may be its own.
    let is_key =
        |(part, reason): (&Part, &CancellationReason)| matches!(part, Part::Idempotency) && met(reason);
    if parts.iter().zip(reasons).any(is_key) {
        return Ok(vec![None; clients.len()]);
    }
    let judge = |(at, client): (usize, &Client)| {
        let own = find(&|part| matches!(part, Part::Client(of) if *of == at));
        // An attempt of this very sign-up whose answer was lost, too, is written item after item.
        let is_under_way = |wanted: &dyn Fn(&Part) -> bool| {
            parts.iter().zip(reasons).any(|(part, reason)| wanted(part) && met(reason))
        };
        // Ids of sign-ups are random; an imported record is known by the import's own mark.
        if client.import_id.is_some() {
            let mark = own.flatten().and_then(|own| own.get("importId")?.as_s().ok());
            if mark == client.import_id.as_ref() {
                return Ok(Some(Registered::Created));
            }
        }
        if let Some(stored) = find(&|part| matches!(part, Part::Lead(of) if *of == at)) {
            let lead = PlacedLead::from_item(stored.unwrap_or(&Item::new()))?;
            let is_this = lead.lead.id == client.id;
            if is_this && is_under_way(&|part| matches!(part, Part::Client(of) if *of == at)) {
                return Ok(None);
            }
            let is_own = is_this && client.import_id.is_none();
            return Ok(Some(if is_own { Registered::Created } else { Registered::EmailTaken }));
        }
        if own.is_some() {
            let is_lead = |part: &Part| matches!(part, Part::Lead(of) if *of == at);
            return Ok((!is_under_way(&is_lead)).then_some(Registered::IdTaken));
        }
        let closed = |part: &Part| matches!(part, Part::Counter(counter) if counter.entered.is_some() && counter.entered == client.bucket_id);
        Ok(find(&closed).map(|_| Registered::BucketGone))
    };
    clients.iter().enumerate().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketId, SignUp};
    use crate::store::client_items;

    fn client() -> Client {
        let body = r#"{"email":"User@Example.com","phone":"+1234567890","firstName":"Jane","sourceId":"s"}"#;
        let given = SignUp::parse(body.as_bytes()).unwrap();
        Client::register(given, Some("AFF-123".into()), BucketId::parse("b1"))
    }

    #[test]
    fn reasons_of_a_cancelled_transaction() {
        let client = client();
        let key =
            IdempotencyKey::new(&crate::secret::Token::generate().unwrap().digest().token_id(), "k", b"one");
        let counter = CounterPart { list: "l".into(), entered: BucketId::parse("b1") };
        let parts = [Part::Client(0), Part::Lead(0), Part::Idempotency, Part::Counter(counter)];
        let judge = |reasons: [(&str, Option<Item>); 4]| {
            let reasons =
                reasons.map(|(code, item)| CancellationReason::builder().code(code).set_item(item).build());
            verdicts(std::slice::from_ref(&client), Some(&key), &parts, &reasons).map(|all| all[0].clone())
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
        assert_eq!(
            judge([none(), (failed, own_lead.clone()), none(), none()]).unwrap(),
            Some(Registered::Created)
        );
        for taken in [(failed, other_lead.clone()), none()] {
            assert_eq!(judge([none(), taken, conflict(), (failed, None)]).unwrap(), None);
        }
        let replayed =
            judge([none(), (failed, other_lead.clone()), (failed, record("first", b"one")), none()]);
        assert_eq!(replayed.unwrap(), Some(Registered::Replayed(ClientId::new("first"))));
        let reused = judge([none(), none(), (failed, record("first", b"two")), none()]);
        assert_eq!(reused.unwrap(), Some(Registered::KeyReused));
        let own =
            judge([(failed, None), (failed, None), (failed, record(client.id.as_str(), b"one")), none()]);
        assert_eq!(own.unwrap(), Some(Registered::Created));
        assert_eq!(judge([none(), none(), none(), (failed, None)]).unwrap(), Some(Registered::BucketGone));
        assert_eq!(judge([(failed, None), none(), none(), none()]).unwrap(), Some(Registered::IdTaken));
        // Its own earlier attempt, half written.
        assert_eq!(judge([(failed, None), conflict(), none(), none()]).unwrap(), None);
        assert_eq!(judge([conflict(), (failed, own_lead), none(), none()]).unwrap(), None);
        assert!(judge([none(), none(), none(), ("ValidationError", None)]).is_err());
    }
}
