//! Similarities of labelled pairs of images, by the manifest's networks.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use laioncele_core::error::chain;
use laioncele_core::part::read_batches;
use laioncele_core::{CoreError, Manifest};
use laioncele_face::calibration::{Curve, Tally};
use laioncele_face::{FaceNets, Search, cosine};
use rayon::prelude::*;

use super::Measured;
use crate::commands::faces;
use crate::failure::{Exit, Failure};
use crate::words::count;

/// A row of the file.
struct Pair {
    a: String,
    b: String,
    same: bool,
}

/// An image's position among all, and the embedding of its main face.
type Seen = BTreeMap<String, (usize, Option<Vec<f32>>)>;

/// Measures the pairs of `file`.
pub(super) fn measure(manifest: &Manifest, file: &Path) -> Result<Measured, Failure> {
    let pairs = read(file)?;
    let nets = faces::load(manifest)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let seen = look(&nets, folder, &pairs)?;
    let (mut same, mut different) = (Tally::new(seen.len()), Tally::new(seen.len()));
    let mut faceless = 0;
    for pair in &pairs {
        match (&seen[&pair.a], &seen[&pair.b]) {
            ((a, Some(first)), (b, Some(second))) => {
                let tally = if pair.same { &mut same } else { &mut different };
                tally.add([*a, *b], cosine(first, second));
            }
            _ => faceless += 1,
        }
    }
    if same.pairs() == 0 || different.pairs() == 0 {
        let text = format!("{}: no pair of one person, or none of two", file.display());
        return Err(Failure::new(Exit::Environment, text));
    }
    Ok(Measured {
        from: format!(
            "{} of {}, {faceless} of them left out for an image without a face",
            count(pairs.len(), "pair"),
            count(seen.len(), "image"),
        ),
        pair: Curve::new(&same, &different),
        portraits: None,
    })
}

/// Embeds each image once.
fn look(nets: &FaceNets, folder: &Path, pairs: &[Pair]) -> Result<Seen, Failure> {
    let mut files: Vec<&String> = pairs.iter().flat_map(|p| [&p.a, &p.b]).collect();
    files.sort();
    files.dedup();
    let embed = |name: &&String| {
        let image = faces::open(&folder.join(name))?;
        let found = nets.faces_by(&image, Search::EverySize);
        let found = found.map_err(|e| faces::failed(&e))?;
        Ok(found.into_iter().next().map(|face| face.vector))
    };
    let vectors: Result<Vec<_>, Failure> = files.par_iter().map(embed).collect();
    let numbered = files.into_iter().zip(vectors?).enumerate();
    Ok(numbered
        .map(|(at, (name, vector))| (name.clone(), (at, vector)))
        .collect())
}

fn read(file: &Path) -> Result<Vec<Pair>, Failure> {
    let bytes = std::fs::read(file).map_err(|e| CoreError::from_io(file, e))?;
    let wrong = |e: &dyn std::fmt::Display| {
        let text = format!("{}: {e}", file.display());
        Failure::new(Exit::Environment, text)
            .hint("the columns are `a` and `b`, texts, and `same`, a boolean")
    };
    let broken = |e: CoreError| wrong(&chain(&e));
    let mut pairs = Vec::new();
    for batch in read_batches(bytes.into(), &file.to_string_lossy()).map_err(broken)? {
        let batch = batch.map_err(broken)?;
        let (a, b) = (
            column(&batch, "a", &DataType::Utf8).map_err(|e| wrong(&e))?,
            column(&batch, "b", &DataType::Utf8).map_err(|e| wrong(&e))?,
        );
        let same = column(&batch, "same", &DataType::Boolean).map_err(|e| wrong(&e))?;
        let texts = a.as_string::<i32>().iter().zip(b.as_string::<i32>());
        for ((a, b), same) in texts.zip(same.as_boolean()) {
            let (Some(a), Some(b), Some(same)) = (a, b, same) else {
                return Err(wrong(&"a value is null"));
            };
            pairs.push(Pair {
                a: a.to_owned(),
                b: b.to_owned(),
                same,
            });
        }
    }
    Ok(pairs)
}

/// A column as values of `of`, which it must be or be another form of: texts come in three.
fn column(batch: &RecordBatch, name: &str, of: &DataType) -> Result<ArrayRef, String> {
    let found = batch
        .column_by_name(name)
        .ok_or_else(|| format!("no column `{name}`"))?;
    let text = matches!(
        found.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
    );
    if found.data_type() != of && !(text && *of == DataType::Utf8) {
        return Err(format!("column `{name}` is {}", found.data_type()));
    }
    cast(found, of).map_err(|e| format!("column `{name}`: {e}"))
}
