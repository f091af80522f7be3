//! The window: the till and its screen in one program.
//!
//! It runs the same till as `evertill-node` and shows the same screen as a browser does, but no port is opened between the two:
//! the screen calls the five commands of [`shell`], which Tauri carries inside this program.
//!
//! | module | holds |
//! |---|---|
//! | [`arguments`] | what can be said on the command line |
//! | [`host`] | the till behind the window: not enrolled yet, at work, or stuck and why |
//! | [`shell`] | the window itself, and what its screen may call |
//!
//! What a till does is in `node`; what a screen shows is in `ui/src`. This crate is kept small: it is compiled anew whenever the
//! screen changes.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use arguments::{Arguments, ArgumentsError};
use host::Host;
use operations::logging;

pub mod arguments;
pub mod host;
pub mod shell;

/// Whether another program may take over the window's page, see what is on it and type into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Automation {
    /// No, whatever the environment says.
    Refused,
    /// Yes, for a program that asks by WebDriver. For tests only, and never in a program that ships.
    Allowed,
}

/// What makes Tauri and WebKitGTK let another program in.
const WAYS_IN: [&str; 3] = ["TAURI_WEBVIEW_AUTOMATION", "WEBKIT_INSPECTOR_SERVER", "WEBKIT_INSPECTOR_HTTP_SERVER"];

/// The whole program: reads the command line, opens the till and its window, and ends both.
pub fn run(automation: Automation) -> ExitCode {
    if automation == Automation::Refused {
        close_ways_in();
    }
    let arguments = Arguments::parse();
    match show(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("evertill: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(unsafe_code, reason = "no other thread runs yet that could read the environment meanwhile")]
fn close_ways_in() {
    for name in WAYS_IN {
        // SAFETY: this is the first thing that the program does; it has one thread.
        unsafe { std::env::remove_var(name) };
    }
}

fn show(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let host = Arc::new(Host::of(arguments)?);
    logging::begin(&host.log_config());
    // Asked by Tauri later on, GTK would end the program without a sentence, and with the till open.
    gtk::init().map_err(|_| ArgumentsError::NoDisplay)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tauri::async_runtime::set(runtime.handle().clone());
    // From here on a signal is heard, so that no till is opened that would not be closed.
    let signals = {
        let _entered = runtime.enter();
        Signals::hear()?
    };
    // The till opens while the page loads; the page then waits for whichever is later.
    runtime.spawn({
        let host = host.clone();
        async move { host.begin(false).await }
    });
    let app = shell::shell(tauri::Builder::default(), host.clone())
        .setup({
            let kiosk = arguments.kiosk;
            move |app| Ok(shell::open(app, kiosk).map(drop)?)
        })
        .build(shell::context())?;
    let handle = app.handle().clone();
    runtime.spawn(async move {
        signals.asked_to_stop().await;
        handle.exit(0);
    });
    // Returns when the window is closed.
    app.run_return(|_, _| {});
    let was_stuck = runtime.block_on(host.stop());
    Ok(if was_stuck { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The ways in which the system asks a program to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked_to_stop(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
