//! A training run as bytes: all that its rest depends on. The data order needs no place here; it
//! follows from the step number.

use laioncele_encoder::EncoderConfig;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::adam::Adam;
use crate::curve::Point;
use crate::network::Tensors;

/// The format that this program writes and reads.
const FORMAT: u32 = 2;

/// A training run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    /// Weights and biases.
    pub parameters: Tensors,
    /// The optimizer; its step count is the run's.
    pub adam: Adam,
    /// Points so far.
    pub curve: Vec<Point>,
    /// Sum of the batches' losses since the last point.
    pub open_loss: f64,
}

/// What is no tensor, as JSON in the file's metadata.
#[derive(Serialize, Deserialize)]
struct Progress {
    format: u32,
    steps: u64,
    curve: Vec<ExactPoint>,
    open_loss: Bits,
}

/// The bits of an f64: JSON's readers round.
type Bits = u64;

/// A [`Point`] with its numbers' bits.
type ExactPoint = (u64, Bits, Option<Bits>);

fn exact(point: &Point) -> ExactPoint {
    let Point {
        step,
        training,
        validation,
    } = *point;
    (step, training.to_bits(), validation.map(f64::to_bits))
}

fn point((step, training, validation): ExactPoint) -> Point {
    Point {
        step,
        training: f64::from_bits(training),
        validation: validation.map(f64::from_bits),
    }
}

/// The metadata's one key.
const PROGRESS: &str = "progress";

impl State {
    /// As a safetensors file.
    ///
    /// # Errors
    /// What the format's writer says.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let groups = [
            ("parameters", &self.parameters),
            ("mean", &self.adam.mean),
            ("square", &self.adam.square),
        ];
        let mut tensors = Vec::new();
        for (group, values) in groups {
            for (k, tensor) in values.0.iter().enumerate() {
                let bytes: Vec<u8> = tensor.iter().flat_map(|v| v.to_le_bytes()).collect();
                tensors.push((format!("{group}.{k}"), tensor.len(), bytes));
            }
        }
        let mut views = Vec::new();
        for (name, count, bytes) in &tensors {
            let view = TensorView::new(Dtype::F32, vec![*count], bytes).map_err(|e| text(&e))?;
            views.push((name.as_str(), view));
        }
        let progress = Progress {
            format: FORMAT,
            steps: self.adam.steps,
            curve: self.curve.iter().map(exact).collect(),
            open_loss: self.open_loss.to_bits(),
        };
        let progress = serde_json::to_string(&progress).map_err(|e| text(&e))?;
        let metadata = [(PROGRESS.to_owned(), progress)].into();
        safetensors::serialize(views, Some(metadata)).map_err(|e| text(&e))
    }

    /// Reads a file of [`State::to_bytes`] for the network of `config`.
    ///
    /// # Errors
    /// What is wrong with it: the caller then begins anew.
    pub(crate) fn from_bytes(bytes: &[u8], config: &EncoderConfig) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
        let progress = metadata.metadata().as_ref().and_then(|m| m.get(PROGRESS));
        let progress = progress.ok_or("no progress in its metadata")?;
        let progress: Progress = serde_json::from_str(progress).map_err(|e| e.to_string())?;
        if progress.format != FORMAT {
            return Err(format!("format {} where {FORMAT} is read", progress.format));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let group = |group: &str| read_group(&file, group, config);
        Ok(Self {
            parameters: group("parameters")?,
            adam: Adam {
                steps: progress.steps,
                mean: group("mean")?,
                square: group("square")?,
            },
            curve: progress.curve.into_iter().map(point).collect(),
            open_loss: f64::from_bits(progress.open_loss),
        })
    }
}

fn read_group(
    file: &SafeTensors<'_>,
    group: &str,
    config: &EncoderConfig,
) -> Result<Tensors, String> {
    let mut tensors = Tensors::zeros(config);
    for (k, tensor) in tensors.0.iter_mut().enumerate() {
        let name = format!("{group}.{k}");
        let view = file.tensor(&name).map_err(|e| e.to_string())?;
        if view.dtype() != Dtype::F32 || view.shape() != [tensor.len()] {
            return Err(format!("`{name}` is {:?} {:?}", view.dtype(), view.shape()));
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        let values = tensor.iter_mut().zip(numbers);
        values.for_each(|(value, number)| *value = f32::from_le_bytes(*number));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use laioncele_encoder::Activation;

    use super::*;

    fn config() -> EncoderConfig {
        EncoderConfig {
            input: 2,
            hidden: [3, 2],
            output_tokens: 1,
            output_channels: 2,
            activation: Activation::Gelu,
        }
    }

    fn state() -> State {
        let mut adam = Adam::new(&config());
        let mut parameters = Tensors::zeros(&config());
        let gradient = Tensors(std::array::from_fn(|k| {
            vec![k as f32 - 2.5; parameters.0[k].len()]
        }));
        (0..3).for_each(|_| adam.step(&mut parameters, &gradient, 0.1));
        let point = Point {
            step: 2,
            // A number that serde_json reads back as its neighbour.
            training: 0.005_191_643_539_367_116,
            validation: None,
        };
        State {
            parameters,
            adam,
            curve: vec![point],
            open_loss: 1.0 / 3.0,
        }
    }

    #[test]
    fn state_round_trips_through_bytes() {
        let bytes = state().to_bytes().expect("bytes");
        assert_eq!(State::from_bytes(&bytes, &config()).expect("read"), state());
    }

    proptest::proptest! {
        #[test]
        fn damaged_bytes_never_panic(position in 0usize..4000, value: u8, cut in 0usize..4000) {
            let mut bytes = state().to_bytes().expect("bytes");
            let position = position % bytes.len();
            bytes[position] = value;
            bytes.truncate(bytes.len() - (cut % bytes.len()) * usize::from(cut % 2 == 0));
            let _ = State::from_bytes(&bytes, &config());
        }
    }

    #[test]
    fn state_of_another_network_is_rejected() {
        let wider = EncoderConfig {
            hidden: [4, 2],
            ..config()
        };
        let bytes = state().to_bytes().expect("bytes");
        assert!(State::from_bytes(&bytes, &wider).is_err());
    }
}
