//! When tokens were used and refused. Its own table: whatever serves requests may write here, and
//! here only.

use super::item::{Item, Reader, item, n, s};
use super::wire::{Pairs, S, UpdateItem, Value};
use super::{Store, StoreError, keys};
use crate::error::Refusal;
use crate::model::{RefusedAttempt, Timestamp, TokenActivity, TokenId};
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;
use std::net::IpAddr;

/// Places for refused attempts; an address and reason always has the same one, so that many
/// attempts alike do not push out the others.
const SLOTS: u32 = 16;
/// How many refused attempts are shown.
const SHOWN: usize = 5;
/// How long a refused attempt is kept.
const KEPT_SECONDS: i64 = 30 * 24 * 3600;

impl Store {
    /// Notes that a token was used, unless a use after `since` is known.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn note_used(
        &self,
        token: &TokenId,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let (now, since) = (n(now.millis()), n(since.millis()));
        let request = UpdateItem {
            table_name: &self.tables.activity,
            key: Pairs(&[("id", S(token.as_str()))]),
            update_expression: "SET lastUsedDate = :now",
            condition_expression: Some("attribute_not_exists(lastUsedDate) OR lastUsedDate < :since"),
            expression_attribute_names: None,
            expression_attribute_values: Pairs(&[(":now", Value(&now)), (":since", Value(&since))]),
        };
        match self.calls.update.call("note use", &request).await {
            Err(error) if error.is_failed_condition() => Ok(()),
            noted => noted,
        }
    }

    /// Notes that a token that exists was refused, unless a later one of the same place is known: an instance that
    /// slept may send this hours later.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn note_refused(
        &self,
        token: &TokenId,
        address: Option<IpAddr>,
        reason: Refusal,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let address =
            address.map_or_else(|| "unknown".to_owned(), |address| address.to_canonical().to_string());
        let slot = crc32fast::hash(format!("{address}#{}", reason.as_str()).as_bytes()) % SLOTS;
        let date = n(now.millis());
        let attempt = item([("address", s(address)), ("reason", s(reason.as_str())), ("date", date.clone())]);
        let (attempt, slot) = (AttributeValue::M(attempt), format!("r{slot}"));
        let expiry = n(now.millis() / 1000 + KEPT_SECONDS);
        let request = UpdateItem {
            table_name: &self.tables.activity,
            key: Pairs(&[("id", S(&keys::refused_attempts(token)))]),
            update_expression: "SET #slot = :attempt, expiresAt = :expiry",
            condition_expression: Some("attribute_not_exists(#slot) OR #slot.#date <= :date"),
            expression_attribute_names: Some(Pairs(&[("#slot", &slot), ("#date", "date")])),
            expression_attribute_values: Pairs(&[
                (":attempt", Value(&attempt)),
                (":date", Value(&date)),
                (":expiry", Value(&expiry)),
            ]),
        };
        match self.calls.update.call("note refusal", &request).await {
            Err(error) if error.is_failed_condition() => Ok(()),
            noted => noted,
        }
    }

    /// What is known of the use of these tokens.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn activity<'a>(
        &self,
        tokens: impl IntoIterator<Item = &'a TokenId>,
    ) -> Result<HashMap<TokenId, TokenActivity>, StoreError> {
        let tokens: Vec<&TokenId> = tokens.into_iter().collect();
        let both = tokens.iter().flat_map(|token| [token.to_string(), keys::refused_attempts(token)]);
        let wanted = both.map(|id| item([("id", s(id))])).collect();
        let found = self.batch_get("token activity", &self.tables.activity, wanted).await?;
        let mut known: HashMap<TokenId, TokenActivity> =
            tokens.into_iter().map(|token| (token.clone(), TokenActivity::default())).collect();
        let oldest = Timestamp::clamped(Timestamp::now().millis() - KEPT_SECONDS * 1000);
        for stored in &found {
            let reader = Reader::new("token activity", stored);
            let key = reader.text("id")?;
            let id = TokenId::parse(key.split('#').next().unwrap_or_default())
                .ok_or_else(|| reader.malformed())?;
            let activity = known.entry(id).or_default();
            if key.contains('#') {
                activity.refused = refused(stored, oldest)?;
            } else {
                activity.last_used = reader.optional_moment("lastUsedDate")?;
            }
        }
        Ok(known)
    }
}

/// The attempts of an item that are not too old, latest first.
fn refused(stored: &Item, oldest: Timestamp) -> Result<Vec<RefusedAttempt>, StoreError> {
    let slots = (0..SLOTS).filter_map(|slot| stored.get(&format!("r{slot}"))?.as_m().ok());
    let read = |fields: &Item| {
        let reader = Reader::new("refused attempt", fields);
        Ok(RefusedAttempt {
            address: reader.text("address")?.to_owned(),
            reason: reader.text("reason")?.to_owned(),
            date: reader.moment("date")?,
        })
    };
    let mut attempts = slots.map(read).collect::<Result<Vec<_>, StoreError>>()?;
    attempts.retain(|attempt| attempt.date >= oldest);
    attempts.sort_by(|one, other| other.date.cmp(&one.date).then_with(|| one.address.cmp(&other.address)));
    attempts.truncate(SHOWN);
    Ok(attempts)
}
