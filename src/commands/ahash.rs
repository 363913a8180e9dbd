//! `laioncele ahash`: average hashes of images, as Python's imagehash prints them.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_core::CoreError;
use laioncele_core::error::chain;
use laioncele_dedupe_images::{average_hash, average_hash_of_means};
use laioncele_image::{DecodeError, Orientation};
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::output;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele ahash photo.jpg
  laioncele ahash photos/ | sort | uniq -w 16 --all-repeated=separate    copies, in groups
  find . -name '*.jpg' | laioncele ahash -

One line per image, in the order given: 16 hexadecimal digits, two spaces, the path. They are those of
str(imagehash.average_hash(Image.open(path))). With --json one object per line: {\"image\": ..., \"hash\":
...}, or \"error\" instead of \"hash\". Without it, images that cannot be read are named on standard error.
JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF are read; of an animation the first image.";

/// Images that are hashed before any of them is printed.
const BLOCK: usize = 256;

/// `laioncele ahash`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ahash {
    /// Image files; folders, whose files are all taken, by name; `-`: paths from standard input, one a line
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Hash images as they are looked at: apply the EXIF orientation, which imagehash ignores
    #[arg(long)]
    upright: bool,
    /// Hash large JPEGs from the means of their blocks, as dedupe-images does by default: several times as fast, a bit or
    /// two off at times
    #[arg(long)]
    fast: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

impl Ahash {
    /// Prints the hashes.
    ///
    /// # Errors
    /// A folder or a list that cannot be read; at the end, images that could not be.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let threads = self.threads.map_or(0, usize::from);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Failure::new(Exit::Environment, format!("threads: {e}")))?;
        let images = self.paths()?;
        let mut broken = 0;
        for block in images.chunks(BLOCK) {
            let hashes = block.par_iter().with_max_len(1).map(|path| self.hash(path));
            let hashes: Vec<_> = pool.install(|| hashes.collect());
            for (path, hash) in block.iter().zip(hashes) {
                broken += usize::from(hash.is_err());
                self.print(path, hash)?;
            }
        }
        match broken {
            0 => Ok(()),
            n => Err(Failure::new(
                Exit::Environment,
                format!("{n} of {} could not be read", count(images.len(), "image")),
            )),
        }
    }

    fn paths(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = Vec::new();
        for given in &self.images {
            if given.as_os_str() == "-" {
                paths.extend(listed()?);
            } else if given.is_dir() {
                files_below(given, &mut paths)?;
            } else {
                paths.push(given.clone());
            }
        }
        Ok(paths)
    }

    /// The hash, or why there is none.
    fn hash(&self, path: &Path) -> Result<u64, String> {
        let bytes = std::fs::read(path).map_err(|e| chain(&CoreError::from_io(path, e)))?;
        let named = |error: DecodeError| format!("{}: {error}", path.display());
        let orientation = match self.upright {
            true => Orientation::Upright,
            false => Orientation::AsStored,
        };
        if self.fast
            && let Some(hash) = average_hash_of_means(&bytes, orientation).map_err(named)?
        {
            return Ok(hash);
        }
        average_hash(&bytes, orientation).map_err(named)
    }

    fn print(&self, path: &Path, hash: Result<u64, String>) -> Result<(), Failure> {
        match (hash, self.json) {
            (Ok(hash), false) => output::data(&format!("{hash:016x}  {}", path.display())),
            (Ok(hash), true) => {
                output::data(&json!({ "image": path, "hash": format!("{hash:016x}") }).to_string())
            }
            (Err(error), true) => {
                output::data(&json!({ "image": path, "error": error }).to_string())
            }
            (Err(error), false) => {
                output::message(&error);
                Ok(())
            }
        }
    }
}

/// The paths on standard input; empty lines are none.
fn listed() -> Result<Vec<PathBuf>, Failure> {
    let lines = std::io::stdin().lock().lines();
    let lines = lines.filter(|line| line.as_ref().map_or(true, |line| !line.is_empty()));
    let paths = lines.map(|line| line.map(PathBuf::from));
    paths.collect::<Result<_, _>>().map_err(|e| {
        let text = format!("the paths on standard input cannot be read: {e}");
        Failure::new(Exit::Environment, text)
    })
}

/// The files of a folder and of those in it, by name.
fn files_below(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |e| CoreError::from_io(folder, e);
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let entries = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut entries: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort();
    for path in entries {
        // A link to a folder is not followed: it may lead back here.
        if path.is_dir() && !path.is_symlink() {
            files_below(&path, paths)?;
        } else if path.is_file() {
            paths.push(path);
        }
    }
    Ok(())
}
