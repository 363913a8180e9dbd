//! Faces in images: found by a detector (RetinaFace, YuNet or SCRFD), aligned on five landmarks,
//! embedded by a recognizer and compared by cosine; and a guess at age and gender.
//!
//! The networks are ONNX files. The ONNX Runtime runs them; its library is loaded at the first use
//! (see [`FaceError::Runtime`]). Resizing, anchors, suppression and alignment are Rust code here,
//! equal to the OpenCV and NumPy reference in `tools/record-face`. Images are 8-bit RGB and
//! upright: apply their EXIF orientation first. Boxes and landmarks are in pixels of the image
//! given. Boxes are clipped to the image, and the main face comes first.
//!
//! ```
//! use laioncele_face::{FaceFiles, FaceNets, FaceOptions, cosine};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = std::path::Path::new("../../manifests/mini/face");
//! let files = FaceFiles {
//!     detector: folder.join("retinaface_mobilenet025_dynamic.onnx"),
//!     recognizer: folder.join("faceplugin_fr_feature_512.onnx"),
//!     ..FaceFiles::default()
//! };
//! let nets = FaceNets::load(&files, &FaceOptions::default())?;
//! let embedding = |name: &str| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
//!     let image = image::open(format!("tests/fixtures/{name}.png"))?.to_rgb8();
//!     let faces = nets.faces(&image)?;
//!     Ok(faces.into_iter().next().ok_or("no face")?.vector)
//! };
//! let (person, again, other) =
//!     (embedding("first-a")?, embedding("first-b")?, embedding("second-a")?);
//! assert_eq!(person.len(), nets.width());
//! assert!(cosine(&person, &again) > cosine(&person, &other));
//! # Ok(())
//! # }
//! ```

mod align;
mod boxes;
pub mod calibration;
mod decode;
mod detection;
mod error;
mod features;
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

pub use align::aligned;
pub use detection::{Detection, Face, cosine};
pub use error::FaceError;
pub use features::FeatureNetwork;
pub use file::FileError;
pub use files::{Crop, Device, FaceFiles, FaceOptions, Search};
pub use gender::GenderAge;
pub use nets::FaceNets;
pub use runtime::{RuntimePlace, runtime_places};
pub use spec::Thresholds;
