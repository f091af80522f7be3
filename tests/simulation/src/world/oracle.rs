//! Who stands outside and sees what people see: orders shown as paid, paper that came out, goods handed over. Knows nothing of any table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ids::{OpenOrderId, OrderId};
use uuid::Uuid;

use crate::day::Paid;

/// What a person at the counter knows of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was shown as paid.
    Shown,
    /// It was asked for, and then the screen was dark or said that it does not know.
    Unknown,
    /// The screen said that nothing was recorded.
    Refused,
}

/// An order as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The machine at which.
    pub machine: usize,
    /// What was asked for, and what was shown of it.
    pub paid: Paid,
    /// What is known of it.
    pub fate: Fate,
    /// The business day that the screen showed then.
    pub day: String,
    /// Whether every disk that held it has been destroyed since: then nobody can have it.
    pub is_gone: bool,
}

/// Paper that came out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Paper {
    /// The machine whose printer it was.
    pub machine: usize,
    /// The print job.
    pub job: [u8; 16],
    /// Whether the whole of it came out.
    pub whole: bool,
    /// Whether it says COPY.
    pub says_copy: bool,
    /// The receipt number on it.
    pub receipt: String,
    /// Local date and time on it.
    pub at: String,
}

/// A shift that was opened without saying for which day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The machine at which.
    pub machine: usize,
    /// The day that the screen showed.
    pub day: String,
    /// The day by the clock beside the screen.
    pub by_the_clock: String,
}

/// The observer.
#[derive(Debug, Clone, Default)]
pub struct Oracle {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    orders: BTreeMap<OrderId, Seen>,
    papers: Vec<Paper>,
    opened: Vec<Opened>,
    /// Print jobs that two machines had before them, because one was copied from the other: no software of one sees what the other's printer does.
    doubled: std::collections::BTreeSet<[u8; 16]>,
    kicks: u64,
    /// Carts that were shown as parked, by the id of their open order, and whether every disk that held it has been destroyed since.
    parked: BTreeMap<OpenOrderId, bool>,
    recalled: u64,
    told_of: u64,
}

impl Oracle {
    /// An order is asked for.
    pub fn asked(&self, machine: usize, paid: Paid, day: String) {
        let mut state = self.state();
        let seen = Seen { machine, paid: paid.clone(), fate: Fate::Unknown, day, is_gone: false };
        // Asked for again: what was shown before stays shown.
        state.orders.entry(paid.order).or_insert(seen);
    }

    /// What the screen made of it.
    pub fn answered(&self, paid: Paid, fate: Fate) {
        let mut state = self.state();
        let Some(seen) = state.orders.get_mut(&paid.order) else { return };
        if seen.fate != Fate::Shown {
            seen.fate = fate;
            seen.paid = paid;
        }
    }

    /// A shift was opened.
    pub fn opened(&self, opened: Opened) {
        self.state().opened.push(opened);
    }

    /// Every shift that was opened.
    pub fn shifts(&self) -> Vec<Opened> {
        self.state().opened.clone()
    }

    /// Paper came out.
    pub fn printed(&self, paper: Paper) {
        self.state().papers.push(paper);
    }

    /// A drawer opened.
    pub fn kicked(&self) {
        self.state().kicks += 1;
    }

    /// A cart was shown as parked, as that open order.
    pub fn parked(&self, id: OpenOrderId) {
        self.state().parked.entry(id).or_insert(false);
    }

    /// An open order was taken up again, or given up.
    pub fn recalled(&self) {
        self.state().recalled += 1;
    }

    /// A sale was shown that was not on its till any more.
    pub fn told(&self) {
        self.state().told_of += 1;
    }

    /// How often that was.
    pub fn told_of(&self) -> u64 {
        self.state().told_of
    }

    /// The open orders that somebody can still have.
    pub fn parked_orders(&self) -> Vec<OpenOrderId> {
        self.state().parked.iter().filter(|(_, is_gone)| !**is_gone).map(|(id, _)| *id).collect()
    }

    /// How many carts were parked, and how often an open order was taken up again.
    pub fn open_order_counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.parked.len() as u64, state.recalled)
    }

    /// Every order that was seen.
    pub fn orders(&self) -> BTreeMap<OrderId, Seen> {
        self.state().orders.clone()
    }

    /// These print jobs are before two machines from now on.
    pub fn doubled(&self, jobs: impl IntoIterator<Item = [u8; 16]>) {
        self.state().doubled.extend(jobs);
    }

    /// Every piece of paper, save that of jobs that two machines had before them.
    pub fn papers(&self) -> Vec<Paper> {
        let state = self.state();
        state.papers.iter().filter(|paper| !state.doubled.contains(&paper.job)).cloned().collect()
    }

    /// A disk was destroyed that alone held these orders and open orders.
    pub fn destroyed(&self, ids: impl IntoIterator<Item = [u8; 16]>) {
        let mut state = self.state();
        for id in ids {
            let id = Uuid::from_bytes(id);
            if let Some(seen) = state.orders.get_mut(&OrderId(id)) {
                seen.is_gone = true;
            }
            if let Some(is_gone) = state.parked.get_mut(&OpenOrderId(id)) {
                *is_gone = true;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
