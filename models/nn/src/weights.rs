//! Weight files: safetensors, memory-mapped, whole or sharded, full or half precision, with every
//! difference from the expected tensors reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Shape, Tensor};
use safetensors::Dtype;
use serde::Deserialize;

use crate::config::JsonFile;
use crate::error::{Error, Result, TensorReport};
use crate::foreign;

/// Which of a folder's weight files to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightVariant {
    /// Full precision if it is there, else half precision.
    #[default]
    Any,
    /// Full precision only.
    Full,
    /// Half precision (`.fp16.`) only.
    Half,
}

/// How to load a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where to compute.
    pub device: Device,
    /// In which type to compute; weights are converted to it while they are read.
    pub dtype: DType,
    /// Whether a GPU may round the factors of float32 convolutions to 11 bits (TF32), as PyTorch
    /// lets it: several times as fast through cuDNN.
    pub tf32: bool,
    /// Which weight files to read.
    pub variant: WeightVariant,
    /// Compare names, shapes and stored types with the configuration without reading a number:
    /// every tensor is then zeros that take no memory. Such a model only shows that it loads.
    pub dry: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: DType::F32,
            tf32: false,
            variant: WeightVariant::Any,
            dry: false,
        }
    }
}

/// Tensors as a configuration asks for them: name and shape, in the order of loading.
pub type Shapes = Vec<(String, Vec<usize>)>;

/// The tensors of one module under a name prefix, as its layers ask for them.
///
/// Layers take what they need with [`Weights::get`]; what is missing or misshapen is collected and
/// replaced by zeros that take no memory, so that [`Weights::finish`] can name all differences.
#[derive(Clone)]
pub struct Weights {
    source: Arc<Source>,
    prefix: String,
}

struct Source {
    /// The folder, or the one file.
    origin: PathBuf,
    files: Vec<(PathBuf, MmapedSafetensors)>,
    /// Tensor name → file, shape, stored type. Integer buffers (`position_ids`) are left out.
    tensors: BTreeMap<String, Entry>,
    device: Device,
    dtype: DType,
    tf32: bool,
    dry: bool,
    progress: Mutex<Progress>,
}

struct Entry {
    file: usize,
    shape: Vec<usize>,
    dtype: Dtype,
}

#[derive(Default)]
struct Progress {
    used: BTreeSet<String>,
    report: TensorReport,
}

impl Weights {
    /// Opens `STEM.safetensors`, its half-precision variant or its shards in `folder`.
    ///
    /// # Errors
    /// [`Error::NoWeights`]; a file that is damaged or cannot be read.
    pub fn open(folder: &Path, stem: &str, options: &LoadOptions) -> Result<Self> {
        let files = WeightFiles::find(folder, stem, options.variant)?;
        Self::open_files(folder, files.weights, options)
    }

    /// The files that [`Weights::open`] reads: the weight files and the index that names them.
    ///
    /// # Errors
    /// [`Error::NoWeights`]; an index that is damaged or cannot be read.
    pub fn files_read(folder: &Path, stem: &str, variant: WeightVariant) -> Result<Vec<PathBuf>> {
        let files = WeightFiles::find(folder, stem, variant)?;
        Ok(files.index.into_iter().chain(files.weights).collect())
    }

    /// Opens one file, whatever its name.
    ///
    /// # Errors
    /// A file that is damaged or cannot be read.
    pub fn open_file(path: &Path, options: &LoadOptions) -> Result<Self> {
        Self::open_files(path, vec![path.to_owned()], options)
    }

    /// No weights at all: everything that layers ask for is missing, and [`Weights::wanted`] lists
    /// it.
    pub fn none() -> Self {
        Self::over(Path::new(""), Vec::new(), &LoadOptions::default())
    }

    fn open_files(origin: &Path, paths: Vec<PathBuf>, options: &LoadOptions) -> Result<Self> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file = map_file(&path)?;
            tracing::debug!(path = %path.display(), "weights opened");
            files.push((path, file));
        }
        Ok(Self::over(origin, files, options))
    }

    fn over(
        origin: &Path,
        files: Vec<(PathBuf, MmapedSafetensors)>,
        options: &LoadOptions,
    ) -> Self {
        let source = Source {
            origin: origin.into(),
            tensors: list_tensors(&files),
            files,
            device: options.device.clone(),
            dtype: options.dtype,
            tf32: options.tf32,
            dry: options.dry,
            progress: Mutex::default(),
        };
        Self {
            source: Arc::new(source),
            prefix: String::new(),
        }
    }

    /// What was asked for and is not there.
    pub fn wanted(&self) -> Shapes {
        self.source.progress().report.missing.clone()
    }

    /// The files that were opened.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.source.files.iter().map(|(path, _)| path.as_path())
    }

    /// [`LoadOptions::tf32`]
    pub fn tf32(&self) -> bool {
        self.source.tf32
    }

    /// The tensors below `name`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self {
            source: self.source.clone(),
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// Whether a tensor of this name exists here.
    pub fn contains(&self, name: &str) -> bool {
        self.source
            .tensors
            .contains_key(&format!("{}{name}", self.prefix))
    }

    /// What is stored below the prefix, whether or not a layer asks for it: names without the
    /// prefix, and shapes. Integer buffers are left out.
    pub fn stored(&self) -> impl Iterator<Item = (&str, &[usize])> {
        let below = self.source.tensors.range(self.prefix.clone()..);
        below.map_while(|(name, entry)| {
            let name = name.strip_prefix(self.prefix.as_str())?;
            Some((name, entry.shape.as_slice()))
        })
    }

    /// The tensor `name`, of exactly `shape`, converted to the type and device of the load.
    ///
    /// # Errors
    /// A file that cannot be read, or [`Error::NotFinite`]. What is missing or misshapen comes at
    /// [`Weights::finish`].
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let shape = shape.into();
        let name = format!("{}{name}", self.prefix);
        let source = &self.source;
        let Some(entry) = source.tensors.get(&name) else {
            source.note(|report| report.missing.push((name, shape.dims().to_vec())));
            return source.placeholder(&shape);
        };
        source.progress().used.insert(name.clone());
        if entry.shape != shape.dims() {
            source.note(|report| {
                report
                    .misshapen
                    .push((name, shape.dims().to_vec(), entry.shape.clone()));
            });
            return source.placeholder(&shape);
        }
        source.read(&name, entry, &shape)
    }

    /// [`Weights::get`], seen as another shape of as many numbers.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn get_as(
        &self,
        shape: impl Into<Shape>,
        name: &str,
        seen_as: impl Into<Shape>,
    ) -> Result<Tensor> {
        let tensor = self.get(shape, name)?;
        // A placeholder must not be copied into its full size.
        if tensor.is_contiguous() {
            Ok(tensor.reshape(seen_as)?)
        } else {
            self.source.placeholder(&seen_as.into())
        }
    }

    /// Ends loading: an error that lists every missing, misshapen, unreadable or unexpected tensor.
    /// Tensors whose name starts with one of `ignored` may be left over.
    ///
    /// # Errors
    /// [`Error::Tensors`]
    pub fn finish(&self, ignored: &[&str]) -> Result<()> {
        let source = &self.source;
        let progress = source.progress();
        let mut report = progress.report.clone();
        for (name, entry) in &source.tensors {
            if !progress.used.contains(name) && !ignored.iter().any(|start| name.starts_with(start))
            {
                report.unexpected.push((name.clone(), entry.shape.clone()));
            }
        }
        if report.is_empty() {
            return Ok(());
        }
        Err(Error::Tensors {
            origin: source.origin.clone(),
            report: Box::new(report),
        })
    }
}

impl Source {
    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, add: impl FnOnce(&mut TensorReport)) {
        add(&mut self.progress().report);
    }

    /// Zeros of any shape in the memory of one number.
    fn placeholder(&self, shape: &Shape) -> Result<Tensor> {
        Ok(Tensor::zeros(1, self.dtype, &self.device)?.broadcast_as(shape)?)
    }

    fn read(&self, name: &str, entry: &Entry, shape: &Shape) -> Result<Tensor> {
        let (path, file) = &self.files[entry.file];
        let damaged = |source| Error::Safetensors {
            path: path.clone(),
            source: Box::new(source),
        };
        let readable = matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32);
        if self.dry && readable {
            return self.placeholder(shape);
        }
        let view = file.get(name).map_err(damaged)?;
        let finite = match entry.dtype {
            Dtype::F16 => all_finite_16(view.data(), 0x7c00),
            Dtype::BF16 => all_finite_16(view.data(), 0x7f80),
            Dtype::F32 => all_finite_32(view.data()),
            other => {
                self.note(|report| report.unreadable.push((name.into(), format!("{other:?}"))));
                return self.placeholder(shape);
            }
        };
        if !finite {
            return Err(Error::NotFinite {
                path: path.clone(),
                name: name.into(),
            });
        }
        let tensor = file.load(name, &Device::Cpu).map_err(damaged)?;
        Ok(tensor.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}

/// No number among little-endian 16-bit floats has all the exponent bits of `mask` set.
fn all_finite_16(bytes: &[u8], mask: u16) -> bool {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .all(|pair| u16::from_le_bytes(*pair) & mask != mask)
}

fn all_finite_32(bytes: &[u8]) -> bool {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .all(|four| f32::from_le_bytes(*four).is_finite())
}

#[allow(unsafe_code)]
fn map_file(path: &Path) -> Result<MmapedSafetensors> {
    std::fs::metadata(path).map_err(|source| Error::Io {
        path: path.into(),
        source,
    })?;
    // SAFETY: the map is read-only and private to this process's readers. As with every memory map,
    // another process that truncates the file meanwhile would end this one by a signal; model
    // folders are not written while a run reads them, and every value read is plain numbers, valid
    // for any bits.
    let mapped = unsafe { MmapedSafetensors::new(path) };
    mapped.map_err(|source| {
        foreign::what_is(path).unwrap_or_else(|| Error::Safetensors {
            path: path.into(),
            source: Box::new(source),
        })
    })
}

fn list_tensors(files: &[(PathBuf, MmapedSafetensors)]) -> BTreeMap<String, Entry> {
    let mut tensors = BTreeMap::new();
    for (index, (_, file)) in files.iter().enumerate() {
        for (name, view) in file.tensors() {
            let integer = matches!(
                view.dtype(),
                Dtype::BOOL
                    | Dtype::U8
                    | Dtype::I8
                    | Dtype::I16
                    | Dtype::U16
                    | Dtype::I32
                    | Dtype::U32
                    | Dtype::I64
                    | Dtype::U64
            );
            if !integer {
                let entry = Entry {
                    file: index,
                    shape: view.shape().to_vec(),
                    dtype: view.dtype(),
                };
                tensors.insert(name, entry);
            }
        }
    }
    tensors
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// A folder's weight files of the wanted variant.
struct WeightFiles {
    /// The file that names the shards.
    index: Option<PathBuf>,
    /// The one whole file, or the shards.
    weights: Vec<PathBuf>,
}

impl WeightFiles {
    /// The whole file where there is one: an index beside it is of an earlier export.
    fn find(folder: &Path, stem: &str, variant: WeightVariant) -> Result<Self> {
        let full = (
            format!("{stem}.safetensors"),
            format!("{stem}.safetensors.index.json"),
        );
        let half = (
            format!("{stem}.fp16.safetensors"),
            format!("{stem}.safetensors.index.fp16.json"),
        );
        let candidates = match variant {
            WeightVariant::Any => vec![full, half],
            WeightVariant::Full => vec![full],
            WeightVariant::Half => vec![half],
        };
        for (whole, index) in &candidates {
            let (whole, index) = (folder.join(whole), folder.join(index));
            if whole.is_file() {
                return Ok(Self {
                    index: None,
                    weights: vec![whole],
                });
            }
            if index.is_file() {
                return Ok(Self {
                    weights: shard_files(folder, &index)?,
                    index: Some(index),
                });
            }
        }
        Err(Error::NoWeights {
            folder: folder.into(),
            tried: candidates
                .into_iter()
                .flat_map(|(whole, index)| [whole, index])
                .collect(),
            pickles: foreign::pickles(folder),
        })
    }
}

fn shard_files(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let json = JsonFile::read(index)?;
    let index: ShardIndex = json.parse()?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(json.unsupported("weight_map", "{}", "the file of each tensor"));
    }
    for name in &names {
        // A shard lies beside its index; anything else would let a model folder read other files.
        if Path::new(name)
            .file_name()
            .is_none_or(|base| base != name.as_str())
        {
            return Err(json.unsupported("weight_map", name, "file names without a folder"));
        }
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}
