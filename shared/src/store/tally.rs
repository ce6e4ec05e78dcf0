//! What one transaction changes of the counters: an item each, however many leads it moves.

use super::counters::{self, SHARDS};
use super::item::{n, s};
use super::transaction::random;
use super::{PlacedLead, StoreError, keys};
use crate::model::{BucketId, Timestamp};
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts the writes that brought leads into a list, on the month that it is now, whatever month
/// the leads are of: a bucket is deleted on the condition that none did since it was found empty.
pub(super) const ARRIVALS: &str = "n";
/// Marks the counters of a deleted bucket: no lead may come in any more.
pub(super) const CLOSED: &str = "closed";

/// Lists whose counters met conflicts lately, by which new counts are spread over shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread {
    lists: Arc<Mutex<HashMap<String, Instant>>>,
    /// The shard of whoever shares out the shards by himself.
    lane: Option<u8>,
}

impl Spread {
    const MEMORY: Duration = Duration::from_secs(300);
    const LISTS_MAX: usize = 1000;

    /// One that always counts in one shard.
    pub(super) fn in_lane(&self, lane: u8) -> Self {
        Self { lists: self.lists.clone(), lane: Some(lane % SHARDS) }
    }

    /// Where a list is counted by a transaction that drew this shard.
    fn shard(&self, list: &str, drawn: u8) -> u8 {
        if let Some(lane) = self.lane {
            return lane;
        }
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        match lists.get(list) {
            Some(since) if since.elapsed() < Self::MEMORY => drawn,
            _ => 0,
        }
    }

    pub(super) fn note_conflict(&self, list: &str) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= Self::LISTS_MAX {
            lists.clear();
        }
        lists.insert(list.to_owned(), Instant::now());
    }
}

/// What is counted in one item.
#[derive(Clone, Debug, Default)]
struct Count {
    list: String,
    adds: BTreeMap<String, i64>,
    status: Option<String>,
    /// The bucket whose deletion must not have taken place.
    entered: Option<BucketId>,
}

/// A write of a counter, and what its failure means.
#[derive(Clone, Debug)]
pub(super) struct CounterPart {
    /// The list that is counted.
    pub(super) list: String,
    /// The bucket that is gone where the condition failed.
    pub(super) entered: Option<BucketId>,
}

/// Changes of counters, collected for one transaction.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    spread: Spread,
    /// One for all lists: whoever meets another in a source's shard meets it in the bucket's anyway,
    /// so that the source's counters cost no conflicts of their own.
    drawn: u8,
    shards: HashMap<String, u8>,
    items: BTreeMap<(String, String), Count>,
}

impl Tally {
    pub(super) fn new(spread: &Spread) -> Self {
        let drawn = (random() % u32::from(SHARDS)) as u8;
        Self { spread: spread.clone(), drawn, shards: HashMap::new(), items: BTreeMap::new() }
    }

    /// A lead comes to a bucket: it is counted there, and the bucket must not have been deleted.
    pub(super) fn enter(&mut self, bucket: &BucketId, placed: &PlacedLead) {
        self.count(bucket, placed, 1);
        self.gate(bucket, &placed.list);
    }

    /// A lead is counted in a bucket (1), or not any more (-1).
    pub(super) fn count(&mut self, bucket: &BucketId, placed: &PlacedLead, by: i64) {
        for list in [Some(&placed.list), placed.source_list.as_ref()].into_iter().flatten() {
            let shard = self.shard(list);
            for counter in counters::of_moment(list, placed.lead.created_date, shard) {
                let count = self.item(counter.pk, counter.sk, list);
                *count.adds.entry(counter.attribute).or_default() += by;
            }
        }
        let shard = self.shard(&placed.list);
        let sk = format!("{}#{shard}", keys::text_digest(&placed.lead.status));
        let count = self.item(keys::status_counters(bucket), sk, &placed.list);
        *count.adds.entry(counters::STATUS_COUNT.to_owned()).or_default() += by;
        count.status = Some(placed.lead.status.clone());
    }

    fn gate(&mut self, bucket: &BucketId, list: &str) {
        let shard = self.shard(list);
        let [month, _] = counters::of_moment(list, Timestamp::now(), shard);
        let count = self.item(month.pk, month.sk, list);
        *count.adds.entry(ARRIVALS.to_owned()).or_default() += 1;
        count.entered = Some(bucket.clone());
    }

    fn shard(&mut self, list: &str) -> u8 {
        let (spread, drawn) = (&self.spread, self.drawn);
        *self.shards.entry(list.to_owned()).or_insert_with(|| spread.shard(list, drawn))
    }

    fn item(&mut self, pk: String, sk: String, list: &str) -> &mut Count {
        let count = self.items.entry((pk, sk)).or_default();
        if count.list.is_empty() {
            list.clone_into(&mut count.list);
        }
        count
    }

    /// How many writes it takes, at most.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The writes; counters that come out as they were are left out.
    pub(super) fn writes(self, table: &str) -> Result<Vec<(CounterPart, TransactWriteItem)>, StoreError> {
        let mut writes = Vec::with_capacity(self.items.len());
        for ((pk, sk), count) in self.items {
            let adds: Vec<_> = count.adds.into_iter().filter(|(_, by)| *by != 0).collect();
            if adds.is_empty() {
                continue;
            }
            let mut update = Update::builder().table_name(table).key("pk", s(pk)).key("sk", s(sk));
            let mut expression = String::from("ADD ");
            for (at, (attribute, by)) in adds.iter().enumerate() {
                if at > 0 {
                    expression.push_str(", ");
                }
                expression.push_str(&format!("#a{at} :a{at}"));
                update = update
                    .expression_attribute_names(format!("#a{at}"), attribute)
                    .expression_attribute_values(format!(":a{at}"), n(by));
            }
            if let Some(status) = count.status {
                expression.push_str(" SET #status = :status");
                update = update
                    .expression_attribute_names("#status", "status")
                    .expression_attribute_values(":status", s(status));
            }
            if count.entered.is_some() {
                update = update
                    .condition_expression("attribute_not_exists(#closed)")
                    .expression_attribute_names("#closed", CLOSED);
            }
            let update = update
                .update_expression(expression)
                .build()
                .map_err(|_| StoreError::new("count", "request could not be built"))?;
            let part = CounterPart { list: count.list, entered: count.entered };
            writes.push((part, TransactWriteItem::builder().update(update).build()));
        }
        Ok(writes)
    }
}
