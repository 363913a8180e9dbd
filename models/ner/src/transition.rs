//! The greedy transition system: one action per token, entities opened and closed (BILUO).
//!
//! A state's hidden layer is a sum of three products, each of a token's vector with a matrix of its
//! own: of the next token, of the open entity's first token, of the token before. The last two are
//! made only when an entity is open.

use pulp::Simd;

use crate::layer::{Row, larger};
use crate::matmul::{LANES, Line, Loops, Packed, product, vectorized};
use crate::package::{ACTIONS, HIDDEN, LABELS, WIDTH, Weights};

/// Both pieces of a parser state's hidden layer: the two of the first sixteen numbers, of the next
/// sixteen, and so on.
const STATE: usize = 2 * HIDDEN;
/// The two pieces of sixteen numbers.
type Pieces = [Line; 2];
/// A state's panels of them.
const PANELS: usize = HIDDEN / LANES;
/// Actions that are possible while no entity is open: begin and unit of each label, out.
const CLOSED: usize = 2 * LABELS + 1;
/// Decisions closer than this are taken again in double precision. No lead of the shipped weights
/// that was found strays by more than a fourth of it from that in double precision: `margin.rs`
/// looks for the farthest (1.1e-4 in recorded captions, 1.7e-4 after long climbs from them).
pub(crate) const MARGIN: f32 = 1e-3;

/// The parser of one package.
pub(crate) struct Parser {
    /// Projection and lower layer in one, cut by feature: [96 × 128] for the next token, the first,
    /// the one before.
    next: Packed<WIDTH, 2>,
    first: Packed<WIDTH, { 2 * PANELS }>,
    before: Packed<WIDTH, { 2 * PANELS }>,
    /// What is added to the sum of a state's products, with and without an open entity: `[128]`.
    open_bias: [Pieces; PANELS],
    closed_bias: [Pieces; PANELS],
    /// [64 × 37]: begin, unit, out.
    closed_w: Packed<HIDDEN, 3>,
    closed_b: Vec<f32>,
    /// [74 × 64]
    upper_w: Vec<f32>,
    upper_b: Vec<f32>,
}

/// A thread's memory.
#[derive(Default)]
pub(crate) struct ParserScratch {
    /// The products for the next token: [4 × rows].
    next: Vec<Pieces>,
    hidden: Vec<[f32; HIDDEN]>,
    /// Scores of the closed actions without their biases, 37 of each row's 48 numbers.
    closed: Vec<[Line; 3]>,
}

/// A token as the transition system sees it.
pub(crate) struct Input<'a> {
    /// Its number in the text.
    pub(crate) at: usize,
    /// Its number in the block that was prepared.
    pub(crate) row: usize,
    /// Its encoded vector.
    pub(crate) vector: &'a Row,
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
    /// The product for its first token: `[128]`.
    first: [Pieces; PANELS],
    /// The vector of the last token so far.
    before: Row,
}

/// The scores of all actions for token `at` with the entity that starts at `start` open, in double
/// precision.
pub(crate) type Scores<'a> = dyn Fn(usize, Option<usize>) -> [f64; ACTIONS] + 'a;

impl Parser {
    pub(crate) fn new(weights: &Weights) -> Self {
        let [lower_w, lower_b, pad] = &weights.lower;
        let [upper_w, upper_b] = weights.upper.clone();
        let (w, b) = fold(lower_w, &weights.projection);
        let part = |feature: usize| {
            let rows = &w[feature * STATE * WIDTH..];
            move |k: usize, i: usize| rows[i * WIDTH + k]
        };
        let bias = |others: &dyn Fn(usize) -> f32| {
            panels(|i| lower_b[place(i)] + b[i] + others(STATE + i) + others(2 * STATE + i))
        };
        let closed: Vec<usize> = closed_actions().collect();
        Self {
            next: Packed::new(STATE, part(0)),
            first: Packed::new(STATE, part(1)),
            before: Packed::new(STATE, part(2)),
            open_bias: bias(&|i| b[i]),
            closed_bias: bias(&|i| pad[place(i)]),
            closed_w: Packed::new(CLOSED, |k, i| upper_w[closed[i] * HIDDEN + k]),
            closed_b: closed.iter().map(|i| upper_b[*i]).collect(),
            upper_w,
            upper_b,
        }
    }

    /// Scores the closed actions for all encoded rows of a block.
    pub(crate) fn prepare(&self, encoded: &[Row], scratch: &mut ParserScratch) {
        let ParserScratch {
            next,
            hidden,
            closed,
        } = scratch;
        next.resize(PANELS * encoded.len(), Default::default());
        hidden.resize(encoded.len(), [0.0; HIDDEN]);
        closed.resize(encoded.len(), Default::default());
        vectorized(Prepare {
            parser: self,
            encoded,
            next,
            hidden,
            closed,
        });
    }

    /// Takes the best possible action for a token; the lower number wins a tie. Returns the entity
    /// that it closes.
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
                open.before = *input.vector;
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
        Open {
            start: input.at,
            label,
            first: vectorized(Product(input.vector, &self.first)),
            before: *input.vector,
        }
    }

    /// The best of the closed actions by its number among them.
    fn best_closed(&self, input: &Input, scratch: &ParserScratch, exact: &Scores) -> usize {
        if input.is_space {
            return CLOSED - 1;
        }
        // An entity cannot begin with the last token.
        let least = if input.is_last { LABELS } else { 0 };
        let (best, lead) = best(least, self.closed_scores(input.row, scratch));
        if lead >= MARGIN {
            return best;
        }
        let scores = exact(input.at, None);
        let actions: Vec<usize> = closed_actions().collect();
        best_of(least, |i| scores[actions[i]])
    }

    /// The scores of the closed actions for a row that was prepared.
    pub(crate) fn closed_scores<'a>(
        &'a self,
        row: usize,
        scratch: &'a ParserScratch,
    ) -> impl Fn(usize) -> f32 + 'a {
        let scores = scratch.closed[row].as_flattened();
        move |i| scores[i] + self.closed_b[i]
    }

    /// Whether the open entity goes on behind this token rather than ends with it.
    fn goes_on(&self, open: &Open, input: &Input, scratch: &ParserScratch, exact: &Scores) -> bool {
        let hidden = self.open_hidden(open, input.row, scratch);
        let (goes_on, ends) = (LABELS + open.label, 2 * LABELS + open.label);
        let lead = self.score(&hidden, goes_on) - self.score(&hidden, ends);
        if lead.abs() >= MARGIN {
            return lead > 0.0;
        }
        let scores = exact(input.at, Some(open.start));
        scores[goes_on] >= scores[ends]
    }

    /// The hidden layer for a row that was prepared, with an entity open.
    fn open_hidden(&self, open: &Open, row: usize, scratch: &ParserScratch) -> [f32; HIDDEN] {
        let before = vectorized(Product(&open.before, &self.before));
        let rows = scratch.hidden.len();
        std::array::from_fn(|o| {
            let (panel, lane) = (o / LANES, o % LANES);
            let next = &scratch.next[panel * rows + row];
            let sum = |piece: usize| {
                let own = open.first[panel][piece][lane] + before[panel][piece][lane];
                own + next[piece][lane] + self.open_bias[panel][piece][lane]
            };
            larger(sum(0), sum(1))
        })
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

/// What [`Parser::prepare`] does.
struct Prepare<'a> {
    parser: &'a Parser,
    encoded: &'a [Row],
    next: &'a mut [Pieces],
    hidden: &'a mut [[f32; HIDDEN]],
    closed: &'a mut [[Line; 3]],
}

impl Loops for Prepare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = self.encoded.len();
        for (panel, weights) in self.parser.next.panels().iter().enumerate() {
            let next = &mut self.next[panel * rows..][..rows];
            product(simd, self.encoded, weights, next);
            let bias = &self.parser.closed_bias[panel];
            for (next, hidden) in next.iter().zip(&mut *self.hidden) {
                let hidden = &mut hidden[panel * LANES..][..LANES];
                for (lane, hidden) in hidden.iter_mut().enumerate() {
                    *hidden = larger(next[0][lane] + bias[0][lane], next[1][lane] + bias[1][lane]);
                }
            }
        }
        for weights in self.parser.closed_w.panels() {
            product(simd, self.hidden, weights, self.closed);
        }
    }
}

/// A vector's product with a matrix [96 × 128].
struct Product<'a>(&'a Row, &'a Packed<WIDTH, { 2 * PANELS }>);

impl Loops for Product<'_> {
    type Output = [Pieces; PANELS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let mut out = [[[0.0; LANES]; 2 * PANELS]];
        for weights in self.1.panels() {
            product(simd, std::slice::from_ref(self.0), weights, &mut out);
        }
        std::array::from_fn(|panel| [out[0][2 * panel], out[0][2 * panel + 1]])
    }
}

/// A state of `value(i)`.
fn panels(value: impl Fn(usize) -> f32) -> [Pieces; PANELS] {
    let line = |first: usize| std::array::from_fn(|lane| value(first + lane));
    std::array::from_fn(|panel| [0, 1].map(|piece| line((2 * panel + piece) * LANES)))
}

/// Where number `i` of the states of all features lies in [… × 64 × 2].
fn place(i: usize) -> usize {
    let (panel, piece, lane) = (i / (2 * LANES), i / LANES % 2, i % LANES);
    (panel * LANES + lane) * 2 + piece
}

/// The lower layer after the projection as one layer: [3 × 128 × 96] and bias [3 × 128].
fn fold(lower: &[f32], [projection, bias]: &[Vec<f32>; 2]) -> (Vec<f32>, Vec<f32>) {
    let row = |i: usize| &lower[place(i) * HIDDEN..][..HIDDEN];
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
mod margin;

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
