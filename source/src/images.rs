//! The images that the source itself holds, by their addresses.
//!
//! An address is `PARTITION@DIGEST#PLACE`. The place is `OFFSET+LENGTH` in a tar shard, `rowN` of a
//! Parquet file, a file's name in a folder. The digest is of the shard, so that an address changes
//! with the bytes behind it, and with it the keys of what reads them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use laioncele_core::input::InputFile;
use laioncele_core::manifest::SourceSettings;
use laioncele_core::{CoreError, Digest, Manifest, Partition};

use crate::detect::{Purpose, Wanted};
use crate::error::ImageError;
use crate::parquet_file::ParquetFile;
use crate::shards::shards;
use crate::tar_file::{BLOCK, header_of};

/// Reads images out of a source. It holds the paths of the shards, whatever the number of images.
pub struct SourceImages {
    shards: HashMap<String, PathBuf>,
    settings: SourceSettings,
}

/// An image, or why there is none.
type Found = Result<Vec<u8>, ImageError>;

impl SourceImages {
    /// The source of `manifest`.
    ///
    /// # Errors
    /// What [`shards`] returns.
    pub fn open(manifest: &Manifest) -> Result<Self, CoreError> {
        let shards = shards(manifest)?;
        let named = |shard: crate::SourceShard| (shard.partition.to_string(), shard.path);
        Ok(Self {
            shards: shards.into_iter().map(named).collect(),
            settings: manifest.source.clone(),
        })
    }

    /// What stands before the place in the addresses of a shard.
    pub fn origin(partition: &Partition, digest: Digest) -> String {
        format!("{partition}@{}", &digest.short()[..8])
    }

    /// The bytes at each of `addresses`, in their order; a file is opened once for all of its images
    /// that are asked for together. None is longer than `max_bytes`.
    pub fn read(&self, addresses: &[&str], max_bytes: u64) -> Vec<Found> {
        let mut by_shard: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
        let mut found: Vec<Option<Found>> = addresses.iter().map(|_| None).collect();
        for (number, address) in addresses.iter().enumerate() {
            match address.split_once('#') {
                Some((origin, place)) => by_shard.entry(origin).or_default().push((number, place)),
                None => found[number] = Some(changed(address, "no address of an image")),
            }
        }
        for (origin, places) in by_shard {
            let shard = origin.split_once('@').map_or(origin, |(shard, _)| shard);
            let numbers = places.iter().map(|(number, _)| *number);
            let images = match self.shards.get(shard) {
                Some(path) => self.read_shard(path, &places, addresses, max_bytes),
                None => (numbers.clone())
                    .map(|number| changed(addresses[number], "the source has no such shard"))
                    .collect(),
            };
            for (number, image) in numbers.zip(images) {
                found[number] = Some(image);
            }
        }
        let missing = |found: Option<Found>| found.unwrap_or(Err(ImageError::None));
        found.into_iter().map(missing).collect()
    }

    fn read_shard(
        &self,
        path: &Path,
        places: &[(usize, &str)],
        addresses: &[&str],
        max_bytes: u64,
    ) -> Vec<Found> {
        if places.iter().any(|(_, place)| place.starts_with("row")) && !path.is_dir() {
            return self.read_parquet(path, places, addresses, max_bytes);
        }
        let addressed = places
            .iter()
            .map(|(number, place)| (*place, addresses[*number]));
        if path.is_dir() {
            return addressed
                .map(|(place, address)| read_file(path, place, address, max_bytes))
                .collect();
        }
        match InputFile::open(path) {
            Ok(mut file) => addressed
                .map(|(place, address)| read_member(&mut file, place, address, max_bytes))
                .collect(),
            Err(error) => addressed
                .map(|(_, address)| changed(address, &error.to_string()))
                .collect(),
        }
    }

    fn read_parquet(
        &self,
        path: &Path,
        places: &[(usize, &str)],
        addresses: &[&str],
        max_bytes: u64,
    ) -> Vec<Found> {
        let row = |place: &str| {
            place
                .strip_prefix("row")
                .and_then(|n| n.parse::<u64>().ok())
        };
        let mut rows: Vec<u64> = places.iter().filter_map(|(_, place)| row(place)).collect();
        rows.sort_unstable();
        rows.dedup();
        let wanted = Wanted {
            settings: &self.settings,
            needs: &[],
            purpose: Purpose::Captions,
        };
        let mut images = InputFile::open(path)
            .map_err(|e| e.to_string())
            .and_then(|file| ParquetFile::open(path, file, &wanted).map_err(|e| e.to_string()))
            .and_then(|file| file.images(&rows, max_bytes));
        let places_of = |wanted: &str| places.iter().filter(|(_, place)| *place == wanted).count();
        let of = |(number, place): &(usize, &str)| {
            let images = match &mut images {
                Ok(images) => images,
                Err(reason) => return changed(addresses[*number], reason),
            };
            let index = row(place).and_then(|row| rows.binary_search(&row).ok());
            let image = match index.and_then(|index| images.get_mut(index)) {
                // Handed on, unless it is asked for again.
                Some(image) if places_of(place) == 1 => image.take(),
                Some(image) => image.clone(),
                None => return changed(addresses[*number], "no such row"),
            };
            match image {
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(bytes)) => Err(ImageError::TooLarge {
                    bytes,
                    limit: max_bytes,
                }),
                None => Err(ImageError::None),
            }
        };
        places.iter().map(of).collect()
    }
}

fn changed(address: &str, reason: &str) -> Found {
    Err(ImageError::Changed {
        address: address.to_owned(),
        reason: reason.to_owned(),
    })
}

/// A file of a folder of samples.
fn read_file(folder: &Path, name: &str, address: &str, max_bytes: u64) -> Found {
    if name.contains(['/', '\\']) || name == ".." {
        return changed(address, "no file's name");
    }
    let mut bytes = Vec::new();
    let path = folder.join(name);
    // Opening a pipe would wait for somebody who writes.
    if fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
        return changed(address, "no regular file");
    }
    let read = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(length)
    });
    match read {
        Ok(length) if bytes.len() as u64 > max_bytes => Err(ImageError::TooLarge {
            bytes: length,
            limit: max_bytes,
        }),
        Ok(_) => Ok(bytes),
        Err(error) => changed(address, &error.to_string()),
    }
}

/// A file of a tar shard. Its header must say that it is there.
fn read_member(file: &mut InputFile, place: &str, address: &str, max_bytes: u64) -> Found {
    let numbers = place.split_once('+');
    let numbers = numbers.and_then(|(at, size)| Some((at.parse().ok()?, size.parse().ok()?)));
    let Some((at, size)) = numbers.filter(|(at, _): &(u64, u64)| *at >= BLOCK) else {
        return changed(address, "no place in a tar file");
    };
    if size > max_bytes {
        return Err(ImageError::TooLarge {
            bytes: size,
            limit: max_bytes,
        });
    }
    let mut read = || -> std::io::Result<Option<Vec<u8>>> {
        if at.saturating_add(size) > file.length() {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(at - BLOCK))?;
        let mut bytes = vec![0; (BLOCK + size) as usize];
        file.read_exact(&mut bytes)?;
        let is_here = header_of(&bytes).is_some();
        Ok(is_here.then(|| bytes.split_off(BLOCK as usize)))
    };
    match read() {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => changed(address, "no file begins here"),
        Err(error) => changed(address, &error.to_string()),
    }
}
