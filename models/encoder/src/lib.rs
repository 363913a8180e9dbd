//! The image encoder of the paper's main text: features of a photo through three fully connected
//! layers to a name embedding. Owns its architecture, its two files, and the crop that training and
//! inference take of a photo; training itself is a stage's work.

mod config;
mod crop;
mod crop_config;
mod error;
mod file;
mod network;

pub use config::{Activation, EncoderConfig};
pub use crop::{Crop, FACE_MARGIN, face_square};
pub use crop_config::{CropConfig, config_with_crop, read_config};
pub use error::{Error, Result};
pub use file::{CONFIG_FILE, EncoderFiles, WEIGHTS_FILE};
pub use network::{Encoder, Layer, standardized};
