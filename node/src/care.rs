//! What looks after a till's files while it works: the log is audited, a file that something failed in is looked at, what can be read of a damaged one is
//! taken over, and what is old is let go. All in small steps with pauses between them, so that whoever stands at the till has their turn.

use std::convert::Infallible;
use std::time::Duration;

use operations::care::{Care, LOOK_AGAIN, Pace};
use tokio::sync::watch;

use crate::errors::chain_of;
use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::till::Till;

/// How soon after a failure the look at the file begins. Until it ends a damaged file is sold into.
const SUSPECT_AGAIN: Duration = Duration::from_secs(1);

/// Looks after a till's files until told to stop.
pub async fn run(node: Node, mut stop: watch::Receiver<bool>) {
    let work = async {
        tokio::join!(
            steps(&node, Till::salvage_step, LOOK_AGAIN),
            steps(&node, Till::audit_step, LOOK_AGAIN),
            steps(&node, Till::suspicion_step, SUSPECT_AGAIN),
            steps(&node, Till::let_go_step, LOOK_AGAIN)
        )
    };
    tokio::select! {
        biased;
        () = async { let _ = stop.wait_for(|stop| *stop).await; } => {}
        (Err(NodeStopped), Err(NodeStopped), Err(NodeStopped), Err(NodeStopped)) = work => {}
    }
}

/// Takes one step after another.
async fn steps(
    node: &Node,
    step: fn(&mut Till) -> Result<Care, StoreError>,
    look_again: Duration,
) -> Result<Infallible, NodeStopped> {
    let mut pace = Pace::new(look_again);
    loop {
        let done = node.with(step).await?;
        if let Err(error) = &done {
            tracing::debug!(problem = chain_of(error), "the files of this till cannot be looked after now");
        }
        tokio::time::sleep(pace.after(done.ok())).await;
    }
}
