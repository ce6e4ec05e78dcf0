//! `GET /console`, `GET /console/{path+}`: the web console, a single-page app over the admin API.
//!
//! All of it is built in, and the function reads no table: what the console shows it asks the API for, with the
//! token of whoever uses it. Scripts, styles and images lie in a folder named by a digest of them all, so that
//! they can be kept for ever and name each other by plain relative paths. Any other path is a page of the app.

use lambda_http::Request;
use lambda_http::http::header::{CACHE_CONTROL, HeaderValue};
use shared::config::ConfigError;
use shared::error::ApiError;
use shared::files::File;
use shared::http::{self, Answer, Envelope, Response};
use std::sync::Arc;

/// On every answer.
const HEADERS: [(&str, &str); 7] = [
    (
        // Nothing inline, nothing from elsewhere, and no script makes markup of text.
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         frame-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), clipboard-write=(self), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));
const SHELL: &str = include_str!(concat!(env!("OUT_DIR"), "/index.html"));
/// Names the folder of the files.
const DIGEST: &str = env!("ASSETS_DIGEST");

/// Where the list of sent emails is, on a stack that has one; the deployed one has none.
const EMAILS: &str = "CONSOLE_EMAILS";

/// What an instance holds.
#[derive(Debug)]
pub struct Console {
    shell: File,
}

impl Console {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// `CONSOLE_EMAILS` is malformed.
    pub fn from_env() -> Result<Self, lambda_http::Error> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads any source of variables; blank counts as missing.
    ///
    /// # Errors
    /// As [`Console::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, lambda_http::Error> {
        let emails = lookup(EMAILS).filter(|path| !path.trim().is_empty());
        if !emails.as_deref().is_none_or(is_path) {
            return Err(ConfigError::new(EMAILS, "must be a path such as /local/emails").into());
        }
        let shell = shell(emails.as_deref());
        Ok(Self { shell: File::made("shell", "text/html; charset=utf-8", shell.as_bytes())? })
    }

    fn answer(&self, request: &Request) -> Result<Answer, ApiError> {
        let path = http::rest(request, "path");
        let Some(asset) = path.strip_prefix("assets/") else {
            return Ok(self.shell.answer(request.headers())?.header("cache-control", "no-cache"));
        };
        let (digest, name) = asset.split_once('/').unwrap_or_default();
        let file = File::find(FILES, name).ok_or(ApiError::NotFound("There is no such file"))?;
        // A page of another deployment gets the file that there is now, and must not keep it by that name.
        let kept = if digest == DIGEST { "public, max-age=31536000, immutable" } else { "no-store" };
        Ok(file.answer(request.headers())?.header("cache-control", kept))
    }
}

/// Answers one request.
pub async fn handle(console: Arc<Console>, request: Request) -> Response {
    let mut response = http::respond(Envelope::Platform, &request, |request| console.answer(request));
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // An error is not to outlive its cause: a file may be there after the next deployment.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A path of this origin that can stand in an attribute as it is.
fn is_path(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(is_plain)
}

/// The page, with the path of the emails, or without the line that names it.
fn shell(emails: Option<&str>) -> String {
    const PLACEHOLDER: &str = "{emails}";
    let lines = SHELL.lines().filter(|line| emails.is_some() || !line.contains(PLACEHOLDER));
    lines.map(|line| line.replace(PLACEHOLDER, emails.unwrap_or_default()) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell_of(emails: Option<&str>) -> Result<String, String> {
        let lookup = |name: &str| emails.filter(|_| name == EMAILS).map(str::to_owned);
        let console = Console::from_lookup(lookup).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(console.shell.plain().unwrap()).unwrap())
    }

    #[test]
    fn the_shell_names_the_emails_where_there_are_some() {
        let with = shell_of(Some("/local/emails")).unwrap();
        assert!(with.contains("<meta name=\"wbcs-emails\" content=\"/local/emails\">\n"), "{with}");
        for none in [None, Some(""), Some(" ")] {
            let without = shell_of(none).unwrap();
            assert!(!without.contains("wbcs-emails"), "{without}");
            let line = with.lines().find(|line| line.contains("wbcs-emails")).unwrap();
            assert_eq!(with.replace(&format!("{line}\n"), ""), without);
        }
    }

    #[test]
    fn emails_are_at_a_path_that_is_safe_in_an_attribute() {
        for path in [
            "local/emails",
            "//evil.example/x",
            "https://evil.example",
            "/a\"b",
            "/a b",
            "/a<b",
            "/é",
            "/a&b",
        ] {
            assert_eq!(
                shell_of(Some(path)).unwrap_err(),
                "environment variable CONSOLE_EMAILS must be a path such as /local/emails"
            );
        }
    }

    #[test]
    fn the_shells_of_different_settings_have_different_tags() {
        let tag = |emails: Option<&str>| {
            let console = Console::from_lookup(|_| emails.map(str::to_owned)).unwrap();
            format!("{:?}", console.shell.answer(&Default::default()).unwrap())
        };
        assert_ne!(tag(None), tag(Some("/local/emails")));
    }

    #[test]
    fn no_placeholder_is_left_and_every_file_is_named() {
        let shell = shell_of(Some("/local/emails")).unwrap();
        for placeholder in ["{assets}", "{emails}"] {
            assert!(!shell.contains(placeholder), "{placeholder}");
        }
        for file in FILES {
            assert!(!file.plain().unwrap().is_empty(), "{}", file.name());
            assert!(
                shell.contains(&format!("\"/console/assets/{DIGEST}/{}\"", file.name())),
                "{}",
                file.name()
            );
        }
    }
}
