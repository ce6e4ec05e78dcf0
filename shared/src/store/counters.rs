//! Counters of the leads in a list: how a page finds its place and a total is known without
//! reading what lies before it.
//!
//! Time is cut into cells of four hours, counted in one item a month, and each cell into seconds,
//! counted in one item a minute. A sign-up adds one to both, in its transaction. Reading a list's
//! months tells which cell an offset falls into; where that cell holds many leads, reading its
//! minutes tells the second. Both reads are bounded: three years of months are about 35 KB, and
//! the busiest possible cell has 240 minutes of 60 seconds, about 90 KB.
//!
//! Transactions on one item at one time cancel each other, so an item can have shards: a writer
//! uses shard 0 until it meets such a conflict, and then a random one of [`SHARDS`]. A list that
//! never meets one stays at one shard and is as cheap to read as can be.

use super::keys;
use crate::model::Timestamp;
use std::collections::BTreeMap;

/// Most shards of a counter's item.
pub const SHARDS: u8 = 8;
/// Length of a cell.
pub const CELL_MS: i64 = 4 * 3_600_000;
/// Attribute of the counters per status.
pub const STATUS_COUNT: &str = "n";
const CELLS_PER_DAY: i64 = 6;
const DAY_CODES: &[u8; 31] = b"123456789abcdefghijklmnopqrstuv";

/// The cell that holds a moment, counted from 1970.
pub fn cell_of(millis: i64) -> i64 {
    millis.div_euclid(CELL_MS)
}

/// First moment of a cell.
pub fn cell_start(cell: i64) -> i64 {
    cell * CELL_MS
}

/// One counter: the item's key and the attribute that is counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
    /// Attribute.
    pub attribute: String,
}

/// The two counters of a lead's moment in a list.
pub fn of_moment(list: &str, moment: Timestamp, shard: u8) -> [Counter; 2] {
    let millis = moment.millis();
    let cell = cell_of(millis);
    let (month, attribute) = month_cell(cell);
    let minute = millis.div_euclid(60_000);
    let second = millis.div_euclid(1000).rem_euclid(60);
    [
        Counter { pk: keys::month_counters(list), sk: format!("{month}#{shard}"), attribute },
        Counter {
            pk: keys::minute_counters(list, cell),
            sk: format!("{minute:09}#{shard}"),
            attribute: format!("{second:02}"),
        },
    ]
}

/// The month (`YYYYMM`) a cell is counted in, and its attribute there: a character for the day
/// and a digit for the part of the day, because an attribute's name is paid for in each item.
pub fn month_cell(cell: i64) -> (String, String) {
    let day =
        jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(cell.div_euclid(CELLS_PER_DAY)));
    let code = DAY_CODES.get(day.day() as usize - 1).copied().unwrap_or(b'1');
    let attribute = format!("{}{}", char::from(code), cell.rem_euclid(CELLS_PER_DAY));
    (format!("{:04}{:02}", day.year(), day.month()), attribute)
}

/// The cell that an attribute of a month's item counts; `None` for other attributes.
pub fn cell_of_attribute(month: &str, attribute: &str) -> Option<i64> {
    let [code, part] = attribute.as_bytes() else { return None };
    let day = DAY_CODES.iter().position(|known| known == code)? + 1;
    let part = i64::from(part.checked_sub(b'0')?);
    let date =
        jiff::civil::Date::new(month.get(..4)?.parse().ok()?, month.get(4..)?.parse().ok()?, day as i8)
            .ok()?;
    let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
    (part < CELLS_PER_DAY).then_some(i64::from(days) * CELLS_PER_DAY + part)
}

/// How many leads a list has in each cell; cells without any are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(pub BTreeMap<i64, u64>);

/// How many leads a cell has in each second, by the second's number from 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seconds(pub BTreeMap<i64, u64>);

impl Seconds {
    /// Leads before the second.
    pub fn before(&self, second: i64) -> u64 {
        self.0.range(..second).map(|(_, count)| count).sum()
    }

    /// Leads of the second.
    pub fn within(&self, second: i64) -> u64 {
        self.0.get(&second).copied().unwrap_or(0)
    }
}

/// Where the `rank`th entry (from 0) of counted, ordered groups lies: the group's key, and how
/// many entries of the group come before it. `None` past the end.
pub fn locate(groups: &BTreeMap<i64, u64>, rank: u64) -> Option<(i64, u64)> {
    let mut before = 0;
    for (key, count) in groups {
        if rank < before + count {
            return Some((*key, rank - before));
        }
        before += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_name_their_cells_both_ways() {
        let last = cell_of(Timestamp::MAX.millis());
        for cell in (0..=last).step_by(7).chain([last]) {
            let (month, attribute) = month_cell(cell);
            assert_eq!((month.len(), attribute.len()), (6, 2));
            assert_eq!(cell_of_attribute(&month, &attribute), Some(cell), "{month} {attribute}");
        }
        for (month, attribute) in
            [("202602", "u0"), ("202601", "16"), ("202601", "pk"), ("2026", "10"), ("202601", "n")]
        {
            assert_eq!(cell_of_attribute(month, attribute), None, "{month} {attribute}");
        }
    }

    #[test]
    fn a_moment_is_counted_in_its_month_and_its_second() {
        let moment = Timestamp::parse_iso("2026-11-24T13:45:59.999Z").unwrap();
        let [month, second] = of_moment("B#1", moment, 3);
        assert_eq!(
            (month.pk.as_str(), month.sk.as_str(), month.attribute.as_str()),
            ("M#B#1", "202611#3", "o3")
        );
        assert_eq!(second.pk, format!("S#B#1#{}", moment.millis() / CELL_MS));
        assert_eq!(
            (second.sk, second.attribute.as_str()),
            (format!("{:09}#3", moment.millis() / 60_000), "59")
        );
    }

    #[test]
    fn ranks_are_found_in_their_groups() {
        let groups = BTreeMap::from([(10, 2), (20, 0), (30, 3)]);
        let found: Vec<_> = (0..6).map(|rank| locate(&groups, rank)).collect();
        assert_eq!(found, [Some((10, 0)), Some((10, 1)), Some((30, 0)), Some((30, 1)), Some((30, 2)), None]);
    }
}
