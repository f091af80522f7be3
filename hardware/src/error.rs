//! What can go wrong with a device, in detail, and the [`ErrorKind`] that callers act on.

use crate::ticket::TicketError;

/// What a caller can decide by, shared by every device of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be made: switched off, unplugged, wrong address.
    Unreachable,
    /// A connection was there and broke.
    Disconnected,
    /// A deadline passed.
    TimedOut,
    /// The device takes bytes but does not answer, or answers nonsense.
    NoAnswer,
    /// Paper must be put in.
    PaperOut,
    /// A cover must be closed.
    CoverOpen,
    /// The device reports a fault of its own, such as a jammed cutter.
    DeviceError,
    /// The device is switched to offline for another reason.
    Offline,
    /// The document itself cannot be printed.
    InvalidDocument,
    /// The profile says that the device cannot do this.
    Unsupported,
}

/// A failed operation of a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {peer}: {detail}")]
pub struct IoFault {
    /// What was tried: "connect to", "write to", "read from".
    pub operation: &'static str,
    /// The other end.
    pub peer: String,
    /// The system's word for it.
    pub kind: std::io::ErrorKind,
    /// The system's sentence.
    pub detail: String,
}

/// A write that failed, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{accepted} bytes were accepted before the write failed")]
pub struct WriteFault {
    /// Bytes that the system took. The device may have seen fewer; it cannot have seen more.
    pub accepted: usize,
    /// Why it stopped.
    #[source]
    pub cause: IoFault,
}

/// Why a device did not do, or may not have done, what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The connection failed.
    #[error("the connection to the printer failed")]
    Io(#[from] IoFault),
    /// No valid answer came in time.
    #[error("the printer did not answer {question} within {waited_ms} ms")]
    NoAnswer {
        /// What was asked.
        question: &'static str,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The paper is out.
    #[error("the printer is out of paper")]
    PaperOut,
    /// The cover is open.
    #[error("the cover of the printer is open")]
    CoverOpen,
    /// The printer reports an error.
    #[error("the printer reports an error: {0}")]
    DeviceError(DeviceError),
    /// The printer is offline without saying why.
    #[error("the printer is offline")]
    Offline,
    /// The ticket breaks a bound.
    #[error("the document cannot be printed")]
    Document(#[from] TicketError),
    /// The profile has no such function.
    #[error("a printer of profile {profile} has no {function}")]
    Unsupported {
        /// The profile's id.
        profile: &'static str,
        /// What it lacks.
        function: &'static str,
    },
}

/// A fault inside the printer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The cutter is stuck.
    #[error("the cutter is stuck")]
    Cutter,
    /// An error that goes away by itself, such as a hot print head.
    #[error("a fault that passes by itself")]
    AutoRecoverable,
    /// An error that needs a person or a repair.
    #[error("a fault that needs attention")]
    Unrecoverable,
}

impl Fault {
    /// The class of this fault.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Fault::Io(fault) => fault.kind(),
            Fault::NoAnswer { .. } => ErrorKind::NoAnswer,
            Fault::PaperOut => ErrorKind::PaperOut,
            Fault::CoverOpen => ErrorKind::CoverOpen,
            Fault::DeviceError(_) => ErrorKind::DeviceError,
            Fault::Offline => ErrorKind::Offline,
            Fault::Document(_) => ErrorKind::InvalidDocument,
            Fault::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }
}

impl IoFault {
    /// Wraps a system error.
    pub fn new(operation: &'static str, peer: &str, error: &std::io::Error) -> Self {
        Self { operation, peer: peer.to_owned(), kind: error.kind(), detail: error.to_string() }
    }

    /// A deadline that passed.
    pub fn timed_out(operation: &'static str, peer: &str) -> Self {
        Self::new(operation, peer, &std::io::Error::from(std::io::ErrorKind::TimedOut))
    }

    /// The class of this fault.
    pub fn kind(&self) -> ErrorKind {
        match (self.operation, self.kind) {
            (crate::transport::CONNECT, _) => ErrorKind::Unreachable,
            (_, std::io::ErrorKind::TimedOut) => ErrorKind::TimedOut,
            _ => ErrorKind::Disconnected,
        }
    }
}
