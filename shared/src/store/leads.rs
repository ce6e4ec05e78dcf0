//! Reading leads: by keys, and page by page from a list.

use super::batch::Projection;
use super::counters::{self, Cells, Seconds};
use super::item::{Item, Reader, item, n, s};
use super::{Store, StoreError, keys};
use crate::model::{ClientId, Email, Keys, Lead, Timestamp};
use aws_sdk_dynamodb::types::Select;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

/// Attributes of a lead, in its own item and in the client's.
const PROJECTION: Projection = Projection {
    expression: "pk, e, c, u, s, f, b, bs, id, email, #status, createdDate, updatedDate, ftd, #list, sourceList",
    names: &[("#status", "status"), ("#list", "list")],
};

/// A lead and the lists it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedLead {
    /// The lead.
    pub lead: Lead,
    /// The list of its bucket, or of the clients without one.
    pub list: String,
    /// The part of the list that has its source, where it has one.
    pub source_list: Option<String>,
}

/// Which index a list is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All leads of a bucket, by creation.
    BucketCreated,
    /// Those of one source.
    SourceCreated,
    /// All leads of a bucket, by last change.
    BucketUpdated,
    /// Those of one source.
    SourceUpdated,
    /// Those of one status, by creation.
    StatusCreated,
    /// A part of all leads, by creation (admin API).
    AllCreated,
}

impl Order {
    /// The index's name, its partition key and its sort key, as `template.yaml` defines them.
    fn index(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BucketCreated => ("bucket-created", "b", "c"),
            Self::SourceCreated => ("source-created", "bs", "c"),
            Self::BucketUpdated => ("bucket-updated", "b", "u"),
            Self::SourceUpdated => ("source-updated", "bs", "u"),
            Self::StatusCreated => ("status-created", "bt", "c"),
            Self::AllCreated => ("all-created", "g", "c"),
        }
    }

    /// The moment that the index is sorted by.
    pub fn moment(self, lead: &Lead) -> Timestamp {
        match self {
            Self::BucketCreated | Self::SourceCreated | Self::StatusCreated | Self::AllCreated => {
                lead.created_date
            }
            Self::BucketUpdated | Self::SourceUpdated => lead.updated_date,
        }
    }

    /// The lead's sort key in the index.
    pub fn sort_key(self, lead: &Lead) -> String {
        keys::moment_then_id(self.moment(lead), &lead.id)
    }
}

/// Leads in the order of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The leads.
    pub leads: Vec<PlacedLead>,
    /// Whether the list holds none behind them.
    pub exhausted: bool,
}

/// Where a lead stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlace {
    /// Sort key: the moment, then the id.
    pub key: String,
    /// The lead's status.
    pub status: String,
}

impl ListPlace {
    /// The client's id.
    pub fn id(&self) -> Option<ClientId> {
        keys::split_moment(&self.key).map(|(_, id)| id)
    }
}

/// The newest of a list.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    /// The places, newest first.
    pub places: Vec<ListPlace>,
    /// Whether the list holds none behind them.
    pub exhausted: bool,
}

impl PlacedLead {
    /// The lead's item: by email, and in every index.
    pub(super) fn to_item(&self) -> Item {
        let Lead { id, email, status, created_date, updated_date, ftd } = &self.lead;
        let key = Email::key_of(email);
        let mut stored = item([
            ("pk", s(keys::lead(&key))),
            ("b", s(&self.list)),
            ("bt", s(keys::status_list(&self.list, status))),
            ("g", s(keys::all_list(id))),
            ("c", s(keys::moment_then_id(*created_date, id))),
            ("u", s(keys::moment_then_id(*updated_date, id))),
            ("s", s(status)),
        ]);
        if key != *email {
            stored.insert("e".into(), s(email));
        }
        if let Some(list) = &self.source_list {
            stored.insert("bs".into(), s(list));
        }
        if let Some(ftd) = ftd {
            stored.insert("f".into(), n(ftd.millis()));
        }
        stored
    }

    /// Reads the item of a lead or of a client.
    pub(super) fn from_item(stored: &Item) -> Result<Self, StoreError> {
        let reader = Reader::new("lead", stored);
        let pk = reader.text("pk")?;
        let Some(key) = pk.strip_prefix("E#") else {
            return Self::from_client(&Reader::new("client", stored));
        };
        let moment = |name| keys::split_moment(reader.text(name)?).ok_or_else(|| reader.malformed());
        let (created_date, id) = moment("c")?;
        Ok(Self {
            lead: Lead {
                id,
                email: reader.optional_text("e").unwrap_or(key).to_owned(),
                status: reader.text("s")?.to_owned(),
                created_date,
                updated_date: moment("u")?.0,
                ftd: reader.optional_moment("f")?,
            },
            list: reader.text("b")?.to_owned(),
            source_list: reader.optional_text("bs").map(str::to_owned),
        })
    }

    fn from_client(reader: &Reader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            lead: Lead {
                id: ClientId::new(reader.text("id")?),
                email: reader.text("email")?.to_owned(),
                status: reader.text("status")?.to_owned(),
                created_date: reader.moment("createdDate")?,
                updated_date: reader.moment("updatedDate")?,
                ftd: reader.optional_moment("ftd")?,
            },
            list: reader.text("list")?.to_owned(),
            source_list: reader.optional_text("sourceList").map(str::to_owned),
        })
    }
}

impl Store {
    /// The leads with these emails and ids, in no order, of any bucket; one that is asked for by
    /// both comes twice. Keys that cannot exist are not looked up.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, went on leaving keys unprocessed, or an item is malformed.
    pub async fn leads_by_keys(&self, keys: &Keys) -> Result<Vec<PlacedLead>, StoreError> {
        let emails =
            keys.emails.iter().filter(|key| !key.is_empty() && key.chars().count() <= Email::MAX_CHARS);
        let ids = keys.ids.iter().filter(|id| !id.is_empty() && id.len() <= ClientId::MAX_BYTES);
        let wanted: Vec<Item> = emails
            .map(|email| keys::lead(email))
            .chain(ids.map(|id| keys::client(id)))
            .map(|pk| item([("pk", s(pk))]))
            .collect();
        let found = self.batch_get("leads by keys", &self.tables.clients, wanted, Some(PROJECTION)).await?;
        found.iter().map(PlacedLead::from_item).collect()
    }

    /// Up to `limit` leads of a list whose sort keys lie in the range, in order.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn page(
        &self,
        order: Order,
        list: &str,
        range: RangeInclusive<String>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let mut from = None;
        loop {
            let left = limit - page.leads.len();
            let answer = self
                .list_query(order, list, &range)
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("page of leads", &error))?;
            for stored in answer.items() {
                page.leads.push(PlacedLead::from_item(stored)?);
            }
            from = answer.last_evaluated_key;
            page.exhausted = from.is_none();
            if page.exhausted || page.leads.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// Up to `limit` places of a list below `before`, newest first.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn newest(
        &self,
        order: Order,
        list: &str,
        before: &str,
        limit: usize,
    ) -> Result<Newest, StoreError> {
        let (index, partition, sort) = order.index();
        let answer = self
            .client
            .query()
            .table_name(&self.tables.clients)
            .index_name(index)
            .key_condition_expression(format!("{partition} = :list AND {sort} < :before"))
            .expression_attribute_values(":list", s(list))
            .expression_attribute_values(":before", s(before))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| StoreError::of("newest of list", &error))?;
        let read = |stored: &Item| {
            let reader = Reader::new("lead", stored);
            Ok(ListPlace { key: reader.text(sort)?.to_owned(), status: reader.text("s")?.to_owned() })
        };
        Ok(Newest {
            exhausted: answer.last_evaluated_key.is_none(),
            places: answer.items().iter().map(read).collect::<Result<_, StoreError>>()?,
        })
    }

    /// How many leads of a list have sort keys in the range.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn count(
        &self,
        order: Order,
        list: &str,
        range: RangeInclusive<String>,
    ) -> Result<u64, StoreError> {
        let (mut count, mut from) = (0, None);
        loop {
            let answer = self
                .list_query(order, list, &range)
                .select(Select::Count)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("count of leads", &error))?;
            count += u64::try_from(answer.count).unwrap_or_default();
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    fn list_query(
        &self,
        order: Order,
        list: &str,
        range: &RangeInclusive<String>,
    ) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
        let (index, partition, sort) = order.index();
        self.client
            .query()
            .table_name(&self.tables.clients)
            .index_name(index)
            .key_condition_expression(format!("{partition} = :list AND {sort} BETWEEN :first AND :last"))
            .expression_attribute_values(":list", s(list))
            .expression_attribute_values(":first", s(range.start()))
            .expression_attribute_values(":last", s(range.end()))
    }

    /// How many leads a list has in each four-hour cell of the range.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn cells(&self, list: &str, range: &RangeInclusive<i64>) -> Result<Cells, StoreError> {
        let (first, last) = (counters::cell_of(*range.start()), counters::cell_of(*range.end()));
        let (first_month, last_month) = (counters::month_cell(first).0, counters::month_cell(last).0);
        let mut cells = BTreeMap::<i64, i64>::new();
        let items = self.counters(keys::month_counters(list), &first_month, &last_month, false).await?;
        for (sk, counts) in &items {
            let month = sk.split('#').next().unwrap_or_default();
            for (attribute, count) in counts {
                if let Some(cell) =
                    counters::cell_of_attribute(month, attribute).filter(|c| (first..=last).contains(c))
                {
                    *cells.entry(cell).or_default() += count;
                }
            }
        }
        Ok(Cells(settle(cells)))
    }

    /// How many leads a list has in each second of a cell, to the end of `until`'s second.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn seconds(&self, list: &str, cell: i64, until: i64) -> Result<Seconds, StoreError> {
        let minute = |millis: i64| format!("{:09}", millis.div_euclid(60_000));
        let mut seconds = BTreeMap::<i64, i64>::new();
        let (first, last) = (minute(counters::cell_start(cell)), minute(until));
        let items = self.counters(keys::minute_counters(list, cell), &first, &last, false).await?;
        for (sk, counts) in &items {
            let minute: i64 = sk.split('#').next().and_then(|text| text.parse().ok()).unwrap_or_default();
            for (attribute, count) in counts {
                if let Ok(second) = attribute.parse::<i64>() {
                    *seconds.entry(minute * 60 + second).or_default() += count;
                }
            }
        }
        Ok(Seconds(settle(seconds)))
    }

    /// Reads counter items: their sort keys, and their number attributes.
    pub(super) async fn counters(
        &self,
        pk: String,
        first: &str,
        last: &str,
        consistent: bool,
    ) -> Result<Vec<(String, HashMap<String, i64>)>, StoreError> {
        let mut read = Vec::new();
        let mut from = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.tables.buckets)
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", s(&pk))
                .expression_attribute_values(":first", s(first))
                // Shards follow their item's key behind `#`, and `$` follows `#`.
                .expression_attribute_values(":last", s(format!("{last}$")))
                .consistent_read(consistent)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("counters", &error))?;
            for stored in answer.items() {
                let sk = Reader::new("counters", stored).text("sk")?.to_owned();
                let counts = stored
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?)))
                    .collect();
                read.push((sk, counts));
            }
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(read);
            }
        }
    }
}

/// Sums of shards as counts: a shard can be below zero where a lead left by another one.
fn settle(sums: BTreeMap<i64, i64>) -> BTreeMap<i64, u64> {
    sums.into_iter()
        .filter_map(|(key, sum)| Some((key, u64::try_from(sum).ok().filter(|sum| *sum > 0)?)))
        .collect()
}
