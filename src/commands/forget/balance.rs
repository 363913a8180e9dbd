//! A record's counts without what was taken away. The rows leave the balances of the tasks that they passed, so that what a step lets
//! out is what the next takes in; at extract-names, where they entered, they stay as dropped.

use std::collections::BTreeMap;

use laioncele_core::forgotten::{Forgotten, Removed};
use laioncele_core::ledger::Record;
use laioncele_core::{DropReason, NameId, TableId, Unit};

/// Makes the balances and metrics of `record` those of what is left of its tables.
pub(super) fn follow(
    record: &mut Record,
    removed: &BTreeMap<TableId, Removed>,
    stones: &Forgotten,
) {
    let of = |table: TableId| removed.get(&table).cloned().unwrap_or_default();
    // A name that stays may have lost single rows.
    let names = |r: &Removed| -> Vec<u64> {
        let gone = r.names.iter().filter(|id| stones.has_name(NameId(**id)));
        gone.copied().collect()
    };
    let dropped = of(TableId::Dropped).dropped;
    let written: Vec<&Removed> = (removed.iter())
        .filter(|(table, _)| **table != TableId::Dropped)
        .map(|(_, removed)| removed)
        .collect();
    for balance in &mut record.balances {
        let gone = match (record.step.as_str(), balance.unit) {
            ("count-images", Unit::Mention) => of(TableId::Candidates).rows,
            (_, Unit::Mention) => of(TableId::Mentions).rows + of(TableId::FiledMentions).rows,
            (_, Unit::Caption) => distinct(&written, |r| r.captions.iter().copied().collect()),
            (_, Unit::Name | Unit::Identity) => distinct(&written, names),
            (_, Unit::Image) => distinct(&written, |r| r.images.iter().copied().collect()),
            (_, Unit::Portrait) => distinct(&written, |r| r.portraits.iter().copied().collect()),
            (_, Unit::Sample) => {
                let tables = [TableId::Samples, TableId::NamedImages, TableId::NamedFaces];
                tables.map(|table| of(table).rows).iter().sum()
            }
            (_, Unit::Person) => of(TableId::ChosenPeople).rows,
        };
        let gone = gone.min(balance.rows_out);
        balance.rows_out -= gone;
        for ((unit, reason), rows) in &dropped {
            if *unit == balance.unit
                && let Some(left) = balance.dropped.get_mut(reason)
            {
                *left = left.saturating_sub(*rows);
            }
        }
        balance.dropped.retain(|_, rows| *rows > 0);
        if balance.unit == Unit::Caption && gone > 0 {
            *balance.dropped.entry(DropReason::Forgotten).or_default() += gone;
        }
        balance.rows_in = balance.rows_out + balance.dropped.values().sum::<u64>();
    }
    let people = names(&of(TableId::LaionCele)).len() as f64;
    let portraits = of(TableId::Portraits).rows as f64;
    let mentions = of(TableId::Mentions).rows as f64;
    for (name, gone) in [
        ("people", people),
        ("portraits", portraits),
        ("mentions", mentions),
    ] {
        if let Some(value) = record.metrics.get_mut(name) {
            *value = (*value - gone).max(0.0);
        }
    }
}

fn distinct<T: Ord>(removed: &[&Removed], ids: impl Fn(&Removed) -> Vec<T>) -> u64 {
    let all: std::collections::BTreeSet<T> = removed.iter().flat_map(|r| ids(r)).collect();
    all.len() as u64
}

#[cfg(test)]
mod tests {
    use laioncele_core::key::KeyParts;
    use laioncele_core::ledger::RowBalance;
    use laioncele_core::{Partition, StageName, testing};

    use super::*;

    fn record(step: &str, unit: Unit, rows_out: u64, dropped: u64) -> Record {
        let parts = KeyParts::default();
        let mut record = testing::record(step, StageName::VerifyImages, Partition::Whole, parts);
        record.balances = vec![RowBalance {
            unit,
            rows_in: rows_out + dropped,
            rows_out,
            dropped: [(DropReason::OtherPerson, dropped)].into(),
        }];
        record
    }

    #[test]
    fn rows_leave_what_went_on_and_what_was_dropped() {
        let mut record = record("verify-images", Unit::Image, 10, 4);
        let matches = Removed {
            rows: 2,
            images: [(1, 1), (1, 2)].into(),
            ..Removed::default()
        };
        let dropped = Removed {
            rows: 3,
            dropped: [((Unit::Image, DropReason::OtherPerson), 3)].into(),
            ..Removed::default()
        };
        let removed = [(TableId::Matches, matches), (TableId::Dropped, dropped)].into();
        follow(&mut record, &removed, &Forgotten::new(&[0; 16]));
        let balance = &record.balances[0];
        assert_eq!((balance.rows_in, balance.rows_out), (9, 8));
        assert_eq!(balance.dropped, [(DropReason::OtherPerson, 1)].into());
    }

    #[test]
    fn captions_stay_as_dropped() {
        let mut record = record("extract-names", Unit::Caption, 10, 4);
        let mentions = Removed {
            rows: 3,
            captions: [7, 8].into(),
            ..Removed::default()
        };
        let removed = [(TableId::Mentions, mentions)].into();
        follow(&mut record, &removed, &Forgotten::new(&[0; 16]));
        let balance = &record.balances[0];
        assert_eq!((balance.rows_in, balance.rows_out), (14, 8));
        assert_eq!(balance.dropped[&DropReason::Forgotten], 2);
    }
}
