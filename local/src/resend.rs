//! `resend-emails`: registration emails that were given up.

use crate::target::{Opened, Target};
use anyhow::{Context, Result, bail};
use registration_email::{Outcome, RegistrationEmail};
use shared::model::{ClientId, Timestamp};
use shared::store::{Order, Store, keys};
use shared::telemetry::MailStatus;
use std::collections::BTreeMap;
use std::io::Write;

/// Clients read at once.
const PAGE: usize = 100;
const DAY_MILLIS: i64 = 86_400_000;
/// It is remembered for 30 days which emails were sent.
const DAYS_MAX: u32 = 29;

/// Arguments of `local resend-emails`.
#[derive(Debug, clap::Args)]
pub struct ResendEmails {
    /// How far back to look for clients: 1 to 29 days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX)))]
    days: u32,
    /// Try those again that SES refused, too
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    target: Target,
}

impl ResendEmails {
    /// Sends them, and prints how many were sent, had been sent before, and were refused.
    ///
    /// # Errors
    /// It is not known how the system sends emails, it can't be reached, or emails failed.
    #[tokio::main]
    pub async fn run(&self) -> Result<()> {
        let mut opened = self.target.open().await?;
        let done = self.resend(&mut opened).await;
        opened.close().await;
        done
    }

    async fn resend(&self, opened: &mut Opened) -> Result<()> {
        let emails = opened.emails.take();
        let emails =
            emails.context("it is not known how these tables' emails are sent: give --stack-name")?;
        let sender = RegistrationEmail::new(opened.store.clone(), &emails.settings, emails.mailer);
        let sender = sender.context(opened.description.clone())?;
        let since = Timestamp::now().millis() - i64::from(self.days) * DAY_MILLIS;
        let mut sum = Sum::default();
        let mut ended = Ok(());
        for list in keys::all_lists() {
            ended = self.resend_list(&opened.store, &sender, &list, since, &mut sum).await;
            if ended.is_err() {
                break;
            }
        }
        sum.print()?;
        ended?;
        if sum.failed > 0 {
            bail!("{} emails failed; run it again once the cause is mended", sum.failed);
        }
        Ok(())
    }

    async fn resend_list(
        &self,
        store: &Store,
        sender: &RegistrationEmail,
        list: &str,
        since: i64,
        sum: &mut Sum,
    ) -> Result<()> {
        let since = keys::before_moment(since);
        let mut before = keys::LAST.to_owned();
        loop {
            let newest = store.newest(Order::AllCreated, list, &before, PAGE).await?;
            let places = newest.places.iter().take_while(|place| place.key >= since);
            let ids: Vec<ClientId> =
                places.filter_map(|place| keys::split_moment(&place.key)).map(|(_, id)| id).collect();
            for client in store.clients(&ids).await?.iter().filter(|client| client.given.send_email) {
                let given = &client.given;
                let email = given.email.as_str();
                let outcome = sender.send_once(&client.id, email, &given.first_name, self.refused).await;
                sum.add(&client.id, outcome)?;
            }
            match newest.places.last() {
                Some(last) if !newest.exhausted && ids.len() == newest.places.len() => {
                    before.clone_from(&last.key);
                }
                _ => return Ok(()),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Sum {
    sent: u64,
    before: u64,
    failed: u64,
    refused: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, client: &ClientId, outcome: Outcome) -> Result<()> {
        let reason = outcome.reason.unwrap_or_default().into_owned();
        match outcome.status {
            MailStatus::Sent => self.sent += 1,
            MailStatus::Repeated => self.before += 1,
            MailStatus::Refused => *self.refused.entry(reason).or_default() += 1,
            MailStatus::Failed if outcome.is_unanswered => {
                self.failed += 1;
                writeln!(
                    std::io::stderr(),
                    "{client}: no answer ({reason}): it may have been sent; run this again after half a minute"
                )?;
            }
            MailStatus::Failed if outcome.is_unavailable => {
                bail!("no email is taken at this time ({reason}); run it again once the cause is mended")
            }
            MailStatus::Failed => {
                self.failed += 1;
                writeln!(std::io::stderr(), "{client}: {reason}")?;
            }
        }
        Ok(())
    }

    fn print(&self) -> Result<()> {
        let Self { sent, before, refused, .. } = self;
        let count: u64 = refused.values().sum();
        let reasons: Vec<_> = refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        writeln!(
            std::io::stdout(),
            "{sent} sent, {before} had been sent or refused before, {count} refused{reasons}"
        )?;
        Ok(())
    }
}
