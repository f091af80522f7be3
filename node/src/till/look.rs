//! What a screen shows, and what can be looked up.

use domain::cart::{CartKind, Terms, refund_of};
use domain::document::{Picture, StaffMember};
use domain::ids::{DeviceId, OpenOrderId, OrderId, PictureId, StaffId};
use domain::money::{Currency, Quantity};
use domain::record::Order;
use domain::staff::Permission;
use domain::tax::{TaxLine, TaxMode};
use journal::Entry;
use serde::Serialize;
use uuid::Uuid;

use super::Till;
use super::asking::Looked;
use super::twice::SecondPayment;
use crate::api::{
    ApiError, ApiErrorCode as Code, CartLineView, CartView, ClosedShiftView, Durability, LedgerRow, LedgerView, LinkView,
    OpenOrderView, OrderLineView, OrderSummary, OrderView, PRINT_JOBS_SHOWN_MAX, PaidTwiceView, PrintJobView, ProductView, Query,
    RecalledView, RefundView, SettledView, ShiftView, SignedInView, StaffView, StoreView, TaxView, TillIdentity, TillView,
};
use crate::store::open_orders::OpenOrderRow;
use crate::store::orders::OrderRow;
use crate::store::shifts::ShiftRow;
use crate::store::{catalogue, log, open_orders, orders, paper, people};

/// Longest text of a search, in bytes.
const SEARCH_BYTES_MAX: usize = 256;
/// Most amounts that are offered for a quick payment.
const QUICK_CASH_MAX: usize = 5;

/// The answer to a [`Query`]; as JSON it is the answer alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Query::Till`].
    Till(Box<TillView>),
    /// To [`Query::Search`].
    Products(Vec<ProductView>),
    /// To [`Query::Orders`].
    Orders(Vec<OrderSummary>),
    /// To [`Query::Order`] and [`Query::FindOrder`].
    Order(Box<OrderView>),
    /// To [`Query::OpenOrders`].
    OpenOrders(Vec<OpenOrderView>),
    /// To [`Query::Shifts`].
    Shifts(Vec<ClosedShiftView>),
    /// To [`Query::Ledger`].
    Ledger(LedgerView),
}

impl Till {
    /// Looks something up on this till's own disk.
    ///
    /// # Errors
    /// An order that is not there, a text that is too long, or a failing disk.
    pub fn query(&self, query: Query) -> Result<Answer, ApiError> {
        let text_fits = |text: &str| match text.len() {
            0..=SEARCH_BYTES_MAX => Ok(()),
            _ => Err(ApiError::new(
                Code::BadRequest,
                format!("the search is too long: shorten it to at most {SEARCH_BYTES_MAX} bytes"),
            )),
        };
        Ok(match query {
            Query::Till {} => Answer::Till(Box::new(self.view()?)),
            Query::Search { text, limit } => {
                text_fits(&text)?;
                Answer::Products(self.search(&text, limit as usize)?)
            }
            Query::Orders { text, limit } => {
                text_fits(&text)?;
                let rows = orders::newest(self.db()?, &text, limit as usize)?;
                Answer::Orders(rows.iter().map(|row| self.summary(row)).collect::<Result<_, _>>()?)
            }
            Query::Order { order } => Answer::Order(Box::new(self.order_view(order)?)),
            Query::FindOrder { receipt } => Answer::Order(Box::new(self.order_view(self.order_by_receipt(&receipt)?)?)),
            Query::OpenOrders { text, limit } => {
                text_fits(&text)?;
                let rows = open_orders::newest(self.db()?, &text, limit as usize)?;
                Answer::OpenOrders(rows.into_iter().map(|row| self.open_order_view(row)).collect::<Result<_, _>>()?)
            }
            Query::Shifts { limit } => Answer::Shifts(self.closed_shifts(limit as usize)?),
            Query::Ledger {} => Answer::Ledger(self.ledger()?),
        })
    }

    /// A picture, once it has arrived.
    ///
    /// # Errors
    /// A failing disk.
    pub fn picture(&self, id: PictureId) -> Result<Option<Picture>, ApiError> {
        Ok(catalogue::picture(self.db()?, id)?)
    }

    /// Everything the till's screen shows.
    ///
    /// # Errors
    /// A failing disk.
    pub fn view(&self) -> Result<TillView, ApiError> {
        let db = self.db()?;
        let store = people::store(db, self.identity.store())?;
        let staff = people::active_staff(db)?;
        let signed_in = self.signed_in.and_then(|id| staff.iter().find(|m| m.id == id)).map(signed_in_view);
        let shift = self.from_disk.shift.as_ref().map(|s| self.shift_view(s)).transpose()?;
        let last_closed_shift = match (&shift, &self.from_disk.closed_shift) {
            (None, Some(closed)) => self.closed_shift_view(closed)?,
            _ => None,
        };
        Ok(TillView {
            till: TillIdentity { name: self.device_name(*self.identity.device().as_bytes())?, series: self.identity.series() },
            staff: staff.iter().map(staff_view).collect(),
            signed_in,
            shift,
            last_closed_shift,
            cart: self.cart_view(store.as_ref().map(|s| (s.tax_mode, s.currency)))?,
            open_orders: open_orders::count(db)?,
            last_order: self.last_order.map(|id| self.settled_view(id)).transpose()?.flatten(),
            link: self.link_view(),
            print_jobs: self.from_disk.open_jobs.iter().take(PRINT_JOBS_SHOWN_MAX).map(print_job_view).collect(),
            print_jobs_more: self.from_disk.open_jobs.len().saturating_sub(PRINT_JOBS_SHOWN_MAX) as u64,
            store: store.map(|s| StoreView {
                code: s.code,
                name: s.name,
                currency: s.currency.code().to_owned(),
                exponent: s.currency.exponent(),
                tax_included: self.cart.tax_mode.unwrap_or(s.tax_mode) == TaxMode::Inclusive,
                languages: s.languages,
            }),
        })
    }

    /// How this till is connected.
    pub fn link_view(&self) -> LinkView {
        let commit = self.from_disk.chain.commit;
        let (regional, central) = self.from_disk.acks;
        // What earlier incarnations of this till wrote counts like what it writes now.
        let earlier = || self.from_disk.earlier.iter();
        LinkView {
            state: self.link.state,
            way: self.link.way,
            unsent: commit.saturating_sub(regional) + earlier().map(super::Earlier::unsent).sum::<u64>(),
            not_central: commit.saturating_sub(central) + earlier().map(super::Earlier::not_central).sum::<u64>(),
            neighbours: self.neighbours_connected,
            last_contact_ms: self.link.last_contact_ms,
            problem: self.link.problem.clone(),
            history_percent: self.history_percent(),
        }
    }

    fn shift_view(&self, s: &ShiftRow) -> Result<ShiftView, ApiError> {
        let sum = self.from_disk.sums.shift(self.db()?, s.id)?;
        Ok(ShiftView {
            id: s.id,
            business_day: s.business_day.to_date().map(|d| d.to_string()).unwrap_or_default(),
            opened_at_ms: s.opened_ms,
            float_minor: s.float_minor,
            expected_minor: sum.cash_minor,
            sales: sum.sales.unsigned_abs(),
            refunds: sum.refunds.unsigned_abs(),
            sales_minor: sum.sales_minor,
            refunds_minor: -sum.refunds_minor,
        })
    }

    fn cart_view(&self, money: Option<(TaxMode, Currency)>) -> Result<CartView, ApiError> {
        let cart = &self.cart;
        let mode = cart.tax_mode.or(money.map(|(mode, _)| mode)).unwrap_or(TaxMode::Inclusive);
        let totals = cart.totals(mode).map_err(super::cart::money_error)?;
        let reason = match &cart.kind {
            CartKind::Sale => None,
            CartKind::Refund { reason } => Some(reason.clone()),
        };
        let quick_cash_minor = match (money, cart.lines.is_empty() || reason.is_some()) {
            (Some((_, currency)), false) => quick_cash(totals.total_minor, currency),
            _ => Vec::new(),
        };
        let line = |(l, &amount_minor): (&domain::cart::CartLine, &i64)| CartLineView {
            code: l.code.clone(),
            name: l.name.clone(),
            quantity_milli: l.quantity.0,
            unit_price: l.unit_price.0,
            tax_rate_bp: l.tax_rate_bp,
            amount_minor,
        };
        Ok(CartView {
            order: cart.order,
            is_refund: reason.is_some(),
            reason,
            lines: cart.lines.iter().zip(&totals.line_amounts_minor).map(line).collect(),
            touched: self.touched,
            taxes: tax_views(&totals.taxes),
            total_minor: totals.total_minor,
            recalled: cart.recalled.as_ref().map(|recalled| self.recalled_view(recalled.order)).transpose()?,
            quick_cash_minor,
        })
    }

    fn recalled_view(&self, id: OpenOrderId) -> Result<RecalledView, ApiError> {
        // The screen is drawn after every scan: the document is read only when its row is gone.
        let (label, note, is_closed) = match open_orders::words_of(self.db()?, id)? {
            Some((label, note)) => (label, note, false),
            None => {
                // It may have been closed so long ago that it has gone.
                self.open_order(id).map_or_else(|_| (String::new(), String::new(), true), |order| (order.label, order.note, true))
            }
        };
        Ok(RecalledView { open_order: id, label, note, is_closed })
    }

    fn open_order_view(&self, row: OpenOrderRow) -> Result<OpenOrderView, ApiError> {
        let name = |by| Ok::<_, ApiError>(people::staff_member(self.db()?, by)?.map(|member| member.name).unwrap_or_default());
        Ok(OpenOrderView {
            open_order: row.id,
            label: row.label,
            note: row.note,
            lines: row.lines,
            total_minor: row.total_minor,
            opened_at_ms: row.opened.at_unix_ms,
            opened_by: name(row.opened.by)?,
            changed_at_ms: row.changed.at_unix_ms,
            changed_by: name(row.changed.by)?,
        })
    }

    fn settled_view(&self, id: OrderId) -> Result<Option<SettledView>, ApiError> {
        let db = self.db()?;
        let Some(row) = orders::order(db, id)? else { return Ok(None) };
        let Some((entry, order)) = orders::read_order(db, row.entry)? else { return Ok(None) };
        let sums = |f: fn(&domain::record::Payment) -> i64| order.payments.iter().map(f).sum::<i64>();
        let (tendered_minor, change_minor) = match row.is_refund {
            true => (0, 0),
            false => (sums(|p| p.tendered_minor.unwrap_or(p.amount_minor)), sums(|p| p.change_minor())),
        };
        Ok(Some(SettledView {
            order: id,
            receipt: row.receipt(),
            is_refund: row.is_refund,
            total_minor: row.total_minor,
            tendered_minor,
            change_minor,
            durability: self.durability(row.origin, row.device, entry.commit)?,
            print: paper::newest_job_of(db, id)?.map(|job| job.state),
            drawer: paper::kick_state(db, *id.as_bytes())?,
        }))
    }

    fn durability(&self, origin: i64, device: [u8; 16], commit: u64) -> Result<Durability, ApiError> {
        let is_present = origin == self.from_disk.origin_row;
        let (regional, central) = match is_present {
            true => self.from_disk.acks,
            false => log::acks(self.db()?, origin)?,
        };
        // Another till's order is on its disk and on this one's.
        let is_copied = device != *self.identity.device().as_bytes() || is_present && self.is_with_a_neighbour(commit);
        Ok(match () {
            () if commit <= central => Durability::Central,
            () if commit <= regional => Durability::Regional,
            () if is_copied => Durability::Neighbour,
            () => Durability::Device,
        })
    }

    fn summary(&self, row: &OrderRow) -> Result<OrderSummary, ApiError> {
        let db = self.db()?;
        // An order that has not arrived here comes from the server.
        let (durability, is_here) = match row.entry {
            0 => (Durability::Regional, false),
            entry => (self.durability(row.origin, row.device, log::commit_of(db, entry)?)?, log::is_here(db, entry)?),
        };
        Ok(OrderSummary {
            order: row.id,
            receipt: row.receipt(),
            is_refund: row.is_refund,
            at_ms: row.at_ms,
            total_minor: row.total_minor,
            lines: row.lines,
            till: self.device_name(row.device)?,
            durability,
            is_here,
            is_paid_twice: !row.is_refund && self.is_paid_twice(row)?,
        })
    }

    fn order_view(&self, id: OrderId) -> Result<OrderView, ApiError> {
        let Looked { row, entry, order } = self.look_up(id)?;
        let refunded = self.came_back(id, order.lines.len())?;
        let original = order.original.and_then(|original| self.receipt_of(original).transpose()).transpose()?;
        let lines = order.lines.iter().zip(refunded).map(|(l, back)| OrderLineView {
            name: l.name.clone(),
            quantity_milli: l.quantity.0,
            unit_price: l.unit_price.0,
            amount_minor: l.amount_minor,
            refundable_milli: if row.is_refund { 0 } else { (l.quantity.0 - back.0).max(0) },
        });
        let paid_twice = match self.second_payment(&row)? {
            Some(second) => Some(self.paid_twice_view(&row, &order, second)?),
            None => None,
        };
        Ok(OrderView {
            lines: lines.collect(),
            refunds: self.refunds_of(id)?,
            paid_twice,
            cashier: self.staff_name(entry.staff)?,
            taxes: tax_views(&order.taxes),
            original,
            reason: order.reason.clone(),
            next_refund: self.new_order_id(),
            summary: self.summary(&row)?,
        })
    }

    /// What came back of a sale, earliest first.
    pub(super) fn refunds_of(&self, sale: OrderId) -> Result<Vec<RefundView>, ApiError> {
        let db = self.db()?;
        let view = |row: &OrderRow, entry: &Entry| {
            Ok::<_, ApiError>(RefundView {
                receipt: row.receipt(),
                till: self.device_name(row.device)?,
                cashier: self.staff_name(entry.staff)?,
                at_ms: row.at_ms,
                amount_minor: -row.total_minor,
            })
        };
        let mut all = Vec::new();
        for row in orders::refunds_of(db, sale)? {
            all.push(view(&row, &super::from_disk::decode(&log::entry_bytes(db, row.entry)?)?)?);
        }
        for refund in self.told_refunds(sale)? {
            all.push(view(&refund.row, &refund.entry)?);
        }
        all.sort_by_key(|refund| refund.at_ms);
        Ok(all)
    }

    fn paid_twice_view(&self, row: &OrderRow, sale: &Order, second: SecondPayment) -> Result<PaidTwiceView, ApiError> {
        let db = self.db()?;
        let mut others = Vec::new();
        for id in second.sales.iter().filter(|id| **id != row.id) {
            others.extend(orders::order(db, *id)?.map(|other| other.receipt()));
        }
        // What it would come to now; the number and the shift are those of the refund to come.
        let tax_mode = people::store(db, self.identity.store())?.map_or(sale.tax_mode, |store| store.tax_mode);
        let terms = Terms { receipt_number: 0, shift: sale.shift, currency: sale.currency, tax_mode };
        let refunded = orders::refunded(db, row.id, sale.lines.len())?;
        let before = |at: usize| refunded.get(at).copied().unwrap_or(Quantity(0));
        let refund = refund_of(&terms, row.id, sale, &second.lines, before, "").map_err(super::cart::refund_error)?;
        Ok(PaidTwiceView { label: second.label, others, amount_minor: -refund.total_minor })
    }

    fn search(&self, text: &str, limit: usize) -> Result<Vec<ProductView>, ApiError> {
        let found = catalogue::search(self.db()?, &self.from_disk.sums, text, limit)?;
        let view = |(p, stock_milli): (domain::document::Product, i64)| ProductView {
            id: p.id,
            code: p.code,
            name: p.name,
            unit_price: p.price.0,
            stock_milli,
            picture: p.picture,
        };
        Ok(found.into_iter().map(view).collect())
    }

    fn ledger(&self) -> Result<LedgerView, ApiError> {
        let db = self.db()?;
        let mut select = db.prepare_cached("SELECT id, device FROM origin ORDER BY id")?;
        let origins = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let mut by_device = std::collections::BTreeMap::<[u8; 16], domain::fold::LineSums>::new();
        let mut orders = 0;
        for origin in origins {
            let (origin, device): (i64, [u8; 16]) = origin?;
            let sum = self.from_disk.sums.ledger(db, origin)?;
            orders += sum.orders;
            if sum.lines.lines > 0 {
                *by_device.entry(device).or_default() += sum.lines;
            }
        }
        let row = |(device, sum): ([u8; 16], domain::fold::LineSums)| {
            Ok(LedgerRow {
                device: self.device_name(device)?,
                lines: sum.lines,
                rounded_minor: sum.rounded_minor.to_string(),
                exact: sum.exact.to_string(),
            })
        };
        let mut devices = by_device.into_iter().map(row).collect::<Result<Vec<_>, ApiError>>()?;
        devices.sort_by(|a, b| a.device.cmp(&b.device));
        Ok(LedgerView { devices, orders })
    }

    /// What people call a device; its id while nobody has said.
    pub(super) fn device_name(&self, device: [u8; 16]) -> Result<String, ApiError> {
        let id = DeviceId(Uuid::from_bytes(device));
        if let Some(device) = people::device(self.db()?, id)? {
            return Ok(device.name);
        }
        Ok(if id == self.identity.device() { self.identity.name().to_owned() } else { id.to_string() })
    }

    pub(super) fn staff_name(&self, staff: Option<[u8; 16]>) -> Result<String, ApiError> {
        let Some(id) = staff else { return Ok(String::new()) };
        Ok(people::staff_member(self.db()?, StaffId(Uuid::from_bytes(id)))?.map(|m| m.name).unwrap_or_default())
    }
}

fn staff_view(m: &StaffMember) -> StaffView {
    StaffView { id: m.id, name: m.name.clone(), role: m.role }
}

fn signed_in_view(m: &StaffMember) -> SignedInView {
    SignedInView {
        staff: staff_view(m),
        may_refund_without_sale: m.role.may(Permission::RefundWithoutSale),
        may_override_price: m.role.may(Permission::OverridePrice),
        may_refund_payment: m.role.may(Permission::RefundPayment),
        may_adjust_stock: m.role.may(Permission::AdjustStock),
        may_open_drawer: m.role.may(Permission::OpenDrawer),
    }
}

fn print_job_view(job: &paper::PrintJob) -> PrintJobView {
    let title = match job.copy_no {
        0 => job.title.clone(),
        n => format!("{} COPY {n}", job.title),
    };
    PrintJobView { id: job.id, title, state: job.state, problem: job.problem.clone() }
}

fn tax_views(taxes: &[TaxLine]) -> Vec<TaxView> {
    taxes.iter().map(|t| TaxView { rate_bp: t.rate_bp, net_minor: t.net_minor, tax_minor: t.tax_minor }).collect()
}

/// The exact amount, then what a customer gets to with the next coin or note of each kind.
fn quick_cash(total_minor: i64, currency: Currency) -> Vec<i64> {
    let unit = 10i64.pow(currency.exponent().into());
    let steps: &[i64] = match currency.code() {
        "KRW" => &[1_000, 5_000, 10_000, 50_000],
        "JPY" => &[100, 500, 1_000, 5_000, 10_000],
        _ => &[1, 5, 10, 20, 50, 100],
    };
    let next = |step: &i64| (total_minor + step * unit - 1) / (step * unit) * step * unit;
    let mut amounts: Vec<i64> = std::iter::once(total_minor).chain(steps.iter().map(next)).collect();
    amounts.sort_unstable();
    amounts.dedup();
    amounts.truncate(QUICK_CASH_MAX);
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_cash_goes_up_by_coins_and_notes() {
        let of = |minor, currency| quick_cash(minor, Currency::new(currency).expect("currency"));
        assert_eq!(of(1_530, "GBP"), [1_530, 1_600, 2_000, 5_000, 10_000]);
        assert_eq!(of(2_000, "GBP"), [2_000, 5_000, 10_000]);
        assert_eq!(of(1_234, "JPY"), [1_234, 1_300, 1_500, 2_000, 5_000]);
        assert_eq!(of(8_400, "KRW"), [8_400, 9_000, 10_000, 50_000]);
        assert_eq!(of(1_250, "KWD"), [1_250, 2_000, 5_000, 10_000, 20_000]);
        assert_eq!(of(0, "GBP"), [0]);
    }
}
