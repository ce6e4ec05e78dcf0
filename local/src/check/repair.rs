//! `local check --repair`: writes what follows from the records, where it is not so.
//!
//! A client's own item says how its lead, its lists and its counts must be, a bucket's record says it of
//! its routing records, and the tokens say how many a role has. What a walk saw of both sides is the
//! condition of each write, together with the record that it follows from, in one transaction: what
//! was changed meanwhile is left alone. A count is mended by adding what it is off by, so that it may go on
//! being counted in. A repair that is ended in the middle has repaired a part; the next one does the rest.

use super::walk::{Fields, fields, text};
use super::{Examined, Problem, Report, examine};
use crate::template::Template;
use anyhow::{Context, Result};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem, Update};
use serde::Serialize;
use shared::model::{BucketId, ClientId, Email, RoleId, Version};
use shared::store::{Item, Store, StoreError, bucket_items, client_items, keys};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

/// Most repairs that one walk keeps; the next round does the others.
pub(super) const REPAIRS_MAX: usize = 100_000;
/// Most repairs that are told one by one.
const TOLD_MAX: usize = 1000;
/// How often one place is repaired: what is wrong again each time is not repaired by that.
const TIMES_MAX: u8 = 3;
/// How often a transaction is tried that others are in the way of.
const ATTEMPTS: u32 = 10;
/// How many rounds may repair nothing because all was changed meanwhile.
const FRUITLESS_MAX: u32 = 2;
/// Most marks that one transaction takes away.
const MARKS_PER_CALL: usize = 50;

const REPAIRABLE: &str = "`check --repair` mends it";
const CHANGED: &str = "it was changed while it was looked at, and was left alone: repair again";
const CLIENT_CHANGED: &str =
    "its client is not as it was when it was looked at, or its details are missing: repair again";
const BUCKET_CHANGED: &str = "its bucket is not as it was when it was looked at: repair again";
const BUSY: &str = "others were in the way all the time: repair again at a quieter time";
const REFUSED: &str = "DynamoDB refuses the write: what is stored there is no number, or nothing that fits";
const COMES_BACK: &str = "it was repaired, and is wrong again: something else writes to these tables";
const UNREADABLE_CLIENT: &str = "its client can't be read: mend the client first, and repair again";
const UNREADABLE_BUCKET: &str = "its bucket can't be read: mend the bucket first, and repair again";
const ONE_EMAIL: &str =
    "another client has this email as well: give one of them another in the admin API, and repair again";
const ONE_SOURCE: &str = "another bucket has this source as well: take it away from one of them in the admin API, and repair again";

/// What can be done about a problem.
#[derive(Clone, Debug)]
pub(super) enum Mend {
    Repair(Box<Repair>),
    /// It does not follow from anything; what an operator can do.
    Operator(&'static str),
}

impl Mend {
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Repair(_) => REPAIRABLE,
            Self::Operator(remedy) => remedy,
        }
    }
}

impl From<&'static str> for Mend {
    fn from(remedy: &'static str) -> Self {
        Self::Operator(remedy)
    }
}

impl From<Repair> for Mend {
    fn from(repair: Repair) -> Self {
        Self::Repair(Box::new(repair))
    }
}

/// A write that mends a problem. `seen` is what the walks saw.
#[derive(Clone, Debug)]
pub(super) enum Repair {
    /// A record's texts become what they must be: name, as seen, and as due.
    Texts {
        table: &'static str,
        key: Item,
        version: Option<String>,
        texts: Vec<(String, Option<AttributeValue>, Option<String>)>,
    },
    /// A client's lead is missing, or another one is in its place.
    Lead { pk: String, client: ClientId, due: Fields, seen: Option<Fields> },
    /// A lead that no client has.
    LeadLeftOver { pk: String, seen: Fields },
    /// Details that no client has.
    DetailsLeftOver { pk: String },
    /// A bucket's routing record is missing, or another one is in its place.
    Route { pk: String, sk: String, bucket: BucketId, seen: Option<Fields> },
    /// A routing record that no bucket has.
    RouteLeftOver { pk: String, sk: String, seen: Fields },
    /// A counter is off; `seen` is what its shard has, `status` what it counts.
    Counter { pk: String, sk: String, attribute: String, by: i64, seen: i64, status: Option<String> },
    /// A role's number of tokens is off.
    Tokens { role: String, by: i64, seen: i64 },
    /// The counters of a bucket that exists are closed.
    Reopen { pk: String, bucket: BucketId },
    /// What expires, of a client who does not exist.
    Expiring { pk: String, client: String },
}

impl Repair {
    /// The records themselves go first: the others follow from them.
    fn rank(&self) -> u8 {
        u8::from(!matches!(self, Self::Texts { .. }))
    }
}

/// A repair, and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) problem: Problem,
    /// Digest of where the problem is.
    pub(super) place: u64,
    pub(super) repair: Repair,
}

/// What a repair did, and what a check found after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// How many problems were repaired.
    pub count: u64,
    /// Which, at most a thousand, as they were reported before.
    pub repaired: Vec<Problem>,
    /// What was found at the end. A problem's `remedy` tells why it was left.
    pub report: Report,
}

impl Repaired {
    /// Writes it for people.
    ///
    /// # Errors
    /// The output is closed.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { count, repaired, report } = self;
        writeln!(out, "{count} problems repaired")?;
        for problem in repaired {
            writeln!(out, "repaired: {problem}")?;
        }
        if *count > repaired.len() as u64 {
            writeln!(out, "and {} more", count - repaired.len() as u64)?;
        }
        if report.problems.is_empty() {
            writeln!(out, "Checked again:")?;
        } else {
            writeln!(out, "{} problems left:", report.problems.len() as u64 + report.more)?;
        }
        for problem in &report.problems {
            writeln!(out, "left: {problem}\n  {}", problem.remedy)?;
        }
        // They were told, with what can be done about them.
        report.write_with(out, false)
    }

    /// Writes it for programs: the check's report, with `repaired` and `repairedCount` besides.
    ///
    /// # Errors
    /// The output is closed.
    pub fn write_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'a> {
            consistent: bool,
            repaired_count: u64,
            repaired: &'a [Problem],
            #[serde(flatten)]
            report: &'a Report,
        }
        let Self { count, repaired, report } = self;
        let shown = Shown { consistent: report.is_consistent(), repaired_count: *count, repaired, report };
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)
    }
}

/// Checks the system, repairs what follows from the records, and checks again, until nothing is left
/// that can be repaired.
///
/// # Errors
/// DynamoDB failed after all retries, or a table is missing. What was repaired by then is repaired.
pub async fn repair(store: &Store) -> Result<Repaired> {
    let template = Template::built_in()?;
    let repairer = Repairer { store };
    let mut done = Repaired::default();
    let mut tried = HashSet::new();
    let mut times = HashMap::<u64, u8>::new();
    let mut reasons = BTreeMap::<u64, &'static str>::new();
    let mut fruitless = 0;
    let mut is_last = false;
    loop {
        let mut examined = examine(store, &template, &tried).await?;
        let planned = std::mem::take(&mut examined.walk.noted.repairs);
        for (id, reason) in &reasons {
            if let Some(problem) = examined.walk.noted.found.get_mut(id) {
                (*reason).clone_into(&mut problem.remedy);
            }
        }
        if is_last || (planned.is_empty() && examined.untried == 0) {
            done.report = examined.report();
            return Ok(done);
        }
        let Examined { named, untried, .. } = examined;
        tried.extend(named);
        let (before, mut is_changing) = (done.count, false);
        let mut planned: Vec<_> = planned.into_iter().collect();
        planned.sort_by_key(|(_, planned)| planned.repair.rank());
        for (id, Planned { problem, place, repair }) in planned {
            let times = times.entry(place).or_default();
            if *times == TIMES_MAX {
                reasons.insert(id, COMES_BACK);
                continue;
            }
            let outcome = repairer.repair(&repair).await;
            match outcome.with_context(|| format!("can't repair after {} repairs: {problem}", done.count))? {
                Outcome::Done => {
                    *times += 1;
                    done.count += 1;
                    if done.repaired.len() < TOLD_MAX {
                        done.repaired.push(problem);
                    }
                }
                Outcome::Left(reason) => {
                    is_changing |= [CHANGED, CLIENT_CHANGED, BUCKET_CHANGED].contains(&reason);
                    reasons.insert(id, reason);
                }
            }
        }
        if done.count == before && untried == 0 {
            fruitless += 1;
            is_last = !is_changing || fruitless == FRUITLESS_MAX;
        }
    }
}

/// What became of a repair.
enum Outcome {
    Done,
    Left(&'static str),
}

struct Repairer<'a> {
    store: &'a Store,
}

impl Repairer<'_> {
    async fn repair(&self, repair: &Repair) -> Result<Outcome> {
        let tables = self.store.tables();
        match repair {
            Repair::Texts { table, key, version, texts } => {
                let table = match *table {
                    "clients" => &tables.clients,
                    "buckets" => &tables.buckets,
                    _ => &tables.tokens,
                };
                self.write(vec![set_texts(table, key, version.as_deref(), texts)?]).await
            }
            Repair::Lead { pk, client, due, seen } => self.lead(pk, client, due, seen.as_ref()).await,
            Repair::LeadLeftOver { pk, seen } => self.lead_left_over(pk, seen).await,
            Repair::DetailsLeftOver { pk } => self.details_left_over(pk).await,
            Repair::Route { pk, sk, bucket, seen } => self.route(pk, sk, bucket, seen.as_ref()).await,
            Repair::RouteLeftOver { pk, sk, seen } => self.route_left_over(pk, sk, seen).await,
            Repair::Counter { pk, sk, attribute, by, seen, status } => {
                let key = key([("pk", pk), ("sk", sk)]);
                let status = status.as_deref().map(|status| ("status", status));
                self.write(vec![add(&tables.buckets, key, None, attribute, (*by, *seen), status)?]).await
            }
            Repair::Tokens { role, by, seen } => {
                let key = key([("pk", keys::ROLES), ("id", RoleId::new(role.as_str()).as_str())]);
                let exists = Some("attribute_exists(pk)");
                self.write(vec![add(&tables.roles, key, exists, "tokens", (*by, *seen), None)?]).await
            }
            Repair::Reopen { pk, bucket } => self.reopen(pk, bucket).await,
            Repair::Expiring { pk, client } => {
                let is_gone = Condition::new("attribute_not_exists(pk)");
                let is_its = Condition::new("id = :id").value(":id", s(client));
                self.write(vec![
                    is_gone.check(&tables.clients, key([("pk", &keys::client(client))]))?,
                    is_its.delete(&tables.expiring, key([("pk", pk)]))?,
                ])
                .await
            }
        }
    }

    async fn lead(&self, pk: &str, id: &ClientId, due: &Fields, seen: Option<&Fields>) -> Result<Outcome> {
        let tables = self.store.tables();
        let client = match self.store.client(id).await {
            Ok(Some(client)) => client,
            Ok(None) => return Ok(Outcome::Left(CLIENT_CHANGED)),
            Err(error) => return unreadable(error, UNREADABLE_CLIENT),
        };
        let items = client_items(&client.value).into_iter();
        let lead = items.into_iter().find(|item| text(item, "pk") == Some(pk));
        let Some(lead) = lead.filter(|lead| besides(lead, &["pk"]) == *due) else {
            return Ok(Outcome::Left(CLIENT_CHANGED));
        };
        let key_of_lead = key([("pk", pk)]);
        let stored = self.get(&tables.clients, &key_of_lead).await?;
        let as_seen = match (&stored, seen) {
            (None, None) => Condition::new("attribute_not_exists(pk)"),
            (Some(stored), _) if self.is_anothers(stored, id, pk).await? => {
                return Ok(Outcome::Left(ONE_EMAIL));
            }
            (Some(stored), Some(seen)) if besides(stored, &["pk"]) == *seen => {
                Condition::as_read(stored, &["pk"])
            }
            _ => return Ok(Outcome::Left(CHANGED)),
        };
        let key_of_client = key([("pk", &keys::client(id.as_str()))]);
        self.write(vec![
            Condition::unchanged(&client.version).check(&tables.clients, key_of_client)?,
            as_seen.put(&tables.clients, lead)?,
        ])
        .await
    }

    /// Whether a stored lead is that of another client, who has its email.
    async fn is_anothers(&self, lead: &Item, id: &ClientId, pk: &str) -> Result<bool> {
        let Some(owner) = owner_of(lead).filter(|owner| *owner != id.as_str()) else { return Ok(false) };
        let owner = self.get(&self.store.tables().clients, &key([("pk", &keys::client(owner))])).await?;
        Ok(owner.is_some_and(|owner| email_key(&owner).is_none_or(|email| email == pk)))
    }

    async fn lead_left_over(&self, pk: &str, seen: &Fields) -> Result<Outcome> {
        let table = &self.store.tables().clients;
        let own = key([("pk", pk)]);
        let Some(stored) = self.get(table, &own).await?.filter(|stored| besides(stored, &["pk"]) == *seen)
        else {
            return Ok(Outcome::Left(CHANGED));
        };
        let Some(owner) = owner_of(&stored) else { return Ok(Outcome::Left(UNREADABLE_CLIENT)) };
        let key_of_client = key([("pk", &keys::client(owner))]);
        let client = match self.get(table, &key_of_client).await? {
            None => Condition::new("attribute_not_exists(pk)"),
            Some(client) => match (client.get("email"), email_key(&client)) {
                (Some(email), Some(key)) if key != pk => {
                    Condition::new("email = :email").value(":email", email.clone())
                }
                _ => return Ok(Outcome::Left(UNREADABLE_CLIENT)),
            },
        };
        self.write(vec![
            client.check(table, key_of_client)?,
            Condition::as_read(&stored, &["pk"]).delete(table, own)?,
        ])
        .await
    }

    async fn details_left_over(&self, pk: &str) -> Result<Outcome> {
        let table = &self.store.tables().clients;
        let id = pk.strip_prefix("D#").unwrap_or_default();
        let key_of_client = key([("pk", &keys::client(id))]);
        let client = match self.get(table, &key_of_client).await? {
            None => Condition::new("attribute_not_exists(pk)"),
            // One that has neither details nor what would be there has lost the mark only.
            Some(client) if !client.contains_key("phone") => return Ok(Outcome::Left(UNREADABLE_CLIENT)),
            Some(_) => Condition::new("attribute_not_exists(details)"),
        };
        self.write(vec![
            client.check(table, key_of_client)?,
            Condition::new("attribute_exists(pk)").delete(table, key([("pk", pk)]))?,
        ])
        .await
    }

    async fn route(&self, pk: &str, sk: &str, id: &BucketId, seen: Option<&Fields>) -> Result<Outcome> {
        let table = &self.store.tables().buckets;
        let bucket = match self.store.stored_bucket(id).await {
            Ok(Some(bucket)) => bucket,
            Ok(None) => return Ok(Outcome::Left(BUCKET_CHANGED)),
            Err(error) => return unreadable(error, UNREADABLE_BUCKET),
        };
        let Some(record) = bucket_items(&bucket.value).into_iter().find(|item| is_at(item, pk, sk)) else {
            return Ok(Outcome::Left(BUCKET_CHANGED));
        };
        let stored = self.get(table, &key([("pk", pk), ("sk", sk)])).await?;
        let as_seen = match (&stored, seen) {
            (None, None) => Condition::new("attribute_not_exists(pk)"),
            (Some(stored), Some(seen)) if besides(stored, &["pk", "sk"]) == *seen => {
                Condition::as_read(stored, &["pk", "sk"])
            }
            (Some(stored), None) if text(stored, "bucketId") != Some(id.as_str()) => {
                return Ok(Outcome::Left(ONE_SOURCE));
            }
            _ => return Ok(Outcome::Left(CHANGED)),
        };
        self.write(vec![
            Condition::unchanged(&bucket.version).check(table, key_of_bucket(id))?,
            as_seen.put(table, record)?,
        ])
        .await
    }

    async fn route_left_over(&self, pk: &str, sk: &str, seen: &Fields) -> Result<Outcome> {
        let table = &self.store.tables().buckets;
        let own = key([("pk", pk), ("sk", sk)]);
        let stored = self.get(table, &own).await?;
        let Some(stored) = stored.filter(|stored| besides(stored, &["pk", "sk"]) == *seen) else {
            return Ok(Outcome::Left(CHANGED));
        };
        let mut writes = vec![Condition::as_read(&stored, &["pk", "sk"]).delete(table, own)?];
        if let Some(id) = text(&stored, "bucketId").and_then(BucketId::parse) {
            let bucket = match self.store.stored_bucket(&id).await {
                Ok(None) => Condition::new("attribute_not_exists(pk)"),
                Ok(Some(bucket)) if bucket_items(&bucket.value).iter().any(|item| is_at(item, pk, sk)) => {
                    return Ok(Outcome::Left(BUCKET_CHANGED));
                }
                Ok(Some(bucket)) => Condition::unchanged(&bucket.version),
                Err(error) => return unreadable(error, UNREADABLE_BUCKET),
            };
            writes.push(bucket.check(table, key_of_bucket(&id))?);
        }
        self.write(writes).await
    }

    /// Takes the mark of a deleted bucket away; deleting one is one transaction, so that a record which is
    /// there has no such mark.
    async fn reopen(&self, pk: &str, bucket: &BucketId) -> Result<Outcome> {
        let table = &self.store.tables().buckets;
        let mut pages = self
            .store
            .sdk()
            .query()
            .table_name(table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", s(pk))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut marked = Vec::new();
        while let Some(page) = pages.next().await {
            let items = page.context("can't read counters")?.items.unwrap_or_default();
            let closed = items.into_iter().filter(|item| item.contains_key("closed"));
            marked.extend(closed.filter_map(|item| text(&item, "sk").map(str::to_owned)));
        }
        for chunk in marked.chunks(MARKS_PER_CALL) {
            let exists = Condition::new("attribute_exists(pk)");
            let mut writes = vec![exists.check(table, key_of_bucket(bucket))?];
            for sk in chunk {
                let mark = Condition::new("attribute_exists(#closed)").name("#closed", "closed");
                writes.push(mark.update(table, key([("pk", pk), ("sk", sk)]), "REMOVE #closed")?);
            }
            if let Outcome::Left(reason) = self.write(writes).await? {
                return Ok(Outcome::Left(reason));
            }
        }
        Ok(Outcome::Done)
    }

    async fn get(&self, table: &str, key: &Item) -> Result<Option<Item>> {
        let get = self.store.sdk().get_item().table_name(table).set_key(Some(key.clone()));
        Ok(get.consistent_read(true).send().await.context("can't read an item")?.item)
    }

    /// Writes all or nothing. All attempts have one token: nothing is added twice where an answer is lost, or where one
    /// of them arrives late.
    async fn write(&self, writes: Vec<TransactWriteItem>) -> Result<Outcome> {
        let token = uuid::Uuid::new_v4().to_string();
        for attempt in 0..ATTEMPTS {
            let call = self.store.sdk().transact_write_items().client_request_token(&token);
            let call = call.set_transact_items(Some(writes.clone()));
            let Err(error) = call.send().await else { return Ok(Outcome::Done) };
            let codes: Vec<&str> = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect()
                }
                Some(other) => other.code().into_iter().collect(),
                None => Vec::new(),
            };
            let any = |wanted: &[&str]| codes.iter().any(|code| wanted.contains(code));
            if any(&["ConditionalCheckFailed"]) {
                return Ok(Outcome::Left(CHANGED));
            }
            if any(&["ValidationError", "ValidationException"]) {
                return Ok(Outcome::Left(REFUSED));
            }
            if !any(&[
                "TransactionConflict",
                "TransactionConflictException",
                "TransactionInProgressException",
                "ThrottlingError",
                "ProvisionedThroughputExceeded",
            ]) {
                return Err(error).context("can't write");
            }
            let jitter = u64::from(getrandom::u32().unwrap_or_default() % 50);
            tokio::time::sleep(Duration::from_millis((20 << attempt) + jitter)).await;
        }
        Ok(Outcome::Left(BUSY))
    }
}

/// What can't be read is left; other failures end the repair.
fn unreadable(error: StoreError, reason: &'static str) -> Result<Outcome> {
    if error.is_malformed() { Ok(Outcome::Left(reason)) } else { Err(error.into()) }
}

/// The client that a lead names.
fn owner_of(lead: &Item) -> Option<&str> {
    Some(text(lead, "c")?.split_once('#')?.1).filter(|id| !id.is_empty())
}

/// Where the lead of a client is.
fn email_key(client: &Item) -> Option<String> {
    Some(keys::lead(Email::parse(text(client, "email")?)?.key()))
}

fn is_at(item: &Item, pk: &str, sk: &str) -> bool {
    text(item, "pk") == Some(pk) && text(item, "sk") == Some(sk)
}

/// An item's attributes besides its key, as the walks have them.
fn besides(item: &Item, key: &[&str]) -> Fields {
    fields(item, |name| !key.contains(&name))
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn key<const N: usize>(parts: [(&str, &str); N]) -> Item {
    parts.into_iter().map(|(name, text)| (name.to_owned(), s(text))).collect()
}

fn key_of_bucket(id: &BucketId) -> Item {
    key([("pk", &keys::bucket(id)), ("sk", keys::BUCKET_RECORD)])
}

/// A condition of a write, with the names and values that it uses.
#[derive(Default)]
struct Condition {
    parts: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Condition {
    fn new(part: &str) -> Self {
        Self::default().and(part)
    }

    /// A record is there, in the state that it was read in.
    fn unchanged(version: &Version) -> Self {
        Self::in_state(version.as_str()).and("attribute_exists(pk)")
    }

    fn in_state(version: Option<&str>) -> Self {
        match version {
            Some(version) => Self::new("rev = :rev").value(":rev", s(version)),
            None => Self::new("attribute_not_exists(rev)"),
        }
    }

    /// The attributes besides the key are those that were read.
    fn as_read(item: &Item, key: &[&str]) -> Self {
        let mut names: Vec<_> = item.keys().filter(|name| !key.contains(&name.as_str())).collect();
        names.sort();
        let start = Self::new("attribute_exists(pk)");
        names.into_iter().fold(start, |condition, name| condition.attribute(name, item.get(name)))
    }

    fn and(mut self, part: impl Into<String>) -> Self {
        self.parts.push(part.into());
        self
    }

    fn name(mut self, placeholder: &str, name: &str) -> Self {
        self.names.insert(placeholder.to_owned(), name.to_owned());
        self
    }

    fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(placeholder.to_owned(), value);
        self
    }

    /// An attribute has this value, or is not there.
    fn attribute(self, name: &str, value: Option<&AttributeValue>) -> Self {
        let at = self.names.len();
        let (placeholder, of) = (format!("#c{at}"), format!(":c{at}"));
        let condition = self.name(&placeholder, name);
        match value {
            Some(value) => condition.and(format!("{placeholder} = {of}")).value(&of, value.clone()),
            None => condition.and(format!("attribute_not_exists({placeholder})")),
        }
    }

    /// Its parts, and what is used by them; DynamoDB takes no empty maps.
    #[allow(clippy::type_complexity, reason = "what three builders take")]
    fn finish(self) -> (String, Option<HashMap<String, String>>, Option<Item>) {
        let names = Some(self.names).filter(|names| !names.is_empty());
        let values = Some(self.values).filter(|values| !values.is_empty());
        (self.parts.join(" AND "), names, values)
    }

    fn check(self, table: &str, key: Item) -> Result<TransactWriteItem> {
        let (expression, names, values) = self.finish();
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key))
            .condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        Ok(TransactWriteItem::builder().condition_check(check.build()?).build())
    }

    fn put(self, table: &str, item: Item) -> Result<TransactWriteItem> {
        let (expression, names, values) = self.finish();
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    fn delete(self, table: &str, key: Item) -> Result<TransactWriteItem> {
        let (expression, names, values) = self.finish();
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key))
            .condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        Ok(TransactWriteItem::builder().delete(delete.build()?).build())
    }

    fn update(self, table: &str, key: Item, update: &str) -> Result<TransactWriteItem> {
        let (expression, names, values) = self.finish();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(update)
            .condition_expression(expression)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values);
        Ok(TransactWriteItem::builder().update(update.build()?).build())
    }
}

/// Gives a record's texts what they must be, as long as record and texts are as they were seen.
fn set_texts(
    table: &str,
    key: &Item,
    version: Option<&str>,
    texts: &[(String, Option<AttributeValue>, Option<String>)],
) -> Result<TransactWriteItem> {
    let mut condition = Condition::in_state(version);
    for name in key.keys() {
        condition = condition.and(format!("attribute_exists({name})"));
    }
    let (mut sets, mut removes) = (Vec::new(), Vec::new());
    for (at, (name, seen, due)) in texts.iter().enumerate() {
        condition = condition.attribute(name, seen.as_ref()).name(&format!("#t{at}"), name);
        match due {
            Some(due) => {
                condition = condition.value(&format!(":t{at}"), s(due));
                sets.push(format!("#t{at} = :t{at}"));
            }
            None => removes.push(format!("#t{at}")),
        }
    }
    let clause =
        |word: &str, parts: Vec<String>| (!parts.is_empty()).then(|| format!("{word} {}", parts.join(", ")));
    let clauses: Vec<_> = clause("SET", sets).into_iter().chain(clause("REMOVE", removes)).collect();
    condition.update(table, key.clone(), &clauses.join(" "))
}

/// Adds to a count, which may have gone on being counted in; but not where it has become just what this
/// addition makes of it: then another repair has made it.
fn add(
    table: &str,
    key: Item,
    condition: Option<&str>,
    attribute: &str,
    (by, seen): (i64, i64),
    text: Option<(&str, &str)>,
) -> Result<TransactWriteItem> {
    let mut update = "ADD #count :by".to_owned();
    let mut condition = condition
        .map_or_else(Condition::default, Condition::new)
        .and("(attribute_not_exists(#count) OR #count <> :made)")
        .name("#count", attribute)
        .value(":by", n(by))
        .value(":made", n(seen + by));
    if let Some((name, text)) = text {
        update.push_str(" SET #text = :text");
        condition = condition.name("#text", name).value(":text", s(text));
    }
    condition.update(table, key, &update)
}
