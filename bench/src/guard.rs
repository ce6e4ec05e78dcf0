//! The guard against regressions: instructions of stable work, compared with figures that are checked in.
//! They are the same on every machine but for a few of a hundred, which times are not.

use crate::measure::Numbers;
use crate::works::Group;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What is compared: a group, and the label of one of its cases.
const WORKS: [(&str, &str); 7] = [
    ("leads-1", "leads"),
    ("leads-100", "leads"),
    ("pages-100", "offset 0"),
    ("pages-100", "by updatedDate"),
    ("sign-up", "signup"),
    ("refused", "leads, malformed"),
    ("token", "token"),
];
/// By how much a figure may be above the one that is checked in: compilers, C libraries and the order of
/// events differ.
const TOLERANCE: f64 = 1.08;

/// Figures in millions of instructions by work.
type Figures = BTreeMap<String, f64>;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// Counts the instructions of all works.
pub(crate) fn count(numbers: &Numbers, groups: &[Group], out: &Path) -> Result<Figures> {
    let mut figures = Figures::new();
    for (name, label) in WORKS {
        let group = groups.iter().find(|group| group.name == name).context("no such group")?;
        let case = group.cases.iter().find(|case| case.label == label).context("no such case")?;
        crate::tell(&format!("counting instructions of {name}, {label}"));
        let millions = numbers.instructions(group, case, out).with_context(|| format!("{name}, {label}"))?;
        figures.insert(format!("{name}, {label}"), (millions * 100.0).round() / 100.0);
    }
    Ok(figures)
}

/// Checks the figures in.
pub(crate) fn renew(figures: &Figures) -> Result<String> {
    std::fs::write(file(), serde_json::to_string_pretty(figures)? + "\n")?;
    compare(figures)
}

/// Compares the figures with those that are checked in.
///
/// # Errors
/// One is too high, or there is none.
pub(crate) fn compare(figures: &Figures) -> Result<String> {
    let known: Figures = serde_json::from_str(&std::fs::read_to_string(file())?)?;
    judge(figures, &known)
}

fn judge(figures: &Figures, known: &Figures) -> Result<String> {
    let mut text =
        String::from("| millions of instructions | checked in | now | |\n| --- | ---: | ---: | --- |\n");
    let mut worse = Vec::new();
    for (work, now) in figures {
        let before = known.get(work).with_context(|| format!("no figure of {work} is checked in"))?;
        let verdict = match now / before {
            ratio if ratio > TOLERANCE => {
                worse.push(format!("{work}: {now} million instructions where {before} were checked in"));
                "too many"
            }
            ratio if ratio < 1.0 / TOLERANCE => "fewer; `--renew` checks them in",
            _ => "",
        };
        let _ = writeln!(text, "| {work} | {before:.2} | {now:.2} | {verdict} |");
    }
    if !worse.is_empty() {
        bail!("{text}\n{}", worse.join("\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_instructions_than_tolerated_fail() {
        let figures = |millions: f64| Figures::from([("leads".to_owned(), millions)]);
        assert!(judge(&figures(1.07), &figures(1.0)).is_ok());
        assert!(judge(&figures(1.09), &figures(1.0)).unwrap_err().to_string().contains("too many"));
        assert!(judge(&figures(0.9), &figures(1.0)).unwrap().contains("--renew"));
        assert!(judge(&figures(1.0), &Figures::new()).is_err());
    }
}
