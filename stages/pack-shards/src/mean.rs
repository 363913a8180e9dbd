//! The mean over the dataset's names that Equation 4 starts from, and their mean length, which may
//! stand for η in Equation 5: each bucket's sums as the table `name_sums`, all of them as
//! `name_mean.safetensors`.

use laioncele_core::ledger::Record;
use laioncele_core::part::read_rows;
use laioncele_core::store::Store;
use laioncele_core::table::{NameSum, NameSums, NameVector};
use laioncele_core::{CoreError, EmbeddingDims, TableId};
use safetensors::{Dtype, tensor::TensorView};

/// The sums over a bucket's names; `None` without names.
pub fn sums<'a>(names: impl Iterator<Item = &'a NameVector>) -> Option<NameSum> {
    let mut total: Option<NameSum> = None;
    for name in names {
        let total = total.get_or_insert_with(|| NameSum {
            names: 0,
            lengths: 0.0,
            sums: NameSums(vec![0.0; name.0.len()]),
        });
        let mut squares = 0.0;
        for (sum, value) in total.sums.0.iter_mut().zip(&name.0) {
            let value = value.to_f64();
            *sum += value;
            squares += value * value;
        }
        total.lengths += squares.sqrt();
        total.names += 1;
    }
    total
}

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
    let (mut sums, mut lengths) = (vec![0f64; dims.name_tokens * dims.name_channels], 0f64);
    let mut names = 0;
    for part in records.iter().flat_map(|r| r.outputs_of(TableId::NameSums)) {
        for row in read_rows::<NameSum>(store, part, dims)? {
            names += row.names;
            lengths += row.lengths;
            sums.iter_mut()
                .zip(&row.sums.0)
                .for_each(|(sum, v)| *sum += v);
        }
    }
    if names == 0 {
        return Ok(None);
    }
    let count = names as f64;
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
    let metadata = [("names".to_owned(), names.to_string())].into();
    safetensors::serialize(views, Some(metadata))
        .map(Some)
        .map_err(fail)
}
