//! A till at work: its thread, its replication and its printing, and how they come to an end together.
//!
//! Whoever is a till runs this: the program without a window with a [`Face`], the window without one.

use std::sync::Arc;
use std::time::Duration;

use domain::ids::{DeviceId, StoreId};
use hardware::{NetworkPrinter, Timeouts};
use sync_proto::env::Env;
use sync_proto::session::VERSIONS;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::care;
use crate::config::{Config, Lan};
use crate::env::SystemEnv;
use crate::errors::chain_of;
use crate::face::Face;
use crate::handle::Node;
use crate::identity::{Identity, IdentityError};
use crate::peers::{self, discover};
use crate::print_queue;
use crate::replication::net::Net;
use crate::replication::{self, Link};
use crate::till::{DAY_MS, OpenError, Till, TillOptions};

/// How long what is under way may take after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Why a till could not begin to work. What was opened is closed again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key or certificate in the data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The files of the till cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system has no thread to give.
    #[error("no thread for the till")]
    Thread(#[source] std::io::Error),
}

/// Why a till that was at work cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The listening socket broke.
    #[error("the face broke")]
    Face(#[source] std::io::Error),
    /// An invariant of the till broke.
    #[error("the till stopped by itself; the log says why")]
    Till,
    /// Its replica was damaged and is put aside: opened again, the till goes on with what can still be read.
    #[error("the data of this till was damaged and has been put aside: start it again")]
    PutAside,
}

/// A till at work. Call [`Running::stop`]: a till that is only dropped ends without waiting for what is under way.
#[derive(Debug)]
pub struct Running {
    node: Node,
    thread: std::thread::JoinHandle<()>,
    tasks: JoinSet<()>,
    face: Option<JoinHandle<std::io::Result<()>>>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Opens the till of a data folder and lets it replicate and print. With a face, it is served too.
    ///
    /// # Errors
    /// A till that cannot be opened.
    pub fn start(identity: Identity, config: &Config, face: Option<Face>) -> Result<Self, StartError> {
        let address = config.server.clone().unwrap_or_else(|| identity.region_address().to_owned());
        let link = Link { tcp_address: config.server_tcp.clone(), ..link(&identity, address)? };
        let env: Arc<dyn Env> = Arc::new(SystemEnv);
        let (own, lan) = ((identity.device(), identity.store()), config.lan.clone());
        let keep_ms = config.keep_days.map(|days| days * DAY_MS);
        let options = TillOptions { printing: config.printer.is_some(), keep_ms, ..TillOptions::default() };
        let till = Till::open(identity, env.clone(), options)?;
        let (node, thread) = Node::start(till).map_err(StartError::Thread)?;
        let (stop, stopping) = watch::channel(false);

        let mut tasks = JoinSet::new();
        tasks.spawn(with_neighbours(node.clone(), link.clone(), own, lan, env.clone(), stopping.clone()));
        tasks.spawn(replicate(node.clone(), link, env, stopping.clone()));
        tasks.spawn(care::run(node.clone(), stopping.clone()));
        if let Some(printer) = &config.printer {
            let printer = NetworkPrinter::new(printer.address.clone(), printer.profile, Timeouts::default());
            tasks.spawn(print_queue::run(node.clone(), printer, stopping.clone()));
        }
        let face = face.map(|face| tokio::spawn(face.serve(node.clone(), stopping)));
        Ok(Self { node, thread, tasks, face, stop })
    }

    /// The door to the till.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns when the till cannot go on, and says why.
    pub async fn broken(&mut self) -> Broken {
        let served = async {
            match &mut self.face {
                Some(face) => face.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            served = served => {
                // It is not to be awaited a second time.
                self.face = None;
                Broken::Face(served.unwrap_or_else(|panicked| Err(panicked.into())).err().unwrap_or_else(ended_early))
            }
            () = self.node.stopped() => if self.node.is_over() { Broken::PutAside } else { Broken::Till },
        }
    }

    /// Ends what is under way, tidies up, and lets go of the data folder; after ten seconds without waiting any longer.
    pub async fn stop(self) {
        let Self { node, thread, mut tasks, face, stop } = self;
        drop(node);
        tracing::info!("stopping");
        stop.send_replace(true);
        let ended = async {
            while tasks.join_next().await.is_some() {}
            if let Some(face) = face {
                let _ = face.await;
            }
        };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("not everything that was under way came to an end");
            tasks.abort_all();
            while tasks.join_next().await.is_some() {}
            return;
        }
        // The last handle is gone, so the till tidies up and ends.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

fn ended_early() -> std::io::Error {
    std::io::Error::other("it ended although nobody had stopped it")
}

fn link(identity: &Identity, address: String) -> Result<Link, IdentityError> {
    Ok(Link {
        address,
        tcp_address: None,
        server_name: identity.server_name().to_owned(),
        authority_pem: identity.authority_cert_pem()?,
        certificate_pem: identity.device_cert_pem()?,
        key_pem: identity.key_pem()?,
        versions: VERSIONS,
    })
}

/// A till whose link cannot be set up sells on.
async fn replicate(node: Node, link: Link, env: Arc<dyn Env>, stop: watch::Receiver<bool>) {
    let net = match Net::machine() {
        Ok(net) => net,
        Err(error) => return tracing::error!(error = %chain_of(&error), "this till cannot replicate: no socket"),
    };
    if let Err(error) = replication::run(node, net, link, env, stop).await {
        tracing::error!(error = %chain_of(&error), "this till cannot replicate: its certificate or key is unusable");
    }
}

/// A till whose neighbours cannot be reached sells on, too.
async fn with_neighbours(
    node: Node,
    link: Link,
    own: (DeviceId, StoreId),
    lan: Lan,
    env: Arc<dyn Env>,
    stop: watch::Receiver<bool>,
) {
    let net = match Net::listening(lan.listen) {
        Ok(net) => net,
        Err(error) => return tracing::error!(error = %chain_of(&error), "this till has no neighbours: no socket"),
    };
    let port = net.endpoint.local_addr().map_or(lan.listen.port(), |address| address.port());
    let (known, seen) = watch::channel(lan.peers.clone());
    let finding = async {
        match lan.discover {
            true => discover::run(own, port, lan.peers, known, stop.clone()).await,
            // Nobody else is known until the end.
            false => drop((known, stop.clone().wait_for(|stop| *stop).await)),
        }
    };
    let replicating = peers::run(node, net, &link, own, seen, env, stop.clone());
    if let (Err(error), ()) = tokio::join!(replicating, finding) {
        tracing::error!(error = %chain_of(&error), "this till has no neighbours: its certificate or key is unusable");
    }
}
