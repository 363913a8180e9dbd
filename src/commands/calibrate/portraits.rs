//! Similarities within and between the names of a run, from the stored faces of their portraits. No
//! network runs.

use std::collections::BTreeMap;

use laioncele_core::table::PortraitFace;
use laioncele_core::{Manifest, NameId, StageName, TableId, part};
use laioncele_face::calibration::{Curve, Tally};
use laioncele_face::cosine;
use laioncele_inference::agreement::PORTRAITS;

use super::Measured;
use crate::args::RunPaths;
use crate::failure::{Exit, Failure};
use crate::session::{Access, Session};
use crate::words::count;

/// The faces of a name's portraits, in their order; `None` for one without a single face.
struct Name([Option<Vec<f32>>; PORTRAITS]);

impl Name {
    fn of(rows: &[PortraitFace]) -> Self {
        let mut faces = [const { None }; PORTRAITS];
        for row in rows.iter().filter(|row| row.faces == 1) {
            if let Some(face) = faces.get_mut(row.index as usize) {
                *face = Some(row.embedding.0.clone());
            }
        }
        Self(faces)
    }

    /// Cosine of two portraits' faces.
    fn similarity(&self, a: usize, b: usize) -> Option<f32> {
        Some(cosine(self.0[a].as_ref()?, self.0[b].as_ref()?))
    }

    /// Whether the first two portraits show one person: what the others are measured on.
    fn is_known(&self, same_person: f64) -> bool {
        let pair = self.similarity(0, 1);
        pair.is_some_and(|s| f64::from(s) >= same_person)
    }

    /// The mean cosine of `face` to these portraits.
    fn mean(&self, face: &[f32], portraits: std::ops::Range<usize>) -> Option<f32> {
        let count = portraits.len() as f32;
        let faces = portraits.map(|k| Some(cosine(face, self.0[k].as_ref()?)));
        Some(faces.sum::<Option<f32>>()? / count)
    }
}

/// Measures the run at `paths`; at most `names` names are compared with one another.
pub(super) fn measure(
    manifest: &Manifest,
    paths: &RunPaths,
    names: usize,
) -> Result<Measured, Failure> {
    let all = faces(paths)?;
    let same_person = laioncele_verify_portraits::Settings::from_manifest(manifest)?.same_person;
    let known = all.iter().filter(|name| name.is_known(same_person)).count();
    let (same, same_mean) = within(&all, same_person);
    let (different, different_mean) = between(&all[..names.min(all.len())], same_person);
    if same.pairs() == 0 || different.pairs() == 0 {
        let text = format!(
            "{}: no two names whose portraits could be compared, or none that shows one person",
            paths.output.display()
        );
        return Err(Failure::new(Exit::Environment, text)
            .hint("use a larger run, or labelled pairs of images with --pairs"));
    }
    let pair = Curve::new(&same, &different);
    let portraits = (same_mean.pairs() > 0 && different_mean.pairs() > 0)
        .then(|| Curve::new(&same_mean, &different_mean));
    Ok(Measured {
        from: format!(
            "portraits of {}, of which {known} have a first pair that agrees",
            count(all.len(), "name")
        ),
        pair,
        portraits,
    })
}

/// The names of the run, by their ids: hashes, so that the first are no choice.
fn faces(paths: &RunPaths) -> Result<Vec<Name>, Failure> {
    let session = Session::open(paths, StageName::VerifyPortraits, Access::Existing)?;
    let records = session.current_records()?;
    let parts = records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::PortraitFaces));
    let mut names: BTreeMap<NameId, Vec<PortraitFace>> = BTreeMap::new();
    for part in parts {
        let dims = &session.manifest.embedding_dims;
        for row in part::read_rows::<PortraitFace>(session.store()?, part, dims)? {
            names.entry(row.name_id).or_default().push(row);
        }
    }
    if names.is_empty() {
        let output = paths.output.display();
        let text = format!("{output}: no portraits have been scored, or not as they are now");
        return Err(Failure::new(Exit::Environment, text).hint(
            "run `laioncele run --stage ..verify-portraits` with the same manifest and output",
        ));
    }
    Ok(names.values().map(|rows| Name::of(rows)).collect())
}

/// One person: the last two portraits, and the last one against the others, of names whose first
/// two agree.
fn within(names: &[Name], same_person: f64) -> (Tally, Tally) {
    let (mut pairs, mut means) = (Tally::new(names.len()), Tally::new(names.len()));
    for (at, name) in names.iter().enumerate() {
        if !name.is_known(same_person) {
            continue;
        }
        if let Some(similarity) = name.similarity(2, 3) {
            pairs.add([at; 2], similarity);
        }
        let last = name.0[3].as_ref();
        if let Some(mean) = last.and_then(|face| name.mean(face, 0..3)) {
            means.add([at; 2], mean);
        }
    }
    (pairs, means)
}

/// Two people: each portrait against each of another name, and against the four of a name whose
/// first two agree.
fn between(names: &[Name], same_person: f64) -> (Tally, Tally) {
    let (mut pairs, mut means) = (Tally::new(names.len()), Tally::new(names.len()));
    for (a, name) in names.iter().enumerate() {
        let known = name.is_known(same_person);
        for (b, other) in names.iter().enumerate().filter(|(b, _)| *b != a) {
            for face in other.0.iter().flatten() {
                if known && let Some(mean) = name.mean(face, 0..PORTRAITS) {
                    means.add([a, b], mean);
                }
                if b < a {
                    let faces = name.0.iter().flatten();
                    faces.for_each(|own| pairs.add([a, b], cosine(own, face)));
                }
            }
        }
    }
    (pairs, means)
}
