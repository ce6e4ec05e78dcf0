//! What a process has used so far.

use anyhow::{Context, Result};
use std::time::Duration;

/// CPU time of a process, user and system, of all its threads, ended ones included.
///
/// Its clock counts nanoseconds, where `/proc/PID/stat` counts ticks of 10 ms, more than a cold start takes.
///
/// # Errors
/// There is no such process.
#[cfg(target_os = "linux")]
pub(crate) fn time(process: u32) -> Result<Duration> {
    let process = nix::unistd::Pid::from_raw(i32::try_from(process)?);
    let clock = nix::time::clock_getcpuclockid(process)?;
    Ok(nix::time::clock_gettime(clock)?.into())
}

/// Only Linux tells the time of another process.
#[cfg(not(target_os = "linux"))]
pub(crate) fn time(_: u32) -> Result<Duration> {
    anyhow::bail!("only Linux tells the CPU time of another process")
}

/// Most memory that a process has had, in MB of 1024 × 1024 bytes.
///
/// # Errors
/// There is no such process.
pub(crate) fn peak_memory(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}
