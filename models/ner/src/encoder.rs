//! Hash embeddings and the four encoder layers, for a block of rows at a time.

use std::collections::HashMap;

use crate::hash::embedding_keys;
use crate::layer::{Convolution, Layer, Norm, TILE, TileScratch, matrix};
use crate::lexeme::Features;
use crate::matmul::{Loops, Rows, product, vectorized};
use crate::package::{HashEmbedding, WIDE, WIDTH, Weights};

/// How far the four layers see; also the zero rows between texts.
pub(crate) const PAD: usize = 4;
/// Numbers kept per distinct features: the mixed embedding and its three products with layer 1.
const SLOT: usize = WIDTH + 3 * WIDE;
/// Distinct features that a thread keeps (63 MB); the cache starts anew when it is full.
const CACHED: usize = 1 << 14;

/// The encoder of one package.
pub(crate) struct Encoder {
    mix: Layer,
    /// Layer 1's matrix cut by window position, side by side: [96 × 3 × 288].
    first_parts: Vec<f32>,
    first_norm: Norm,
    others: [Convolution; 3],
}

/// A thread's memory.
pub(crate) struct EncoderScratch {
    slots: HashMap<Features, u32>,
    /// [slots × 960]; slot 0 is the zero row.
    cache: Vec<f32>,
    wide: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    tiles: TileScratch,
}

impl Default for EncoderScratch {
    fn default() -> Self {
        let (wide, x, y, tiles) = Default::default();
        Self {
            slots: HashMap::new(),
            cache: vec![0.0; SLOT],
            wide,
            x,
            y,
            tiles,
        }
    }
}

impl Encoder {
    pub(crate) fn new(weights: &Weights) -> Self {
        let [mix, first, others @ ..] = &weights.maxouts;
        let one = WIDTH * WIDE;
        let (parts, first_norm) = (matrix(first), Layer::new(first).norm);
        let row = |c: usize| (0..3).map(move |j| j * one + c * WIDE);
        let first_parts = (0..WIDTH)
            .flat_map(row)
            .flat_map(|at| parts[at..at + WIDE].iter().copied())
            .collect();
        Self {
            mix: Layer::new(mix),
            first_parts,
            first_norm,
            others: others.each_ref().map(Convolution::new),
        }
    }

    /// The vectors of `rows` without the first and last [`PAD`]: [(rows - 8) × 96]. A row is a token's features, or
    /// none for a zero row.
    pub(crate) fn encode<'s>(
        &self,
        embeddings: &[HashEmbedding],
        rows: &[Option<&Features>],
        scratch: &'s mut EncoderScratch,
    ) -> &'s [f32] {
        let slots = self.slots(embeddings, rows, scratch);
        let EncoderScratch {
            cache,
            wide,
            x,
            y,
            tiles,
            ..
        } = scratch;
        // Each layer makes whole tiles, from rows behind the last where there are no others; nothing comes of those.
        let count = rows.len() - 2 * PAD;
        let made = |layers_after: usize| count.next_multiple_of(TILE) + TILE * layers_after;
        let first = rows.len() - 2;
        x.clear();
        x.resize((made(2) + 2).max(first) * WIDTH, 0.0);
        wide.resize(first * WIDE, 0.0);
        vectorized(FirstLayer {
            norm: &self.first_norm,
            slots: &slots,
            cache,
            wide,
            x: &mut x[..first * WIDTH],
        });
        for (i, layer) in self.others.iter().enumerate() {
            let rows = made(2 - i);
            y.resize(rows * WIDTH, 0.0);
            layer.forward(x, &mut y[..rows * WIDTH], tiles);
            std::mem::swap(x, y);
        }
        &x[..count * WIDTH]
    }

    /// The cache's slot of each row; computes those that are new.
    fn slots(
        &self,
        embeddings: &[HashEmbedding],
        rows: &[Option<&Features>],
        scratch: &mut EncoderScratch,
    ) -> Vec<usize> {
        if scratch.slots.len() >= CACHED {
            scratch.slots.clear();
            scratch.cache.truncate(SLOT);
        }
        let mut new = Vec::new();
        let mut slot = |row: &Option<&Features>| {
            let Some(features) = *row else { return 0 };
            let next = scratch.slots.len() as u32 + 1;
            let slot = *scratch.slots.entry(*features).or_insert(next);
            if slot == next {
                new.push(*features);
            }
            slot as usize
        };
        let slots = rows.iter().map(&mut slot).collect();
        if !new.is_empty() {
            self.fill_slots(embeddings, &new, scratch);
        }
        slots
    }

    fn fill_slots(
        &self,
        embeddings: &[HashEmbedding],
        new: &[Features],
        scratch: &mut EncoderScratch,
    ) {
        let EncoderScratch {
            cache, wide, x, y, ..
        } = scratch;
        let rows = |data, width| Rows {
            data,
            count: new.len(),
            stride: width,
            width,
        };
        x.clear();
        x.extend(new.iter().flat_map(|features| embed(embeddings, features)));
        self.mix.forward(rows(x, 4 * WIDTH), wide, y);
        wide.resize(new.len() * 3 * WIDE, 0.0);
        product(rows(y, WIDTH), &self.first_parts, 3 * WIDE, wide);
        for (mixed, parts) in y.chunks_exact(WIDTH).zip(wide.chunks_exact(3 * WIDE)) {
            cache.extend_from_slice(mixed);
            cache.extend_from_slice(parts);
        }
    }
}

/// The four hash embeddings side by side.
pub(crate) fn embed(embeddings: &[HashEmbedding], features: &Features) -> [f32; 4 * WIDTH] {
    let mut vector = [0.0; 4 * WIDTH];
    let outs = vector.chunks_exact_mut(WIDTH);
    for ((embedding, id), out) in embeddings.iter().zip(features).zip(outs) {
        let rows = embedding.rows.len() / WIDTH;
        for key in embedding_keys(*id, embedding.seed) {
            let row = &embedding.rows[key as usize % rows * WIDTH..][..WIDTH];
            out.iter_mut().zip(row).for_each(|(o, v)| *o += v);
        }
    }
    vector
}

/// Layer 1 from the cached products: all rows but the first and the last.
struct FirstLayer<'a> {
    norm: &'a Norm,
    slots: &'a [usize],
    cache: &'a [f32],
    wide: &'a mut [f32],
    x: &'a mut [f32],
}

impl Loops for FirstLayer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let wide: &mut [[f32; WIDE]] = self.wide.as_chunks_mut().0;
        let x: &mut [[f32; WIDTH]] = self.x.as_chunks_mut().0;
        for ((window, wide), x) in self.slots.windows(3).zip(wide).zip(x) {
            let part = |j: usize| &self.cache[window[j] * SLOT + WIDTH + j * WIDE..][..WIDE];
            let (left, middle, right) = (part(0), part(1), part(2));
            for o in 0..WIDE {
                wide[o] = left[o] + middle[o] + right[o];
            }
            x.copy_from_slice(&self.cache[window[1] * SLOT..][..WIDTH]);
            self.norm.add(wide, x);
        }
    }
}
