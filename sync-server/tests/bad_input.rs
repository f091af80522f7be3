//! Bad input at the server's doors for devices, as a table: what a device does wrong, what it is told, and that nothing of it is kept.
//!
//! A real endpoint with a real authority, and devices that say whatever the row wants. After each row the same device, honest
//! again, gets a commit admitted. `docs/bad-input.md` shows the rows to people; `rows_are_in_the_page` holds it to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::document::Store;
use domain::ids::{DeviceId, StoreId};
use domain::money::Currency;
use domain::record::{DeviceStart, Record};
use domain::tax::TaxMode;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use journal::{Body, Hlc, NewEntry, Origin, OriginChain, ReceivedCommit, Scope, Seal, SigningKey};
use minicbor::bytes::ByteVec;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sync_proto::batch::Run;
use sync_proto::enrolment::{ALPN, Answer, MESSAGE_BYTES_MAX, REPLICATION_ALPN, Request, SERVER_NAME};
use sync_proto::env::Env;
use sync_proto::frame::{Ack, Commits, Frame, Goodbye, Hello, PING, Reason, frame_length};
use sync_proto::scopes;
use sync_server::authority::Authority;
use sync_server::env::Machine;
use sync_server::hub::Hub;
use sync_server::quic::{Limits, Quic};
use sync_server::region::{Region, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Long enough for a machine that does everything at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with one store.
struct World {
    _dir: tempfile::TempDir,
    _stop: watch::Sender<bool>,
    hub: Hub,
    authority: Arc<Authority>,
    address: SocketAddr,
    tcp: SocketAddr,
    store: StoreId,
}

/// A till that is enrolled, and everything that it has written.
#[derive(Clone)]
struct Till {
    id: DeviceId,
    key: SigningKey,
    key_pem: String,
    certificate: String,
    chain: OriginChain,
    scope: Scope,
}

impl World {
    async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    async fn with_limits(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let authority = Arc::new(Authority::open(dir.path()).expect("an authority"));
        let writer = Writer {
            device: DeviceId(uuid::Uuid::from_bytes([100; 16])),
            incarnation: [101; 16],
            actor_seed: [102; 16],
            key: authority.seal_key().clone(),
        };
        let mut region = Region::open(&dir.path().join("region.db"), writer).expect("a log");
        region.start(1, "test").expect("starts");
        let store = StoreId(uuid::Uuid::from_bytes([50; 16]));
        let document = Store {
            id: store,
            code: "S01".into(),
            name: "Shop".into(),
            address: vec![],
            currency: Currency::new("GBP").expect("GBP"),
            tax_mode: TaxMode::Inclusive,
            receipt_footer: String::new(),
            receipt_header: vec![],
            languages: vec!["en".into()],
            time_zone: "UTC".into(),
        };
        region.add_store(document, 1).expect("a store");
        let hub = Hub::spawn(region);
        let quic = Quic::with_limits(hub.clone(), authority.clone(), Arc::new(Machine), limits);
        let endpoint = quic.bind("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let address = endpoint.local_addr().expect("an address");
        let (stop, stopping) = watch::channel(false);
        let door =
            quic.bind_tcp(address).or_else(|_| quic.bind_tcp("127.0.0.1:0".parse().expect("an address"))).expect("a socket");
        let tcp = door.local_addr().expect("an address");
        tokio::spawn(quic.clone().run_tcp(door, stopping.clone()));
        tokio::spawn(quic.run(endpoint, stopping));
        Self { _dir: dir, _stop: stop, hub, authority, address, tcp, store }
    }

    async fn code(&self, code: &'static str) {
        let issued = self.hub.with(move |region| region.issue_code("S01", "Till", code, Machine.unix_ms())).await;
        issued.expect("the owner").expect("a code");
    }

    async fn till(&self, n: u8) -> Till {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let request = CertificateParams::default().serialize_request(&pair).expect("a request").der().to_vec();
        let key = SigningKey::from_pkcs8_pem(&pair.serialize_pem()).expect("a key");
        let (id, public) = (DeviceId(uuid::Uuid::from_bytes([n; 16])), key.verifying_key().to_bytes());
        let code = format!("AAAAAAAAA{n}");
        let redeemed = move |region: &mut Region| {
            region.issue_code("S01", "Till", &code, 1).expect("a code");
            region.redeem(&code, id, public, 1).expect("admitted");
        };
        self.hub.with(redeemed).await.expect("the owner");
        let certificate = self.authority.sign_device(&request, id, self.store).expect("a certificate");
        let chain = OriginChain::new(Origin { device: [n; 16], incarnation: [n + 1; 16] });
        Till { id, key, key_pem: pair.serialize_pem(), certificate, chain, scope: scopes::store(self.store) }
    }

    /// How much the log holds, and where the till's chains stand.
    async fn kept(&self, till: &Till) -> (u64, OriginChain) {
        let origin = till.chain.origin;
        self.hub.with(move |region| (region.last_seq(), region.chain(origin))).await.expect("the owner")
    }

    async fn connect(&self, tls: rustls::ClientConfig, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        let mut tls = tls;
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        endpoint.connect_with(ClientConfig::new(Arc::new(config)), self.address, SERVER_NAME).expect("an address").await
    }

    fn tls(&self, certificate: Option<(&str, &str)>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.certificate()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        match certificate {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        }
    }

    /// A connection of a till, its control stream, and nothing said yet.
    async fn open(&self, till: &Till) -> Line {
        let tls = self.tls(Some((&till.certificate, &till.key_pem)));
        let connection = self.connect(tls, REPLICATION_ALPN).await.expect("a connection");
        let (control, answers) = connection.open_bi().await.expect("a stream");
        Line { connection, control, answers }
    }

    /// The till, honest: greets, sends its next commit and waits for the acknowledgement.
    async fn send_honestly(&self, till: &mut Till) {
        let mut line = self.open(till).await;
        line.greet(till).await;
        let run = till.next(1);
        let mut up = line.connection.open_uni().await.expect("a stream");
        up.write_all(&encoded(vec![run])).await.expect("sent");
        let due = till.chain.commit + 1;
        loop {
            match line.frame().await.expect("an answer") {
                Frame::Ack(ack) if ack.regional == due => break,
                Frame::Ack(_) | Frame::Welcome(_) => {}
                other => panic!("an honest commit was answered with {other:?}"),
            }
        }
        till.write(1);
        line.connection.close(0u32.into(), b"");
    }
}

/// One connection with its control stream.
struct Line {
    connection: Connection,
    control: SendStream,
    answers: RecvStream,
}

impl Line {
    async fn greet(&mut self, till: &Till) {
        self.control.write_all(&till.hello(1, 1)).await.expect("sent");
        assert!(matches!(self.frame().await, Some(Frame::Welcome(_))));
    }

    /// The next frame on the control stream; nothing when it ended.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut prefix = [0; 4];
            self.answers.read_exact(&mut prefix).await.ok()?;
            let mut body = vec![0; frame_length(prefix).expect("a length")];
            self.answers.read_exact(&mut body).await.ok()?;
            Some(Frame::decode(&body).expect("a frame").expect("a known frame"))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server does something")
    }

    /// The next frame, if one comes soon.
    async fn frame_within(&mut self, within: Duration) -> Option<Frame> {
        tokio::time::timeout(within, self.frame()).await.ok().flatten()
    }

    /// What the server says in the end.
    async fn goodbye(&mut self) -> Option<Goodbye> {
        loop {
            match self.frame().await {
                Some(Frame::Goodbye(goodbye)) => return Some(goodbye),
                Some(_) => {}
                None => return None,
            }
        }
    }
}

impl Till {
    fn hello(&self, version_min: u16, version_max: u16) -> Vec<u8> {
        let hello = Hello {
            version_min,
            version_max,
            incarnation: self.chain.origin.incarnation,
            commit: self.chain.commit,
            digest: self.chain.digest(),
            region: None,
            cursors: vec![],
            boot: 1,
            unix_ms: None,
            mark: None,
            documents_after: None,
        };
        Frame::Hello(hello).encode().expect("fits")
    }

    fn written(&self, chain: &mut OriginChain, scope: &Scope, key: &SigningKey) -> ReceivedCommit {
        let record = Record::DeviceStarted(DeviceStart { series: "S01-T01a".into(), actor_seed: None, software: "x".into() });
        let body = Body::Record { kind: record.kind(), version: 1, bytes: record.encode() };
        sealed(chain.append(key, Hlc::new(5, 0), None, vec![NewEntry { scope: scope.clone(), body }]))
    }

    /// The next commits, each sealed; the till has not written them yet.
    fn next(&self, commits: usize) -> Run {
        let mut chain = self.chain.clone();
        let commits = (0..commits).map(|_| self.written(&mut chain, &self.scope, &self.key)).collect();
        self.run(commits)
    }

    /// The next commit, written by someone else's rules.
    fn next_by(&self, scope: &Scope, key: &SigningKey) -> Run {
        self.run(vec![self.written(&mut self.chain.clone(), scope, key)])
    }

    fn run(&self, commits: Vec<ReceivedCommit>) -> Run {
        let scopes = commits.iter().flat_map(|c| &c.entries).map(|(scope, _)| scope.clone());
        let before = scopes.map(|scope| (scope.clone(), self.chain.head(&scope))).collect();
        Run { origin: self.chain.origin, before, commits }
    }

    fn write(&mut self, commits: usize) {
        let mut chain = self.chain.clone();
        for _ in 0..commits {
            self.written(&mut chain, &self.scope, &self.key);
        }
        self.chain = chain;
    }
}

fn sealed(commit: journal::SealedCommit) -> ReceivedCommit {
    ReceivedCommit {
        entries: commit.entries.into_iter().map(|e| (e.scope, e.bytes)).collect(),
        seal: Some(Seal { signature: commit.signature, foreign: vec![] }),
    }
}

fn encoded(runs: Vec<Run>) -> Vec<u8> {
    Frame::Commits(Commits { runs, up_to: None, mark: None, scopes: None }).encode().expect("fits")
}

/// A good run with something changed.
fn spoilt(run: Run, spoil: impl FnOnce(&mut Run)) -> Vec<u8> {
    let mut run = run;
    spoil(&mut run);
    encoded(vec![run])
}

/// What a device says, and on which stream.
enum Says {
    /// Instead of a greeting.
    First(Vec<u8>),
    /// After the greeting, on the control stream.
    Control(Vec<u8>),
    /// After the greeting, on the stream of commits.
    Up(Vec<u8>),
}

/// What is done wrong, by a till whose next commit is 3 and its neighbour; the reason; the sentence, where `…` stands for what differs.
type Row = (&'static str, fn(&Till, &Till) -> Says, &'static str, &'static str);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("A length of nothing on the line", |_, _| Says::Up(vec![0; 4]), "protocol", "a frame of 0 bytes, not 2 to 1048576"),
    ("A length beyond the bound on the line", |_, _| Says::Up(vec![0, 0x10, 0, 1, 2, 0]), "protocol", "a frame of 1048577 bytes, not 2 to 1048576"),
    ("HTTP on the line", |_, _| Says::Up(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()), "protocol", "a frame of 1195725856 bytes, not 2 to 1048576"),
    ("Noise of the right length", |_, _| Says::Up([&[0, 0, 0, 9][..], &[2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat()), "protocol", "a frame that does not decode: …"),
    ("Commits before a greeting", |t, _| Says::First(encoded(vec![t.next(1)])), "protocol", "a run of commits came out of turn"),
    ("A second greeting", |t, _| Says::Control(t.hello(1, 1)), "protocol", "a greeting came out of turn"),
    ("An acknowledgement by a device", |_, _| Says::Control(Frame::Ack(Ack { regional: 1, central: 1 }).encode().expect("fits")), "protocol", "an acknowledgement came out of turn"),
    ("A protocol of the future only", |t, _| Says::First(t.hello(7, 9)), "version", "no protocol version in common: this build speaks 1 to 4, the other side 7 to 9"),
    ("An entry with one bit changed", |t, _| Says::Up(spoilt(t.next(1), |r| { let bytes = &mut r.commits[0].entries[0].1; *bytes.last_mut().expect("bytes") ^= 1; })), "refused", "the run does not verify: the seal of commit 3 does not hold"),
    ("A wrong hash before the run", |t, _| Says::Up(spoilt(t.again(), |r| { r.before.values_mut().for_each(|h| h.hash[0] ^= 1); })), "forked", "what it goes on from is another history of it than the one that came first"),
    ("A seal with one bit changed", |t, _| Says::Up(spoilt(t.next(1), |r| { r.commits[0].seal.as_mut().expect("a seal").signature[9] ^= 1; })), "refused", "the run does not verify: the seal of commit 3 does not hold"),
    ("A seal by the neighbour's key", |t, n| Says::Up(encoded(vec![t.next_by(&t.scope, &n.key)])), "refused", "the run does not verify: the seal of commit 3 does not hold"),
    ("No seal at the end of the run", |t, _| Says::Up(spoilt(t.next(2), |r| r.commits[1].seal = None)), "refused", "the run does not verify: commit 4 has no seal"),
    ("A commit left out", |t, _| Says::Up(spoilt(t.next(3), |r| { r.commits.remove(1); })), "refused", "the run does not verify: commit 5 where 4 was due"),
    ("A run that begins too late", |t, _| Says::Up(spoilt(t.next(2), |r| { r.commits.remove(0); })), "refused", "the run does not verify: commit 4 where 3 was due"),
    ("Two commits in the wrong order", |t, _| Says::Up(spoilt(t.next(3), |r| r.commits.swap(1, 2))), "refused", "the run does not verify: commit 5 where 4 was due"),
    ("Another commit where one is already", |t, _| Says::Up(spoilt(t.again(), |r| { let bytes = &mut r.commits[0].entries[0].1; *bytes.last_mut().expect("bytes") ^= 1; })), "refused", "the run does not verify: the seal of commit 2 does not hold"),
    ("An entry that is no entry", |t, _| Says::Up(spoilt(t.next(1), |r| r.commits[0].entries[0].1 = b"a sale, honestly".to_vec())), "refused", "the run holds bytes that are no entry: an entry that is not canonical: …"),
    ("An entry of more than 256 KiB", |t, _| Says::Up(spoilt(t.next(1), |r| r.commits[0].entries[0].1 = vec![0; 300_000])), "refused", "the run holds bytes that are no entry: an entry of 300000 bytes, more than 262144"),
    ("A commit of no entries", |t, _| Says::Up(spoilt(t.next(1), |r| r.commits[0].entries.clear())), "refused", "the run does not verify: the parts of commit 3 do not fit together"),
    ("Half a commit", |t, _| Says::Up(encoded(vec![t.half()])), "refused", "the run does not verify: the parts of commit 3 do not fit together"),
    ("A price changed by a till", |t, _| Says::Up(encoded(vec![t.next_by(&scopes::catalogue(), &t.key)])), "refused", "a device of its kind and store may not write into scope catalog"),
    ("Someone written into the directory by a till", |t, _| Says::Up(encoded(vec![t.next_by(&scopes::directory(), &t.key)])), "refused", "a device of its kind and store may not write into scope directory"),
    ("A sale in another store", |t, _| Says::Up(encoded(vec![t.next_by(&scopes::store(StoreId(uuid::Uuid::from_bytes([51; 16]))), &t.key)])), "refused", "a device of its kind and store may not write into scope store/…"),
    ("The neighbour's commit sent as one's own", |_, n| Says::Up(encoded(vec![n.next(1)])), "protocol", "the run is not of the device and incarnation that greeted, nor was it asked for"),
];

impl Till {
    /// The commit that the server has already.
    fn again(&self) -> Run {
        let mut earlier = OriginChain::new(self.chain.origin);
        let first = self.written(&mut earlier, &self.scope, &self.key);
        assert!(!first.entries.is_empty());
        let before = BTreeMap::from([(self.scope.clone(), earlier.head(&self.scope))]);
        Run { origin: self.chain.origin, before, commits: vec![self.written(&mut earlier, &self.scope, &self.key)] }
    }

    /// The first commit, which the server has.
    fn again_one(&self) -> Run {
        let mut earlier = OriginChain::new(self.chain.origin);
        let before = BTreeMap::from([(self.scope.clone(), earlier.head(&self.scope))]);
        Run { origin: self.chain.origin, before, commits: vec![self.written(&mut earlier, &self.scope, &self.key)] }
    }

    /// The same device in another incarnation, as a copy of its disk is.
    fn as_copy(&self) -> Self {
        let chain = OriginChain::new(Origin { incarnation: [99; 16], ..self.chain.origin });
        Self { chain, ..self.clone() }
    }

    /// One of the two parts of a commit.
    fn half(&self) -> Run {
        let body = || Body::Record { kind: 8, version: 1, bytes: vec![0xa0] };
        let entry = || NewEntry { scope: self.scope.clone(), body: body() };
        let mut commit = sealed(self.chain.clone().append(&self.key, Hlc::new(5, 0), None, vec![entry(), entry()]));
        commit.entries.pop();
        self.run(vec![commit])
    }
}

fn is_said(sentence: &str, said: &str) -> bool {
    match sentence.split_once('…') {
        Some((before, after)) => said.len() >= before.len() + after.len() && said.starts_with(before) && said.ends_with(after),
        None => said == sentence,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_told_its_sentence_and_nothing_of_it_is_kept() {
    for (wrong, says, reason, sentence) in ROWS {
        // A log of its own for each row, in which the till's next commit is 3.
        let world = World::new().await;
        let (mut till, mut neighbour) = (world.till(1).await, world.till(3).await);
        world.send_honestly(&mut till).await;
        world.send_honestly(&mut till).await;
        world.send_honestly(&mut neighbour).await;
        let before = world.kept(&till).await;

        let mut line = world.open(&till).await;
        let up = match says(&till, &neighbour) {
            Says::First(bytes) => {
                line.control.write_all(&bytes).await.expect("sent");
                None
            }
            Says::Control(bytes) => {
                line.greet(&till).await;
                line.control.write_all(&bytes).await.expect("sent");
                None
            }
            Says::Up(bytes) => {
                line.greet(&till).await;
                let mut up = line.connection.open_uni().await.expect("a stream");
                up.write_all(&bytes).await.expect("sent");
                Some(up)
            }
        };
        let Goodbye { reason: told, message, .. } = line.goodbye().await.unwrap_or_else(|| panic!("{wrong}: no goodbye"));
        assert_eq!(format!("{told:?}").to_lowercase(), *reason, "{wrong}: {message}");
        assert!(is_said(sentence, &message), "{wrong}: {message:?} where {sentence:?} was due");
        drop((up, line));

        assert_eq!(world.kept(&till).await, before, "{wrong} left something behind");
        world.send_honestly(&mut till).await;
        assert_eq!(world.kept(&till).await.1, till.chain, "{wrong} is in the way of what is honest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_breaks_off_at_any_byte_leaves_nothing() {
    let world = World::new().await;
    let mut till = world.till(1).await;
    world.send_honestly(&mut till).await;
    let before = world.kept(&till).await;
    let whole = encoded(vec![till.next(1)]);
    for end in 0..whole.len() {
        let mut line = world.open(&till).await;
        line.greet(&till).await;
        let mut up = line.connection.open_uni().await.expect("a stream");
        up.write_all(&whole[..end]).await.expect("sent");
        up.finish().expect("open");
        if end > 0 {
            assert_eq!(line.goodbye().await, None, "cut at {end}: there is nothing to explain");
        }
        line.connection.close(0u32.into(), b"");
    }
    assert_eq!(world.kept(&till).await, before);
    world.send_honestly(&mut till).await;
    assert_eq!(world.kept(&till).await.1, till.chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_enrolled_is_turned_away_with_a_word() {
    let world = World::new().await;
    let mut till = world.till(1).await;
    world.send_honestly(&mut till).await;
    let before = world.kept(&till).await;
    let stranger = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let request = CertificateParams::default().serialize_request(&stranger).expect("a request").der().to_vec();
    let nobody = DeviceId(uuid::Uuid::from_bytes([77; 16]));
    let unknown = world.authority.sign_device(&request, nobody, world.store).expect("a certificate");
    let impostor = world.authority.sign_device(&request, till.id, world.store).expect("a certificate");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let elsewhere = Authority::open(elsewhere.path()).expect("another authority");
    let foreign = elsewhere.sign_device(&request, till.id, world.store).expect("a certificate");
    let key = stranger.serialize_pem();
    for (wrong, certificate, word) in [
        ("no certificate", None, "a device certificate is needed"),
        ("a device that nobody enrolled", Some((unknown.as_str(), key.as_str())), "this device is not enrolled here"),
        ("another key of an enrolled device", Some((impostor.as_str(), key.as_str())), "this device is not enrolled here"),
        ("a certificate of another authority", Some((foreign.as_str(), key.as_str())), "invalid peer certificate"),
    ] {
        let told = match world.connect(world.tls(certificate), REPLICATION_ALPN).await {
            Ok(connection) => tokio::time::timeout(PATIENCE, connection.closed()).await.expect("in time"),
            Err(error) => error,
        };
        assert!(told.to_string().contains(word), "{wrong}: {told}");
    }
    let wrong_protocol = world.connect(world.tls(None), b"h3").await.expect_err("no protocol in common");
    assert!(wrong_protocol.to_string().contains("peer doesn't support any known protocol"), "{wrong_protocol}");
    assert_eq!(world.kept(&till).await, before);
    world.send_honestly(&mut till).await;
}

/// A connection over TCP: everything on one stream.
type Tls = tokio_rustls::client::TlsStream<TcpStream>;

impl World {
    async fn tls_over_tcp(&self, tls: rustls::ClientConfig, alpn: &[u8]) -> std::io::Result<Tls> {
        let mut tls = tls;
        tls.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from(SERVER_NAME).expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, TcpStream::connect(self.tcp).await?).await
    }

    async fn over_tcp(&self, till: &Till) -> Tls {
        self.tls_over_tcp(self.tls(Some((&till.certificate, &till.key_pem))), REPLICATION_ALPN).await.expect("a connection")
    }

    /// What [`Self::send_honestly`] does, over TCP.
    async fn send_over_tcp(&self, till: &mut Till) {
        let mut stream = self.over_tcp(till).await;
        stream.write_all(&till.hello(1, 3)).await.expect("sent");
        stream.write_all(&PING).await.expect("sent");
        stream.write_all(&encoded(vec![till.next(1)])).await.expect("sent");
        let due = till.chain.commit + 1;
        loop {
            match tcp_frame(&mut stream).await.expect("an answer") {
                Frame::Ack(ack) if ack.regional == due => break,
                Frame::Ack(_) | Frame::Welcome(_) | Frame::Commits(_) => {}
                other => panic!("an honest commit was answered with {other:?}"),
            }
        }
        till.write(1);
    }
}

/// The next frame over TCP that is known; nothing when the server closed it.
async fn tcp_frame(stream: &mut Tls) -> Option<Frame> {
    let read = async {
        loop {
            let mut prefix = [0; 4];
            stream.read_exact(&mut prefix).await.ok()?;
            let mut body = vec![0; frame_length(prefix).expect("a length")];
            stream.read_exact(&mut body).await.ok()?;
            if let Some(frame) = Frame::decode(&body).expect("a frame") {
                return Some(frame);
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server does something")
}

/// What the server says in the end over TCP.
async fn tcp_goodbye(stream: &mut Tls) -> Option<Goodbye> {
    loop {
        match tcp_frame(stream).await {
            Some(Frame::Goodbye(goodbye)) => return Some(goodbye),
            Some(_) => {}
            None => return None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_the_same_is_taken_and_the_same_is_told() {
    for (wrong, says, reason, sentence) in ROWS {
        let world = World::new().await;
        let (mut till, mut neighbour) = (world.till(1).await, world.till(3).await);
        world.send_honestly(&mut till).await;
        world.send_over_tcp(&mut till).await;
        world.send_over_tcp(&mut neighbour).await;
        let before = world.kept(&till).await;

        let mut stream = world.over_tcp(&till).await;
        let (greeting, bytes) = match says(&till, &neighbour) {
            Says::First(bytes) => (Vec::new(), bytes),
            Says::Control(bytes) | Says::Up(bytes) => (till.hello(1, 3), bytes),
        };
        stream.write_all(&[greeting, bytes].concat()).await.expect("sent");
        let Goodbye { reason: told, message, .. } =
            tcp_goodbye(&mut stream).await.unwrap_or_else(|| panic!("{wrong}: no goodbye"));
        assert_eq!(format!("{told:?}").to_lowercase(), *reason, "{wrong}: {message}");
        assert!(is_said(sentence, &message), "{wrong}: {message:?} where {sentence:?} was due");

        assert_eq!(world.kept(&till).await, before, "{wrong} left something behind");
        world.send_over_tcp(&mut till).await;
        assert_eq!(world.kept(&till).await.1, till.chain, "{wrong} is in the way of what is honest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_something_else_on_the_tcp_port_hurts_nobody() {
    let world = World::new().await;
    let mut till = world.till(1).await;
    world.send_over_tcp(&mut till).await;
    let before = world.kept(&till).await;
    let hello_of_tls = [0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff];
    let mut open = Vec::new();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 4_096], &[0xff; 100_000], &hello_of_tls, b""] {
        let mut stream = TcpStream::connect(world.tcp).await.expect("a connection");
        let _ = stream.write_all(bytes).await;
        open.push(stream);
    }
    // Whoever says nothing keeps a connection for ten seconds, and no more than one.
    for _ in 0..100 {
        open.push(TcpStream::connect(world.tcp).await.expect("a connection"));
    }
    let stranger = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let request = CertificateParams::default().serialize_request(&stranger).expect("a request").der().to_vec();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let elsewhere = Authority::open(elsewhere.path()).expect("another authority");
    let foreign = elsewhere.sign_device(&request, till.id, world.store).expect("a certificate");
    let nobody =
        world.authority.sign_device(&request, DeviceId(uuid::Uuid::from_bytes([77; 16])), world.store).expect("a certificate");
    let key = stranger.serialize_pem();
    for (wrong, certificate, word) in [
        ("a certificate of another authority", Some((foreign.as_str(), key.as_str())), None),
        ("no certificate", None, Some("a device certificate is needed")),
        ("a device that nobody enrolled", Some((nobody.as_str(), key.as_str())), Some("this device is not enrolled here")),
    ] {
        // With TLS 1.3 the client takes itself for connected before its certificate is looked at.
        let told = match world.tls_over_tcp(world.tls(certificate), REPLICATION_ALPN).await {
            Ok(mut stream) => {
                let _ = stream.write_all(&till.hello(1, 3)).await;
                tcp_goodbye(&mut stream).await.map(|bye| bye.message)
            }
            Err(_) => None,
        };
        assert_eq!(told.as_deref(), word, "{wrong}");
    }
    assert_eq!(world.kept(&till).await, before);
    world.send_over_tcp(&mut till).await;
    world.send_honestly(&mut till).await;
    assert_eq!(world.kept(&till).await.1, till.chain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_on_one_connection_whichever_way_it_comes() {
    let world = World::new().await;
    let till = world.till(1).await;
    let mut over_tcp = world.over_tcp(&till).await;
    over_tcp.write_all(&till.hello(1, 3)).await.expect("sent");
    assert!(matches!(tcp_frame(&mut over_tcp).await, Some(Frame::Welcome(_))));
    let mut line = world.open(&till).await;
    line.greet(&till).await;
    let told = tcp_goodbye(&mut over_tcp).await.expect("a goodbye");
    assert_eq!(told.reason, Reason::Replaced, "{}", told.message);

    let mut newer = world.over_tcp(&till).await;
    newer.write_all(&till.hello(1, 3)).await.expect("sent");
    assert!(matches!(tcp_frame(&mut newer).await, Some(Frame::Welcome(_))));
    let closed = tokio::time::timeout(PATIENCE, line.connection.closed()).await.expect("in time");
    let ConnectionError::ApplicationClosed(closed) = closed else { panic!("{closed}") };
    assert_eq!(closed.error_code, sync_proto::session::CLOSED_REPLACED.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_no_place_is_asked_to_come_back_and_then_finds_one() {
    let world = World::with_limits(Limits { connections: 1, ..Limits::default() }).await;
    let (first, mut second) = (world.till(1).await, world.till(3).await);
    let mut line = world.open(&first).await;
    line.greet(&first).await;
    for over_tcp in [false, true] {
        let told = match over_tcp {
            false => {
                let mut turned_away = world.open(&second).await;
                turned_away.control.write_all(&second.hello(1, 2)).await.expect("sent");
                turned_away.goodbye().await
            }
            true => {
                let mut turned_away = world.over_tcp(&second).await;
                turned_away.write_all(&second.hello(1, 3)).await.expect("sent");
                tcp_goodbye(&mut turned_away).await
            }
        };
        let Goodbye { reason, message, retry_after_ms } = told.expect("a goodbye");
        assert_eq!((reason, message.as_str()), (Reason::Busy, "the server serves as many devices as it can"));
        assert!(retry_after_ms.is_some_and(|ms| (10_000..20_000).contains(&ms)), "{retry_after_ms:?}");
    }
    line.connection.close(0u32.into(), b"");
    // The server hears of the closing in its own time.
    let mut tries = 0;
    loop {
        let mut line = world.open(&second).await;
        line.control.write_all(&second.hello(1, 2)).await.expect("sent");
        match line.frame().await {
            Some(Frame::Welcome(welcome)) if line.frame_within(Duration::from_millis(200)).await.is_none() => {
                assert_eq!(welcome.regional, 0);
                break;
            }
            other => assert!(tries < 100, "no place was given back: {other:?}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.send_honestly(&mut second).await;
}

impl World {
    /// Products for whoever follows the catalogue.
    async fn stock(&self, products: usize) {
        let rows: String = (0..products).map(|n| format!("P{n},Product {n},1.00,0\n")).collect();
        let (file, folder) = (format!("code,name,price,tax_rate_bp\n{rows}"), self._dir.path().join("imports"));
        let import = move |region: &mut Region| {
            let env: Arc<dyn Env> = Arc::new(Machine);
            let read = sync_server::import::whole(region, &folder, "products.csv", file.as_bytes(), &env).expect("read");
            assert!(read.problems.is_empty(), "{:?}", read.problems);
        };
        self.hub.with(import).await.expect("the owner");
    }

    /// A device that speaks `version` has nothing and reads; with a window of so many bytes. It has greeted.
    async fn follow(&self, till: &Till, version: u16, window: u32) -> Line {
        let mut tls = self.tls(Some((&till.certificate, &till.key_pem)));
        tls.alpn_protocols = vec![REPLICATION_ALPN.to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.stream_receive_window(window.into()).keep_alive_interval(Some(Duration::from_secs(1)));
        config.transport_config(Arc::new(transport));
        let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
        let connection =
            endpoint.connect_with(config, self.address, SERVER_NAME).expect("an address").await.expect("a connection");
        let (control, answers) = connection.open_bi().await.expect("a stream");
        let mut line = Line { connection, control, answers };
        line.control.write_all(&till.hello(1, version)).await.expect("sent");
        assert!(matches!(line.frame().await, Some(Frame::Welcome(_))));
        line
    }
}

impl Line {
    /// What comes down, each with the scopes that it is said to be of, until that of all has come.
    async fn downs(&self, last: u64) -> Vec<Commits> {
        let mut stream = self.connection.accept_uni().await.expect("a stream");
        let (mut downs, mut at) = (Vec::new(), BTreeMap::new());
        let read = async {
            while at.len() < 4 || at.values().any(|at| *at < last) {
                let mut prefix = [0; 4];
                stream.read_exact(&mut prefix).await.expect("more");
                let mut body = vec![0; frame_length(prefix).expect("a length")];
                stream.read_exact(&mut body).await.expect("more");
                let Ok(Some(Frame::Commits(commits))) = Frame::decode(&body) else { panic!("no commits") };
                let up_to = commits.up_to.expect("from a server");
                let all = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
                let of = commits.scopes.as_ref().map_or(all, |scopes| scopes.iter().map(|scope| scope.0.to_string()).collect());
                for scope in of {
                    at.insert(scope, up_to);
                }
                downs.push(commits);
                if downs.last().is_some_and(|commits| commits.scopes.is_none()) && up_to >= last {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("all of it");
        downs
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_catches_up_hears_of_its_store_first_and_an_older_one_in_order() {
    let world = World::with_limits(Limits { catch_up_rows: 100, ..Limits::default() }).await;
    let (mut neighbour, late) = (world.till(1).await, world.till(3).await);
    world.stock(3_000).await;
    world.send_honestly(&mut neighbour).await;
    let last = world.kept(&late).await.0;
    let place = |downs: &[Commits]| {
        let with_runs: Vec<_> = downs.iter().filter(|commits| !commits.runs.is_empty()).collect();
        let has = |commits: &&Commits| commits.runs.iter().any(|run| run.origin == neighbour.chain.origin);
        (with_runs.iter().position(has).expect("the neighbour's commit"), with_runs.len())
    };
    let (at, of) = place(&world.follow(&late, 3, 1 << 20).await.downs(last).await);
    assert!(at <= 1 && of > 3, "the neighbour's commit is {at} of {of}");
    let old = world.follow(&late, 2, 1 << 20).await.downs(last).await;
    assert!(old.iter().all(|commits| commits.scopes.is_none()));
    let (at, of) = place(&old);
    assert_eq!(at, of - 1, "an older program is told in the order of the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_does_not_read_keeps_nobody_from_catching_up() {
    let slice = Duration::from_millis(200);
    let limits = Limits { catch_ups: 1, catch_up_rows: 100, catch_up_slice: slice, ..Limits::default() };
    let world = World::with_limits(limits).await;
    let (stuck, late) = (world.till(1).await, world.till(3).await);
    world.stock(3_000).await;
    let last = world.kept(&late).await.0;
    // It has the only turn, and takes no more than a thousand bytes of what comes.
    let _stuck = world.follow(&stuck, 3, 1_000).await;
    let downs = world.follow(&late, 3, 1 << 20).await.downs(last).await;
    assert!(downs.len() > 3, "{}", downs.len());
}

/// One device says as much as it can; another one, which is honest, does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_floods_is_slowed_down_and_nobody_else() {
    let world = World::with_limits(Limits { device_entries_per_minute: 6_000, ..Limits::default() }).await;
    let (mut hostile, mut honest) = (world.till(1).await, world.till(3).await);
    world.send_honestly(&mut hostile).await;
    let mut line = world.open(&hostile).await;
    line.greet(&hostile).await;
    let mut up = line.connection.open_uni().await.expect("a stream");
    // What it has sent before, and frames that say nothing: each costs the server a look.
    let again = [encoded(vec![hostile.again_one()]), PING.repeat(50)].concat();
    let flooding = tokio::spawn(async move { while up.write_all(&again).await.is_ok() {} });
    let mut flooding_over_tcp = world.over_tcp(&hostile.as_copy()).await;
    let flood = PING.repeat(10_000);
    let flooding_too = tokio::spawn(async move { while flooding_over_tcp.write_all(&flood).await.is_ok() {} });
    for way in 0..20 {
        match way % 2 {
            0 => world.send_honestly(&mut honest).await,
            _ => world.send_over_tcp(&mut honest).await,
        }
    }
    assert_eq!(world.kept(&honest).await.1, honest.chain);
    let slowed = || world.hub.metrics().slowed_seconds();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while slowed() <= 0.0 {
        assert!(tokio::time::Instant::now() < deadline, "nobody was slowed down");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!flooding.is_finished(), "it is not cut off, only read from more slowly");
    flooding.abort();
    flooding_too.abort();
}

/// What is wrong with an enrolment, the bytes, the sentence.
type Enrolment = (&'static str, fn() -> Vec<u8>, &'static str);

#[rustfmt::skip]
const ENROLMENTS: &[Enrolment] = &[
    ("An enrolment that is no request", || b"let me in".to_vec(), "the request does not decode: is the till's program as new as the server's?"),
    ("An enrolment with no signing request", || request(GOOD_CODE, b"none"), "the signing request does not verify: try again with the same link"),
    ("An enrolment with a signing request that was changed", || request(GOOD_CODE, &{ let mut der = signing_request(); *der.last_mut().expect("bytes") ^= 1; der }), "the signing request does not verify: try again with the same link"),
    ("An enrolment with another kind of key", || request(GOOD_CODE, &ecdsa_request()), "the key in the signing request is no Ed25519 key: is the till's program as new as the server's?"),
    ("A wrong enrolment code", || request("ZZZZZZZZZZ", &signing_request()), "the code is wrong, used or too old: ask the manager for a new one"),
    ("An enrolment code of 10,000 letters", || request(&"Z".repeat(10_000), &signing_request()), "the code is wrong, used or too old: ask the manager for a new one"),
];

const GOOD_CODE: &str = "G00DC0DE11";

fn request(code: &str, der: &[u8]) -> Vec<u8> {
    minicbor::to_vec(Request { code: code.to_owned(), signing_request: ByteVec::from(der.to_vec()) }).expect("CBOR")
}

fn signing_request() -> Vec<u8> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    CertificateParams::default().serialize_request(&pair).expect("a request").der().to_vec()
}

fn ecdsa_request() -> Vec<u8> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    CertificateParams::default().serialize_request(&pair).expect("a request").der().to_vec()
}

impl World {
    /// Sends an enrolment as it stands; nothing when the server hangs up.
    async fn enrol(&self, bytes: &[u8]) -> Option<Answer> {
        let connection = self.connect(self.tls(None), ALPN).await.expect("a connection");
        let (mut out, mut inward) = connection.open_bi().await.expect("a stream");
        let sent = out.write_all(bytes).await.is_ok() && out.finish().is_ok();
        let answer = tokio::time::timeout(PATIENCE, inward.read_to_end(MESSAGE_BYTES_MAX)).await.expect("in time");
        connection.close(0u32.into(), b"");
        answer.ok().filter(|_| sent).and_then(|bytes| minicbor::decode(&bytes).ok())
    }

    async fn denied(&self, bytes: &[u8]) -> String {
        match self.enrol(bytes).await {
            Some(Answer::Denied(why)) => why,
            other => panic!("not denied but {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_that_is_wrong_is_denied_with_a_sentence_and_uses_no_code_up() {
    let world = World::new().await;
    world.code(GOOD_CODE).await;
    let devices = async || world.hub.with(|region| region.devices().count()).await.expect("the owner");
    let before = devices().await;
    for (wrong, bytes, sentence) in ENROLMENTS {
        assert_eq!(world.denied(&bytes()).await, *sentence, "{wrong}");
    }
    assert_eq!(world.enrol(&vec![0; MESSAGE_BYTES_MAX + 1]).await, None, "what is too long is not read");
    assert_eq!(devices().await, before);
    // Lower case, with spaces, the letter O for zero: as a person types it.
    let granted = world.enrol(&request("g00dc-ode 11", &signing_request())).await;
    assert!(matches!(granted, Some(Answer::Granted(_))), "{granted:?}");
    assert_eq!(devices().await, before + 1);
    let again = world.denied(&request(GOOD_CODE, &signing_request())).await;
    assert_eq!(again, "the code is wrong, used or too old: ask the manager for a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_wrong_code_ends_every_pending_one() {
    let world = World::new().await;
    world.code(GOOD_CODE).await;
    for _ in 0..5 {
        let told = world.denied(&request("ZZZZZZZZZZ", &signing_request())).await;
        assert_eq!(told, "the code is wrong, used or too old: ask the manager for a new one");
    }
    let told = world.denied(&request("ZZZZZZZZZZ", &signing_request())).await;
    assert_eq!(told, "too many wrong codes: every pending code was ended, ask the manager for a new one");
    let told = world.denied(&request(GOOD_CODE, &signing_request())).await;
    assert_eq!(told, "the code is wrong, used or too old: ask the manager for a new one");
    world.code("ANEWC0DE22").await;
    let granted = world.enrol(&request("ANEWC0DE22", &signing_request())).await;
    assert!(matches!(granted, Some(Answer::Granted(_))), "a new code works: {granted:?}");
}

#[test]
fn rows_are_in_the_page() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bad-input.md")).expect("the page");
    let doors = ROWS.iter().map(|(wrong, _, reason, sentence)| (wrong, reason, sentence));
    for (wrong, code, sentence) in doors.chain(ENROLMENTS.iter().map(|(wrong, _, sentence)| (wrong, &"denied", sentence))) {
        let line = format!("| {wrong} | `{code}` | {sentence} |");
        assert!(page.contains(&line), "docs/bad-input.md has no line that begins: {line}");
    }
}
