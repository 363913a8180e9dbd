//! Writes the generated pages of `docs/`, or their text alone:
//! `cargo run --release -p laioncele-structure -- docs/manifest.md`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Some(target) = std::env::args_os().nth(1) else {
        return ExitCode::from(2);
    };
    let written = laioncele_structure::reference::manifest(&root)
        .and_then(|page| std::fs::write(&target, page));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}
