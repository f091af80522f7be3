//! WebKitWebDriver, which starts a program with a window and drives its page.
//!
//! Only what a person could do is here: look, click, type. Every wait ends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use journeys::stack::ports::{Ports, Protocol};
use journeys::stack::process::Process;
use journeys::stack::until;
use serde_json::{Value, json};

use crate::display::Display;

/// How long a page may take to show what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the driver may take for one step. Starting the program is one.
const STEP: Duration = Duration::from_secs(60);
/// How WebDriver writes a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys without a letter, as WebDriver writes them.
pub mod key {
    /// Enter.
    pub const ENTER: char = '\u{E007}';
    /// F9.
    pub const F9: char = '\u{E039}';
}

/// A running driver. Dropping it ends the program that it started as well.
pub struct Driver {
    process: Mutex<Process>,
    origin: String,
    agent: ureq::Agent,
    log: PathBuf,
}

/// A page of a program that was started by a [`Driver`].
pub struct Page<'a> {
    driver: &'a Driver,
    session: String,
}

impl Driver {
    /// Starts a driver on a screen; the programs that it starts find this environment.
    ///
    /// # Errors
    /// When WebKitWebDriver is missing or does not answer.
    pub fn start(display: &Display, folder: &Path, name: &str) -> Result<Self> {
        let address = Ports::Free.choose("the driver", Protocol::Tcp, 0, &mut |_| {})?;
        let home = folder.join(format!("{name}-home"));
        std::fs::create_dir_all(&home)?;
        let mut arguments = display.environment(&home);
        arguments.push("TAURI_WEBVIEW_AUTOMATION=true".to_owned());
        arguments.push("WebKitWebDriver".to_owned());
        arguments.extend([format!("--host={}", address.ip()), format!("--port={}", address.port())]);
        let log = folder.join(format!("{name}.log"));
        let process = Process::start("WebKitWebDriver", Path::new("env"), &arguments, &log)?;
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(STEP)).build().into();
        let driver = Self { process: Mutex::new(process), origin: format!("http://{address}"), agent, log };
        until("the driver", PATIENCE, || {
            let status = driver.ask("GET", "/status", None)?;
            Ok((status["ready"] == true).then_some(()))
        })?;
        Ok(driver)
    }

    /// Starts a program and takes hold of its page.
    ///
    /// # Errors
    /// When the program does not let the driver in.
    pub fn open(&self, program: &Path, arguments: &[&str]) -> Result<Page<'_>> {
        let options = json!({"binary": program, "args": arguments});
        let asked = json!({"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}});
        let granted = self.ask("POST", "/session", Some(&asked))?;
        let session = granted["sessionId"].as_str().context("the driver named no session")?.to_owned();
        Ok(Page { driver: self, session })
    }

    /// What the driver and its programs have said so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// Ends the driver and whatever it has started; whoever waits for an answer of it gets none.
    pub fn end(&self) {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}{path}", self.origin);
        let mut response = match (method, body) {
            ("GET", _) => self.agent.get(url).call(),
            ("DELETE", _) => self.agent.delete(url).call(),
            (_, body) => self.agent.post(url).send_json(body.unwrap_or(&json!({}))),
        }
        .with_context(|| format!("{method} {path} was not answered"))?;
        // A picture of the screen is some hundred thousand bytes.
        let mut answer: Value = response.body_mut().with_config().limit(64 << 20).read_json()?;
        let value = answer["value"].take();
        if !response.status().is_success() {
            bail!("{method} {path}: {} {}", value["error"], value["message"]);
        }
        Ok(value)
    }
}

impl Page<'_> {
    /// Waits for an element; a CSS selector.
    ///
    /// # Errors
    /// When it does not appear.
    pub fn wait_for(&self, selector: &str) -> Result<String> {
        until(selector, PATIENCE, || self.find("css selector", selector).map(Some))
            .with_context(|| format!("the page shows:\n{}", self.text("body").unwrap_or_default()))
    }

    /// Waits until the first such element holds a text, and gives all of its text.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn wait_for_text(&self, selector: &str, part: &str) -> Result<String> {
        let what = format!("{part:?} in {selector}");
        until(&what, PATIENCE, || Ok(Some(self.text(selector)?).filter(|text| text.contains(part))))
            .with_context(|| format!("the page shows:\n{}", self.text("body").unwrap_or_default()))
    }

    /// What an element shows. The page says it: the driver believes a text invisible that is cut off where it does not fit.
    ///
    /// # Errors
    /// When it is not there.
    pub fn text(&self, selector: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? null";
        let text = self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": [selector]})))?;
        Ok(text.as_str().with_context(|| format!("there is no {selector}"))?.to_owned())
    }

    /// An attribute of an element, if it has it.
    ///
    /// # Errors
    /// When the element is not there.
    pub fn attribute(&self, selector: &str, name: &str) -> Result<Option<String>> {
        let element = self.find("css selector", selector)?;
        let value = self.ask("GET", &format!("/element/{element}/attribute/{name}"), None)?;
        Ok(value.as_str().map(str::to_owned))
    }

    /// Clicks the first element that a CSS selector finds.
    ///
    /// # Errors
    /// When it is not there or cannot be clicked.
    pub fn click(&self, selector: &str) -> Result<()> {
        let element = self.wait_for(selector)?;
        self.ask("POST", &format!("/element/{element}/click"), Some(&json!({}))).map(drop)
    }

    /// Puts a text into a field, which is emptied first.
    ///
    /// # Errors
    /// When the field is not there.
    pub fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.wait_for(selector)?;
        self.ask("POST", &format!("/element/{element}/clear"), Some(&json!({})))?;
        self.ask("POST", &format!("/element/{element}/value"), Some(&json!({"text": text}))).map(drop)
    }

    /// Presses keys one after the other, wherever the focus is.
    ///
    /// # Errors
    /// When the driver does not do it.
    pub fn press(&self, keys: &str) -> Result<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.ask("POST", "/actions", Some(&actions)).map(drop)
    }

    /// What a script in the page returns.
    ///
    /// # Errors
    /// When it throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.ask("POST", "/execute/sync", Some(&json!({"script": script, "args": []})))
    }

    /// A picture of the page, as PNG.
    ///
    /// # Errors
    /// When the driver makes none.
    pub fn picture(&self) -> Result<Vec<u8>> {
        let encoded = self.ask("GET", "/screenshot", None)?;
        let bytes = from_base64(encoded.as_str().context("the picture is no text")?)?;
        ensure!(bytes.starts_with(b"\x89PNG"), "the picture is no PNG");
        Ok(bytes)
    }

    /// Closes the window.
    ///
    /// # Errors
    /// When the driver does not do it.
    pub fn close(self) -> Result<()> {
        self.ask("DELETE", "", None).map(drop)
    }

    fn find(&self, using: &str, value: &str) -> Result<String> {
        let found = self.ask("POST", "/element", Some(&json!({"using": using, "value": value})))?;
        Ok(found[ELEMENT].as_str().context("the driver named no element")?.to_owned())
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        self.driver.ask(method, &format!("/session/{}{path}", self.session), body)
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for letter in text.bytes().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).context("the picture is no base64")?;
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmFy", "foobar")] {
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert!(from_base64("?").is_err());
    }
}
