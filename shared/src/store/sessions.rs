//! Autologin links and sessions (CONTRACT.md, section 4). Both are records of the expiring table
//! under the digest of their secret; DynamoDB deletes expired ones late, so that each read checks
//! the expiry as well.

use super::item::{Item, Reader, item, n, s};
use super::transaction::{Sent, failed, met};
use super::wire::{Attributes, PutItem};
use super::{Store, StoreError, keys};
use crate::config::TradersRoom;
use crate::model::{ClientId, Timestamp};
use crate::secret::SecretDigest;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

/// When a link was used up, in epoch seconds; of one that was not, there is none.
const USED_AT: &str = "usedAt";

/// A link that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewLink {
    /// Digest of its secret.
    pub digest: SecretDigest,
    /// How long it is valid, in seconds.
    pub lifetime: u32,
}

/// A session that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewSession {
    /// Digest of its key.
    pub digest: SecretDigest,
    /// How long it lasts without use, in seconds.
    pub idle_lifetime: u32,
    /// How long it lasts at most, in seconds.
    pub lifetime: u32,
}

impl NewSession {
    /// A session of the configured lifetimes.
    pub fn new(digest: SecretDigest, room: &TradersRoom) -> Self {
        Self { digest, idle_lifetime: room.idle_lifetime, lifetime: room.session_lifetime }
    }
}

/// A session that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who is signed in.
    pub client_id: ClientId,
    /// When it is over unless it is used, in epoch seconds.
    expires_at: i64,
    /// When it is over in any case, in epoch seconds.
    ends_at: i64,
}

/// A link that works.
struct LinkRecord {
    client_id: ClientId,
    expires_at: i64,
}

impl NewLink {
    /// The record, valid from now on.
    pub(super) fn item(&self, client: &ClientId) -> Item {
        item([
            ("pk", s(keys::link(&self.digest))),
            ("id", s(client.as_str())),
            // The second that has begun is not a part of its time.
            ("expiresAt", n(now() + 1 + i64::from(self.lifetime))),
        ])
    }
}

fn now() -> i64 {
    Timestamp::now().millis() / 1000
}

/// An expiry, in epoch seconds.
fn seconds(reader: &Reader<'_>, name: &str) -> Result<i64, StoreError> {
    i64::try_from(reader.count(name)).map_err(|_| reader.malformed())
}

impl Store {
    /// Stores another link of a client, unless it is there: links are random, so that one is of an earlier attempt of
    /// this call. An attempt that arrives when the link was used up changes nothing.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_link(&self, link: &NewLink, client: &ClientId) -> Result<(), StoreError> {
        let item = link.item(client);
        let request = PutItem {
            table_name: &self.tables.expiring,
            item: Attributes(&item),
            condition_expression: "attribute_not_exists(pk)",
        };
        self.calls.put_new.call("create link", &request).await
    }

    /// The client whose link this is, where it is valid; strongly consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn link(&self, link: &SecretDigest) -> Result<Option<ClientId>, StoreError> {
        Ok(self.unused(link).await?.map(|record| record.client_id))
    }

    /// A link's record, where it is valid; strongly consistent.
    async fn unused(&self, link: &SecretDigest) -> Result<Option<LinkRecord>, StoreError> {
        let Some(found) = self.expiring("link", keys::link(link)).await? else { return Ok(None) };
        if found.contains_key(USED_AT) {
            return Ok(None);
        }
        let reader = Reader::new("link", &found);
        Ok(Some(LinkRecord {
            client_id: ClientId::new(reader.text("id")?),
            expires_at: seconds(&reader, "expiresAt")?,
        }))
    }

    /// Uses a link up and begins the session, both or neither; `None` where the link is not valid
    /// (any more). Of any number of simultaneous calls one gets the client. A write whose answer was
    /// lost is recognised by its session.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn use_link(
        &self,
        link: &SecretDigest,
        session: &NewSession,
    ) -> Result<Option<ClientId>, StoreError> {
        let Some(LinkRecord { client_id: client, expires_at }) = self.unused(link).await? else {
            return Ok(None);
        };
        let unbuilt = |_| StoreError::new("use link", "request could not be built");
        let now = now();
        // Not deleted: a late attempt to store it would bring it back.
        let used = item([
            ("pk", s(keys::link(link))),
            ("id", s(client.as_str())),
            ("expiresAt", n(expires_at)),
            (USED_AT, n(now)),
        ]);
        let used = Put::builder()
            .table_name(&self.tables.expiring)
            .set_item(Some(used))
            .condition_expression("expiresAt > :now AND attribute_not_exists(usedAt)")
            .expression_attribute_values(":now", n(now))
            .build()
            .map_err(unbuilt)?;
        let ends_at = now + i64::from(session.lifetime);
        let record = item([
            ("pk", s(keys::session(&session.digest))),
            ("id", s(client.as_str())),
            ("expiresAt", n(ends_at.min(now + i64::from(session.idle_lifetime)))),
            ("endsAt", n(ends_at)),
        ]);
        let put = Put::builder()
            .table_name(&self.tables.expiring)
            .set_item(Some(record))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .map_err(unbuilt)?;
        let writes = vec![
            TransactWriteItem::builder().put(used).build(),
            TransactWriteItem::builder().put(put).build(),
        ];
        Ok(match self.transact("use link", writes).await? {
            Sent::Done => Some(client),
            // Session keys are random: a record of this one is from an earlier attempt of this call.
            Sent::Cancelled(reasons) if reasons.get(1).is_some_and(failed) => Some(client),
            // Nobody looked.
            Sent::Cancelled(reasons) if reasons.get(1).is_some_and(met) => {
                return Err(StoreError::outrun("use link"));
            }
            Sent::Cancelled(_) => None,
        })
    }

    /// A session, where it is not over; strongly consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn session(&self, session: &SecretDigest) -> Result<Option<Session>, StoreError> {
        let Some(found) = self.expiring("session", keys::session(session)).await? else { return Ok(None) };
        let reader = Reader::new("session", &found);
        let session = Session {
            client_id: ClientId::new(reader.text("id")?),
            expires_at: seconds(&reader, "expiresAt")?,
            ends_at: seconds(&reader, "endsAt")?,
        };
        Ok(Some(session).filter(|session| session.ends_at > now()))
    }

    /// Notes that a session is in use, at most ten times in its idle lifetime. One that ended
    /// meanwhile stays ended.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn touch_session(
        &self,
        digest: &SecretDigest,
        session: &Session,
        idle_lifetime: u32,
    ) -> Result<(), StoreError> {
        let (now, idle) = (now(), i64::from(idle_lifetime));
        let expires_at = session.ends_at.min(now + idle);
        if expires_at - session.expires_at < (idle / 10).max(1) {
            return Ok(());
        }
        let touched = self
            .sdk()
            .update_item()
            .table_name(&self.tables.expiring)
            .key("pk", s(keys::session(digest)))
            .update_expression("SET expiresAt = :expires")
            .condition_expression("expiresAt > :now AND expiresAt < :expires")
            .expression_attribute_values(":expires", n(expires_at))
            .expression_attribute_values(":now", n(now))
            .send()
            .await;
        match touched {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(StoreError::of("touch session", &error))
            }
            _ => Ok(()),
        }
    }

    /// Ends a session; one that is over already stays so.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn end_session(&self, session: &SecretDigest) -> Result<(), StoreError> {
        let delete = self.sdk().delete_item().table_name(&self.tables.expiring);
        let delete = delete.key("pk", s(keys::session(session)));
        delete.send().await.map_err(|error| StoreError::of("end session", &error))?;
        Ok(())
    }

    /// A record that is not expired.
    async fn expiring(&self, operation: &'static str, pk: String) -> Result<Option<Item>, StoreError> {
        let get = self.sdk().get_item().table_name(&self.tables.expiring).key("pk", s(pk));
        let found = get.consistent_read(true).send().await;
        let found = found.map_err(|error| StoreError::of(operation, &error))?.item;
        let Some(found) = found else { return Ok(None) };
        let expires_at = seconds(&Reader::new(operation, &found), "expiresAt")?;
        Ok((expires_at > now()).then_some(found))
    }
}
