//! Errors of loading and running the face networks.

use std::path::PathBuf;

/// Why there are no faces to return. An image without a face is not an error.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// A model file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The ONNX or TOML file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// A model file is larger than any face network.
    #[error("{path}: {bytes} bytes are more than the {limit} that a face network may have")]
    TooLarge {
        /// The ONNX file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The most bytes that are read.
        limit: u64,
    },
    /// The ONNX Runtime library was not found or does not load.
    #[error(
        "the ONNX Runtime library: {reason}: `pip install onnxruntime` into the program's environment or `make onnxruntime` in a checkout brings it, or set ORT_DYLIB_PATH to the file"
    )]
    Runtime {
        /// The places searched, or the message of the loader.
        reason: String,
    },
    /// `device = "cuda"`, but the ONNX Runtime library is one for the processor, or finds no GPU.
    #[error(
        "no CUDA for the face networks: {reason}: set ORT_DYLIB_PATH to the library of a GPU build with its CUDA provider beside it, or device = \"cpu\" in [models.face]"
    )]
    NoCuda {
        /// The message of the library.
        reason: String,
    },
    /// The ONNX Runtime refuses a network, or fails while running it.
    #[error("the network in {path} fails")]
    Network {
        /// The ONNX file.
        path: PathBuf,
        /// The error of the ONNX Runtime.
        source: ort::Error,
    },
    /// The file is a network, but not one of the kind that its place asks for.
    #[error("{path} is not a {expected}: {found}")]
    WrongShape {
        /// The ONNX file.
        path: PathBuf,
        /// The kind of network and its tensors.
        expected: &'static str,
        /// What the network has instead.
        found: String,
    },
    /// A model spec names a tensor that the network does not have.
    #[error("{path} has no {what} `{name}`, which its spec names; it has {found}")]
    WrongName {
        /// The ONNX file.
        path: PathBuf,
        /// `input` or `output`.
        what: &'static str,
        /// The name in the spec.
        name: String,
        /// The tensors that it has.
        found: String,
    },
    /// A model spec or a calibration is not valid.
    #[error("{path}: {reason}")]
    Invalid {
        /// The TOML file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Age and gender were asked for, but no network for them was loaded.
    #[error("no network for age and gender: set `gender` in [models.face]")]
    NoGenderNetwork,
    /// The five landmarks lie in one point or are not finite, so that no face can be aligned.
    #[error("the five landmarks lie in one point or are not finite")]
    BadLandmarks,
    /// A network gave numbers that are not finite, or an embedding without a direction.
    #[error("{path}: the network's output is not finite or all zero")]
    NotFinite {
        /// The ONNX file.
        path: PathBuf,
    },
}
