//! The embedded world's web: where the manifest names one, a real HTTP server on loopback for as long as the run.

use std::path::PathBuf;

use laioncele_core::Manifest;
use laioncele_core::protocol::HostMap;
use laioncele_mini_world::{HOST_SUFFIX, WebServer};
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
    server: Option<WebServer>,
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
            server: None,
        })
    }

    /// Where the invented hosts are, the web being served on a free port from now on; `None` without one.
    ///
    /// # Errors
    /// A description that cannot be read, a port that cannot be had.
    pub fn host_map(&mut self) -> Result<Option<HostMap>, Failure> {
        self.serve(0)
    }

    /// As [`WorldWeb::host_map`], on `port` if it is not served yet.
    ///
    /// # Errors
    /// As [`WorldWeb::host_map`].
    pub fn serve(&mut self, port: u16) -> Result<Option<HostMap>, Failure> {
        let Some(description) = &self.description else {
            return Ok(None);
        };
        if self.server.is_none() {
            self.server = Some(WebServer::start(description, port)?);
        }
        Ok(self.server.as_ref().map(|server| HostMap {
            suffix: HOST_SUFFIX.to_owned(),
            address: server.address(),
        }))
    }
}
