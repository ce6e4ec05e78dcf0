//! Transactions: sending them, trying again after conflicts, and reading why they were cancelled.

use super::item::Item;
use super::wire::{self, Attributes, Whole};
use super::{Store, StoreError};
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Most writes of one transaction.
pub(super) const WRITES_MAX: usize = 100;
/// Conflicting transactions are tried again for this long.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Sent {
    /// All of it is written.
    Done,
    /// Nothing of it is written; a reason for each of its writes, or none where it met another one under
    /// way.
    Cancelled(Vec<CancellationReason>),
}

/// Waits between attempts that conflict with others, for a limited time.
pub(super) struct Patience {
    started: Instant,
    attempt: u32,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), attempt: 0 }
    }

    /// Waits, with jitter; `false` where enough was waited.
    pub(super) async fn wait(&mut self) -> bool {
        if self.started.elapsed() > PATIENCE {
            return false;
        }
        let ceiling = 20u32 << self.attempt.min(6);
        self.attempt += 1;
        tokio::time::sleep(Duration::from_millis(u64::from(random() % ceiling))).await;
        true
    }
}

pub(super) fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// Whether the write was cancelled by its own condition.
pub(super) fn failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether the transaction was cancelled by others, or by nothing that concerns it.
pub(super) fn transient(reason: &CancellationReason) -> bool {
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
}

/// Whether the write met something else under way, so that nobody looked at its condition.
pub(super) fn met(reason: &CancellationReason) -> bool {
    transient(reason) && !matches!(reason.code(), None | Some("None"))
}

/// `TransactWriteItems`' request.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    transact_items: Vec<Write<'a>>,
    client_request_token: &'a str,
}

/// One write, by its kind.
#[derive(Serialize)]
enum Write<'a> {
    Put(Entry<'a>),
    Update(Entry<'a>),
    Delete(Entry<'a>),
    ConditionCheck(Entry<'a>),
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_expression: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition_expression: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression_attribute_names: Option<&'a HashMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression_attribute_values: Option<Attributes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_values_on_condition_check_failure: Option<&'a str>,
}

impl<'a> Write<'a> {
    fn of(write: &'a TransactWriteItem) -> Option<Self> {
        /// What all kinds of writes have.
        macro_rules! entry {
            ($write:ident, $($own:tt)*) => {
                Entry {
                    table_name: &$write.table_name,
                    expression_attribute_names: $write.expression_attribute_names.as_ref(),
                    expression_attribute_values: $write.expression_attribute_values.as_ref().map(Attributes),
                    return_values_on_condition_check_failure: $write
                        .return_values_on_condition_check_failure
                        .as_ref()
                        .map(|returned| returned.as_str()),
                    $($own)*
                    ..Entry::default()
                }
            };
        }
        if let Some(put) = &write.put {
            let condition_expression = put.condition_expression.as_deref();
            return Some(Self::Put(entry!(put, item: Some(Attributes(&put.item)), condition_expression,)));
        }
        if let Some(update) = &write.update {
            return Some(Self::Update(entry!(
                update,
                key: Some(Attributes(&update.key)),
                update_expression: Some(&update.update_expression),
                condition_expression: update.condition_expression.as_deref(),
            )));
        }
        if let Some(delete) = &write.delete {
            let condition_expression = delete.condition_expression.as_deref();
            return Some(Self::Delete(
                entry!(delete, key: Some(Attributes(&delete.key)), condition_expression,),
            ));
        }
        let check = write.condition_check.as_ref()?;
        let condition_expression = Some(check.condition_expression.as_str());
        Some(Self::ConditionCheck(entry!(check, key: Some(Attributes(&check.key)), condition_expression,)))
    }
}

/// Tries the SDK's own operations again that met a transaction under way: single writes, and reads of several
/// items at one moment.
#[derive(Debug)]
pub(super) struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let body = context.response().filter(|answer| !answer.status().is_success());
        let Some(body) = body.and_then(|answer| answer.body().bytes()) else {
            return RetryAction::NoActionIndicated;
        };
        let is_conflict = match Sent::cancelled(body) {
            Some(Sent::Cancelled(reasons)) => reasons.iter().any(met) && reasons.iter().all(transient),
            _ => wire::refusal(body).code() == Some("TransactionConflictException"),
        };
        if is_conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "Conflicts"
    }
}

impl Sent {
    /// Reads the answer to a transaction that was written.
    pub(super) fn read(answer: &[u8]) -> Result<Result<Self, StoreError>, serde_json::Error> {
        wire::done(answer).map(|_| Ok(Self::Done))
    }

    /// Reads the refusal of one that was cancelled; `None` of any other.
    pub(super) fn cancelled(refusal: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(rename = "__type")]
            kind: String,
            #[serde(rename = "CancellationReasons", default)]
            reasons: Vec<Reason>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Reason {
            code: Option<String>,
            item: Option<Whole>,
        }
        let refusal: Refusal = serde_json::from_slice(refusal).ok()?;
        if !refusal.kind.ends_with("TransactionCanceledException") {
            return None;
        }
        let reasons = refusal.reasons.into_iter().map(|Reason { code, item }| {
            let item: Option<Item> = item.map(|Whole(item)| item);
            CancellationReason::builder().set_code(code).set_item(item).build()
        });
        Some(Self::Cancelled(reasons.collect()))
    }
}

fn request_token() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Store {
    /// Sends a transaction, and again with jitter while others conflict with it. All of these are one request to
    /// DynamoDB, by their token: an attempt that arrives after a later one was written, when what it writes may be
    /// deleted again, does nothing; and one that met itself is found to be written.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or conflicts lasted too long. Nothing is written then, or
    /// all of it where the answer was lost: conditions must tell the writer's own work.
    pub(super) async fn transact(
        &self,
        operation: &'static str,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Sent, StoreError> {
        let mut patience = Patience::new();
        let token = request_token();
        loop {
            let Sent::Cancelled(reasons) = self.send(operation, &writes, &token).await? else {
                return Ok(Sent::Done);
            };
            if reasons.iter().any(failed) {
                // Where others are met, they may be an attempt of this very transaction, which is being written
                // item after item.
                if reasons.iter().any(met) && patience.wait().await {
                    continue;
                }
                return Ok(Sent::Cancelled(reasons));
            }
            if let Some(reason) = reasons.iter().find(|reason| !transient(reason)) {
                return Err(StoreError::new(operation, reason.code().unwrap_or_default().to_owned()));
            }
            if !patience.wait().await {
                return Err(StoreError::outrun(operation));
            }
        }
    }

    /// Sends a transaction; conflicts are the caller's, whose next attempt may write something else. Conditions must
    /// keep this one from being written after that.
    ///
    /// # Errors
    /// DynamoDB failed after all retries. Nothing is written then, or all of it where the answer was lost.
    pub(super) async fn transact_once(
        &self,
        operation: &'static str,
        writes: &[TransactWriteItem],
    ) -> Result<Sent, StoreError> {
        self.send(operation, writes, &request_token()).await
    }

    /// Sends a transaction under a token, which is remembered for ten minutes once it is written. Where it was
    /// cancelled the token is as good as new.
    async fn send(
        &self,
        operation: &'static str,
        writes: &[TransactWriteItem],
        client_request_token: &str,
    ) -> Result<Sent, StoreError> {
        let transact_items = writes.iter().map(Write::of).collect::<Option<_>>();
        let transact_items =
            transact_items.ok_or(StoreError::new(operation, "request could not be built"))?;
        let request = Request { transact_items, client_request_token };
        match self.calls.transact.call(operation, &request).await {
            Err(error) if error.is_conflict() => Ok(Sent::Cancelled(Vec::new())),
            sent => sent,
        }
    }
}
