//! Drives a single step on a store, for the tests of stage crates: rows in, the committed record and rows out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::decisions::{Decisions, LABEL, MERGES};
use crate::digest::Digest;
use crate::error::{CoreError, StageError};
use crate::key::KeyParts;
use crate::ledger::{RECORD_FORMAT, Record};
use crate::manifest::Manifest;
use crate::names::StageName;
use crate::part::{self, Part};
use crate::partition::Partition;
use crate::resources::Resources;
use crate::spec::{Again, RowCare, RuntimeEnvironment, TaskSpec};
use crate::step::Step;
use crate::store::Store;
use crate::table::Row;
use crate::task::{NullReporter, Task, WorkerContext};

/// The record of an imagined task: it read and wrote nothing, and took a second.
pub fn record(step: &str, stage: StageName, partition: Partition, key_parts: KeyParts) -> Record {
    Record {
        format: RECORD_FORMAT,
        stage,
        step: step.to_owned(),
        key: key_parts.key(step, &partition),
        partition,
        key_parts,
        attempt: "a".to_owned(),
        inputs: Vec::new(),
        lists: Vec::new(),
        outputs: Vec::new(),
        pruned: Vec::new(),
        balances: Vec::new(),
        metrics: BTreeMap::new(),
        started: std::time::UNIX_EPOCH,
        seconds: 1.0,
        host: String::new(),
        program: String::new(),
    }
}

/// A manifest and a store to run steps on.
pub struct StepHarness {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    /// The store.
    pub store: Store,
    /// What results do not depend on.
    pub runtime_environment: RuntimeEnvironment,
    resources: Arc<Resources>,
}

impl StepHarness {
    /// A harness on the folder `root`; `sections` is manifest text added to a minimal one with 2 buckets and small dims.
    ///
    /// # Errors
    /// A wrong manifest, a folder that cannot be written.
    pub fn new(root: &std::path::Path, sections: &str) -> Result<Self, CoreError> {
        let text = format!(
            "[run]\nseed = 1\nbuckets = 2\n[source]\npath = \"captions\"\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n{sections}"
        );
        Self::with_manifest(root, Manifest::parse(&root.join("manifest.toml"), &text)?)
    }

    /// A harness on the folder `root` with a whole manifest.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn with_manifest(root: &std::path::Path, manifest: Manifest) -> Result<Self, CoreError> {
        let store = Store::local(&root.join("output"))?;
        Ok(Self {
            manifest: Arc::new(manifest),
            store,
            runtime_environment: RuntimeEnvironment::default(),
            resources: Arc::default(),
        })
    }

    /// Writes `rows` as an input part.
    ///
    /// # Errors
    /// Store errors.
    pub fn part<R: Row>(&self, partition: &Partition, rows: Vec<R>) -> Result<Part, CoreError> {
        let dims = &self.manifest.embedding_dims;
        let count = rows.len() as u64;
        let bytes = part::encode(&R::schema(dims), &[R::to_batch(rows, dims)?])?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let path = format!(
            "tables/{}/{partition}/input-{}.parquet",
            R::TABLE,
            digest.short()
        );
        self.store.put(&path, bytes)?;
        Ok(Part {
            table: R::TABLE,
            partition: partition.clone(),
            path,
            rows: count,
            bytes: size,
            digest,
        })
    }

    /// Runs one task of `step` and commits it.
    ///
    /// # Errors
    /// What the step or the commit returns.
    pub fn run(
        &self,
        step: &dyn Step,
        partition: &Partition,
        inputs: Vec<Part>,
    ) -> Result<Record, StageError> {
        let mut task = self.task(step, partition, inputs)?;
        step.run(&mut task)?;
        task.commit().map(|(record, _)| record)
    }

    /// What the key of a task of `step` is made of that reads `inputs`.
    ///
    /// # Errors
    /// Settings of the wrong form.
    pub fn key_parts(&self, step: &dyn Step, inputs: &[Part]) -> Result<KeyParts, StageError> {
        let section = step.spec().stage.as_str().replace('-', "_");
        let settings = step.settings(&self.manifest)?;
        let settings = settings.as_object().into_iter().flatten();
        let settings = settings.map(|(k, v)| (format!("{section}.{k}"), v.to_string()));
        let digest = |p: &Part| (format!("{}/{}", p.table, p.path), p.digest);
        let mut models = BTreeMap::new();
        let rulings = Decisions::load(&self.store)?.rulings();
        let decided = match step.spec().name {
            "filter-counts" => rulings.digest().map(|digest| (LABEL, digest)),
            "merge-spellings" => rulings.merges_digest().map(|digest| (MERGES, digest)),
            _ => None,
        };
        models.extend(decided.map(|(label, digest)| (label.to_owned(), digest)));
        Ok(KeyParts {
            version: step.spec().version,
            settings: settings.collect(),
            models: models.into(),
            inputs: inputs.iter().map(digest).collect(),
        })
    }

    /// A task of `step` that has not begun.
    ///
    /// # Errors
    /// Settings of the wrong form.
    pub fn task(
        &self,
        step: &dyn Step,
        partition: &Partition,
        inputs: Vec<Part>,
    ) -> Result<Task, StageError> {
        let key_parts = self.key_parts(step, &inputs)?;
        let key = key_parts.key(step.spec().name, partition);
        let spec = TaskSpec {
            stage: step.spec().stage,
            step: step.spec().name.to_owned(),
            partition: partition.clone(),
            key,
            key_parts,
            inputs,
            lists: Vec::new(),
            again: None,
        };
        let context = WorkerContext {
            manifest: self.manifest.clone(),
            store: self.store.clone(),
            resources: self.resources.clone(),
            runtime_environment: self.runtime_environment.clone(),
            cancelled: Arc::new(AtomicBool::new(false)),
            rows: RowCare::default(),
        };
        Ok(Task::new(
            spec,
            "test".to_owned(),
            context,
            Box::new(NullReporter),
        )?)
    }

    /// Runs a task that tries again what a committed one dropped, and puts its record in the place of the other's.
    ///
    /// # Errors
    /// What the step or the commit returns.
    pub fn again(
        &self,
        step: &dyn Step,
        partition: &Partition,
        inputs: Vec<Part>,
        again: Again,
    ) -> Result<Record, StageError> {
        let mut task = self.task(step, partition, inputs)?;
        Self::try_again(&mut task, again);
        step.run(&mut task)?;
        task.commit().map(|(record, _)| record)
    }

    /// Makes of a task that has not begun one that tries again what a committed one dropped.
    pub fn try_again(task: &mut Task, again: Again) {
        task.make_again("again", again);
    }

    /// The rows of `R`'s table that a record wrote, in its order.
    ///
    /// # Errors
    /// A damaged part.
    pub fn rows<R: Row>(&self, record: &Record) -> Result<Vec<R>, CoreError> {
        let mut rows = Vec::new();
        for part in record.outputs_of(R::TABLE) {
            rows.extend(part::read_rows::<R>(
                &self.store,
                part,
                &self.manifest.embedding_dims,
            )?);
        }
        Ok(rows)
    }
}
