//! Tokens and roles.

use super::item::{Item, Reader, b, item, list, n, s};
use super::{Store, StoreError, keys};
use crate::model::{Permission, Role, RoleId, TokenId, TokenRecord, Whitelist};
use crate::secret::TokenDigest;

impl Store {
    /// The token with this digest. Strongly consistent: a deleted one is not found by the next
    /// request, whichever instance serves it.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn token(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        let id = digest.token_id();
        let found = self
            .client
            .get_item()
            .table_name(&self.tables.tokens)
            .key("id", s(id.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::of("token", &error))?;
        let Some(stored) = found.item else { return Ok(None) };
        // The key is a part of a digest of the digest; the whole is compared as well.
        if !digest.matches(Reader::new("token", &stored).bytes("digest")?) {
            return Ok(None);
        }
        token_from(id, &stored).map(Some)
    }

    /// Stores a new token: its digest in place of its text.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_token(&self, record: &TokenRecord, digest: &TokenDigest) -> Result<(), StoreError> {
        let mut stored = item([
            ("id", s(record.id.as_str())),
            ("digest", b(digest.as_bytes())),
            ("name", s(&record.name)),
            ("roleId", s(record.role_id.as_str())),
            ("hint", s(&record.hint)),
            ("whitelist", list(record.whitelist.entries())),
            ("affiliateIDs", list(record.affiliate_ids.iter().map(String::as_str))),
            ("createdDate", n(record.created_date.millis())),
        ]);
        if let Some(expires_at) = record.expires_at {
            stored.insert("expiresAt".into(), n(expires_at.millis()));
        }
        self.client
            .put_item()
            .table_name(&self.tables.tokens)
            .set_item(Some(stored))
            .condition_expression("attribute_not_exists(id)")
            .send()
            .await
            .map_err(|error| StoreError::of("create token", &error))?;
        Ok(())
    }

    /// All roles: few, in one partition, read at once.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        let mut roles = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.tables.roles)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", s(keys::ROLES))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("roles", &error))?;
            for stored in page.items() {
                roles.push(role_from(stored)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(roles);
            }
        }
    }

    /// Stores a role under its id, new or changed.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn put_role(&self, role: &Role) -> Result<(), StoreError> {
        let stored = item([
            ("pk", s(keys::ROLES)),
            ("id", s(role.id.as_str())),
            ("name", s(&role.name)),
            ("permissions", list(role.permissions.iter().map(Permission::as_str))),
        ]);
        self.client
            .put_item()
            .table_name(&self.tables.roles)
            .set_item(Some(stored))
            .send()
            .await
            .map_err(|error| StoreError::of("put role", &error))?;
        Ok(())
    }
}

fn token_from(id: TokenId, stored: &Item) -> Result<TokenRecord, StoreError> {
    let reader = Reader::new("token", stored);
    Ok(TokenRecord {
        id,
        name: reader.text("name")?.to_owned(),
        role_id: RoleId::new(reader.text("roleId")?),
        hint: reader.text("hint")?.to_owned(),
        // A list that can't be read must not turn into an empty one, which allows any address.
        whitelist: Whitelist::parse(reader.texts("whitelist")?).map_err(|_| reader.malformed())?,
        affiliate_ids: reader.texts("affiliateIDs")?,
        expires_at: reader.optional_moment("expiresAt")?,
        created_date: reader.moment("createdDate")?,
    })
}

fn role_from(stored: &Item) -> Result<Role, StoreError> {
    let reader = Reader::new("role", stored);
    Ok(Role {
        id: RoleId::new(reader.text("id")?),
        name: reader.text("name")?.to_owned(),
        // A permission that this version does not know is not granted.
        permissions: reader.texts("permissions")?.iter().filter_map(|name| Permission::parse(name)).collect(),
    })
}
