//! The link to the regional server, beside the command path and never inside it.
//!
//! A thin driver: bytes and events move between quinn, the [`sync_proto::session`] state machine and the till. It connects, exchanges,
//! and when the link breaks waits a little longer each time and connects again, for ever. Nothing that a cashier does waits for it.

use std::collections::VecDeque;
use std::time::Duration;

use journal::OriginChain;
use quinn::Connection;
use sync_proto::batch::RUN_COMMITS_MAX;
use sync_proto::enrolment::REPLICATION_ALPN;
use sync_proto::env::{Env, random};
use sync_proto::frame::{Ack, BATCH_BYTES_TARGET, Cursor, Frame, Reason, ScopeName, Taken, Verdict, Welcome};
use sync_proto::session::{DeviceEvent, DevicePosition, DeviceSession, SessionError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::handle::{Node, NodeStopped};
use crate::store::StoreError;
use crate::store::lines::Line;
use crate::till::{LinkChange, Place, ReceiveError, Till};

pub mod net;
pub mod probe;
pub mod tls;

use net::{Net, NetError, StreamError};
use tls::TlsError;

/// Frames that may wait on their way in or out before the other side is slowed down.
const FRAMES_WAITING_MAX: usize = 4;
/// The first wait after a link that broke; it doubles up to [`WAIT_MAX_MS`].
const WAIT_MIN_MS: u64 = 250;
/// How often a connected till looks whether an earlier incarnation has something left to bring.
const LEFT_EVERY: Duration = Duration::from_secs(45);
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
    #[error("the server does not take what an earlier incarnation left: its position is {0:?}")]
    Earlier(Verdict),
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

/// Connects once and exchanges until the link breaks. What earlier incarnations of this device left unsent goes first.
async fn once(
    node: &Node,
    net: &Net,
    link: &Link,
    config: &quinn::ClientConfig,
    env: &dyn Env,
    boot: u64,
    welcomed: &mut bool,
) -> Result<std::convert::Infallible, Broken> {
    for earlier in node.with(|till| till.earlier_unsent()).await? {
        let origin = earlier.origin;
        let sent = exchange(node, net, link, config, env, boot, Some(earlier), &mut false).await;
        match sent {
            // Such commits stay on this till's disk; the newer ones need not wait for them.
            Err(Broken::Earlier(verdict)) => {
                tracing::warn!(?verdict, incarnation = ?origin.incarnation, "commits of an earlier incarnation are not taken");
            }
            Err(Broken::Store(error)) => {
                let problem = crate::errors::chain_of(&error);
                tracing::warn!(problem, incarnation = ?origin.incarnation, "commits of an earlier incarnation cannot be sent");
            }
            sent => {
                let Drained = sent?;
            }
        }
    }
    match exchange(node, net, link, config, env, boot, None, welcomed).await {
        Ok(Drained) => Err(StreamError::Ended.into()),
        Err(broken) => Err(broken),
    }
}

/// Everything of an earlier incarnation is on the server's disk.
struct Drained;

/// One connection: for this incarnation until the link breaks, for an earlier one until the server has all of it.
#[expect(clippy::too_many_arguments, reason = "one connection needs them all, and they belong to no one thing")]
async fn exchange(
    node: &Node,
    net: &Net,
    link: &Link,
    config: &quinn::ClientConfig,
    env: &dyn Env,
    boot: u64,
    earlier: Option<OriginChain>,
    welcomed: &mut bool,
) -> Result<Drained, Broken> {
    let connection = net.connect(&link.address, &link.server_name, config.clone()).await?;
    let is_earlier = earlier.is_some();
    let mut tasks = JoinSet::new();
    let ended = match Driver::open(node, env, &connection, boot, earlier, &mut tasks).await {
        Ok(mut driver) => driver.run(&connection, &mut tasks, welcomed).await,
        Err(broken) => Err(broken),
    };
    let ended = ended.map_err(|broken| match (broken, connection.close_reason()) {
        // The connection knows better than a stream of it why it ended.
        (Broken::Stream(StreamError::Ended) | Broken::Lost(_), Some(why)) => NetError::of(why, &link.address).into(),
        (broken, _) => broken,
    });
    connection.close(quinn::VarInt::from_u32(0), b"");
    match ended {
        Err(Broken::Session(SessionError::Goodbye(bye)))
            if is_earlier && matches!(bye.reason, Reason::Forked | Reason::Refused) =>
        {
            Err(Broken::Earlier(Verdict::Forked))
        }
        // Found out only now, because this replica had gone on further than the server's copy of the other history, or has forgotten some of it.
        Err(ref broken) if broken.is_of_another_history() => {
            tracing::warn!(problem = crate::errors::chain_of(broken), "the server knows another history of this till");
            node.with(|till| till.renew_incarnation()).await??;
            Err(Broken::Renewed)
        }
        ended => ended,
    }
}

struct Driver<'a> {
    node: &'a Node,
    env: &'a dyn Env,
    session: DeviceSession,
    inbox: mpsc::Receiver<Result<Frame, StreamError>>,
    frames: mpsc::Sender<Result<Frame, StreamError>>,
    control: mpsc::Sender<Frame>,
    up: mpsc::Sender<Frame>,
    /// Until the server has answered, own commits cannot be sent.
    ready: bool,
    /// The earlier incarnation that this connection is for; none when it is for the present one.
    earlier: Option<OriginChain>,
    /// Whether the server has all of the earlier incarnation.
    drained: bool,
    /// What was offered to the server of others.
    offered: Vec<Line>,
    /// What it lacks of that, and from where on.
    to_bring: VecDeque<(Line, u64)>,
}

impl<'a> Driver<'a> {
    async fn open(
        node: &'a Node,
        env: &'a dyn Env,
        connection: &Connection,
        boot: u64,
        earlier: Option<OriginChain>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Broken> {
        let of = earlier.clone();
        let position = node.with(move |till| position(till, of.as_ref(), boot)).await??;
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control_out, control_in) = connection.open_bi().await?;
        let _ = control_out.set_priority(1);
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        tasks.spawn(net::pump_out(control_out, control_frames));
        tasks.spawn(net::pump_in(control_in, frames.clone()));
        let (up, up_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let up_stream = connection.open_uni().await?;
        tasks.spawn(net::pump_out(up_stream, up_frames));
        let session = DeviceSession::new(DevicePosition { unix_ms: Some(env.unix_ms()), ..position });
        Ok(Self {
            node,
            env,
            session,
            inbox,
            frames,
            control,
            up,
            ready: false,
            earlier,
            drained: false,
            offered: Vec::new(),
            to_bring: VecDeque::new(),
        })
    }

    async fn run(&mut self, connection: &Connection, tasks: &mut JoinSet<()>, welcomed: &mut bool) -> Result<Drained, Broken> {
        let mut grown = self.node.log_grew();
        let mut left = tokio::time::interval_at(tokio::time::Instant::now() + LEFT_EVERY, LEFT_EVERY);
        loop {
            self.flush().await?;
            if self.drained {
                return Ok(Drained);
            }
            let wants = self.session.wants_after();
            tokio::select! {
                biased;
                Ok(permit) = self.up.clone().reserve_owned(), if wants.is_some() => {
                    drop(permit);
                    self.send_after(wants.unwrap_or_default()).await?;
                }
                changed = grown.changed(), if self.earlier.is_none() => {
                    changed.map_err(|_| Broken::Stopping)?;
                    let commit = *grown.borrow_and_update();
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
                // What an earlier incarnation could not bring the first time it brings on a connection of its own: everything begins anew for that.
                _ = left.tick(), if self.earlier.is_none() => {
                    if self.node.with(|till| !till.earlier_unsent().is_empty()).await? {
                        return Err(Broken::Renewed);
                    }
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
                DeviceEvent::Acked(ack) => self.acked(ack, now_ms).await?,
                DeviceEvent::Wanted(wanted) => {
                    let line = |(line, after): (u32, u64)| Some((self.offered.get(line as usize)?.clone(), after));
                    self.to_bring = wanted.lines.into_iter().filter_map(line).collect();
                    self.bring_next().await?;
                }
                DeviceEvent::Taken(Taken { commit }) => {
                    match (commit, self.to_bring.front_mut()) {
                        (Some(commit), Some((_, after))) if commit > *after => *after = commit,
                        // It does not take this one, or stays where it is: the others need not wait.
                        _ => drop(self.to_bring.pop_front()),
                    }
                    self.bring_next().await?;
                }
            }
        }
        Ok(())
    }

    async fn welcomed(&mut self, welcome: Welcome, now_ms: u64) -> Result<(), Broken> {
        match (&self.earlier, welcome.verdict) {
            (_, Verdict::Ok) => {}
            (Some(_), Verdict::Forked) => {
                // The server has another history of it: this one is brought beside it.
                self.ready = true;
                return Ok(());
            }
            (Some(chain), Verdict::RolledBack) => {
                // The server has all of it and more; what is more comes down like everybody's.
                let all = chain.commit;
                self.ready = true;
                return self.acked(Ack { regional: all, central: 0 }, now_ms).await;
            }
            (None, verdict) => {
                tracing::warn!(?verdict, "this replica is older than what it sent, or was copied");
                self.node.with(|till| till.renew_incarnation()).await??;
                return Err(Broken::Renewed);
            }
        }
        let server_ms = welcome.unix_ms;
        self.node.with(move |till| till.note_server_clock(server_ms)).await?;
        let left = move |till: &mut Till| {
            let is_new = till.begin_region(welcome.region)?;
            Ok::<_, StoreError>(is_new && !till.earlier_unsent().is_empty())
        };
        if self.node.with(left).await?? && self.earlier.is_none() {
            // What earlier incarnations had brought to the server's last log is not in this one.
            return Err(Broken::Renewed);
        }
        self.acked(Ack { regional: welcome.regional, central: welcome.central }, now_ms).await?;
        if self.earlier.is_none() {
            let commit = self.node.with(|till| till.own_chain().commit).await?;
            self.session.handle_grown(commit);
            if self.session.takes_offers() {
                self.offer().await?;
            }
        }
        self.ready = true;
        Ok(())
    }

    async fn acked(&mut self, ack: Ack, now_ms: u64) -> Result<(), Broken> {
        let earlier = self.earlier.as_ref().map(|chain| chain.origin);
        let note = move |till: &mut Till| {
            match earlier {
                None => till.acked(ack.regional, ack.central)?,
                Some(origin) => till.earlier_acked(origin, ack.regional, ack.central)?,
            }
            till.set_link(LinkChange::Online { now_ms });
            Ok::<_, StoreError>(())
        };
        self.node.with(note).await??;
        self.drained = self.earlier.as_ref().is_some_and(|chain| ack.regional >= chain.commit);
        Ok(())
    }

    /// Says what this till has of others, when the server's log began anew.
    async fn offer(&mut self) -> Result<(), Broken> {
        let look = |till: &mut Till| {
            let lines = till.offers()?;
            let offered = lines.iter().map(|line| till.offered(line)).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, StoreError>((lines, offered))
        };
        let (lines, offered) = self.node.with(look).await??;
        if !offered.is_empty() {
            self.offered = lines;
            self.session.offer(offered);
        }
        Ok(())
    }

    /// Sends the next run of what the server lacks of others. When there is none, it has all.
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
        Ok(self.node.with(Till::note_offered).await??)
    }

    async fn send_after(&mut self, after: u64) -> Result<(), Broken> {
        let earlier = self.earlier.as_ref().map(|chain| chain.origin);
        let read = move |till: &mut Till| match earlier {
            None => till.own_runs_after(after, BATCH_BYTES_TARGET, RUN_COMMITS_MAX),
            Some(origin) => till.earlier_runs_after(origin, after, BATCH_BYTES_TARGET, RUN_COMMITS_MAX),
        };
        let run = self.node.with(read).await??;
        if let Some(run) = run {
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

fn position(till: &mut Till, earlier: Option<&OriginChain>, boot: u64) -> Result<DevicePosition, StoreError> {
    till.recover()?;
    let chain = earlier.unwrap_or(till.own_chain());
    Ok(DevicePosition {
        incarnation: chain.origin.incarnation,
        commit: chain.commit,
        digest: chain.digest(),
        region: till.region(),
        cursors: till.cursors().into_iter().map(|(scope, region_seq)| Cursor { scope: ScopeName(scope), region_seq }).collect(),
        boot,
        unix_ms: None,
        earlier: earlier.map(|chain| till.earlier_checkpoints(chain.origin)).transpose()?,
        mark: till.mark(),
    })
}
