//! One replicating connection: the driver around [`ServerSession`].

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use journal::{Origin, Scope};
use sync_proto::batch::Run;
use sync_proto::env::random;
use sync_proto::frame::{
    Ack, Ask, BATCH_BYTES_TARGET, Checkpoint, DocumentPlace, Frame, Hello, Offered, Reason, ScopeName, Told, Verdict, Wanted,
};
use sync_proto::scopes;
use sync_proto::session::{KnownPosition, ServerEvent, ServerSession, SessionError};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;

use super::stream::{Arrived, StreamError};
use super::wire::Wire;
use super::{GREET_MAX, Present, Quic};
use crate::hub::{Heard, HubError};
use crate::metrics::Counted;
use crate::region::{AdmitError, Admitted, Device, Held, Outgoing, Region, RegionError, Sender};

/// How many rows of the log that do not concern a device may pass before it is told that it has them.
const ROWS_UNTOLD_MAX: u64 = 1_000;
/// How many offered histories are looked at before others have their turn at the log.
const OFFERED_AT_ONCE: usize = 16;
/// After how long a device that finds no place is asked to come back, and up to how much later, so that not all of them do at once.
const COME_BACK_MS: u32 = 10_000;
/// How long a device may leave answers unread.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// How often it is said of a device that it is slowed down.
const SLOWED_SAID_EVERY: Duration = Duration::from_secs(60);
/// How often a connected device counts as heard although it says nothing.
const HEARD_EVERY: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("the device did not greet")]
    NoGreeting,
    #[error("the device does not read what it is answered")]
    Unread,
    #[error("{0}")]
    Replaced(&'static str),
    #[error("the server serves as many devices as it can")]
    Busy { retry_after_ms: u32 },
    #[error("its position is {0:?}")]
    Verdict(Verdict),
    #[error("what it goes on from is another history of it than the one that came first")]
    Forked,
    #[error("the run is not of the device and incarnation that greeted, nor was it asked for")]
    OtherOrigin,
    #[error("the server is stopping")]
    Stopping,
    #[error("the server's log begins anew: greet again")]
    Renewed,
}

impl Ended {
    /// Whether the log does not give back what was written, or the device was sent something that does not hold.
    fn speaks_of_damage(&self) -> bool {
        match self {
            Self::Region(error) => error.is_damage(),
            Self::Session(SessionError::Goodbye(bye)) => bye.reason == Reason::Refused,
            _ => false,
        }
    }

    fn goodbye(&self) -> Option<Reason> {
        match self {
            Self::Stream(StreamError::Frame(_)) | Self::OtherOrigin => Some(Reason::Protocol),
            Self::Session(SessionError::Version { .. }) => Some(Reason::Version),
            Self::Session(SessionError::Goodbye(_)) | Self::Stream(_) | Self::NoGreeting | Self::Unread => None,
            Self::Replaced(_) => Some(Reason::Replaced),
            Self::Busy { .. } => Some(Reason::Busy),
            Self::Session(_) => Some(Reason::Protocol),
            Self::Verdict(_) | Self::Forked => Some(Reason::Forked),
            Self::Hub(HubError::Admit(AdmitError::TooManyHistories)) => Some(Reason::Forked),
            Self::Hub(HubError::Admit(_)) => Some(Reason::Refused),
            Self::Hub(_) | Self::Region(_) => Some(Reason::Busy),
            Self::Stopping | Self::Renewed => Some(Reason::Stopping),
        }
    }
}

/// Serves one device until the connection ends. Without a `place`, it is asked to come back as soon as it has greeted.
pub(super) async fn serve(
    quic: &Quic,
    wire: Wire,
    device: &Device,
    place: Option<OwnedSemaphorePermit>,
    stop: watch::Receiver<bool>,
) -> Ended {
    let (replace, replaced) = oneshot::channel();
    let mut driver = match Driver::open(quic, wire, device, place, replace).await {
        Ok(driver) => driver,
        Err(ended) => return ended,
    };
    let replaced = async {
        match replaced.await {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        biased;
        why = replaced => Ended::Replaced(why),
        Err(ended) = driver.run(stop) => ended,
    };
    if ended.speaks_of_damage() {
        quic.hub.suspect();
    }
    let replaced = if let Ended::Replaced(why) = ended { Some(why) } else { None };
    let mut has_said_goodbye = false;
    // Over QUIC the code with which the connection closes says that it was replaced.
    if let Some(reason) = ended.goodbye().filter(|_| replaced.is_none() || driver.wire.is_tcp()) {
        let retry_after_ms = if let Ended::Busy { retry_after_ms } = ended { Some(retry_after_ms) } else { None };
        driver.session.goodbye(reason, super::chain_of(&ended), retry_after_ms);
        has_said_goodbye = driver.flush().await.is_ok();
    }
    let Driver { wire, .. } = driver;
    wire.close(has_said_goodbye, replaced).await;
    ended
}

/// Which lane sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Documents ahead of the log.
    Documents,
    Now,
    Behind,
}

/// Some of the scopes that a device follows, and how far it has them.
#[derive(Debug)]
struct Lane {
    scopes: BTreeSet<Scope>,
    /// The region sequence up to which the device has them; known from the greeting on.
    sent_to: u64,
    /// The region sequence that the device was told last.
    told_to: u64,
}

/// The right to catch up with much, of which there are a few: whoever has none waits in the order of coming.
enum Turn {
    Awaited { turn: Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>, _counted: Counted },
    Here { until: Instant, _permit: Option<OwnedSemaphorePermit>, _counted: Counted },
}

impl Turn {
    fn awaited(quic: &Quic) -> Self {
        let catch_ups = quic.catch_ups.clone();
        let turn = Box::pin(async move { catch_ups.acquire_owned().await.ok() });
        Self::Awaited { turn, _counted: quic.hub.metrics().catch_up_waits() }
    }

    fn is_here(&self) -> bool {
        matches!(self, Self::Here { .. })
    }

    /// When it ends, once it is here.
    fn ends(&self) -> Option<Instant> {
        match self {
            Self::Here { until, .. } => Some(*until),
            Self::Awaited { .. } => None,
        }
    }
}

/// Waits until an awaited turn has come.
async fn comes(turn: Option<&mut Turn>) -> Option<OwnedSemaphorePermit> {
    match turn {
        Some(Turn::Awaited { turn, .. }) => turn.await,
        _ => std::future::pending().await,
    }
}

struct Driver<'a> {
    quic: &'a Quic,
    wire: Wire,
    device: &'a Device,
    /// Among those that are served at once; none when there was none left.
    place: Option<OwnedSemaphorePermit>,
    /// Handed over at the greeting.
    replace: Option<oneshot::Sender<&'static str>>,
    /// Set by the greeting.
    present: Option<Present>,
    session: ServerSession,
    /// Set by the greeting.
    origin: Option<Origin>,
    /// Whose histories it was asked for.
    wanted: BTreeSet<Origin>,
    /// The last commit of its own that the device is known to have.
    has: u64,
    /// The document after which the device is still sent documents ahead of the log; none when it did not ask, or has them all.
    documents_after: Option<DocumentPlace>,
    /// What the device follows; while it catches up with what servers wrote, only what happens in its store.
    now: Lane,
    /// What it catches up with meanwhile.
    behind: Option<Lane>,
    /// Held until it has caught up.
    turn: Option<Turn>,
    /// Whether the last that went out was of `now`.
    sent_now: bool,
    /// The place of the log that `behind` has to reach before `now` goes on: there the next writer's enrolment is.
    now_waits_for: u64,
    /// When it is read from again.
    slowed_until: Option<Instant>,
    slowed_said: Option<Instant>,
}

impl<'a> Driver<'a> {
    async fn open(
        quic: &'a Quic,
        wire: Wire,
        device: &'a Device,
        place: Option<OwnedSemaphorePermit>,
        replace: oneshot::Sender<&'static str>,
    ) -> Result<Self, Ended> {
        let hub_device = device.clone();
        let follow = move |region: &mut Region| {
            if let Some(store) = hub_device.store {
                region.serve(store)?;
            }
            Ok::<_, RegionError>(region.followed_by(&hub_device))
        };
        let scopes = quic.hub.with(follow).await??;
        let session = ServerSession::speaking(quic.versions);
        Ok(Self {
            quic,
            wire,
            device,
            place,
            replace: Some(replace),
            present: None,
            session,
            origin: None,
            wanted: BTreeSet::new(),
            has: 0,
            documents_after: None,
            now: Lane { scopes, sent_to: 0, told_to: 0 },
            behind: None,
            turn: None,
            sent_now: false,
            now_waits_for: 0,
            slowed_until: None,
            slowed_said: None,
        })
    }

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<std::convert::Infallible, Ended> {
        let mut grown = self.quic.hub.grown();
        let mut central = self.quic.hub.central();
        let mut regions = self.quic.hub.regions();
        let mut heard = tokio::time::interval(HEARD_EVERY);
        let greet_until = Instant::now() + GREET_MAX;
        loop {
            self.flush().await?;
            let ready = self.origin.is_some();
            let next = if ready { self.next(grown.get()) } else { None };
            let turn_ends = self.turn.as_ref().and_then(Turn::ends);
            tokio::select! {
                biased;
                () = super::stopped(&mut stop) => return Err(Ended::Stopping),
                _ = regions.changed() => return Err(Ended::Renewed),
                arrived = self.wire.inbox.recv(), if self.slowed_until.is_none() => {
                    let arrived = arrived.ok_or_else(|| StreamError::Ended("the device closed its streams".into()))??;
                    self.count(&arrived);
                    if let Some(frame) = arrived.frame {
                        self.session.handle_frame(frame)?;
                        self.handle_events().await?;
                    }
                }
                () = until(self.slowed_until), if self.slowed_until.is_some() => self.slowed_until = None,
                () = tokio::time::sleep_until(greet_until), if !ready => return Err(Ended::NoGreeting),
                Ok(known) = central.changed(), if ready => {
                    if let Some(commit) = self.origin.and_then(|origin| known.get(&origin).copied()) {
                        self.session.stored(Ack { regional: commit, central: commit });
                    }
                }
                permit = comes(self.turn.as_mut()) => {
                    let until = Instant::now() + self.quic.limits.catch_up_slice;
                    self.turn = Some(Turn::Here { until, _permit: permit, _counted: self.quic.hub.metrics().catches_up() });
                }
                // Others have theirs: one that reads slowly, or not at all, keeps nobody from catching up.
                () = until(turn_ends), if turn_ends.is_some() => self.turn = Some(Turn::awaited(self.quic)),
                Ok(permit) = self.wire.down.clone().reserve_owned(), if next.is_some() => {
                    drop(permit);
                    match next {
                        Some(Next::Documents) => self.send_documents().await?,
                        Some(Next::Now) => self.send_now().await?,
                        Some(Next::Behind) | None => self.send_behind().await?,
                    }
                }
                changed = grown.changed(), if ready && grown.get() <= self.now.sent_to => {
                    changed.map_err(|_| HubError::Stopped)?;
                }
                _ = heard.tick() => self.note_heard(0, None),
            }
        }
    }

    /// Counts what came, and when the device says more than it may, reads on later.
    fn count(&mut self, arrived: &Arrived) {
        let entries = match &arrived.frame {
            Some(Frame::Commits(commits)) => {
                commits.runs.iter().flat_map(|run| &run.commits).map(|commit| commit.entries.len()).sum()
            }
            Some(Frame::Offer(offer)) => offer.lines.len(),
            _ => 1,
        };
        let now = Instant::now();
        self.slowed_until = self.quic.quotas.take(self.device.device, arrived.bytes, entries.max(1), now);
        let Some(until) = self.slowed_until else { return };
        self.quic.hub.metrics().slowed(until - now);
        if self.slowed_said.is_none_or(|said| now - said >= SLOWED_SAID_EVERY) {
            self.slowed_said = Some(now);
            let Device { device, name, .. } = self.device;
            tracing::warn!(event = "device_slowed", %device, name, "a device says more than its quota: it is read from more slowly");
        }
    }

    async fn handle_events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.session.poll_event() {
            match event {
                ServerEvent::Greeted(hello) => self.greet(&hello).await?,
                ServerEvent::Received(run) => self.admit(run).await?,
                ServerEvent::Offered(lines) => self.look_at(lines).await?,
                ServerEvent::Brought(run) => self.take(run).await?,
                ServerEvent::Asked(ask) => self.answer(ask).await?,
            }
        }
        Ok(())
    }

    async fn greet(&mut self, hello: &Hello) -> Result<(), Ended> {
        let origin = Origin { device: *self.device.device.as_bytes(), incarnation: hello.incarnation };
        let known = self.known(origin, hello).await?;
        let region = self.quic.hub.region();
        let now_ms = self.quic.env.unix_ms();
        if let Some(device_ms) = hello.unix_ms {
            self.quic.hub.metrics().clock(self.device.device, device_ms, now_ms);
        }
        let verdict = self.session.welcome(region, known, now_ms);
        // What it has beyond the end of what is here shows with its first run.
        self.has = if hello.commit <= known.regional { hello.commit } else { 0 };
        if verdict != Verdict::Ok {
            return Err(Ended::Verdict(verdict));
        }
        if self.place.is_none() {
            let [a, b, c, d] = random(&*self.quic.env);
            let later_ms = u32::from_be_bytes([a, b, c, d]) % COME_BACK_MS;
            self.quic.hub.metrics().told_busy();
            return Err(Ended::Busy { retry_after_ms: COME_BACK_MS + later_ms });
        }
        if let Some(replace) = self.replace.take() {
            self.present = Some(self.quic.take_over(self.device.device, hello.incarnation, self.wire.is_tcp(), replace));
        }
        // Cursors of another incarnation of this server mean nothing here: everything is sent again, and known entries are skipped.
        let same_region = hello.region == Some(region);
        if same_region && !self.has_read_this_log(hello).await? {
            self.quic.hub.regressed(region);
            return Err(Ended::Renewed);
        }
        let cursor_of = |scope: &Scope| match hello.cursors.iter().find(|c| c.scope.0 == *scope) {
            Some(cursor) if same_region => cursor.region_seq,
            _ => 0,
        };
        self.begin_lanes(cursor_of);
        self.documents_after = hello.documents_after;
        self.origin = Some(origin);
        let rtt = self.wire.rtt;
        self.note_heard(hello.commit, hello.unix_ms.map(|theirs| clock_drift_ms(theirs, self.quic.env.unix_ms(), rtt)));
        self.quic.hub.live().device_news(self.device.device);
        Ok(())
    }

    /// Whether what a device has read of this log, as far as it says, is in it.
    async fn has_read_this_log(&self, hello: &Hello) -> Result<bool, Ended> {
        let Some(mark) = hello.mark.clone() else { return Ok(true) };
        Ok(self.quic.hub.with(move |region| region.has_been_read(&mark)).await??)
    }

    /// What the log says about an incarnation that greets.
    async fn known(&self, origin: Origin, hello: &Hello) -> Result<KnownPosition, Ended> {
        let greeted = Checkpoint { commit: hello.commit, digest: hello.digest };
        let look =
            move |region: &mut Region| Ok::<_, RegionError>((region.position(origin, &[greeted])?, region.chain(origin).commit));
        let (position, first) = self.quic.hub.with(look).await??;
        if position.is_whole {
            let central = self.quic.hub.central().get().get(&origin).copied().filter(|_| position.is_first).unwrap_or(0);
            // Two lives of one incarnation: the one whose history came second writes under another from now on.
            return Ok(KnownPosition { regional: position.commit, central, agrees: Some(position.is_first) });
        }
        // Beyond the end of what is here, the first run shows whether it goes on from there.
        let agrees = (hello.commit <= first && hello.commit > 0).then_some(false);
        // Nor is it known before that whether the central database has this history or another.
        Ok(KnownPosition { regional: first, central: 0, agrees })
    }

    async fn admit(&mut self, run: Run) -> Result<(), Ended> {
        if Some(run.origin) != self.origin {
            return Err(Ended::OtherOrigin);
        }
        let arrived = tokio::time::Instant::now();
        let Admitted { commit, is_fork, .. } = match self.quic.hub.admit(Sender::Writer(self.device.device), run).await {
            // It goes on from a history that is not here: this one has to be brought from where the two parted.
            Err(HubError::Admit(AdmitError::Gap { .. })) => return Err(Ended::Forked),
            admitted => admitted?,
        };
        self.quic.hub.metrics().acknowledged(arrived.elapsed());
        if is_fork {
            // What it brought is kept; it goes on under a new incarnation.
            return Err(Ended::Forked);
        }
        self.has = self.has.max(commit);
        self.note_heard(commit, None);
        self.session.stored(Ack { regional: commit, central: 0 });
        Ok(())
    }

    /// Says what of an offer is lacking here, and what the central database has.
    async fn look_at(&mut self, lines: Vec<Offered>) -> Result<(), Ended> {
        let bearer = self.device.device;
        let fed = self.quic.hub.fed().get();
        let mut wanted = Wanted::default();
        self.wanted.clear();
        for (piece, lines) in lines.chunks(OFFERED_AT_ONCE).enumerate() {
            let looked_at = lines.to_vec();
            let held = self.quic.hub.with(move |region| region.holds(bearer, &looked_at)).await??;
            for (at, (line, held)) in (piece * OFFERED_AT_ONCE..).zip(lines.iter().zip(held)) {
                let at = at as u32;
                match held {
                    Some(Held::UpTo { commit }) => {
                        self.wanted.insert(Origin { device: line.device, incarnation: line.incarnation });
                        wanted.lines.push((at, commit));
                    }
                    Some(Held::Whole { ends_at }) => {
                        wanted.whole.push(at);
                        if ends_at <= fed {
                            wanted.central.push(at);
                        }
                    }
                    None => {}
                }
            }
        }
        self.session.want(wanted);
        Ok(())
    }

    /// Takes in what was wanted of an offer. What does not hold ends nothing but itself.
    async fn take(&mut self, run: Run) -> Result<(), Ended> {
        if !self.wanted.contains(&run.origin) {
            return Err(Ended::OtherOrigin);
        }
        match self.quic.hub.admit(Sender::Bearer(self.device.device), run).await {
            Ok(Admitted { commit, .. }) => self.session.taken(Some(commit)),
            Err(HubError::Admit(AdmitError::Regressed)) => {
                self.quic.hub.regressed(self.quic.hub.region());
                return Err(Ended::Renewed);
            }
            Err(HubError::Admit(_)) => self.session.taken(None),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Says what the log has of an order that the device asks for.
    async fn answer(&mut self, ask: Ask) -> Result<(), Ended> {
        let Ask { number, receipt } = ask;
        let store = self.device.store;
        let read = move |region: &mut Region| match store {
            Some(store) => region.told_of(store, &receipt, BATCH_BYTES_TARGET),
            None => Ok(Vec::new()),
        };
        let runs = self.quic.hub.with(read).await??;
        self.session.tell(Told { number, runs });
        Ok(())
    }

    /// Begins where the device stands. One that has much to catch up with waits for its turn for that; one that takes lanes has what happens in its
    /// store meanwhile: only tills write there and only servers write elsewhere, so that no history is in both lanes.
    fn begin_lanes(&mut self, cursor_of: impl Fn(&Scope) -> u64) {
        let last = self.quic.hub.grown().get();
        let scopes = std::mem::take(&mut self.now.scopes);
        let lane = |scopes: BTreeSet<Scope>| {
            let sent_to = scopes.iter().map(&cursor_of).min().unwrap_or(0);
            Lane { scopes, sent_to, told_to: sent_to }
        };
        let (of_store, of_servers): (BTreeSet<_>, BTreeSet<_>) =
            scopes.iter().cloned().partition(|scope| scopes::writers_of(scope).1.is_some());
        let (of_store, of_servers) = (lane(of_store), lane(of_servers));
        if self.session.takes_lanes() && self.is_far(&of_servers, last) && !of_store.scopes.is_empty() {
            (self.now, self.behind) = (of_store, Some(of_servers));
        } else {
            self.now = lane(scopes);
        }
        if self.behind.is_some() || self.is_far(&self.now, last) {
            self.turn = Some(Turn::awaited(self.quic));
        }
    }

    /// What is sent next, if anything is: what happens now, and where that is far behind as well, both by turns.
    fn next(&self, last: u64) -> Option<Next> {
        if self.documents_after.is_some() {
            return self.turn.as_ref().is_none_or(Turn::is_here).then_some(Next::Documents);
        }
        let Some(behind) = &self.behind else {
            let may_go_on = self.turn.as_ref().is_none_or(Turn::is_here);
            return (may_go_on && last > self.now.sent_to).then_some(Next::Now);
        };
        let now_is_due = last > self.now.sent_to && behind.sent_to >= self.now_waits_for;
        let behind_is_due = self.turn.as_ref().is_some_and(Turn::is_here);
        let behind_goes = self.sent_now && self.is_far(&self.now, last);
        match (now_is_due, behind_is_due) {
            (true, true) if behind_goes => Some(Next::Behind),
            (true, _) => Some(Next::Now),
            (false, true) => Some(Next::Behind),
            (false, false) => None,
        }
    }

    fn is_far(&self, lane: &Lane, last: u64) -> bool {
        last.saturating_sub(lane.sent_to) > self.quic.limits.catch_up_rows
    }

    /// Sends some of the documents that the device asked for; they come before any commits.
    async fn send_documents(&mut self) -> Result<(), Ended> {
        let Some(place) = self.documents_after else { return Ok(()) };
        let lanes = [Some(&self.now), self.behind.as_ref()].into_iter().flatten();
        let followed: BTreeSet<Scope> = lanes.flat_map(|lane| lane.scopes.iter().cloned()).collect();
        let read = move |region: &mut Region| region.documents_after(&followed, place, BATCH_BYTES_TARGET);
        let documents = self.quic.hub.with(read).await??;
        let last = documents.documents.last().filter(|_| documents.until.is_none());
        self.documents_after = last.map(|last| DocumentPlace { kind: last.kind, id: last.id });
        self.session.send_documents(documents);
        Ok(())
    }

    async fn send_now(&mut self) -> Result<(), Ended> {
        let Some(origin) = self.origin else { return Ok(()) };
        let (scopes, after, receiver) = (self.now.scopes.clone(), self.now.sent_to, (origin, self.has));
        let known_to = self.behind.as_ref().map(|behind| behind.sent_to);
        let read = move |region: &mut Region| match known_to {
            Some(known_to) => region.outgoing_of_store(&scopes, after, known_to, receiver, BATCH_BYTES_TARGET),
            None => region.outgoing(&scopes, after, receiver, BATCH_BYTES_TARGET),
        };
        let outgoing = self.quic.hub.with(read).await??;
        self.sent_now = true;
        self.now_waits_for = outgoing.waits_for.unwrap_or(0);
        tell(&mut self.session, &mut self.now, outgoing, self.behind.is_some());
        if self.behind.is_none() && !self.is_far(&self.now, self.quic.hub.grown().get()) {
            self.turn = None;
        }
        Ok(())
    }

    /// Sends some of what the device catches up with. When that has come as far as the rest, all goes on together.
    async fn send_behind(&mut self) -> Result<(), Ended> {
        let (Some(origin), Some(behind)) = (self.origin, &self.behind) else { return Ok(()) };
        let (scopes, after, receiver) = (behind.scopes.clone(), behind.sent_to, (origin, self.has));
        let read = move |region: &mut Region| region.outgoing(&scopes, after, receiver, BATCH_BYTES_TARGET);
        let outgoing = self.quic.hub.with(read).await??;
        self.sent_now = false;
        let Some(behind) = &mut self.behind else { return Ok(()) };
        tell(&mut self.session, behind, outgoing, true);
        if behind.sent_to >= self.now.sent_to {
            self.now.scopes.append(&mut behind.scopes);
            self.behind = None;
            self.turn = None;
            self.now_waits_for = 0;
        }
        Ok(())
    }

    /// Hands the session's frames to the streams.
    async fn flush(&mut self) -> Result<(), Ended> {
        while let Some(frame) = self.session.poll_frame() {
            let stream =
                if matches!(frame, Frame::Commits(_) | Frame::Documents(_)) { &self.wire.down } else { &self.wire.control };
            let sent = tokio::time::timeout(UNREAD_MAX, stream.send(frame)).await.map_err(|_| Ended::Unread)?;
            sent.map_err(|_| StreamError::Ended("the stream is gone".into()))?;
        }
        Ok(())
    }

    fn note_heard(&self, commit: u64, clock_drift_ms: Option<i64>) {
        let Some(origin) = self.origin else { return };
        let at_ms = self.quic.env.unix_ms();
        self.quic.hub.note_heard(self.device.device, Heard { incarnation: origin.incarnation, commit, at_ms, clock_drift_ms });
    }
}

/// Says what goes out of a lane.
fn tell(session: &mut ServerSession, lane: &mut Lane, outgoing: Outgoing, is_of_some: bool) {
    lane.sent_to = outgoing.up_to;
    // A place alone is told now and then: the device writes it down, and without it the server reads a little more at its next greeting.
    if outgoing.runs.is_empty() && outgoing.up_to < lane.told_to + ROWS_UNTOLD_MAX {
        return;
    }
    lane.told_to = outgoing.up_to;
    match is_of_some {
        true => {
            let scopes = lane.scopes.iter().cloned().map(ScopeName).collect();
            session.send_of(scopes, outgoing.runs, outgoing.up_to, outgoing.mark);
        }
        false => session.send(outgoing.runs, outgoing.up_to, outgoing.mark),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A device's clock less the server's: its greeting says what its clock showed half a round trip ago.
fn clock_drift_ms(theirs_ms: u64, now_ms: u64, round_trip: Duration) -> i64 {
    let half_ms = i64::try_from(round_trip.as_millis() / 2).unwrap_or(i64::MAX);
    let clock = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    clock(theirs_ms).saturating_add(half_ms).saturating_sub(clock(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_compared_with_half_a_round_trip_allowed_for() {
        let drift = |theirs, now, round_trip_ms| clock_drift_ms(theirs, now, Duration::from_millis(round_trip_ms));
        assert_eq!(drift(1_000, 1_020, 40), 0, "in step, over a link of 20 ms each way");
        assert_eq!(drift(301_000, 1_020, 40), 300_000);
        assert_eq!(drift(1_000, 181_020, 40), -180_000);
        assert_eq!(drift(u64::MAX, 0, u64::MAX), i64::MAX, "a clock that is no clock");
    }
}
