//! Buckets, and where a sign-up goes.

use super::change::unchanged;
use super::clients::VERSION;
use super::counters::{self, SHARDS, STATUS_COUNT};
use super::item::{Item, Reader, item, list, n, s};
use super::tally::{ARRIVALS, CLOSED};
use super::transaction::{Sent, WRITES_MAX, failed};
use super::wire::{GetItem, Pairs, Query, S};
use super::{Store, StoreError, keys};
use crate::model::{Bucket, BucketId, NAME_MAX_CHARS, Stored, Timestamp, Version};
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use std::collections::BTreeMap;

/// Most pages of a bucket's status counters that are read, a megabyte each: whoever signs clients up makes statuses.
const STATUS_PAGES_MAX: u32 = 20;
/// How often deleting a bucket looks again where leads came and went meanwhile.
const DELETE_ATTEMPTS: u32 = 4;

/// What became of a new bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateBucket {
    /// It is stored.
    Created,
    /// There is a bucket with this id.
    IdTaken,
    /// The affiliate has another bucket with this source.
    SourceTaken(String),
}

/// What became of a change of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeBucket {
    /// It is stored; the bucket's new state.
    Changed(Version),
    /// The bucket was changed since it was read, or is gone.
    Conflict,
    /// The affiliate has another bucket with this source.
    SourceTaken(String),
    /// More sources come and go than one transaction takes.
    TooManySources,
}

/// What became of deleting a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteBucket {
    /// It is not there any more.
    Deleted,
    /// It has leads.
    HasLeads,
    /// The bucket was changed since it was read.
    Conflict,
}

/// A page of buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredBuckets {
    /// The buckets, newest first.
    pub buckets: Vec<Bucket>,
    /// Whether there are none behind them.
    pub exhausted: bool,
}

impl Store {
    /// A bucket by id.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn bucket(&self, id: &BucketId) -> Result<Option<Bucket>, StoreError> {
        let request = GetItem {
            table_name: &self.tables.buckets,
            key: Pairs(&[("pk", S(&keys::bucket(id))), ("sk", S(keys::BUCKET_RECORD))]),
            consistent_read: false,
        };
        let found = self.calls.get_item.call("bucket", &request).await?;
        found.as_ref().map(bucket_from).transpose()
    }

    /// A bucket with the state it is in; strongly consistent, for administrators.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn stored_bucket(&self, id: &BucketId) -> Result<Option<Stored<Bucket>>, StoreError> {
        let found = self
            .sdk()
            .get_item()
            .table_name(&self.tables.buckets)
            .key("pk", s(keys::bucket(id)))
            .key("sk", s(keys::BUCKET_RECORD))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("stored bucket", &error))?;
        let Some(stored) = found.item else { return Ok(None) };
        let version = Version::stored(Reader::new("bucket", &stored).optional_text(VERSION));
        Ok(Some(Stored { value: bucket_from(&stored)?, version }))
    }

    /// Buckets of one affiliate or of all, newest first, below a place (`created` of the last one
    /// seen). Eventually consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn buckets(
        &self,
        affiliate_id: Option<&str>,
        before: Option<&str>,
        limit: usize,
    ) -> Result<StoredBuckets, StoreError> {
        // Nobody's, and maybe no key that DynamoDB takes.
        if affiliate_id.is_some_and(|id| id.is_empty() || id.chars().count() > NAME_MAX_CHARS) {
            return Ok(StoredBuckets { buckets: Vec::new(), exhausted: true });
        }
        let (index, partition, value) = match affiliate_id {
            Some(affiliate) => ("affiliate-created", "affiliateID", affiliate),
            None => ("buckets-created", "kind", keys::BUCKET_KIND),
        };
        let answer = self
            .sdk()
            .query()
            .table_name(&self.tables.buckets)
            .index_name(index)
            .key_condition_expression(format!("{partition} = :of AND created < :before"))
            .expression_attribute_values(":of", s(value))
            .expression_attribute_values(":before", s(before.unwrap_or(keys::LAST)))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| StoreError::of("buckets", &error))?;
        Ok(StoredBuckets {
            buckets: answer.items().iter().map(bucket_from).collect::<Result<_, _>>()?,
            exhausted: answer.last_evaluated_key.is_none(),
        })
    }

    /// Stores a new bucket with its routing records, all or nothing.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_bucket(&self, bucket: &Bucket) -> Result<CreateBucket, StoreError> {
        let items = bucket_items(bucket).into_iter();
        let writes = items.map(|item| self.put_fresh(item)).collect::<Result<_, _>>()?;
        let reasons = match self.transact("create bucket", writes).await? {
            Sent::Done => return Ok(CreateBucket::Created),
            Sent::Cancelled(reasons) => reasons,
        };
        let Some(at) = reasons.iter().position(failed) else {
            return Err(StoreError::new("create bucket", "cancelled"));
        };
        Ok(match at {
            0 | 1 => {
                // The same bucket: this very write, whose answer was lost.
                let stored = reasons.first().and_then(|reason| reason.item());
                if stored.is_some_and(|stored| bucket_from(stored).is_ok_and(|known| known == *bucket)) {
                    CreateBucket::Created
                } else {
                    CreateBucket::IdTaken
                }
            }
            at => CreateBucket::SourceTaken(bucket.sources.get(at - 2).cloned().unwrap_or_default()),
        })
    }

    /// Changes a bucket's name and sources, from the state it was read in. Clients stay where they
    /// are; new ones follow the new sources.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn change_bucket(
        &self,
        from: &Stored<Bucket>,
        to: &Bucket,
    ) -> Result<ChangeBucket, StoreError> {
        let unbuilt = |_| StoreError::new("change bucket", "request could not be built");
        let version = Version::fresh().map_err(|_| StoreError::new("change bucket", "no random source"))?;
        let mut update = Update::builder()
            .table_name(&self.tables.buckets)
            .key("pk", s(keys::bucket(&to.id)))
            .key("sk", s(keys::BUCKET_RECORD))
            .update_expression("SET #name = :name, #sources = :sources, rev = :to")
            .condition_expression(unchanged(&from.version))
            .expression_attribute_names("#name", "name")
            .expression_attribute_names("#sources", "sources")
            .expression_attribute_values(":name", s(&to.name))
            .expression_attribute_values(":sources", list(to.sources.iter().map(String::as_str)))
            .expression_attribute_values(":to", s(version.as_str().unwrap_or_default()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(state) = from.version.as_str() {
            update = update.expression_attribute_values(":rev", s(state));
        }
        let mut writes = vec![TransactWriteItem::builder().update(update.build().map_err(unbuilt)?).build()];
        let old = &from.value;
        let added: Vec<_> = to.sources.iter().filter(|source| !old.sources.contains(source)).collect();
        for source in &added {
            writes.push(self.put_fresh(assigned(to, source))?);
        }
        for source in old.sources.iter().filter(|source| !to.sources.contains(source)) {
            writes.push(self.delete_route(assigned(old, source))?);
        }
        if old.sources.is_empty() != to.sources.is_empty() {
            writes.push(self.delete_route(listed(old))?);
            writes.push(self.put_fresh(listed(to))?);
        }
        if writes.len() > WRITES_MAX {
            return Ok(ChangeBucket::TooManySources);
        }
        let reasons = match self.transact("change bucket", writes).await? {
            Sent::Done => return Ok(ChangeBucket::Changed(version)),
            Sent::Cancelled(reasons) => reasons,
        };
        if let Some(reason) = reasons.first().filter(|reason| failed(reason)) {
            let stored = reason.item().and_then(|item| item.get(VERSION)?.as_s().ok());
            let own = stored.map(String::as_str) == version.as_str();
            return Ok(if own { ChangeBucket::Changed(version) } else { ChangeBucket::Conflict });
        }
        let taken = reasons.iter().position(failed).and_then(|at| added.get(at.checked_sub(1)?));
        match taken {
            Some(source) => Ok(ChangeBucket::SourceTaken((*source).clone())),
            None => Err(StoreError::new("change bucket", "a routing record is missing")),
        }
    }

    /// Deletes a bucket that has no leads, with its routing records. Sign-ups that are on their
    /// way to it meet closed counters and are routed anew.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn delete_bucket(&self, bucket: &Stored<Bucket>) -> Result<DeleteBucket, StoreError> {
        let unbuilt = |_| StoreError::new("delete bucket", "request could not be built");
        let id = &bucket.value.id;
        let counters = keys::month_counters(&keys::bucket_list(id));
        for _ in 0..DELETE_ATTEMPTS {
            // Strongly consistent: each lead that is stored by now is counted here.
            let counted = self.counters(&counters, "000000", "999999").await?;
            let cells = counted.iter().flat_map(|(_, counts)| counts);
            let leads: i64 =
                cells.filter(|(name, _)| name.as_str() != ARRIVALS).map(|(_, count)| count).sum();
            if leads != 0 {
                return Ok(DeleteBucket::HasLeads);
            }
            let mut record = Delete::builder()
                .table_name(&self.tables.buckets)
                .key("pk", s(keys::bucket(id)))
                .key("sk", s(keys::BUCKET_RECORD))
                .condition_expression(unchanged(&bucket.version))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
            if let Some(state) = bucket.version.as_str() {
                record = record.expression_attribute_values(":rev", s(state));
            }
            let mut writes =
                vec![TransactWriteItem::builder().delete(record.build().map_err(unbuilt)?).build()];
            writes.push(self.delete_route(listed(&bucket.value))?);
            for source in &bucket.value.sources {
                writes.push(self.delete_route(assigned(&bucket.value, source))?);
            }
            for sk in fence() {
                let known = counted.iter().find(|(known, _)| *known == sk);
                let arrivals = known.and_then(|(_, counts)| counts.get(ARRIVALS)).copied();
                let close = Update::builder()
                    .table_name(&self.tables.buckets)
                    .key("pk", s(&counters))
                    .key("sk", s(sk))
                    .update_expression("SET #closed = :closed")
                    .expression_attribute_names("#closed", CLOSED)
                    .expression_attribute_names("#arrivals", ARRIVALS)
                    .expression_attribute_values(":closed", AttributeValue::Bool(true));
                let close = match arrivals {
                    Some(arrivals) => close
                        .condition_expression("#arrivals = :arrivals")
                        .expression_attribute_values(":arrivals", n(arrivals)),
                    None => close.condition_expression("attribute_not_exists(#arrivals)"),
                };
                writes.push(TransactWriteItem::builder().update(close.build().map_err(unbuilt)?).build());
            }
            match self.transact("delete bucket", writes).await? {
                Sent::Done => return Ok(DeleteBucket::Deleted),
                Sent::Cancelled(reasons) => match reasons.first().filter(|reason| failed(reason)) {
                    // It was there when this request read it.
                    Some(reason) if reason.item().is_none_or(|item| item.is_empty()) => {
                        return Ok(DeleteBucket::Deleted);
                    }
                    Some(_) => return Ok(DeleteBucket::Conflict),
                    // A lead came or went meanwhile.
                    None => {}
                },
            }
        }
        Ok(DeleteBucket::Conflict)
    }

    /// A bucket's leads per status; of a bucket with very many statuses, some of them.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn statuses(&self, bucket: &BucketId) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut sums = BTreeMap::<String, i64>::new();
        let mut from = None;
        for at in 1.. {
            let page = self
                .sdk()
                .query()
                .table_name(&self.tables.buckets)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(keys::status_counters(bucket)))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("statuses", &error))?;
            for stored in page.items() {
                let reader = Reader::new("status counter", stored);
                let count = stored.get(STATUS_COUNT).and_then(|value| value.as_n().ok()?.parse::<i64>().ok());
                let sum = sums.entry(reader.text("status")?.to_owned()).or_default();
                *sum = sum.saturating_add(count.unwrap_or(0));
            }
            from = page.last_evaluated_key;
            if from.is_none() || at == STATUS_PAGES_MAX {
                break;
            }
        }
        let counts = sums.into_iter().filter_map(|(k, sum)| Some((k, u64::try_from(sum).ok()?)));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    fn put_fresh(&self, item: Item) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.tables.buckets)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|_| StoreError::new("put routing record", "request could not be built"))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn delete_route(&self, mut record: Item) -> Result<TransactWriteItem, StoreError> {
        record.retain(|name, _| name == "pk" || name == "sk");
        let delete = Delete::builder()
            .table_name(&self.tables.buckets)
            .set_key(Some(record))
            .build()
            .map_err(|_| StoreError::new("delete routing record", "request could not be built"))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// The bucket that a new client goes to (CONTRACT.md, section 3): the affiliate's that the
    /// source is assigned to; else the affiliate's oldest without sources; else none.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn route(
        &self,
        affiliate_id: &str,
        source_id: Option<&str>,
    ) -> Result<Option<BucketId>, StoreError> {
        // No bucket belongs to an affiliate of a longer name.
        if affiliate_id.chars().count() > NAME_MAX_CHARS {
            return Ok(None);
        }
        let affiliate = keys::affiliate(affiliate_id);
        let assigned = async {
            let Some(source) = source_id else { return Ok(None) };
            let request = GetItem {
                table_name: &self.tables.buckets,
                key: Pairs(&[("pk", S(&affiliate)), ("sk", S(&keys::assigned_source(source)))]),
                consistent_read: false,
            };
            let found = self.calls.get_item.call("route by source", &request).await?;
            found.as_ref().map(routed_bucket).transpose()
        };
        let (assigned, open) = futures_util::future::join(assigned, self.open_bucket(affiliate_id)).await;
        Ok(assigned?.or(open?))
    }

    /// The affiliate's oldest bucket without sources: where its clients go whose source is assigned to none.
    /// Eventually consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn open_bucket(&self, affiliate_id: &str) -> Result<Option<BucketId>, StoreError> {
        if affiliate_id.chars().count() > NAME_MAX_CHARS {
            return Ok(None);
        }
        let affiliate = keys::affiliate(affiliate_id);
        let request = Query {
            table_name: &self.tables.buckets,
            key_condition_expression: "pk = :pk AND begins_with(sk, :open)",
            expression_attribute_values: Pairs(&[(":pk", S(&affiliate)), (":open", S(keys::OPEN_BUCKETS))]),
            limit: Some(1),
            ..Query::default()
        };
        let found = self.calls.items.call("route to open bucket", &request).await?;
        found.items.first().map(routed_bucket).transpose()
    }
}

/// Sort keys of the month counters that a lead on its way to a bucket passes: of this month, and
/// of the next or last one where a clock may be there.
fn fence() -> impl Iterator<Item = String> {
    const DAY: i64 = 86_400_000;
    let now = Timestamp::now().millis();
    let mut months: Vec<String> =
        [now - DAY, now, now + DAY].map(|moment| counters::month_cell(counters::cell_of(moment)).0).into();
    months.dedup();
    months.into_iter().flat_map(|month| (0..SHARDS).map(move |shard| format!("{month}#{shard}")))
}

/// The items of a bucket in the buckets table, without counters: its record, the one that lists it among
/// its affiliate's, and those of its sources, in their order.
pub fn bucket_items(bucket: &Bucket) -> Vec<Item> {
    let record = item([
        ("pk", s(keys::bucket(&bucket.id))),
        ("sk", s(keys::BUCKET_RECORD)),
        ("id", s(bucket.id.as_str())),
        ("name", s(&bucket.name)),
        ("affiliateID", s(&bucket.affiliate_id)),
        ("sources", list(bucket.sources.iter().map(String::as_str))),
        ("createdDate", n(bucket.created_date.millis())),
        ("kind", s(keys::BUCKET_KIND)),
        ("created", s(keys::created_then_id(bucket.created_date, bucket.id.as_str()))),
    ]);
    let sources = bucket.sources.iter().map(|source| assigned(bucket, source));
    [record, listed(bucket)].into_iter().chain(sources).collect()
}

/// The record that lists a bucket among its affiliate's.
fn listed(bucket: &Bucket) -> Item {
    item([
        ("pk", s(keys::affiliate(&bucket.affiliate_id))),
        ("sk", s(keys::affiliates_bucket(!bucket.sources.is_empty(), bucket.created_date, &bucket.id))),
        ("bucketId", s(bucket.id.as_str())),
    ])
}

/// The record that assigns a source to a bucket.
fn assigned(bucket: &Bucket, source: &str) -> Item {
    item([
        ("pk", s(keys::affiliate(&bucket.affiliate_id))),
        ("sk", s(keys::assigned_source(source))),
        ("bucketId", s(bucket.id.as_str())),
        ("sourceId", s(source)),
    ])
}

pub(super) fn routed_bucket(stored: &Item) -> Result<BucketId, StoreError> {
    let reader = Reader::new("bucket route", stored);
    BucketId::parse(reader.text("bucketId")?).ok_or_else(|| reader.malformed())
}

pub(super) fn bucket_from(stored: &Item) -> Result<Bucket, StoreError> {
    let reader = Reader::new("bucket", stored);
    Ok(Bucket {
        id: BucketId::parse(reader.text("id")?).ok_or_else(|| reader.malformed())?,
        name: reader.text("name")?.to_owned(),
        affiliate_id: reader.text("affiliateID")?.to_owned(),
        sources: reader.texts("sources")?,
        created_date: reader.moment("createdDate")?,
    })
}
