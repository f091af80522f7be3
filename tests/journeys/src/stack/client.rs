//! Someone at a till, without the screen: the commands and queries of `node::api` over the loopback face.

use std::time::Duration;

use anyhow::{Context, Result};
use node::api::{ApiError, Command, LedgerView, OrderSummary, OrderView, ProductView, Query, TillView};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A till answers in milliseconds; after this long it hangs.
const ANSWER: Duration = Duration::from_secs(30);

/// A till's API.
#[derive(Debug, Clone)]
pub struct TillClient {
    origin: String,
    token: String,
    agent: ureq::Agent,
}

/// Why a till did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TillError {
    /// The till said no.
    #[error("refused ({:?}): {}", .0.code, .0.message)]
    Refused(ApiError),
    /// There was no answer, or none that makes sense.
    #[error("no answer from the till: {0}")]
    NoAnswer(String),
}

impl TillClient {
    /// A client for the page that the node printed: `http://HOST:PORT/#token=...`.
    pub fn of_page(page: &str) -> Result<Self> {
        let (origin, token) = page.split_once("/#token=").with_context(|| format!("{page} holds no token"))?;
        Ok(Self { origin: origin.to_owned(), token: token.to_owned(), agent: agent(ANSWER) })
    }

    /// The page to open in a browser.
    pub fn page(&self) -> String {
        format!("{}/#token={}", self.origin, self.token)
    }

    /// Where it listens, such as `http://127.0.0.1:7001`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Sends a command; the answer is the screen after it.
    pub fn command(&self, command: &Command) -> Result<TillView, TillError> {
        self.post("/api/command", command)
    }

    /// Asks; the type of the answer belongs to the query.
    pub fn query<T: DeserializeOwned>(&self, query: &Query) -> Result<T, TillError> {
        self.post("/api/query", query)
    }

    /// Everything the screen shows.
    pub fn view(&self) -> Result<TillView, TillError> {
        self.query(&Query::Till {})
    }

    /// Products by the beginning of their words or code.
    pub fn search(&self, text: &str, limit: u32) -> Result<Vec<ProductView>, TillError> {
        self.query(&Query::Search { text: text.to_owned(), limit })
    }

    /// The newest orders it knows.
    pub fn orders(&self, limit: u32) -> Result<Vec<OrderSummary>, TillError> {
        self.query(&Query::Orders { text: String::new(), limit })
    }

    /// One order.
    pub fn order(&self, order: domain::ids::OrderId) -> Result<OrderView, TillError> {
        self.query(&Query::Order { order })
    }

    /// Line counts and sums by device.
    pub fn ledger(&self) -> Result<LedgerView, TillError> {
        self.query(&Query::Ledger {})
    }

    /// Signs in by name.
    pub fn sign_in(&self, name: &str, pin: &str) -> Result<TillView, TillError> {
        let staff = self.view()?.staff.into_iter().find(|person| person.name == name);
        let staff = staff.ok_or_else(|| TillError::NoAnswer(format!("nobody is called {name}")))?.id;
        self.command(&Command::SignIn { staff, pin: pin.to_owned() })
    }

    /// A product's picture, once it has arrived: its media type and its bytes.
    pub fn picture(&self, id: domain::ids::PictureId) -> Result<Option<(String, Vec<u8>)>, TillError> {
        let no_answer = |error: ureq::Error| TillError::NoAnswer(error.to_string());
        let mut response = self
            .agent
            .get(format!("{}/picture/{id}", self.origin))
            .header("authorization", format!("Bearer {}", self.token))
            .call()
            .map_err(no_answer)?;
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let bytes = response.body_mut().read_to_vec().map_err(no_answer)?;
        match response.status().as_u16() {
            200 => Ok(Some((kind, bytes))),
            404 => Ok(None),
            status => Err(TillError::NoAnswer(format!("{status} for a picture"))),
        }
    }

    /// Sends any JSON to any path, and reads the answer as any type.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, TillError> {
        let no_answer = |error: ureq::Error| TillError::NoAnswer(error.to_string());
        let mut response = self
            .agent
            .post(format!("{}{path}", self.origin))
            .header("authorization", format!("Bearer {}", self.token))
            .send_json(body)
            .map_err(no_answer)?;
        if response.status().is_success() {
            return response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(no_answer);
        }
        let text = response.body_mut().read_to_string().map_err(no_answer)?;
        match serde_json::from_str(&text) {
            Ok(error) => Err(TillError::Refused(error)),
            Err(_) => Err(TillError::NoAnswer(format!("{}: {text}", response.status()))),
        }
    }
}

/// Most that is read of one answer.
pub(super) const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An HTTP client that hands every status to its caller.
pub(super) fn agent(answer: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(answer)).build().into()
}
