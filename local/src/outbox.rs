//! Registration emails as files: what SES would get, where any mail program opens it.

use crate::credentials;
use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use registration_email::{Mail, MailError, Mailer};
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
            credentials::write(&self.directory, &format!("{}.eml", mail.key), &mail.message)
                .map_err(|_| MailError::Failed("outbox can't be written to".into()))
        })
    }
}
