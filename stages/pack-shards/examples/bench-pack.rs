//! Memory and time of packing and publishing a bucket: `make bench-pack`.
//!
//!     bench-pack PHOTOS BYTES [SHARD_BYTES]
//!
//! One bucket of PHOTOS photos of BYTES bytes each, twenty a person, with name embeddings of SDXL's size,
//! in parts of about 64 MB as download-images writes them. Printed are the peaks of each phase alone.

use std::time::Instant;

use half::f16;
use laioncele_core::table::{
    FaceBox, Identity, Image, NameEmbedding, NameVector, Photo, PhotoPrint, UniquePhoto,
};
use laioncele_core::testing::StepHarness;
use laioncele_core::{ImageId, Manifest, NameId, Part, Partition};

type Failure = Box<dyn std::error::Error>;

const PHOTOS_A_PERSON: u64 = 20;
const PART_BYTES: u64 = 64 << 20;
const BUCKET: Partition = Partition::Bucket(0);

fn main() -> Result<(), Failure> {
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|n| n.parse()).collect();
    let (photos, bytes, shard_bytes) = match numbers?[..] {
        [photos, bytes] => (photos, bytes, 64 << 20),
        [photos, bytes, shard_bytes] => (photos, bytes, shard_bytes),
        _ => return Err("bench-pack PHOTOS BYTES [SHARD_BYTES]".into()),
    };
    let folder = tempfile::tempdir()?;
    let linked = harness(folder.path(), shard_bytes, "")?;
    let inputs = inputs(&linked, photos, bytes)?;
    let step = laioncele_pack_shards::steps().remove(0);
    let record = phase("pack", photos, || linked.run(&*step, &BUCKET, inputs))?;
    let records = [record];
    let publish = |harness: &StepHarness| step.publish(&harness.store, &harness.manifest, &records);
    phase("publish links", photos, || publish(&linked))?;
    let form = "repack = true\nids = \"text\"\nwebdataset = true\n";
    let packed = harness(folder.path(), shard_bytes, form)?;
    phase("publish files and tar files", photos, || publish(&packed))
}

fn harness(root: &std::path::Path, shard_bytes: u64, form: &str) -> Result<StepHarness, Failure> {
    let text = format!(
        "[run]\nseed = 1\n[source]\npath = \"c\"\n[source.columns]\nurl = \"U\"\ncaption = \"T\"\n\
         [embedding_dims]\nname_tokens = 8\nname_channels = 2048\nface = 512\nfeatures = 2048\n\
         [pack_shards]\nsheets = false\nshard_bytes = {shard_bytes}\n{form}"
    );
    let manifest = Manifest::parse(&root.join("m.toml"), &text)?;
    Ok(StepHarness::with_manifest(root, manifest)?)
}

fn phase<T, E: Into<Failure>>(
    name: &str,
    photos: u64,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, Failure> {
    // Forgets the peak so far.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = memory("VmRSS:")?;
    let start = Instant::now();
    let found = work().map_err(Into::into)?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = memory("VmHWM:")?.saturating_sub(before);
    print(&format!(
        "{name:<28} {photos:>9} photos {seconds:>8.1} s {:>6} MB more at the peak",
        peak / 1_000_000
    ));
    Ok(found)
}

#[expect(clippy::print_stdout, reason = "its output")]
fn print(line: &str) {
    println!("{line}");
}

fn memory(what: &str) -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what));
    let mut words = line
        .ok_or("no such line in /proc/self/status")?
        .split_whitespace();
    Ok(words.nth(1).ok_or("no number")?.parse::<u64>()? * 1024)
}

/// The bucket's tables; of the photos some 64 MB are in memory at once.
fn inputs(harness: &StepHarness, photos: u64, bytes: u64) -> Result<Vec<Part>, Failure> {
    let (mut identities, mut prints, mut unique) = (Vec::new(), Vec::new(), Vec::new());
    let (mut parts, mut open) = (Vec::new(), Vec::new());
    for k in 0..photos {
        let (name_id, image_id) = (NameId(k / PHOTOS_A_PERSON), ImageId(k));
        identities.push(Identity {
            name_id,
            name: format!("Person {name_id}"),
            image_id,
            similarity: 0.7,
            face_box: FaceBox([1.0, 2.0, 30.0, 40.0].into()),
        });
        prints.push(PhotoPrint {
            name_id,
            image_id,
            host: "a.example".to_owned(),
            sha256: format!("{k:064x}"),
            average_hash: k,
            pixels: 100,
            bytes,
        });
        unique.push(UniquePhoto {
            name_id,
            image_id,
            average_hash: k,
            copies: 0,
        });
        open.push(photo(name_id, image_id, bytes));
        if open.len() as u64 * bytes >= PART_BYTES || k + 1 == photos {
            parts.push(harness.part(&BUCKET, std::mem::take(&mut open))?);
        }
    }
    let name = |k: u64| NameEmbedding {
        name_id: NameId(k),
        name: format!("Person {}", NameId(k)),
        token_count: 2,
        embedding: NameVector(vec![f16::from_f32(k as f32 / 100.0); 8 * 2048]),
    };
    let names = (0..photos.div_ceil(PHOTOS_A_PERSON)).map(name).collect();
    parts.push(harness.part(&BUCKET, identities)?);
    parts.push(harness.part(&BUCKET, prints)?);
    parts.push(harness.part(&BUCKET, unique)?);
    parts.push(harness.part(&BUCKET, names)?);
    Ok(parts)
}

/// A photo of bytes that do not compress.
fn photo(name_id: NameId, image_id: ImageId, bytes: u64) -> Photo {
    let mut state = image_id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    Photo {
        name_id,
        image_id,
        url: format!("http://a.example/{image_id}.jpg"),
        caption: "a person".to_owned(),
        image: Image {
            bytes: (0..bytes).map(|_| noise()).collect(),
            path: format!("{image_id}.jpg"),
        },
        sha256: format!("{:064x}", image_id.0),
        width: 10,
        height: 10,
    }
}
