//! One walk over all tables: what each item must be like, and which facts it gives.

use super::repair::{Mend, Repair};
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

// What an operator can do about what is not repaired.
const MALFORMED: &str = "the system can't read it: give the item the form of docs/data-model.md, for example from a restored \
                         table, or delete it where it is nobody's";
const UNRECOGNISED: &str = "nothing reads it: delete it where nobody put it there on purpose";
const INDEX: &str = "DynamoDB keeps its indexes itself: check again later; an item that is written anew gets its entries anew";
const OUT_OF_PLACE: &str =
    "take the attributes away that get it into the index; of a client, any change in the admin API does";
const NO_ROLE: &str = "create the role (bootstrap makes the built-in ones), or delete the token";
const NO_BUCKET: &str = "move the client to a bucket, or to none, in the admin API: PATCH its bucketId";
const OTHER_AFFILIATE: &str =
    "give the client a bucket of its affiliate, or that affiliate, in the admin API";
const NO_DETAILS: &str = "put the item back from a restored table; without it, any change of the client in the admin API writes the \
                          client anew, with what is left of it";
const ONE_EMAIL: &str =
    "two clients have this email: give one of them another in the admin API, and repair again";
const ONE_SOURCE: &str =
    "two buckets have this source: take it away from one of them in the admin API, and repair again";
const NO_STATUS: &str = "no lead of the bucket has the status of its key: delete the item";
const CLIENTS_FIRST: &str =
    "a client that can't be read may be a part of it: mend the malformed ones, and repair again";
const BUCKETS_FIRST: &str =
    "a bucket that can't be read may give it: mend the malformed ones, and repair again";
const TOKENS_FIRST: &str =
    "a token that can't be read may have it: mend the malformed ones, and repair again";

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
    /// The buckets whose own lists they are.
    owners: HashMap<String, BucketId>,
    roles: HashSet<String>,
    /// Statuses of the named counters, and of those that have another.
    statuses: HashMap<String, String>,
    /// Counters whose status is not that of their key, with its digest and what is wrong.
    odd_statuses: Vec<(String, Item, String)>,
    /// What the shards of the named counters have.
    shards: HashMap<String, BTreeMap<u8, i64>>,
    /// Clients, buckets and tokens that are malformed: nothing can be told by what they do not give.
    unread_clients: HashSet<String>,
    unread_buckets: u64,
    unread_tokens: u64,
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
            owners: HashMap::new(),
            roles: HashSet::new(),
            statuses: HashMap::new(),
            odd_statuses: Vec::new(),
            shards: HashMap::new(),
            unread_clients: HashSet::new(),
            unread_buckets: 0,
            unread_tokens: 0,
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

    fn note(
        &mut self,
        kind: Kind,
        table: &'static str,
        key: &str,
        what: impl Into<String>,
        mend: impl Into<Mend>,
    ) {
        let (what, mend) = (what.into(), mend.into());
        let id = hash(&(kind, table, key, &what));
        let remedy = mend.remedy().to_owned();
        self.noted.add(id, Problem { kind, table, key: masked(key), what, remedy }, key, mend);
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
            .filter_map(|group| Some((group.first()?.0.clone(), self.difference(group)?, self.mend(group)?)))
            .collect();
        for (fact, what, mend) in problems {
            self.note(fact.kind, fact.table, &fact.key, what, mend);
        }
    }

    /// What can be done about a key whose facts differ.
    fn mend(&self, facts: &[(Fact, (i64, i64))]) -> Option<Mend> {
        let (fact, (found, due)) = facts.first()?;
        let key = &fact.key;
        let by = due - found;
        let surplus = facts.iter().find(|(_, (found, due))| found > due).map(|(fact, _)| fact);
        let lacking: Vec<_> =
            facts.iter().filter(|(_, (found, due))| found < due).map(|(fact, _)| fact).collect();
        let field = |fact: &Fact, name: &str| {
            let value = fact.fields.iter().find(|(known, _)| known == name)?.1.strip_prefix('S')?;
            Some(value.to_owned())
        };
        let seen = surplus.map(|fact| fact.fields.clone());
        Some(match (fact.kind, lacking.as_slice()) {
            (Kind::Counter, _) if by < 0 && !self.unread_clients.is_empty() => CLIENTS_FIRST.into(),
            (Kind::Counter, _) => {
                let shards = self.shards.get(key);
                let (shard, seen) = shards.and_then(|shards| shards.first_key_value()).unwrap_or((&0, &0));
                let mut parts = key.rsplitn(3, ' ');
                let (attribute, unit, pk) = (parts.next()?, parts.next()?, parts.next()?);
                let status = pk.starts_with("T#").then(|| self.statuses.get(unit).cloned()).flatten();
                Repair::Counter {
                    pk: pk.to_owned(),
                    sk: format!("{unit}#{shard}"),
                    attribute: attribute.to_owned(),
                    by,
                    seen: *seen,
                    status,
                }
                .into()
            }
            (Kind::Role, _) if by < 0 && self.unread_tokens > 0 => TOKENS_FIRST.into(),
            (Kind::Role, _) => Repair::Tokens { role: key.clone(), by, seen: *found }.into(),
            (Kind::Index, _) => INDEX.into(),
            (Kind::Details, []) => Repair::DetailsLeftOver { pk: key.clone() }.into(),
            (Kind::Details, _) => NO_DETAILS.into(),
            (Kind::Lead, []) => Repair::LeadLeftOver { pk: key.clone(), seen: seen? }.into(),
            (Kind::Lead, [lacking]) => {
                let created = field(lacking, "c")?;
                let id = created.split_once('#')?.1;
                if self.unread_clients.contains(id) {
                    return Some(CLIENTS_FIRST.into());
                }
                let due = lacking.fields.clone();
                Repair::Lead { pk: key.clone(), client: ClientId::new(id), due, seen }.into()
            }
            (Kind::Lead, _) => ONE_EMAIL.into(),
            (_, []) if self.unread_buckets > 0 => BUCKETS_FIRST.into(),
            (_, []) => {
                let (pk, sk) = key.rsplit_once(' ')?;
                Repair::RouteLeftOver { pk: pk.to_owned(), sk: sk.to_owned(), seen: seen? }.into()
            }
            (_, [lacking]) => {
                let (pk, sk) = key.rsplit_once(' ')?;
                let bucket = BucketId::parse(&field(lacking, "bucketId")?)?;
                Repair::Route { pk: pk.to_owned(), sk: sk.to_owned(), bucket, seen }.into()
            }
            (_, _) => ONE_SOURCE.into(),
        })
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
                self.note(Kind::Index, table.name, &entry.key, "must not be in the index", OUT_OF_PLACE);
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
        self.note(
            Kind::Unrecognised,
            table.name,
            &table.key_of(item),
            "is nothing that belongs here",
            UNRECOGNISED,
        );
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
            self.note(Kind::Role, table.name, id, what, MALFORMED);
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
            self.note(Kind::Token, table.name, id.as_str(), what, MALFORMED);
            self.unread_tokens += 1;
        }
        if texts(item, "whitelist").is_some_and(|entries| Whitelist::parse(entries).is_err()) {
            self.note(Kind::Token, table.name, id.as_str(), "whitelist is malformed", MALFORMED);
        }
        if let Some((what, repair)) = misplaced(table, item, keys::TOKEN_KIND, id.as_str()) {
            self.note(Kind::Token, table.name, id.as_str(), what, repair);
        }
        match text(item, "roleId") {
            Some(role) if self.roles.contains(role) => self.due(tokens_of(role), 1),
            _ => self.note(Kind::Token, table.name, id.as_str(), "its role does not exist", NO_ROLE),
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
                    self.note(Kind::Unrecognised, table.name, &table.key_of(item), what, UNRECOGNISED);
                }
            }
        }
        for list in closed {
            if let Some(of) = self.lists.get(&list).cloned() {
                let what = format!("is closed to new leads, and {of} exists");
                let owner = self.owners.get(&list).cloned();
                let mend = owner.map_or(Mend::from(UNRECOGNISED), |bucket| {
                    Repair::Reopen { pk: keys::month_counters(&list), bucket }.into()
                });
                self.note(Kind::Counter, table.name, &keys::month_counters(&list), what, mend);
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
            self.note(Kind::Bucket, table.name, &key, what, MALFORMED);
            self.unread_buckets += 1;
        } else if text(item, "id") != Some(id.as_str()) {
            let repair = texts_of(table, item, &[("id", Some(id.as_str()))]);
            self.note(Kind::Bucket, table.name, &key, "id is not that of its key", repair);
        }
        if let Some((what, repair)) = misplaced(table, item, keys::BUCKET_KIND, id.as_str()) {
            self.note(Kind::Bucket, table.name, &key, what, repair);
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
        self.owners.insert(list.clone(), id.clone());
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
                Some(count) if is_cell => self.counted(text(item, "pk")?, sk, name, count)?,
                Some(_) if name == "n" => {}
                _ => self.note(
                    Kind::Counter,
                    table.name,
                    &format!("{} {name}", table.key_of(item)),
                    "is no count",
                    MALFORMED,
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
                Some(count) if is_second => self.counted(text(item, "pk")?, sk, name, count)?,
                _ => self.note(
                    Kind::Counter,
                    table.name,
                    &format!("{} {name}", table.key_of(item)),
                    "is no count",
                    MALFORMED,
                ),
            }
        }
        Some(())
    }

    /// `None` where it is no item of counters.
    fn status_counters(&mut self, table: &Table<'_>, sk: &str, item: &Item) -> Option<()> {
        let digest = without_shard(sk)?;
        let required = [("status", Form::Text), (STATUS_COUNT, Form::Number)];
        match malformed(item, &required, &[]) {
            // Whoever has the status tells it.
            Some(what) if text(item, "status").is_none() && number(item, STATUS_COUNT).is_some() => {
                self.odd_statuses.push((digest.to_owned(), item.clone(), what));
            }
            Some(what) => self.note(Kind::Counter, table.name, &table.key_of(item), what, MALFORMED),
            None if text(item, "status").is_some_and(|status| keys::text_digest(status) != digest) => {
                let what = "status is not that of its key".to_owned();
                self.odd_statuses.push((digest.to_owned(), item.clone(), what));
            }
            None => {}
        }
        self.counted(text(item, "pk")?, sk, STATUS_COUNT, number(item, STATUS_COUNT).unwrap_or(0))
    }

    /// What one shard of a counter has; `None` where its sort key is none of a counter's.
    fn counted(&mut self, pk: &str, sk: &str, attribute: &str, count: i64) -> Option<()> {
        let fact = counter(pk, without_shard(sk)?, attribute);
        if self.named.contains_key(&Sketch::cell(&fact)) {
            let shard = sk.split_once('#')?.1.parse().ok()?;
            self.shards.entry(fact.key.clone()).or_default().insert(shard, count);
        }
        self.found(fact, count);
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
        let buckets = self.table("buckets")?;
        for (digest, item, what) in std::mem::take(&mut self.odd_statuses) {
            let status = self.statuses.get(&digest);
            let mend = status.map_or(Mend::from(NO_STATUS), |status| {
                texts_of(&buckets, &item, &[("status", Some(status))]).into()
            });
            self.note(Kind::Counter, buckets.name, &buckets.key_of(&item), what, mend);
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
            self.note(Kind::Client, table.name, &key, what, MALFORMED);
            self.unread_clients.insert(id.to_string());
        }
        if text(item, "id").is_some_and(|own| own != id.as_str()) {
            let repair = texts_of(table, item, &[("id", Some(id.as_str()))]);
            self.note(Kind::Client, table.name, &key, "id is not that of its key", repair);
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
            self.note(Kind::Client, table.name, &key, what, MALFORMED);
            self.unread_clients.insert(id.to_string());
        }

        let stored_bucket = text(item, "bucketId");
        let bucket = stored_bucket.and_then(BucketId::parse);
        if let Some(stored) = stored_bucket {
            if bucket.is_none() {
                self.unread_clients.insert(id.to_string());
            }
            match self.buckets.get(stored) {
                None => self.note(Kind::Client, table.name, &key, "its bucket does not exist", NO_BUCKET),
                Some(affiliate)
                    if rest.is_some_and(|rest| text(rest, "affiliateID") != Some(affiliate.as_str())) =>
                {
                    let what = "its bucket is another affiliate's";
                    self.note(Kind::Client, table.name, &key, what, OTHER_AFFILIATE);
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
        let is_unread = self.unread_clients.contains(id.as_str());
        let mend = |texts: &[(&str, Option<&str>)]| {
            if is_unread { CLIENTS_FIRST.into() } else { texts_of(table, item, texts).into() }
        };
        if item.contains_key("list") && stored_list != list {
            let mend: Mend = mend(&[("list", Some(&list))]);
            self.note(Kind::Client, table.name, &key, "list is not that of its bucket or affiliate", mend);
        }
        if stored_source_list != source_list.as_deref() {
            let mend: Mend = mend(&[("sourceList", source_list.as_deref())]);
            self.note(Kind::Client, table.name, &key, "sourceList is not that of its source", mend);
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
            self.unread_clients.insert(id.to_string());
            return self.note(Kind::Client, table.name, &key, "email is malformed", MALFORMED);
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
        let digest = keys::text_digest(status);
        let of_status = counter(&keys::status_counters(&bucket), &digest, STATUS_COUNT);
        let is_odd = self.odd_statuses.iter().any(|(odd, ..)| *odd == digest);
        if is_odd || self.named.contains_key(&Sketch::cell(&of_status)) {
            self.statuses.insert(digest, status.to_owned());
        }
        self.due(of_status, 1);
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
                    Kind::Link => &[("usedAt", Form::Number)],
                    Kind::Email => {
                        &[("claimedUntil", Form::Number), ("sentAt", Form::Number), ("refused", Form::Text)]
                    }
                    _ => &[],
                };
                if let Some(what) = malformed(item, &required, optional) {
                    self.note(kind, table.name, &key, what, MALFORMED);
                    continue;
                }
                let client = text(item, "id").unwrap_or_default();
                if !known.contains_key(&keys::client(client)) {
                    let repair = Repair::Expiring { pk: key.clone(), client: client.to_owned() };
                    self.note(kind, table.name, &key, "its client does not exist", repair);
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
fn misplaced(table: &Table<'_>, item: &Item, kind: &str, id: &str) -> Option<(&'static str, Repair)> {
    let created = keys::created_then_id(moment(item, "createdDate")?, id);
    let placed = text(item, "kind") == Some(kind) && text(item, "created") == Some(&created);
    let repair = || texts_of(table, item, &[("kind", Some(kind)), ("created", Some(&created))]);
    (!placed).then(|| ("kind or created is not as the index needs it", repair()))
}

/// Gives an item's attributes the texts that they must have, or takes them away.
fn texts_of(table: &Table<'_>, item: &Item, texts: &[(&str, Option<&str>)]) -> Repair {
    let part = |name: &String| Some((name.clone(), item.get(name)?.clone()));
    Repair::Texts {
        table: table.name,
        key: table.key.iter().filter_map(part).collect(),
        version: text(item, "rev").map(str::to_owned),
        texts: texts
            .iter()
            .map(|(name, to)| ((*name).to_owned(), item.get(*name).cloned(), to.map(str::to_owned)))
            .collect(),
    }
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

pub(super) fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
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
pub(super) type Fields = Vec<(String, String)>;

/// Those of an item that are wanted.
pub(super) fn fields(item: &Item, wanted: impl Fn(&str) -> bool) -> Fields {
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
