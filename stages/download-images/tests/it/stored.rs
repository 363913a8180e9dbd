//! Images that the source holds: no one is asked for them.

use std::fs;

use laioncele_core::table::{Candidate, Dropped, Photo};
use laioncele_core::testing::StepHarness;
use laioncele_core::{Digest, DropReason, ImageId, NameId, Partition};
use laioncele_source::{SourceFile, SourceImages, shards};

use crate::web::{jpeg, known};

type AnyError = Box<dyn std::error::Error>;

const URLS: [&str; 4] = [
    "http://gone.example/good.jpg",
    "http://gone.example/text.jpg",
    "http://gone.example/small.jpg",
    "http://gone.example/large.jpg",
];

/// A folder of samples as img2dataset writes it, and a harness whose manifest reads it.
fn harness(folder: &std::path::Path) -> Result<StepHarness, AnyError> {
    let samples = folder.join("captions/00000");
    fs::create_dir_all(&samples)?;
    let images = [jpeg(96), b"no image".to_vec(), jpeg(16), vec![0; 60_000]];
    for (i, (url, image)) in URLS.iter().zip(images).enumerate() {
        let json = format!("{{\"url\": \"{url}\", \"caption\": \"x\", \"status\": \"success\"}}");
        fs::write(samples.join(format!("{i}.json")), json)?;
        fs::write(samples.join(format!("{i}.jpg")), image)?;
    }
    let text = "[run]\nseed = 1\n[source]\npath = \"captions\"\n[embedding_dims]\nname_tokens = 8\n\
                name_channels = 4\nface = 4\nfeatures = 3\n[download_images]\nmax_bytes = 50000\nretries = 0\n";
    let manifest = laioncele_core::Manifest::parse(&folder.join("m.toml"), text)?;
    Ok(StepHarness::with_manifest(folder, manifest)?)
}

/// The candidates that extract-names and merge-names make of the source.
fn candidates(harness: &StepHarness, name: NameId) -> Result<Vec<Candidate>, AnyError> {
    let mut candidates = Vec::new();
    for shard in shards(&harness.manifest)? {
        let origin = SourceImages::origin(&shard.partition, Digest::of(b"shard"));
        let file = SourceFile::open(&shard.path, &harness.manifest.source, &[])?;
        for batch in file.batches(&origin)? {
            for row in batch?.rows() {
                let url = std::str::from_utf8(row.url.unwrap_or_default())?.to_owned();
                candidates.push(Candidate {
                    name_id: name,
                    image_id: ImageId::of(&url),
                    url,
                    caption: "x".to_owned(),
                    hash: None,
                    image_at: row.image_at.map(str::to_owned),
                });
            }
        }
    }
    Ok(candidates)
}

#[test]
fn images_of_the_source_are_photos_and_get_the_checks_of_a_download() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let harness = harness(folder.path())?;
    let (name, bucket) = (NameId(7), Partition::Bucket(0));
    let candidates = candidates(&harness, name)?;
    assert_eq!(candidates.len(), URLS.len());
    let inputs = vec![
        harness.part(&bucket, candidates)?,
        harness.part(&bucket, vec![known(name)])?,
    ];
    let step = laioncele_download_images::steps().remove(0);
    // There is no host map: a request would end as `dns` or `connect`.
    let record = harness.run(&*step, &bucket, inputs)?;
    let photos = harness.rows::<Photo>(&record)?;
    assert_eq!(photos.len(), 1);
    assert_eq!(
        (photos[0].url.as_str(), &photos[0].image.bytes),
        (URLS[0], &jpeg(96))
    );
    let mut dropped: Vec<_> = harness
        .rows::<Dropped>(&record)?
        .into_iter()
        .map(|d| (d.id, d.reason))
        .collect();
    let mut expected = [
        (ImageId::of(URLS[1]).0, DropReason::NotAnImage),
        (ImageId::of(URLS[2]).0, DropReason::TooSmall),
        (ImageId::of(URLS[3]).0, DropReason::TooLarge),
    ];
    dropped.sort_unstable();
    expected.sort_unstable();
    assert_eq!(dropped, expected);
    Ok(())
}

#[test]
fn a_source_that_lost_an_image_stops_the_step() -> Result<(), AnyError> {
    let folder = tempfile::tempdir()?;
    let harness = harness(folder.path())?;
    let (name, bucket) = (NameId(7), Partition::Bucket(0));
    let candidates = candidates(&harness, name)?;
    fs::remove_file(folder.path().join("captions/00000/0.jpg"))?;
    let inputs = vec![
        harness.part(&bucket, candidates)?,
        harness.part(&bucket, vec![known(name)])?,
    ];
    let step = laioncele_download_images::steps().remove(0);
    let error = harness
        .run(&*step, &bucket, inputs)
        .expect_err("an image is gone");
    assert!(
        error.to_string().contains("is the source still as it was"),
        "{error}"
    );
    Ok(())
}
