//! How the servers of one shop meet.
//!
//! Each leaves its certificate in the central store and looks at the others'. One that the authority of both has signed for a server is written into the
//! directory by whoever sees it first ([`Region::meet`](crate::region::Region::meet)): what the central store says is believed only as far as that
//! signature goes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sync_proto::env::Env;
use tokio::sync::watch;

use crate::authority::Authority;
use crate::central::{CentralStore, ServerCard};
use crate::hub::{Hub, HubError};
use crate::region::{MeetError, Met};

/// How often a server looks whom there is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Meets whoever comes, until told to stop.
pub async fn run<C: CentralStore>(
    hub: Hub,
    authority: Arc<Authority>,
    address: String,
    store: C,
    env: Arc<dyn Env>,
    mut stop: watch::Receiver<bool>,
) {
    let device = *authority.server_device().as_bytes();
    let Ok((own, name)) = hub.with(|region| (region.own().device, region.name())).await else { return };
    if own != device {
        return tracing::warn!(
            "this log keeps the id that it was founded with, which does not follow from its key: other servers cannot meet this one"
        );
    }
    let own = ServerCard { device, certificate: authority.server_certificate().to_vec(), name, address };
    let mut strangers = BTreeSet::new();
    let meeting = async {
        // A log that was put back from a backup writes nothing before that is noticed, which is when the feed asks where it stands.
        let _ = hub.fed().wait_for(|fed| *fed > 0).await;
        loop {
            match store.leave_card(&own).await {
                Ok(cards) => {
                    for card in cards.iter().filter(|card| card.device != own.device) {
                        if let Err(error) = meet(&hub, &authority, card, &*env, &mut strangers).await {
                            tracing::error!(%error, address = card.address, "another server is not met; this is tried again");
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "the central store does not say which servers there are"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        biased;
        () = async { let _ = stop.wait_for(|stop| *stop).await; } => {}
        () = meeting => {}
    }
}

/// Writes a server into the directory whose certificate holds. Of one whose does not, it is said once.
async fn meet(
    hub: &Hub,
    authority: &Authority,
    card: &ServerCard,
    env: &dyn Env,
    strangers: &mut BTreeSet<Vec<u8>>,
) -> Result<(), HubError> {
    let strange = |why: &str, strangers: &mut BTreeSet<Vec<u8>>| {
        if strangers.insert(card.certificate.clone()) {
            tracing::error!(event = "strange_server", address = card.address, why, "nothing is taken from another server");
        }
    };
    let Some(server) = authority.server_of(&card.certificate) else {
        let why = "its certificate is not of this server's authority: set it up anew with `init --authority`";
        strange(why, strangers);
        return Ok(());
    };
    let (name, now_ms) = (card.name.clone(), env.unix_ms());
    match hub.with(move |region| region.meet(server, &name, now_ms)).await? {
        Ok(Met::Now) => {
            tracing::info!(event = "server_met", server = %server.device, address = card.address, "another server is known now")
        }
        Ok(Met::Before) => {}
        Err(error @ MeetError::Otherwise(_)) => strange(&error.to_string(), strangers),
        Err(MeetError::Author(error)) => {
            tracing::error!(%error, address = card.address, "another server is not met; this is tried again")
        }
    }
    Ok(())
}
