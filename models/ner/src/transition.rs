//! The greedy transition system: one action per token, entities opened and closed (BILUO).
//!
//! A state's hidden layer is a sum of three products, each of a token's vector with a matrix of its own: of the next
//! token, of the open entity's first token, of the token before. The last two are made only when an entity is open.

use crate::layer::larger;
use crate::matmul::{Loops, Rows, product, transposed, vectorized};
use crate::package::{ACTIONS, HIDDEN, LABELS, WIDTH, Weights};

/// Both pieces of a parser state's hidden layer: 64 numbers of the first, then 64 of the second.
const STATE: usize = 2 * HIDDEN;
/// Actions that are possible while no entity is open: begin and unit of each label, out.
const CLOSED: usize = 2 * LABELS + 1;
/// Decisions closer than this are taken again in double precision. The scores here and those of exact arithmetic differ
/// by less than a twentieth of it.
pub(crate) const MARGIN: f32 = 1e-3;

/// The parser of one package.
pub(crate) struct Parser {
    /// Projection and lower layer in one, cut by feature: [96 × 128] for the next token, the first, the one before.
    next: Vec<f32>,
    first: Vec<f32>,
    before: Vec<f32>,
    /// What is added to the sum of a state's products, with and without an open entity: [128].
    open_bias: Vec<f32>,
    closed_bias: Vec<f32>,
    /// [64 × 37]: begin, unit, out.
    closed_w: Vec<f32>,
    closed_b: Vec<f32>,
    /// [74 × 64]
    upper_w: Vec<f32>,
    upper_b: Vec<f32>,
}

/// A thread's memory.
#[derive(Default)]
pub(crate) struct ParserScratch {
    /// The products for the next token: [rows × 128].
    next: Vec<f32>,
    hidden: Vec<f32>,
    /// Scores of the closed actions without their biases: [rows × 37].
    closed: Vec<f32>,
}

/// A token as the transition system sees it.
pub(crate) struct Input<'a> {
    /// Its number in the text.
    pub(crate) at: usize,
    /// Its number in the block that was prepared.
    pub(crate) row: usize,
    /// Its encoded vector.
    pub(crate) vector: &'a [f32],
    pub(crate) is_space: bool,
    /// Whether it is its text's last token.
    pub(crate) is_last: bool,
}

/// An entity: tokens `start..end`, label by number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) label: usize,
}

/// Where a text's parse stands.
#[derive(Default)]
pub(crate) struct State {
    open: Option<Open>,
}

/// An open entity.
struct Open {
    start: usize,
    label: usize,
    /// The product for its first token: [128].
    first: [f32; STATE],
    /// The vector of the last token so far.
    before: [f32; WIDTH],
}

/// The scores of all actions for token `at` with the entity that starts at `start` open, in double precision.
pub(crate) type Scores<'a> = dyn Fn(usize, Option<usize>) -> [f64; ACTIONS] + 'a;

impl Parser {
    pub(crate) fn new(weights: &Weights) -> Self {
        let [lower_w, lower_b, pad] = &weights.lower;
        let [upper_w, upper_b] = weights.upper.clone();
        let (w, b) = fold(lower_w, &weights.projection);
        let part = |j: usize| transposed(&w[j * STATE * WIDTH..][..STATE * WIDTH], WIDTH);
        let (lower_b, pad) = (planes(lower_b), planes(pad));
        let bias = |i: usize, others: &[f32]| {
            lower_b[i] + b[i] + others[STATE + i] + others[2 * STATE + i]
        };
        let closed = closed_actions();
        let row = |i: usize| upper_w[i * HIDDEN..][..HIDDEN].iter().copied();
        let closed_w: Vec<f32> = closed.clone().flat_map(row).collect();
        Self {
            next: part(0),
            first: part(1),
            before: part(2),
            open_bias: (0..STATE).map(|i| bias(i, &b)).collect(),
            closed_bias: (0..STATE).map(|i| bias(i, &pad)).collect(),
            closed_w: transposed(&closed_w, HIDDEN),
            closed_b: closed.map(|i| upper_b[i]).collect(),
            upper_w,
            upper_b,
        }
    }

    /// Scores the closed actions for all encoded rows of a block.
    pub(crate) fn prepare(&self, encoded: &[f32], scratch: &mut ParserScratch) {
        let ParserScratch {
            next,
            hidden,
            closed,
        } = scratch;
        let count = encoded.len() / WIDTH;
        let rows = |data, width| Rows {
            data,
            count,
            stride: width,
            width,
        };
        next.resize(count * STATE, 0.0);
        product(rows(encoded, WIDTH), &self.next, STATE, next);
        hidden.resize(count * HIDDEN, 0.0);
        vectorized(ClosedHidden {
            next,
            bias: &self.closed_bias,
            hidden,
        });
        closed.resize(count * CLOSED, 0.0);
        product(rows(hidden, HIDDEN), &self.closed_w, CLOSED, closed);
    }

    /// Takes the best possible action for a token; the lower number wins a tie. Returns the entity that it closes.
    pub(crate) fn step(
        &self,
        state: &mut State,
        input: &Input,
        scratch: &ParserScratch,
        exact: &Scores,
    ) -> Option<Span> {
        let at = input.at;
        if let Some(open) = &mut state.open {
            if !input.is_last && self.goes_on(open, input, scratch, exact) {
                open.before.copy_from_slice(input.vector);
                return None;
            }
            let (start, label) = (open.start, open.label);
            state.open = None;
            return Some(Span {
                start,
                end: at + 1,
                label,
            });
        }
        match self.best_closed(input, scratch, exact) {
            label if label < LABELS => {
                state.open = Some(self.open(label, input));
                None
            }
            unit if unit < 2 * LABELS => Some(Span {
                start: at,
                end: at + 1,
                label: unit - LABELS,
            }),
            _ => None,
        }
    }

    fn open(&self, label: usize, input: &Input) -> Open {
        let mut open = Open {
            start: input.at,
            label,
            first: [0.0; STATE],
            before: [0.0; WIDTH],
        };
        open.before.copy_from_slice(input.vector);
        vectorized(AddProduct {
            vector: &open.before,
            matrix: &self.first,
            out: &mut open.first,
        });
        open
    }

    /// The best of the closed actions by its number among them.
    fn best_closed(&self, input: &Input, scratch: &ParserScratch, exact: &Scores) -> usize {
        if input.is_space {
            return CLOSED - 1;
        }
        // An entity cannot begin with the last token.
        let least = if input.is_last { LABELS } else { 0 };
        let scores = &scratch.closed[input.row * CLOSED..][..CLOSED];
        let (best, lead) = best(least, |i| scores[i] + self.closed_b[i]);
        if lead >= MARGIN {
            return best;
        }
        let scores = exact(input.at, None);
        let actions: Vec<usize> = closed_actions().collect();
        best_of(least, |i| scores[actions[i]])
    }

    /// Whether the open entity goes on behind this token rather than ends with it.
    fn goes_on(&self, open: &Open, input: &Input, scratch: &ParserScratch, exact: &Scores) -> bool {
        let mut sums = open.first;
        vectorized(AddProduct {
            vector: &open.before,
            matrix: &self.before,
            out: &mut sums,
        });
        let next = &scratch.next[input.row * STATE..][..STATE];
        let sum = |i: usize| sums[i] + next[i] + self.open_bias[i];
        let hidden: [f32; HIDDEN] = std::array::from_fn(|o| larger(sum(o), sum(HIDDEN + o)));
        let (goes_on, ends) = (LABELS + open.label, 2 * LABELS + open.label);
        let lead = self.score(&hidden, goes_on) - self.score(&hidden, ends);
        if lead.abs() >= MARGIN {
            return lead > 0.0;
        }
        let scores = exact(input.at, Some(open.start));
        scores[goes_on] >= scores[ends]
    }

    fn score(&self, hidden: &[f32; HIDDEN], action: usize) -> f32 {
        let row = &self.upper_w[action * HIDDEN..][..HIDDEN];
        row.iter().zip(hidden).map(|(w, h)| w * h).sum::<f32>() + self.upper_b[action]
    }
}

/// The actions that are possible while no entity is open: begin and unit of each label, out.
fn closed_actions() -> impl Iterator<Item = usize> + Clone {
    (0..LABELS)
        .chain(3 * LABELS..4 * LABELS)
        .chain([ACTIONS - 1])
}

/// The closed action of the highest score from `least` on, the lowest of equal ones, and its lead.
#[inline]
fn best(least: usize, score: impl Fn(usize) -> f32) -> (usize, f32) {
    let (mut best, mut highest, mut second) = (least, score(least), f32::NEG_INFINITY);
    for i in least + 1..CLOSED {
        let score = score(i);
        if score > highest {
            (best, second, highest) = (i, highest, score);
        } else {
            second = larger(score, second);
        }
    }
    (best, highest - second)
}

/// The same in double precision.
fn best_of(least: usize, score: impl Fn(usize) -> f64) -> usize {
    let better = |best: usize, i: usize| if score(i) > score(best) { i } else { best };
    (least + 1..CLOSED).fold(least, better)
}

/// The hidden layer of states without an open entity.
struct ClosedHidden<'a> {
    next: &'a [f32],
    bias: &'a [f32],
    hidden: &'a mut [f32],
}

impl Loops for ClosedHidden<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Some(bias) = self.bias.first_chunk::<STATE>() else {
            return;
        };
        let next: &[[f32; STATE]] = self.next.as_chunks().0;
        let hidden: &mut [[f32; HIDDEN]] = self.hidden.as_chunks_mut().0;
        for (next, hidden) in next.iter().zip(hidden) {
            for o in 0..HIDDEN {
                hidden[o] = larger(next[o] + bias[o], next[HIDDEN + o] + bias[HIDDEN + o]);
            }
        }
    }
}

/// Adds to `out` the product of a vector with a matrix [96 × 128].
struct AddProduct<'a> {
    vector: &'a [f32; WIDTH],
    matrix: &'a [f32],
    out: &'a mut [f32; STATE],
}

impl Loops for AddProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        /// Sums that fit into the processor's registers.
        const LANES: usize = 32;
        for (part, out) in self.out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sums = *out;
            for (v, row) in self.vector.iter().zip(self.matrix.chunks_exact(STATE)) {
                let row: &[[f32; LANES]] = row.as_chunks().0;
                for (sum, w) in sums.iter_mut().zip(&row[part]) {
                    *sum += v * w;
                }
            }
            *out = sums;
        }
    }
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

/// The lower layer after the projection as one layer, in planes: [3 × 128 × 96] and bias [3 × 128].
fn fold(lower: &[f32], [projection, bias]: &[Vec<f32>; 2]) -> (Vec<f32>, Vec<f32>) {
    let row = |i: usize| &lower[unplaned(i) * HIDDEN..][..HIDDEN];
    let dot = |row: &[f32], column: &dyn Fn(usize) -> f32| {
        let products = row.iter().enumerate();
        let sum: f64 = products
            .map(|(k, v)| f64::from(*v) * f64::from(column(k)))
            .sum();
        sum as f32
    };
    let w = (0..3 * STATE)
        .flat_map(|i| (0..WIDTH).map(move |c| dot(row(i), &|k| projection[k * WIDTH + c])))
        .collect();
    let b = (0..3 * STATE).map(|i| dot(row(i), &|k| bias[k])).collect();
    (w, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_of_equal_actions_wins_without_a_lead() {
        let scores = |i: usize| [0.0, 2.0, 2.0, 1.0][i.min(3)];
        assert_eq!(best(0, scores), (1, 0.0));
        assert_eq!(best(2, scores), (2, 1.0));
        assert_eq!(best_of(0, |i| scores(i).into()), 1);
    }
}
