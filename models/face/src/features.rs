//! Any network that makes one vector of one image, on the ONNX Runtime: Inception, for example.

use std::path::Path;

use crate::error::FaceError;
use crate::files::Device;
use crate::network::Network;
use crate::spec::Names;

const KIND: &str = "network from images to features ([N, 3, side, side] → [N, width])";

/// A network [N, 3, side, side] → [N, width] in an ONNX file. It is not about faces: it is here because the ONNX
/// Runtime is.
pub struct FeatureNetwork {
    network: Network,
    side: usize,
    width: usize,
}

impl FeatureNetwork {
    /// Loads the network and runs it once on gray. `input` and `output` are the names of its tensors; without them it
    /// may have one of each only.
    ///
    /// # Errors
    /// As [`FaceNets::load`](crate::FaceNets::load).
    pub fn load(
        path: &Path,
        side: usize,
        input: Option<&str>,
        output: Option<&str>,
        device: Device,
    ) -> Result<Self, FaceError> {
        let names = Names {
            input: input.map(str::to_owned),
            outputs: output.into_iter().map(str::to_owned).collect(),
        };
        let network = Network::load(path, &names, device)?;
        let fits = |declared: Option<u32>| declared.is_none_or(|n| n as usize == side);
        if !network.input_sides().into_iter().all(fits) {
            return Err(network.wrong(KIND, format!("its input is not {side} × {side}")));
        }
        let mut loaded = Self {
            network,
            side,
            width: 0,
        };
        loaded.width = loaded.features(&vec![128.0; 3 * side * side])?.len();
        Ok(loaded)
    }

    /// Numbers in a vector of features.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The features of one image, given as planes of red, green and blue, each row by row.
    ///
    /// # Errors
    /// [`FaceError::Network`]; [`FaceError::WrongShape`], [`FaceError::NotFinite`] for an output that is no vector of
    /// numbers.
    pub fn features(&self, planes: &[f32]) -> Result<Vec<f32>, FaceError> {
        let network = &self.network;
        let outputs = network.run(1, [self.side; 2], planes)?;
        let [output] = outputs.as_slice() else {
            let found = format!("it has {} outputs", outputs.len());
            return Err(network.wrong(KIND, found));
        };
        let [1, width] = output.shape[..] else {
            return Err(network.wrong(KIND, format!("its output is {:?}", output.shape)));
        };
        let is_expected = self.width == 0 || self.width == width;
        if width == 0 || output.values.len() != width || !is_expected {
            return Err(network.wrong(KIND, format!("its output is {:?}", output.shape)));
        }
        if output.values.iter().any(|v| !v.is_finite()) {
            return Err(FaceError::NotFinite {
                path: network.path().to_owned(),
            });
        }
        Ok(output.values.clone())
    }
}
