//! The loopback face: HTTP and WebSocket for a browser on the same machine, and the embedded screen.
//!
//! ```text
//! GET  /api/face     {"face":"till"}
//! GET  /healthz      the process lives;  /readyz: its disk answers, and it does not stop;  /metrics: for Prometheus
//! POST /api/command  a Command      → the TillView, or an ApiError
//! POST /api/query    a Query        → its answer, or an ApiError
//! GET  /api/events   WebSocket, subprotocols "evertill" and the token: Events as they happen
//! GET  /picture/ID    a product's picture
//! GET  anything else the screen
//! ```
//!
//! Any program on the machine, and any web page in its browser, can reach a loopback port. So commands, queries, events and pictures need a
//! token that is kept in the data folder; the `Host` must be this face's own, which keeps out names that were rebound to the loopback
//! address; and an `Origin`, where there is one, must be too, which keeps out other pages.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{DefaultBodyLimit, Request, State, WebSocketUpgrade};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERRER_POLICY, RETRY_AFTER,
    SEC_WEBSOCKET_PROTOCOL, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use sync_proto::env::{Env, random};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use crate::api::{ApiError, ApiErrorCode, Event};
use crate::handle::{Node, next_events};
use crate::identity::{IdentityError, read_secret, write_file};
use crate::metrics::{Metrics, Standing};

/// Largest request, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Largest message that a listener may send; it has nothing to say.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// How long the till may take to say that it is ready.
const READY_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
const SUBPROTOCOL: &str = "evertill";
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self' ws:; img-src 'self' blob:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'";

#[derive(rust_embed::Embed)]
#[folder = "../ui/dist"]
#[allow_missing = true]
struct Screen;

/// Why the face could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// Another machine could reach it.
    #[error("the till's face listens on this machine only; {0} is no loopback address")]
    NotLoopback(SocketAddr),
    /// The port is taken, or the system refuses.
    #[error("the till's face cannot listen on {address}; is another till running there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token could not be read or written.
    #[error("the access token of the till's face could not be kept")]
    Token(#[from] IdentityError),
}

/// A face that has its port and its token.
#[derive(Debug)]
pub struct Face {
    listener: TcpListener,
    address: SocketAddr,
    token: String,
}

impl Face {
    /// Takes the port, and the token from the data folder (a fresh one the first time).
    ///
    /// # Errors
    /// An address that is not loopback, a port that is taken, or a token that others may read.
    pub async fn open(address: SocketAddr, data: &Path, env: &dyn Env) -> Result<Self, FaceError> {
        if !address.ip().is_loopback() {
            return Err(FaceError::NotLoopback(address));
        }
        let token = token(&data.join("device/face.token"), env)?;
        let fail = |source| FaceError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, token })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser, with the token where no server sees it.
    pub fn link(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token)
    }

    /// Answers until told to stop.
    ///
    /// # Errors
    /// When the system breaks the listening socket.
    pub async fn serve(self, node: Node, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let metrics = Metrics::default();
        let door = Door { node, token: self.token, address: self.address, metrics, stop: stop.clone() };
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        axum::serve(self.listener, door.router()).with_graceful_shutdown(stopped).await
    }
}

fn token(path: &Path, env: &dyn Env) -> Result<String, IdentityError> {
    if path.exists() {
        let token = read_secret(path)?.trim().to_owned();
        if token.len() >= 32 {
            return Ok(token);
        }
    }
    let token: String = random::<32>(env).iter().map(|b| format!("{b:02x}")).collect();
    write_file(path, token.as_bytes())?;
    Ok(token)
}

#[derive(Clone)]
struct Door {
    node: Node,
    token: String,
    address: SocketAddr,
    metrics: Metrics,
    stop: watch::Receiver<bool>,
}

impl Door {
    fn router(self) -> Router {
        Router::new()
            .route("/api/face", get(async || axum::Json(serde_json::json!({ "face": "till" }))))
            .route("/api/command", post(command))
            .route("/api/query", post(query))
            .route("/api/events", get(events))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/picture/{id}", get(picture))
            .fallback(screen)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self)
    }

    /// Whether `name` is this face, as a browser on this machine calls it: without the port when that is 80.
    fn is_own(&self, name: &str) -> bool {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        ["127.0.0.1", "localhost", "[::1]", &ip]
            .iter()
            .any(|host| name == format!("{host}:{port}") || (port == 80 && name == *host))
    }

    fn admits(&self, token: Option<&str>) -> Result<(), Refused> {
        let admitted = token.is_some_and(|token| same(token, &self.token));
        let message = "this page has lost its key: open the address that the till printed when it started";
        if admitted { Ok(()) } else { Err(ApiError::new(ApiErrorCode::NotAuthorised, message).into()) }
    }
}

/// Compares in a time that says nothing about where they differ.
fn same(given: &str, expected: &str) -> bool {
    let tag = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(expected.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        mac
    };
    tag(given).verify(&tag(expected).finalize().into_bytes()).is_ok()
}

/// Keeps strangers out before anything is read, and sets what holds for every answer.
async fn guard(State(door): State<Door>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or(""));
    let host = text(HOST).is_some_and(|host| door.is_own(host));
    let origin = text(ORIGIN).is_none_or(|o| o.strip_prefix("http://").is_some_and(|host| door.is_own(host)));
    if !host || !origin {
        let error =
            ApiError::new(ApiErrorCode::NotAuthorised, "this till answers its own screen only: open the address that it printed");
        return with_policy((StatusCode::FORBIDDEN, axum::Json(error)).into_response());
    }
    with_policy(next.run(request).await)
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn command(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        door.admits(bearer(&headers))?;
        let command = read(body)?;
        let asked = tokio::time::Instant::now();
        let done = door.node.command(command).await;
        door.metrics.command(done.as_ref().map(drop).map_err(|error| error.code), asked.elapsed());
        Ok::<_, Refused>(done?)
    };
    respond(answer.await)
}

/// Whether the till can take a sale: its disk answers, and it is not about to stop.
async fn ready(State(door): State<Door>) -> Response {
    let disk = door.node.with(crate::till::Till::reads);
    let answers = tokio::time::timeout(READY_WAIT, disk).await.is_ok_and(|answer| answer.unwrap_or(false));
    let ready = answers && !*door.stop.borrow();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(serde_json::json!({ "ready": ready }))).into_response()
}

async fn metrics(State(door): State<Door>) -> Response {
    match door.node.with(|till| Standing::of(till)).await {
        Ok(standing) => ([(CONTENT_TYPE, operations::metrics::CONTENT_TYPE)], door.metrics.text(&standing)).into_response(),
        Err(stopped) => (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response(),
    }
}

async fn query(
    State(door): State<Door>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        door.admits(bearer(&headers))?;
        Ok::<_, Refused>(door.node.query(read(body)?).await?)
    };
    respond(answer.await)
}

/// A picture never changes, so that the screen may keep it.
async fn picture(State(door): State<Door>, extract::Path(id): extract::Path<String>, headers: HeaderMap) -> Response {
    let answer = async {
        door.admits(bearer(&headers))?;
        let Ok(id) = id.parse() else { return Ok(None) };
        Ok::<_, Refused>(door.node.picture(id).await?)
    };
    match answer.await {
        Ok(Some(picture)) => {
            let mut response = page(picture.media_type.as_str(), picture.bytes, false);
            let lasting = HeaderValue::from_static("private, max-age=31536000, immutable");
            response.headers_mut().insert(CACHE_CONTROL, lasting);
            response
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(refused) => refused.into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn read<T: DeserializeOwned>(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> Result<T, Refused> {
    let bytes = body.map_err(|rejection| Refused {
        status: Some(rejection.status()),
        error: ApiError::new(
            ApiErrorCode::BadRequest,
            format!("the request is too large: a till takes at most {BODY_BYTES_MAX} bytes"),
        ),
    })?;
    let wrong =
        |e: serde_json::Error| ApiError::new(ApiErrorCode::BadRequest, format!("the till does not understand the request: {e}"));
    Ok(serde_json::from_slice(&bytes).map_err(wrong)?)
}

async fn events(State(door): State<Door>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|v| v.to_str().ok()).unwrap_or("");
    let mut offered = offered.split(',').map(str::trim);
    let token = if offered.next() == Some(SUBPROTOCOL) { offered.next() } else { None };
    if let Err(refused) = door.admits(token) {
        return refused.into_response();
    }
    let (listener, stop) = (door.node.events(), door.stop.clone());
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| announce(socket, listener, stop))
}

async fn announce(mut socket: WebSocket, mut listener: broadcast::Receiver<Event>, mut stop: watch::Receiver<bool>) {
    loop {
        let events = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            events = next_events(&mut listener) => match events {
                Some(events) => events,
                None => break,
            },
        };
        for event in events {
            let json = serde_json::to_string(&event).expect("an event is JSON");
            if socket.send(Message::Text(json.into())).await.is_err() {
                return;
            }
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// The screen's files. Any other path is a place inside the screen, so it gets the page itself.
async fn screen(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let path = uri.path().trim_start_matches('/');
    if let Some(file) = Screen::get(path) {
        let lasting = path.starts_with("assets/");
        return page(file.metadata.mimetype(), file.data.into_owned(), lasting);
    }
    if path.starts_with("api/") || path.starts_with("assets/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    match Screen::get("index.html") {
        Some(index) => page("text/html; charset=utf-8", index.data.into_owned(), false),
        None => page("text/html; charset=utf-8", MISSING.as_bytes().to_vec(), false),
    }
}

const MISSING: &str = "<!doctype html><title>Evertill</title><p>The screen is not part of this build. \
                       <code>make ui</code> builds it; then build the node again.";

fn page(kind: &str, bytes: Vec<u8>, lasting: bool) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if lasting {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    }
    response
}

fn respond(answer: Result<impl Serialize, Refused>) -> Response {
    match answer {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// A refusal on its way out, with another status than its code's where HTTP has a better one.
struct Refused {
    status: Option<StatusCode>,
    error: ApiError,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { status: None, error }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let wait = self.error.retry_after_ms.map(|ms| HeaderValue::from(ms.div_ceil(1_000)));
        let status = self.status.unwrap_or_else(|| status_of(self.error.code));
        let mut response = (status, axum::Json(self.error)).into_response();
        if let Some(wait) = wait {
            response.headers_mut().insert(RETRY_AFTER, wait);
        }
        response
    }
}

/// The one place where codes become HTTP.
fn status_of(code: ApiErrorCode) -> StatusCode {
    use ApiErrorCode as Code;
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::NotAuthorised | Code::NotSignedIn | Code::WrongPin => StatusCode::UNAUTHORIZED,
        Code::PinLocked => StatusCode::TOO_MANY_REQUESTS,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::UnknownCode | Code::NoSuchLine | Code::NoSuchOrder | Code::NotKept | Code::NoSuchPrintJob => StatusCode::NOT_FOUND,
        Code::BadQuantity | Code::BadAmount | Code::TenderShort => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotReady
        | Code::NoShift
        | Code::ShiftOpen
        | Code::InactiveProduct
        | Code::CartEmpty
        | Code::CartNotEmpty
        | Code::CartFull
        | Code::StaleOrder
        | Code::NothingToRefund => StatusCode::CONFLICT,
        Code::Storage => StatusCode::INSUFFICIENT_STORAGE,
        Code::InDoubt => StatusCode::SERVICE_UNAVAILABLE,
    }
}
