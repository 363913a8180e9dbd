//! `encoder/` in the run's folder: the encoder as `laioncele-encoder` loads it, and how its training
//! went: the loss curve as a table, a picture and TensorBoard's events, and what the validation
//! people say.

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, TableId};

/// The published files, as their parts' names end.
const FILES: [&str; 6] = [
    "encoder.json",
    "encoder.safetensors",
    "loss.csv",
    "loss.svg",
    "loss.tfevents",
    "training.json",
];

/// Copies the committed files; touches nothing where they are there already.
pub(crate) fn publish(store: &Store, records: &[Record]) -> Result<(), CoreError> {
    for part in records.iter().flat_map(|r| r.outputs_of(TableId::Encoder)) {
        let named = |name: &&str| part.path.ends_with(&format!(".{name}"));
        if let Some(name) = FILES.into_iter().find(named) {
            store.put_changed(&format!("encoder/{name}"), store.get(&part.path)?)?;
        }
    }
    Ok(())
}
