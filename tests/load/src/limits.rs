//! What the machine can do at best: a sync of a file that is there already, a preallocated log, an echo and a transfer over QUIC.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use node::replication::net::{Net, client_config};
use node::replication::tls;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint};
use rustls::server::WebPkiClientVerifier;
use sync_proto::enrolment::SERVER_NAME;
use sync_server::authority::Authority;

use crate::devices::Keys;

/// The TLS protocol name of the server that does nothing else.
const BARE_ALPN: &[u8] = b"evertill-bench-bare";
/// The bytes of one echo.
const ECHO_BYTES: usize = 64;
/// The size of the preallocated file.
const RAW_BYTES: u64 = 16 << 20;

/// A file of a fixed size that is overwritten and synced: the cheapest durable write there is.
#[derive(Debug)]
pub struct RawLog {
    file: File,
    at: u64,
}

impl RawLog {
    /// Makes the file, every byte of it written and synced once.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn new(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path).context("cannot make the raw log")?;
        let chunk = vec![1; 1 << 20];
        for at in (0..RAW_BYTES).step_by(chunk.len()) {
            file.write_all_at(&chunk, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    /// Writes bytes after the last ones, from the beginning again at the end, and syncs; answers how long that took.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Duration> {
        if self.at + bytes.len() as u64 > RAW_BYTES {
            self.at = 0;
        }
        let begun = Instant::now();
        self.file.write_all_at(bytes, self.at)?;
        self.file.sync_data()?;
        let took = begun.elapsed();
        self.at += bytes.len() as u64;
        Ok(took)
    }

    /// Overwrites one page and syncs: the raw fdatasync that budgets are relative to.
    ///
    /// # Errors
    /// A disk that refuses.
    pub fn sync_page(&mut self) -> Result<Duration> {
        self.at = self.at.next_multiple_of(4_096);
        self.append(&[2; 4_096])
    }
}

/// A server that sends back what it gets, with the transport and the mutual TLS that devices have, and a connection to it.
#[derive(Debug)]
pub struct Echo {
    out: quinn::SendStream,
    inward: quinn::RecvStream,
    _ends: (Endpoint, Net),
}

impl Echo {
    /// Starts it on a runtime and connects to it. `keys` are those of a device of the authority.
    ///
    /// # Errors
    /// No socket, or TLS that refuses.
    pub async fn start(server: &tokio::runtime::Handle, authority: &Authority, keys: &Keys) -> Result<Self> {
        let serve = async move |connection: Connection| {
            let Ok((mut out, mut inward)) = connection.accept_bi().await else { return };
            let mut bytes = [0; ECHO_BYTES];
            while inward.read_exact(&mut bytes).await.is_ok() && out.write_all(&bytes).await.is_ok() {}
        };
        let (connection, ends) = bare(server, authority, keys, serve).await?;
        let (out, inward) = connection.open_bi().await?;
        Ok(Self { out, inward, _ends: ends })
    }

    /// There and back.
    ///
    /// # Errors
    /// A connection that is gone.
    pub async fn round_trip(&mut self) -> Result<Duration> {
        let mut bytes = [7; ECHO_BYTES];
        let begun = Instant::now();
        self.out.write_all(&bytes).await?;
        self.inward.read_exact(&mut bytes).await?;
        Ok(begun.elapsed())
    }
}

/// Pieces of bytes sent over a connection with the transport and the mutual TLS that devices have, each handed over when it is there whole; answers how
/// long all of it took, from the first byte that was asked for.
///
/// # Errors
/// No socket, TLS that refuses, or what whoever takes them says.
pub async fn transfer(
    server: &tokio::runtime::Handle,
    authority: &Authority,
    keys: &Keys,
    pieces: Vec<Vec<u8>>,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Duration> {
    let sizes: Vec<usize> = pieces.iter().map(Vec::len).collect();
    let serve = async move |connection: Connection| {
        let Ok((mut out, _)) = connection.accept_bi().await else { return };
        for piece in pieces {
            if out.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = out.finish();
        connection.closed().await;
    };
    let (connection, _ends) = bare(server, authority, keys, serve).await?;
    let begun = Instant::now();
    let (mut ask, mut inward) = connection.open_bi().await?;
    ask.write_all(b"?").await?;
    let mut bytes = Vec::new();
    for size in sizes {
        bytes.resize(size, 0);
        inward.read_exact(&mut bytes).await?;
        take(&bytes)?;
    }
    Ok(begun.elapsed())
}

/// A server that does one thing with the one connection that it takes, and that connection.
async fn bare<S: Future<Output = ()> + Send>(
    server: &tokio::runtime::Handle,
    authority: &Authority,
    keys: &Keys,
    serve: impl FnOnce(Connection) -> S + Send + 'static,
) -> Result<(Connection, (Endpoint, Net))> {
    let endpoint = {
        let _inside = server.enter();
        Endpoint::server(server_config(authority)?, (Ipv4Addr::LOCALHOST, 0).into())?
    };
    let address = endpoint.local_addr()?;
    let accepting = endpoint.clone();
    server.spawn(async move {
        let Some(Ok(connecting)) = accepting.accept().await.map(quinn::Incoming::accept) else { return };
        if let Ok(connection) = connecting.await {
            serve(connection).await;
        }
    });
    let net = Net::machine()?;
    let tls = tls::mutual(authority.certificate_pem(), &keys.certificate_pem, &keys.key_pem)?;
    let config = client_config(tls, BARE_ALPN)?;
    let connection = net.connect(&address.to_string(), SERVER_NAME, config).await?;
    Ok((connection, (endpoint, net)))
}

fn server_config(authority: &Authority) -> Result<quinn::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let (chain, key) = authority.server_identity();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![BARE_ALPN.to_vec()];
    Ok(quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?)))
}
