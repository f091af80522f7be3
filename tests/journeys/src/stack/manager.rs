//! A manager at the server's page, without the page.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sync_server::web_api::{
    DeviceView, EnrolmentCode, EnrolmentCodeRequest, GroupBy, SalesReport, SessionView, SignInRequest, WebError,
};

use super::client::{ANSWER_BYTES_MAX, agent};

const ANSWER: Duration = Duration::from_secs(60);

/// A signed-in session of the manager API.
#[derive(Debug, Clone)]
pub struct ManagerClient {
    origin: String,
    cookie: String,
    agent: ureq::Agent,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The server said no.
    #[error("refused ({}): {}", .0.code, .0.message)]
    Refused(WebError),
    /// There was no answer, or none that makes sense.
    #[error("no answer from the server: {0}")]
    NoAnswer(String),
}

impl ManagerClient {
    /// Signs in at `http://HOST:PORT`.
    pub fn sign_in(origin: &str, name: &str, password: &str) -> Result<Self, ManagerError> {
        let mut client = Self { origin: origin.to_owned(), cookie: String::new(), agent: agent(ANSWER) };
        let request = SignInRequest { name: name.to_owned(), password: password.to_owned() };
        let mut response = client.send("POST", "/api/v1/session", Some(&request))?;
        read::<SessionView>(&mut response)?;
        let cookies = response.headers().get_all("set-cookie").into_iter().filter_map(|value| value.to_str().ok());
        let pairs: Vec<&str> = cookies.filter_map(|cookie| cookie.split(';').next()).collect();
        if pairs.is_empty() {
            return Err(ManagerError::NoAnswer("signing in set no cookie".to_owned()));
        }
        client.cookie = pairs.join("; ");
        Ok(client)
    }

    /// Who is signed in.
    pub fn session(&self) -> Result<SessionView, ManagerError> {
        self.get("/api/v1/session")
    }

    /// Sales from day to day, both included, `YYYY-MM-DD`.
    pub fn sales(&self, from: &str, to: &str, group_by: GroupBy) -> Result<SalesReport, ManagerError> {
        let group_by = serde_json::to_value(group_by).map_err(no_answer)?;
        let group_by = group_by.as_str().unwrap_or_default();
        self.get(&format!("/api/v1/reports/sales?from={from}&to={to}&group_by={group_by}"))
    }

    /// Every device.
    pub fn devices(&self) -> Result<Vec<DeviceView>, ManagerError> {
        self.get("/api/v1/devices")
    }

    /// A one-time code for a new till.
    pub fn enrolment_code(&self, store: &str, name: &str) -> Result<EnrolmentCode, ManagerError> {
        let request = EnrolmentCodeRequest { store: store.to_owned(), name: name.to_owned() };
        read(&mut self.send("POST", "/api/v1/enrolment-codes", Some(&request))?)
    }

    /// Reads any path as any type.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ManagerError> {
        read(&mut self.send("GET", path, None::<&()>)?)
    }

    /// Sends any JSON to any path, and reads the answer as any type.
    pub fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: &impl Serialize) -> Result<T, ManagerError> {
        read(&mut self.send(method, path, Some(body))?)
    }

    /// Puts any bytes at any path, and reads the answer as any type.
    pub fn put<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, ManagerError> {
        self.send_bytes("PUT", path, bytes)
    }

    /// Posts a file to any path, and reads the answer as any type.
    pub fn upload<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Result<T, ManagerError> {
        self.send_bytes("POST", path, bytes)
    }

    fn send_bytes<T: DeserializeOwned>(&self, method: &str, path: &str, bytes: &[u8]) -> Result<T, ManagerError> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header("origin", &self.origin)
            .header("cookie", &self.cookie);
        let request = request.body(bytes.to_vec()).map_err(no_answer)?;
        read(&mut self.agent.run(request).map_err(no_answer)?)
    }

    fn send(&self, method: &str, path: &str, body: Option<&impl Serialize>) -> Result<Response, ManagerError> {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            // As a browser does on the server's own page; the server refuses other origins.
            .header("origin", &self.origin)
            .header("cookie", &self.cookie)
            .header("content-type", "application/json");
        let body = body.map(serde_json::to_string).transpose().map_err(no_answer)?.unwrap_or_default();
        let request = request.body(body).map_err(no_answer)?;
        self.agent.run(request).map_err(no_answer)
    }
}

type Response = ureq::http::Response<ureq::Body>;

fn read<T: DeserializeOwned>(response: &mut Response) -> Result<T, ManagerError> {
    if response.status().is_success() {
        return response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(no_answer);
    }
    let text = response.body_mut().read_to_string().map_err(no_answer)?;
    match serde_json::from_str(&text) {
        Ok(error) => Err(ManagerError::Refused(error)),
        Err(_) => Err(ManagerError::NoAnswer(format!("{}: {text}", response.status()))),
    }
}

fn no_answer(error: impl std::fmt::Display) -> ManagerError {
    ManagerError::NoAnswer(error.to_string())
}
