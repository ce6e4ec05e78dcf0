//! The API's description, as it is checked in under `docs/`.

use crate::credentials::Credentials;
use crate::demo;
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

/// How to write it.
#[derive(Args, Debug)]
pub struct Description {
    /// Where to write it
    #[arg(long, value_name = "DIR", default_value = "docs")]
    directory: PathBuf,
}

/// The files and their texts.
///
/// # Errors
/// None: the texts are made of this program's own types.
pub fn files() -> Result<Vec<(&'static str, String)>> {
    let whole = openapi::to_text(&openapi::document())?;
    let collection = openapi::postman::collection(&serde_json::from_str(&whole)?)?;
    let environment = environment(
        "WBCS",
        &Credentials {
            base_url: "http://127.0.0.1:3000".to_owned(),
            bucket_id: Some(demo::BUCKET.to_owned()),
            affiliate_id: Some(demo::AFFILIATE.to_owned()),
            source_id: Some(demo::SOURCE.to_owned()),
            ..Credentials::default()
        },
    )?;
    Ok(vec![
        ("openapi.json", whole),
        ("openapi-partner.json", openapi::to_text(&openapi::partner_document())?),
        ("wbcs.postman_collection.json", format!("{}\n", serde_json::to_string_pretty(&collection)?)),
        ("wbcs.postman_environment.json", environment),
    ])
}

/// A Postman environment with these credentials; those that are missing are empty.
///
/// # Errors
/// None: it holds texts only.
pub fn environment(name: &str, credentials: &Credentials) -> Result<String> {
    let values = [
        ("baseUrl", Some(credentials.base_url.as_str())),
        ("adminToken", Some(credentials.admin_token.as_str())),
        ("partnerToken", credentials.partner_token.as_deref()),
        ("signupKey", credentials.signup_key.as_deref()),
        ("bucketId", credentials.bucket_id.as_deref()),
        ("affiliateID", credentials.affiliate_id.as_deref()),
        ("sourceId", credentials.source_id.as_deref()),
    ];
    let environment = openapi::postman::environment(name, &values);
    Ok(format!("{}\n", serde_json::to_string_pretty(&environment)?))
}

impl Description {
    /// Writes the files.
    ///
    /// # Errors
    /// The directory can't be written to.
    pub fn run(&self) -> Result<()> {
        for (name, text) in files()? {
            let path = self.directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }
}
