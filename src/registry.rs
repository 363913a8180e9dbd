//! All steps of all stages, in data order: the one place where the program knows which stages there
//! are.

use laioncele_core::Step;

/// Every step, each after those whose tables it reads.
pub(crate) fn steps() -> Vec<Box<dyn Step>> {
    [
        laioncele_extract_names::steps(),
        laioncele_merge_names::steps(),
        laioncele_encode_names::steps(),
        laioncele_generate_portraits::steps(),
        laioncele_verify_portraits::steps(),
        laioncele_download_images::steps(),
        laioncele_dedupe_images::steps(),
        laioncele_verify_images::steps(),
        laioncele_filter_counts::steps(),
        laioncele_pack_shards::steps(),
        laioncele_train_encoder::steps(),
        laioncele_generate_samples::steps(),
        laioncele_evaluate::steps(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
