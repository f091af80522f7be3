//! The printing worker: receipts to paper, pulses to the drawer, and what became of them back into the replica.
//!
//! The till queues jobs in the transactions of its sales; this worker takes them one by one, beside the command path. The order
//! of the steps is what makes paper honest:
//!
//! 1. the attempt is on disk before its first byte is sent;
//! 2. what was certainly not sent is tried again, at once when the printer is back;
//! 3. what may have been sent is never sent again by itself: a person looks, and another print says COPY.
//!
//! A drawer kick is taken up in the replica before the pulse, and only by one who takes it up: at most one pulse each, none
//! after [`KICK_LIFE_MS`], none after a restart.

use std::time::Duration;

use hardware::error::DeviceError;
use hardware::{ErrorKind, Fault, KickOutcome, Outcome, ReceiptPrinter, Status, encoder};
use tokio::sync::watch;

use crate::api::DrawerState;
use crate::errors::chain_of;
use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::till::{PaperWork, PrintOutcome, Till};

/// How old a kick may be when its pulse is sent, in milliseconds. A drawer that opens later opens on nobody's hand.
pub const KICK_LIFE_MS: u64 = 5_000;
/// The first wait for a printer that does not print; it doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(500);
/// The longest wait between two looks at a printer that does not print.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Prints until told to stop. A receipt that is being printed then is finished first.
pub async fn run<P: ReceiptPrinter>(node: Node, mut printer: P, mut stop: watch::Receiver<bool>) {
    let mut worker = Worker { node: &node, printer: &mut printer, wait: WAIT_MIN, troubled: false };
    let mut grew = node.paper_grew();
    while !*stop.borrow() {
        grew.mark_unchanged();
        let step = match worker.step().await {
            Ok(step) => step,
            Err(Broken::Stopped(NodeStopped)) => return,
            Err(Broken::Store(error)) => {
                tracing::error!(error = %chain_of(&error), "the print queue could not be read or written");
                // It is looked at again after the wait, on a file that was opened anew. That itself counts as news, so only the wait counts.
                let wait = worker.next_wait();
                tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep(wait) => {}
                }
                if node.with(Till::recover).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let wait = match step {
            Step::Again => continue,
            Step::Wait => worker.next_wait(),
            // Only new work or the end wakes it.
            Step::Idle => Duration::from_secs(3_600),
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            changed = grew.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

enum Step {
    /// Something was done; there may be more.
    Again,
    /// Something is to be done, but the printer does not print.
    Wait,
    /// Nothing is to be done.
    Idle,
}

enum Broken {
    Stopped(NodeStopped),
    Store(StoreError),
}

impl From<NodeStopped> for Broken {
    fn from(stopped: NodeStopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

struct Worker<'a, P> {
    node: &'a Node,
    printer: &'a mut P,
    wait: Duration,
    /// Whether the last attempt found the printer not printing: then it is asked first, and nothing is attempted until it is well.
    troubled: bool,
}

impl<P: ReceiptPrinter> Worker<'_, P> {
    async fn step(&mut self) -> Result<Step, Broken> {
        self.open_drawer().await?;
        let Some(work) = self.node.with(|till| till.next_print()).await?? else { return Ok(Step::Idle) };
        if self.troubled
            && let Some(problem) = trouble(&self.printer.status().await)
        {
            let n = work.n;
            self.node.with(move |till| till.note_print_problem(n, Some(&problem))).await??;
            return Ok(Step::Wait);
        }
        self.print(work).await
    }

    /// Sends every pulse that was asked for and is still fresh. The drawer comes before the paper: the cashier stands there with money in hand.
    async fn open_drawer(&mut self) -> Result<(), Broken> {
        let kicks = self.node.with(Till::take_kicks).await??;
        for (id, age_ms) in kicks {
            let left_ms = KICK_LIFE_MS.saturating_sub(age_ms);
            let state = match left_ms {
                0 => DrawerState::OpenByKey,
                _ => match self.printer.kick_drawer(Duration::from_millis(left_ms)).await {
                    KickOutcome::Sent => DrawerState::Kicked,
                    KickOutcome::NotSent { cause } | KickOutcome::Uncertain { cause, .. } => {
                        tracing::warn!(error = %chain_of(&cause), "the drawer was not, or perhaps not, opened");
                        DrawerState::OpenByKey
                    }
                },
            };
            self.node.with(move |till| till.end_kick(id, state)).await??;
        }
        Ok(())
    }

    async fn print(&mut self, work: PaperWork) -> Result<Step, Broken> {
        let PaperWork { n, id, ticket } = work;
        let profile = self.printer.profile();
        let rendered = encoder::encode(&ticket, profile, hardware::JobId::from_bytes(*id.as_bytes()));
        let sha256 = rendered.as_ref().map_or([0; 32], |job| job.sha256);
        let attempt = self.node.with(move |till| till.begin_print(n, profile.id, sha256)).await??;
        let outcome = match &rendered {
            Ok(job) => outcome_of(self.printer.deliver(job).await),
            // Nobody but a person can do anything about it, and it must not hold up the receipts behind it.
            Err(error) => PrintOutcome::Uncertain { accepted: 0, problem: chain_of(error) },
        };
        self.troubled = matches!(outcome, PrintOutcome::NotSent { .. });
        self.node.with(move |till| till.end_print(n, attempt, &outcome)).await??;
        if self.troubled {
            return Ok(Step::Wait);
        }
        self.wait = WAIT_MIN;
        Ok(Step::Again)
    }

    fn next_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(WAIT_MAX);
        wait
    }
}

fn outcome_of(outcome: Outcome) -> PrintOutcome {
    match outcome {
        Outcome::Confirmed(_) => PrintOutcome::Confirmed,
        Outcome::SentUnconfirmed => PrintOutcome::SentUnconfirmed,
        Outcome::Uncertain { accepted, cause } => PrintOutcome::Uncertain { accepted, problem: sentence(&cause) },
        Outcome::NotSent { cause } => PrintOutcome::NotSent { problem: sentence(&cause) },
    }
}

/// Why a printer does not print, if it does not.
fn trouble(status: &Status) -> Option<String> {
    let fault = match status {
        Status::Online | Status::PaperNearEnd | Status::NotAsked | Status::Mute => return None,
        Status::PaperOut => Fault::PaperOut,
        Status::CoverOpen => Fault::CoverOpen,
        Status::DeviceError(error) => Fault::DeviceError(*error),
        Status::Offline => Fault::Offline,
        Status::Unreachable(cause) => Fault::Io(cause.clone()),
    };
    Some(sentence(&fault))
}

/// What the cashier reads: what is wrong with the printer, and what to do. Details are for the log.
fn sentence(fault: &Fault) -> String {
    let told = match (fault.kind(), fault) {
        (ErrorKind::PaperOut, _) => "the printer is out of paper: put in a new roll",
        (ErrorKind::CoverOpen, _) => "the cover of the printer is open: close it",
        (_, Fault::DeviceError(DeviceError::Cutter)) => "the cutter of the printer is stuck: open the cover, clear it, close it",
        (_, Fault::DeviceError(DeviceError::AutoRecoverable)) => "the printer is too hot or otherwise busy: it goes on by itself",
        (ErrorKind::DeviceError, _) => "the printer has a fault: switch it off and on, or call for help",
        (ErrorKind::Unreachable, _) => "the printer cannot be reached: check that it is switched on and plugged in",
        (ErrorKind::Disconnected | ErrorKind::TimedOut | ErrorKind::NoAnswer, _) => {
            "the printer stopped answering: check that it is switched on and plugged in"
        }
        (ErrorKind::Offline, _) => "the printer is offline: press its button, or switch it off and on",
        _ => return chain_of(fault),
    };
    tracing::debug!(fault = %chain_of(fault), "the printer does not print");
    told.to_owned()
}
