//! `export`: a bucket's leads, or its clients whole, page by page.

use crate::import::Format;
use crate::target::Target;
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use shared::model::{BucketId, ClientChange, ClientId, Lead};
use shared::store::{Order, Store, keys};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Leads read at once.
const PAGE: usize = 1000;
/// Columns of leads, and names in JSON Lines.
const LEAD: [&str; 7] = ["id", "email", "affiliateID", "status", "createdDate", "updatedDate", "ftd"];

/// Arguments of `local export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Id of the bucket
    #[arg(value_name = "BUCKET_ID")]
    bucket: String,
    /// How to write it; by default what the output's name ends with, or CSV
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write; standard output by default
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leads of this source only
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Leads of this status only; can be given several times
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// All fields of the clients, as import takes them
    #[arg(long)]
    full: bool,
    /// Put an apostrophe before CSV cells that a spreadsheet would take for a formula: clients
    /// choose their names themselves. Import does not take it away again
    #[arg(long)]
    spreadsheet: bool,
    #[command(flatten)]
    target: Target,
}

impl Export {
    /// Writes the export.
    ///
    /// # Errors
    /// There is no such bucket, DynamoDB failed, or the output can't be written.
    #[tokio::main]
    pub async fn run(&self) -> Result<()> {
        let opened = self.target.open().await?;
        let done = self.export(&opened.store).await;
        opened.close().await;
        done
    }

    async fn export(&self, store: &Store) -> Result<()> {
        let id = BucketId::parse(&self.bucket);
        let bucket = match &id {
            Some(id) => store.bucket(id).await?,
            None => None,
        };
        let bucket = bucket.with_context(|| format!("there is no bucket {}", self.bucket))?;
        let Some(path) = &self.output else {
            let mut out = std::io::stdout().lock();
            let written = self.write(store, &bucket.id, &bucket.affiliate_id, &mut out).await;
            // Whoever reads the pipe had enough.
            return match written {
                Err(error) if is_closed_pipe(&error) => Ok(()),
                written => written,
            };
        };
        let problem = || format!("can't write {}", path.display());
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut file = tempfile::NamedTempFile::new_in(directory).with_context(problem)?;
        self.write(store, &bucket.id, &bucket.affiliate_id, file.as_file_mut()).await?;
        file.as_file().sync_all().with_context(problem)?;
        file.persist(path).with_context(problem)?;
        Ok(())
    }

    async fn write<W: Write>(&self, store: &Store, bucket: &BucketId, affiliate: &str, out: W) -> Result<()> {
        let extension = self.output.as_deref().and_then(Path::extension).and_then(|text| text.to_str());
        let format = self.format.unwrap_or(match extension {
            Some("jsonl" | "ndjson") => Format::Jsonl,
            _ => Format::Csv,
        });
        let mut sink = Sink::new(format, self.columns(), self.spreadsheet, BufWriter::new(out))?;
        let bucket_list = keys::bucket_list(bucket);
        let (order, list) = match &self.source {
            None => (Order::BucketCreated, bucket_list),
            Some(source) => (Order::SourceCreated, keys::source_list(&bucket_list, source)),
        };
        let mut first = String::new();
        loop {
            let range = if first.is_empty() { keys::before_moment(0) } else { first }..=keys::LAST.to_owned();
            let page = store.page(order, &list, range, PAGE).await?;
            let wanted = |lead: &&Lead| self.status.is_empty() || self.status.contains(&lead.status);
            let leads: Vec<&Lead> = page.leads.iter().map(|placed| &placed.lead).filter(wanted).collect();
            if self.full {
                let ids: Vec<ClientId> = leads.iter().map(|lead| lead.id.clone()).collect();
                for client in store.clients(&ids).await? {
                    sink.write(&serde_json::to_value(&client)?)?;
                }
            } else {
                for lead in leads {
                    sink.write(&shown(lead, affiliate))?;
                }
            }
            match page.leads.last() {
                Some(last) if !page.exhausted => first = format!("{}\u{1}", order.sort_key(&last.lead)),
                _ => return sink.finish(),
            }
        }
    }

    fn columns(&self) -> Vec<String> {
        if !self.full {
            return LEAD.map(str::to_owned).to_vec();
        }
        let own = ["id"].into_iter().map(str::to_owned);
        own.chain(ClientChange::names()).chain(["createdDate", "updatedDate"].map(str::to_owned)).collect()
    }
}

fn shown(lead: &Lead, affiliate: &str) -> Value {
    let [id, email, affiliate_id, status, created, updated, ftd] = LEAD;
    serde_json::json!({
        id: lead.id.as_str(),
        email: lead.email,
        affiliate_id: affiliate,
        status: lead.status,
        created: lead.created_date.to_string(),
        updated: lead.updated_date.to_string(),
        ftd: lead.ftd.map(|ftd| ftd.to_string()),
    })
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error),
            _ => cause.downcast_ref::<std::io::Error>(),
        };
        io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}

/// Writes records in one of the formats.
enum Sink<W: Write> {
    Csv { columns: Vec<String>, guarded: bool, out: Box<csv::Writer<W>> },
    JsonLines(W),
}

impl<W: Write> Sink<W> {
    fn new(format: Format, columns: Vec<String>, guarded: bool, out: W) -> Result<Self> {
        Ok(match format {
            Format::Jsonl => Self::JsonLines(out),
            Format::Csv => {
                let mut out = csv::Writer::from_writer(out);
                out.write_record(&columns)?;
                Self::Csv { columns, guarded, out: Box::new(out) }
            }
        })
    }

    fn write(&mut self, record: &Value) -> Result<()> {
        match self {
            Self::JsonLines(out) => writeln!(out, "{record}")?,
            Self::Csv { columns, guarded, out } => {
                let empty = Map::new();
                let record = record.as_object().unwrap_or(&empty);
                let cells = columns.iter().map(|column| match column.split_once('.') {
                    Some((outer, inner)) => cell(record.get(outer).and_then(|nested| nested.get(inner))),
                    None => cell(record.get(column)),
                });
                let is_formula =
                    |cell: &String| *guarded && cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
                out.write_record(
                    cells.map(|cell| if is_formula(&cell) { format!("'{cell}") } else { cell }),
                )?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Csv { mut out, .. } => out.flush()?,
            Self::JsonLines(mut out) => out.flush()?,
        }
        Ok(())
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
