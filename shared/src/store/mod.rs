//! Every read and write of the system. The tables and keys are in `docs/data-model.md`; what
//! each pattern may cost is checked at the wire by `tests/tests/capacity.rs`.
//!
//! | access pattern | call | rounds |
//! | --- | --- | --- |
//! | token by its digest | [`Store::token`]: `GetItem`, strongly consistent | 1 |
//! | token, with a bucket or a source beside it | [`Store::token_and_bucket`], [`Store::token_and_source`]: `BatchGetItem`, of the token strongly consistent | 1 |
//! | all roles | [`Store::roles`]: `Query` of one partition | 1 |
//! | bucket by id | [`Store::bucket`]: `GetItem` | 1 |
//! | leads by emails and ids | [`Store::leads_by_keys`]: `BatchGetItem`, 100 keys a call, all at once | 1 |
//! | totals and the place of an offset | [`Store::cells`], [`Store::seconds`]: `Query` of counters | 1 each |
//! | a page of a list | [`Store::page`]: `Query` of one index | 1 per MB |
//! | where a sign-up goes | [`Store::route`]: `GetItem` and `Query` at once; [`Store::open_bucket`]: `Query` | 1 |
//! | a sign-up | [`Store::sign_up`], [`Store::register`]: `TransactWriteItems` | 1 |
//! | a change of a client | [`Store::change_client`]: `TransactWriteItems` | 1 |
//! | tokens and roles, for administrators | [`Store::tokens`], [`Store::token_by_id`], [`Store::role`]; [`Store::create_token`], [`Store::delete_token`], [`Store::create_role`]: `TransactWriteItems` | 1 |
//! | buckets, for administrators | [`Store::buckets`], [`Store::stored_bucket`], [`Store::statuses`]; [`Store::create_bucket`], [`Store::change_bucket`], [`Store::delete_bucket`]: `TransactWriteItems` | 1; deleting 2 |
//! | clients, for administrators | [`Store::client`], [`Store::clients`], [`Store::newest`] | 1 or 2 |
//! | autologin and sessions | [`Store::create_link`]: `PutItem`; [`Store::link`], [`Store::session`]: `GetItem`; [`Store::use_link`]: `GetItem`, then `TransactWriteItems`; [`Store::end_session`]: `DeleteItem` | 1; using a link 2 |
//! | registration emails | [`Store::claim_mail`], then [`Store::settle_mail`] or [`Store::release_mail`]: `PutItem` | 1 each |
//! | use of tokens | [`Store::note_used`], [`Store::note_refused`]: `UpdateItem`; [`Store::activity`]: `BatchGetItem` | 1 |

mod access;
mod activity;
mod batch;
mod buckets;
mod change;
mod clients;
pub mod counters;
#[cfg(any(test, feature = "doors"))]
#[doc(hidden)]
pub mod doors;
mod item;
pub mod keys;
mod leads;
mod mails;
mod register;
mod sessions;
mod tally;
mod transaction;
mod wire;

pub use access::{Changed, CreateToken, DeleteRole, StoredRole, Tokens};
pub use buckets::{ChangeBucket, CreateBucket, DeleteBucket, StoredBuckets, bucket_items};
pub use change::ChangeClient;
pub use clients::client_items;
pub use item::Item;
pub use leads::{ListPlace, Newest, Order, Page, PlacedLead};
pub use mails::{CLAIM_SECONDS, ClaimMail, MailClaim, MailOutcome};
pub use register::{IdempotencyKey, Registered};
pub use sessions::{NewLink, NewSession, Session};

use crate::config::{Config, Tables};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use base64::Engine;
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use transaction::Sent;
use wire::{Action, Line, Number, Queried};

/// Longest a lost connection or a stalled answer may hold a request up before it is tried again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// The same of a DynamoDB without TLS: it is a developer's, and shares its processors with all that calls it.
const LOCAL_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// One call with all its attempts takes as long as four of them at most, and never longer than this. Deployed,
/// it is 6 s: the rounds of a request fit the 27 s that it has.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(25);
const ATTEMPTS: u32 = 5;

/// The six tables, through the official SDK. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    line: Arc<Line>,
    calls: Arc<Calls>,
    client: Arc<OnceLock<Client>>,
    tables: Arc<Tables>,
    spread: tally::Spread,
}

impl Store {
    /// Builds the client from a function's environment; does no input or output.
    pub fn new(config: &Config) -> Self {
        let endpoint = config.endpoint.as_deref();
        let attempt = config.attempt_timeout.unwrap_or(Self::attempt_timeout(endpoint));
        Self::connect_by(
            http_client(endpoint),
            &config.region,
            credentials(config),
            endpoint,
            &config.tables,
            attempt,
        )
    }

    /// How long an attempt of a call to this endpoint may take: 1.5 s, or 10 s without TLS.
    pub fn attempt_timeout(endpoint: Option<&str>) -> Duration {
        let is_local = endpoint.is_some_and(|url| url.starts_with("http://"));
        if is_local { LOCAL_ATTEMPT_TIMEOUT } else { ATTEMPT_TIMEOUT }
    }

    /// Builds the client with any source of credentials, such as an operator's profile; does no
    /// input or output.
    pub fn connect(
        region: &str,
        credentials: SharedCredentialsProvider,
        endpoint: Option<&str>,
        tables: &Tables,
    ) -> Self {
        let attempt = Self::attempt_timeout(endpoint);
        Self::connect_by(http_client(endpoint), region, credentials, endpoint, tables, attempt)
    }

    fn connect_by(
        http_client: SharedHttpClient,
        region: &str,
        credentials: SharedCredentialsProvider,
        endpoint: Option<&str>,
        tables: &Tables,
        attempt: Duration,
    ) -> Self {
        /// Stores of this process: each has a budget of retries of its own, as instances of functions do.
        static STORES: AtomicUsize = AtomicUsize::new(0);
        let line = Line {
            name: format!("dynamodb-{}", STORES.fetch_add(1, Ordering::Relaxed)),
            region: region.to_owned(),
            credentials,
            endpoint: endpoint.map(str::to_owned),
            http_client,
            retries: RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(Duration::from_millis(50))
                .with_max_backoff(Duration::from_secs(1)),
            timeouts: TimeoutConfig::builder()
                .connect_timeout(attempt * 2 / 3)
                .operation_attempt_timeout(attempt)
                .operation_timeout((attempt * 4).min(OPERATION_TIMEOUT))
                .build(),
        };
        Self {
            calls: Arc::new(Calls::new(&line)),
            line: Arc::new(line),
            client: Arc::default(),
            tables: Arc::new(tables.clone()),
            spread: tally::Spread::default(),
        }
    }

    /// A store whose counters are in the shard of a lane. Work that is done in lanes, one transaction
    /// at a time in each, does not meet itself on counters; there are as many lanes as shards
    /// ([`counters::SHARDS`]), and others begin with the first again.
    #[must_use]
    pub fn in_lane(&self, lane: u8) -> Self {
        Self { spread: self.spread.in_lane(lane), ..self.clone() }
    }

    /// The SDK's client, for what is called seldom. Built when it is first asked for: the functions that
    /// partners call most never do, and neither start nor carry it.
    pub fn sdk(&self) -> &Client {
        self.client.get_or_init(|| Client::from_conf(self.line.config()))
    }

    /// Physical names of the tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}

/// The calls that partners' requests are made of.
#[derive(Debug)]
struct Calls {
    get_item: Action<Option<Item>>,
    mixed: Action<batch::Mixed>,
    items: Action<Queried<Item>>,
    count: Action<Number>,
    update: Action<()>,
    transact: Action<Sent>,
    leads: Action<leads::Batch>,
    page: Action<leads::Rows>,
    slots: Action<Queried<leads::Slots>>,
    /// Of an item that is not there; where it is, nothing is done.
    put_new: Action<()>,
}

impl Calls {
    fn new(line: &Line) -> Self {
        Self {
            get_item: Action::new(line, "GetItem", wire::got_item),
            mixed: Action::new(line, "BatchGetItem", batch::Mixed::read),
            items: Action::new(line, "Query", wire::queried),
            count: Action::new(line, "Query", wire::number),
            update: Action::new(line, "UpdateItem", wire::done),
            transact: Action::with_outcomes(line, "TransactWriteItems", Sent::read, Sent::cancelled),
            leads: Action::new(line, "BatchGetItem", leads::Batch::read),
            page: Action::new(line, "Query", leads::Rows::read),
            slots: Action::new(line, "Query", leads::Slots::read),
            put_new: Action::with_outcomes(line, "PutItem", wire::done, wire::condition_failed),
        }
    }
}

/// The credentials of a function's environment, for AWS calls.
pub fn credentials(config: &Config) -> SharedCredentialsProvider {
    let given = &config.credentials;
    SharedCredentialsProvider::new(Credentials::new(
        &given.access_key_id,
        &given.secret_access_key,
        given.session_token.clone(),
        None,
        "environment",
    ))
}

/// The HTTP client that every AWS call goes through.
///
/// DynamoDB's endpoints chain to Amazon's own roots: trusting those few alone saves parsing the
/// machine's whole bundle at each cold start. Another https endpoint is judged by that bundle.
pub fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    if endpoint.is_some_and(|url| url.starts_with("http://")) {
        return builder.build_http();
    }
    let builder = builder.tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
    let context = match endpoint {
        Some(_) => None,
        None => TlsContext::builder().with_trust_store(amazon_roots()).build().ok(),
    };
    match context {
        Some(context) => builder.tls_context(context).build_https(),
        None => builder.build_https(),
    }
}

fn amazon_roots() -> TrustStore {
    const SUBJECTS: [&[u8]; 2] = [b"Amazon Root CA", b"Starfield Services Root Certificate Authority"];
    let is_amazons =
        |der: &&&[u8]| SUBJECTS.iter().any(|name| der.windows(name.len()).any(|part| part == *name));
    let ders = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::<[u8]>::as_ref).collect::<Vec<_>>();
    ders.iter().filter(is_amazons).fold(TrustStore::empty(), |store, der| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        store
            .with_pem_certificate(format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
    })
}

const MALFORMED: &str = "stored item is malformed";

/// A call that failed after all its retries, or an item that is not as it was written. Shows the
/// operation and DynamoDB's error code, never a key, an item or a table's name.
#[derive(Clone, Debug)]
pub struct StoreError {
    operation: &'static str,
    code: Cow<'static, str>,
}

impl StoreError {
    fn new(operation: &'static str, code: impl Into<Cow<'static, str>>) -> Self {
        Self { operation, code: code.into() }
    }

    /// Whether DynamoDB refused the call because of its rate.
    pub fn is_throttling(&self) -> bool {
        matches!(
            &*self.code,
            "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "ThrottlingException"
        ) || self.code.contains("Throttl")
    }

    /// Whether the call would be refused again: a mistake in who calls, or where.
    pub fn is_refusal(&self) -> bool {
        matches!(
            &*self.code,
            "AccessDeniedException"
                | "ExpiredTokenException"
                | "InvalidSignatureException"
                | "MissingAuthenticationTokenException"
                | "ResourceNotFoundException"
                | "UnrecognizedClientException"
                | "ValidationException"
        )
    }

    /// Whether what is stored could not be read.
    pub fn is_malformed(&self) -> bool {
        self.code == MALFORMED
    }

    /// Whether an item was not as a write asked.
    fn is_failed_condition(&self) -> bool {
        self.code == "ConditionalCheckFailedException"
    }

    /// Whether a transaction met another one under way.
    fn is_conflict(&self) -> bool {
        matches!(&*self.code, "TransactionInProgressException" | "TransactionConflictException")
    }

    /// Work that others kept undoing for as long as a request may take.
    pub fn outrun(operation: &'static str) -> Self {
        Self::new(operation, "outrun by other changes")
    }

    /// Work that a request's time was not enough for.
    pub(crate) fn late() -> Self {
        Self::new("request", "out of time")
    }

    /// The operating system's random source failed.
    pub fn random() -> Self {
        Self::new("random source", "failed")
    }

    /// What was stored, or built in, is not what was put there.
    pub fn malformed(what: &'static str) -> Self {
        Self::new(what, MALFORMED)
    }

    fn of<E: ProvideErrorMetadata, R>(operation: &'static str, error: &SdkError<E, R>) -> Self {
        Self { operation, code: error_code(error) }
    }
}

/// Why a call of an AWS service failed, for logs: the service's own code, or what became of the
/// connection.
pub fn error_code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Cow<'static, str> {
    match error {
        SdkError::ConstructionFailure(_) => "request could not be built".into(),
        SdkError::TimeoutError(_) => "timeout".into(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout".into(),
        SdkError::DispatchFailure(_) => "connection failed".into(),
        SdkError::ResponseError(_) => "answer could not be read".into(),
        other => other
            .as_service_error()
            .and_then(|error| error.code())
            .map_or("unknown".into(), |code| code.to_owned().into()),
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.code)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    #[test]
    fn amazons_roots_are_in_the_registry_crate() {
        let count = webpki_root_certs::TLS_SERVER_ROOT_CERTS
            .iter()
            .filter(|der| der.windows(14).any(|part| part == b"Amazon Root CA"))
            .count();
        assert_eq!(count, 4);
    }
}
