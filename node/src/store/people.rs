//! Stores, staff, devices and PIN attempts.

use domain::document::{StaffMember, Store};
use domain::ids::{DeviceId, StaffId, StoreId};
use domain::money::Currency;
use domain::record::{DeviceEnrolment, DeviceKind};
use domain::staff::Role;
use domain::tax::TaxMode;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, fixed};

/// Writes a store's settings.
///
/// # Errors
/// A failure of SQLite.
pub fn put_store(db: &Connection, s: &Store) -> Result<(), StoreError> {
    let json = |texts: &[String]| serde_json::to_string(texts).expect("strings are JSON");
    db.prepare_cached(
        "INSERT OR REPLACE INTO store (id, code, name, address, currency, tax_exclusive, receipt_footer, receipt_header, languages, time_zone)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        s.id.as_bytes(),
        s.code,
        s.name,
        json(&s.address),
        s.currency.code(),
        s.tax_mode == TaxMode::Exclusive,
        s.receipt_footer,
        json(&s.receipt_header),
        json(&s.languages),
        s.time_zone
    ])?;
    Ok(())
}

/// A store's settings, once they have arrived.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn store(db: &Connection, id: StoreId) -> Result<Option<Store>, StoreError> {
    let row = db
        .prepare_cached(
            "SELECT code, name, address, currency, tax_exclusive, receipt_footer, receipt_header, languages, time_zone
             FROM store WHERE id = ?",
        )?
        .query_row([id.as_bytes()], |r| Ok(store_row(r, id)))
        .optional()?;
    row.transpose()
}

fn store_row(r: &Row<'_>, id: StoreId) -> Result<Store, StoreError> {
    let texts = |at: usize, what| {
        let json: String = r.get(at)?;
        serde_json::from_str::<Vec<String>>(&json).map_err(|_| StoreError::Damaged(what))
    };
    let currency: String = r.get(3)?;
    Ok(Store {
        id,
        code: r.get(0)?,
        name: r.get(1)?,
        address: texts(2, "a store's address")?,
        currency: Currency::new(&currency).ok_or(StoreError::Damaged("a store's currency"))?,
        tax_mode: if r.get(4)? { TaxMode::Exclusive } else { TaxMode::Inclusive },
        receipt_footer: r.get(5)?,
        receipt_header: texts(6, "a store's receipt header")?,
        languages: texts(7, "a store's languages")?,
        time_zone: r.get(8)?,
    })
}

/// Writes a person.
///
/// # Errors
/// A failure of SQLite.
pub fn put_staff(db: &Connection, m: &StaffMember) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO staff (id, name, role, pin_hash, active) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![m.id.as_bytes(), m.name, m.role.as_str(), m.pin_hash, m.active])?;
    Ok(())
}

/// A person.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn staff_member(db: &Connection, id: StaffId) -> Result<Option<StaffMember>, StoreError> {
    let found = db
        .prepare_cached("SELECT id, name, role, pin_hash, active FROM staff WHERE id = ?")?
        .query_row([id.as_bytes()], staff_row)
        .optional()?;
    found.transpose()
}

/// Everyone who may sign in, by name.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn active_staff(db: &Connection) -> Result<Vec<StaffMember>, StoreError> {
    let mut select = db.prepare_cached("SELECT id, name, role, pin_hash, active FROM staff WHERE active ORDER BY name, id")?;
    let rows = select.query_map([], staff_row)?;
    rows.map(|r| r.map_err(StoreError::from).flatten()).collect()
}

fn staff_row(r: &Row<'_>) -> rusqlite::Result<Result<StaffMember, StoreError>> {
    let role: String = r.get(2)?;
    let id: [u8; 16] = r.get(0)?;
    let Some(role) = Role::from_word(&role) else { return Ok(Err(StoreError::Damaged("a role"))) };
    Ok(Ok(StaffMember { id: StaffId(uuid::Uuid::from_bytes(id)), name: r.get(1)?, role, pin_hash: r.get(3)?, active: r.get(4)? }))
}

/// A device that was admitted somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The store it works for.
    pub store: Option<StoreId>,
    /// What its seals are checked with.
    pub public_key: [u8; 32],
}

/// Writes a device.
///
/// # Errors
/// A failure of SQLite.
pub fn put_device(db: &Connection, d: &DeviceEnrolment) -> Result<(), StoreError> {
    let store = d.store.as_ref().map(|s| s.as_bytes().to_vec());
    db.prepare_cached("INSERT OR REPLACE INTO device (id, store, kind, name, number, public_key) VALUES (?, ?, ?, ?, ?, ?)")?
        .execute(params![d.device.as_bytes(), store, d.kind.as_str(), d.name, d.number, d.public_key])?;
    Ok(())
}

/// A device.
///
/// # Errors
/// A failure of SQLite, or a row that makes no sense.
pub fn device(db: &Connection, id: DeviceId) -> Result<Option<Device>, StoreError> {
    let row = db
        .prepare_cached("SELECT name, kind, store, public_key FROM device WHERE id = ?")?
        .query_row([id.as_bytes()], |r| Ok((r.get(0)?, r.get::<_, String>(1)?, r.get::<_, Option<Vec<u8>>>(2)?, r.get(3)?)))
        .optional()?;
    let Some((name, kind, store, public_key)) = row else { return Ok(None) };
    let kinds = [DeviceKind::Server, DeviceKind::Till, DeviceKind::Handheld];
    let kind = kinds.into_iter().find(|k| k.as_str() == kind).ok_or(StoreError::Damaged("a kind of device"))?;
    let store = store.map(|s| fixed(s).map(|s| StoreId(uuid::Uuid::from_bytes(s)))).transpose()?;
    Ok(Some(Device { name, kind, store, public_key }))
}

/// Wrong PINs in a row, and when the last one was, in Unix milliseconds.
///
/// # Errors
/// A failure of SQLite.
pub fn pin_attempts(db: &Connection, staff: StaffId) -> Result<(u32, u64), StoreError> {
    let found = db
        .prepare_cached("SELECT wrong, last_ms FROM pin_attempt WHERE staff = ?")?
        .query_row([staff.as_bytes()], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?;
    Ok(found.unwrap_or((0, 0)))
}

/// Sets what [`pin_attempts`] answers.
///
/// # Errors
/// A failure of SQLite.
pub fn set_pin_attempts(db: &Connection, staff: StaffId, wrong: u32, last_ms: u64) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR REPLACE INTO pin_attempt (staff, wrong, last_ms) VALUES (?, ?, ?)")?.execute(params![
        staff.as_bytes(),
        wrong,
        last_ms
    ])?;
    Ok(())
}
