//! The way out: a QUIC endpoint, and frames on its streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AsyncUdpSocket, Connection, Endpoint, Runtime, VarInt};
use sync_proto::frame::{Frame, FrameError, frame_length};
use sync_proto::session::CLOSED_REPLACED;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::tcp::{Dial, MachineTcp};
use super::tls::TlsError;

/// How long connecting may take.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often a quiet link is kept open; routers forget UDP after about 30 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// How long a link without an answer counts as alive.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(20);
/// How often a till that is connected over TCP tries whether QUIC passes again.
const QUIC_AGAIN: Duration = Duration::from_secs(5 * 60);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The machine gives no UDP socket.
    #[error("cannot open a UDP socket")]
    Socket(#[source] std::io::Error),
    /// The name resolves to nothing.
    #[error("cannot find the address of {0}: the name is wrong, or this till has no network")]
    Name(String),
    /// No answer in time.
    #[error("no answer from the sync server at {0}: it does not run, or this till has no network")]
    NoAnswer(String),
    /// The server's certificate is of another authority.
    #[error("the server at {0} is not the one that the enrolment names: correct the address, or enrol with a link from it")]
    OtherAuthority(String),
    /// Another connection with this device's certificate is newer.
    #[error(
        "another machine connected as this till: its data folder was copied. Stop one of the two, and enrol it anew as a till of its own"
    )]
    Replaced,
    /// The server closed the connection, in its own words.
    #[error("the sync server closed the connection: {0}")]
    Closed(String),
    /// quinn does not even try.
    #[error("cannot connect")]
    Connect(#[from] quinn::ConnectError),
    /// The link broke.
    #[error("the link to the sync server was lost")]
    Lost(#[source] quinn::ConnectionError),
    /// There is no way over TCP.
    #[error("the sync server cannot be reached over TCP")]
    Tcp(#[source] std::io::Error),
}

impl NetError {
    /// Whether another way may lead there: nobody was found, or what was found broke off.
    pub(super) fn is_of_the_way(&self) -> bool {
        !matches!(self, Self::OtherAuthority(_) | Self::Replaced | Self::Closed(_))
    }

    /// Why there is no connection over TCP.
    pub(super) fn of_tcp(error: std::io::Error, address: &str) -> Self {
        let of_tls = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match of_tls {
            Some(rustls::Error::InvalidCertificate(_)) => Self::OtherAuthority(address.to_owned()),
            _ => Self::Tcp(error),
        }
    }

    /// Why there is no connection to an address (any more), as quinn tells it.
    pub(super) fn of(error: quinn::ConnectionError, address: &str) -> Self {
        use quinn::ConnectionError as Why;
        match error {
            // What rustls says of a certificate is in the reason; the code alone could be the other side's as well.
            Why::TransportError(told) if told.reason.contains("invalid peer certificate") => {
                Self::OtherAuthority(address.to_owned())
            }
            Why::ApplicationClosed(told) if told.error_code == VarInt::from_u32(CLOSED_REPLACED) => Self::Replaced,
            Why::ApplicationClosed(told) if !told.reason.is_empty() => {
                Self::Closed(String::from_utf8_lossy(&told.reason).into_owned())
            }
            Why::TimedOut => Self::NoAnswer(address.to_owned()),
            other => Self::Lost(other),
        }
    }
}

/// The network to connect from.
#[derive(Debug, Clone)]
pub struct Net {
    /// The QUIC endpoint.
    pub endpoint: Endpoint,
    /// TCP besides, if there is, for where UDP does not pass.
    pub tcp: Option<Arc<dyn Dial>>,
    /// How often a till that is connected over TCP tries whether QUIC passes again.
    pub quic_again: Duration,
}

impl Net {
    /// An endpoint on a UDP socket of the machine, any port.
    ///
    /// # Errors
    /// When the machine gives none.
    pub fn machine() -> Result<Self, NetError> {
        let any: SocketAddr = (std::net::Ipv6Addr::UNSPECIFIED, 0).into();
        let socket = std::net::UdpSocket::bind(any)
            .or_else(|_| std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)))
            .map_err(NetError::Socket)?;
        let runtime: Arc<dyn Runtime> = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket).map_err(NetError::Socket)?;
        Ok(Self { tcp: Some(Arc::new(MachineTcp)), ..Self::on(socket, runtime, None)? })
    }

    /// An endpoint where other tills find this one: on an address of the machine, or on any port of it when that is taken.
    ///
    /// # Errors
    /// When the machine gives none.
    pub fn listening(listen: SocketAddr) -> Result<Self, NetError> {
        let socket = std::net::UdpSocket::bind(listen)
            .or_else(|_| std::net::UdpSocket::bind(SocketAddr::new(listen.ip(), 0)))
            .map_err(NetError::Socket)?;
        let runtime: Arc<dyn Runtime> = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket).map_err(NetError::Socket)?;
        Self::on(socket, runtime, None)
    }

    /// An endpoint on any socket and runtime, with quinn's own chance from a seed if there is one: the simulator brings all three.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn on(socket: Arc<dyn AsyncUdpSocket>, runtime: Arc<dyn Runtime>, seed: Option<[u8; 32]>) -> Result<Self, NetError> {
        let mut config = quinn::EndpointConfig::default();
        config.rng_seed(seed);
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, runtime).map_err(NetError::Socket)?;
        Ok(Self { endpoint, tcp: None, quic_again: QUIC_AGAIN })
    }

    /// Connects to `host:port`, trying every address that the name has.
    ///
    /// # Errors
    /// No such name, no answer in time, or a server that is refused or refuses.
    pub async fn connect(&self, address: &str, server_name: &str, config: quinn::ClientConfig) -> Result<Connection, NetError> {
        let found = tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host(address)).await;
        let found = found.ok().and_then(Result::ok).ok_or_else(|| NetError::Name(address.to_owned()))?;
        let mut last = NetError::Name(address.to_owned());
        for target in found {
            let connecting = match self.endpoint.connect_with(config.clone(), self.mapped(target), server_name) {
                Ok(connecting) => connecting,
                Err(error) => {
                    last = error.into();
                    continue;
                }
            };
            match tokio::time::timeout(CONNECT_MAX, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = NetError::of(error, address),
                Err(_) => last = NetError::NoAnswer(address.to_owned()),
            }
        }
        Err(last)
    }

    /// An IPv4 address as an IPv6 socket knows it.
    fn mapped(&self, target: SocketAddr) -> SocketAddr {
        match (self.endpoint.local_addr(), target) {
            (Ok(SocketAddr::V6(_)), SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            _ => target,
        }
    }
}

/// The QUIC configuration of a TLS one.
///
/// # Errors
/// When TLS does not suit QUIC.
pub fn client_config(mut tls: rustls::ClientConfig, alpn: &[u8]) -> Result<quinn::ClientConfig, TlsError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.enable_early_data = false;
    let mut config = quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// What [`client_config`] does, for a device that others connect to.
///
/// # Errors
/// When TLS does not suit QUIC.
pub fn server_config(mut tls: rustls::ServerConfig, alpn: &[u8]) -> Result<quinn::ServerConfig, TlsError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.max_early_data_size = 0;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(quinn::crypto::rustls::QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_MAX.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(2 << 20))
        .send_window(1 << 20)
        .datagram_receive_buffer_size(None);
    transport
}

/// Why a stream gives no more frames.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The server closed it, or the link is gone.
    #[error("the link ended")]
    Ended,
    /// The link is gone.
    #[error("the link was lost")]
    Lost(#[source] std::io::Error),
    /// Nothing came for too long.
    #[error("the sync server says nothing any more")]
    Silent,
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Carries frames from a stream to a channel until either ends; the channel's bound slows the server down. With `silence_max`, gives up when
/// nothing at all comes for so long.
pub(super) async fn pump_in<S: AsyncRead + Unpin>(
    mut stream: S,
    to: mpsc::Sender<Result<Frame, StreamError>>,
    silence_max: Option<Duration>,
) {
    loop {
        let frame = read_frame_in_time(&mut stream, silence_max).await;
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

/// Writes a frame.
pub(crate) async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut S, frame: &Frame) -> Result<(), StreamError> {
    stream.write_all(&frame.encode()?).await.map_err(|_| StreamError::Ended)
}

/// Reads the next frame that this build knows.
pub(crate) async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Frame, StreamError> {
    read_frame_in_time(stream, None).await
}

async fn read_frame_in_time<S: AsyncRead + Unpin>(stream: &mut S, silence_max: Option<Duration>) -> Result<Frame, StreamError> {
    loop {
        let mut prefix = [0; 4];
        fill(stream, &mut prefix, silence_max).await?;
        let mut body = vec![0; frame_length(prefix)?];
        fill(stream, &mut body, silence_max).await?;
        if let Some(frame) = Frame::decode(&body)? {
            return Ok(frame);
        }
    }
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
            Ok(0) => return Err(StreamError::Ended),
            Ok(read) => filled += read,
            // Of a QUIC stream the connection knows better why.
            Err(_) if silence_max.is_none() => return Err(StreamError::Ended),
            Err(error) => return Err(StreamError::Lost(error)),
        }
    }
    Ok(())
}
