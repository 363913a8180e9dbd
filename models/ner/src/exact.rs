//! The network in double precision, for the few decisions that single precision leaves open. It
//! looks at the nine tokens around each token that a decision depends on; sums are taken in a fixed
//! order, so that every machine decides alike.

use crate::encoder::{PAD, embed};
use crate::package::{ACTIONS, HIDDEN, Maxout, WIDTH, Weights};
use crate::tokenizer::TokenAt;

/// A token's encoded vector.
pub(crate) type Vector = [f64; WIDTH];

/// The scores of all actions for token `next` with the entity that starts at `start` open.
pub(crate) fn scores(
    weights: &Weights,
    tokens: &[TokenAt],
    next: usize,
    start: Option<usize>,
) -> [f64; ACTIONS] {
    let before = start.and_then(|_| next.checked_sub(1));
    let vector = |token: Option<usize>| token.map(|at| encode(weights, tokens, at));
    scores_of(weights, [Some(next), start, before].map(vector))
}

/// The scores of all actions for the next token with an entity's first token and the token before,
/// where one is open.
#[expect(
    clippy::large_types_passed_by_value,
    reason = "made for this call, read where it was made"
)]
pub(crate) fn scores_of(weights: &Weights, state: [Option<Vector>; 3]) -> [f64; ACTIONS] {
    let [_, bias, pad] = &weights.lower;
    let mut sums: Vec<f64> = bias.iter().map(|b| f64::from(*b)).collect();
    for (feature, vector) in state.iter().enumerate() {
        match vector {
            Some(vector) => add_state(weights, feature, vector, &mut sums),
            None => {
                let pad = pad[feature * 2 * HIDDEN..].iter();
                sums.iter_mut()
                    .zip(pad)
                    .for_each(|(s, p)| *s += f64::from(*p));
            }
        }
    }
    let hidden: Vec<f64> = sums.chunks_exact(2).map(|p| p[0].max(p[1])).collect();
    let [w, b] = &weights.upper;
    std::array::from_fn(|i| dot(&w[i * HIDDEN..], &hidden) + f64::from(b[i]))
}

/// Adds the projection of `vector`, through the lower layer of `feature`, to a state's sums [64 ×
/// 2].
fn add_state(weights: &Weights, feature: usize, vector: &Vector, sums: &mut [f64]) {
    let [w, b] = &weights.projection;
    let project = |i: usize| dot(&w[i * WIDTH..], vector) + f64::from(b[i]);
    let projected: Vec<f64> = (0..HIDDEN).map(project).collect();
    let rows = weights.lower[0]
        .chunks_exact(HIDDEN)
        .skip(feature * 2 * HIDDEN);
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum += dot(row, &projected);
    }
}

/// The encoded vector of token `at`.
pub(crate) fn encode(weights: &Weights, tokens: &[TokenAt], at: usize) -> Vector {
    let [mix, layers @ ..] = &weights.maxouts;
    let row = |i: usize| {
        let token = (at + i).checked_sub(PAD).and_then(|i| tokens.get(i));
        token.map_or([0.0; WIDTH], |token| {
            let embedded = embed(&weights.embeddings, token.features()).map(f64::from);
            norm(mix, &embedded)
        })
    };
    let mut rows: Vec<Vector> = (0..=2 * PAD).map(row).collect();
    for layer in layers {
        let window = |rows: &[Vector]| {
            let normed = norm(layer, rows.as_flattened());
            std::array::from_fn(|o| rows[1][o] + normed[o])
        };
        rows = rows.windows(3).map(window).collect();
    }
    rows[0]
}

/// A maxout layer with its layer norm.
fn norm(layer: &Maxout, input: &[f64]) -> Vector {
    let piece = |i: usize| dot(&layer.w[i * input.len()..], input) + f64::from(layer.b[i]);
    let y: Vector =
        std::array::from_fn(|o| piece(3 * o).max(piece(3 * o + 1)).max(piece(3 * o + 2)));
    let mean = y.iter().sum::<f64>() / WIDTH as f64;
    let variance = y.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / WIDTH as f64;
    let scale = (variance + 1e-8).sqrt().recip();
    std::array::from_fn(|o| {
        (y[o] - mean) * scale * f64::from(layer.gain[o]) + f64::from(layer.shift[o])
    })
}

/// The sum of the products of `b` with as many numbers of `a`, in eight lanes.
fn dot(a: &[f32], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f64::from(*a) * b;
        }
    }
    lanes.iter().sum()
}
