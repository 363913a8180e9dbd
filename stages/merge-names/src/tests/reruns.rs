//! What runs again after a change, by the keys of the tasks.

use std::collections::BTreeSet;

use laioncele_core::key::KeyParts;
use laioncele_core::part_list::content_of_parts;
use laioncele_core::{Digest, PartList, Scope};

use super::*;

/// The keys of a step's tasks, as the planner makes them.
fn keys(run: &Run, step: &dyn Step) -> Result<BTreeMap<Partition, Digest>, StageError> {
    let manifest = &run.harness.manifest;
    let mut parts = run.mentions.clone();
    parts.extend(run.records().flat_map(|r| r.outputs.clone()));
    parts.sort_by(|a, b| a.partition.cmp(&b.partition));
    let settings = step.settings(manifest)?.to_string();
    let key = |partition: &Partition, inputs: Vec<Part>| {
        let mut named = BTreeMap::new();
        for read in step.spec().reads {
            let of = |part: &&Part| part.table == read.table;
            let parts: Vec<Part> = inputs.iter().filter(of).cloned().collect();
            if matches!(read.scope, Scope::All | Scope::Slice) {
                let content = PartList::new(read.table, parts).content();
                named.insert(read.table.to_string(), content);
                continue;
            }
            for same in parts.chunk_by(|a, b| a.partition == b.partition) {
                let name = format!("{}/{}", read.table, same[0].partition);
                named.insert(name, content_of_parts(same));
            }
        }
        let parts = KeyParts {
            version: step.spec().version,
            settings: BTreeMap::from([("settings".to_owned(), settings.clone())]).into(),
            models: BTreeMap::new().into(),
            inputs: named,
        };
        parts.key(step.spec().name, partition)
    };
    let tasks = tasks(step, manifest, &parts)?.into_iter();
    let keyed = tasks.map(|(partition, inputs)| (partition.clone(), key(&partition, inputs)));
    Ok(keyed.collect())
}

/// The tasks of each step that are not the same in `after`.
fn changed(
    before: &Run,
    after: &Run,
) -> Result<BTreeMap<&'static str, BTreeSet<String>>, StageError> {
    let mut changed = BTreeMap::new();
    for step in steps() {
        let (old, new) = (keys(before, &*step)?, keys(after, &*step)?);
        let differs = new
            .iter()
            .filter(|(partition, key)| old.get(partition) != Some(key));
        let differs = differs
            .map(|(partition, _)| partition.to_string())
            .collect();
        changed.insert(step.spec().name, differs);
    }
    Ok(changed)
}

/// Four shards with a person each, and one whom all have.
fn shards() -> Vec<Vec<Mention>> {
    [
        "Mira Castellan",
        "Oskar Lindqvist",
        "Vera Holt",
        "Tilda Maren",
    ]
    .iter()
    .map(|name| mentions(&[(name, 0, 6), ("Anton Breza", 0, 6)]))
    .collect()
}

fn with(settings: &str, shards: Vec<Vec<Mention>>) -> Result<Run, StageError> {
    Run::new(&format!("[merge_names]\n{settings}\n"), shards)
}

/// The group of shard number `shard` among the default number of groups.
fn group(shard: u32) -> String {
    let groups = settings::DEFAULT_GROUPS;
    Partition::shard(&shard.to_string())
        .group(groups)
        .to_string()
}

#[test]
fn an_excluded_name_runs_the_merge_and_the_groups_that_mention_it() -> Result<(), StageError> {
    let before = with("", shards())?;
    let after = with("exclude = [\"Vera Holt\"]", shards())?;
    let changed = changed(&before, &after)?;
    assert!(changed["count-spellings"].is_empty());
    assert_eq!(changed["merge-spellings"], ["all".to_owned()].into());
    assert_eq!(changed["file-mentions"], [group(2)].into());
    Ok(())
}

#[test]
fn a_threshold_that_decides_nothing_anew_runs_the_merge_only() -> Result<(), StageError> {
    let before = with("", shards())?;
    let after = with("mononym_min_mentions = 7", shards())?;
    let changed = changed(&before, &after)?;
    assert!(changed["count-spellings"].is_empty());
    assert_eq!(changed["merge-spellings"].len(), 1);
    assert!(changed["file-mentions"].is_empty());
    assert!(changed["count-images"].is_empty());
    Ok(())
}

#[test]
fn another_number_of_images_runs_the_last_step_only() -> Result<(), StageError> {
    let before = with("", shards())?;
    let after = with("min_images = 2", shards())?;
    let changed = changed(&before, &after)?;
    for step in ["count-spellings", "merge-spellings", "file-mentions"] {
        assert!(changed[step].is_empty(), "{step}");
    }
    assert_eq!(changed["count-images"].len(), 2);
    Ok(())
}

#[test]
fn a_new_shard_of_known_people_runs_its_own_group_only() -> Result<(), StageError> {
    let before = with("", shards())?;
    let mut more = shards();
    more.push(mentions(&[("Vera Holt", 50, 3)]));
    let after = with("", more)?;
    let changed = changed(&before, &after)?;
    assert_eq!(changed["count-spellings"], ["shard-4".to_owned()].into());
    assert_eq!(changed["file-mentions"], [group(4)].into());
    Ok(())
}
