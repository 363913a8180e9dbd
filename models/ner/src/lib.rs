//! Named entity recognition as spaCy's `en_core_web_sm` does it, natively: the same tokens and
//! entities from the same weights, without spaCy, many times as fast.
//!
//! ```
//! # fn main() -> Result<(), laioncele_ner::NerError> {
//! # let folder = "../../manifests/mini/ner/en_core_web_sm";
//! let ner = laioncele_ner::Ner::load(folder.as_ref())?;
//! let caption = "Barack Obama at the premiere in Paris";
//! let entities = &ner.entities(&[caption])[0];
//! let found = entities.iter().map(|e| (e.label.to_string(), &caption[e.start..e.end]));
//! assert!(found.eq([
//!     ("PERSON".to_owned(), "Barack Obama"),
//!     ("GPE".to_owned(), "Paris"),
//! ]));
//! # Ok(())
//! # }
//! ```
//!
//! What runs is the package's `ner` component alone (`spacy.load(…, enable=["ner"])`). Offsets are
//! bytes and always on character boundaries; [`code_points`] turns them into spaCy's.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod affix;
mod chars;
mod encoder;
mod error;
mod exact;
mod hash;
mod layer;
mod lexeme;
mod matmul;
mod network;
mod package;
mod tokenizer;
mod transition;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

pub use encoder::CacheUse;
pub use error::NerError;
pub use package::{FILES, Label, SUMS};

use network::{Network, Scratch};
use tokenizer::{Tokenizer, Words};

/// A named entity: bytes `start..end` of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entity {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What it is.
    pub label: Label,
}

/// A token: bytes `start..end` of the text, in order and disjoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Why an engine gave up on texts: a defect of its weights, never of a text.
pub type EngineError = Box<dyn std::error::Error + Send + Sync>;

/// Finds the names of persons in texts: what a caption reader needs of an NER engine.
pub trait FindPersons: Send + Sync {
    /// The spans of persons in each text, as byte ranges on character boundaries, in order,
    /// disjoint and none empty. Called from any thread; splitting `texts` otherwise changes
    /// nothing.
    ///
    /// # Errors
    /// What the engine cannot compute, whatever the texts.
    fn persons(&self, texts: &[&str]) -> Result<Vec<Vec<Range<usize>>>, EngineError>;
}

/// A loaded package. Cheap to share between threads; each thread that calls in works with caches of
/// its own.
pub struct Ner {
    tokenizer: Tokenizer,
    network: Network,
    sessions: Mutex<Vec<Session>>,
}

/// What a thread keeps between calls. All of it is bounded, and none of it changes a result.
#[derive(Default)]
struct Session {
    words: Words,
    scratch: Scratch,
}

/// Texts whose tokens go through the network together at most this many at a time.
const BATCH: usize = 256;
/// Bytes of texts in one such batch, so that long texts do not pile up.
const BATCH_BYTES: usize = 64 << 10;

impl Ner {
    /// The files that [`Ner::load`] reads.
    pub fn files_read(folder: &Path) -> Vec<PathBuf> {
        package::files_read(folder)
    }

    /// Loads the package's files ([`FILES`]) from `folder`.
    ///
    /// # Errors
    /// [`NerError`] with file, digest and what differs: missing or damaged files, another
    /// architecture.
    pub fn load(folder: &Path) -> Result<Self, NerError> {
        let package = package::Package::read(folder)?;
        let tokenizer = Tokenizer::new(package.exceptions, package.norms);
        let network = Network::new(package.weights, package.actions);
        Ok(Self {
            tokenizer,
            network,
            sessions: Mutex::default(),
        })
    }

    /// The entities of each text, on this thread.
    pub fn entities(&self, texts: &[&str]) -> Vec<Vec<Entity>> {
        let mut session = self.session();
        let mut found = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_length(rest));
            self.entities_of_batch(&mut session, batch, &mut found);
            rest = after;
        }
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
        found
    }

    /// The entities of each text, on all threads of the current rayon pool, in the texts' order.
    pub fn entities_parallel(&self, texts: &[&str]) -> Vec<Vec<Entity>> {
        texts
            .par_chunks(BATCH)
            .flat_map_iter(|chunk| self.entities(chunk))
            .collect()
    }

    /// The tokens of a text.
    pub fn tokens(&self, text: &str) -> Vec<Token> {
        let mut session = self.session();
        let tokens = self.tokenizer.tokens(text, &mut session.words);
        let spans = tokens
            .iter()
            .map(|t| Token {
                start: t.start,
                end: t.end(),
            })
            .collect();
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(session);
        spans
    }

    /// What the caches of word forms were good for so far: the sum over all threads that are not at
    /// work just now.
    pub fn cache_use(&self) -> CacheUse {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .iter()
            .map(|session| session.scratch.cache_use())
            .sum()
    }

    fn session(&self) -> Session {
        let idle = self
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.unwrap_or_default()
    }

    fn entities_of_batch(
        &self,
        session: &mut Session,
        texts: &[&str],
        found: &mut Vec<Vec<Entity>>,
    ) {
        let Session { words, scratch } = session;
        let documents: Vec<_> = texts
            .iter()
            .map(|text| self.tokenizer.tokens(text, words))
            .collect();
        let first = found.len();
        found.resize(first + texts.len(), Vec::new());
        self.network
            .entities(&documents, scratch, &mut found[first..]);
    }
}

impl FindPersons for Ner {
    fn persons(&self, texts: &[&str]) -> Result<Vec<Vec<Range<usize>>>, EngineError> {
        let spans = |entities: Vec<Entity>| {
            entities
                .into_iter()
                .filter(|e| e.label == Label::Person)
                .map(|e| e.start..e.end)
                .collect()
        };
        let found = self.entities_parallel(texts).into_iter();
        Ok(found.map(spans).collect())
    }
}

/// How many of `texts` make the next batch.
fn batch_length(texts: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |text: &&&str| {
        bytes += text.len();
        bytes <= BATCH_BYTES
    };
    texts.iter().take(BATCH).take_while(fits).count().max(1)
}

/// Byte offsets of `text` as code-point offsets, spaCy's unit. `offsets` must be sorted and on
/// character boundaries.
pub fn code_points(text: &str, offsets: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let (mut at, mut count) = (0, 0);
    let step = |offset: usize| {
        count += text[at..offset].chars().count();
        at = offset;
        count
    };
    offsets.into_iter().map(step).collect()
}
