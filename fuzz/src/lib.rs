//! Fuzz targets: one for each kind of text that comes over the wire, and one for whole requests.
//!
//! Each target says more than "it does not panic": what a fast reader makes of a text is compared with what a
//! plain one makes of it, what is read is written and read again, and messages hold nothing of the input.

pub mod admin;
pub mod answers;
pub mod event;
pub mod files;
pub mod import;
pub mod leads;
pub mod sign_up;
pub mod texts;

use serde_json::{Map, Value};

/// What runs an input.
pub type Run = fn(&[u8]);

/// All targets: their names, which are those of their programs and of the directories of their inputs, and what runs an
/// input.
pub const TARGETS: [(&str, Run); 9] = [
    ("admin", admin::run),
    ("answers", answers::run),
    ("checkpoint", import::run_checkpoint),
    ("event", event::run),
    ("files", files::run),
    ("import", import::run),
    ("leads", leads::run),
    ("sign_up", sign_up::run),
    ("texts", texts::run),
];

/// The body as a JSON object, where a plain reader takes it for one and it is nested no deeper than is read.
/// `None` says nothing: the fast readers leave texts unread that this one refuses.
fn plain_object(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(body).ok()? {
        Value::Object(object) if depth(&Value::Object(object.clone())) <= 32 => Some(object),
        _ => None,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or(0),
        Value::Object(values) => 1 + values.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A field, `null` being absent.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A message without the positions in it: `ids[7] must be a string` is `ids[] must be a string`.
fn without_positions(message: &str) -> String {
    let mut shown = String::new();
    let mut in_brackets = false;
    for c in message.chars() {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            c if in_brackets && c.is_ascii_digit() => continue,
            _ => {}
        }
        shown.push(c);
    }
    shown
}

/// What all bodies have in common that are refused as a whole.
const BODY: [&str; 4] = [
    "body must be UTF-8",
    "body must not be nested deeper than 32 levels",
    "body must be a JSON object",
    "body must be valid JSON",
];

/// The message is one of those known, which hold nothing of the input.
fn assert_known(message: &str, known: &[&str]) {
    let shown = without_positions(message);
    assert!(
        BODY.contains(&shown.as_str()) || known.contains(&shown.as_str()),
        "a message of its own: {message}"
    );
}

/// The position that a message names.
fn position(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once('[')?;
    rest.split_once(']')?.0.parse().ok()
}

/// The first byte as a choice among so many, and the rest.
fn choice(data: &[u8], of: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first) % of, rest))
}

#[cfg(test)]
mod tests {
    use super::TARGETS;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn each_target_has_its_program_and_its_dictionary() {
        let names = BTreeSet::from(TARGETS.map(|(name, _)| name.to_owned()));
        assert_eq!(names.len(), TARGETS.len());
        for (directory, ending) in [("libfuzzer/fuzz_targets", ".rs"), ("dictionaries", "")] {
            let entries = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).read_dir().unwrap();
            let found = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let found: BTreeSet<_> =
                found.map(|name| name.strip_suffix(ending).unwrap_or(&name).to_owned()).collect();
            assert_eq!(found, names, "{directory}");
        }
        let manifest = include_str!("../libfuzzer/Cargo.toml");
        let programs = manifest.split("[[bin]]").skip(1).map(|bin| bin.split('"').nth(1).unwrap_or_default());
        assert_eq!(programs.map(str::to_owned).collect::<BTreeSet<_>>(), names);
    }
}
