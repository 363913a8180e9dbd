//! Weight files: safetensors, memory-mapped, whole or sharded, full or half precision, with every
//! difference from the expected tensors reported at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};

use crate::error::{Error, Result, TensorReport};
use crate::header::StoredType;
use crate::tensor_file::TensorFile;
use crate::weight_files::{WeightFiles, WeightVariant};

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

/// Where the tensor that layers ask for by one name is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// What of it.
    pub seen: Seen,
}

/// What is seen of a stored tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All of it, as it is.
    Whole,
    /// This part of equal parts along the first dimension, counted from 0: (part, parts).
    Part(usize, usize),
    /// Rows and columns of a matrix exchanged.
    Transposed,
    /// A 1 × 1 convolution as a matrix; a matrix as it is.
    Matrix,
}

impl Seen {
    /// The shape that it gives a tensor of `shape`; `None` where it cannot be.
    fn shape(&self, shape: &[usize]) -> Option<Vec<usize>> {
        match (self, shape) {
            (Self::Whole, shape) => Some(shape.to_vec()),
            (Self::Part(part, parts), [rows, rest @ ..]) => {
                let fits = part < parts && rows.is_multiple_of(*parts);
                fits.then(|| [&[rows / parts], rest].concat())
            }
            (Self::Transposed, [rows, columns]) => Some(vec![*columns, *rows]),
            (Self::Matrix, [rows, columns] | [rows, columns, 1, 1]) => Some(vec![*rows, *columns]),
            _ => None,
        }
    }
}

/// What weights are changed by while they are read: LoRA.
pub trait WeightChange: Send + Sync {
    /// Whether the tensor of this name changes.
    fn concerns(&self, name: &str) -> bool;

    /// Changes `values`, the tensor's numbers of `shape` as they would be computed with.
    ///
    /// # Errors
    /// What stops loading; [`Error::Change`] carries any.
    fn apply(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<()>;
}

/// The tensors of one module under a name prefix, as its layers ask for them.
///
/// Layers take what they need with [`Weights::get`]; what is missing or misshapen is collected and
/// replaced by zeros that take no memory, so that [`Weights::finish`] can name all differences.
#[derive(Clone)]
pub struct Weights {
    source: Arc<Source>,
    change: Option<Arc<dyn WeightChange>>,
    prefix: String,
}

struct Source {
    /// The folder, or the one file.
    origin: PathBuf,
    files: Vec<Arc<TensorFile>>,
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
    stored: Stored,
    /// As seen.
    shape: Vec<usize>,
    dtype: StoredType,
    /// The tensor of the one number that it is to be multiplied by.
    scale: Option<String>,
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

    /// Tensors of an opened file under other names than it has: (the name that layers ask for,
    /// where it is). What is not there is missing.
    pub fn of_file(
        file: &Arc<TensorFile>,
        names: impl IntoIterator<Item = (String, Stored)>,
        options: &LoadOptions,
    ) -> Self {
        let mut tensors = BTreeMap::new();
        for (name, stored) in names {
            if let Some(entry) = Entry::of(0, file, stored) {
                tensors.insert(name, entry);
            }
        }
        Self::over(file.path(), vec![file.clone()], tensors, options)
    }

    /// No weights at all: everything that layers ask for is missing, and [`Weights::wanted`] lists
    /// it.
    pub fn none() -> Self {
        let options = LoadOptions::default();
        Self::over(Path::new(""), Vec::new(), BTreeMap::new(), &options)
    }

    /// The same weights, changed as they are read.
    pub fn changed_by(self, change: Option<Arc<dyn WeightChange>>) -> Self {
        Self { change, ..self }
    }

    fn open_files(origin: &Path, paths: Vec<PathBuf>, options: &LoadOptions) -> Result<Self> {
        let open = |path: PathBuf| TensorFile::open(&path).map(Arc::new);
        let files: Vec<Arc<TensorFile>> = paths.into_iter().map(open).collect::<Result<_>>()?;
        let mut tensors = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            for name in file.tensors().keys().filter(|name| !is_scale(name)) {
                let stored = Stored {
                    name: name.clone(),
                    seen: Seen::Whole,
                };
                if let Some(entry) = Entry::of(at, file, stored) {
                    tensors.insert(name.clone(), entry);
                }
            }
        }
        Ok(Self::over(origin, files, tensors, options))
    }

    fn over(
        origin: &Path,
        files: Vec<Arc<TensorFile>>,
        tensors: BTreeMap<String, Entry>,
        options: &LoadOptions,
    ) -> Self {
        let source = Source {
            origin: origin.into(),
            tensors,
            files,
            device: options.device.clone(),
            dtype: options.dtype,
            tf32: options.tf32,
            dry: options.dry,
            progress: Mutex::default(),
        };
        Self {
            source: Arc::new(source),
            change: None,
            prefix: String::new(),
        }
    }

    /// What was asked for and is not there.
    pub fn wanted(&self) -> Shapes {
        self.source.progress().report.missing.clone()
    }

    /// The files that were opened.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.source.files.iter().map(|file| file.path())
    }

    /// [`LoadOptions::tf32`]
    pub fn tf32(&self) -> bool {
        self.source.tf32
    }

    /// The tensors below `name`.
    pub fn pp(&self, name: impl std::fmt::Display) -> Self {
        Self {
            source: self.source.clone(),
            change: self.change.clone(),
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
        let tensor = source.read(&name, entry, &shape)?;
        let change = self.change.as_ref().filter(|change| change.concerns(&name));
        match change {
            Some(change) if !source.dry => {
                let mut values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
                change.apply(&name, shape.dims(), &mut values)?;
                source.place(Tensor::from_vec(values, shape, &Device::Cpu)?)
            }
            _ => source.place(tensor),
        }
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

/// Whether a tensor only says how 8-bit weights are scaled: `X.scale_weight` and `X.scale_input`
/// beside `X.weight`, and a marker.
pub(crate) fn is_scale(name: &str) -> bool {
    name.ends_with(".scale_weight")
        || name.ends_with(".scale_input")
        || name.ends_with("scaled_fp8")
}

impl Entry {
    /// Of a stored tensor of numbers; a shape that cannot be seen so stays as it is, and will not
    /// fit.
    fn of(at: usize, file: &TensorFile, stored: Stored) -> Option<Self> {
        let found = file.tensors().get(&stored.name)?;
        if matches!(found.dtype, StoredType::Integer(_)) {
            return None;
        }
        let shape = stored.seen.shape(&found.shape);
        let scale = stored.name.strip_suffix("weight");
        let scale = scale.map(|stem| format!("{stem}scale_weight"));
        Some(Self {
            file: at,
            shape: shape.unwrap_or_else(|| found.shape.clone()),
            dtype: found.dtype.clone(),
            scale: scale.filter(|name| file.tensors().contains_key(name)),
            stored,
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
        if let StoredType::Other(dtype) = &entry.dtype {
            self.note(|report| report.unreadable.push((name.into(), dtype.clone())));
            return self.placeholder(shape);
        }
        if self.dry {
            return self.placeholder(shape);
        }
        let file = &self.files[entry.file];
        let plain = entry.stored.seen == Seen::Whole && entry.scale.is_none();
        let tensor = match entry.dtype {
            StoredType::F16 | StoredType::Bf16 | StoredType::F32 if plain => {
                file.tensor(&entry.stored.name)?
            }
            _ => Tensor::from_vec(entry.numbers(file)?, shape, &Device::Cpu)?,
        };
        Ok(tensor.to_dtype(self.dtype)?)
    }

    fn place(&self, tensor: Tensor) -> Result<Tensor> {
        Ok(tensor.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}

impl Entry {
    /// Its numbers in float32, as it is seen.
    fn numbers(&self, file: &TensorFile) -> Result<Vec<f32>> {
        let name = &self.stored.name;
        let mut numbers = match self.stored.seen {
            Seen::Part(part, _) => {
                let rows = self.shape[0];
                file.rows(name, part * rows..(part + 1) * rows)?
            }
            Seen::Transposed => transposed(&file.numbers(name)?, self.shape[0], self.shape[1]),
            Seen::Whole | Seen::Matrix => file.numbers(name)?,
        };
        if let Some(scale) = &self.scale {
            let scale = file.number(scale)?;
            numbers.iter_mut().for_each(|v| *v *= scale);
            if !numbers.iter().all(|v| v.is_finite()) {
                return Err(file.not_finite(name));
            }
        }
        Ok(numbers)
    }
}

/// A matrix of `columns` rows as one of `rows` rows.
fn transposed(numbers: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(numbers.len());
    for row in 0..rows {
        out.extend((0..columns).map(|column| numbers[column * rows + row]));
    }
    out
}
