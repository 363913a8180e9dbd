//! A training run on examples in memory: its start, its steps, its curve, the encoder at its end.

use laioncele_encoder::{Encoder, EncoderConfig, Layer};

use crate::batch::{fill, fill_slice, picks};
use crate::checkpoint::{Best, State};
use crate::choices::{Keep, LastBias, Targets};
use crate::curve::{Point, is_stuck};
use crate::examples::Examples;
use crate::random::{stream, uniform};
use crate::settings::Settings;
use crate::stepper::{Stepper, loss};
use crate::tensors::{Batch, Tensors};

/// Validation photos that a point of the curve looks at.
pub(crate) const VALIDATION_PHOTOS: usize = 1024;

/// What a training run depends on.
pub(crate) struct Trainer<'a> {
    pub settings: &'a Settings,
    pub config: &'a EncoderConfig,
    pub examples: &'a Examples,
    pub seed: u64,
}

impl<'a> Trainer<'a> {
    /// Weights and biases as PyTorch begins with (uniform within 1/√inputs), but the last bias,
    /// unless the settings ask for that: the mean name, so that training starts from the best answer
    /// to no photo at all.
    pub(crate) fn begin(&self) -> State {
        let mut parameters = Tensors::zeros(self.config);
        let mut rng = stream(self.seed, "weights", 0);
        for (k, tensor) in parameters.0.iter_mut().enumerate() {
            let (inputs, _) = self.config.layers()[k / 2];
            let bound = (inputs as f32).sqrt().recip();
            tensor
                .iter_mut()
                .for_each(|value| *value = uniform(&mut rng, bound));
        }
        let settings = self.settings;
        match (settings.last_bias, settings.targets) {
            (LastBias::Pytorch, _) => {}
            (LastBias::Mean, Targets::Raw) => {
                parameters.0[5].clone_from(&self.examples.name_mean);
            }
            (LastBias::Mean, Targets::Standardized) => parameters.0[5].fill(0.0),
        }
        State::new(self.config, parameters)
    }

    pub(crate) fn stepper(&self) -> Stepper<'a> {
        Stepper::new(self.settings, self.config)
    }

    /// One step, and the curve's point after it where one is due. Returns the batch's loss.
    pub(crate) fn step(&self, state: &mut State, stepper: &mut Stepper<'_>) -> f64 {
        let (settings, seed, step) = (self.settings, self.seed, state.adam.steps);
        let picks = picks(self.examples, settings, seed, step);
        let mut fill = |range, batch: &mut Batch| {
            fill_slice(self.examples, (settings, seed, step), &picks, range, batch);
        };
        let loss = stepper.step(&mut state.parameters, &mut state.adam, &mut fill);
        state.open_loss += loss;
        if state.adam.steps.is_multiple_of(settings.curve_every) {
            let point = self.point(state);
            self.keep_best(state, &point);
            state.curve.push(point);
            state.open_loss = 0.0;
        }
        loss
    }

    /// Whether the settings' patience is at its end.
    pub(crate) fn is_stuck(&self, state: &State) -> bool {
        let patience = self.settings.patience;
        patience > 0 && is_stuck(&state.curve, patience)
    }

    /// The point of the curve at the state's step.
    fn point(&self, state: &State) -> Point {
        let step = state.adam.steps;
        let since = state.curve.last().map_or(0, |point| point.step);
        Point {
            step,
            training: state.open_loss / step.saturating_sub(since).max(1) as f64,
            validation: self.validation_loss(&state.parameters),
        }
    }

    fn keep_best(&self, state: &mut State, point: &Point) {
        let (Keep::Best, Some(loss)) = (self.settings.keep, point.validation) else {
            return;
        };
        if state.best.as_ref().is_none_or(|best| loss < best.loss) {
            state.best = Some(Best {
                step: point.step,
                loss,
                parameters: state.parameters.clone(),
            });
        }
    }

    /// The curve with a point at its end. That is not part of the state: a longer run has none
    /// there.
    pub(crate) fn whole_curve(&self, state: &State) -> Vec<Point> {
        let mut curve = state.curve.clone();
        if curve.last().is_none_or(|last| last.step < state.adam.steps) {
            curve.push(self.point(state));
        }
        curve
    }

    /// The weights that become the encoder.
    pub(crate) fn chosen(&self, state: &State, curve: &[Point]) -> Tensors {
        let last = curve.last().and_then(|point| point.validation);
        let better = |best: &&Best| last.is_none_or(|last| best.loss <= last);
        let parameters = match state.best.as_ref().filter(better) {
            Some(best) => &best.parameters,
            None => &state.parameters,
        };
        self.unscaled(parameters)
    }

    /// The error on photos of the validation people, evenly taken from all of them, without noise,
    /// of names as they are.
    fn validation_loss(&self, parameters: &Tensors) -> Option<f64> {
        let photos = self.examples.validation_photos(VALIDATION_PHOTOS);
        if photos.is_empty() {
            return None;
        }
        let raw = Settings {
            targets: Targets::Raw,
            ..self.settings.clone()
        };
        let batches = photos.chunks(raw.batch).map(|photos| {
            let mut batch = Batch::default();
            fill(self.examples, &raw, photos, &mut batch);
            batch
        });
        let parameters = self.unscaled(parameters);
        Some(loss(self.config, raw.reduction, &parameters, batches))
    }

    /// The network that predicts names as they are: what targets were standardized by is folded into
    /// the last layer.
    fn unscaled(&self, parameters: &Tensors) -> Tensors {
        let mut parameters = parameters.clone();
        if let Some((mean, std)) = self.examples.target_scale(self.settings.targets) {
            let [.., weight, bias] = &mut parameters.0;
            let rows = weight.chunks_exact_mut(self.config.hidden[1]);
            for (k, (row, bias)) in rows.zip(bias).enumerate() {
                row.iter_mut().for_each(|value| *value *= std[k]);
                *bias = *bias * std[k] + mean[k];
            }
        }
        parameters
    }

    /// The encoder of such a network.
    pub(crate) fn encoder(&self, parameters: Tensors) -> Encoder {
        let [w0, b0, w1, b1, w2, b2] = parameters.0;
        let layer = |weight, bias| Layer { weight, bias };
        Encoder {
            config: self.config.clone(),
            input_mean: self.examples.input_mean.clone(),
            input_std: self.examples.input_std.clone(),
            layers: [layer(w0, b0), layer(w1, b1), layer(w2, b2)],
        }
    }
}
