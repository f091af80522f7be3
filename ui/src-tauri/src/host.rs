//! The till behind the window: not enrolled yet, at work, or stuck and why.
//!
//! One [`Host`] belongs to one data folder. Its stage changes under one lock, so whoever asks waits for an opening or an enrolment
//! that is under way, and never sees half of one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use node::api::{ApiError, Event};
use node::config::{Config, ConfigError, Overrides};
use node::enrol::{EnrolError, enrol};
use node::env::SystemEnv;
use node::handle::{Node, NodeStopped, next_events};
use node::identity::{Identity, IdentityError, is_enrolled};
use node::running::{Running, StartError};
use operations::logging::LogConfig;
use serde::Serialize;
use tauri::async_runtime::JoinHandle;
use tokio::sync::Mutex;

use crate::arguments::{Arguments, ArgumentsError};

/// Longest text that may be pasted as an enrolment link, in bytes.
pub const LINK_BYTES_MAX: usize = 1_024;
/// How long a stop waits for an enrolment that is under way; what it has not finished by then was not begun.
const STOP_WAIT: Duration = Duration::from_secs(20);

/// The till of one data folder.
#[derive(Debug)]
pub struct Host {
    data: PathBuf,
    config: Option<PathBuf>,
    overrides: Overrides,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was tried yet.
    New,
    FirstRun,
    Selling {
        running: Running,
        /// The name that people call the till by.
        till: String,
        /// Waits for the till to stop by itself.
        watch: JoinHandle<()>,
    },
    Stuck(Problem),
}

/// What the window shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Shown {
    /// The folder is no device yet: ask for the enrolment link.
    FirstRun {
        /// The data folder.
        data: String,
    },
    /// The till's screen.
    Selling {
        /// The name that people call the till by.
        till: String,
    },
    /// The till cannot be opened, and why.
    Stuck {
        /// The data folder.
        data: String,
        /// What is wrong.
        #[serde(flatten)]
        problem: Problem,
    },
}

/// Why something of the window's own did not work: a code for the screen, a sentence for whoever is asked for help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The stable code.
    pub code: ProblemCode,
    /// What went wrong, in English.
    pub message: String,
}

/// The stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// What was pasted is no whole enrolment link.
    BadLink,
    /// The sync server cannot be reached, or another one answers there.
    Unreachable,
    /// The sync server says no.
    Denied,
    /// The connection broke off, and the link may be used up.
    BrokeOff,
    /// Another program uses the data folder.
    InUse,
    /// The folder is a device already.
    AlreadyEnrolled,
    /// A file of the data folder cannot be used.
    Folder,
    /// The configuration makes no sense.
    Config,
    /// The database files cannot be opened.
    Database,
    /// The till stopped by itself, or the system refuses something that it always grants.
    Broken,
}

/// What a screen that listens hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Heard {
    /// Something happened at the till.
    Event(Event),
    /// The till has ended: ask what to show now.
    Ended(Ended),
}

/// The word that the till has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "ended")]
pub struct Ended {}

impl Host {
    /// The till that the command line names. Nothing is opened yet.
    ///
    /// # Errors
    /// When nobody said where its data is.
    pub fn of(arguments: &Arguments) -> Result<Self, ArgumentsError> {
        Ok(Self {
            data: arguments.data_folder()?,
            config: arguments.config.clone(),
            overrides: arguments.overrides(),
            stage: Mutex::new(Stage::New),
        })
    }

    /// How to log. A configuration that makes no sense is told of when the till opens; until then the log is the usual one.
    pub fn log_config(&self) -> LogConfig {
        self.read_config().map(|config| config.log).unwrap_or_default()
    }

    fn read_config(&self) -> Result<Config, ConfigError> {
        Config::load(&self.data, self.config.as_deref(), self.overrides.clone())
    }

    /// Opens the till if that was not tried yet, or if it was in vain and should be tried `again`, and says what to show.
    pub async fn begin(self: &Arc<Self>, again: bool) -> Shown {
        let mut stage = self.stage.lock().await;
        let due = match *stage {
            Stage::New => true,
            Stage::Stuck(_) | Stage::FirstRun => again,
            Stage::Selling { .. } => false,
        };
        if due {
            *stage = match is_enrolled(&self.data) {
                false => Stage::FirstRun,
                true => self.open(Identity::load(&self.data).map_err(Problem::from)),
            };
        }
        self.shown(&stage)
    }

    /// Makes the folder a device of a shop, with the link from the manager, and opens its till.
    ///
    /// # Errors
    /// Why it was not admitted; the folder is as it was.
    pub async fn enrol(self: &Arc<Self>, link: &str) -> Result<Shown, Problem> {
        let mut stage = self.stage.lock().await;
        if !matches!(*stage, Stage::FirstRun) {
            return Ok(self.shown(&stage));
        }
        if link.len() > LINK_BYTES_MAX {
            return Err(Problem { code: ProblemCode::BadLink, message: format!("a link has at most {LINK_BYTES_MAX} bytes") });
        }
        let link = link.parse().map_err(|error| Problem::new(ProblemCode::BadLink, &error))?;
        let identity = enrol(&self.data, &link, &SystemEnv).await?;
        tracing::info!(till = identity.name(), "enrolled");
        *stage = self.open(Ok(identity));
        Ok(self.shown(&stage))
    }

    /// The door to the till.
    ///
    /// # Errors
    /// When there is no till at work.
    pub async fn node(&self) -> Result<Node, ApiError> {
        match &*self.stage.lock().await {
            Stage::Selling { running, .. } => Ok(running.node().clone()),
            _ => Err(NodeStopped.into()),
        }
    }

    /// Tells a listener what happens, until it no longer listens or the till has ended.
    ///
    /// # Errors
    /// When there is no till at work.
    pub async fn tell(&self, mut say: impl FnMut(Heard) -> bool + Send + 'static) -> Result<JoinHandle<()>, ApiError> {
        let mut listener = self.node().await?.events();
        Ok(tauri::async_runtime::spawn(async move {
            while let Some(events) = next_events(&mut listener).await {
                if !events.into_iter().all(|event| say(Heard::Event(event))) {
                    return;
                }
            }
            say(Heard::Ended(Ended {}));
        }))
    }

    /// Ends the till as it should be. Says whether it was stuck.
    pub async fn stop(&self) -> bool {
        let Ok(mut stage) = tokio::time::timeout(STOP_WAIT, self.stage.lock()).await else { return true };
        match std::mem::replace(&mut *stage, Stage::New) {
            Stage::Selling { running, watch, .. } => {
                watch.abort();
                // It holds a handle to the till, which ends with the last one.
                let _ = watch.await;
                running.stop().await;
                false
            }
            Stage::Stuck(_) => true,
            Stage::New | Stage::FirstRun => false,
        }
    }

    /// The stage that comes of opening the till.
    fn open(self: &Arc<Self>, identity: Result<Identity, Problem>) -> Stage {
        let opened = || {
            let identity = identity?;
            let config = self.read_config()?;
            let till = identity.name().to_owned();
            Ok((Running::start(identity, &config, None)?, till))
        };
        match opened() {
            Ok((running, till)) => {
                tracing::info!(%till, "the till is at work");
                let watch = tauri::async_runtime::spawn(self.clone().watch(running.node().clone()));
                Stage::Selling { running, till, watch }
            }
            Err(problem) => {
                tell_terminal(&problem);
                Stage::Stuck(problem)
            }
        }
    }

    /// Waits for the till to stop by itself, and clears up behind it.
    async fn watch(self: Arc<Self>, node: Node) {
        node.stopped().await;
        let message = match node.is_over() {
            true => {
                "the data of this till was damaged and has been put aside: close this window and open it again, and the till goes on with what can still be read"
            }
            false => "the till stopped by itself; the log says why",
        };
        let message = message.to_owned();
        drop(node);
        let mut stage = self.stage.lock().await;
        let problem = Problem { code: ProblemCode::Broken, message };
        tell_terminal(&problem);
        // The listeners hear of it when the last handle is gone, and that is after the stage says so.
        if let Stage::Selling { running, .. } = std::mem::replace(&mut *stage, Stage::Stuck(problem)) {
            running.stop().await;
        }
    }

    fn shown(&self, stage: &Stage) -> Shown {
        let data = || self.data.display().to_string();
        match stage {
            Stage::New | Stage::FirstRun => Shown::FirstRun { data: data() },
            Stage::Selling { till, .. } => Shown::Selling { till: till.clone() },
            Stage::Stuck(problem) => Shown::Stuck { data: data(), problem: problem.clone() },
        }
    }
}

/// For whoever started the program from a terminal, or reads its log afterwards.
fn tell_terminal(problem: &Problem) {
    eprintln!("evertill: {}", problem.message);
}

impl Problem {
    fn new(code: ProblemCode, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code, message }
    }
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        let code = match error {
            EnrolError::Identity(error) => return error.into(),
            // The server's own words, which the screen shows.
            EnrolError::Denied(message) => return Self { code: ProblemCode::Denied, message },
            EnrolError::Unreachable { .. } => ProblemCode::Unreachable,
            EnrolError::BrokeOff(_) => ProblemCode::BrokeOff,
            _ => ProblemCode::Broken,
        };
        Self::new(code, &error)
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let code = match error {
            IdentityError::InUse(_) => ProblemCode::InUse,
            IdentityError::AlreadyEnrolled(_) => ProblemCode::AlreadyEnrolled,
            _ => ProblemCode::Folder,
        };
        Self::new(code, &error)
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Self::new(ProblemCode::Config, &error)
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Identity(error) => return error.into(),
            StartError::Open(_) => ProblemCode::Database,
            StartError::Thread(_) => ProblemCode::Broken,
        };
        Self::new(code, &error)
    }
}
