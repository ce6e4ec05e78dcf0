//! Runs cases in turns and keeps what each took.

use crate::cpu;
use crate::runtime::{Process, Program};
use crate::works::{Case, Group};
use ::tests::proxy::Proxy;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How often warm processes take turns.
const ROUNDS: usize = 3;
/// Invocations of a process that are not counted: caches fill, connections are made.
const SKIPPED: usize = 10;
/// Invocations of a process under callgrind: what differs between the two is that of the difference.
const COUNTED: [usize; 2] = [10, 30];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) cold: usize,
    pub(crate) warm: usize,
}

/// What one case took.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// CPU to the first answer, in ms, of each process.
    pub(crate) cold_cpu: Vec<f64>,
    /// From the start of a process to its first answer, in ms.
    pub(crate) cold_wall: Vec<f64>,
    /// CPU of an invocation, in µs, of each round.
    pub(crate) warm_cpu: Vec<f64>,
    /// Of each invocation, in ms.
    pub(crate) latency: Vec<f64>,
    /// Most memory of a process, in MB.
    pub(crate) memory: f64,
    /// Rounds of calls to DynamoDB, and what they read.
    pub(crate) capacity: Option<(usize, f64)>,
}

/// A value that this part of the values is not above.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The value in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Gives each event that needs it a number of its own.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicUsize);

impl Numbers {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// A process that waits for its first event. Lambda starts it with a whole processor at least, and limits
    /// it from its first event on.
    fn start(case: &Case) -> Result<Process> {
        let mut process = Process::start(&case.program)?;
        if let Some((_, quota)) = &case.limit {
            process.idle()?;
            quota.limit(process.id())?;
        }
        Ok(process)
    }

    fn invoke(&self, process: &mut Process, case: &Case) -> Result<crate::runtime::Answer> {
        let answer = process.invoke(&case.event.text(self.next()))?;
        case.check.assert(&answer).with_context(|| case.label.clone())?;
        Ok(answer)
    }

    /// Measures all cases of a group, one process after the other in each round, so that whatever the machine
    /// does meanwhile meets them all.
    pub(crate) fn run(&self, group: &Group, counts: Counts) -> Result<Vec<Samples>> {
        let mut all: Vec<Samples> = group.cases.iter().map(|_| Samples::default()).collect();
        let cold = if group.cold { counts.cold } else { 0 };
        // Round 0 brings the files into the machine's cache.
        for round in 0..=cold {
            for at in turns(group.cases.len(), round) {
                let case = &group.cases[at];
                let mut process = Self::start(case)?;
                let answer = self.invoke(&mut process, case)?;
                if round > 0 {
                    all[at].cold_cpu.push(ms(answer.cpu));
                    all[at].cold_wall.push(ms(answer.since_start));
                }
            }
        }
        let each = (counts.warm / group.share / ROUNDS).max(3);
        for round in 0..ROUNDS {
            for at in turns(group.cases.len(), round) {
                let case = &group.cases[at];
                let mut process = Self::start(case)?;
                for _ in 0..SKIPPED {
                    self.invoke(&mut process, case)?;
                }
                let before = process.idle()?;
                for _ in 0..each {
                    let answer = self.invoke(&mut process, case)?;
                    all[at].latency.push(ms(answer.latency));
                }
                let used = process.idle()? - before;
                all[at].warm_cpu.push(ms(used) * 1000.0 / each as f64);
                all[at].memory = all[at].memory.max(cpu::peak_memory(process.id())?);
            }
        }
        Ok(all)
    }

    /// What an invocation that follows another one costs at DynamoDB; the least of a few, because a machine that
    /// stalls can only add rounds.
    pub(crate) async fn capacity(&self, case: &Case, engine: SocketAddr) -> Result<(usize, f64)> {
        let proxy = Proxy::start(engine).await;
        let mut program = case.program.clone();
        program.environment.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), proxy.endpoint());
        let mut process = Process::start(&program)?;
        let mut least = (usize::MAX, f64::INFINITY);
        for _ in 0..3 {
            tokio::task::block_in_place(|| self.invoke(&mut process, case))?;
            let event = case.event.text(self.next()).into_owned();
            // On a thread of its own: the proxy holds answers back, and releases them on this one. Begun
            // by the proxy, once it counts.
            let invocation = async move {
                let work = move || {
                    let answer = process.invoke(&event);
                    (process, answer)
                };
                tokio::task::spawn_blocking(work).await
            };
            let (ended, measured) = proxy.measure(invocation).await;
            let (returned, answer) = ended?;
            process = returned;
            case.check.assert(&answer?)?;
            if (measured.rounds, measured.read) < least {
                least = (measured.rounds, measured.read);
            }
        }
        Ok(least)
    }

    /// Instructions of an invocation, in millions, as callgrind counts them; its file, for
    /// `callgrind_annotate`, stays in the folder.
    pub(crate) fn instructions(&self, group: &Group, case: &Case, folder: &Path) -> Result<f64> {
        let file = folder.join(format!("callgrind.{}.{}", group.name, case.program.name));
        let mut totals = [0.0; COUNTED.len()];
        for (total, count) in totals.iter_mut().zip(COUNTED) {
            let arguments =
                ["--tool=callgrind".into(), format!("--callgrind-out-file={}", file.display()).into()];
            let program = Program {
                command: "valgrind".into(),
                arguments: arguments.into_iter().chain([case.program.command.clone()]).collect(),
                ..case.program.clone()
            };
            let mut process = Process::start(&program)?;
            for _ in 0..count {
                self.invoke(&mut process, case)?;
            }
            process.idle()?;
            process.terminate()?;
            let output = process.output()?;
            let collected = output.lines().find_map(|line| line.split("Collected :").nth(1));
            *total =
                collected.with_context(|| format!("callgrind tells no total:\n{output}"))?.trim().parse()?;
        }
        Ok((totals[1] - totals[0]) / (COUNTED[1] - COUNTED[0]) as f64 / 1e6)
    }
}

/// The order of a round: every other one goes backwards.
fn turns(cases: usize, round: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..cases).collect() } else { (0..cases).rev().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let values: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!((median(&values), quantile(&values, 0.99), quantile(&values, 1.0)), (50.0, 99.0, 99.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn every_other_round_goes_backwards() {
        assert_eq!((turns(3, 0), turns(3, 1)), (vec![0, 1, 2], vec![2, 1, 0]));
    }
}
