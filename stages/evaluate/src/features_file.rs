//! Figures of recorded numbers: embeddings that anybody computed, in safetensors files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use laioncele_core::CoreError;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use crate::error::{EvaluateError, Result};
use crate::frechet::frechet_distance;
use crate::identity::{Face, MOST_PAIRS, Pairs, Reading, auc, consistency, dot, partners, unit};
use crate::images::ALL;
use crate::intervals::Bootstrap;
use crate::kernel::kernel_distance;
use crate::report::Score;

/// The largest file of features.
const MAX_BYTES: u64 = 16 << 30;

/// What random numbers begin with.
#[derive(Clone, Copy, Debug)]
pub struct FigureSeeds {
    /// The draw of one partner for each face.
    pub partners: u64,
    /// The intervals.
    pub bootstrap: Bootstrap,
}

/// Figures of recorded numbers.
#[derive(Debug, Default, Serialize)]
pub struct FeaturesReport {
    /// The figures.
    pub scores: Vec<Score>,
    /// By group and reading: (picture, its one partner), by the pictures' numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partners: BTreeMap<String, BTreeMap<&'static str, Vec<(usize, usize)>>>,
}

/// Numbers of a tensor with its shape.
struct Numbers {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// A file's tensors.
struct File {
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let io = |error| CoreError::from_io(path, error);
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > MAX_BYTES {
            return Err(fail(path, format!("{size} bytes, more than {MAX_BYTES}")));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        Ok(Self { bytes })
    }

    fn tensors(&self, path: &Path) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|e| fail(path, format!("no safetensors file: {e}")))
    }
}

fn fail(path: &Path, reason: String) -> EvaluateError {
    EvaluateError::Features {
        path: path.to_owned(),
        reason,
    }
}

/// The numbers of a tensor as float64; `None` where there is no such tensor.
fn numbers(path: &Path, tensors: &SafeTensors<'_>, name: &str) -> Result<Option<Numbers>> {
    let Ok(view) = tensors.tensor(name) else {
        return Ok(None);
    };
    let data = view.data();
    let values: Vec<f64> = match view.dtype() {
        Dtype::F32 => words(data, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => words(data, f64::from_le_bytes),
        Dtype::I64 => words(data, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => words(data, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::I16 => words(data, |b| f64::from(i16::from_le_bytes(b))),
        Dtype::U8 | Dtype::BOOL => words(data, |[b]| f64::from(b)),
        other => {
            return Err(fail(
                path,
                format!("`{name}` is of {other:?}: f32, f64 or whole numbers"),
            ));
        }
    };
    if let Some(value) = values.iter().find(|v| !v.is_finite()) {
        return Err(fail(path, format!("`{name}` has the number {value}")));
    }
    let shape = view.shape().to_vec();
    Ok(Some(Numbers { shape, values }))
}

fn words<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
}

impl Numbers {
    /// The rows of a matrix.
    fn rows(&self, path: &Path, name: &str) -> Result<Vec<Vec<f32>>> {
        match self.shape[..] {
            [_, width] if width > 0 => Ok((self.values.chunks_exact(width))
                .map(|row| row.iter().map(|v| *v as f32).collect())
                .collect()),
            _ => Err(fail(
                path,
                format!("`{name}` is {:?}, not [rows, width]", self.shape),
            )),
        }
    }

    /// A whole number for each of `count` pictures.
    fn list(&self, path: &Path, name: &str, count: usize) -> Result<Vec<f64>> {
        if self.shape != [count] {
            let shape = &self.shape;
            return Err(fail(
                path,
                format!("`{name}` is {shape:?}, but there are {count} pictures"),
            ));
        }
        Ok(self.values.clone())
    }
}

/// Fréchet and kernel distance of two files' features: the tensor `tensor` of each, or without a name `features`, or the only
/// matrix.
///
/// # Errors
/// A file that cannot be read or has no such tensor; widths that differ; fewer than two rows.
pub fn distances_of_files(
    first: &Path,
    second: &Path,
    tensor: Option<&str>,
) -> Result<FeaturesReport> {
    let (a, b) = (matrix(first, tensor)?, matrix(second, tensor)?);
    let width = |rows: &[Vec<f32>]| rows.first().map_or(0, Vec::len);
    if width(&a) != width(&b) {
        let (a, b) = (width(&a), width(&b));
        return Err(fail(
            second,
            format!("features are {b} wide, those of {} {a}", first.display()),
        ));
    }
    let a: Vec<&[f32]> = a.iter().map(Vec::as_slice).collect();
    let b: Vec<&[f32]> = b.iter().map(Vec::as_slice).collect();
    let found = [
        ("frechet", frechet_distance(&a, &b)),
        ("kernel", kernel_distance(&a, &b)),
    ];
    let score = |(metric, value): (&str, Option<f64>)| {
        Some(Score {
            metric: metric.to_owned(),
            group: ALL.to_owned(),
            value: value?,
            count: a.len() as u64,
            against_count: Some(b.len() as u64),
            ..Score::default()
        })
    };
    let scores: Vec<Score> = found.into_iter().filter_map(score).collect();
    if scores.is_empty() {
        return Err(fail(
            first,
            "a distance needs two rows of features on each side".to_owned(),
        ));
    }
    Ok(FeaturesReport {
        scores,
        ..FeaturesReport::default()
    })
}

fn matrix(path: &Path, tensor: Option<&str>) -> Result<Vec<Vec<f32>>> {
    let file = File::read(path)?;
    let tensors = file.tensors(path)?;
    let names = tensors.names();
    let matrices: Vec<&&str> = (names.iter())
        .filter(|name| {
            tensors
                .tensor(name)
                .is_ok_and(|view| view.shape().len() == 2)
        })
        .collect();
    let name = match (tensor, matrices.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => "features",
    };
    match numbers(path, &tensors, name)? {
        Some(found) => found.rows(path, name),
        None => Err(fail(
            path,
            format!("no tensor `{name}`; it has {}", names.join(", ")),
        )),
    }
}

/// Figures of recorded faces and cosines: `vectors` [pictures, width] with `person` (whole numbers), and, where they are
/// given, `group` (whole numbers), `found` (1 where there is a face), `references` [people, width] by person,
/// `clip_cosine` and `clip_cosine_other_system`. The groups are `all` and `group-0`, `group-1`, …
///
/// # Errors
/// A file that cannot be read, tensors that do not fit each other.
pub fn figures_of_file(path: &Path, seeds: &FigureSeeds) -> Result<FeaturesReport> {
    let file = File::read(path)?;
    let pictures = Pictures::read(path, &file.tensors(path)?)?;
    let mut report = FeaturesReport::default();
    let groups: BTreeSet<usize> = pictures.group.iter().copied().collect();
    let named = groups.into_iter().map(|g| (format!("group-{g}"), Some(g)));
    for (name, group) in [(ALL.to_owned(), None)].into_iter().chain(named) {
        let within: Vec<usize> = (0..pictures.person.len())
            .filter(|k| group.is_none_or(|g| pictures.group[*k] == g))
            .collect();
        let figures = Figures {
            pictures: &pictures,
            group: &name,
            seeds,
            report: &mut report,
        };
        figures.add(&within);
    }
    Ok(report)
}

/// Recorded pictures.
struct Pictures {
    person: Vec<usize>,
    group: Vec<usize>,
    found: Vec<bool>,
    vectors: Vec<Vec<f32>>,
    references: Vec<Vec<f64>>,
    cosines: Option<Vec<f64>>,
    other_cosines: Option<Vec<f64>>,
}

impl Pictures {
    fn read(path: &Path, tensors: &SafeTensors<'_>) -> Result<Self> {
        let needed = |name: &str| {
            let missing = || {
                fail(
                    path,
                    format!("no tensor `{name}`; it has {}", tensors.names().join(", ")),
                )
            };
            numbers(path, tensors, name)?.ok_or_else(missing)
        };
        let vectors = needed("vectors")?.rows(path, "vectors")?;
        let count = vectors.len();
        let list = |name: &str| match numbers(path, tensors, name)? {
            Some(found) => found.list(path, name, count).map(Some),
            None => Ok(None),
        };
        let whole = |name: &str, values: Vec<f64>| -> Result<Vec<usize>> {
            let number = |v: f64| match v {
                v if v >= 0.0 && v.fract() == 0.0 && v < 1e9 => Ok(v as usize),
                v => Err(fail(
                    path,
                    format!("`{name}` has {v}: whole numbers from 0 on"),
                )),
            };
            values.into_iter().map(number).collect()
        };
        let person = whole("person", needed("person")?.list(path, "person", count)?)?;
        let group = list("group")?.unwrap_or_else(|| vec![0.0; count]);
        let references = match numbers(path, tensors, "references")? {
            Some(found) => found.rows(path, "references")?,
            None => Vec::new(),
        };
        let width = vectors.first().map_or(0, Vec::len);
        if references.first().is_some_and(|r| r.len() != width) {
            return Err(fail(
                path,
                "`references` are not as wide as `vectors`".to_owned(),
            ));
        }
        Ok(Self {
            person,
            group: whole("group", group)?,
            found: match list("found")? {
                Some(found) => found.into_iter().map(|v| v != 0.0).collect(),
                None => vec![true; count],
            },
            vectors,
            references: references.iter().map(|r| unit(r)).collect(),
            cosines: list("clip_cosine")?,
            other_cosines: list("clip_cosine_other_system")?,
        })
    }
}

/// The figures of a group.
struct Figures<'a> {
    pictures: &'a Pictures,
    group: &'a str,
    seeds: &'a FigureSeeds,
    report: &'a mut FeaturesReport,
}

impl Figures<'_> {
    fn add(mut self, within: &[usize]) {
        let pictures = self.pictures;
        let found = within.iter().filter(|k| pictures.found[**k]).count();
        if !within.is_empty() {
            let share = found as f64 / within.len() as f64;
            self.put("faces_found", share, within.len());
        }
        let places: Vec<usize> = within
            .iter()
            .copied()
            .filter(|k| pictures.found[*k])
            .collect();
        let face = |k: &usize| Face::new(pictures.person[*k], &pictures.vectors[*k]);
        let faces: Vec<Face> = places.iter().map(face).collect();
        for (metric, name, reading) in [
            ("id_consistency", "same_person", Reading::SamePerson),
            (
                "id_consistency_of_all",
                "all_pictures",
                Reading::AllPictures,
            ),
        ] {
            let values = consistency(&faces, reading).into_iter();
            self.mean(
                metric,
                &values
                    .map(|(at, v)| (faces[at].person, v))
                    .collect::<Vec<_>>(),
            );
            let drawn = partners(&faces, reading, self.seeds.partners);
            let cosines = drawn
                .iter()
                .map(|(a, b)| dot(&faces[*a].vector, &faces[*b].vector));
            let (sum, count) = (cosines.sum::<f64>(), drawn.len());
            if count > 0 {
                self.put(&format!("{metric}_one_partner"), sum / count as f64, count);
            }
            let of_group = self
                .report
                .partners
                .entry(self.group.to_owned())
                .or_default();
            let pictures = drawn.into_iter().map(|(a, b)| (places[a], places[b]));
            of_group.insert(name, pictures.collect());
        }
        self.references(&faces);
        self.pairs(&faces);
        self.cosines(within);
    }

    fn put(&mut self, metric: &str, value: f64, count: usize) {
        self.report.scores.push(Score {
            metric: metric.to_owned(),
            group: self.group.to_owned(),
            value,
            count: count as u64,
            ..Score::default()
        });
    }

    fn mean(&mut self, metric: &str, values: &[(usize, f64)]) {
        if values.is_empty() {
            return;
        }
        let mean = values.iter().map(|(_, v)| v).sum::<f64>() / values.len() as f64;
        self.put(metric, mean, values.len());
        let interval = self.seeds.bootstrap.of_mean(values);
        if let Some(score) = self.report.scores.last_mut() {
            score.low = interval.map(|i| i.low);
            score.high = interval.map(|i| i.high);
        }
    }

    fn references(&mut self, faces: &[Face]) {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for face in faces {
            for (person, reference) in self.pictures.references.iter().enumerate() {
                let similarity = dot(&face.vector, reference);
                if person == face.person {
                    own.push((person, similarity));
                } else {
                    others.push(similarity);
                }
            }
        }
        self.mean("reference_similarity", &own);
        let values: Vec<f64> = own.iter().map(|(_, v)| *v).collect();
        if let Some(area) = auc(&values, &others) {
            self.put("reference_auc", area, values.len() + others.len());
        }
    }

    fn pairs(&mut self, faces: &[Face]) {
        let Pairs { same, different } = Pairs::of(faces, MOST_PAIRS, self.seeds.partners);
        for (metric, values) in [
            ("same_person_mean", &same),
            ("random_pair_mean", &different),
        ] {
            if !values.is_empty() {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                self.put(metric, mean, values.len());
            }
        }
        if let Some(area) = auc(&same, &different) {
            self.put("same_person_auc", area, same.len() + different.len());
        }
    }

    fn cosines(&mut self, within: &[usize]) {
        let pictures = self.pictures;
        let Some(own) = &pictures.cosines else {
            return;
        };
        let values = |of: &dyn Fn(usize) -> f64| -> Vec<(usize, f64)> {
            within
                .iter()
                .map(|k| (pictures.person[*k], of(*k)))
                .collect()
        };
        self.mean("clip_ti", &values(&|k| 100.0 * own[k]));
        if let Some(others) = &pictures.other_cosines {
            self.mean(
                "clip_ti_difference",
                &values(&|k| 100.0 * own[k] - 100.0 * others[k]),
            );
        }
    }
}
