//! `bootstrap`: the first administrator's token (CONTRACT.md, section 5).

use crate::target::{Opened, Target};
use anyhow::{Context, Result, bail};
use shared::model::{NAME_MAX_CHARS, NewToken, Permission, Role, RoleId, Timestamp, TokenRecord, Whitelist};
use shared::secret::Token;
use shared::store::{Changed, CreateToken, Store};
use std::collections::HashMap;
use std::io::Write;

/// Arguments of `local bootstrap`.
#[derive(Debug, clap::Args)]
pub struct Bootstrap {
    /// Name of the token
    #[arg(long, value_name = "NAME", default_value = "Administrator", value_parser = name)]
    name: String,
    /// When the token stops being valid, ISO 8601; never by default
    #[arg(long, value_name = "DATE", value_parser = future)]
    expires_at: Option<Timestamp>,
    /// Addresses and CIDR blocks that the token may be used from, joined with commas; any by default
    #[arg(long, value_name = "CIDR,...", value_parser = whitelist)]
    whitelist: Option<Whitelist>,
    /// Make another token although there is an administrator's, and give the role Administrator its
    /// permissions back
    #[arg(long)]
    force: bool,
    /// Print the token and its id as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return Err(format!("use 1 to {NAME_MAX_CHARS} characters, none of them a control character"));
    }
    Ok(name.to_owned())
}

fn future(text: &str) -> Result<Timestamp, String> {
    let date = Timestamp::parse_iso(text).ok_or("use an ISO 8601 date-time, e.g. 2030-01-31T12:00:00Z")?;
    if date <= Timestamp::now() { Err("use a date in the future".into()) } else { Ok(date) }
}

fn whitelist(text: &str) -> Result<Whitelist, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    Whitelist::parse(entries).map_err(|error| error.to_string())
}

impl Bootstrap {
    /// Creates the built-in roles that are missing and the token, and prints it.
    ///
    /// # Errors
    /// A token that may manage tokens exists and `--force` is not given, the system can't be
    /// reached, or the token can't be printed; then it is deleted again.
    #[tokio::main]
    pub async fn run(&self) -> Result<()> {
        let opened = self.target.open().await?;
        let done = self.create(&opened).await;
        opened.close().await;
        done
    }

    async fn create(&self, opened: &Opened) -> Result<()> {
        let store = &opened.store;
        let (token, record) = if self.force {
            restore_administrator(store).await?;
            let (token, record) = self.token()?;
            match store.create_token(&record, &token.digest()).await? {
                CreateToken::Created => (token, record),
                CreateToken::NoRole | CreateToken::Outrun => bail!("the role was deleted meanwhile"),
            }
        } else {
            self.first_token(store).await?
        };
        // A token that nobody has seen must not stay valid.
        if let Err(error) = self.print(&token, &record, opened) {
            store.delete_token(&record, None).await.context("the token could not be printed, nor deleted")?;
            return Err(error).context("the token could not be printed and was deleted again");
        }
        Ok(())
    }

    fn token(&self) -> Result<(Token, TokenRecord)> {
        let token = NewToken {
            name: self.name.clone(),
            role_id: RoleId::new(Role::ADMINISTRATOR),
            expires_at: self.expires_at,
            whitelist: self.whitelist.clone().unwrap_or_default(),
            affiliate_ids: vec![],
        };
        Ok(token.generate()?)
    }

    /// The token, where none that may manage tokens exists. Of several commands at once one
    /// creates it: the role's count of tokens is a part of the write's condition.
    async fn first_token(&self, store: &Store) -> Result<(Token, TokenRecord)> {
        loop {
            create_roles(store).await?;
            let id = RoleId::new(Role::ADMINISTRATOR);
            let administrator = store.role(&id).await?.context("the role Administrator was deleted")?;
            let existing = administrators(store).await?;
            if !existing.is_empty() {
                let shown: Vec<_> = existing
                    .iter()
                    .map(|token| format!("  {}  {}  {}", token.id, token.hint, token.name))
                    .collect();
                bail!(
                    "an administrator's token exists; use it to make others, or make another one with --force:\n{}",
                    shown.join("\n")
                );
            }
            if !administrator.role.permissions.contains(Permission::SecurityManage) {
                bail!(
                    "the role Administrator was changed and does not grant {}: give it back with --force",
                    Permission::SecurityManage.as_str()
                );
            }
            let (token, record) = self.token()?;
            match store.create_first_token(&record, &token.digest(), administrator.tokens).await? {
                CreateToken::Created => return Ok((token, record)),
                CreateToken::NoRole | CreateToken::Outrun => {}
            }
        }
    }

    fn print(&self, token: &Token, record: &TokenRecord, opened: &Opened) -> Result<()> {
        let mut notes = std::io::stderr().lock();
        // The token alone goes to standard output, for a pipe into a secrets store.
        let _ = writeln!(notes, "Administrator's token {} in {}.", record.id, opened.description);
        let _ = writeln!(notes, "It cannot be shown again: put it where secrets are kept.\n");
        let mut out = std::io::stdout().lock();
        if self.json {
            let shown = serde_json::json!({
                "id": record.id.as_str(),
                "name": record.name,
                "expiresAt": record.expires_at.map(|expiry| expiry.to_string()),
                "token": token.expose(),
            });
            writeln!(out, "{shown}")?;
        } else {
            writeln!(out, "{}", token.expose())?;
        }
        out.flush()?;
        let api = opened.api.as_deref().unwrap_or("<API>");
        let _ = writeln!(notes, "\nCheck it: curl -H \"Authorization: <token>\" {api}/api/public/token");
        Ok(())
    }
}

/// Creates the built-in roles that are missing; those that were changed stay as they are.
///
/// # Errors
/// DynamoDB failed.
pub async fn create_roles(store: &Store) -> Result<()> {
    let existing = store.roles().await?;
    for role in Role::built_in().iter().filter(|role| existing.iter().all(|known| known.id != role.id)) {
        store.create_role(role).await?;
    }
    Ok(())
}

/// The built-in roles, and Administrator with all its permissions.
async fn restore_administrator(store: &Store) -> Result<()> {
    let built_in = Role::built_in();
    let administrator = built_in.iter().find(|role| role.id.as_str() == Role::ADMINISTRATOR);
    let administrator = administrator.context("no built-in role Administrator")?;
    // Again where somebody changes or deletes it meanwhile.
    for _ in 0..10 {
        create_roles(store).await?;
        let Some(stored) = store.role(&administrator.id).await? else {
            // Of all roles a list was read that was not up to date.
            store.create_role(administrator).await?;
            continue;
        };
        if stored.role.permissions == administrator.permissions {
            return Ok(());
        }
        if let Changed::Done(_) = store.change_role(&stored.version, administrator).await? {
            return Ok(());
        }
    }
    bail!("the role Administrator is being changed by others all the time")
}

/// The tokens that may manage tokens and are not expired.
async fn administrators(store: &Store) -> Result<Vec<TokenRecord>> {
    let now = Timestamp::now();
    let mut grants: HashMap<RoleId, bool> = HashMap::new();
    let mut found = Vec::new();
    for token in store.all_tokens().await? {
        if token.expires_at.is_some_and(|expiry| expiry <= now) {
            continue;
        }
        let granted = match grants.get(&token.role_id) {
            Some(known) => *known,
            None => {
                let role = store.role(&token.role_id).await?;
                let granted =
                    role.is_some_and(|stored| stored.role.permissions.contains(Permission::SecurityManage));
                grants.insert(token.role_id.clone(), granted);
                granted
            }
        };
        if granted {
            found.push(token);
        }
    }
    Ok(found)
}
