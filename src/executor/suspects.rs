//! Which row a task's workers die of.
//!
//! Two workers that die of a task may have been killed by anything. From the third on its rows are looked at one by one,
//! and a worker says which. A row at which two workers die is poison: it is left out, and the task starts afresh. Whoever
//! kills workers from outside hits another row each time, and so makes no row poison.

use std::collections::BTreeMap;

use laioncele_core::spec::RowCare;

use super::TaskIndex;

/// Workers that die at a row until it is poison.
const DEATHS: u32 = 2;
/// Rows of one task that may be poison: more are no bad rows but a broken program or machine.
const MAX_POISON: usize = 16;
/// Deaths at rows that turn out to be harmless, until a task is given up.
const MAX_STRAY: u32 = 4;

/// What follows from a death at a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look once more.
    NotSure,
    /// The row is poison.
    Poison,
    /// Too many rows for a matter of rows.
    TooMany,
}

/// The tasks that workers died of.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeMap<TaskIndex, Suspect>);

#[derive(Debug, Default)]
struct Suspect {
    /// Deaths by row, without those of poison.
    deaths: BTreeMap<u64, u32>,
    poison: BTreeMap<u64, String>,
}

impl Suspects {
    /// A worker died at `row` of `task`, which was looked at by itself; `how` it ended.
    pub(super) fn died_at(&mut self, task: TaskIndex, row: u64, how: &str) -> Verdict {
        let suspect = self.0.entry(task).or_default();
        let deaths = suspect.deaths.entry(row).or_default();
        *deaths += 1;
        if *deaths >= DEATHS {
            suspect.deaths.remove(&row);
            suspect.poison.insert(row, how.to_owned());
            return match suspect.poison.len() > MAX_POISON {
                true => Verdict::TooMany,
                false => Verdict::Poison,
            };
        }
        match suspect.deaths.values().sum::<u32>() > MAX_STRAY {
            true => Verdict::TooMany,
            false => Verdict::NotSure,
        }
    }

    /// How the next attempt at `task` treats its rows.
    pub(super) fn care(&self, task: TaskIndex, one_by_one: bool) -> RowCare {
        let suspect = self.0.get(&task).into_iter();
        let poison = suspect.flat_map(|suspect| &suspect.poison);
        RowCare {
            one_by_one,
            poison: poison.map(|(row, how)| (*row, how.clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_at_which_two_workers_die_is_poison() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.died_at(0, 7, "x"), Verdict::NotSure);
        assert_eq!(
            suspects.died_at(1, 7, "x"),
            Verdict::NotSure,
            "another task"
        );
        assert_eq!(suspects.died_at(0, 8, "x"), Verdict::NotSure);
        assert_eq!(suspects.died_at(0, 7, "was ended"), Verdict::Poison);
        let care = suspects.care(0, false);
        assert_eq!(care.poison, [(7, "was ended".to_owned())]);
        assert!(suspects.care(2, true).poison.is_empty());
    }

    #[test]
    fn deaths_at_ever_other_rows_make_no_row_poison() {
        let mut suspects = Suspects::default();
        let verdicts: Vec<_> = (0..5).map(|row| suspects.died_at(0, row, "x")).collect();
        assert_eq!(verdicts[..4], [Verdict::NotSure; 4]);
        assert_eq!(verdicts[4], Verdict::TooMany);
        assert!(suspects.care(0, true).poison.is_empty());
    }

    #[test]
    fn too_many_poisonous_rows_are_no_matter_of_rows() {
        let mut suspects = Suspects::default();
        let twice = |row| {
            suspects.died_at(0, row, "x");
            suspects.died_at(0, row, "x")
        };
        let verdicts: Vec<_> = (0..17).map(twice).collect();
        assert!(verdicts[..16].iter().all(|v| *v == Verdict::Poison));
        assert_eq!(verdicts[16], Verdict::TooMany);
    }
}
