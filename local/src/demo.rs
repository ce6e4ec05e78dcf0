//! What a first start fills the tables with: the built-in roles, tokens, and demo data that the
//! published examples work on.

use crate::credentials::Credentials;
use anyhow::{Context, Result, bail};
use shared::model::{
    Bucket, BucketId, Client, ClientId, Keys, NewToken, Role, RoleId, SignUp, Timestamp, Whitelist,
};
use shared::secret::Token;
use shared::store::{CreateToken, Store};

/// The client of the published Leads example.
pub const CLIENT: &str = "69ce524d741e8f2238329fff";
/// Affiliate of the published Leads examples.
pub const AFFILIATE: &str = "1234567890";
/// Affiliate of the published Sign Up example.
pub const SIGN_UP_AFFILIATE: &str = "AFF-123";
/// The published Sign Up example's source, assigned to a bucket of either affiliate.
pub const SOURCE: &str = "facebook_ads";
/// The demo affiliate's bucket with sources.
pub const BUCKET: &str = "69ce5200741e8f2238320001";

const LEADS: i64 = 60;

/// The demo buckets: id, name, affiliate, sources.
const BUCKETS: [(&str, &str, &str, &[&str]); 4] = [
    (BUCKET, "Campaigns", AFFILIATE, &[SOURCE, "google_ads"]),
    ("69ce5200741e8f2238320002", "Direct", AFFILIATE, &[]),
    ("69ce5200741e8f2238320003", "Campaigns", SIGN_UP_AFFILIATE, &[SOURCE]),
    ("69ce5200741e8f2238320004", "Direct", SIGN_UP_AFFILIATE, &[]),
];

/// Keeps the tokens that the data directory knows and the tables still have; makes the others.
///
/// # Errors
/// DynamoDB failed.
pub async fn create_tokens(store: &Store, known: Credentials, demo: bool) -> Result<Credentials> {
    let admin = Some(known.admin_token).filter(|token| !token.is_empty());
    let mut kept = Credentials {
        admin_token: token(store, admin, "Local administrator", Role::ADMINISTRATOR, &[]).await?,
        ..Credentials::default()
    };
    if demo {
        let affiliates = [AFFILIATE, SIGN_UP_AFFILIATE];
        kept.partner_token =
            Some(token(store, known.partner_token, "Demo partner", Role::PARTNER, &affiliates).await?);
        kept.signup_key =
            Some(token(store, known.signup_key, "Demo landing page", Role::SIGN_UP, &[]).await?);
        kept.bucket_id = Some(BUCKET.into());
        kept.affiliate_id = Some(AFFILIATE.into());
        kept.source_id = Some(SOURCE.into());
    }
    Ok(kept)
}

async fn token(
    store: &Store,
    known: Option<String>,
    name: &str,
    role: &str,
    affiliates: &[&str],
) -> Result<String> {
    if let Some(known) = known
        && let Some(parsed) = Token::parse(&known)
        && store.token(&parsed.digest()).await?.is_some()
    {
        return Ok(known);
    }
    let new = NewToken {
        name: name.to_owned(),
        role_id: RoleId::new(role),
        expires_at: None,
        whitelist: Whitelist::default(),
        affiliate_ids: affiliates.iter().map(|id| (*id).to_owned()).collect(),
    };
    let (token, record) = new.generate()?;
    match store.create_token(&record, &token.digest()).await? {
        CreateToken::Created => {}
        CreateToken::NoRole | CreateToken::Outrun => {
            bail!("the role {role} was deleted: no token can have it")
        }
    }
    Ok(token.expose().to_owned())
}

/// Creates the demo buckets and leads, unless all were there once. A start after one that was cut off adds what is not
/// there; one after that brings nothing back that was deleted.
///
/// # Errors
/// DynamoDB failed.
pub async fn create_data(store: &Store) -> Result<()> {
    // The published example's lead is written last: where it is there, all are.
    let published = Keys { emails: vec!["user1@example.com".into()], ids: vec![] };
    if !store.leads_by_keys(&published).await?.is_empty() {
        return Ok(());
    }
    let created = Timestamp::parse_iso("2021-01-01").context("demo date")?;
    for (id, name, affiliate, sources) in BUCKETS {
        let bucket = Bucket {
            id: BucketId::parse(id).context("demo bucket")?,
            name: name.to_owned(),
            affiliate_id: affiliate.to_owned(),
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            created_date: created,
        };
        store.create_bucket(&bucket).await?;
    }
    for number in (1..=LEADS).chain([0]) {
        store.register(&lead(number)?, None).await?;
    }
    Ok(())
}

/// Number 0 is the published example's lead; the others lie between the published example's
/// dates, in the demo affiliate's buckets.
fn lead(number: i64) -> Result<Client> {
    let (email, id, created) = match number {
        0 => ("user1@example.com".to_owned(), CLIENT.to_owned(), 1_609_459_200_000),
        _ => {
            let created = 1_676_172_330_450 + (number - 1) * (100_000_000_000 / (LEADS - 1));
            (format!("lead{number}@example.com"), format!("69ce524d741e8f223832{number:04x}"), created)
        }
    };
    let body = serde_json::json!({
        "email": email, "phone": format!("+1555{number:07}"), "firstName": "Jane", "lastName": "Doe",
        "campaignId": "CMP-456", "sourceId": SOURCE,
    });
    let mut given = SignUp::parse(body.to_string().as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
    let status = match number % 4 {
        0 => "active",
        1 => "new",
        2 => "contacted",
        _ => "no answer",
    };
    let (bucket, source) = match number % 5 {
        0..=2 => (0, Some(SOURCE)),
        3 => (0, Some("google_ads")),
        _ => (1, None),
    };
    given.source_id = source.map(str::to_owned);
    given.status = Some(status.to_owned());
    let mut client = Client::register(given, Some(AFFILIATE.to_owned()), BucketId::parse(BUCKETS[bucket].0));
    client.id = ClientId::new(id);
    client.created_date = Timestamp::clamped(created);
    client.ftd = match number {
        0 => Some(client.created_date),
        number if number % 4 == 0 => Some(Timestamp::clamped(created + 3 * 86_400_000)),
        _ => None,
    };
    client.updated_date = client.ftd.unwrap_or(client.created_date);
    Ok(client)
}
