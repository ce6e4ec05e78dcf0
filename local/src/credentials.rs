//! What the running stack tells others through its data directory.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

/// `credentials.json`: what a developer, or a test, needs to call the stack. Mode 0600.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Where the stack answers.
    pub base_url: String,
    /// Token of the built-in role Administrator.
    pub admin_token: String,
    /// Token of the built-in role Partner, for the demo affiliates; absent without demo data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partner_token: Option<String>,
    /// Token of the built-in role Sign up; absent without demo data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signup_key: Option<String>,
    /// A demo bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<String>,
    /// The affiliate it belongs to.
    #[serde(rename = "affiliateID", skip_serializing_if = "Option::is_none")]
    pub affiliate_id: Option<String>,
    /// A source that is assigned to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
}

/// `stack.json`: what the `env` command needs to know of the running stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The DynamoDB that the stack uses.
    pub dynamodb_endpoint: String,
    /// Where the stack answers.
    pub base_url: String,
    /// The template's parameters that are set otherwise, by the functions' variables.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// Reads a file of the data directory; `None` where there is none.
///
/// # Errors
/// The file can't be read, or holds something else.
pub fn read<T: for<'de> Deserialize<'de>>(directory: &Path, name: &str) -> Result<Option<T>> {
    let path = directory.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}

/// Writes a file of the data directory whole or not at all, readable by its owner only.
///
/// # Errors
/// The directory can't be written to.
pub fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let problem = || format!("can't write {}", directory.join(name).display());
    // A temporary file has mode 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(directory).with_context(problem)?;
    file.write_all(text.as_bytes()).with_context(problem)?;
    file.as_file().sync_all().with_context(problem)?;
    file.persist(directory.join(name)).with_context(problem)?;
    Ok(())
}

/// As [`write()`], of a value in JSON.
///
/// # Errors
/// As [`write()`].
pub fn write_json<T: Serialize>(directory: &Path, name: &str, value: &T) -> Result<()> {
    write(directory, name, &format!("{}\n", serde_json::to_string_pretty(value)?))
}

impl Credentials {
    /// Puts the credentials in the place of `{{partnerToken}}` and its companions: the files in
    /// `events/` hold no tokens.
    pub fn fill(&self, text: &str) -> String {
        let fields = serde_json::to_value(self).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        fields.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value.as_str().unwrap_or_default())
        })
    }

    /// The same for a shell: `. credentials.env` sets `PARTNER_TOKEN` and its companions.
    pub fn to_shell(&self) -> String {
        let fields = [
            ("BASE_URL", Some(&self.base_url)),
            ("ADMIN_TOKEN", Some(&self.admin_token)),
            ("PARTNER_TOKEN", self.partner_token.as_ref()),
            ("SIGNUP_KEY", self.signup_key.as_ref()),
            ("BUCKET_ID", self.bucket_id.as_ref()),
            ("AFFILIATE_ID", self.affiliate_id.as_ref()),
            ("SOURCE_ID", self.source_id.as_ref()),
        ];
        fields.into_iter().filter_map(|(name, value)| Some(format!("{name}='{}'\n", value?))).collect()
    }
}
