//! `BatchGetItem`: any number of keys, 100 a call, all calls at once.

use super::item::Item;
use super::wire::{Pairs, S, Whole};
use super::{Store, StoreError};
use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::future::try_join_all;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

const KEYS_PER_CALL: usize = 100;
/// Rounds in which keys that DynamoDB left unprocessed are asked for again.
const UNPROCESSED_ROUNDS: u32 = 8;

/// Reads all keys by `call`, which gives what it found of some, and the keys that DynamoDB left unprocessed.
///
/// # Errors
/// A call's, or DynamoDB went on leaving keys unprocessed.
pub(super) async fn all<K: Clone, T, F>(
    operation: &'static str,
    keys: Vec<K>,
    call: impl Fn(Vec<K>) -> F,
) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<(Vec<T>, Vec<K>), StoreError>>,
{
    let call = &call;
    let chunks = keys.chunks(KEYS_PER_CALL).map(|chunk| async move {
        let (mut left, mut found) = (chunk.to_vec(), Vec::with_capacity(chunk.len()));
        for round in 0..UNPROCESSED_ROUNDS {
            let (more, unprocessed) = call(left).await?;
            found.extend(more);
            left = unprocessed;
            if left.is_empty() {
                return Ok(found);
            }
            let ceiling = 50u64 << round;
            let jitter = u64::from(getrandom::u32().unwrap_or_default()) % ceiling;
            tokio::time::sleep(Duration::from_millis(ceiling / 2 + jitter)).await;
        }
        Err(StoreError::new(operation, "keys left unprocessed"))
    });
    Ok(try_join_all(chunks).await?.into_iter().flatten().collect())
}

/// `BatchGetItem`'s request of one item from each of some tables.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    request_items: Pairs<'a, ReadFrom<'a>>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadFrom<'a> {
    keys: [Pairs<'a, S<'a>>; 1],
    consistent_read: bool,
}

/// Items of several tables.
#[derive(Debug)]
pub(super) struct Mixed {
    /// Each with its table.
    pub(super) items: Vec<(String, Item)>,
    /// Tables that DynamoDB did not get to.
    pub(super) left: Vec<String>,
}

impl Mixed {
    pub(super) fn read(answer: &[u8]) -> Result<Result<Self, StoreError>, serde_json::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            responses: HashMap<String, Vec<Whole>>,
            #[serde(default)]
            unprocessed_keys: HashMap<String, serde::de::IgnoredAny>,
        }
        let answer: Answer = serde_json::from_slice(answer)?;
        let items = answer
            .responses
            .into_iter()
            .flat_map(|(table, items)| items.into_iter().map(move |Whole(item)| (table.clone(), item)));
        Ok(Ok(Self { items: items.collect(), left: answer.unprocessed_keys.into_keys().collect() }))
    }
}

/// An item by its table and key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) table: &'a str,
    pub(super) key: Pairs<'a, S<'a>>,
    pub(super) consistent: bool,
}

impl Store {
    /// Two items of different tables, in one call.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or went on leaving keys unprocessed.
    pub(super) async fn get_two(
        &self,
        operation: &'static str,
        places: [Place<'_>; 2],
    ) -> Result<[Option<Item>; 2], StoreError> {
        let items = all(operation, places.to_vec(), |left| async move {
            let tables: Vec<_> = left
                .iter()
                .map(|place| (place.table, ReadFrom { keys: [place.key], consistent_read: place.consistent }))
                .collect();
            let request = Request { request_items: Pairs(&tables) };
            let answer = self.calls.mixed.call(operation, &request).await?;
            let left = left.into_iter().filter(|place| answer.left.iter().any(|table| table == place.table));
            Ok((answer.items, left.collect()))
        })
        .await?;
        let mut found = [None, None];
        for (table, item) in items {
            if let Some(at) = places.iter().position(|place| place.table == table) {
                found[at] = Some(item);
            }
        }
        Ok(found)
    }

    /// The items with these keys, in no order; keys without an item are left out.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or went on leaving keys unprocessed.
    pub(super) async fn batch_get(
        &self,
        operation: &'static str,
        table: &str,
        keys: Vec<Item>,
    ) -> Result<Vec<Item>, StoreError> {
        all(operation, keys, |left| async move {
            let request = KeysAndAttributes::builder().set_keys(Some(left));
            let request =
                request.build().map_err(|_| StoreError::new(operation, "request could not be built"))?;
            let answer = self
                .sdk()
                .batch_get_item()
                .request_items(table, request)
                .send()
                .await
                .map_err(|error| StoreError::of(operation, &error))?;
            let found = answer.responses.into_iter().flatten().flat_map(|(_, items)| items).collect();
            let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(table));
            Ok((found, left.map_or(Vec::new(), |left| left.keys)))
        })
        .await
    }
}
