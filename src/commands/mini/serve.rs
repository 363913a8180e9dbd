//! `laioncele mini serve`: serves the web of a world, to look at it or to test another downloader.

use clap::Args;
use laioncele_core::CoreError;
use laioncele_mini_world::HOST_SUFFIX;

use crate::args::ModelsOf;
use crate::failure::Failure;
use crate::output;
use crate::session::manifest_of_models;
use crate::world_web::WorldWeb;

const EXAMPLES: &str = "\
Examples:
  laioncele mini serve
  laioncele mini serve --port 8080 --manifest /data/world-7/mini.toml
  curl --connect-to ::127.0.0.1:8080 http://HOST.example/PATH

All invented hosts are at one address; their pages are in the world's web.json. Some pages
misbehave on purpose: they are slow, endless, cut off or redirect in a circle. Ctrl-C ends
the server.";

/// `laioncele mini serve`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Serve {
    #[command(flatten)]
    models: ModelsOf,
    /// The port on 127.0.0.1; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

impl Serve {
    /// Serves until the process ends.
    ///
    /// # Errors
    /// A manifest that names no web, a port that is taken.
    pub(super) fn execute(self) -> Result<(), Failure> {
        let manifest = manifest_of_models(&self.models)?;
        let mut web = WorldWeb::of(&manifest)?;
        let Some(map) = web.serve(self.port)? else {
            let text = "[mini_world] names no web: this is not the manifest of an embedded world";
            return Err(CoreError::Manifest {
                path: manifest.path().to_owned(),
                reason: text.to_owned(),
            }
            .into());
        };
        output::data(&format!(
            "serving hosts *{HOST_SUFFIX} at http://{} until Ctrl-C",
            map.address
        ))?;
        loop {
            std::thread::park();
        }
    }
}
