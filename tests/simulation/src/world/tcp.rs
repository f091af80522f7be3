//! TCP in the same network: streams that keep their order and lose nothing, and yet stall, break off and die without a sign.
//!
//! What the weather loses comes later, as a system sends it again. What a closed way holds up comes when the way is open again, in both directions,
//! because nothing is acknowledged before. A stream takes no more than `WINDOW_BYTES` that the other end has not read. A program that ends lets its
//! system close its streams; a machine whose power goes says nothing, and what is sent to it is answered with a reset once it runs again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use node::replication::tcp as at_node;
use sync_server::quic as at_server;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::net::{Cut, Flying, Network, Shared, State};

/// What may be on its way to one end, or lie there unread, in bytes.
const WINDOW_BYTES: usize = 64 * 1024;
/// The most bytes that go as one.
const PARCEL_BYTES_MAX: usize = 16 * 1024;
/// Connections that may wait to be accepted.
const BACKLOG: usize = 64;
/// After how long something that was lost is sent again; each time it is lost once more it takes twice as long.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How often in a row something is lost at most.
const LOST_IN_A_ROW_MAX: u32 = 5;

/// The TCP of a network.
#[derive(Default)]
pub(super) struct Tcp {
    connections: BTreeMap<u64, Connection>,
    begun: u64,
    listeners: BTreeMap<SocketAddr, Waiting>,
    /// Machines that have no power, or none yet.
    dark: BTreeSet<IpAddr>,
}

#[derive(Default)]
struct Waiting {
    /// Which of all listeners at this address it is.
    serial: u64,
    arrived: VecDeque<u64>,
    waker: Option<Waker>,
}

/// Who called is the first end.
struct Connection {
    ends: [End; 2],
    is_established: bool,
}

struct End {
    address: SocketAddr,
    life: Life,
    /// What has come and was not read.
    arrived: VecDeque<u8>,
    /// Bytes that are on their way here or have come and were not read.
    taken: usize,
    /// What comes next comes no earlier.
    not_before: Instant,
    /// What waits for the way to open.
    held: Vec<Parcel>,
    /// Whether the other end has ended its direction, and whether all of it broke.
    has_ended: bool,
    is_reset: bool,
    /// Whether this end has ended its own direction.
    is_shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// A program has it.
    Used,
    /// The program is done with it: whatever still comes is answered with a reset.
    Closed,
    /// The machine went dark.
    Silent,
    /// A router between has forgotten it.
    Forgotten,
}

#[derive(Debug, Clone)]
enum Parcel {
    Call,
    Accepted,
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// Something on its way to an end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    connection: u64,
    to: usize,
    parcel: Parcel,
}

impl End {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            life: Life::Used,
            arrived: VecDeque::new(),
            taken: 0,
            not_before: Instant::now(),
            held: Vec::new(),
            has_ended: false,
            is_reset: false,
            is_shut: false,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Network {
    /// TCP as a till of this address dials it.
    pub fn dialler(&self, ip: Ipv4Addr) -> Dialler {
        Dialler { network: self.shared.clone(), ip }
    }

    /// A TCP port of a machine. One that was there before gets nothing more.
    pub fn listen(&self, address: SocketAddr) -> Listener {
        let mut state = self.shared.state();
        state.tcp.begun += 1;
        let serial = state.tcp.begun;
        state.tcp.listeners.insert(address, Waiting { serial, ..Waiting::default() });
        Listener { network: self.shared.clone(), address, serial }
    }

    /// A machine has power: what is sent to connections of an earlier life is answered.
    pub fn plug(&self, ip: Ipv4Addr) {
        let mut state = self.shared.state();
        if !state.tcp.dark.remove(&IpAddr::from(ip)) {
            return;
        }
        for (connection, to) in state.ends_of(ip, Life::Silent) {
            // Whoever waits for an answer sends again, and hears that nobody knows the connection.
            let ends = &state.tcp.connections[&connection].ends;
            if ends[to].taken > 0 || ends[1 - to].is_shut {
                state.post(connection, 1 - to, Parcel::Reset);
            }
        }
        drop(state);
        self.shared.grew.notify_one();
    }

    /// A machine's power goes: nobody hears anything of its connections.
    pub fn unplug(&self, ip: Ipv4Addr) {
        let mut state = self.shared.state();
        state.tcp.dark.insert(ip.into());
        state.tcp.listeners.retain(|address, _| address.ip() != IpAddr::from(ip));
        state.silence(ip, Life::Silent);
    }

    /// Breaks every connection of a machine: both ends are told.
    pub fn reset(&self, ip: Ipv4Addr) -> usize {
        let mut state = self.shared.state();
        let ends = state.ends_of(ip, Life::Used);
        for (connection, to) in &ends {
            state.counts.reset += 1;
            state.break_off(*connection, *to);
            state.break_off(*connection, 1 - *to);
        }
        ends.len()
    }

    /// A router forgets the connections of a machine: nothing passes, and who sends from behind it is told.
    pub(super) fn forget(&self, ip: Ipv4Addr) {
        self.shared.state().silence(ip, Life::Forgotten);
    }
}

impl State {
    fn ends_of(&self, ip: Ipv4Addr, life: Life) -> Vec<(u64, usize)> {
        let of = |(id, connection): (&u64, &Connection)| {
            let id = *id;
            let ends = connection.ends.iter().enumerate();
            ends.filter(|(_, end)| end.address.ip() == IpAddr::from(ip) && end.life == life)
                .map(|(n, _)| (id, n))
                .collect::<Vec<_>>()
        };
        self.tcp.connections.iter().flat_map(of).collect()
    }

    fn silence(&mut self, ip: Ipv4Addr, life: Life) {
        for (connection, end) in self.ends_of(ip, Life::Used) {
            self.counts.half_open += 1;
            if let Some(connection) = self.tcp.connections.get_mut(&connection) {
                connection.ends[end].life = life;
            }
        }
    }

    fn break_off(&mut self, connection: u64, end: usize) {
        let Some(connection) = self.tcp.connections.get_mut(&connection) else { return };
        let end = &mut connection.ends[end];
        end.is_reset = true;
        end.arrived.clear();
        end.held.clear();
        end.wake();
    }

    /// Whether TCP gets anywhere between two machines: what is sent one way has to be acknowledged the other.
    fn passes(&self, one: IpAddr, other: IpAddr) -> bool {
        let is_shut = |way: (IpAddr, IpAddr)| matches!(self.cuts.get(&way), Some(Cut::Closed | Cut::Clogged));
        !is_shut((one, other)) && !is_shut((other, one))
    }

    /// Sends a parcel to an end.
    fn post(&mut self, connection: u64, to: usize, parcel: Parcel) {
        let Some(of) = self.tcp.connections.get(&connection) else { return };
        let (from_ip, to_ip) = (of.ends[1 - to].address.ip(), of.ends[to].address.ip());
        let waits = !of.ends[to].held.is_empty() || !self.passes(from_ip, to_ip);
        if waits {
            self.counts.held += 1;
            if let Some(of) = self.tcp.connections.get_mut(&connection) {
                of.ends[to].held.push(parcel);
            }
            return;
        }
        self.fly_parcel(connection, to, parcel, Duration::ZERO);
    }

    fn fly_parcel(&mut self, connection: u64, to: usize, parcel: Parcel, extra: Duration) {
        let weather = self.weather;
        let mut delay = Duration::from_micros(weather.delay_ms * 1_000 + self.dice.below(weather.jitter_ms * 1_000 + 1)) + extra;
        for again in 0..LOST_IN_A_ROW_MAX {
            if !self.of_1000(weather.loss) {
                break;
            }
            self.counts.sent_again += 1;
            delay += SENT_AGAIN_AFTER * 2_u32.pow(again);
        }
        let Some(of) = self.tcp.connections.get_mut(&connection) else { return };
        let end = &mut of.ends[to];
        end.not_before = end.not_before.max(Instant::now() + delay);
        let due = end.not_before;
        self.flown += 1;
        self.flying.insert((due, self.flown), Flying::Tcp(Segment { connection, to, parcel }));
    }

    /// A way is open again: what waited is sent again.
    pub(super) fn release(&mut self, one: IpAddr, other: IpAddr) {
        if !self.passes(one, other) {
            return;
        }
        let ids: Vec<u64> = self.tcp.connections.keys().copied().collect();
        for id in ids {
            for to in 0..2 {
                let Some(of) = self.tcp.connections.get_mut(&id) else { continue };
                let ways = [of.ends[0].address.ip(), of.ends[1].address.ip()];
                if ways != [one, other] && ways != [other, one] {
                    continue;
                }
                for parcel in std::mem::take(&mut of.ends[to].held) {
                    self.fly_parcel(id, to, parcel, SENT_AGAIN_AFTER);
                }
            }
        }
    }

    /// Something has arrived.
    pub(super) fn arrive(&mut self, Segment { connection: id, to, parcel }: Segment) {
        let Some(connection) = self.tcp.connections.get_mut(&id) else { return };
        let address = connection.ends[to].address;
        if self.tcp.dark.contains(&address.ip()) {
            return;
        }
        if let Parcel::Call = parcel {
            let room = |waiting: &&mut Waiting| waiting.arrived.len() < BACKLOG;
            let Some(waiting) = self.tcp.listeners.get_mut(&address).filter(room) else {
                return self.post(id, 0, Parcel::Reset);
            };
            waiting.arrived.push_back(id);
            waiting.waker.take().into_iter().for_each(Waker::wake);
            return self.post(id, 0, Parcel::Accepted);
        }
        let end = &mut connection.ends[to];
        match (end.life, parcel) {
            (_, Parcel::Reset) => self.break_off(id, to),
            // Whoever has forgotten a connection says so.
            (Life::Closed | Life::Silent, Parcel::Bytes(_) | Parcel::End) => self.post(id, 1 - to, Parcel::Reset),
            (Life::Used, Parcel::Bytes(bytes)) if !end.is_reset => {
                end.arrived.extend(bytes);
                end.reader.take().into_iter().for_each(Waker::wake);
            }
            (Life::Used, Parcel::End) => {
                end.has_ended = true;
                end.reader.take().into_iter().for_each(Waker::wake);
            }
            (Life::Used, Parcel::Accepted) => {
                connection.is_established = true;
                self.counts.connected += 1;
                connection.ends[to].wake();
            }
            _ => {}
        }
        if self.tcp.connections.get(&id).is_some_and(|of| of.ends.iter().all(|end| end.life != Life::Used)) {
            self.tcp.connections.remove(&id);
        }
    }
}

/// How a till dials.
pub struct Dialler {
    network: Arc<Shared>,
    ip: Ipv4Addr,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialler").field(&self.ip).finish()
    }
}

impl at_node::Dial for Dialler {
    fn dial<'a>(&'a self, address: &'a str) -> at_node::Dialling<'a> {
        let to: SocketAddr = address.parse().expect("the world has addresses and no names");
        let stream = {
            let mut state = self.network.state();
            let from = SocketAddr::from((self.ip, state.fresh_port()));
            state.tcp.begun += 1;
            let id = state.tcp.begun;
            let connection = Connection { ends: [End::new(from), End::new(to)], is_established: false };
            state.tcp.connections.insert(id, connection);
            self.network.trace.note(format_args!("{from} > {to} calls"));
            state.post(id, 1, Parcel::Call);
            Stream { network: self.network.clone(), id, end: 0 }
        };
        self.network.grew.notify_one();
        Box::pin(async move {
            poll_fn(|cx| stream.poll_established(cx)).await?;
            Ok(Box::new(stream) as Box<dyn at_node::ByteStream>)
        })
    }
}

/// A TCP port of a machine.
pub struct Listener {
    network: Arc<Shared>,
    address: SocketAddr,
    serial: u64,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.address).finish()
    }
}

impl at_server::Listen for Listener {
    fn accept(&self) -> at_server::Accepting<'_> {
        Box::pin(poll_fn(|cx| {
            let mut state = self.network.state();
            let Some(waiting) = state.tcp.listeners.get_mut(&self.address).filter(|waiting| waiting.serial == self.serial) else {
                return Poll::Pending;
            };
            let Some(id) = waiting.arrived.pop_front() else {
                waiting.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let from = state.tcp.connections.get(&id).map_or(self.address, |connection| connection.ends[0].address);
            let stream = Stream { network: self.network.clone(), id, end: 1 };
            Poll::Ready(Ok((Box::new(stream) as Box<dyn at_server::ByteStream>, from)))
        }))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let is_own = state.tcp.listeners.get(&self.address).is_some_and(|waiting| waiting.serial == self.serial);
        let left = if is_own { state.tcp.listeners.remove(&self.address) } else { None };
        // Whom nobody has accepted hears that nobody will.
        for id in left.into_iter().flat_map(|waiting| waiting.arrived) {
            if let Some(connection) = state.tcp.connections.get_mut(&id) {
                connection.ends[1].life = Life::Closed;
            }
            state.post(id, 0, Parcel::Reset);
        }
        drop(state);
        self.network.grew.notify_one();
    }
}

/// One end of a connection, as a program has it.
pub struct Stream {
    network: Arc<Shared>,
    id: u64,
    end: usize,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).field("end", &self.end).finish()
    }
}

impl Stream {
    fn poll_established(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Some(connection) = state.tcp.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        };
        if connection.is_established {
            return Poll::Ready(Ok(()));
        }
        let end = &mut connection.ends[self.end];
        if end.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        end.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Some(connection) = state.tcp.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let [one, two] = &mut connection.ends;
        let (end, other) = if self.end == 0 { (one, two) } else { (two, one) };
        if end.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (front, _) = end.arrived.as_slices();
        let read = front.len().min(buf.remaining());
        if read == 0 && !end.has_ended {
            end.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buf.put_slice(&front[..read]);
        end.arrived.drain(..read);
        end.taken -= read;
        // There is room for more.
        other.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network.state();
        let Some(connection) = state.tcp.connections.get_mut(&self.id) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let [one, two] = &mut connection.ends;
        let (end, other) = if self.end == 0 { (one, two) } else { (two, one) };
        if end.is_reset || end.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW_BYTES.saturating_sub(other.taken).min(PARCEL_BYTES_MAX);
        let written = bytes.len().min(room);
        if written == 0 && !bytes.is_empty() {
            end.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if end.life == Life::Forgotten {
            state.post(self.id, self.end, Parcel::Reset);
            drop(state);
            self.network.grew.notify_one();
            return Poll::Ready(Ok(written));
        }
        other.taken += written;
        self.network.trace.note(format_args!("{} > {} tcp {written}", end.address, other.address));
        state.counts.segments += 1;
        state.post(self.id, 1 - self.end, Parcel::Bytes(bytes[..written].to_vec()));
        drop(state);
        self.network.grew.notify_one();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.state();
        let Some(connection) = state.tcp.connections.get_mut(&self.id) else { return Poll::Ready(Ok(())) };
        let end = &mut connection.ends[self.end];
        if !std::mem::replace(&mut end.is_shut, true) && !end.is_reset {
            state.post(self.id, 1 - self.end, Parcel::End);
            drop(state);
            self.network.grew.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let Some(connection) = state.tcp.connections.get_mut(&self.id) else { return };
        let end = &mut connection.ends[self.end];
        let (was_used, is_unread) = (end.life == Life::Used, !end.arrived.is_empty());
        if was_used {
            end.life = Life::Closed;
        }
        let says = match (is_unread, end.is_shut) {
            _ if !was_used || end.is_reset => None,
            // What is closed with something unread in it takes along what is on its way, too.
            (true, _) => Some(Parcel::Reset),
            (false, true) => None,
            (false, false) => Some(Parcel::End),
        };
        if let Some(says) = says {
            state.post(self.id, 1 - self.end, says);
        }
        drop(state);
        self.network.grew.notify_one();
    }
}
