//! The greedy transition system: one action per token, entities opened and closed (BILUO).

use crate::package::{ACTIONS, HIDDEN, LABELS};

/// Both pieces of a parser state's hidden layer: 64 numbers of the first, then 64 of the second.
pub(crate) const STATE: usize = 2 * HIDDEN;
/// Actions that are possible while no entity is open: begin and unit of each label, out.
pub(crate) const CLOSED: usize = 2 * LABELS + 1;

/// The output layer, cut by what is possible.
pub(crate) struct Upper {
    w: Vec<f32>,
    b: Vec<f32>,
    /// [37 × 64]: begin, unit, out.
    pub(crate) closed_w: Vec<f32>,
    closed_b: Vec<f32>,
    /// Added to a state's features, both pieces.
    pub(crate) state_bias: Vec<f32>,
}

/// A token as the transition system sees it.
pub(crate) struct Input<'a> {
    /// What the token adds to a state as its next token, as an open entity's start, as the token before: [3 × 128].
    pub(crate) features: &'a [f32],
    /// Scores of the closed actions without their biases: [37].
    pub(crate) closed: &'a [f32],
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
pub(crate) struct State {
    open: Option<(usize, usize)>,
    first: [f32; STATE],
    previous: [f32; STATE],
}

impl Default for State {
    fn default() -> Self {
        Self {
            open: None,
            first: [0.0; STATE],
            previous: [0.0; STATE],
        }
    }
}

impl State {
    /// Takes the best possible action for token `at`; the lower number wins a tie. Returns the entity that it closes.
    pub(crate) fn step(&mut self, upper: &Upper, at: usize, input: &Input) -> Option<Span> {
        let closed = match self.open {
            Some((start, label)) => {
                let stays = !input.is_last && upper.prefers_in(&self.hidden(upper, input), label);
                (!stays).then_some(Span {
                    start,
                    end: at + 1,
                    label,
                })
            }
            None => self.step_closed(upper, at, input),
        };
        if closed.is_some() {
            self.open = None;
        }
        self.previous.copy_from_slice(&input.features[2 * STATE..]);
        closed
    }

    fn step_closed(&mut self, upper: &Upper, at: usize, input: &Input) -> Option<Span> {
        if input.is_space {
            return None;
        }
        let first = if input.is_last { LABELS } else { 0 };
        let score = |i: usize| input.closed[i] + upper.closed_b[i];
        let mut best = first;
        for i in first + 1..CLOSED {
            if score(i) > score(best) {
                best = i;
            }
        }
        match best {
            label if label < LABELS => {
                self.open = Some((at, label));
                self.first
                    .copy_from_slice(&input.features[STATE..2 * STATE]);
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

    /// The hidden layer with an entity open.
    fn hidden(&self, upper: &Upper, input: &Input) -> [f32; HIDDEN] {
        let sum =
            |i: usize| input.features[i] + self.first[i] + self.previous[i] + upper.state_bias[i];
        std::array::from_fn(|o| sum(o).max(sum(HIDDEN + o)))
    }
}

impl Upper {
    /// From W [74 × 64], b [74] and the state's bias [128].
    pub(crate) fn new(w: Vec<f32>, b: Vec<f32>, state_bias: Vec<f32>) -> Self {
        let closed = (0..LABELS)
            .chain(3 * LABELS..4 * LABELS)
            .chain([ACTIONS - 1]);
        let row = |i: usize| w[i * HIDDEN..][..HIDDEN].to_vec();
        let (closed_w, closed_b) = (
            closed.clone().flat_map(row).collect(),
            closed.map(|i| b[i]).collect(),
        );
        Self {
            w,
            b,
            closed_w,
            closed_b,
            state_bias,
        }
    }

    fn score(&self, hidden: &[f32; HIDDEN], action: usize) -> f32 {
        let row = &self.w[action * HIDDEN..][..HIDDEN];
        row.iter().zip(hidden).map(|(w, h)| w * h).sum::<f32>() + self.b[action]
    }

    /// Whether the open entity goes on behind this token rather than ends with it.
    fn prefers_in(&self, hidden: &[f32; HIDDEN], label: usize) -> bool {
        self.score(hidden, LABELS + label) >= self.score(hidden, 2 * LABELS + label)
    }
}
