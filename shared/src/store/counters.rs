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

/// Most shards of a counter's item.
pub const SHARDS: u8 = 8;
/// Length of a cell.
pub const CELL_MS: i64 = 4 * 3_600_000;
/// Attribute of the counters per status.
pub const STATUS_COUNT: &str = "n";
const CELLS_PER_DAY: i64 = 6;
/// More leads than any group has; so many groups of so many do not overflow.
const GROUP_MAX: u64 = 1 << 40;
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

/// A month that cells are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    first_cell: i64,
    days: i64,
}

impl Month {
    /// Reads `YYYYMM`.
    pub fn parse(month: &str) -> Option<Self> {
        let date =
            jiff::civil::Date::new(month.get(..4)?.parse().ok()?, month.get(4..)?.parse().ok()?, 1).ok()?;
        let days = date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days();
        Some(Self { first_cell: i64::from(days) * CELLS_PER_DAY, days: date.days_in_month().into() })
    }

    /// The cell that an attribute of the month's item counts; `None` for other attributes.
    pub fn cell(self, attribute: [u8; 2]) -> Option<i64> {
        let [code, part] = attribute;
        let day = match code {
            b'1'..=b'9' => code - b'1',
            b'a'..=b'v' => code - b'a' + 9,
            _ => return None,
        };
        let (day, part) = (i64::from(day), i64::from(part.checked_sub(b'0')?));
        (day < self.days && part < CELLS_PER_DAY).then_some(self.first_cell + day * CELLS_PER_DAY + part)
    }
}

/// The cell that an attribute of a month's item counts; `None` for other attributes.
pub fn cell_of_attribute(month: &str, attribute: &str) -> Option<i64> {
    Month::parse(month)?.cell(attribute.as_bytes().try_into().ok()?)
}

/// How many leads a list has in each of its groups in order: cells, or seconds by their number from 1970.
/// Groups without any are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<(i64, u64)>);

impl Groups {
    /// Sums up what the shards have. A shard can be below zero where a lead left by another one.
    pub fn of(mut shards: Vec<(i64, i64)>) -> Self {
        // Nearly sorted already: shards come in the order of their items.
        shards.sort_by_key(|(group, _)| *group);
        shards.dedup_by(|(group, count), (kept, sum)| {
            let same = group == kept;
            *sum = sum.saturating_add(if same { *count } else { 0 });
            same
        });
        let counted =
            |(group, sum)| Some((group, u64::try_from(sum).ok().filter(|sum| *sum > 0)?.min(GROUP_MAX)));
        Self(shards.into_iter().filter_map(counted).collect())
    }

    /// The groups, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> {
        self.0.iter().copied()
    }

    /// Leads of all groups.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Leads before the group.
    pub fn before(&self, group: i64) -> u64 {
        self.0.iter().take_while(|(known, _)| *known < group).map(|(_, count)| count).sum()
    }

    /// Leads of the group.
    pub fn within(&self, group: i64) -> u64 {
        self.find(group).map_or(0, |at| self.0[at].1)
    }

    /// Changes the count of a group that has leads.
    pub fn change(&mut self, group: i64, to: impl FnOnce(u64) -> u64) {
        if let Some(at) = self.find(group) {
            self.0[at].1 = to(self.0[at].1);
        }
    }

    fn find(&self, group: i64) -> Option<usize> {
        self.0.binary_search_by_key(&group, |(known, _)| *known).ok()
    }

    /// Where the `rank`th lead (from 0) lies: the group, and how many leads of it come before. `None` past
    /// the end.
    pub fn locate(&self, rank: u64) -> Option<(i64, u64)> {
        let mut before = 0;
        for (group, count) in &self.0 {
            if rank < before + count {
                return Some((*group, rank - before));
            }
            before += count;
        }
        None
    }
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
    fn shards_are_summed_up_and_ranks_found() {
        let mut groups =
            Groups::of(vec![(10, 5), (30, 4), (40, 2), (10, -3), (20, 1), (30, -1), (20, -1), (40, -9)]);
        assert_eq!(groups.iter().collect::<Vec<_>>(), [(10, 2), (30, 3)]);
        let found: Vec<_> = (0..6).map(|rank| groups.locate(rank)).collect();
        assert_eq!(found, [Some((10, 0)), Some((10, 1)), Some((30, 0)), Some((30, 1)), Some((30, 2)), None]);
        assert_eq!((groups.total(), groups.before(10), groups.before(30), groups.before(99)), (5, 0, 2, 5));
        assert_eq!((groups.within(30), groups.within(20)), (3, 0));
        // No list has as many; it is not to end the process.
        let absurd = Groups::of(vec![(1, i64::MAX), (1, i64::MAX), (2, i64::MAX), (3, i64::MAX)]);
        assert_eq!((absurd.total(), absurd.locate(u64::MAX)), (3 * GROUP_MAX, None));
        groups.change(30, |count| count - 3);
        groups.change(20, |count| count + 1);
        assert_eq!((groups.total(), groups.locate(2)), (2, None));
    }
}
