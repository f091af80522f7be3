//! The page that shows the paper as it prints, and the switches for faults. For a loopback
//! address only: whoever reaches it can see receipts and break the printer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::device::Faults;
use super::server::{Receipt, Shared};

/// Binds and serves in a task of its own.
pub(super) async fn serve(address: SocketAddr, shared: Arc<Shared>) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    if !address.ip().is_loopback() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the page is served on a loopback address only"));
    }
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let app = Router::new()
        .route("/", get(async || Html(include_str!("paper.html"))))
        .route("/receipts", get(receipts))
        .route("/receipts/{file}", get(receipt_file))
        .route("/status", get(status))
        .route("/fault", post(set_faults))
        .route("/events", get(events))
        .layer(middleware::from_fn(require_local_host))
        .with_state(shared);
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the page of the virtual printer ended");
        }
    });
    Ok((bound, task))
}

/// A page of another site could reach this address under a name of its own.
async fn require_local_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

/// A receipt in the list.
#[derive(Serialize)]
struct Summary {
    number: u64,
    at_ms: u64,
    jobs: Vec<String>,
    lines: Vec<String>,
    violations: usize,
}

impl From<&Receipt> for Summary {
    fn from(receipt: &Receipt) -> Self {
        Self {
            number: receipt.number,
            at_ms: receipt.at_ms,
            jobs: receipt.transcript.jobs.clone(),
            lines: receipt.transcript.lines(),
            violations: receipt.transcript.violations.len(),
        }
    }
}

/// Newest first.
async fn receipts(State(shared): State<Arc<Shared>>) -> Json<Vec<Summary>> {
    Json(shared.receipts().iter().rev().map(|receipt| Summary::from(receipt.as_ref())).collect())
}

/// `N.png` or `N.json`, from memory or, for older ones, from the folder.
async fn receipt_file(State(shared): State<Arc<Shared>>, Path(file): Path<String>) -> Response {
    let Some((number, extension)) = file.split_once('.') else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(number) = number.parse::<u64>() else { return StatusCode::NOT_FOUND.into_response() };
    let content_type = match extension {
        "png" => "image/png",
        "json" => "application/json",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let bytes = match (shared.receipt(number), &shared.out) {
        (Some(receipt), _) if extension == "png" => Some(receipt.png.clone()),
        (Some(receipt), _) => serde_json::to_vec(&receipt.transcript).ok(),
        (None, Some(folder)) => tokio::fs::read(folder.join(format!("receipt-{number}.{extension}"))).await.ok(),
        (None, None) => None,
    };
    match bytes {
        Some(bytes) => ([(header::CONTENT_TYPE, content_type)], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[derive(Serialize)]
struct Overview {
    pulses: u64,
    faults: Faults,
}

async fn status(State(shared): State<Arc<Shared>>) -> Json<Overview> {
    Json(Overview { pulses: shared.pulses(), faults: shared.faults() })
}

/// Replaces all faults; those not named are healed.
async fn set_faults(State(shared): State<Arc<Shared>>, Json(faults): Json<Faults>) -> Json<Faults> {
    shared.set_faults(faults);
    Json(shared.faults())
}

/// One event per change, which says no more than that: the page then asks for what it shows.
/// Browsers swallow events without data, so there is a word in it.
async fn events(State(shared): State<Arc<Shared>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = stream::unfold((shared.subscribe(), true), async |(mut changes, first)| {
        if !first {
            changes.changed().await.ok()?;
        }
        changes.mark_unchanged();
        Some((Ok(Event::default().event("change").data("now")), (changes, false)))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}
