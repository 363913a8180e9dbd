//! Where a training run goes on: from its own checkpoints, from those of a run that wanted another
//! number of steps, or from the end of a finished one.

use laioncele_core::{Digest, StageError, TableId, Task};
use laioncele_encoder::EncoderConfig;

use crate::checkpoint::{Refusal, State};

/// The two checkpoints of a task, written by turns.
const SLOTS: [&str; 2] = ["training-0.safetensors", "training-1.safetensors"];
/// Where the checkpoints of all tasks are.
const CHECKPOINTS: &str = "cache/checkpoints";
/// How the name of a finished run's state ends.
const FINISHED: &str = ".training.safetensors";

/// The checkpoints of a task.
pub(crate) struct Checkpoints<'a> {
    config: &'a EncoderConfig,
    run: Digest,
    /// The slot that is written next: never that of the newest checkpoint.
    next: usize,
}

impl<'a> Checkpoints<'a> {
    /// The checkpoints of `run`, which is what all steps depend on.
    pub(crate) fn new(config: &'a EncoderConfig, run: Digest) -> Self {
        let next = 0;
        Self { config, run, next }
    }

    /// The state with the most steps that there is of this run, with at most `limit`.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn latest(&mut self, task: &Task, limit: u64) -> Result<Option<State>, StageError> {
        let mut found: Option<State> = None;
        for (slot, name) in SLOTS.into_iter().enumerate() {
            let Some(bytes) = task.checkpoint(name)? else {
                continue;
            };
            let path = format!("{CHECKPOINTS}/{}/{name}", task.key());
            match State::from_bytes(&bytes, self.config, self.run) {
                Ok(state) if state.adam.steps > limit => {}
                Ok(state)
                    if found
                        .as_ref()
                        .is_some_and(|f| f.adam.steps > state.adam.steps) => {}
                Ok(state) => {
                    self.next = 1 - slot;
                    found = Some(state);
                }
                Err(reason) => tracing::warn!("the checkpoint {path} is not used: {reason}"),
            }
        }
        match found {
            Some(state) => Ok(Some(state)),
            None => self.of_others(task, limit),
        }
    }

    /// The same from tasks with another number of steps.
    fn of_others(&self, task: &Task, limit: u64) -> Result<Option<State>, StageError> {
        let mut paths = task.store().list(CHECKPOINTS)?;
        let own = task.key().to_string();
        paths.retain(|path| {
            !path.contains(&own) && SLOTS.iter().any(|slot| path.ends_with(&format!("/{slot}")))
        });
        for record in task.earlier()? {
            let parts = record.outputs_of(TableId::Encoder);
            let finished = parts.filter(|part| part.path.ends_with(FINISHED));
            paths.extend(finished.map(|part| part.path.clone()));
        }
        let mut found: Option<State> = None;
        for path in paths {
            // Parts of superseded results may be gone.
            let Ok(bytes) = task.store().get(&path) else {
                continue;
            };
            match State::from_bytes(&bytes, self.config, self.run) {
                Ok(state) if state.adam.steps > limit => {}
                Ok(state)
                    if found
                        .as_ref()
                        .is_some_and(|f| f.adam.steps >= state.adam.steps) => {}
                Ok(state) => found = Some(state),
                Err(Refusal::OtherRun { .. }) => {}
                Err(reason) => tracing::warn!("{path} is not used: {reason}"),
            }
        }
        Ok(found)
    }

    /// Writes a checkpoint in the place of the older one.
    ///
    /// # Errors
    /// A full disk and the like.
    pub(crate) fn save(&mut self, task: &Task, state: &State) -> Result<(), StageError> {
        task.save_checkpoint(SLOTS[self.next], self.bytes(state)?)?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Keeps the state at the end with the encoder, and forgets the checkpoints once the record is
    /// there.
    ///
    /// # Errors
    /// A full disk and the like.
    pub(crate) fn finish(&self, task: &mut Task, state: &State) -> Result<(), StageError> {
        let bytes = self.bytes(state)?;
        task.write_file(TableId::Encoder, "training", "safetensors", bytes)?;
        SLOTS
            .into_iter()
            .for_each(|name| task.clear_checkpoint(name));
        Ok(())
    }

    fn bytes(&self, state: &State) -> Result<Vec<u8>, StageError> {
        state.to_bytes(self.run).map_err(StageError::environment)
    }
}
