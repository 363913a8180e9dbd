//! Whether a folder that is given as one person shows one, and whether a name is one that the model knows.

use std::path::Path;

use laioncele_core::error::chain;
use laioncele_core::ledger::Record;
use laioncele_core::part_rows::read_columns;
use laioncele_core::store::Store;
use laioncele_core::table::{Cell, KnownName};
use laioncele_core::{CoreError, EmbeddingDims, Manifest, TableId};
use laioncele_face::{FaceFiles, FaceNets, FaceOptions};
use laioncele_inference::agreement::AgreementSettings;
use laioncele_inference::{FaceSection, people};

use super::person::{Photos, file_name};
use crate::failure::{Exit, Failure};

/// People and photos of each that a message lists at most.
const MOST_LISTED: usize = 6;

/// What compares faces.
pub(super) struct FaceCheck {
    pub(super) files: FaceFiles,
    /// Lowest cosine of two faces of one person.
    pub(super) same_person: f64,
}

impl FaceCheck {
    /// The manifest's networks and threshold, if it has any.
    pub(super) fn of_manifest(manifest: &Manifest) -> Option<Self> {
        let section = FaceSection::from_manifest(manifest).ok()?;
        let settings = AgreementSettings::from_manifest(manifest).ok()?;
        Some(Self {
            files: section.without_gender().files,
            same_person: settings.same_person,
        })
    }

    /// Refuses several photos of several people.
    ///
    /// # Errors
    /// Several people, or a network that fails at work; networks that cannot be loaded are told and do not stop anything.
    pub(super) fn check(&self, photos: &Photos, path: &Path) -> Result<(), Failure> {
        if photos.images.len() < 2 {
            return Ok(());
        }
        let nets = match FaceNets::load(&self.files, &FaceOptions::default()) {
            Ok(nets) => nets,
            Err(error) => {
                let text = chain(&error);
                tracing::warn!("the photos' faces are not compared with each other: {text}");
                return Ok(());
            }
        };
        let found = people(&nets, &photos.images, self.same_person as f32);
        let found = found.map_err(|e| Failure::new(Exit::Environment, chain(&e)))?;
        if found.len() < 2 {
            return Ok(());
        }
        let names = |group: &Vec<usize>| {
            let listed = group.iter().take(MOST_LISTED);
            let names: Vec<String> = listed.map(|at| file_name(&photos.files[*at])).collect();
            let more = group.len().saturating_sub(MOST_LISTED);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            names.join(", ") + &more
        };
        let listed: Vec<String> = found.iter().take(MOST_LISTED).map(names).collect();
        let text = format!(
            "{} shows {} people, by their faces (cosines below {}): {}",
            path.display(),
            found.len(),
            self.same_person,
            listed.join(" | ")
        );
        Err(Failure::new(Exit::Usage, text).hint(
            "name a folder of one person; --allow-several takes the mean of whatever is there",
        ))
    }
}

/// Says a word if the run does not know that the model knows `name`.
///
/// # Errors
/// Damaged parts.
pub(super) fn tell_unknown(
    name: &str,
    store: &Store,
    records: &[Record],
    dims: &EmbeddingDims,
) -> Result<(), CoreError> {
    const COLUMN: &str = "name";
    let (mut known, wanted) = (0usize, name.to_lowercase());
    let parts = records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::KnownNames));
    for part in parts {
        for batch in read_columns::<KnownName>(store, part, dims, &[COLUMN])? {
            let fail = |cause: String| CoreError::parquet(&part.path, cause);
            let batch = batch?;
            let column = batch.column_by_name(COLUMN);
            let column = column.ok_or_else(|| fail(format!("no column `{COLUMN}`")))?;
            for found in String::read(column, dims).map_err(fail)? {
                if found.to_lowercase() == wanted {
                    return Ok(());
                }
                known += 1;
            }
        }
    }
    match known {
        0 => tracing::warn!(
            "whether the model knows `{name}` cannot be told: the run has no known names yet"
        ),
        known => tracing::warn!(
            "the model was never shown to know `{name}`, which is none of the run's {known} known names: the images may show anybody"
        ),
    }
    Ok(())
}
