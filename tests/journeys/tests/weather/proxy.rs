//! A way to Postgres that can refuse, fall silent, or break at a given byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// How often an idle thread looks whether the weather has changed.
const LOOK: Duration = Duration::from_millis(20);

/// What the way does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything arrives.
    Fair,
    /// Connections are closed at once.
    Refusing,
    /// Connections are taken and nothing is ever answered; those that were there fall silent.
    Hanging,
}

/// A TCP port in front of a cluster's Unix socket.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    front: Option<JoinHandle<()>>,
}

struct Shared {
    socket: PathBuf,
    weather: Mutex<Weather>,
    /// Bytes towards Postgres after which the weather turns to hanging; counted down.
    until_hanging: AtomicU64,
    ended: AtomicBool,
    carried: AtomicU64,
}

impl Proxy {
    /// A way to the cluster of a `postgresql:///…?host=FOLDER&port=PORT` address.
    pub fn to(url: &str) -> Result<Self> {
        let value = |name: &str| {
            let (_, after) = url.split_once(&format!("{name}="))?;
            after.split('&').next()
        };
        let (folder, port) = value("host").zip(value("port")).context("an address with a folder and a port")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            socket: PathBuf::from(folder).join(format!(".s.PGSQL.{port}")),
            weather: Mutex::new(Weather::Fair),
            until_hanging: AtomicU64::new(u64::MAX),
            ended: AtomicBool::new(false),
            carried: AtomicU64::new(0),
        });
        let relay = shared.clone();
        let front = std::thread::spawn(move || relay.accept(&listener));
        Ok(Self { address, shared, front: Some(front) })
    }

    /// The address of the same database over this way.
    pub fn url(&self, url: &str) -> String {
        let database = url.split('?').next().and_then(|text| text.rsplit('/').next()).unwrap_or_default();
        let user = url.split_once("user=").map_or("postgres", |(_, user)| user.split('&').next().unwrap_or_default());
        format!("postgresql://{user}@{}/{database}", self.address)
    }

    /// From now on it is so, for old connections too.
    pub fn set(&self, weather: Weather) {
        self.shared.until_hanging.store(u64::MAX, Ordering::SeqCst);
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// After so many more bytes towards Postgres it falls silent, wherever in a message that is.
    pub fn hang_after(&self, bytes: u64) {
        self.shared.until_hanging.store(bytes, Ordering::SeqCst);
    }

    /// Whether it has fallen silent.
    pub fn is_hanging(&self) -> bool {
        self.shared.weather() == Weather::Hanging
    }

    /// Bytes carried towards Postgres so far.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(front) = self.front.take() {
            let _ = front.join();
        }
    }
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while !self.has_ended() {
            let Ok((client, _)) = listener.accept() else {
                std::thread::sleep(LOOK);
                continue;
            };
            if self.weather() != Weather::Refusing {
                let shared = self.clone();
                std::thread::spawn(move || shared.serve(client));
            }
        }
    }

    /// Carries one connection both ways until either side or the weather ends it.
    fn serve(self: Arc<Self>, mut client: TcpStream) {
        let Ok(mut postgres) = UnixStream::connect(&self.socket) else { return };
        let timeouts = client.set_read_timeout(Some(LOOK)).is_ok() && postgres.set_read_timeout(Some(LOOK)).is_ok();
        let (Ok(mut to_client), Ok(mut to_postgres), true) = (client.try_clone(), postgres.try_clone(), timeouts) else { return };
        let back = self.clone();
        let answers = std::thread::spawn(move || {
            back.carry(&mut postgres, &mut to_client, false);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        self.carry(&mut client, &mut to_postgres, true);
        let _ = to_postgres.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        let _ = answers.join();
    }

    fn carry(&self, from: &mut impl Read, to: &mut impl Write, is_upward: bool) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.weather() {
                _ if self.has_ended() => return,
                Weather::Refusing => return,
                Weather::Hanging => {
                    std::thread::sleep(LOOK);
                    continue;
                }
                Weather::Fair => {}
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => return,
            };
            let allowed = if is_upward { self.allow(read) } else { read };
            if to.write_all(&buffer[..allowed]).is_err() {
                return;
            }
            // What was beyond the last byte is never carried: a connection that fell silent does not come back.
            if allowed < read {
                *self.weather.lock().unwrap_or_else(PoisonError::into_inner) = Weather::Hanging;
                while !self.has_ended() && self.weather() == Weather::Hanging {
                    std::thread::sleep(LOOK);
                }
                return;
            }
        }
    }

    /// How many of so many bytes may pass.
    fn allow(&self, bytes: usize) -> usize {
        let bytes = bytes as u64;
        self.carried.fetch_add(bytes, Ordering::SeqCst);
        let take = |left: u64| Some(if left == u64::MAX { left } else { left.saturating_sub(bytes) });
        let left = self.until_hanging.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or(u64::MAX);
        usize::try_from(left.min(bytes)).unwrap_or(usize::MAX)
    }
}
