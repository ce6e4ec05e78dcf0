//! `import`: clients from CSV and JSON Lines into any system, in constant memory.
//!
//! The input is read in chunks. A chunk's records are written in batches at once, its rejected
//! records are reported, and the checkpoint then moves behind it. A chunk that was cut off is
//! written again: each record has a mark of its own, by which what is there already is recognised.

mod checkpoint;
mod input;
mod pace;
mod row;
mod writer;

pub use checkpoint::OnDuplicate;
pub use input::Format;

use crate::target::Target;
use anyhow::{Context, Result, bail};
use checkpoint::{Checkpoint, Counts, Job};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use input::{CHUNK_RECORDS, Chunk, Input, Place, Record};
use shared::store::Store;
use shared::store::counters::SHARDS;
use std::fs::{File, TryLockError};
use std::io::{IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Interval;
use writer::{Outcome, Writer};

/// How often a line is printed where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `local import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The clients: CSV with a header row, or JSON Lines, one Sign Up body a line
    file: PathBuf,
    /// How the file is written; by default what its name ends with (.csv, .jsonl, .ndjson)
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What to do with a record whose email a client has: leave the client as it is, or give it the
    /// fields that the record has
    #[arg(long, value_enum, default_value = "skip")]
    on_duplicate: OnDuplicate,
    /// Report of rejected records: CSV with line, field, reason [default: FILE.rejects.csv]
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Where progress is kept, for going on after an interruption [default: FILE.checkpoint]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Forget the checkpoint and begin anew; what was imported before counts as duplicate
    #[arg(long)]
    restart: bool,
    /// Read and report only, to FILE.dry-run.csv: nothing is written to the system, and none needs to
    /// be there
    #[arg(long, conflicts_with = "restart")]
    dry_run: bool,
    /// Most batches written at once, up to 8; fewer while DynamoDB throttles
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=i64::from(SHARDS)))]
    parallel: u8,
    /// Give up after this many seconds without any success
    #[arg(long, value_name = "SECONDS", default_value_t = 300, hide = true)]
    give_up_after: u64,
    #[command(flatten)]
    target: Target,
}

/// How an import ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every record is a client.
    Complete,
    /// Some records were rejected.
    WithRejects,
    /// By a signal, of this number; it can go on.
    Interrupted(u8),
}

impl Import {
    /// Imports the file, from where an earlier run came to.
    ///
    /// # Errors
    /// The file can't be read, its header row is not as expected, it does not belong to the
    /// checkpoint, or DynamoDB refuses or can't be reached for long.
    #[tokio::main]
    pub async fn run(&self) -> Result<Ended> {
        let format = self.format()?;
        let shown = self.file.display();
        let mut file = File::open(&self.file).with_context(|| format!("can't read {shown}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another import reads {shown}"),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("can't lock {shown}"));
            }
        }
        if self.dry_run {
            return self.read_only(file, format);
        }
        let opened = self.target.open().await?;
        let job = Job::new(&opened.description, &mut file, format, self.on_duplicate)?;
        let done = self.import(opened.store.clone(), file, job).await;
        opened.close().await;
        done
    }

    /// Reports the records that would be rejected for what they say; what the system says of them
    /// (ids and emails that are taken, buckets) is not asked.
    fn read_only(&self, file: File, format: Format) -> Result<Ended> {
        let mut input = Input::open(file, format, Place::default())?;
        // Its own file: the report of an interrupted import is still written to.
        let mut rejects = Rejects::open(self.beside(self.rejects.as_deref(), "dry-run.csv"), 0)?;
        let (mut valid, mut rejected) = (0_u64, 0_u64);
        loop {
            let Chunk { records, failure, .. } = input.chunk(CHUNK_RECORDS);
            let is_end = records.is_empty();
            for record in records {
                match record.row {
                    Ok(_) => valid += 1,
                    Err(rejection) => {
                        rejected += 1;
                        rejects.add(record.line, &rejection.field, &rejection.reason)?;
                    }
                }
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            if is_end {
                break;
            }
        }
        rejects.sync()?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{valid} records are valid, {rejected} are not; nothing was imported.")?;
        if rejected == 0 {
            return Ok(Ended::Complete);
        }
        writeln!(out, "Rejected records: {}", rejects.path.display())?;
        Ok(Ended::WithRejects)
    }

    async fn import(&self, store: Store, file: File, job: Job) -> Result<Ended> {
        let (format, size, system) = (job.format, job.input_bytes, job.system.clone());
        let checkpoint_path = self.beside(self.checkpoint.as_deref(), "checkpoint");
        let known = if self.restart { None } else { Checkpoint::read(&checkpoint_path, &job)? };
        let resumed = known.is_some();
        let checkpoint = known.unwrap_or_else(|| Checkpoint::new(job));
        let mut out = std::io::stdout().lock();
        if checkpoint.done {
            writeln!(out, "This import into {system} is complete: {}.", checkpoint.counts)?;
            writeln!(out, "Do it again with --restart.")?;
            return Ok(ended(&checkpoint.counts));
        }
        // Before the first write: what is wrong with the file as a whole is found, and the import's
        // name is on the disk.
        let input = Input::open(file, format, checkpoint.place)?;
        let report = self.beside(self.rejects.as_deref(), "rejects.csv");
        let rejects = Rejects::open(report, checkpoint.rejects_bytes)?;
        checkpoint.write(&checkpoint_path)?;

        let begin = Instant::now();
        let before = checkpoint.counts;
        let writer = Writer::new(
            store,
            &checkpoint.import_id,
            self.on_duplicate,
            self.parallel,
            Duration::from_secs(self.give_up_after),
        );
        let mut run = Run {
            progress: Progress::new(size, &system, &checkpoint, resumed),
            checkpoint,
            checkpoint_path,
            rejects,
            writer: Arc::new(writer),
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            ticks: tokio::time::interval_at((begin + LINE_EVERY).into(), LINE_EVERY),
        };
        if let Some(signal) = run.chunks(input).await? {
            run.progress.bar.abandon();
            writeln!(std::io::stderr().lock(), "{}", resume(&run.checkpoint_path))?;
            return Ok(Ended::Interrupted(signal));
        }
        run.progress.bar.finish_and_clear();
        let counts = run.checkpoint.counts;
        let seconds = begin.elapsed().as_secs_f64();
        let records = counts.total() - before.total();
        writeln!(out, "{counts} into {system}.")?;
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = records as f64 / seconds.max(0.001);
        writeln!(out, "{records} records in {seconds:.1} s, {rate:.0} a second.")?;
        if counts.rejected > 0 {
            writeln!(out, "Rejected records: {}", run.rejects.path.display())?;
        }
        Ok(ended(&counts))
    }

    fn format(&self) -> Result<Format> {
        let extension = self.file.extension().and_then(|extension| extension.to_str());
        match (self.format, extension.map(str::to_ascii_lowercase).as_deref()) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Format::Csv),
            (None, Some("jsonl" | "ndjson")) => Ok(Format::Jsonl),
            _ => bail!("{} ends with neither .csv nor .jsonl: give --format", self.file.display()),
        }
    }

    /// A file beside the input, where no other is given.
    fn beside(&self, given: Option<&Path>, extension: &str) -> PathBuf {
        given.map_or_else(
            || {
                let mut name = self.file.clone().into_os_string();
                name.push(".");
                name.push(extension);
                name.into()
            },
            Path::to_owned,
        )
    }
}

/// An import under way.
struct Run {
    checkpoint: Checkpoint,
    checkpoint_path: PathBuf,
    rejects: Rejects,
    progress: Progress,
    writer: Arc<Writer>,
    interrupt: Signal,
    terminate: Signal,
    ticks: Interval,
}

impl Run {
    /// Writes chunk after chunk; the number of a signal that ended it before the end.
    async fn chunks(&mut self, mut input: Input) -> Result<Option<u8>> {
        let mut reading = read(input);
        loop {
            let chunk;
            (input, chunk) = reading.await?;
            let Chunk { records, end, failure } = chunk;
            reading = read(input);
            let lines: Vec<u64> = records.iter().map(|record| record.line).collect();
            let (outcomes, signal) = self.write(records).await?;
            // A second signal: the chunk is written again when the import goes on.
            let Some(outcomes) = outcomes else { return Ok(signal) };
            self.checkpoint.done = lines.is_empty() && failure.is_none();
            self.settle(&lines, &outcomes, end)?;
            match failure {
                Some(failure) => return Err(failure.context("mend the file and begin anew with --restart")),
                None if self.checkpoint.done => return Ok(None),
                None if signal.is_some() => return Ok(signal),
                None => {}
            }
        }
    }

    /// Writes a chunk; a signal lets it finish, a second one does not.
    async fn write(&mut self, records: Vec<Record>) -> Result<(Option<Vec<Outcome>>, Option<u8>)> {
        let (progress, writer) = (&self.progress, &self.writer);
        let count = |bytes| progress.add(bytes, writer.pace.limit());
        let mut writing = std::pin::pin!(writer.write(records, &count));
        let mut signal = None;
        loop {
            let number = tokio::select! {
                outcomes = &mut writing => {
                    let outcomes = outcomes.with_context(|| resume(&self.checkpoint_path))?;
                    return Ok((Some(outcomes), signal));
                }
                _ = self.ticks.tick() => {
                    progress.line();
                    continue;
                }
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
            };
            if signal.is_some() {
                return Ok((None, signal));
            }
            signal = u8::try_from(number.as_raw_value()).ok();
        }
    }

    /// Counts what became of a chunk, reports what was rejected, and moves the checkpoint behind it.
    fn settle(&mut self, lines: &[u64], outcomes: &[Outcome], end: Place) -> Result<()> {
        let counts = &mut self.checkpoint.counts;
        for (line, outcome) in lines.iter().zip(outcomes) {
            match outcome {
                Outcome::Imported => counts.imported += 1,
                Outcome::Updated => counts.updated += 1,
                Outcome::Duplicate => counts.duplicates += 1,
                Outcome::Rejected(rejection) => {
                    counts.rejected += 1;
                    self.rejects.add(*line, &rejection.field, &rejection.reason)?;
                }
            }
        }
        self.checkpoint.place = end;
        self.checkpoint.rejects_bytes = self.rejects.sync()?;
        self.checkpoint.write(&self.checkpoint_path)?;
        self.progress.settle(end.offset, self.checkpoint.counts);
        Ok(())
    }
}

fn ended(counts: &Counts) -> Ended {
    if counts.rejected > 0 { Ended::WithRejects } else { Ended::Complete }
}

fn resume(checkpoint: &Path) -> String {
    format!("progress is in {}; run the same command again to go on", checkpoint.display())
}

/// Reads the next chunk while the last one is written.
fn read(mut input: Input) -> tokio::task::JoinHandle<(Input, Chunk)> {
    tokio::task::spawn_blocking(move || {
        let chunk = input.chunk(CHUNK_RECORDS);
        (input, chunk)
    })
}

/// The report of rejected records; there is none as long as there are none.
struct Rejects {
    path: PathBuf,
    file: Option<csv::Writer<File>>,
}

impl Rejects {
    /// Goes on behind what the checkpoint knows of.
    fn open(path: PathBuf, bytes: u64) -> Result<Self> {
        let problem = || format!("can't write the report {}", path.display());
        if bytes == 0 {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).with_context(problem)
                }
                _ => Ok(Self { path, file: None }),
            };
        }
        let mut file = File::options().write(true).open(&path).with_context(problem)?;
        if file.metadata().with_context(problem)?.len() < bytes {
            bail!("{} is not the report that this import began; begin anew with --restart", path.display());
        }
        file.set_len(bytes).with_context(problem)?;
        file.seek(SeekFrom::End(0)).with_context(problem)?;
        Ok(Self { path, file: Some(csv::Writer::from_writer(file)) })
    }

    fn add(&mut self, line: u64, field: &str, reason: &str) -> Result<()> {
        let problem = || format!("can't write the report {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = csv::Writer::from_writer(File::create(&self.path).with_context(problem)?);
                file.write_record(["line", "field", "reason"]).with_context(problem)?;
                none.insert(file)
            }
        };
        file.write_record([&line.to_string(), field, reason]).with_context(problem)
    }

    /// Brings it to the disk; its length.
    fn sync(&mut self) -> Result<u64> {
        let Some(file) = &mut self.file else { return Ok(0) };
        file.flush()?;
        file.get_ref().sync_data()?;
        Ok(file.get_ref().metadata()?.len())
    }
}

/// What people see on standard error while they wait.
struct Progress {
    bar: ProgressBar,
    size: u64,
    begin: Instant,
    first: u64,
    at: AtomicU64,
    records: AtomicU64,
    counts: Mutex<Counts>,
    is_terminal: bool,
}

impl Progress {
    fn new(size: u64, system: &str, checkpoint: &Checkpoint, resumed: bool) -> Self {
        let verb = if resumed { "Goes on importing" } else { "Imports" };
        let from = if resumed { format!(" from line {}", checkpoint.place.line + 1) } else { String::new() };
        let _ = writeln!(std::io::stderr().lock(), "{verb} into {system}{from}.");
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(size), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}%  {msg}  {eta} left") {
            bar.set_style(style);
        }
        bar.set_position(checkpoint.place.offset);
        bar.reset_eta();
        Self {
            bar,
            size,
            begin: Instant::now(),
            first: checkpoint.place.offset,
            at: AtomicU64::new(checkpoint.place.offset),
            records: AtomicU64::new(0),
            counts: Mutex::new(checkpoint.counts),
            is_terminal,
        }
    }

    fn add(&self, bytes: u64, parallel: usize) {
        self.at.fetch_add(bytes, Ordering::Relaxed);
        let records = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_terminal && records.is_multiple_of(50) {
            self.bar.set_position(self.at.load(Ordering::Relaxed));
            self.bar.set_message(format!("{:.0} records/s, {parallel} batches at once", self.rate()));
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(&self) -> f64 {
        self.records.load(Ordering::Relaxed) as f64 / self.begin.elapsed().as_secs_f64().max(0.001)
    }

    fn settle(&self, offset: u64, counts: Counts) {
        self.at.store(offset, Ordering::Relaxed);
        self.bar.set_position(offset);
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// For logs: a line now and then.
    #[allow(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn line(&self) {
        if self.is_terminal {
            return;
        }
        let (at, elapsed) = (self.at.load(Ordering::Relaxed), self.begin.elapsed().as_secs_f64());
        let speed = (at - self.first.min(at)) as f64 / elapsed.max(0.001);
        let left = (self.size - at.min(self.size)) as f64 / speed.max(1.0);
        let counts = *self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let percent = at as f64 * 100.0 / self.size.max(1) as f64;
        let _ = writeln!(
            std::io::stderr().lock(),
            "{percent:.0} %, {:.0} records/s, {left:.0} s left: {counts}",
            self.rate()
        );
    }
}
