//! UDP that loses, repeats, delays and reorders datagrams, under quinn as it is; [`super::tcp`] has the streams.
//!
//! All sockets of a world share one [`Network`]. What becomes of a datagram is decided when it is sent, by dice of the network's own, so that the
//! same seed treats the same datagrams alike. Time is tokio's, paused: a datagram is due at a moment, and one task carries all of them.
//!
//! Every datagram leaves a line in the [`Trace`]: when, from where, to where, how long. Its bytes are encrypted with keys that differ from run to
//! run and are not looked at.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::tcp::{Segment, Tcp};
use super::trace::Trace;
use crate::Dice;

/// Datagrams that may wait in a socket; a real one has a bound as well.
const INBOX_MAX: usize = 256;
/// The longest datagram that goes through where the path's own limit is not set lower.
const MTU: usize = 1_500;

/// How bad the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Datagrams lost, of 1,000.
    pub loss: u16,
    /// Datagrams that come twice, of 1,000.
    pub duplicates: u16,
    /// Datagrams that take up to ten times as long, of 1,000.
    pub stragglers: u16,
    /// The shortest way, in milliseconds.
    pub delay_ms: u64,
    /// How much longer the way may be, in milliseconds.
    pub jitter_ms: u64,
}

impl Weather {
    /// A network without faults.
    pub const FAIR: Self = Self { loss: 0, duplicates: 0, stragglers: 0, delay_ms: 5, jitter_ms: 0 };
}

/// What can be wrong with the way between two machines, one direction of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing passes.
    Closed,
    /// Datagrams wait until it is over, and then all come at once.
    Clogged,
    /// Datagrams above so many bytes vanish.
    Narrow(usize),
    /// Datagrams vanish, and TCP passes.
    NoUdp,
}

/// What happened to datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed over by a socket.
    pub sent: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Sent once, come twice.
    pub duplicated: u64,
    /// Overtake one that was sent before.
    pub reordered: u64,
    /// Swallowed by a closed way.
    pub cut: u64,
    /// Held back by a clogged way.
    pub clogged: u64,
    /// Too long for the way.
    pub too_long: u64,
    /// Sent from another address than before, because the router forgot the mapping.
    pub rebound: u64,
    /// Swallowed by a way that lets no UDP through.
    pub no_udp: u64,
    /// Connections over TCP that stood.
    pub connected: u64,
    /// Parts of streams over TCP.
    pub segments: u64,
    /// Lost by chance, and sent again.
    pub sent_again: u64,
    /// Parts of streams that waited for a way to open.
    pub held: u64,
    /// Connections over TCP that were broken off.
    pub reset: u64,
    /// Connections over TCP of which one end does not know that the other is gone.
    pub half_open: u64,
}

/// The network of a world.
#[derive(Debug, Clone)]
pub struct Network {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) grew: Notify,
    pub(super) trace: Trace,
}

pub(super) struct State {
    pub(super) weather: Weather,
    pub(super) dice: Dice,
    pub(super) cuts: BTreeMap<(IpAddr, IpAddr), Cut>,
    sockets: BTreeMap<SocketAddr, Weak<Socket>>,
    /// The address under which a socket is seen outside, where that is not its own.
    mappings: BTreeMap<SocketAddr, SocketAddr>,
    next_port: u16,
    /// By when they are due and the order in which they were sent.
    pub(super) flying: BTreeMap<(Instant, u64), Flying>,
    pub(super) flown: u64,
    clogged: Vec<((IpAddr, IpAddr), Datagram)>,
    pub(super) counts: Counts,
    pub(super) tcp: Tcp,
}

/// What is on its way.
pub(super) enum Flying {
    Udp(Datagram),
    Tcp(Segment),
}

#[derive(Clone)]
pub(super) struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the network")
    }
}

impl Network {
    /// A network, and the task that carries its datagrams, to be run for as long as the world lasts.
    pub fn new(weather: Weather, seed: u64, trace: Trace) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let state = State {
            weather,
            dice: Dice::new(seed),
            cuts: BTreeMap::new(),
            sockets: BTreeMap::new(),
            mappings: BTreeMap::new(),
            next_port: 20_000,
            flying: BTreeMap::new(),
            flown: 0,
            clogged: Vec::new(),
            counts: Counts::default(),
            tcp: Tcp::default(),
        };
        let network = Self { shared: Arc::new(Shared { state: Mutex::new(state), grew: Notify::new(), trace }) };
        let carrier = carry(network.shared.clone());
        (network, carrier)
    }

    /// A socket of a machine. Port 0 takes one that nobody has had. A socket that was there before hears nothing more.
    pub fn socket(&self, ip: Ipv4Addr, port: u16) -> Arc<Socket> {
        let mut state = self.shared.state();
        let port = if port == 0 { state.fresh_port() } else { port };
        let address = SocketAddr::from((ip, port));
        let socket = Arc::new(Socket { address, network: self.shared.clone(), inbox: Mutex::default() });
        state.sockets.insert(address, Arc::downgrade(&socket));
        socket
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.shared.state().weather = weather;
    }

    /// Cuts one direction of a way.
    pub fn cut(&self, from: Ipv4Addr, to: Ipv4Addr, cut: Cut) {
        self.shared.state().cuts.insert((from.into(), to.into()), cut);
    }

    /// Mends one direction of a way. What waited in it comes now.
    pub fn mend(&self, from: Ipv4Addr, to: Ipv4Addr) {
        let mut state = self.shared.state();
        let way = (IpAddr::from(from), IpAddr::from(to));
        state.cuts.remove(&way);
        let (freed, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.clogged).into_iter().partition(|(of, _)| *of == way);
        state.clogged = rest;
        for (_, datagram) in freed {
            state.fly(datagram, Duration::from_millis(1));
        }
        state.release(way.0, way.1);
        drop(state);
        self.shared.grew.notify_one();
    }

    /// Lets the router in front of a machine forget its mappings: what it sends from now on comes from other ports.
    pub fn rebind(&self, ip: Ipv4Addr) {
        let mut state = self.shared.state();
        let inside: Vec<SocketAddr> = state.sockets.keys().copied().filter(|address| address.ip() == IpAddr::from(ip)).collect();
        for address in inside {
            let outside = SocketAddr::new(address.ip(), state.fresh_port());
            state.mappings.insert(address, outside);
            state.counts.rebound += 1;
        }
        drop(state);
        self.forget(ip);
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn fresh_port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    pub(super) fn of_1000(&mut self, rate: u16) -> bool {
        self.dice.below(1_000) < u64::from(rate)
    }

    fn fly(&mut self, datagram: Datagram, after: Duration) {
        let due = Instant::now() + after;
        let overtakes = |(key, other): (&(Instant, u64), &Flying)| matches!(other, Flying::Udp(other) if key.0 > due && (other.from, other.to) == (datagram.from, datagram.to));
        if self.flying.range((due, u64::MAX)..).any(overtakes) {
            self.counts.reordered += 1;
        }
        // Datagrams of one moment keep the order in which they were sent.
        self.flown += 1;
        self.flying.insert((due, self.flown), Flying::Udp(datagram));
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        self.counts.sent += 1;
        let outside = self.mappings.get(&from).copied().unwrap_or(from);
        let datagram = Datagram { from: outside, to, bytes: bytes.into() };
        let way = (from.ip(), to.ip());
        match self.cuts.get(&way) {
            Some(Cut::Closed) => {
                self.counts.cut += 1;
                return;
            }
            Some(Cut::Clogged) => {
                self.counts.clogged += 1;
                self.clogged.push((way, datagram));
                return;
            }
            Some(Cut::NoUdp) => {
                self.counts.no_udp += 1;
                return;
            }
            Some(Cut::Narrow(most)) if bytes.len() > *most => {
                self.counts.too_long += 1;
                return;
            }
            _ if bytes.len() > MTU => {
                self.counts.too_long += 1;
                return;
            }
            _ => {}
        }
        let weather = self.weather;
        if self.of_1000(weather.loss) {
            self.counts.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.of_1000(weather.duplicates));
        self.counts.duplicated += copies - 1;
        for _ in 0..copies {
            let mut delay_us = weather.delay_ms * 1_000 + self.dice.below(weather.jitter_ms * 1_000 + 1);
            if self.of_1000(weather.stragglers) {
                delay_us *= 2 + self.dice.below(9);
            }
            self.fly(datagram.clone(), Duration::from_micros(delay_us));
        }
    }
}

/// Hands every datagram over when it is due.
async fn carry(shared: Arc<Shared>) {
    loop {
        let next = shared.state().flying.keys().next().map(|(due, _)| *due);
        match next {
            None => shared.grew.notified().await,
            Some(due) if due > Instant::now() => {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => {}
                    () = shared.grew.notified() => {}
                }
            }
            Some(_) => {
                let (socket, datagram) = {
                    let mut state = shared.state();
                    let datagram = match state.flying.pop_first() {
                        Some((_, Flying::Udp(datagram))) => datagram,
                        Some((_, Flying::Tcp(segment))) => {
                            state.arrive(segment);
                            continue;
                        }
                        None => continue,
                    };
                    let inside = state.mappings.iter().find(|(_, outside)| **outside == datagram.to).map(|(inside, _)| *inside);
                    // A router that has forgotten a mapping sends nothing in under the old one.
                    let stale = state.mappings.contains_key(&datagram.to);
                    let to = inside.unwrap_or(datagram.to);
                    let socket = if stale { None } else { state.sockets.get(&to).and_then(Weak::upgrade) };
                    (socket, datagram)
                };
                if let Some(socket) = socket {
                    socket.take(datagram);
                }
            }
        }
    }
}

/// A simulated UDP socket.
pub struct Socket {
    address: SocketAddr,
    network: Arc<Shared>,
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    datagrams: VecDeque<Datagram>,
    waker: Option<Waker>,
    closed: bool,
}

impl Socket {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process behind it is gone: nothing more is sent or heard.
    pub fn close(&self) {
        let mut inbox = self.inbox();
        inbox.closed = true;
        inbox.datagrams.clear();
    }

    fn take(&self, datagram: Datagram) {
        let mut inbox = self.inbox();
        if inbox.closed || inbox.datagrams.len() >= INBOX_MAX {
            return;
        }
        inbox.datagrams.push_back(datagram);
        if let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.address).finish()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.inbox().closed {
            return Ok(());
        }
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            self.network.trace.note_datagram(self.address, transmit.destination, datagram.len());
            self.network.state().send(self.address, transmit.destination, datagram);
        }
        self.network.grew.notify_one();
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let mut inbox = self.inbox();
        let mut filled = 0;
        while filled < bufs.len().min(meta.len()) {
            let Some(datagram) = inbox.datagrams.pop_front() else { break };
            let len = datagram.bytes.len().min(bufs[filled].len());
            bufs[filled][..len].copy_from_slice(&datagram.bytes[..len]);
            meta[filled] = RecvMeta { addr: datagram.from, len, stride: len, ecn: None, dst_ip: None };
            filled += 1;
        }
        if filled == 0 {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Tokio, with a hold on what quinn starts: it ends with the process that it belongs to.
#[derive(Debug, Default)]
pub struct ProcessRuntime {
    tasks: Mutex<Vec<AbortHandle>>,
}

impl ProcessRuntime {
    /// Ends everything that quinn has started.
    pub fn abort(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Runtime for ProcessRuntime {
    fn new_timer(&self, at: std::time::Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let task = tokio::spawn(future).abort_handle();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> std::time::Instant {
        TokioRuntime.now()
    }
}
