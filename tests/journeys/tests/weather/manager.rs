//! Bad input at the manager page's API, as a table, against a real server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use journeys::stack::{MANAGER, Plan, Stack};
use serde_json::{Value, json};

use super::support::*;

/// What is done wrong, the request, the body, the code, the sentence. Requests are made with a session unless they begin with `-`.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const NO_JSON: &str = "The JSON of the request is not what this address takes.";
const NAME: &str = "Give the device a name of 1 to 100 letters, without control characters.";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("A sign-in that is no JSON", "-POST /api/v1/session", "{", "bad_request", NO_JSON),
    ("A sign-in with a field too many", "-POST /api/v1/session", r#"{"name":"chris","password":"x","admin":true}"#, "bad_request", NO_JSON),
    ("A sign-in of more than 16 KiB", "-POST /api/v1/session", r#"{"name":"{16384x}","password":"x"}"#, "bad_request", "A request has at most 16384 bytes."),
    ("A wrong password", "-POST /api/v1/session", r#"{"name":"chris","password":"guess"}"#, "wrong_password", "Name or password is wrong. Try again."),
    ("A name that nobody has", "-POST /api/v1/session", r#"{"name":"nobody' OR 1=1 --","password":"x"}"#, "wrong_password", "Name or password is wrong. Try again."),
    ("A question without a session", "-GET /api/v1/devices", "", "not_signed_in", "Sign in."),
    ("An address that is none", "GET /api/v1/nothing", "", "not_found", "There is nothing at this address."),
    ("A code for a store that is none", "POST /api/v1/enrolment-codes", r#"{"store":"S99","name":"Till 9"}"#, "bad_request", "No store has the code S99. Choose one that is set up."),
    ("A device without a name", "POST /api/v1/enrolment-codes", r#"{"store":"S01","name":" "}"#, "bad_request", NAME),
    ("A device with a name of 101 letters", "POST /api/v1/enrolment-codes", r#"{"store":"S01","name":"{101x}"}"#, "bad_request", NAME),
    ("Control characters in a device's name", "POST /api/v1/enrolment-codes", r#"{"store":"S01","name":"Till\u001b[2J"}"#, "bad_request", NAME),
];

struct Site {
    stack: Stack,
    agent: ureq::Agent,
}

impl Site {
    fn ask(&self, method: &str, path: &str, cookie: &str, body: &str) -> Result<(u16, String, String)> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.stack.server.web_url()));
        if !cookie.is_empty() {
            request = request.header("cookie", cookie);
        }
        let mut response = match body {
            "" => self.agent.run(request.body(())?)?,
            body => self.agent.run(request.header("content-type", "application/json").body(body.to_owned())?)?,
        };
        let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Ok((response.status().as_u16(), cookie, response.body_mut().read_to_string()?))
    }

    fn sign_in(&self) -> Result<String> {
        let right = json!({"name": MANAGER.0, "password": MANAGER.1}).to_string();
        let (status, cookie, body) = self.ask("POST", "/api/v1/session", "", &right)?;
        ensure!(status == 200, "{status}: {body}");
        Ok(cookie.split(';').next().context("a cookie")?.to_owned())
    }
}

#[test]
fn every_row_of_the_manager_page_has_its_code_and_sentence() -> Result<()> {
    let plan = Plan { tills: 0, printers: false, links: false, ..Plan::for_test()? };
    let stack = plan.start(&mut |text| eprintln!("{text}"))?;
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    let site = Site { stack, agent };
    let session = site.sign_in()?;
    for (wrong, request, body, code, sentence) in ROWS {
        let (cookie, request) = match request.strip_prefix('-') {
            Some(request) => ("", request),
            None => (session.as_str(), *request),
        };
        let (method, path) = request.split_once(' ').context("a method and a path")?;
        let body = body.replace("{16384x}", &"x".repeat(16_384)).replace("{101x}", &"x".repeat(101));
        let (status, _, answer) = site.ask(method, path, cookie, &body).with_context(|| (*wrong).to_owned())?;
        ensure!((400..500).contains(&status), "{wrong}: {status}: {answer}");
        let told: Value = serde_json::from_str(&answer)?;
        assert_eq!((told["code"].as_str(), told["message"].as_str()), (Some(*code), Some(*sentence)), "{wrong}");
    }
    // Nothing of it has made a device or ended the session, and two wrong passwords keep nobody out.
    ensure!(site.stack.manager()?.devices()?.iter().all(|device| device.kind == "server"));
    ensure!(site.ask("GET", "/api/v1/session", &session, "")?.0 == 200);
    for n in 0..5 {
        let wrong = json!({"name": "ben", "password": n.to_string()}).to_string();
        ensure!(site.ask("POST", "/api/v1/session", "", &wrong)?.0 == 401);
    }
    let (status, _, answer) = site.ask("POST", "/api/v1/session", "", &json!({"name": "ben", "password": "x"}).to_string())?;
    ensure!(status == 429, "{status}: {answer}");
    says(&answer, "Too many attempts. Try again in … s.")
}

#[test]
fn rows_are_in_the_page() -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bad-input.md"))?;
    for (wrong, _, _, code, sentence) in ROWS {
        ensure!(page.contains(&format!("| {wrong} | `{code}` | {sentence} |")), "{wrong} is not in docs/bad-input.md");
    }
    Ok(())
}
