//! The same folders read by rust-bert, whose tch links libtorch.

use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use laioncele_ner::{EngineError, FindPersons};
use rust_bert::pipelines::common::{ModelResource, ModelType};
use rust_bert::pipelines::ner::{Entity, NERModel};
use rust_bert::pipelines::token_classification::{
    LabelAggregationOption, TokenClassificationConfig,
};
use rust_bert::resources::LocalResource;
use tch::Device;

use crate::{Error, Result, group, is_person, tokens};

/// A token classifier run by rust-bert on the processor. A word takes the label of its first piece, and a long text is
/// read in windows: spans may differ from [`crate::BertNer`]'s.
pub struct RustBertNer {
    /// Tensors of tch may move between threads, but not be shared.
    model: Mutex<NERModel>,
}

impl RustBertNer {
    /// Loads `config.json`, `vocab.txt` and `model.safetensors` of `folder`.
    ///
    /// # Errors
    /// As [`crate::BertNer::load`], or what rust-bert says of the files.
    pub fn load(folder: &Path) -> Result<Self> {
        crate::read_config(folder)?;
        let (_, choices) = tokens::Choices::read(folder)?;
        let file = |name: &str| {
            let path = folder.join(name);
            match path.metadata() {
                Ok(_) => Ok(LocalResource::from(path)),
                Err(source) => Err(Error::Io { path, source }),
            }
        };
        let mut config = TokenClassificationConfig::new(
            ModelType::Bert,
            ModelResource::Torch(Box::new(file("model.safetensors")?)),
            file("config.json")?,
            file("vocab.txt")?,
            None,
            choices.do_lower_case,
            choices.strip_accents,
            None,
            LabelAggregationOption::First,
        );
        config.device = Device::Cpu;
        let model = NERModel::new(config).map_err(|e| Error::Tokenizer {
            path: folder.to_owned(),
            reason: format!("rust-bert: {e}"),
        })?;
        Ok(Self {
            model: Mutex::new(model),
        })
    }
}

impl FindPersons for RustBertNer {
    fn persons(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<Range<usize>>>, EngineError> {
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        // One text at a time, so that padding changes nothing.
        let entities = |text: &&str| model.predict_full_entities(&[text]).pop();
        let found = texts
            .iter()
            .map(|text| (*text, entities(text).unwrap_or_default()));
        Ok(found
            .map(|(text, entities)| spans(text, &entities))
            .collect())
    }
}

/// The bytes of the persons; rust-bert counts code points.
fn spans(text: &str, entities: &[Entity]) -> Vec<Range<usize>> {
    let starts = text.char_indices().map(|(byte, _)| byte);
    let starts: Vec<usize> = starts.chain([text.len()]).collect();
    let byte = |code_point: u32| starts[(code_point as usize).min(starts.len() - 1)];
    let persons = entities.iter().filter(|e| is_person(&e.label));
    let ranges = persons.map(|e| byte(e.offset.begin)..byte(e.offset.end));
    group::disjoint(ranges.filter(|range| !range.is_empty()))
}
