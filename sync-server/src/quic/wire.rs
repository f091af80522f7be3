//! What carries the frames of one device: QUIC's streams, or one TLS stream over TCP where UDP does not pass.

use std::time::Duration;

use quinn::{Connection, VarInt};
use sync_proto::frame::{Frame, PING};
use sync_proto::session::CLOSED_REPLACED;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::stream::{Arrived, StreamError, pump_in, pump_out, write_frame};
use super::tcp::ByteStream;
use super::{GREET_MAX, IDLE_MAX};

/// Frames that may wait on their way in or out before the peer is slowed down.
const FRAMES_WAITING_MAX: usize = 4;
/// Frames with commits of others that wait behind the one that is being written: what comes last and goes first waits for no more than these.
const DOWN_WAITING_MAX: usize = 1;
/// How often a side with nothing to say over TCP shows that it is there.
const PING_EVERY: Duration = Duration::from_secs(8);
/// How long a device may take to close after a goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// The frames of one device, both ways.
#[derive(Debug)]
pub(super) struct Wire {
    /// What the device says, in its order on each of its streams.
    pub(super) inbox: mpsc::Receiver<Result<Arrived, StreamError>>,
    /// Answers and acknowledgements; they go first.
    pub(super) control: mpsc::Sender<Frame>,
    /// Commits of others.
    pub(super) down: mpsc::Sender<Frame>,
    /// How long a round trip takes.
    pub(super) rtt: Duration,
    way: Way,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Way {
    Quic(Connection),
    Tcp,
}

impl Wire {
    /// The streams of a QUIC connection, once the device has opened the first.
    ///
    /// # Errors
    /// A connection that is gone, or silent.
    pub(super) async fn quic(connection: Connection) -> Result<Self, StreamError> {
        let ended = |e: quinn::ConnectionError| StreamError::Ended(e.into());
        let opened = tokio::time::timeout(GREET_MAX, connection.accept_bi()).await.map_err(|_| StreamError::Silent)?;
        let (control_out, control_in) = opened.map_err(ended)?;
        control_out.set_priority(1).map_err(|e| StreamError::Ended(e.into()))?;
        let down_stream = connection.open_uni().await.map_err(ended)?;
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let (down, down_frames) = mpsc::channel(DOWN_WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(pump_in(control_in, frames.clone(), None));
        tasks.spawn(pump_out(control_out, control_frames));
        tasks.spawn(pump_out(down_stream, down_frames));
        let uploading = connection.clone();
        tasks.spawn(async move {
            if let Ok(stream) = uploading.accept_uni().await {
                pump_in(stream, frames, None).await;
            }
        });
        Ok(Self { inbox, control, down, rtt: connection.rtt(), way: Way::Quic(connection), tasks })
    }

    /// One TLS stream. A round trip is about what the handshake took.
    pub(super) fn tcp(stream: TlsStream<Box<dyn ByteStream>>, rtt: Duration) -> Self {
        let (inward, out) = tokio::io::split(stream);
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let (down, down_frames) = mpsc::channel(DOWN_WAITING_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(pump_in_of_tcp(inward, frames));
        tasks.spawn(pump_out_to_tcp(out, control_frames, down_frames));
        Self { inbox, control, down, rtt, way: Way::Tcp, tasks }
    }

    /// Whether it goes over TCP.
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.way, Way::Tcp)
    }

    /// Ends it, after what was said on the control stream has gone out. With `replaced`, tells so a device that knows it from QUIC's code.
    pub(super) async fn close(self, has_said_goodbye: bool, replaced: Option<&str>) {
        let Self { mut inbox, control, down, way, mut tasks, .. } = self;
        match way {
            Way::Quic(connection) => {
                if let Some(why) = replaced {
                    connection.close(VarInt::from_u32(CLOSED_REPLACED), why.as_bytes());
                } else if has_said_goodbye {
                    // Dropping its channel lets the writer finish the control stream; the device closes when it has read the goodbye. The other
                    // stream stays open until then: its end could overtake the goodbye, and the device would not know why.
                    drop(control);
                    let _ = tokio::time::timeout(CLOSE_MAX, connection.closed()).await;
                }
                drop(down);
                connection.close(VarInt::from_u32(0), b"");
            }
            Way::Tcp => {
                drop((control, down));
                let unheard = async { while inbox.recv().await.is_some() {} };
                let written_and_read = async { while tasks.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(CLOSE_MAX, async { tokio::join!(unheard, written_and_read) }).await;
                tasks.shutdown().await;
            }
        }
    }
}

/// Reads until the device closes, also after what it said made no sense: a connection that is closed with something unread in it loses what the
/// device has not read of the goodbye.
async fn pump_in_of_tcp(mut stream: ReadHalf<TlsStream<Box<dyn ByteStream>>>, to: mpsc::Sender<Result<Arrived, StreamError>>) {
    pump_in(&mut stream, to, Some(IDLE_MAX)).await;
    let mut unheard = [0; 4_096];
    while matches!(stream.read(&mut unheard).await, Ok(1..)) {}
}

/// Writes what goes first first, until the control channel ends. Says something now and then, so that the device and routers between know that
/// the connection is in use.
async fn pump_out_to_tcp(
    mut stream: WriteHalf<TlsStream<Box<dyn ByteStream>>>,
    mut control: mpsc::Receiver<Frame>,
    mut down: mpsc::Receiver<Frame>,
) {
    loop {
        let written = tokio::select! {
            biased;
            frame = control.recv() => match frame {
                Some(frame) => write_frame(&mut stream, &frame).await,
                None => break,
            },
            Some(frame) = down.recv() => write_frame(&mut stream, &frame).await,
            () = tokio::time::sleep(PING_EVERY) => stream.write_all(&PING).await.map_err(|e| StreamError::Ended(e.into())),
        };
        if written.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
