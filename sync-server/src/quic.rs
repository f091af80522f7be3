//! The face for devices: they connect here to replicate and to enrol, over QUIC, or where UDP does not pass over TLS on TCP.
//!
//! A thin driver: bytes and events move between a connection, the [`sync_proto::session`] state machine and the [`Hub`]. A
//! replicating QUIC connection has one control stream opened by the device (greeting, acknowledgements, goodbye), one stream of
//! commits up and one down, so that a backlog never delays an acknowledgement. Over TCP the same frames share one stream, acknowledgements
//! first.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::ids::DeviceId;
use quinn::{AsyncUdpSocket, Connection, Endpoint, Incoming, Runtime, VarInt};
use rustls_pki_types::CertificateDer;
use sync_proto::enrolment::{ALPN, Certified, REPLICATION_ALPN};
use sync_proto::env::{Env, random};
use sync_proto::probe::PROBE_ALPN;
use sync_proto::session::{VERSIONS, Versions};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use crate::authority::Authority;
use crate::hub::Hub;
use crate::region::Device;

mod enrol;
mod probe;
mod quota;
mod replicate;
mod stream;
mod tcp;
mod wire;

use quota::Quotas;
pub use tcp::{Accepting, ByteStream, Listen, TcpDoor};
use wire::Wire;

/// How many connections may shake hands at once.
const HANDSHAKES_MAX: usize = 256;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Incarnations of one device that may be connected at once: it and its copies.
const CONNECTIONS_OF_DEVICE_MAX: usize = 8;
/// Connections of one device at once, whatever they are about.
const ATTENDED_OF_DEVICE_MAX: usize = 16;
/// Enrolments under way at once. Whoever enrols shows no certificate.
const ENROLLING_MAX: usize = 64;
/// How long a silent connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a connected device may take to greet.
const GREET_MAX: Duration = Duration::from_secs(10);

/// What this face takes upon itself at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Replicating devices at once; others are asked to come back.
    pub connections: usize,
    /// Devices that catch up with much at once; others wait for their turn, and meanwhile have their own commits taken.
    pub catch_ups: usize,
    /// How long one of them does before the next has its turn.
    pub catch_up_slice: Duration,
    /// From how many rows of the log behind its end on a device has much to catch up with.
    pub catch_up_rows: u64,
    /// Bytes that are taken from one device in a minute; what is beyond is read later.
    pub device_bytes_per_minute: u64,
    /// Entries, and frames of any kind, that are taken from one device in a minute.
    pub device_entries_per_minute: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            catch_ups: 8,
            catch_up_slice: Duration::from_secs(10),
            catch_up_rows: 2_000,
            device_bytes_per_minute: 256 << 20,
            device_entries_per_minute: 240_000,
        }
    }
}

/// What a connection counts as among the entries of a device's quota.
const ENTRIES_OF_A_CONNECTION: usize = 100;

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
    versions: Versions,
    live: Arc<Mutex<BTreeMap<(DeviceId, Incarnation), Connected>>>,
    connected_so_far: Arc<AtomicU64>,
    attended: Arc<Mutex<BTreeMap<DeviceId, usize>>>,
    limits: Limits,
    quotas: Quotas,
    places: Arc<Semaphore>,
    catch_ups: Arc<Semaphore>,
    enrolling: Arc<Semaphore>,
}

/// A connection of an incarnation.
#[derive(Debug)]
struct Connected {
    /// Which of all connections it is, in the order in which they greeted.
    order: u64,
    is_tcp: bool,
    /// Ends it with a sentence.
    replace: oneshot::Sender<&'static str>,
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
    /// The TCP socket cannot be used.
    #[error("cannot use the TCP socket")]
    Tcp(#[source] std::io::Error),
}

impl Quic {
    /// The QUIC face of a hub.
    pub fn new(hub: Hub, authority: Arc<Authority>, env: Arc<dyn Env>) -> Self {
        Self::with_limits(hub, authority, env, Limits::default())
    }

    /// The same, speaking only some versions, such as those of an earlier program.
    #[must_use]
    pub fn speaking(mut self, versions: Versions) -> Self {
        self.versions = versions;
        self
    }

    /// The same with limits of one's own.
    pub fn with_limits(hub: Hub, authority: Arc<Authority>, env: Arc<dyn Env>, limits: Limits) -> Self {
        Self {
            hub,
            authority,
            env,
            versions: VERSIONS,
            live: Arc::default(),
            connected_so_far: Arc::default(),
            attended: Arc::default(),
            limits,
            quotas: Quotas::new(limits.device_bytes_per_minute, limits.device_entries_per_minute),
            places: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            catch_ups: Arc::new(Semaphore::new(limits.catch_ups.clamp(1, Semaphore::MAX_PERMITS))),
            enrolling: Arc::new(Semaphore::new(ENROLLING_MAX)),
        }
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
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(self.tls_config()?)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(Arc::new(transport()?));
        Ok(config)
    }

    /// Who is let in, over either way.
    fn tls_config(&self) -> Result<rustls::ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
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
        Ok(tls)
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
        let turned_away = match protocol.and_then(|data| data.protocol).as_deref() {
            Some(ALPN) => return enrol::serve(self, &connection).await,
            Some(PROBE_ALPN) => match self.visitor(peer(&connection)).await {
                Ok(visitor) => return probe::serve(self, &connection, visitor.enrolled.is_some()).await,
                Err(why) => why,
            },
            Some(REPLICATION_ALPN) => match self.device(peer(&connection)).await {
                Ok(device) => {
                    if let Ok(wire) = Wire::quic(connection).await {
                        self.serve_device(wire, device, stop).await;
                    }
                    return;
                }
                Err(why) => why,
            },
            _ => return connection.close(VarInt::from_u32(1), b"unknown protocol"),
        };
        connection.close(VarInt::from_u32(2), turned_away.as_bytes());
    }

    /// Whoever shows a device's certificate. Otherwise the sentence that it is told.
    async fn visitor(&self, peer: Option<(DeviceId, [u8; 32])>) -> Result<Visitor, &'static str> {
        let (device, key) = peer.ok_or("a device certificate is needed")?;
        let attended = self.attend(device).ok_or("too many connections of this device")?;
        let known = self.hub.with(move |region| region.device(device).cloned()).await.ok().flatten();
        Ok(Visitor { device, enrolled: known.filter(|d| d.public_key == key), _attended: attended })
    }

    /// An enrolled device. Otherwise the sentence that it is told.
    async fn device(&self, peer: Option<(DeviceId, [u8; 32])>) -> Result<(Device, Attended), &'static str> {
        let Visitor { device, enrolled, _attended } = self.visitor(peer).await?;
        let Some(enrolled) = enrolled else {
            tracing::warn!(event = "device_turned_away", %device, "a device that is not enrolled was turned away");
            return Err("this device is not enrolled here");
        };
        Ok((enrolled, _attended))
    }

    async fn serve_device(&self, wire: Wire, (enrolled, _attended): (Device, Attended), stop: watch::Receiver<bool>) {
        let (device, over) = (enrolled.device, if wire.is_tcp() { "tcp" } else { "quic" });
        // One that connects again and again pays for it.
        if let Some(until) = self.quotas.take(device, 0, ENTRIES_OF_A_CONNECTION, tokio::time::Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
        let place = self.places.clone().try_acquire_owned().ok();
        tracing::info!(event = "device_connected", %device, name = enrolled.name, over, "device connected");
        let _connected = self.hub.live().connect(device);
        let ended = chain_of(&replicate::serve(self, wire, &enrolled, place, stop).await);
        tracing::info!(event = "device_disconnected", %device, name = enrolled.name, reason = ended, "device disconnected");
    }

    /// Counts a connection of a device for as long as the answer is kept; none when it has too many.
    fn attend(&self, device: DeviceId) -> Option<Attended> {
        let mut attended = self.attended.lock().unwrap_or_else(PoisonError::into_inner);
        let count = attended.entry(device).or_default();
        if *count >= ATTENDED_OF_DEVICE_MAX {
            return None;
        }
        *count += 1;
        Some(Attended { quic: self.clone(), device })
    }

    /// Notes the connection of an incarnation, for as long as the answer is kept. An older one of the same incarnation ends: either its device has
    /// given it up already, or two machines are one device.
    fn take_over(
        &self,
        device: DeviceId,
        incarnation: Incarnation,
        is_tcp: bool,
        replace: oneshot::Sender<&'static str>,
    ) -> Present {
        let order = self.connected_so_far.fetch_add(1, Ordering::Relaxed);
        let mut live = self.live();
        if let Some(older) = live.insert((device, incarnation), Connected { order, is_tcp, replace }) {
            let _ = older.replace.send("another connection of this device took over");
        }
        let of_device = live.range((device, [0; 16])..=(device, [0xff; 16]));
        let orders: Vec<_> = of_device.map(|(of, connected)| (connected.order, *of)).collect();
        if orders.len() > CONNECTIONS_OF_DEVICE_MAX
            && let Some((_, oldest)) = orders.into_iter().min()
            && let Some(older) = live.remove(&oldest)
        {
            let _ = older.replace.send("too many connections of this device");
        }
        drop(live);
        Present { quic: self.clone(), of: (device, incarnation), order }
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

    /// How many connections go over TCP now.
    pub fn connected_over_tcp(&self) -> usize {
        self.live().values().filter(|connected| connected.is_tcp).count()
    }
}

/// Somebody with a device's certificate.
struct Visitor {
    device: DeviceId,
    /// What it is enrolled as; none when it is not.
    enrolled: Option<Device>,
    _attended: Attended,
}

/// A connection of a device that counts. Dropping it ends that.
struct Attended {
    quic: Quic,
    device: DeviceId,
}

impl Drop for Attended {
    fn drop(&mut self) {
        let mut attended = self.quic.attended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = attended.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                attended.remove(&self.device);
            }
        }
    }
}

/// An incarnation of a device that is connected. Dropping it ends that.
#[derive(Debug)]
struct Present {
    quic: Quic,
    of: (DeviceId, Incarnation),
    order: u64,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut live = self.quic.live();
        if live.get(&self.of).is_some_and(|newest| newest.order == self.order) {
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
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    certified(&chain)
}

/// The device and key of a certificate chain that TLS has verified.
fn certified(chain: &[CertificateDer<'_>]) -> Option<(DeviceId, [u8; 32])> {
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
        // What comes last and goes first waits for no more than this.
        .send_window(1 << 20)
        .datagram_receive_buffer_size(None);
    Ok(transport)
}
