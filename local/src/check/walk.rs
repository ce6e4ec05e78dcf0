//! One walk over all tables: what each item must be like, and which facts it gives.

use super::sketch::{Fact, Noted, Sketch, Sums, hash};
use super::{Kind, Problem, Report};
use crate::template::Template;
use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use shared::model::{BucketId, ClientId, Email, Timestamp, TokenId, Whitelist};
use shared::store::counters::{self, SHARDS, STATUS_COUNT};
use shared::store::{Item, Store, keys};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// Most keys of one `BatchGetItem`.
const KEYS_PER_CALL: usize = 100;
/// Rounds in which keys that DynamoDB left unprocessed are asked for again.
const UNPROCESSED_ROUNDS: u32 = 8;

/// A table, and what the template says of its indexes.
struct Table<'a> {
    name: &'static str,
    physical: &'a str,
    /// Its key's attributes.
    key: Vec<String>,
    indexes: Vec<Index>,
}

#[derive(Clone, Debug)]
struct Index {
    name: String,
    key: Vec<String>,
    /// Attributes besides the keys; all of them where `None`.
    projected: Option<Vec<String>>,
}

impl<'a> Table<'a> {
    fn new(template: &Template, logical: &str, name: &'static str, physical: &'a str) -> Result<Self> {
        let defined = template.tables.iter().find(|table| table.name == logical);
        let defined = &defined.with_context(|| format!("template.yaml has no {logical}"))?.properties;
        let texts = |value: &serde_json::Value, field: Option<&str>| -> Vec<String> {
            let values = value.as_array().into_iter().flatten();
            let texts = values.map(|value| field.map_or(value, |field| &value[field]));
            texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let key = |schema: &serde_json::Value| texts(&schema["KeySchema"], Some("AttributeName"));
        let indexes = defined["GlobalSecondaryIndexes"].as_array().into_iter().flatten().map(|index| Index {
            name: index["IndexName"].as_str().unwrap_or_default().to_owned(),
            key: key(index),
            projected: match index["Projection"]["ProjectionType"].as_str() {
                Some("ALL") => None,
                _ => Some(texts(&index["Projection"]["NonKeyAttributes"], None)),
            },
        });
        Ok(Self { name, physical, key: key(defined), indexes: indexes.collect() })
    }
}

/// One walk over all tables.
pub(super) struct Walk<'a> {
    store: &'a Store,
    template: &'a Template,
    pub(super) counts: Report,
    pub(super) sketch: Sketch,
    pub(super) noted: Noted,
    /// Cells whose facts are kept, as they were in the walks before.
    named: HashMap<usize, Sums>,
    /// The facts of those cells: how often found and how often due.
    facts: BTreeMap<Fact, (i64, i64)>,
    /// Affiliates by bucket.
    buckets: HashMap<String, String>,
    /// What is known of the lists that counters are of: they are digests.
    lists: HashMap<String, String>,
    roles: HashSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) async fn run(
        store: &'a Store,
        template: &'a Template,
        named: HashMap<usize, Sums>,
    ) -> Result<Self> {
        let mut walk = Self {
            store,
            template,
            counts: Report::default(),
            sketch: Sketch::new(),
            noted: Noted::default(),
            named,
            facts: BTreeMap::new(),
            buckets: HashMap::new(),
            lists: HashMap::new(),
            roles: HashSet::new(),
        };
        // What others refer to goes first.
        walk.roles().await?;
        walk.tokens().await?;
        walk.buckets().await?;
        walk.clients().await?;
        walk.expiring().await?;
        walk.activity().await?;
        Ok(walk)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.noted.found.is_empty() && self.sketch.0.iter().all(|sums| sums.difference == 0)
    }

    pub(super) fn report(self, walks: u32) -> Report {
        let mut problems: Vec<_> = self.noted.found.into_values().collect();
        problems.sort();
        Report { walks, problems, more: self.noted.more, ..self.counts }
    }

    fn table(&self, name: &'static str) -> Result<Table<'a>> {
        let tables = self.store.tables();
        let (logical, physical) = match name {
            "roles" => ("RolesTable", &tables.roles),
            "tokens" => ("TokensTable", &tables.tokens),
            "buckets" => ("BucketsTable", &tables.buckets),
            "clients" => ("ClientsTable", &tables.clients),
            "expiring" => ("ExpiringTable", &tables.expiring),
            _ => ("TokenActivityTable", &tables.activity),
        };
        Table::new(self.template, logical, name, physical)
    }

    fn note(&mut self, kind: Kind, table: &'static str, key: &str, what: impl Into<String>) {
        let what = what.into();
        let id = hash(&(kind, table, key, &what));
        self.noted.add(id, Problem { kind, table, key: masked(key), what });
    }

    fn found(&mut self, fact: Fact, by: i64) {
        let cell = self.sketch.add(&fact, by, 0);
        if self.named.contains_key(&cell) {
            self.facts.entry(fact).or_default().0 += by;
        }
    }

    fn due(&mut self, fact: Fact, by: i64) {
        let cell = self.sketch.add(&fact, 0, by);
        if self.named.contains_key(&cell) {
            self.facts.entry(fact).or_default().1 += by;
        }
    }

    /// Turns the differences of the named cells into problems.
    pub(super) fn name_differences(&mut self) {
        let facts = std::mem::take(&mut self.facts);
        // A cell that has changed holds what is under way as well.
        let is_steady = |cell: usize| self.named.get(&cell) == Some(&self.sketch.get(cell));
        let differing: Vec<_> = facts
            .into_iter()
            .filter(|(fact, (found, due))| found != due && is_steady(Sketch::cell(fact)))
            .collect();
        let is_same = |one: &Fact, other: &Fact| {
            (one.kind, one.table, &one.key) == (other.kind, other.table, &other.key)
        };
        let problems: Vec<_> = differing
            .chunk_by(|(one, _), (other, _)| is_same(one, other))
            .filter_map(|group| Some((&group.first()?.0, self.difference(group)?)))
            .map(|(fact, what)| (fact.clone(), what))
            .collect();
        for (fact, what) in problems {
            self.note(fact.kind, fact.table, &fact.key, what);
        }
    }

    /// What is wrong with a key whose facts differ.
    fn difference(&self, facts: &[(Fact, (i64, i64))]) -> Option<String> {
        let (fact, (found, due)) = facts.first()?;
        match fact.kind {
            Kind::Counter => {
                let of = self.counter_of(&fact.key);
                return Some(format!("counts {found} leads, the clients give {due}{of}"));
            }
            Kind::Role => return Some(format!("counts {found} tokens, {due} have it")),
            _ => {}
        }
        let surplus = facts.iter().find(|(_, (found, due))| found > due).map(|(fact, _)| fact);
        let lacking = facts.iter().find(|(_, (found, due))| found < due).map(|(fact, _)| fact);
        let from = match fact.kind {
            Kind::Lead | Kind::Details => "its client",
            Kind::Route => "its bucket",
            _ => "the table",
        };
        let whose = |fact: &Fact| match fact.fields.iter().find(|(name, _)| name == "c") {
            Some((_, created)) if fact.kind == Kind::Lead => {
                format!(" (of client {})", masked(created.split_once('#').map_or("unknown", |(_, id)| id)))
            }
            _ => String::new(),
        };
        Some(match (surplus, lacking) {
            (Some(surplus), Some(lacking)) => {
                let one: BTreeSet<_> = surplus.fields.iter().collect();
                let other: BTreeSet<_> = lacking.fields.iter().collect();
                let names: BTreeSet<_> =
                    one.symmetric_difference(&other).map(|(name, _)| name.as_str()).collect();
                let names: Vec<_> = names.into_iter().collect();
                format!("differs from {from} in {}{}", names.join(", "), whose(lacking))
            }
            (Some(_), None) if fact.kind == Kind::Index => {
                "is left over: the table has no such item".to_owned()
            }
            (Some(surplus), None) => {
                format!("is left over: {from} is gone or does not give it{}", whose(surplus))
            }
            // Of two clients with one email, one has the lead.
            (None, Some(lacking)) if fact.kind == Kind::Lead => {
                format!("is missing or another client's{}", whose(lacking))
            }
            (None, Some(_)) => "is missing".to_owned(),
            (None, None) => return None,
        })
    }

    /// Bucket, source and time of a counter, as far as they are known.
    fn counter_of(&self, key: &str) -> String {
        let parts: Vec<&str> = key.split(['#', ' ']).collect();
        let (list, moment) = match parts.as_slice() {
            ["M", list, month, attribute] => {
                (list, counters::cell_of_attribute(month, attribute).map(counters::cell_start))
            }
            ["S", list, _, minute, second] => {
                let seconds = minute.parse::<i64>().ok().zip(second.parse::<i64>().ok());
                (list, seconds.map(|(minute, second)| (minute * 60 + second) * 1000))
            }
            _ => return String::new(),
        };
        let moment = moment.and_then(Timestamp::from_millis).map(|moment| moment.to_string());
        let known: Vec<_> = self.lists.get(*list).cloned().into_iter().chain(moment).collect();
        if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
    }

    fn scan(&self, table: &Table<'_>, index: Option<&Index>) -> ScanFluentBuilder {
        let scan = self.store.sdk().scan().table_name(table.physical);
        match index {
            Some(index) => scan.index_name(&index.name),
            None => scan.consistent_read(true),
        }
    }

    /// The items of a table by these keys (of tables with one key attribute, `pk`).
    async fn items(
        &self,
        table: &Table<'_>,
        wanted: HashSet<String>,
        projection: Option<&str>,
    ) -> Result<HashMap<String, Item>> {
        let wanted: Vec<Item> =
            wanted.into_iter().map(|pk| HashMap::from([("pk".to_owned(), AttributeValue::S(pk))])).collect();
        let mut found = HashMap::with_capacity(wanted.len());
        for chunk in wanted.chunks(KEYS_PER_CALL) {
            let mut left = chunk.to_vec();
            for round in 0.. {
                let request = KeysAndAttributes::builder()
                    .set_keys(Some(left))
                    .set_projection_expression(projection.map(str::to_owned))
                    .consistent_read(true)
                    .build()?;
                let call = self.store.sdk().batch_get_item().request_items(table.physical, request);
                let answer = call.send().await.with_context(|| table.unreadable())?;
                for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                    found.extend(text(&item, "pk").map(str::to_owned).map(|pk| (pk, item)));
                }
                let unprocessed = answer.unprocessed_keys.unwrap_or_default().remove(table.physical);
                left = unprocessed.map_or(Vec::new(), |left| left.keys);
                if left.is_empty() {
                    break;
                }
                if round == UNPROCESSED_ROUNDS {
                    bail!("{}: DynamoDB leaves keys unprocessed", table.unreadable());
                }
                tokio::time::sleep(Duration::from_millis(50 << round)).await;
            }
        }
        Ok(found)
    }

    /// What the indexes of the table must have of an item; items that are not to be `listed` in
    /// any must not have the attributes that get them there.
    fn entries_due(&mut self, table: &Table<'_>, item: &Item, listed: bool) {
        let is_in = |index: &&Index| index.key.iter().all(|name| text(item, name).is_some());
        for index in table.indexes.iter().filter(is_in) {
            let entry = table.entry(index, item);
            if !listed {
                self.note(Kind::Index, table.name, &entry.key, "must not be in the index");
            }
            self.due(entry, 1);
        }
    }

    async fn entries_found(&mut self, table: &Table<'_>) -> Result<()> {
        for index in &table.indexes {
            let mut pages = self.scan(table, Some(index)).into_paginator().send();
            while let Some(page) = pages.next().await {
                for item in page.with_context(|| table.unreadable())?.items() {
                    self.found(table.entry(index, item), 1);
                }
            }
        }
        Ok(())
    }

    fn unrecognised(&mut self, table: &Table<'_>, item: &Item) {
        self.entries_due(table, item, false);
        self.note(Kind::Unrecognised, table.name, &table.key_of(item), "is nothing that belongs here");
    }

    async fn roles(&mut self) -> Result<()> {
        let table = self.table("roles")?;
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.with_context(|| table.unreadable())?.items() {
                self.role(&table, item);
            }
        }
        self.entries_found(&table).await
    }

    fn role(&mut self, table: &Table<'_>, item: &Item) {
        let (Some(keys::ROLES), Some(id)) = (text(item, "pk"), text(item, "id")) else {
            return self.unrecognised(table, item);
        };
        self.counts.roles += 1;
        self.entries_due(table, item, false);
        let optional = [("tokens", Form::Number), ("rev", Form::Text)];
        if let Some(what) = malformed(item, &[("name", Form::Text), ("permissions", Form::Texts)], &optional)
        {
            self.note(Kind::Role, table.name, id, what);
        }
        self.found(tokens_of(id), number(item, "tokens").unwrap_or(0));
        self.roles.insert(id.to_owned());
    }

    async fn tokens(&mut self) -> Result<()> {
        let table = self.table("tokens")?;
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.with_context(|| table.unreadable())?.items() {
                self.token(&table, item);
            }
        }
        self.entries_found(&table).await
    }

    fn token(&mut self, table: &Table<'_>, item: &Item) {
        let Some(id) = text(item, "id").and_then(TokenId::parse) else {
            return self.unrecognised(table, item);
        };
        self.counts.tokens += 1;
        self.entries_due(table, item, true);
        let required = [
            ("digest", Form::Bytes),
            ("name", Form::Text),
            ("roleId", Form::Text),
            ("hint", Form::Text),
            ("whitelist", Form::Texts),
            ("affiliateIDs", Form::Texts),
            ("createdDate", Form::Moment),
        ];
        let optional = [("expiresAt", Form::Moment), ("rev", Form::Text)];
        if let Some(what) = malformed(item, &required, &optional) {
            self.note(Kind::Token, table.name, id.as_str(), what);
        }
        if texts(item, "whitelist").is_some_and(|entries| Whitelist::parse(entries).is_err()) {
            self.note(Kind::Token, table.name, id.as_str(), "whitelist is malformed");
        }
        if let Some(what) = misplaced(item, keys::TOKEN_KIND, id.as_str()) {
            self.note(Kind::Token, table.name, id.as_str(), what);
        }
        match text(item, "roleId") {
            Some(role) if self.roles.contains(role) => self.due(tokens_of(role), 1),
            _ => self.note(Kind::Token, table.name, id.as_str(), "its role does not exist"),
        }
    }

    async fn buckets(&mut self) -> Result<()> {
        let table = self.table("buckets")?;
        let mut closed = BTreeSet::new();
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.with_context(|| table.unreadable())?.items() {
                let (pk, sk) = (text(item, "pk").unwrap_or_default(), text(item, "sk").unwrap_or_default());
                let is_record = sk == keys::BUCKET_RECORD && pk.starts_with("B#");
                self.entries_due(&table, item, is_record);
                let recognised = match pk.split_once('#') {
                    Some(("B", id)) if is_record => self.bucket(&table, id, item),
                    Some(("A", _)) => self.route(&table, sk, item),
                    Some(("M", list)) => {
                        if item.contains_key("closed") {
                            closed.insert(list.to_owned());
                        }
                        self.month_counters(&table, sk, item)
                    }
                    Some(("S", list)) => self.minute_counters(&table, list, sk, item),
                    Some(("T", _)) => self.status_counters(&table, sk, item),
                    _ => None,
                };
                if recognised.is_none() {
                    let what = "is nothing that belongs here";
                    self.note(Kind::Unrecognised, table.name, &table.key_of(item), what);
                }
            }
        }
        for list in closed {
            if let Some(of) = self.lists.get(&list).cloned() {
                let what = format!("is closed to new leads, and {of} exists");
                self.note(Kind::Counter, table.name, &keys::month_counters(&list), what);
            }
        }
        self.entries_found(&table).await
    }

    /// `None` where it is no bucket's record.
    fn bucket(&mut self, table: &Table<'_>, id: &str, item: &Item) -> Option<()> {
        let id = BucketId::parse(id)?;
        let key = keys::bucket(&id);
        self.counts.buckets += 1;
        let required = [
            ("id", Form::Text),
            ("name", Form::Text),
            ("affiliateID", Form::Text),
            ("sources", Form::Texts),
            ("createdDate", Form::Moment),
        ];
        if let Some(what) = malformed(item, &required, &[("rev", Form::Text)]) {
            self.note(Kind::Bucket, table.name, &key, what);
        } else if text(item, "id") != Some(id.as_str()) {
            self.note(Kind::Bucket, table.name, &key, "id is not that of its key");
        }
        if let Some(what) = misplaced(item, keys::BUCKET_KIND, id.as_str()) {
            self.note(Kind::Bucket, table.name, &key, what);
        }
        let affiliate = text(item, "affiliateID").unwrap_or_default();
        let sources = texts(item, "sources").unwrap_or_default();
        let list = keys::bucket_list(&id);
        let route = |sk: &str, source: Option<&str>| Fact {
            kind: Kind::Route,
            table: table.name,
            key: format!("{} {sk}", keys::affiliate(affiliate)),
            fields: [("bucketId", Some(id.as_str())), ("sourceId", source)]
                .into_iter()
                .filter_map(|(name, text)| {
                    Some((name.to_owned(), shown(&AttributeValue::S(text?.to_owned()))))
                })
                .collect(),
        };
        if let Some(created) = moment(item, "createdDate") {
            self.due(route(&keys::affiliates_bucket(!sources.is_empty(), created, &id), None), 1);
        }
        for source in sources {
            self.due(route(&keys::assigned_source(source), Some(source)), 1);
            self.lists.insert(
                keys::source_list(&list, source),
                format!("source {} of bucket {id}", masked(source)),
            );
        }
        self.lists.insert(list, format!("bucket {id}"));
        self.buckets.insert(id.to_string(), affiliate.to_owned());
        Some(())
    }

    /// `None` where it is no routing record.
    fn route(&mut self, table: &Table<'_>, sk: &str, item: &Item) -> Option<()> {
        let kinds = [keys::OPEN_BUCKETS, keys::SOURCED_BUCKETS, "source#"];
        if !kinds.iter().any(|kind| sk.starts_with(kind)) {
            return None;
        }
        let fields = table.fields_of(item);
        self.found(Fact { kind: Kind::Route, table: table.name, key: table.key_of(item), fields }, 1);
        Some(())
    }

    /// `None` where it is no item of counters.
    fn month_counters(&mut self, table: &Table<'_>, sk: &str, item: &Item) -> Option<()> {
        let month = without_shard(sk)?;
        // Any cell of a month can be named in an item of that month only.
        counters::cell_of_attribute(month, "10")?;
        for name in item.keys().filter(|name| !["pk", "sk", "closed"].contains(&name.as_str())) {
            let is_cell = counters::cell_of_attribute(month, name).is_some();
            match number(item, name) {
                Some(count) if is_cell => self.found(counter(text(item, "pk")?, month, name), count),
                Some(_) if name == "n" => {}
                _ => self.note(
                    Kind::Counter,
                    table.name,
                    &format!("{} {name}", table.key_of(item)),
                    "is no count",
                ),
            }
        }
        Some(())
    }

    /// `None` where it is no item of counters.
    fn minute_counters(&mut self, table: &Table<'_>, list: &str, sk: &str, item: &Item) -> Option<()> {
        let minute = without_shard(sk)?;
        let cell: i64 = list.split_once('#')?.1.parse().ok()?;
        let number_of_minute: i64 = minute.parse().ok()?;
        if counters::cell_of(number_of_minute.checked_mul(60_000)?) != cell {
            return None;
        }
        for name in item.keys().filter(|name| !["pk", "sk"].contains(&name.as_str())) {
            let is_second = name.len() == 2 && name.parse::<u8>().is_ok_and(|second| second < 60);
            match number(item, name) {
                Some(count) if is_second => self.found(counter(text(item, "pk")?, minute, name), count),
                _ => self.note(
                    Kind::Counter,
                    table.name,
                    &format!("{} {name}", table.key_of(item)),
                    "is no count",
                ),
            }
        }
        Some(())
    }

    /// `None` where it is no item of counters.
    fn status_counters(&mut self, table: &Table<'_>, sk: &str, item: &Item) -> Option<()> {
        let digest = without_shard(sk)?;
        let required = [("status", Form::Text), (STATUS_COUNT, Form::Number)];
        if let Some(what) = malformed(item, &required, &[]) {
            self.note(Kind::Counter, table.name, &table.key_of(item), what);
        } else if text(item, "status").is_some_and(|status| keys::text_digest(status) != digest) {
            self.note(Kind::Counter, table.name, &table.key_of(item), "status is not that of its key");
        }
        let count = number(item, STATUS_COUNT).unwrap_or(0);
        self.found(counter(text(item, "pk")?, digest, STATUS_COUNT), count);
        Some(())
    }

    async fn clients(&mut self) -> Result<()> {
        let table = self.table("clients")?;
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.with_context(|| table.unreadable())?;
            let large = page.items().iter().filter(|item| item.contains_key("details"));
            let wanted =
                large.filter_map(|item| Some(format!("D#{}", text(item, "pk")?.strip_prefix("C#")?)));
            let details = self.items(&table, wanted.collect(), None).await?;
            for item in page.items() {
                let pk = text(item, "pk").unwrap_or_default();
                match pk.split_once('#') {
                    Some(("C", id)) => self.client(&table, id, item, &details),
                    Some(("D", _)) => {
                        self.entries_due(&table, item, false);
                        self.found(self_contained(Kind::Details, &table, pk), 1);
                    }
                    Some(("E", _)) => {
                        self.counts.leads += 1;
                        self.entries_due(&table, item, true);
                        let fields = table.fields_of(item);
                        self.found(Fact { fields, ..self_contained(Kind::Lead, &table, pk) }, 1);
                    }
                    _ => self.unrecognised(&table, item),
                }
            }
        }
        self.entries_found(&table).await
    }

    fn client(&mut self, table: &Table<'_>, id: &str, item: &Item, details: &HashMap<String, Item>) {
        self.counts.clients += 1;
        self.entries_due(table, item, false);
        let (id, key) = (ClientId::new(id), keys::client(id));
        let required = [
            ("id", Form::Text),
            ("email", Form::Text),
            ("status", Form::Text),
            ("createdDate", Form::Moment),
            ("updatedDate", Form::Moment),
            ("list", Form::Text),
            ("firstName", Form::Text),
            ("sendEmail", Form::Flag),
        ];
        let optional = [
            ("ftd", Form::Moment),
            ("sourceList", Form::Text),
            ("bucketId", Form::Text),
            ("details", Form::Flag),
            ("importId", Form::Text),
            ("rev", Form::Text),
        ];
        if let Some(what) = malformed(item, &required, &optional) {
            self.note(Kind::Client, table.name, &key, what);
        }
        if text(item, "id").is_some_and(|own| own != id.as_str()) {
            self.note(Kind::Client, table.name, &key, "id is not that of its key");
        }

        let apart = keys::client_details(&id);
        let rest = if item.contains_key("details") {
            self.due(self_contained(Kind::Details, table, &apart), 1);
            details.get(&apart)
        } else {
            Some(item)
        };
        let required = [("phone", Form::Text), ("state", Form::Text)];
        let optional = [("affiliateID", Form::Text), ("sourceId", Form::Text)];
        if let Some(what) = rest.and_then(|rest| malformed(rest, &required, &optional)) {
            self.note(Kind::Client, table.name, &key, what);
        }

        let stored_bucket = text(item, "bucketId");
        let bucket = stored_bucket.and_then(BucketId::parse);
        if let Some(stored) = stored_bucket {
            match self.buckets.get(stored) {
                None => self.note(Kind::Client, table.name, &key, "its bucket does not exist"),
                Some(affiliate)
                    if rest.is_some_and(|rest| text(rest, "affiliateID") != Some(affiliate.as_str())) =>
                {
                    self.note(Kind::Client, table.name, &key, "its bucket is another affiliate's");
                }
                Some(_) => {}
            }
        }
        // Where the details are missing, which is reported, what is stored has to do.
        let stored_list = text(item, "list").unwrap_or_default();
        let list = match (&bucket, rest) {
            (Some(bucket), _) => keys::bucket_list(bucket),
            (None, Some(rest)) => keys::unassigned_list(text(rest, "affiliateID"), &id),
            (None, None) => stored_list.to_owned(),
        };
        let stored_source_list = text(item, "sourceList");
        let source_list = match rest {
            Some(rest) => text(rest, "sourceId").map(|source| keys::source_list(&list, source)),
            None => stored_source_list.map(str::to_owned),
        };
        if item.contains_key("list") && stored_list != list {
            self.note(Kind::Client, table.name, &key, "list is not that of its bucket or affiliate");
        }
        if stored_source_list != source_list.as_deref() {
            self.note(Kind::Client, table.name, &key, "sourceList is not that of its source");
        }

        // What can't be read is reported, and gives nothing.
        let (Some(email), Some(status), Some(created), Some(updated)) = (
            text(item, "email"),
            text(item, "status"),
            moment(item, "createdDate"),
            moment(item, "updatedDate"),
        ) else {
            return;
        };
        let Some(parsed) = Email::parse(email) else {
            return self.note(Kind::Client, table.name, &key, "email is malformed");
        };
        let s = |text: &str| Some(AttributeValue::S(text.to_owned()));
        let lead = [
            ("b", s(&list)),
            ("bs", source_list.as_deref().and_then(s)),
            ("bt", s(&keys::status_list(&list, status))),
            ("c", s(&keys::moment_then_id(created, &id))),
            ("e", (parsed.key() != email).then(|| s(email)).flatten()),
            ("f", moment(item, "ftd").map(|ftd| AttributeValue::N(ftd.millis().to_string()))),
            ("g", s(&keys::all_list(&id))),
            ("s", s(status)),
            ("u", s(&keys::moment_then_id(updated, &id))),
        ];
        let fields = lead.into_iter().filter_map(|(name, value)| Some((name.to_owned(), shown(&value?))));
        let lead = self_contained(Kind::Lead, table, &keys::lead(parsed.key()));
        self.due(Fact { fields: fields.collect(), ..lead }, 1);

        let Some(bucket) = bucket else { return };
        for list in [Some(&list), source_list.as_ref()].into_iter().flatten() {
            for due in counters::of_moment(list, created, 0) {
                let unit = without_shard(&due.sk).unwrap_or_default();
                self.due(counter(&due.pk, unit, &due.attribute), 1);
            }
        }
        self.due(counter(&keys::status_counters(&bucket), &keys::text_digest(status), STATUS_COUNT), 1);
    }

    async fn expiring(&mut self) -> Result<()> {
        let (table, clients) = (self.table("expiring")?, self.table("clients")?);
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.with_context(|| table.unreadable())?;
            let ids = page.items().iter().filter_map(|item| text(item, "id"));
            let ids = ids.filter(|id| !id.is_empty() && id.len() <= ClientId::MAX_BYTES);
            let known = self.items(&clients, ids.map(keys::client).collect(), Some("pk")).await?;
            for item in page.items() {
                let key = table.key_of(item);
                let (kind, own) = match key.get(..2) {
                    Some("I#") => (Kind::Idempotency, Some(("request", Form::Bytes))),
                    Some("L#") => (Kind::Link, None),
                    Some("S#") => (Kind::Session, Some(("endsAt", Form::Number))),
                    Some("M#") => (Kind::Email, Some(("claim", Form::Bytes))),
                    _ => {
                        self.unrecognised(&table, item);
                        continue;
                    }
                };
                let required = [("id", Form::Text), ("expiresAt", Form::Number)];
                let required: Vec<_> = required.into_iter().chain(own).collect();
                let optional: &[_] = match kind {
                    Kind::Email => {
                        &[("claimedUntil", Form::Number), ("sentAt", Form::Number), ("refused", Form::Text)]
                    }
                    _ => &[],
                };
                if let Some(what) = malformed(item, &required, optional) {
                    self.note(kind, table.name, &key, what);
                } else if !text(item, "id").is_some_and(|id| known.contains_key(&keys::client(id))) {
                    self.note(kind, table.name, &key, "its client does not exist");
                }
            }
        }
        self.entries_found(&table).await
    }

    async fn activity(&mut self) -> Result<()> {
        let table = self.table("activity")?;
        let mut pages = self.scan(&table, None).into_paginator().send();
        while let Some(page) = pages.next().await {
            for item in page.with_context(|| table.unreadable())?.items() {
                let id = text(item, "id").unwrap_or_default();
                // What is known of a token may outlive it.
                if TokenId::parse(id.strip_suffix("#refused").unwrap_or(id)).is_none() {
                    self.unrecognised(&table, item);
                }
            }
        }
        self.entries_found(&table).await
    }
}

impl Table<'_> {
    fn unreadable(&self) -> String {
        format!("can't read the table of {}", self.name)
    }

    /// The key's attributes, with blanks between them.
    fn key_of(&self, item: &Item) -> String {
        let parts: Vec<_> = self.key.iter().map(|name| text(item, name).unwrap_or_default()).collect();
        parts.join(" ")
    }

    /// The attributes besides the key.
    fn fields_of(&self, item: &Item) -> Vec<(String, String)> {
        fields(item, |name| !self.key.iter().any(|key| key == name))
    }

    /// An item as an index has it.
    fn entry(&self, index: &Index, item: &Item) -> Fact {
        let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
        let fields = fields(item, |name| match &index.projected {
            None => true,
            Some(names) => has(names, name) || has(&index.key, name) || has(&self.key, name),
        });
        let key = format!("{} {}", index.name, self.key_of(item));
        Fact { kind: Kind::Index, table: self.name, key, fields }
    }
}

fn self_contained(kind: Kind, table: &Table<'_>, key: &str) -> Fact {
    Fact { kind, table: table.name, key: key.to_owned(), fields: vec![] }
}

/// How many tokens have a role.
fn tokens_of(role: &str) -> Fact {
    Fact { kind: Kind::Role, table: "roles", key: role.to_owned(), fields: vec![] }
}

/// How many leads a counter has, in all its shards.
fn counter(pk: &str, unit: &str, attribute: &str) -> Fact {
    Fact { kind: Kind::Counter, table: "buckets", key: format!("{pk} {unit} {attribute}"), fields: vec![] }
}

/// A sort key of counters without its shard.
fn without_shard(sk: &str) -> Option<&str> {
    let (unit, shard) = sk.split_once('#')?;
    shard.parse().is_ok_and(|shard: u8| shard < SHARDS).then_some(unit)
}

/// Why an item is not where the index of all, newest first, has to show it.
fn misplaced(item: &Item, kind: &str, id: &str) -> Option<&'static str> {
    let created = moment(item, "createdDate")?;
    let placed = text(item, "kind") == Some(kind)
        && text(item, "created") == Some(&keys::created_then_id(created, id));
    (!placed).then_some("kind or created is not as the index needs it")
}

// -------------------------------------------------------------------- attributes

/// How an attribute has to be.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    Moment,
    Flag,
    Texts,
    Bytes,
}

/// Names the attributes that are missing or of another form.
fn malformed(item: &Item, required: &[(&str, Form)], optional: &[(&str, Form)]) -> Option<String> {
    let fits = |name: &str, form: Form| match form {
        Form::Text => text(item, name).is_some(),
        Form::Number => number(item, name).is_some(),
        Form::Moment => moment(item, name).is_some(),
        Form::Flag => item.get(name).is_some_and(AttributeValue::is_bool),
        Form::Texts => texts(item, name).is_some(),
        Form::Bytes => item.get(name).is_some_and(AttributeValue::is_b),
    };
    let optional = optional.iter().filter(|(name, _)| item.contains_key(*name));
    let wrong = required.iter().chain(optional).filter(|(name, form)| !fits(name, *form));
    let names: Vec<_> = wrong.map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| format!("missing or malformed: {}", names.join(", ")))
}

fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn moment(item: &Item, name: &str) -> Option<Timestamp> {
    Timestamp::from_millis(number(item, name)?)
}

fn texts<'i>(item: &'i Item, name: &str) -> Option<Vec<&'i str>> {
    item.get(name)?.as_l().ok()?.iter().map(|value| value.as_s().ok().map(String::as_str)).collect()
}

/// Attributes by name, in an order that both sides have.
fn fields(item: &Item, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let wanted = item.iter().filter(|(name, _)| wanted(name));
    let mut fields: Vec<_> = wanted.map(|(name, value)| (name.clone(), shown(value))).collect();
    fields.sort();
    fields
}

/// Texts and numbers, which are all that is compared.
fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("S{text}"),
        AttributeValue::N(number) => format!("N{number}"),
        _ => String::new(),
    }
}

/// Text that may hold an email: of that, its first letter and what follows the `@`.
fn masked(text: &str) -> String {
    let mask = |word: &str| match word.rsplit_once('@') {
        Some((local, domain)) => {
            // The letter that a key begins with is not the email's.
            let shown = if local.get(1..2) == Some("#") { 3 } else { 1 };
            format!("{}…@{domain}", local.chars().take(shown).collect::<String>())
        }
        None => word.to_owned(),
    };
    text.split(' ').map(mask).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_masked_and_other_keys_are_not() {
        assert_eq!(masked("E#jane.doe@example.com"), "E#j…@example.com");
        assert_eq!(masked("all-created E#a#b@c@example.com"), "all-created E#a…@example.com");
        assert_eq!(masked("C#jane@example.com"), "C#j…@example.com");
        assert_eq!(masked("M#list 202601 10"), "M#list 202601 10");
    }
}
