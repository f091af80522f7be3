//! The central store in memory: what the feed needs of Postgres, with outages and backups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::Scope;
use sync_server::central::{
    Appended, Brought, CentralError, CentralRow, CentralStore, Contact, FeedRow, Fork, Position, ServerCard,
};

/// How long an answer takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(3);

/// A central store, as one server has the way to it.
#[derive(Debug, Clone, Default)]
pub struct Central {
    state: Arc<Mutex<State>>,
    /// The server's region.
    region: usize,
}

#[derive(Debug, Default)]
struct State {
    now: Contents,
    backup: Option<Contents>,
    /// The regions that it is away for.
    away: BTreeSet<usize>,
    /// Whether the next answer gets lost after the work is done.
    lose_answer: bool,
    appended: u64,
    refused: u64,
}

/// Device, incarnation, scope and number in the chain.
type Place = ([u8; 16], [u8; 16], String, u64);

#[derive(Debug, Default, Clone)]
struct Contents {
    rows: Vec<FeedRow>,
    /// The region that brought each row first.
    brought_by: Vec<[u8; 16]>,
    known: BTreeSet<[u8; 32]>,
    places: BTreeMap<Place, [u8; 32]>,
    positions: BTreeMap<[u8; 16], Position>,
    servers: BTreeMap<[u8; 16], ServerCard>,
}

impl Central {
    /// Every entry that is there, once, in the order in which they came.
    pub fn rows(&self) -> Vec<FeedRow> {
        self.state().now.rows.clone()
    }

    /// The same store, as another region's server has the way to it.
    pub fn seen_from(&self, region: usize) -> Self {
        Self { state: self.state.clone(), region }
    }

    /// How many entries there are of each scope.
    pub fn by_scope(&self) -> BTreeMap<String, u64> {
        let mut scopes = BTreeMap::<String, u64>::new();
        for row in &self.state().now.rows {
            match scopes.get_mut(&row.scope) {
                Some(count) => *count += 1,
                None => drop(scopes.insert(row.scope.clone(), 1)),
            }
        }
        scopes
    }

    /// Goes away for this server.
    pub fn go_away(&self) {
        self.state().away.insert(self.region);
    }

    /// Comes back for this server.
    pub fn come_back(&self) {
        self.state().away.remove(&self.region);
    }

    /// Does the next append and lets its answer get lost.
    pub fn lose_next_answer(&self) {
        self.state().lose_answer = true;
    }

    /// Makes a backup.
    pub fn back_up(&self) {
        let mut state = self.state();
        state.backup = Some(state.now.clone());
    }

    /// Goes back to the backup, if there is one. Answers whether there was.
    pub fn restore(&self) -> bool {
        let mut state = self.state();
        let Some(backup) = state.backup.clone() else { return false };
        state.now = backup;
        true
    }

    /// How often rows were taken, and how often it was asked while it was away.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.appended, state.refused)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_here(&self) -> Result<(), CentralError> {
        let mut state = self.state();
        if state.away.contains(&self.region) {
            state.refused += 1;
            return Err(away());
        }
        Ok(())
    }
}

fn away() -> CentralError {
    CentralError::TimedOut { what: "answer", after_ms: 5_000 }
}

impl CentralStore for Central {
    async fn append(&self, region: [u8; 16], after: u64, rows: &[FeedRow]) -> Result<Appended, CentralError> {
        tokio::time::sleep(ANSWERS_AFTER).await;
        self.check_here()?;
        let mut state = self.state();
        let found = state.now.positions.get(&region).map_or(0, |position| position.region_seq);
        if found != after {
            return Err(CentralError::Moved { expected: after, found });
        }
        let mut forks = Vec::new();
        for row in rows {
            if !state.now.known.insert(row.hash) {
                continue;
            }
            let place = (row.device, row.incarnation, row.scope.clone(), row.seq);
            let first = *state.now.places.entry(place).or_insert(row.hash);
            if first != row.hash {
                let (device, incarnation, scope, seq) = (row.device, row.incarnation, row.scope.clone(), row.seq);
                forks.push(Fork { device, incarnation, scope, seq, first, later: row.hash });
            }
            state.now.rows.push(row.clone());
            state.now.brought_by.push(region);
        }
        let region_seq = rows.last().map_or(after, |row| row.region_seq);
        state.now.positions.insert(region, Position { region_seq, hash: rows.last().map(|row| row.hash) });
        state.appended += 1;
        if std::mem::take(&mut state.lose_answer) {
            return Err(away());
        }
        Ok(Appended { region_seq, forks })
    }

    async fn position(&self, region: [u8; 16]) -> Result<Position, CentralError> {
        tokio::time::sleep(ANSWERS_AFTER).await;
        self.check_here()?;
        Ok(self.state().now.positions.get(&region).copied().unwrap_or_default())
    }

    async fn brought_by_others(
        &self,
        region: [u8; 16],
        stores: &[Scope],
        after: u64,
        rows_max: usize,
    ) -> Result<Brought, CentralError> {
        tokio::time::sleep(ANSWERS_AFTER).await;
        self.check_here()?;
        let state = self.state();
        let numbered = (1..).zip(state.now.rows.iter().zip(&state.now.brought_by));
        let wanted = |scope: &str| !scope.starts_with("store/") || stores.iter().any(|store| store.as_str() == scope);
        let others = numbered.filter(|(n, (row, by))| *n > after && **by != region && wanted(&row.scope));
        let rows: Vec<_> =
            others.take(rows_max).map(|(central_seq, (row, _))| CentralRow { central_seq, row: row.clone() }).collect();
        let more = rows.len() == rows_max;
        let read_to = if more { rows.last().map_or(0, |row| row.central_seq) } else { state.now.rows.len() as u64 };
        Ok(Brought { rows, read_to, more })
    }

    async fn leave_card(&self, own: &ServerCard) -> Result<Vec<ServerCard>, CentralError> {
        tokio::time::sleep(ANSWERS_AFTER).await;
        self.check_here()?;
        let mut state = self.state();
        state.now.servers.insert(own.device, own.clone());
        Ok(state.now.servers.values().cloned().collect())
    }

    async fn seen(&self, _: &[Contact]) -> Result<(), CentralError> {
        Ok(())
    }
}
