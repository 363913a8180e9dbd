//! A training run as bytes: all that its rest depends on. Data order, learning rates and noise need
//! no place here; they follow from the step number.
//!
//! Two such files lie in `cache/checkpoints/KEY/` while a task trains, written by turns, deleted once
//! its record is there; a third one is kept with the finished encoder, so that more steps go on
//! from it. A file is written whole before it is named, so that a kill leaves the one before.

use laioncele_core::{Digest, KeyHasher};
use laioncele_encoder::EncoderConfig;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::curve::Point;
use crate::optimizer::Adam;
use crate::tensors::Tensors;

/// The format that this program writes and reads.
const FORMAT: u32 = 3;

/// A training run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Weights and biases.
    pub parameters: Tensors,
    /// The optimizer; its step count is the run's.
    pub adam: Adam,
    /// Points so far.
    pub curve: Vec<Point>,
    /// Sum of the batches' losses since the last point.
    pub open_loss: f64,
    /// The best weights so far, where they are kept.
    pub best: Option<Best>,
}

/// The weights of the curve's point with the lowest validation loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The point's step.
    pub step: u64,
    /// Its validation loss.
    pub loss: f64,
    /// Its weights and biases.
    pub parameters: Tensors,
}

/// Why bytes are not taken for a run's state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// They are no such file, or part of one, or not as they were written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// They are of a run with other data, settings or start weights.
    #[error(
        "it is of another run ({found}; this one is {expected}): its data, settings or start weights are others"
    )]
    OtherRun {
        /// The run that they are of.
        found: String,
        /// The run that was asked for.
        expected: String,
    },
}

/// What is no tensor, as JSON in the file's metadata.
#[derive(Serialize, Deserialize)]
struct Progress {
    format: u32,
    run: Digest,
    steps: u64,
    curve: Vec<ExactPoint>,
    open_loss: Bits,
    best: Option<(u64, Bits)>,
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

/// The metadata's keys.
const PROGRESS: &str = "progress";
const DIGEST: &str = "digest";

/// A digest over all that the file says.
fn digest(progress: &str, tensors: &[u8]) -> Digest {
    let hasher = KeyHasher::new("training-state").text("progress", progress);
    hasher.bytes("tensors", tensors).finish()
}

impl State {
    /// The start of a run.
    pub fn new(config: &EncoderConfig, parameters: Tensors) -> Self {
        Self {
            parameters,
            adam: Adam::new(config),
            curve: Vec::new(),
            open_loss: 0.0,
            best: None,
        }
    }

    fn groups(&self) -> Vec<(&'static str, &Tensors)> {
        let mut groups = vec![
            ("parameters", &self.parameters),
            ("mean", &self.adam.mean),
            ("square", &self.adam.square),
        ];
        groups.extend(self.best.iter().map(|best| ("best", &best.parameters)));
        groups
    }

    /// As a safetensors file of `run`, which is what all steps depend on. The bytes are made once:
    /// the file is as large as what it holds.
    ///
    /// # Errors
    /// What the JSON writer says.
    pub fn to_bytes(&self, run: Digest) -> Result<Vec<u8>, String> {
        let progress = Progress {
            format: FORMAT,
            run,
            steps: self.adam.steps,
            curve: self.curve.iter().map(exact).collect(),
            open_loss: self.open_loss.to_bits(),
            best: self.best.as_ref().map(|b| (b.step, b.loss.to_bits())),
        };
        let progress = serde_json::to_string(&progress).map_err(|e| e.to_string())?;
        let (mut entries, mut end) = (serde_json::Map::new(), 0);
        for (group, values) in self.groups() {
            for (k, tensor) in values.0.iter().enumerate() {
                let start = end;
                end += 4 * tensor.len();
                let entry = serde_json::json!({ "dtype": "F32", "shape": [tensor.len()], "data_offsets": [start, end] });
                entries.insert(format!("{group}.{k}"), entry);
            }
        }
        let mut header = |digest: Digest| {
            let metadata = serde_json::json!({ PROGRESS: progress, DIGEST: digest.to_string() });
            entries.insert("__metadata__".to_owned(), metadata);
            let mut text = serde_json::to_string(&entries).map_err(|e| e.to_string())?;
            text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
            Ok::<_, String>(text.into_bytes())
        };
        let data = 8 + header(Digest::of(b""))?.len();
        let mut bytes = Vec::with_capacity(data + end);
        bytes.resize(data, 0);
        for (_, values) in self.groups() {
            let numbers = values.0.iter().flatten();
            bytes.extend(numbers.flat_map(|value| value.to_le_bytes()));
        }
        let header = header(digest(&progress, &bytes[data..]))?;
        bytes[..8].copy_from_slice(&(header.len() as u64).to_le_bytes());
        bytes[8..data].copy_from_slice(&header);
        Ok(bytes)
    }

    /// Reads a file of [`State::to_bytes`] for the network of `config`.
    ///
    /// # Errors
    /// [`Refusal`]: the caller then takes another one, or begins anew.
    pub fn from_bytes(bytes: &[u8], config: &EncoderConfig, run: Digest) -> Result<Self, Refusal> {
        let damaged = |e: &dyn std::fmt::Display| Refusal::Damaged(e.to_string());
        let (length, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
        let entry = |key: &str| {
            let entries = metadata.metadata().as_ref();
            let value = entries.and_then(|m| m.get(key));
            value.ok_or_else(|| damaged(&format!("no {key} in its metadata")))
        };
        let text = entry(PROGRESS)?;
        let data = bytes.get(length + 8..).unwrap_or_default();
        if *entry(DIGEST)? != digest(text, data).to_string() {
            return Err(damaged(&"its bytes are not those that were written"));
        }
        let progress: Progress = serde_json::from_str(text).map_err(|e| damaged(&e))?;
        if progress.format != FORMAT {
            let text = format!("format {} where {FORMAT} is read", progress.format);
            return Err(damaged(&text));
        }
        if progress.run != run {
            return Err(Refusal::OtherRun {
                found: progress.run.short(),
                expected: run.short(),
            });
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
        let group = |group: &str| read_group(&file, group, config).map_err(|e| damaged(&e));
        let best = |(step, loss)| {
            Ok(Best {
                step,
                loss: f64::from_bits(loss),
                parameters: group("best")?,
            })
        };
        Ok(Self {
            parameters: group("parameters")?,
            adam: Adam {
                steps: progress.steps,
                mean: group("mean")?,
                square: group("square")?,
            },
            curve: progress.curve.into_iter().map(point).collect(),
            open_loss: f64::from_bits(progress.open_loss),
            best: progress.best.map(best).transpose()?,
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
        if view.dtype() != safetensors::Dtype::F32 || view.shape() != [tensor.len()] {
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
    use crate::settings::Settings;

    fn config() -> EncoderConfig {
        EncoderConfig {
            input: 2,
            hidden: [3, 2],
            output_tokens: 1,
            output_channels: 2,
            activation: Activation::Gelu,
        }
    }

    fn run() -> Digest {
        Digest::of(b"a run")
    }

    fn state() -> State {
        let mut adam = Adam::new(&config());
        let mut parameters = Tensors::zeros(&config());
        let gradient = Tensors(std::array::from_fn(|k| {
            vec![k as f32 - 2.5; parameters.0[k].len()]
        }));
        for _ in 0..3 {
            let update = adam.next(&Settings::default());
            adam.apply(update, &mut parameters, &gradient);
        }
        let point = Point {
            step: 2,
            // A number that serde_json reads back as its neighbour.
            training: 0.005_191_643_539_367_116,
            validation: None,
        };
        State {
            best: Some(Best {
                step: 2,
                loss: 0.1,
                parameters: gradient,
            }),
            parameters,
            adam,
            curve: vec![point],
            open_loss: 1.0 / 3.0,
        }
    }

    fn bytes() -> Vec<u8> {
        state().to_bytes(run()).expect("bytes")
    }

    #[test]
    fn state_round_trips_through_bytes() {
        let read = |bytes: &[u8]| State::from_bytes(bytes, &config(), run()).expect("read");
        assert_eq!(read(&bytes()), state());
        let mut without = state();
        without.best = None;
        let bytes = without.to_bytes(run()).expect("bytes");
        assert_eq!(read(&bytes), without);
    }

    proptest::proptest! {
        /// Whatever is changed or cut off: it is refused, or nothing was changed.
        #[test]
        fn damage_is_refused(position in 0usize..8000, value: u8, cut in 0usize..8000) {
            let whole = bytes();
            let mut bytes = whole;
            let position = position % bytes.len();
            bytes[position] = value;
            bytes.truncate(bytes.len() - (cut % bytes.len()) * usize::from(cut % 2 == 0));
            let read = State::from_bytes(&bytes, &config(), run());
            proptest::prop_assert!(read.is_err() || read.is_ok_and(|read| read == state()));
        }
    }

    #[test]
    fn state_of_another_run_is_refused_by_name() {
        let wider = EncoderConfig {
            hidden: [4, 2],
            ..config()
        };
        assert!(matches!(
            State::from_bytes(&bytes(), &wider, run()),
            Err(Refusal::Damaged(_))
        ));
        let other = State::from_bytes(&bytes(), &config(), Digest::of(b"another"));
        let text = other.expect_err("another run").to_string();
        assert!(text.contains("of another run"), "{text}");
        assert!(text.contains(&run().short()), "{text}");
    }
}
