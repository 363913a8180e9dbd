//! What the validation people say about the finished encoder, number by number: `training.json`.

use laioncele_encoder::EncoderConfig;
use serde::Serialize;

use crate::examples::{Examples, Pick};
use crate::network::predictions;
use crate::settings::Settings;
use crate::tensors::Tensors;

/// How well the names of people are predicted that were never trained on. Losses are mean squared
/// errors of the names as they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Steps taken.
    pub steps: u64,
    /// Photos that were looked at.
    pub validation_photos: usize,
    /// Mean over photos and all numbers of a name.
    pub loss: f64,
    /// The same where every prediction is the training people's mean name.
    pub mean_name_loss: f64,
    /// 1 − loss / mean_name_loss: the share of what differs between people that is predicted.
    pub explained: f64,
    /// Mean cosine between what Eq. 4 amplifies and what it should: prediction and name, less the
    /// mean name.
    pub cosine: f64,
    /// Each token's own.
    pub tokens: Vec<TokenSummary>,
}

/// The same of one token of the name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TokenSummary {
    /// Mean over photos and channels.
    pub loss: f64,
    /// 1 − loss / the mean name's.
    pub explained: f64,
}

/// Compares the predictions of `parameters` with the names of `photos`; none without photos.
pub(crate) fn summary(
    (examples, settings, config): (&Examples, &Settings, &EncoderConfig),
    steps: u64,
    parameters: &Tensors,
    photos: &[Pick<'_>],
) -> Option<Summary> {
    let channels = config.output_channels;
    let mut sums = vec![[0f64; 2]; config.output_tokens];
    let mut cosines = 0.0;
    for photos in photos.chunks(settings.batch) {
        let mut inputs = Vec::new();
        examples.fill_inputs(photos, &mut inputs);
        let predicted = predictions(config, parameters, inputs, photos.len());
        for (column, (person, _)) in photos.iter().enumerate() {
            let mut products = [0f64; 3];
            for (k, name) in person.name.iter().enumerate() {
                let mean = f64::from(examples.name_mean[k]);
                let found = f64::from(predicted[k * photos.len() + column]) - mean;
                let wanted = name.to_f64() - mean;
                let [loss, base] = &mut sums[k / channels];
                *loss += (found - wanted).powi(2);
                *base += wanted.powi(2);
                products[0] += found * wanted;
                products[1] += found * found;
                products[2] += wanted * wanted;
            }
            let lengths = (products[1] * products[2]).sqrt();
            cosines += if lengths > 0.0 {
                products[0] / lengths
            } else {
                0.0
            };
        }
    }
    let count = (photos.len() * channels) as f64;
    let [loss, base] = [0, 1].map(|k| sums.iter().map(|sum| sum[k]).sum::<f64>());
    let token = |&[loss, base]: &[f64; 2]| TokenSummary {
        loss: loss / count,
        explained: explained(loss, base),
    };
    (!photos.is_empty()).then(|| Summary {
        steps,
        validation_photos: photos.len(),
        loss: loss / (count * sums.len() as f64),
        mean_name_loss: base / (count * sums.len() as f64),
        explained: explained(loss, base),
        cosine: cosines / photos.len() as f64,
        tokens: sums.iter().map(token).collect(),
    })
}

/// 1 − loss / base; 0 where there is nothing to explain.
fn explained(loss: f64, base: f64) -> f64 {
    if base > 0.0 { 1.0 - loss / base } else { 0.0 }
}
