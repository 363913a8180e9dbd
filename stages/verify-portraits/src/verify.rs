//! Step `verify-portraits`: which names are known, by the stored faces of their portraits. No network runs here.

use std::collections::HashMap;

use laioncele_core::table::{FaceVector, FaceVectors, KnownName, NameEmbedding, PortraitFace};
use laioncele_core::{
    CoreError, DropReason, Manifest, NameId, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit,
};
use laioncele_inference::agreement::{self, AgreementVerdict, PORTRAITS, PortraitFaces};
use serde_json::Value;

use crate::Settings;

/// The step.
pub(crate) struct VerifyPortraits;

const SPEC: StepSpec = StepSpec {
    name: "verify-portraits",
    stage: StageName::VerifyPortraits,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::PortraitFaces),
        Reads::own(TableId::NameEmbeddings),
    ],
    writes: &[TableId::KnownNames],
};

impl Step for VerifyPortraits {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let same_person = Settings::from_manifest(task.manifest())?.same_person;
        let mut faces: Vec<PortraitFace> = task.read()?;
        faces.sort_by_key(|face| (face.name_id, face.index));
        let texts = texts(task)?;
        let (mut known, mut names) = (Vec::new(), 0);
        for portraits in faces.chunk_by(|a, b| a.name_id == b.name_id) {
            names += 1;
            let name_id = portraits[0].name_id;
            match decide(portraits, same_person) {
                Ok([min, mean]) => {
                    let name = texts.get(&name_id).ok_or_else(|| nameless(name_id))?;
                    known.push(known_name(portraits, name.clone(), [min, mean]));
                }
                Err((reason, detail)) => {
                    task.drop_row(Unit::Name, name_id.0, Some(name_id), reason, Some(detail));
                }
            }
        }
        task.balance(Unit::Name, names, known.len() as u64);
        task.write(known)
    }
}

/// The names' texts; their embeddings are not read.
fn texts(task: &Task) -> Result<HashMap<NameId, String>, StageError> {
    const COLUMNS: [&str; 2] = ["name_id", "name"];
    let mut texts = HashMap::new();
    for part in task.inputs(TableId::NameEmbeddings) {
        for batch in task.read_columns::<NameEmbedding>(part, &COLUMNS)? {
            let batch = batch?;
            let ids = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
            texts.extend(ids.zip(task.column::<String>(&batch, COLUMNS[1])?));
        }
    }
    Ok(texts)
}

/// Portraits are generated from name embeddings, so something else has changed a table.
fn nameless(name_id: NameId) -> StageError {
    StageError::data(format!(
        "name {name_id} has portraits, but `name_embeddings` does not hold it"
    ))
}

/// A portrait's stored face, as the decision sees it.
struct Stored<'a>(&'a PortraitFace);

impl PortraitFaces for Stored<'_> {
    fn faces(&self) -> usize {
        self.0.faces as usize
    }
    fn vector(&self) -> &[f32] {
        &self.0.embedding.0
    }
}

/// Lowest and mean cosine of all pairs of a known name's portraits, or why the name is not known, with the scores.
pub(crate) fn decide(
    portraits: &[PortraitFace],
    same_person: f64,
) -> Result<[f32; 2], (DropReason, String)> {
    let stored: Vec<_> = portraits.iter().map(Stored).collect();
    let counts = || {
        let counts: Vec<_> = portraits.iter().map(|p| p.faces.to_string()).collect();
        format!("faces {}", counts.join(" "))
    };
    let lowest = |min: f32| {
        let count = portraits.len();
        format!("lowest similarity {min:.4} of {count} portraits")
    };
    // The same number that generate-portraits compares with: the manifest's, as f32.
    match agreement::decide(&stored, same_person as f32) {
        // Generation stopped at two that disagreed. Another machine's rounding may see the pair just above the threshold.
        AgreementVerdict::Same { min, .. } if portraits.len() < PORTRAITS => {
            Err((DropReason::DifferentPeople, lowest(min)))
        }
        AgreementVerdict::Same { min, mean } => Ok([min, mean]),
        AgreementVerdict::NoFace => Err((DropReason::NoFace, counts())),
        AgreementVerdict::SeveralFaces => Err((DropReason::SeveralFaces, counts())),
        AgreementVerdict::Different { min } => Err((DropReason::DifferentPeople, lowest(min))),
    }
}

fn known_name(portraits: &[PortraitFace], name: String, [min, mean]: [f32; 2]) -> KnownName {
    let faces: Vec<_> = portraits.iter().map(|p| p.embedding.clone()).collect();
    KnownName {
        name_id: portraits[0].name_id,
        name,
        mean_face: mean_face(&faces),
        faces: FaceVectors(faces),
        min_similarity: min,
        mean_similarity: mean,
    }
}

/// The mean of unit vectors, of unit length; zeros where they cancel out, which faces that agree do not.
pub(crate) fn mean_face(faces: &[FaceVector]) -> FaceVector {
    let width = faces.first().map_or(0, |face| face.0.len());
    let mut sums = vec![0f64; width];
    for face in faces {
        for (sum, value) in sums.iter_mut().zip(&face.0) {
            *sum += f64::from(*value);
        }
    }
    let length = sums.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = if length > 0.0 { length.recip() } else { 0.0 };
    FaceVector(sums.iter().map(|v| (v * scale) as f32).collect())
}
