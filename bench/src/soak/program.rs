//! The local stack as a process of its own.

use crate::build;
use anyhow::{Context, Result, bail};
use local::credentials::{self, Credentials};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An end takes a few seconds; a machine that has much to do may need longer.
const END: Duration = Duration::from_secs(120);

/// How the check ends that could not be made.
const CHECK_FAILED: i32 = 1;
const CHECK_ATTEMPTS: u32 = 10;

/// The program: the one that is given, or this program's neighbour, which is built where it is not there.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let program = std::env::current_exe()?.with_file_name("local");
    if !program.is_file() {
        build::local()?;
    }
    if !program.is_file() {
        bail!("there is no {}; name the local stack's program with --program", program.display());
    }
    Ok(program)
}

/// A process; killed when it goes out of scope.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running stack.
#[derive(Debug)]
pub(crate) struct Running {
    program: PathBuf,
    process: Process,
    directory: PathBuf,
    pub(crate) credentials: Credentials,
}

impl Running {
    /// Starts a stack without demo data, and waits until it is ready.
    pub(crate) fn start(program: &Path, directory: &Path, options: &[String]) -> Result<Self> {
        let log = std::fs::File::create(directory.join("stack.log"))?;
        let child = Command::new(program)
            .args(["serve", "--port", "0", "--no-demo-data", "--log", "error"])
            .arg("--data-dir")
            .arg(directory)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can't be started", program.display()))?;
        let mut process = Process(child);
        let mut lines = BufReader::new(process.0.stdout.take().context("no output")?);
        let mut line = String::new();
        while !line.starts_with("Ready") {
            line.clear();
            if lines.read_line(&mut line)? == 0 {
                bail!("the stack ended while it started: {}", tail(directory));
            }
        }
        let credentials = credentials::read(directory, "credentials.json")?.context("no credentials.json")?;
        Ok(Self { program: program.to_owned(), process, directory: directory.to_owned(), credentials })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.credentials.base_url.trim_start_matches("http://").to_owned()
    }

    /// Imports a file of clients, of which none may be rejected.
    pub(crate) fn import(&self, file: &Path) -> Result<()> {
        let output = self.command("import").arg(file).output()?;
        if !output.status.success() {
            bail!("the import failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// What it logged last.
    pub(crate) fn log(&self) -> String {
        tail(&self.directory)
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    pub(crate) async fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.process.0.id())?), Signal::SIGTERM)?;
        let begun = Instant::now();
        loop {
            match self.process.0.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the stack ended with {status}: {}", self.log()),
                None if begun.elapsed() > END => bail!("the stack does not end"),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).arg("--data-dir").arg(&self.directory);
        command
    }
}

/// Whether all tables of a stack that has ended agree, and the report.
pub(crate) fn check(program: &Path, directory: &Path) -> Result<(bool, Value)> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let output = Command::new(program).args(["check", "--json", "--data-dir"]).arg(directory).output()?;
        let failed = output.status.code().is_none_or(|code| code == CHECK_FAILED);
        if failed && attempts < CHECK_ATTEMPTS {
            // A machine that has much else to do did not read a table in time.
            continue;
        }
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("the check told nothing: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        return Ok((
            output.status.success() && report["consistent"] == true && report["unsettled"] == 0,
            report,
        ));
    }
}

fn tail(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("stack.log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
