//! Peers: tills of one store that replicate with one another over the shop's own network, whether the way to the server is up or not.
//!
//! Each till dials every other that it knows of, by the list in its configuration or by multicast DNS ([`discover`]). On the connection that it
//! dialled it offers what it has, the other says what of that it lacks and takes it, as a server does with an offer (`docs/protocol.md`). So two tills
//! have two connections, one each way, and whatever one of them hears it passes on: a till that no other can reach but one is heard by all.
//!
//! What is taken is verified like everything that is received, and on disk before it is answered: a sale counts as held by a neighbour then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::ids::{DeviceId, StoreId};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use sync_proto::batch::Run;
use sync_proto::enrolment::{Certified, PEER_ALPN};
use sync_proto::env::{Env, random};
use sync_proto::frame::{BATCH_BYTES_TARGET, Commits, Frame, Offer, Offered, Taken, Wanted};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::handle::{Node, NodeStopped};
use crate::replication::Link;
use crate::replication::net::{self, Net, NetError, StreamError, read_frame, write_frame};
use crate::replication::tls::{self, TlsError};
use crate::store::StoreError;
use crate::store::lines::Line;
use crate::till::{ReceiveError, Till};

pub mod discover;

/// Most connections that other tills may have to this one.
const CONNECTIONS_MAX: usize = 64;
/// Most handshakes at a time.
const HANDSHAKES_MAX: usize = 16;
/// How long one may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Histories in one offer: a cashier does not wait while a till looks up where many have been.
const OFFERED_AT_ONCE: usize = 16;
/// The first wait before a peer is dialled again; it doubles up to [`DIAL_AGAIN_MAX`].
const DIAL_AGAIN_MIN: Duration = Duration::from_millis(500);
/// The longest wait.
const DIAL_AGAIN_MAX: Duration = Duration::from_secs(15);
/// How soon what a peer did not take is offered again: it may have learnt of its writer meanwhile.
const OFFER_AGAIN: Duration = Duration::from_secs(45);
/// How long is gathered what grows, before it is offered.
const GATHER: Duration = Duration::from_millis(5);

/// Why a connection with a peer ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the link was lost")]
    Lost(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("it is no till of this store")]
    Stranger,
    #[error("it is connected already, at another address")]
    Connected,
    #[error("a frame that makes no sense here")]
    OutOfTurn,
    #[error("no answer in time")]
    NoAnswer,
    #[error(transparent)]
    Stopping(#[from] NodeStopped),
}

/// This till among its peers.
#[derive(Debug, Clone)]
struct Peers {
    node: Node,
    net: Net,
    client: quinn::ClientConfig,
    own: DeviceId,
    store: StoreId,
    env: Arc<dyn Env>,
    shared: Arc<Shared>,
}

/// How many may connect.
struct Slots {
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Every history that is here, by its row.
    lines: Mutex<BTreeMap<i64, Line>>,
    /// Woken when one has grown.
    grown: Notify,
    /// The peers that this till has dialled and that answer.
    connected: Mutex<BTreeSet<DeviceId>>,
    /// Woken when those have changed.
    changed: Notify,
}

/// A peer that is connected. Dropping it ends that.
struct Connected {
    shared: Arc<Shared>,
    peer: DeviceId,
}

impl Connected {
    /// None when this till is connected to it already, at another of its addresses.
    fn to(peer: DeviceId, shared: &Arc<Shared>) -> Option<Self> {
        let is_new = shared.connected().insert(peer);
        shared.changed.notify_one();
        is_new.then(|| Self { shared: shared.clone(), peer })
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.shared.connected().remove(&self.peer);
        self.shared.changed.notify_one();
    }
}

/// Replicates with the peers at `known` addresses, and with whoever dials, until told to stop. `net` listens where others find this till.
///
/// # Errors
/// Only when the device's own certificate or key is unusable; the till sells on without its neighbours.
pub async fn run(
    node: Node,
    net: Net,
    link: &Link,
    (own, store): (DeviceId, StoreId),
    mut known: watch::Receiver<BTreeSet<String>>,
    env: Arc<dyn Env>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), TlsError> {
    let Link { authority_pem, certificate_pem, key_pem, .. } = link;
    let client = net::client_config(tls::to_peer(authority_pem, certificate_pem, key_pem)?, PEER_ALPN)?;
    let server = net::server_config(tls::from_peer(authority_pem, certificate_pem, key_pem)?, PEER_ALPN)?;
    net.endpoint.set_server_config(Some(server));
    let peers = Peers { node, net, client, own, store, env, shared: Arc::default() };
    let mut tasks = JoinSet::new();
    tasks.spawn(peers.clone().follow_log());
    tasks.spawn(peers.clone().tell_connected());
    let mut dialling = BTreeMap::new();
    let slots =
        Slots { handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)), connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    // When nobody looks for others any more, those that are known stay.
    let (mut look, mut are_sought) = (true, true);
    loop {
        if std::mem::take(&mut look) {
            let now = known.borrow_and_update().clone();
            dialling.retain(|address: &String, task: &mut tokio::task::AbortHandle| {
                let stays = now.contains(address);
                if !stays {
                    task.abort();
                }
                stays
            });
            for address in now {
                if !dialling.contains_key(&address) {
                    dialling.insert(address.clone(), tasks.spawn(peers.clone().dial(address)));
                }
            }
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            changed = known.changed(), if are_sought => {
                are_sought = changed.is_ok();
                look = true;
            }
            incoming = peers.net.endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                match slots.handshakes.clone().try_acquire_owned() {
                    Ok(handshake) => drop(tasks.spawn(peers.clone().serve(incoming, handshake, slots.connections.clone()))),
                    Err(_) => incoming.refuse(),
                }
            }
            Some(_) = tasks.join_next() => {}
        }
    }
    peers.net.endpoint.close(VarInt::from_u32(0), b"stopping");
    tasks.shutdown().await;
    Ok(())
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<i64, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connected(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Keeps what is known of the log up to date, for all who offer it.
    async fn follow_log(self) {
        let mut entries = self.node.entries_grew();
        let mut seen = 0;
        loop {
            let grown = self.node.with(move |till| till.grown_since(seen)).await;
            match grown {
                Ok(Ok((lines, last))) => {
                    seen = last;
                    self.shared.lines().extend(lines.into_iter().map(|line| (line.row, line)));
                    self.shared.grown.notify_waiters();
                }
                Ok(Err(error)) => tracing::debug!(%error, "the log cannot be read for the neighbours"),
                Err(NodeStopped) => return,
            }
            if entries.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(GATHER).await;
            entries.borrow_and_update();
        }
    }

    /// Dials an address, and again whenever the connection ends, unless it is this till's own.
    async fn dial(self, address: String) {
        let mut wait = DIAL_AGAIN_MIN;
        loop {
            let broken = match self.net.connect(&address, "till", self.client.clone()).await {
                Ok(connection) => {
                    let peer = certified(&connection);
                    if peer.is_some_and(|peer| peer.device == self.own) {
                        connection.close(VarInt::from_u32(0), b"");
                        return;
                    }
                    match peer.filter(|peer| peer.store == self.store).map(|peer| Connected::to(peer.device, &self.shared)) {
                        Some(Some(connected)) => {
                            wait = DIAL_AGAIN_MIN;
                            self.offer_to(connected.peer, &connection).await
                        }
                        Some(None) => {
                            wait = DIAL_AGAIN_MAX;
                            Broken::Connected
                        }
                        None => Broken::Stranger,
                    }
                }
                Err(error) => error.into(),
            };
            if matches!(broken, Broken::Stopping(_)) {
                return;
            }
            tracing::debug!(address, problem = crate::errors::chain_of(&broken), "no link to a neighbour");
            let jitter = u64::from(u16::from_be_bytes(random(&*self.env))) % (wait.as_millis() as u64 / 2 + 1);
            tokio::time::sleep(wait / 2 + Duration::from_millis(jitter)).await;
            wait = (wait * 2).min(DIAL_AGAIN_MAX);
        }
    }

    /// Offers all there is to a peer, and what grows, until the connection ends.
    async fn offer_to(&self, peer: DeviceId, connection: &Connection) -> Broken {
        tracing::info!(event = "neighbour_up", device = %peer, "connected to another till of the store");
        let Err(broken) = self.offer_until_broken(peer, connection).await;
        let problem = crate::errors::chain_of(&broken);
        tracing::info!(event = "neighbour_down", device = %peer, problem, "another till of the store is gone");
        broken
    }

    /// Keeps the till told of who is connected.
    async fn tell_connected(self) {
        loop {
            self.shared.changed.notified().await;
            let connected = self.shared.connected().clone();
            if self.node.with(move |till| till.set_connected_neighbours(&connected)).await.is_err() {
                return;
            }
        }
    }

    async fn offer_until_broken(&self, peer: DeviceId, connection: &Connection) -> Result<std::convert::Infallible, Broken> {
        let (mut out, mut answers) = connection.open_bi().await?;
        let mut told = BTreeMap::<i64, u64>::new();
        let mut again = tokio::time::interval_at(tokio::time::Instant::now() + OFFER_AGAIN, OFFER_AGAIN);
        let mut refused = BTreeSet::new();
        loop {
            let grown = self.shared.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let news: Vec<Line> = {
                let lines = self.shared.lines();
                let is_news = |line: &&Line| told.get(&line.row).is_none_or(|told| *told < line.chain.commit);
                // The newest first: what is sold now need not wait for last year.
                lines.values().rev().filter(is_news).take(OFFERED_AT_ONCE).cloned().collect()
            };
            if news.is_empty() {
                tokio::select! {
                    biased;
                    error = connection.closed() => return Err(error.into()),
                    () = &mut grown => {}
                    _ = again.tick() => {
                        for row in std::mem::take(&mut refused) {
                            told.remove(&row);
                        }
                    }
                }
                continue;
            }
            for line in &news {
                told.insert(line.row, line.chain.commit);
            }
            refused.extend(self.offer_some(peer, &mut out, &mut answers, news).await?);
        }
    }

    /// Offers some histories and brings what of them the peer lacks. Answers the rows of those that it does not take.
    async fn offer_some(
        &self,
        peer: DeviceId,
        out: &mut SendStream,
        answers: &mut RecvStream,
        lines: Vec<Line>,
    ) -> Result<Vec<i64>, Broken> {
        let looked_at = lines.clone();
        let look = move |till: &mut Till| looked_at.iter().map(|line| till.offered(line)).collect::<Result<_, _>>();
        let offered: Vec<Offered> = self.node.with(look).await??;
        write_frame(out, &Frame::Offer(Offer { lines: offered })).await?;
        let Frame::Wanted(Wanted { lines: lacking, whole, .. }) = answer(answers).await? else { return Err(Broken::OutOfTurn) };
        let lacking: BTreeMap<u32, u64> = lacking.into_iter().collect();
        let mut refused = Vec::new();
        for (at, line) in (0..).zip(&lines) {
            let held = match lacking.get(&at) {
                Some(after) => self.bring(peer, out, answers, line, *after).await?,
                None if whole.contains(&at) => line.chain.commit,
                None => 0,
            };
            if held < line.chain.commit {
                refused.push(line.row);
            } else {
                self.note_held(peer, line, held).await?;
            }
        }
        Ok(refused)
    }

    /// Brings a history from a commit on. Answers how far the peer then has it.
    async fn bring(
        &self,
        peer: DeviceId,
        out: &mut SendStream,
        answers: &mut RecvStream,
        line: &Line,
        mut after: u64,
    ) -> Result<u64, Broken> {
        loop {
            let of = line.clone();
            let run = self.node.with(move |till| till.run_after(&of, after, BATCH_BYTES_TARGET)).await??;
            let Some(run) = run else { return Ok(after) };
            write_frame(out, &Frame::Commits(Commits::of(run))).await?;
            let Frame::Taken(Taken { commit }) = answer(answers).await? else { return Err(Broken::OutOfTurn) };
            match commit.filter(|commit| *commit > after) {
                Some(commit) => after = commit,
                None => return Ok(0),
            }
            self.note_held(peer, line, after).await?;
        }
    }

    async fn note_held(&self, peer: DeviceId, line: &Line, commit: u64) -> Result<(), Broken> {
        if line.chain.origin.device != *self.own.as_bytes() {
            return Ok(());
        }
        let line = line.clone();
        Ok(self.node.with(move |till| till.note_neighbour(peer, &line, commit)).await?)
    }

    /// Takes what a peer brings, until the connection ends.
    async fn serve(self, incoming: Incoming, handshake: OwnedSemaphorePermit, connections: Arc<Semaphore>) {
        let connected = async { incoming.accept().ok()?.await.ok() };
        let Ok(Some(connection)) = tokio::time::timeout(HANDSHAKE_MAX, connected).await else { return };
        drop(handshake);
        let peer = certified(&connection).filter(|peer| peer.store == self.store && peer.device != self.own);
        let Some(peer) = peer else {
            connection.close(VarInt::from_u32(2), b"this is a till of another store");
            return;
        };
        let Ok(_connection) = connections.try_acquire_owned() else {
            connection.close(VarInt::from_u32(2), b"too many tills are connected to this one");
            return;
        };
        let Err(broken) = self.take_until_broken(&connection).await;
        tracing::debug!(device = %peer.device, problem = crate::errors::chain_of(&broken), "a neighbour offers no more");
        connection.close(VarInt::from_u32(0), b"");
    }

    async fn take_until_broken(&self, connection: &Connection) -> Result<std::convert::Infallible, Broken> {
        let opened = tokio::time::timeout(ANSWER_MAX, connection.accept_bi()).await;
        let (mut out, mut offers) = opened.map_err(|_| Broken::NoAnswer)??;
        loop {
            let answer = match read_frame(&mut offers).await? {
                Frame::Offer(Offer { lines }) => Frame::Wanted(self.look_at(&lines).await?),
                Frame::Commits(Commits { mut runs, up_to: None, .. }) if runs.len() == 1 => {
                    let run = runs.remove(0);
                    Frame::Taken(Taken { commit: self.node.with(move |till| take(till, run)).await? })
                }
                _ => return Err(Broken::OutOfTurn),
            };
            write_frame(&mut out, &answer).await?;
        }
    }

    /// What of an offer is lacking here. A few at a time, so that whoever stands at this till has their turn in between.
    async fn look_at(&self, lines: &[Offered]) -> Result<Wanted, Broken> {
        let mut wanted = Wanted::default();
        for (piece, lines) in (0..).step_by(OFFERED_AT_ONCE).zip(lines.chunks(OFFERED_AT_ONCE)) {
            let lines = lines.to_vec();
            let look = move |till: &mut Till| {
                till.recover()?;
                till.lacking(&lines)
            };
            let found = self.node.with(look).await??;
            wanted.lines.extend(found.lines.into_iter().map(|(at, after)| (piece + at, after)));
            wanted.whole.extend(found.whole.into_iter().map(|at| piece + at));
        }
        Ok(wanted)
    }
}

/// Takes a run that a peer brings; none when it does not hold, or cannot be kept now.
fn take(till: &mut Till, run: Run) -> Option<u64> {
    let taken = match till.receive_brought(run.clone()) {
        // This till has forgotten some of what it wrote: it goes on under another incarnation, and takes what it wrote back.
        Err(ReceiveError::OwnHistoryAhead) => match till.renew_incarnation() {
            Ok(()) => till.receive_brought(run),
            Err(error) => Err(error.into()),
        },
        taken => taken,
    };
    match taken {
        Ok(commit) => Some(commit),
        Err(error) => {
            tracing::warn!(problem = crate::errors::chain_of(&error), "what another till brought is not taken");
            None
        }
    }
}

async fn answer(answers: &mut RecvStream) -> Result<Frame, Broken> {
    tokio::time::timeout(ANSWER_MAX, read_frame(answers)).await.map_err(|_| Broken::NoAnswer)?.map_err(Broken::from)
}

/// What the other end's certificate says.
fn certified(connection: &Connection) -> Option<Certified> {
    let chain = connection.peer_identity()?.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok()?;
    Certified::of(chain.first()?)
}
