//! What can go wrong with a request, and the status each case turns into (CONTRACT.md, section 0).

use crate::store::StoreError;
use std::borrow::Cow;

/// Everything that ends a request early.
#[derive(Debug)]
pub enum ApiError {
    /// 401 with the endpoint's published body, the same for every reason; the reason is logged.
    Unauthorized(Refusal),
    /// 401: nobody is signed in to the Traders Room.
    NotSignedIn,
    /// 400 with this message, which names the field and what is expected of it.
    BadRequest(Cow<'static, str>),
    /// 404: what the path names is not there.
    NotFound(&'static str),
    /// 409 with what the request conflicts with.
    Conflict(Cow<'static, str>),
    /// 413: the body is over the endpoint's limit.
    PayloadTooLarge,
    /// 415: the body is declared to be something else than JSON.
    UnsupportedMediaType,
    /// 500 with the documented message; the cause is logged.
    Internal(StoreError),
}

impl ApiError {
    /// A 400 with a message that is made for the case.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(message.into())
    }

    /// A 409 with a message that is made for the case.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Conflict(message.into())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(reason: Refusal) -> Self {
        Self::Unauthorized(reason)
    }
}

/// Why a request was refused (CONTRACT.md, section 1): for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token was sent.
    Missing,
    /// Not a token by form or checksum; found without a look-up.
    Malformed,
    /// No such token: never made, or deleted.
    Unknown,
    /// Past its expiry.
    Expired,
    /// Used from an address outside its whitelist.
    Address,
    /// Its role lacks the permission.
    Permission,
    /// The affiliate is none of the token's.
    Affiliate,
}

impl Refusal {
    /// The reason as the log names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "token missing",
            Self::Malformed => "token malformed",
            Self::Unknown => "token unknown",
            Self::Expired => "token expired",
            Self::Address => "address not in the whitelist",
            Self::Permission => "permission missing",
            Self::Affiliate => "affiliate not the token's",
        }
    }
}
