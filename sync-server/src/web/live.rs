//! `GET /api/v1/live`: what happens, as messages on a WebSocket.
//!
//! A watcher is never waited for: what it does not take in time it misses, and is told so. It ends with its session.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::answer::Refusal;
use super::{WebState, guard};
use crate::web_api::LiveEvent;

/// Most watchers at once.
pub(super) const WATCHERS_MAX: usize = 64;
/// How often a watcher is asked whether it is there; a session that ended with its time is noticed then, too.
const PING_EVERY: Duration = Duration::from_secs(10);
/// A watcher that has not answered for so long is gone.
const SILENT_MAX: Duration = Duration::from_secs(35);
/// How long a watcher may take for one message.
const SEND_MAX: Duration = Duration::from_secs(20);
/// Largest message of a watcher, in bytes; nothing that it says matters.
const HEARD_BYTES_MAX: usize = 1_024;

pub(super) async fn watch(
    State(state): State<WebState>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    // A browser sends its cookie along with any page's WebSocket, and no other rule keeps another site out.
    if !guard::is_own(&headers, &uri) {
        return Err(Refusal::ForeignOrigin);
    }
    let upgrade = upgrade.map_err(|_| Refusal::BadRequest("Open a WebSocket at this address.".into()))?;
    let busy = || Refusal::Busy(format!("{WATCHERS_MAX} pages are watching already. Close one of them."));
    let place = state.shared.turns.watchers.clone().try_acquire_owned().map_err(|_| busy())?;
    Ok(upgrade
        .max_message_size(HEARD_BYTES_MAX)
        .max_frame_size(HEARD_BYTES_MAX)
        .on_upgrade(move |socket| async move { serve(socket, &state, &headers, place).await }))
}

/// Why a watcher is sent away.
enum Ended {
    /// The session.
    SignedOut,
    /// The watcher itself.
    Gone,
}

async fn serve(mut socket: WebSocket, state: &WebState, headers: &HeaderMap, _place: OwnedSemaphorePermit) {
    let Ended::SignedOut = follow(&mut socket, state, headers).await else { return };
    let frame = CloseFrame { code: close_code::POLICY, reason: "signed out".into() };
    let _ = tokio::time::timeout(SEND_MAX, socket.send(Message::Close(Some(frame)))).await;
}

async fn follow(socket: &mut WebSocket, state: &WebState, headers: &HeaderMap) -> Ended {
    // From before the greeting on, so that nothing falls between them.
    let mut events = state.live().subscribe();
    let mut sessions = state.shared.sessions.ended();
    let mut ping = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut heard = Instant::now();
    let hello = LiveEvent::Hello { at_ms: state.shared.env.unix_ms() };
    if send(socket, text(&hello)).await.is_err() {
        return Ended::Gone;
    }
    loop {
        let message = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => text(&event),
                Err(RecvError::Lagged(_)) => text(&LiveEvent::Missed {}),
                Err(RecvError::Closed) => return Ended::Gone,
            },
            said = socket.recv() => match said {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ended::Gone,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
            _ = sessions.changed() => match signed_in(state, headers) {
                true => continue,
                false => return Ended::SignedOut,
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENT_MAX {
                    return Ended::Gone;
                }
                Message::Ping(Default::default())
            }
        };
        if !signed_in(state, headers) {
            return Ended::SignedOut;
        }
        if send(socket, message).await.is_err() {
            return Ended::Gone;
        }
    }
}

fn signed_in(state: &WebState, headers: &HeaderMap) -> bool {
    state.shared.sessions.who(headers, state.shared.env.unix_ms()).is_some()
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), ()> {
    match tokio::time::timeout(SEND_MAX, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

fn text(event: &LiveEvent) -> Message {
    Message::Text(serde_json::to_string(event).expect("an event is plain JSON").into())
}
