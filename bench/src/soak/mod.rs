//! `bench soak`: the local stack under load for as long as is asked for, then under ten times as much,
//! then as before. Fails at any wrong answer, and where the stack's memory or descriptors grow.

mod caller;
mod program;
mod traffic;
mod watch;
mod world;

use crate::measure::quantile;
use crate::works::thousands;
use crate::{build, tell};
use anyhow::{Context, Result, bail};
use program::Running;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{KINDS, Ledger, Tally, Worker};
use watch::{Sample, Watch, ends, slope};
use world::{World, leads_path};

/// The mix of requests is always the same, and their order but for what runs at once.
const SEED: u64 = 20_261_126;
/// Connections in the overload, to those before, and requests offered to those served before.
const OVERLOAD: usize = 10;
/// MB by which memory may grow in a minute once it is warm, and in all: an allocator settles slowly. Only what exceeds
/// both is found, so that a short run finds large leaks alone.
const MEMORY_GROWTH: f64 = 2.0;
const MEMORY_GROWTH_IN_ALL: f64 = 12.0;
/// MB that an overload may take besides.
const MEMORY_OVERLOAD: f64 = 384.0;
/// Descriptors that may come while the load stays the same: connections to the engine, of a moment with more
/// calls than ever before. A leak of one in a hundred requests is more after some minutes.
const DESCRIPTOR_GROWTH: f64 = 50.0;
/// Descriptors besides connections: those to the engine, with both ends, and files.
const DESCRIPTORS: f64 = 1500.0;
/// How many times slower than before the overload the stack may be after it.
const SLOWER: f64 = 10.0;
/// Until the emails of the last sign-ups are written.
const EMAILS: Duration = Duration::from_secs(300);

/// Puts the local stack under load, and then under ten times as much
///
/// Partners and an operator call it as fast as it answers, over a few connections, with a mix of requests that
/// is always the same; each answer is checked. Then ten times as many connections offer ten times as many
/// requests: each is answered rightly, or at once with 429 or 503. Then the first load again. At the end all
/// sign-ups that were acknowledged are there, with their emails, none that was refused, and all tables agree.
/// Memory and descriptors are looked at each second.
#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// Minutes of the load [default: 10; quick: 0.5]
    #[arg(long, value_name = "N", value_parser = minutes)]
    minutes: Option<f64>,
    /// A short one, of fewer leads: whether it works, not figures
    #[arg(long)]
    quick: bool,
    /// Connections [default: 16; quick: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=400))]
    connections: Option<u16>,
    /// Leads in the buckets, 2,000 or more [default: 40000; quick: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2_000..=1_000_000))]
    leads: Option<u32>,
    /// The local stack's program [default: local, beside this program; built where it is not there]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|minutes| (0.1..=10_000.0).contains(minutes))
        .ok_or_else(|| "use minutes from 0.1 on".to_owned())
}

/// A time of the run: when it was, by the watch, and what callers have seen.
struct Phase {
    from: f64,
    to: f64,
    tally: Tally,
}

impl Phase {
    fn per_second(&self) -> f64 {
        self.tally.served() as f64 / (self.to - self.from)
    }
}

/// The run as it goes.
struct Run {
    world: Arc<World>,
    watch: Watch,
    ledger: Ledger,
}

impl Run {
    /// A request of each kind, so that none is left out by chance.
    async fn each_once(&mut self) -> Phase {
        tell("each kind of requests once");
        let from = self.watch.now();
        let worker = Worker::new(&self.world, SEED, "first", 0, false).ask_all().await;
        self.ledger.add(worker.ledger);
        Phase { from, to: self.watch.now(), tally: worker.tally }
    }

    async fn phase(
        &mut self,
        name: &str,
        workers: usize,
        length: Duration,
        offered: Option<f64>,
    ) -> Result<Phase> {
        tell(&format!("{name}: {workers} connections, {} s", length.as_secs()));
        let (from, until) = (self.watch.now(), Instant::now() + length);
        // What all of them offer together.
        let pace = offered.map(|offered| Duration::from_secs_f64(workers as f64 / offered.max(1.0)));
        let seed = SEED.wrapping_add(name.bytes().map(u64::from).sum());
        let tasks: Vec<_> = (0..workers)
            .map(|number| Worker::new(&self.world, seed, name, number, offered.is_some()).run(until, pace))
            .map(tokio::spawn)
            .collect();
        let mut tally = Tally::default();
        for task in tasks {
            let worker = task.await?;
            tally.add(worker.tally);
            self.ledger.add(worker.ledger);
        }
        Ok(Phase { from, to: self.watch.now(), tally })
    }
}

impl Soak {
    /// Runs it; the report, and what failed.
    pub(crate) fn run(&self) -> Result<(String, Vec<String>)> {
        let program = program::find(self.program.as_deref())?;
        let folder = build::target()?.join("bench");
        std::fs::create_dir_all(&folder)?;
        let directory = tempfile::tempdir_in(&folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.run_on(&program, directory.path()))
    }

    fn connections(&self) -> usize {
        usize::from(self.connections.unwrap_or(if self.quick { 8 } else { 16 }))
    }

    async fn run_on(&self, program: &Path, directory: &Path) -> Result<(String, Vec<String>)> {
        let connections = self.connections();
        let leads = self.leads.unwrap_or(if self.quick { 2_000 } else { 40_000 }) as usize;
        let length = 60.0 * self.minutes.unwrap_or(if self.quick { 0.5 } else { 10.0 });
        let (warm_up, short) = ((length / 4.0).min(60.0), (length / 6.0).clamp(10.0, 60.0));
        let seconds = Duration::from_secs_f64;
        // So few that an overload meets each of the limits.
        let limits = [
            "--concurrency".to_owned(),
            (4 * connections).to_string(),
            "--connections".to_owned(),
            (8 * connections).to_string(),
        ];

        let stack = Running::start(program, directory, &limits)?;
        tell(&format!("loading {} leads", thousands(leads)));
        let world = World::create(&stack, leads, directory).await?;
        if !world.lists.iter().all(traffic::is_enough) {
            bail!("too few leads");
        }
        let mut run =
            Run { world: Arc::new(world), watch: Watch::start(stack.id()), ledger: Ledger::default() };
        tokio::time::sleep(seconds(2.0)).await;
        let idle = run.watch.between(0.0, f64::MAX);
        let first = run.each_once().await;
        let warm = run.phase("warm-up", connections, seconds(warm_up), None).await?;
        let soak = run.phase("soak", connections, seconds(length - warm_up), None).await?;
        let before = soak.per_second();
        let offered = OVERLOAD as f64 * before;
        let overload = run.phase("overload", OVERLOAD * connections, seconds(short), Some(offered)).await?;
        let recovery = run.phase("recovery", connections, seconds(short), None).await?;

        let mut failed = Vec::new();
        for (name, phase) in [
            ("each kind once", &first),
            ("warm-up", &warm),
            ("soak", &soak),
            ("overload", &overload),
            ("recovery", &recovery),
        ] {
            let wrong = phase.tally.wrong();
            if wrong > 0 {
                failed.push(format!("{name}: {wrong} wrong answers\n  {}", phase.tally.told.join("\n  ")));
            }
            if phase.tally.served() == 0 {
                failed.push(format!("{name}: nothing was served"));
            }
        }
        let is_asked = |kind| first.tally.kinds.get(kind).is_some_and(|figures| !figures.took.is_empty());
        for (_, name, _) in KINDS.iter().filter(|(kind, ..)| !is_asked(kind)) {
            failed.push(format!("nothing was asked of this kind: {name}"));
        }
        if recovery.per_second() * SLOWER < before {
            failed.push(format!(
                "recovery: {:.1} requests a second, {before:.1} before the overload",
                recovery.per_second()
            ));
        }
        if overload.tally.shed.is_empty() {
            failed.push(
                "overload: nothing was refused, although there were more connections than are served"
                    .to_owned(),
            );
        }
        failed.extend(self.grown(&run.watch, &soak, &overload));

        tell("looking for all sign-ups");
        match self.missing(&run, directory).await {
            Ok(missing) => failed.extend(missing),
            Err(error) => failed.push(format!("sign-ups were not looked for: {error:#}")),
        }
        if !failed.is_empty() {
            failed.push(format!("the stack's log ends with:\n{}", stack.log()));
        }
        if let Err(error) = stack.end().await {
            failed.push(format!("{error:#}"));
        }
        let report = match program::check(program, directory) {
            Ok((true, report)) => report,
            Ok((false, report)) => {
                failed.push(format!("the tables do not agree: {report:#}"));
                report
            }
            Err(error) => {
                failed.push(format!("the tables were not checked: {error:#}"));
                Value::Null
            }
        };
        let text = self.report(&run, &idle, [&warm, &soak, &overload, &recovery], &report)?;
        Ok((text, failed))
    }

    /// What grew that should not have.
    fn grown(&self, watch: &Watch, soak: &Phase, overload: &Phase) -> Vec<String> {
        let mut failed = Vec::new();
        let samples = watch.between(soak.from, soak.to);
        if samples.is_empty() {
            return vec!["the stack was not seen".to_owned()];
        }
        let by_minute = slope(&samples, memory);
        let (first, last) = ends(&samples, memory);
        if by_minute > MEMORY_GROWTH && last - first > MEMORY_GROWTH_IN_ALL {
            failed
                .push(format!("memory grew by {by_minute:.1} MB a minute, from {first:.0} to {last:.0} MB"));
        }
        let (first, descriptors_last) = ends(&samples, descriptors);
        if descriptors_last - first > DESCRIPTOR_GROWTH {
            failed.push(format!("descriptors grew from {first:.0} to {descriptors_last:.0}"));
        }
        let samples = watch.between(overload.from, overload.to);
        let (most_memory, most_descriptors) = (most(&samples, memory), most(&samples, descriptors));
        if most_memory > last + MEMORY_OVERLOAD {
            failed.push(format!("the overload took memory to {most_memory:.0} MB, from {last:.0} MB"));
        }
        let allowed = (8 * self.connections()) as f64 + DESCRIPTORS;
        if most_descriptors > allowed {
            failed.push(format!(
                "the overload took {most_descriptors:.0} descriptors, {allowed:.0} are allowed"
            ));
        }
        failed
    }

    /// Sign-ups that were acknowledged and are not there, that were refused and are, and emails that were not
    /// sent.
    async fn missing(&self, run: &Run, directory: &Path) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        let mut reader = caller::Caller::new(&run.world.address);
        let mut found = BTreeMap::new();
        let signed_up = run.ledger.signed_up.iter().map(|one| one.email.as_str());
        let emails: Vec<&str> = signed_up.chain(run.ledger.shed.iter().map(String::as_str)).collect();
        for bucket in &run.world.registering {
            let path = leads_path(world::REGISTERING, bucket);
            for emails in emails.chunks(1000) {
                let body = json!({"emails": emails, "limit": 5000}).to_string();
                let request = hyper::Request::post(&path)
                    .header("host", &run.world.address)
                    .header("content-type", "application/json")
                    .header("authorization", &run.world.partner)
                    .body(http_body_util::Full::new(bytes::Bytes::from(body)))?;
                let reply = reader.send(request).await.map_err(|lost| anyhow::anyhow!("{lost:?}"))?;
                let answer: Value = serde_json::from_slice(&reply.body)?;
                if reply.status != 200 {
                    bail!("looking for sign-ups: {answer}");
                }
                for (email, lead) in answer.as_object().context("no leads")? {
                    found.insert(email.clone(), lead["id"].as_str().unwrap_or_default().to_owned());
                }
            }
        }
        let missing =
            run.ledger.signed_up.iter().filter(|one| found.get(&one.email) != Some(&one.id)).count();
        if missing > 0 {
            failed.push(format!("{missing} sign-ups were acknowledged and are not there"));
        }
        let stored = run.ledger.shed.iter().filter(|email| found.contains_key(*email)).count();
        if stored > 0 {
            failed.push(format!("{stored} sign-ups were refused and are there"));
        }
        let outbox = directory.join("outbox");
        let mailed: Vec<_> = run.ledger.signed_up.iter().filter(|one| one.is_mailed).collect();
        let begun = Instant::now();
        loop {
            let unsent = mailed.iter().filter(|one| !outbox.join(format!("{}.eml", one.id)).exists()).count();
            if unsent == 0 {
                break;
            }
            if begun.elapsed() > EMAILS {
                failed.push(format!("{unsent} of {} registration emails were not sent", mailed.len()));
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(failed)
    }

    fn report(&self, run: &Run, idle: &[Sample], phases: [&Phase; 4], check: &Value) -> Result<String> {
        let [warm, soak, overload, recovery] = phases;
        let mut text = String::new();
        for (name, value) in build::machine().into_iter().take(4) {
            writeln!(text, "{name}: {value}")?;
        }
        let number =
            |text: &Value| thousands(text.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0));
        writeln!(
            text,
            "\n{} clients at the end, in {} buckets; {} connections.\n",
            number(&check["clients"]),
            number(&check["buckets"]),
            self.connections()
        )?;
        writeln!(
            text,
            "| soak, {:.0} s | requests | wrong | a second | p50, ms | p95, ms | p99, ms | most, ms |",
            soak.to - soak.from
        )?;
        writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        let seconds = soak.to - soak.from;
        let mut all = Vec::new();
        for (kind, name, _) in KINDS {
            let Some(figures) = soak.tally.kinds.get(&kind) else { continue };
            row(&mut text, name, &figures.took, figures.wrong, seconds)?;
            all.extend_from_slice(&figures.took);
        }
        row(&mut text, "**all**", &all, soak.tally.wrong(), seconds)?;

        let served =
            |phase: &Phase| phase.tally.kinds.values().flat_map(|one| one.took.clone()).collect::<Vec<_>>();
        let before = soak.per_second();
        writeln!(
            text,
            "\n| time | served a second | to soak | p50, ms | p99, ms | most, ms | 429 and 503 | p50, ms | p99, ms | most, ms | no connection |"
        )?;
        writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (name, phase) in
            [("warm-up", warm), ("soak", soak), ("overload", overload), ("recovery", recovery)]
        {
            let (took, shed) = (served(phase), &phase.tally.shed);
            writeln!(
                text,
                "| {name} | {:.0} | {:.2} | {} | {} | {} |",
                phase.per_second(),
                phase.per_second() / before,
                quantiles(&took),
                thousands(shed.len()),
                if shed.is_empty() { "– | – | –".to_owned() } else { quantiles(shed) },
            )?;
            let refused: u64 = phase.tally.refused.values().sum();
            text.truncate(text.trim_end().len());
            writeln!(text, " {refused} |")?;
        }
        if overload.tally.too_slow > 0 {
            let count = overload.tally.too_slow;
            writeln!(
                text,
                "\n{count} requests of the overload were not answered in time: 27 s of a function, 30 s of the gateway."
            )?;
        }
        for (reason, count) in &overload.tally.refused {
            writeln!(text, "\n{count} connections of the overload were not made: {reason}")?;
        }

        let samples = run.watch.between(soak.from, soak.to);
        let last = |from, to| {
            run.watch
                .between(from, to)
                .last()
                .copied()
                .map_or((f64::NAN, f64::NAN), |s| (s.memory, s.descriptors))
        };
        let begin = idle.last().copied().map_or((f64::NAN, f64::NAN), |s| (s.memory, s.descriptors));
        let (warmed, end) = (last(warm.from, warm.to), last(soak.from, soak.to));
        let over = run.watch.between(overload.from, overload.to);
        let after = last(recovery.from, recovery.to);
        writeln!(
            text,
            "\n| | at start | after warm-up | end of soak | growth a minute | most in overload | after recovery |"
        )?;
        writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        writeln!(
            text,
            "| memory, MB | {:.1} | {:.1} | {:.1} | {:+.2} | {:.1} | {:.1} |",
            begin.0,
            warmed.0,
            end.0,
            slope(&samples, memory),
            most(&over, memory),
            after.0
        )?;
        writeln!(
            text,
            "| descriptors | {:.0} | {:.0} | {:.0} | {:+.2} | {:.0} | {:.0} |",
            begin.1,
            warmed.1,
            end.1,
            slope(&samples, descriptors),
            most(&over, descriptors),
            after.1
        )?;
        let mailed = run.ledger.signed_up.iter().filter(|one| one.is_mailed).count();
        writeln!(
            text,
            "\n{} sign-ups acknowledged, {} refused; {} registration emails asked for. Tables: {}.",
            thousands(run.ledger.signed_up.len()),
            thousands(run.ledger.shed.len()),
            thousands(mailed),
            if check["consistent"] == true { "consistent" } else { "not consistent" },
        )?;
        Ok(text)
    }
}

fn memory(sample: &Sample) -> f64 {
    sample.memory
}

fn descriptors(sample: &Sample) -> f64 {
    sample.descriptors
}

fn most(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).fold(0.0, f64::max)
}

fn quantiles(took: &[f64]) -> String {
    [0.5, 0.99, 1.0].map(|part| format!("{:.1}", quantile(took, part))).join(" | ")
}

fn row(text: &mut String, name: &str, took: &[f64], wrong: u64, seconds: f64) -> Result<()> {
    writeln!(
        text,
        "| {name} | {} | {wrong} | {:.1} | {} |",
        thousands(took.len()),
        took.len() as f64 / seconds,
        [0.5, 0.95, 0.99, 1.0].map(|part| format!("{:.1}", quantile(took, part))).join(" | ")
    )?;
    Ok(())
}
