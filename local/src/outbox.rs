//! Registration emails as files: what SES would get, where any mail program opens it.

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use registration_email::{Mail, MailError, Mailer};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder of `.eml` files, one a client: an email that is sent again takes the place of the first.
#[derive(Clone, Debug)]
pub struct Outbox {
    directory: PathBuf,
}

impl Outbox {
    /// The outbox of a data directory.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let directory = data_dir.join("outbox");
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("can't create {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whole or not at all, for a process that is killed; not for a machine that loses power, which
    /// would cost each email a wait for the disk.
    fn write(&self, mail: &Mail) -> Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&mail.message)?;
        file.persist(self.directory.join(format!("{}.eml", mail.key)))?;
        Ok(())
    }

    /// Takes all emails out.
    ///
    /// # Errors
    /// A file can't be deleted.
    pub fn empty(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "eml") {
                std::fs::remove_file(&path).with_context(|| format!("can't delete {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl Mailer for Outbox {
    fn send<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), MailError>> {
        Box::pin(async move {
            self.write(mail).map_err(|_| MailError::Failed("outbox can't be written to".into()))
        })
    }
}
