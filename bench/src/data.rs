//! The system that is measured: a stack on a file of its own, with a bucket of many leads.

use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::{Database, ImportOptions, Item};
use local::{Options, Stack, stack};
use shared::model::{
    Bucket, BucketId, Client, ClientId, Email, NewToken, Role, RoleId, SignUp, Timestamp, Whitelist,
};
use shared::secret::Token;
use shared::store::{CreateBucket, CreateToken, client_items, counters, keys};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The affiliate whose leads are read.
pub(crate) const AFFILIATE: &str = "AFF-123";
/// Its bucket.
pub(crate) const BUCKET: &str = "68f0c2a79b5e4d1fa3c7e812";
/// The affiliate that clients are registered for, in a bucket that nobody reads.
pub(crate) const REGISTERING: &str = "AFF-456";
/// Sources of either.
pub(crate) const SOURCES: [&str; 2] = ["google", "facebook"];

const DAY: i64 = 86_400_000;
/// 2026-03-02T00:00:00Z.
const END: i64 = 1_772_409_600_000;
const SPAN: i64 = 3 * 365 * DAY;
const CHUNK: usize = 5000;

/// The running system.
#[derive(Debug)]
pub(crate) struct Data {
    stack: Stack,
    directory: std::path::PathBuf,
    /// Leads in the bucket.
    pub(crate) leads: usize,
    /// Reads the bucket.
    pub(crate) partner: String,
    /// Registers clients.
    pub(crate) sign_up_key: String,
    /// A token of the right form that was never handed out.
    pub(crate) unknown: String,
    /// A token with a wrong checksum.
    pub(crate) malformed: String,
}

impl Data {
    /// Starts a stack and loads leads over three years, past the API: as sign-ups would leave them, but for
    /// what is only found by id.
    pub(crate) async fn start(directory: &Path, leads: usize) -> Result<Self> {
        let options = Options {
            memory: false,
            // Nothing but the functions under measurement reads or writes.
            read_streams: false,
            // Without autologin, as the template's default is.
            variables: BTreeMap::from([("ORIGINS".to_owned(), String::new())]),
            ..Options::in_memory(directory)
        };
        let stack = Stack::start(&options).await?;
        for (id, affiliate) in [(BUCKET, AFFILIATE), ("68f0c2a79b5e4d1fa3c7e813", REGISTERING)] {
            let bucket = Bucket {
                id: BucketId::parse(id).context("a bucket's id")?,
                name: format!("Bucket of {affiliate}"),
                affiliate_id: affiliate.to_owned(),
                sources: SOURCES.map(str::to_owned).to_vec(),
                created_date: Timestamp::now(),
            };
            if stack.store.create_bucket(&bucket).await? != CreateBucket::Created {
                bail!("the bucket {id} can't be made");
            }
        }
        let partner = token(&stack, Role::PARTNER, &[AFFILIATE]).await?;
        let sign_up_key = token(&stack, Role::SIGN_UP, &[REGISTERING]).await?;
        let last = if partner.ends_with('0') { '1' } else { '0' };
        let malformed = format!("{}{last}", &partner[..partner.len() - 1]);
        let database = stack.engine().context("a stack without an engine")?.database().clone();
        let tables = stack.store.tables().clone();
        tokio::task::spawn_blocking(move || {
            load(&database, &tables.clients, &tables.buckets, leads).context("loading leads")
        })
        .await??;
        let unknown = Token::generate()?.expose().to_owned();
        let directory = directory.to_owned();
        Ok(Self { stack, directory, leads, partner, sign_up_key, unknown, malformed })
    }

    /// The environment that the template and the stack give a function.
    pub(crate) fn environment(&self, function: &str) -> Result<BTreeMap<String, String>> {
        Ok(stack::environment(function, &self.directory)?.1)
    }

    /// Where the engine listens.
    pub(crate) fn address(&self) -> Result<std::net::SocketAddr> {
        Ok(self.stack.engine().context("a stack without an engine")?.address)
    }

    /// Where the gateway listens: host and port.
    pub(crate) fn gateway(&self) -> &str {
        self.stack.credentials.base_url.trim_start_matches("http://")
    }

    /// What the stack reads and writes by.
    pub(crate) fn store(&self) -> &shared::store::Store {
        &self.stack.store
    }

    /// Ends the stack.
    pub(crate) async fn stop(self) {
        self.stack.stop().await;
    }
}

/// The email of a lead.
pub(crate) fn email(at: usize) -> String {
    format!("jane.doe{at:07}@mail.example.com")
}

/// When a lead of this many registered.
pub(crate) fn created(at: usize, leads: usize) -> i64 {
    let position = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    END - SPAN + position(at) * (SPAN / position(leads.max(1)))
}

async fn token(stack: &Stack, role: &str, affiliates: &[&str]) -> Result<String> {
    let new = NewToken {
        name: "Benchmark".to_owned(),
        role_id: RoleId::new(role),
        expires_at: None,
        whitelist: Whitelist::default(),
        affiliate_ids: affiliates.iter().map(|id| (*id).to_owned()).collect(),
    };
    let (token, record) = new.generate()?;
    if stack.store.create_token(&record, &token.digest()).await? != CreateToken::Created {
        bail!("a token with the role {role} can't be made");
    }
    Ok(token.expose().to_owned())
}

fn load(database: &Database, clients: &str, buckets: &str, leads: usize) -> Result<()> {
    let body = serde_json::json!({
        "email": "jane@example.com", "phone": "+1234567890", "firstName": "Jane", "sourceId": SOURCES[0],
    });
    let given = SignUp::parse(body.to_string().as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let like = Client::register(given, Some(AFFILIATE.to_owned()), BucketId::parse(BUCKET));
    let mut counts = BTreeMap::<(String, String), BTreeMap<String, u64>>::new();
    database.enable_bulk_loading()?;
    for start in (0..leads).step_by(CHUNK) {
        let mut items = Vec::new();
        for at in start..leads.min(start + CHUNK) {
            let client = client(&like, at, leads)?;
            count(&mut counts, &client);
            for item in client_items(&client) {
                // Nothing reads the clients' own items.
                if item.get("pk").and_then(|key| key.as_s().ok()).is_some_and(|key| key.starts_with("E#")) {
                    items.push(imported(item)?);
                }
            }
        }
        database.import_items(clients, items, ImportOptions::default())?;
    }
    let number = |count: u64| dynoxide::AttributeValue::N(count.to_string());
    let text = dynoxide::AttributeValue::S;
    let counters = counts.into_iter().map(|((pk, sk), counts)| {
        let counts = counts.into_iter().map(|(attribute, count)| (attribute, number(count)));
        [("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))].into_iter().chain(counts).collect()
    });
    database.import_items(buckets, counters.collect(), ImportOptions::default())?;
    database.disable_bulk_loading()?;
    Ok(())
}

fn client(like: &Client, at: usize, leads: usize) -> Result<Client> {
    let mut client = like.clone();
    client.id = ClientId::new(format!(
        "{:08x}-52ab-4c1e-9d3f-{at:012x}",
        at.wrapping_mul(2_654_435_761) & 0xffff_ffff
    ));
    client.given.email = Email::parse(&email(at)).context("an email")?;
    client.given.source_id = Some(SOURCES[at % SOURCES.len()].to_owned());
    client.created_date = Timestamp::clamped(created(at, leads));
    client.updated_date = Timestamp::clamped(created(at, leads) + DAY);
    client.status = if at.is_multiple_of(3) { "deposited" } else { "new" }.to_owned();
    client.ftd = at.is_multiple_of(3).then_some(client.updated_date);
    Ok(client)
}

/// Adds a client to the counters of its lists.
fn count(counts: &mut BTreeMap<(String, String), BTreeMap<String, u64>>, client: &Client) {
    let list = client.bucket_id.as_ref().map(keys::bucket_list);
    let source = list.as_ref().zip(client.given.source_id.as_ref());
    let source = source.map(|(list, source)| keys::source_list(list, source));
    for list in list.into_iter().chain(source) {
        for counter in counters::of_moment(&list, client.created_date, 0) {
            let counts = counts.entry((counter.pk, counter.sk)).or_default();
            *counts.entry(counter.attribute).or_default() += 1;
        }
    }
}

fn imported(item: HashMap<String, AttributeValue>) -> Result<Item> {
    item.into_iter().map(|(name, value)| Ok((name, imported_value(value)?))).collect()
}

fn imported_value(value: AttributeValue) -> Result<dynoxide::AttributeValue> {
    Ok(match value {
        AttributeValue::S(text) => dynoxide::AttributeValue::S(text),
        AttributeValue::N(number) => dynoxide::AttributeValue::N(number),
        other => bail!("leads have no such attribute: {other:?}"),
    })
}
