//! The encoder's two files: `encoder.json` (the configuration) and `encoder.safetensors` (float32
//! tensors `input_mean`, `input_std`, `layers.N.weight`, `layers.N.bias`).

use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::crop_config::read_config;
use crate::error::{Error, Result};
use crate::network::{Encoder, Layer};

/// The configuration's file name.
pub const CONFIG_FILE: &str = "encoder.json";
/// The weights' file name.
pub const WEIGHTS_FILE: &str = "encoder.safetensors";

/// The bytes of both files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderFiles {
    /// `encoder.json`
    pub config: Vec<u8>,
    /// `encoder.safetensors`
    pub weights: Vec<u8>,
}

impl Encoder {
    /// Reads both files of a folder.
    ///
    /// # Errors
    /// A file that is missing, damaged, or not the configuration's.
    pub fn load(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| Error::Io { path, source })
        };
        Self::from_bytes(&read(CONFIG_FILE)?, &read(WEIGHTS_FILE)?)
    }

    /// Reads an encoder from the bytes of `encoder.json` and `encoder.safetensors`.
    ///
    /// # Errors
    /// Bytes that are damaged, tensors that are not the configuration's.
    pub fn from_bytes(config: &[u8], weights: &[u8]) -> Result<Self> {
        let (config, _) = read_config(config)?;
        let file = SafeTensors::deserialize(weights).map_err(Error::Weights)?;
        let [first, second, third] = config.layers();
        let layer = |index: usize, (inputs, outputs): (usize, usize)| {
            let name = |part: &str| format!("layers.{index}.{part}");
            Ok(Layer {
                weight: floats(&file, &name("weight"), &[outputs, inputs])?,
                bias: floats(&file, &name("bias"), &[outputs])?,
            })
        };
        let encoder = Self {
            input_mean: floats(&file, "input_mean", &[config.input])?,
            input_std: floats(&file, "input_std", &[config.input])?,
            layers: [layer(0, first)?, layer(1, second)?, layer(2, third)?],
            config,
        };
        encoder.check()?;
        Ok(encoder)
    }

    /// The bytes of both files: the same encoder always gives the same bytes.
    ///
    /// # Errors
    /// An encoder whose sizes do not fit together or whose numbers are not finite.
    pub fn to_bytes(&self) -> Result<EncoderFiles> {
        self.check()?;
        let tensors: Vec<(String, Vec<u8>, Vec<usize>)> = self
            .tensors()
            .into_iter()
            .map(|(name, values, shape)| {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name, bytes, shape)
            })
            .collect();
        let mut views = Vec::with_capacity(tensors.len());
        for (name, bytes, shape) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(Error::Weights)?;
            views.push((name.as_str(), view));
        }
        Ok(EncoderFiles {
            config: serde_json::to_vec_pretty(&self.config).map_err(Error::Config)?,
            weights: safetensors::serialize(views, None).map_err(Error::Weights)?,
        })
    }

    /// Writes both files into `folder`, which must exist.
    ///
    /// # Errors
    /// As [`Encoder::to_bytes`], or a folder that cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let files = self.to_bytes()?;
        for (name, bytes) in [(CONFIG_FILE, files.config), (WEIGHTS_FILE, files.weights)] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| Error::Io { path, source })?;
        }
        Ok(())
    }
}

fn floats(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let problem = |problem: String| Error::Tensor {
        tensor: name.to_owned(),
        problem,
    };
    let view = file
        .tensor(name)
        .map_err(|_| problem("is missing".to_owned()))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let (dtype, found) = (view.dtype(), view.shape());
        return Err(problem(format!(
            "is {dtype:?} {found:?}; F32 {shape:?} was expected"
        )));
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    Ok(numbers.iter().map(|n| f32::from_le_bytes(*n)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Activation, EncoderConfig};

    fn encoder() -> Encoder {
        let config = EncoderConfig {
            input: 3,
            hidden: [4, 5],
            output_tokens: 2,
            output_channels: 3,
            activation: Activation::Gelu,
        };
        let numbers = |count: usize, by: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * by).sin()).collect()
        };
        let layer = |(inputs, outputs): (usize, usize)| Layer {
            weight: numbers(inputs * outputs, 0.7),
            bias: numbers(outputs, 0.3),
        };
        Encoder {
            input_mean: numbers(3, 1.1),
            input_std: vec![0.5, 1.0, 2.0],
            layers: config.layers().map(layer),
            config,
        }
    }

    #[test]
    fn an_encoder_survives_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        encoder().save(folder.path()).expect("saved");
        let back = Encoder::load(folder.path()).expect("loaded");
        assert_eq!(back, encoder());
        let features = [0.1, -0.2, 0.3];
        assert_eq!(
            back.predict(&features).expect("three features"),
            encoder().predict(&features).expect("three features")
        );
        assert_eq!(
            encoder().to_bytes().expect("bytes"),
            back.to_bytes().expect("bytes")
        );
    }

    #[test]
    fn foreign_files_are_errors() {
        let EncoderFiles { config, weights } = encoder().to_bytes().expect("bytes");
        let wider = String::from_utf8_lossy(&config).replace("\"input\": 3", "\"input\": 4");
        assert!(matches!(
            Encoder::from_bytes(wider.as_bytes(), &weights),
            Err(Error::Tensor { .. })
        ));
        assert!(matches!(
            Encoder::from_bytes(&config, &weights[..40]),
            Err(Error::Weights(_))
        ));
        assert!(matches!(
            Encoder::from_bytes(b"{}", &weights),
            Err(Error::Config(_))
        ));
    }

    proptest::proptest! {
        #[test]
        fn damage_never_panics(position in 0usize..2000, value: u8) {
            let EncoderFiles { config, mut weights } = encoder().to_bytes().expect("bytes");
            let position = position % weights.len();
            weights[position] = value;
            if let Ok(encoder) = Encoder::from_bytes(&config, &weights) {
                proptest::prop_assert!(encoder.check().is_ok());
            }
        }
    }
}
