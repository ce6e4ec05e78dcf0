//! The embedded DynamoDB, and the tables in whichever DynamoDB is used.

use crate::template::{Table, Template};
use anyhow::{Context, Result, bail};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use dynoxide::Database;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The engine keeps stream records for ever and looks through all of them at each write to their
/// table. This gives it an index to look into, and, as DynamoDB does, keeps them for a day.
const STREAM_UPKEEP: &str = "
    CREATE INDEX IF NOT EXISTS stream_records_in_order
        ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE TRIGGER IF NOT EXISTS stream_records_for_a_day AFTER INSERT ON _stream_records BEGIN
        DELETE FROM _stream_records
            WHERE id <= (SELECT MIN(id) + 1 FROM _stream_records) AND created_at < NEW.created_at - 86400;
    END;";
const TTL_SWEEP: Duration = Duration::from_secs(60);

/// An embedded DynamoDB that answers on a socket, as the real one does.
pub struct Engine {
    /// Where it listens.
    pub address: SocketAddr,
    database: Database,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), String>>,
    sweeper: JoinHandle<()>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts it on a file, or in memory where there is none.
    ///
    /// # Errors
    /// The address is taken or the file can't be used.
    pub async fn start(listen: SocketAddr, file: Option<&Path>) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the embedded DynamoDB can't listen on {listen}"))?;
        let address = listener.local_addr()?;
        let path = match file {
            Some(file) => file.to_str().context("the data directory's path is not UTF-8")?.to_owned(),
            // In memory, under a name that the second connection finds it by.
            None => format!("file:/{}?vfs=memdb", uuid::Uuid::new_v4()),
        };
        let database = Database::new(&path).with_context(|| format!("can't open {path}"))?;
        let upkeep =
            rusqlite::Connection::open(&path).and_then(|database| database.execute_batch(STREAM_UPKEEP));
        upkeep.with_context(|| format!("can't set {path} up"))?;
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database.clone(), async {
            let _ = stopped.await;
        }));
        let swept = database.clone();
        let sweeper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TTL_SWEEP).await;
                let database = swept.clone();
                // What stays over is swept the next time; reads check the expiry themselves.
                let _ = tokio::task::spawn_blocking(move || database.sweep_ttl()).await;
            }
        });
        Ok(Self { address, database, stop, server, sweeper })
    }

    /// The database itself, for bulk loads and for looking at every stored byte in tests.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stops deleting items whose time to live is over, for tests that look at them. DynamoDB itself
    /// deletes them within days.
    pub fn keep_expired(&self) {
        self.sweeper.abort();
    }

    /// Ends it once the calls under way are answered.
    pub async fn stop(self) {
        self.sweeper.abort();
        let _ = self.stop.send(());
        // Idle connections of clients would keep the server waiting; what is acknowledged is stored.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.server).await;
    }
}

/// Creates the template's tables where they are missing.
///
/// # Errors
/// DynamoDB can't be reached, or refuses a table.
pub async fn create_missing_tables(client: &Client, template: &Template) -> Result<()> {
    let mut existing = Vec::new();
    let mut pages = client.list_tables().into_paginator().send();
    while let Some(page) = pages.next().await {
        existing.extend(page.context("DynamoDB can't be reached")?.table_names.unwrap_or_default());
    }
    for table in &template.tables {
        if existing.contains(&table.name) {
            check(client, table).await?;
        } else {
            create(client, table).await.with_context(|| format!("can't create {}", table.name))?;
        }
    }
    Ok(())
}

/// Refuses a table that an older version of this program made.
async fn check(client: &Client, table: &Table) -> Result<()> {
    let described = client.describe_table().table_name(&table.name).send().await?.table;
    let stream = described.as_ref().and_then(|table| table.stream_specification.as_ref());
    let indexes = described.as_ref().map(|table| table.global_secondary_indexes()).unwrap_or_default();
    let mut missing = Vec::new();
    if stream_view(table).is_some() && !stream.is_some_and(StreamSpecification::stream_enabled) {
        missing.push("stream".to_owned());
    }
    for index in array(&table.properties["GlobalSecondaryIndexes"]) {
        let name = text(&index["IndexName"])?;
        if !indexes.iter().any(|known| known.index_name() == Some(name)) {
            missing.push(format!("index {name}"));
        }
    }
    if let Some(missing) = missing.first() {
        bail!(
            "{} has no {missing}: another version of this program made it; begin anew with another \
             --data-dir, or delete the old one",
            table.name
        );
    }
    Ok(())
}

fn stream_view(table: &Table) -> Option<StreamViewType> {
    table.properties["StreamSpecification"]["StreamViewType"].as_str().map(StreamViewType::from)
}

async fn create(client: &Client, table: &Table) -> Result<()> {
    let properties = &table.properties;
    let mut request = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema(&properties["KeySchema"])?));
    if let Some(view) = stream_view(table) {
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view);
        request = request.stream_specification(stream.build()?);
    }
    for definition in array(&properties["AttributeDefinitions"]) {
        let definition = AttributeDefinition::builder()
            .attribute_name(text(&definition["AttributeName"])?)
            .attribute_type(ScalarAttributeType::from(text(&definition["AttributeType"])?))
            .build()?;
        request = request.attribute_definitions(definition);
    }
    for index in array(&properties["GlobalSecondaryIndexes"]) {
        let mut projection = Projection::builder()
            .projection_type(ProjectionType::from(text(&index["Projection"]["ProjectionType"])?));
        for attribute in array(&index["Projection"]["NonKeyAttributes"]) {
            projection = projection.non_key_attributes(text(attribute)?);
        }
        let index = GlobalSecondaryIndex::builder()
            .index_name(text(&index["IndexName"])?)
            .set_key_schema(Some(key_schema(&index["KeySchema"])?))
            .projection(projection.build())
            .build()?;
        request = request.global_secondary_indexes(index);
    }
    // It exists where the answer to an attempt was lost and the call was sent again.
    if let Err(error) = request.send().await
        && !error.as_service_error().is_some_and(CreateTableError::is_resource_in_use_exception)
    {
        return Err(error.into());
    }
    loop {
        let described = client.describe_table().table_name(&table.name).send().await?;
        let status = described.table.and_then(|table| table.table_status);
        if status == Some(aws_sdk_dynamodb::types::TableStatus::Active) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if let Some(attribute) = properties["TimeToLiveSpecification"]["AttributeName"].as_str() {
        let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build()?;
        let update = client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl);
        if let Err(error) = update.send().await
            && !expires(client, table).await?
        {
            return Err(error.into());
        }
    }
    Ok(())
}

/// Whether a table drops what expires: to say so twice is an error.
async fn expires(client: &Client, table: &Table) -> Result<bool> {
    let described = client.describe_time_to_live().table_name(&table.name).send().await?;
    let status = described.time_to_live_description.and_then(|ttl| ttl.time_to_live_status);
    Ok(matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)))
}

fn key_schema(schema: &Value) -> Result<Vec<KeySchemaElement>> {
    let element = |key: &Value| {
        let kind = KeyType::from(text(&key["KeyType"])?);
        Ok(KeySchemaElement::builder().attribute_name(text(&key["AttributeName"])?).key_type(kind).build()?)
    };
    array(schema).map(element).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("expected text in template.yaml, found {value}"))
}
