//! The input of an import: read from the start and, as after a crash, from any record on, it is the same.

use crate::choice;
use input::{Format, Input, Place, Record};
use std::io::Write;

#[allow(dead_code, missing_docs)]
#[path = "../../local/src/import/input.rs"]
mod input;
#[allow(dead_code, missing_docs)]
#[path = "../../local/src/import/row.rs"]
mod row;

/// Runs one input: the first byte says whether it is CSV or JSON Lines, and from which record on it is read again.
pub fn run(data: &[u8]) {
    let Some((picked, text)) = choice(data, 256) else { return };
    let format = if picked % 2 == 0 { Format::Csv } else { Format::Jsonl };
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(text).expect("written");
    let open = |place: Place| {
        let mut file = file.try_clone().expect("a handle");
        std::io::Seek::rewind(&mut file).expect("a file");
        Input::open(file, format, place)
    };
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

type Shown = (u64, u64, u64, String);

/// All records, the place behind each, and why reading could not go on.
fn read(mut input: Input) -> (Vec<Shown>, Vec<Place>, Option<String>) {
    let (mut records, mut ends) = (Vec::new(), Vec::new());
    loop {
        let chunk = input.chunk();
        let Some(Record { number, line, bytes, row }) = chunk.records.into_iter().next() else {
            return (records, ends, chunk.failure.map(|error| error.to_string()));
        };
        records.push((number, line, bytes, format!("{row:?}")));
        ends.push(chunk.end);
    }
}
