//! How far an import came, kept in a file that is whole at any moment.

use super::input::{Format, Place};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

/// Bytes of the input by which it is recognised, with its size.
const HEAD: u64 = 64 << 10;

/// What to do with a record whose email a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// Leave the client as it is
    Skip,
    /// Give the client the fields that the record has
    Update,
}

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) imported: u64,
    pub(super) updated: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
}

impl Counts {
    pub(super) fn total(&self) -> u64 {
        self.imported + self.updated + self.duplicates + self.rejected
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { imported, updated, duplicates, rejected } = self;
        write!(
            f,
            "{imported} imported, {updated} updated, {duplicates} duplicates skipped, {rejected} rejected"
        )
    }
}

/// The state of an import between two chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checkpoint {
    /// What is imported, and how; an import goes on with the same only.
    #[serde(flatten)]
    pub(super) job: Job,
    /// Names this import in the records it writes.
    pub(super) import_id: String,
    /// The first record that is not finished.
    #[serde(flatten)]
    pub(super) place: Place,
    /// What became of the records before.
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Length of the report of rejected records.
    pub(super) rejects_bytes: u64,
    /// Whether all records are finished.
    pub(super) done: bool,
}

/// What an import was asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    /// The system that it writes to.
    pub(super) system: String,
    pub(super) input_bytes: u64,
    pub(super) input_head_sha256: String,
    pub(super) format: Format,
    pub(super) on_duplicate: OnDuplicate,
}

impl Job {
    pub(super) fn new(
        system: &str,
        input: &mut File,
        format: Format,
        on_duplicate: OnDuplicate,
    ) -> Result<Self> {
        let mut head = Vec::new();
        Read::by_ref(input).take(HEAD).read_to_end(&mut head)?;
        input.rewind()?;
        let digest = Sha256::digest(&head);
        Ok(Self {
            system: system.to_owned(),
            input_bytes: input.metadata()?.len(),
            input_head_sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            format,
            on_duplicate,
        })
    }
}

impl Checkpoint {
    pub(super) fn new(job: Job) -> Self {
        Self {
            job,
            import_id: uuid::Uuid::new_v4().to_string(),
            place: Place::default(),
            counts: Counts::default(),
            rejects_bytes: 0,
            done: false,
        }
    }

    /// The checkpoint of this job; `None` where there is no file.
    pub(super) fn read(path: &Path, job: &Job) -> Result<Option<Self>> {
        let shown = path.display();
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("can't read the checkpoint {shown}"))?,
        };
        let not_one =
            || format!("{shown} is not a checkpoint of an import; choose another with --checkpoint");
        let found: Self = serde_json::from_slice(&text).with_context(not_one)?;
        let differs = if (found.job.input_bytes, &found.job.input_head_sha256)
            != (job.input_bytes, &job.input_head_sha256)
        {
            "the input has changed since"
        } else if found.job.system != job.system {
            "it was going to another system"
        } else if found.job != *job {
            "its --format or --on-duplicate was another"
        } else {
            return found.possible().map(Some).with_context(not_one);
        };
        bail!(
            "{shown} is of an import to {} that cannot go on: {differs}; give what it was begun with, or begin anew with --restart",
            found.job.system
        )
    }

    /// Refuses what no import writes: a place outside its input, or not as many records as lie before it.
    fn possible(self) -> Result<Self> {
        let Place { offset, line, record } = self.place;
        let Counts { imported, updated, duplicates, rejected } = self.counts;
        let counted = [imported, updated, duplicates, rejected].into_iter().try_fold(0, u64::checked_add);
        if offset > self.job.input_bytes || line > offset || record > offset || counted != Some(record) {
            bail!("its figures contradict each other");
        }
        Ok(self)
    }

    /// Writes the file: whole, or not at all.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let problem = || format!("can't write the checkpoint {}", path.display());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(directory).with_context(problem)?;
        writeln!(file, "{}", serde_json::to_string_pretty(self)?).with_context(problem)?;
        file.as_file().sync_all().with_context(problem)?;
        file.persist(path).with_context(problem)?;
        File::open(directory).and_then(|directory| directory.sync_all()).with_context(problem)
    }
}
