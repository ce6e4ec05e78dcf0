//! Changes of clients: every copy, list, counter and the email's uniqueness in one transaction.

use super::clients::{VERSION, client_item};
use super::item::{Item, Reader, s};
use super::leads::PlacedLead;
use super::tally::{CounterPart, Tally};
use super::transaction::{Patience, Sent, failed, met, transient};
use super::{Store, StoreError, keys};
use crate::model::{Client, Stored, Timestamp, Version};
use aws_sdk_dynamodb::types::{
    CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

/// What became of a change of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeClient {
    /// It is stored; the client as it is now.
    Changed(Box<Stored<Client>>),
    /// The client was changed since it was read, or is gone.
    Conflict,
    /// Another client has the new email.
    EmailTaken,
    /// The bucket that it was to move to was deleted.
    BucketGone,
}

enum Part {
    Client,
    NewEmail,
    Other,
    Counter(CounterPart),
}

impl Store {
    /// Changes a client from the state it was read in; sets `updatedDate`, which never goes back.
    /// Whatever changes with it (the lead, its indexes, counters, the email's uniqueness) changes
    /// in the same transaction. Its id, `createdDate` and import stay.
    ///
    /// # Errors
    /// DynamoDB failed after all retries. Then either all of it is stored or nothing.
    pub async fn change_client(
        &self,
        from: &Stored<Client>,
        to: &Client,
    ) -> Result<ChangeClient, StoreError> {
        let version = Version::fresh().map_err(|_| StoreError::new("change client", "no random source"))?;
        let mut patience = Patience::new();
        loop {
            let mut to = to.clone();
            let now = Timestamp::now().max(Timestamp::clamped(from.value.updated_date.millis() + 1));
            to.updated_date = now;
            let to = Stored { value: to, version: version.clone() };
            let (parts, writes) = self.change(from, &to)?;
            let Sent::Cancelled(reasons) = self.transact_once("change client", &writes).await? else {
                return Ok(ChangeClient::Changed(Box::new(to)));
            };
            if let Some(outcome) = verdict(&to, &parts, &reasons)? {
                return Ok(outcome);
            }
            for (part, reason) in parts.iter().zip(&reasons) {
                if let (Part::Counter(counter), Some("TransactionConflict")) = (part, reason.code()) {
                    self.spread.note_conflict(&counter.list);
                }
            }
            if !patience.wait().await {
                return Err(StoreError::outrun("change client"));
            }
        }
    }

    fn change(
        &self,
        from: &Stored<Client>,
        to: &Stored<Client>,
    ) -> Result<(Vec<Part>, Vec<TransactWriteItem>), StoreError> {
        let unbuilt = |_| StoreError::new("change client", "request could not be built");
        let tables = &self.tables;
        let (old, new) = (&from.value, &to.value);
        let (left, placed) = (PlacedLead::of(old), PlacedLead::of(new));
        let (mut own, details) = client_item(new, &placed);
        if let Some(version) = to.version.as_str() {
            own.insert(VERSION.into(), s(version));
        }
        let put = |item: Item, condition: Option<&str>| {
            Put::builder()
                .table_name(&tables.clients)
                .set_item(Some(item))
                .set_condition_expression(condition.map(str::to_owned))
        };
        let delete = |pk: String| Delete::builder().table_name(&tables.clients).key("pk", s(pk));

        let (mut parts, mut writes) = (Vec::with_capacity(16), Vec::with_capacity(16));
        let own = put(own, Some(unchanged(&from.version)))
            .set_expression_attribute_values(
                from.version.as_str().map(|version| [(":rev".to_owned(), s(version))].into()),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        parts.push(Part::Client);
        writes.push(TransactWriteItem::builder().put(own.build().map_err(unbuilt)?).build());

        let same_email = old.given.email.key() == new.given.email.key();
        let condition = if same_email { "attribute_exists(pk)" } else { "attribute_not_exists(pk)" };
        let lead = put(placed.to_item(), Some(condition)).build().map_err(unbuilt)?;
        parts.push(if same_email { Part::Other } else { Part::NewEmail });
        writes.push(TransactWriteItem::builder().put(lead).build());
        if !same_email {
            let lead = delete(keys::lead(old.given.email.key())).build().map_err(unbuilt)?;
            parts.push(Part::Other);
            writes.push(TransactWriteItem::builder().delete(lead).build());
        }

        match details {
            Some(details) => {
                let details = put(details, None).build().map_err(unbuilt)?;
                parts.push(Part::Other);
                writes.push(TransactWriteItem::builder().put(details).build());
            }
            None if client_item(old, &left).1.is_some() => {
                let details = delete(keys::client_details(&old.id)).build().map_err(unbuilt)?;
                parts.push(Part::Other);
                writes.push(TransactWriteItem::builder().delete(details).build());
            }
            None => {}
        }

        let mut tally = Tally::new(&self.spread);
        if let Some(bucket) = &old.bucket_id {
            tally.count(bucket, &left, -1);
        }
        match &new.bucket_id {
            Some(bucket) if old.bucket_id.as_ref() == Some(bucket) => tally.count(bucket, &placed, 1),
            Some(bucket) => tally.enter(bucket, &placed),
            None => {}
        }
        for (counter, write) in tally.writes(&tables.buckets)? {
            parts.push(Part::Counter(counter));
            writes.push(write);
        }
        Ok((parts, writes))
    }
}

/// The condition that a record of key `pk` is in the state it was read in; `:rev` is that state.
pub(super) fn unchanged(version: &Version) -> &'static str {
    match version.as_str() {
        Some(_) => "rev = :rev",
        None => "attribute_exists(pk) AND attribute_not_exists(rev)",
    }
}

/// What a cancelled change means; `None`: nothing final, try again.
fn verdict(
    to: &Stored<Client>,
    parts: &[Part],
    reasons: &[CancellationReason],
) -> Result<Option<ChangeClient>, StoreError> {
    let (mut outcome, mut unsettled) = (None, false);
    for (part, reason) in parts.iter().zip(reasons) {
        if transient(reason) {
            // It may be this very change, which is being written item after item.
            unsettled |= matches!(part, Part::Client) && met(reason);
            continue;
        }
        if !failed(reason) {
            return Err(StoreError::new("change client", reason.code().unwrap_or_default().to_owned()));
        }
        match part {
            // The state of this very change: it took place, and the answer was lost.
            Part::Client => {
                let stored = reason.item().and_then(|item| item.get(VERSION)?.as_s().ok());
                if stored.map(String::as_str) != to.version.as_str() {
                    return Ok(Some(ChangeClient::Conflict));
                }
                let mut to = to.clone();
                let empty = Item::new();
                to.value.updated_date =
                    Reader::new("client", reason.item().unwrap_or(&empty)).moment("updatedDate")?;
                return Ok(Some(ChangeClient::Changed(Box::new(to))));
            }
            Part::NewEmail => outcome = Some(ChangeClient::EmailTaken),
            Part::Counter(counter) if counter.entered.is_some() => {
                outcome = outcome.or(Some(ChangeClient::BucketGone));
            }
            // What it replaces is gone already.
            Part::Counter(_) | Part::Other if unsettled => {}
            Part::Counter(_) | Part::Other => {
                return Err(StoreError::new("change client", "a copy of the client is missing"));
            }
        }
    }
    Ok(outcome.filter(|_| !unsettled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BucketId, SignUp};

    #[test]
    fn reasons_of_a_cancelled_change() {
        let body = br#"{"email":"user@example.com","phone":"+1234567890","firstName":"Jane"}"#;
        let client = Client::register(SignUp::parse(body).unwrap(), None, None);
        let to = Stored { value: client, version: Version::fresh().unwrap() };
        let entered = CounterPart { list: "l".into(), entered: BucketId::parse("b1") };
        let parts = [Part::Client, Part::NewEmail, Part::Other, Part::Counter(entered)];
        let judge = |codes: [&str; 4]| {
            let reasons = codes.map(|code| CancellationReason::builder().code(code).build());
            verdict(&to, &parts, &reasons)
        };
        let (none, failed, conflict) = ("None", "ConditionalCheckFailed", "TransactionConflict");
        assert_eq!(judge([none, failed, none, none]).unwrap(), Some(ChangeClient::EmailTaken));
        assert_eq!(judge([none, none, none, failed]).unwrap(), Some(ChangeClient::BucketGone));
        assert_eq!(judge([failed, none, none, none]).unwrap(), Some(ChangeClient::Conflict));
        // Another change of the client, or this one, is being written item after item.
        for codes in [[failed, none], [none, failed], [failed, failed]] {
            assert_eq!(judge([conflict, codes[0], codes[1], none]).unwrap(), None, "{codes:?}");
        }
        assert!(judge([none, none, failed, none]).is_err());
    }
}
