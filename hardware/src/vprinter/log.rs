//! The paper log: one line of JSON for each thing that physically happened, only ever appended.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LogEntry {
    /// A piece of paper came out.
    Receipt {
        /// Its number, counting on over restarts.
        number: u64,
        /// When, in milliseconds since 1970.
        at_ms: u64,
        /// Process ids of the jobs printed on it up to their end.
        jobs: Vec<String>,
        /// How many lines of text are on it.
        lines: usize,
    },
    /// The drawer was pulsed.
    Pulse {
        /// Its number, counting on over restarts.
        number: u64,
        /// When, in milliseconds since 1970.
        at_ms: u64,
        /// Pin of the connector.
        pin: u8,
        /// Milliseconds on.
        on_ms: u16,
    },
}

/// The log's file.
#[derive(Debug)]
pub(super) struct PaperLog {
    file: File,
}

/// The highest numbers in an existing log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) receipt: u64,
    pub(super) pulse: u64,
}

impl PaperLog {
    /// Opens or makes `paper.log` in a folder and reads how far it counts. A last line that was
    /// cut short by a crash is passed over.
    pub(super) fn open(folder: &Path) -> std::io::Result<(Self, Numbers)> {
        let path = folder.join("paper.log");
        let mut numbers = Numbers::default();
        if path.exists() {
            for line in BufReader::new(File::open(&path)?).lines() {
                match serde_json::from_str(&line?) {
                    Ok(LogEntry::Receipt { number, .. }) => numbers.receipt = numbers.receipt.max(number),
                    Ok(LogEntry::Pulse { number, .. }) => numbers.pulse = numbers.pulse.max(number),
                    Err(_) => {}
                }
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok((Self { file }, numbers))
    }

    pub(super) fn append(&mut self, entry: &LogEntry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}
