//! The environment variables that a function reads. `template.yaml` sets them.

use std::fmt;
use std::time::Duration;

/// A deployed function's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// AWS region (`AWS_REGION`).
    pub region: String,
    /// Credentials of the function's role (`AWS_ACCESS_KEY_ID` and its companions).
    pub credentials: Credentials,
    /// Another DynamoDB than the region's (`AWS_ENDPOINT_URL_DYNAMODB`).
    pub endpoint: Option<String>,
    /// How long one attempt of a DynamoDB call may take (`DYNAMODB_ATTEMPT_TIMEOUT`, in milliseconds). Not
    /// set by the template; [`Store::attempt_timeout`](crate::store::Store::attempt_timeout) by default.
    pub attempt_timeout: Option<Duration>,
    /// Physical table names; a function whose policy gives it no access to a table has no name for it.
    pub tables: Tables,
    /// Autologin links, sessions and where they lead.
    pub traders_room: TradersRoom,
    /// What registration emails say, and through what they are sent.
    pub mail: Mail,
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

impl Tables {
    /// All names.
    pub fn names(&self) -> [&str; 6] {
        [&self.tokens, &self.roles, &self.buckets, &self.clients, &self.expiring, &self.activity]
    }
}

/// Settings of registration emails (CONTRACT.md, section 3: `sendEmail`). All empty in functions that
/// send none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// Address that they come from (`MAIL_FROM`).
    pub from: String,
    /// The brand that people registered with, which is the sender's name as well (`MAIL_BRAND`).
    pub brand: String,
    /// Where the email's button leads (`MAIL_LINK`): an http or https URL; empty: no button.
    pub link: String,
    /// Another SES than the region's (`AWS_ENDPOINT_URL_SESV2`).
    pub endpoint: Option<String>,
}

/// Settings of autologin and of sessions (CONTRACT.md, sections 3 and 4). Lifetimes are in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradersRoom {
    /// Origins of the Traders Room (`ORIGINS`, joined with commas), the first one being the
    /// default of autologin links; empty: no links.
    pub origins: Vec<String>,
    /// Where an autologin leads (`TRADERS_ROOM_URL`): a URL, or a path of the link's own origin.
    pub url: String,
    /// How long an autologin link is valid (`AUTOLOGIN_LIFETIME`).
    pub link_lifetime: u32,
    /// How long a session lasts without use (`SESSION_IDLE_LIFETIME`).
    pub idle_lifetime: u32,
    /// How long a session lasts at most (`SESSION_LIFETIME`).
    pub session_lifetime: u32,
}

impl TradersRoom {
    /// The built-in page.
    pub const BUILT_IN: &'static str = "/tradersroom";

    /// The origin of `url`, where it is not the link's own.
    pub fn foreign_origin(&self) -> Option<&str> {
        let host = self.url.find("://")? + 3;
        let end = self.url[host..].find(['/', '?', '#']).map_or(self.url.len(), |at| host + at);
        Some(&self.url[..end])
    }
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

impl ConfigError {
    /// What is wrong with a variable: "is not set".
    pub fn new(variable: &'static str, problem: &'static str) -> Self {
        Self { variable, problem }
    }
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
        let seconds = |variable, default| match optional(variable).map(|text| text.trim().parse()) {
            None => Ok(default),
            Some(Ok(seconds)) if seconds > 0 => Ok(seconds),
            Some(_) => Err(ConfigError { variable, problem: "must be a number of seconds, at least 1" }),
        };
        let attempt_timeout = optional("DYNAMODB_ATTEMPT_TIMEOUT").map(|text| {
            let millis = text.trim().parse().ok().filter(|millis| *millis > 0);
            let problem = "must be a number of milliseconds, at least 1";
            millis.ok_or(ConfigError { variable: "DYNAMODB_ATTEMPT_TIMEOUT", problem })
        });
        Ok(Self {
            region: required("AWS_REGION")?,
            credentials: Credentials {
                access_key_id: required("AWS_ACCESS_KEY_ID")?,
                secret_access_key: required("AWS_SECRET_ACCESS_KEY")?,
                session_token: optional("AWS_SESSION_TOKEN"),
            },
            endpoint: optional("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| optional("AWS_ENDPOINT_URL")),
            attempt_timeout: attempt_timeout.transpose()?.map(Duration::from_millis),
            tables: Tables {
                tokens: required("TOKENS_TABLE")?,
                roles: required("ROLES_TABLE")?,
                buckets: table("BUCKETS_TABLE"),
                clients: table("CLIENTS_TABLE"),
                expiring: table("EXPIRING_TABLE"),
                activity: table("ACTIVITY_TABLE"),
            },
            traders_room: TradersRoom {
                origins: origins(&optional("ORIGINS").unwrap_or_default())?,
                url: room_url(optional("TRADERS_ROOM_URL"))?,
                link_lifetime: seconds("AUTOLOGIN_LIFETIME", 600)?,
                idle_lifetime: seconds("SESSION_IDLE_LIFETIME", 30 * 60)?,
                session_lifetime: seconds("SESSION_LIFETIME", 12 * 3600)?,
            },
            mail: Mail {
                from: optional("MAIL_FROM").unwrap_or_default(),
                brand: optional("MAIL_BRAND").unwrap_or_default(),
                link: mail_link(optional("MAIL_LINK").unwrap_or_default())?,
                endpoint: optional("AWS_ENDPOINT_URL_SESV2").or_else(|| optional("AWS_ENDPOINT_URL")),
            },
            log_level: log_level(lookup)?,
        })
    }
}

/// `LOG_LEVEL`; blank counts as missing.
///
/// # Errors
/// It is none of the levels.
pub fn log_level(lookup: impl Fn(&str) -> Option<String>) -> Result<LogLevel, ConfigError> {
    let text = lookup("LOG_LEVEL").filter(|value| !value.trim().is_empty());
    text.map_or(Ok(LogLevel::Info), |text| text.parse())
}

/// A path of the same origin, or an http or https URL; printable, so that it can be a header and
/// its origin a part of a Content-Security-Policy.
fn room_url(given: Option<String>) -> Result<String, ConfigError> {
    let Some(url) = given else { return Ok(TradersRoom::BUILT_IN.to_owned()) };
    let is_path = url.starts_with('/') && !url.starts_with("//");
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let has_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#']));
    if (is_path || has_host) && url.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"'\\".contains(&byte))
    {
        Ok(url)
    } else {
        let problem = "must be a path such as /tradersroom or a URL such as https://trade.example.com/";
        Err(ConfigError { variable: "TRADERS_ROOM_URL", problem })
    }
}

fn mail_link(url: String) -> Result<String, ConfigError> {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let has_host = host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#']));
    if url.is_empty() || (has_host && url.bytes().all(|byte| byte.is_ascii_graphic())) {
        Ok(url)
    } else {
        Err(ConfigError {
            variable: "MAIL_LINK",
            problem: "must be a URL such as https://trade.example.com/",
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
    fn an_attempts_time_is_in_milliseconds() {
        let read = |value| {
            let pairs: Vec<_> = FULL.into_iter().chain([("DYNAMODB_ATTEMPT_TIMEOUT", value)]).collect();
            Config::from_lookup(lookup(&pairs))
                .map(|config| config.attempt_timeout)
                .map_err(|e| e.to_string())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" 1500 "), Ok(Some(Duration::from_millis(1500))));
        for wrong in ["0", "-1", "1.5", "1 s"] {
            let error =
                "environment variable DYNAMODB_ATTEMPT_TIMEOUT must be a number of milliseconds, at least 1";
            assert_eq!(read(wrong), Err(error.into()), "{wrong}");
        }
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
    fn a_traders_room_is_a_path_or_a_url_and_lifetimes_are_positive() {
        let read = |name, value| {
            let pairs: Vec<_> = FULL.into_iter().chain([(name, value)]).collect();
            Config::from_lookup(lookup(&pairs)).map(|config| config.traders_room).map_err(|e| e.to_string())
        };
        let room = read("ORIGINS", "").unwrap();
        assert_eq!((room.url.as_str(), room.foreign_origin()), ("/tradersroom", None));
        assert_eq!((room.link_lifetime, room.idle_lifetime, room.session_lifetime), (600, 1800, 43_200));
        for (url, origin) in [
            ("/welcome?a=1", None),
            ("https://trade.example.com", Some("https://trade.example.com")),
            ("https://trade.example.com:8443/in?x=/", Some("https://trade.example.com:8443")),
        ] {
            assert_eq!(read("TRADERS_ROOM_URL", url).unwrap().foreign_origin(), origin, "{url}");
        }
        for url in
            ["trade", "//evil.example", "javascript:alert(1)", "https://", "https:///x", "/a b", "/a;b"]
        {
            assert!(read("TRADERS_ROOM_URL", url).unwrap_err().starts_with("environment variable TRADERS_"));
        }
        assert_eq!(read("SESSION_LIFETIME", "60").unwrap().session_lifetime, 60);
        for text in ["0", "-1", "1h", "4294967296"] {
            assert_eq!(
                read("AUTOLOGIN_LIFETIME", text).unwrap_err(),
                "environment variable AUTOLOGIN_LIFETIME must be a number of seconds, at least 1"
            );
        }
    }

    #[test]
    fn an_emails_link_is_a_url() {
        let read = |link| {
            let pairs: Vec<_> = FULL.into_iter().chain([("MAIL_LINK", link)]).collect();
            Config::from_lookup(lookup(&pairs)).map(|config| config.mail.link).map_err(|e| e.to_string())
        };
        for link in ["", "https://trade.example.com/in?a=1&b=2", "http://127.0.0.1:3000/tradersroom/"] {
            assert_eq!(read(link).unwrap(), link);
        }
        for link in [
            "/tradersroom/",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://a b",
            "https://a\r\nb",
        ] {
            assert!(read(link).unwrap_err().starts_with("environment variable MAIL_LINK must"), "{link}");
        }
    }

    #[test]
    fn debug_does_not_show_credentials() {
        let config = Config::from_lookup(lookup(&FULL)).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }
}
