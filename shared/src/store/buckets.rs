//! Buckets, and where a sign-up goes.

use super::item::{Item, Reader, item, list, n, s};
use super::{Store, StoreError, keys};
use crate::model::{Bucket, BucketId, NAME_MAX_CHARS};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

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

impl Store {
    /// A bucket by id.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn bucket(&self, id: &BucketId) -> Result<Option<Bucket>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.buckets)
            .key("pk", s(keys::bucket(id)))
            .key("sk", s(keys::BUCKET_RECORD))
            .send()
            .await
            .map_err(|error| StoreError::of("bucket", &error))?;
        found.item.as_ref().map(bucket_from).transpose()
    }

    /// Stores a new bucket with its routing records, all or nothing.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_bucket(&self, bucket: &Bucket) -> Result<CreateBucket, StoreError> {
        let affiliate = keys::affiliate(&bucket.affiliate_id);
        let record = item([
            ("pk", s(keys::bucket(&bucket.id))),
            ("sk", s(keys::BUCKET_RECORD)),
            ("id", s(bucket.id.as_str())),
            ("name", s(&bucket.name)),
            ("affiliateID", s(&bucket.affiliate_id)),
            ("sources", list(bucket.sources.iter().map(String::as_str))),
            ("createdDate", n(bucket.created_date.millis())),
        ]);
        let listed = item([
            ("pk", s(&affiliate)),
            ("sk", s(keys::affiliates_bucket(!bucket.sources.is_empty(), bucket.created_date, &bucket.id))),
            ("bucketId", s(bucket.id.as_str())),
        ]);
        let sources = bucket.sources.iter().map(|source| {
            item([
                ("pk", s(&affiliate)),
                ("sk", s(keys::assigned_source(source))),
                ("bucketId", s(bucket.id.as_str())),
                ("sourceId", s(source)),
            ])
        });
        let puts = [record, listed].into_iter().chain(sources).map(|item| {
            let put = Put::builder()
                .table_name(&self.tables.buckets)
                .set_item(Some(item))
                .condition_expression("attribute_not_exists(pk)")
                .build()
                .map_err(|_| StoreError::new("create bucket", "request could not be built"))?;
            Ok(TransactWriteItem::builder().put(put).build())
        });
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(puts.collect::<Result<_, StoreError>>()?))
            .send()
            .await;
        let Err(error) = sent else { return Ok(CreateBucket::Created) };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                cancelled.cancellation_reasons()
            }
            _ => return Err(StoreError::of("create bucket", &error)),
        };
        let taken = reasons.iter().position(|reason| reason.code() == Some("ConditionalCheckFailed"));
        match taken {
            Some(0 | 1) => Ok(CreateBucket::IdTaken),
            Some(at) => {
                Ok(CreateBucket::SourceTaken(bucket.sources.get(at - 2).cloned().unwrap_or_default()))
            }
            None => Err(StoreError::of("create bucket", &error)),
        }
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
            let found = self
                .client
                .get_item()
                .table_name(&self.tables.buckets)
                .key("pk", s(&affiliate))
                .key("sk", s(keys::assigned_source(source)))
                .send()
                .await
                .map_err(|error| StoreError::of("route by source", &error))?;
            found.item.as_ref().map(routed_bucket).transpose()
        };
        let open = async {
            let found = self
                .client
                .query()
                .table_name(&self.tables.buckets)
                .key_condition_expression("pk = :pk AND begins_with(sk, :open)")
                .expression_attribute_values(":pk", s(&affiliate))
                .expression_attribute_values(":open", s(keys::OPEN_BUCKETS))
                .limit(1)
                .send()
                .await
                .map_err(|error| StoreError::of("route to open bucket", &error))?;
            found.items().first().map(routed_bucket).transpose()
        };
        let (assigned, open) = futures_util::future::join(assigned, open).await;
        Ok(assigned?.or(open?))
    }
}

fn routed_bucket(stored: &Item) -> Result<BucketId, StoreError> {
    let reader = Reader::new("bucket route", stored);
    BucketId::parse(reader.text("bucketId")?).ok_or_else(|| reader.malformed())
}

fn bucket_from(stored: &Item) -> Result<Bucket, StoreError> {
    let reader = Reader::new("bucket", stored);
    Ok(Bucket {
        id: BucketId::parse(reader.text("id")?).ok_or_else(|| reader.malformed())?,
        name: reader.text("name")?.to_owned(),
        affiliate_id: reader.text("affiliateID")?.to_owned(),
        sources: reader.texts("sources")?,
        created_date: reader.moment("createdDate")?,
    })
}
