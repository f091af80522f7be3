//! The QUIC face: devices connect here to replicate and to enrol.
//!
//! A thin driver: bytes and events move between quinn, the [`sync_proto::session`] state machine and the [`Hub`]. A
//! replicating connection has one control stream opened by the device (greeting, acknowledgements, goodbye), one stream of
//! commits up and one down, so that a backlog never delays an acknowledgement.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ids::DeviceId;
use quinn::{AsyncUdpSocket, Connection, Endpoint, Incoming, Runtime, VarInt};
use sync_proto::enrolment::{ALPN, Certified, REPLICATION_ALPN};
use sync_proto::env::{Env, random};
use sync_proto::probe::PROBE_ALPN;
use sync_proto::session::CLOSED_REPLACED;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::hub::Hub;
use crate::region::Device;

mod enrol;
mod probe;
mod replicate;
mod stream;

/// How many connections may shake hands at once.
const HANDSHAKES_MAX: usize = 256;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Incarnations of one device that may be connected at once: it and its copies.
const CONNECTIONS_OF_DEVICE_MAX: usize = 8;
/// How long a silent connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Which life of a device's replica.
type Incarnation = [u8; 16];

/// What the QUIC face needs.
#[derive(Debug, Clone)]
pub struct Quic {
    /// The way to the log.
    pub hub: Hub,
    /// The authority that devices are checked against.
    pub authority: Arc<Authority>,
    /// Time and randomness.
    pub env: Arc<dyn Env>,
    live: Arc<Mutex<BTreeMap<(DeviceId, Incarnation), Connected>>>,
    connected_so_far: Arc<AtomicU64>,
}

/// A connection of an incarnation.
#[derive(Debug)]
struct Connected {
    /// Which of all connections it is, in the order in which they greeted.
    order: u64,
    connection: Connection,
}

/// Why the QUIC face did not start.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// TLS does not take the server's certificate.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The socket cannot be used.
    #[error("cannot use the UDP socket")]
    Socket(#[source] std::io::Error),
}

impl Quic {
    /// The QUIC face of a hub.
    pub fn new(hub: Hub, authority: Arc<Authority>, env: Arc<dyn Env>) -> Self {
        Self { hub, authority, env, live: Arc::default(), connected_so_far: Arc::default() }
    }

    /// An endpoint on a UDP socket of the machine.
    ///
    /// # Errors
    /// An address that is taken, or a certificate that TLS does not take.
    pub fn bind(&self, listen: SocketAddr) -> Result<Endpoint, QuicError> {
        let socket = std::net::UdpSocket::bind(listen).map_err(QuicError::Socket)?;
        let runtime: Arc<dyn Runtime> = Arc::new(quinn::TokioRuntime);
        let socket = runtime.wrap_udp_socket(socket).map_err(QuicError::Socket)?;
        self.endpoint(socket, runtime)
    }

    /// An endpoint on any socket and runtime: the simulator brings its own.
    ///
    /// # Errors
    /// A certificate that TLS does not take.
    pub fn endpoint(&self, socket: Arc<dyn AsyncUdpSocket>, runtime: Arc<dyn Runtime>) -> Result<Endpoint, QuicError> {
        let config = self.server_config().map_err(QuicError::Tls)?;
        Endpoint::new_with_abstract_socket(self.endpoint_config(), Some(config), socket, runtime).map_err(QuicError::Socket)
    }

    /// The same connection ids and reset tokens in every process of this server: after a restart it can tell a device at once that their
    /// connection is no more, instead of leaving it to wait for silence to last.
    fn endpoint_config(&self) -> quinn::EndpointConfig {
        let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.authority.derive(b"evertill/quic-reset/1"));
        let mut config = quinn::EndpointConfig::new(Arc::new(reset));
        let [a, b, c, d, e, f, g, h, ..] = self.authority.derive(b"evertill/quic-cid/1");
        let cid_key = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        config.rng_seed(Some(random(&*self.env)));
        config.cid_generator(move || Box::new(quinn_proto::HashedConnectionIdGenerator::from_key(cid_key)));
        config
    }

    fn server_config(&self) -> Result<quinn::ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate())?;
        // Enrolment comes without a certificate; replication is turned away without one in `serve`.
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let (chain, key) = self.authority.server_identity();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![REPLICATION_ALPN.to_vec(), ALPN.to_vec(), PROBE_ALPN.to_vec()];
        tls.max_early_data_size = 0;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(quinn::crypto::rustls::QuicServerConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport()?));
        Ok(config)
    }

    /// Serves connections until told to stop, then lets those that are open say goodbye.
    pub async fn run(self, endpoint: Endpoint, mut stop: watch::Receiver<bool>) {
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    let Ok(permit) = handshakes.clone().try_acquire_owned() else {
                        incoming.refuse();
                        continue;
                    };
                    let (quic, stop) = (self.clone(), stop.clone());
                    connections.spawn(async move {
                        let connected = tokio::time::timeout(HANDSHAKE_MAX, accept(incoming)).await;
                        drop(permit);
                        if let Ok(Some(connection)) = connected {
                            quic.serve(connection, stop).await;
                        }
                    });
                }
            }
        }
        let grace = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(3), grace).await;
        endpoint.close(VarInt::from_u32(0), b"stopping");
        let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
    }

    async fn serve(&self, connection: Connection, stop: watch::Receiver<bool>) {
        let protocol = connection.handshake_data().and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
        match protocol.and_then(|data| data.protocol).as_deref() {
            Some(ALPN) => enrol::serve(self, &connection).await,
            Some(PROBE_ALPN) => self.serve_probe(&connection).await,
            Some(REPLICATION_ALPN) => self.serve_device(connection, stop).await,
            _ => connection.close(VarInt::from_u32(1), b"unknown protocol"),
        }
    }

    async fn serve_probe(&self, connection: &Connection) {
        match self.enrolled(connection).await {
            Some(known) => probe::serve(self, connection, known.is_some()).await,
            None => connection.close(VarInt::from_u32(2), b"a device certificate is needed"),
        }
    }

    /// The device of a connection, as far as it is enrolled; none at all without a device certificate.
    async fn enrolled(&self, connection: &Connection) -> Option<Option<Device>> {
        let (device, key) = peer(connection)?;
        let known = self.hub.with(move |region| region.device(device).cloned()).await.ok().flatten();
        Some(known.filter(|d| d.public_key == key))
    }

    async fn serve_device(&self, connection: Connection, stop: watch::Receiver<bool>) {
        let Some(known) = self.enrolled(&connection).await else {
            connection.close(VarInt::from_u32(2), b"a device certificate is needed");
            return;
        };
        let Some(enrolled) = known else {
            let device = peer(&connection).map(|(device, _)| device.to_string());
            tracing::warn!(event = "device_turned_away", device, "a device that is not enrolled was turned away");
            connection.close(VarInt::from_u32(2), b"this device is not enrolled here");
            return;
        };
        let device = enrolled.device;
        tracing::info!(event = "device_connected", %device, name = enrolled.name, "device connected");
        let _connected = self.hub.live().connect(device);
        let ended = chain_of(&replicate::serve(self, &connection, &enrolled, stop).await);
        tracing::info!(event = "device_disconnected", %device, name = enrolled.name, reason = ended, "device disconnected");
    }

    /// Notes the connection of an incarnation, for as long as the answer is kept. An older one of the same incarnation ends: either its device has
    /// given it up already, or two machines are one device.
    fn take_over(&self, device: DeviceId, incarnation: Incarnation, connection: &Connection) -> Present {
        let order = self.connected_so_far.fetch_add(1, Ordering::Relaxed);
        let connected = Connected { order, connection: connection.clone() };
        if let Some(older) = self.live().insert((device, incarnation), connected) {
            older.connection.close(VarInt::from_u32(CLOSED_REPLACED), b"another connection of this device took over");
        }
        let mut live = self.live();
        let of_device = live.range((device, [0; 16])..=(device, [0xff; 16]));
        let order: Vec<_> = of_device.map(|(of, connected)| (connected.order, *of)).collect();
        if order.len() > CONNECTIONS_OF_DEVICE_MAX
            && let Some((_, oldest)) = order.into_iter().min()
            && let Some(older) = live.remove(&oldest)
        {
            older.connection.close(VarInt::from_u32(CLOSED_REPLACED), b"too many connections of this device");
        }
        drop(live);
        Present { quic: self.clone(), of: (device, incarnation), connection: connection.stable_id() }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<(DeviceId, Incarnation), Connected>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The devices that are connected now.
    pub fn connected(&self) -> Vec<DeviceId> {
        let mut devices: Vec<DeviceId> = self.live().keys().map(|(device, _)| *device).collect();
        devices.dedup();
        devices
    }
}

/// An incarnation of a device that is connected. Dropping it ends that.
#[derive(Debug)]
struct Present {
    quic: Quic,
    of: (DeviceId, Incarnation),
    connection: usize,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut live = self.quic.live();
        if live.get(&self.of).is_some_and(|newest| newest.connection.stable_id() == self.connection) {
            live.remove(&self.of);
        }
    }
}

/// The error and what caused it, in one line: what a device is told, and what the log says.
fn chain_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Waits until the server is told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(incoming: Incoming) -> Option<Connection> {
    match incoming.accept().ok()?.await {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
    }
}

fn peer(connection: &Connection) -> Option<(DeviceId, [u8; 32])> {
    let chain = connection.peer_identity()?.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok()?;
    let Certified { device, public_key, .. } = Certified::of(chain.first()?)?;
    Some((device, public_key))
}

fn transport() -> Result<quinn::TransportConfig, quinn::VarIntBoundsExceeded> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(IDLE_MAX.try_into()?))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(2 << 20))
        .send_window(2 << 20)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}
