//! A device without a till: it connects with its certificate, speaks the protocol, and has nothing behind it.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use journal::OriginChain;
use node::replication::net::{Net, client_config};
use node::replication::tls;
use quinn::{Connection, RecvStream, SendStream};
use sync_proto::batch::Run;
use sync_proto::enrolment::{REPLICATION_ALPN, SERVER_NAME};
use sync_proto::frame::{Ack, BODY_BYTES_MAX, Commits, Frame, Welcome, frame_length};
use sync_proto::session::{DevicePosition, DeviceSession};

use crate::devices::Keys;

/// A connected device.
#[derive(Debug)]
pub struct Peer {
    connection: Connection,
    control_in: RecvStream,
    _control_out: SendStream,
    up: SendStream,
    /// What the server answered.
    pub welcome: Welcome,
    /// The bytes of the greeting and of its answer.
    pub greeting_bytes: usize,
}

/// What a device shows and whom it trusts: its own certificate and key, and the authority's certificate, all as PEM.
#[derive(Debug, Clone, Copy)]
pub struct Papers<'a> {
    /// Of the authority.
    pub authority: &'a str,
    /// Of the device.
    pub certificate: &'a str,
    /// The device's.
    pub key: &'a str,
}

impl<'a> Papers<'a> {
    /// Those of an admitted device.
    pub fn of(keys: &'a Keys, authority: &'a str) -> Self {
        Self { authority, certificate: &keys.certificate_pem, key: &keys.key_pem }
    }
}

impl Peer {
    /// Connects, greets from a position and waits for the answer.
    ///
    /// # Errors
    /// A server that does not answer.
    pub async fn connect(net: &Net, server: SocketAddr, papers: Papers<'_>, position: DevicePosition) -> Result<Self> {
        let tls = tls::mutual(papers.authority, papers.certificate, papers.key)?;
        let config = client_config(tls, REPLICATION_ALPN)?;
        let connection = net.connect(&server.to_string(), SERVER_NAME, config).await?;
        let (mut control_out, mut control_in) = connection.open_bi().await?;
        let up = connection.open_uni().await?;
        let hello = DeviceSession::new(position).poll_frame().context("a session begins with a greeting")?.encode()?;
        control_out.write_all(&hello).await?;
        let (frame, answer_bytes) = read_frame(&mut control_in).await?;
        let Frame::Welcome(welcome) = frame else { bail!("the server answers the greeting with {frame:?}") };
        let greeting_bytes = hello.len() + answer_bytes;
        Ok(Self { connection, control_in, _control_out: control_out, up, welcome, greeting_bytes })
    }

    /// Sends a run of own commits.
    ///
    /// # Errors
    /// A connection that is gone.
    pub async fn send(&mut self, run: Run) -> Result<()> {
        let frame = Frame::Commits(Commits::of(run));
        Ok(self.up.write_all(&frame.encode()?).await?)
    }

    /// The next acknowledgement.
    ///
    /// # Errors
    /// A connection that is gone, or that says something else.
    pub async fn acked(&mut self) -> Result<Ack> {
        match read_frame(&mut self.control_in).await? {
            (Frame::Ack(ack), _) => Ok(ack),
            (other, _) => bail!("the server says {other:?} where it should acknowledge"),
        }
    }

    /// Reads what comes down, for as long as the connection lives, and forgets it.
    pub fn ignore_what_comes_down(&self) {
        let connection = self.connection.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = connection.accept_uni().await else { return };
            let mut bytes = vec![0; 64 * 1024];
            while let Ok(Some(_)) = stream.read(&mut bytes).await {}
        });
    }
}

/// Where a device with this chain stands that has everything of a region up to `region_seq`.
pub fn position(chain: &OriginChain, region: Option<[u8; 16]>, cursors: Vec<sync_proto::frame::Cursor>) -> DevicePosition {
    DevicePosition {
        incarnation: chain.origin.incarnation,
        commit: chain.commit,
        digest: chain.digest(),
        region,
        cursors,
        boot: 1,
        unix_ms: None,
        mark: None,
        documents_after: None,
    }
}

async fn read_frame(stream: &mut RecvStream) -> Result<(Frame, usize)> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; frame_length(prefix)?.min(BODY_BYTES_MAX)];
    stream.read_exact(&mut body).await?;
    let frame = Frame::decode(&body)?.context("a frame of an unknown kind")?;
    Ok((frame, prefix.len() + body.len()))
}
