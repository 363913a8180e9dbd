//! A commit refuses rows that do not add up.

use laioncele_core::testing::StepHarness;
use laioncele_core::{
    CoreError, DropReason, Manifest, Partition, Partitioning, StageError, StageName, Step,
    StepSpec, Task, Unit,
};

/// A step that only balances and drops.
struct Balancing(fn(&mut Task));

const SPEC: StepSpec = StepSpec {
    name: "balancing",
    stage: StageName::FilterCounts,
    version: 1,
    partitioning: Partitioning::Once,
    reads: &[],
    writes: &[],
};

impl Step for Balancing {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, _: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(serde_json::Value::Null)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        (self.0)(task);
        Ok(())
    }
}

fn commit(behaviour: fn(&mut Task)) -> Result<(), StageError> {
    let folder = tempfile::tempdir().map_err(StageError::environment)?;
    let harness = StepHarness::new(folder.path(), "")?;
    let record = harness.run(&Balancing(behaviour), &Partition::Whole, Vec::new())?;
    assert_eq!(record.balances.len(), 1);
    Ok(())
}

fn drop_name(task: &mut Task) {
    task.drop_row(Unit::Name, 1, None, DropReason::NoFace, None);
}

#[test]
fn rows_that_add_up_are_committed() -> Result<(), StageError> {
    commit(|task| {
        drop_name(task);
        task.balance(Unit::Name, 3, 2);
    })
}

#[test]
fn lost_rows_are_refused() {
    let error = commit(|task| task.balance(Unit::Name, 3, 2)).expect_err("a row is lost");
    let text = "step `balancing`: 3 name rows in, but 2 out + 0 dropped";
    assert_eq!(error.to_string(), text);
}

#[test]
fn drops_without_a_balance_are_refused() {
    let error = commit(|task| {
        drop_name(task);
        task.balance(Unit::Image, 1, 1);
    });
    let core = error.expect_err("names are not balanced");
    let StageError::Core(CoreError::UnbalancedDrops { unit, dropped, .. }) = core else {
        panic!("{core}");
    };
    assert_eq!((unit, dropped), (Unit::Name, 1));
}

#[test]
fn a_task_without_any_balance_is_refused() {
    let error = commit(|_| {}).expect_err("nothing is balanced");
    assert!(
        matches!(&error, StageError::Core(CoreError::NothingBalanced { step }) if step == "balancing"),
        "{error}"
    );
}
