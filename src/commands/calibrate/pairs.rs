//! Similarities of labelled pairs of images, by the manifest's networks.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
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

/// What an image shows.
enum Look {
    /// The embedding of its main face.
    Face(Vec<f32>),
    Nobody,
    /// It is not there, or no picture: the reason.
    Unreadable(String),
}

/// An image's position among all, and what it shows.
type Seen = BTreeMap<String, (usize, Look)>;

/// Images that cannot be read and are named; the others are counted.
const NAMED: usize = 5;

/// Measures the pairs of `file`.
pub(super) fn measure(manifest: &Manifest, file: &Path) -> Result<Measured, Failure> {
    let pairs = read(file)?;
    let nets = faces::load(manifest)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let seen = look(&nets, folder, &pairs)?;
    let unreadable = warn_of_unreadable(&seen);
    let (mut same, mut different) = (Tally::new(seen.len()), Tally::new(seen.len()));
    let mut left_out = 0;
    for pair in &pairs {
        match (&seen[&pair.a], &seen[&pair.b]) {
            ((a, Look::Face(first)), (b, Look::Face(second))) => {
                let tally = if pair.same { &mut same } else { &mut different };
                tally.add([*a, *b], cosine(first, second));
            }
            _ => left_out += 1,
        }
    }
    if same.pairs() == 0 || different.pairs() == 0 {
        let text = format!("{}: no pair of one person, or none of two", file.display());
        return Err(Failure::new(Exit::Environment, text));
    }
    Ok(Measured {
        from: format!(
            "{} of {}, {left_out} of them left out for an image without a face{}",
            count(pairs.len(), "pair"),
            count(seen.len(), "image"),
            match unreadable {
                0 => String::new(),
                images => format!(" or one of {images} that cannot be read"),
            },
        ),
        pair: Curve::new(&same, &different),
        portraits: None,
    })
}

/// Says which images cannot be read; how many.
fn warn_of_unreadable(seen: &Seen) -> usize {
    let reasons = seen.values().filter_map(|(_, look)| match look {
        Look::Unreadable(reason) => Some(reason),
        Look::Face(_) | Look::Nobody => None,
    });
    let reasons: Vec<_> = reasons.collect();
    for reason in reasons.iter().take(NAMED) {
        tracing::warn!("{reason}: its pairs are left out");
    }
    if let Some(others) = reasons
        .len()
        .checked_sub(NAMED)
        .filter(|others| *others > 0)
    {
        tracing::warn!("and {others} other images that cannot be read");
    }
    reasons.len()
}

/// Embeds each image once.
fn look(nets: &FaceNets, folder: &Path, pairs: &[Pair]) -> Result<Seen, Failure> {
    let mut files: Vec<&String> = pairs.iter().flat_map(|p| [&p.a, &p.b]).collect();
    files.sort();
    files.dedup();
    let embed = |name: &&String| {
        let image = match faces::open(&folder.join(name)) {
            Ok(image) => image,
            Err(failure) => return Ok(Look::Unreadable(failure.message)),
        };
        let found = nets.faces_by(&image, Search::EverySize);
        let found = found.map_err(|e| faces::failed(&e))?;
        let main = found.into_iter().next();
        Ok(main.map_or(Look::Nobody, |face| Look::Face(face.vector)))
    };
    let looks: Result<Vec<_>, Failure> = files.par_iter().map(embed).collect();
    let numbered = files.into_iter().zip(looks?).enumerate();
    Ok(numbered
        .map(|(at, (name, look))| (name.clone(), (at, look)))
        .collect())
}

fn read(file: &Path) -> Result<Vec<Pair>, Failure> {
    let bytes = std::fs::read(file).map_err(|e| CoreError::from_io(file, e))?;
    let wrong = |e: &dyn std::fmt::Display| {
        let text = format!("{}: {e}", file.display());
        Failure::new(Exit::Environment, text)
            .hint("it is to be a Parquet file; the columns are `a` and `b`, texts, and `same`, a boolean or 0 and 1")
    };
    let broken = |e: CoreError| wrong(&chain(&e));
    let mut pairs = Vec::new();
    for batch in read_batches(bytes.into(), &file.to_string_lossy()).map_err(broken)? {
        let batch = batch.map_err(broken)?;
        let (a, b) = (
            column(&batch, "a", &DataType::Utf8).map_err(|e| wrong(&e))?,
            column(&batch, "b", &DataType::Utf8).map_err(|e| wrong(&e))?,
        );
        let same = labels(&batch).map_err(|e| wrong(&e))?;
        let texts = a.as_string::<i32>().iter().zip(b.as_string::<i32>());
        for ((a, b), same) in texts.zip(&same) {
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

/// The column `same`: a boolean, or numbers that are 0 and 1.
fn labels(batch: &RecordBatch) -> Result<BooleanArray, String> {
    let found = batch.column_by_name("same");
    let numbers = found.filter(|column| column.data_type().is_numeric());
    let Some(numbers) = numbers else {
        return Ok(column(batch, "same", &DataType::Boolean)?
            .as_boolean()
            .clone());
    };
    let numbers = cast(numbers, &DataType::Float64).map_err(|e| format!("column `same`: {e}"))?;
    let label = |number: Option<f64>| match number {
        None => Ok(None),
        Some(0.0) => Ok(Some(false)),
        Some(1.0) => Ok(Some(true)),
        Some(other) => Err(format!("column `same` has {other}")),
    };
    numbers
        .as_primitive::<Float64Type>()
        .iter()
        .map(label)
        .collect()
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
