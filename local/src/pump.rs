//! The stream pump: what Lambda's event source mapping is in production. It reads a table's stream,
//! lets through what the template's filter does, and invokes the function with the events that
//! Lambda would send. What is reported as failed is delivered again, and holds up what comes behind
//! it.

mod filter;

use crate::credentials as files;
use crate::functions::Deployed;
use crate::template;
use anyhow::{Context, Result};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Region};
use aws_sdk_dynamodbstreams::error::SdkError;
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, Shard, ShardIteratorType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use filter::Filter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shared::store::{Store, credentials, http_client};
use shared::{Config, telemetry};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// As often as Lambda looks.
const IDLE: Duration = Duration::from_millis(250);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const POSITIONS: &str = "streams.json";

/// A pump that runs.
#[derive(Debug)]
pub struct Pump {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How far each stream was read: by the stream's ARN, by shard.
type Positions = BTreeMap<String, BTreeMap<String, Position>>;

/// How far a shard was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    /// Sequence number of the last record that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// The shard is closed, and all of it is done.
    #[serde(default)]
    is_finished: bool,
}

/// The function reported failures, and logged them itself.
#[derive(Debug)]
struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the function reported failures")
    }
}

impl std::error::Error for Reported {}

struct Reader {
    client: Client,
    source: template::Stream,
    filter: Filter,
    function: Deployed,
    arn: String,
    /// Where positions are kept over restarts.
    directory: Option<PathBuf>,
    positions: Positions,
    shards: Vec<Shard>,
    /// One has ended: others may have begun where it did.
    has_ended: bool,
    iterators: HashMap<String, String>,
}

impl Pump {
    /// Starts to read a table's stream, where it was left off, or from its beginning.
    /// `directory` keeps how far it was read; without one nothing is kept.
    ///
    /// # Errors
    /// The table has no stream, the template's filter is none that is known here, or what the
    /// directory has is damaged.
    pub async fn start(
        store: &Store,
        config: &Config,
        source: &template::Stream,
        function: Deployed,
        directory: Option<&Path>,
    ) -> Result<Self> {
        let described = store.sdk().describe_table().table_name(&source.table).send().await?;
        let arn = described.table.and_then(|table| table.latest_stream_arn);
        let arn = arn.with_context(|| format!("{} has no stream", source.table))?;
        let positions = match directory {
            Some(directory) => files::read(directory, POSITIONS)?.unwrap_or_default(),
            None => Positions::new(),
        };
        let reader = Reader {
            client: client(config),
            filter: Filter::parse(&source.patterns)?,
            source: source.clone(),
            function,
            arn,
            directory: directory.map(Path::to_owned),
            positions,
            shards: Vec::new(),
            has_ended: false,
            iterators: HashMap::new(),
        };
        let (stop, stopped) = watch::channel(false);
        Ok(Self { stop, task: tokio::spawn(reader.run(stopped)) })
    }

    /// Ends it, once the event under way is handled.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// AWS itself has streams at an address of their own.
fn client(config: &Config) -> Client {
    let endpoint =
        config.endpoint.as_deref().map(|url| url.replacen("://dynamodb.", "://streams.dynamodb.", 1));
    let mut settings = aws_sdk_dynamodbstreams::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials(config))
        .http_client(http_client(endpoint.as_deref()));
    settings.set_endpoint_url(endpoint);
    Client::from_conf(settings.build())
}

impl Reader {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut failures = 0;
        while !*stopped.borrow() {
            let pause = match self.read_once().await {
                Ok(true) => Duration::ZERO,
                Ok(false) => IDLE,
                Err(error) => {
                    if !error.is::<Reported>() {
                        telemetry::problem("stream", &format!("{error:#}"));
                    }
                    failures += 1;
                    self.iterators.clear();
                    LONGEST_PAUSE.min(IDLE * 2_u32.pow(failures.min(8)))
                }
            };
            if pause <= IDLE {
                failures = 0;
            }
            tokio::select! {
                _ = stopped.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads each open shard once; whether there was anything.
    async fn read_once(&mut self) -> Result<bool> {
        if self.has_ended || self.shards.iter().all(|shard| self.position(shard.shard_id()).is_finished) {
            self.list_shards().await?;
            self.has_ended = false;
        }
        let mut has_read = false;
        for shard in self.shards.clone() {
            let id = shard.shard_id().unwrap_or_default();
            // What came before is done before what comes after.
            let is_ahead = shard.parent_shard_id().is_some_and(|parent| {
                self.shards.iter().any(|shard| shard.shard_id() == Some(parent))
                    && !self.position(Some(parent)).is_finished
            });
            if !is_ahead && !self.position(Some(id)).is_finished {
                has_read |= self.read_shard(id).await?;
            }
        }
        Ok(has_read)
    }

    async fn list_shards(&mut self) -> Result<()> {
        self.shards.clear();
        let mut last = None;
        loop {
            let page = self.client.describe_stream().stream_arn(&self.arn);
            let page = page.set_exclusive_start_shard_id(last).send().await?;
            let description = page.stream_description.context("no description of the stream")?;
            self.shards.extend(description.shards.unwrap_or_default());
            last = description.last_evaluated_shard_id;
            if last.is_none() {
                return Ok(());
            }
        }
    }

    fn position(&self, shard: Option<&str>) -> Position {
        let known = self.positions.get(&self.arn).and_then(|shards| shards.get(shard?));
        known.cloned().unwrap_or_default()
    }

    fn advance(&mut self, shard: &str, position: Position) -> Result<()> {
        if self.position(Some(shard)) == position {
            return Ok(());
        }
        // Other streams of this name are gone for good.
        self.positions.retain(|arn, _| *arn == self.arn);
        self.positions.entry(self.arn.clone()).or_default().insert(shard.to_owned(), position);
        match &self.directory {
            Some(directory) => files::write_json(directory, POSITIONS, &self.positions),
            None => Ok(()),
        }
    }

    async fn iterator(&mut self, shard: &str) -> Result<String> {
        if let Some(known) = self.iterators.get(shard) {
            return Ok(known.clone());
        }
        let request = self.client.get_shard_iterator().stream_arn(&self.arn).shard_id(shard);
        let request = match self.position(Some(shard)).after {
            Some(last) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(last)
            }
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        request.send().await?.shard_iterator.context("no iterator of the shard")
    }

    async fn read_shard(&mut self, shard: &str) -> Result<bool> {
        let iterator = self.iterator(shard).await?;
        let page = match self.client.get_records().shard_iterator(iterator).send().await {
            Ok(page) => page,
            Err(error) => {
                if is_trimmed(&error) {
                    self.advance(shard, Position::default())?;
                }
                return Err(error.into());
            }
        };
        let records = page.records.unwrap_or_default();
        self.deliver(shard, &records).await?;
        match page.next_shard_iterator {
            Some(next) => {
                self.iterators.insert(shard.to_owned(), next);
            }
            None => {
                let position = self.position(Some(shard));
                self.advance(shard, Position { is_finished: true, ..position })?;
                self.has_ended = true;
            }
        }
        Ok(!records.is_empty())
    }

    /// Invokes the function with the records that its filter lets through; the position follows.
    async fn deliver(&mut self, shard: &str, records: &[Record]) -> Result<()> {
        let events: Vec<Value> = records.iter().map(|record| event_record(record, &self.arn)).collect();
        let wanted: Vec<usize> = (0..events.len()).filter(|at| self.filter.matches(&events[*at])).collect();
        for batch in wanted.chunks(self.source.batch_size) {
            let batch_events: Vec<&Value> = batch.iter().map(|at| &events[*at]).collect();
            let answer = self.function.clone().invoke(json!({ "Records": batch_events }).to_string()).await?;
            if let Some(failed) = first_failure(&answer, &events, batch)? {
                if let Some(last) = failed.checked_sub(1) {
                    self.advance(shard, done_up_to(&records[last]))?;
                }
                return Err(Reported.into());
            }
        }
        match records.last() {
            Some(last) => self.advance(shard, done_up_to(last)),
            None => Ok(()),
        }
    }
}

fn done_up_to(record: &Record) -> Position {
    let after = record.dynamodb().and_then(|change| change.sequence_number());
    Position { after: after.map(str::to_owned), is_finished: false }
}

fn is_trimmed<R>(error: &SdkError<GetRecordsError, R>) -> bool {
    error.as_service_error().is_some_and(GetRecordsError::is_trimmed_data_access_exception)
}

/// The first of a batch's records that the function reported as failed.
fn first_failure(answer: &Value, events: &[Value], batch: &[usize]) -> Result<Option<usize>> {
    let failures = answer["batchItemFailures"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut first = None;
    for failure in failures {
        let named = &failure["itemIdentifier"];
        let at = batch.iter().find(|at| events[**at]["dynamodb"]["SequenceNumber"] == *named);
        // So does Lambda: a name that it does not know fails the whole batch.
        let at = at.or(batch.first()).copied().context("a failure of an empty batch")?;
        first = Some(first.map_or(at, |first: usize| first.min(at)));
    }
    Ok(first)
}

/// A record as Lambda has it in its events.
fn event_record(record: &Record, arn: &str) -> Value {
    let mut change = Map::new();
    if let Some(dynamodb) = record.dynamodb() {
        if let Some(created) = dynamodb.approximate_creation_date_time() {
            change.insert("ApproximateCreationDateTime".into(), json!(created.as_secs_f64()));
        }
        for (name, image) in [
            ("Keys", dynamodb.keys()),
            ("NewImage", dynamodb.new_image()),
            ("OldImage", dynamodb.old_image()),
        ] {
            if let Some(image) = image {
                change.insert(name.into(), attributes(image));
            }
        }
        change.insert("SequenceNumber".into(), json!(dynamodb.sequence_number()));
        change.insert("SizeBytes".into(), json!(dynamodb.size_bytes()));
        change.insert("StreamViewType".into(), json!(dynamodb.stream_view_type().map(|view| view.as_str())));
    }
    json!({
        "eventID": record.event_id(),
        "eventName": record.event_name().map(|name| name.as_str()),
        "eventVersion": record.event_version(),
        "eventSource": record.event_source(),
        "awsRegion": record.aws_region(),
        "dynamodb": change,
        "eventSourceARN": arn,
    })
}

fn attributes(image: &HashMap<String, AttributeValue>) -> Value {
    image.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Map<_, _>>().into()
}

fn attribute(value: &AttributeValue) -> Value {
    let blob = |blob: &aws_sdk_dynamodbstreams::primitives::Blob| STANDARD.encode(blob.as_ref());
    match value {
        AttributeValue::B(bytes) => json!({ "B": blob(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Bs(all) => json!({ "BS": all.iter().map(blob).collect::<Vec<_>>() }),
        AttributeValue::L(all) => json!({ "L": all.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(image) => json!({ "M": attributes(image) }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Ns(all) => json!({ "NS": all }),
        AttributeValue::Null(flag) => json!({ "NULL": flag }),
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::Ss(all) => json!({ "SS": all }),
        _ => Value::Null,
    }
}
