//! The environment variables that a function reads. `template.yaml` sets them.

use std::fmt;

/// A deployed function's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// AWS region (`AWS_REGION`).
    pub region: String,
    /// Credentials of the function's role (`AWS_ACCESS_KEY_ID` and its companions).
    pub credentials: Credentials,
    /// Another DynamoDB than the region's (`AWS_ENDPOINT_URL_DYNAMODB`).
    pub endpoint: Option<String>,
    /// Physical table names; a function whose policy gives it no access to a table has no name for it.
    pub tables: Tables,
    /// Origins of the Traders Room (`ORIGINS`, joined with commas), the first one being the
    /// default of autologin links (CONTRACT.md, section 3); empty: no links.
    pub origins: Vec<String>,
    /// Least severe level that is logged (`LOG_LEVEL`: `error`, `warn`, `info`).
    pub log_level: LogLevel,
}

/// Long- or short-lived AWS credentials. `Debug` is redacted.
#[derive(Clone)]
pub struct Credentials {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token of a role's credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// Physical names of the tables (`docs/data-model.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// `TOKENS_TABLE`
    pub tokens: String,
    /// `ROLES_TABLE`
    pub roles: String,
    /// `BUCKETS_TABLE`
    pub buckets: String,
    /// `CLIENTS_TABLE`
    pub clients: String,
    /// `EXPIRING_TABLE`: idempotency records, links and sessions.
    pub expiring: String,
    /// `ACTIVITY_TABLE`: when tokens were used and refused.
    pub activity: String,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Answers of 500.
    Error,
    /// Refusals.
    Warn,
    /// Every request.
    Info,
}

impl std::str::FromStr for LogLevel {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "error" => Self::Error,
            "warn" => Self::Warn,
            // There is nothing finer than a line a request.
            "info" | "debug" | "trace" => Self::Info,
            _ => {
                return Err(ConfigError { variable: "LOG_LEVEL", problem: "must be error, warn or info" });
            }
        })
    }
}

/// A missing or malformed environment variable.
#[derive(Debug)]
pub struct ConfigError {
    variable: &'static str,
    problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "environment variable {} {}", self.variable, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// A required variable is missing, or one is malformed.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads any source of variables; blank counts as missing.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let optional = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let required = |variable| optional(variable).ok_or(ConfigError { variable, problem: "is not set" });
        let table = |variable| optional(variable).unwrap_or_default();
        Ok(Self {
            region: required("AWS_REGION")?,
            credentials: Credentials {
                access_key_id: required("AWS_ACCESS_KEY_ID")?,
                secret_access_key: required("AWS_SECRET_ACCESS_KEY")?,
                session_token: optional("AWS_SESSION_TOKEN"),
            },
            endpoint: optional("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| optional("AWS_ENDPOINT_URL")),
            tables: Tables {
                tokens: required("TOKENS_TABLE")?,
                roles: required("ROLES_TABLE")?,
                buckets: table("BUCKETS_TABLE"),
                clients: table("CLIENTS_TABLE"),
                expiring: table("EXPIRING_TABLE"),
                activity: table("ACTIVITY_TABLE"),
            },
            origins: origins(&optional("ORIGINS").unwrap_or_default())?,
            log_level: optional("LOG_LEVEL").map_or(Ok(LogLevel::Info), |text| text.parse())?,
        })
    }
}

fn origins(text: &str) -> Result<Vec<String>, ConfigError> {
    let origins: Vec<String> =
        text.split(',').map(|origin| origin.trim().to_owned()).filter(|o| !o.is_empty()).collect();
    let valid = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@,\"".contains(&byte))
        })
    };
    if origins.iter().all(valid) {
        Ok(origins)
    } else {
        Err(ConfigError {
            variable: "ORIGINS",
            problem: "must be origins such as https://trade.example.com, joined with commas",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    const FULL: [(&str, &str); 6] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("TOKENS_TABLE", "t"),
        ("ROLES_TABLE", "r"),
        ("LOG_LEVEL", "WARN"),
    ];

    #[test]
    fn reads_what_is_set_and_leaves_the_rest_at_defaults() {
        let config = Config::from_lookup(lookup(&FULL)).unwrap();
        assert_eq!(config.tables.tokens, "t");
        assert_eq!(config.tables.clients, "");
        assert_eq!(config.log_level, LogLevel::Warn);
        assert_eq!(config.endpoint, None);
    }

    #[test]
    fn names_the_variable_that_is_missing_or_malformed() {
        for missing in 0..5 {
            let mut pairs = FULL;
            pairs[missing].1 = " ";
            let error = Config::from_lookup(lookup(&pairs)).unwrap_err().to_string();
            assert_eq!(error, format!("environment variable {} is not set", FULL[missing].0));
        }
        let mut pairs = FULL;
        pairs[5].1 = "loud";
        let error = Config::from_lookup(lookup(&pairs)).unwrap_err().to_string();
        assert_eq!(error, "environment variable LOG_LEVEL must be error, warn or info");
    }

    #[test]
    fn origins_have_a_scheme_and_a_host_and_no_path() {
        assert_eq!(origins("").unwrap(), Vec::<String>::new());
        assert_eq!(
            origins("https://a.example, http://localhost:3000").unwrap(),
            ["https://a.example", "http://localhost:3000"]
        );
        for text in [
            "a.example",
            "https://",
            "https://a.example/",
            "ftp://a.example",
            "https://a b",
            "https://u@a.example",
        ] {
            assert!(origins(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_credentials() {
        let config = Config::from_lookup(lookup(&FULL)).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }
}
