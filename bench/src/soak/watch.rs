//! What the stack's process takes, second by second.

use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A moment of the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Seconds since the watch began.
    pub(crate) at: f64,
    /// Resident memory in MB.
    pub(crate) memory: f64,
    /// Open descriptors.
    pub(crate) descriptors: f64,
}

/// Looks at a process each second.
#[derive(Debug)]
pub(crate) struct Watch {
    begun: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(process: u32) -> Self {
        let (begun, samples) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
        let kept = samples.clone();
        let task = tokio::spawn(async move {
            loop {
                // One that cannot be read is one that has ended; its callers tell.
                if let Ok(sample) = sample(process, begun) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Self { begun, samples, task }
    }

    /// Seconds since the watch began.
    pub(crate) fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// What was seen between two moments.
    pub(crate) fn between(&self, from: f64, to: f64) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| (from..=to).contains(&sample.at)).copied().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn sample(process: u32, begun: Instant) -> Result<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
    Ok(Sample {
        at: begun.elapsed().as_secs_f64(),
        memory: kilobytes / 1024.0,
        descriptors: descriptors as f64,
    })
}

/// Growth by the minute, by least squares; 0 where there is too little to tell.
pub(crate) fn slope(samples: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    let number = samples.len() as f64;
    let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / number;
    let (at, value) = (mean(|sample| sample.at), mean(of));
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        above += (sample.at - at) * (of(sample) - value);
        below += (sample.at - at) * (sample.at - at);
    }
    if below > 0.0 { 60.0 * above / below } else { 0.0 }
}

/// The middle value of the first and of the last quarter.
pub(crate) fn ends(samples: &[Sample], of: fn(&Sample) -> f64) -> (f64, f64) {
    let values: Vec<f64> = samples.iter().map(of).collect();
    let quarter = values.len().div_ceil(4);
    let middle = |values: &[f64]| crate::measure::median(values);
    (middle(&values[..quarter]), middle(&values[values.len() - quarter..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_by_the_minute() {
        let samples: Vec<_> = (0..60)
            .map(f64::from)
            .map(|at| Sample { at, memory: 100.0 + at / 30.0, descriptors: 7.0 })
            .collect();
        assert!((slope(&samples, |sample| sample.memory) - 2.0).abs() < 1e-9);
        assert_eq!(slope(&samples, |sample| sample.descriptors), 0.0);
        assert_eq!(slope(&samples[..1], |sample| sample.memory), 0.0);
        let (first, last) = ends(&samples, |sample| sample.memory);
        assert!((last - first - 1.5).abs() < 0.1, "{first} {last}");
    }

    #[test]
    fn a_process_is_looked_at() {
        let sample = sample(std::process::id(), Instant::now()).unwrap();
        assert!(sample.memory > 1.0 && sample.descriptors > 2.0, "{sample:?}");
    }
}
