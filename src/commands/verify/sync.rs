//! Checks that the tables match: every photo of the dataset has its name; every name has its
//! photos, its embedding, its known face and its four portraits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use laioncele_core::footer::Footer;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, ImageId, NameId, Part, PartReader, TableId};
use laioncele_inference::agreement::PORTRAITS;

use super::findings::{Findings, Kind};
use crate::failure::Failure;
use crate::session::Session;

/// Name and second id (photo, portrait index) of a table's rows.
type Pairs = BTreeSet<(u64, u64)>;

/// Looks up what the dataset's rows need in the earlier tables, as far as the run has come.
pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let records = session.current_records()?;
    let tables = Tables {
        store: session.store()?,
        records: &records,
    };
    let Some(identities) = tables.pairs(TableId::Identities, "image_id")? else {
        return Ok(());
    };
    let mut problems = Vec::new();
    findings.identities = names_of(&identities).len();
    photos_are_there(&tables, &identities, &mut problems)?;
    names_are_there(&tables, &identities, &mut problems)?;
    portraits_are_there(&tables, &identities, &mut problems)?;
    if let Some(shards) = tables.pairs(TableId::LaionCele, "image_id")? {
        same_photos(&identities, &shards, &mut problems);
    }
    for problem in problems {
        findings.add_text(Kind::Tables, "tables", problem);
    }
    Ok(())
}

fn names_of(pairs: &Pairs) -> BTreeSet<u64> {
    pairs.iter().map(|(name, _)| *name).collect()
}

fn photos_are_there(
    tables: &Tables<'_>,
    identities: &Pairs,
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    let photos = tables
        .pairs(TableId::Photos, "image_id")?
        .unwrap_or_default();
    let gone = identities.difference(&photos);
    problems.extend(gone.map(|(name, image)| {
        let (name, image) = (NameId(*name), ImageId(*image));
        format!("photo {image} of name {name} is in `identities` but not in `photos`")
    }));
    Ok(())
}

fn names_are_there(
    tables: &Tables<'_>,
    identities: &Pairs,
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    for table in [TableId::Names, TableId::NameEmbeddings, TableId::KnownNames] {
        let names = tables.pairs(table, "name_id")?.unwrap_or_default();
        let (needed, there) = (names_of(identities), names_of(&names));
        problems.extend(needed.difference(&there).map(|name| {
            let name = NameId(*name);
            format!("name {name} has photos in `identities` but no row in `{table}`")
        }));
    }
    Ok(())
}

fn portraits_are_there(
    tables: &Tables<'_>,
    identities: &Pairs,
    problems: &mut Vec<String>,
) -> Result<(), Failure> {
    let portraits = tables
        .pairs(TableId::Portraits, "index")?
        .unwrap_or_default();
    let mut counts = BTreeMap::<u64, usize>::new();
    for (name, _) in &portraits {
        *counts.entry(*name).or_default() += 1;
    }
    for name in names_of(identities) {
        let found = counts.get(&name).copied().unwrap_or(0);
        if found != PORTRAITS {
            let name = NameId(name);
            problems.push(format!(
                "name {name} has {found} portraits, not {PORTRAITS}"
            ));
        }
    }
    Ok(())
}

/// The shards hold the identities' photos, no more and no fewer.
fn same_photos(identities: &Pairs, shards: &Pairs, problems: &mut Vec<String>) {
    let sides = [
        (identities, shards, "`identities` but not in `laioncele`"),
        (shards, identities, "`laioncele` but not in `identities`"),
    ];
    for (these, those, place) in sides {
        problems.extend(these.difference(those).map(|(name, image)| {
            let (name, image) = (NameId(*name), ImageId(*image));
            format!("photo {image} of name {name} is in {place}")
        }));
    }
}

struct Tables<'a> {
    store: &'a Store,
    records: &'a [Record],
}

impl Tables<'_> {
    /// `name_id` and `second` of all rows of `table`; `None` if nothing has written it.
    fn pairs(&self, table: TableId, second: &str) -> Result<Option<Pairs>, CoreError> {
        let mut pairs = Pairs::new();
        let mut written = false;
        let parts = self.records.iter().flat_map(|r| r.outputs_of(table));
        for part in parts.filter(|p| p.is_parquet()) {
            written = true;
            pairs.extend(self.read(part, second)?);
        }
        Ok(written.then_some(pairs))
    }

    /// Reads two columns only, without the images.
    fn read(&self, part: &Part, second: &str) -> Result<Vec<(u64, u64)>, CoreError> {
        let footer = Arc::new(Footer::of_any(self.store, part)?);
        let column = |name: &str| -> Result<Vec<Vec<u64>>, CoreError> {
            let reader = PartReader::new(self.store.clone(), part, footer.clone());
            reader.numbers(name)?.collect()
        };
        let (names, seconds) = (column("name_id")?.concat(), column(second)?.concat());
        Ok(names.into_iter().zip(seconds).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_photos_reports_photos_missing_on_either_side() {
        let identities = Pairs::from([(1, 10), (1, 11)]);
        let mut problems = Vec::new();
        same_photos(&identities, &identities.clone(), &mut problems);
        assert!(problems.is_empty());
        same_photos(&identities, &Pairs::from([(1, 10), (2, 11)]), &mut problems);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
