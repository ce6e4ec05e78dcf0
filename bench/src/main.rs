//! `cargo run -p bench --release`: builds the functions as they are deployed, runs their bootstraps against
//! a Lambda Runtime API of its own and an embedded DynamoDB, beside programs to compare them with, and
//! tells what each took.

mod build;
mod cpu;
mod data;
mod front;
mod guard;
mod measure;
mod quota;
mod report;
mod runtime;
mod soak;
mod throughput;
mod works;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use data::Data;
use front::Front;
use measure::{Counts, Numbers};
use report::Report;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measures the built functions as Lambda runs them: cold starts, invocations, memory, size.
#[derive(Debug, Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
    /// Fewer samples, of fewer leads: a look, not figures
    #[arg(long)]
    quick: bool,
    /// Measure these groups only, e.g. leads-100 sign-up
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = GROUPS)]
    only: Vec<String>,
    /// Processes of each program whose first answer is measured [default: 20; quick: 5]
    #[arg(long, value_name = "N")]
    cold: Option<usize>,
    /// Invocations of each program; of large works, a part of them [default: 600; quick: 90]
    #[arg(long, value_name = "N")]
    warm: Option<usize>,
    /// Leads in the bucket, 10,000 to 1,200,000 [default: 100000; quick: 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10_000..=1_200_000))]
    leads: Option<u32>,
    /// Count instructions as well, with valgrind; callgrind's files are left beside the table
    #[arg(long)]
    instructions: bool,
    /// Count instructions of the functions alone, and fail where they are more than bench/instructions.json says
    #[arg(long, conflicts_with_all = ["only", "instructions"])]
    check: bool,
    /// As --check, and write the figures to bench/instructions.json
    #[arg(long, conflicts_with_all = ["only", "instructions", "check"])]
    renew: bool,
    /// Measure these builds of the functions, e.g. target/lambda, in place of building them: a folder
    /// with leads, signup and token, or with a folder of each that holds its bootstrap
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// Where table.md and bench.svg go [default: bench in cargo's target directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Task {
    Soak(soak::Soak),
}

const GROUPS: [&str; 14] = [
    "leads-1",
    "leads-100",
    "leads-5000",
    "pages-100",
    "pages-5000",
    "sign-up",
    "tls",
    "refused",
    "token",
    "memory-leads-100",
    "memory-pages-100",
    "memory-leads-5000",
    "memory-sign-up",
    "local-stack",
];

fn main() -> std::process::ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Where the run is, for who waits for it.
fn tell(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn run(cli: &Cli) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("only Linux tells the CPU time of another process");
    }
    if let Some(Task::Soak(soak)) = &cli.command {
        let (text, failed) = soak.run()?;
        print(&text)?;
        return if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) };
    }
    let of = |given: Option<usize>, quick, full| given.unwrap_or(if cli.quick { quick } else { full }).max(1);
    let counts = Counts { cold: of(cli.cold, 5, 20), warm: of(cli.warm, 90, 600) };
    let guard = cli.check || cli.renew;
    let full = if guard { 10_000 } else { 100_000 };
    let leads = of(cli.leads.map(|leads| leads as usize), 10_000, full);
    let out = cli.out.clone().map_or_else(|| Ok(build::target()?.join("bench")), anyhow::Ok)?;
    std::fs::create_dir_all(&out)?;
    if cli.instructions || guard {
        build::found("valgrind")?;
    }

    tell("building the functions and what they are compared with");
    let built = build::all(cli.functions.as_deref(), guard)?;
    tell(&format!("loading {} leads", works::thousands(leads)));
    let directory = tempfile::tempdir_in(&out)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let data = runtime.block_on(Data::start(directory.path(), leads))?;
    let run = Run {
        cli,
        counts,
        built: &built,
        data: &data,
        directory: directory.path(),
        runtime: &runtime,
        out: &out,
    };
    if guard {
        let text = run.guard();
        runtime.block_on(data.stop());
        return print(&text?);
    }
    let report = run.measure();
    runtime.block_on(data.stop());

    let report = report?;
    let text = report.write(&out)?;
    print(&text)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// What is measured, and where.
struct Run<'a> {
    cli: &'a Cli,
    counts: Counts,
    built: &'a build::Built,
    data: &'a Data,
    directory: &'a Path,
    runtime: &'a tokio::runtime::Runtime,
    out: &'a Path,
}

impl Run<'_> {
    fn front(&self, delay: Duration) -> Result<Front> {
        self.runtime.block_on(Front::start(self.data.address()?, self.directory, delay))
    }

    fn guard(&self) -> Result<String> {
        let groups =
            works::groups(self.data, &self.built.programs(self.data)?, &self.front(Duration::ZERO)?)?;
        let figures = guard::count(&Numbers::default(), &groups, self.out)?;
        if self.cli.renew { guard::renew(&figures) } else { guard::compare(&figures) }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.cli.only.is_empty() || self.cli.only.iter().any(|only| only == name)
    }

    fn measure(&self) -> Result<Report> {
        let (front, far) = (self.front(Duration::ZERO)?, self.front(works::DYNAMODB)?);
        let mut groups = works::groups(self.data, &self.built.programs(self.data)?, &front)?;
        let mut report = Report {
            title: format!(
                "{} cold starts and {} invocations of each, of a bucket of {} leads.",
                self.counts.cold,
                self.counts.warm,
                works::thousands(self.data.leads)
            ),
            machine: build::machine(),
            skipped: self.built.skipped.clone(),
            ..Report::default()
        };
        match works::sizes(&groups, &far) {
            Ok(sizes) => groups.extend(sizes),
            Err(error) => report.skipped.push(format!("Memory sizes are left out: {error:#}")),
        }
        groups.retain(|group| self.is_wanted(group.name));
        for (name, file) in &self.built.bootstraps {
            let (file, package) = build::sizes(file)?;
            report.sizes.push((name, file, package));
        }
        let numbers = Numbers::default();
        for group in groups {
            tell(&format!("measuring {}", group.name));
            let mut samples = numbers.run(&group, self.counts).with_context(|| group.name)?;
            if group.capacity {
                for (case, samples) in group.cases.iter().zip(&mut samples) {
                    let measured = numbers.capacity(case, self.data.address()?);
                    samples.capacity = Some(self.runtime.block_on(measured)?);
                }
            }
            if self.cli.instructions && ["leads-100", "sign-up"].contains(&group.name) {
                for case in group.cases.iter().filter(|case| case.program.arguments.is_empty()) {
                    tell(&format!("counting instructions of {}, {}", group.name, case.label));
                    let millions = numbers.instructions(&group, case, self.out);
                    let millions = millions.with_context(|| case.label.clone())?;
                    report.instructions.push((group.name, case.label.clone(), millions));
                }
            }
            report.groups.push((group, samples));
            // What was measured is not lost with what comes after it.
            report.write(self.out)?;
        }
        if self.is_wanted("local-stack") {
            tell("measuring local-stack");
            let span = Duration::from_secs(if self.cli.quick { 1 } else { 4 });
            report.throughput = self.runtime.block_on(throughput::measure(self.data, span))?;
        }
        Ok(report)
    }
}
