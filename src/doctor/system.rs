//! What the system gives a run besides files and memory: ONNX Runtime's library, names of hosts, the time, limits of the process.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use laioncele_core::Manifest;
use laioncele_core::error::chain;
use laioncele_face::{RuntimePlace, runtime_places};
use rustix::process::{Resource, getrlimit};

use super::{Check, Level};
use crate::words::{duration, grouped};

/// Files that a worker has open at most: connections of downloads, parts, models.
const FILES: u64 = 1024;
/// A name that is there as long as there are names.
const HOST: &str = "example.com";
/// How long the answer to a name may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Seconds since 1970 that are in the past: the beginning of 2025.
const PAST: u64 = 1_735_689_600;
/// Two clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(5);

/// Where ONNX Runtime's library is looked for, and which is taken.
pub(super) fn runtime() -> Check {
    let name = "onnxruntime";
    match runtime_places() {
        Ok(places) => match places.iter().position(|place| place.found.is_some()) {
            Some(first) => Check::of(Level::Ok, name, taken(&places, first)),
            None => {
                let places: Vec<_> = places.iter().map(|place| place.place.as_str()).collect();
                let detail = format!("not found; looked for, in this order: {}", places.join("; "));
                Check::of(Level::Error, name, detail)
            }
        },
        Err(error) => Check::of(Level::Error, name, chain(&error)),
    }
    .way_out("`pip install onnxruntime` where the program is installed, `make onnxruntime` in a checkout, or ORT_DYLIB_PATH=FILE")
}

fn taken(places: &[RuntimePlace], first: usize) -> String {
    let file = places[first].found.as_deref().unwrap_or(Path::new(""));
    let place = |(at, place): (usize, &RuntimePlace)| {
        let state = match &place.found {
            _ if at == first => " (taken)",
            Some(_) => " (there, not needed)",
            None => " (no)",
        };
        format!("{}{state}", place.place)
    };
    let places: Vec<_> = places.iter().enumerate().map(place).collect();
    format!(
        "{}; looked for, in this order: {}",
        file.display(),
        places.join("; ")
    )
}

/// The checks of the machine; `output` is the run's folder, if there is one.
pub(super) fn check(manifest: &Manifest, output: Option<&Path>) -> Vec<Check> {
    vec![names(manifest), clock(manifest, output), files()]
}

/// Whether names of hosts lead to addresses, where a run asks for any.
fn names(manifest: &Manifest) -> Check {
    let name = "dns";
    if manifest.has_section("mini_world") {
        let text = "not needed: the embedded world's web is on this machine".to_owned();
        return Check::of(Level::Ok, name, text);
    }
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let found = (HOST, 443).to_socket_addrs().map(Iterator::count);
        drop(sender.send(found));
    });
    let failed = match answer.recv_timeout(PATIENCE) {
        Ok(Ok(addresses)) if addresses > 0 => {
            return Check::of(Level::Ok, name, format!("{HOST} has an address"));
        }
        Ok(Ok(_)) => "no address".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer in {}", duration(PATIENCE)),
    };
    Check::of(Level::Warning, name, format!("{HOST}: {failed}"))
        .way_out("download-images needs names: see /etc/resolv.conf, or the network; all other stages run without")
}

/// Whether the time is believable, and that of the run's disk the same.
fn clock(manifest: &Manifest, output: Option<&Path>) -> Check {
    let name = "clock";
    let now = SystemTime::now();
    let since = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let way_out = "set the clock, for example by `timedatectl set-ntp true`: leases, retries and `--older-than` go by it";
    if since.as_secs() < PAST {
        let text = "the clock is before 2025".to_owned();
        return Check::of(Level::Error, name, text).way_out(way_out);
    }
    let disk = output
        .filter(|folder| folder.is_dir())
        .and_then(time_of_disk);
    let written = fs::metadata(manifest.file()).and_then(|meta| meta.modified());
    let ahead = |time: SystemTime| time.duration_since(now).unwrap_or_default();
    let text = match (disk, written) {
        (Some(disk), _) if ahead(disk) > SKEW => {
            format!("the disk of the run is {} ahead", duration(ahead(disk)))
        }
        (Some(disk), _) if now.duration_since(disk).unwrap_or_default() > SKEW => {
            "the disk of the run is behind this machine".to_owned()
        }
        (_, Ok(written)) if ahead(written) > SKEW => {
            format!(
                "the manifest was written {} from now",
                duration(ahead(written))
            )
        }
        _ => return Check::of(Level::Ok, name, "no file is from the future".to_owned()),
    };
    Check::of(Level::Warning, name, text).way_out(way_out)
}

/// The time that a file gets which is written into `folder` now.
fn time_of_disk(folder: &Path) -> Option<SystemTime> {
    let path = folder.join(format!(".clock-{}", std::process::id()));
    fs::write(&path, b"").ok()?;
    let time = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
    drop(fs::remove_file(&path));
    time
}

/// Whether a worker may open as many files as it needs.
fn files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    let unlimited = u64::MAX;
    let (soft, hard) = (
        limit.current.unwrap_or(unlimited),
        limit.maximum.unwrap_or(unlimited),
    );
    let name = "limits";
    let shown = |files: u64| match files {
        u64::MAX => "unlimited".to_owned(),
        files => grouped(files),
    };
    let text = format!("open files: {} (at most {})", shown(soft), shown(hard));
    let address = getrlimit(Resource::As).current;
    match (hard < FILES, address) {
        (true, _) => Check::of(Level::Warning, name, text)
            .way_out("downloads will wait for each other: raise it, by `ulimit -n 4096` or in /etc/security/limits.conf"),
        (false, Some(bytes)) => {
            let text = format!("{text}; address space: {} bytes", grouped(bytes));
            Check::of(Level::Warning, name, text)
                .way_out("weights are mapped into memory whole: `ulimit -v unlimited`")
        }
        (false, None) => Check::of(Level::Ok, name, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_is_taken_is_said_and_those_before_and_behind_it() {
        let place = |place: &str, found: Option<&str>| RuntimePlace {
            place: place.to_owned(),
            found: found.map(Into::into),
        };
        let places = [
            place("A", None),
            place("B", Some("/b/lib.so")),
            place("C", Some("/c/lib.so")),
        ];
        assert_eq!(
            taken(&places, 1),
            "/b/lib.so; looked for, in this order: A (no); B (taken); C (there, not needed)"
        );
    }

    #[test]
    fn a_written_file_has_this_machines_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let time = time_of_disk(folder.path()).expect("a time");
        assert!(time <= SystemTime::now());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
