//! `BatchGetItem`: any number of keys, 100 a call, all calls at once.

use super::item::Item;
use super::{Store, StoreError};
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::try_join_all;
use std::time::Duration;

const KEYS_PER_CALL: usize = 100;
/// Rounds in which keys that DynamoDB left unprocessed are asked for again.
const UNPROCESSED_ROUNDS: u32 = 8;

/// The attributes to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projection {
    /// Their names, joined with commas; reserved words behind `#`.
    pub(super) expression: &'static str,
    /// What those with `#` stand for.
    pub(super) names: &'static [(&'static str, &'static str)],
}

impl Store {
    /// The items with these keys, in no order; keys without an item are left out.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or went on leaving keys unprocessed.
    pub(super) async fn batch_get(
        &self,
        operation: &'static str,
        table: &str,
        keys: Vec<Item>,
        projection: Option<Projection>,
    ) -> Result<Vec<Item>, StoreError> {
        let calls = keys
            .chunks(KEYS_PER_CALL)
            .map(|chunk| self.batch_call(operation, table, chunk.to_vec(), projection));
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }

    async fn batch_call(
        &self,
        operation: &'static str,
        table: &str,
        mut left: Vec<Item>,
        projection: Option<Projection>,
    ) -> Result<Vec<Item>, StoreError> {
        let mut found = Vec::with_capacity(left.len());
        for round in 0..UNPROCESSED_ROUNDS {
            let mut request = KeysAndAttributes::builder().set_keys(Some(left));
            if let Some(Projection { expression, names }) = projection {
                request = request.projection_expression(expression);
                for (placeholder, name) in names {
                    request = request.expression_attribute_names(*placeholder, *name);
                }
            }
            let request =
                request.build().map_err(|_| StoreError::new(operation, "request could not be built"))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(table, request)
                .send()
                .await
                .map_err(|error| StoreError::of(operation, &error))?;
            found.extend(answer.responses.into_iter().flatten().flat_map(|(_, items)| items));
            left = answer
                .unprocessed_keys
                .and_then(|mut tables| tables.remove(table))
                .map_or(Vec::new(), |left| left.keys);
            if left.is_empty() {
                return Ok(found);
            }
            let ceiling = 50u64 << round;
            let jitter = u64::from(getrandom::u32().unwrap_or_default()) % ceiling;
            tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
        }
        Err(StoreError::new(operation, "keys left unprocessed"))
    }
}
