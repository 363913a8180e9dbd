//! Checks that nothing of who was taken down is in any file of the run.

use laioncele_core::error::chain;
use laioncele_core::forgotten::{Forgotten, finds};

use super::findings::{Findings, Kind};
use crate::commands::forget::{reference_photos, scanned};
use crate::failure::Failure;
use crate::session::Session;

/// Searches every file, unpacked, where anybody was taken down.
pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let store = session.store()?;
    let Some(stones) = Forgotten::load(store)? else {
        return Ok(());
    };
    let mut searched = 0;
    for path in store.list("")? {
        if !scanned(&path) {
            continue;
        }
        searched += 1;
        match finds(store, &path, &stones) {
            Ok(false) => {}
            Ok(true) => findings.add(
                Kind::Forgotten,
                &path,
                "it has somebody who was taken down: `laioncele forget` takes them out",
            ),
            Err(error) => {
                let text = format!(
                    "it cannot be searched for who was taken down: {}",
                    chain(&error)
                );
                findings.add(Kind::Forgotten, &path, &text);
            }
        }
    }
    for photo in reference_photos(&session.manifest, &stones) {
        findings.add(
            Kind::Forgotten,
            &photo.to_string_lossy(),
            "it is a reference photo of somebody who was taken down: delete it, then `laioncele forget` once more",
        );
    }
    findings.searched = Some(searched);
    Ok(())
}
