//! Frames on quinn's streams.

use quinn::{RecvStream, SendStream};
use sync_proto::frame::{Frame, FrameError, frame_length};
use tokio::sync::mpsc;

/// Why a stream gives no more frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The other side closed it, or the link is gone.
    #[error("the stream ended")]
    Ended(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Reads the next frame that this build knows.
pub(super) async fn read_frame(stream: &mut RecvStream) -> Result<Frame, StreamError> {
    loop {
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await.map_err(|e| StreamError::Ended(e.into()))?;
        let mut body = vec![0; frame_length(prefix)?];
        stream.read_exact(&mut body).await.map_err(|e| StreamError::Ended(e.into()))?;
        if let Some(frame) = Frame::decode(&body)? {
            return Ok(frame);
        }
    }
}

/// Writes a frame.
pub(super) async fn write_frame(stream: &mut SendStream, frame: &Frame) -> Result<(), StreamError> {
    let bytes = frame.encode()?;
    stream.write_all(&bytes).await.map_err(|e| StreamError::Ended(e.into()))
}

/// Carries frames from a stream to a channel until either ends; the channel's bound slows the peer down.
pub(super) async fn pump_in(mut stream: RecvStream, to: mpsc::Sender<Result<Frame, StreamError>>) {
    loop {
        let frame = read_frame(&mut stream).await;
        let last = frame.is_err();
        if to.send(frame).await.is_err() || last {
            return;
        }
    }
}

/// Carries frames from a channel to a stream until either ends.
pub(super) async fn pump_out(mut stream: SendStream, mut from: mpsc::Receiver<Frame>) {
    while let Some(frame) = from.recv().await {
        if write_frame(&mut stream, &frame).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}
