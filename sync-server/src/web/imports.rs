//! Products from a file. Shapes in [`crate::web_api`].

use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

use super::WebState;
use super::accounts::Manager;
use super::answer::Refusal;
use super::catalogue::{editor, id};
use crate::import::FILE_BYTES_MAX;
use crate::web_api::ImportView;

/// How many files are taken at once; each is in memory until it is on disk.
pub(super) const UPLOADS_AT_ONCE: usize = 1;
/// A file of which nothing arrives for so long is given up.
const PIECE_WAIT: Duration = Duration::from_secs(29);

pub(super) fn routes() -> Router<WebState> {
    Router::new()
        .route("/imports", post(begin).get(list))
        .route("/imports/{id}", get(one).delete(forget))
        .route("/imports/{id}/apply", post(apply))
        .route("/imports/{id}/undo", post(undo))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(default)]
    name: String,
}

async fn begin(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    query: Result<Query<Named>, QueryRejection>,
    request: Request,
) -> Result<(StatusCode, Json<ImportView>), Refusal> {
    let Query(Named { name }) = query.map_err(|_| Refusal::BadRequest("Send the file's name as name=FILE.".into()))?;
    let busy = || Refusal::Busy("Another file is being sent. Try again in a minute.".into());
    let _turn = state.shared.turns.uploads.clone().try_acquire_owned().map_err(|_| busy())?;
    let body = file(request).await?;
    if body.is_empty() {
        return Err(Refusal::BadRequest("The file is empty. Send it as the body of the request.".into()));
    }
    tracing::info!(manager = manager.name, file = name, bytes = body.len(), "an import begins");
    let view = state.catalogue()?.importer.begin(name, body, editor(&manager)).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// The body of an upload, as it arrives.
async fn file(request: Request) -> Result<Vec<u8>, Refusal> {
    let too_large = || Refusal::TooLarge(format!("A file has at most {} MiB: split it.", FILE_BYTES_MAX >> 20));
    let broken = || Refusal::BadRequest("The file broke off. Send it again.".into());
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if said.is_some_and(|said| said > FILE_BYTES_MAX) {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(said.unwrap_or(0));
    let mut pieces = request.into_body().into_data_stream();
    while let Some(piece) = tokio::time::timeout(PIECE_WAIT, pieces.next()).await.map_err(|_| broken())? {
        let piece = piece.map_err(|_| broken())?;
        if bytes.len() + piece.len() > FILE_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

async fn list(State(state): State<WebState>) -> Result<Json<Vec<ImportView>>, Refusal> {
    Ok(Json(state.catalogue()?.importer.list().await?))
}

async fn one(State(state): State<WebState>, Path(import): Path<String>) -> Result<Json<ImportView>, Refusal> {
    Ok(Json(state.catalogue()?.importer.get(id(&import)?).await?))
}

async fn forget(State(state): State<WebState>, Path(import): Path<String>) -> Result<StatusCode, Refusal> {
    state.catalogue()?.importer.delete(id(&import)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn apply(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(import): Path<String>,
) -> Result<(StatusCode, Json<ImportView>), Refusal> {
    let import: Uuid = id(&import)?;
    tracing::info!(manager = manager.name, %import, "an import is applied");
    Ok((StatusCode::ACCEPTED, Json(state.catalogue()?.importer.apply(import).await?)))
}

async fn undo(
    State(state): State<WebState>,
    Extension(manager): Extension<Manager>,
    Path(import): Path<String>,
) -> Result<(StatusCode, Json<ImportView>), Refusal> {
    let import: Uuid = id(&import)?;
    tracing::info!(manager = manager.name, %import, "an import is undone");
    Ok((StatusCode::ACCEPTED, Json(state.catalogue()?.importer.undo(import).await?)))
}
