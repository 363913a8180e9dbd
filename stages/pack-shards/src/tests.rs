use std::io::Cursor;

use arrow::array::{AsArray, RecordBatch};
use half::f16;
use image::{ImageFormat, Rgb, RgbImage};
use laioncele_core::Partition;
use laioncele_core::table::{
    FaceBox, Identity, Image, NameEmbedding, NameVector, Photo, PhotoPrint, UniquePhoto,
};
use laioncele_core::testing::StepHarness;
use laioncele_core::{ImageId, NameId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

type Tested = Result<(), Box<dyn std::error::Error>>;

fn png(shade: u8, side: u32) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Vec::new();
    let image = RgbImage::from_fn(side, side, |x, _| Rgb([shade, x as u8, 90]));
    image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
    Ok(bytes)
}

/// Two people: the first with three photos, the second with two; one photo more that no identity
/// has.
struct Bucket {
    identities: Vec<Identity>,
    photos: Vec<Photo>,
    prints: Vec<PhotoPrint>,
    unique: Vec<UniquePhoto>,
    names: Vec<NameEmbedding>,
}

impl Bucket {
    fn new() -> Result<Self, image::ImageError> {
        let mut bucket = Self {
            identities: Vec::new(),
            photos: Vec::new(),
            prints: Vec::new(),
            unique: Vec::new(),
            names: Vec::new(),
        };
        for (name, images) in [(1, 3), (2, 2)] {
            let name_id = NameId(name);
            bucket.names.push(NameEmbedding {
                name_id,
                name: person(name),
                token_count: 2,
                embedding: NameVector(vec![f16::from_f32(name as f32); 32]),
            });
            for image in 0..=images {
                let image_id = ImageId(10 * name + image);
                bucket.add(name_id, image_id, image < images)?;
            }
        }
        Ok(bucket)
    }

    fn add(
        &mut self,
        name_id: NameId,
        image_id: ImageId,
        kept: bool,
    ) -> Result<(), image::ImageError> {
        let bytes = png(image_id.0 as u8, 32)?;
        self.prints.push(PhotoPrint {
            name_id,
            image_id,
            host: "a.example".to_owned(),
            sha256: format!("{:064x}", image_id.0),
            average_hash: image_id.0 << 8,
            pixels: 32 * 32,
            bytes: bytes.len() as u64,
        });
        self.photos.push(Photo {
            name_id,
            image_id,
            url: format!("http://a.example/{image_id}"),
            caption: format!("{} at work", person(name_id.0)),
            image: Image {
                bytes,
                path: format!("{image_id}.png"),
            },
            sha256: format!("{:064x}", image_id.0),
            width: 32,
            height: 32,
        });
        self.unique.push(UniquePhoto {
            name_id,
            image_id,
            average_hash: image_id.0 << 8,
            copies: 0,
        });
        if kept {
            self.identities.push(Identity {
                name_id,
                name: person(name_id.0),
                image_id,
                similarity: 0.5 + image_id.0 as f32 / 100.0,
                face_box: FaceBox([2.0, 3.0, 20.0, 25.0].into()),
            });
        }
        Ok(())
    }

    /// Runs pack-shards on the bucket.
    fn pack(self, harness: &StepHarness) -> Result<Record, StageError> {
        let bucket = Partition::Bucket(0);
        let inputs = vec![
            harness.part(&bucket, self.identities)?,
            harness.part(&bucket, self.photos)?,
            harness.part(&bucket, self.prints)?,
            harness.part(&bucket, self.unique)?,
            harness.part(&bucket, self.names)?,
        ];
        harness.run(&PackShards, &bucket, inputs)
    }
}

fn person(name: u64) -> String {
    format!("Person Number{name}")
}

fn published(harness: &StepHarness) -> Vec<String> {
    let mut files = harness.store.list("laioncele").expect("the folder");
    files.sort();
    files
}

#[test]
fn examples_join_the_input_tables() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let record = Bucket::new()?.pack(&harness)?;
    let rows = harness.rows::<LaionCele>(&record)?;
    let ids: Vec<_> = rows.iter().map(|r| (r.name_id.0, r.image_id.0)).collect();
    assert_eq!(ids, [(1, 10), (1, 11), (1, 12), (2, 20), (2, 21)]);
    for row in &rows {
        let id = row.image_id.0;
        assert_eq!(row.name, person(row.name_id.0));
        assert_eq!(row.caption, format!("{} at work", row.name));
        assert_eq!(row.average_hash, id << 8);
        assert_eq!(row.image.bytes, png(id as u8, 32)?);
        assert_eq!(row.name_embedding.0[31].to_f32(), row.name_id.0 as f32);
    }
    assert_eq!(record.metrics[PEOPLE], 2.0);
    Ok(())
}

#[test]
fn missing_photo_is_an_error() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let mut bucket = Bucket::new()?;
    bucket.photos.retain(|photo| photo.image_id != ImageId(11));
    let text = bucket.pack(&harness).expect_err("it is gone").to_string();
    assert!(
        text.contains("000000000000000b") && text.contains("photo"),
        "{text}"
    );
    Ok(())
}

/// The `parquet` crate reads what was published without any code of ours.
#[test]
fn published_shards_load_by_themselves() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "[pack_shards]\nshard_bytes = 1\n")?;
    let record = Bucket::new()?.pack(&harness)?;
    PackShards.publish(&harness.store, &harness.manifest, &[record])?;
    let shards: Vec<_> = published(&harness)
        .into_iter()
        .filter(|f| f.ends_with(".parquet"))
        .collect();
    assert_eq!(shards.len(), 5);
    assert_eq!(shards[1], "laioncele/train-00001-of-00005.parquet");
    for (at, shard) in shards.iter().enumerate() {
        let bytes = harness.store.get(shard)?;
        let columns = ["name_id", "name", "image", "caption", "similarity"];
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        let mut batches = builder.with_projection(mask).build()?;
        let batch = batches.next().ok_or("no rows")??;
        assert_eq!((batch.num_rows(), batches.count()), (1, 0));
        let column = |name| batch.column_by_name(name).ok_or("no such column");
        let name = column("name")?.as_string::<i32>().value(0);
        assert_eq!(name, person(if at < 3 { 1 } else { 2 }));
        let images = column("image")?.as_struct();
        let files = images.column_by_name("bytes").ok_or("no bytes")?;
        image::load_from_memory(files.as_binary::<i32>().value(0))?;
    }
    Ok(())
}

#[test]
fn publish_is_idempotent_and_removes_stale_shards() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "[pack_shards]\nshard_bytes = 1\n")?;
    let record = Bucket::new()?.pack(&harness)?;
    let publish = |record: &Record| {
        PackShards.publish(
            &harness.store,
            &harness.manifest,
            std::slice::from_ref(record),
        )
    };
    publish(&record)?;
    let before = published(&harness);
    let card = harness.store.get("laioncele/README.md")?;
    publish(&record)?;
    assert_eq!(published(&harness), before);
    assert_eq!(harness.store.get("laioncele/README.md")?, card);

    let mut fewer = Bucket::new()?;
    fewer.identities.truncate(3);
    publish(&fewer.pack(&harness)?)?;
    let shards = published(&harness);
    let shards: Vec<_> = shards.iter().filter(|f| f.ends_with(".parquet")).collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    assert!(shards.iter().all(|s| s.contains("-of-00003")), "{shards:?}");
    Ok(())
}

/// The schema and the rows of a published shard.
fn shard(harness: &StepHarness, file: &str) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let bytes = harness.store.get(&format!("laioncele/{file}"))?;
    let mut batches = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    Ok(batches.next().ok_or("no rows")??)
}

/// A photo of both people, with another form of everything.
#[test]
fn another_form_is_written_across_shards() -> Tested {
    let folder = tempfile::tempdir()?;
    let sections = "[pack_shards]\nshard_bytes = 1\nids = \"text\"\ncolumns = [\"other_names\"]\nwebdataset = true\n";
    let harness = StepHarness::new(folder.path(), sections)?;
    let mut bucket = Bucket::new()?;
    bucket.add(NameId(2), ImageId(10), true)?;
    let record = bucket.pack(&harness)?;
    PackShards.publish(&harness.store, &harness.manifest, &[record])?;
    let files = published(&harness);
    for name in ["train-00000-of-00002.parquet", "train-00001-of-00002.tar"] {
        let path = format!("laioncele/{name}");
        assert!(files.contains(&path), "{files:?}");
    }
    let first = shard(&harness, "train-00000-of-00002.parquet")?;
    let second = shard(&harness, "train-00001-of-00002.parquet")?;
    assert_eq!((first.num_rows(), second.num_rows()), (3, 3));
    assert_eq!(first.num_columns(), 14);
    let ids = second.column_by_name("image_id").ok_or("ids")?;
    let ids: Vec<_> = ids.as_string::<i32>().iter().flatten().collect();
    assert_eq!(
        ids,
        ["000000000000000a", "0000000000000014", "0000000000000015"]
    );
    let others = second.column_by_name("other_names").ok_or("names")?;
    let others = others.as_list::<i32>();
    assert_eq!(others.value(0).as_string::<i32>().value(0), person(1));
    assert_eq!(others.value_length(1), 0);
    let card = String::from_utf8(harness.store.get("laioncele/README.md")?.to_vec())?;
    assert!(card.contains("\n1 photos show several"), "{card}");
    assert!(
        card.contains("| `other_names` | list of string |"),
        "{card}"
    );
    Ok(())
}

#[test]
fn splits_are_of_people_and_in_the_card() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "[pack_shards]\nvalidation = 0.5\n")?;
    let record = Bucket::new()?.pack(&harness)?;
    PackShards.publish(&harness.store, &harness.manifest, &[record])?;
    let sides = ["train", "validation"].map(|split| {
        let batch = shard(&harness, &format!("{split}-00000-of-00001.parquet"));
        let batch = batch.expect("a shard");
        let names = batch.column_by_name("name").expect("names");
        names.as_string::<i32>().value(0).to_owned()
    });
    assert_ne!(sides[0], sides[1]);
    let card = String::from_utf8(harness.store.get("laioncele/README.md")?.to_vec())?;
    assert!(
        card.contains("  - split: validation\n    path: validation-*.parquet"),
        "{card}"
    );
    assert!(card.contains("| validation | 1 | "), "{card}");
    let croissant: serde_json::Value =
        serde_json::from_slice(&harness.store.get("laioncele/croissant.json")?)?;
    let files = croissant["distribution"].as_array().ok_or("files")?;
    assert_eq!(files.len(), 3);
    assert_eq!(
        files[2]["includes"],
        json!(["train-*.parquet", "validation-*.parquet"])
    );
    Ok(())
}

#[test]
fn publish_writes_card_sheets_and_mean() -> Tested {
    let folder = tempfile::tempdir()?;
    let harness = StepHarness::new(folder.path(), "")?;
    let record = Bucket::new()?.pack(&harness)?;
    PackShards.publish(&harness.store, &harness.manifest, &[record])?;
    let card = String::from_utf8(harness.store.get("laioncele/README.md")?.to_vec())?;
    assert!(card.contains("**2 people, 5 photos**"), "{card}");
    assert!(card.contains("| pack-shards | image | 5 | 5 |"), "{card}");
    let sheets = harness.store.list("sheets")?;
    assert_eq!(sheets.len(), 2);
    for sheet in sheets {
        image::load_from_memory(&harness.store.get(&sheet)?)?;
    }
    let mean = harness.store.get("laioncele/name_mean.safetensors")?;
    let tensors = safetensors::SafeTensors::deserialize(&mean)?;
    let mean = tensors.tensor("mean")?;
    assert_eq!(mean.shape(), [8, 4]);
    let first = f32::from_le_bytes(mean.data()[..4].try_into()?);
    assert!((first - 1.5).abs() < 1e-6);
    Ok(())
}

#[test]
fn same_rows_give_the_same_bytes() -> Tested {
    let digests = |harness: &StepHarness| -> Result<Vec<_>, Box<dyn std::error::Error>> {
        let record = Bucket::new()?.pack(harness)?;
        Ok(record.outputs.iter().map(|part| part.digest).collect())
    };
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    assert_eq!(
        digests(&StepHarness::new(first.path(), "")?)?,
        digests(&StepHarness::new(second.path(), "")?)?
    );
    Ok(())
}
