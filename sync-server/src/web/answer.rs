//! Answers that are errors: a stable code, a sentence that says what to do, and a status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::central::CentralError;
use crate::central::reports::ReportError;
use crate::hub::HubError;
use crate::import::ImportError;
use crate::region::AuthorError;
use crate::web_api::WebError;

/// An error answer.
#[derive(Debug)]
pub(super) enum Refusal {
    BadRequest(String),
    Conflict(String),
    TooLarge(String),
    NotSignedIn,
    WrongPassword,
    TryLater {
        wait_ms: u64,
    },
    ForeignOrigin,
    NotFound,
    /// There is nothing of the kind; the sentence says of which.
    Nothing(String),
    /// Too many are at it; the sentence says at what.
    Busy(String),
    CentralAway,
    Internal,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match &self {
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "bad_request", message.clone()),
            Self::Conflict(message) => (StatusCode::CONFLICT, "conflict", message.clone()),
            Self::TooLarge(message) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", message.clone()),
            Self::NotSignedIn => (StatusCode::UNAUTHORIZED, "not_signed_in", "Sign in.".into()),
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password", "Name or password is wrong. Try again.".into()),
            Self::TryLater { wait_ms } => {
                let seconds = wait_ms.div_ceil(1_000);
                (StatusCode::TOO_MANY_REQUESTS, "try_later", format!("Too many attempts. Try again in {seconds} s."))
            }
            Self::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "bad_request", "Another site asked for this. Open the manager page itself.".into())
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.".into()),
            Self::Nothing(sentence) => (StatusCode::NOT_FOUND, "not_found", sentence.clone()),
            Self::Busy(sentence) => (StatusCode::SERVICE_UNAVAILABLE, "try_later", sentence.clone()),
            Self::CentralAway => (
                StatusCode::SERVICE_UNAVAILABLE,
                "central_away",
                "The central database does not answer. Tills go on selling; try again in a minute.".into(),
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something broke in the server. Try again; its log says more.".into(),
            ),
        };
        let mut response = (status, Json(WebError { code: code.into(), message })).into_response();
        if let Self::TryLater { wait_ms } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1_000)));
        }
        response
    }
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        tracing::warn!(%error, "a manager's request is not answered");
        Self::Internal
    }
}

impl From<AuthorError> for Refusal {
    fn from(error: AuthorError) -> Self {
        match error {
            AuthorError::Refused(sentence) => Self::BadRequest(sentence),
            AuthorError::Conflict(sentence) => Self::Conflict(sentence),
            AuthorError::UnknownState => Self::Conflict("What you saw is not known here any more: load it again.".into()),
            AuthorError::NotFound(_) | AuthorError::NoSuchStore(_) => Self::NotFound,
            error => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "a manager's edit is not kept");
                Self::Internal
            }
        }
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::NotFound => Self::NotFound,
            ImportError::Conflict(sentence) => Self::Conflict(sentence),
            ImportError::Author(error) => error.into(),
            error => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(%error, cause, "an import cannot go on");
                Self::Internal
            }
        }
    }
}

impl From<CentralError> for Refusal {
    fn from(error: CentralError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        if error.is_away() {
            tracing::warn!(%error, cause, "a manager's question is not answered");
            Self::CentralAway
        } else {
            tracing::error!(%error, cause, "a manager's question is not answered");
            Self::Internal
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Question(sentence) => Self::BadRequest(sentence),
            ReportError::NotFound(sentence) => Self::Nothing(sentence),
            ReportError::Central(error) => error.into(),
        }
    }
}
