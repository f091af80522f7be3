//! Two ways to one server: QUIC, and TLS over TCP where UDP does not pass. Both are tried, and whichever stands first is taken.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use rustls_pki_types::{CertificateDer, ServerName};
use sync_proto::enrolment::CertifiedServer;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::net::{CONNECT_MAX, Net, NetError, client_config};
use super::tcp::{ByteStream, Dial};
use super::tls::TlsError;

/// How long QUIC is tried alone.
const QUIC_ALONE: Duration = Duration::from_millis(500);
/// The same where TCP had to be taken the last time: no longer than QUIC takes when it passes.
const QUIC_ALONE_AGAIN: Duration = Duration::from_millis(50);

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its `host:port` for QUIC.
    pub address: &'a str,
    /// Its `host:port` for TCP.
    pub tcp_address: &'a str,
    /// The name in its certificate.
    pub server_name: &'a str,
}

/// What both ways are tried with.
#[derive(Debug, Clone)]
pub struct Configs {
    quic: quinn::ClientConfig,
    tcp: Arc<rustls::ClientConfig>,
}

impl Configs {
    /// The configurations of a TLS one, for a protocol.
    ///
    /// # Errors
    /// When TLS does not suit QUIC.
    pub fn of(mut tls: rustls::ClientConfig, alpn: &[u8]) -> Result<Self, TlsError> {
        let quic = client_config(tls.clone(), alpn)?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        tls.enable_early_data = false;
        Ok(Self { quic, tcp: Arc::new(tls) })
    }
}

/// A connection, by the way that stood first.
#[derive(Debug)]
pub enum Connected {
    /// Over QUIC.
    Quic(Connection),
    /// Over TCP.
    Tcp {
        /// The bytes.
        stream: Box<TlsStream<Box<dyn ByteStream>>>,
        /// There and back.
        round_trip: Duration,
    },
}

impl Connected {
    /// The server at the other end, whose certificate TLS has verified.
    pub fn server(&self) -> Option<CertifiedServer> {
        match self {
            Self::Quic(connection) => {
                let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
                CertifiedServer::of(chain.first()?)
            }
            Self::Tcp { stream, .. } => CertifiedServer::of(stream.get_ref().1.peer_certificates()?.first()?),
        }
    }
}

impl Net {
    /// Connects over QUIC, and a little later over TCP as well if that does not stand yet. `was_tcp` says that TCP was the way the last time.
    ///
    /// # Errors
    /// When neither way leads there, why QUIC does not; or a server that is another.
    pub async fn reach(&self, target: Target<'_>, configs: &Configs, was_tcp: bool) -> Result<Connected, NetError> {
        let Target { address, tcp_address, server_name } = target;
        let mut quic = pin!(self.connect(address, server_name, configs.quic.clone()));
        let Some(dial) = &self.tcp else { return quic.await.map(Connected::Quic) };
        let alone = if was_tcp { QUIC_ALONE_AGAIN } else { QUIC_ALONE };
        let mut quic_failed = match tokio::time::timeout(alone, &mut quic).await {
            Ok(Ok(connection)) => return Ok(Connected::Quic(connection)),
            Ok(Err(error)) if !error.is_of_the_way() => return Err(error),
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let mut tcp = pin!(over_tcp(&**dial, tcp_address, server_name, configs.tcp.clone()));
        let mut tcp_failed = None;
        loop {
            tokio::select! {
                biased;
                connected = &mut quic, if quic_failed.is_none() => match connected {
                    Ok(connection) => return Ok(Connected::Quic(connection)),
                    Err(error) if !error.is_of_the_way() => return Err(error),
                    Err(error) => quic_failed = Some(error),
                },
                connected = &mut tcp, if tcp_failed.is_none() => match connected {
                    Ok(connected) => return Ok(connected),
                    Err(error) => tcp_failed = Some(error),
                },
            }
            if tcp_failed.is_some()
                && let Some(error) = quic_failed.take()
            {
                // What QUIC does not know TCP may: somebody else who answers there.
                let of_tcp = tcp_failed.take().filter(|of_tcp| !of_tcp.is_of_the_way());
                return Err(of_tcp.unwrap_or(error));
            }
        }
    }
}

impl Net {
    /// Whether a server answers over QUIC.
    pub(super) async fn passes(&self, target: Target<'_>, configs: &Configs) -> bool {
        match self.connect(target.address, target.server_name, configs.quic.clone()).await {
            Ok(connection) => {
                connection.close(quinn::VarInt::from_u32(0), b"");
                true
            }
            Err(_) => false,
        }
    }
}

/// Connects over TCP, trying every address that the name has.
async fn over_tcp(
    dial: &dyn Dial,
    address: &str,
    server_name: &str,
    config: Arc<rustls::ClientConfig>,
) -> Result<Connected, NetError> {
    let name = ServerName::try_from(server_name.to_owned()).map_err(|e| NetError::Tcp(io::Error::other(e)))?;
    let connecting = async {
        let begun = Instant::now();
        let stream = dial.dial(address).await.map_err(NetError::Tcp)?;
        let round_trip = begun.elapsed();
        let shaken = TlsConnector::from(config).connect(name, stream).await.map_err(|e| NetError::of_tcp(e, address))?;
        Ok(Connected::Tcp { stream: Box::new(shaken), round_trip })
    };
    tokio::time::timeout(CONNECT_MAX, connecting).await.unwrap_or_else(|_| Err(NetError::NoAnswer(address.to_owned())))
}
