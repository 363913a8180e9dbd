//! The bucket's candidates, a row group in memory at a time, and which of them are of known names.

use std::collections::HashSet;

use laioncele_core::table::{Candidate, KnownName};
use laioncele_core::{ImageId, NameId, PartReader, Row, StageError, TableId, Task};

use crate::known::Images;
use crate::outcomes::Outcomes;

/// All candidates, in the order of their parts.
pub(crate) fn candidates(
    task: &Task,
) -> Result<impl Iterator<Item = Result<Candidate, StageError>> + use<>, StageError> {
    let readers: Vec<PartReader> = task
        .inputs(TableId::Candidates)
        .map(|part| task.stream::<Candidate>(part))
        .collect::<Result<_, _>>()?;
    let dims = *task.embedding_dims();
    let rows = readers.into_iter().flat_map(move |reader| {
        let path = reader.path().to_owned();
        reader.flat_map(move |batch| {
            let rows = batch.and_then(|batch| Candidate::from_batch(&batch, &dims, &path));
            let (rows, error) = match rows {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(Err(StageError::from(error)))),
            };
            rows.into_iter().map(Ok).chain(error)
        })
    });
    Ok(rows)
}

/// What a bucket wants.
pub(crate) struct Wanted {
    /// Its known names.
    names: HashSet<NameId>,
    /// The images of their candidates.
    pub(crate) images: Images,
    /// Candidates, those of other names included.
    pub(crate) rows: u64,
}

impl Wanted {
    /// Reads the ids of all candidates.
    ///
    /// # Errors
    /// Damaged parts.
    pub(crate) fn find(task: &Task) -> Result<Self, StageError> {
        let names = task.read::<KnownName>()?.into_iter().map(|n| n.name_id);
        let names: HashSet<NameId> = names.collect();
        let (mut images, mut rows) = (Vec::new(), 0);
        for part in task.inputs(TableId::Candidates) {
            for batch in task.read_columns::<Candidate>(part, &["name_id", "image_id"])? {
                let batch = batch?;
                let of: Vec<u64> = task.column(&batch, "name_id")?;
                let found: Vec<u64> = task.column(&batch, "image_id")?;
                rows += of.len() as u64;
                let known = of.into_iter().zip(found);
                let known = known.filter(|(name, _)| names.contains(&NameId(*name)));
                images.extend(known.map(|(_, image)| image));
            }
        }
        Ok(Self {
            names,
            images: Images::new(images),
            rows,
        })
    }

    /// Whether the candidate is of a known name.
    pub(crate) fn is_known(&self, candidate: &Candidate) -> bool {
        self.names.contains(&candidate.name_id)
    }

    /// The images of which there is no outcome yet.
    pub(crate) fn without(&self, outcomes: &Outcomes) -> Images {
        let there = outcomes.images();
        self.images.filter(|id| !there.contains(ImageId(id)))
    }
}
