use std::error::Error;
use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, ImageFormat, Rgb, RgbImage};
use laioncele_core::ledger::Record;
use laioncele_core::table::{Dropped, Image, Photo, PhotoPrint, Placeholder, UniquePhoto};
use laioncele_core::testing::StepHarness;
use laioncele_core::{DropReason, ImageId, NameId, Part, Partition, TableId};
use laioncele_image::Orientation;
use proptest::prelude::*;

use crate::count::CountPlaceholders;
use crate::decide::DedupeImages;
use crate::groups::groups;
use crate::print::FingerprintPhotos;
use crate::{average_hash, average_hash_of_means};

type Tested = Result<(), Box<dyn Error>>;

fn scene(seed: u32, size: u32) -> RgbImage {
    let at = |k: u32, turns: u32| (k as f32 + 0.5) / size as f32 * turns as f32;
    let wave = |x: u32, y: u32| (127.0 + 120.0 * (at(x, seed) + at(y, 2 * seed)).sin()) as u8;
    RgbImage::from_fn(size, size, |x, y| Rgb([wave(x, y), wave(y, x), 90]))
}

fn image(seed: u32, size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    scene(seed, size)
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .expect("encodes");
    bytes
}

/// As a JPEG whose EXIF orientation is this number.
fn jpeg(image: &RgbImage, turned: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 92);
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([turned, 0, 0, 0, 0, 0, 0, 0]);
    encoder.set_exif_metadata(exif).expect("takes EXIF");
    let (width, height) = image.dimensions();
    let written = encoder.write_image(image, width, height, image::ExtendedColorType::Rgb8);
    written.expect("encodes");
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

fn outputs(record: &Record, table: TableId) -> Vec<Part> {
    record.outputs_of(table).cloned().collect()
}

/// The records of all steps over one bucket of photos.
fn deduped(harness: &StepHarness, photos: Vec<Photo>) -> Result<[Record; 3], Box<dyn Error>> {
    let bucket = Partition::Bucket(0);
    let photos = harness.part(&bucket, photos)?;
    let printed = harness.run(&FingerprintPhotos, &bucket, vec![photos])?;
    let prints = outputs(&printed, TableId::PhotoPrints);
    let counted = harness.run(&CountPlaceholders, &Partition::Whole, prints.clone())?;
    let mut inputs = prints;
    inputs.extend(outputs(&counted, TableId::Placeholders));
    let decided = harness.run(&DedupeImages, &bucket, inputs)?;
    Ok([printed, counted, decided])
}

fn kept(harness: &StepHarness, record: &Record) -> Result<Vec<(u64, u64, u32)>, Box<dyn Error>> {
    let rows = harness.rows::<UniquePhoto>(record)?.into_iter();
    Ok(rows
        .map(|p| (p.name_id.0, p.image_id.0, p.copies))
        .collect())
}

#[test]
fn largest_copy_is_kept_and_rows_balance() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let rows = vec![
        photo(1, 10, image(5, 64), 64),
        photo(1, 11, image(5, 128), 128),
        photo(1, 12, image(9, 64), 64),
        photo(2, 13, image(5, 64), 64),
    ];
    let [_, _, record] = deduped(&harness, rows)?;
    assert_eq!(
        kept(&harness, &record)?,
        [(1, 11, 1), (1, 12, 0), (2, 13, 0)]
    );
    let dropped = harness.rows::<Dropped>(&record)?;
    assert_eq!(
        (dropped.len(), dropped[0].id, dropped[0].detail.as_deref()),
        (1, 10, Some("000000000000000b"))
    );
    assert_eq!(record.metrics["equal_bytes_under_two_names"], 1.0);
    Ok(())
}

#[test]
fn a_photo_that_no_longer_decodes_costs_its_row() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let mut cut = image(5, 64);
    cut.truncate(200);
    let [printed, _, record] = deduped(
        &harness,
        vec![photo(1, 10, cut, 64), photo(1, 11, image(9, 64), 64)],
    )?;
    let dropped = harness.rows::<Dropped>(&printed)?;
    assert_eq!(
        (dropped.len(), dropped[0].id, dropped[0].reason),
        (1, 10, DropReason::Corrupt)
    );
    assert_eq!(kept(&harness, &record)?, [(1, 11, 0)]);
    Ok(())
}

/// Of a placeholder under eight names from eight urls nothing stays. One url under many names is a photo of many
/// people; many urls under few names are copies.
#[test]
fn what_stands_for_many_images_is_dropped_and_a_photo_of_many_people_stays() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(
        folder.path(),
        "[dedupe_images]\nplaceholder_host_names = 0\n",
    )?;
    let gone = (0..8).map(|k| photo(k, 100 + k, image(5, 64), 64));
    let crowd = (0..20).map(|k| photo(k, 200, image(9, 64), 64));
    let copies = (0..20).map(|k| photo(30, 300 + k, image(3, 64), 64));
    let [_, counted, record] = deduped(&harness, gone.chain(crowd).chain(copies).collect())?;
    let found = harness.rows::<Placeholder>(&counted)?;
    assert_eq!(
        (found.len(), found[0].names, found[0].host.as_ref()),
        (1, 8, None)
    );
    let dropped = harness.rows::<Dropped>(&record)?.into_iter();
    let dropped: Vec<_> = dropped
        .filter(|row| row.reason == DropReason::Placeholder)
        .collect();
    assert_eq!(dropped.len(), 8);
    assert!(
        dropped
            .iter()
            .all(|row| (100..108).contains(&row.id) && row.detail.as_deref() == Some("8 names"))
    );
    assert_eq!(kept(&harness, &record)?.len(), 20 + 1);
    Ok(())
}

/// The same look in other bytes, at one host; at several hosts it stays.
#[test]
fn a_look_is_a_placeholder_at_one_host_only() -> Tested {
    let folder = tempfile::tempdir()?;
    let settings = "[dedupe_images]\nplaceholder_host_names = 4\n";
    let harness = StepHarness::new(folder.path(), settings)?;
    let at = |k: u64, host: &str| {
        // Other bytes after the picture's end.
        let mut bytes = image(5, 64);
        bytes.extend(vec![0; k as usize]);
        let mut row = photo(k, k, bytes, 64);
        row.url = format!("http://{host}/{k}.png");
        row
    };
    let rows = (0..4).map(|k| at(k, "one.example"));
    let spread = (4..8).map(|k| at(k, &format!("h{k}.example")));
    let [printed, counted, record] = deduped(&harness, rows.chain(spread).collect())?;
    let prints = harness.rows::<PhotoPrint>(&printed)?;
    assert!(
        prints
            .iter()
            .all(|print| print.average_hash == prints[0].average_hash)
    );
    let found = harness.rows::<Placeholder>(&counted)?;
    assert_eq!(
        (found.len(), found[0].host.as_deref()),
        (1, Some("one.example"))
    );
    let stays: Vec<_> = kept(&harness, &record)?
        .into_iter()
        .map(|row| row.0)
        .collect();
    assert_eq!(stays, [4, 5, 6, 7]);
    Ok(())
}

#[test]
fn upright_finds_copies_that_differ_in_their_orientation_only() -> Tested {
    let standing = scene(5, 64);
    // The number 3 says: turned by half.
    let turned = image::imageops::rotate180(&standing);
    for (orientation, stay) in [("as_stored", 2), ("upright", 1)] {
        let folder = tempfile::tempdir()?;
        let settings =
            format!("[dedupe_images]\norientation = \"{orientation}\"\nmax_distance = 2\n");
        let harness = StepHarness::new(folder.path(), &settings)?;
        let rows = vec![
            photo(1, 10, jpeg(&standing, 1), 64),
            photo(1, 11, jpeg(&turned, 3), 64),
        ];
        let [_, _, record] = deduped(&harness, rows)?;
        assert_eq!(kept(&harness, &record)?.len(), stay, "{orientation}");
    }
    Ok(())
}

/// Recorded with `tools/record-hash/record.py`.
#[test]
fn average_hash_equals_python_imagehash() -> Tested {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let recorded: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&std::fs::read(folder.join("hashes.json"))?)?;
    assert!(recorded.len() >= 8);
    for (file, expected) in recorded {
        let hash = average_hash(&std::fs::read(folder.join(&file))?, Orientation::AsStored)?;
        assert_eq!(format!("{hash:016x}"), expected, "{file}");
    }
    Ok(())
}

/// Clouds of several sizes, and some grain.
fn clouds(seed: u32, width: u32, height: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX)
    };
    let waves: Vec<[f64; 4]> = (1..14)
        .map(|k| {
            let (across, down) = (random() * 2.0 - 1.0, random() * 2.0 - 1.0);
            let size = 0.7 * f64::from(k);
            [
                across * size,
                down * size,
                random() * 6.0,
                70.0 / f64::from(k),
            ]
        })
        .collect();
    RgbImage::from_fn(width, height, |x, y| {
        let place = [
            f64::from(x) / f64::from(width),
            f64::from(y) / f64::from(height),
        ];
        let value = |shift: f64| {
            let wave = |[a, b, c, d]: &[f64; 4]| {
                d * (6.0 * (a * place[0] + b * place[1]) + c + shift).sin()
            };
            let grain = f64::from((x * 7919 + y * 104_729) % 9);
            (120.0 + waves.iter().map(wave).sum::<f64>() + grain) as u8
        };
        Rgb([value(0.0), value(0.4), value(0.8)])
    })
}

/// The means of a JPEG's blocks give the hash of its pixels within the stated bound, whatever its size and orientation.
#[test]
fn hashes_of_means_are_within_two_bits() -> Tested {
    let (mut far, mut all) = (0, 0);
    for seed in 0..60 {
        let (width, height) = (200 + seed * 7, 500 - seed * 5);
        let bytes = jpeg(&clouds(seed, width, height), (seed % 8) as u8 + 1);
        for orientation in [Orientation::AsStored, Orientation::Upright] {
            let Some(near) = average_hash_of_means(&bytes, orientation)? else {
                panic!("{width} × {height} is large enough");
            };
            let exact = average_hash(&bytes, orientation)?;
            all += 1;
            far += u32::from((near ^ exact).count_ones() > 2);
        }
    }
    assert!(
        far * 200 <= all,
        "{far} of {all} are more than two bits apart"
    );
    assert!(
        average_hash_of_means(&jpeg(&clouds(1, 150, 500), 1), Orientation::AsStored)?.is_none()
    );
    assert!(average_hash_of_means(&image(5, 600), Orientation::AsStored)?.is_none());
    Ok(())
}

fn print(image: u64, hash: u64) -> PhotoPrint {
    PhotoPrint {
        name_id: NameId(1),
        image_id: ImageId(image),
        host: String::new(),
        sha256: String::new(),
        average_hash: hash,
        pixels: 1,
        bytes: 1,
    }
}

proptest! {
    /// Groups are a partition; members of two groups are farther apart than the limit, those of one
    /// are joined by steps within it.
    #[test]
    fn groups_partition_photos_by_distance(low in prop::collection::vec(0u64..64, 0..30), spread: bool, max_distance in 0u32..4) {
        // Six bits next to each other, or one in each tenth place.
        let places = |h: u64| (0..6).filter(|i| h >> i & 1 == 1).map(|i| 1 << (i * if spread { 10 } else { 1 })).sum::<u64>();
        let photos: Vec<_> = low.iter().enumerate().map(|(i, h)| print(i as u64, places(*h))).collect();
        let near = |x: &PhotoPrint, y: &PhotoPrint| (x.average_hash ^ y.average_hash).count_ones() <= max_distance;
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
