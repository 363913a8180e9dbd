//! The web of the embedded world: if the manifest names one, an HTTP server on loopback for as long as the run.

use std::path::PathBuf;

use laioncele_core::Manifest;
use laioncele_core::spec::HostMap;
use laioncele_mini_world::{HOST_SUFFIX, WebServer};
use serde::Deserialize;

use crate::failure::Failure;

/// `[mini_world]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The file `web.json` of a world.
    web: Option<PathBuf>,
}

/// The web of a run. It is not served before it is needed.
pub(crate) struct WorldWeb {
    description: Option<PathBuf>,
    server: Option<WebServer>,
}

impl WorldWeb {
    /// The web that `manifest` names.
    ///
    /// # Errors
    /// An invalid section `[mini_world]`.
    pub(crate) fn of(manifest: &Manifest) -> Result<Self, Failure> {
        let settings: Settings = manifest.section("mini_world")?;
        Ok(Self {
            description: settings.web.map(|path| manifest.resolve(&path)),
            server: None,
        })
    }

    /// Serves the web on a free port from now on, and says where the invented hosts are. `None` if
    /// the manifest names no web.
    ///
    /// # Errors
    /// A `web.json` that cannot be read, a port that cannot be listened on.
    pub(crate) fn host_map(&mut self) -> Result<Option<HostMap>, Failure> {
        self.serve(0)
    }

    /// Like [`WorldWeb::host_map`], on `port` if the web is not served yet.
    ///
    /// # Errors
    /// See [`WorldWeb::host_map`].
    pub(crate) fn serve(&mut self, port: u16) -> Result<Option<HostMap>, Failure> {
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
