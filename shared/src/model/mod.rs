//! Domain types, parsed at the edge. Nothing here knows HTTP or DynamoDB.

mod bucket;
mod client;
mod email;
mod json;
mod lead;
mod role;
mod time;
mod token;
mod version;

pub use bucket::{Bucket, BucketChange, BucketId, NAME_MAX_CHARS, NewBucket, SOURCES_MAX};
pub use client::{
    AGREEMENTS_MAX, Agreement, Billing, Client, ClientChange, ClientId, META_MAX_BYTES, OwnProfile, Profile,
    SignUp, TEXT_MAX,
};
pub use email::Email;
pub use json::{Object, depth_exceeds, quote};
pub use lead::{
    CURSOR_MAX, Filters, KeyBy, Keys, LIMIT_DEFAULT, LIMIT_MAX, Lead, LeadsQuery, OFFSET_MAX, Range,
    STATUSES_MAX,
};
pub use role::{NewRole, Permission, Permissions, Role, RoleChange, RoleId};
pub use time::Timestamp;
pub use token::{NewToken, RefusedAttempt, TokenActivity, TokenId, TokenRecord, Whitelist, WhitelistChange};
pub use version::{Stored, Version};

use std::borrow::Cow;

/// Why a value was not accepted: a message that names the field and what is expected of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Cow<'static, str>);

impl Invalid {
    /// A message made for the case.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses fields that a record has and that are given once for all.
fn refuse_unchangeable(object: &Object<'_>, fields: &[&str]) -> Result<(), Invalid> {
    match object.names().find(|name| fields.contains(name)) {
        Some(name) => Err(Invalid::new(format!("{name} cannot be changed"))),
        None => Ok(()),
    }
}

impl From<Invalid> for crate::ApiError {
    fn from(Invalid(message): Invalid) -> Self {
        Self::BadRequest(message)
    }
}
