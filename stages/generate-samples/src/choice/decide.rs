//! Step choose-references: who may be a reference, by the stored similarities. No network runs here. It publishes
//! `references/verdicts.csv`, which the next run writes again after a crash.

use std::collections::BTreeMap;

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{ChosenPerson, NamedFace, ReferenceVerdict};
use laioncele_core::{
    CoreError, Manifest, NameId, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit, part,
};
use laioncele_inference::FaceSection;
use laioncele_inference::choice::{self, Choice, Evidence, Verdict};
use serde_json::{Value, json};

use super::ChoiceConfig;
use crate::settings::StageConfig;

const VERDICTS: &str = "references/verdicts.csv";

/// The step.
pub(super) struct ChooseReferences;

const SPEC: StepSpec = StepSpec {
    name: "choose-references",
    stage: StageName::GenerateSamples,
    version: 1,
    partitioning: Partitioning::Chunks(1),
    reads: &[Reads::all(TableId::NamedFaces)],
    writes: &[TableId::ReferenceVerdicts, TableId::ChosenPeople],
};

impl Step for ChooseReferences {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let config = StageConfig::from_manifest(manifest)?;
        let chooses = config.settings.choose_references;
        Ok(Partitioning::Chunks(u32::from(chooses)))
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let Some(config) = ChoiceConfig::from_manifest(manifest)? else {
            return Ok(Value::Null);
        };
        let threshold = threshold(&config, manifest)?;
        Ok(json!({
            "candidates": config.candidates_digest(), "reference_threshold": threshold,
        }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = ChoiceConfig::of_task(task)?;
        let threshold = threshold(&config, task.manifest())?;
        let mut evidence = evidence(task.read::<NamedFace>()?);
        let mut choices = Vec::with_capacity(config.candidates.len());
        for person in &config.candidates {
            // Without an image nothing was asked of the photos.
            let found = evidence.remove(&person.name).unwrap_or(Evidence {
                photo_has_face: true,
                ..Evidence::default()
            });
            choices.push(Choice::of(&person.name, &found, threshold));
        }
        for choice in &choices {
            if let Some(reason) = choice.verdict.reason() {
                let id = NameId::of(&choice.person.replace('_', " "));
                task.drop_row(Unit::Person, id.0, None, reason, Some(detail(choice)));
            }
        }
        let chosen = choices.iter().filter(|c| c.verdict == Verdict::Chosen);
        let chosen: Vec<ChosenPerson> = chosen
            .map(|choice| ChosenPerson {
                person: choice.person.clone(),
            })
            .collect();
        task.balance(Unit::Person, choices.len() as u64, chosen.len() as u64);
        task.write::<ReferenceVerdict>(choices.into_iter().map(row).collect())?;
        task.write(chosen)
    }

    fn publish(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        let choices = choices_of(store, manifest, records)?;
        if !choices.is_empty() {
            store.put_changed(VERDICTS, choice::csv(&choices).into_bytes())?;
        }
        Ok(())
    }

    fn check_results(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        let config = StageConfig::from_manifest(manifest)?;
        if !config.settings.choose_references {
            return Ok(());
        }
        let choices = choices_of(store, manifest, records)?;
        match too_few(&choices, config.settings.people) {
            Some(text) => Err(manifest.error(text)),
            None => Ok(()),
        }
    }
}

fn threshold(config: &ChoiceConfig, manifest: &Manifest) -> Result<f64, CoreError> {
    match config.stage.settings.reference_threshold {
        Some(threshold) => Ok(threshold),
        None => Ok(FaceSection::thresholds(manifest)?.same_person_photo),
    }
}

/// What is known of each person who has an image.
fn evidence(rows: Vec<NamedFace>) -> BTreeMap<String, Evidence> {
    let mut all: BTreeMap<String, Evidence> = BTreeMap::new();
    for row in rows {
        let of = all.entry(row.person).or_default();
        of.photo_has_face = row.photo_faces > 0;
        of.images += 1;
        of.faces += usize::from(row.faces > 0);
        of.similarities.extend(row.similarity);
    }
    all
}

/// Why somebody is no reference, with the numbers.
fn detail(choice: &Choice) -> String {
    let (word, faces, images) = (choice.verdict.word(), choice.faces, choice.images);
    match choice.similarity {
        Some(similarity) => format!(
            "{word}: similarity {similarity:.4} of {faces} faces, threshold {}",
            choice.threshold
        ),
        None => format!("{word}: {faces} faces in {images} images"),
    }
}

fn row(choice: Choice) -> ReferenceVerdict {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ReferenceVerdict {
        verdict: choice.verdict.word().to_owned(),
        similarity: choice.similarity,
        threshold: choice.threshold,
        images: count(choice.images),
        faces: count(choice.faces),
        person: choice.person,
    }
}

/// What `records` decided, by name.
fn choices_of(
    store: &Store,
    manifest: &Manifest,
    records: &[Record],
) -> Result<Vec<Choice>, CoreError> {
    let mut choices = Vec::new();
    let parts = records
        .iter()
        .flat_map(|record| record.outputs_of(TableId::ReferenceVerdicts));
    for part in parts {
        let rows = part::read_rows::<ReferenceVerdict>(store, part, &manifest.embedding_dims)?;
        choices.extend(rows.into_iter().filter_map(choice_of));
    }
    Ok(choices)
}

fn choice_of(row: ReferenceVerdict) -> Option<Choice> {
    Some(Choice {
        verdict: Verdict::of_word(&row.verdict)?,
        similarity: row.similarity,
        threshold: row.threshold,
        images: row.images as usize,
        faces: row.faces as usize,
        person: row.person,
    })
}

/// Why so many chosen people are not enough, if they are not.
fn too_few(choices: &[Choice], people: Option<usize>) -> Option<String> {
    let counts = choice::verdicts(choices);
    let chosen = counts.get(Verdict::Chosen.word()).copied().unwrap_or(0);
    let needed = people.unwrap_or(1);
    if chosen >= needed && chosen > 0 {
        return None;
    }
    let wanted = match people {
        Some(people) => format!("people = {people}, but {chosen}"),
        None => format!("choose_references: {chosen}"),
    };
    Some(format!(
        "[generate_samples] {wanted} of {} candidates may be references ({}): add people whom the base model does not know to \
         `references`, or look at {VERDICTS} and set people or reference_threshold",
        choices.len(),
        choice::told(&counts)
    ))
}
