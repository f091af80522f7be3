//! Other servers on the same central database, and the stores that are served here.
//!
//! A server whose certificate the common authority has signed is met ([`crate::servers`]): it is written into the directory as a server, so that this log
//! and the tills that follow it take what it writes there, in the catalogue and of staff. What happens in stores is kept for those that are served here.

use std::collections::BTreeSet;

use domain::ids::{DeviceId, StoreId};
use domain::record::{DeviceEnrolment, DeviceKind, Record};
use journal::Scope;
use rusqlite::{OptionalExtension, params};
use sync_proto::enrolment::CertifiedServer;
use sync_proto::scopes;
use uuid::Uuid;

use super::desk::is_device_name;
use super::{AuthorError, Region, RegionError};

/// What people call a server that has no name of its own.
const SERVER_NAME: &str = "Sync server";

/// What became of a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// The directory says now that it is a server.
    Now,
    /// It did so before, or it is this server itself.
    Before,
}

/// Why another server was not met.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// A device of its id is known as something else.
    #[error("device {0} is known with another key or as another kind of device: this server takes nothing from it")]
    Otherwise(DeviceId),
    /// The log refuses.
    #[error(transparent)]
    Author(#[from] AuthorError),
}

/// The record that says who a server is.
pub(super) fn server_called(device: DeviceId, name: &str, public_key: [u8; 32]) -> Record {
    let name = name.to_owned();
    Record::DeviceEnrolled(DeviceEnrolment { device, store: None, kind: DeviceKind::Server, name, number: 0, public_key })
}

impl Region {
    /// Writes another server into the directory, unless that has been done, by this or any other server.
    ///
    /// # Errors
    /// A device that is known otherwise, or a log that refuses.
    pub fn meet(&mut self, server: CertifiedServer, name: &str, now_ms: u64) -> Result<Met, MeetError> {
        let CertifiedServer { device: server, public_key } = server;
        let is_own = public_key == self.own_key.verifying_key().to_bytes();
        match self.device(server) {
            _ if is_own => return Ok(Met::Before),
            Some(known) if known.kind == DeviceKind::Server && known.public_key == public_key => return Ok(Met::Before),
            Some(_) => return Err(MeetError::Otherwise(server)),
            None if *server.as_bytes() == self.own.device => return Err(MeetError::Otherwise(server)),
            None => {}
        }
        let name = if is_device_name(name) { name.trim() } else { SERVER_NAME };
        self.write_records(vec![server_called(server, name, public_key)], now_ms)?;
        Ok(Met::Now)
    }

    /// What people call this server.
    pub fn name(&self) -> String {
        self.device(DeviceId(Uuid::from_bytes(self.own.device))).map_or_else(|| SERVER_NAME.to_owned(), |own| own.name.clone())
    }

    /// Gives this server another name, if it is another. Devices and other servers hear of it.
    ///
    /// # Errors
    /// A name that is none, or a log that refuses.
    pub fn rename(&mut self, name: &str, now_ms: u64) -> Result<(), AuthorError> {
        if !is_device_name(name) {
            return Err(AuthorError::DeviceName);
        }
        if name.trim() == self.name() {
            return Ok(());
        }
        let (own, key) = (DeviceId(Uuid::from_bytes(self.own.device)), self.own_key.verifying_key().to_bytes());
        self.write_records(vec![server_called(own, name.trim(), key)], now_ms)
    }

    /// Whether a device is a server: this one, or one that the directory names.
    pub(super) fn is_server(&self, device: [u8; 16]) -> bool {
        let named = || self.devices.get(&DeviceId(Uuid::from_bytes(device)));
        device == self.own.device || named().is_some_and(|known| known.kind == DeviceKind::Server)
    }

    /// Serves a store from now on: what happens in it is kept here, whichever server heard it first. Answers whether that is news.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn serve(&mut self, store: StoreId) -> Result<bool, RegionError> {
        if self.served.contains(&store) {
            return Ok(false);
        }
        self.in_transaction(|region| region.keep_served(store, true))
    }

    /// The scopes of the stores that are served here.
    pub(super) fn served_scopes(&self) -> Vec<Scope> {
        self.served.iter().map(|store| scopes::store(*store)).collect()
    }

    /// Notes inside the open transaction that a store is served here. Where it `has_history`, the central store is read for it.
    pub(super) fn keep_served(&mut self, store: StoreId, has_history: bool) -> Result<bool, RegionError> {
        if !self.served.insert(store) {
            return Ok(false);
        }
        self.db.prepare_cached("INSERT OR IGNORE INTO served_store (store) VALUES (?1)")?.execute([store.as_bytes()])?;
        if has_history {
            self.read_central_again_from(0)?;
        }
        Ok(true)
    }

    pub(super) fn read_served(&self) -> Result<BTreeSet<StoreId>, RegionError> {
        let mut select = self.db.prepare_cached("SELECT store FROM served_store")?;
        let stores = select.query_map([], |row| Ok(StoreId(Uuid::from_bytes(row.get(0)?))))?;
        Ok(stores.collect::<Result<_, _>>()?)
    }

    /// Notes that entries of a writer whom nobody has named were passed over in the central store, from a place on.
    pub(super) fn pass_over(&self, device: [u8; 16], central_seq: u64) -> Result<(), RegionError> {
        self.db
            .prepare_cached(
                "INSERT INTO passed_over (device, central_seq) VALUES (?1, ?2)
                 ON CONFLICT (device) DO UPDATE SET central_seq = min(central_seq, excluded.central_seq)",
            )?
            .execute(params![device, central_seq])?;
        Ok(())
    }

    /// A writer was named: what was passed over for it is read again.
    pub(super) fn note_named(&mut self, device: DeviceId) -> Result<(), RegionError> {
        let passed_over: Option<u64> = self
            .db
            .prepare_cached("DELETE FROM passed_over WHERE device = ?1 RETURNING central_seq")?
            .query_row([device.as_bytes()], |row| row.get(0))
            .optional()?;
        match passed_over {
            Some(first) => self.read_central_again_from(first.saturating_sub(1)),
            None => Ok(()),
        }
    }
}
