//! Runs given inputs through the fuzz targets, without searching for more: see `run.sh`.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use fuzz::{Run, TARGETS};
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What takes longer than this with one input is a finding: it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs each file of DIRECTORY/TARGET through its fuzz target
#[derive(Parser)]
struct Arguments {
    /// Holds a directory of inputs for each target
    directory: PathBuf,
    /// The targets; all by default
    targets: Vec<String>,
}

struct Input {
    target: &'static str,
    run: Run,
    path: PathBuf,
}

/// What a worker says.
enum Said {
    Begins { worker: usize, path: PathBuf },
    Ended { worker: usize, target: &'static str, finding: Option<String> },
    Failed(anyhow::Error),
}

fn main() -> Result<ExitCode> {
    let Arguments { directory, targets } = Arguments::parse();
    if let Some(unknown) = targets.iter().find(|target| TARGETS.iter().all(|(name, _)| name != target)) {
        bail!("there is no target {unknown}; there are {:?}", TARGETS.map(|(name, _)| name));
    }
    let mut inputs = Vec::new();
    for (target, run) in TARGETS {
        if targets.is_empty() || targets.iter().any(|name| name == target) {
            let paths = files(&directory.join(target))?;
            inputs.extend(paths.into_iter().map(|path| Input { target, run, path }));
        }
    }
    let total = inputs.len();
    let inputs = Mutex::new(inputs.into_iter());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (say, said) = channel();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (say, inputs) = (say.clone(), &inputs);
            scope.spawn(move || work(worker, inputs, &say));
        }
        drop(say);
        let mut under_way: Vec<Option<(PathBuf, Instant)>> = vec![None; workers];
        loop {
            match said.recv_timeout(Duration::from_secs(1)) {
                Ok(Said::Begins { worker, path }) => under_way[worker] = Some((path, Instant::now())),
                Ok(Said::Ended { worker, target, finding }) => {
                    under_way[worker] = None;
                    let (run, found) = counts.entry(target).or_default();
                    *run += 1;
                    if let Some(finding) = finding {
                        *found += 1;
                        println!("{target}: A FINDING: {finding}");
                    }
                }
                Ok(Said::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let hangs = under_way.iter().flatten().find(|(_, begun)| begun.elapsed() > PATIENCE);
            if let Some((path, _)) = hangs {
                // Its thread cannot be ended otherwise.
                println!("A FINDING: {} takes longer than {PATIENCE:?}: {}", path.display(), shown(path)?);
                std::process::exit(1);
            }
        }
    })?;
    for (target, (run, found)) in &counts {
        println!("{target:<10} {run:>6} inputs, {found} findings");
    }
    let (run, found) = counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    if run != total {
        bail!("{run} of {total} inputs were run");
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn work(worker: usize, inputs: &Mutex<impl Iterator<Item = Input>>, say: &Sender<Said>) {
    // A panic of a target is caught, so that nothing is poisoned. Sending fails where the main thread has gone.
    let next = || inputs.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(Input { target, run, path }) = next() {
        let _ = say.send(Said::Begins { worker, path: path.clone() });
        let ended = fs::read(&path).with_context(|| format!("can't read {}", path.display()));
        let ended = ended.map(|data| {
            let failed = catch_unwind(AssertUnwindSafe(|| run(&data))).is_err();
            failed.then(|| format!("{} {}", path.display(), STANDARD.encode(&data)))
        });
        let _ = say.send(match ended {
            Ok(finding) => Said::Ended { worker, target, finding },
            Err(error) => Said::Failed(error),
        });
    }
}

/// The files of a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("can't read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(failed)?;
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().with_context(failed)?;
    paths.sort();
    if paths.is_empty() {
        bail!("{} is empty", directory.display());
    }
    Ok(paths)
}

fn shown(path: &Path) -> Result<String> {
    Ok(STANDARD.encode(fs::read(path)?))
}
