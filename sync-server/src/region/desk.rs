//! Enrolment: codes issued and redeemed.

use domain::ids::{DeviceId, StoreId};
use domain::record::{DeviceEnrolment, DeviceKind, Record};
use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};
use sync_proto::enrolment::{CODE_LIFE_MS, CODE_TRIES_MAX, normalise_code};

use super::{AuthorError, Region, RegionError};

/// Longest name of a device, in characters.
const DEVICE_NAME_CHARS_MAX: usize = 100;

/// Why a device was not admitted; the sentence is shown at the device.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// No pending code is this one.
    #[error("the code is wrong, used or too old: ask the manager for a new one")]
    WrongCode,
    /// Too many wrong tries; every pending code ended.
    #[error("too many wrong codes: every pending code was ended, ask the manager for a new one")]
    TooManyTries,
    /// The key is enrolled already.
    #[error("this device's key is enrolled already: run the till as it is, or enrol it from an empty folder")]
    KnownKey,
    /// The log refuses.
    #[error(transparent)]
    Author(#[from] AuthorError),
}

impl From<rusqlite::Error> for DeskError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Author(RegionError::from(e).into())
    }
}

impl From<RegionError> for DeskError {
    fn from(e: RegionError) -> Self {
        Self::Author(e.into())
    }
}

/// A code that waits for its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// When it ends, Unix milliseconds.
    pub expires_at_ms: u64,
}

impl Region {
    /// Notes a one-time code for a new till of a store.
    ///
    /// # Errors
    /// No such store, a name that is none, or the log refuses.
    pub fn issue_code(&mut self, store_code: &str, name: &str, code: &str, now_ms: u64) -> Result<Pending, AuthorError> {
        let store = self.store_by_code(store_code)?.ok_or_else(|| AuthorError::NoSuchStore(store_code.to_owned()))?;
        if !is_device_name(name) {
            return Err(AuthorError::DeviceName);
        }
        let expires_at_ms = now_ms + CODE_LIFE_MS;
        self.db.execute("DELETE FROM enrolment_code WHERE expires_at_ms < ?1", [now_ms])?;
        self.db.execute(
            "INSERT INTO enrolment_code (code_hash, store, name, expires_at_ms) VALUES (?1, ?2, ?3, ?4)",
            params![digest(code), store.id.as_bytes(), name.trim(), expires_at_ms],
        )?;
        Ok(Pending { expires_at_ms })
    }

    /// Admits a till that shows a pending code: ends the code and writes the device into the directory.
    ///
    /// # Errors
    /// A code that is not pending, a key that is enrolled already, or the log refuses.
    pub fn redeem(
        &mut self,
        code: &str,
        device: DeviceId,
        public_key: [u8; 32],
        now_ms: u64,
    ) -> Result<DeviceEnrolment, DeskError> {
        let hash = digest(&normalise_code(code));
        let pending = self
            .db
            .query_row(
                "SELECT store, name FROM enrolment_code WHERE code_hash = ?1 AND expires_at_ms >= ?2",
                params![hash, now_ms],
                |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?)),
            )
            .optional()?;
        let Some((store, name)) = pending else { return Err(self.note_wrong_try()?) };
        if self.devices().any(|d| d.public_key == public_key) {
            return Err(DeskError::KnownKey);
        }
        let store = StoreId(uuid::Uuid::from_bytes(store));
        let number = self.devices().filter(|d| d.store == Some(store)).map(|d| d.number).max().unwrap_or(0) + 1;
        let enrolment = DeviceEnrolment { device, store: Some(store), kind: DeviceKind::Till, name, number, public_key };
        // The code ends with the device that it admitted, or not at all.
        self.in_transaction(|region| {
            region.db.execute("DELETE FROM enrolment_code WHERE code_hash = ?1", [hash])?;
            region.db.execute("DELETE FROM meta WHERE key = 'wrong_tries'", [])?;
            region.keep_records(vec![Record::DeviceEnrolled(enrolment.clone())], now_ms)?;
            Ok::<_, DeskError>(())
        })?;
        Ok(enrolment)
    }

    /// Counts a wrong try; the one too many ends every pending code.
    fn note_wrong_try(&mut self) -> Result<DeskError, rusqlite::Error> {
        let tries: u32 =
            self.db.query_row("SELECT value FROM meta WHERE key = 'wrong_tries'", [], |row| row.get(0)).optional()?.unwrap_or(0)
                + 1;
        if tries > CODE_TRIES_MAX {
            self.db.execute("DELETE FROM enrolment_code", [])?;
            self.db.execute("DELETE FROM meta WHERE key = 'wrong_tries'", [])?;
            return Ok(DeskError::TooManyTries);
        }
        self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('wrong_tries', ?1)", [tries])?;
        Ok(DeskError::WrongCode)
    }
}

/// Whether a device may be called so. Replicas will hold the name, in a record that has a bound.
pub(super) fn is_device_name(name: &str) -> bool {
    (1..=DEVICE_NAME_CHARS_MAX).contains(&name.trim().chars().count()) && !name.chars().any(char::is_control)
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}
