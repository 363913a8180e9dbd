//! The network over a batch of texts, in blocks of bounded size.
//!
//! Texts lie in one array of rows with four zero rows before, between and after them, as thinc lays
//! out a batch, so that no text's rows reach another's. The array is worked through in blocks; each
//! computes four more rows on both sides, as far as the layers see, so that memory stays flat
//! however long a text is.

use crate::Entity;
use crate::encoder::{CacheUse, Encoder, EncoderScratch, PAD};
use crate::exact;
use crate::lexeme::Features;
use crate::package::{Actions, Weights};
use crate::tokenizer::TokenAt;
use crate::transition::{Input, Parser, ParserScratch, State};

/// Rows of one block.
const BLOCK: usize = 1024;

/// The network of one package.
pub(crate) struct Network {
    encoder: Encoder,
    parser: Parser,
    weights: Weights,
    labels: Actions,
}

/// A thread's memory.
#[derive(Default)]
pub(crate) struct Scratch {
    encoder: EncoderScratch,
    parser: ParserScratch,
}

impl Scratch {
    /// What the encoder's cache was good for so far.
    pub(crate) fn cache_use(&self) -> CacheUse {
        self.encoder.cache_use()
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
        Self {
            encoder: Encoder::new(&weights),
            parser: Parser::new(&weights),
            weights,
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
            let features: Vec<_> = rows[start - PAD..end + PAD]
                .iter()
                .map(Row::features)
                .collect();
            let Scratch { encoder, parser } = scratch;
            let encoded = self
                .encoder
                .encode(&self.weights.embeddings, &features, encoder);
            self.parser.prepare(encoded, parser);
            for (row, (place, vector)) in rows[start..end].iter().zip(encoded).enumerate() {
                let Row::Token {
                    text,
                    at,
                    is_last,
                    token,
                } = *place
                else {
                    continue;
                };
                let input = Input {
                    at,
                    row,
                    vector,
                    is_space: token.is_space(),
                    is_last,
                };
                let tokens = &texts[text];
                let exact = |next, start| exact::scores(&self.weights, tokens, next, start);
                if let Some(span) = self.parser.step(&mut state, &input, parser, &exact) {
                    found[text].push(Entity {
                        start: tokens[span.start].start,
                        end: tokens[span.end - 1].end(),
                        label: self.labels[span.label],
                    });
                }
            }
        }
    }
}

impl<'t> Row<'t> {
    fn features(&self) -> Option<&'t Features> {
        match self {
            Row::Zero => None,
            Row::Token { token, .. } => Some(token.features()),
        }
    }
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
