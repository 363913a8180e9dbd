//! The whole stage on small tables of mentions.

mod opinion;
mod oracle;
mod reruns;

use std::collections::BTreeMap;

use laioncele_core::ledger::Record;
use laioncele_core::table::{Candidate, Dropped, Mention, Name};
use laioncele_core::testing::StepHarness;
use laioncele_core::{
    CaptionId, DropReason, ImageId, Manifest, NameId, Part, Partition, Partitioning, StageError,
    Step, TableId, Unit,
};

use super::*;
use crate::settings::Settings;

fn mention(name: &str, image: u32) -> Mention {
    let url = format!("http://photos.example/{image}.jpg");
    let caption = format!("{name} at a premiere");
    Mention {
        caption_id: CaptionId::of(&url, &caption),
        image_id: ImageId::of(&url),
        url,
        name: name.to_owned(),
        start: 0,
        end: name.len() as u32,
        caption,
        hash: Some(format!("hash of {image}")),
        image_at: Some(format!("address of {image}")),
    }
}

/// `(name, first image, images)` as mentions.
fn mentions(names: &[(&str, u32, u32)]) -> Vec<Mention> {
    names
        .iter()
        .flat_map(|&(name, first, images)| {
            (first..first + images).map(move |image| mention(name, image))
        })
        .collect()
}

/// The stage's tasks, run as a plan would.
struct Run {
    harness: StepHarness,
    mentions: Vec<Part>,
    /// By step.
    records: BTreeMap<&'static str, Vec<Record>>,
    _folder: tempfile::TempDir,
}

impl Run {
    fn new(sections: &str, shards: Vec<Vec<Mention>>) -> Result<Self, StageError> {
        let folder = tempfile::tempdir().map_err(StageError::environment)?;
        let harness = StepHarness::new(folder.path(), sections)?;
        let mut run = Self {
            harness,
            mentions: Vec::new(),
            records: BTreeMap::new(),
            _folder: folder,
        };
        for (number, rows) in shards.into_iter().enumerate() {
            let shard = Partition::shard(&number.to_string());
            run.mentions.push(run.harness.part(&shard, rows)?);
        }
        let mut parts = run.mentions.clone();
        for step in steps() {
            run.step(&*step, &mut parts)?;
        }
        Ok(run)
    }

    fn step(&mut self, step: &dyn Step, parts: &mut Vec<Part>) -> Result<(), StageError> {
        let mut written = Vec::new();
        for (partition, inputs) in tasks(step, &self.harness.manifest, parts)? {
            let record = self.harness.run(step, &partition, inputs)?;
            written.extend(record.outputs.clone());
            self.records
                .entry(step.spec().name)
                .or_default()
                .push(record);
        }
        parts.extend(written);
        parts.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(())
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flatten()
    }

    fn parts(&self, table: TableId) -> Vec<&Part> {
        self.records().flat_map(|r| r.outputs_of(table)).collect()
    }

    fn rows<R: laioncele_core::Row>(&self) -> Result<Vec<R>, StageError> {
        let mut rows = Vec::new();
        for record in self.records() {
            rows.extend(self.harness.rows::<R>(record)?);
        }
        Ok(rows)
    }
}

/// The tasks of a step, each with its inputs.
fn tasks(
    step: &dyn Step,
    manifest: &Manifest,
    parts: &[Part],
) -> Result<Vec<(Partition, Vec<Part>)>, StageError> {
    let of = |table: TableId| parts.iter().filter(move |part| part.table == table);
    let partitioning = step.partitioning(manifest)?;
    let mut partitions: Vec<Partition> = match partitioning {
        Partitioning::Shards => of(TableId::Mentions).map(|p| p.partition.clone()).collect(),
        Partitioning::ShardGroups(groups) => of(TableId::Mentions)
            .map(|p| p.partition.group(groups))
            .collect(),
        Partitioning::Buckets => (0..manifest.run.buckets).map(Partition::Bucket).collect(),
        Partitioning::Once => vec![Partition::Whole],
        Partitioning::Chunks(count) => (0..count).map(Partition::Chunk).collect(),
    };
    partitions.sort();
    partitions.dedup();
    let inputs = |partition: &Partition| -> Vec<Part> {
        let mut inputs = Vec::new();
        for read in step.reads(manifest) {
            inputs.extend(of(read.table).filter(|part| match partitioning {
                Partitioning::Shards => part.partition == *partition,
                Partitioning::ShardGroups(groups) => part.partition.group(groups) == *partition,
                _ => true,
            }));
        }
        inputs.into_iter().cloned().collect()
    };
    Ok(partitions
        .into_iter()
        .map(|p| {
            let parts = inputs(&p);
            (p, parts)
        })
        .collect())
}

struct Outcome {
    run: Run,
    names: Vec<Name>,
    candidates: Vec<Candidate>,
    dropped: Vec<Dropped>,
}

fn run(sections: &str, shards: Vec<Vec<Mention>>) -> Result<Outcome, StageError> {
    let run = Run::new(sections, shards)?;
    let (names, candidates, dropped) = (run.rows()?, run.rows()?, run.rows()?);
    Ok(Outcome {
        run,
        names,
        candidates,
        dropped,
    })
}

impl Outcome {
    fn name(&self, name: &str) -> &Name {
        self.names
            .iter()
            .find(|n| n.name == name)
            .unwrap_or_else(|| panic!("{name} is no name"))
    }

    fn names(&self) -> Vec<&str> {
        self.names.iter().map(|n| n.name.as_str()).collect()
    }

    fn drops(&self, unit: Unit, reason: DropReason) -> u64 {
        let balances = self.run.records().flat_map(|r| &r.balances);
        let of_unit = balances.filter(|balance| balance.unit == unit);
        of_unit
            .filter_map(|balance| balance.dropped.get(&reason))
            .sum()
    }
}

#[test]
fn aliases_say_why_they_were_merged() -> Result<(), StageError> {
    let shards = vec![
        mentions(&[("Mira Castellan", 0, 30), ("MIRA CASTELLAN", 30, 4)]),
        mentions(&[("Mira Castelan's", 40, 2), ("Oskar Lindqvist", 50, 6)]),
    ];
    let outcome = run("", shards)?;
    assert_eq!(outcome.names.len(), 2);
    let mira = outcome.name("Mira Castellan");
    assert_eq!(
        (mira.name_id, mira.mentions, mira.images),
        (NameId::of("Mira Castellan"), 36, 36)
    );
    let aliases: Vec<_> = mira
        .aliases
        .iter()
        .map(|a| (a.spelling.as_str(), a.mentions, a.merged_by.as_str()))
        .collect();
    assert_eq!(
        aliases,
        [
            ("Mira Castellan", 34, "canonical"),
            ("Mira Castelan", 2, "edit_distance")
        ]
    );
    assert_eq!(outcome.candidates.len(), 42);
    assert!(outcome.dropped.is_empty());
    let merged = outcome
        .run
        .records()
        .filter_map(|r| r.metrics.get("spellings_merged_into_kept_names"));
    assert_eq!(merged.sum::<f64>(), 1.0);
    Ok(())
}

#[test]
fn every_mention_is_kept_or_dropped_with_a_reason() -> Result<(), StageError> {
    let mut first = mentions(&[
        ("Mira Castellan", 0, 6),
        ("Few Images", 10, 0),
        ("Tilda Maren", 20, 4),
        ("2019", 30, 3),
        ("Beyoncé", 40, 7),
        ("Vera Holt", 50, 8),
    ]);
    // The same image again in another caption, in the same caption, and in another shard.
    first.push(Mention {
        caption: "Mira Castellan again".into(),
        caption_id: CaptionId::of("u", "again"),
        ..mention("Mira Castellan", 3)
    });
    first.push(mention("Mira Castellan", 4));
    let second = mentions(&[("Mira Castellan", 5, 1), ("mira castellan", 6, 1)]);
    let outcome = run(
        "[merge_names]\nexclude = [\"VERA HOLT\"]\n",
        vec![first, second],
    )?;
    assert_eq!(outcome.names(), ["Mira Castellan"]);
    assert_eq!(
        (outcome.names[0].images, outcome.names[0].mentions),
        (7, 10)
    );
    let counts = [
        (Unit::Mention, DropReason::RepeatedImage, 3),
        (Unit::Mention, DropReason::TooFewImages, 4),
        (Unit::Mention, DropReason::NotAName, 3),
        (Unit::Mention, DropReason::Mononym, 7),
        (Unit::Mention, DropReason::Excluded, 8),
        (Unit::Name, DropReason::TooFewImages, 1),
        (Unit::Name, DropReason::Mononym, 1),
        (Unit::Name, DropReason::Excluded, 1),
    ];
    for (unit, reason, count) in counts {
        assert_eq!(outcome.drops(unit, reason), count, "{unit} {reason}");
    }
    assert!(
        outcome
            .dropped
            .iter()
            .all(|d| d.detail.as_ref().is_none_or(|t| !t.contains("Vera"))),
        "the excluded are not written down"
    );
    Ok(())
}

#[test]
fn mononym_below_min_mentions_is_dropped() -> Result<(), StageError> {
    let outcome = run(
        "[merge_names]\nmononym_min_mentions = 7\n",
        vec![mentions(&[("Beyoncé", 0, 7), ("Prunella", 10, 6)])],
    )?;
    assert_eq!(outcome.names(), ["Beyoncé"]);
    Ok(())
}

#[test]
fn rows_are_written_to_the_bucket_of_their_name() -> Result<(), StageError> {
    let names = [
        "Mira Castellan",
        "Oskar Lindqvist",
        "Tilda Maren",
        "Vera Holt",
        "Anton Breza",
    ];
    let outcome = run("", vec![mentions(&names.map(|n| (n, 0, 5)))])?;
    assert_eq!((outcome.names.len(), outcome.candidates.len()), (5, 25));
    for table in [TableId::Names, TableId::Candidates] {
        let parts = outcome.run.parts(table);
        let partitions: Vec<_> = parts.iter().map(|p| p.partition.clone()).collect();
        assert_eq!(
            partitions,
            [Partition::Bucket(0), Partition::Bucket(1)],
            "one part of {table} for each bucket"
        );
    }
    for part in outcome.run.parts(TableId::Names) {
        let here = outcome
            .names
            .iter()
            .filter(|n| Partition::Bucket(n.name_id.bucket(2)) == part.partition)
            .count();
        assert_eq!(part.rows as usize, here);
    }
    let one = outcome
        .candidates
        .iter()
        .find(|c| c.image_id == ImageId::of("http://photos.example/3.jpg"))
        .expect("a candidate");
    assert_eq!(
        (
            one.url.as_str(),
            one.hash.as_deref(),
            one.image_at.as_deref()
        ),
        (
            "http://photos.example/3.jpg",
            Some("hash of 3"),
            Some("address of 3")
        )
    );
    assert!(one.caption.ends_with("at a premiere"));
    Ok(())
}

#[test]
fn result_is_independent_of_row_and_shard_order_and_of_groups() -> Result<(), StageError> {
    let rows = mentions(&[
        ("Mira Castellan", 0, 30),
        ("mira castellan", 10, 30),
        ("Mira Castelan", 5, 2),
        ("Oskar Lindqvist", 0, 9),
        ("Oscar Lindqvist", 9, 9),
    ]);
    let digests = |sections: &str, shards| -> Result<_, StageError> {
        let outcome = run(sections, shards)?;
        Ok((outcome.names, outcome.candidates))
    };
    let straight = digests("", vec![rows.clone()])?;
    let reversed: Vec<_> = rows.iter().rev().cloned().collect();
    let (one, two) = reversed.split_at(17);
    for groups in [1, 2, 64] {
        let sections = format!("[merge_names]\ngroups = {groups}\n");
        assert_eq!(
            straight,
            digests(&sections, vec![one.to_vec(), Vec::new(), two.to_vec()])?
        );
    }
    Ok(())
}

/// Of mentions of one image in one caption that differ in what the source says beside, one stays
/// whatever the order.
#[test]
fn the_candidate_of_a_repeated_caption_is_independent_of_order() -> Result<(), StageError> {
    let with = |hash: Option<&str>| Mention {
        hash: hash.map(str::to_owned),
        ..mention("Mira Castellan", 0)
    };
    let variants = [with(None), with(Some("b")), with(Some("a"))];
    let others = mentions(&[("Mira Castellan", 1, 4)]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let shards = order.map(|k| vec![variants[k].clone()]);
        let mut shards = shards.to_vec();
        shards.push(others.clone());
        let outcome = run("", shards)?;
        let image = ImageId::of("http://photos.example/0.jpg");
        let kept = outcome.candidates.iter().find(|c| c.image_id == image);
        assert_eq!(kept.expect("a candidate").hash.as_deref(), Some("a"));
        assert_eq!(outcome.drops(Unit::Mention, DropReason::RepeatedImage), 2);
    }
    Ok(())
}

/// Tasks and buckets decide how many files there are, never their product.
#[test]
fn files_are_as_many_as_tasks_and_buckets() -> Result<(), StageError> {
    let shard = |k: u32| mentions(&[("Mira Castellan", k * 5, 5), ("Oskar Lindqvist", k * 5, 5)]);
    let outcome = run("[merge_names]\ngroups = 4\n", (0..12).map(shard).collect())?;
    let groups = outcome.run.records["file-mentions"].len();
    assert!(groups <= 4);
    assert_eq!(outcome.run.parts(TableId::FiledMentions).len(), groups);
    for (table, parts) in [
        (TableId::Spellings, 12),
        (TableId::Words, 12),
        (TableId::Verdicts, 12),
        (TableId::MergedNames, 1),
        (TableId::Names, 2),
        (TableId::Candidates, 2),
    ] {
        assert_eq!(outcome.run.parts(table).len(), parts, "{table}");
    }
    Ok(())
}

#[test]
fn empty_input_gives_empty_tables() -> Result<(), StageError> {
    for shards in [
        Vec::new(),
        vec![Vec::new()],
        vec![mentions(&[("2019", 0, 5)])],
    ] {
        let outcome = run("", shards)?;
        assert!(outcome.names.is_empty() && outcome.candidates.is_empty());
        assert_eq!(outcome.run.parts(TableId::Candidates).len(), 2);
    }
    Ok(())
}

#[test]
fn from_manifest_rejects_wrong_settings() -> Result<(), StageError> {
    let folder = tempfile::tempdir().map_err(StageError::environment)?;
    let manifest = |text: &str| -> Result<Manifest, StageError> {
        Ok(StepHarness::new(folder.path(), text)?
            .manifest
            .as_ref()
            .clone())
    };
    for wrong in [
        "common_ratio = 0.5",
        "common_ratio = nan",
        "exclude = [\"Vera Holt\", \" - \"]",
        "groups = 0",
        "min_image = 3",
    ] {
        let found = Settings::from_manifest(&manifest(&format!("[merge_names]\n{wrong}\n"))?);
        assert!(found.is_err(), "{wrong}");
    }
    Ok(())
}
