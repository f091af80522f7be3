//! What happened, in one number: two runs of one seed must come to the same.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// A running digest of everything that can be seen from outside: each datagram's time, ends and length, each fact, each fault.
#[derive(Debug, Clone)]
pub struct Trace {
    shared: Arc<Mutex<Shared>>,
    began: Instant,
}

#[derive(Debug)]
struct Shared {
    digest: Sha256,
    lines: u64,
    /// Kept only while somebody wants to read them.
    text: Option<Vec<String>>,
}

impl Trace {
    /// An empty trace that begins now. With `keep`, its lines can be read again.
    pub fn new(keep: bool) -> Self {
        let shared = Shared { digest: Sha256::new(), lines: 0, text: keep.then(Vec::new) };
        Self { shared: Arc::new(Mutex::new(shared)), began: Instant::now() }
    }

    /// Adds a line.
    pub fn note(&self, line: std::fmt::Arguments<'_>) {
        let at = self.began.elapsed();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{:>12.6} {line}", at.as_secs_f64());
        shared.digest.update(line.as_bytes());
        shared.lines += 1;
        if let Some(text) = &mut shared.text {
            text.push(line);
        }
    }

    pub(super) fn note_datagram(&self, from: SocketAddr, to: SocketAddr, bytes: usize) {
        self.note(format_args!("{from} > {to} {bytes}"));
    }

    /// The digest so far, in hexadecimal digits.
    pub fn digest(&self) -> String {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.digest.clone().finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// How many lines there are.
    pub fn len(&self) -> u64 {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).lines
    }

    /// Whether nothing has happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines, where they were kept.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).text.clone().unwrap_or_default()
    }
}
