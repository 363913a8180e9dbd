//! One ONNX file as a function from a float tensor to float tensors, callable from any number of
//! threads. A file in half precision takes and gives halves, which only a GPU computes fast.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use half::f16;
use ort::ep::{CUDA, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use crate::error::FaceError;
use crate::files::Device;
use crate::spec::Names;
use crate::{prelu, runtime};

/// The most bytes that are read as a network.
const MAX_BYTES: u64 = 1 << 30;

/// A network. On the processor each call runs on one thread of its own session, so that a result
/// never depends on what runs beside it; sessions are made as callers need them and kept, so that
/// there are as many as callers at once. On a GPU there is one session, for which callers wait.
pub(crate) struct Network {
    path: PathBuf,
    /// What sessions are made of.
    file: Vec<u8>,
    /// The outputs that are read, in this order; all in the file's order where it is empty.
    wanted: Vec<String>,
    /// Batch, height and width that the file declares for its input, where it declares them.
    extents: [Option<u32>; 3],
    /// Whether its input is of halves.
    halves: bool,
    /// Never [`Device::Auto`] once it is loaded.
    device: Device,
    /// Its tensors in words.
    tensors: String,
    idle: Mutex<Vec<Session>>,
}

/// An output of a network: its extents and its numbers, row-major.
pub(crate) struct Output {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Network {
    /// Reads a network with one input, which has the tensors of these names.
    pub(crate) fn load(path: &Path, names: &Names, device: Device) -> Result<Self, FaceError> {
        let mut network = Self {
            path: path.to_owned(),
            file: read(path)?,
            wanted: names.outputs.clone(),
            extents: [None; 3],
            halves: false,
            device,
            tensors: String::new(),
            idle: Mutex::default(),
        };
        let session = network.first_session()?;
        network.tensors = describe(&session);
        let [input] = session.inputs() else {
            let count = session.inputs().len();
            return Err(network.wrong("network with one input", format!("it has {count}")));
        };
        if let Some(name) = names.input.as_deref().filter(|name| *name != input.name()) {
            return Err(network.lacks("input", name));
        }
        let has = |name: &String| session.outputs().iter().any(|o| o.name() == name);
        if let Some(name) = network.wanted.iter().find(|name| !has(name)) {
            return Err(network.lacks("output", name));
        }
        network.extents = extents(input.dtype());
        network.halves = matches!(
            input.dtype(),
            ValueType::Tensor {
                ty: TensorElementType::Float16,
                ..
            }
        );
        network.idle().push(session);
        Ok(network)
    }

    /// Height and width that the file declares for its input; `None` for one that is free.
    pub(crate) fn input_sides(&self) -> [Option<u32>; 2] {
        let [_, height, width] = self.extents;
        [height, width]
    }

    /// Whether more than one image is given to it at once: on a GPU, where that pays, if the file
    /// says that it may be. Some files say so and cannot.
    pub(crate) fn takes_batches(&self) -> bool {
        self.device == Device::Cuda && self.extents[0].is_none()
    }

    fn lacks(&self, what: &'static str, name: &str) -> FaceError {
        FaceError::WrongName {
            path: self.path.clone(),
            what,
            name: name.to_owned(),
            found: self.tensors.clone(),
        }
    }

    /// The file it came from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error that says what this file is not.
    pub(crate) fn wrong(&self, expected: &'static str, found: String) -> FaceError {
        FaceError::WrongShape {
            path: self.path.clone(),
            expected,
            found: format!("{found}; the file has {}", self.tensors),
        }
    }

    /// Runs the network on one tensor [`count`, 3, `height`, `width`].
    pub(crate) fn run(
        &self,
        count: usize,
        [height, width]: [usize; 2],
        pixels: &[f32],
    ) -> Result<Vec<Output>, FaceError> {
        let shape = [count, 3, height, width];
        let mut idle = self.idle();
        if self.device == Device::Cpu {
            let taken = idle.pop();
            drop(idle);
            let mut session = taken.map_or_else(|| self.session(), Ok)?;
            let outputs = self.run_session(&mut session, shape, pixels);
            self.idle().push(session);
            return outputs;
        }
        if idle.is_empty() {
            idle.push(self.session()?);
        }
        self.run_session(&mut idle[0], shape, pixels)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_session(
        &self,
        session: &mut Session,
        shape: [usize; 4],
        pixels: &[f32],
    ) -> Result<Vec<Output>, FaceError> {
        let found = if self.halves {
            let halves: Vec<f16> = pixels.iter().map(|value| f16::from_f32(*value)).collect();
            TensorRef::from_array_view((shape, halves.as_slice()))
                .and_then(|input| session.run(ort::inputs![input]))
        } else {
            TensorRef::from_array_view((shape, pixels))
                .and_then(|input| session.run(ort::inputs![input]))
        };
        let found = found.map_err(|e| self.failed(e))?;
        if self.wanted.is_empty() {
            let all = found.values().map(|value| output(&value));
            return all.collect::<Result<_, _>>().map_err(|e| self.failed(e));
        }
        let named = self.wanted.iter().filter_map(|name| found.get(name));
        let named: Result<_, _> = named.map(output).collect();
        named.map_err(|e| self.failed(e))
    }

    /// Settles where [`Device::Auto`] runs, and of what operators the network is made there.
    fn first_session(&mut self) -> Result<Session, FaceError> {
        if self.device == Device::Auto {
            self.device = Device::Cuda;
            if let Ok(session) = self.session() {
                return Ok(session);
            }
            self.device = Device::Cpu;
        }
        // The blocked layout, for which this is done, is x86's.
        if cfg!(target_arch = "x86_64")
            && self.device == Device::Cpu
            && let Some(file) = prelu::replaced(&self.file)
        {
            let own = std::mem::replace(&mut self.file, file);
            match self.session() {
                Ok(session) => return Ok(session),
                // The error is to speak of what the file has.
                Err(_) => self.file = own,
            }
        }
        self.session()
    }

    #[expect(
        clippy::result_large_err,
        reason = "ort's error gives the builder back"
    )]
    fn session(&self) -> Result<Session, FaceError> {
        let builder = Session::builder(&runtime::environment()?).map_err(|e| self.failed(e))?;
        let configured = builder
            .with_log_level(LogLevel::Fatal)
            .and_then(|b| b.with_intra_threads(1))
            .and_then(|b| b.with_optimization_level(GraphOptimizationLevel::Level3));
        let mut builder = configured.map_err(|e| self.failed(e.into()))?;
        self.choose_device(&mut builder)?;
        builder
            .commit_from_memory(&self.file)
            .map_err(|e| self.failed(e))
    }

    fn choose_device(&self, builder: &mut SessionBuilder) -> Result<(), FaceError> {
        if self.device == Device::Cpu {
            return Ok(());
        }
        let registered = CUDA::default().register(builder);
        registered.map_err(|error| FaceError::NoCuda {
            reason: error.to_string(),
        })
    }

    fn failed(&self, source: ort::Error) -> FaceError {
        FaceError::Network {
            path: self.path.clone(),
            source,
        }
    }
}

fn output(value: &DynValue) -> Result<Output, ort::Error> {
    let (shape, values) = match value.try_extract_tensor::<f16>() {
        Ok((shape, halves)) => (shape, halves.iter().map(|half| half.to_f32()).collect()),
        Err(_) => {
            let (shape, values) = value.try_extract_tensor::<f32>()?;
            (shape, values.to_vec())
        }
    };
    let extent = |n: &i64| usize::try_from(*n).unwrap_or(0);
    let shape = shape.iter().map(extent).collect();
    Ok(Output { shape, values })
}

/// Inputs and outputs as the file declares them: ``input `input` f32 [1, 3, 112, 112]; …``, `?` for
/// what is free.
fn describe(session: &Session) -> String {
    let tensors = |what: &'static str, all: &[Outlet]| {
        let tensor = move |o: &Outlet| format!("{what} `{}` {}", o.name(), kind(o.dtype()));
        all.iter().map(tensor).collect::<Vec<_>>()
    };
    let mut all = tensors("input", session.inputs());
    all.extend(tensors("output", session.outputs()));
    all.join(", ")
}

fn kind(value: &ValueType) -> String {
    let ValueType::Tensor { ty, shape, .. } = value else {
        return value.to_string();
    };
    let extent = |n: &i64| match n {
        -1 => "?".to_owned(),
        n => n.to_string(),
    };
    let extents: Vec<_> = shape.iter().map(extent).collect();
    format!("{ty} [{}]", extents.join(", "))
}

/// Batch, height and width of an input [batch, 3, height, width].
fn extents(value: &ValueType) -> [Option<u32>; 3] {
    let ValueType::Tensor { shape, .. } = value else {
        return [None; 3];
    };
    [0, 2, 3].map(|axis| shape.get(axis).and_then(|n| u32::try_from(*n).ok()))
}

fn read(path: &Path) -> Result<Vec<u8>, FaceError> {
    let fail = |source| FaceError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(fail)?.len();
    if bytes > MAX_BYTES {
        return Err(FaceError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit: MAX_BYTES,
        });
    }
    std::fs::read(path).map_err(fail)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_recognizer_runs_without_prelu() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("../../manifests/mini/face/faceplugin_fr_feature_512.onnx");
        let network = Network::load(&path, &Names::default(), Device::Cpu).expect("a recognizer");
        assert!(prelu::replaced(&read(&path).expect("its file")).is_some());
        assert_eq!(prelu::replaced(&network.file), None);
    }
}
