//! What carries the frames to the server and back: QUIC's streams, or one TLS stream over TCP.

use quinn::{Connection, ConnectionError, VarInt};
use sync_proto::frame::{Frame, PING};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use super::net::{IDLE_MAX, KEEP_ALIVE, StreamError, pump_in, pump_out, write_frame};
use super::reach::Connected;
use super::tcp::ByteStream;
use crate::api::LinkWay;

/// Frames that may wait on their way in or out before the other side is slowed down.
const FRAMES_WAITING_MAX: usize = 4;

/// The frames of one connection, both ways.
#[derive(Debug)]
pub(super) struct Wire {
    /// What the server says.
    pub(super) inbox: mpsc::Receiver<Result<Frame, StreamError>>,
    /// Greeting and offers.
    pub(super) control: mpsc::Sender<Frame>,
    /// Commits.
    pub(super) up: mpsc::Sender<Frame>,
    way: Way,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
enum Way {
    Quic {
        connection: Connection,
        /// Where what comes on the second stream goes, until that is read.
        frames: Option<mpsc::Sender<Result<Frame, StreamError>>>,
    },
    Tcp,
}

impl Wire {
    /// The streams of a connection.
    ///
    /// # Errors
    /// A connection that is gone.
    pub(super) async fn open(connected: Connected) -> Result<Self, ConnectionError> {
        let (frames, inbox) = mpsc::channel(FRAMES_WAITING_MAX);
        let (control, control_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let (up, up_frames) = mpsc::channel(FRAMES_WAITING_MAX);
        let mut tasks = JoinSet::new();
        let way = match connected {
            Connected::Quic(connection) => {
                let (control_out, control_in) = connection.open_bi().await?;
                let _ = control_out.set_priority(1);
                let up_stream = connection.open_uni().await?;
                tasks.spawn(pump_out(control_out, control_frames));
                tasks.spawn(pump_in(control_in, frames.clone(), None));
                tasks.spawn(pump_out(up_stream, up_frames));
                Way::Quic { connection, frames: Some(frames) }
            }
            Connected::Tcp { stream, .. } => {
                let (inward, out) = tokio::io::split(*stream);
                tasks.spawn(pump_in(inward, frames, Some(IDLE_MAX)));
                tasks.spawn(pump_out_to_tcp(out, control_frames, up_frames));
                Way::Tcp
            }
        };
        Ok(Self { inbox, control, up, way, tasks })
    }

    /// Which way it goes.
    pub(super) fn way(&self) -> LinkWay {
        match self.way {
            Way::Quic { .. } => LinkWay::Quic,
            Way::Tcp => LinkWay::Tcp,
        }
    }

    /// The QUIC connection, if it is one.
    pub(super) fn connection(&self) -> Option<Connection> {
        match &self.way {
            Way::Quic { connection, .. } => Some(connection.clone()),
            Way::Tcp => None,
        }
    }

    /// Reads others' commits, too. Over QUIC they come on a stream of their own, read only now: a greeting's answer goes first.
    pub(super) fn begin_down(&mut self) {
        let Way::Quic { connection, frames } = &mut self.way else { return };
        let Some(frames) = frames.take() else { return };
        let connection = connection.clone();
        self.tasks.spawn(async move {
            if let Ok(stream) = connection.accept_uni().await {
                pump_in(stream, frames, None).await;
            }
        });
    }

    /// Ends it. Answers why it has ended already, if the connection knows that better than a stream of it.
    pub(super) fn close(self) -> Option<ConnectionError> {
        let Way::Quic { connection, .. } = &self.way else { return None };
        let why = connection.close_reason();
        connection.close(VarInt::from_u32(0), b"");
        why
    }
}

/// Returns when a QUIC connection has ended. Over TCP the inbox says it.
pub(super) async fn lost(connection: Option<&Connection>) -> ConnectionError {
    match connection {
        Some(connection) => connection.closed().await,
        None => std::future::pending().await,
    }
}

/// Writes what goes first first, until the control channel ends. Says something now and then, so that the server and routers between know that
/// the connection is in use.
async fn pump_out_to_tcp(
    mut stream: WriteHalf<TlsStream<Box<dyn ByteStream>>>,
    mut control: mpsc::Receiver<Frame>,
    mut up: mpsc::Receiver<Frame>,
) {
    loop {
        let written = tokio::select! {
            biased;
            frame = control.recv() => match frame {
                Some(frame) => write_frame(&mut stream, &frame).await,
                None => break,
            },
            Some(frame) = up.recv() => write_frame(&mut stream, &frame).await,
            () = tokio::time::sleep(KEEP_ALIVE) => stream.write_all(&PING).await.map_err(StreamError::Lost),
        };
        if written.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
