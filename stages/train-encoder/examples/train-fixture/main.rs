//! Holds the trainer against recordings of PyTorch's: trains from `data.safetensors` and
//! `init.safetensors` with the settings of each run in `manifest.json`, and prints every difference
//! beside its tolerance.
//!
//!     train-fixture [--out FOLDER] FIXTURE_FOLDER…
//!
//! With `--out`, the losses and the weights of the recorded steps are written there too
//! (`SET/RUN.losses.json`, `SET/RUN.stepN.safetensors`, a checkpoint). Exits 1 where a difference is
//! too large.

mod fixture;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fixture::{Comparison, Failure, Fixture};
use laioncele_core::Digest;

fn main() -> Result<ExitCode, Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = None;
    if let Some(at) = arguments.iter().position(|a| a == "--out") {
        arguments.remove(at);
        if at >= arguments.len() {
            return Err("--out needs a folder".into());
        }
        out = Some(PathBuf::from(arguments.remove(at)));
    }
    if arguments.is_empty() {
        return Err("usage: train-fixture [--out FOLDER] FIXTURE_FOLDER…".into());
    }
    let mut failed = false;
    for folder in arguments.iter().map(Path::new) {
        failed |= compare(folder, out.as_deref())?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

/// Compares all runs of a folder; whether one failed.
fn compare(folder: &Path, out: Option<&Path>) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    let set = folder.file_name().unwrap_or_default().to_string_lossy();
    let fixture = Fixture::read(folder)?;
    let mut failed = false;
    let mut print = |run: &str, all: &[Comparison]| -> Result<(), Failure> {
        for Comparison {
            what,
            found,
            allowed,
        } in all
        {
            writeln!(stdout, "{set} {run}: {what} {found:.1e} of {allowed:.0e}")?;
        }
        let bad = all.iter().filter(|c| !c.holds()).count();
        failed |= bad > 0;
        let word = if bad > 0 { "FAILED" } else { "ok" };
        Ok(writeln!(stdout, "{set} {run}: {word}")?)
    };
    print("statistics", &[fixture.compare_statistics()])?;
    for run in fixture.runs() {
        print(&run, &fixture.compare(&run)?)?;
        if let Some(out) = out {
            write(&fixture, &run, &out.join(&*set))?;
        }
    }
    Ok(failed)
}

fn write(fixture: &Fixture, run: &str, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let kept: Vec<u64> = (1..=100_000).collect();
    let trained = fixture.train(run, None, &kept)?;
    let losses = serde_json::to_vec(&trained.losses)?;
    std::fs::write(folder.join(format!("{run}.losses.json")), losses)?;
    for (step, state) in &trained.states {
        let bytes = state.to_bytes(Digest::of(run.as_bytes()))?;
        std::fs::write(folder.join(format!("{run}.step{step}.safetensors")), bytes)?;
    }
    Ok(())
}
