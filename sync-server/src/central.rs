//! The central half: from a region's log to the figures that managers read.
//!
//! ```text
//! region log ──FeedSource──▶ feed::run ──CentralStore──▶ entries (Postgres) ──projector──▶ read model ──reports──▶ web
//! ```
//!
//! * [`feed::run`] moves entries from a region's log to the central store, each exactly once: rows and the region's position change in
//!   one transaction, and on every reconnect the position in the store is trusted, not memory.
//! * [`CentralStore`] is what the feed needs of the store. [`Postgres`] is the real one; a simulation puts a model in its place.
//! * [`projector`] folds entries into the read model with the same `domain` code as the till's, under an advisory lock, so that any
//!   number of servers share one database.
//! * [`exceptions`]: what the projector flags.
//! * [`reports`] answers from the read model, and [`coverage`] says what an answer covers.
//! * [`catalogue`] answers what products there are.
//! * [`dump`] writes the whole read model as text, to compare two ways of arriving at it.
//!
//! Postgres is never in a till's way: while it is away the region goes on, and afterwards it catches up.

use std::future::Future;

use journal::Scope;

mod append;
mod backoff;
pub mod catalogue;
pub mod coverage;
pub mod dump;
pub mod exceptions;
pub mod feed;
pub mod lag;
pub mod migrate;
mod pool;
mod postgres;
pub mod projector;
pub mod reports;

pub(crate) use pool::in_time;
pub use postgres::Postgres;

/// Most rows of one [`CentralStore::append`].
pub const APPEND_ROWS_MAX: usize = 2_000;
/// Most bytes of entries of one [`CentralStore::append`], save for a single row that is larger.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most servers that are answered.
pub const SERVERS_MAX: usize = 1_000;

/// An entry on its way from a region's log to the central store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// Its number in the region's log; ascending.
    pub region_seq: u64,
    /// The device that wrote it.
    pub device: [u8; 16],
    /// The incarnation of the device.
    pub incarnation: [u8; 16],
    /// Its scope.
    pub scope: String,
    /// Its number in the chain of (device, incarnation, scope), from 1.
    pub seq: u64,
    /// The commit it is part of, from 1.
    pub commit: u64,
    /// Its chain hash.
    pub hash: [u8; 32],
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// The writer's clock in Unix milliseconds.
    pub at_ms: u64,
    /// The signature of its commit, on its last entry where it came with one.
    pub seal: Option<[u8; 64]>,
}

/// An entry as the central store gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentralRow {
    /// Its number in the central store; ascending, with gaps.
    pub central_seq: u64,
    /// The entry.
    pub row: FeedRow,
}

/// Up to where the rows of a region are durable in the central store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The `region_seq` of its last row; 0 when it has none.
    pub region_seq: u64,
    /// That row's hash, when the store kept it: a log that has something else there was put back from a backup.
    pub hash: Option<[u8; 32]>,
}

/// What other regions, or former incarnations of this one, brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brought {
    /// The entries, in the order in which the store took them.
    pub rows: Vec<CentralRow>,
    /// The place up to which the store has then been read.
    pub read_to: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// A server that feeds the central store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCard {
    /// Its id.
    pub device: [u8; 16],
    /// Its certificate, DER. Whoever reads it believes it only where the common authority has signed it.
    pub certificate: Vec<u8>,
    /// What people call it.
    pub name: String,
    /// Where devices reach it.
    pub address: String,
}

/// A device as a server has heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// Which device.
    pub device: [u8; 16],
    /// Under which incarnation.
    pub incarnation: [u8; 16],
    /// The last commit it is known to have made, whether or not its entries have arrived; 0 when it has made none.
    pub commit: u64,
    /// When it was heard, by the server's clock, in Unix milliseconds.
    pub seen_at_ms: u64,
    /// Its clock less the server's when it last greeted, in milliseconds; none when it did not say.
    pub clock_drift_ms: Option<i64>,
}

/// What an append came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The region's position now: everything up to here is durable in the central store.
    pub region_seq: u64,
    /// Rows whose place in their chain was taken by another entry. They are kept beside it and projected too.
    pub forks: Vec<Fork>,
}

/// Two entries at one place of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The device.
    pub device: [u8; 16],
    /// The incarnation.
    pub incarnation: [u8; 16],
    /// The scope.
    pub scope: String,
    /// The place.
    pub seq: u64,
    /// The hash that was there first.
    pub first: [u8; 32],
    /// The hash that came later.
    pub later: [u8; 32],
}

/// What the feed needs of the central store.
pub trait CentralStore: Send + Sync {
    /// Appends rows of a region that follow its position `after`, and moves the position, in one transaction. Rows that are there
    /// already change nothing.
    ///
    /// At most [`APPEND_ROWS_MAX`] rows of together at most [`APPEND_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`CentralError::Moved`] when the position is not `after`: read it again. Any other error leaves in doubt whether the
    /// rows were taken: read the position again too.
    fn append(
        &self,
        region: [u8; 16],
        after: u64,
        rows: &[FeedRow],
    ) -> impl Future<Output = Result<Appended, CentralError>> + Send;

    /// The region's position: up to where its rows are durable here.
    ///
    /// # Errors
    /// When the store does not answer.
    fn position(&self, region: [u8; 16]) -> impl Future<Output = Result<Position, CentralError>> + Send;

    /// Entries after a place of the store that another region than this one brought first, at most so many: of what happens in stores only what is in
    /// the scopes `stores`.
    ///
    /// # Errors
    /// When the store does not answer.
    fn brought_by_others(
        &self,
        region: [u8; 16],
        stores: &[Scope],
        after: u64,
        rows_max: usize,
    ) -> impl Future<Output = Result<Brought, CentralError>> + Send;

    /// Leaves a server's card, and answers those of all servers, at most [`SERVERS_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    fn leave_card(&self, own: &ServerCard) -> impl Future<Output = Result<Vec<ServerCard>, CentralError>> + Send;

    /// Notes which devices were heard, so that figures can say what they cover. Older news changes nothing.
    ///
    /// # Errors
    /// When the store does not answer; the caller may drop the news, newer ones will follow.
    fn seen(&self, contacts: &[Contact]) -> impl Future<Output = Result<(), CentralError>> + Send;
}

/// Why the central store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CentralError {
    /// The URL cannot be read.
    #[error("the central database's URL does not make sense; write it as postgresql://USER@HOST:PORT/DATABASE")]
    Url(#[source] tokio_postgres::Error),
    /// No connection, a connection that broke, or a server that is shutting down, overloaded or waited for too long.
    #[error("the central database does not answer; tills go on without it, check that it runs and that the URL is right")]
    Away(#[source] tokio_postgres::Error),
    /// The database does not let this user in, or there is none of that name.
    #[error("the central database lets nobody in with this URL; check the user, the password and the name of the database")]
    NoEntry(#[source] tokio_postgres::Error),
    /// No answer in time.
    #[error("the central database took more than {after_ms} ms to {what}; check its load and the network to it")]
    TimedOut {
        /// What it was to do.
        what: &'static str,
        /// How long it was given.
        after_ms: u128,
    },
    /// The region's position is not where the feed thought.
    #[error("the region stands at {found} in the central database and not at {expected}; it goes on from there")]
    Moved {
        /// Where the feed thought it was.
        expected: u64,
        /// Where it is.
        found: u64,
    },
    /// Postgres does not take a value.
    #[error("the central database refuses a value")]
    Value(#[source] tokio_postgres::Error),
    /// Any other error of Postgres, such as a missing table or right.
    #[error("the central database cannot do it; check that its user owns the tables, and start the server again to migrate it")]
    Database(#[source] tokio_postgres::Error),
    /// A migration that was applied is not the one in this program.
    #[error(
        "migration {version} of the central database is not the one in this program; install the version that made it, or a later one"
    )]
    EditedMigration {
        /// Its number.
        version: i32,
    },
    /// The read model was built by a newer program.
    #[error("a newer server built the figures (shape {found}, this program knows {known}): run the newer program")]
    NewerReadModel {
        /// The shape of the rows.
        found: i32,
        /// The newest that this program knows.
        known: i32,
    },
    /// A row that no entry can have.
    #[error("a row with {0} out of its range")]
    Row(&'static str),
}

impl CentralError {
    /// Whether waiting may help.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::TimedOut { .. })
    }
}

impl From<tokio_postgres::Error> for CentralError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else { return Self::Away(error) };
        // Classes of SQLSTATE, Postgres manual, appendix A.
        match &db.code().code()[..2] {
            // connection, rollback, resources, lock not available, operator intervention
            "08" | "25" | "40" | "53" | "55" | "57" => Self::Away(error),
            // authorization, no such database
            "28" | "3D" => Self::NoEntry(error),
            // data, integrity, program limit
            "22" | "23" | "54" => Self::Value(error),
            _ => Self::Database(error),
        }
    }
}
