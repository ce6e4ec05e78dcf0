//! The API's description: an OpenAPI 3.1 document, and a Postman collection made of it.
//!
//! Names of fields, limits, permissions and error messages are those of the code that works with
//! them. What is checked in under `docs/` is written by `cargo run -- docs`; tests compare the two,
//! the document's operations with the template's routes, and its schemas with what the model reads
//! and writes. No deployed function depends on this crate: `functions/docs` has the files built in.

mod admin;
mod console;
mod documentation;
mod models;
mod operation;
mod parameters;
mod partner;
pub mod postman;
mod schema;

use operation::{API_KEY, AUTHORIZATION, Described, SESSION};
use serde_json::Value;
use std::collections::BTreeSet;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Server,
};

const ABOUT: &str = include_str!("about.md");

/// Whether a path is left out of the partners' document: the admin API, and what belongs to it.
fn is_for_operators(path: &str) -> bool {
    const PREFIXES: [&str; 4] = ["/api/admin/", "/console", "/docs/admin", "/docs/openapi-admin.json"];
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// The whole document.
pub fn document() -> OpenApi {
    build(|_| true)
}

/// What partners and their clients' browsers call, and no other schemas than that needs.
pub fn partner_document() -> OpenApi {
    build(|path| !is_for_operators(path))
}

/// A document as it is checked in and served.
///
/// # Errors
/// It holds what JSON can't; it doesn't.
pub fn to_text(document: &OpenApi) -> Result<String, serde_json::Error> {
    Ok(document.to_pretty_json()? + "\n")
}

fn build(shown: impl Fn(&str) -> bool) -> OpenApi {
    let operations =
        [partner::operations(), admin::operations(), console::operations(), documentation::operations()];
    let shown: Vec<_> = operations
        .into_iter()
        .flatten()
        .filter(|described| shown(described.path))
        .map(Described::build)
        .collect();
    let paths = shown.into_iter().fold(PathsBuilder::new(), |paths, (path, method, operation)| {
        paths.path(path, PathItem::new(method, operation))
    });
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("WBCS partner API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT.trim()))
                .build(),
        )
        .servers(Some([Server::new("/")]))
        .paths(paths.build())
        .components(Some(components().build()))
        .build();
    keep_what_is_referred_to(&mut document);
    document
}

fn components() -> ComponentsBuilder {
    let components = operation::headers()
        .into_iter()
        .fold(ComponentsBuilder::new(), |components, (name, header)| components.header(name, header));
    let components = models::all()
        .into_iter()
        .fold(components, |components, (name, schema)| components.schema(name, schema));
    let key = |name: &str, description: &str| ApiKeyValue::with_description(name, description);
    components
        .security_scheme(
            AUTHORIZATION,
            SecurityScheme::ApiKey(ApiKey::Header(key(
                "Authorization",
                "An identification token, as it is: without `Bearer`.",
            ))),
        )
        .security_scheme(
            API_KEY,
            SecurityScheme::ApiKey(ApiKey::Header(key(
                "x-api-key",
                "An identification token of a role with `clients:create`.",
            ))),
        )
        .security_scheme(
            SESSION,
            SecurityScheme::ApiKey(ApiKey::Cookie(key(
                "__Host-wbcs-session",
                "The session that an autologin began; browsers send it. On plain-http localhost its name is `wbcs-session`.",
            ))),
        )
}

/// Drops tags, schemas, headers and security schemes that no operation refers to, and keeps those
/// that others which are kept refer to.
fn keep_what_is_referred_to(document: &mut OpenApi) {
    let paths = serde_json::to_value(&document.paths).unwrap_or_default();
    let mut found = BTreeSet::new();
    references(&paths, &mut found);
    let Some(components) = &mut document.components else { return };
    let schemas = serde_json::to_value(&components.schemas).unwrap_or_default();
    let mut unread: Vec<_> = found.iter().cloned().collect();
    while let Some(name) = unread.pop() {
        let mut more = BTreeSet::new();
        references(&schemas[name.trim_start_matches("#/components/schemas/")], &mut more);
        unread.extend(more.into_iter().filter(|name| found.insert(name.clone())));
    }
    components.schemas.retain(|name, _| found.contains(&format!("#/components/schemas/{name}")));
    components.headers.retain(|name, _| found.contains(&format!("#/components/headers/{name}")));
    let used = |name: &str, key: &str| {
        let operations = paths
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, item)| item.as_object().into_iter().flatten());
        operations.into_iter().any(|(_, operation)| match key {
            "tags" => operation["tags"].as_array().into_iter().flatten().any(|tag| tag == name),
            _ => operation["security"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|needed| needed.get(name).is_some()),
        })
    };
    components.security_schemes.retain(|name, _| used(name, "security"));
    document.tags = Some(
        TAGS.iter()
            .filter(|(name, _)| used(name, "tags"))
            .map(|(name, description)| TagBuilder::new().name(*name).description(Some(*description)).build())
            .collect(),
    );
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(to) if name == "$ref" => {
                found.insert(to.clone());
            }
            value => references(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Groups of operations, in order.
const TAGS: [(&str, &str); 11] = [
    (partner::LEADS, "What became of your leads, by bucket and affiliate. Read-only."),
    (partner::SIGN_UP, "Register new clients."),
    (partner::SELF_CHECK, "What your token may do, and which address we see."),
    (partner::AUTOLOGIN, "A sign-up's `url` signs its client in, once. For browsers."),
    (partner::SESSION, "Who is signed in to the Traders Room. For browsers."),
    (admin::TOKENS, "Identification tokens."),
    (admin::ROLES, "What tokens may do."),
    (admin::BUCKETS, "Buckets, their sources, routing, and counts."),
    (admin::CLIENTS, "Clients, as operators see and change them."),
    (console::CONSOLE, "The web console over the admin API. For browsers."),
    (documentation::DOCUMENTATION, "This documentation."),
];
