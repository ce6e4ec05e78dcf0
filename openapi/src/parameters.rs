//! Parameters that several operations have.

use crate::models::{BUCKET_ID, TOKEN_ID};
use crate::operation::Described;
use crate::schema::{any_of, formatted, number_of, text};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder};

/// What a path's parameter is, by its name.
pub(crate) fn in_path(name: &str) -> (&'static str, ObjectBuilder) {
    let schema = text("").description(None::<&str>).min_length(Some(1));
    match name {
        "bucketId" => ("Bucket identifier.", schema.pattern(Some(BUCKET_ID))),
        "affiliateID" => ("Affiliate identifier.", schema),
        "sourceId" => ("Source identifier.", schema),
        "tokenId" => ("Id of the token's record.", schema.pattern(Some(TOKEN_ID))),
        "roleId" => ("Id of the role.", schema),
        "clientId" => ("Id of the client.", schema),
        "link" => ("The link of a sign-up's `url`, with or without the last slash.", schema),
        "path" => (
            "A page of the console, or `assets/`, the digest in the page's own links, and the name of a file.",
            schema,
        ),
        _ => ("Name of the file.", schema),
    }
}

/// A date or date-time.
pub(crate) fn date() -> AnyOfBuilder {
    any_of(None, ["date", "date-time"].map(|format| formatted("", format).description(None::<&str>)))
}

impl Described {
    /// `limit` and `cursor` of a list.
    pub(crate) fn paged(self, limit: usize) -> Self {
        let default = shared::admin::LIMIT_DEFAULT.min(limit);
        let number = number_of("", 1, limit).description(None::<&str>).default(Some(default.into()));
        self.query("limit", "Most items of a page.", number).query(
            "cursor",
            "`nextCursor` of the page before; absent for the first one. It belongs to the same list and filters.",
            text("").description(None::<&str>),
        )
    }

    /// `If-Match` of a change.
    pub(crate) fn guarded(self) -> Self {
        self.header(
            "If-Match",
            "The `ETag` that the record had when you read it: the change is refused with 409 where it was changed since. \
             `*` and absent: whatever its state.",
            text("").description(None::<&str>),
        )
    }
}
