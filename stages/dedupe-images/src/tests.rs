use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};
use laioncele_core::Partition;
use laioncele_core::table::{Dropped, Image};
use laioncele_core::testing::StepHarness;
use laioncele_core::{ImageId, NameId};
use proptest::prelude::*;

use super::*;
use crate::groups::groups;

fn image(seed: u32, size: u32) -> Vec<u8> {
    let at = |k: u32, turns: u32| (k as f32 + 0.5) / size as f32 * turns as f32;
    let wave = |x: u32, y: u32| (127.0 + 120.0 * (at(x, seed) + at(y, 2 * seed)).sin()) as u8;
    let mut bytes = Vec::new();
    let image = RgbImage::from_fn(size, size, |x, y| Rgb([wave(x, y), wave(y, x), 90]));
    image
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .expect("encodes");
    bytes
}

fn photo(name: u64, image: u64, bytes: Vec<u8>, side: u32) -> Photo {
    Photo {
        name_id: NameId(name),
        image_id: ImageId(image),
        url: format!("http://a.example/{image}"),
        caption: String::new(),
        sha256: format!(
            "{:x}",
            bytes.len() as u64 * 31 + bytes.iter().map(|b| u64::from(*b)).sum::<u64>()
        ),
        image: Image {
            bytes,
            path: format!("{image}.png"),
        },
        width: side,
        height: side,
    }
}

#[test]
fn largest_copy_is_kept_and_rows_balance() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let rows = vec![
        photo(1, 10, image(5, 64), 64),
        photo(1, 11, image(5, 128), 128),
        photo(1, 12, image(9, 64), 64),
        photo(2, 13, image(5, 64), 64),
    ];
    let bucket = Partition::Bucket(0);
    let record = harness.run(&DedupeImages, &bucket, vec![harness.part(&bucket, rows)?])?;
    let kept: Vec<_> = harness
        .rows::<UniquePhoto>(&record)?
        .into_iter()
        .map(|p| (p.name_id.0, p.image_id.0, p.copies))
        .collect();
    assert_eq!(kept, [(1, 11, 1), (1, 12, 0), (2, 13, 0)]);
    let dropped = harness.rows::<Dropped>(&record)?;
    assert_eq!(
        (dropped.len(), dropped[0].id, dropped[0].detail.as_deref()),
        (1, 10, Some("000000000000000b"))
    );
    assert_eq!(record.metrics["equal_bytes_under_two_names"], 1.0);
    Ok(())
}

/// Recorded with `tools/record-hash/record.py`.
#[test]
fn average_hash_equals_python_imagehash() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let recorded: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(folder.join("hashes.json"))?)?;
    assert!(recorded.len() >= 8);
    for (file, expected) in recorded {
        let hash = average_hash(&std::fs::read(folder.join(&file))?)?;
        assert_eq!(format!("{hash:016x}"), expected, "{file}");
    }
    Ok(())
}

fn print(image: u64, hash: u64) -> Fingerprint {
    Fingerprint {
        name_id: NameId(1),
        image_id: ImageId(image),
        hash,
        pixels: 1,
        bytes: 1,
        sha256: String::new(),
    }
}

proptest! {
    /// Groups are a partition; members of two groups are farther apart than the limit, those of one
    /// are joined by steps within it.
    #[test]
    fn groups_partition_photos_by_distance(hashes in prop::collection::vec(0u64..64, 0..30), max_distance in 0u32..3) {
        let photos: Vec<_> = hashes.iter().enumerate().map(|(i, h)| print(i as u64, *h)).collect();
        let near = |x: &Fingerprint, y: &Fingerprint| (x.hash ^ y.hash).count_ones() <= max_distance;
        let found = groups(&photos, max_distance);
        let mut ids: Vec<u64> = found.iter().flatten().map(|p| p.image_id.0).collect();
        ids.sort_unstable();
        prop_assert!(ids.into_iter().eq(0..photos.len() as u64));
        for (i, group) in found.iter().enumerate() {
            for other in found[..i].iter().flatten() {
                prop_assert!(!group.iter().any(|x| near(x, other)));
            }
            let (mut joined, mut rest) = (vec![group[0]], group[1..].to_vec());
            while let Some(next) = rest.iter().position(|x| joined.iter().any(|y| near(x, y))) {
                joined.push(rest.swap_remove(next));
            }
            prop_assert!(rest.is_empty());
        }
    }
}
