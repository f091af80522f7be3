//! What looks after the log while the server runs: it is audited, and what can be read of a damaged one is taken over. Both in small steps with pauses between
//! them, so that devices have their turn.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use operations::care::{Care, LOOK_AGAIN, Pace};
use sync_proto::env::Env;
use tokio::sync::watch;

use crate::hub::{Hub, HubError};
use crate::region::Region;

/// How long a suspicion that came to nothing keeps the next one waiting: to look at all pages takes the log's owner some time.
const SUSPECT_AGAIN: Duration = Duration::from_secs(30);

/// Looks after the log until told to stop.
pub async fn run(hub: Hub, env: Arc<dyn Env>, mut stop: watch::Receiver<bool>) {
    let work = async { tokio::join!(salvage(&hub), audit(&hub, &*env)) };
    tokio::select! {
        biased;
        () = async { let _ = stop.wait_for(|stop| *stop).await; } => {}
        (Err(_), Err(_)) = work => {}
    }
}

async fn salvage(hub: &Hub) -> Result<Infallible, HubError> {
    let mut pace = Pace::new(LOOK_AGAIN);
    loop {
        let done = hub.with(Region::salvage_step).await?;
        if let Err(error) = &done {
            tracing::warn!(%error, "what can be read of the damaged log cannot be taken over now; this is tried again");
        }
        tokio::time::sleep(pace.after(done.ok())).await;
    }
}

async fn audit(hub: &Hub, env: &dyn Env) -> Result<Infallible, HubError> {
    let (mut is_suspected, mut pace) = (false, Pace::new(LOOK_AGAIN));
    loop {
        let now_ms = env.unix_ms();
        let step = hub.with(move |region| region.audit_step(now_ms, is_suspected)).await?;
        match &step {
            Ok(Care::More) => is_suspected = false,
            Ok(Care::Waits | Care::Done | Care::DoneFor(_)) => {
                tokio::time::sleep(SUSPECT_AGAIN).await;
                is_suspected = tokio::time::timeout(LOOK_AGAIN, hub.suspected()).await.is_ok();
                continue;
            }
            Err(error) => tracing::warn!(%error, "the log cannot be audited now; this is tried again"),
        }
        tokio::time::sleep(pace.after(step.ok())).await;
        is_suspected |= hub.is_suspected();
    }
}
