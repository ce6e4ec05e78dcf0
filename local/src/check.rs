//! `local check`: walks every table and compares what is stored more than once.
//!
//! A client's item says which lead, counts and index entries there must be; a bucket's record says
//! which routing records. Each of these is a `Fact`, met on two sides: *due* by the record, and
//! *found* in its own place. The sides must come to the same. They are compared as digests, summed
//! up in a `Sketch` of fixed size, so that a walk needs as much memory for ten million clients as
//! for ten. What differs is looked at by name in a further walk.
//!
//! A running system changes while it is walked, and a change under way looks like a difference.
//! Nothing is reported that was not the same in every walk. A count that leads come to all the
//! time cannot be judged by that; how many there are is told as well.
//!
//! With `--repair`, what follows from the records is written as they say, and all is checked again.

mod repair;
mod sketch;
mod walk;

use crate::target::Target;
use crate::template::Template;
use anyhow::Result;
pub use repair::{Repaired, repair};
use serde::Serialize;
use shared::store::Store;
use sketch::Sums;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write;
use walk::Walk;

/// Arguments of `local check`.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Repair what follows from the clients, buckets and tokens themselves, and check again
    ///
    /// Leads, counters, routing records, lists, and what is left over. A running system can be repaired: each
    /// write is made on the condition that what was seen is still so. One repair at a time.
    #[arg(long)]
    repair: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Check {
    /// Checks the system and prints the report; whether nothing was found to be wrong.
    ///
    /// # Errors
    /// The system can't be reached, a table is missing, or the output is closed.
    #[tokio::main]
    pub async fn run(&self) -> Result<bool> {
        let opened = self.target.open().await?;
        let checked = if self.repair {
            repair(&opened.store).await
        } else {
            check(&opened.store).await.map(|report| Repaired { report, ..Repaired::default() })
        };
        let description = opened.description.clone();
        opened.close().await;
        let repaired = checked?;
        let mut out = std::io::stdout().lock();
        match (self.json, self.repair) {
            (true, true) => repaired.write_json(&mut out)?,
            (true, false) => repaired.report.write_json(&mut out)?,
            (false, true) => {
                writeln!(out, "{description}:")?;
                repaired.write(&mut out)?;
            }
            (false, false) => {
                write!(out, "{description}: ")?;
                repaired.report.write(&mut out)?;
            }
        }
        Ok(repaired.report.is_consistent())
    }
}

/// Most problems that are reported one by one.
const PROBLEMS_MAX: usize = 1000;
/// Most cells of the sketch whose facts are looked at by name: each holds a problem at least.
const CELLS_NAMED: usize = PROBLEMS_MAX;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Clients' items.
    pub clients: u64,
    /// Leads' items.
    pub leads: u64,
    /// Buckets' records.
    pub buckets: u64,
    /// Tokens.
    pub tokens: u64,
    /// Roles.
    pub roles: u64,
    /// How often the tables were walked: once where nothing differed; a problem was the same in
    /// every walk.
    pub walks: u32,
    /// What is wrong, at most a thousand.
    pub problems: Vec<Problem>,
    /// How many more there are at least.
    pub more: u64,
    /// Places that differed in every walk, each time otherwise: they are being written to. They
    /// can be judged at a quieter time.
    pub unsettled: u64,
}

impl Report {
    /// Whether nothing was found to be wrong.
    pub fn is_consistent(&self) -> bool {
        self.problems.is_empty() && self.more == 0
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// The output is closed.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        self.write_with(out, true)
    }

    fn write_with(&self, out: &mut impl Write, with_problems: bool) -> std::io::Result<()> {
        let Self { clients, leads, buckets, tokens, roles, walks, problems, more, unsettled } = self;
        writeln!(out, "{clients} clients, {leads} leads, {buckets} buckets, {tokens} tokens, {roles} roles")?;
        for problem in problems.iter().filter(|_| with_problems) {
            writeln!(out, "{problem}")?;
        }
        if *more > 0 {
            writeln!(out, "and at least {more} more")?;
        }
        if *unsettled > 0 {
            writeln!(
                out,
                "{unsettled} places were written to all the while and could not be judged; check again at a quieter time"
            )?;
        }
        match (self.is_consistent(), walks) {
            (true, 1) => writeln!(out, "Consistent."),
            (true, _) => {
                writeln!(out, "Consistent: what differed at first was not the same in all {walks} walks.")
            }
            (false, _) => writeln!(out, "Not consistent: each of these was the same in all {walks} walks."),
        }
    }

    /// Writes it for programs: the report's fields and `consistent`, in JSON.
    ///
    /// # Errors
    /// The output is closed.
    pub fn write_json(&self, out: &mut impl Write) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Shown<'a> {
            consistent: bool,
            #[serde(flatten)]
            report: &'a Report,
        }
        let shown = Shown { consistent: self.is_consistent(), report: self };
        serde_json::to_writer_pretty(&mut *out, &shown)?;
        writeln!(out)
    }
}

/// Something that is not as it must be. Shows no email in full, and nothing secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// What it is about.
    pub kind: Kind,
    /// The table: `clients`, `buckets`, `tokens`, `roles`, `expiring` or `activity`.
    pub table: &'static str,
    /// Where in the table: a key, with the index or the attribute where it is about one.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What can be done about it, or why it was not repaired.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, {}: {}", self.kind, self.table, self.key, self.what)
    }
}

/// What a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An item that no part of the system writes.
    Unrecognised,
    /// A client's own item.
    Client,
    /// The rest of a client with a large profile.
    Details,
    /// The item that keeps an email unique and is what partners see.
    Lead,
    /// A bucket's record.
    Bucket,
    /// A record that sign-ups are routed by.
    Route,
    /// A count of leads.
    Counter,
    /// An identification token.
    Token,
    /// A role.
    Role,
    /// What an `Idempotency-Key` was answered.
    Idempotency,
    /// An autologin link.
    Link,
    /// A session.
    Session,
    /// What became of a registration email.
    Email,
    /// An entry of an index.
    Index,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unrecognised => "unrecognised",
            Self::Client => "client",
            Self::Details => "details",
            Self::Lead => "lead",
            Self::Bucket => "bucket",
            Self::Route => "route",
            Self::Counter => "counter",
            Self::Token => "token",
            Self::Role => "role",
            Self::Idempotency => "idempotency",
            Self::Link => "link",
            Self::Session => "session",
            Self::Email => "email",
            Self::Index => "index",
        })
    }
}

/// Walks every table, strongly consistent where DynamoDB offers it (indexes do not). Where
/// something looks wrong, walks them twice more, and reports what is wrong each time.
///
/// # Errors
/// DynamoDB failed after all retries, or a table is missing.
pub async fn check(store: &Store) -> Result<Report> {
    let template = Template::built_in()?;
    Ok(examine(store, &template, &HashSet::new()).await?.report())
}

/// What was the same in every walk.
struct Examined<'a> {
    /// The last walk.
    walk: Walk<'a>,
    walks: u32,
    /// Cells of the sketch whose differences were named.
    named: Vec<usize>,
    /// How many of the others were not in an earlier round either.
    untried: usize,
}

impl Examined<'_> {
    fn report(self) -> Report {
        self.walk.report(self.walks)
    }
}

/// Walks every table, up to three times. Of more differences than can be named at once, those come first
/// that were not `tried` in an earlier round.
async fn examine<'a>(
    store: &'a Store,
    template: &'a Template,
    tried: &HashSet<usize>,
) -> Result<Examined<'a>> {
    let first = Walk::run(store, template, HashMap::new()).await?;
    if first.is_clean() {
        return Ok(Examined { walk: first, walks: 1, named: Vec::new(), untried: 0 });
    }
    let second = Walk::run(store, template, HashMap::new()).await?;
    let mut differing = first.sketch.steady(&second.sketch);
    differing.sort_by_key(|(cell, _)| tried.contains(cell));
    let unnamed = differing.split_off(differing.len().min(CELLS_NAMED));
    let untried = unnamed.iter().filter(|(cell, _)| !tried.contains(cell)).count();
    let named: HashMap<usize, Sums> = differing.into_iter().collect();
    let cells = named.keys().copied().collect();
    let mut third = Walk::run(store, template, named).await?;
    third.counts.unsettled = third.sketch.unsettled([&first.sketch, &second.sketch]);
    third.noted.retain_same([&first.noted, &second.noted]);
    third.name_differences();
    third.noted.more += unnamed.len() as u64;
    Ok(Examined { walk: third, walks: 3, named: cells, untried })
}
