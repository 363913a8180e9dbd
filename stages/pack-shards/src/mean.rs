//! `name_mean.safetensors`: the mean over the dataset's names that Equation 4 starts from, and
//! their mean length, which may stand for η in Equation 5.

use std::collections::{BTreeMap, HashSet};

use laioncele_core::ledger::Record;
use laioncele_core::part::read_rows;
use laioncele_core::store::Store;
use laioncele_core::table::{Identity, NameEmbedding};
use laioncele_core::{CoreError, EmbeddingDims, NameId, TableId};
use safetensors::{Dtype, tensor::TensorView};

/// The file: `mean` float32 `[tokens × channels]`, `length` float32 `[1]`; `names` in its metadata.
/// `None` without names.
///
/// # Errors
/// Damaged parts.
pub(crate) fn encode(
    store: &Store,
    dims: &EmbeddingDims,
    records: &[Record],
) -> Result<Option<Vec<u8>>, CoreError> {
    let names = names(store, dims, records)?;
    if names.is_empty() {
        return Ok(None);
    }
    let count = names.len() as f64;
    let (mut sums, mut lengths) = (vec![0f64; dims.name_tokens * dims.name_channels], 0f64);
    for name in names.values() {
        lengths += name.iter().map(|v| v * v).sum::<f64>().sqrt();
        sums.iter_mut().zip(name).for_each(|(sum, v)| *sum += v);
    }
    let bytes = |values: &[f64]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|v| ((v / count) as f32).to_le_bytes())
            .collect()
    };
    let (mean, length) = (bytes(&sums), bytes(&[lengths]));
    let fail =
        |error: safetensors::SafeTensorError| CoreError::parquet("name_mean.safetensors", error);
    let shape = vec![dims.name_tokens, dims.name_channels];
    let views = [
        (
            "mean",
            TensorView::new(Dtype::F32, shape, &mean).map_err(fail)?,
        ),
        (
            "length",
            TensorView::new(Dtype::F32, vec![1], &length).map_err(fail)?,
        ),
    ];
    let metadata = [("names".to_owned(), names.len().to_string())].into();
    safetensors::serialize(views, Some(metadata))
        .map(Some)
        .map_err(fail)
}

/// The name embeddings of all identities, by id: each name once, however many photos it has.
fn names(
    store: &Store,
    dims: &EmbeddingDims,
    records: &[Record],
) -> Result<BTreeMap<NameId, Vec<f64>>, CoreError> {
    let mut names = BTreeMap::new();
    for record in records {
        let inputs = |table: TableId| record.inputs.iter().filter(move |part| part.table == table);
        let mut kept: HashSet<NameId> = HashSet::new();
        for part in inputs(TableId::Identities) {
            kept.extend(
                read_rows::<Identity>(store, part, dims)?
                    .iter()
                    .map(|row| row.name_id),
            );
        }
        for part in inputs(TableId::NameEmbeddings) {
            for row in read_rows::<NameEmbedding>(store, part, dims)? {
                if kept.contains(&row.name_id) {
                    names.insert(
                        row.name_id,
                        row.embedding.0.iter().map(|v| v.to_f64()).collect(),
                    );
                }
            }
        }
    }
    Ok(names)
}
