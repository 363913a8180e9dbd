//! A small invented run for the tests of this crate: one identity, one name whose portraits disagree.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::key::KeyParts;
use laioncele_core::ledger::{Record, RowBalance};
use laioncele_core::table::{
    Alias, Candidate, Dropped, FaceBox, FaceVector, FaceVectors, FiledMention, Identity, Image,
    KnownName, Landmarks, Mention, MergedName, Name, NamedImage, Photo, PhotoFace, Portrait,
    PortraitFace, Reachability, ReferenceVerdict, Sample,
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
    captions(&mut builder);
    names(&mut builder);
    portraits(&mut builder);
    photos(&mut builder);
    let Builder { harness, records } = builder;
    RunView::new(harness.store, (*harness.manifest).clone(), records)
}

/// A run in `folder` with `people` identities of ten photos each. Portraits and photos are noise, which takes more room than any
/// picture of the web, and have long captions; they are there for every `step`th person in the order of the ids.
pub(crate) fn many(folder: &Path, people: usize, step: usize) -> RunView {
    let harness = StepHarness::new(folder, "").expect("a harness");
    let mut builder = Builder {
        harness,
        records: Vec::new(),
    };
    let name = |k: usize| format!("Invented Person Number {k}");
    let mut all: Vec<String> = (0..people).map(name).collect();
    all.sort_by_key(|name| NameId::of(name));
    let image = Image {
        bytes: noise(200),
        path: "a.jpg".to_owned(),
    };
    for bucket in [0, 1].map(Partition::Bucket) {
        let (mut portraits, mut photos, mut identities) = (Vec::new(), Vec::new(), Vec::new());
        for (at, name) in all.iter().enumerate() {
            if builder.bucket(name) != bucket {
                continue;
            }
            identities.extend((0..10).map(|k| identity(name, k)));
            if at.is_multiple_of(step) {
                portraits.extend((0..4).map(|k| portrait(name, k, &image)));
                photos.extend((0..10).map(|k| photo(name, k, &image)));
            }
        }
        use StageName::{DownloadImages, FilterCounts, GeneratePortraits};
        builder.add(
            "generate-portraits",
            GeneratePortraits,
            bucket.clone(),
            portraits,
        );
        builder.add("download-images", DownloadImages, bucket.clone(), photos);
        builder.add("filter-counts", FilterCounts, bucket, identities);
    }
    let Builder { harness, records } = builder;
    RunView::new(harness.store, (*harness.manifest).clone(), records)
}

/// A run in `folder` with samples of four people: an unsure guess, one that people overruled, a sure one, nothing asked.
pub(crate) fn with_samples(folder: &Path) -> RunView {
    let harness = StepHarness::new(folder, "").expect("a harness");
    let sample = |person: &str, word: &str, word_given, probability: Option<f32>| Sample {
        method: "laioncele".to_owned(),
        person: person.to_owned(),
        group: "mood".to_owned(),
        prompt: format!("a {word} is sad"),
        word: word.to_owned(),
        word_given,
        gender_guess: probability.map(|_| "woman".to_owned()),
        gender_probability: probability,
        index: 0,
        seed: 1,
        image: Image {
            bytes: noise(8),
            path: "a.png".to_owned(),
        },
    };
    let rows = vec![
        sample("Ada", "woman", false, Some(0.62)),
        sample("Bea", "woman", true, Some(0.55)),
        sample("Cyd", "man", false, Some(0.93)),
        sample("Dan", "person", false, None),
    ];
    let mut builder = Builder {
        harness,
        records: Vec::new(),
    };
    let (stage, chunk) = (StageName::GenerateSamples, Partition::Chunk(0));
    builder.add("generate-samples", stage, chunk.clone(), rows);
    let (images, verdicts) = candidates();
    builder.add("draw-by-name", stage, chunk.clone(), images);
    builder.add("choose-references", stage, chunk, verdicts);
    let Builder { harness, records } = builder;
    RunView::new(harness.store, (*harness.manifest).clone(), records)
}

/// Images by name and verdicts of somebody who may be a reference, somebody who is known, and somebody without a face.
fn candidates() -> (Vec<NamedImage>, Vec<ReferenceVerdict>) {
    let verdict = |person: &str, verdict: &str, similarity, faces| ReferenceVerdict {
        person: person.to_owned(),
        verdict: verdict.to_owned(),
        similarity,
        threshold: 0.35,
        images: 2,
        faces,
    };
    let verdicts = vec![
        verdict("Eve", "drawn_by_name", Some(0.71), 2),
        verdict("Ada", "chosen", Some(0.12), 2),
        verdict("Fay", "no_face_in_images", None, 0),
    ];
    let image = |person: &str| NamedImage {
        person: person.to_owned(),
        prompt: "a portrait of a person".to_owned(),
        index: 0,
        seed: 1,
        image: Image {
            bytes: noise(8),
            path: "b.png".to_owned(),
        },
    };
    (vec![image("Eve"), image("Ada")], verdicts)
}

/// A JPEG of noise, as wide as high, the same each time.
pub(crate) fn noise(side: u32) -> Vec<u8> {
    let mut state = 1u32;
    let pixels = image::RgbImage::from_fn(side, side, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, r, g, b] = state.to_le_bytes();
        image::Rgb([r, g, b])
    });
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let written = pixels.write_to(&mut jpeg, image::ImageFormat::Jpeg);
    written.expect("encoded");
    jpeg.into_inner()
}

fn portrait(name: &str, index: u32, image: &Image) -> Portrait {
    Portrait {
        name_id: NameId::of(name),
        index,
        seed: 0,
        image: image.clone(),
        settings: String::new(),
    }
}

fn photo(name: &str, k: usize, image: &Image) -> Photo {
    let url = format!("http://a.example/{name}/{k}.jpg");
    Photo {
        name_id: NameId::of(name),
        image_id: ImageId::of(&url),
        url,
        caption: "a very long caption & more ".repeat(50),
        image: image.clone(),
        sha256: String::new(),
        width: 200,
        height: 200,
    }
}

fn identity(name: &str, k: usize) -> Identity {
    Identity {
        name_id: NameId::of(name),
        name: name.to_owned(),
        image_id: ImageId::of(&format!("http://a.example/{name}/{k}.jpg")),
        similarity: 0.9 - k as f32 / 100.0,
        face_box: FaceBox(vec![0.0, 0.0, 60.0, 60.0]),
    }
}

/// The caption of an image of which nothing is left, and what it says.
pub(crate) const LOST: (u32, &str) = (8, "Vera Holt at a gala");
/// A caption that names were not read of.
pub(crate) const SMALL: (u32, &str) = (9, "An icon");

/// One caption whose only name is excluded, one of an image that is too small.
fn captions(builder: &mut Builder) {
    let (k, caption) = LOST;
    let id = |(k, caption): (u32, &str)| CaptionId::of(&url(k), caption);
    let mention = Mention {
        caption_id: id(LOST),
        image_id: ImageId::of(&url(k)),
        url: url(k),
        caption: caption.to_owned(),
        name: "Vera Holt".to_owned(),
        start: 0,
        end: 9,
        hash: None,
        image_at: None,
    };
    let shard = Partition::Whole;
    builder.add(
        "extract-names",
        StageName::ExtractNames,
        shard.clone(),
        vec![mention],
    );
    let dropped = |step: &str, unit, id: CaptionId, reason, detail: Option<&str>| Dropped {
        step: step.to_owned(),
        unit,
        id: id.0,
        name_id: None,
        reason,
        detail: detail.map(str::to_owned),
    };
    let small = dropped(
        "extract-names",
        Unit::Caption,
        id(SMALL),
        DropReason::TooSmall,
        Some("152 x 40"),
    );
    builder.add(
        "extract-names",
        StageName::ExtractNames,
        shard.clone(),
        vec![small],
    );
    let excluded = dropped(
        "file-mentions",
        Unit::Mention,
        id(LOST),
        DropReason::Excluded,
        None,
    );
    builder.add(
        "file-mentions",
        StageName::MergeNames,
        shard,
        vec![excluded],
    );
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
