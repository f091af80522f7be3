//! Products from a file. Shapes in [`crate::web_api`].

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use uuid::Uuid;

use super::WebState;
use super::accounts::Manager;
use super::answer::Refusal;
use super::catalogue::{bytes, editor, id};
use crate::import::FILE_BYTES_MAX;
use crate::web_api::ImportView;

pub(super) fn routes() -> Router<WebState> {
    let upload = post(begin).layer(DefaultBodyLimit::max(FILE_BYTES_MAX));
    Router::new()
        .route("/imports", upload.get(list))
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
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<ImportView>), Refusal> {
    let Query(Named { name }) = query.map_err(|_| Refusal::BadRequest("Send the file's name as name=FILE.".into()))?;
    let body = bytes(body, FILE_BYTES_MAX)?;
    if body.is_empty() {
        return Err(Refusal::BadRequest("The file is empty. Send it as the body of the request.".into()));
    }
    tracing::info!(manager = manager.name, file = name, bytes = body.len(), "an import begins");
    let view = state.catalogue()?.importer.begin(name, body.to_vec(), editor(&manager)).await?;
    Ok((StatusCode::ACCEPTED, Json(view)))
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
