//! The whole system on one developer's machine, never deployed: an embedded DynamoDB, an HTTP
//! gateway that sends the deployed handlers the events that API Gateway would send, and demo data.

pub mod admission;
pub mod bootstrap;
pub mod check;
pub mod credentials;
pub mod demo;
pub mod description;
mod emails;
pub mod engine;
pub mod export;
pub mod functions;
pub mod gateway;
pub mod import;
pub mod outbox;
mod patience;
pub mod pump;
pub mod resend;
pub mod stack;
pub mod target;
pub mod template;

pub use stack::{Options, Stack};

use std::collections::BTreeMap;

/// What the platform gives a function besides the template's variables. Credentials of the
/// developer's own environment win: another DynamoDB may ask for real ones.
fn functions_environment(dynamodb_endpoint: &str) -> BTreeMap<String, String> {
    let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut environment = BTreeMap::from([
        ("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), dynamodb_endpoint.to_owned()),
        ("AWS_REGION".to_owned(), own("AWS_REGION").unwrap_or_else(|| "eu-west-1".to_owned())),
    ]);
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    match (own(names[0]), own(names[1])) {
        (Some(_), Some(_)) => {
            environment.extend(names.iter().filter_map(|name| Some(((*name).to_owned(), own(name)?))));
        }
        _ => {
            environment.extend(names[..2].iter().map(|name| ((*name).to_owned(), "local".to_owned())));
        }
    }
    environment
}
