//! The virtual printer behind sockets, with its files.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::device::{Device, Event, Faults};
use super::http;
use super::log::{LogEntry, Numbers, PaperLog};
use super::paper::{PaperWidth, Sheet};
use super::transcript::Transcript;

/// Receipts and log entries kept in memory; older ones are in the files.
const KEPT: usize = 500;
/// Silence after which a connection is ended, as interface boards do, so that the next can be served.
const IDLE: Duration = Duration::from_secs(90);

/// Where the printer listens and what it writes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where print data is taken; port 0 chooses a free one.
    pub tcp: SocketAddr,
    /// Where the page with the paper is served, on a loopback address.
    pub http: Option<SocketAddr>,
    /// Folder for pictures, transcripts and `paper.log`; made if missing.
    pub out: Option<PathBuf>,
    /// The roll.
    pub width: PaperWidth,
}

impl Default for Config {
    /// 80 mm paper, a free port of 127.0.0.1, no page and no files.
    fn default() -> Self {
        Self { tcp: SocketAddr::from(([127, 0, 0, 1], 0)), http: None, out: None, width: PaperWidth::Mm80 }
    }
}

/// A piece of paper that came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its number, from 1, counting on over restarts with the same folder.
    pub number: u64,
    /// When it came out, in milliseconds since 1970.
    pub at_ms: u64,
    /// The picture.
    pub png: Vec<u8>,
    /// What is on it.
    pub transcript: Transcript,
}

/// A running virtual printer; dropping it ends it.
#[derive(Debug)]
pub struct VirtualPrinter {
    address: SocketAddr,
    http_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the connection, the page and the tests look at.
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Counts up with every change, so that waiting for one needs no polling.
    changes: watch::Sender<u64>,
    pub(super) out: Option<PathBuf>,
}

#[derive(Debug)]
struct Inner {
    device: Device,
    log: Option<PaperLog>,
    numbers: Numbers,
    receipts: VecDeque<Arc<Receipt>>,
    entries: VecDeque<LogEntry>,
}

impl VirtualPrinter {
    /// Starts listening. One connection is served at a time and the next ones wait, as on most printers.
    ///
    /// # Errors
    /// When an address cannot be bound, the page's address is not a loopback address, or the folder
    /// cannot be written.
    pub async fn start(config: Config) -> std::io::Result<Self> {
        let (log, numbers) = match &config.out {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                let (log, numbers) = PaperLog::open(folder)?;
                (Some(log), numbers)
            }
            None => (None, Numbers::default()),
        };
        let inner =
            Inner { device: Device::new(config.width), log, numbers, receipts: VecDeque::new(), entries: VecDeque::new() };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), changes: watch::Sender::new(0), out: config.out });

        let listener = TcpListener::bind(config.tcp).await?;
        let address = listener.local_addr()?;
        let mut tasks = Vec::new();
        let mut http_address = None;
        if let Some(page) = config.http {
            let (bound, task) = http::serve(page, Arc::clone(&shared)).await?;
            http_address = Some(bound);
            tasks.push(task);
        }
        tasks.push(tokio::spawn(accept(listener, Arc::clone(&shared))));
        Ok(Self { address, http_address, shared, tasks })
    }

    /// Where print data is taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is served.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Changes what is wrong with the printer.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.set_faults(faults);
    }

    /// The receipts that came out since the start, oldest first; the last 500 of them.
    pub fn receipts(&self) -> Vec<Arc<Receipt>> {
        self.shared.receipts()
    }

    /// What happened since the start, oldest first; the last 500 entries.
    pub fn log(&self) -> Vec<LogEntry> {
        self.shared.lock().entries.iter().cloned().collect()
    }

    /// How many drawer pulses the log counts.
    pub fn pulses(&self) -> u64 {
        self.shared.pulses()
    }

    /// Waits until `seen` is satisfied with the printer; give up with a timeout around it.
    pub async fn wait_until(&self, mut seen: impl FnMut(&Self) -> bool) {
        let mut changes = self.shared.subscribe();
        while !seen(self) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for VirtualPrinter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a receipt half noted; the printer goes on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `act` use the device, and then notes what came out.
    fn with_device<T>(&self, act: impl FnOnce(&mut Device) -> T) -> T {
        let mut inner = self.lock();
        let result = act(&mut inner.device);
        for event in inner.device.take_events() {
            inner.note(event, self.out.as_deref());
        }
        drop(inner);
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// What the connection owes the other end: answers, a break, or to stop reading for now.
    fn pending(&self) -> (Vec<u8>, bool, bool) {
        let device = &mut self.lock().device;
        (device.take_answers(), device.hangs_up(), device.is_full())
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.with_device(|device| device.set_faults(faults));
    }

    pub(super) fn faults(&self) -> Faults {
        self.lock().device.faults()
    }

    pub(super) fn receipts(&self) -> Vec<Arc<Receipt>> {
        self.lock().receipts.iter().cloned().collect()
    }

    pub(super) fn receipt(&self, number: u64) -> Option<Arc<Receipt>> {
        self.lock().receipts.iter().find(|receipt| receipt.number == number).cloned()
    }

    pub(super) fn pulses(&self) -> u64 {
        self.lock().numbers.pulse
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Inner {
    #[expect(clippy::disallowed_methods, reason = "a printer has a clock of its own")]
    fn note(&mut self, event: Event, out: Option<&std::path::Path>) {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64);
        let entry = match event {
            Event::Pulse(pulse) => {
                self.numbers.pulse += 1;
                LogEntry::Pulse { number: self.numbers.pulse, at_ms, pin: pulse.pin, on_ms: pulse.on_ms }
            }
            Event::Sheet(sheet) => {
                self.numbers.receipt += 1;
                let number = self.numbers.receipt;
                log_failure("save a receipt", out.map_or(Ok(()), |folder| sheet.save(folder, number)));
                let Sheet { png, transcript } = *sheet;
                let receipt = Receipt { number, at_ms, png, transcript };
                let entry = LogEntry::Receipt {
                    number: receipt.number,
                    at_ms,
                    jobs: receipt.transcript.jobs.clone(),
                    lines: receipt.transcript.lines().len(),
                };
                keep(&mut self.receipts, Arc::new(receipt));
                entry
            }
        };
        let logged = self.log.as_mut().map_or(Ok(()), |log| log.append(&entry));
        log_failure("write the paper log", logged);
        keep(&mut self.entries, entry);
    }
}

fn keep<T>(kept: &mut VecDeque<T>, item: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(item);
}

fn log_failure(what: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "could not {what}");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let served = serve(stream, &shared).await;
                shared.with_device(Device::disconnected);
                if let Err(error) = served {
                    tracing::debug!(%error, "the connection ended badly");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// One connection: reads while there is room, answers, and breaks off where a fault says so.
async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut changes = shared.subscribe();
    let mut buffer = vec![0; 4096];
    loop {
        changes.mark_unchanged();
        let (answers, hang_up, full) = shared.pending();
        if hang_up {
            // Dropping with nothing read further makes the other end see a reset or an end.
            return stream.set_zero_linger();
        }
        stream.write_all(&answers).await?;
        tokio::select! {
            read = stream.read(&mut buffer), if !full => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                shared.with_device(|device| device.receive(&buffer[..count]));
            }
            _ = changes.changed() => {}
            () = tokio::time::sleep(IDLE) => return Ok(()),
        }
    }
}
