//! A real till on a simulated disk.
//!
//! Its database files are on a [`Disk`]; its identity (keys, incarnation, high-water mark) lies outside SQLite in a data folder of the real
//! file system. [`Device`] remembers what that folder holds, so that a till can be found again as it was at any moment of the day.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use domain::ids::OrderId;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jiff::tz::TimeZone;
use node::api::{ApiError, LedgerView, OrderSummary, OrderView, ProductView, Query, TillView};
use node::identity::{Granted, Identity, machine_id};
use node::store::{PAGES_AT_ONCE, StoreOptions, rebuild};
use node::till::{Answer, Till, TillOptions};
use sync_proto::batch::Run;
use tempfile::TempDir;

use crate::crash_vfs::Disk;
use crate::shop::{MORNING_MS, Shop, SimEnv};

/// Most bytes of one run in a test.
const RUN_BYTES: usize = 64 * 1024;

/// A data folder without databases, on a file system in memory where there is one.
#[derive(Debug)]
pub struct Folder {
    dir: TempDir,
}

/// What is in the `device` part of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    files: BTreeMap<PathBuf, Arc<[u8]>>,
}

impl Folder {
    /// An empty folder.
    ///
    /// # Errors
    /// When there is no room for one.
    pub fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Ok(Self { dir: dir? })
    }

    /// A folder in which a till of the shop has just been enrolled.
    ///
    /// # Errors
    /// When that fails.
    pub fn enrolled(shop: &Shop, number: u32) -> Result<Self> {
        let folder = Self::new()?;
        let (server_device, server_public_key) = shop.server();
        let granted = Granted {
            device: shop.till_device(number),
            store: shop.store.id,
            store_code: shop.store.code.clone(),
            number,
            name: format!("Device {number}"),
            region_address: "localhost:1".to_owned(),
            server_name: "region".to_owned(),
            device_cert_pem: String::new(),
            authority_cert_pem: String::new(),
            key_pem: shop.till_key(number).to_pkcs8_pem(LineEnding::LF)?.to_string(),
            server_device,
            server_public_key,
        };
        Identity::create(folder.path(), granted, &SimEnv::new(MORNING_MS, u64::from(number)))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What its `device` part holds now; what was the same in `before` is shared with it.
    pub fn device(&self, before: &Device) -> Device {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(self.path().join("device")).into_iter().flatten().flatten() {
            let name = PathBuf::from(entry.file_name());
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            let same = before.files.get(&name).filter(|known| ***known == bytes[..]).cloned();
            files.insert(name, same.unwrap_or_else(|| bytes.into()));
        }
        Device { files }
    }

    /// Makes its `device` part hold just that.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn restore(&self, device: &Device) -> Result<()> {
        fs::create_dir_all(self.path().join("replica"))?;
        let part = self.path().join("device");
        let now = self.device(device);
        fs::create_dir_all(&part)?;
        fs::set_permissions(&part, fs::Permissions::from_mode(0o700))?;
        for name in now.files.keys().filter(|name| !device.files.contains_key(*name)) {
            fs::remove_file(part.join(name))?;
        }
        for (name, bytes) in device.files.iter().filter(|(name, bytes)| now.files.get(*name) != Some(*bytes)) {
            let _ = fs::remove_file(part.join(name));
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(part.join(name))?;
            file.write_all(bytes)?;
        }
        Ok(())
    }
}

impl Device {
    /// What a file of it says.
    pub fn text(&self, name: &str) -> Option<String> {
        self.files.get(Path::new(name)).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    /// The same with another high-water mark: the one file that is not pushed to the disk each time, so that after a power cut it may be
    /// an older one, half a one or none.
    #[must_use]
    pub fn with_high_water(&self, of: &Device, bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> Device {
        let name = PathBuf::from("high-water");
        let mut device = self.clone();
        match of.files.get(&name) {
            Some(mark) => device.files.insert(name, bytes(mark).into()),
            None => device.files.remove(&name),
        };
        device
    }
}

/// How long such tills keep what is central, in milliseconds: sixty days.
pub const KEEP_MS: u64 = 60 * 24 * 3_600_000;

/// A till that is open, with what it stands on.
#[derive(Debug)]
pub struct OpenTill {
    /// The till.
    pub till: Till,
    number: u32,
}

impl OpenTill {
    /// Opens the till of a folder on a disk. Time goes on from `now_ms`, chance from `seed`.
    ///
    /// # Errors
    /// When the till does not open.
    pub fn open(number: u32, folder: &Folder, disk: &Disk, now_ms: u64, seed: u64) -> Result<Self> {
        let identity = Identity::load(folder.path()).context("the identity")?;
        let env = Arc::new(SimEnv::new(now_ms, seed));
        // Small files as a whole, and as the large ones are.
        let pages_at_once = if seed.is_multiple_of(2) { PAGES_AT_ONCE } else { 0 };
        let options = TillOptions {
            store: StoreOptions {
                vfs: Some(disk.vfs().to_owned()),
                exclusive: true,
                files: disk.files(),
                pages_at_once,
                ..StoreOptions::default()
            },
            printing: true,
            time_zone: TimeZone::UTC,
            machine: machine_id(),
            keep_ms: Some(KEEP_MS),
        };
        Ok(Self { till: Till::open(identity, env, options).context("the till does not open")?, number })
    }

    /// Its number in the shop.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Takes in what the server has written before the shop opens, from the server's first sequence number.
    ///
    /// # Errors
    /// When it is refused.
    pub fn receive_founding(&mut self, shop: &Shop) -> Result<()> {
        self.till.receive(vec![shop.founding()], 1).context("the founding run is refused")?;
        Ok(())
    }

    /// What its screen shows.
    ///
    /// # Panics
    /// When it cannot say.
    pub fn view(&self) -> TillView {
        self.till.view().expect("a till on a sound disk shows its screen")
    }

    /// Everything it wrote, from its first commit.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn own_runs(&self) -> Result<Vec<Run>> {
        let (mut runs, mut after) = (Vec::new(), 0);
        while let Some(run) = self.till.own_runs_after(after, RUN_BYTES, 50)? {
            after += run.commits.len() as u64;
            runs.push(run);
        }
        Ok(runs)
    }

    /// The orders that it lists.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn orders(&self) -> Result<Vec<OrderSummary>, ApiError> {
        match self.till.query(Query::Orders { text: String::new(), limit: 200 })? {
            Answer::Orders(orders) => Ok(orders),
            other => panic!("asked for one thing, answered {other:?}"),
        }
    }

    /// One order.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn order(&self, order: OrderId) -> Result<OrderView, ApiError> {
        match self.till.query(Query::Order { order })? {
            Answer::Order(order) => Ok(*order),
            other => panic!("asked for one thing, answered {other:?}"),
        }
    }

    /// The products that it finds.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn products(&self) -> Result<Vec<ProductView>, ApiError> {
        match self.till.query(Query::Search { text: "product".to_owned(), limit: 100 })? {
            Answer::Products(products) => Ok(products),
            other => panic!("asked for one thing, answered {other:?}"),
        }
    }

    /// Its ledger.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ledger(&self) -> Result<LedgerView, ApiError> {
        match self.till.query(Query::Ledger {})? {
            Answer::Ledger(ledger) => Ok(ledger),
            other => panic!("asked for one thing, answered {other:?}"),
        }
    }

    /// The order of every original receipt in its print queue.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn printed_orders(&self) -> Result<Vec<OrderId>> {
        let mut select = self.till.db()?.prepare_cached("SELECT order_id FROM print_job WHERE copy_no = 0")?;
        let rows = select.query_map([], |r| r.get::<_, [u8; 16]>(0))?;
        rows.map(|id| Ok(OrderId::from_slice(&id?)?)).collect()
    }

    /// Its projections as text, with the sums written.
    ///
    /// # Errors
    /// A failing disk.
    pub fn projections(&mut self) -> Result<String> {
        self.till.tidy()?;
        Ok(rebuild::dump(self.till.db()?)?)
    }

    /// Its projections as text after they were computed anew from the log.
    ///
    /// # Errors
    /// A failing disk.
    pub fn rebuilt_projections(&mut self) -> Result<String> {
        self.till.rebuild()?;
        self.projections()
    }

    /// What every replica with the same entries must hold alike.
    ///
    /// # Errors
    /// A failing disk.
    pub fn agreed(&mut self) -> Result<String> {
        agreed(&mut self.till)
    }
}

/// What every replica with the same entries must hold alike: the entries, and the projections without this file's own row numbers.
///
/// # Errors
/// A failing disk.
pub fn agreed(till: &mut Till) -> Result<String> {
    till.tidy()?;
    let mut out = String::new();
    for (table, sql) in AGREED {
        let mut select = till.db()?.prepare(sql)?;
        let rows = select.query_map([], |r| r.get::<_, String>(0))?;
        for row in rows {
            out.push_str(&format!("{table} {}\n", row?));
        }
    }
    // What is a closing's and what came late is a fold of all that.
    if let Answer::Shifts(shifts) = till.query(Query::Shifts { limit: 50 })? {
        shifts.iter().for_each(|shift| out.push_str(&format!("closed shift {shift:?}\n")));
    }
    Ok(out)
}

/// Of what [`agreed`] answers, what replicas of any store must hold alike: products, stores and devices.
pub fn written_by_servers(agreed: &str) -> BTreeSet<String> {
    let of_servers = ["product ", "code ", "store ", "device "];
    agreed.lines().filter(|line| of_servers.iter().any(|table| line.starts_with(table))).map(str::to_owned).collect()
}

/// Each answers one column of text, in an order that depends on nothing but what is there.
const AGREED: &[(&str, &str)] = &[
    (
        "entry",
        "SELECT hex(g.device) || ' ' || s.name || ' ' || e.seq || ' ' || hex(e.hash)
         FROM entry e JOIN origin g ON g.id = e.origin JOIN scope s ON s.id = e.scope ORDER BY 1",
    ),
    (
        "order",
        "SELECT hex(o.id) || ' ' || hex(g.device) || ' ' || o.number || ' ' || o.is_refund || ' ' || o.at_ms || ' ' || o.total || ' '
             || o.lines || ' ' || hex(e.hash)
         FROM orders o JOIN origin g ON g.id = o.origin JOIN entry e ON e.id = o.entry ORDER BY 1",
    ),
    ("series", "SELECT DISTINCT hex(g.device) || ' ' || s.series FROM series s JOIN origin g ON g.id = s.origin ORDER BY 1"),
    (
        "ledger",
        "SELECT hex(g.device) || ' ' || sum(l.orders) || ' ' || sum(l.lines) || ' ' || sum(cast(l.rounded AS INTEGER)) || ' '
             || sum(cast(l.exact AS INTEGER))
         FROM ledger l JOIN origin g ON g.id = l.origin GROUP BY g.device ORDER BY 1",
    ),
    ("stock", "SELECT hex(product) || ' ' || quantity || ' ' || sold FROM stock_level WHERE quantity <> 0 OR sold <> 0 ORDER BY 1"),
    (
        "open order",
        "SELECT hex(id) || ' ' || label || ' ' || note || ' ' || lines || ' ' || total_minor || ' ' || opened_ms || ' ' || changed_ms || ' '
             || hex(opened_by) || ' ' || hex(changed_by) || ' ' || coalesce(hex(rest_of), '')
         FROM open_order ORDER BY 1",
    ),
    (
        "unread",
        "SELECT hex(e.hash) || ' ' || u.why FROM unread u JOIN entry e ON e.id = u.entry ORDER BY 1",
    ),
    ("refunded", "SELECT hex(order_id) || ' ' || line || ' ' || quantity FROM refunded ORDER BY 1"),
    (
        "shift",
        "SELECT hex(s.id) || ' ' || hex(g.device) || ' ' || s.business_day || ' ' || s.opened_ms || ' ' || s.float_minor || ' '
             || coalesce(s.closed_ms, '') || ' ' || coalesce(s.counted, '') || ' ' || coalesce(s.expected, '') || ' ' || hex(coalesce(s.cut, x''))
         FROM shift s JOIN origin g ON g.id = s.origin ORDER BY 1",
    ),
    (
        "shift_part",
        "SELECT hex(shift) || ' ' || sum(sales) || ' ' || sum(refunds) || ' ' || sum(sales_minor) || ' ' || sum(refunds_minor) || ' '
             || sum(cash_minor)
         FROM shift_part GROUP BY shift ORDER BY 1",
    ),
    // Automerge saves the same changes in another order where they were made at once and came in another: what they say is in the tables below.
    ("document", "SELECT hex(id) || ' ' || kind FROM document ORDER BY 1"),
    ("product", "SELECT hex(id) || ' ' || code || ' ' || name || ' ' || price || ' ' || tax_rate_bp || ' ' || active FROM product ORDER BY 1"),
    ("code", "SELECT hex(product) || ' ' || code || ' ' || own || ' ' || folded FROM product_code ORDER BY 1"),
    ("store", "SELECT hex(id) || ' ' || code || ' ' || name || ' ' || address || ' ' || currency FROM store ORDER BY 1"),
    ("staff", "SELECT hex(id) || ' ' || name || ' ' || role || ' ' || pin_hash || ' ' || active FROM staff ORDER BY 1"),
    ("device", "SELECT hex(id) || ' ' || kind || ' ' || name || ' ' || number || ' ' || hex(public_key) FROM device ORDER BY 1"),
];
