//! Amazon SES, API v2.

use crate::{Mail, MailError, Mailer};
use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_sesv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, RawMessage};
use futures_util::future::BoxFuture;
use shared::Config;
use shared::config;
use shared::store::{credentials, error_code, http_client};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One email with all its attempts; shorter than a claim lasts. An answer that does not come is awaited all this time: SES
/// may have taken the email, and would take it again.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(14);
const ATTEMPTS: u32 = 3;

/// Sends emails through SES's API v2, as the role of the function.
#[derive(Debug)]
pub struct Ses {
    client: Client,
    from: String,
}

impl Ses {
    /// Builds the client from a function's environment; does no input or output.
    pub fn new(config: &Config) -> Self {
        Self::connect(&config.region, credentials(config), &config.mail)
    }

    /// Builds the client with any source of credentials; does no input or output.
    pub fn connect(region: &str, credentials: SharedCredentialsProvider, settings: &config::Mail) -> Self {
        let (endpoint, from) = (settings.endpoint.as_deref(), settings.from.clone());
        let mut builder = aws_sdk_sesv2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials)
            .http_client(http_client(endpoint))
            // By default all clients of a process share what they may spend on retries.
            .retry_partition(RetryPartition::custom("registration-email").build())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(Duration::from_millis(250)),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            );
        if let Some(endpoint) = endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(builder.build()), from }
    }
}

impl Mailer for Ses {
    fn send<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), MailError>> {
        Box::pin(async move {
            let message = RawMessage::builder().data(Blob::new(mail.message.clone())).build();
            let message = message.map_err(|_| MailError::Refused("request could not be built".into()))?;
            let sent = self
                .client
                .send_email()
                .from_email_address(&self.from)
                .destination(Destination::builder().to_addresses(&mail.to).build())
                .content(EmailContent::builder().raw(message).build())
                .send()
                .await;
            sent.map(drop).map_err(|error| self.judge(&error, &mail.to))
        })
    }
}

impl Ses {
    /// A rejection is also the answer where the sender, or in SES's sandbox the receiver, is not
    /// verified, or the account may not send.
    fn concerns_every_email(&self, text: &str, to: &str) -> bool {
        let names = |address: &str| {
            let address = address.to_lowercase();
            let words = text.split(|c: char| c.is_whitespace() || ",:<>".contains(c));
            words.map(|word| word.trim_end_matches('.')).any(|word| word == address)
        };
        let sender_domain = self.from.rsplit('@').next().unwrap_or_default();
        text.is_empty()
            || names(&self.from)
            || names(sender_domain)
            || ["suspended", "paused"].iter().any(|word| text.contains(word))
            || (text.contains("not verified") && !names(to))
    }

    /// What a failure means for this email and for others.
    fn judge<R>(&self, error: &SdkError<SendEmailError, R>, to: &str) -> MailError {
        let code = error_code(error);
        if matches!(error, SdkError::TimeoutError(_)) {
            return MailError::Unanswered(code);
        }
        let Some(refusal) = error.as_service_error() else { return MailError::Failed(code) };
        match refusal {
            SendEmailError::BadRequestException(_) => MailError::Refused(code),
            SendEmailError::MessageRejected(rejected) => {
                let text = rejected.message().unwrap_or_default().to_lowercase();
                if self.concerns_every_email(&text, to) {
                    MailError::Unavailable(code)
                } else {
                    MailError::Refused(code)
                }
            }
            SendEmailError::AccountSuspendedException(_)
            | SendEmailError::LimitExceededException(_)
            | SendEmailError::MailFromDomainNotVerifiedException(_)
            | SendEmailError::NotFoundException(_)
            | SendEmailError::SendingPausedException(_)
            | SendEmailError::TooManyRequestsException(_) => MailError::Unavailable(code),
            // The role's permissions and credentials, which concern every email.
            other if other.code().is_some_and(|code| code.contains("Denied") || code.contains("Token")) => {
                MailError::Unavailable(code)
            }
            _ => MailError::Failed(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sesv2::error::ErrorMetadata;
    use aws_sdk_sesv2::types::error::{BadRequestException, MessageRejected, TooManyRequestsException};

    fn ses() -> Ses {
        let config = Config::from_lookup(|name| match name {
            "MAIL_FROM" => Some("no-reply@mail.example.com".into()),
            "AWS_ENDPOINT_URL_SESV2" => Some("http://127.0.0.1:9".into()),
            name if name.starts_with("AWS_") || name.ends_with("_TABLE") => Some("x".into()),
            _ => None,
        });
        Ses::new(&config.unwrap())
    }

    #[test]
    fn only_what_concerns_the_one_email_is_refused_for_good() {
        let ses = ses();
        let judge = |error| ses.judge(&SdkError::<_, ()>::service_error(error, ()), "user@example.com");
        let rejected = |text: &str| {
            let meta = ErrorMetadata::builder().code("MessageRejected").message(text).build();
            judge(SendEmailError::MessageRejected(
                MessageRejected::builder().message(text).meta(meta).build(),
            ))
        };
        let unverified =
            "Email address is not verified. The following identities failed the check in region EU-WEST-1:";
        for text in [
            "",
            "Sending suspended for this account.",
            "Did not have authority to send from email no-reply@mail.example.com",
            &format!("{unverified} no-reply@mail.example.com"),
            &format!("{unverified} mail.example.com"),
            &format!("{unverified} Brand <no-reply@mail.example.com>, user@example.com"),
            &format!("{unverified} somebody@else.example"),
        ] {
            assert_eq!(rejected(text), MailError::Unavailable("MessageRejected".into()), "{text}");
        }
        for text in [&format!("{unverified} User@example.com."), "Email contains a virus."] {
            assert_eq!(rejected(text), MailError::Refused("MessageRejected".into()), "{text}");
        }
        let meta = |code: &str| ErrorMetadata::builder().code(code).build();
        let bad = BadRequestException::builder().meta(meta("BadRequestException")).build();
        assert_eq!(
            judge(SendEmailError::BadRequestException(bad)),
            MailError::Refused("BadRequestException".into())
        );
        let many = TooManyRequestsException::builder().meta(meta("TooManyRequestsException")).build();
        assert_eq!(
            judge(SendEmailError::TooManyRequestsException(many)),
            MailError::Unavailable("TooManyRequestsException".into())
        );
        for (code, expected) in [
            ("AccessDeniedException", MailError::Unavailable("AccessDeniedException".into())),
            ("ExpiredTokenException", MailError::Unavailable("ExpiredTokenException".into())),
            ("InternalFailure", MailError::Failed("InternalFailure".into())),
        ] {
            assert_eq!(judge(SendEmailError::generic(meta(code))), expected);
        }
        assert_eq!(
            ses.judge(&SdkError::<SendEmailError, ()>::timeout_error("late"), "user@example.com"),
            MailError::Unanswered("timeout".into())
        );
    }
}
