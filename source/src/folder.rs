//! A folder of samples: images on disk, each with a JSON or text file of the same name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sample::{Kind, MAX_TEXT, Sample, part_of};

/// Whether `paths`, the files of a folder, are samples.
pub(crate) fn holds_samples(paths: &[PathBuf]) -> bool {
    let (mut images, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match part_of(&name) {
            Some((sample, Kind::Image)) => images.insert(sample.to_owned()),
            Some((sample, _)) => texts.insert(sample.to_owned()),
            None => false,
        };
    }
    !images.is_disjoint(&texts)
}

/// The samples of a folder, sorted by name.
pub(crate) struct FolderSamples {
    folder: PathBuf,
    /// Names of files, the last first, and whether each is a regular one.
    names: Vec<(String, bool)>,
}

impl FolderSamples {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut kind = entry.file_type()?;
            if part_of(&name).is_none() {
                continue;
            }
            if kind.is_symlink() {
                kind = match fs::metadata(entry.path()) {
                    Ok(meta) => meta.file_type(),
                    Err(_) => kind,
                };
            }
            if !kind.is_dir() {
                names.push((name, kind.is_file()));
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        let folder = folder.to_owned();
        Ok(Self { folder, names })
    }

    /// The next sample, none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Sample>> {
        let mut sample = Sample::default();
        let mut begun = false;
        while let Some((name, is_regular)) = self.names.last() {
            let Some((of, kind)) = part_of(name) else {
                break;
            };
            if begun && of != sample.name {
                break;
            }
            if !begun {
                of.clone_into(&mut sample.name);
                begun = true;
            }
            let text = |slot: &mut Option<_>| -> io::Result<()> {
                if slot.is_none() {
                    *slot = Some(read(&self.folder.join(name))?);
                }
                Ok(())
            };
            match kind {
                // Opening a pipe would wait for somebody who writes.
                _ if !is_regular => sample.fault = Some(format!("{name} is no regular file")),
                Kind::Image => {
                    sample.image.get_or_insert_with(|| name.clone());
                }
                Kind::Json => text(&mut sample.json)?,
                Kind::Text => text(&mut sample.text)?,
            }
            self.names.pop();
        }
        Ok(begun.then_some(sample))
    }
}

fn read(path: &Path) -> io::Result<Result<Vec<u8>, String>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_TEXT + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Ok(Err(format!("text of more than {MAX_TEXT} bytes")));
    }
    Ok(Ok(bytes))
}
