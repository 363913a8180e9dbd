//! Ctrl-C and termination signals: the first asks the run to stop, the second kills its workers,
//! the third exits at once.

use std::io;
use std::process;
use std::sync::mpsc::Sender;

use tokio::signal::unix::{SignalKind, signal};

use super::pool::Event;
use crate::failure::Exit;

/// Sends an [`Event::Interrupt`] for every SIGINT or SIGTERM from now on.
///
/// # Errors
/// If the handlers cannot be installed.
pub(crate) fn watch(events: Sender<Event>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    let listen = async move {
        for count in 1_u32.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if count > 2 || events.send(Event::Interrupt).is_err() {
                process::exit(Exit::Interrupted as i32);
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(listen))
        .map(drop)
}
