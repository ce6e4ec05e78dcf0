//! Reading leads: by keys, and page by page from a list.

use super::batch;
use super::counters::{self, Groups, Month};
use super::item::{Item, Reader, item, n, s};
use super::wire::{Action, Pairs, Queried, Query, S, Scalar};
use super::{Store, StoreError, keys};
use crate::model::{ClientId, Email, Keys, Lead, Timestamp, quote};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Attributes of a lead, in its own item and in the client's: those of [`Row`].
const PROJECTION: &str =
    "pk, e, c, u, s, f, b, bs, id, email, #status, createdDate, updatedDate, ftd, #list, sourceList";

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

    /// The index's name, and the condition of a list and a range of places in it.
    fn condition(self) -> (&'static str, String) {
        let (index, partition, sort) = self.index();
        (index, format!("{partition} = :list AND {sort} BETWEEN :first AND :last"))
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

    /// Where the lead comes in the index.
    pub fn place(self, lead: &Lead) -> (Timestamp, &str) {
        (self.moment(lead), lead.id.as_str())
    }

    /// The lead's sort key in the index; sorts as [`Order::place`] does.
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
        let get = |name: &str| match stored.get(name)? {
            AttributeValue::S(text) => Some(Scalar::S(Cow::Borrowed(text))),
            AttributeValue::N(digits) => Some(Scalar::N(Cow::Borrowed(digits))),
            _ => None,
        };
        Row {
            pk: get("pk"),
            e: get("e"),
            c: get("c"),
            u: get("u"),
            s: get("s"),
            f: get("f"),
            b: get("b"),
            bs: get("bs"),
            id: get("id"),
            email: get("email"),
            status: get("status"),
            created_date: get("createdDate"),
            updated_date: get("updatedDate"),
            ftd: get("ftd"),
            list: get("list"),
            source_list: get("sourceList"),
        }
        .placed()
    }
}

/// What is read of a lead's own item, or of its client's.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Row<'a> {
    pk: Option<Scalar<'a>>,
    e: Option<Scalar<'a>>,
    c: Option<Scalar<'a>>,
    u: Option<Scalar<'a>>,
    s: Option<Scalar<'a>>,
    f: Option<Scalar<'a>>,
    b: Option<Scalar<'a>>,
    bs: Option<Scalar<'a>>,
    id: Option<Scalar<'a>>,
    email: Option<Scalar<'a>>,
    status: Option<Scalar<'a>>,
    created_date: Option<Scalar<'a>>,
    updated_date: Option<Scalar<'a>>,
    ftd: Option<Scalar<'a>>,
    list: Option<Scalar<'a>>,
    source_list: Option<Scalar<'a>>,
}

impl Row<'_> {
    fn placed(&self) -> Result<PlacedLead, StoreError> {
        let key = self.pk.as_ref().and_then(Scalar::text);
        match key.and_then(|pk| pk.strip_prefix("E#")) {
            Some(email) => self.lead(email).ok_or(StoreError::malformed("lead")),
            None => self.client().ok_or(StoreError::malformed("client")),
        }
    }

    /// A lead's own item, of the email that is its key.
    fn lead(&self, email: &str) -> Option<PlacedLead> {
        let (created_date, id) = keys::split_moment(text(&self.c)?)?;
        Some(PlacedLead {
            lead: Lead {
                id,
                email: text(&self.e).unwrap_or(email).to_owned(),
                status: text(&self.s)?.to_owned(),
                created_date,
                updated_date: keys::split_moment(text(&self.u)?)?.0,
                ftd: optional_moment(&self.f)?,
            },
            list: text(&self.b)?.to_owned(),
            source_list: text(&self.bs).map(str::to_owned),
        })
    }

    /// A client's item.
    fn client(&self) -> Option<PlacedLead> {
        Some(PlacedLead {
            lead: Lead {
                id: ClientId::new(text(&self.id)?),
                email: text(&self.email)?.to_owned(),
                status: text(&self.status)?.to_owned(),
                created_date: optional_moment(&self.created_date)??,
                updated_date: optional_moment(&self.updated_date)??,
                ftd: optional_moment(&self.ftd)?,
            },
            list: text(&self.list)?.to_owned(),
            source_list: text(&self.source_list).map(str::to_owned),
        })
    }
}

fn text<'a>(attribute: &'a Option<Scalar<'_>>) -> Option<&'a str> {
    attribute.as_ref()?.text()
}

/// `None` where there is something else than a moment.
fn optional_moment(attribute: &Option<Scalar<'_>>) -> Option<Option<Timestamp>> {
    match attribute {
        None => Some(None),
        Some(attribute) => Timestamp::from_millis(attribute.number()?).map(Some),
    }
}

/// `BatchGetItem`'s answer of leads.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) leads: Vec<PlacedLead>,
    /// Keys that DynamoDB did not get to.
    pub(super) left: Vec<String>,
}

impl Batch {
    pub(super) fn read(answer: &[u8]) -> Result<Result<Self, StoreError>, serde_json::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer<'a> {
            #[serde(borrow)]
            responses: HashMap<Cow<'a, str>, Vec<Row<'a>>>,
            #[serde(borrow, default)]
            unprocessed_keys: HashMap<Cow<'a, str>, Unprocessed<'a>>,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Unprocessed<'a> {
            #[serde(borrow)]
            keys: Vec<Key<'a>>,
        }
        #[derive(serde::Deserialize)]
        struct Key<'a> {
            #[serde(borrow)]
            pk: Scalar<'a>,
        }
        let answer: Answer<'_> = serde_json::from_slice(answer)?;
        let leads: Result<_, _> = answer.responses.values().flatten().map(Row::placed).collect();
        let left = answer.unprocessed_keys.values().flat_map(|table| &table.keys);
        let left = left.filter_map(|key| key.pk.text().map(str::to_owned)).collect();
        Ok(leads.map(|leads| Self { leads, left }))
    }
}

/// `Query`'s answer of leads.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) leads: Vec<PlacedLead>,
    pub(super) next: Option<Box<RawValue>>,
}

impl Rows {
    pub(super) fn read(answer: &[u8]) -> Result<Result<Self, StoreError>, serde_json::Error> {
        let answer: Queried<Row<'_>> = serde_json::from_slice(answer)?;
        let leads: Result<_, _> = answer.items.iter().map(Row::placed).collect();
        Ok(leads.map(|leads| Self { leads, next: answer.last_evaluated_key }))
    }
}

/// An item of counters whose names are of two bytes: those of cells and of seconds. A bucket of three years
/// has 6,570, which are read for each page.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) sk: String,
    pub(super) counts: Vec<([u8; 2], i64)>,
}

impl Slots {
    pub(super) fn read(answer: &[u8]) -> Result<Result<Queried<Self>, StoreError>, serde_json::Error> {
        serde_json::from_slice(answer).map(Ok)
    }
}

impl<'de> Deserialize<'de> for Slots {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Attributes;
        impl<'de> Visitor<'de> for Attributes {
            type Value = Slots;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("an item of counters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slots, A::Error> {
                let mut sk = None;
                // A month of cells, mostly.
                let mut counts = Vec::with_capacity(186);
                while let Some((Name(name), value)) = map.next_entry::<Name, Scalar<'de>>()? {
                    match (name, value) {
                        (Some(name), Scalar::N(digits)) => {
                            counts.push((name, digits.parse().map_err(serde::de::Error::custom)?));
                        }
                        (Some(name), Scalar::S(text)) if name == *b"sk" => sk = Some(text.into_owned()),
                        _ => {}
                    }
                }
                Ok(Slots { sk: sk.ok_or_else(|| serde::de::Error::missing_field("sk"))?, counts })
            }
        }
        from.deserialize_map(Attributes)
    }
}

/// An attribute's name, where it has two bytes.
struct Name(Option<[u8; 2]>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a name")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(name.as_bytes().try_into().ok()))
            }
        }
        from.deserialize_str(Text)
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
            keys.emails.iter().filter(|key| !key.is_empty() && key.chars().count() <= Email::KEY_MAX_CHARS);
        let ids = keys.ids.iter().filter(|id| !id.is_empty() && id.len() <= ClientId::MAX_BYTES);
        let wanted: Vec<String> =
            emails.map(|email| keys::lead(email)).chain(ids.map(|id| keys::client(id))).collect();
        batch::all("leads by keys", wanted, |left| async move {
            let request = batch_request(&self.tables.clients, &left);
            let Batch { leads, left } = self.calls.leads.send("leads by keys", request).await?;
            Ok((leads, left))
        })
        .await
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
        let (index, condition) = order.condition();
        if range.is_empty() {
            // DynamoDB refuses to look for it.
            return Ok(Page { exhausted: true, ..page });
        }
        let mut from = None;
        loop {
            let request = Query {
                table_name: &self.tables.clients,
                index_name: Some(index),
                key_condition_expression: &condition,
                expression_attribute_values: Pairs(&[
                    (":list", S(list)),
                    (":first", S(range.start())),
                    (":last", S(range.end())),
                ]),
                limit: Some(limit - page.leads.len()),
                exclusive_start_key: from.as_deref(),
                ..Query::default()
            };
            let Rows { leads, next } = self.calls.page.call("page of leads", &request).await?;
            page.leads.extend(leads);
            page.exhausted = next.is_none();
            if page.exhausted || page.leads.len() >= limit {
                return Ok(page);
            }
            from = next;
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
            .sdk()
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
        let (index, condition) = order.condition();
        let (mut count, mut from) = (0, None);
        loop {
            let request = Query {
                table_name: &self.tables.clients,
                index_name: Some(index),
                key_condition_expression: &condition,
                expression_attribute_values: Pairs(&[
                    (":list", S(list)),
                    (":first", S(range.start())),
                    (":last", S(range.end())),
                ]),
                select: Some("COUNT"),
                exclusive_start_key: from.as_deref(),
                ..Query::default()
            };
            let counted = self.calls.count.call("count of leads", &request).await?;
            count += counted.count;
            from = counted.last_evaluated_key;
            if from.is_none() {
                return Ok(count);
            }
        }
    }

    /// How many leads a list has in each four-hour cell of the range.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn cells(&self, list: &str, range: &RangeInclusive<i64>) -> Result<Groups, StoreError> {
        let (first, last) = (counters::cell_of(*range.start()), counters::cell_of(*range.end()));
        let (first_month, last_month) = (counters::month_cell(first).0, counters::month_cell(last).0);
        let items = self.slots(keys::month_counters(list), &first_month, &last_month).await?;
        let mut cells = Vec::with_capacity(items.iter().map(|item| item.counts.len()).sum());
        for item in &items {
            let Some(month) = item.sk.split('#').next().and_then(Month::parse) else { continue };
            let counts = item.counts.iter().filter_map(|(name, count)| Some((month.cell(*name)?, *count)));
            cells.extend(counts.filter(|(cell, _)| (first..=last).contains(cell)));
        }
        Ok(Groups::of(cells))
    }

    /// How many leads a list has in each second of a cell, to the end of `until`'s second.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn seconds(&self, list: &str, cell: i64, until: i64) -> Result<Groups, StoreError> {
        let minute = |millis: i64| format!("{:09}", millis.div_euclid(60_000));
        let (first, last) = (minute(counters::cell_start(cell)), minute(until));
        let items = self.slots(keys::minute_counters(list, cell), &first, &last).await?;
        let mut seconds = Vec::new();
        for item in &items {
            let minute: i64 =
                item.sk.split('#').next().and_then(|text| text.parse().ok()).unwrap_or_default();
            let second = |name: &[u8; 2]| {
                let within = std::str::from_utf8(name).ok()?.parse::<i64>().ok()?;
                minute.checked_mul(60)?.checked_add(within)
            };
            let counts = item.counts.iter();
            seconds.extend(counts.filter_map(|(name, count)| Some((second(name)?, *count))));
        }
        Ok(Groups::of(seconds))
    }

    async fn slots(&self, pk: String, first: &str, last: &str) -> Result<Vec<Slots>, StoreError> {
        self.counter_items(&self.calls.slots, &pk, first, last, false).await
    }

    /// Reads counter items, strongly consistent: their sort keys, and their number attributes.
    pub(super) async fn counters(
        &self,
        pk: &str,
        first: &str,
        last: &str,
    ) -> Result<Vec<(String, HashMap<String, i64>)>, StoreError> {
        let items = self.counter_items(&self.calls.items, pk, first, last, true).await?;
        let read = |stored: Item| {
            let sk = Reader::new("counters", &stored).text("sk")?.to_owned();
            let number = |value: AttributeValue| value.as_n().ok()?.parse().ok();
            let counts = stored.into_iter().filter_map(|(name, value)| Some((name, number(value)?)));
            Ok((sk, counts.collect()))
        };
        items.into_iter().map(read).collect()
    }

    /// All items of counters between two keys, with all shards of the last one.
    async fn counter_items<T: fmt::Debug + Send + Sync + 'static>(
        &self,
        action: &Action<Queried<T>>,
        pk: &str,
        first: &str,
        last: &str,
        consistent_read: bool,
    ) -> Result<Vec<T>, StoreError> {
        // Shards follow their item's key behind `#`, and `$` follows `#`.
        let last = format!("{last}$");
        let values = [(":pk", S(pk)), (":first", S(first)), (":last", S(&last))];
        let (mut read, mut from) = (Vec::new(), None);
        loop {
            let request = Query {
                table_name: &self.tables.buckets,
                key_condition_expression: "pk = :pk AND sk BETWEEN :first AND :last",
                expression_attribute_values: Pairs(&values),
                consistent_read,
                exclusive_start_key: from.as_deref(),
                ..Query::default()
            };
            let page = action.call("counters", &request).await?;
            read.extend(page.items);
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(read);
            }
        }
    }
}

/// `BatchGetItem`'s request of leads; by hand, because a request has up to 5,000 keys.
fn batch_request(table: &str, keys: &[String]) -> Vec<u8> {
    let mut request = Vec::with_capacity(400 + keys.len() * 60);
    request.extend_from_slice(br#"{"RequestItems":{"#);
    quote(table, &mut request);
    request.extend_from_slice(br#":{"Keys":["#);
    for (at, key) in keys.iter().enumerate() {
        request.extend_from_slice(if at == 0 { br#"{"pk":{"S":"# } else { br#",{"pk":{"S":"# });
        quote(key, &mut request);
        request.extend_from_slice(b"}}");
    }
    request.extend_from_slice(br#"],"ProjectionExpression":"#);
    quote(PROJECTION, &mut request);
    request.extend_from_slice(br##","ExpressionAttributeNames":{"#status":"status","#list":"list"}}}}"##);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};
    use serde_json::{Value, json};

    fn lead(number: i64) -> PlacedLead {
        let moment = |millis| Timestamp::from_millis(millis).unwrap();
        PlacedLead {
            lead: Lead {
                id: ClientId::new(format!("id\"{number}")),
                email: format!("Jane.{number}@example.com"),
                status: if number % 2 == 0 { "no answer".into() } else { "отказ\\".into() },
                created_date: moment(1_700_000_000_000 + number),
                updated_date: moment(1_700_000_000_500 + number),
                ftd: (number % 3 == 0).then(|| moment(number)),
            },
            list: keys::text_digest("a bucket"),
            source_list: (number % 2 == 1).then(|| keys::text_digest("a source")),
        }
    }

    fn written(item: &Item) -> Value {
        serde_json::to_value(super::super::wire::Attributes(item)).unwrap()
    }

    fn answer() -> Value {
        let leads: Vec<_> = (0..3).map(|number| written(&lead(number).to_item())).collect();
        json!({
            "Responses": { "clients": leads },
            "UnprocessedKeys": { "clients": { "Keys": [{ "pk": { "S": "E#a@b.c" } }], "ProjectionExpression": "pk" } },
        })
    }

    #[test]
    fn a_batch_is_read_with_the_keys_that_are_left() {
        let batch = Batch::read(answer().to_string().as_bytes()).unwrap().unwrap();
        assert_eq!(batch.leads, [lead(0), lead(1), lead(2)]);
        assert_eq!(batch.left, ["E#a@b.c"]);
        let rows = json!({ "Count": 1, "Items": [written(&lead(4).to_item())], "LastEvaluatedKey": { "pk": { "S": "k" } } });
        let rows = Rows::read(rows.to_string().as_bytes()).unwrap().unwrap();
        assert_eq!(rows.leads, [lead(4)]);
        assert_eq!(rows.next.unwrap().get(), r#"{"pk":{"S":"k"}}"#);
        // Both ways of reading an item are one.
        assert_eq!(PlacedLead::from_item(&lead(5).to_item()).unwrap(), lead(5));
    }

    #[test]
    fn an_item_without_its_attributes_is_malformed_and_a_text_without_items_no_answer() {
        let without = |name: &str| {
            let mut item = lead(1).to_item();
            item.remove(name);
            Batch::read(json!({ "Responses": { "clients": [written(&item)] } }).to_string().as_bytes())
                .unwrap()
        };
        for name in ["pk", "c", "u", "s", "b"] {
            assert!(without(name).is_err(), "{name}");
        }
        assert!(without("bs").is_ok());
        for text in ["", "{}", "[]", r#"{"Responses":null}"#, r#"{"Responses":{"clients":[7]}}"#] {
            assert!(Batch::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn counters_are_read_by_their_names() {
        let text = json!({ "Items": [{ "pk": { "S": "M#l" }, "sk": { "S": "202611#0" }, "o3": { "N": "12" }, "15": { "N": "-1" },
            "closed": { "BOOL": true }, "arrivals": { "N": "4" } }] });
        let slots = Slots::read(text.to_string().as_bytes()).unwrap().unwrap();
        let mut counts = slots.items[0].counts.clone();
        counts.sort_unstable();
        assert_eq!((slots.items[0].sk.as_str(), counts), ("202611#0", vec![(*b"15", -1), (*b"o3", 12)]));
        assert!(Slots::read(br#"{"Items":[{"o3":{"N":"1"}}]}"#).is_err());
    }

    /// What a reader that takes its time makes of an answer; `None` of none.
    fn naive(text: &[u8]) -> Option<Vec<[Option<String>; 4]>> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let mut read = Vec::new();
        for items in value.get("Responses")?.as_object()?.values() {
            for item in items.as_array()? {
                let text = |name: &str| Some(item.get(name)?.get("S")?.as_str()?.to_owned());
                let email = text("pk").and_then(|pk| Some(pk.strip_prefix("E#")?.to_owned()));
                read.push([text("e").or(email), text("s"), text("b"), text("bs")]);
            }
        }
        Some(read)
    }

    /// Answers that are damaged on the way: they are refused, or read as they are.
    #[test]
    fn damaged_answers_are_refused_or_read_as_they_are() {
        const PIECES: [&str; 14] =
            ["\"", "\\", "{", "}", "[", "]", ",", ":", "null", "\u{7f}", "\\u0041", "0", "\"S\"", "\"E#"];
        let mut rng = StdRng::seed_from_u64(0xda3a6ed);
        let whole = answer().to_string().into_bytes();
        let (mut refused, mut read) = (0, 0);
        for _ in 0..60_000 {
            let mut text = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                if text.is_empty() {
                    break;
                }
                let at = rng.random_range(0..text.len());
                match rng.random_range(0..5) {
                    0 => text[at] = rng.random(),
                    1 => text.truncate(at.max(1)),
                    2 => drop(text.remove(at)),
                    3 => drop(text.splice(at..at, PIECES.choose(&mut rng).unwrap().bytes())),
                    _ => {
                        let end = text.len().min(at + rng.random_range(1..40));
                        let part = text[at..end].to_vec();
                        drop(text.splice(at..at, part));
                    }
                }
            }
            let Ok(Ok(batch)) = Batch::read(&text) else {
                refused += 1;
                continue;
            };
            // What is not read of an item may be no UTF-8.
            let shown = String::from_utf8_lossy(&text);
            let expected = naive(shown.as_bytes()).unwrap_or_else(|| panic!("read as {batch:?}: {shown}"));
            let found: Vec<_> = batch
                .leads
                .into_iter()
                .map(|placed| {
                    [Some(placed.lead.email), Some(placed.lead.status), Some(placed.list), placed.source_list]
                })
                .collect();
            // Tables come in any order where damage made two of one.
            let (mut found, mut expected) = (found, expected);
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{shown}");
            read += 1;
        }
        assert!(refused > 10_000 && read > 3_000, "{refused} refused, {read} read");
    }
}
