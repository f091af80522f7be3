//! Sales as they are accepted, straight from the hub.

use std::collections::BTreeMap;

use domain::ids::{DeviceId, StaffId, StoreId};
use domain::receipt;
use domain::record::{Order, Record};
use journal::{Body, Origin};
use uuid::Uuid;

use super::Live;
use crate::region::{AdmittedSale, Region};
use crate::web_api::{LiveEvent, LiveSale, OrderKind};

/// How many names are remembered of each kind; then all are asked for anew.
const NAMES_MAX: usize = 10_000;

/// Tells watchers of accepted sales, in the hub's thread. Without a watcher it does nothing.
#[derive(Debug)]
pub(crate) struct SaleTeller<F> {
    live: Live,
    now_ms: F,
    /// What [`Region::document_changes`] was when the names were read.
    names_of: u64,
    stores: BTreeMap<StoreId, String>,
    staff: BTreeMap<StaffId, String>,
    series: BTreeMap<Origin, String>,
}

impl<F: Fn() -> u64> SaleTeller<F> {
    pub(crate) fn new(live: Live, now_ms: F) -> Self {
        Self { live, now_ms, names_of: 0, stores: BTreeMap::new(), staff: BTreeMap::new(), series: BTreeMap::new() }
    }

    /// Before runs are admitted.
    pub(crate) fn before(&self, region: &mut Region) {
        if self.live.is_watched() {
            region.keep_sales();
        }
    }

    /// After they are durable and their senders have been answered.
    pub(crate) fn after(&mut self, region: &mut Region) {
        let (sales, more) = region.take_sales();
        if sales.is_empty() {
            return;
        }
        self.forget_stale_names(region);
        let accepted_at_ms = (self.now_ms)();
        for sale in &sales {
            if let Some(sale) = self.describe(region, sale, accepted_at_ms) {
                self.live.send(LiveEvent::Sale { sale });
            }
        }
        if more {
            self.live.send(LiveEvent::Missed {});
        }
    }

    fn forget_stale_names(&mut self, region: &Region) {
        let changed = std::mem::replace(&mut self.names_of, region.document_changes()) != region.document_changes();
        if changed || self.stores.len().max(self.staff.len()).max(self.series.len()) > NAMES_MAX {
            self.stores.clear();
            self.staff.clear();
            self.series.clear();
        }
    }

    fn describe(&mut self, region: &Region, sale: &AdmittedSale, accepted_at_ms: u64) -> Option<LiveSale> {
        let (kind, order) = order_of(&sale.entry.body)?;
        let device = DeviceId(Uuid::from_bytes(sale.origin.device));
        let till = region.device(device)?;
        let store = till.store?;
        let code = |id: &StoreId| region.code_of_store(*id).unwrap_or_else(|| id.to_string());
        let store = self.stores.entry(store).or_insert_with_key(code).clone();
        let name = |id: &StaffId| region.name_of_staff(*id).unwrap_or_default();
        let staff = sale.entry.staff.map(|id| StaffId(Uuid::from_bytes(id)));
        let cashier = staff.map(|id| self.staff.entry(id).or_insert_with_key(name).clone()).unwrap_or_default();
        let series = |origin: &Origin| region.series_of(*origin).unwrap_or_default();
        let series = self.series.entry(sale.origin).or_insert_with_key(series);
        Some(LiveSale {
            store,
            order: order.id.to_string(),
            kind,
            number: receipt::receipt_number(series, order.receipt_number),
            device: device.to_string(),
            till: till.name.clone(),
            cashier,
            at_ms: sale.entry.at.unix_ms(),
            accepted_at_ms,
            currency: order.currency.code().to_owned(),
            exponent: order.currency.exponent(),
            total_minor: order.total_minor,
            lines: order.lines.len() as u64,
            first_line: order.lines.first().map(|l| l.name.clone()).unwrap_or_default(),
        })
    }
}

fn order_of(body: &Body) -> Option<(OrderKind, Order)> {
    let Body::Record { kind, version, bytes } = body else { return None };
    match Record::decode(*kind, *version, bytes).ok()?? {
        Record::SaleCompleted(order) => Some((OrderKind::Sale, order)),
        Record::RefundGiven(order) => Some((OrderKind::Refund, order)),
        _ => None,
    }
}
