//! The figures as Markdown tables, and as a plot.

use crate::build::FUNCTIONS;
use crate::measure::{Samples, median, quantile};
use crate::throughput::Row;
use crate::works::{Group, thousands};
use std::fmt::Write;
use std::path::Path;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) machine: Vec<(&'static str, String)>,
    pub(crate) skipped: Vec<String>,
    pub(crate) groups: Vec<(Group, Vec<Samples>)>,
    /// Name, file and package in KB.
    pub(crate) sizes: Vec<(&'static str, usize, usize)>,
    /// Group, label and millions of instructions.
    pub(crate) instructions: Vec<(&'static str, String, f64)>,
    /// What the local stack serves.
    pub(crate) throughput: Vec<Row>,
}

/// Lambda's price of a GB for a second, on x86-64, in USD.
const GIGABYTE_SECOND: f64 = 0.000_016_666_7;
/// Lambda's price of a million requests, in USD.
const REQUESTS: f64 = 0.20;

/// What is shown of a case.
type Figure = fn(&Samples) -> f64;

/// A figure that was aimed at, and what was found; `None` where it was not measured.
struct Target {
    what: &'static str,
    most: f64,
    found: Option<f64>,
}

impl Report {
    fn samples(&self, group: &str, label: &str) -> Option<&Samples> {
        let (group, samples) = self.groups.iter().find(|(known, _)| known.name == group)?;
        group.cases.iter().zip(samples).find(|(case, _)| case.label == label).map(|(_, samples)| samples)
    }

    /// A value of a case in terms of that of another one.
    fn ratio(&self, one: (&str, &str), other: (&str, &str), of: Figure) -> Option<f64> {
        let ratio = of(self.samples(one.0, one.1)?) / of(self.samples(other.0, other.1)?);
        ratio.is_finite().then_some(ratio)
    }

    fn instructions_of(&self, label: &str) -> Option<f64> {
        let found =
            self.instructions.iter().find(|(group, known, _)| *group == "leads-100" && known == label);
        found.map(|(_, _, millions)| *millions)
    }

    /// What the functions were meant to reach.
    fn targets(&self) -> Vec<Target> {
        let leads = ("leads-100", "leads");
        let target = |what, most, found| Target { what, most, found };
        let largest = |values: Vec<f64>| {
            (values.len() == FUNCTIONS.len()).then(|| values.into_iter().fold(0.0, f64::max))
        };
        let packages = self.sizes.iter().filter(|(name, _, _)| FUNCTIONS.contains(name));
        let packages = packages.map(|(_, _, package)| *package as f64 / 1024.0).collect();
        let memory = [leads, ("sign-up", "signup"), ("token", "token")];
        let memory = memory.iter().filter_map(|(group, label)| Some(self.samples(group, label)?.memory));
        let deepest = self.groups.iter().find(|(group, _)| group.name == "pages-100");
        let deepest = deepest.and_then(|(group, _)| Some(group.cases.get(2)?.label.clone()));
        let page = |of: Figure| self.ratio(("pages-100", deepest.as_deref()?), ("pages-100", "offset 0"), of);
        let instructions = || Some(self.instructions_of("leads")? / self.instructions_of("naive")?);
        vec![
            target(
                "cold start, leads by 100 emails: CPU / naive",
                0.36,
                self.ratio(leads, (leads.0, "naive"), cold),
            ),
            target(
                "the same over TLS: CPU / naive",
                0.15,
                self.ratio(("tls", "leads"), ("tls", "naive"), cold),
            ),
            target("the same without TLS: CPU / hello", 1.5, self.ratio(leads, (leads.0, "hello"), cold)),
            target("leads by 100 emails: CPU / naive", 0.55, self.ratio(leads, (leads.0, "naive"), warm)),
            target("the same: instructions / naive", 0.60, instructions()),
            target("peak memory of leads, signup and token, MB", 8.0, largest(memory.collect())),
            target("deployment package of leads, signup and token, MB", 3.0, largest(packages)),
            target(
                "leads by 5,000 emails: CPU / by 100",
                45.0,
                self.ratio(("leads-5000", "leads"), leads, warm),
            ),
            target(
                "sign-up: CPU / naive",
                1.5,
                self.ratio(("sign-up", "signup"), ("sign-up", "naive"), warm),
            ),
            target("a page at the deepest offset: read units / at offset 0", 1.3, page(read)),
            target("the same: rounds of calls / at offset 0", 1.3, page(rounds)),
        ]
    }

    /// Writes the tables and the plot; gives the tables.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<String> {
        let text = self.markdown();
        std::fs::write(folder.join("table.md"), &text)?;
        if let Some(plot) = self.plot() {
            std::fs::write(folder.join("bench.svg"), plot)?;
        }
        Ok(text)
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n| machine | |\n| --- | --- |\n", self.title);
        for (name, value) in &self.machine {
            row(&mut text, &[(*name).to_owned(), value.clone()]);
        }
        for reason in &self.skipped {
            let _ = writeln!(text, "\n{reason}.");
        }
        for (group, samples) in &self.groups {
            table(&mut text, group, samples);
        }
        if !self.sizes.is_empty() {
            text.push_str("\n### Size\n\n| program | file, KB | zipped, KB |\n| --- | ---: | ---: |\n");
            for (name, file, package) in &self.sizes {
                row(&mut text, &[(*name).to_owned(), thousands(*file), thousands(*package)]);
            }
        }
        if !self.instructions.is_empty() {
            text.push_str("\n### Instructions of an invocation, counted by callgrind\n\n");
            text.push_str("| work | program | millions |\n| --- | --- | ---: |\n");
            for (group, label, millions) in &self.instructions {
                row(&mut text, &[(*group).to_owned(), label.clone(), format!("{millions:.2}")]);
            }
        }
        if !self.throughput.is_empty() {
            text.push_str("\n### Throughput of the local stack, in requests a second (`local-stack`)\n\n");
            text.push_str(
                "| work | connections | gateway | p99, ms | engine alone | p99, ms | gateway / engine |\n",
            );
            text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
            for Row { work, connections, gateway, engine } in &self.throughput {
                let rates = [gateway, engine]
                    .map(|rate| (thousands(rate.per_second as usize), significant(rate.p99)));
                let [(served, p99), (alone, alone_p99)] = rates;
                let ratio = format!("{:.2}", gateway.per_second / engine.per_second);
                row(
                    &mut text,
                    &[(*work).to_owned(), connections.to_string(), served, p99, alone, alone_p99, ratio],
                );
            }
        }
        text.push_str("\n### Targets\n\n| | at most | found | |\n| --- | ---: | ---: | --- |\n");
        for Target { what, most, found } in self.targets() {
            let (value, verdict) = match found {
                None => ("–".to_owned(), "not measured"),
                Some(found) if found <= most => (format!("{found:.2}"), "reached"),
                Some(found) => (format!("{found:.2}"), "not reached"),
            };
            row(&mut text, &[what.to_owned(), most.to_string(), value, verdict.to_owned()]);
        }
        text
    }

    /// A plot of what is compared with the baselines; `None` where none of it was measured.
    pub(crate) fn plot(&self) -> Option<String> {
        let shown = self.groups.iter().filter(|(group, _)| group.cold && group.base == "naive");
        let panels: [(&str, Figure); 3] = [
            ("CPU of a cold start, ms", cold),
            ("CPU of an invocation, ms", |samples| warm(samples) / 1000.0),
            ("peak memory, MB", |samples| samples.memory),
        ];
        let (mut body, mut top) = (String::new(), 20);
        for (group, samples) in shown {
            let _ = writeln!(body, r#"<text x="16" y="{}" class="title">{}</text>"#, top + 8, group.title);
            for (number, (name, value)) in panels.iter().enumerate() {
                let left = 84 + number * 300;
                let _ = writeln!(body, r#"<text x="{left}" y="{}">{name}</text>"#, top + 30);
                let largest = samples.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
                for (at, (case, samples)) in group.cases.iter().zip(samples).enumerate() {
                    let (y, value) = (top + 38 + at * 22, value(samples));
                    let width = (value / largest * 150.0).max(1.0);
                    let class = if at == 0 { "own" } else { "other" };
                    if number == 0 {
                        let _ = writeln!(
                            body,
                            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
                            left - 8,
                            y + 13,
                            case.label
                        );
                    }
                    let _ = writeln!(
                        body,
                        r#"<rect x="{left}" y="{y}" width="{width:.1}" height="16" class="{class}"/>"#
                    );
                    let end = left as f64 + width + 6.0;
                    let _ =
                        writeln!(body, r#"<text x="{end:.1}" y="{}">{}</text>"#, y + 13, significant(value));
                }
            }
            top += 58 + group.cases.len() * 22;
        }
        let head = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 940 {top}" font-family="sans-serif" font-size="13">
<style>.title{{font-weight:bold}}.own{{fill:#1d6fa5}}.other{{fill:#b4bcc4}}text{{fill:#1a1d21}}</style>
<rect width="940" height="{top}" fill="#fff"/>
"##
        );
        (!body.is_empty()).then(|| format!("{head}{body}</svg>\n"))
    }
}

fn cold(samples: &Samples) -> f64 {
    median(&samples.cold_cpu)
}

fn warm(samples: &Samples) -> f64 {
    median(&samples.warm_cpu)
}

fn read(samples: &Samples) -> f64 {
    samples.capacity.map_or(f64::NAN, |(_, read)| read)
}

fn rounds(samples: &Samples) -> f64 {
    samples.capacity.map_or(f64::NAN, |(rounds, _)| rounds as f64)
}

/// Three digits, which is more than two runs have in common.
fn significant(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn table(text: &mut String, group: &Group, all: &[Samples]) {
    let base = group.cases.iter().position(|case| case.label == group.base).and_then(|at| all.get(at));
    let over = |name: &str| format!("/ {}", name.trim_start_matches("at "));
    let mut heads = vec![String::new()];
    let heading =
        |heads: &mut Vec<String>, names: &[&str]| heads.extend(names.iter().map(|n| (*n).to_owned()));
    if group.cold {
        heading(&mut heads, &["cold CPU, ms", &over(group.base), "cold, ms"]);
    }
    heading(&mut heads, &["CPU, µs", &over(group.base), "p50, ms", "p99, ms", "peak memory, MB"]);
    if group.capacity {
        heading(&mut heads, &["rounds", "read units"]);
    }
    let is_limited = group.cases.iter().any(|case| case.limit.is_some());
    if is_limited {
        heading(&mut heads, &["mean, ms", "USD per million"]);
    }
    let _ = writeln!(text, "\n### {} (`{}`)\n", group.title, group.name);
    row(text, &heads);
    let rules = heads.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }.to_owned());
    row(text, &rules.collect::<Vec<_>>());
    for (case, samples) in group.cases.iter().zip(all) {
        let ratio =
            |of: Figure| base.map_or_else(|| "–".to_owned(), |base| format!("{:.2}", of(samples) / of(base)));
        let mut cells = vec![case.label.clone()];
        if group.cold {
            let wall = significant(median(&samples.cold_wall));
            cells.extend([significant(cold(samples)), ratio(cold), wall]);
        }
        let cpu = thousands(warm(samples).round() as usize);
        let latency = |part| significant(quantile(&samples.latency, part));
        cells.extend([cpu, ratio(warm), latency(0.5), latency(0.99), format!("{:.1}", samples.memory)]);
        if group.capacity {
            cells.extend([format!("{}", rounds(samples)), format!("{:.1}", read(samples))]);
        }
        if let Some((memory, _)) = &case.limit {
            let mean = samples.latency.iter().sum::<f64>() / samples.latency.len() as f64;
            let gigabyte_seconds = mean.ceil() / 1000.0 * *memory as f64 / 1024.0;
            let price = gigabyte_seconds * GIGABYTE_SECOND * 1e6 + REQUESTS;
            cells.extend([significant(mean), format!("{price:.2}")]);
        }
        row(text, &cells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_said_to_be_so() {
        let text = Report::default().markdown();
        assert_eq!(text.matches("not measured").count(), Report::default().targets().len());
        assert_eq!(Report::default().plot(), None);
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([1.234, 12.34, 123.4].map(significant), ["1.23", "12.3", "123"]);
    }
}
