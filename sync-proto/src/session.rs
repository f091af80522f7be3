//! The two ends of a connection as state machines: frames and events in and out, no sockets, no disk.
//!
//! ```text
//! device                                   server
//!   Hello(position, cursors)  ───────────▶
//!                             ◀───────────  Welcome(regional, central, verdict)
//!   Commits (own, after regional) ───────▶
//!                             ◀───────────  Ack(regional, central)      … and again, for ever
//!                             ◀───────────  Documents (when the device is new and asks for them)
//!                             ◀───────────  Commits (others', up_to)
//!   Ask (a receipt that is not here) ────▶
//!                             ◀───────────  Told
//! ```
//!
//! The driver around a session moves bytes, asks the log for commits when the session wants some, stores what the session reports, and
//! tells it what became durable. A reconnect with nothing new costs one round trip.

use std::collections::{BTreeSet, VecDeque};

use journal::{Hash, Scope};

use crate::batch::Run;
use crate::frame::{
    Ack, Ask, CHECKPOINTS_MAX, Commits, Cursor, DocumentPlace, Documents, Frame, Goodbye, Hello, Mark, Offer, Offered,
    ProvenHash, Reason, ScopeName, Taken, Told, Verdict, Wanted, Welcome,
};

/// Protocol versions, oldest and newest.
pub type Versions = (u16, u16);

/// The protocol versions this build speaks.
pub const VERSIONS: Versions = (1, 4);
/// The first version in which a device offers what it has of others.
const OFFERS_SINCE: u16 = 2;
/// The first version in which a server says of which scopes it sends commits, so that what happens now need not wait for what is caught up with.
pub const LANES_SINCE: u16 = 3;
/// The first version in which a device asks for orders that are not in its replica.
const ASKS_SINCE: u16 = 4;
/// How many commits a device sends ahead of the server's acknowledgement.
pub const IN_FLIGHT_COMMITS_MAX: u64 = 4_096;
/// The QUIC application error code with which a server closes a connection because a newer one came with the same device's certificate.
pub const CLOSED_REPLACED: u32 = 3;

/// A frame that makes no sense where it came. The connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The other side said goodbye.
    #[error("the other side ended the connection: {}", .0.message)]
    Goodbye(Goodbye),
    /// A frame out of its turn.
    #[error("{0} came out of turn")]
    OutOfTurn(&'static str),
    /// No common protocol version.
    #[error("no protocol version in common: this build speaks {} to {}, the other side {theirs_min} to {theirs_max}", VERSIONS.0, VERSIONS.1)]
    Version {
        /// The oldest that the other side speaks.
        theirs_min: u16,
        /// The newest.
        theirs_max: u16,
    },
    /// An acknowledgement of something that was neither sent nor is there to be sent.
    #[error("commit {acked} is acknowledged, but only {sent} were sent")]
    AckBeyondSent {
        /// What is acknowledged.
        acked: u64,
        /// What was sent.
        sent: u64,
    },
}

/// The newest version that both sides speak.
fn common_version(ours: Versions, theirs_min: u16, theirs_max: u16) -> Result<u16, SessionError> {
    let version = ours.1.min(theirs_max);
    if version < ours.0 || version < theirs_min {
        return Err(SessionError::Version { theirs_min, theirs_max });
    }
    Ok(version)
}

/// Where a device stands when it greets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePosition {
    /// Its incarnation.
    pub incarnation: [u8; 16],
    /// Its last commit.
    pub commit: u64,
    /// The digest of its heads.
    pub digest: Hash,
    /// The server incarnation whose cursors it holds.
    pub region: Option<[u8; 16]>,
    /// What it follows and how far.
    pub cursors: Vec<Cursor>,
    /// Random per process start.
    pub boot: u64,
    /// The device's clock as it greets, Unix milliseconds.
    pub unix_ms: Option<u64>,
    /// What it has read last of the server's log.
    pub mark: Option<Mark>,
    /// The document after which it asks for those that it has not yet, when it does.
    pub documents_after: Option<DocumentPlace>,
}

/// The commits of which a history that ends with `last` says where it stood: the last one, and further back in ever larger steps, so that two ends
/// find in one greeting roughly where they parted.
pub fn checkpoints(last: u64) -> impl Iterator<Item = u64> {
    let steps = std::iter::once(0).chain((0..CHECKPOINTS_MAX as u32 - 1).map_while(|n| 1_u64.checked_shl(n)));
    steps.map_while(move |step| last.checked_sub(step).filter(|commit| *commit > 0))
}

/// What a device's session reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEvent {
    /// The server answered.
    Welcomed {
        /// What it said.
        welcome: Welcome,
    },
    /// Others' commits arrived; verify and store them, then move the cursors to `up_to`.
    Received {
        /// The runs, in order.
        runs: Vec<Run>,
        /// The region sequence that everything followed is then at.
        up_to: u64,
        /// The entry there, when the server says it.
        mark: Option<ProvenHash>,
        /// The scopes that this counts for; none stands for all that are followed.
        scopes: Option<Vec<Scope>>,
    },
    /// Documents that were asked for arrived, ahead of the log.
    Documents(Documents),
    /// Own commits are safe up to here.
    Acked(Ack),
    /// The server lacks some of what was offered: bring it with [`DeviceSession::bring`].
    Wanted(Wanted),
    /// What became of the run that was brought last.
    Taken(Taken),
    /// What the server has of an order that it was asked for; to be verified.
    Told(Told),
}

/// The device's end.
#[derive(Debug)]
pub struct DeviceSession {
    frames: VecDeque<Frame>,
    events: VecDeque<DeviceEvent>,
    welcomed: bool,
    head: u64,
    sent: u64,
    acked: Ack,
    /// Whether it asked for documents.
    asked: bool,
    /// Questions for orders that the server has not answered.
    questions: BTreeSet<u32>,
    offered: bool,
    versions: Versions,
    /// What both speak; 0 before the welcome.
    version: u16,
}

impl DeviceSession {
    /// Greets from a position.
    pub fn new(position: DevicePosition) -> Self {
        Self::speaking(VERSIONS, position)
    }

    /// The same as a device that speaks only some versions, such as those of an earlier program.
    pub fn speaking(versions: Versions, position: DevicePosition) -> Self {
        let head = position.commit;
        let hello = Hello {
            version_min: versions.0,
            version_max: versions.1,
            incarnation: position.incarnation,
            commit: position.commit,
            digest: position.digest,
            region: position.region,
            cursors: position.cursors,
            boot: position.boot,
            unix_ms: position.unix_ms,
            mark: position.mark,
            documents_after: position.documents_after,
        };
        Self {
            frames: VecDeque::from([Frame::Hello(hello)]),
            events: VecDeque::new(),
            welcomed: false,
            head,
            sent: 0,
            acked: Ack::default(),
            asked: position.documents_after.is_some(),
            questions: BTreeSet::new(),
            offered: false,
            versions,
            version: 0,
        }
    }

    /// Takes a frame from the server.
    ///
    /// # Errors
    /// A frame that makes no sense here; the driver ends the connection.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<(), SessionError> {
        match frame {
            Frame::Goodbye(goodbye) => Err(SessionError::Goodbye(goodbye)),
            Frame::Welcome(welcome) if !self.welcomed => {
                self.version = common_version(self.versions, welcome.version, welcome.version)?;
                self.welcomed = true;
                self.acked = Ack { regional: welcome.regional, central: welcome.central };
                self.sent = welcome.regional;
                self.events.push_back(DeviceEvent::Welcomed { welcome });
                Ok(())
            }
            Frame::Commits(Commits { runs, up_to: Some(up_to), mark, scopes }) if self.welcomed => {
                let scopes = scopes.map(|names| names.into_iter().map(|name| name.0).collect());
                self.events.push_back(DeviceEvent::Received { runs, up_to, mark, scopes });
                Ok(())
            }
            Frame::Documents(documents) if self.welcomed && self.asked => {
                self.events.push_back(DeviceEvent::Documents(documents));
                Ok(())
            }
            Frame::Ack(ack) if self.welcomed => self.handle_ack(ack),
            Frame::Wanted(wanted) if self.offered => {
                self.events.push_back(DeviceEvent::Wanted(wanted));
                Ok(())
            }
            Frame::Taken(taken) if self.offered => {
                self.events.push_back(DeviceEvent::Taken(taken));
                Ok(())
            }
            Frame::Told(told) if self.questions.remove(&told.number) => {
                self.events.push_back(DeviceEvent::Told(told));
                Ok(())
            }
            Frame::Welcome(_) => Err(SessionError::OutOfTurn("a welcome")),
            Frame::Commits(_) => Err(SessionError::OutOfTurn("a run of commits")),
            Frame::Ack(_) => Err(SessionError::OutOfTurn("an acknowledgement")),
            Frame::Ask(_) | Frame::Told(_) => Err(SessionError::OutOfTurn("a question, or an answer")),
            Frame::Hello(_) => Err(SessionError::OutOfTurn("a greeting")),
            Frame::Offer(_) => Err(SessionError::OutOfTurn("an offer")),
            Frame::Wanted(_) | Frame::Taken(_) => Err(SessionError::OutOfTurn("an answer to an offer")),
            Frame::Documents(_) => Err(SessionError::OutOfTurn("documents")),
        }
    }

    fn handle_ack(&mut self, ack: Ack) -> Result<(), SessionError> {
        let acked = ack.regional.max(ack.central);
        if acked > self.sent.max(self.head) {
            return Err(SessionError::AckBeyondSent { acked, sent: self.sent });
        }
        // A neighbour may have brought what was not sent yet.
        self.sent = self.sent.max(acked);
        self.acked = Ack { regional: self.acked.regional.max(ack.regional), central: self.acked.central.max(ack.central) };
        self.events.push_back(DeviceEvent::Acked(self.acked));
        Ok(())
    }

    /// Learns that the device's own log has grown to a commit.
    pub fn handle_grown(&mut self, commit: u64) {
        self.head = self.head.max(commit);
    }

    /// The commit after which the session wants a run to send, while there is one and the server keeps up.
    pub fn wants_after(&self) -> Option<u64> {
        let ahead = self.sent.saturating_sub(self.acked.regional);
        (self.welcomed && self.sent < self.head && ahead < IN_FLIGHT_COMMITS_MAX).then_some(self.sent)
    }

    /// Sends a run that ends with commit `last`.
    pub fn send(&mut self, run: Run, last: u64) {
        self.sent = self.sent.max(last);
        self.frames.push_back(Frame::Commits(Commits::of(run)));
    }

    /// Whether the server takes offers.
    pub fn takes_offers(&self) -> bool {
        self.version >= OFFERS_SINCE
    }

    /// Whether the server answers questions for orders.
    pub fn takes_questions(&self) -> bool {
        self.version >= ASKS_SINCE
    }

    /// Asks a server that [`takes questions`](Self::takes_questions) for an order.
    pub fn ask(&mut self, ask: Ask) {
        self.questions.insert(ask.number);
        self.frames.push_back(Frame::Ask(ask));
    }

    /// Offers histories that this device has to a server that [`takes them`](Self::takes_offers); the next ones when that has all it wanted of these.
    pub fn offer(&mut self, lines: Vec<Offered>) {
        self.offered = true;
        self.frames.push_back(Frame::Offer(Offer { lines }));
    }

    /// Sends a run that was wanted; the next one when the server has said what became of it.
    pub fn bring(&mut self, run: Run) {
        self.frames.push_back(Frame::Commits(Commits::of(run)));
    }

    /// The frame that [`Self::poll_frame`] gives next.
    pub fn next_frame(&self) -> Option<&Frame> {
        self.frames.front()
    }

    /// The next frame to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }
}

/// What a server's log says about the incarnation that greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPosition {
    /// Its last commit on the server's disk.
    pub regional: u64,
    /// Its last commit in the central database.
    pub central: u64,
    /// Whether what the device greets with is on the history that the server has; none when it is beyond its end.
    pub agrees: Option<bool>,
}

/// What a server's session reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// A device greets: look its position up and call [`ServerSession::welcome`].
    Greeted(Hello),
    /// A device's own commits arrived: verify and store them, then call [`ServerSession::stored`].
    Received(Run),
    /// A device says what it has besides what it writes now: answer with [`ServerSession::want`].
    Offered(Vec<Offered>),
    /// Commits of another origin arrived, which were wanted: answer with [`ServerSession::taken`].
    Brought(Run),
    /// A device asks for an order: answer with [`ServerSession::tell`].
    Asked(Ask),
}

/// The server's end.
#[derive(Debug)]
pub struct ServerSession {
    versions: Versions,
    frames: VecDeque<Frame>,
    events: VecDeque<ServerEvent>,
    hello: Option<Hello>,
    welcomed: bool,
    acked: Ack,
}

impl Default for ServerSession {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerSession {
    /// A session that waits for a greeting.
    pub fn new() -> Self {
        Self::speaking(VERSIONS)
    }

    /// The same as a server that speaks only some versions, such as those of an earlier program.
    pub fn speaking(versions: Versions) -> Self {
        Self { versions, frames: VecDeque::new(), events: VecDeque::new(), hello: None, welcomed: false, acked: Ack::default() }
    }

    /// Takes a frame from the device.
    ///
    /// # Errors
    /// A frame that makes no sense here; the driver says goodbye and ends the connection.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<(), SessionError> {
        match frame {
            Frame::Goodbye(goodbye) => Err(SessionError::Goodbye(goodbye)),
            Frame::Hello(hello) if self.hello.is_none() => {
                common_version(self.versions, hello.version_min, hello.version_max)?;
                self.hello = Some(hello.clone());
                self.events.push_back(ServerEvent::Greeted(hello));
                Ok(())
            }
            Frame::Commits(Commits { runs, up_to: None, .. }) if self.welcomed => {
                let own = self.hello.as_ref().map(|hello| hello.incarnation);
                let event = |run: Run| match Some(run.origin.incarnation) == own {
                    true => ServerEvent::Received(run),
                    false => ServerEvent::Brought(run),
                };
                self.events.extend(runs.into_iter().map(event));
                Ok(())
            }
            Frame::Offer(offer) if self.welcomed => {
                self.events.push_back(ServerEvent::Offered(offer.lines));
                Ok(())
            }
            Frame::Ask(ask) if self.welcomed && self.speaks(ASKS_SINCE) => {
                self.events.push_back(ServerEvent::Asked(ask));
                Ok(())
            }
            Frame::Ask(_) | Frame::Told(_) => Err(SessionError::OutOfTurn("a question, or an answer")),
            Frame::Offer(_) => Err(SessionError::OutOfTurn("an offer")),
            Frame::Wanted(_) | Frame::Taken(_) => Err(SessionError::OutOfTurn("an answer to an offer")),
            Frame::Hello(_) => Err(SessionError::OutOfTurn("a greeting")),
            Frame::Commits(_) => Err(SessionError::OutOfTurn("a run of commits")),
            Frame::Welcome(_) => Err(SessionError::OutOfTurn("a welcome")),
            Frame::Ack(_) => Err(SessionError::OutOfTurn("an acknowledgement")),
            Frame::Documents(_) => Err(SessionError::OutOfTurn("documents")),
        }
    }

    /// Answers the greeting, and says what the server makes of it.
    ///
    /// # Panics
    /// Before a greeting: a driver's mistake.
    pub fn welcome(&mut self, region: [u8; 16], known: KnownPosition, unix_ms: u64) -> Verdict {
        let hello = self.hello.as_ref().expect("welcome() follows Greeted");
        let version =
            common_version(self.versions, hello.version_min, hello.version_max).expect("checked when the greeting came");
        let verdict = verdict(hello, known);
        self.acked = Ack { regional: known.regional, central: known.central };
        self.welcomed = verdict == Verdict::Ok;
        let Ack { regional, central } = self.acked;
        self.frames.push_back(Frame::Welcome(Welcome { version, region, regional, central, verdict, unix_ms }));
        verdict
    }

    /// Learns how far the device's commits are durable, and acknowledges news.
    pub fn stored(&mut self, ack: Ack) {
        let merged = Ack { regional: self.acked.regional.max(ack.regional), central: self.acked.central.max(ack.central) };
        if merged != self.acked {
            self.acked = merged;
            self.frames.push_back(Frame::Ack(merged));
        }
    }

    /// Says what of an offer is lacking here, and what the central database has.
    pub fn want(&mut self, wanted: Wanted) {
        self.frames.push_back(Frame::Wanted(wanted));
    }

    /// Says what became of a run that was wanted.
    pub fn taken(&mut self, commit: Option<u64>) {
        self.frames.push_back(Frame::Taken(Taken { commit }));
    }

    /// Sends documents to a device that asked for them; before any commits.
    pub fn send_documents(&mut self, documents: Documents) {
        self.frames.push_back(Frame::Documents(documents));
    }

    /// Whether the device takes commits of some of the scopes that it follows before those of others.
    pub fn takes_lanes(&self) -> bool {
        self.speaks(LANES_SINCE)
    }

    /// Whether both speak a version.
    fn speaks(&self, version: u16) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.version_max.min(self.versions.1) >= version)
    }

    /// Answers a question for an order.
    pub fn tell(&mut self, told: Told) {
        self.frames.push_back(Frame::Told(told));
    }

    /// Sends others' commits of all that the device follows.
    pub fn send(&mut self, runs: Vec<Run>, up_to: u64, mark: Option<ProvenHash>) {
        self.frames.push_back(Frame::Commits(Commits { runs, up_to: Some(up_to), mark, scopes: None }));
    }

    /// Sends others' commits of some of the scopes that the device follows, to one that [`takes them so`](Self::takes_lanes).
    pub fn send_of(&mut self, scopes: Vec<ScopeName>, runs: Vec<Run>, up_to: u64, mark: Option<ProvenHash>) {
        self.frames.push_back(Frame::Commits(Commits { runs, up_to: Some(up_to), mark, scopes: Some(scopes) }));
    }

    /// Says why the connection ends, and if the server is busy, after how long it is worth trying again.
    pub fn goodbye(&mut self, reason: Reason, message: impl Into<String>, retry_after_ms: Option<u32>) {
        let mut message = message.into();
        while message.len() > crate::frame::MESSAGE_BYTES_MAX {
            message.pop();
        }
        self.frames.push_back(Frame::Goodbye(Goodbye { reason, message, retry_after_ms }));
    }

    /// The next frame to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }
}

/// Compares the two ends' ideas of one incarnation.
fn verdict(hello: &Hello, known: KnownPosition) -> Verdict {
    match known.agrees {
        Some(false) => Verdict::Forked,
        _ if hello.commit < known.regional => Verdict::RolledBack,
        _ => Verdict::Ok,
    }
}
