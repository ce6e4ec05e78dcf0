//! What the stack is filled with, and what it has to answer of it, to the byte.

use super::caller::{Caller, Reply};
use super::program::Running;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use shared::model::{ClientId, Lead, Role, Timestamp};
use shared::secret::Token;
use std::io::Write;
use std::path::Path;

const DAY: i64 = 86_400_000;
/// 2026-03-02T00:00:00Z.
const END: i64 = 1_772_409_600_000;
const SPAN: i64 = 3 * 365 * DAY;
/// Sources of each bucket that has any.
pub(crate) const SOURCES: [&str; 3] = ["google", "facebook", "newsletter"];
pub(crate) const STATUSES: [&str; 4] = ["new", "contacted", "deposited", "no answer"];
/// The affiliate that clients are signed up for.
pub(crate) const REGISTERING: &str = "AFF-9";
/// Affiliate, name, whether it has sources, and of a hundred leads its part.
const BUCKETS: [(&str, &str, bool, usize); 4] = [
    ("AFF-1", "Campaigns", true, 60),
    ("AFF-1", "Direct", false, 20),
    ("AFF-2", "Campaigns", true, 15),
    ("AFF-3", "Small", true, 5),
];

/// A bucket that nobody changes.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) bucket: String,
    pub(crate) affiliate: String,
    /// In the order of answers.
    pub(crate) leads: Vec<Lead>,
    /// Whether it has sources.
    pub(crate) has_sources: bool,
}

impl List {
    pub(crate) fn path(&self) -> String {
        leads_path(&self.affiliate, &self.bucket)
    }

    /// The source of a lead.
    pub(crate) fn source(&self, at: usize) -> Option<&'static str> {
        self.has_sources.then(|| SOURCES[at % SOURCES.len()])
    }

    /// The body of an answer with these leads.
    pub(crate) fn body(&self, leads: impl IntoIterator<Item = usize>, key: fn(&Lead) -> &str) -> Vec<u8> {
        let affiliate = Value::from(self.affiliate.as_str()).to_string();
        let mut text = vec![b'{'];
        for at in leads {
            let lead = &self.leads[at];
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(Value::from(key(lead)).to_string().as_bytes());
            text.push(b':');
            lead.write(affiliate.as_bytes(), &mut text);
        }
        text.push(b'}');
        text
    }
}

pub(crate) fn leads_path(affiliate: &str, bucket: &str) -> String {
    format!("/api/public/buckets/{bucket}/{affiliate}/leads")
}

/// All that callers know.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) address: String,
    pub(crate) admin: String,
    /// Reads the leads of all affiliates here.
    pub(crate) partner: String,
    /// Signs clients up for [`REGISTERING`].
    pub(crate) sign_up: String,
    /// Of the right form, and never handed out.
    pub(crate) unknown: String,
    pub(crate) lists: Vec<List>,
    /// Where sign-ups with a source go, and those without.
    pub(crate) registering: [String; 2],
}

impl World {
    /// Fills a new stack: buckets and tokens by the admin API, leads by an import.
    pub(crate) async fn create(stack: &Running, leads: usize, directory: &Path) -> Result<Self> {
        let mut operator = Operator {
            caller: Caller::new(&stack.address()),
            address: stack.address(),
            token: stack.credentials.admin_token.clone(),
        };
        let mut lists = Vec::new();
        for (number, (affiliate, name, has_sources, part)) in BUCKETS.into_iter().enumerate() {
            let bucket = operator.bucket(affiliate, name, has_sources).await?;
            let leads = self::leads(number, leads * part / 100)?;
            lists.push(List { bucket, affiliate: affiliate.to_owned(), leads, has_sources });
        }
        let registering = [
            operator.bucket(REGISTERING, "Campaigns", true).await?,
            operator.bucket(REGISTERING, "Direct", false).await?,
        ];
        let partner = operator.token(Role::PARTNER, &["AFF-1", "AFF-2", "AFF-3", REGISTERING]).await?;
        let sign_up = operator.token(Role::SIGN_UP, &[REGISTERING]).await?;
        let file = directory.join("leads.jsonl");
        write(&lists, &file)?;
        stack.import(&file)?;
        Ok(Self {
            address: stack.address(),
            admin: operator.token,
            partner,
            sign_up,
            unknown: Token::generate()?.expose().to_owned(),
            lists,
            registering,
        })
    }
}

/// Over three years, three at each moment, so that the order is by id among them.
fn leads(bucket: usize, number: usize) -> Result<Vec<Lead>> {
    let count = i64::try_from(number.max(1))?;
    let mut leads = Vec::with_capacity(number);
    for at in 0..number {
        let moment = END - SPAN + i64::try_from(at / 3 * 3)? * (SPAN / count);
        let status = STATUSES[at % STATUSES.len()];
        let ftd = (status == "deposited").then(|| Timestamp::clamped(moment + DAY));
        leads.push(Lead {
            id: ClientId::new(format!("{bucket:02x}5c{at:020x}")),
            email: format!("jane.doe{bucket}.{at:06}@mail.example.com"),
            status: status.to_owned(),
            created_date: Timestamp::clamped(moment),
            updated_date: Timestamp::clamped(moment),
            ftd,
        });
    }
    Ok(leads)
}

fn write(lists: &[List], file: &Path) -> Result<()> {
    let mut lines = std::io::BufWriter::new(std::fs::File::create(file)?);
    for list in lists {
        for (at, lead) in list.leads.iter().enumerate() {
            let line = json!({
                "id": lead.id.as_str(), "email": lead.email, "phone": "+1234567890", "firstName": "Jane",
                "lastName": "Doe", "affiliateID": list.affiliate, "bucketId": list.bucket,
                "sourceId": list.source(at), "status": lead.status, "campaignId": "CMP-456",
                "createdDate": lead.created_date.millis().to_string(),
                "ftd": lead.ftd.map(|ftd| ftd.millis().to_string()), "billing": {"city": "Berlin"},
            });
            writeln!(lines, "{line}")?;
        }
    }
    lines.flush()?;
    Ok(())
}

/// Makes what callers need.
struct Operator {
    caller: Caller,
    address: String,
    token: String,
}

impl Operator {
    async fn create(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .header("authorization", &self.token)
            .body(Full::new(Bytes::from(body.to_string())))?;
        let Reply { status, body, .. } =
            self.caller.send(request).await.map_err(|lost| anyhow::anyhow!("{lost:?}"))?;
        if status != 201 {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    async fn bucket(&mut self, affiliate: &str, name: &str, has_sources: bool) -> Result<String> {
        let sources: &[&str] = if has_sources { &SOURCES } else { &[] };
        let body = json!({"name": name, "affiliateID": affiliate, "sources": sources});
        let made = self.create("/api/admin/buckets", &body).await?;
        made["id"].as_str().map(str::to_owned).context("a bucket without id")
    }

    async fn token(&mut self, role: &str, affiliates: &[&str]) -> Result<String> {
        let body = json!({"name": "Load", "roleId": role, "affiliateIDs": affiliates});
        let made = self.create("/api/admin/tokens", &body).await?;
        made["token"].as_str().map(str::to_owned).context("no token")
    }
}
