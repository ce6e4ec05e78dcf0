//! What the functions share: the model, authentication, the store, the HTTP edge, logs and
//! configuration. It knows no routes; those are in `template.yaml`, one function each.
//!
//! | module | holds |
//! | --- | --- |
//! | [`secret`] | identification tokens in plain text, and their digests |
//! | [`model`] | domain types, parsed at the edge; knows neither HTTP nor DynamoDB |
//! | [`activity`] | when tokens are used and refused |
//! | [`admin`] | what the admin endpoints have in common |
//! | [`auth`] | who may do what: the only place that decides it |
//! | [`cursor`] | places to go on from |
//! | [`store`] | every key and access pattern; the only place that speaks to DynamoDB |
//! | [`leads`] | the work of the two Leads endpoints |
//! | [`http`] | requests in, answers out, the two error envelopes |
//! | [`files`] | files that are built in, compressed and with entity tags |
//! | [`page`] | HTML pages for people, and their Content-Security-Policy |
//! | [`session`] | the session cookie |
//! | [`error`] | what can go wrong, and the status each turns into |
//! | [`telemetry`] | one JSON log line a request |
//! | [`config`] | the environment variables a function reads |

pub mod activity;
pub mod admin;
pub mod auth;
pub mod config;
pub mod cursor;
pub mod error;
pub mod files;
pub mod http;
pub mod leads;
pub mod model;
pub mod page;
#[cfg(test)]
mod properties;
pub mod secret;
pub mod session;
pub mod store;
pub mod telemetry;

pub use config::Config;
pub use error::ApiError;

use activity::Activity;
use auth::Authenticator;
use config::TradersRoom;
use lambda_http::request::LambdaRequest;
use lambda_http::{LambdaEvent, Service};
use store::Store;

/// What one running instance of a function holds between invocations: clients and caches.
#[derive(Debug)]
pub struct App {
    /// Every read and write.
    pub store: Store,
    /// Tokens, roles and permissions.
    pub auth: Authenticator,
    /// When tokens are used and refused.
    pub activity: Activity,
    /// Settings of autologin and of sessions.
    pub traders_room: TradersRoom,
    /// Buckets read a moment ago.
    pub buckets: leads::Buckets,
    /// Who was served which leads a moment ago.
    pub served: leads::Served,
    /// Where pages of leads began.
    pub places: leads::Places,
}

impl App {
    /// Builds the instance's state; does no input or output.
    pub fn new(config: &Config) -> Self {
        let store = Store::new(config);
        Self {
            auth: Authenticator::new(store.clone()),
            activity: Activity::new(store.clone()),
            traders_room: config.traders_room.clone(),
            buckets: leads::Buckets::default(),
            served: leads::Served::default(),
            places: leads::Places::default(),
            store,
        }
    }
}

/// A DynamoDB that does not answer must not keep a function from starting: Lambda gives it ten seconds.
const WARM_UP_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Start-up of a deployed function: reads the environment, builds the state once, and serves
/// events on one thread until the platform ends the process.
///
/// # Errors
/// A missing or malformed environment variable, or a failure of the Lambda runtime itself.
pub fn serve<F, R>(function: &'static str, handler: F) -> Result<(), lambda_http::Error>
where
    F: Fn(std::sync::Arc<App>, lambda_http::Request) -> R,
    R: Future<Output = http::Response> + Send,
{
    let config = Config::from_env()?;
    let app = std::sync::Arc::new(App::new(&config));
    let warm_up = async {
        let _ = tokio::time::timeout(WARM_UP_MAX, app.auth.warm_up()).await;
    };
    run(function, config.log_level, warm_up, |request| handler(app.clone(), request))
}

/// As [`serve()`], of a function that is called without tokens, and may not read the roles.
///
/// # Errors
/// As [`serve()`].
pub fn serve_without_tokens<F, R>(function: &'static str, handler: F) -> Result<(), lambda_http::Error>
where
    F: Fn(std::sync::Arc<App>, lambda_http::Request) -> R,
    R: Future<Output = http::Response> + Send,
{
    let config = Config::from_env()?;
    let app = std::sync::Arc::new(App::new(&config));
    run(function, config.log_level, async {}, |request| handler(app.clone(), request))
}

/// As [`serve()`], of a function that needs no state: it gets no client for DynamoDB, and does not link
/// one.
///
/// # Errors
/// `LOG_LEVEL` is malformed, or the Lambda runtime itself failed.
pub fn serve_files<F, R>(function: &'static str, handler: F) -> Result<(), lambda_http::Error>
where
    F: Fn(lambda_http::Request) -> R,
    R: Future<Output = http::Response> + Send,
{
    run(function, config::log_level(|name| std::env::var(name).ok())?, std::future::ready(()), handler)
}

fn run<F, R>(
    function: &'static str,
    log_level: config::LogLevel,
    warm_up: impl Future<Output = ()>,
    handler: F,
) -> Result<(), lambda_http::Error>
where
    F: Fn(lambda_http::Request) -> R,
    R: Future<Output = http::Response> + Send,
{
    telemetry::init(function, log_level, telemetry::Output::Stdout);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        // Lambda gives the time before the first request more processor than the requests themselves.
        warm_up.await;
        let mut service = lambda_http::Adapter::from(lambda_http::service_fn(|request| {
            let answer = handler(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        }));
        lambda_http::lambda_runtime::run(lambda_http::service_fn(|mut event: LambdaEvent<LambdaRequest>| {
            http::encode_query(&mut event.payload);
            service.call(event)
        }))
        .await
    })
}
