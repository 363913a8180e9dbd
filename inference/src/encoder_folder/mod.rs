//! `encoder/`: the trained encoder as a folder that stands alone, with all that somebody needs who has
//! neither the run nor this program. The weights are train-encoder's; here is what stands beside them.
//! Written when train-encoder publishes, from its records; deleted by nobody; after a crash the next
//! run writes it again.

mod inference_file;
mod readme;

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, Manifest, Part, PartList, TableId};

pub use inference_file::{ImageEncoderFacts, InferenceFile};
pub use readme::{Facts, readme};

/// The folder in the store.
pub const FOLDER: &str = "encoder";
/// The mean name as pack-shards publishes it, and its name in any of the folders.
const MEAN: &str = "laioncele/name_mean.safetensors";
/// The mean name's file name.
pub const MEAN_FILE: &str = "name_mean.safetensors";
/// What else is needed to draw with it.
pub const INFERENCE_FILE: &str = "inference.json";
/// How names are spread: written by `laioncele encoder export` only, which reads every name for it.
pub const SPREAD_FILE: &str = "name_spread.safetensors";
/// The script that uses the folder with diffusers.
pub const SCRIPT_FILE: &str = "use-encoder.py";
const SCRIPT: &str = include_str!("../../../tools/use-encoder.py");

/// What `LICENSE.md` says.
const LICENCE: &str = "\
# Whose this is

These weights were computed from features of photos that belong to other people and show real ones, and from name embeddings of
SDXL's text encoders. Nobody can give a licence for those photos here. Where the law lets weights be passed on, the licences of
the models that README.md lists hold for what was computed with them; several of those allow research only.

The person in a photo that you give to this encoder has rights too: draw people only as they would let you.
";

/// Puts beside the published weights of `records` (train-encoder's own) the mean name, the script, a
/// README and what is to be said of licences. Files that are the same already are not touched.
///
/// # Errors
/// Store errors; damaged lists of parts.
pub fn complete(store: &Store, manifest: &Manifest, records: &[Record]) -> Result<(), CoreError> {
    let Some(record) = records
        .iter()
        .find(|r| r.outputs_of(TableId::Encoder).next().is_some())
    else {
        return Ok(());
    };
    match store.get(MEAN) {
        Ok(mean) => store
            .put_changed(&format!("{FOLDER}/{MEAN_FILE}"), mean)
            .map(drop)?,
        Err(CoreError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    let facts = Facts {
        metrics: record.metrics.clone(),
        settings: (*record.key_parts.settings).clone(),
        models: models(store, record)?,
    };
    let inference = InferenceFile::of_run(manifest, &facts.models)?;
    let text = serde_json::to_string_pretty(&inference)
        .map_err(|error| CoreError::parquet(INFERENCE_FILE, error))?;
    let put = |file: &str, text: String| store.put_changed(&format!("{FOLDER}/{file}"), text);
    put(INFERENCE_FILE, text + "\n")?;
    put("README.md", readme(manifest, &facts))?;
    put("LICENSE.md", LICENCE.to_owned())?;
    put(SCRIPT_FILE, SCRIPT.to_owned())?;
    Ok(())
}

/// The models by which the photos became what `record` read: of the records that wrote its inputs.
fn models(store: &Store, record: &Record) -> Result<BTreeMap<String, Digest>, CoreError> {
    let content = |part: &Part| (part.table, part.digest);
    let mut read: BTreeSet<(TableId, Digest)> = record.inputs.iter().map(content).collect();
    for list in &record.lists {
        let list = PartList::read(store, list)?;
        read.extend(list.parts().iter().map(content));
    }
    let mut models = (*record.key_parts.models).clone();
    for maker in Ledger::new(store.clone()).all()? {
        if maker
            .outputs
            .iter()
            .any(|part| read.contains(&content(part)))
        {
            models.extend((*maker.key_parts.models).clone());
        }
    }
    Ok(models)
}
