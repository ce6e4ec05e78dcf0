//! Domain types, parsed at the edge. Nothing here knows HTTP or DynamoDB.

mod bucket;
mod client;
mod email;
mod json;
mod lead;
mod role;
mod time;
mod token;

pub use bucket::{Bucket, BucketId, NAME_MAX_CHARS, SOURCES_MAX};
pub use client::{Agreement, Billing, Client, ClientId, Profile, SignUp};
pub use email::Email;
pub use json::{Object, depth_exceeds};
pub use lead::{Filters, KeyBy, Keys, LIMIT_MAX, Lead, LeadsQuery, OFFSET_MAX, Range};
pub use role::{Permission, Permissions, Role, RoleId};
pub use time::Timestamp;
pub use token::{TokenId, TokenRecord, Whitelist};

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

impl From<Invalid> for crate::ApiError {
    fn from(Invalid(message): Invalid) -> Self {
        Self::BadRequest(message)
    }
}
