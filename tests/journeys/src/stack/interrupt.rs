//! Ctrl-C. Every wait of the stack asks [`check`], so that an interrupted start unwinds, and everything that was started is
//! stopped in its order by the ordinary drops.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The error of a wait that Ctrl-C or SIGTERM ended.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Turns the first Ctrl-C or SIGTERM into a request to stop, and the second into an end at once.
pub fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not listen for Ctrl-C")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if INTERRUPTED.swap(true, Ordering::SeqCst) {
                    // The children get SIGKILL from the kernel when we are gone.
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(())
}

/// Whether the stack was asked to stop.
pub fn happened() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Fails once the stack was asked to stop.
pub fn check() -> Result<()> {
    if happened() { Err(Interrupted.into()) } else { Ok(()) }
}
