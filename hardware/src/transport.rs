//! Connections to devices. Every operation has a deadline, and a failed write says how many
//! bytes were taken, because that decides whether a receipt may be sent again.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::error::{IoFault, WriteFault};

pub(crate) const CONNECT: &str = "connect to";
const WRITE: &str = "write to";
const READ: &str = "read from";
const CLOSE: &str = "close the connection to";

/// The instant at which an operation gives up, on tokio's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// A byte connection to one device. Its owner is its only user.
pub trait Transport: Send {
    /// Opens a fresh connection; one that is still open is dropped.
    ///
    /// # Errors
    /// When no connection stands at the deadline.
    fn connect(&mut self, deadline: Deadline) -> impl Future<Output = Result<(), IoFault>> + Send;

    /// Hands all of `bytes` to the system.
    ///
    /// # Errors
    /// With the number of bytes that were taken before the failure.
    fn write(&mut self, bytes: &[u8], deadline: Deadline) -> impl Future<Output = Result<(), WriteFault>> + Send;

    /// Waits for at least one byte; 0 means that the other end has closed.
    ///
    /// # Errors
    /// `TimedOut` when nothing came, otherwise what broke the connection.
    fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> impl Future<Output = Result<usize, IoFault>> + Send;

    /// Ends the connection so that bytes under way still arrive, and waits for the other end to end it too.
    ///
    /// # Errors
    /// When the other end broke the connection instead, which means that bytes may be lost.
    fn close(&mut self, deadline: Deadline) -> impl Future<Output = Result<(), IoFault>> + Send;
}

impl Deadline {
    /// So long from now.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// How long until then; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is over.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// TCP, usually to port 9100.
#[derive(Debug)]
pub struct TcpTransport {
    address: String,
    stream: Option<TcpStream>,
}

impl TcpTransport {
    /// A connection to `host:port`, opened later. The host may be a name; it is looked up at each connect.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), stream: None }
    }

    fn stream(&mut self, operation: &'static str) -> Result<&mut TcpStream, IoFault> {
        let closed = || IoFault::new(operation, &self.address, &std::io::ErrorKind::NotConnected.into());
        self.stream.as_mut().ok_or_else(closed)
    }
}

impl Transport for TcpTransport {
    async fn connect(&mut self, deadline: Deadline) -> Result<(), IoFault> {
        self.stream = None;
        let stream = match timeout_at(deadline.0, TcpStream::connect(&self.address)).await {
            Err(_) => return Err(IoFault::timed_out(CONNECT, &self.address)),
            Ok(connected) => connected.map_err(|error| IoFault::new(CONNECT, &self.address, &error))?,
        };
        // Status questions are three bytes; waiting to glue them to more would cost 40 ms each.
        let _ = stream.set_nodelay(true);
        self.stream = Some(stream);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), WriteFault> {
        let peer = self.address.clone();
        let mut accepted = 0;
        let stream = self.stream(WRITE).map_err(|cause| WriteFault { accepted, cause })?;
        while accepted < bytes.len() {
            let cause = match timeout_at(deadline.0, stream.write(&bytes[accepted..])).await {
                Ok(Ok(taken)) if taken > 0 => {
                    accepted += taken;
                    continue;
                }
                Ok(Ok(_)) => IoFault::new(WRITE, &peer, &std::io::ErrorKind::WriteZero.into()),
                Ok(Err(error)) => IoFault::new(WRITE, &peer, &error),
                Err(_) => IoFault::timed_out(WRITE, &peer),
            };
            return Err(WriteFault { accepted, cause });
        }
        Ok(())
    }

    async fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, IoFault> {
        let peer = self.address.clone();
        let stream = self.stream(READ)?;
        match timeout_at(deadline.0, stream.read(buffer)).await {
            Ok(read) => read.map_err(|error| IoFault::new(READ, &peer, &error)),
            Err(_) => Err(IoFault::timed_out(READ, &peer)),
        }
    }

    async fn close(&mut self, deadline: Deadline) -> Result<(), IoFault> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let broken = |error: std::io::Error| IoFault::new(CLOSE, &self.address, &error);
        stream.shutdown().await.map_err(broken)?;
        // Dropping a socket with unread bytes resets the connection, and a reset can overtake
        // what the printer has not read yet. So read to the end, but not for ever.
        let mut rest = [0; 256];
        loop {
            match timeout_at(deadline.0, stream.read(&mut rest)).await {
                Ok(Ok(0)) | Err(_) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(broken(error)),
            }
        }
    }
}

/// Bytes that were taken, to bytes that are answered.
type Respond = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// A device in memory, for tests and simulations: keeps what was written, answers by a function,
/// and breaks where it is told to.
pub struct MemoryTransport {
    respond: Respond,
    answers: VecDeque<u8>,
    written: Vec<u8>,
    refuses: bool,
    breaks_after: Option<usize>,
}

impl MemoryTransport {
    /// A device whose answer to each write is what `respond` returns.
    pub fn answering(respond: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> Self {
        Self { respond: Box::new(respond), answers: VecDeque::new(), written: Vec::new(), refuses: false, breaks_after: None }
    }

    /// A device that never answers.
    pub fn mute() -> Self {
        Self::answering(|_| Vec::new())
    }

    /// The same device, refusing every connection.
    #[must_use]
    pub fn refusing(self) -> Self {
        Self { refuses: true, ..self }
    }

    /// The same device, taking this many bytes in all and breaking the connection at the next.
    #[must_use]
    pub fn breaking_after(self, bytes: usize) -> Self {
        Self { breaks_after: Some(bytes), ..self }
    }

    /// Everything it ever took.
    pub fn written(&self) -> &[u8] {
        &self.written
    }

    fn fault(operation: &'static str, kind: std::io::ErrorKind) -> IoFault {
        IoFault::new(operation, "memory", &kind.into())
    }
}

impl Transport for MemoryTransport {
    async fn connect(&mut self, _deadline: Deadline) -> Result<(), IoFault> {
        self.answers.clear();
        if self.refuses { Err(Self::fault(CONNECT, std::io::ErrorKind::ConnectionRefused)) } else { Ok(()) }
    }

    async fn write(&mut self, bytes: &[u8], _deadline: Deadline) -> Result<(), WriteFault> {
        let room = self.breaks_after.map_or(usize::MAX, |limit| limit.saturating_sub(self.written.len()));
        let accepted = bytes.len().min(room);
        self.written.extend_from_slice(&bytes[..accepted]);
        self.answers.extend((self.respond)(&bytes[..accepted]));
        if accepted == bytes.len() {
            return Ok(());
        }
        Err(WriteFault { accepted, cause: Self::fault(WRITE, std::io::ErrorKind::ConnectionReset) })
    }

    async fn read(&mut self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, IoFault> {
        if self.answers.is_empty() {
            tokio::time::sleep_until(deadline.0).await;
            return Err(Self::fault(READ, std::io::ErrorKind::TimedOut));
        }
        let count = buffer.len().min(self.answers.len());
        for (slot, byte) in buffer.iter_mut().zip(self.answers.drain(..count)) {
            *slot = byte;
        }
        Ok(count)
    }

    async fn close(&mut self, _deadline: Deadline) -> Result<(), IoFault> {
        Ok(())
    }
}
