//! One ONNX file as a function from a float tensor to float tensors, callable from any number of threads.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use crate::{FaceError, runtime};

/// The most bytes that are read as a network.
const MAX_BYTES: u64 = 1 << 30;

/// A network. Each call runs on one thread of its own session, so that a result never depends on what runs beside it;
/// sessions are made as callers need them and kept.
pub(crate) struct Network {
    path: PathBuf,
    file: Vec<u8>,
    idle: Mutex<Vec<Session>>,
}

/// An output of a network: its extents and its numbers, row-major.
pub(crate) struct Output {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Network {
    /// Reads a network with one input.
    pub(crate) fn load(path: &Path) -> Result<Self, FaceError> {
        let network = Self {
            path: path.to_owned(),
            file: read(path)?,
            idle: Mutex::default(),
        };
        let session = network.session()?;
        if session.inputs().len() != 1 {
            return Err(network.wrong(
                "network with one input",
                format!("it has {} inputs", session.inputs().len()),
            ));
        }
        network.put_back(session);
        Ok(network)
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
            found,
        }
    }

    /// Runs the network on one tensor [1, 3, `height`, `width`].
    pub(crate) fn run(
        &self,
        [height, width]: [usize; 2],
        pixels: &[f32],
    ) -> Result<Vec<Output>, FaceError> {
        let taken = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut session = match taken {
            Some(session) => session,
            None => self.session()?,
        };
        let outputs = self.run_session(&mut session, [1, 3, height, width], pixels);
        self.put_back(session);
        outputs
    }

    fn run_session(
        &self,
        session: &mut Session,
        shape: [usize; 4],
        pixels: &[f32],
    ) -> Result<Vec<Output>, FaceError> {
        let input = TensorRef::from_array_view((shape, pixels)).map_err(|e| self.failed(e))?;
        let found = session
            .run(ort::inputs![input])
            .map_err(|e| self.failed(e))?;
        let mut outputs = Vec::new();
        for value in found.values() {
            let (shape, values) = value
                .try_extract_tensor::<f32>()
                .map_err(|e| self.failed(e))?;
            let shape = shape
                .iter()
                .map(|n| usize::try_from(*n).unwrap_or(0))
                .collect();
            outputs.push(Output {
                shape,
                values: values.to_vec(),
            });
        }
        Ok(outputs)
    }

    fn session(&self) -> Result<Session, FaceError> {
        let builder = Session::builder(&runtime::environment()?).map_err(|e| self.failed(e))?;
        let configured = builder
            .with_log_level(LogLevel::Fatal)
            .and_then(|b| b.with_intra_threads(1))
            .and_then(|b| b.with_optimization_level(GraphOptimizationLevel::Level3));
        let mut builder = configured.map_err(|e| self.failed(e.into()))?;
        builder
            .commit_from_memory(&self.file)
            .map_err(|e| self.failed(e))
    }

    fn put_back(&self, session: Session) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
    }

    fn failed(&self, source: ort::Error) -> FaceError {
        FaceError::Network {
            path: self.path.clone(),
            source,
        }
    }
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
