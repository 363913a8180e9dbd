//! Checks that every part named by a ledger record exists unchanged.

use std::collections::BTreeMap;

use laioncele_core::ledger::Ledger;
use laioncele_core::{CoreError, Digest, Part};

use super::Findings;
use crate::failure::Failure;
use crate::session::Session;

/// Hashes the parts of all records, also of outdated ones.
pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), Failure> {
    let store = session.store()?;
    let records = Ledger::new(store.clone()).all()?;
    let outputs = records.iter().flat_map(|r| &r.outputs);
    let parts: BTreeMap<&str, &Part> = outputs.map(|p| (p.path.as_str(), p)).collect();
    for (path, part) in parts {
        findings.parts += 1;
        match store.get(path) {
            Ok(bytes) => {
                findings.bytes += bytes.len() as u64;
                let found = Digest::of(&bytes);
                if found != part.digest {
                    let error = CoreError::Damaged {
                        path: path.to_owned(),
                        expected: part.digest,
                        found,
                    };
                    findings.problems.push(error.to_string());
                }
            }
            Err(error @ CoreError::Missing { .. }) => findings.problems.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
