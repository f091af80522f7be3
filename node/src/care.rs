//! What looks after a till's files while it works: the log is audited, what can be read of a damaged file is taken over, and what is old is let go. All in
//! small steps with pauses between them, so that whoever stands at the till has their turn.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;

use crate::errors::chain_of;
use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::till::{Care, Till};

/// Between two steps.
const STEP_AGAIN: Duration = Duration::from_millis(20);
/// Until it is looked whether what a damaged file waits for has come; it doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_secs(5);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether there is something to do.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Looks after a till's files until told to stop.
pub async fn run(node: Node, mut stop: watch::Receiver<bool>) {
    let work =
        async { tokio::join!(steps(&node, Till::salvage_step), steps(&node, Till::audit_step), steps(&node, Till::let_go_step)) };
    tokio::select! {
        biased;
        () = async { let _ = stop.wait_for(|stop| *stop).await; } => {}
        (Err(NodeStopped), Err(NodeStopped), Err(NodeStopped)) = work => {}
    }
}

/// Takes one step after another.
async fn steps(node: &Node, step: fn(&mut Till) -> Result<Care, StoreError>) -> Result<Infallible, NodeStopped> {
    let mut wait = WAIT_MIN;
    loop {
        let pause = match node.with(step).await? {
            Ok(Care::More) => {
                wait = WAIT_MIN;
                STEP_AGAIN
            }
            Ok(Care::Waits) => {
                let now = wait;
                wait = (wait * 2).min(WAIT_MAX);
                now
            }
            Ok(Care::Done) => LOOK_AGAIN,
            Ok(Care::DoneFor(pause)) => pause,
            Err(error) => {
                tracing::debug!(problem = chain_of(&error), "the files of this till cannot be looked after now");
                WAIT_MIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}
