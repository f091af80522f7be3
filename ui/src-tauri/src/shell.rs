//! The window itself, and what its screen may call.
//!
//! | command | does |
//! |---|---|
//! | `begin` | says what to show; tries again what was in vain |
//! | `enrol` | makes the folder a device of a shop |
//! | `rpc` | a [`Command`] or [`Query`] of the till, as the loopback face's `/api/command` and `/api/query` |
//! | `subscribe` | the till's events, as `/api/events` |
//!
//! `build.rs` names them to Tauri, and `capabilities/main.json` allows them to the one window. Everything else that the screen needs is
//! embedded in the program, so it has no reason to open a connection, and its content security policy does not let it.

use std::sync::{Arc, Mutex, PoisonError};

use node::api::{ApiError, ApiErrorCode, Command, Query};
use node::face::BODY_BYTES_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use tauri::async_runtime::JoinHandle;
use tauri::ipc::{Channel, Response};
use tauri::{App, Builder, Context, Runtime, State, WebviewUrl, WebviewWindow, WebviewWindowBuilder};

use crate::host::{Heard, Host, Problem, Shown};

/// The label of the one window, which the capability names.
pub const MAIN: &str = "main";
const TITLE: &str = "Evertill";
const SIZE: (f64, f64) = (1280.0, 800.0);
/// The screen is laid out for a handheld and up.
const SIZE_MIN: (f64, f64) = (360.0, 560.0);

/// What `rpc` carries.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Call {
    Command(Command),
    Query(Query),
}

/// Who listens. A page that is loaded again takes the place of what it was before.
#[derive(Debug, Default)]
struct Listening(Mutex<Option<JoinHandle<()>>>);

/// Gives a program of Tauri the commands of the window.
pub fn shell<R: Runtime>(builder: Builder<R>, host: Arc<Host>) -> Builder<R> {
    builder
        .manage(host)
        .manage(Listening::default())
        .invoke_handler(tauri::generate_handler![begin, enrol, picture, rpc, subscribe])
}

/// The screen, the capability and the configuration, as they were when this was built.
#[expect(clippy::disallowed_types, reason = "the macro makes a map of its own, whose order nobody sees")]
pub fn context<R: Runtime>() -> Context<R> {
    tauri::generate_context!()
}

/// Opens the window.
///
/// # Errors
/// When the system has no window to give.
pub fn open<R: Runtime>(app: &App<R>, kiosk: bool) -> tauri::Result<WebviewWindow<R>> {
    WebviewWindowBuilder::new(app, MAIN, WebviewUrl::default())
        .title(TITLE)
        .inner_size(SIZE.0, SIZE.1)
        .min_inner_size(SIZE_MIN.0, SIZE_MIN.1)
        .center()
        .fullscreen(kiosk)
        .decorations(!kiosk)
        // A link or a dropped file must not lead this window to somebody else's page.
        .on_navigation(|url| url.scheme() == "tauri")
        .build()
}

#[tauri::command]
async fn begin<R: Runtime>(window: WebviewWindow<R>, host: State<'_, Arc<Host>>, again: bool) -> tauri::Result<Shown> {
    if !again {
        tracing::info!("the screen has loaded");
    }
    let shown = host.begin(again).await;
    entitle(&window, &shown);
    Ok(shown)
}

#[tauri::command]
async fn enrol<R: Runtime>(window: WebviewWindow<R>, host: State<'_, Arc<Host>>, link: String) -> Result<Shown, Problem> {
    let shown = host.enrol(&link).await?;
    entitle(&window, &shown);
    Ok(shown)
}

#[tauri::command]
async fn rpc(host: State<'_, Arc<Host>>, call: Box<RawValue>) -> Result<Box<RawValue>, ApiError> {
    let bad = |message| ApiError::new(ApiErrorCode::BadRequest, message);
    if call.get().len() > BODY_BYTES_MAX {
        return Err(bad(format!("a request has at most {BODY_BYTES_MAX} bytes")));
    }
    let call = serde_json::from_str(call.get()).map_err(|error| bad(format!("the request makes no sense: {error}")))?;
    let node = host.node().await?;
    let answer = match call {
        Call::Command(command) => serde_json::value::to_raw_value(&node.command(command).await?),
        Call::Query(query) => serde_json::value::to_raw_value(&node.query(query).await?),
    };
    Ok(answer.expect("an answer is JSON"))
}

/// The bytes of a product's picture; none when it is not there.
#[tauri::command]
async fn picture(host: State<'_, Arc<Host>>, id: String) -> Result<Response, ApiError> {
    let found = match id.parse() {
        Ok(id) => host.node().await?.picture(id).await?,
        Err(_) => None,
    };
    Ok(Response::new(found.map(|picture| picture.bytes).unwrap_or_default()))
}

#[tauri::command]
async fn subscribe(host: State<'_, Arc<Host>>, listening: State<'_, Listening>, channel: Channel<Heard>) -> Result<(), ApiError> {
    let telling = host.tell(move |heard| channel.send(heard).is_ok()).await?;
    let before = listening.0.lock().unwrap_or_else(PoisonError::into_inner).replace(telling);
    if let Some(before) = before {
        before.abort();
    }
    Ok(())
}

/// So that whoever has several windows open sees which till is which.
fn entitle<R: Runtime>(window: &WebviewWindow<R>, shown: &Shown) {
    let title = match shown {
        Shown::Selling { till } => format!("{till} · {TITLE}"),
        Shown::FirstRun { .. } | Shown::Stuck { .. } => TITLE.to_owned(),
    };
    if let Err(error) = window.set_title(&title) {
        tracing::debug!(%error, "the window kept its title");
    }
}
