//! Stage 6, download-images: the photos of known names only, as they came, each failure with its
//! class. Images that the source itself holds are taken from there, and nobody is asked for them.
//!
//! Outcomes go to a journal as they arrive; once all are there, parts are written from it in the order
//! of the candidates. So the parts' bytes do not depend on the order of arrival, nor on how often the
//! task was killed, and memory holds an index and a row group.

mod again;
mod attempts;
mod candidates;
mod earlier;
mod engine;
mod known;
mod outcomes;
mod reachability;
mod settings;
mod size;
mod stored;
mod write;

use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
};

use crate::candidates::Wanted;
use crate::outcomes::Outcomes;
pub use crate::outcomes::prune;
pub use crate::settings::{OnHashMismatch, Settings};

/// The step's name.
pub const STEP: &str = "download-images";

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(DownloadImages)]
}

struct DownloadImages;

/// Buckets that a worker downloads at once: while the last urls of one wait for slow hosts, the next ones go on.
const AT_ONCE: usize = 8;

const SPEC: StepSpec = StepSpec {
    name: STEP,
    stage: StageName::DownloadImages,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::Candidates),
        Reads::own(TableId::KnownNames),
    ],
    writes: &[TableId::Photos, TableId::Reachability],
};

impl Step for DownloadImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        serde_json::to_value(Settings::from_manifest(manifest)?)
            .map_err(|e| manifest.error(e.to_string()))
    }

    fn tasks_at_once(&self) -> usize {
        AT_ONCE
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        if let Some(record) = task.replaced()? {
            return again::run(task, &settings, &record);
        }
        let wanted = Wanted::find(task)?;
        let mut outcomes = Outcomes::open(task, "")?;
        outcomes.reserve(wanted.images.len().saturating_sub(outcomes.len()));
        earlier::take_over(task, &settings, &wanted, &mut outcomes)?;
        let missing = wanted.without(&outcomes);
        engine::download(task, &settings, &missing, &mut outcomes)?;
        let _turn = write::Turn::take(task)?;
        write::parts(task, &settings, &wanted, &mut outcomes)?;
        task.after_commit(move || outcomes.delete());
        Ok(())
    }
}
