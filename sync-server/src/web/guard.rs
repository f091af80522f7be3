//! What every request and answer passes.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::Refusal;

/// How long one request may take, its body included.
const REQUEST_WAIT: Duration = Duration::from_secs(29);
/// How long the largest file may take to arrive: a megabit a second is enough.
const UPLOAD_WAIT: Duration = Duration::from_secs(600);

/// The headers of every answer. Scripts and everything else come from here; nothing may frame the page.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Adds the headers, and ends what takes too long.
pub(super) async fn headers_and_time(request: Request, next: Next) -> Response {
    let (wait, refusal) = patience(request.method(), request.uri().path());
    let mut response = match tokio::time::timeout(wait, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refusal.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// How long a request may take, and what it is told afterwards.
fn patience(method: &Method, path: &str) -> (Duration, Refusal) {
    match (method, path) {
        (&Method::POST, "/api/v1/imports") => {
            let minutes = UPLOAD_WAIT.as_secs() / 60;
            let sentence =
                format!("The file took more than {minutes} minutes to arrive. Send it over a faster connection, or split it.");
            (UPLOAD_WAIT, Refusal::Busy(sentence))
        }
        _ => (REQUEST_WAIT, Refusal::Internal),
    }
}

/// Refuses requests that change something and that another site's page sent. Browsers name the page's origin; programs that name none
/// hold no cookie that they were not given.
pub(super) async fn same_origin(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !is_own(request.headers(), request.uri()) {
        return Refusal::ForeignOrigin.into_response();
    }
    next.run(request).await
}

/// Whether a request comes from a page of ours, or from a program that says no origin.
pub(super) fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str()));
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(a), Some(h)) if a.eq_ignore_ascii_case(h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_time_to_arrive() {
        // The largest one, at a megabit a second.
        let slowly = Duration::from_secs(crate::import::FILE_BYTES_MAX as u64 * 8 / 1_000_000);
        let (wait, refusal) = patience(&Method::POST, "/api/v1/imports");
        assert!(wait > slowly && matches!(refusal, Refusal::Busy(sentence) if sentence.contains("10 minutes")));
        for (method, path) in [(Method::GET, "/api/v1/imports"), (Method::POST, "/api/v1/session")] {
            assert!(matches!(patience(&method, path), (REQUEST_WAIT, Refusal::Internal)), "{path}");
        }
    }

    #[test]
    fn the_table_of_origins() {
        for (origin, host, own) in [
            (None, "shop.example", true),
            (Some("https://shop.example"), "shop.example", true),
            (Some("http://127.0.0.1:4711"), "127.0.0.1:4711", true),
            (Some("https://SHOP.example"), "shop.example", true),
            (Some("https://shop.example.evil"), "shop.example", false),
            (Some("https://evil/shop.example"), "shop.example", false),
            (Some("http://127.0.0.1:4712"), "127.0.0.1:4711", false),
            (Some("null"), "shop.example", false),
            (Some(""), "shop.example", false),
        ] {
            let mut request = Request::post("/").header(header::HOST, host);
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let request = request.body(axum::body::Body::empty()).expect("a request");
            assert_eq!(is_own(request.headers(), request.uri()), own, "{origin:?}");
        }
    }
}
