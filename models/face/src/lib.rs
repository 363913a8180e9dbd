//! Faces in images: found by a detector (RetinaFace, YuNet or SCRFD), aligned on five landmarks, embedded by a
//! recognizer, compared by cosine; and a guess at age and gender.
//!
//! The networks are ONNX files that the ONNX Runtime runs (its library is loaded at the first use, see
//! [`FaceError::Runtime`]). What stands between them — resizing, anchors, suppression, alignment — is here, equal to the
//! OpenCV and NumPy reference in `tools/record-face`. Images are 8-bit RGB and upright: turn them by their EXIF
//! orientation before. All boxes and landmarks are in pixels of the image given; boxes are clipped to it.

pub mod agreement;
mod align;
pub mod calibration;
mod decode;
mod detection;
mod error;
mod file;
mod files;
mod gender;
mod nets;
mod network;
mod pixels;
mod prelu;
mod protobuf;
mod rank;
mod recognizer;
mod resize;
mod runtime;
mod search;
mod spec;

pub use detection::{Detection, Face, cosine};
pub use error::FaceError;
pub use file::FileError;
pub use files::{Device, FaceFiles, FaceOptions, Search};
pub use gender::GenderAge;
pub use nets::FaceNets;
