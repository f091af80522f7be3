//! Frames on streams of bytes.

use std::time::Duration;

use sync_proto::frame::{Frame, FrameError, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Why a stream gives no more frames.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The other side closed it, or the link is gone.
    #[error("the stream ended")]
    Ended(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing came for too long.
    #[error("the device says nothing")]
    Silent,
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What came.
#[derive(Debug)]
pub(super) struct Arrived {
    /// The frame; none when it is of a newer protocol and may be skipped.
    pub(super) frame: Option<Frame>,
    /// How many bytes it took on the wire.
    pub(super) bytes: usize,
}

/// Reads the next frame. With `silence_max`, gives up when nothing at all comes for so long.
async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S, silence_max: Option<Duration>) -> Result<Arrived, StreamError> {
    let mut prefix = [0; 4];
    fill(stream, &mut prefix, silence_max).await?;
    let mut body = vec![0; frame_length(prefix)?];
    fill(stream, &mut body, silence_max).await?;
    Ok(Arrived { frame: Frame::decode(&body)?, bytes: prefix.len() + body.len() })
}

async fn fill<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8], silence_max: Option<Duration>) -> Result<(), StreamError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let reading = stream.read(&mut buffer[filled..]);
        let read = match silence_max {
            Some(at_most) => tokio::time::timeout(at_most, reading).await.map_err(|_| StreamError::Silent)?,
            None => reading.await,
        };
        match read {
            Ok(0) => return Err(StreamError::Ended("the device closed it".into())),
            Ok(read) => filled += read,
            Err(error) => return Err(StreamError::Ended(error.into())),
        }
    }
    Ok(())
}

/// Writes a frame.
pub(super) async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, frame: &Frame) -> Result<(), StreamError> {
    let bytes = frame.encode()?;
    stream.write_all(&bytes).await.map_err(|e| StreamError::Ended(e.into()))
}

/// Carries frames from a stream to a channel until either ends; the channel's bound slows the peer down.
pub(super) async fn pump_in<S: AsyncRead + Unpin>(
    mut stream: S,
    to: mpsc::Sender<Result<Arrived, StreamError>>,
    silence_max: Option<Duration>,
) {
    loop {
        let frame = read_frame(&mut stream, silence_max).await;
        let last = frame.is_err();
        if to.send(frame).await.is_err() || last {
            return;
        }
    }
}

/// Carries frames from a channel to a stream until either ends.
pub(super) async fn pump_out<S: AsyncWrite + Unpin>(mut stream: S, mut from: mpsc::Receiver<Frame>) {
    while let Some(frame) = from.recv().await {
        if write_frame(&mut stream, &frame).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}
