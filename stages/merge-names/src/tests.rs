//! The whole step on small tables of mentions.

use laioncele_core::table::{Candidate, Dropped, Mention, Name};
use laioncele_core::testing::StepHarness;
use laioncele_core::{
    CaptionId, DropReason, ImageId, Manifest, NameId, Part, Partition, StageError, TableId, Unit,
};

use super::*;

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

struct Outcome {
    record: laioncele_core::ledger::Record,
    names: Vec<Name>,
    candidates: Vec<Candidate>,
    dropped: Vec<Dropped>,
}

fn run(sections: &str, shards: Vec<Vec<Mention>>) -> Result<Outcome, StageError> {
    let folder = tempfile::tempdir().map_err(StageError::environment)?;
    let harness = StepHarness::new(folder.path(), sections)?;
    let inputs: Vec<Part> = shards
        .into_iter()
        .enumerate()
        .map(|(i, rows)| harness.part(&Partition::shard(&i.to_string()), rows))
        .collect::<Result<_, _>>()?;
    let record = harness.run(&MergeNames, &Partition::Whole, inputs)?;
    let (names, candidates, dropped) = (
        harness.rows(&record)?,
        harness.rows(&record)?,
        harness.rows(&record)?,
    );
    Ok(Outcome {
        record,
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

    fn drops(&self, unit: Unit, reason: DropReason) -> u64 {
        let balance = self
            .record
            .balances
            .iter()
            .find(|a| a.unit == unit)
            .expect("a balance");
        balance.dropped.get(&reason).copied().unwrap_or(0)
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
    assert_eq!(
        outcome
            .names
            .iter()
            .map(|n| n.name.as_str())
            .collect::<Vec<_>>(),
        ["Mira Castellan"]
    );
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
    assert_eq!(
        outcome
            .names
            .iter()
            .map(|n| n.name.as_str())
            .collect::<Vec<_>>(),
        ["Beyoncé"]
    );
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
        let mut partitions: Vec<_> = outcome
            .record
            .outputs_of(table)
            .map(|p| p.partition.clone())
            .collect();
        partitions.dedup();
        assert_eq!(
            partitions,
            [Partition::Bucket(0), Partition::Bucket(1)],
            "{table}"
        );
    }
    for part in outcome.record.outputs_of(TableId::Names) {
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
        (one.url.as_str(), one.hash.as_deref()),
        ("http://photos.example/3.jpg", Some("hash of 3"))
    );
    assert_eq!(one.image_at.as_deref(), Some("address of 3"));
    assert!(one.caption.ends_with("at a premiere"));
    Ok(())
}

#[test]
fn result_is_independent_of_row_and_shard_order() -> Result<(), StageError> {
    let rows = mentions(&[
        ("Mira Castellan", 0, 30),
        ("mira castellan", 10, 30),
        ("Mira Castelan", 5, 2),
        ("Oskar Lindqvist", 0, 9),
        ("Oscar Lindqvist", 9, 9),
    ]);
    let digests = |shards| -> Result<_, StageError> {
        let outcome = run("", shards)?;
        let mut candidates = outcome.candidates;
        candidates.sort_by_key(|c| (c.name_id, c.image_id));
        Ok((outcome.names, candidates))
    };
    let straight = digests(vec![rows.clone()])?;
    let reversed: Vec<_> = rows.iter().rev().cloned().collect();
    let (one, two) = reversed.split_at(17);
    assert_eq!(
        straight,
        digests(vec![one.to_vec(), Vec::new(), two.to_vec()])?
    );
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
        assert_eq!(outcome.record.outputs_of(TableId::Candidates).count(), 2);
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
        "min_image = 3",
    ] {
        let found = Settings::from_manifest(&manifest(&format!("[merge_names]\n{wrong}\n"))?);
        assert!(found.is_err(), "{wrong}");
    }
    Ok(())
}
