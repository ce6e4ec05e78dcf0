//! Transactions: sending them, trying again after conflicts, and reading why they were cancelled.

use super::{Store, StoreError};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};
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
    /// Nothing of it is written; a reason for each of its writes.
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

/// The reasons of a cancelled transaction; none where it met another one under way.
///
/// # Errors
/// It failed for another cause.
pub(super) fn reasons<'a, R>(
    operation: &'static str,
    error: &'a SdkError<TransactWriteItemsError, R>,
) -> Result<&'a [CancellationReason], StoreError> {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            Ok(cancelled.cancellation_reasons())
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(&[]),
        Some(other) if other.code() == Some("TransactionConflictException") => Ok(&[]),
        _ => Err(StoreError::of(operation, error)),
    }
}

impl Store {
    /// Sends a transaction, and again with jitter while others conflict with it.
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
        loop {
            let request = self.sdk().transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else { return Ok(Sent::Done) };
            let reasons = reasons(operation, &error)?;
            if reasons.iter().any(failed) {
                return Ok(Sent::Cancelled(reasons.to_vec()));
            }
            if let Some(reason) = reasons.iter().find(|reason| !transient(reason)) {
                return Err(StoreError::new(operation, reason.code().unwrap_or_default().to_owned()));
            }
            if !patience.wait().await {
                return Err(StoreError::of(operation, &error));
            }
        }
    }
}
