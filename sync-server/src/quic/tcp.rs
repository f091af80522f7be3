//! The way for devices whose network lets no UDP through: TLS over TCP, with the same certificates, protocols and frames.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sync_proto::enrolment::{ALPN, REPLICATION_ALPN};
use sync_proto::frame::{Frame, Goodbye, Reason};
use sync_proto::probe::PROBE_ALPN;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::stream::write_frame;
use super::wire::Wire;
use super::{HANDSHAKE_MAX, HANDSHAKES_MAX, Quic, QuicError, certified, enrol, probe, stopped};

/// Connections that the system may hold before they are accepted.
const BACKLOG: u32 = 1_024;
/// What may be under way to one device, in bytes: what goes first waits behind no more than this.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// How long to wait when the system gives no more connections.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long connections may take to end when the server stops.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Bytes in order, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> ByteStream for S {}

/// A connection that is awaited, and from where it comes.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = io::Result<(Box<dyn ByteStream>, SocketAddr)>> + Send + 'a>>;

/// Where connections over TCP arrive: a port of the machine, or one that a simulator brings.
pub trait Listen: Debug + Send + Sync {
    /// The next connection. Given up before it has come, nothing is lost.
    fn accept(&self) -> Accepting<'_>;

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

impl Listen for TcpListener {
    fn accept(&self) -> Accepting<'_> {
        Box::pin(async {
            let (stream, from) = self.accept().await?;
            let _ = stream.set_nodelay(true);
            Ok((Box::new(stream) as Box<dyn ByteStream>, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// A TCP port for devices.
#[derive(Debug)]
pub struct TcpDoor {
    listener: Box<dyn Listen>,
}

impl TcpDoor {
    /// A door at any listener: the simulator brings its own.
    pub fn on(listener: impl Listen + 'static) -> Self {
        Self { listener: Box::new(listener) }
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Quic {
    /// Listens for devices on TCP as well.
    ///
    /// # Errors
    /// An address that is taken.
    pub fn bind_tcp(&self, listen: SocketAddr) -> Result<TcpDoor, QuicError> {
        let listening = || {
            let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // A server that starts again need not wait until what its last connections left has gone.
            socket.set_reuseaddr(true)?;
            socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
            socket.bind(listen)?;
            socket.listen(BACKLOG)
        };
        listening().map(TcpDoor::on).map_err(QuicError::Tcp)
    }

    /// Serves connections until told to stop, then lets those that are open say goodbye.
    pub async fn run_tcp(self, door: TcpDoor, mut stop: watch::Receiver<bool>) {
        let acceptor = match self.tls_config() {
            Ok(config) => TlsAcceptor::from(Arc::new(config)),
            Err(error) => return tracing::error!(%error, "devices are not served over TCP"),
        };
        // Its own: whoever fills these keeps nobody from connecting over QUIC.
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                accepted = door.listener.accept() => {
                    let (stream, from) = match accepted {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            tracing::debug!(%error, "no connection over TCP was accepted");
                            tokio::time::sleep(ACCEPT_AGAIN).await;
                            continue;
                        }
                    };
                    // Whoever comes when too many shake hands is let go at once, and tries again.
                    let Ok(permit) = handshakes.clone().try_acquire_owned() else { continue };
                    let (quic, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
                    connections.spawn(async move {
                        let begun = Instant::now();
                        let shaken = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await;
                        drop(permit);
                        match shaken {
                            Ok(Ok(stream)) => quic.serve_tcp(stream, from, begun.elapsed(), stop).await,
                            Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                            Err(_) => tracing::debug!("a handshake took too long"),
                        }
                    });
                }
            }
        }
        let grace = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_MAX, grace).await;
    }

    async fn serve_tcp(
        &self,
        mut stream: TlsStream<Box<dyn ByteStream>>,
        from: SocketAddr,
        rtt: Duration,
        stop: watch::Receiver<bool>,
    ) {
        let (_, tls) = stream.get_ref();
        let (protocol, peer) = (tls.alpn_protocol().map(<[u8]>::to_vec), tls.peer_certificates().and_then(certified));
        match protocol.as_deref() {
            Some(ALPN) => enrol::serve_tcp(self, &mut stream, from).await,
            Some(PROBE_ALPN) => {
                if let Ok(visitor) = self.visitor(peer).await {
                    probe::serve_tcp(self, &mut stream, visitor.enrolled.is_some()).await;
                }
            }
            Some(REPLICATION_ALPN) => match self.device(peer).await {
                Ok(device) => return self.serve_device(Wire::tcp(stream, rtt), device, stop).await,
                // QUIC says it with its closing.
                Err(why) => {
                    let bye = Goodbye { reason: Reason::Refused, message: why.to_owned(), retry_after_ms: None };
                    let _ = tokio::time::timeout(HANDSHAKE_MAX, write_frame(&mut stream, &Frame::Goodbye(bye))).await;
                }
            },
            _ => {}
        }
        let _ = tokio::time::timeout(HANDSHAKE_MAX, stream.shutdown()).await;
    }
}
