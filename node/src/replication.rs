//! The link to the regional server, beside the command path and never inside it.
//!
//! A thin driver: bytes and events move between quinn, the [`sync_proto::session`] state machine and the till. It connects, exchanges,
//! and when the link breaks waits a little longer each time and connects again, for ever. Nothing that a cashier does waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use quinn::Connection;
use sync_proto::batch::RUN_COMMITS_MAX;
use sync_proto::enrolment::{CertifiedServer, REPLICATION_ALPN};
use sync_proto::env::{Env, random};
use sync_proto::frame::{Ack, BATCH_BYTES_TARGET, Cursor, Frame, Reason, ScopeName, Taken, Verdict, Wanted, Welcome};
use sync_proto::session::{DeviceEvent, DevicePosition, DeviceSession, SessionError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::store::lines::Line;
use crate::till::{LinkChange, Offers, Place, ReceiveError, Till};

pub mod net;
pub mod probe;
pub mod tls;

use net::{Net, NetError, StreamError};
use tls::TlsError;

/// Frames that may wait on their way in or out before the other side is slowed down.
const FRAMES_WAITING_MAX: usize = 4;
/// How soon it offers what a neighbour has brought: that one most likely brings it itself.
const OFFER_BROUGHT_AFTER: Duration = Duration::from_secs(3);
/// Histories in one offer: the till looks up where each has been, and a cashier does not wait for many.
const OFFERED_AT_ONCE: usize = 32;
/// The first wait after a link that broke; it doubles up to [`WAIT_MAX_MS`].
const WAIT_MIN_MS: u64 = 250;
/// How often a connected till offers what the server may lack besides what it writes now.
const OFFER_EVERY: Duration = Duration::from_secs(45);
/// The longest wait between two tries.
const WAIT_MAX_MS: u64 = 15_000;

/// Where and as whom a device connects.
#[derive(Debug, Clone)]
pub struct Link {
    /// The server's `host:port`.
    pub address: String,
    /// The name in the server's certificate.
    pub server_name: String,
    /// The authority's certificate.
    pub authority_pem: String,
    /// The device's certificate.
    pub certificate_pem: String,
    /// The device's key.
    pub key_pem: String,
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
}

impl Broken {
    /// Whether the way between broke, or the server stopped: then it is worth trying at once. What one of the two ends does not take will most
    /// likely be refused again.
    fn is_of_the_way(&self) -> bool {
        match self {
            Self::Net(NetError::Replaced) => false,
            Self::Session(SessionError::Goodbye(bye)) => bye.reason == Reason::Stopping,
            Self::Net(_) | Self::Stream(StreamError::Ended) | Self::Lost(_) => true,
            _ => false,
        }
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
    let config = net::client_config(tls, REPLICATION_ALPN)?;
    let boot = u64::from_be_bytes(random(&*env));
    let mut wait_ms = WAIT_MIN_MS;
    while !*stop.borrow() {
        let mut welcomed = false;
        let broken = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            broken = once(&node, &net, &link, &config, &*env, boot, &mut welcomed) => broken,
        };
        let Err(broken) = broken;
        if matches!(broken, Broken::Stopping) {
            break;
        }
        let problem = crate::errors::chain_of(&broken);
        tracing::info!(event = "link_down", problem, "the link to the sync server is down");
        if node.with(move |till| till.set_link(LinkChange::Offline { problem })).await.is_err() {
            break;
        }
        if welcomed && broken.is_of_the_way() || matches!(broken, Broken::Renewed) {
            wait_ms = WAIT_MIN_MS;
        }
        // Two machines that are one device would throw each other out without end.
        if matches!(broken, Broken::Net(NetError::Replaced)) {
            wait_ms = WAIT_MAX_MS;
        }
        let jitter_ms = u64::from(u16::from_be_bytes(random(&*env))) % (wait_ms / 2 + 1);
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            () = tokio::time::sleep(Duration::from_millis(wait_ms / 2 + jitter_ms)) => {}
        }
        wait_ms = (wait_ms * 2).min(WAIT_MAX_MS);
    }
    net.endpoint.close(quinn::VarInt::from_u32(0), b"stopping");
    Ok(())
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Connects once and exchanges until the link breaks.
async fn once(
    node: &Node,
    net: &Net,
    link: &Link,
    config: &quinn::ClientConfig,
    env: &dyn Env,
    boot: u64,
    welcomed: &mut bool,
) -> Result<Infallible, Broken> {
    let connection = net.connect(&link.address, &link.server_name, config.clone()).await?;
    let server = server_of(&connection);
    node.with(move |till| till.set_server(server)).await?;
    let mut tasks = JoinSet::new();
    let Err(broken) = match Driver::open(node, env, &connection, boot, &mut tasks).await {
        Ok(mut driver) => driver.run(&connection, &mut tasks, welcomed).await,
        Err(broken) => Err(broken),
    };
    let broken = match (broken, connection.close_reason()) {
        // The connection knows better than a stream of it why it ended.
        (Broken::Stream(StreamError::Ended) | Broken::Lost(_), Some(why)) => NetError::of(why, &link.address).into(),
        (broken, _) => broken,
    };
    connection.close(quinn::VarInt::from_u32(0), b"");
    // Found out only now, because this replica had gone on further than the server's copy of the other history, or has forgotten some of it.
    if broken.is_of_another_history() {
        tracing::warn!(problem = crate::errors::chain_of(&broken), "the server knows another history of this till");
        node.with(|till| till.renew_incarnation()).await??;
        return Err(Broken::Renewed);
    }
    Err(broken)
}

/// The server at the other end, whose certificate TLS has verified.
fn server_of(connection: &Connection) -> Option<CertifiedServer> {
    let chain = connection.peer_identity()?.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok()?;
    CertifiedServer::of(chain.first()?)
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
    inbox: mpsc::Receiver<Result<Frame, StreamError>>,
    frames: mpsc::Sender<Result<Frame, StreamError>>,
    control: mpsc::Sender<Frame>,
    up: mpsc::Sender<Frame>,
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
}

impl<'a> Driver<'a> {
    async fn open(
        node: &'a Node,
        env: &'a dyn Env,
        connection: &Connection,
        boot: u64,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Broken> {
        let position = node.with(move |till| position(till, boot)).await??;
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control_out, control_in) = connection.open_bi().await?;
        let _ = control_out.set_priority(1);
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        tasks.spawn(net::pump_out(control_out, control_frames));
        tasks.spawn(net::pump_in(control_in, frames.clone()));
        let (up, up_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let up_stream = connection.open_uni().await?;
        tasks.spawn(net::pump_out(up_stream, up_frames));
        let incarnation = position.incarnation;
        let session = DeviceSession::new(DevicePosition { unix_ms: Some(env.unix_ms()), ..position });
        Ok(Self {
            node,
            env,
            session,
            incarnation,
            inbox,
            frames,
            control,
            up,
            ready: false,
            to_offer: Vec::new(),
            offered: Vec::new(),
            to_bring: VecDeque::new(),
            offering: Offering::No,
        })
    }

    async fn run(&mut self, connection: &Connection, tasks: &mut JoinSet<()>, welcomed: &mut bool) -> Result<Infallible, Broken> {
        let mut grown = self.node.log_grew();
        let mut brought = self.node.was_brought();
        let mut offer_at = Instant::now() + OFFER_EVERY;
        let mut last = *grown.borrow();
        loop {
            self.flush().await?;
            let wants = self.session.wants_after();
            tokio::select! {
                biased;
                Ok(permit) = self.up.clone().reserve_owned(), if wants.is_some() => {
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
                frame = self.inbox.recv() => {
                    let frame = frame.ok_or(StreamError::Ended)??;
                    self.session.handle_frame(frame)?;
                    self.handle_events().await?;
                    if self.ready && !*welcomed {
                        *welcomed = true;
                        tracing::info!(event = "link_up", "connected to the sync server");
                        // Others' commits come on a stream of their own, read only now: a greeting's answer goes first.
                        let (connection, frames) = (connection.clone(), self.frames.clone());
                        tasks.spawn(async move {
                            if let Ok(stream) = connection.accept_uni().await {
                                net::pump_in(stream, frames).await;
                            }
                        });
                    }
                }
                error = connection.closed() => return Err(error.into()),
                // What is not safe yet is offered again, to bring it or to hear that it is.
                () = tokio::time::sleep_until(offer_at), if self.ready => {
                    offer_at = Instant::now() + OFFER_EVERY;
                    self.offer().await?;
                }
                // A neighbour may have no way to the server: what it sold goes this way, too.
                changed = brought.changed() => {
                    changed.map_err(|_| Broken::Stopping)?;
                    offer_at = offer_at.min(Instant::now() + OFFER_BROUGHT_AFTER);
                }
            }
        }
    }

    async fn handle_events(&mut self) -> Result<(), Broken> {
        while let Some(event) = self.session.poll_event() {
            let now_ms = self.env.unix_ms();
            match event {
                DeviceEvent::Welcomed { welcome } => self.welcomed(welcome, now_ms).await?,
                DeviceEvent::Received { runs, up_to, mark } => {
                    let place = Place { region_seq: up_to, mark };
                    self.node.with(move |till| till.receive(runs, place)).await??;
                }
                DeviceEvent::Documents(sent) => self.node.with(move |till| till.receive_documents(&sent)).await??,
                DeviceEvent::Acked(ack) => self.acked(ack, now_ms).await?,
                DeviceEvent::Wanted(wanted) => self.wanted(wanted).await?,
                DeviceEvent::Taken(taken) => self.taken(taken).await?,
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
        let incarnation = self.incarnation;
        let note = move |till: &mut Till| {
            let is_of_it = till.own_chain().origin.incarnation == incarnation;
            if is_of_it {
                till.acked(ack.regional, ack.central)?;
                till.set_link(LinkChange::Online { now_ms });
            }
            Ok::<_, StoreError>(is_of_it)
        };
        // What is acknowledged is of the incarnation that greeted, and says nothing of one that a neighbour's words have made begin since.
        if self.node.with(note).await?? { Ok(()) } else { Err(Broken::Renewed) }
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
        let run = self.node.with(move |till| till.own_runs_after(after, BATCH_BYTES_TARGET, RUN_COMMITS_MAX)).await??;
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

    /// Hands the session's frames to the streams.
    async fn flush(&mut self) -> Result<(), Broken> {
        while let Some(frame) = self.session.poll_frame() {
            let stream = if matches!(frame, Frame::Commits(_)) { &self.up } else { &self.control };
            stream.send(frame).await.map_err(|_| StreamError::Ended)?;
        }
        Ok(())
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
