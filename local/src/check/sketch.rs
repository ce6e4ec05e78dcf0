//! Two sides compared by sums of digests, in a fixed amount of memory.

use super::repair::{Mend, Planned, REPAIRS_MAX};
use super::{Kind, PROBLEMS_MAX, Problem};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One thing that is stored in two places, or follows from one and is stored in another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Fact {
    pub(super) kind: Kind,
    pub(super) table: &'static str,
    pub(super) key: String,
    /// Name and value of what is compared.
    pub(super) fields: Vec<(String, String)>,
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Sums of facts' digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Found facts less due ones: zero where the sides agree, and not zero where they do not, but
    /// for one chance in 2^64.
    pub(super) difference: u64,
    /// Due ones: the same in two walks where nothing was written meanwhile.
    pub(super) due: u64,
}

/// Sums by cell.
#[derive(Debug)]
pub(super) struct Sketch(pub(super) Vec<Sums>);

impl Sketch {
    /// 16 MB: so many that a change under way seldom falls into the cell of a real difference.
    const CELLS: usize = 1 << 20;

    pub(super) fn new() -> Self {
        Self(vec![Sums::default(); Self::CELLS])
    }

    /// By kind and key only, so that both sides of a key come together.
    pub(super) fn cell(fact: &Fact) -> usize {
        hash(&(fact.kind, fact.table, &fact.key)) as usize % Self::CELLS
    }

    pub(super) fn add(&mut self, fact: &Fact, found: i64, due: i64) -> usize {
        let (cell, digest) = (Self::cell(fact), hash(fact));
        if let Some(sums) = self.0.get_mut(cell) {
            sums.difference = sums.difference.wrapping_add(digest.wrapping_mul((found - due) as u64));
            sums.due = sums.due.wrapping_add(digest.wrapping_mul(due as u64));
        }
        cell
    }

    pub(super) fn get(&self, cell: usize) -> Sums {
        self.0.get(cell).copied().unwrap_or_default()
    }

    /// The cells that differ and are the same in both.
    pub(super) fn steady(&self, other: &Self) -> Vec<(usize, Sums)> {
        let both = self.0.iter().zip(&other.0).enumerate();
        let steady = both.filter(|(_, (one, other))| one.difference != 0 && one == other);
        steady.map(|(cell, (sums, _))| (cell, *sums)).collect()
    }

    /// How many cells differ in this walk and the earlier ones, and not by the same.
    pub(super) fn unsettled(&self, earlier: [&Self; 2]) -> u64 {
        let differing = self.0.iter().enumerate().filter(|(_, last)| last.difference != 0);
        let moving = differing.filter(|(cell, last)| {
            let [first, second] = earlier.map(|sketch| sketch.get(*cell));
            first.difference != 0 && second.difference != 0 && (first, second) != (second, **last)
        });
        moving.count() as u64
    }
}

/// Problems by a digest that is the same in every walk. Of too many, every walk keeps the same.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) found: BTreeMap<u64, Problem>,
    pub(super) more: u64,
    /// What can be repaired, also of problems that are too many to be kept.
    pub(super) repairs: BTreeMap<u64, Planned>,
}

impl Noted {
    pub(super) fn add(&mut self, id: u64, problem: Problem, key: &str, mend: Mend) {
        if let Mend::Repair(repair) = mend {
            let place = hash(&(problem.kind, problem.table, key));
            self.repairs.insert(id, Planned { problem: problem.clone(), place, repair: *repair });
            if self.repairs.len() > REPAIRS_MAX {
                self.repairs.pop_last();
            }
        }
        self.found.insert(id, problem);
        if self.found.len() > PROBLEMS_MAX {
            self.found.pop_last();
            self.more += 1;
        }
    }

    /// Keeps what earlier walks have as well.
    pub(super) fn retain_same(&mut self, earlier: [&Self; 2]) {
        self.found.retain(|id, _| earlier.iter().all(|walk| walk.found.contains_key(id)));
        self.repairs.retain(|id, _| earlier.iter().all(|walk| walk.repairs.contains_key(id)));
        // Where one walk met more than it keeps, the others did as well.
        self.more = earlier.iter().fold(self.more, |more, walk| more.min(walk.more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(key: &str, field: &str) -> Fact {
        let fields = vec![("f".to_owned(), field.to_owned())];
        Fact { kind: Kind::Lead, table: "clients", key: key.to_owned(), fields }
    }

    #[test]
    fn a_sketch_is_zero_where_both_sides_agree_in_whatever_order() {
        let mut sketch = Sketch::new();
        for number in 0..100 {
            sketch.add(&fact(&number.to_string(), "a"), 3, 0);
        }
        for number in (0..100).rev() {
            sketch.add(&fact(&number.to_string(), "a"), 0, 1);
            sketch.add(&fact(&number.to_string(), "a"), 0, 2);
        }
        assert!(sketch.0.iter().all(|sums| sums.difference == 0));
        sketch.add(&fact("7", "a"), 1, 0);
        let cell = sketch.add(&fact("7", "b"), 0, 1);
        assert_eq!(sketch.steady(&sketch).iter().map(|(cell, _)| *cell).collect::<Vec<_>>(), [cell]);
    }

    #[test]
    fn a_cell_that_differs_by_the_same_is_steady_only_where_nothing_was_written_to_it() {
        let of = |found, due| {
            let mut sketch = Sketch::new();
            sketch.add(&fact("k", "a"), found, due);
            sketch
        };
        assert_eq!(of(3, 4).steady(&of(3, 4)).len(), 1);
        assert_eq!(of(3, 4).steady(&of(4, 5)), []);
        assert_eq!(of(3, 4).steady(&of(4, 4)), []);
        assert_eq!(of(5, 6).unsettled([&of(3, 4), &of(4, 5)]), 1);
        assert_eq!(of(3, 4).unsettled([&of(3, 4), &of(3, 4)]), 0);
        assert_eq!(of(4, 4).unsettled([&of(3, 4), &of(3, 4)]), 0);
    }

    #[test]
    fn of_too_many_problems_every_walk_keeps_the_same() {
        let (mut one, mut other) = (Noted::default(), Noted::default());
        let problem = Problem {
            kind: Kind::Client,
            table: "clients",
            key: String::new(),
            what: String::new(),
            remedy: String::new(),
        };
        for id in 0..1500 {
            one.add(id, problem.clone(), "", Mend::Operator(""));
            other.add(1499 - id, problem.clone(), "", Mend::Operator(""));
        }
        assert_eq!((one.found.len(), one.more), (PROBLEMS_MAX, 500));
        assert!(one.found.keys().eq(other.found.keys()) && one.more == other.more);
    }
}
