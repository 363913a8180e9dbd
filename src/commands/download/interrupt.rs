//! Ctrl-C and termination signals during a download: the first asks it to stop, the second ends the process.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Exit;
use crate::output;

/// Sets both flags at the first SIGINT or SIGTERM from now on: `stop`, which ends the download, and `interrupted`, which
/// says why.
///
/// # Errors
/// If the handlers cannot be installed.
pub(super) fn watch(stop: Arc<AtomicBool>, interrupted: Arc<AtomicBool>) -> io::Result<()> {
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
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if interrupted.swap(true, Ordering::Relaxed) {
                process::exit(Exit::Interrupted as i32);
            }
            stop.store(true, Ordering::Relaxed);
            output::message("stopping; a second Ctrl-C ends the program at once");
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(listen))
        .map(drop)
}
