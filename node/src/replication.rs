//! The link to the regional server, beside the command path and never inside it.
//!
//! A thin driver: bytes and events move between a connection, the [`sync_proto::session`] state machine and the till. It connects, over QUIC or
//! where UDP does not pass over TCP ([`reach`]), exchanges, and when the link breaks waits a little longer each time and connects again, for
//! ever. Nothing that a cashier does waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use sync_proto::batch::RUN_COMMITS_MAX;
use sync_proto::enrolment::REPLICATION_ALPN;
use sync_proto::env::{Env, random};
use sync_proto::frame::{
    Ack, Ask, BATCH_BYTES_TARGET, Cursor, Frame, Goodbye, Reason, ScopeName, Taken, Verdict, Wanted, Welcome,
};
use sync_proto::probe::PROBE_ALPN;
use sync_proto::session::{DeviceEvent, DevicePosition, DeviceSession, SessionError, Versions};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::LinkWay;
use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::store::lines::Line;
use crate::till::{LinkChange, Offers, Place, ReceiveError, Till};

pub mod net;
pub mod probe;
pub mod reach;
pub mod tcp;
pub mod tls;
mod wire;

use net::{Net, NetError, StreamError};
use reach::{Configs, Target};
use tls::TlsError;
use wire::Wire;

/// How soon it offers what a neighbour has brought: that one most likely brings it itself.
const OFFER_BROUGHT_AFTER: Duration = Duration::from_secs(3);
/// Histories in one offer: the till looks up where each has been, and a cashier does not wait for many.
const OFFERED_AT_ONCE: usize = 32;
/// The first wait after a link that broke; it doubles up to [`WAIT_MAX_MS`].
const WAIT_MIN_MS: u64 = 250;
/// How often a connected till offers what the server may lack besides what it writes now.
const OFFER_EVERY: Duration = Duration::from_secs(45);
/// How long the server may take to hear why a device ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const WAIT_MAX_MS: u64 = 15_000;
/// The shortest and the longest that a busy server may ask to wait.
const BUSY_WAIT_MS: (u64, u64) = (1_000, 10 * 60_000);

/// Where and as whom a device connects.
#[derive(Debug, Clone)]
pub struct Link {
    /// The server's `host:port`.
    pub address: String,
    /// The same for TCP, when it is another than for QUIC.
    pub tcp_address: Option<String>,
    /// The name in the server's certificate.
    pub server_name: String,
    /// The authority's certificate.
    pub authority_pem: String,
    /// The device's certificate.
    pub certificate_pem: String,
    /// The device's key.
    pub key_pem: String,
    /// The versions that it speaks.
    pub versions: Versions,
}

impl Link {
    /// Where the server is.
    pub fn target(&self) -> Target<'_> {
        let tcp_address = self.tcp_address.as_deref().unwrap_or(&self.address);
        Target { address: &self.address, tcp_address, server_name: &self.server_name }
    }
}

/// Why a link broke.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("what the server sent does not verify")]
    Receive(#[from] ReceiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the node is stopping")]
    Stopping,
    #[error("this till and the server begin anew")]
    Renewed,
    #[error("the link was lost")]
    Lost(#[from] quinn::ConnectionError),
    #[error("QUIC passes again")]
    QuicPasses,
}

impl Broken {
    /// Whether the way between broke, or the server stopped: then it is worth trying at once. What one of the two ends does not take will most
    /// likely be refused again.
    fn is_of_the_way(&self) -> bool {
        match self {
            Self::Net(NetError::Replaced) => false,
            Self::Session(SessionError::Goodbye(bye)) => bye.reason == Reason::Stopping,
            Self::Stream(StreamError::Frame(_)) => false,
            Self::Net(_) | Self::Stream(_) | Self::Lost(_) => true,
            _ => false,
        }
    }

    /// After how long a server that has no place now wants to be asked again.
    fn is_busy_for_ms(&self) -> Option<u64> {
        let Self::Session(SessionError::Goodbye(bye)) = self else { return None };
        let asked = bye.retry_after_ms.filter(|_| bye.reason == Reason::Busy)?;
        Some(u64::from(asked).clamp(BUSY_WAIT_MS.0, BUSY_WAIT_MS.1))
    }

    /// Whether the server has commits of this incarnation that differ from those here, or that are not here.
    fn is_of_another_history(&self) -> bool {
        match self {
            Self::Session(SessionError::Goodbye(bye)) => bye.reason == Reason::Forked,
            Self::Receive(ReceiveError::OwnHistoryAhead) => true,
            _ => false,
        }
    }
}

impl From<NodeStopped> for Broken {
    fn from(_: NodeStopped) -> Self {
        Self::Stopping
    }
}

/// Keeps the link up until told to stop.
///
/// # Errors
/// Only when the device's own certificate or key is unusable; the till sells on without a link.
pub async fn run(
    node: Node,
    net: Net,
    link: Link,
    env: std::sync::Arc<dyn Env>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), TlsError> {
    let tls = tls::mutual(&link.authority_pem, &link.certificate_pem, &link.key_pem)?;
    let probing = Configs::of(tls.clone(), PROBE_ALPN)?;
    let configs = Configs::of(tls, REPLICATION_ALPN)?;
    let boot = u64::from_be_bytes(random(&*env));
    let dialler = Dialler { node: &node, net: &net, link: &link, configs, probing, env: &*env, boot };
    let mut known = Known::default();
    let mut wait_ms = WAIT_MIN_MS;
    while !*stop.borrow() {
        known.welcomed = false;
        let broken = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            broken = dialler.once(&mut known) => broken,
        };
        let Err(broken) = broken;
        if matches!(broken, Broken::Stopping) {
            break;
        }
        if matches!(broken, Broken::QuicPasses) {
            tracing::info!("QUIC passes again: this till leaves TCP");
            known.was_tcp = false;
            continue;
        }
        if let Broken::Store(_) = &broken {
            let _ = node.with(Till::examine).await;
        }
        let problem = crate::errors::chain_of(&broken);
        let busy_ms = broken.is_busy_for_ms();
        tracing::info!(event = "link_down", problem, busy_ms, "the link to the sync server is down");
        let change = if busy_ms.is_some() { LinkChange::Busy } else { LinkChange::Offline { problem } };
        if node.with(move |till| till.set_link(change)).await.is_err() {
            break;
        }
        let welcomed = known.welcomed;
        if welcomed && broken.is_of_the_way() || matches!(broken, Broken::Renewed) {
            wait_ms = WAIT_MIN_MS;
        }
        // Two machines that are one device would throw each other out without end.
        if matches!(broken, Broken::Net(NetError::Replaced)) {
            wait_ms = WAIT_MAX_MS;
        }
        let dice = u64::from(u32::from_be_bytes(random(&*env)));
        let pause_ms = match busy_ms {
            // As long as it asked, and up to half as long again: whoever was turned away together does not come back together.
            Some(busy_ms) => busy_ms + dice % (busy_ms / 2 + 1),
            None => wait_ms / 2 + dice % (wait_ms / 2 + 1),
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
        }
        wait_ms = (wait_ms * 2).min(WAIT_MAX_MS);
    }
    net.endpoint.close(quinn::VarInt::from_u32(0), b"stopping");
    Ok(())
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// What is known from one try to the next.
#[derive(Debug, Default)]
struct Known {
    /// Whether TCP was the way the last time.
    was_tcp: bool,
    /// Whether the server has answered the greeting this time.
    welcomed: bool,
}

/// What every try to connect needs.
struct Dialler<'a> {
    node: &'a Node,
    net: &'a Net,
    link: &'a Link,
    configs: Configs,
    probing: Configs,
    env: &'a dyn Env,
    boot: u64,
}

impl Dialler<'_> {
    /// Connects once and exchanges until the link breaks.
    async fn once(&self, known: &mut Known) -> Result<Infallible, Broken> {
        let connected = self.net.reach(self.link.target(), &self.configs, known.was_tcp).await?;
        let server = connected.server();
        self.node.with(move |till| till.set_server(server)).await?;
        let wire = Wire::open(connected).await.map_err(|why| NetError::of(why, &self.link.address))?;
        let is_tcp = wire.way() == LinkWay::Tcp;
        known.was_tcp = is_tcp;
        let mut driver = Driver::open(self.node, self.env, wire, (self.boot, self.link.versions)).await?;
        let Err(broken) = tokio::select! {
            biased;
            () = self.quic_passes(), if is_tcp => Err(Broken::QuicPasses),
            broken = driver.run(&mut known.welcomed) => broken,
        };
        if let Broken::Receive(ReceiveError::Chain { .. }) = &broken {
            driver.say_that_it_does_not_hold().await;
        }
        let broken = match (broken, driver.wire.close()) {
            // The connection knows better than a stream of it why it ended.
            (Broken::Stream(StreamError::Ended) | Broken::Lost(_), Some(why)) => NetError::of(why, &self.link.address).into(),
            (Broken::Session(SessionError::Goodbye(bye)), _) if bye.reason == Reason::Replaced => NetError::Replaced.into(),
            (broken, _) => broken,
        };
        // Found out only now, because this replica had gone on further than the server's copy of the other history, or has forgotten some of it.
        if broken.is_of_another_history() {
            tracing::warn!(problem = crate::errors::chain_of(&broken), "the server knows another history of this till");
            self.node.with(|till| till.renew_incarnation()).await??;
            return Err(Broken::Renewed);
        }
        Err(broken)
    }

    /// Returns when the server answers over QUIC. Otherwise a till that once had to take TCP would stay there for as long as nothing breaks.
    async fn quic_passes(&self) {
        loop {
            tokio::time::sleep(self.net.quic_again).await;
            if self.net.passes(self.link.target(), &self.probing).await {
                return;
            }
        }
    }
}

/// What is being offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offering {
    /// Nothing.
    No,
    /// What earlier incarnations wrote, and what only other tills have brought.
    Some,
    /// All that this till has.
    Everything,
}

struct Driver<'a> {
    node: &'a Node,
    env: &'a dyn Env,
    session: DeviceSession,
    /// The incarnation that greeted.
    incarnation: [u8; 16],
    wire: Wire,
    /// Until the server has answered, own commits cannot be sent.
    ready: bool,
    /// What is to be offered to the server besides what this till writes now.
    to_offer: Vec<Line>,
    /// What was offered last.
    offered: Vec<Line>,
    /// What the server lacks of that, and from where on.
    to_bring: VecDeque<(Line, u64)>,
    /// What is under way of that.
    offering: Offering,
    /// The last own commit of which something is not here any more: the server has to get it elsewhere, if it has lost it.
    floor: u64,
}

impl<'a> Driver<'a> {
    async fn open(node: &'a Node, env: &'a dyn Env, wire: Wire, (boot, versions): (u64, Versions)) -> Result<Self, Broken> {
        let position = node.with(move |till| position(till, boot)).await??;
        let incarnation = position.incarnation;
        let session = DeviceSession::speaking(versions, DevicePosition { unix_ms: Some(env.unix_ms()), ..position });
        Ok(Self {
            node,
            env,
            session,
            incarnation,
            wire,
            ready: false,
            to_offer: Vec::new(),
            offered: Vec::new(),
            to_bring: VecDeque::new(),
            offering: Offering::No,
            floor: 0,
        })
    }

    async fn run(&mut self, welcomed: &mut bool) -> Result<Infallible, Broken> {
        let mut grown = self.node.log_grew();
        let mut brought = self.node.was_brought();
        let mut asks = self.node.asks();
        asks.mark_changed();
        let mut offer_at = Instant::now() + OFFER_EVERY;
        let mut last = *grown.borrow();
        let connection = self.wire.connection();
        loop {
            // What does not go out yet waits: what the server says is read all the same, or both could wait for each other.
            let unsent = self.flush()?;
            let wants = self.session.wants_after().filter(|after| unsent.is_none() && *after >= self.floor);
            tokio::select! {
                biased;
                Ok(permit) = self.wire.up.clone().reserve_owned(), if wants.is_some() => {
                    drop(permit);
                    self.send_after(wants.unwrap_or_default()).await?;
                }
                changed = grown.changed() => {
                    changed.map_err(|_| Broken::Stopping)?;
                    let commit = *grown.borrow_and_update();
                    if std::mem::replace(&mut last, commit) > commit {
                        // Another incarnation has begun.
                        return Err(Broken::Renewed);
                    }
                    self.session.handle_grown(commit);
                }
                // After the own commits: a long download does not hold up what only this till knows.
                frame = self.wire.inbox.recv() => {
                    let frame = frame.ok_or(StreamError::Ended)??;
                    self.session.handle_frame(frame)?;
                    self.handle_events().await?;
                    if self.ready && !*welcomed {
                        *welcomed = true;
                        tracing::info!(event = "link_up", over = self.wire.way().name(), "connected to the sync server");
                        self.wire.begin_down();
                    }
                }
                error = wire::lost(connection.as_ref()) => return Err(error.into()),
                () = room(unsent) => {}
                // What is not safe yet is offered again, to bring it or to hear that it is.
                () = tokio::time::sleep_until(offer_at), if self.ready => {
                    offer_at = Instant::now() + OFFER_EVERY;
                    if self.session.wants_after().is_some_and(|after| after < self.floor) {
                        // It says at the next greeting how far it has got it.
                        return Err(Broken::Renewed);
                    }
                    self.offer().await?;
                }
                // Somebody waits for it.
                changed = asks.changed(), if self.ready => {
                    changed.map_err(|_| Broken::Stopping)?;
                    self.ask().await?;
                }
                // A neighbour may have no way to the server: what it sold goes this way, too.
                changed = brought.changed() => {
                    changed.map_err(|_| Broken::Stopping)?;
                    offer_at = offer_at.min(Instant::now() + OFFER_BROUGHT_AFTER);
                }
            }
        }
    }

    /// Tells the server that something in its log is not what was signed: it looks, and sends nothing of it again.
    async fn say_that_it_does_not_hold(&mut self) {
        let message = "what was sent does not verify".to_owned();
        let goodbye = Goodbye { reason: Reason::Refused, message, retry_after_ms: None };
        if self.wire.control.try_send(Frame::Goodbye(goodbye)).is_ok() {
            let ended = async { while let Some(Ok(_)) = self.wire.inbox.recv().await {} };
            let _ = tokio::time::timeout(GOODBYE_MAX, ended).await;
        }
    }

    async fn handle_events(&mut self) -> Result<(), Broken> {
        while let Some(event) = self.session.poll_event() {
            let now_ms = self.env.unix_ms();
            match event {
                DeviceEvent::Welcomed { welcome } => self.welcomed(welcome, now_ms).await?,
                DeviceEvent::Received { runs, up_to, mark, scopes } => {
                    let place = Place { region_seq: up_to, mark, scopes };
                    self.node.with(move |till| till.receive(runs, place)).await??;
                }
                DeviceEvent::Documents(sent) => self.node.with(move |till| till.receive_documents(&sent)).await??,
                DeviceEvent::Acked(ack) => self.acked(ack, now_ms).await?,
                DeviceEvent::Wanted(wanted) => self.wanted(wanted).await?,
                DeviceEvent::Taken(taken) => self.taken(taken).await?,
                DeviceEvent::Told(told) => self.node.with(move |till| till.told(told)).await?,
            }
        }
        Ok(())
    }

    async fn welcomed(&mut self, welcome: Welcome, now_ms: u64) -> Result<(), Broken> {
        if welcome.verdict == Verdict::RolledBack {
            // A neighbour may have brought the server what this till wrote after it had said where it stands.
            let (incarnation, regional) = (self.incarnation, welcome.regional);
            let has_it = move |till: &mut Till| {
                let own = till.own_chain();
                own.origin.incarnation != incarnation || own.commit >= regional
            };
            if self.node.with(has_it).await? {
                return Err(Broken::Renewed);
            }
        }
        if welcome.verdict != Verdict::Ok {
            tracing::warn!(verdict = ?welcome.verdict, "this replica is older than what it sent, or was copied");
            self.node.with(|till| till.renew_incarnation()).await??;
            return Err(Broken::Renewed);
        }
        let begin = move |till: &mut Till| {
            till.note_server_clock(welcome.unix_ms);
            till.begin_region(welcome.region)?;
            Ok::<_, StoreError>(till.own_chain().commit)
        };
        let commit = self.node.with(begin).await??;
        self.acked(Ack { regional: welcome.regional, central: welcome.central }, now_ms).await?;
        self.session.handle_grown(commit);
        self.ready = true;
        self.offer().await
    }

    async fn acked(&mut self, ack: Ack, now_ms: u64) -> Result<(), Broken> {
        let (incarnation, way) = (self.incarnation, self.wire.way());
        let note = move |till: &mut Till| {
            let is_of_it = till.own_chain().origin.incarnation == incarnation;
            if is_of_it {
                till.acked(ack.regional, ack.central)?;
                till.set_link(LinkChange::Online { now_ms, way });
            }
            Ok::<_, StoreError>(is_of_it)
        };
        // What is acknowledged is of the incarnation that greeted, and says nothing of one that a neighbour's words have made begin since.
        if self.node.with(note).await?? { Ok(()) } else { Err(Broken::Renewed) }
    }

    /// Asks for orders that somebody looks for and that are not here.
    async fn ask(&mut self) -> Result<(), Broken> {
        for question in self.node.with(Till::questions).await? {
            if self.session.takes_questions() {
                self.session.ask(Ask { number: question.number, receipt: question.receipt });
            } else {
                self.node.with(move |till| till.cannot_ask(&question)).await?;
            }
        }
        Ok(())
    }

    /// Offers what the server may lack besides what this till writes now.
    async fn offer(&mut self) -> Result<(), Broken> {
        if !self.session.takes_offers() || self.offering != Offering::No {
            return Ok(());
        }
        let Offers { lines, is_everything } = self.node.with(|till| till.offers()).await??;
        self.offering = if is_everything { Offering::Everything } else { Offering::Some };
        self.to_offer = lines;
        // The next to be offered is taken from the end.
        self.to_offer.reverse();
        self.offer_next().await
    }

    /// Offers as much as one frame may; when there is nothing left, the server has all.
    async fn offer_next(&mut self) -> Result<(), Broken> {
        let rest = self.to_offer.len().saturating_sub(OFFERED_AT_ONCE);
        let lines: Vec<Line> = self.to_offer.drain(rest..).rev().collect();
        if lines.is_empty() {
            if std::mem::replace(&mut self.offering, Offering::No) == Offering::Everything {
                self.node.with(Till::note_offered).await??;
            }
            return Ok(());
        }
        let look = move |till: &mut Till| {
            let offered = lines.iter().map(|line| till.offered(line)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, StoreError>((lines, offered))
        };
        let (lines, offered) = self.node.with(look).await??;
        self.offered = lines;
        self.session.offer(offered);
        Ok(())
    }

    /// Learns what of the offer the server lacks, and of what this till wrote itself, how safe it is.
    async fn wanted(&mut self, wanted: Wanted) -> Result<(), Broken> {
        let lacking: BTreeMap<u32, u64> = wanted.lines.iter().copied().collect();
        let offered = self.offered.clone();
        let note = move |till: &mut Till| {
            for (at, line) in (0..).zip(&offered) {
                let whole = wanted.whole.contains(&at).then_some(line.chain.commit);
                if let Some(held) = lacking.get(&at).copied().or(whole) {
                    till.note_held(line, held, wanted.central.contains(&at))?;
                }
            }
            Ok::<_, StoreError>(())
        };
        self.node.with(note).await??;
        let line = |(line, after): (u32, u64)| Some((self.offered.get(line as usize)?.clone(), after));
        self.to_bring = wanted.lines.into_iter().filter_map(line).collect();
        self.bring_next().await
    }

    async fn taken(&mut self, Taken { commit }: Taken) -> Result<(), Broken> {
        match (commit, self.to_bring.front_mut()) {
            (Some(commit), Some((line, after))) if commit > *after => {
                *after = commit;
                let line = line.clone();
                self.node.with(move |till| till.note_held(&line, commit, false)).await??;
            }
            // It does not take this one, or stays where it is: the others need not wait.
            _ => drop(self.to_bring.pop_front()),
        }
        self.bring_next().await
    }

    /// Sends the next run of what the server lacks. When there is none, offers what is left to offer.
    async fn bring_next(&mut self) -> Result<(), Broken> {
        while let Some((line, after)) = self.to_bring.front().cloned() {
            let run = self.node.with(move |till| till.run_after(&line, after, BATCH_BYTES_TARGET)).await??;
            match run {
                Some(run) => {
                    self.session.bring(run);
                    return Ok(());
                }
                None => drop(self.to_bring.pop_front()),
            }
        }
        self.offer_next().await
    }

    async fn send_after(&mut self, after: u64) -> Result<(), Broken> {
        let read = move |till: &mut Till| {
            Ok::<_, StoreError>((till.own_runs_after(after, BATCH_BYTES_TARGET, RUN_COMMITS_MAX)?, till.own_floor()?))
        };
        let (run, floor) = self.node.with(read).await??;
        self.floor = floor;
        if let Some(run) = run {
            if run.origin.incarnation != self.incarnation {
                // A neighbour knew more of this till than its own disk.
                return Err(Broken::Renewed);
            }
            let last = after + run.commits.len() as u64;
            self.session.send(run, last);
        }
        Ok(())
    }

    /// Hands the session's frames to the streams, as far as there is room. Answers the stream that has none for the next one.
    fn flush(&mut self) -> Result<Option<mpsc::Sender<Frame>>, Broken> {
        while let Some(frame) = self.session.next_frame() {
            let stream = if matches!(frame, Frame::Commits(_)) { &self.wire.up } else { &self.wire.control };
            match stream.try_reserve() {
                Ok(room) => self.session.poll_frame().map_or((), |frame| room.send(frame)),
                Err(TrySendError::Full(())) => return Ok(Some(stream.clone())),
                Err(TrySendError::Closed(())) => return Err(StreamError::Ended.into()),
            }
        }
        Ok(None)
    }
}

/// Waits until a stream takes another frame.
async fn room(stream: Option<mpsc::Sender<Frame>>) {
    match stream {
        Some(stream) => drop(stream.reserve().await),
        None => std::future::pending().await,
    }
}

fn position(till: &mut Till, boot: u64) -> Result<DevicePosition, StoreError> {
    till.recover()?;
    let chain = till.own_chain();
    Ok(DevicePosition {
        incarnation: chain.origin.incarnation,
        commit: chain.commit,
        digest: chain.digest(),
        region: till.region(),
        cursors: till.cursors().into_iter().map(|(scope, region_seq)| Cursor { scope: ScopeName(scope), region_seq }).collect(),
        boot,
        unix_ms: None,
        mark: till.mark(),
        documents_after: till.documents_after()?,
    })
}
