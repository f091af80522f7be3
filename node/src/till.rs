//! The synchronous heart of a device: commands in, a new view out, everything on disk in between. No threads, no network.
//!
//! A [`Command`] is one transaction: permission, rules, entries appended to the log, projections, print job and drawer kick, and then
//! `COMMIT` with `synchronous=FULL`. Only after that is anything printed, kicked or answered. When the commit itself fails, nobody knows
//! by the error alone whether it is on disk; so the file is closed, opened and read again, and the answer is what is found there
//! ([`Till::command`] answers [`ApiErrorCode::InDoubt`] only while even that fails).
//!
//! | module | holds |
//! |---|---|
//! | `cart` | building, settling and refunding orders |
//! | `care` | damage: found, put aside, and what can be read of it taken over; what is old let go |
//! | `asking` | sales that are not here any more: the server is asked for them |
//! | `desk` | signing in, shifts, corrections, the drawer |
//! | `parked` | open orders: parked, taken up again, given up |
//! | `twice` | what was paid for twice, and giving it back |
//! | `look` | views and queries |
//! | `offering` | what this till has and others lack |
//! | `paper` | what the printing worker asks and tells |
//! | `shifts` | what became of closed shifts: on the screen, and as paper |
//! | [`receive`] | what replication asks and tells |

mod asking;
mod care;
mod cart;
mod desk;
mod from_disk;
mod look;
mod offering;
mod paper;
mod parked;
pub mod receive;
mod shifts;
mod twice;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::cart::Cart;
use domain::document::{DocumentKind, StaffMember, Store};
use domain::ids::{DeviceId, OrderId, RecordId, StaffId};
use domain::record::{DeviceKind, DeviceStart, RECORD_VERSION, Record};
use domain::staff::Permission;
use jiff::tz::TimeZone;
use journal::{Body, Hlc, NewEntry, Scope, SealedCommit};
use sync_proto::enrolment::CertifiedServer;
use sync_proto::env::{self, Env};
use sync_proto::scopes;

use crate::api::{ApiError, ApiErrorCode, Command, Event, LinkState, LinkWay, TillView};
use crate::draft::Draft;
use crate::identity::{HighWater, Identity, IdentityError, machine_id};
use crate::store::audit::Audit;
use crate::store::damaged::{self, Aside};
use crate::store::shifts::ShiftRow;
use crate::store::sums::Sums;
use crate::store::suspicion::Suspicion;
use crate::store::{Replica, StoreError, StoreOptions, counts, log, orders, paper as paper_rows, people, project, rebuild};

use asking::Asking;
pub use asking::Question;
use care::Salvage;
use from_disk::{Earlier, FromDisk};
pub use look::Answer;
pub use offering::Offers;
pub use operations::care::Care;
pub use paper::{PaperWork, PrintOutcome};
use parked::Actor;
pub use receive::{LinkChange, Place, ReceiveError, Received};

/// Records folded in memory after which an idle owner should write the sums.
const RECORDS_PER_FLUSH: u64 = 200;
/// Events kept for an owner that does not take them.
const EVENTS_MAX: usize = 1_024;
/// How far another device's clock may pull this one's ahead of the wall clock, in milliseconds.
const LEAD_MS_MAX: u64 = 60_000;

/// How a till is opened. The default is what a device uses.
#[derive(Debug, Clone)]
pub struct TillOptions {
    /// How the database files are opened.
    pub store: StoreOptions,
    /// Whether a receipt printer is set up, so that sales queue print jobs and kick its drawer.
    pub printing: bool,
    /// What decides today's date and the time on receipts.
    pub time_zone: TimeZone,
    /// What identifies this machine.
    pub machine: Option<String>,
    /// How long entries that the central database has are kept whole, in milliseconds; none for ever.
    pub keep_ms: Option<u64>,
}

/// How many days entries are kept when nothing is said.
pub const KEEP_DAYS_DEFAULT: u64 = 60;
/// Milliseconds of a day.
pub const DAY_MS: u64 = 24 * 3_600_000;

impl Default for TillOptions {
    fn default() -> Self {
        let keep_ms = Some(KEEP_DAYS_DEFAULT * DAY_MS);
        Self { store: StoreOptions::default(), printing: false, time_zone: TimeZone::system(), machine: machine_id(), keep_ms }
    }
}

/// Why a till did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The identity.
    #[error("the identity of this device could not be used")]
    Identity(#[from] IdentityError),
    /// The database files.
    #[error("the files of this device could not be opened")]
    Store(#[from] StoreError),
    /// The first commit of an incarnation.
    #[error("this device could not begin to write")]
    Begin(#[source] StoreError),
}

/// One till.
#[derive(Debug)]
pub struct Till {
    env: Arc<dyn Env>,
    identity: Identity,
    options: TillOptions,
    replica: Option<Replica>,
    db_uuid: [u8; 16],
    draft: Draft,
    /// The one scope that this device writes to.
    scope: Scope,
    followed: BTreeSet<Scope>,
    from_disk: FromDisk,
    cart: Cart,
    touched: Option<usize>,
    signed_in: Option<StaffId>,
    last_order: Option<OrderId>,
    link: Link,
    clock_ahead_ms: Option<i64>,
    events: Vec<Event>,
    paper_version: u64,
    doubt: Option<Doubt>,
    /// What this process writes documents under, in this incarnation; none until it does.
    actor: Option<Actor>,
    /// How far which neighbour has which incarnation of this till on its disk.
    neighbours: BTreeMap<([u8; 16], DeviceId), u64>,
    neighbours_connected: u64,
    brought: u64,
    /// The server at the other end of the link, as its certificate says.
    server: Option<CertifiedServer>,
    /// What is being taken over of a replica that was put aside.
    salvage: Option<Salvage>,
    /// The look through the log that is under way.
    audit: Option<Audit>,
    /// The look at the file that is under way because something failed.
    suspicion: Option<Suspicion>,
    /// What the server is asked for, and what it has answered.
    asking: Asking,
    /// Whether the replica was put aside.
    is_over: bool,
}

/// A command of which nobody knows whether it was recorded, and the entry to look for.
#[derive(Debug)]
struct Doubt {
    /// Nothing until [`Till::command`] fills it in.
    command: Option<Command>,
    seq: u64,
    hash: journal::Hash,
}

/// How the link to the regional server is now.
#[derive(Debug, Clone)]
struct Link {
    state: LinkState,
    way: Option<LinkWay>,
    last_contact_ms: Option<u64>,
    problem: Option<String>,
}

/// What a record brings with it in its transaction.
#[derive(Debug, Default)]
struct Beside {
    job: Option<NewJob>,
    kick: Option<[u8; 16]>,
    right_pin: Option<StaffId>,
}

/// What becomes an entry.
#[derive(Debug)]
enum Written<'a> {
    /// Something that happened.
    Record(&'a Record),
    /// A change of a document.
    Change { document: [u8; 16], kind: DocumentKind, bytes: Vec<u8> },
}

#[derive(Debug)]
struct NewJob {
    id: RecordId,
    order: OrderId,
    copy_no: u32,
    title: String,
    document: String,
}

impl Till {
    /// Opens the till of an identity: settles which incarnation writes, recovers what the last run left, and begins to write. A replica that turns out
    /// to be damaged is put aside, and the till begins a new one.
    ///
    /// # Errors
    /// Whatever keeps it from selling durably.
    pub fn open(identity: Identity, env: Arc<dyn Env>, options: TillOptions) -> Result<Self, OpenError> {
        let (folder, key) = (identity.folder().to_owned(), *identity.replica_key());
        let path = folder.join("replica/replica.db");
        let files = options.store.files.clone();
        let refused = |source| StoreError::Io { path: path.clone(), done: "put aside", source };
        operations::damaged::finish_setting_aside(&*files, &path).map_err(refused)?;
        let error = match Self::try_open(identity, env.clone(), options.clone()) {
            Err(OpenError::Store(error) | OpenError::Begin(error)) if error.may_be_damage() => error,
            opened => return opened,
        };
        let Some(found) = damaged::find(&path, &key, &options.store)? else { return Err(error.into()) };
        let to = operations::damaged::set_aside(&*files, &path).map_err(refused)?;
        tracing::error!(
            event = "replica_damaged",
            file = %to.display(),
            found,
            "the replica is damaged and was put aside: the till begins a new one, and takes over what can still be read"
        );
        Self::try_open(Identity::load(&folder)?, env, options)
    }

    fn try_open(mut identity: Identity, env: Arc<dyn Env>, options: TillOptions) -> Result<Self, OpenError> {
        let folder = identity.folder().join("replica");
        let path = folder.join("replica.db");
        let replica = Replica::open(&path, identity.replica_key(), &options.store)?;
        // The last run may have ended on a disk that did not sync.
        replica.make_certain()?;
        let db_uuid = match replica.db_uuid()? {
            Some(uuid) => uuid,
            None => {
                let uuid = env::random(&*env);
                let files = &*options.store.files;
                let asides = operations::damaged::all_aside(files, &path).unwrap_or_default();
                if let Some(newest) = asides.last() {
                    let file = operations::damaged::aside(&path, *newest);
                    Aside::new(file, *identity.replica_key(), options.store.clone(), 0).take_over_own_rows(&replica)?;
                }
                replica.set_db_uuid(uuid)?;
                uuid
            }
        };
        let commit = match log::find_origin(replica.db(), identity.origin())? {
            Some(row) => log::load_chain(replica.db(), row)?.commit,
            None => 0,
        };
        let printed = paper_rows::last_attempt(replica.db())?;
        if let Some(why) = identity.settle(db_uuid, commit, options.machine.clone(), &*env)? {
            tracing::warn!(why, series = identity.series(), "this till goes on under a new incarnation");
            paper_rows::doubt(replica.db())?;
        } else if commit > 1 && identity.high_water().commit == 0 {
            // With the mark went what would tell whether this replica is of yesterday, and what waits in it has come out since.
            tracing::warn!("the high-water mark is lost: a person looks whether receipts that wait have come out");
            paper_rows::doubt(replica.db())?;
        } else if printed < identity.high_water().attempt {
            tracing::warn!(
                "the replica is older than what this till has printed: a person looks whether receipts that wait have come out"
            );
            paper_rows::doubt(replica.db())?;
            identity.set_back_attempt(printed);
        }
        paper_rows::interrupt(replica.db(), env.unix_ms())?;
        let draft = Draft::open(&folder.join("draft.db"), identity.replica_key(), &options.store)?;
        let store = identity.store();
        let followed = scopes::followed_by(DeviceKind::Till, store).into_iter().collect();
        let scope = scopes::store(store);
        let from_disk = FromDisk::read(&replica, &identity, &followed, &scope)?;
        let mut till = Self {
            cart: Cart::new(OrderId(uuid::Uuid::nil())),
            touched: None,
            signed_in: None,
            last_order: None,
            link: Link { state: LinkState::Offline, way: None, last_contact_ms: None, problem: None },
            clock_ahead_ms: None,
            events: Vec::new(),
            paper_version: 0,
            doubt: None,
            actor: None,
            neighbours: BTreeMap::new(),
            neighbours_connected: 0,
            brought: 0,
            server: None,
            salvage: None,
            audit: None,
            suspicion: None,
            asking: Asking::default(),
            is_over: false,
            replica: Some(replica),
            db_uuid,
            env,
            identity,
            options,
            draft,
            scope,
            followed,
            from_disk,
        };
        till.restore_cart()?;
        // Whatever is found here may be found by another process as well, that goes on from a copy of this folder.
        if let Err(error) = till.rename_cart() {
            tracing::warn!(error = %crate::errors::chain_of(&error), "the cart could not be given a new id");
        }
        if till.from_disk.chain.commit == 0 {
            till.begin_to_write().map_err(OpenError::Begin)?;
        }
        till.note_high_water();
        till.begin_use()?;
        Ok(till)
    }

    /// Does what a person asks for, durably, and answers what the screen shows then.
    ///
    /// # Errors
    /// Why it was not done. [`ApiErrorCode::Storage`] means that nothing was recorded.
    pub fn command(&mut self, command: Command) -> Result<TillView, ApiError> {
        self.heal()?;
        if !self.was_recorded(&command)? {
            // A PIN is not kept, and signing in twice does no harm.
            let kept = (!matches!(command, Command::SignIn { .. })).then(|| command.clone());
            let done = self.carry_out(command);
            if let Some(doubt) = &mut self.doubt {
                doubt.command = kept;
            }
            if done.as_ref().is_err_and(|error| error.code == ApiErrorCode::Storage) {
                self.reopen_after_failure();
                if self.is_over {
                    return Err(StoreError::PutAside.into());
                }
            }
            done?;
        }
        self.announce(Event::TillChanged {});
        self.view().or_else(|_| {
            self.reopen_after_failure();
            self.view().map_err(|_| done_but_unread())
        })
    }

    fn carry_out(&mut self, command: Command) -> Result<(), ApiError> {
        match command {
            Command::SignIn { staff, pin } => self.sign_in(staff, &pin),
            Command::SignOut {} => {
                self.signed_in = None;
                Ok(())
            }
            Command::OpenShift { float_minor, business_day } => self.open_shift(float_minor, business_day.as_deref()),
            Command::CloseShift { counted_minor } => self.close_shift(counted_minor),
            Command::AddLine { item, quantity_milli, unit_price, name, separate } => {
                self.add_line(&item, quantity_milli, unit_price, name.as_deref(), separate.unwrap_or(false))
            }
            Command::SetQuantity { line, quantity_milli } => self.set_quantity(line, quantity_milli),
            Command::RemoveLine { line } => self.remove_line(line),
            Command::ClearCart {} => self.clear_cart(),
            Command::StartRefund { reason } => self.start_refund(reason),
            Command::SetReference { reference } => self.set_reference(reference),
            Command::Park { order, label, note } => self.park(order, &label, note.as_deref().unwrap_or("")),
            Command::Recall { open_order } => self.recall(open_order),
            Command::GiveUp { open_order } => self.give_up(open_order),
            Command::SettleCash { order, tendered_minor } => self.settle_cash(order, tendered_minor),
            Command::RefundSale { refund, original, lines, reason } => self.refund_sale(refund, original, &lines, &reason),
            Command::RefundSecondPayment { refund, sale } => self.refund_second_payment(refund, sale),
            Command::AdjustStock { lines, reason, reference } => self.adjust_stock(&lines, reason, reference),
            Command::CountStock { lines, reason } => self.count_stock(&lines, reason),
            Command::AdjustAccount { description, quantity_milli, unit_price, reference } => {
                self.adjust_account(description, quantity_milli, unit_price, reference)
            }
            Command::OpenDrawer { reason } => self.open_drawer(reason),
            Command::Reprint { order } => self.reprint(order),
            Command::PrintShift { shift, addendum } => self.print_shift(shift, addendum),
            Command::ResolvePrint { job, came_out } => self.resolve_print(job, came_out),
        }
    }

    /// Whether a command is the one that was in doubt, and is on disk after all. The doubt lasts until the disk has answered.
    fn was_recorded(&mut self, command: &Command) -> Result<bool, ApiError> {
        let Some(doubt) = &self.doubt else { return Ok(false) };
        let found = self.db().and_then(|db| log::hash_at(db, self.from_disk.origin_row, &self.scope, doubt.seq));
        let Ok(found) = found else {
            self.replica = None;
            return Err(StoreError::InDoubt.into());
        };
        let recorded = found == Some(doubt.hash) && doubt.command.as_ref() == Some(command);
        self.doubt = None;
        Ok(recorded)
    }

    /// Whether the disk gives back what was written to it.
    pub fn reads(&mut self) -> bool {
        self.db().and_then(log::last_id).is_ok()
    }

    /// What happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Who this device is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The database, for tests and for those who only read.
    ///
    /// # Errors
    /// While the file could not be opened again after a failure.
    pub fn db(&self) -> Result<&rusqlite::Connection, StoreError> {
        Ok(self.replica()?.db())
    }

    /// How many receipts wait for the printer or for a person's word.
    pub fn open_print_jobs(&self) -> usize {
        self.from_disk.open_jobs.len()
    }

    /// Whether an idle owner should call [`Self::tidy`].
    pub fn wants_tidying(&self) -> bool {
        let wants = |r: &Replica| r.wants_checkpoint() || self.from_disk.sums.entries() >= RECORDS_PER_FLUSH;
        self.replica.as_ref().is_some_and(wants)
    }

    /// Whether even a busy owner should call [`Self::tidy`].
    pub fn needs_tidying(&self) -> bool {
        self.replica.as_ref().is_some_and(Replica::needs_checkpoint)
    }

    /// Does what need not happen while anybody waits: writes the sums, notes the high-water mark, copies the write-ahead log back.
    ///
    /// # Errors
    /// A failure of SQLite; nothing that matters is lost.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        let tidied = self.try_tidy();
        if tidied.is_err() {
            self.reopen_after_failure();
        }
        tidied
    }

    fn try_tidy(&mut self) -> Result<(), StoreError> {
        let done_upto = match self.from_disk.open_jobs.first() {
            Some(job) => job.n - 1,
            None => paper_rows::last_job(self.db()?)?,
        };
        let tx = self.replica()?.begin()?;
        self.from_disk.sums.flush(&tx, self.from_disk.last_entry)?;
        paper_rows::set_done_upto(&tx, done_upto)?;
        tx.commit()?;
        self.from_disk.sums = Sums::default();
        self.identity.sync_high_water();
        self.replica.as_mut().ok_or(StoreError::Closed)?.checkpoint()
    }

    /// Computes every projection anew from the log. Answers how many entries were read.
    ///
    /// # Errors
    /// A failure of SQLite; the projections are then as they were.
    pub fn rebuild(&mut self) -> Result<u64, StoreError> {
        let read = rebuild::rebuild(self.replica()?)?;
        self.from_disk = FromDisk::read(self.replica()?, &self.identity, &self.followed, &self.scope)?;
        Ok(read)
    }

    fn replica(&self) -> Result<&Replica, StoreError> {
        self.replica.as_ref().ok_or(StoreError::Closed)
    }

    fn announce(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX && self.events.last() != Some(&event) {
            self.events.push(event);
        }
    }

    fn new_id(&self) -> (u64, [u8; 10]) {
        (self.env.unix_ms(), env::random(&*self.env))
    }

    fn new_order_id(&self) -> OrderId {
        let (now, random) = self.new_id();
        OrderId::new(now, random)
    }

    fn new_record_id(&self) -> RecordId {
        let (now, random) = self.new_id();
        RecordId::new(now, random)
    }

    /// The store's settings.
    fn store(&self) -> Result<Store, ApiError> {
        let missing =
            || ApiError::new(ApiErrorCode::NotReady, "the settings of this store have not arrived yet: connect the till once");
        people::store(self.db()?, self.identity.store())?.ok_or_else(missing)
    }

    /// Who is signed in, if their role may do this.
    fn permitted(&self, permission: Permission) -> Result<StaffMember, ApiError> {
        let nobody = || ApiError::new(ApiErrorCode::NotSignedIn, "nobody is signed in: sign in first");
        let id = self.signed_in.ok_or_else(nobody)?;
        let member = people::staff_member(self.db()?, id)?.filter(|m| m.active).ok_or_else(nobody)?;
        if !member.role.may(permission) {
            return Err(ApiError::new(ApiErrorCode::Forbidden, "your role may not do this: ask a shift lead or a manager"));
        }
        Ok(member)
    }

    fn open_shift_row(&self) -> Result<&ShiftRow, ApiError> {
        let none = || ApiError::new(ApiErrorCode::NoShift, "no shift is open: open one first");
        self.from_disk.shift.as_ref().ok_or_else(none)
    }

    fn begin_to_write(&mut self) -> Result<(), StoreError> {
        self.record(None, &self.started(None), Beside::default())
    }

    /// What this process says of itself before it writes; with the seed of an actor, before it writes documents.
    fn started(&self, actor_seed: Option<[u8; 16]>) -> Record {
        let software = format!("evertill-node {}", env!("CARGO_PKG_VERSION"));
        Record::DeviceStarted(DeviceStart { series: self.identity.series(), actor_seed, software })
    }

    /// Writes a record and what it brings, as one commit. Returns once it is on disk, or surely is not.
    fn record(&mut self, staff: Option<StaffId>, record: &Record, beside: Beside) -> Result<(), StoreError> {
        if !matches!(record, Record::DeviceStarted(_)) {
            self.begin_if_new()?;
        }
        let at = self.from_disk.hlc.tick(self.env.unix_ms());
        self.commit(staff, at, vec![Written::Record(record)], beside)
    }

    /// When the incarnation was minted, the disk may have refused its first record.
    fn begin_if_new(&mut self) -> Result<(), StoreError> {
        if self.from_disk.chain.commit == 0 { self.begin_to_write() } else { Ok(()) }
    }

    /// Writes entries and what they bring, as one commit. Returns once it is on disk, or surely is not.
    fn commit(&mut self, staff: Option<StaffId>, at: Hlc, written: Vec<Written<'_>>, beside: Beside) -> Result<(), StoreError> {
        let body = |written: &Written<'_>| match written {
            Written::Record(record) => Body::Record { kind: record.kind(), version: RECORD_VERSION, bytes: record.encode() },
            Written::Change { document, kind, bytes } => {
                Body::Change { document: *document, kind: *kind as u16, bytes: bytes.clone() }
            }
        };
        let new = written.iter().map(|one| NewEntry { scope: self.scope.clone(), body: body(one) }).collect();
        let mut chain = self.from_disk.chain.clone();
        let commit = chain.append(self.identity.signing_key(), at, staff.map(|s| *s.as_bytes()), new);
        if let Some(e) = commit.entries.iter().find(|e| e.bytes.len() > journal::entry::ENTRY_BYTES_MAX) {
            return Err(StoreError::TooLarge(e.bytes.len()));
        }
        let mut added = Sums::default();
        match self.write(&commit, &written, &beside, &mut added) {
            Ok(last_entry) => {
                self.from_disk.chain = chain;
                self.from_disk.hlc = at;
                self.from_disk.sums.merge(added);
                self.from_disk.last_entry = last_entry;
                for one in &written {
                    if let Written::Record(Record::SaleCompleted(o) | Record::RefundGiven(o)) = one {
                        self.from_disk.receipt = self.from_disk.receipt.max(o.receipt_number);
                    }
                }
                if beside.job.is_some() {
                    self.read_new_jobs().map_err(|_| StoreError::InDoubt)?;
                }
                if let Some(replica) = &mut self.replica {
                    replica.committed(written.len());
                }
            }
            Err(Failure::Before(error)) => {
                self.reopen_if_stuck();
                return Err(error);
            }
            Err(Failure::AtCommit(error)) => self.find_out(&commit, error)?,
        }
        self.paper_version += u64::from(beside.job.is_some() || beside.kick.is_some());
        self.note_high_water();
        Ok(())
    }

    fn write(&self, commit: &SealedCommit, written: &[Written<'_>], beside: &Beside, added: &mut Sums) -> Result<i64, Failure> {
        let now = self.env.unix_ms();
        let origin = self.from_disk.origin_row;
        let tx = self.replica()?.begin()?;
        let rows = log::append(&tx, origin, &commit.entries, Some(&log::own_seal(commit)))?;
        for ((&row, one), entry) in rows.iter().zip(written).zip(&commit.entries) {
            match one {
                Written::Record(record) => drop(project::record(&tx, row, origin, entry.entry.at.unix_ms(), record, added)?),
                Written::Change { .. } => {
                    project::entry(&tx, row, origin, &entry.entry, added)?;
                    if let Some(why) = project::why_unread(&tx, row)? {
                        return Err(StoreError::Refused(why).into());
                    }
                }
            }
        }
        counts::settle(&tx, added)?;
        if let Some(job) = &beside.job {
            insert_job(&tx, job, now)?;
        }
        if let Some(id) = beside.kick {
            paper_rows::ask_kick(&tx, id, now)?;
        }
        if let Some(staff) = beside.right_pin {
            people::set_pin_attempts(&tx, staff, 0, now)?;
        }
        tx.commit().map_err(|error| Failure::AtCommit(error.into()))?;
        Ok(*rows.last().expect("a commit has an entry"))
    }

    /// After a failed commit: reads from the disk whether the commit is there.
    fn find_out(&mut self, commit: &SealedCommit, error: StoreError) -> Result<(), StoreError> {
        tracing::error!(error = %crate::errors::chain_of(&error), "a commit failed; the replica is read again");
        let last = commit.entries.last().expect("a commit has an entry");
        let full = matches!(&error, StoreError::Sql(sql) if sql.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull));
        self.doubt = Some(Doubt { command: None, seq: last.seq, hash: last.hash });
        self.reopen().map_err(|_| StoreError::InDoubt)?;
        let certain = self.replica()?.make_certain().is_ok();
        let found = log::hash_at(self.db()?, self.from_disk.origin_row, &self.scope, last.seq)?;
        let answer = match found == Some(last.hash) {
            true if certain => Ok(()),
            // What had no room was never whole, so no power cut brings it back either.
            false if certain || full => Err(error),
            _ => {
                self.replica = None;
                return Err(StoreError::InDoubt);
            }
        };
        self.doubt = None;
        answer
    }

    /// Opens the file again after something failed, and looks at all of it: at once if it is small, and otherwise beside the counter
    /// ([`Till::suspicion_step`]). One that is damaged is put aside.
    ///
    /// # Errors
    /// While the disk still refuses, or a file that was put aside.
    pub fn examine(&mut self) -> Result<(), StoreError> {
        self.replica = None;
        self.heal().map_err(|_| if self.is_over { StoreError::PutAside } else { StoreError::Closed })
    }

    /// Opens the replica again, if a failure closed it or it gives nothing back since; those beside the counter ask for it.
    ///
    /// # Errors
    /// While the disk still refuses.
    pub fn recover(&mut self) -> Result<(), StoreError> {
        if !self.reads() {
            return self.examine();
        }
        self.heal().map_err(|_| StoreError::Closed)
    }

    /// Before a command: opens the replica again, if a failure closed it.
    fn heal(&mut self) -> Result<(), ApiError> {
        if self.replica.is_some() {
            return Ok(());
        }
        let healed = self.reopen().and_then(|()| match self.doubt {
            // What can be read now may never have reached the disk: nobody is told of it before it has.
            Some(_) => self.replica()?.make_certain(),
            None => Ok(()),
        });
        let healed = healed.and_then(|()| self.restore_cart());
        if healed.is_err() && self.doubt.is_some() {
            self.replica = None;
            return Err(StoreError::InDoubt.into());
        }
        Ok(healed?)
    }

    /// After any failure of the disk: after one failed read SQLCipher refuses everything until the file is opened anew.
    fn reopen_after_failure(&mut self) {
        if let Err(error) = self.reopen() {
            tracing::error!(error = %crate::errors::chain_of(&error), "the replica could not be opened again");
        }
    }

    fn reopen_if_stuck(&mut self) {
        if self.replica.as_ref().is_some_and(|r| !r.db().is_autocommit())
            && let Err(error) = self.reopen()
        {
            tracing::error!(error = %crate::errors::chain_of(&error), "the replica could not be opened again");
        }
    }

    fn replica_path(&self) -> std::path::PathBuf {
        self.identity.folder().join("replica/replica.db")
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.is_over {
            return Err(StoreError::PutAside);
        }
        self.replica = None;
        let opened = self.try_reopen();
        // What selling needs has just been read. Nobody at the counter waits for the rest of a large file.
        let may_be_damage = opened.as_ref().is_err_and(StoreError::may_be_damage);
        if !may_be_damage && !self.is_looked_at_at_once() {
            self.suspicion.get_or_insert_default();
            return opened;
        }
        self.replica = None;
        // After a page that does not hold SQLCipher answers what it has read before, and that nothing of the rest is there: only the file itself tells.
        match damaged::find(&self.replica_path(), self.identity.replica_key(), &self.options.store) {
            Ok(Some(found)) => Err(self.put_aside(&found)),
            Ok(None) => self.try_reopen(),
            Err(_) => opened.and_then(|()| self.try_reopen()),
        }
    }

    /// Whether the file is so small that it is looked at as a whole after a failure.
    fn is_looked_at_at_once(&self) -> bool {
        let options = &self.options.store;
        let bytes = options.files.len(&self.replica_path()).ok().flatten().unwrap_or(0);
        bytes <= options.pages_at_once * damaged::PAGE_BYTES
    }

    fn try_reopen(&mut self) -> Result<(), StoreError> {
        let replica = Replica::reopen(&self.replica_path(), self.identity.replica_key(), &self.options.store, self.db_uuid)?;
        self.from_disk = FromDisk::read(&replica, &self.identity, &self.followed, &self.scope)?;
        if self.from_disk.chain.commit < self.identity.high_water().commit {
            // What was on the disk is not any more: others may know more of this incarnation.
            paper_rows::doubt(replica.db())?;
            self.identity.mint(&*self.env).map_err(Box::new)?;
            self.actor = None;
            tracing::warn!(
                series = self.identity.series(),
                "the disk has lost commits: this till goes on under a new incarnation"
            );
            self.from_disk = FromDisk::read(&replica, &self.identity, &self.followed, &self.scope)?;
        }
        self.replica = Some(replica);
        self.paper_version += 1;
        Ok(())
    }

    /// Takes the cart from the draft. One whose order is settled already (the power went between the two) is done: its order is shown instead.
    fn restore_cart(&mut self) -> Result<(), StoreError> {
        if let Some(kept) = self.draft.kept().cloned() {
            let settled = orders::order(self.db()?, kept.cart.order)?.is_some();
            if !settled && self.is_parked(&kept.cart)? {
                self.new_cart();
                return Ok(());
            }
            if !settled {
                self.cart = kept.cart;
                self.touched = kept.touched;
                return Ok(());
            }
            self.last_order = Some(kept.cart.order);
        }
        self.new_cart();
        Ok(())
    }

    /// Gives the cart an order id that no other history of this device can have used: a draft from a backup names an order that was settled
    /// after the backup was made, and that comes back from the server.
    fn rename_cart(&mut self) -> Result<(), StoreError> {
        self.cart.order = self.new_order_id();
        self.draft.save(&self.cart, self.touched)
    }

    fn new_cart(&mut self) {
        self.cart = Cart::new(self.new_order_id());
        self.touched = None;
        if let Err(error) = self.draft.save(&self.cart, None) {
            // Harmless: the settled order in it is recognised at the next start.
            tracing::warn!(error = %crate::errors::chain_of(&error), "the empty cart could not be saved");
        }
    }

    fn note_high_water(&mut self) {
        let mark = HighWater { commit: self.from_disk.chain.commit, receipt: self.from_disk.receipt, attempt: 0 };
        self.identity.note_high_water(mark);
    }
}

enum Failure {
    /// Nothing is on disk.
    Before(StoreError),
    /// Nobody knows.
    AtCommit(StoreError),
}

impl<E: Into<StoreError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Before(error.into())
    }
}

/// It is on the disk, but what the screen shows then could not be read: the screen asks again rather than hear that nothing was recorded.
fn done_but_unread() -> ApiError {
    StoreError::InDoubt.into()
}

fn insert_job(db: &rusqlite::Connection, job: &NewJob, now_ms: u64) -> Result<(), StoreError> {
    let (title, document) = (job.title.as_str(), job.document.as_str());
    let new = paper_rows::NewPrintJob { id: job.id, order: job.order, copy_no: job.copy_no, title, document, created_ms: now_ms };
    paper_rows::insert_job(db, new).map(|_| ())
}
