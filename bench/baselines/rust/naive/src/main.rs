//! What is written first: the SDK with its default features, its default configuration, items turned
//! into maps of JSON values. It asks nobody for a token and checks nothing.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use lambda_http::{Body, Error, Request, Response, service_fn, tracing};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most keys of one `BatchGetItem`.
const BATCH: usize = 100;

type Item = HashMap<String, AttributeValue>;

async fn answer(db: &Client, table: &str, request: Request) -> Result<Response<Body>, Error> {
    let body: Value = serde_json::from_slice(request.body())?;
    let answer = if request.uri().path().ends_with("/leads") {
        leads(db, table, &body).await?
    } else {
        sign_up(db, table, &body).await?
    };
    Ok(Response::builder().header("content-type", "application/json").body(answer.to_string().into())?)
}

async fn leads(db: &Client, table: &str, body: &Value) -> Result<Value, Error> {
    let emails: Vec<&str> =
        body["emails"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut found = Map::new();
    for some in emails.chunks(BATCH) {
        let key = |email: &&str| HashMap::from([("pk".to_owned(), AttributeValue::S(format!("E#{email}")))]);
        let keys = KeysAndAttributes::builder().set_keys(Some(some.iter().map(key).collect())).build()?;
        let mut wanted = HashMap::from([(table.to_owned(), keys)]);
        while !wanted.is_empty() {
            let got = db.batch_get_item().set_request_items(Some(wanted)).send().await?;
            for item in got.responses.unwrap_or_default().into_values().flatten() {
                let (email, lead) = lead(&item);
                found.insert(email, lead);
            }
            wanted = got.unprocessed_keys.unwrap_or_default();
        }
    }
    Ok(Value::Object(found))
}

fn lead(item: &Item) -> (String, Value) {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str);
    let email = text("pk").trim_start_matches("E#").to_owned();
    let (created, id) = text("c").split_once('#').unwrap_or_default();
    let deposited = item.get("f").and_then(|value| value.as_n().ok()).map_or("", String::as_str);
    let (updated, _) = text("u").split_once('#').unwrap_or_default();
    let lead = json!({
        "id": id, "email": email, "status": text("s"),
        "createdDate": created, "updatedDate": updated, "ftd": deposited,
    });
    (email, lead)
}

async fn sign_up(db: &Client, table: &str, body: &Value) -> Result<Value, Error> {
    let created = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let id = format!("naive-{}", body["email"].as_str().unwrap_or_default());
    let mut put = db
        .put_item()
        .table_name(table)
        .item("pk", AttributeValue::S(format!("N#{id}")))
        .item("createdDate", AttributeValue::N(created.to_string()))
        .condition_expression("attribute_not_exists(pk)");
    for (name, value) in body.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => AttributeValue::S(text.clone()),
            Value::Bool(flag) => AttributeValue::Bool(*flag),
            other => AttributeValue::S(other.to_string()),
        };
        put = put.item(name, value);
    }
    put.send().await?;
    Ok(json!({"id": id}))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let (db, table) = (Client::new(&config), std::env::var("CLIENTS_TABLE")?);
    lambda_http::run(service_fn(|request| answer(&db, &table, request))).await
}
