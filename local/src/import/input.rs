//! Reading the input piece by piece, from any record on: memory does not grow with the file.

use super::row::{BESIDES, Rejection, Row};
use anyhow::{Context, Result, anyhow, bail};
use csv::{ByteRecord, Position};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::model::ClientChange;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// Longest record; Sign Up takes less.
const RECORD_MAX: u64 = 1 << 20;
/// Most records of a chunk that is written at once.
pub(super) const CHUNK_RECORDS: usize = 2000;
/// A chunk ends at this many bytes too.
const CHUNK_BYTES: u64 = 4 << 20;

/// How the input is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CSV with a header row
    Csv,
    /// A JSON object a line
    Jsonl,
}

/// Where a record begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Lines before it.
    pub(super) line: u64,
    /// Records before it.
    pub(super) record: u64,
}

/// A record of the input.
#[derive(Debug)]
pub(super) struct Record {
    /// How many come before it.
    pub(super) number: u64,
    /// The line that it begins in, from 1.
    pub(super) line: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// What it says.
    pub(super) row: Result<Row, Rejection>,
}

/// Records that follow one another.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) records: Vec<Record>,
    /// Where the next record begins.
    pub(super) end: Place,
    /// Why reading cannot go on.
    pub(super) failure: Option<anyhow::Error>,
}

/// The input, read from a place on.
pub(super) enum Input {
    Csv(Box<CsvInput>),
    JsonLines(JsonLines),
}

impl Input {
    /// Opens the input at a place.
    pub(super) fn open(file: File, format: Format, place: Place) -> Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(CsvInput::open(file, place)?)),
            Format::Jsonl => Self::JsonLines(JsonLines::open(file, place)?),
        })
    }

    /// Reads on, this many records at most; none at the end of the input.
    pub(super) fn chunk(&mut self, records: usize) -> Chunk {
        let begin = self.place();
        let mut chunk = Chunk { records: Vec::new(), end: begin, failure: None };
        while chunk.records.len() < records && chunk.end.offset - begin.offset < CHUNK_BYTES {
            let read = match self {
                Self::Csv(input) => input.next(),
                Self::JsonLines(input) => input.next(),
            };
            match read {
                Ok(Some(record)) => chunk.records.push(record),
                Ok(None) => break,
                Err(error) => {
                    chunk.failure = Some(error);
                    break;
                }
            }
            chunk.end = self.place();
        }
        chunk
    }

    fn place(&self) -> Place {
        match self {
            Self::Csv(input) => input.place(),
            Self::JsonLines(input) => input.place,
        }
    }
}

/// Gives out a limited number of bytes: a quote that is never closed must not read the whole file.
#[derive(Debug)]
struct Bounded {
    file: File,
    allowance: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.allowance == 0 {
            return Err(std::io::Error::other(format!(
                "a record is longer than {RECORD_MAX} bytes: is a quote not closed?"
            )));
        }
        let most = usize::try_from(self.allowance).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.allowance -= read as u64;
        Ok(read)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// Where a column's text goes.
#[derive(Debug)]
enum Column {
    Text(String),
    Flag(String),
    Billing(String),
    Agreements,
}

impl Column {
    fn of(name: &str) -> Self {
        match name.strip_prefix("billing.") {
            Some(field) => Self::Billing(field.to_owned()),
            None => match name {
                "agreements" => Self::Agreements,
                "processed" | "allowToCreateAsset" | "sendEmail" => Self::Flag(name.to_owned()),
                name => Self::Text(name.to_owned()),
            },
        }
    }
}

pub(super) struct CsvInput {
    reader: csv::Reader<Bounded>,
    columns: Vec<Column>,
    record: u64,
}

impl CsvInput {
    fn open(file: File, place: Place) -> Result<Self> {
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_reader(Bounded { file, allowance: RECORD_MAX });
        let names = reader.headers().context("can't read the header row")?.clone();
        let known: Vec<String> = ClientChange::names().chain(BESIDES.map(str::to_owned)).collect();
        for (at, name) in names.iter().enumerate() {
            if !known.iter().any(|known| known == name) {
                bail!(
                    "column {} of the header row, {name:?}, is not a known field; known are: {}",
                    at + 1,
                    known.join(", ")
                );
            }
            if names.iter().take(at).any(|earlier| earlier == name) {
                bail!("the header row has {name} twice");
            }
        }
        if let Some(missing) =
            ["email", "phone", "firstName"].iter().find(|name| !names.iter().any(|n| n == **name))
        {
            bail!("the header row has no column {missing}");
        }
        if place.offset > 0 {
            let mut position = Position::new();
            position.set_byte(place.offset).set_line(place.line + 1).set_record(place.record);
            reader.seek(position)?;
        }
        Ok(Self { reader, columns: names.iter().map(Column::of).collect(), record: place.record })
    }

    fn place(&self) -> Place {
        let position = self.reader.position();
        Place { offset: position.byte(), line: position.line() - 1, record: self.record }
    }

    fn next(&mut self) -> Result<Option<Record>> {
        let begin = self.place();
        self.reader.get_mut().allowance = RECORD_MAX;
        let mut fields = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut fields);
        if !read.with_context(|| format!("can't read on from line {}", begin.line + 1))? {
            return Ok(None);
        }
        self.record += 1;
        let line = fields.position().map_or(begin.line + 1, Position::line);
        let bytes = self.place().offset - begin.offset;
        Ok(Some(Record { number: begin.record, line, bytes, row: self.row(&fields) }))
    }

    fn row(&self, fields: &ByteRecord) -> Result<Row, Rejection> {
        if fields.len() != self.columns.len() {
            let counts = (fields.len(), self.columns.len());
            return Err(Rejection::new(
                "",
                format!("the record has {} fields, the header row {}", counts.0, counts.1),
            ));
        }
        let (mut object, mut billing) = (Map::new(), Map::new());
        for (column, field) in self.columns.iter().zip(fields) {
            let text =
                std::str::from_utf8(field).map_err(|_| Rejection::new("", "the record is not UTF-8"))?;
            if text.is_empty() {
                continue;
            }
            let plain = || Value::String(text.to_owned());
            match column {
                Column::Text(name) => object.insert(name.clone(), plain()),
                Column::Billing(name) => billing.insert(name.clone(), plain()),
                Column::Flag(name) => {
                    let flag = text.trim().to_ascii_lowercase().parse().map(Value::Bool);
                    object.insert(name.clone(), flag.unwrap_or_else(|_| plain()))
                }
                Column::Agreements => {
                    object.insert("agreements".into(), serde_json::from_str(text).unwrap_or_else(|_| plain()))
                }
            };
        }
        if !billing.is_empty() {
            object.insert("billing".into(), Value::Object(billing));
        }
        Row::read(object)
    }
}

pub(super) struct JsonLines {
    reader: BufReader<File>,
    place: Place,
}

impl JsonLines {
    fn open(mut file: File, mut place: Place) -> Result<Self> {
        if place.offset == 0 {
            let mut mark = Vec::new();
            Read::by_ref(&mut file).take(3).read_to_end(&mut mark)?;
            place.offset = if mark == b"\xef\xbb\xbf" { 3 } else { 0 };
        }
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(Self { reader: BufReader::with_capacity(1 << 16, file), place })
    }

    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            let begin = self.place;
            let mut line = Vec::new();
            let mut bounded = Read::by_ref(&mut self.reader).take(RECORD_MAX + 1);
            let failed = || anyhow!("can't read on from line {}", begin.line + 1);
            let mut bytes = bounded.read_until(b'\n', &mut line).with_context(failed)? as u64;
            if bytes == 0 {
                return Ok(None);
            }
            let is_too_long = bytes > RECORD_MAX && line.last() != Some(&b'\n');
            if is_too_long {
                bytes += self.reader.skip_until(b'\n').with_context(failed)? as u64;
            }
            self.place.offset += bytes;
            self.place.line += 1;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.place.record += 1;
            let row = match is_too_long {
                true => Err(Rejection::new("", format!("the line is longer than {RECORD_MAX} bytes"))),
                false => Row::from_json(&line),
            };
            return Ok(Some(Record { number: begin.record, line: begin.line + 1, bytes, row }));
        }
    }
}
