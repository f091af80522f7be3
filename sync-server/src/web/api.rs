//! The routes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::json;

use super::accounts::{AccountError, Manager};
use super::answer::Refusal;
use super::{IssueError, Shared, WebState, catalogue, guard, imports, live, page, reports, sessions};
use crate::web_api::{EnrolmentCode, EnrolmentCodeRequest, SessionView, SignInRequest};

/// How long Postgres may take to answer before `/readyz` calls it away: whoever asks does not wait for a database that hangs.
const READY_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
/// Largest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// Whether the browser speaks TLS to us.
#[derive(Debug, Clone, Copy)]
struct Secure(bool);

pub(super) fn router(state: WebState, secure: bool) -> Router {
    let inside = Router::new()
        .route("/session", get(who))
        .route("/reports/sales", get(reports::sales))
        .route("/sales", get(reports::sales_list))
        .route("/sales/{store}/{order}", get(reports::sale))
        .route("/stock", get(reports::stock))
        .route("/stock/{store}/{product}/movements", get(reports::movements))
        .route("/open-orders", get(reports::open_orders))
        .route("/shifts", get(reports::shifts))
        .route("/devices", get(reports::devices))
        .route("/exceptions", get(reports::exceptions))
        .route("/exceptions/{id}/review", post(reports::review))
        .route("/live", get(live::watch))
        .route("/enrolment-codes", post(enrolment_code))
        .merge(catalogue::routes())
        .merge(imports::routes())
        .layer(from_fn_with_state(state.clone(), signed_in));
    let door = Router::new().route("/session", post(sign_in).delete(sign_out));
    Router::new()
        .nest("/api/v1", door.merge(inside))
        .route("/api/face", get(async || Json(json!({ "face": "manager" }))))
        .route("/api", any(nothing))
        .route("/api/{*rest}", any(nothing))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback_service(get(page::page).fallback(nothing))
        .method_not_allowed_fallback(nothing)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard::same_origin))
        .layer(from_fn(guard::headers_and_time))
        .layer(axum::Extension(Secure(secure)))
        .with_state(state)
}

async fn nothing() -> Refusal {
    Refusal::NotFound
}

/// Lets a request pass that has a session.
async fn signed_in(State(state): State<WebState>, mut request: Request, next: Next) -> Response {
    let Shared { sessions, env, .. } = &*state.shared;
    match sessions.who(request.headers(), env.unix_ms()) {
        Some(manager) => {
            request.extensions_mut().insert(manager);
            let mut response = next.run(request).await;
            response.headers_mut().entry(header::CACHE_CONTROL).or_insert(header::HeaderValue::from_static("no-store"));
            response
        }
        None => Refusal::NotSignedIn.into_response(),
    }
}

async fn sign_in(
    State(state): State<WebState>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    axum::Extension(secure): axum::Extension<Secure>,
    body: Result<Json<SignInRequest>, JsonRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Json(request) = body.map_err(|e| bad_body(&e, BODY_BYTES_MAX))?;
    let manager = check(&state.shared, from.ip(), &request).await?;
    let token = state.shared.sessions.begin(&*state.shared.env, &manager);
    tracing::info!(manager = manager.name, "signed in");
    let headers = [(header::SET_COOKIE, sessions::cookie(&token, secure.0)), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((headers, Json(SessionView { name: manager.name })))
}

async fn check(shared: &Shared, from: IpAddr, request: &SignInRequest) -> Result<Manager, Refusal> {
    let now_ms = shared.env.unix_ms();
    shared.attempts.begin(&request.name, from, now_ms).map_err(|wait_ms| Refusal::TryLater { wait_ms })?;
    match shared.checks.verify(&shared.central, &request.name, &request.password).await {
        Ok(Some(manager)) => {
            shared.attempts.right(&request.name, from);
            Ok(manager)
        }
        Ok(None) => {
            tracing::warn!(address = %from, "a wrong name or password");
            Err(Refusal::WrongPassword)
        }
        Err(error) => {
            shared.attempts.withdraw(&request.name, from);
            Err(match error {
                AccountError::Central(error) => error.into(),
                AccountError::Busy => Refusal::TryLater { wait_ms: 1_000 },
                AccountError::Name | AccountError::Password | AccountError::Taken(_) | AccountError::Unknown(_) => {
                    Refusal::WrongPassword
                }
            })
        }
    }
}

async fn sign_out(
    State(state): State<WebState>,
    axum::Extension(secure): axum::Extension<Secure>,
    headers: HeaderMap,
) -> impl IntoResponse {
    state.shared.sessions.end(&headers);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, sessions::cookie("", secure.0))])
}

async fn who(axum::Extension(manager): axum::Extension<Manager>) -> Json<SessionView> {
    Json(SessionView { name: manager.name })
}

async fn enrolment_code(
    State(state): State<WebState>,
    axum::Extension(Manager { name: manager, .. }): axum::Extension<Manager>,
    body: Result<Json<EnrolmentCodeRequest>, JsonRejection>,
) -> Result<Json<EnrolmentCode>, Refusal> {
    let Json(request) = body.map_err(|e| bad_body(&e, BODY_BYTES_MAX))?;
    let shared = state.shared.clone();
    let (store, name) = (request.store.clone(), request.name.clone());
    let issued = tokio::task::spawn_blocking(move || shared.desk.issue(&store, &name)).await;
    match issued {
        Ok(Ok(code)) => {
            tracing::info!(manager, store = request.store, device = request.name, "an enrolment code was given");
            Ok(Json(code))
        }
        Ok(Err(IssueError::UnknownStore(code))) => {
            Err(Refusal::BadRequest(format!("No store has the code {code}. Choose one that is set up.")))
        }
        Ok(Err(IssueError::Name(sentence))) => Err(Refusal::BadRequest(sentence)),
        Ok(Err(IssueError::Failed(error))) => {
            tracing::error!(error, "no enrolment code could be given");
            Err(Refusal::Internal)
        }
        Err(error) => {
            tracing::error!(%error, "the enrolment desk broke");
            Err(Refusal::Internal)
        }
    }
}

/// Whether the server takes entries. Postgres is told of, but tills do not need it.
async fn ready(State(state): State<WebState>) -> impl IntoResponse {
    let ready = (state.shared.ready)();
    let asked = tokio::time::timeout(READY_WAIT, state.shared.central.ping()).await;
    let central = if matches!(asked, Ok(Ok(()))) { "ok" } else { "away" };
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "central": central })))
}

/// What is wrong with a body that may have so many bytes.
pub(super) fn bad_body(rejection: &JsonRejection, bytes_max: usize) -> Refusal {
    Refusal::BadRequest(match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => format!("A request has at most {bytes_max} bytes."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "Send JSON, with content-type: application/json.".into(),
        _ => "The JSON of the request is not what this address takes.".into(),
    })
}
