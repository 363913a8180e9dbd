//! Hash embeddings and the four encoder layers, for a block of rows at a time.

use std::collections::hash_map::Entry;

use foldhash::HashMap;

use crate::hash::embedding_keys;
use crate::layer::{Convolution, Layer, Row, TILE, TileScratch, ZERO};
use crate::lexeme::Features;
use crate::package::{HashEmbedding, WIDTH, Weights};

/// How far the four layers see; also the zero rows between texts.
pub(crate) const PAD: usize = 4;
/// The four hash embeddings side by side.
const EMBEDDED: usize = 4 * WIDTH;
/// Distinct features in one generation of a thread's cache (12.6 MB of vectors, 2.7 MB to find
/// them).
const GENERATION: usize = 1 << 15;

/// The encoder of one package.
pub(crate) struct Encoder {
    mix: Layer<EMBEDDED>,
    layers: [Convolution; 4],
}

/// A thread's memory.
#[derive(Default)]
pub(crate) struct EncoderScratch {
    cache: Cache,
    x: Vec<Row>,
    y: Vec<Row>,
    tiles: TileScratch,
}

/// How many tokens' embeddings were looked up, and how many of them had been mixed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Tokens.
    pub looked_up: u64,
    /// Tokens whose features had been met.
    pub found: u64,
}

impl std::iter::Sum for CacheUse {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            looked_up: sum.looked_up + one.looked_up,
            found: sum.found + one.found,
        })
    }
}

/// Mixed embeddings of features, in two generations: when the young one is full it becomes the old
/// one, and what is still asked for moves over, so that frequent words stay.
#[derive(Default)]
struct Cache {
    young: Generation,
    old: Generation,
    /// Features without a vector yet, and their places in the young generation.
    new: Vec<(Features, usize)>,
    inputs: Vec<[f32; EMBEDDED]>,
    usage: CacheUse,
}

#[derive(Default)]
struct Generation {
    places: HashMap<Features, u32>,
    vectors: Vec<Row>,
}

impl Encoder {
    pub(crate) fn new(weights: &Weights) -> Self {
        let [mix, layers @ ..] = &weights.maxouts;
        Self {
            mix: Layer::new(mix),
            layers: layers.each_ref().map(Convolution::new),
        }
    }

    /// The vectors of `rows` without the first and last [`PAD`]. A row is a token's features, or
    /// none for a zero row.
    pub(crate) fn encode<'s>(
        &self,
        embeddings: &[HashEmbedding],
        rows: &[Option<&Features>],
        scratch: &'s mut EncoderScratch,
    ) -> &'s [Row] {
        let EncoderScratch { cache, x, y, tiles } = scratch;
        self.mixed(embeddings, rows, cache, x);
        let count = rows.len() - 2 * PAD;
        for (layer, layers_after) in self.layers.iter().zip((0..PAD).rev()) {
            // Whole tiles, from rows behind the last where there are no others; nothing comes of
            // those.
            let made = (count + 2 * layers_after).next_multiple_of(TILE);
            x.resize(made + 2, ZERO);
            y.resize(made, ZERO);
            layer.forward(x, y, tiles);
            std::mem::swap(x, y);
        }
        &x[..count]
    }

    /// The mixed embeddings of `rows`; computes those that are new.
    fn mixed(
        &self,
        embeddings: &[HashEmbedding],
        rows: &[Option<&Features>],
        cache: &mut Cache,
        out: &mut Vec<Row>,
    ) {
        cache.age(rows.len());
        let places: Vec<_> = rows
            .iter()
            .map(|row| row.map(|features| cache.place(features)))
            .collect();
        let embed = |(features, _): &(Features, usize)| embed(embeddings, features);
        cache.inputs.clear();
        cache.inputs.extend(cache.new.iter().map(embed));
        out.resize(cache.new.len(), ZERO);
        self.mix.forward(&cache.inputs, out);
        for ((_, place), mixed) in cache.new.drain(..).zip(&*out) {
            cache.young.vectors[place] = *mixed;
        }
        let vector = |place: Option<usize>| place.map_or(ZERO, |at| cache.young.vectors[at]);
        out.clear();
        out.extend(places.into_iter().map(vector));
    }
}

impl EncoderScratch {
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.cache.usage
    }
}

impl Cache {
    /// Makes room for as many new vectors.
    fn age(&mut self, new: usize) {
        if self.young.vectors.len() + new > GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.places.clear();
            self.young.vectors.clear();
        }
    }

    /// The place of the features' vector in the young generation, where it may have to be computed
    /// yet.
    fn place(&mut self, features: &Features) -> usize {
        self.usage.looked_up += 1;
        let next = self.young.vectors.len();
        let entry = match self.young.places.entry(*features) {
            Entry::Occupied(entry) => {
                self.usage.found += 1;
                return *entry.get() as usize;
            }
            Entry::Vacant(entry) => entry,
        };
        entry.insert(next as u32);
        match self.old.places.get(features) {
            Some(place) => {
                self.usage.found += 1;
                self.young.vectors.push(self.old.vectors[*place as usize]);
            }
            None => {
                self.new.push((*features, next));
                self.young.vectors.push(ZERO);
            }
        }
        next
    }
}

/// The four hash embeddings side by side.
pub(crate) fn embed(embeddings: &[HashEmbedding], features: &Features) -> [f32; EMBEDDED] {
    let mut vector = [0.0; EMBEDDED];
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of features `n`, computed where it is new.
    fn vector(cache: &mut Cache, n: u64) -> Row {
        cache.age(1);
        let place = cache.place(&[n; 4]);
        for (features, place) in cache.new.drain(..) {
            cache.young.vectors[place] = [features[0] as f32; WIDTH];
        }
        cache.young.vectors[place]
    }

    #[test]
    fn what_is_asked_for_outlives_its_generation() {
        let mut cache = Cache::default();
        let forms = 3 * GENERATION as u64;
        for n in 1..=forms {
            assert_eq!(vector(&mut cache, n), [n as f32; WIDTH]);
            assert_eq!(vector(&mut cache, 1), [1.0; WIDTH]);
        }
        // Every form but the first was new once.
        let (looked_up, found) = (2 * forms, forms);
        assert_eq!(cache.usage, CacheUse { looked_up, found });
        vector(&mut cache, 2);
        assert_eq!(cache.usage.found, found, "nobody asked for it");
        assert!(cache.young.vectors.len() <= GENERATION && cache.old.vectors.len() <= GENERATION);
    }
}
