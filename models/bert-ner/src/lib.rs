//! Hugging Face BERT token classifiers (`BertForTokenClassification`) as finders of persons, equal
//! to transformers' `pipeline("token-classification", aggregation_strategy="simple")`: the same
//! tokens, logits and spans.
//!
//! ```
//! # fn main() -> laioncele_bert_ner::Result<()> {
//! // A folder such as bert-base-NER's; here a tiny one of the tests.
//! let ner = laioncele_bert_ner::BertNer::load("tests/fixtures/cased".as_ref())?;
//! let caption = "Mira Castellan at the premiere in Paris";
//! for entity in ner.entities(caption)? {
//!     println!("{} {}", entity.group, &caption[entity.start..entity.end]);
//! }
//! // [CLS], the word pieces, [SEP].
//! let logits = ner.logits(caption)?;
//! assert!(logits.ids.len() > 2);
//! assert_eq!(logits.values.len() % logits.ids.len(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! A folder holds `config.json`, `tokenizer.json` or `vocab.txt`, perhaps `tokenizer_config.json`,
//! and `model.safetensors`. What it asks for and is not implemented is an error that names file,
//! key and value.

mod config;
mod group;
mod network;
mod tokens;
#[cfg(feature = "rust-bert")]
mod torch;

use std::ops::Range;
use std::path::{Path, PathBuf};

use laioncele_ner::{EngineError, FindPersons};
use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, Weights};
use rayon::prelude::*;
use tokenizers::{Encoding, Tokenizer};

pub use laioncele_nn::{Error, Result};

use config::Config;
use group::{Label, LabelledToken};
use network::{Network, TokenNetwork};

/// The network's configuration.
const CONFIG: &str = "config.json";

/// The groups that stand for a person.
pub const PERSON: [&str; 2] = ["PER", "PERSON"];

/// A named entity: bytes `start..end` of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What it is: its label without `B-` or `I-`.
    pub group: &'a str,
}

/// What the head says of a text's tokens, `[CLS]` and `[SEP]` among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// The tokens' ids, at most as many as the model has positions.
    pub ids: Vec<u32>,
    /// [tokens × labels].
    pub values: Vec<f32>,
}

/// A loaded token classifier, on the processor in float32.
pub struct BertNer {
    folder: PathBuf,
    tokenizer: Tokenizer,
    network: Box<dyn TokenNetwork>,
    labels: Vec<Label>,
}

impl BertNer {
    /// Loads a model folder.
    ///
    /// # Errors
    /// Missing or damaged files, another architecture, labels none of which is a person's
    /// ([`PERSON`]).
    pub fn load(folder: &Path) -> Result<Self> {
        Self::with(folder, |_, config, labels| {
            Network::load(folder, config, labels, &LoadOptions::default())
        })
    }

    /// The files that [`BertNer::load`] reads, whoever runs the network.
    ///
    /// # Errors
    /// A folder without weights, an index that cannot be read.
    pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
        let variant = LoadOptions::default().variant;
        let mut files = Weights::files_read(folder, network::WEIGHTS, variant)?;
        files.push(folder.join(CONFIG));
        files.extend(tokens::files_read(folder));
        Ok(files)
    }

    /// Loads a model folder whose network rust-bert is to run, with libtorch. Tokens and spans are
    /// made alike.
    ///
    /// # Errors
    /// As [`BertNer::load`], and a `layer_norm_eps` that is not rust-bert's 1e-12.
    #[cfg(feature = "rust-bert")]
    pub fn load_rust_bert(folder: &Path) -> Result<Self> {
        Self::with(folder, |json, config, labels| {
            torch::RustBert::load(folder, json, config, labels)
        })
    }

    /// The folder with the network that `load` makes of `config.json` and the number of labels.
    fn with<N: TokenNetwork + 'static>(
        folder: &Path,
        load: impl FnOnce(&JsonFile, &Config, usize) -> Result<N>,
    ) -> Result<Self> {
        let json = JsonFile::read(&folder.join(CONFIG))?;
        let (config, labels) = read_config(&json)?;
        Ok(Self {
            folder: folder.to_owned(),
            tokenizer: tokens::load(folder, &config)?,
            network: Box::new(load(&json, &config, labels.len())?),
            labels,
        })
    }

    /// The token ids of a text and the head's logits. What lies beyond the model's positions is cut
    /// off.
    ///
    /// # Errors
    /// Numbers that overflow in the network: weights that cannot be meant.
    pub fn logits(&self, text: &str) -> Result<Logits> {
        self.read(text).map(|(_, logits)| logits)
    }

    /// The entities of a text in order, those of the group `O` left out.
    ///
    /// # Errors
    /// As [`BertNer::logits`].
    pub fn entities(&self, text: &str) -> Result<Vec<Entity<'_>>> {
        let (encoding, logits) = self.read(text)?;
        let special = encoding.get_special_tokens_mask();
        let offsets = encoding.get_offsets().iter().zip(special);
        let labels = logits.values.chunks_exact(self.labels.len()).map(largest);
        let tokens = offsets
            .zip(labels)
            .filter(|((_, special), _)| **special == 0);
        let token = |((offsets, _), label): ((&(usize, usize), _), usize)| LabelledToken {
            start: offsets.0,
            end: offsets.1,
            label: &self.labels[label],
        };
        Ok(group::entities(tokens.map(token)))
    }

    fn read(&self, text: &str) -> Result<(Encoding, Logits)> {
        let encoding = self.tokenizer.encode(text, true);
        let encoding = encoding.map_err(|e| tokens::error(&self.folder, e))?;
        let ids = encoding.get_ids().to_vec();
        let values = self.network.logits(&ids)?;
        if !values.iter().all(|value| value.is_finite()) {
            let what = format!("{}: the logits of a caption", self.folder.display());
            return Err(Error::NotFiniteResult { what });
        }
        Ok((encoding, Logits { ids, values }))
    }
}

impl FindPersons for BertNer {
    fn persons(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<Range<usize>>>, EngineError> {
        // One text at a time: padded batches would add other numbers in the attention's sums.
        let found = texts.par_iter().map(|text| {
            let entities = self.entities(text)?;
            let persons = entities.iter().filter(|e| is_person(e.group));
            Ok(group::disjoint(persons.map(|e| e.start..e.end)))
        });
        Ok(found.collect::<Result<_>>()?)
    }
}

/// The configuration and the head's labels, one of which at least is a person's.
fn read_config(json: &JsonFile) -> Result<(Config, Vec<Label>)> {
    let config = Config::read(json)?;
    let labels = config.labels(json)?;
    if !labels.iter().any(|label| is_person(&label.group)) {
        let words: Vec<&str> = labels.iter().map(|label| label.word.as_str()).collect();
        let expected = "a label PER or PERSON, with or without B- and I-";
        return Err(json.unsupported("id2label", words.join(", "), expected));
    }
    Ok((config, labels))
}

fn is_person(group: &str) -> bool {
    PERSON.contains(&group)
}

/// The index of the largest value, the first of equals.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}
