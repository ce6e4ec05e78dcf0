//! The documentation itself.

use crate::operation::Described;
use crate::schema::text;
use shared::ApiError;
use shared::http::Envelope;
use utoipa::openapi::HttpMethod;

pub(crate) const DOCUMENTATION: &str = "Documentation";

const KEPT: [&str; 2] = ["cache-control", "etag"];

/// A file that a function has built in.
pub(crate) fn file(id: &str, path: &'static str, tag: &str, summary: &str, content_type: &str) -> Described {
    Described::new(id, HttpMethod::Get, path, tag, Envelope::Platform)
        .open()
        .about(summary, "Compressed where the request accepts gzip.")
        .header(
            "If-None-Match",
            "The `ETag` of what you have: 304 where it is still that.",
            text("").description(None::<&str>),
        )
        .file(200, "The file.", content_type, &KEPT)
        .ends(304, "Unchanged since the state that `If-None-Match` names.", &KEPT)
}

pub(crate) fn operations() -> Vec<Described> {
    const HTML: &str = "text/html; charset=utf-8";
    const JSON: &str = "application/json";
    let file = |id, path, summary, kind| file(id, path, DOCUMENTATION, summary, kind);
    vec![
        file("docs-page", "/docs", "This documentation, interactive", HTML),
        file(
            "docs-pages",
            "/docs/{page}",
            "Nothing, but for the path that ends in a slash: this documentation",
            HTML,
        )
        .refuses(404, "There is no such file.", &[ApiError::NotFound("There is no such file")]),
        file("docs-document", "/docs/openapi.json", "This document: what partners call", JSON),
        file("docs-admin", "/docs/admin", "The documentation with the admin API, interactive", HTML),
        file("docs-admin-document", "/docs/openapi-admin.json", "The document with the admin API", JSON),
        file("docs-asset", "/docs/assets/{file}", "A script or style sheet of the interactive page", "*/*")
            .refuses(404, "There is no such file.", &[ApiError::NotFound("There is no such file")]),
    ]
}
