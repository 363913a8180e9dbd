//! The network: hash embeddings, the four encoder layers, the parser's features; batched, in blocks of bounded size.
//!
//! Texts lie in one array of rows with four zero rows before, between and after them, as thinc lays out a batch, so that
//! no text's rows reach another's. The array is worked through in blocks; each computes four more rows on both sides, as
//! far as the four layers see, so that memory stays flat however long a text is.

use std::collections::HashMap;

use crate::hash::embedding_keys;
use crate::lexeme::Features;
use crate::matmul::{Rows, product};
use crate::package::{Actions, HIDDEN, HashEmbedding, Maxout, WIDE, WIDTH, Weights};
use crate::tokenizer::TokenAt;
use crate::transition::{CLOSED, Input, STATE, State, Upper};
use crate::{Entity, Label};

/// Zero rows between texts, which is also how far the four layers see.
const PAD: usize = 4;
/// Rows of one block.
const BLOCK: usize = 1024;
/// Numbers kept per distinct features: the mixed embedding and its three products with layer 1.
const SLOT: usize = WIDTH + 3 * WIDE;
/// Distinct features that a thread keeps (63 MB); the cache starts anew when it is full.
const CACHED: usize = 1 << 14;
/// What a token adds to parser states: as next token, as start of an entity, as token before.
const FEATURES: usize = 3 * STATE;

/// The network of one package.
pub(crate) struct Network {
    embeddings: Vec<HashEmbedding>,
    mix: Layer,
    /// Layer 1's matrix cut by window position: [3 × 288 × 96].
    first_parts: Vec<f32>,
    layers: Vec<Layer>,
    /// Projection and lower layer in one: [384 × 96] and bias [384].
    lower: (Vec<f32>, Vec<f32>),
    /// Added to a next token's features while no entity is open.
    closed_bias: Vec<f32>,
    upper: Upper,
    labels: Actions,
}

/// A maxout layer, its pieces in planes: rows 0…95 are the first piece of every output, and so on.
struct Layer {
    w: Vec<f32>,
    b: Vec<f32>,
    gain: Vec<f32>,
    shift: Vec<f32>,
}

/// A thread's memory.
pub(crate) struct Scratch {
    slots: HashMap<Features, u32>,
    /// [slots × 960]; slot 0 is the zero row.
    cache: Vec<f32>,
    x: Vec<f32>,
    wide: Vec<f32>,
    features: Vec<f32>,
    hidden: Vec<f32>,
    closed: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        let (x, wide, features, hidden, closed) = Default::default();
        Self {
            slots: HashMap::new(),
            cache: vec![0.0; SLOT],
            x,
            wide,
            features,
            hidden,
            closed,
        }
    }
}

/// A row of the array: a token of a text, or zero.
#[derive(Clone, Copy)]
enum Row<'t> {
    Zero,
    Token {
        text: usize,
        at: usize,
        is_last: bool,
        token: &'t TokenAt,
    },
}

impl Network {
    pub(crate) fn new(weights: Weights, labels: Actions) -> Self {
        let Weights {
            embeddings,
            maxouts,
            projection,
            lower: [lower_w, lower_b, pad],
            upper: [upper_w, upper_b],
        } = weights;
        let mut layers: Vec<Layer> = maxouts.into_iter().map(Layer::new).collect();
        let mix = layers.remove(0);
        let part = |j: usize| {
            layers[0]
                .w
                .chunks_exact(WIDE)
                .flat_map(move |row| row[j * WIDTH..][..WIDTH].iter().copied())
        };
        let first_parts = (0..3).flat_map(part).collect();
        let (state_bias, pads) = (planes(&lower_b), planes(&pad));
        let closed_bias = (0..STATE)
            .map(|i| state_bias[i] + pads[STATE + i] + pads[2 * STATE + i])
            .collect();
        Self {
            embeddings,
            mix,
            first_parts,
            layers,
            lower: fold(&lower_w, &projection),
            closed_bias,
            upper: Upper::new(upper_w, upper_b, state_bias),
            labels,
        }
    }

    /// Appends the entities of each text to `found`, which is as long as `texts`.
    pub(crate) fn entities(
        &self,
        texts: &[Vec<TokenAt>],
        scratch: &mut Scratch,
        found: &mut [Vec<Entity>],
    ) {
        let rows = layout(texts);
        let mut state = State::default();
        for start in (PAD..rows.len().saturating_sub(PAD)).step_by(BLOCK) {
            let end = (start + BLOCK).min(rows.len() - PAD);
            self.encode(&rows[start - PAD..end + PAD], scratch);
            self.score(end - start, scratch);
            for (i, row) in rows[start..end].iter().enumerate() {
                let Row::Token {
                    text,
                    at,
                    is_last,
                    token,
                } = *row
                else {
                    continue;
                };
                if at == 0 {
                    state = State::default();
                }
                let input = Input {
                    features: &scratch.features[i * FEATURES..][..FEATURES],
                    closed: &scratch.closed[i * CLOSED..][..CLOSED],
                    is_space: token.is_space(),
                    is_last,
                };
                if let Some(span) = state.step(&self.upper, at, &input) {
                    let tokens = &texts[text];
                    let (start, end) = (tokens[span.start].start, tokens[span.end - 1].end());
                    found[text].push(Entity {
                        start,
                        end,
                        label: self.label(span.label),
                    });
                }
            }
        }
    }

    fn label(&self, number: usize) -> Label {
        self.labels[number]
    }

    /// Leaves the encoded rows at `scratch.x[PAD * WIDTH..]`. `rows` has [`PAD`] more on both sides.
    fn encode(&self, rows: &[Row], scratch: &mut Scratch) {
        let slots = self.slots(rows, scratch);
        let Scratch { cache, x, wide, .. } = scratch;
        x.clear();
        for slot in &slots {
            x.extend_from_slice(&cache[slot * SLOT..][..WIDTH]);
        }
        wide.resize(rows.len() * WIDE, 0.0);
        for (i, window) in slots.windows(3).enumerate() {
            let part = |j: usize| &cache[window[j] * SLOT + WIDTH + j * WIDE..][..WIDE];
            let (left, middle, right) = (part(0), part(1), part(2));
            for (o, sum) in wide[i * WIDE..][..WIDE].iter_mut().enumerate() {
                *sum = left[o] + middle[o] + right[o];
            }
        }
        self.layers[0].add_to(&wide[..(rows.len() - 2) * WIDE], &mut x[WIDTH..]);
        for (k, layer) in self.layers.iter().enumerate().skip(1) {
            let count = rows.len() - 2 * (k + 1);
            let windows = Rows {
                data: &x[k * WIDTH..],
                count,
                stride: WIDTH,
                width: 3 * WIDTH,
            };
            product(windows, &layer.w, WIDE, wide);
            layer.add_to(&wide[..count * WIDE], &mut x[(k + 1) * WIDTH..]);
        }
    }

    /// The parser's features of `count` encoded rows, and the scores of the actions without an open entity.
    fn score(&self, count: usize, scratch: &mut Scratch) {
        let Scratch {
            x,
            features,
            hidden,
            closed,
            ..
        } = scratch;
        let (w, bias) = &self.lower;
        let encoded = Rows {
            data: &x[PAD * WIDTH..],
            count,
            stride: WIDTH,
            width: WIDTH,
        };
        features.resize(count * FEATURES, 0.0);
        product(encoded, w, FEATURES, features);
        hidden.clear();
        for row in features.chunks_exact_mut(FEATURES) {
            row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            let sum = |i: usize| row[i] + self.closed_bias[i];
            hidden.extend((0..HIDDEN).map(|o| sum(o).max(sum(HIDDEN + o))));
        }
        closed.resize(count * CLOSED, 0.0);
        let rows = Rows {
            data: hidden,
            count,
            stride: HIDDEN,
            width: HIDDEN,
        };
        product(rows, &self.upper.closed_w, CLOSED, closed);
    }

    /// The cache's slot of each row; computes those that are new.
    fn slots(&self, rows: &[Row], scratch: &mut Scratch) -> Vec<usize> {
        if scratch.slots.len() >= CACHED {
            scratch.slots.clear();
            scratch.cache.truncate(SLOT);
        }
        let mut new = Vec::new();
        let mut slot = |row: &Row| match row {
            Row::Zero => 0,
            Row::Token { token, .. } => {
                let next = scratch.slots.len() as u32 + 1;
                let slot = *scratch.slots.entry(*token.features()).or_insert(next);
                if slot == next {
                    new.push(*token.features());
                }
                slot as usize
            }
        };
        let slots = rows.iter().map(&mut slot).collect();
        self.fill_slots(&new, &mut scratch.cache);
        slots
    }

    fn fill_slots(&self, new: &[Features], cache: &mut Vec<f32>) {
        let inputs: Vec<f32> = new
            .iter()
            .flat_map(|features| self.embed(features))
            .collect();
        let width = self.embeddings.len() * WIDTH;
        let mut wide = vec![0.0; new.len() * WIDE];
        product(
            Rows {
                data: &inputs,
                count: new.len(),
                stride: width,
                width,
            },
            &self.mix.w,
            WIDE,
            &mut wide,
        );
        let mut mixed = vec![0.0; new.len() * WIDTH];
        self.mix.add_to(&wide, &mut mixed);
        let mut parts = vec![0.0; new.len() * 3 * WIDE];
        let rows = Rows {
            data: &mixed,
            count: new.len(),
            stride: WIDTH,
            width: WIDTH,
        };
        product(rows, &self.first_parts, 3 * WIDE, &mut parts);
        for (mixed, parts) in mixed.chunks_exact(WIDTH).zip(parts.chunks_exact(3 * WIDE)) {
            cache.extend_from_slice(mixed);
            cache.extend_from_slice(parts);
        }
    }

    /// The four hash embeddings side by side: [384].
    fn embed(&self, features: &Features) -> Vec<f32> {
        let mut vector = vec![0.0; self.embeddings.len() * WIDTH];
        for ((embedding, id), out) in self
            .embeddings
            .iter()
            .zip(features)
            .zip(vector.chunks_exact_mut(WIDTH))
        {
            let rows = embedding.rows.len() / WIDTH;
            for key in embedding_keys(*id, embedding.seed) {
                let row = &embedding.rows[key as usize % rows * WIDTH..][..WIDTH];
                out.iter_mut().zip(row).for_each(|(o, v)| *o += v);
            }
        }
        vector
    }
}

impl Layer {
    fn new(Maxout { w, b, gain, shift }: Maxout) -> Self {
        let inputs = w.len() / WIDE;
        let row = |i: usize| (i % WIDTH) * 3 + i / WIDTH;
        let planes = (0..WIDE)
            .flat_map(|i| w[row(i) * inputs..][..inputs].iter().copied())
            .collect();
        Self {
            w: planes,
            b: (0..WIDE).map(|i| b[row(i)]).collect(),
            gain,
            shift,
        }
    }

    /// Adds to each row of `x` the layer norm of the maximum over the pieces of a row of `wide`.
    fn add_to(&self, wide: &[f32], x: &mut [f32]) {
        for (wide, x) in wide.chunks_exact(WIDE).zip(x.chunks_exact_mut(WIDTH)) {
            let piece = |p: usize, o: usize| wide[p * WIDTH + o] + self.b[p * WIDTH + o];
            let y: [f32; WIDTH] =
                std::array::from_fn(|o| piece(0, o).max(piece(1, o)).max(piece(2, o)));
            let mean = sum(&y) / WIDTH as f32;
            let squares: [f32; WIDTH] = std::array::from_fn(|o| (y[o] - mean) * (y[o] - mean));
            let scale = (sum(&squares) / WIDTH as f32 + 1e-8).sqrt().recip();
            for (o, x) in x.iter_mut().enumerate() {
                *x += (y[o] - mean) * scale * self.gain[o] + self.shift[o];
            }
        }
    }
}

/// A sum in sixteen lanes, so that it is vectorized.
fn sum(values: &[f32; WIDTH]) -> f32 {
    let mut lanes = [0f32; 16];
    for chunk in values.chunks_exact(16) {
        lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += v);
    }
    lanes.iter().sum()
}

/// The rows of a batch.
fn layout(texts: &[Vec<TokenAt>]) -> Vec<Row<'_>> {
    let mut rows = vec![Row::Zero; PAD];
    for (text, tokens) in texts.iter().enumerate().filter(|(_, t)| !t.is_empty()) {
        let row = |(at, token)| Row::Token {
            text,
            at,
            is_last: at + 1 == tokens.len(),
            token,
        };
        rows.extend(tokens.iter().enumerate().map(row));
        rows.extend([Row::Zero; PAD]);
    }
    rows
}

/// [… × 64 × 2] with the two pieces side by side → [… × 2 × 64].
fn planes(pairs: &[f32]) -> Vec<f32> {
    (0..pairs.len()).map(|i| pairs[unplaned(i)]).collect()
}

/// Where number `i` of [… × 2 × 64] lies in [… × 64 × 2].
fn unplaned(i: usize) -> usize {
    let (feature, piece, o) = (i / STATE, i % STATE / HIDDEN, i % HIDDEN);
    feature * STATE + 2 * o + piece
}

/// The lower layer after the projection as one layer, in planes.
fn fold(lower: &[f32], [projection, bias]: &[Vec<f32>; 2]) -> (Vec<f32>, Vec<f32>) {
    let row = |i: usize| &lower[unplaned(i) * HIDDEN..][..HIDDEN];
    let dot = |row: &[f32], column: &dyn Fn(usize) -> f32| {
        row.iter()
            .enumerate()
            .map(|(k, v)| f64::from(*v) * f64::from(column(k)))
            .sum::<f64>() as f32
    };
    let w = (0..FEATURES)
        .flat_map(|i| (0..WIDTH).map(move |c| dot(row(i), &|k| projection[k * WIDTH + c])))
        .collect();
    let b = (0..FEATURES).map(|i| dot(row(i), &|k| bias[k])).collect();
    (w, b)
}
