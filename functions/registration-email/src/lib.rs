//! Stream of the clients table → one registration email for each new client with `sendEmail`
//! (CONTRACT.md, section 3).
//!
//! Lambda delivers a stream's records at least once, in order, and repeats from the first one that
//! is reported as failed. A record of the expiring table tells which emails were sent, so that a
//! repeated stream record sends nothing. What the mail service refuses for good is written down
//! and not tried again, so that it does not hold the others up.

mod letter;
mod ses;
mod stream;

pub use letter::Letter;
pub use ses::Ses;
pub use stream::{Answer, Event, Failure, Record};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use lambda_runtime::{Context, LambdaEvent, service_fn};
use shared::Config;
use shared::config::{self, ConfigError};
use shared::model::ClientId;
use shared::store::{ClaimMail, MailClaim, MailOutcome, Store};
use shared::telemetry::{self, MailLine, MailStatus};
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Emails that are sent at the same time: SES lets a new account send 14 a second.
const AT_ONCE: usize = 5;
/// The longest that one email takes: SES's and DynamoDB's own time limits. None is begun later than
/// this before the platform ends the invocation.
const LONGEST: Duration = Duration::from_secs(26);
/// Lambda repeats a failed batch at once; this keeps it from hammering a service that is down.
const PAUSE: Duration = Duration::from_secs(1);

/// An email that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// A name of its own, the same whenever it is sent: plain ASCII letters, digits and dashes.
    pub key: String,
    /// The address that it goes to, in ASCII.
    pub to: String,
    /// The message with its headers (RFC 5322), lines ended by CRLF.
    pub message: Vec<u8>,
}

/// Why an email was not taken. The text is a code, without any address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailError {
    /// It will never be taken, and others may be.
    Refused(Cow<'static, str>),
    /// It was not taken this time.
    Failed(Cow<'static, str>),
    /// No email is taken at this time.
    Unavailable(Cow<'static, str>),
    /// Nobody knows whether it was taken.
    Unanswered(Cow<'static, str>),
}

/// What became of a client's email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Sent, sent or refused before, refused, or failed this time.
    pub status: MailStatus,
    /// Why it was refused or failed: a code, without any address.
    pub reason: Option<Cow<'static, str>>,
    /// No email is taken at this time, or none is answered.
    pub is_unavailable: bool,
    /// Nobody knows whether it was taken.
    pub is_unanswered: bool,
}

impl Outcome {
    fn of(status: MailStatus, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..Self::silent(status) }
    }

    fn silent(status: MailStatus) -> Self {
        Self { status, reason: None, is_unavailable: false, is_unanswered: false }
    }
}

/// What takes emails: SES in production, files on a developer's machine.
pub trait Mailer: fmt::Debug + Send + Sync {
    /// Hands an email over.
    ///
    /// # Errors
    /// It was not taken; where the service's answer was lost it may have been.
    fn send<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), MailError>>;
}

/// The function's state between invocations.
#[derive(Debug)]
pub struct RegistrationEmail {
    store: Store,
    letter: Letter,
    mailer: Box<dyn Mailer>,
}

impl RegistrationEmail {
    /// Builds the state; does no input or output.
    ///
    /// # Errors
    /// A setting of the emails is missing or malformed.
    pub fn new(store: Store, settings: &config::Mail, mailer: Box<dyn Mailer>) -> Result<Self, ConfigError> {
        Ok(Self { store, letter: Letter::new(settings)?, mailer })
    }

    /// Handles a batch of stream records, and reports those that are to be delivered again.
    pub async fn handle(&self, event: Event, context: &Context) -> Answer {
        // Local invocations have no deadline.
        let last_start = (context.deadline > 0).then(|| context.deadline().checked_sub(LONGEST)).flatten();
        let unavailable = AtomicBool::new(false);
        let (unavailable, request_id) = (&unavailable, context.request_id.as_str());
        let outcomes: Vec<(Record, bool)> = futures_util::stream::iter(event.records)
            .map(|record| async move {
                let is_late = last_start.is_some_and(|last| SystemTime::now() > last);
                let done = if is_late || unavailable.load(Ordering::Relaxed) {
                    !is_asked_for(&record)
                } else {
                    self.process(&record, request_id, unavailable).await
                };
                (record, done)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let failed = outcomes.into_iter().filter(|(_, done)| !done);
        let failed = failed.map(|(record, _)| Failure { item_identifier: record.change.sequence_number });
        Answer { batch_item_failures: failed.collect() }
    }

    /// Sends one record's email; `false` where it is to be delivered again.
    async fn process(&self, record: &Record, request_id: &str, unavailable: &AtomicBool) -> bool {
        if !is_asked_for(record) {
            return true;
        }
        let started = Instant::now();
        let client_id = record.text("id");
        let outcome = match (client_id, record.text("email"), record.text("firstName")) {
            (Some(id), Some(email), Some(first_name)) => {
                self.send_once(&ClientId::new(id), email, first_name, false).await
            }
            // Delivering it again would not make it better.
            _ => Outcome::of(MailStatus::Refused, "record is malformed"),
        };
        if outcome.is_unavailable {
            unavailable.store(true, Ordering::Relaxed);
        }
        telemetry::mail(&MailLine {
            request_id,
            client_id,
            outcome: outcome.status,
            reason: outcome.reason.as_deref(),
            duration_ms: started.elapsed(),
        });
        outcome.status != MailStatus::Failed
    }

    /// Sends a client's registration email, unless it was sent or, without `refused_too`, refused
    /// before.
    pub async fn send_once(
        &self,
        id: &ClientId,
        email: &str,
        first_name: &str,
        refused_too: bool,
    ) -> Outcome {
        let claim = match self.store.claim_mail(id, refused_too).await {
            Ok(ClaimMail::Claimed(claim)) => claim,
            Ok(ClaimMail::Settled) => {
                return Outcome::silent(MailStatus::Repeated);
            }
            Ok(ClaimMail::Busy) => {
                return Outcome::of(MailStatus::Failed, "another invocation is sending it");
            }
            Err(error) => return Outcome::of(MailStatus::Failed, error.to_string()),
        };
        let sent = match self.letter.to(id, email, first_name) {
            Ok(mail) => self.mailer.send(&mail).await,
            Err(error) => Err(error),
        };
        let (settled, outcome) = match sent {
            Ok(()) => (MailOutcome::Sent, Outcome::silent(MailStatus::Sent)),
            Err(MailError::Refused(ref code)) => {
                (MailOutcome::Refused(code), Outcome::of(MailStatus::Refused, code.clone()))
            }
            Err(MailError::Failed(code)) => return self.give_up(&claim, code, false).await,
            Err(MailError::Unavailable(code)) => return self.give_up(&claim, code, true).await,
            // The claim is kept to its end: a service that takes emails and answers none would get each one again at once.
            Err(MailError::Unanswered(code)) => {
                let failed = Outcome::of(MailStatus::Failed, code);
                return Outcome { is_unavailable: true, is_unanswered: true, ..failed };
            }
        };
        match self.store.settle_mail(&claim, &settled).await {
            Ok(()) => outcome,
            // Delivered again after the claim has ended, the record sends a second email: one too
            // many is better than one too few.
            Err(error) => Outcome::of(MailStatus::Failed, error.to_string()),
        }
    }

    /// Lets the email be tried again at once; otherwise the claim would have to end first.
    async fn give_up(&self, claim: &MailClaim, code: Cow<'static, str>, is_unavailable: bool) -> Outcome {
        let _ = self.store.release_mail(claim).await;
        Outcome { is_unavailable, ..Outcome::of(MailStatus::Failed, code) }
    }
}

/// Whether a record is a new client that asks for the email: what the template's filter lets
/// through.
fn is_asked_for(record: &Record) -> bool {
    record.event_name == "INSERT" && record.has_flag("sendEmail")
}

/// Start-up of the deployed function: reads the environment, builds the state once, and serves
/// events on one thread until the platform ends the process.
///
/// # Errors
/// A missing or malformed environment variable, or a failure of the Lambda runtime itself.
pub fn serve(function: &'static str) -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env()?;
    telemetry::init(function, config.log_level, telemetry::Output::Stdout);
    let emails =
        Arc::new(RegistrationEmail::new(Store::new(&config), &config.mail, Box::new(Ses::new(&config)))?);
    let service = service_fn(move |event: LambdaEvent<Event>| {
        let emails = emails.clone();
        async move {
            let response = emails.handle(event.payload, &event.context).await;
            if !response.batch_item_failures.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(lambda_runtime::run(service))
}
