//! What the printing worker asks and tells. It gets a job only after the transaction that queued it is on disk.

use domain::ids::{OrderId, RecordId};
use domain::staff::Permission;
use hardware::Ticket;

use super::asking::Looked;
use super::cart::Said;
use super::{NewJob, Till, done_but_unread, insert_job};
use crate::api::{ApiError, ApiErrorCode as Code, DrawerState, Event, PrintState};
use crate::identity::HighWater;
use crate::store::{StoreError, orders, paper};

/// What the printing worker has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaperWork {
    /// The job's row.
    pub n: i64,
    /// The job's id.
    pub id: RecordId,
    /// What to print.
    pub ticket: Ticket,
}

/// What is known after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrintOutcome {
    /// On paper.
    Confirmed,
    /// Sent, and the printer cannot say.
    SentUnconfirmed,
    /// Some of it was sent.
    Uncertain {
        /// Bytes that the connection took.
        accepted: usize,
        /// Why, in a sentence.
        problem: String,
    },
    /// Nothing was sent.
    NotSent {
        /// Why, in a sentence.
        problem: String,
    },
}

impl Till {
    pub(super) fn reprint(&mut self, order: OrderId) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        if !self.options.printing {
            return Err(ApiError::new(
                Code::BadRequest,
                "no printer is set up on this till: reprint at another one, or have one set up",
            ));
        }
        self.queue_copy(order, None)
    }

    pub(super) fn resolve_print(&mut self, job: RecordId, came_out: bool) -> Result<(), ApiError> {
        self.permitted(Permission::Sell)?;
        let uncertain = self.from_disk.open_jobs.iter().find(|j| j.id == job && j.state == PrintState::Uncertain).cloned();
        let Some(uncertain) = uncertain else {
            return Err(ApiError::new(Code::NoSuchPrintJob, "this receipt needs no answer any more: look at the screen again"));
        };
        if !came_out {
            return match orders::order(self.db()?, uncertain.order)? {
                Some(_) => self.queue_copy(uncertain.order, Some(uncertain.n)),
                None => self.queue_copy_of_paper(uncertain.order, Some(uncertain.n)),
            };
        }
        paper::set_state(self.db()?, uncertain.n, PrintState::Accepted, None)?;
        self.job_is(uncertain.n, PrintState::Accepted, None);
        Ok(())
    }

    /// Queues the next copy of an order's receipt, in place of job `instead_of` if there is one.
    fn queue_copy(&mut self, order: OrderId, instead_of: Option<i64>) -> Result<(), ApiError> {
        let store = self.store()?;
        let Looked { row, entry, order: recorded } = self.look_up(order)?;
        let cashier = self.staff_name(entry.staff)?;
        let copy = paper::newest_job_of(self.db()?, order)?.map_or(1, |job| job.copy_no + 1);
        let (is_refund, series, at_ms) = (row.is_refund, row.series.as_str(), row.at_ms);
        let said = Said { order: &recorded, is_refund, series, at_ms, cashier: &cashier };
        let job = self.receipt_job(&store, said, Some(copy))?;
        self.queue_paper(&job, instead_of)
    }

    /// Queues a job, in place of job `instead_of` if there is one.
    pub(super) fn queue_paper(&mut self, job: &NewJob, instead_of: Option<i64>) -> Result<(), ApiError> {
        let tx = self.replica()?.begin()?;
        if let Some(n) = instead_of {
            paper::set_state(&tx, n, PrintState::Reprinted, None)?;
        }
        insert_job(&tx, job, self.env.unix_ms())?;
        tx.commit()?;
        self.paper_version += 1;
        if let Some(n) = instead_of {
            self.job_is(n, PrintState::Reprinted, None);
        }
        self.read_new_jobs().map_err(|_| done_but_unread())
    }

    /// A number that rises whenever there is new work for the printing worker.
    pub fn paper_version(&self) -> u64 {
        self.paper_version
    }

    /// The first receipt that waits for the printer. Jobs print in order; an uncertain one waits for a person and holds up nobody.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn next_print(&self) -> Result<Option<PaperWork>, StoreError> {
        let Some(job) = self.from_disk.open_jobs.iter().find(|job| job.state == PrintState::Queued) else { return Ok(None) };
        let ticket = serde_json::from_str(&paper::document(self.db()?, job.n)?);
        let ticket = ticket.map_err(|_| StoreError::Damaged("a print document"))?;
        Ok(Some(PaperWork { n: job.n, id: job.id, ticket }))
    }

    /// Notes that a job is about to be sent. Only after this returns may its first byte go out.
    ///
    /// # Errors
    /// A failure of SQLite: nothing may be sent.
    pub fn begin_print(&mut self, n: i64, profile: &str, bytes_sha256: [u8; 32]) -> Result<i64, StoreError> {
        let tx = self.replica()?.begin()?;
        let attempt = paper::begin_attempt(&tx, n, profile, bytes_sha256, self.env.unix_ms())?;
        paper::set_state(&tx, n, PrintState::Sending, None)?;
        tx.commit()?;
        // A replica that is put back as it was a moment ago would print once more what comes out now.
        self.identity.note_high_water(HighWater { attempt: attempt.cast_unsigned(), ..HighWater::default() });
        self.job_is(n, PrintState::Sending, None);
        Ok(attempt)
    }

    /// Notes how an attempt ended.
    ///
    /// # Errors
    /// A failure of SQLite; the job is then uncertain after the next start.
    pub fn end_print(&mut self, n: i64, attempt: i64, outcome: &PrintOutcome) -> Result<(), StoreError> {
        let (state, word, accepted, problem) = match outcome {
            PrintOutcome::Confirmed => (PrintState::Confirmed, "confirmed", None, None),
            PrintOutcome::SentUnconfirmed => (PrintState::SentUnconfirmed, "sent_unconfirmed", None, None),
            PrintOutcome::Uncertain { accepted, problem } => {
                (PrintState::Uncertain, "uncertain", Some(*accepted), Some(problem.as_str()))
            }
            PrintOutcome::NotSent { problem } => (PrintState::Queued, "not_sent", Some(0), Some(problem.as_str())),
        };
        let tx = self.replica()?.begin()?;
        paper::end_attempt(&tx, attempt, accepted, word, self.env.unix_ms())?;
        paper::set_state(&tx, n, state, problem)?;
        tx.commit()?;
        self.job_is(n, state, problem);
        Ok(())
    }

    /// Notes why nothing prints, on the job that waits first. Nothing was sent.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn note_print_problem(&mut self, n: i64, problem: Option<&str>) -> Result<(), StoreError> {
        let unchanged = |job: &paper::PrintJob| job.n == n && job.problem.as_deref() == problem;
        if self.from_disk.open_jobs.iter().any(unchanged) {
            return Ok(());
        }
        paper::set_state(self.db()?, n, PrintState::Queued, problem)?;
        self.job_is(n, PrintState::Queued, problem);
        Ok(())
    }

    /// Takes up the kicks that were asked for, each at most once ever, with how long ago each was asked for, in milliseconds.
    ///
    /// # Errors
    /// A failure of SQLite: no drawer may be opened.
    pub fn take_kicks(&mut self) -> Result<Vec<([u8; 16], u64)>, StoreError> {
        let tx = self.replica()?.begin()?;
        let asked = paper::asked_kicks(&tx)?;
        let mut taken = Vec::new();
        for id in asked {
            let age_ms = |asked_ms| self.env.unix_ms().saturating_sub(asked_ms);
            taken.extend(paper::begin_kick(&tx, id)?.map(|asked_ms| (id, age_ms(asked_ms))));
        }
        tx.commit()?;
        Ok(taken)
    }

    /// Notes what became of a kick.
    ///
    /// # Errors
    /// A failure of SQLite.
    pub fn end_kick(&mut self, id: [u8; 16], state: DrawerState) -> Result<(), StoreError> {
        paper::end_kick(self.db()?, id, state)?;
        self.announce(Event::TillChanged {});
        Ok(())
    }

    /// Takes up the jobs that were queued since. An unanswered job keeps all after it from being done, so they are not read again each time.
    pub(super) fn read_new_jobs(&mut self) -> Result<(), StoreError> {
        let new = paper::open_jobs_after(self.db()?, self.from_disk.last_job)?;
        self.from_disk.last_job = new.last().map_or(self.from_disk.last_job, |job| job.n);
        self.from_disk.open_jobs.extend(new);
        self.announce(Event::TillChanged {});
        Ok(())
    }

    /// Keeps in memory what was just written of a job.
    fn job_is(&mut self, n: i64, state: PrintState, problem: Option<&str>) {
        let jobs = &mut self.from_disk.open_jobs;
        match jobs.iter().position(|job| job.n == n) {
            Some(at) if paper::is_open(state) => {
                jobs[at].state = state;
                jobs[at].problem = problem.map(str::to_owned);
            }
            Some(at) => drop(jobs.remove(at)),
            None => {}
        }
        self.announce(Event::TillChanged {});
    }
}
