//! A shop in this process: the real regional server on a runtime of its own, real tills on theirs, QUIC on loopback between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use domain::document::Store;
use domain::ids::{OrderId, StoreId};
use domain::money::Currency;
use domain::staff::Role;
use domain::tax::TaxMode;
use node::api::{Command, Event, Item, LinkState, Query, TillView};
use node::env::SystemEnv;
use node::handle::Node;
use node::identity::Identity;
use node::replication::{self, Link, net::Net};
use node::till::{Answer, Till, TillOptions};
use sync_proto::enrolment;
use sync_proto::env::Env;
use sync_server::authority::Authority;
use sync_server::daemon;
use sync_server::env::Machine;
use sync_server::hub::Hub;
use sync_server::quic::Quic;
use sync_server::region::{Region, staff_member};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::catalogue::{self, Names};

/// The code of the one store.
pub const STORE_CODE: &str = "S01";
const PIN: &str = "1234";
/// How long anything may take before the bench gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the data folder of a region with one store, one cashier and so many products, and hands it over open, before it listens.
///
/// # Errors
/// A disk that refuses.
pub fn found(folder: &Path, names: &Names, products: usize) -> Result<daemon::Opened> {
    let mut opened = daemon::open(folder, &Machine, true)?;
    let now_ms = Machine.unix_ms();
    let store = Store {
        id: StoreId::new(now_ms, [7; 10]),
        code: STORE_CODE.to_owned(),
        name: "Harbour Street".to_owned(),
        address: vec!["12 Harbour Street".to_owned()],
        currency: Currency::new("GBP").expect("three capital letters"),
        tax_mode: TaxMode::Inclusive,
        receipt_footer: "Thank you".to_owned(),
        receipt_header: Vec::new(),
        languages: vec!["en".to_owned()],
        time_zone: "Europe/London".to_owned(),
    };
    opened.region.add_store(store, now_ms)?;
    let cashier = staff_member("Ana", Role::Cashier, PIN, &Machine).map_err(|why| anyhow!(why))?;
    opened.region.add_staff(STORE_CODE, cashier, now_ms)?;
    catalogue::import(&mut opened.region, folder, &catalogue::products(names, 0, products))?;
    Ok(opened)
}

/// A running regional server without a central database.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    /// The way to its log.
    pub hub: Hub,
    /// Its authority.
    pub authority: Arc<Authority>,
    /// Where devices connect.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
    _lock: std::fs::File,
}

impl Server {
    /// Listens on loopback with what was opened.
    ///
    /// # Errors
    /// No socket.
    pub fn start(opened: daemon::Opened) -> Result<Self> {
        let runtime = runtime()?;
        let daemon::Opened { region, authority, _lock } = opened;
        let hub = Hub::spawn(region);
        let quic = Quic::new(hub.clone(), authority.clone(), Arc::new(Machine));
        let endpoint = {
            let _inside = runtime.enter();
            quic.bind((Ipv4Addr::LOCALHOST, 0).into())?
        };
        let address = endpoint.local_addr()?;
        let (stop, stopping) = watch::channel(false);
        let serving = Some(runtime.spawn(quic.run(endpoint, stopping)));
        Ok(Self { runtime, hub, authority, address, stop, serving, _lock })
    }

    /// The runtime it is on.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        self.runtime.handle()
    }

    /// Does something with the log, in its turn.
    ///
    /// # Errors
    /// A server that has stopped.
    pub fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Region) -> T + Send + 'static) -> Result<T> {
        Ok(self.hub.with_blocking(work)?)
    }

    /// Makes an enrolment link for a new till.
    ///
    /// # Errors
    /// A log that refuses.
    pub fn enrolment_link(&self, name: &str) -> Result<enrolment::Link> {
        let (authority, public, name) = (self.authority.clone(), self.address.to_string(), name.to_owned());
        let code = self.with(move |region| daemon::issue(region, &authority, &public, STORE_CODE, &name, &Machine))??;
        code.link.parse().context("the server's own link")
    }

    /// Enrols a till in a new folder, and lets it receive everything there is; then it is closed again.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    pub fn stocked_till(&self, folder: &Path, products: usize) -> Result<PathBuf> {
        let runtime = runtime()?;
        let link = self.enrolment_link("Till")?;
        runtime.block_on(node::enrol::enrol(folder, &link, &SystemEnv))?;
        let till = LinkedTill::start(runtime, folder, self.address, false)?;
        till.wait_for_product(&catalogue::code(products - 1))?;
        till.wait(|view| view.link.unsent == 0)?;
        till.close()?;
        Ok(folder.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            let _ = self.runtime.block_on(serving);
        }
    }
}

/// A runtime as the programs have it.
///
/// # Errors
/// A system without threads to give.
pub fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")
}

/// Opens the till of a folder, without a thread or a network.
///
/// # Errors
/// Whatever keeps it from selling.
pub fn open_till(folder: &Path, printing: bool) -> Result<Till> {
    let options = TillOptions { printing, ..TillOptions::default() };
    Ok(Till::open(Identity::load(folder)?, Arc::new(SystemEnv), options)?)
}

/// Signs the cashier in and opens a shift, where none is open.
///
/// # Errors
/// What the till refuses.
pub fn open_shift(till: &mut Till) -> Result<()> {
    let view = till.view().map_err(refused)?;
    let staff = view.staff.first().context("the till has no staff yet")?.id;
    till.command(Command::SignIn { staff, pin: PIN.to_owned() }).map_err(refused)?;
    if view.shift.is_none() {
        till.command(Command::OpenShift { float_minor: 10_000, business_day: None }).map_err(refused)?;
    }
    Ok(())
}

/// Scans products into the cart.
///
/// # Errors
/// What the till refuses.
pub fn scan(till: &mut Till, codes: impl IntoIterator<Item = String>) -> Result<TillView> {
    let mut view = None;
    for code in codes {
        view = Some(till.command(scanned(code)).map_err(refused)?);
    }
    view.context("nothing was scanned")
}

/// The scan of a code.
pub fn scanned(code: String) -> Command {
    Command::AddLine { item: Item::Code { code }, quantity_milli: None, unit_price: None, name: None, separate: Some(true) }
}

/// Payment of what is in the cart, with a note that covers it.
pub fn payment(view: &TillView) -> Command {
    let total = view.cart.total_minor;
    Command::SettleCash { order: view.cart.order, tendered_minor: total + (500 - total % 500) % 500 }
}

/// An answer of the till's door as an error of the bench.
pub fn refused(error: node::api::ApiError) -> anyhow::Error {
    anyhow!("the till refuses: {error:?}")
}

/// A till on a thread of its own, with its link up or coming up.
#[derive(Debug)]
pub struct LinkedTill {
    /// What is asked of it.
    pub node: Node,
    /// The runtime of its link.
    pub runtime: Runtime,
    stop: watch::Sender<bool>,
    link: JoinHandle<()>,
    thread: std::thread::JoinHandle<()>,
}

impl LinkedTill {
    /// Opens the till of a folder and starts its link to an address.
    ///
    /// # Errors
    /// Whatever keeps it from selling.
    pub fn start(runtime: Runtime, folder: &Path, server: SocketAddr, printing: bool) -> Result<Self> {
        let till = open_till(folder, printing)?;
        Self::of(runtime, till, server)
    }

    /// Starts the link of an open till.
    ///
    /// # Errors
    /// No thread or socket, or an identity that does not read.
    pub fn of(runtime: Runtime, till: Till, server: SocketAddr) -> Result<Self> {
        let identity = till.identity();
        let link = Link {
            address: server.to_string(),
            tcp_address: None,
            server_name: identity.server_name().to_owned(),
            authority_pem: identity.authority_cert_pem()?,
            certificate_pem: identity.device_cert_pem()?,
            key_pem: identity.key_pem()?,
            versions: sync_proto::session::VERSIONS,
        };
        let (node, thread) = Node::start(till)?;
        let net = {
            let _inside = runtime.enter();
            Net::machine()?
        };
        let (stop, stopping) = watch::channel(false);
        let replicating = node.clone();
        let link = runtime.spawn(async move {
            if let Err(error) = replication::run(replicating, net, link, Arc::new(SystemEnv), stopping).await {
                eprintln!("a till of the bench cannot replicate: {error}");
            }
        });
        Ok(Self { node, runtime, stop, link, thread })
    }

    /// What it says happens.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.node.events()
    }

    /// What its screen shows.
    ///
    /// # Errors
    /// A till that has stopped.
    pub fn view(&self) -> Result<TillView> {
        self.runtime.block_on(view(&self.node))
    }

    /// Does something with the till, in its turn.
    ///
    /// # Errors
    /// A till that has stopped.
    pub fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Till) -> T + Send + 'static) -> Result<T> {
        Ok(self.runtime.block_on(self.node.with(work))?)
    }

    /// Waits until its screen shows something.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait(&self, shows: impl Fn(&TillView) -> bool) -> Result<()> {
        let mut events = self.events();
        self.runtime.block_on(patiently("the till", async {
            while !shows(&view(&self.node).await?) {
                happened(&mut events).await?;
            }
            Ok(())
        }))
    }

    /// Waits until it is connected.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_until_online(&self) -> Result<()> {
        self.wait(|view| view.link.state == LinkState::Online)
    }

    /// Waits until it can sell the product of a code.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_product(&self, code: &str) -> Result<()> {
        let mut events = self.events();
        let search = Query::Search { text: code.to_owned(), limit: 1 };
        self.runtime.block_on(patiently("the catalogue", async {
            loop {
                match self.node.query(search.clone()).await.map_err(refused)? {
                    Answer::Products(found) if !found.is_empty() => return Ok(()),
                    _ => {
                        happened(&mut events).await?;
                    }
                }
            }
        }))
    }

    /// Waits until it knows so many orders, its own and its neighbours'.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn wait_for_orders(&self, orders: u64) -> Result<()> {
        let mut events = self.events();
        self.runtime.block_on(patiently("the orders", async {
            loop {
                match self.node.query(Query::Ledger {}).await.map_err(refused)? {
                    Answer::Ledger(ledger) if ledger.orders >= orders => return Ok(()),
                    _ => {
                        happened(&mut events).await?;
                    }
                }
            }
        }))
    }

    /// Whether it knows an order.
    pub async fn knows(&self, order: OrderId) -> bool {
        self.node.query(Query::Order { order }).await.is_ok()
    }

    /// Takes the link down and closes the till. Its runtime comes back.
    ///
    /// # Errors
    /// A till that broke.
    pub fn close(self) -> Result<Runtime> {
        let Self { node, runtime, stop, link, thread } = self;
        stop.send_replace(true);
        runtime.block_on(link)?;
        drop(node);
        thread.join().map_err(|_| anyhow!("the till broke"))?;
        Ok(runtime)
    }
}

async fn view(node: &Node) -> Result<TillView> {
    match node.query(Query::Till {}).await.map_err(refused)? {
        Answer::Till(view) => Ok(*view),
        _ => bail!("the till answers something else"),
    }
}

/// Waits for the next event. One that was missed is an event too.
///
/// # Errors
/// A till that has stopped.
pub async fn happened(events: &mut broadcast::Receiver<Event>) -> Result<Option<Event>> {
    match events.recv().await {
        Ok(event) => Ok(Some(event)),
        Err(broadcast::error::RecvError::Lagged(_)) => Ok(None),
        Err(broadcast::error::RecvError::Closed) => bail!("the till has stopped"),
    }
}

/// Waits for something, for as long as the bench has patience.
///
/// # Errors
/// Its error, or that it took too long.
pub async fn patiently<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => bail!("{what} took more than {} s", PATIENCE.as_secs()),
    }
}

/// Copies a data folder of which nothing is being written.
///
/// # Errors
/// A disk that refuses.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
