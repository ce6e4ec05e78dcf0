//! The input of an import: read from the start and, as after a crash, from any record on, it is the same; and the
//! file that says from which.

use crate::choice;
use checkpoint::{Checkpoint, Job, OnDuplicate};
use input::{Format, Input, Place, Record};
use std::fs::File;
use std::io::{Seek, Write};

#[allow(dead_code, missing_docs)]
#[path = "../../local/src/import/checkpoint.rs"]
mod checkpoint;
#[allow(dead_code, missing_docs)]
#[path = "../../local/src/import/input.rs"]
mod input;
// What is in it is for its parent alone, and `sign_up` reads rows too.
#[allow(dead_code, missing_docs, clippy::duplicate_mod)]
#[path = "../../local/src/import/row.rs"]
mod row;

/// Runs one input: the first byte says whether it is CSV or JSON Lines, and from which record on it is read again.
pub fn run(data: &[u8]) {
    let Some((picked, text)) = choice(data, 256) else { return };
    let format = if picked % 2 == 0 { Format::Csv } else { Format::Jsonl };
    let file = file_of(text);
    let open = |place: Place| open(&file, format, place);
    let Ok(whole) = open(Place::default()) else { return };
    let (records, ends, failure) = read(whole);
    assert!(records.len() <= text.len());
    for (at, (number, line, bytes, _)) in records.iter().enumerate() {
        assert_eq!(*number, at as u64);
        assert!(*line >= 1 && *bytes <= text.len() as u64);
    }
    if ends.is_empty() {
        return;
    }
    let from = picked / 2 % ends.len();
    let Ok(rest) = open(ends[from]) else { panic!("an input that was open is not any more") };
    let (rest, _, failure_again) = read(rest);
    assert_eq!(rest, records[from + 1..], "read again behind record {from}");
    assert_eq!(failure.is_some(), failure_again.is_some());
}

/// An input that checkpoints are of, in both formats.
const INPUTS: [(Format, &str); 2] = [
    (Format::Csv, "email,phone,firstName\na@b.co,12345,A\nb@b.co,12345,B\n"),
    (Format::Jsonl, "{\"email\":\"a@b.co\"}\n{\"email\":\"b@b.co\"}\n"),
];

/// Runs one input as a checkpoint's file: one that is taken is written as it was, and the import goes on from where it
/// says.
pub fn run_checkpoint(data: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("checkpoint");
    std::fs::write(&path, data).expect("written");
    for (format, text) in INPUTS {
        let mut file = file_of(text.as_bytes());
        for on_duplicate in [OnDuplicate::Skip, OnDuplicate::Update] {
            let job = Job::new("memory", &mut file, format, on_duplicate).expect("a job");
            let Ok(read) = Checkpoint::read(&path, &job) else { continue };
            let read = read.expect("the file is there");
            assert_eq!(read.job, job);
            let copy = directory.path().join("copy");
            read.write(&copy).expect("written");
            assert_eq!(Checkpoint::read(&copy, &job).expect("a checkpoint"), Some(read.clone()));
            let (rest, _, _) = self::read(open(&file, format, read.place).expect("an input"));
            // It may say the middle of a line, of the header too.
            assert!(rest.len() <= text.lines().count(), "{rest:?}");
        }
    }
}

fn file_of(text: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text).expect("written");
    file.rewind().expect("a file");
    file
}

fn open(file: &File, format: Format, place: Place) -> anyhow::Result<Input> {
    let mut file = file.try_clone().expect("a handle");
    file.rewind().expect("a file");
    Input::open(file, format, place)
}

type Shown = (u64, u64, u64, String);

/// All records, the place behind each, and why reading could not go on.
fn read(mut input: Input) -> (Vec<Shown>, Vec<Place>, Option<String>) {
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    loop {
        let chunk = input.chunk(1);
        let Some(Record { number, line, bytes, row }) = chunk.records.into_iter().next() else {
            return (records, ends, chunk.failure.map(|error| error.to_string()));
        };
        records.push((number, line, bytes, format!("{row:?}")));
        ends.push(chunk.end);
    }
}
