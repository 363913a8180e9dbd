//! The objects of a bucket that a source consists of: one by its url, all below a url, or those that a pattern fits.

use std::path::PathBuf;

use glob::{MatchOptions, Pattern};
use laioncele_core::CoreError;
use laioncele_core::input::{ObjectAbout, object, objects_below};

use super::{Format, Found, Reading, is_hidden};

/// As paths on a disk are matched: a star stays in its folder.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The objects of the entry `url` that may be shards. A folder of single images is none here.
///
/// # Errors
/// [`CoreError::Bucket`], [`CoreError::Missing`], or [`CoreError::Manifest`] of a pattern that is none.
pub(super) fn found_in(url: &str, reading: Reading) -> Result<Vec<Found>, CoreError> {
    if !url.contains(['*', '?', '[']) {
        return match object(url)? {
            Some(about) => Ok(vec![named(url, about, reading)]),
            None => below(url, reading),
        };
    }
    let fixed = url.split(['*', '?', '[']).next().unwrap_or_default();
    let folder = fixed.rsplit_once('/').map_or(fixed, |(folder, _)| folder);
    let pattern = Pattern::new(url).map_err(|e| CoreError::Manifest {
        path: url.into(),
        reason: format!("[source] path: {url} is no pattern: {e}"),
    })?;
    let objects = objects_below(folder)?.into_iter();
    let fits = |path: &PathBuf| pattern.matches_with(&path.to_string_lossy(), MATCHING);
    let fitting = objects.filter(|(path, _)| fits(path));
    Ok(fitting
        .filter_map(|found| shard(folder, found, reading))
        .collect())
}

/// An object that the manifest names is read, whatever it is called.
fn named(url: &str, about: ObjectAbout, reading: Reading) -> Found {
    let path = PathBuf::from(url);
    let other = match reading {
        Reading::Urls => Format::Text,
        Reading::Samples | Reading::Columns => Format::Parquet,
    };
    Found {
        below: path.file_name().unwrap_or_default().into(),
        format: Format::of(&path).map_or(other, |(format, _)| format),
        path,
        object: Some(about),
    }
}

fn below(url: &str, reading: Reading) -> Result<Vec<Found>, CoreError> {
    let objects = objects_below(url)?;
    if objects.is_empty() {
        return Err(CoreError::Missing { path: url.into() });
    }
    let objects = objects.into_iter();
    Ok(objects
        .filter_map(|found| shard(url, found, reading))
        .collect())
}

/// An object below `folder`, if its name is that of a shard, and hidden nowhere.
fn shard(folder: &str, found: (PathBuf, ObjectAbout), reading: Reading) -> Option<Found> {
    let (path, about) = found;
    let whole = path.to_string_lossy();
    let below = whole.strip_prefix(folder.trim_end_matches('/'))?;
    let below = PathBuf::from(below.trim_start_matches('/'));
    if below.ancestors().any(is_hidden) {
        return None;
    }
    let (format, _) = Format::of(&path)?;
    if reading == Reading::Urls && format == Format::Tar {
        return None;
    }
    Some(Found {
        path,
        below,
        format,
        object: Some(about),
    })
}
