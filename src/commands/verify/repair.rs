//! `verify --repair`: makes the next run make again what is damaged.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ledger::Ledger;
use laioncele_core::{Digest, PartList};

use super::findings::{Findings, Kind, Repaired};
use super::published;
use crate::failure::Failure;
use crate::session::Session;

/// Repairs what can be: records of damaged parts leave the ledger, lists are written again, damaged
/// published files are deleted. Each deletion is on the disk before the next: a crash leaves what a
/// second repair repairs.
///
/// # Errors
/// Store errors.
pub(super) fn repair(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let ledger = Ledger::new(session.store()?.clone());
    let mut repaired = Repaired::default();
    for record in session.records.unusable() {
        ledger.set_aside(record)?;
        repaired.records += 1;
    }
    let mut lost = findings.lost.clone();
    let lists = lists(session, findings, &mut repaired)?;
    for record in session.records.all() {
        if record.lists.iter().any(|list| lists.contains(&list.digest)) {
            lost.insert(record.key);
        }
    }
    for record in session
        .records
        .all()
        .filter(|record| lost.contains(&record.key))
    {
        ledger.remove(&record.step, &record.partition, record.key)?;
        repaired.records += 1;
    }
    let damaged: Vec<&str> = findings
        .problems
        .iter()
        .filter(|problem| problem.kind == Kind::Published)
        .map(|problem| problem.path.as_str())
        .collect();
    repaired.published = published::forget(session.store()?, &damaged)?;
    let left = |kind| matches!(kind, Kind::Tables | Kind::Manifest | Kind::Forgotten);
    repaired.left = findings.problems.iter().filter(|p| left(p.kind)).count();
    findings.repaired = Some(repaired);
    Ok(())
}

/// Writes damaged lists again that the present plan has; the digests of the others.
fn lists(
    session: &Session,
    findings: &Findings,
    repaired: &mut Repaired,
) -> Result<BTreeSet<Digest>, Failure> {
    let damaged = findings
        .problems
        .iter()
        .filter(|problem| problem.kind == Kind::List);
    let damaged: BTreeSet<&str> = damaged.map(|problem| problem.path.as_str()).collect();
    if damaged.is_empty() {
        return Ok(BTreeSet::new());
    }
    let plan = session.plan()?;
    let planned = plan.steps.iter().flat_map(|step| &step.lists);
    let planned: BTreeMap<Digest, &PartList> = planned
        .map(|list| (list.reference().digest, list))
        .collect();
    let mut others = BTreeSet::new();
    let named = session.records.all().flat_map(|record| &record.lists);
    for list in named.filter(|list| damaged.contains(list.path().as_str())) {
        match planned.get(&list.digest) {
            Some(planned) => {
                repaired.lists += usize::from(planned.restore(session.store()?)?);
            }
            None => {
                others.insert(list.digest);
            }
        }
    }
    Ok(others)
}
