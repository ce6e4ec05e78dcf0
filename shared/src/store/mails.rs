//! Which registration emails were sent (CONTRACT.md, section 3): a record of the expiring table for
//! each client, so that a stream record which is delivered again sends nothing.
//!
//! Mail services have no transactions. The record is claimed before the email is handed over and
//! settled afterwards; a claim whose holder was ended in between can be taken over when it is
//! over. Only then, or where the service's own answer was lost, a second email is possible, and
//! none is ever lost.

use super::item::{Item, Reader, b, item, n, s};
use super::{Store, StoreError, keys};
use crate::model::{ClientId, Timestamp};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

/// How long a claim keeps others away, in seconds: longer than an email takes to be sent, with
/// all attempts.
pub const CLAIM_SECONDS: i64 = 30;
/// How long it is remembered that an email was sent, in seconds. Stream records are delivered for
/// a day at most.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 3600;

/// The right to send one client's registration email, for [`CLAIM_SECONDS`].
#[derive(Clone, Debug)]
pub struct MailClaim {
    client: ClientId,
    id: [u8; 12],
}

/// What became of an attempt to get a [`MailClaim`].
#[derive(Clone, Debug)]
pub enum ClaimMail {
    /// It is the caller's.
    Claimed(MailClaim),
    /// The email was sent before, or refused for good.
    Settled,
    /// Somebody else is about to send it.
    Busy,
}

/// What became of an email, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailOutcome<'a> {
    /// The mail service took it.
    Sent,
    /// The mail service will never take it; the reason is the service's code.
    Refused(&'a str),
}

impl Store {
    /// Claims a client's registration email, where it is neither settled nor claimed by somebody
    /// else. A claim whose answer was lost is recognised. `refused_too` claims one that the mail
    /// service refused.
    ///
    /// # Errors
    /// DynamoDB or the random source failed.
    pub async fn claim_mail(&self, client: &ClientId, refused_too: bool) -> Result<ClaimMail, StoreError> {
        let refused = if refused_too { " OR attribute_exists(refused)" } else { "" };
        // A late attempt of a claim that was given up again does not take it anew.
        let open = format!(
            "attribute_not_exists(pk) OR ((claimedUntil <= :now OR expiresAt <= :now{refused}) AND claim <> :claim)"
        );
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(|_| StoreError::random())?;
        let claim = MailClaim { client: client.clone(), id };
        let now = Timestamp::now().millis() / 1000;
        let mut record = claim.record(now);
        record.insert("claimedUntil".into(), n(now + CLAIM_SECONDS));
        let put = self
            .sdk()
            .put_item()
            .table_name(&self.tables.expiring)
            .set_item(Some(record))
            .condition_expression(open)
            .expression_attribute_values(":now", n(now))
            .expression_attribute_values(":claim", b(&claim.id))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(ClaimMail::Claimed(claim)) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(StoreError::of("claim mail", &error));
        };
        let empty = Item::new();
        let stored = Reader::new("registration email", failed.item().unwrap_or(&empty));
        if !stored.has("claimedUntil") {
            return Ok(ClaimMail::Settled);
        }
        Ok(if stored.bytes("claim")? == claim.id { ClaimMail::Claimed(claim) } else { ClaimMail::Busy })
    }

    /// Writes down what became of a claimed email, so that nobody sends it again.
    ///
    /// # Errors
    /// DynamoDB failed after all retries; whoever claims the email later sends it again.
    pub async fn settle_mail(&self, claim: &MailClaim, outcome: &MailOutcome<'_>) -> Result<(), StoreError> {
        let now = Timestamp::now().millis() / 1000;
        let mut record = claim.record(now);
        match outcome {
            MailOutcome::Sent => record.insert("sentAt".into(), n(now)),
            MailOutcome::Refused(reason) => record.insert("refused".into(), s(*reason)),
        };
        // What was sent was sent, whoever claims it now. What was refused may have been sent since by another claim.
        let only_own = matches!(outcome, MailOutcome::Refused(_));
        self.put_mail("settle mail", claim, record, only_own).await
    }

    /// Gives a claim up, so that the email can be tried again at once.
    ///
    /// # Errors
    /// DynamoDB failed after all retries; the claim then ends by itself.
    pub async fn release_mail(&self, claim: &MailClaim) -> Result<(), StoreError> {
        let mut record = claim.record(Timestamp::now().millis() / 1000);
        record.insert("claimedUntil".into(), n(0));
        self.put_mail("release mail", claim, record, true).await
    }

    /// Writes an email's record; where it is of this claim only, one that another has now stays as it is.
    async fn put_mail(
        &self,
        operation: &'static str,
        claim: &MailClaim,
        record: Item,
        only_own: bool,
    ) -> Result<(), StoreError> {
        let mut put = self.sdk().put_item().table_name(&self.tables.expiring).set_item(Some(record));
        if only_own {
            put = put
                .condition_expression("claim = :claim")
                .expression_attribute_values(":claim", b(&claim.id));
        }
        match put.send().await {
            Err(error)
                if !matches!(
                    error.as_service_error(),
                    Some(PutItemError::ConditionalCheckFailedException(_))
                ) =>
            {
                Err(StoreError::of(operation, &error))
            }
            _ => Ok(()),
        }
    }
}

impl MailClaim {
    fn record(&self, now: i64) -> Item {
        item([
            ("pk", s(keys::registration_email(&self.client))),
            ("id", s(self.client.as_str())),
            ("claim", b(&self.id)),
            ("expiresAt", n(now + REMEMBERED_SECONDS)),
        ])
    }
}
