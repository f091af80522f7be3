//! Printing a job, and knowing what is known about it afterwards.
//!
//! A job goes out in this order, and each step decides what a failure means:
//!
//! 1. connect and ask for the status: a failure here has sent nothing, so trying again is safe;
//! 2. write in bands: once a byte was taken, the paper may show all of it, some of it, or nothing;
//! 3. wait for the job's process id, where the printer can send one back: only this confirms paper.

mod answers;
mod status;

use std::future::Future;
use std::time::Duration;

pub use status::{Status, StatusBytes};
pub(crate) use status::{check_ready, close_and_judge};

use crate::drawer::{self, KickOutcome};
use crate::error::{Fault, IoFault};
use crate::job::{ProcessId, RenderedJob};
use crate::profile::{AckSupport, Profile};
use crate::transport::{Deadline, TcpTransport, Transport};
use answers::{Answer, read_answer};

/// Most bytes handed to the connection at once.
const BAND_BYTES: usize = 4 * 1024;

/// A receipt printer, however it is connected.
pub trait ReceiptPrinter: Send {
    /// What kind of printer this is.
    fn profile(&self) -> &'static Profile;

    /// Asks how the printer is, over a connection of its own.
    fn status(&mut self) -> impl Future<Output = Status> + Send;

    /// Prints a job over a connection of its own. Whoever drops the future half way must take the
    /// job for uncertain.
    fn deliver(&mut self, job: &RenderedJob) -> impl Future<Output = Outcome> + Send;

    /// Opens the cash drawer, at most once, or not at all when that takes longer than `expires`.
    fn kick_drawer(&mut self, expires: Duration) -> impl Future<Output = KickOutcome> + Send;
}

/// What is known about a job after [`ReceiptPrinter::deliver`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The printer said that it has printed this job.
    Confirmed(AckKind),
    /// All bytes are sent and the printer has no way to confirm. Probably on paper; do not send again by itself.
    SentUnconfirmed,
    /// Something was sent and its fate is unknown. A person must look; another print must say COPY.
    Uncertain {
        /// Bytes of the job that the connection took, at least 1.
        accepted: usize,
        /// What broke, or what the printer was missing when the answer stayed out.
        cause: Fault,
    },
    /// No byte of the job was sent. Sending it again is safe.
    NotSent {
        /// Why.
        cause: Fault,
    },
}

/// By what a printer confirmed a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckKind {
    /// It sent the job's process id back (`GS ( H` function 48).
    ProcessId,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Looking up the host and connecting.
    pub connect: Duration,
    /// All four status answers.
    pub status: Duration,
    /// Handing over all bytes of one job.
    pub write: Duration,
    /// The process id after the last byte; the printer sends it when the paper has moved.
    pub ack: Duration,
    /// The other end closing its side.
    pub close: Duration,
}

/// A receipt printer over some [`Transport`].
pub struct Printer<T> {
    transport: T,
    profile: &'static Profile,
    timeouts: Timeouts,
}

/// A receipt printer on the network.
pub type NetworkPrinter = Printer<TcpTransport>;

impl NetworkPrinter {
    /// A printer at `host:port`. Nothing is connected yet; each job has a connection of its own.
    pub fn new(address: impl Into<String>, profile: &'static Profile, timeouts: Timeouts) -> Self {
        Self::over(TcpTransport::new(address), profile, timeouts)
    }
}

impl<T: Transport> Printer<T> {
    /// A printer over any transport.
    pub fn over(transport: T, profile: &'static Profile, timeouts: Timeouts) -> Self {
        Self { transport, profile, timeouts }
    }

    /// The transport, for tests that look at what it took.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    async fn open(&mut self) -> Result<(), Fault> {
        self.transport.connect(Deadline::after(self.timeouts.connect)).await?;
        check_ready(&mut self.transport, self.profile, self.timeouts.status).await
    }

    /// Writes the job; on failure, what that means.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let deadline = Deadline::after(self.timeouts.write);
        let mut sent = 0;
        for band in bytes.chunks(BAND_BYTES) {
            if let Err(fault) = self.transport.write(band, deadline).await {
                let accepted = sent + fault.accepted;
                let cause = Fault::Io(fault.cause);
                return Err(if accepted == 0 { Outcome::NotSent { cause } } else { Outcome::Uncertain { accepted, cause } });
            }
            sent += band.len();
        }
        Ok(())
    }

    /// Waits until the printer sends this job's process id back.
    async fn wait_for_ack(&mut self, id: ProcessId) -> Result<AckKind, Fault> {
        let deadline = Deadline::after(self.timeouts.ack);
        loop {
            match read_answer(&mut self.transport, deadline).await {
                Ok(Answer::ProcessId(answered)) if answered == *id.as_bytes() => return Ok(AckKind::ProcessId),
                Ok(_) => {}
                Err(IoFault { kind: std::io::ErrorKind::TimedOut, .. }) => return Err(self.explain_silence().await),
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// The process id stayed out: a printer that ran out of paper on the way can still say so.
    async fn explain_silence(&mut self) -> Fault {
        match check_ready(&mut self.transport, self.profile, self.timeouts.status).await {
            Err(fault) if !matches!(fault, Fault::NoAnswer { .. }) => fault,
            _ => Fault::NoAnswer { question: "whether the job is printed", waited_ms: millis(self.timeouts.ack) },
        }
    }
}

impl<T: Transport> ReceiptPrinter for Printer<T> {
    fn profile(&self) -> &'static Profile {
        self.profile
    }

    async fn status(&mut self) -> Status {
        if let Err(fault) = self.transport.connect(Deadline::after(self.timeouts.connect)).await {
            return Status::Unreachable(fault);
        }
        let status = Status::ask(&mut self.transport, self.profile, self.timeouts.status).await;
        let _ = self.transport.close(Deadline::after(self.timeouts.close)).await;
        status
    }

    async fn deliver(&mut self, job: &RenderedJob) -> Outcome {
        if let Err(cause) = self.open().await {
            let _ = self.transport.close(Deadline::after(self.timeouts.close)).await;
            return Outcome::NotSent { cause };
        }
        if let Err(outcome) = self.send(&job.bytes).await {
            return outcome;
        }
        let accepted = job.bytes.len();
        let acked = match (self.profile.ack, job.process_id) {
            (AckSupport::ProcessId, Some(id)) => Some(self.wait_for_ack(id).await),
            _ => None,
        };
        let closed = close_and_judge(&mut self.transport, self.timeouts.close).await;
        match (acked, closed) {
            // The printer's word stands even if the connection then ends badly.
            (Some(Ok(kind)), _) => Outcome::Confirmed(kind),
            (Some(Err(cause)), _) | (None, Err(cause)) => Outcome::Uncertain { accepted, cause },
            (None, Ok(())) => Outcome::SentUnconfirmed,
        }
    }

    async fn kick_drawer(&mut self, expires: Duration) -> KickOutcome {
        drawer::kick(&mut self.transport, self.profile, Deadline::after(expires)).await
    }
}

impl Default for Timeouts {
    /// For a printer on the shop's network: 3 s to connect, 2 s for the status, 10 s to send,
    /// 20 s to confirm, 1 s to close.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            status: Duration::from_secs(2),
            write: Duration::from_secs(10),
            ack: Duration::from_secs(20),
            close: Duration::from_secs(1),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
