//! One replicating connection: the driver around [`ServerSession`].

use std::collections::BTreeSet;
use std::time::Duration;

use journal::{Origin, Scope};
use quinn::Connection;
use sync_proto::batch::Run;
use sync_proto::frame::{Ack, BATCH_BYTES_TARGET, Checkpoint, DocumentPlace, Frame, Hello, Offered, Reason, Verdict, Wanted};
use sync_proto::session::{KnownPosition, ServerEvent, ServerSession, SessionError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::stream::{StreamError, pump_in, pump_out};
use super::{Present, Quic};
use crate::hub::{Heard, HubError};
use crate::region::{AdmitError, Admitted, Device, Held, Region, RegionError, Sender};

/// Frames that may wait on their way in or out before the peer is slowed down.
const FRAMES_WAITING_MAX: usize = 4;
/// How many rows of the log that do not concern a device may pass before it is told that it has them.
const ROWS_UNTOLD_MAX: u64 = 1_000;
/// How many offered histories are looked at before others have their turn at the log.
const OFFERED_AT_ONCE: usize = 16;
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
    #[error("the link is gone: {0}")]
    Link(#[from] quinn::ConnectionError),
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
    fn goodbye(&self) -> Option<Reason> {
        match self {
            Self::Stream(StreamError::Frame(_)) | Self::OtherOrigin => Some(Reason::Protocol),
            Self::Session(SessionError::Version { .. }) => Some(Reason::Version),
            Self::Session(SessionError::Goodbye(_)) | Self::Stream(_) | Self::Link(_) => None,
            Self::Session(_) => Some(Reason::Protocol),
            Self::Verdict(_) | Self::Forked => Some(Reason::Forked),
            Self::Hub(HubError::Admit(AdmitError::TooManyHistories)) => Some(Reason::Forked),
            Self::Hub(HubError::Admit(_)) => Some(Reason::Refused),
            Self::Hub(_) | Self::Region(_) => Some(Reason::Busy),
            Self::Stopping | Self::Renewed => Some(Reason::Stopping),
        }
    }
}

/// Serves one device until the connection ends.
pub(super) async fn serve(quic: &Quic, connection: &Connection, device: &Device, stop: watch::Receiver<bool>) -> Ended {
    let mut tasks = JoinSet::new();
    let mut driver = match Driver::open(quic, connection, device, &mut tasks).await {
        Ok(driver) => driver,
        Err(ended) => return ended,
    };
    let Err(ended) = driver.run(stop).await;
    if let Some(reason) = ended.goodbye() {
        driver.session.goodbye(reason, super::chain_of(&ended));
        let _ = driver.flush().await;
        // Dropping its channel lets the writer finish the control stream; the device closes when it has read the goodbye. The other stream
        // stays open until then: its end could overtake the goodbye, and the device would not know why.
        let Driver { control, down, .. } = driver;
        drop(control);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), connection.closed()).await;
        drop(down);
    }
    connection.close(quinn::VarInt::from_u32(0), b"");
    ended
}

struct Driver<'a> {
    quic: &'a Quic,
    connection: &'a Connection,
    device: &'a Device,
    /// Set by the greeting.
    present: Option<Present>,
    session: ServerSession,
    followed: BTreeSet<Scope>,
    /// Set by the greeting.
    origin: Option<Origin>,
    /// Whose histories it was asked for.
    wanted: BTreeSet<Origin>,
    /// The last commit of its own that the device is known to have.
    has: u64,
    /// The document after which the device is still sent documents ahead of the log; none when it did not ask, or has them all.
    documents_after: Option<DocumentPlace>,
    /// The region sequence up to which the device has what it follows; known from the greeting on.
    sent_to: u64,
    /// The region sequence that the device was told last.
    told_to: u64,
    /// How long a round trip to the device takes.
    rtt: Duration,
    inbox: mpsc::Receiver<Result<Frame, StreamError>>,
    control: mpsc::Sender<Frame>,
    down: mpsc::Sender<Frame>,
}

impl<'a> Driver<'a> {
    async fn open(
        quic: &'a Quic,
        connection: &'a Connection,
        device: &'a Device,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Ended> {
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control_out, control_in) = connection.accept_bi().await?;
        control_out.set_priority(1).map_err(|e| StreamError::Ended(e.into()))?;
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        tasks.spawn(pump_in(control_in, frames.clone()));
        tasks.spawn(pump_out(control_out, control_frames));
        let down_stream = connection.open_uni().await?;
        let (down, down_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        tasks.spawn(pump_out(down_stream, down_frames));
        let uploading = connection.clone();
        tasks.spawn(async move {
            if let Ok(stream) = uploading.accept_uni().await {
                pump_in(stream, frames).await;
            }
        });
        let hub_device = device.clone();
        let follow = move |region: &mut Region| {
            if let Some(store) = hub_device.store {
                region.serve(store)?;
            }
            Ok::<_, RegionError>(region.followed_by(&hub_device))
        };
        let followed = quic.hub.with(follow).await??;
        let session = ServerSession::new();
        Ok(Self {
            quic,
            connection,
            device,
            present: None,
            session,
            followed,
            origin: None,
            wanted: BTreeSet::new(),
            has: 0,
            documents_after: None,
            sent_to: 0,
            told_to: 0,
            rtt: connection.rtt(),
            inbox,
            control,
            down,
        })
    }

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<std::convert::Infallible, Ended> {
        let mut grown = self.quic.hub.grown();
        let mut central = self.quic.hub.central();
        let mut regions = self.quic.hub.regions();
        let mut heard = tokio::time::interval(HEARD_EVERY);
        loop {
            self.flush().await?;
            let ready = self.origin.is_some();
            tokio::select! {
                biased;
                () = super::stopped(&mut stop) => return Err(Ended::Stopping),
                _ = regions.changed() => return Err(Ended::Renewed),
                frame = self.inbox.recv() => {
                    let frame = frame.ok_or_else(|| StreamError::Ended("the device closed its streams".into()))??;
                    self.session.handle_frame(frame)?;
                    self.handle_events().await?;
                }
                Ok(known) = central.changed(), if ready => {
                    if let Some(commit) = self.origin.and_then(|origin| known.get(&origin).copied()) {
                        self.session.stored(Ack { regional: commit, central: commit });
                    }
                }
                Ok(permit) = self.down.clone().reserve_owned(), if ready && self.has_news(grown.get()) => {
                    drop(permit);
                    self.send_down().await?;
                }
                _ = grown.changed(), if ready && !self.has_news(grown.get()) => {}
                _ = heard.tick() => self.note_heard(0, None),
            }
        }
    }

    async fn handle_events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.session.poll_event() {
            match event {
                ServerEvent::Greeted(hello) => self.greet(&hello).await?,
                ServerEvent::Received(run) => self.admit(run).await?,
                ServerEvent::Offered(lines) => self.look_at(lines).await?,
                ServerEvent::Brought(run) => self.take(run).await?,
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
        self.present = Some(self.quic.take_over(self.device.device, hello.incarnation, self.connection));
        // Cursors of another incarnation of this server mean nothing here: everything is sent again, and known entries are skipped.
        let same_region = hello.region == Some(region);
        if same_region && !self.has_read_this_log(hello).await? {
            self.quic.hub.regressed(region);
            return Err(Ended::Renewed);
        }
        let cursor_of = |scope: &Scope| hello.cursors.iter().find(|c| c.scope.0 == *scope).map_or(0, |c| c.region_seq);
        self.sent_to = if same_region { self.followed.iter().map(cursor_of).min().unwrap_or(0) } else { 0 };
        self.told_to = self.sent_to;
        self.documents_after = hello.documents_after;
        self.origin = Some(origin);
        self.note_heard(hello.commit, hello.unix_ms.map(|theirs| clock_drift_ms(theirs, self.quic.env.unix_ms(), self.rtt)));
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

    /// Whether there is something to send down, with the log at a place.
    fn has_news(&self, last_seq: u64) -> bool {
        self.documents_after.is_some() || last_seq > self.sent_to
    }

    async fn send_down(&mut self) -> Result<(), Ended> {
        let (Some(origin), after) = (self.origin, self.sent_to) else { return Ok(()) };
        if let Some(place) = self.documents_after {
            let followed = self.followed.clone();
            let read = move |region: &mut Region| region.documents_after(&followed, place, BATCH_BYTES_TARGET);
            let documents = self.quic.hub.with(read).await??;
            let last = documents.documents.last().filter(|_| documents.until.is_none());
            self.documents_after = last.map(|last| DocumentPlace { kind: last.kind, id: last.id });
            self.session.send_documents(documents);
            return Ok(());
        }
        let (followed, receiver) = (self.followed.clone(), (origin, self.has));
        let outgoing =
            self.quic.hub.with(move |region| region.outgoing(&followed, after, receiver, BATCH_BYTES_TARGET)).await??;
        self.sent_to = outgoing.up_to;
        // A place alone is told now and then: the device writes it down, and without it the server reads a little more at its next greeting.
        if !outgoing.runs.is_empty() || outgoing.up_to >= self.told_to + ROWS_UNTOLD_MAX {
            self.told_to = outgoing.up_to;
            self.session.send(outgoing.runs, outgoing.up_to, outgoing.mark);
        }
        Ok(())
    }

    /// Hands the session's frames to the streams.
    async fn flush(&mut self) -> Result<(), Ended> {
        while let Some(frame) = self.session.poll_frame() {
            let stream = if matches!(frame, Frame::Commits(_) | Frame::Documents(_)) { &self.down } else { &self.control };
            stream.send(frame).await.map_err(|_| StreamError::Ended("the stream is gone".into()))?;
        }
        Ok(())
    }

    fn note_heard(&self, commit: u64, clock_drift_ms: Option<i64>) {
        let Some(origin) = self.origin else { return };
        let at_ms = self.quic.env.unix_ms();
        self.quic.hub.note_heard(self.device.device, Heard { incarnation: origin.incarnation, commit, at_ms, clock_drift_ms });
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
