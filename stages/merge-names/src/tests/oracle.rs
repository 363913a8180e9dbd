//! The stage against the plainest implementation there is: everything in memory, in maps.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::table::{Alias, FiledMention};
use laioncele_core::{Row, Task};
use proptest::prelude::*;

use super::*;
use crate::fold::fold_key;
use crate::merge::{Counted, MergedName, merge_counted};
use crate::normalize::{Evidence, Normalizer, SeveralPeople};
use crate::rows::{Merger, Sorter};
use crate::words::WordTally;

/// A dropped row without its step: unit, id, name, reason, detail.
type Drop = (Unit, u64, Option<NameId>, DropReason, Option<String>);

/// What a stage makes of mentions.
#[derive(Debug, Default, PartialEq)]
struct Made {
    names: Vec<Name>,
    candidates: Vec<Candidate>,
    dropped: Vec<Drop>,
}

impl Made {
    fn of(mut names: Vec<Name>, mut candidates: Vec<Candidate>, mut dropped: Vec<Drop>) -> Self {
        names.sort_by_key(|name| name.name_id);
        candidates.sort_by_key(|candidate| (candidate.name_id, candidate.image_id));
        dropped.sort();
        Self {
            names,
            candidates,
            dropped,
        }
    }
}

fn naive(mentions: &[Mention], settings: &Settings) -> Made {
    let mut written = BTreeMap::<&str, u64>::new();
    mentions
        .iter()
        .for_each(|m| *written.entry(&m.name).or_default() += 1);
    let mut words = WordTally::default();
    written
        .iter()
        .for_each(|(text, times)| words.add_mention(text, *times));
    let mut seen = BTreeSet::new();
    for m in mentions.iter().filter(|m| seen.insert(m.caption_id)) {
        words.add_caption(&m.caption, &mut [(m.start as usize, m.end as usize)]);
    }
    let normalizer = Normalizer::new(Evidence {
        words: words.evidence(),
    })
    .with_several_people(settings.several_people);
    let mut counted = BTreeMap::<String, (u64, u64, bool)>::new();
    for (text, times) in &written {
        for found in normalizer.normalize(text).unwrap_or_default() {
            let sums = counted.entry(found.name).or_default();
            *sums = (
                sums.0 + times,
                sums.1 + if found.recased { *times } else { 0 },
                sums.2 | found.mononym,
            );
        }
    }
    let spellings: Vec<_> = counted
        .iter()
        .map(|(spelling, (mentions, recased, _))| Counted {
            spelling: spelling.clone(),
            mentions: *mentions,
            recased: *recased,
        })
        .collect();
    let merged = merge_counted(&spellings, settings.common_ratio);
    let excluded: BTreeSet<String> = settings.exclude.iter().map(|name| fold_key(name)).collect();
    let mut names = BTreeMap::new();
    for name in &merged {
        let listed = |a: &Alias| excluded.contains(&fold_key(&a.spelling));
        let reason = if name.aliases.iter().any(listed) {
            Some(DropReason::Excluded)
        } else if counted[&name.name].2 && name.mentions < settings.mononym_min_mentions {
            Some(DropReason::Mononym)
        } else {
            None
        };
        for alias in &name.aliases {
            names.insert(alias.spelling.as_str(), (name, reason));
        }
    }
    file(mentions, &normalizer, &merged, &names, settings)
}

type Named<'a> = (&'a MergedName, Option<DropReason>);

fn file(
    mentions: &[Mention],
    normalizer: &Normalizer,
    merged: &[MergedName],
    names: &BTreeMap<&str, Named<'_>>,
    settings: &Settings,
) -> Made {
    let (mut dropped, mut filed) = (Vec::new(), BTreeMap::<NameId, Vec<&Mention>>::new());
    for m in mentions {
        let spellings = normalizer.normalize(&m.name).unwrap_or_default();
        let mut drop = |name, reason, detail| {
            dropped.push((Unit::Mention, m.caption_id.0, name, reason, detail));
        };
        if spellings.is_empty() {
            drop(None, DropReason::NotAName, Some(m.name.clone()));
        }
        let mut of = BTreeMap::new();
        for spelling in &spellings {
            let (name, reason) = names[spelling.name.as_str()];
            of.insert(NameId::of(&name.name), reason);
        }
        for (id, reason) in of {
            match reason {
                Some(reason) => drop(Some(id), reason, None),
                None => filed.entry(id).or_default().push(m),
            }
        }
    }
    let (mut kept, mut candidates) = (Vec::new(), Vec::new());
    for name in merged {
        let id = NameId::of(&name.name);
        let reason = names[name.name.as_str()].1;
        let mut images = BTreeMap::<ImageId, Vec<&Mention>>::new();
        for m in filed.remove(&id).unwrap_or_default() {
            images.entry(m.image_id).or_default().push(m);
        }
        let few = images.len() < settings.min_images as usize;
        let reason = reason.or(few.then_some(DropReason::TooFewImages));
        if let Some(reason) = reason {
            let detail = (reason != DropReason::Excluded).then(|| name.name.clone());
            dropped.push((Unit::Name, id.0, Some(id), reason, detail));
            for m in images.values().flatten() {
                dropped.push((
                    Unit::Mention,
                    m.caption_id.0,
                    Some(id),
                    DropReason::TooFewImages,
                    None,
                ));
            }
            continue;
        }
        kept.push(Name {
            name_id: id,
            name: name.name.clone(),
            aliases: name.aliases.clone(),
            mentions: name.mentions,
            images: images.len() as u64,
        });
        for (image, mut of) in images {
            of.sort_by_key(|m| (m.caption_id, m.hash.is_none(), m.hash.clone()));
            candidates.push(Candidate {
                name_id: id,
                image_id: image,
                url: of[0].url.clone(),
                caption: of[0].caption.clone(),
                hash: of[0].hash.clone(),
                image_at: of[0].image_at.clone(),
            });
            for m in &of[1..] {
                let detail = Some(image.to_string());
                let reason = DropReason::RepeatedImage;
                dropped.push((Unit::Mention, m.caption_id.0, Some(id), reason, detail));
            }
        }
    }
    Made::of(kept, candidates, dropped)
}

fn any_mention() -> impl Strategy<Value = Mention> {
    let name = prop::sample::select(vec![
        "Mira Castellan",
        "mira castellan",
        "Mira Castelan",
        "MIRA CASTELLAN's",
        "Oskar Lindqvist",
        "Oscar Lindqvist",
        "Vera Holt",
        "VERA HOLT",
        "Vera Holt and Oskar Lindqvist",
        "Beyoncé",
        "Prunella",
        "2019",
        "the Eiffel Tower",
        "Jörg Łukasz",
        "Tilda Maren",
    ]);
    (name, 0..12_u32, 0..3_u32, 0..3_u32).prop_map(|(name, image, caption, hash)| {
        let url = format!("http://photos.example/{image}.jpg");
        let caption = format!("{name} at premiere {caption}");
        Mention {
            caption_id: CaptionId::of(&url, &caption),
            image_id: ImageId::of(&url),
            url,
            name: name.to_owned(),
            start: 0,
            end: name.len() as u32,
            caption,
            hash: (hash > 0).then(|| format!("hash {hash}")),
            image_at: None,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_steps_give_what_a_naive_implementation_gives(
        shards in prop::collection::vec(prop::collection::vec(any_mention(), 0..120), 1..6),
        groups in 1_u32..4,
        min_images in 1_u32..7,
        mononyms in 1_u64..12,
        exclude in any::<bool>(),
        split in any::<bool>(),
    ) {
        let sections = format!(
            "[merge_names]\ngroups = {groups}\nmin_images = {min_images}\nmononym_min_mentions = {mononyms}\n\
             exclude = [{}]\nseveral_people = \"{}\"\n",
            if exclude { "\"Vera Holt\"" } else { "" },
            if split { "split" } else { "reject" },
        );
        let outcome = run(&sections, shards.clone()).expect("a run");
        let settings = Settings::from_manifest(&outcome.run.harness.manifest).expect("settings");
        prop_assert_eq!(settings.several_people == SeveralPeople::Split, split);
        let drop = |d: Dropped| (d.unit, d.id, d.name_id, d.reason, d.detail);
        let dropped = outcome.dropped.into_iter().map(drop).collect();
        let found = Made::of(outcome.names, outcome.candidates, dropped);
        prop_assert_eq!(found, naive(&shards.concat(), &settings));
    }

    /// However little memory the sorter has, it writes the same rows in the same order.
    #[test]
    fn runs_on_disk_change_nothing(
        rows in prop::collection::vec((0_u32..4, 0_u64..5, 0_u64..9, 0_u64..3), 1..400),
        together in 1_usize..60,
        budget in 0_usize..40_000,
    ) {
        let (folder, task) = idle_task();
        let rows: Vec<_> = rows.iter().enumerate().map(|(k, row)| filed(k, row)).collect();
        let mut whole = rows.clone();
        whole.sort_by_key(|r| (r.bucket, r.name_id, r.image_id, r.caption_id));
        let sorted = |budget| {
            let mut sorter = Sorter::with_budget(budget);
            for rows in rows.chunks(together) {
                let batch = FiledMention::to_batch(rows.to_vec(), task.embedding_dims());
                sorter.add(&task, batch.expect("a batch")).expect("room");
            }
            let mut writer = task.part_writer::<FiledMention>(7).expect("a file");
            sorter.finish(&task, &mut writer).expect("sorted");
            let written = writer.finish().expect("written");
            let reader = written.reader::<FiledMention>(task.store(), task.embedding_dims());
            let mut found = Vec::new();
            for batch in reader.expect("a part") {
                FiledMention::append(&batch.expect("rows"), task.embedding_dims(), &mut found).expect("rows");
            }
            (found, written.digest)
        };
        let (found, _) = sorted(usize::MAX);
        prop_assert_eq!(&found, &whole);
        prop_assert_eq!(sorted(budget).0, whole);
        drop(folder);
    }
}

fn filed(k: usize, row: &(u32, u64, u64, u64)) -> FiledMention {
    FiledMention {
        bucket: row.0,
        name_id: NameId(row.1),
        image_id: ImageId(row.2),
        caption_id: CaptionId(row.3),
        url: format!("url {k}"),
        caption: format!("caption {k}"),
        hash: k.is_multiple_of(3).then(|| k.to_string()),
        image_at: None,
    }
}

/// A task that only lends its store.
fn idle_task() -> (tempfile::TempDir, Task) {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = StepHarness::new(folder.path(), "").expect("a harness");
    let task = harness.task(
        &count_images::CountImages,
        &Partition::Bucket(0),
        Vec::new(),
    );
    (folder, task.expect("a task"))
}

#[test]
fn rows_that_are_not_sorted_are_refused() {
    let (_folder, task) = idle_task();
    let rows = [(0, 2, 0, 0), (0, 1, 0, 0)];
    let rows: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(k, row)| filed(k, row))
        .collect();
    let mut writer = task.part_writer::<FiledMention>(7).expect("a file");
    let batch = FiledMention::to_batch(rows, task.embedding_dims());
    writer.add(&batch.expect("a batch")).expect("room");
    let written = writer.finish().expect("written");
    let reader = written.reader::<FiledMention>(task.store(), task.embedding_dims());
    let mut merger = Merger::new(vec![reader.expect("a part")]).expect("rows");
    assert!(merger.next().is_ok_and(|row| row.is_some()));
    let refused = merger.next().expect_err("unsorted").to_string();
    assert!(refused.contains("not sorted"), "{refused}");
}
