//! What is held in memory of what is on disk. After a failed commit it is read again.

use std::collections::{BTreeMap, BTreeSet};

use domain::record::Record;
use journal::{Body, Entry, Hlc, Origin, OriginChain, Scope};
use rusqlite::Connection;
use sync_proto::frame::Mark;

use crate::identity::Identity;
use crate::store::ahead::Ahead;
use crate::store::lines::Line;
use crate::store::shifts::ShiftRow;
use crate::store::sums::Sums;
use crate::store::{Replica, StoreError, log, paper, rebuild, retention, shifts, sums};

/// The own chain, the sums since their last flush, and what views ask for all the time.
#[derive(Debug)]
pub(super) struct FromDisk {
    pub(super) origin_row: i64,
    pub(super) chain: OriginChain,
    pub(super) hlc: Hlc,
    pub(super) sums: Sums,
    pub(super) last_entry: i64,
    pub(super) receipt: u64,
    pub(super) acks: (u64, u64),
    pub(super) cursors: BTreeMap<Scope, u64>,
    pub(super) region: Option<[u8; 16]>,
    pub(super) mark: Option<Mark>,
    /// What came ahead of the log, while the log has not brought it.
    pub(super) ahead: Option<Ahead>,
    pub(super) earlier: Vec<Earlier>,
    /// The lines of others, as far as they were looked at.
    pub(super) lines: BTreeMap<Origin, Vec<Line>>,
    pub(super) shift: Option<ShiftRow>,
    pub(super) closed_shift: Option<ShiftRow>,
    pub(super) open_jobs: Vec<paper::PrintJob>,
    /// The newest print job that was looked at.
    pub(super) last_job: i64,
}

/// An earlier incarnation of this device whose commits are in the replica.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) row: i64,
    pub(super) chain: OriginChain,
    pub(super) acks: (u64, u64),
}

impl Earlier {
    pub(super) fn read(db: &Connection, own: Origin, scope: &Scope) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for (row, _) in log::origins_of_device(db, own.device)?.into_iter().filter(|(_, origin)| *origin != own) {
            let chain = log::load_chain(db, row)?;
            if chain.heads.contains_key(scope) {
                all.push(Self { row, chain, acks: log::acks(db, row)? });
            }
        }
        Ok(all)
    }

    pub(super) fn unsent(&self) -> u64 {
        self.chain.commit.saturating_sub(self.acks.0)
    }

    pub(super) fn not_central(&self) -> u64 {
        self.chain.commit.saturating_sub(self.acks.1)
    }
}

impl FromDisk {
    pub(super) fn read(
        replica: &Replica,
        identity: &Identity,
        followed: &BTreeSet<Scope>,
        scope: &Scope,
    ) -> Result<Self, StoreError> {
        let db = replica.db();
        let origin_row = log::origin_row(db, identity.origin())?;
        let chain = log::load_chain(db, origin_row)?;
        let device = *identity.device().as_bytes();
        let (shift, closed_shift) = shifts::newest_of(db, device)?;
        Ok(Self {
            hlc: last_hlc(db, device, scope)?,
            sums: rebuild::fold_since(db, sums::upto(db)?)?,
            last_entry: log::last_id(db)?,
            receipt: last_receipt(db, origin_row, &chain, scope)?.max(identity.high_water().receipt),
            acks: log::acks(db, origin_row)?,
            cursors: log::cursors(db, followed)?,
            region: log::region(db)?,
            mark: log::mark(db)?,
            ahead: Ahead::read(db)?,
            earlier: Earlier::read(db, identity.origin(), scope)?,
            lines: BTreeMap::new(),
            open_jobs: paper::open_jobs(db)?,
            last_job: paper::last_job(db)?,
            origin_row,
            chain,
            shift,
            closed_shift,
        })
    }
}

/// The latest reading of this device's clock that is on disk, whatever incarnation wrote it.
fn last_hlc(db: &Connection, device: [u8; 16], scope: &Scope) -> Result<Hlc, StoreError> {
    let mut latest = Hlc::default();
    for (row, _) in log::origins_of_device(db, device)? {
        let seq = log::load_chain(db, row)?.head(scope).seq;
        if let Some((_, bytes)) = log::bytes_at(db, row, scope, seq)? {
            latest = latest.max(decode(&bytes)?.at);
        }
    }
    Ok(latest)
}

/// The highest receipt number of an origin: that of its last order.
fn last_receipt(db: &Connection, row: i64, chain: &OriginChain, scope: &Scope) -> Result<u64, StoreError> {
    for seq in (1..=chain.head(scope).seq).rev() {
        let Some((_, bytes)) = log::bytes_at(db, row, scope, seq)? else { break };
        if bytes.is_empty() {
            return retention::receipt(db, row);
        }
        let Body::Record { kind, version, bytes } = decode(&bytes)?.body else { continue };
        if let Ok(Some(Record::SaleCompleted(o) | Record::RefundGiven(o))) = Record::decode(kind, version, &bytes) {
            return Ok(o.receipt_number);
        }
    }
    Ok(0)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(bytes).map_err(|_| StoreError::Damaged("an entry"))
}
