//! `[evaluate] inception`: the network that FID and KID are taken with.

use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_core::ModelFiles;
use laioncele_face::{Device, FaceError, FeatureNetwork};
use serde::{Deserialize, Serialize};

use crate::resize::{Resize, SIDE};

/// The label of the network's file in task keys.
pub(crate) const LABEL: &str = "evaluate.inception";
/// The metric that says how many numbers the features have.
pub(crate) const WIDTH: &str = "inception_width";

/// `inception = { network = "…" }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InceptionSettings {
    /// ONNX file: resized pixels [N, 3, 299, 299], RGB from 0 to 255, → [N, width]. What is done to the numbers first is in the graph.
    /// `tools/record-evaluate/export_networks.py` writes it from pytorch-fid's weights.
    pub network: PathBuf,
    /// How pictures are resized: `clean`, `legacy_pytorch`, `legacy_tensorflow` or `torchmetrics`. Figures of two ways cannot be compared.
    #[serde(default)]
    pub resize: Resize,
    /// Name of the input; the network's only one where it is not given.
    #[serde(default)]
    pub input: Option<String>,
    /// Name of the output; the network's only one where it is not given.
    #[serde(default)]
    pub output: Option<String>,
}

impl InceptionSettings {
    /// The file, as a step's key names it.
    pub(crate) fn model_files(&self) -> ModelFiles {
        ModelFiles::file(LABEL.to_owned(), self.network.clone())
    }

    /// With its path resolved.
    pub(crate) fn resolved<E>(
        mut self,
        resolve: impl Fn(&Path) -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        self.network = resolve(&self.network)?;
        Ok(self)
    }
}

/// The loaded network with its resizing.
pub struct Inception {
    network: FeatureNetwork,
    resize: Resize,
}

impl Inception {
    /// Loads the network and runs it once.
    ///
    /// # Errors
    /// A file that is missing, no ONNX network or one with other tensors.
    pub fn load(settings: &InceptionSettings, device: Device) -> Result<Self, FaceError> {
        let (input, output) = (settings.input.as_deref(), settings.output.as_deref());
        Ok(Self {
            network: FeatureNetwork::load(&settings.network, SIDE, input, output, device)?,
            resize: settings.resize,
        })
    }

    /// Numbers in a vector of features; 2048 of the real network.
    pub fn width(&self) -> usize {
        self.network.width()
    }

    /// What the network sees in a picture.
    ///
    /// # Errors
    /// The network's.
    pub fn view(&self, image: &RgbImage) -> Result<InceptionView, FaceError> {
        let pixels = self.resize.pixels(image);
        let wide = || pixels.iter().map(|v| f64::from(*v));
        let sums = [wide().sum(), wide().map(|v| v * v).sum()];
        let (triples, _) = pixels.as_chunks::<3>();
        let planes = (0..3).flat_map(|c| triples.iter().map(move |p| p[c]));
        let features = self.network.features(&planes.collect::<Vec<f32>>())?;
        Ok(InceptionView { features, sums })
    }
}

/// What Inception sees in a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct InceptionView {
    /// The features.
    pub features: Vec<f32>,
    /// The sum of the resized picture's numbers, and that of their squares: to compare resizings.
    pub sums: [f64; 2],
}
