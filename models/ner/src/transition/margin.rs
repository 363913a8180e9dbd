//! How far the leads of single precision stray from those of double precision, with every kernel of
//! this processor.

use proptest::prelude::*;
use rayon::prelude::*;

use super::*;
use crate::encoder::{Encoder, EncoderScratch, PAD};
use crate::exact::{self, Vector};
use crate::hash::murmur64a;
use crate::lexeme::Features;
use crate::matmul::tests::Kernel;
use crate::package::Package;
use crate::tokenizer::{TokenAt, Tokenizer, Words};

/// How many times as far a lead would have to stray before [`MARGIN`] does not cover it.
const SAFETY: f64 = 4.0;
/// Of all recorded captions, those whose leads stray farthest: 1.1e-4.
const FARTHEST: [&str; 4] = [
    "Play Manor Watch | Anette Persson | Herein Might Abstract Inaccessible",
    "Designer Ballpark Students FOOD fomenting Statistically Now",
    "Emmanuel Macron: case Kunming Here Mother",
    "JeffHerrington_MBMiami-cover-500",
];
/// Steps of a climb.
const STEPS: usize = 40;
/// Tokens of an open entity that are tried.
const REACH: usize = 3;

/// The shipped package, in both precisions.
struct Engine {
    tokenizer: Tokenizer,
    encoder: Encoder,
    parser: Parser,
    weights: Weights,
}

/// What both precisions score: a token of a text, with the entity that starts at `start` open.
struct Case<'a> {
    text: usize,
    at: usize,
    start: Option<usize>,
    vectors: &'a [Vector],
}

impl Engine {
    fn new() -> Self {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../manifests/mini/ner/en_core_web_sm");
        let package = Package::read(&folder).expect("the shipped package");
        Self {
            tokenizer: Tokenizer::new(package.exceptions, package.norms),
            encoder: Encoder::new(&package.weights),
            parser: Parser::new(&package.weights),
            weights: package.weights,
        }
    }

    fn tokens(&self, texts: &[&str]) -> Vec<Vec<TokenAt>> {
        let mut words = Words::default();
        let tokens = texts.iter().map(|t| self.tokenizer.tokens(t, &mut words));
        tokens.collect()
    }

    /// How far the farthest lead strays, whatever the kernel.
    fn farthest(&self, texts: &[Vec<TokenAt>]) -> f64 {
        let places = texts
            .iter()
            .flat_map(|t| (0..t.len()).map(move |at| (t, at)));
        let places: Vec<_> = places.collect();
        let encode =
            |(tokens, at): &(&Vec<TokenAt>, usize)| exact::encode(&self.weights, tokens, *at);
        let vectors: Vec<Vector> = places.par_iter().map(encode).collect();
        let cases = cases(texts, &vectors);
        let strays = Kernel::all()
            .into_iter()
            .map(|kernel| kernel.within(|| self.farthest_of(texts, &cases)));
        strays.fold(0.0, f64::max)
    }

    /// The same with the kernel of this thread.
    fn farthest_of(&self, texts: &[Vec<TokenAt>], cases: &[Case]) -> f64 {
        let (rows, firsts) = layout(texts);
        let input = |at, vector| Input {
            at,
            row: 0,
            vector,
            is_space: false,
            is_last: false,
        };
        let (mut encoder, mut parser) = (EncoderScratch::default(), ParserScratch::default());
        let encoded = self
            .encoder
            .encode(&self.weights.embeddings, &rows, &mut encoder);
        self.parser.prepare(encoded, &mut parser);
        let strays = cases.iter().map(|case| {
            let (row, exact) = (firsts[case.text] + case.at, case.exact(&self.weights));
            let stray = |action: usize, score: f32| f64::from(score) - exact[action];
            let Some(start) = case.start else {
                let score = self.parser.closed_scores(row, &parser);
                let strays = closed_actions()
                    .enumerate()
                    .map(|(i, action)| stray(action, score(i)));
                return spread(strays);
            };
            let vector = |at: usize| &encoded[firsts[case.text] + at];
            let mut open = self.parser.open(0, &input(start, vector(start)));
            open.before = *vector(case.at - 1);
            let hidden = self.parser.open_hidden(&open, row, &parser);
            let stray = |action| stray(action, self.parser.score(&hidden, action));
            let spreads =
                (0..LABELS).map(|l| spread([LABELS + l, 2 * LABELS + l].map(stray).into_iter()));
            spreads.fold(0.0, f64::max)
        });
        strays.fold(0.0, f64::max)
    }
}

impl Case<'_> {
    /// The scores of all actions in double precision.
    fn exact(&self, weights: &Weights) -> [f64; ACTIONS] {
        let before = self.start.map(|_| self.at - 1);
        let vector = |at: Option<usize>| at.map(|at| self.vectors[at]);
        exact::scores_of(weights, [Some(self.at), self.start, before].map(vector))
    }
}

/// Every token with no entity open, and with one that starts up to [`REACH`] tokens before.
/// `vectors` are all texts'.
fn cases<'a>(texts: &[Vec<TokenAt>], vectors: &'a [Vector]) -> Vec<Case<'a>> {
    let (mut cases, mut rest) = (Vec::new(), vectors);
    for (text, tokens) in texts.iter().enumerate() {
        let (vectors, after) = rest.split_at(tokens.len());
        rest = after;
        for at in 0..tokens.len() {
            let starts = (at.saturating_sub(REACH)..at).map(Some);
            cases.extend([None].into_iter().chain(starts).map(|start| Case {
                text,
                at,
                start,
                vectors,
            }));
        }
    }
    cases
}

/// How far a lead strays at most where scores stray so: the farthest two from each other.
fn spread(strays: impl Iterator<Item = f64> + Clone) -> f64 {
    strays.clone().fold(f64::MIN, f64::max) - strays.fold(f64::MAX, f64::min)
}

/// The rows of all texts with zero rows between them, and which encoded row is each text's first.
fn layout(texts: &[Vec<TokenAt>]) -> (Vec<Option<&Features>>, Vec<usize>) {
    let (mut rows, mut firsts) = (vec![None; PAD], Vec::new());
    for tokens in texts {
        firsts.push(rows.len() - PAD);
        rows.extend(tokens.iter().map(|token| Some(token.features())));
        rows.extend([None; PAD]);
    }
    (rows, firsts)
}

fn assert_covered(farthest: f64) {
    let most = f64::from(MARGIN) / SAFETY;
    assert!(
        farthest < most,
        "a lead is off by {farthest}: more than {most}"
    );
}

/// Some texts of one of the fixtures.
fn recorded(lines: &str, every: usize) -> Vec<String> {
    let lines = lines.split('\n').filter(|line| !line.is_empty());
    let text = |line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line");
        line["text"].as_str().expect("a text").to_owned()
    };
    lines.step_by(every).map(text).collect()
}

#[test]
fn leads_of_captions_stray_less_than_the_margin() {
    let mut texts = recorded(include_str!("../../tests/fixtures/golden.jsonl"), 40);
    texts.extend(recorded(
        include_str!("../../tests/fixtures/control_chars.jsonl"),
        10,
    ));
    let texts: Vec<&str> = texts.iter().map(String::as_str).chain(FARTHEST).collect();
    let engine = Engine::new();
    let farthest = engine.farthest(&engine.tokens(&texts));
    assert!(farthest > 0.0, "the two precisions are two");
    assert_covered(farthest);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn leads_of_any_text_stray_less_than_the_margin(texts in prop::collection::vec(any::<String>(), 1..6)) {
        thread_local!(static ENGINE: Engine = Engine::new());
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        ENGINE.with(|engine| assert_covered(engine.farthest(&engine.tokens(&texts))));
    }
}

/// Climbs from the recorded captions whose leads stray farthest to features, which need not be any
/// text's, whose leads stray farther: one of them is changed at a time, and stays so if that helps.
#[test]
fn leads_that_are_driven_apart_stray_less_than_the_margin() {
    let engine = Engine::new();
    let farthest = |text: &[Features]| {
        let tokens = text.iter().copied().map(TokenAt::seen_as);
        engine.farthest(&[tokens.collect()])
    };
    let mut random = (0_u64..).map(|n| murmur64a(&n.to_le_bytes()));
    let mut next = || random.next().unwrap_or_default();
    for tokens in engine.tokens(&FARTHEST) {
        let mut text: Vec<Features> = tokens.iter().map(|token| *token.features()).collect();
        let mut worst = farthest(&text);
        for _ in 0..STEPS {
            let mut other = text.clone();
            let token = next() as usize % text.len();
            other[token][next() as usize % 4] = next();
            let stray = farthest(&other);
            if stray > worst {
                (text, worst) = (other, stray);
            }
        }
        assert_covered(worst);
    }
}
