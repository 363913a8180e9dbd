//! Reference people: with `choose_references` three steps before the samples choose those whom the base model cannot draw by
//! name, as the paper does. draw-by-name draws each candidate, score-by-name compares the faces with the photos, and
//! choose-references decides, so that another threshold runs no network and another photo draws nothing. Without the setting
//! none of them has a task. The rule itself is [`laioncele_inference::choice`]'s.

mod decide;
mod draw;
mod score;

use std::collections::BTreeSet;

use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::store::Store;
use laioncele_core::table::ChosenPerson;
use laioncele_core::{
    CoreError, KeyHasher, Manifest, Partitioning, Reads, StageError, Step, TableId, Task, part,
};
use laioncele_inference::references::Person;
use laioncele_inference::{FaceSection, SdxlSection};

use crate::MOST_CHUNKS;
use crate::settings::StageConfig;

/// The steps, in data order.
pub(crate) fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(draw::DrawByName),
        Box::new(score::ScoreByName),
        Box::new(decide::ChooseReferences),
    ]
}

/// What a step that draws samples reads: `own`, and who was chosen where people are.
pub(crate) fn reads(own: &[Reads], manifest: &Manifest) -> Vec<Reads> {
    let mut reads = own.to_vec();
    // A wrong section is an error of the settings.
    let config = StageConfig::from_manifest(manifest);
    if config.is_ok_and(|config| config.settings.choose_references) {
        reads.push(Reads::all(TableId::ChosenPeople));
    }
    reads
}

/// The people whom a task that draws samples may show.
///
/// # Errors
/// A damaged part; as [`StageConfig::candidates`].
pub(crate) fn people_of_task(config: &StageConfig, task: &Task) -> Result<Vec<Person>, StageError> {
    let chosen = match config.settings.choose_references {
        true => Some(names(task.read::<ChosenPerson>()?)),
        false => None,
    };
    Ok(people(config, task.manifest(), chosen.as_ref())?)
}

/// The people whom the samples of `records` show.
///
/// # Errors
/// As [`people_of_task`].
pub(crate) fn people_of_records(
    config: &StageConfig,
    store: &Store,
    manifest: &Manifest,
    records: &[Record],
) -> Result<Vec<Person>, CoreError> {
    if !config.settings.choose_references {
        return people(config, manifest, None);
    }
    let mut chosen = BTreeSet::new();
    // All tasks read the same list.
    if let Some(record) = records.first() {
        for part in Ledger::new(store.clone()).inputs(record)? {
            if part.table == TableId::ChosenPeople {
                chosen.extend(names(part::read_rows(
                    store,
                    &part,
                    &manifest.embedding_dims,
                )?));
            }
        }
    }
    people(config, manifest, Some(&chosen))
}

fn names(rows: Vec<ChosenPerson>) -> BTreeSet<String> {
    rows.into_iter().map(|row| row.person).collect()
}

fn people(
    config: &StageConfig,
    manifest: &Manifest,
    chosen: Option<&BTreeSet<String>>,
) -> Result<Vec<Person>, CoreError> {
    config.people_among(manifest, |name| {
        chosen.is_none_or(|chosen| chosen.contains(name))
    })
}

/// What the steps depend on.
struct ChoiceConfig {
    stage: StageConfig,
    /// `[models.sdxl]` without what is for samples alone: who is known does not hang on what samples are drawn with.
    sdxl: SdxlSection,
    face: FaceSection,
    /// By name.
    candidates: Vec<Person>,
}

impl ChoiceConfig {
    /// Reads the manifest; none where nobody is to be chosen.
    ///
    /// # Errors
    /// A wrong section, no `references`.
    fn from_manifest(manifest: &Manifest) -> Result<Option<Self>, CoreError> {
        let stage = StageConfig::from_manifest(manifest)?;
        if !stage.settings.choose_references {
            return Ok(None);
        }
        Ok(Some(Self {
            candidates: stage.candidates(manifest)?,
            sdxl: SdxlSection::from_manifest(manifest)?,
            face: FaceSection::from_manifest(manifest)?.without_gender(),
            stage,
        }))
    }

    /// Of a task, which there is only where people are chosen.
    fn of_task(task: &Task) -> Result<Self, StageError> {
        let config = Self::from_manifest(task.manifest())?;
        config.ok_or_else(|| StageError::data("[generate_samples] choose_references is not set"))
    }

    /// Tasks that the candidates are spread over.
    fn chunks(&self) -> usize {
        self.candidates.len().min(MOST_CHUNKS)
    }

    /// The candidates of a chunk.
    fn of_chunk(&self, chunk: usize) -> impl Iterator<Item = &Person> {
        let chunks = self.chunks().max(1);
        self.candidates.iter().skip(chunk).step_by(chunks)
    }

    /// A digest of the candidates' names, as keys have it.
    fn candidates_digest(&self) -> String {
        let add = |hasher: KeyHasher, person: &Person| hasher.text("person", &person.name);
        let hasher = KeyHasher::new("candidates");
        self.candidates
            .iter()
            .fold(hasher, add)
            .finish()
            .to_string()
    }
}

/// How the work of drawing and scoring is cut: both alike, so that one follows the other chunk by chunk.
fn partitioning(manifest: &Manifest) -> Result<Partitioning, CoreError> {
    let config = ChoiceConfig::from_manifest(manifest)?;
    let chunks = config.map_or(0, |config| config.chunks());
    Ok(Partitioning::Chunks(u32::try_from(chunks).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
