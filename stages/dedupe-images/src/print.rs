//! Step fingerprint-photos: what copies of a photo are recognized by.

use arrow::array::RecordBatch;
use laioncele_core::table::{Image, Photo, PhotoPrint};
use laioncele_core::{
    CoreError, DropReason, ImageId, Manifest, NameId, Partitioning, Reads, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_image::{DecodeError, Orientation};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde_json::json;
use url::Url;

use crate::hash::hash;
use crate::settings::{Settings, Turned};

pub(crate) struct FingerprintPhotos;

const SPEC: StepSpec = StepSpec {
    name: "fingerprint-photos",
    stage: StageName::DedupeImages,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Photos)],
    writes: &[TableId::PhotoPrints],
};

/// Photos that are decoded before progress is told.
const AT_ONCE: usize = 128;

impl Step for FingerprintPhotos {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({
            "hashing": settings.hashing,
            "orientation": settings.orientation,
        }))
    }

    /// Photos are read part by part, batch by batch: one batch's files are in memory.
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let threads = task.runtime_environment().threads;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(StageError::environment)?;
        let parts: Vec<_> = task.inputs(TableId::Photos).cloned().collect();
        let (total, mut done) = (task.rows_in(TableId::Photos), 0);
        let rows = task.rows();
        let mut prints = Vec::new();
        for part in &parts {
            for batch in task.stream::<Photo>(part)?.columns(Found::COLUMNS) {
                let found = Found::of(task, &batch?)?;
                for block in found.chunks(AT_ONCE) {
                    let print = |f: &Found| rows.look(f.image_id.0, || f.print(&settings));
                    let hashed = block.par_iter().with_max_len(1).map(print);
                    let hashed: Vec<_> = pool.install(|| hashed.collect());
                    for (found, print) in block.iter().zip(hashed) {
                        match print {
                            Ok(Ok(print)) => prints.push(print),
                            Ok(Err(error)) => found.drop_from(task, &error),
                            Err(poison) => {
                                let (id, name) = (found.image_id.0, Some(found.name_id));
                                task.drop_poison(Unit::Image, id, name, poison);
                            }
                        }
                    }
                    done += block.len() as u64;
                    task.progress(done, total, Unit::Image)?;
                }
            }
        }
        prints.sort_by_key(|p| (p.name_id, p.image_id));
        task.balance(Unit::Image, total, prints.len() as u64);
        task.write(prints)
    }
}

/// What is read of a photo.
struct Found {
    name_id: NameId,
    image_id: ImageId,
    url: String,
    image: Image,
    sha256: String,
    width: u32,
    height: u32,
}

impl Found {
    const COLUMNS: &[&str] = &[
        "name_id", "image_id", "url", "image", "sha256", "width", "height",
    ];

    fn of(task: &Task, batch: &RecordBatch) -> Result<Vec<Self>, StageError> {
        let names = task.column::<NameId>(batch, "name_id")?.into_iter();
        let mut images = task.column::<ImageId>(batch, "image_id")?.into_iter();
        let mut urls = task.column::<String>(batch, "url")?.into_iter();
        let mut files = task.column::<Image>(batch, "image")?.into_iter();
        let mut digests = task.column::<String>(batch, "sha256")?.into_iter();
        let mut widths = task.column::<u32>(batch, "width")?.into_iter();
        let mut heights = task.column::<u32>(batch, "height")?.into_iter();
        let rows = names.map_while(|name_id| {
            Some(Self {
                name_id,
                image_id: images.next()?,
                url: urls.next()?,
                image: files.next()?,
                sha256: digests.next()?,
                width: widths.next()?,
                height: heights.next()?,
            })
        });
        Ok(rows.collect())
    }

    fn print(&self, settings: &Settings) -> Result<PhotoPrint, DecodeError> {
        let orientation = match settings.orientation {
            Turned::AsStored => Orientation::AsStored,
            Turned::Upright => Orientation::Upright,
        };
        let host = Url::parse(&self.url).ok();
        let host = host.as_ref().and_then(|url| url.host_str());
        Ok(PhotoPrint {
            name_id: self.name_id,
            image_id: self.image_id,
            host: host.unwrap_or_default().to_owned(),
            sha256: self.sha256.clone(),
            average_hash: hash(&self.image.bytes, orientation, settings.hashing)?,
            pixels: u64::from(self.width) * u64::from(self.height),
            bytes: self.image.bytes.len() as u64,
        })
    }

    /// What download-images has proven to decode does so here too; a table from elsewhere may hold anything.
    fn drop_from(&self, task: &mut Task, error: &DecodeError) {
        let (id, name) = (self.image_id.0, Some(self.name_id));
        let detail = Some(error.to_string());
        task.drop_row(Unit::Image, id, name, DropReason::Corrupt, detail);
    }
}
