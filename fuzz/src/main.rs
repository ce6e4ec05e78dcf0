//! Runs given inputs through the fuzz targets, without searching for more: see `run.sh`. A panic is a finding, in
//! a task of a target too; so is what takes too long. What ends the whole process (a stack that is too deep, all memory)
//! leaves the inputs under way in a file each, named by `--under-way`.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use fuzz::{Run, TARGETS};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// Where each worker copies its input to before it runs it
    #[arg(long, value_name = "DIRECTORY")]
    under_way: Option<PathBuf>,
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

thread_local! {
    /// Whether something of this worker has panicked; its tasks run on its thread.
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

fn main() -> Result<ExitCode> {
    let Arguments { directory, targets, under_way } = Arguments::parse();
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
    let printed = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICKED.set(true);
        printed(panic);
    }));
    let counts = run_all(inputs, under_way)?;
    for (target, Count { run, findings }) in &counts {
        println!("{target:<10} {run:>6} inputs, {findings} findings");
    }
    let is_clean = counts.values().all(|count| count.findings == 0);
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    run: usize,
    findings: usize,
}

/// Runs the inputs on all processors, and prints what is found.
///
/// # Errors
/// An input could not be read. Ends the process where one takes too long: its thread cannot be ended otherwise.
fn run_all(inputs: Vec<Input>, under_way: Option<PathBuf>) -> Result<BTreeMap<&'static str, Count>> {
    let total = inputs.len();
    let inputs = Arc::new(Mutex::new(inputs.into_iter()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (say, said) = channel();
    for worker in 0..workers {
        let (say, inputs) = (say.clone(), inputs.clone());
        let copy = under_way.as_ref().map(|directory| directory.join(worker.to_string()));
        std::thread::spawn(move || work(worker, &inputs, copy.as_deref(), &say));
    }
    drop(say);
    let mut begun: Vec<Option<(PathBuf, Instant)>> = vec![None; workers];
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    loop {
        match said.recv_timeout(Duration::from_secs(1)) {
            Ok(Said::Begins { worker, path }) => begun[worker] = Some((path, Instant::now())),
            Ok(Said::Ended { worker, target, finding }) => {
                begun[worker] = None;
                let count = counts.entry(target).or_default();
                count.run += 1;
                if let Some(finding) = finding {
                    count.findings += 1;
                    println!("{target}: A FINDING: {finding}");
                }
            }
            Ok(Said::Failed(error)) => return Err(error),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some((path, _)) = begun.iter().flatten().find(|(_, begun)| begun.elapsed() > PATIENCE) {
            let data = STANDARD.encode(fs::read(path).unwrap_or_default());
            println!("A FINDING: {} takes longer than {PATIENCE:?}: {data}", path.display());
            std::process::exit(1);
        }
    }
    let run: usize = counts.values().map(|count| count.run).sum();
    if run != total {
        bail!("{run} of {total} inputs were run");
    }
    Ok(counts)
}

fn work(worker: usize, inputs: &Mutex<impl Iterator<Item = Input>>, copy: Option<&Path>, say: &Sender<Said>) {
    let next = || inputs.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(Input { target, run, path }) = next() {
        let read = || {
            let data = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
            if let Some(copy) = copy {
                fs::write(copy, &data).with_context(|| format!("can't write {}", copy.display()))?;
            }
            anyhow::Ok(data)
        };
        let data = match read() {
            Ok(data) => data,
            Err(error) => {
                let _ = say.send(Said::Failed(error));
                return;
            }
        };
        // Nobody listens any more where the main thread has ended.
        if say.send(Said::Begins { worker, path: path.clone() }).is_err() {
            return;
        }
        let has_panicked = catch_unwind(AssertUnwindSafe(|| run(&data))).is_err() | PANICKED.take();
        let finding = has_panicked.then(|| format!("{} {}", path.display(), STANDARD.encode(&data)));
        if say.send(Said::Ended { worker, target, finding }).is_err() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_is_found_wherever_it_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("input");
        fs::write(&path, "text").unwrap();
        let printed = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| PANICKED.set(true)));
        let in_a_task: Run = |_| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let _ = tokio::spawn(async { panic!("in a task") }).await;
            });
        };
        let runs: [(&str, Run); 3] =
            [("clean", |_| {}), ("panics", |_| panic!("at once")), ("task", in_a_task)];
        let inputs = runs.into_iter().cycle().take(30);
        let inputs = inputs.map(|(target, run)| Input { target, run, path: path.clone() }).collect();
        let counts = run_all(inputs, Some(directory.path().to_owned())).unwrap();
        std::panic::set_hook(printed);
        let expected = [("clean", 0), ("panics", 10), ("task", 10)];
        assert_eq!(counts, expected.map(|(target, findings)| (target, Count { run: 10, findings })).into());
        let copies = (0..1024).map(|worker| fs::read(directory.path().join(worker.to_string())));
        assert!(copies.flatten().any(|copy| copy == b"text"));
        let missing = vec![Input { target: "clean", run: |_| {}, path: directory.path().join("missing") }];
        assert!(run_all(missing, None).is_err());
    }
}
