//! Whether the disk has room for what the stages of a run will still write.

use std::path::{Path, PathBuf};

use laioncele_core::StageName;
use laioncele_core::store::url_of;
use rustix::fs::statvfs;

use super::output::nearest;
use super::{Check, Level};
use crate::args::RunPaths;
use crate::plan::StepPlan;
use crate::session::{Access, Session};
use crate::words::size;

/// Bytes below which a disk counts as full.
const LITTLE: u64 = 1_000_000_000;
/// Stages that are named, those that write most.
const SHOWN: usize = 4;

/// The disk of the run in `output`, else that of the current folder.
pub(super) fn check(output: Option<&Path>) -> Check {
    let name = "disk";
    if output.is_some_and(|output| url_of(output).is_some()) {
        return Check::of(Level::Ok, name, "results go to a bucket".to_owned());
    }
    let folder = output.map_or(PathBuf::from("."), nearest);
    let Some(free) = free(&folder) else {
        let text = format!("{}: the system does not say what is free", folder.display());
        return Check::of(Level::Ok, name, text);
    };
    let stages = output.and_then(expected).unwrap_or_default();
    let needed: u64 = stages.iter().map(|stage| stage.left).sum();
    let text = match stages.is_empty() {
        true => format!(
            "{} are free; what a run writes is estimated from its first tasks: `doctor --output FOLDER`",
            size(free)
        ),
        false => format!("{} are free; {}", size(free), estimate(&stages, needed)),
    };
    let level = match free {
        free if free < needed => Level::Error,
        free if free < LITTLE => Level::Warning,
        _ => Level::Ok,
    };
    Check::of(level, name, text)
        .way_out("`laioncele gc` shows what no result needs; or another --output")
}

/// Free bytes of the disk that `folder` is on.
fn free(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What a stage has written, and what it will still write.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stage {
    name: StageName,
    written: u64,
    /// By the mean of its done tasks; 0 where none is done.
    left: u64,
    /// Whether a step of it has tasks and none of them is done.
    unknown: bool,
}

fn expected(output: &Path) -> Option<Vec<Stage>> {
    let paths = RunPaths {
        manifest: None,
        output: output.to_owned(),
        set: Vec::new(),
    };
    let session = Session::open(&paths, StageName::Evaluate, Access::Existing).ok()?;
    let plan = session.plan().ok()?;
    let stages = plan.steps.chunk_by(|a, b| a.stage == b.stage);
    Some(stages.map(stage).collect())
}

fn stage(steps: &[StepPlan]) -> Stage {
    let mut stage = Stage {
        name: steps[0].stage,
        written: 0,
        left: 0,
        unknown: false,
    };
    for step in steps {
        let parts = step.records().flat_map(|record| &record.outputs);
        let bytes: u64 = parts.map(|part| part.bytes).sum();
        let (done, all) = (step.records().count() as u64, step.tasks.len() as u64);
        stage.written += bytes;
        stage.left += bytes.checked_div(done).unwrap_or(0) * (all - done);
        stage.unknown |= done == 0 && all > 0;
    }
    stage
}

fn estimate(stages: &[Stage], needed: u64) -> String {
    let mut most: Vec<&Stage> = stages.iter().filter(|stage| stage.left > 0).collect();
    most.sort_by_key(|stage| std::cmp::Reverse(stage.left));
    let named = most.iter().take(SHOWN);
    let named: Vec<_> = named
        .map(|s| format!("{} {}", s.name, size(s.left)))
        .collect();
    let mut text = match named.is_empty() {
        true => "nothing is left to write by stages that have begun".to_owned(),
        false => format!(
            "some {} are still to come ({})",
            size(needed),
            named.join(", ")
        ),
    };
    let unknown = stages.iter().filter(|stage| stage.unknown);
    let unknown: Vec<_> = unknown.map(|stage| stage.name.as_str()).collect();
    if !unknown.is_empty() {
        text.push_str(&format!(
            ", without {}, of which no task is done",
            unknown.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_free_bytes_and_a_folder_that_is_not_there_has_none() {
        assert!(free(Path::new(".")).is_some());
        assert_eq!(free(Path::new("/no/such/folder")), None);
    }

    #[test]
    fn an_estimate_names_the_stages_that_write_most_and_those_that_are_unknown() {
        let stage = |name, left, unknown| Stage {
            name,
            written: 1,
            left,
            unknown,
        };
        let stages = [
            stage(StageName::ExtractNames, 0, false),
            stage(StageName::EncodeNames, 2_000_000_000, false),
            stage(StageName::DownloadImages, 9_000_000_000, false),
            stage(StageName::Evaluate, 0, true),
        ];
        assert_eq!(
            estimate(&stages, 11_000_000_000),
            "some 11.00 GB are still to come (download-images 9.00 GB, encode-names 2.00 GB), without evaluate, of which no task is done"
        );
        assert_eq!(
            estimate(&stages[..1], 0),
            "nothing is left to write by stages that have begun"
        );
    }
}
