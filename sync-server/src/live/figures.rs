//! News of the figures: how far the read model is, how many exceptions are open.

use std::time::Duration;

use tokio::sync::watch;

use super::Live;
use crate::central::reports::exceptions;
use crate::central::{CentralError, Postgres, in_time};
use crate::web_api::LiveEvent;

/// Least time between two pieces of news.
const NEWS_EVERY: Duration = Duration::from_millis(250);
/// How long to leave the central database alone after it did not answer.
const AWAY_PAUSE: Duration = Duration::from_secs(2);
/// How long it may take to say how far it is.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Tells watchers when the figures change, whichever server's projector changed them, until told to stop. Nothing is asked while
/// nobody watches.
pub async fn follow_figures(live: Live, central: Postgres, mut stop: watch::Receiver<bool>) {
    let following = async {
        let mut projected = central.projected();
        let mut told: Option<Standing> = None;
        loop {
            tokio::select! {
                _ = projected.changed() => {}
                () = tokio::time::sleep(NEWS_EVERY) => {}
            }
            if !live.is_watched() {
                told = None;
                continue;
            }
            projected.mark_unchanged();
            let Ok(now) = standing(&central, told).await else {
                tokio::time::sleep(AWAY_PAUSE).await;
                continue;
            };
            if told.map(|told| told.central_seq) != Some(now.central_seq) {
                live.send(LiveEvent::Figures { central_seq: now.central_seq });
            }
            if told.map(|told| told.open) != Some(now.open) {
                live.send(LiveEvent::Exceptions { open: now.open });
            }
            if told != Some(now) {
                told = Some(now);
                tokio::time::sleep(NEWS_EVERY).await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = following => {}
    }
}

/// How the figures stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    central_seq: i64,
    open: i64,
}

/// Exceptions are counted only when the figures moved since `told`: a review is told of by whoever made it.
async fn standing(central: &Postgres, told: Option<Standing>) -> Result<Standing, CentralError> {
    let loan = central.get().await?;
    let standing = in_time("say how far the figures are", ANSWER_WAIT, async {
        let row = loan.query_one("SELECT central_seq FROM projector_cursor WHERE name = 'read_model'", &[]).await?;
        let central_seq = row.get(0);
        if let Some(told) = told.filter(|told| told.central_seq == central_seq) {
            return Ok(told);
        }
        let row = loan.query_one(&exceptions::open_count(), &[]).await?;
        Ok(Standing { central_seq, open: row.get(0) })
    })
    .await?;
    central.give_back(loan);
    Ok(standing)
}
