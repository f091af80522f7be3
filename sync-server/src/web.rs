//! The manager page and its API over HTTP.
//!
//! * [`WebServer`] binds and serves; [`WebState`] is what it needs: the central database, the desk that gives out enrolment
//!   codes, a clock and random numbers.
//! * [`accounts`]: who may sign in. `sessions`: who has. `attempts`: how often one may try.
//! * `api`: the routes of `/api/v1`, shapes in [`crate::web_api`]. `reports`: figures and lists, also as files. `live`: what happens while
//!   one watches. `catalogue`, `imports`: products, tax classes and stores, and products from a file.
//! * `page`: the built web app, from inside the program.
//! * `guard`: headers, origins, limits in time.
//!
//! Whoever is signed in is a manager of everything; finer rights come with the people they are for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sync_proto::env::Env;
use tokio::sync::{Semaphore, watch};

use crate::central::Postgres;
use crate::config::WebConfig;
use crate::hub::Hub;
use crate::import::Importer;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::web_api::EnrolmentCode;

pub mod accounts;
mod answer;
mod api;
mod attempts;
mod catalogue;
mod guard;
mod imports;
mod live;
mod page;
mod reports;
mod sessions;

/// How long requests that are being answered may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Gives out one-time codes for new devices.
pub trait EnrolmentDesk: Send + Sync {
    /// A code for a new device of the store with this code, such as `S01`, under the name that people will call it. May block.
    ///
    /// # Errors
    /// When there is no such store, the name is not one, or no code can be given now.
    fn issue(&self, store_code: &str, name: &str) -> Result<EnrolmentCode, IssueError>;
}

/// Why no code is given.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No store has this code.
    #[error("no store has the code {0}")]
    UnknownStore(String),
    /// The name is empty, too long, or taken; the sentence says which.
    #[error("{0}")]
    Name(String),
    /// Something is broken; the sentence is for the log.
    #[error("{0}")]
    Failed(String),
}

/// Why the web server does not run.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on {0} (web.listen): choose another port, or stop the program that has it")]
    Listen(SocketAddr, #[source] io::Error),
    /// The certificate or its key cannot be used.
    #[error("cannot use the certificate and key of the web page (web.tls_certificate, web.tls_key): {0}")]
    Tls(String),
    /// Serving ended by itself.
    #[error("the web server ended")]
    Serve(#[source] io::Error),
}

/// What requests are answered from. Cheap to clone.
#[derive(Clone)]
pub struct WebState {
    pub(crate) shared: Arc<Shared>,
    live: Live,
    catalogue: Option<Catalogue>,
}

/// The way to the catalogue: documents and imports.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    pub(crate) hub: Hub,
    pub(crate) importer: Importer,
}

pub(crate) struct Shared {
    pub(crate) central: Postgres,
    pub(crate) desk: Box<dyn EnrolmentDesk>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) ready: Box<dyn Fn() -> bool + Send + Sync>,
    pub(crate) sessions: sessions::Sessions,
    pub(crate) attempts: attempts::Attempts,
    pub(crate) checks: accounts::Checks,
    pub(crate) turns: Turns,
}

/// Turns at what takes a connection for long.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) files: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) watchers: Arc<Semaphore>,
}

impl WebState {
    /// A state with nobody signed in.
    pub fn new(central: Postgres, desk: impl EnrolmentDesk + 'static, env: Arc<dyn Env>) -> Self {
        Self::with_readiness(central, desk, env, || true)
    }

    /// The same, with a question that `/readyz` asks: whether the server takes entries. It does not depend on Postgres.
    pub fn with_readiness(
        central: Postgres,
        desk: impl EnrolmentDesk + 'static,
        env: Arc<dyn Env>,
        ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                central,
                desk: Box::new(desk),
                env,
                ready: Box::new(ready),
                sessions: sessions::Sessions::default(),
                attempts: attempts::Attempts::default(),
                checks: accounts::Checks::default(),
                turns: Turns {
                    files: Arc::new(Semaphore::new(reports::FILES_AT_ONCE)),
                    uploads: Arc::new(Semaphore::new(imports::UPLOADS_AT_ONCE)),
                    watchers: Arc::new(Semaphore::new(live::WATCHERS_MAX)),
                },
            }),
            live: Live::default(),
            catalogue: None,
        }
    }

    /// The same, with what happens in this server.
    #[must_use]
    pub fn with_live(self, live: Live) -> Self {
        Self { live, ..self }
    }

    /// The same, with the catalogue to edit.
    #[must_use]
    pub fn with_catalogue(self, hub: Hub, importer: Importer) -> Self {
        Self { catalogue: Some(Catalogue { hub, importer }), ..self }
    }

    /// The way to the catalogue.
    fn catalogue(&self) -> Result<&Catalogue, answer::Refusal> {
        self.catalogue.as_ref().ok_or(answer::Refusal::NotFound)
    }

    /// What happens in this server, for those who watch.
    pub fn live(&self) -> &Live {
        &self.live
    }
}

/// A web server that has its address.
pub struct WebServer {
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    metrics: Metrics,
}

impl WebServer {
    /// Takes the address, and reads certificate and key when there are any.
    ///
    /// # Errors
    /// When the address is taken, or certificate and key cannot be used.
    pub fn bind(config: &WebConfig) -> Result<Self, WebError> {
        let tls = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(tls(certificate, key)?),
            _ => None,
        };
        let refused = |e| WebError::Listen(config.listen, e);
        let listener = TcpListener::bind(config.listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self { listener, tls, metrics: Metrics::default() })
    }

    /// Counts its answers there.
    #[must_use]
    pub fn counted_by(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until told to stop (`shutdown` becomes true or its sender is gone), and then lets running answers finish for a moment.
    ///
    /// # Errors
    /// When serving ends by itself.
    pub async fn run(self, state: WebState, mut shutdown: watch::Receiver<bool>) -> Result<(), WebError> {
        let handle = Handle::new();
        let stopper = handle.clone();
        let stopping = tokio::spawn(async move {
            // An error means that nobody is left who could ask to stop: stop.
            let _ = shutdown.wait_for(|&stop| stop).await;
            stopper.graceful_shutdown(Some(DRAIN));
        });
        let accounts = tokio::spawn(sessions::follow_accounts(state.shared.clone()));
        let metrics = self.metrics;
        let counted = axum::middleware::map_response(move |response: axum::response::Response| {
            metrics.web_request(response.status().as_u16());
            std::future::ready(response)
        });
        let service = api::router(state, self.tls.is_some()).layer(counted).into_make_service_with_connect_info::<SocketAddr>();
        let server = axum_server::from_tcp(self.listener).map_err(WebError::Serve)?.handle(handle);
        let served = match self.tls {
            Some(tls) => server.acceptor(axum_server::tls_rustls::RustlsAcceptor::new(tls)).serve(service).await,
            None => server.serve(service).await,
        };
        stopping.abort();
        accounts.abort();
        served.map_err(WebError::Serve)
    }
}

/// Binds and serves until told to stop.
///
/// # Errors
/// As [`WebServer::bind`] and [`WebServer::run`].
pub async fn serve(config: &WebConfig, state: WebState, shutdown: watch::Receiver<bool>) -> Result<(), WebError> {
    WebServer::bind(config)?.run(state, shutdown).await
}

/// Whether certificate and key, when there are any, can be used.
pub(crate) fn check_tls(config: &WebConfig) -> Result<(), WebError> {
    match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => tls(certificate, key).map(drop),
        _ => Ok(()),
    }
}

fn tls(certificate: &Path, key: &Path) -> Result<RustlsConfig, WebError> {
    let fail = |path: &Path, why: &dyn std::fmt::Display| WebError::Tls(format!("{}: {why}", path.display()));
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|e| fail(certificate, &e))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|e| fail(certificate, &e))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| fail(key, &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(certificate, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| fail(key, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::env::Machine;

    struct NoDesk;

    impl EnrolmentDesk for NoDesk {
        fn issue(&self, code: &str, _: &str) -> Result<EnrolmentCode, IssueError> {
            Err(IssueError::UnknownStore(code.to_owned()))
        }
    }

    fn state() -> WebState {
        let central = Postgres::new("postgresql://nobody@127.0.0.1:1/nothing").expect("a URL");
        WebState::new(central, NoDesk, Arc::new(Machine))
    }

    fn config(folder: &Path, certificate: &str, key: &str) -> WebConfig {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("write");
            Some(path)
        };
        WebConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_certificate: file("cert.pem", certificate),
            tls_key: file("key.pem", key),
        }
    }

    fn get(mut stream: impl Read + Write) -> String {
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = Vec::new();
        // Without a closing message the end is an error; what came before it is the answer.
        let _ = asked.and_then(|()| stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_speaks_tls_with_the_given_certificate_and_stops_when_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let config = config(folder.path(), &made.cert.pem(), &made.signing_key.serialize_pem());
        let server = WebServer::bind(&config).expect("bind");
        let address = server.local_addr().expect("an address");
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(server.run(state(), stopping));

        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let connection = rustls::ClientConnection::new(Arc::new(client), name).expect("a client");
        let (secure, plain) = tokio::task::block_in_place(|| {
            let stream = || TcpStream::connect(address).expect("connect");
            (get(rustls::StreamOwned::new(connection, stream())), get(stream()))
        });
        assert!(secure.starts_with("HTTP/1.1 200 OK") && secure.ends_with("ok\n"), "{secure}");
        assert!(!plain.starts_with("HTTP/1.1 200"), "{plain}");

        stop.send(true).expect("it runs");
        running.await.expect("it ends").expect("without an error");
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_certificate_with_another_ones_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (one, other) = (made(), made());
        for (certificate, key) in [
            (one.cert.pem(), other.signing_key.serialize_pem()),
            (String::new(), one.signing_key.serialize_pem()),
            (one.cert.pem(), "no key".into()),
        ] {
            let refused = WebServer::bind(&config(folder.path(), &certificate, &key));
            assert!(matches!(refused, Err(WebError::Tls(_))));
        }
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let listen = taken.local_addr().expect("an address");
        let refused = WebServer::bind(&WebConfig { listen, tls_certificate: None, tls_key: None });
        let message = refused.err().expect("refused").to_string();
        assert!(message.contains(&listen.to_string()), "{message}");
    }
}
