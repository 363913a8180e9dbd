//! A small invented run for the tests of this crate: one identity, one name whose portraits disagree.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::key::KeyParts;
use laioncele_core::ledger::{Record, RowBalance};
use laioncele_core::table::{
    Alias, Candidate, Dropped, FaceBox, FaceVector, FaceVectors, FiledMention, Identity, KnownName,
    Landmarks, MergedName, Name, PhotoFace, PortraitFace, Reachability,
};
use laioncele_core::testing::{self, StepHarness};
use laioncele_core::{CaptionId, DropReason, ImageId, NameId, Partition, Row, StageName, Unit};

use crate::view::{RunView, bucket_of};

pub(crate) const KNOWN: &str = "Mira Castellan";
pub(crate) const UNKNOWN: &str = "Anton Osei";

/// Builds the run's records part by part.
struct Builder {
    harness: StepHarness,
    records: Vec<Record>,
}

impl Builder {
    /// Adds a task that wrote `rows`.
    fn add<R: Row>(&mut self, step: &str, stage: StageName, partition: Partition, rows: Vec<R>) {
        let part = self.harness.part(&partition, rows).expect("a part");
        let found = (self.records.iter_mut()).find(|r| r.step == step && r.partition == partition);
        if let Some(record) = found {
            record.outputs.push(part);
            return;
        }
        let settings = [
            ("verify_portraits.same_person", "0.6"),
            ("verify_images.same_person_photo", "0.55"),
            ("filter_counts.min_images", "1"),
        ];
        let key_parts = KeyParts {
            settings: BTreeMap::from(settings.map(|(k, v)| (k.to_owned(), v.to_owned()))).into(),
            ..KeyParts::default()
        };
        let mut record = testing::record(step, stage, partition, key_parts);
        record.outputs.push(part);
        self.records.push(record);
    }

    fn balance(&mut self, step: &str, balance: RowBalance) {
        let found = self.records.iter_mut().find(|r| r.step == step);
        found.expect("the step").balances.push(balance);
    }

    fn bucket(&self, name: &str) -> Partition {
        bucket_of(&self.harness.manifest, NameId::of(name))
    }
}

fn alias(spelling: &str, mentions: u64, merged_by: &str) -> Alias {
    Alias {
        spelling: spelling.to_owned(),
        mentions,
        merged_by: merged_by.to_owned(),
    }
}

pub(crate) fn url(k: u32) -> String {
    format!("http://a.example/{k}.jpg")
}

/// The run in `folder`.
pub(crate) fn view(folder: &Path) -> RunView {
    let harness = StepHarness::new(folder, "").expect("a harness");
    let mut builder = Builder {
        harness,
        records: Vec::new(),
    };
    names(&mut builder);
    portraits(&mut builder);
    photos(&mut builder);
    let Builder { harness, records } = builder;
    RunView::new(harness.store, (*harness.manifest).clone(), records)
}

fn names(builder: &mut Builder) {
    use StageName::MergeNames;
    let merged = |name: &str, aliases: Vec<Alias>| MergedName {
        bucket: 0,
        name_id: NameId::of(name),
        name: name.to_owned(),
        mentions: aliases.iter().map(|a| a.mentions).sum(),
        aliases,
    };
    let spellings = vec![
        alias(KNOWN, 5, "canonical"),
        alias("Mira Castelan", 1, "edit_distance"),
    ];
    let rows = vec![
        merged(KNOWN, spellings.clone()),
        merged(UNKNOWN, vec![alias(UNKNOWN, 4, "canonical")]),
    ];
    builder.add("merge-spellings", MergeNames, Partition::Whole, rows);
    let filed = |k| FiledMention {
        bucket: 0,
        name_id: NameId::of(KNOWN),
        image_id: ImageId::of(&url(k)),
        caption_id: CaptionId(u64::from(k)),
        url: url(k),
        caption: format!("{KNOWN} <b>{k}</b>"),
        hash: None,
        image_at: None,
    };
    let rows = (1..4).map(filed).collect();
    builder.add("file-mentions", MergeNames, Partition::Whole, rows);
    let bucket = builder.bucket(KNOWN);
    let name = Name {
        name_id: NameId::of(KNOWN),
        name: KNOWN.to_owned(),
        aliases: spellings,
        mentions: 6,
        images: 3,
    };
    builder.add("count-images", MergeNames, bucket.clone(), vec![name]);
    let candidate = |k| Candidate {
        name_id: NameId::of(KNOWN),
        image_id: ImageId::of(&url(k)),
        url: url(k),
        caption: format!("{KNOWN} {k}"),
        hash: None,
        image_at: None,
    };
    let rows = (1..4).map(candidate).collect();
    builder.add("count-images", MergeNames, bucket, rows);
}

/// A face at an angle from the first axis, in degrees.
fn face(degrees: f32) -> FaceVector {
    let (sine, cosine) = degrees.to_radians().sin_cos();
    FaceVector(vec![cosine, sine, 0.0, 0.0])
}

fn portraits(builder: &mut Builder) {
    let portrait = |name: &str, index: u32, degrees: f32| PortraitFace {
        name_id: NameId::of(name),
        index,
        faces: 1,
        score: 0.9,
        face_box: FaceBox(vec![0.0, 0.0, 60.0, 60.0]),
        landmarks: Landmarks(vec![0.0; 10]),
        embedding: face(degrees),
    };
    use StageName::VerifyPortraits;
    let known = vec![portrait(KNOWN, 0, 0.0), portrait(KNOWN, 1, 10.0)];
    let bucket = builder.bucket(KNOWN);
    builder.add("score-portraits", VerifyPortraits, bucket.clone(), known);
    let row = KnownName {
        name_id: NameId::of(KNOWN),
        name: KNOWN.to_owned(),
        faces: FaceVectors(vec![face(0.0), face(10.0)]),
        mean_face: face(5.0),
        min_similarity: 0.985,
        mean_similarity: 0.985,
    };
    builder.add("verify-portraits", VerifyPortraits, bucket, vec![row]);
    let unknown = vec![portrait(UNKNOWN, 0, 0.0), portrait(UNKNOWN, 1, 60.0)];
    let bucket = builder.bucket(UNKNOWN);
    builder.add("score-portraits", VerifyPortraits, bucket.clone(), unknown);
    let dropped = Dropped {
        step: "verify-portraits".to_owned(),
        unit: Unit::Name,
        id: NameId::of(UNKNOWN).0,
        name_id: Some(NameId::of(UNKNOWN)),
        reason: DropReason::DifferentPeople,
        detail: Some("lowest similarity 0.5000".to_owned()),
    };
    builder.add("verify-portraits", VerifyPortraits, bucket, vec![dropped]);
    let balance = RowBalance {
        unit: Unit::Name,
        rows_in: 2,
        rows_out: 1,
        dropped: [(DropReason::DifferentPeople, 1)].into(),
    };
    builder.balance("verify-portraits", balance);
}

fn photos(builder: &mut Builder) {
    let bucket = builder.bucket(KNOWN);
    let scored = |k: u32, similarity: f32| PhotoFace {
        name_id: NameId::of(KNOWN),
        image_id: ImageId::of(&url(k)),
        faces: 1,
        similarity: Some(similarity),
        second: None,
        score: 0.9,
        face_box: FaceBox(vec![0.0, 0.0, 60.0, 60.0]),
        landmarks: Landmarks(vec![0.0; 10]),
        embedding: face(20.0),
    };
    use StageName::VerifyImages;
    let rows = vec![scored(1, 0.9), scored(2, 0.41239)];
    builder.add("score-photos", VerifyImages, bucket.clone(), rows);
    let dropped = |step: &str, k: u32, reason, detail: &str| Dropped {
        step: step.to_owned(),
        unit: Unit::Image,
        id: ImageId::of(&url(k)).0,
        name_id: Some(NameId::of(KNOWN)),
        reason,
        detail: Some(detail.to_owned()),
    };
    let other = dropped(
        "verify-images",
        2,
        DropReason::OtherPerson,
        "similarity 0.4124",
    );
    builder.add("verify-images", VerifyImages, bucket.clone(), vec![other]);
    let gone = dropped("download-images", 3, DropReason::Http4xx, "404");
    builder.add(
        "download-images",
        StageName::DownloadImages,
        bucket.clone(),
        vec![gone],
    );
    let reached = |reason, urls| Reachability {
        by: "host".to_owned(),
        value: "a.example".to_owned(),
        reason,
        urls,
    };
    let rows = vec![reached(None, 2), reached(Some(DropReason::Http4xx), 1)];
    builder.add(
        "download-images",
        StageName::DownloadImages,
        bucket.clone(),
        rows,
    );
    let identity = Identity {
        name_id: NameId::of(KNOWN),
        name: KNOWN.to_owned(),
        image_id: ImageId::of(&url(1)),
        similarity: 0.9,
        face_box: FaceBox(vec![0.0, 0.0, 60.0, 60.0]),
    };
    builder.add(
        "filter-counts",
        StageName::FilterCounts,
        bucket,
        vec![identity],
    );
}
