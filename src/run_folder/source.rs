//! Whether two manifests read one source: the same files or folders, or files that the run has
//! read.

use std::collections::HashSet;

use laioncele_core::{Digest, Manifest, Part, TableId};

use super::source_paths;
use crate::plan::Records;

/// The step that reads the source.
const READER: &str = "extract-names";

/// Whether some entry of `[source] path` is the same in both.
fn share_a_path(a: &Manifest, b: &Manifest) -> bool {
    let those = source_paths(b);
    source_paths(a).iter().any(|path| those.contains(path))
}

/// Whether the run whose ledger holds `records` has read one of `shards`, by their bytes.
fn same_files(records: &Records, shards: &[Part]) -> bool {
    let read = records.all().filter(|record| record.step == READER);
    let read = read.flat_map(|record| &record.inputs);
    let captions = read.filter(|part| part.table == TableId::Captions);
    let read: HashSet<Digest> = captions.map(|part| part.digest).collect();
    read.is_empty() || shards.iter().any(|shard| read.contains(&shard.digest))
}

/// Whether `now` reads another source than the run was run with: neither an entry of the source nor
/// the bytes of a file are the same. `before` is the recorded manifest, if there is one that can be
/// read.
pub(crate) fn other_source(
    before: Option<&Manifest>,
    now: &Manifest,
    records: &Records,
    shards: &[Part],
) -> bool {
    !before.is_some_and(|before| share_a_path(before, now)) && !same_files(records, shards)
}
