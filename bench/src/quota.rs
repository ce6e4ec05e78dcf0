//! Lambda's share of a processor: as much of one as there is memory, 1,769 MB for a whole one.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Memory that comes with a whole processor, in MB.
const WHOLE: usize = 1769;
/// How often the share is dealt out, in µs: Lambda's period.
const PERIOD: usize = 20_000;

/// A control group of the kernel that limits its processes; removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// A group with the share of this much memory, in MB.
    ///
    /// # Errors
    /// The kernel's control groups are not there, or are not this user's to make.
    pub(crate) fn new(memory: usize) -> Result<Self> {
        let share = PERIOD * memory / WHOLE;
        let name = format!("bench-{}-{memory}", std::process::id());
        // The first version of control groups has a tree for the processor, the second one tree for all.
        let first = Path::new("/sys/fs/cgroup/cpu");
        let is_first = first.join("cpu.cfs_quota_us").exists();
        let folder = if is_first { first } else { Path::new("/sys/fs/cgroup") }.join(name);
        std::fs::create_dir(&folder).context("control groups can't be made by this user")?;
        let quota = Self(folder);
        if is_first {
            quota.set("cpu.cfs_period_us", &PERIOD.to_string())?;
            quota.set("cpu.cfs_quota_us", &share.to_string())?;
        } else {
            quota.set("cpu.max", &format!("{share} {PERIOD}"))?;
        }
        Ok(quota)
    }

    /// Limits a process from now on.
    pub(crate) fn limit(&self, process: u32) -> Result<()> {
        self.set("cgroup.procs", &process.to_string())
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        std::fs::write(self.0.join(file), value).with_context(|| format!("{file} of a control group"))
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
