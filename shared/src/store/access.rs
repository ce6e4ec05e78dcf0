//! Tokens and roles.

use super::batch::Place;
use super::buckets::{bucket_from, routed_bucket};
use super::change::unchanged;
use super::clients::VERSION;
use super::item::{Item, Reader, b, item, list, n, s};
use super::transaction::{Sent, failed};
use super::wire::{GetItem, Pairs, Query, S};
use super::{Store, StoreError, keys};
use crate::model::{
    Bucket, BucketId, NAME_MAX_CHARS, Permission, Role, RoleId, Stored, TokenId, TokenRecord, Version,
    Whitelist,
};
use crate::secret::TokenDigest;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::delete_item::builders::DeleteItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

/// What became of a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateToken {
    /// It is stored.
    Created,
    /// There is no such role.
    NoRole,
    /// The role does not have the number of tokens that was asked for, or is not there.
    Outrun,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is stored; the record's new state.
    Done(Version),
    /// The record was changed since it was read.
    Conflict,
    /// The record is not there any more.
    Gone,
}

/// What became of deleting a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteRole {
    /// It is not there any more.
    Deleted,
    /// A token has it.
    InUse,
    /// It was changed since it was read.
    Conflict,
}

/// A role with what the store keeps besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRole {
    /// The role.
    pub role: Role,
    /// Its state.
    pub version: Version,
    /// How many tokens have it.
    pub tokens: u64,
}

/// A page of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The tokens, newest first.
    pub records: Vec<TokenRecord>,
    /// The place to go on from, where there may be more.
    pub next: Option<String>,
}

impl Store {
    /// The token with this digest. Strongly consistent: a deleted one is not found by the next
    /// request, whichever instance serves it.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn token(&self, digest: &TokenDigest) -> Result<Option<TokenRecord>, StoreError> {
        let id = digest.token_id();
        let stored = self.token_item(&id).await?;
        stored.map_or(Ok(None), |stored| token_with_digest(digest, id, &stored))
    }

    /// The token with this digest as [`Store::token`] gives it, and the bucket with this id, eventually
    /// consistent: one call for both.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, went on leaving keys unprocessed, or an item is malformed.
    pub async fn token_and_bucket(
        &self,
        digest: &TokenDigest,
        bucket: &BucketId,
    ) -> Result<(Option<TokenRecord>, Option<Bucket>), StoreError> {
        let key = [("pk", S(&keys::bucket(bucket))), ("sk", S(keys::BUCKET_RECORD))];
        let (token, stored) = self.token_and_item(digest, Pairs(&key)).await?;
        Ok((token, stored.as_ref().map(bucket_from).transpose()?))
    }

    /// The token with this digest as [`Store::token`] gives it, and the bucket that the affiliate's source is
    /// assigned to, eventually consistent: one call for both.
    ///
    /// # Errors
    /// As [`Store::token_and_bucket`].
    pub async fn token_and_source(
        &self,
        digest: &TokenDigest,
        affiliate_id: &str,
        source_id: &str,
    ) -> Result<(Option<TokenRecord>, Option<BucketId>), StoreError> {
        // No bucket belongs to an affiliate of a longer name.
        if affiliate_id.chars().count() > NAME_MAX_CHARS {
            return Ok((self.token(digest).await?, None));
        }
        let key = [("pk", S(&keys::affiliate(affiliate_id))), ("sk", S(&keys::assigned_source(source_id)))];
        let (token, stored) = self.token_and_item(digest, Pairs(&key)).await?;
        Ok((token, stored.as_ref().map(routed_bucket).transpose()?))
    }

    /// A token, and an item of the buckets table.
    async fn token_and_item(
        &self,
        digest: &TokenDigest,
        key: Pairs<'_, S<'_>>,
    ) -> Result<(Option<TokenRecord>, Option<Item>), StoreError> {
        let id = digest.token_id();
        let tokens_key = [("id", S(id.as_str()))];
        let token = Place { table: &self.tables.tokens, key: Pairs(&tokens_key), consistent: true };
        let beside = Place { table: &self.tables.buckets, key, consistent: false };
        let [token, beside] = self.get_two("token and bucket", [token, beside]).await?;
        let token = token.map_or(Ok(None), |stored| token_with_digest(digest, id.clone(), &stored))?;
        Ok((token, beside))
    }

    async fn token_item(&self, id: &TokenId) -> Result<Option<Item>, StoreError> {
        let request = GetItem {
            table_name: &self.tables.tokens,
            key: Pairs(&[("id", S(id.as_str()))]),
            consistent_read: true,
        };
        self.calls.get_item.call("token", &request).await
    }

    /// Stores a new token: its digest in place of its text. Its role counts it, so that a role
    /// cannot be deleted while a token has it.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_token(
        &self,
        record: &TokenRecord,
        digest: &TokenDigest,
    ) -> Result<CreateToken, StoreError> {
        self.new_token(record, digest, None).await
    }

    /// As [`Store::create_token`], as long as the role has this many tokens.
    ///
    /// # Errors
    /// As [`Store::create_token`].
    pub async fn create_first_token(
        &self,
        record: &TokenRecord,
        digest: &TokenDigest,
        tokens: u64,
    ) -> Result<CreateToken, StoreError> {
        self.new_token(record, digest, Some(tokens)).await
    }

    async fn new_token(
        &self,
        record: &TokenRecord,
        digest: &TokenDigest,
        tokens: Option<u64>,
    ) -> Result<CreateToken, StoreError> {
        let unbuilt = |_| StoreError::new("create token", "request could not be built");
        let mut stored = item([
            ("id", s(record.id.as_str())),
            ("digest", b(digest.as_bytes())),
            ("name", s(&record.name)),
            ("roleId", s(record.role_id.as_str())),
            ("hint", s(&record.hint)),
            ("whitelist", list(record.whitelist.entries())),
            ("affiliateIDs", list(record.affiliate_ids.iter().map(String::as_str))),
            ("createdDate", n(record.created_date.millis())),
            ("kind", s(keys::TOKEN_KIND)),
            ("created", s(keys::created_then_id(record.created_date, record.id.as_str()))),
        ]);
        if let Some(expires_at) = record.expires_at {
            stored.insert("expiresAt".into(), n(expires_at.millis()));
        }
        let put = Put::builder()
            .table_name(&self.tables.tokens)
            .set_item(Some(stored))
            .condition_expression("attribute_not_exists(id)")
            .build()
            .map_err(unbuilt)?;
        let condition = match tokens {
            None => "attribute_exists(pk)",
            Some(0) => "attribute_exists(pk) AND (attribute_not_exists(tokens) OR tokens = :tokens)",
            Some(_) => "tokens = :tokens",
        };
        let mut count = self.count_token(&record.role_id, 1).condition_expression(condition);
        if let Some(tokens) = tokens {
            count = count.expression_attribute_values(":tokens", n(tokens));
        }
        let count = count.build().map_err(unbuilt)?;
        let writes = vec![
            TransactWriteItem::builder().put(put).build(),
            TransactWriteItem::builder().update(count).build(),
        ];
        Ok(match self.transact("create token", writes).await? {
            Sent::Done => CreateToken::Created,
            // Nobody else has 190 random bits: it is this token, and the answer was lost.
            Sent::Cancelled(reasons) if reasons.first().is_some_and(failed) => CreateToken::Created,
            Sent::Cancelled(_) if tokens.is_some() => CreateToken::Outrun,
            Sent::Cancelled(_) => CreateToken::NoRole,
        })
    }

    fn count_token(&self, role: &RoleId, by: i64) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.tables.roles)
            .key("pk", s(keys::ROLES))
            .key("id", s(role.as_str()))
            .update_expression("ADD tokens :by")
            .expression_attribute_values(":by", n(by))
    }

    /// A token by its id, for administrators; strongly consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn token_by_id(&self, id: &TokenId) -> Result<Option<Stored<TokenRecord>>, StoreError> {
        let Some(stored) = self.token_item(id).await? else { return Ok(None) };
        let version = Version::stored(Reader::new("token", &stored).optional_text(VERSION));
        Ok(Some(Stored { value: token_from(id.clone(), &stored)?, version }))
    }

    /// Tokens, newest first, below a place (`created` of the last one seen). Eventually consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn tokens(&self, before: Option<&str>, limit: usize) -> Result<Tokens, StoreError> {
        let answer = self
            .sdk()
            .query()
            .table_name(&self.tables.tokens)
            .index_name("tokens-created")
            .key_condition_expression("kind = :kind AND created < :before")
            .expression_attribute_values(":kind", s(keys::TOKEN_KIND))
            .expression_attribute_values(":before", s(before.unwrap_or(keys::LAST)))
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| StoreError::of("tokens", &error))?;
        let records = answer.items().iter().map(token_of).collect::<Result<Vec<_>, _>>()?;
        let last = records.last().filter(|_| answer.last_evaluated_key.is_some());
        let next = last.map(|last| keys::created_then_id(last.created_date, last.id.as_str()));
        Ok(Tokens { records, next })
    }

    /// Every token, strongly consistent: reads the whole table. For commands only.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn all_tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        let mut tokens = Vec::new();
        let mut from = None;
        loop {
            let page = self
                .sdk()
                .scan()
                .table_name(&self.tables.tokens)
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| StoreError::of("all tokens", &error))?;
            for stored in page.items() {
                tokens.push(token_of(stored)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(tokens);
            }
        }
    }

    /// Replaces a token's whitelist, from the state the token was read in.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn change_whitelist(
        &self,
        id: &TokenId,
        from: &Version,
        whitelist: &Whitelist,
    ) -> Result<Changed, StoreError> {
        let to = Version::fresh().map_err(|_| StoreError::new("change whitelist", "no random source"))?;
        let sent = self
            .sdk()
            .update_item()
            .table_name(&self.tables.tokens)
            .key("id", s(id.as_str()))
            .update_expression("SET whitelist = :whitelist, rev = :to")
            .condition_expression(token_unchanged(from))
            .expression_attribute_values(":whitelist", list(whitelist.entries()))
            .expression_attribute_values(":to", s(to.as_str().unwrap_or_default()))
            .set_expression_attribute_values_of(from)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        changed("change whitelist", to, sent.map(drop))
    }

    /// Deletes a token with what is known of its use, for good; the next request with it is
    /// refused. One that is gone already is no error. Where a state is given, `false`: it was changed since, and
    /// is there.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn delete_token(
        &self,
        token: &TokenRecord,
        from: Option<&Version>,
    ) -> Result<bool, StoreError> {
        let unbuilt = |_| StoreError::new("delete token", "request could not be built");
        let delete = |table: &str, id: String| Delete::builder().table_name(table).key("id", s(id));
        let own = delete(&self.tables.tokens, token.id.to_string())
            .condition_expression(from.map_or("attribute_exists(id)", token_unchanged))
            .set_expression_attribute_values(
                from.and_then(Version::as_str).map(|version| [(":rev".to_owned(), s(version))].into()),
            )
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(unbuilt)?;
        let count = self.count_token(&token.role_id, -1).condition_expression("attribute_exists(pk)");
        let used = delete(&self.tables.activity, token.id.to_string()).build().map_err(unbuilt)?;
        let refused =
            delete(&self.tables.activity, keys::refused_attempts(&token.id)).build().map_err(unbuilt)?;
        let mut writes = vec![
            TransactWriteItem::builder().delete(own).build(),
            TransactWriteItem::builder().delete(used).build(),
            TransactWriteItem::builder().delete(refused).build(),
            TransactWriteItem::builder().update(count.build().map_err(unbuilt)?).build(),
        ];
        loop {
            match self.transact("delete token", writes.clone()).await? {
                Sent::Done => return Ok(true),
                Sent::Cancelled(reasons) if reasons.first().is_some_and(failed) => {
                    let stored = reasons.first().and_then(|reason| reason.item());
                    return Ok(stored.is_none_or(Item::is_empty));
                }
                // Its role is not there, which should not be; the token must go all the same.
                Sent::Cancelled(_) if writes.len() == 4 => {
                    writes.pop();
                }
                Sent::Cancelled(_) => return Err(StoreError::outrun("delete token")),
            }
        }
    }

    /// All roles: few, in one partition, read at once.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or an item is malformed.
    pub async fn roles(&self) -> Result<Vec<Role>, StoreError> {
        let mut roles = Vec::new();
        let mut from = None;
        loop {
            let request = Query {
                table_name: &self.tables.roles,
                key_condition_expression: "pk = :pk",
                expression_attribute_values: Pairs(&[(":pk", S(keys::ROLES))]),
                exclusive_start_key: from.as_deref(),
                ..Query::default()
            };
            let page = self.calls.items.call("roles", &request).await?;
            for stored in &page.items {
                roles.push(role_from(stored)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(roles);
            }
        }
    }

    /// A role by id, strongly consistent.
    ///
    /// # Errors
    /// DynamoDB failed after all retries, or the item is malformed.
    pub async fn role(&self, id: &RoleId) -> Result<Option<StoredRole>, StoreError> {
        let roles = self
            .sdk()
            .query()
            .table_name(&self.tables.roles)
            .key_condition_expression("pk = :pk AND id = :id")
            .expression_attribute_values(":pk", s(keys::ROLES))
            .expression_attribute_values(":id", s(id.as_str()))
            .consistent_read(true);
        // An id that no role can have is no key that DynamoDB takes.
        if id.as_str().is_empty() || id.as_str().len() > NAME_MAX_CHARS * 4 {
            return Ok(None);
        }
        let found = roles.send().await.map_err(|error| StoreError::of("role", &error))?;
        let Some(stored) = found.items().first() else { return Ok(None) };
        let reader = Reader::new("role", stored);
        Ok(Some(StoredRole {
            role: role_from(stored)?,
            version: Version::stored(reader.optional_text(VERSION)),
            tokens: reader.count("tokens"),
        }))
    }

    /// Stores a new role; `None` where the id is taken.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn create_role(&self, role: &Role) -> Result<Option<Version>, StoreError> {
        let unbuilt = || StoreError::new("create role", "request could not be built");
        let version = Version::fresh().map_err(|_| StoreError::random())?;
        // Built-in roles are made again where they were deleted: with a state of its own, what was meant for the one
        // before does not concern this one.
        let state = version.as_str().ok_or_else(unbuilt)?;
        let stored = item([
            ("pk", s(keys::ROLES)),
            ("id", s(role.id.as_str())),
            ("name", s(&role.name)),
            ("permissions", list(role.permissions.iter().map(Permission::as_str))),
            (VERSION, s(state)),
        ]);
        let put = Put::builder()
            .table_name(&self.tables.roles)
            .set_item(Some(stored))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|_| unbuilt())?;
        // A transaction of one write: a late attempt of it does not bring back a role that was deleted since.
        let writes = vec![TransactWriteItem::builder().put(put).build()];
        let is_stored = match self.transact("create role", writes).await? {
            Sent::Done => true,
            // This very write, whose answer was lost.
            Sent::Cancelled(reasons) => reasons
                .first()
                .and_then(CancellationReason::item)
                .is_some_and(|stored| Reader::new("role", stored).optional_text(VERSION) == Some(state)),
        };
        Ok(is_stored.then_some(version))
    }

    /// Changes a role's name and permissions, from the state it was read in.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn change_role(&self, from: &Version, role: &Role) -> Result<Changed, StoreError> {
        let to = Version::fresh().map_err(|_| StoreError::new("change role", "no random source"))?;
        let update = self
            .update_role(role, &to)
            .condition_expression(unchanged(from))
            .set_expression_attribute_values_of(from)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        changed("change role", to, update.send().await.map(drop))
    }

    fn update_role(&self, role: &Role, to: &Version) -> UpdateItemFluentBuilder {
        self.sdk()
            .update_item()
            .table_name(&self.tables.roles)
            .key("pk", s(keys::ROLES))
            .key("id", s(role.id.as_str()))
            .update_expression("SET #name = :name, #permissions = :permissions, rev = :to")
            .expression_attribute_names("#name", "name")
            .expression_attribute_names("#permissions", "permissions")
            .expression_attribute_values(":name", s(&role.name))
            .expression_attribute_values(
                ":permissions",
                list(role.permissions.iter().map(Permission::as_str)),
            )
            .expression_attribute_values(":to", s(to.as_str().unwrap_or_default()))
    }

    /// Deletes a role that no token has, in the state it was read in. One that is gone already is no error.
    ///
    /// # Errors
    /// DynamoDB failed after all retries.
    pub async fn delete_role(&self, id: &RoleId, from: &Version) -> Result<DeleteRole, StoreError> {
        let sent = self
            .sdk()
            .delete_item()
            .table_name(&self.tables.roles)
            .key("pk", s(keys::ROLES))
            .key("id", s(id.as_str()))
            .condition_expression(format!(
                "attribute_not_exists(pk) OR (({}) AND (attribute_not_exists(tokens) OR tokens <= :none))",
                unchanged(from)
            ))
            .expression_attribute_values(":none", n(0))
            .set_expression_attribute_values_of(from)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(DeleteRole::Deleted),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(refused)) => {
                    let stored = refused.item();
                    let now = stored.and_then(|stored| Reader::new("role", stored).optional_text(VERSION));
                    let is_same = now == from.as_str();
                    Ok(if is_same { DeleteRole::InUse } else { DeleteRole::Conflict })
                }
                _ => Err(StoreError::of("delete role", &error)),
            },
        }
    }
}

/// As [`unchanged`], of a token, whose key has another name.
fn token_unchanged(version: &Version) -> &'static str {
    match version.as_str() {
        Some(_) => "rev = :rev",
        None => "attribute_exists(id) AND attribute_not_exists(rev)",
    }
}

/// A change's outcome, from what its conditional write gave.
fn changed<R>(
    operation: &'static str,
    to: Version,
    sent: Result<(), SdkError<UpdateItemError, R>>,
) -> Result<Changed, StoreError> {
    let Err(error) = sent else { return Ok(Changed::Done(to)) };
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
            let Some(stored) = refused.item() else { return Ok(Changed::Gone) };
            // The state of this very change: it took place, and the answer was lost.
            let own = Reader::new("record", stored).optional_text(VERSION) == to.as_str();
            Ok(if own { Changed::Done(to) } else { Changed::Conflict })
        }
        _ => Err(StoreError::of(operation, &error)),
    }
}

/// Gives the value that [`unchanged`] compares with.
trait FromState {
    fn set_expression_attribute_values_of(self, version: &Version) -> Self;
}

impl FromState for DeleteItemFluentBuilder {
    fn set_expression_attribute_values_of(self, version: &Version) -> Self {
        match version.as_str() {
            Some(version) => self.expression_attribute_values(":rev", s(version)),
            None => self,
        }
    }
}

impl FromState for UpdateItemFluentBuilder {
    fn set_expression_attribute_values_of(self, version: &Version) -> Self {
        match version.as_str() {
            Some(version) => self.expression_attribute_values(":rev", s(version)),
            None => self,
        }
    }
}

/// A token of the table or its index.
fn token_of(stored: &Item) -> Result<TokenRecord, StoreError> {
    let reader = Reader::new("token", stored);
    let id = TokenId::parse(reader.text("id")?).ok_or_else(|| reader.malformed())?;
    token_from(id, stored)
}

/// Reads the token's item, if it is this token's.
pub(super) fn token_with_digest(
    digest: &TokenDigest,
    id: TokenId,
    stored: &Item,
) -> Result<Option<TokenRecord>, StoreError> {
    // The key is a part of a digest of the digest; the whole is compared as well.
    if !digest.matches(Reader::new("token", stored).bytes("digest")?) {
        return Ok(None);
    }
    token_from(id, stored).map(Some)
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
