//! Open orders: the documents that tills write.
//!
//! A change counts when it passes the gate. One that may pass once more has arrived waits, flagged, and is looked at again whenever its order
//! goes on or its origin announces an actor. When a commit and all that waited for it are in, what people did at once and does not fit together
//! is flagged per order and kind, at the change that made it so, and settled at the commit since which it is so no longer: the goods came back, what was
//! left unpaid was paid or given up, what was taken out was put in again. Where a batch ends makes no difference to any of it.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use domain::document::DocumentKind;
use domain::ids::{LineId, OrderId, ProductId};
use domain::money::Quantity;
use domain::open_order::{Goods, OpenOrder, OpenOrderException, OpenOrderStatus};
use domain::receipt::{format_quantity, receipt_number};
use domain::record::DeviceKind;
use domain::tax::TaxMode;
use sync_proto::documents::Document;
use sync_proto::documents::gate::Refusal;
use sync_proto::documents::open_order::rest_id;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::commits::CentralEntry;
use super::facts::{
    ActorRow, ChangeFact, Facts, OpenOrderRow, OrderDocumentRow, OriginKey, Receipt, Rows, Settled, Subject, WaitingRow, text,
};
use super::refunds::Returned;
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// Most changes of one order that wait. Those beyond do not count.
const WAITING_MAX: usize = 1_000;
/// Most goods or receipts that a sentence names.
const NAMED_MAX: usize = 5;

/// The store of an order, and its id. Stores have nothing to do with each other's.
type OrderKey = (Uuid, Uuid);
/// The store of an order that is the rest of another, its id, and that of the other.
type OrderWithRest = (Uuid, Uuid, Uuid);

/// The open orders of a batch.
pub(super) struct OpenOrders<'a> {
    tx: &'a Transaction<'a>,
    saved: BTreeMap<OrderKey, Saved>,
    open: BTreeMap<OrderKey, Open>,
    waiting: BTreeMap<OrderKey, BTreeMap<i64, Waiting>>,
    /// Orders that the commit touched.
    touched: BTreeSet<OrderKey>,
    /// Announced by the origins that have changes here.
    actors: BTreeMap<OriginKey, BTreeSet<[u8; 16]>>,
    /// What this batch has said so far of receipts.
    receipts: BTreeMap<(Uuid, Uuid), Receipt>,
    series: BTreeMap<OriginKey, String>,
    announced: Vec<ActorRow>,
    waited: Vec<i64>,
    /// The refunds of the batch, by their entries.
    refunds: BTreeMap<i64, &'a Returned>,
    /// What came back of a sale: in earlier batches, as far as was asked, and in this one so far.
    returned_before: BTreeMap<(Uuid, Uuid), Goods>,
    returned: BTreeMap<(Uuid, Uuid), Goods>,
    /// Which orders a sale paid, as far as refunds of this batch ask for it.
    paid_by: BTreeMap<(Uuid, Uuid), BTreeSet<OrderKey>>,
    /// The order that an order is the unpaid rest of.
    rest_of: BTreeMap<OrderKey, OrderKey>,
    /// The commit that is being taken.
    commit: Settled,
}

/// An order as it lies in the table.
struct Saved {
    document: Vec<u8>,
    flagged: Vec<String>,
    settled: Vec<String>,
    rest: Option<Uuid>,
}

/// An order of this batch.
struct Open {
    document: Document,
    /// The kinds of exceptions that it has and was flagged with.
    flagged: Vec<String>,
    /// Those of them that are settled.
    settled: Vec<String>,
    /// The order of what was left unpaid of it.
    rest: Option<Uuid>,
    is_changed: bool,
    /// The changes that were taken since somebody looked, with what did not fit together after each.
    taken: Vec<(i64, BTreeSet<ExceptionKind>)>,
}

/// A change that waits.
struct Waiting {
    change: ChangeFact,
    /// Why, when it has waited since this batch only.
    why: Option<String>,
}

impl<'a> OpenOrders<'a> {
    /// The orders that the changes of a batch are of, those with changes that wait for an announcement in it, and those that a refund in it or the
    /// rest of them in it may settle.
    pub(super) async fn load(tx: &'a Transaction<'a>, commits: &[Facts], refunds: &'a [Returned]) -> Result<Self, CentralError> {
        let mut orders = Self {
            tx,
            saved: BTreeMap::new(),
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            touched: BTreeSet::new(),
            actors: BTreeMap::new(),
            receipts: BTreeMap::new(),
            series: BTreeMap::new(),
            announced: Vec::new(),
            waited: Vec::new(),
            refunds: refunds.iter().map(|refund| (refund.central_seq, refund)).collect(),
            returned_before: BTreeMap::new(),
            returned: BTreeMap::new(),
            paid_by: BTreeMap::new(),
            rest_of: BTreeMap::new(),
            commit: Settled { central_seq: 0, order: None },
        };
        let changes = || commits.iter().flat_map(|commit| &commit.changes).filter(|c| c.kind == DocumentKind::OpenOrder);
        let mut keys: BTreeSet<OrderKey> = changes().map(key_of).collect();
        let mut origins: BTreeSet<OriginKey> = changes().map(|change| change.origin).collect();
        let announcing =
            commits.iter().flat_map(|commit| &commit.actors).map(|actor| (actor.device, actor.incarnation)).collect();
        for change in waiting(tx, &keys, &announcing).await? {
            keys.insert(key_of(&change));
            origins.insert(change.origin);
            let waiting = orders.waiting.entry(key_of(&change)).or_default();
            waiting.insert(change.central_seq, Waiting { change, why: None });
        }
        orders.load_settleable(&mut keys).await?;
        orders.load_documents(&keys).await?;
        orders.load_actors(&origins).await?;
        Ok(orders)
    }

    async fn load_documents(&mut self, keys: &BTreeSet<OrderKey>) -> Result<(), CentralError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (stores, ids) = columns(keys);
        let sql = "SELECT store_id, id, saved, flagged, settled, rest FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, id)
            JOIN open_order_documents USING (store_id, id)";
        let rows = self.tx.query(sql, &[&stores, &ids]).await?;
        let saved = |row: &Row| Saved { document: row.get(2), flagged: row.get(3), settled: row.get(4), rest: row.get(5) };
        self.saved = rows.iter().map(|row| ((row.get(0), row.get(1)), saved(row))).collect();
        Ok(())
    }

    /// Adds the orders that sales paid which are refunded in this batch, and those of which one of the batch is the rest.
    async fn load_settleable(&mut self, keys: &mut BTreeSet<OrderKey>) -> Result<(), CentralError> {
        let sales: BTreeSet<(Uuid, Uuid)> = self.refunds.values().map(|refund| refund.sale).collect();
        if !sales.is_empty() {
            let (stores, ids) = columns(&sales);
            let sql = "SELECT store_id, sale_id, open_order_id FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, sale_id)
                JOIN open_order_payments USING (store_id, sale_id)";
            for row in &self.tx.query(sql, &[&stores, &ids]).await? {
                let key = (row.get(0), row.get(2));
                self.paid_by.entry((row.get(0), row.get(1))).or_default().insert(key);
                keys.insert(key);
            }
        }
        if !keys.is_empty() {
            let (stores, ids) = columns(keys);
            let sql = "SELECT store_id, rest, id FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, rest)
                JOIN open_order_documents USING (store_id, rest)";
            for row in &self.tx.query(sql, &[&stores, &ids]).await? {
                let (store, rest, of): OrderWithRest = (row.get(0), row.get(1), row.get(2));
                self.rest_of.insert((store, rest), (store, of));
                keys.insert((store, of));
            }
        }
        Ok(())
    }

    async fn load_actors(&mut self, origins: &BTreeSet<OriginKey>) -> Result<(), CentralError> {
        if origins.is_empty() {
            return Ok(());
        }
        let (devices, incarnations) = columns(origins);
        let sql = "SELECT device, incarnation, actor FROM unnest($1::uuid[], $2::uuid[]) AS w (device, incarnation)
            JOIN announced_actors USING (device, incarnation)";
        for row in &self.tx.query(sql, &[&devices, &incarnations]).await? {
            let actor: Uuid = row.get(2);
            self.actors.entry((row.get(0), row.get(1))).or_default().insert(actor.into_bytes());
        }
        Ok(())
    }

    /// Hears what a commit says besides its changes.
    pub(super) fn hear(&mut self, commit: Facts) {
        for announced in commit.actors {
            let origin = (announced.device, announced.incarnation);
            self.actors.entry(origin).or_default().insert(announced.actor.into_bytes());
            let waits = |waiting: &BTreeMap<i64, Waiting>| waiting.values().any(|w| w.change.origin == origin);
            self.touched.extend(self.waiting.iter().filter(|(_, waiting)| waits(waiting)).map(|(key, _)| *key));
            self.announced.push(announced);
        }
        self.commit = Settled { central_seq: commit.central_seq, order: commit.receipts.first().map(|((_, order), _)| *order) };
        for refund in commit.refunds.iter().filter_map(|entry| self.refunds.get(entry)) {
            add(self.returned.entry(refund.sale).or_default(), &refund.goods);
            self.touched.extend(self.paid_by.get(&refund.sale).into_iter().flatten());
        }
        self.series.extend(commit.series);
        for (sale, receipt) in commit.receipts {
            // The first one of an id counts.
            self.receipts.entry(sale).or_insert(receipt);
        }
    }

    /// Takes a change if it passes, lets it wait if it may later, and flags it if not.
    pub(super) fn take(&mut self, change: ChangeFact, rows: &mut Rows) {
        let key = key_of(&change);
        match self.try_one(key, &change) {
            Ok(()) => {}
            Err(Verdict::Later(why)) => {
                let waiting = self.waiting.entry(key).or_default();
                if waiting.len() == WAITING_MAX {
                    return refuse(&change, "too many changes of the order wait for others", rows);
                }
                waiting.insert(change.central_seq, Waiting { change, why: Some(why) });
            }
            Err(Verdict::Never(why)) => refuse(&change, &why, rows),
        }
    }

    /// Ends a commit: takes what waited for it, and flags what does not fit together now.
    pub(super) async fn settle(&mut self, rows: &mut Rows) -> Result<(), CentralError> {
        let mut touched = std::mem::take(&mut self.touched);
        for key in &touched {
            while self.take_waiting(*key, rows) {}
        }
        let rests: Vec<OrderKey> = touched.iter().filter_map(|key| self.rest_of.get(key)).copied().collect();
        touched.extend(rests);
        for key in touched {
            self.look(key, rows).await?;
        }
        // Nothing more is touched by what was just taken: an order's changes wait for that order alone.
        self.touched.clear();
        Ok(())
    }

    /// Tries once each change that waits for an order, and answers whether one was taken.
    fn take_waiting(&mut self, key: OrderKey, rows: &mut Rows) -> bool {
        let mut has_taken = false;
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        let mut still = BTreeMap::new();
        for (central_seq, waits) in waiting {
            let verdict = self.try_one(key, &waits.change);
            if let Err(Verdict::Later(_)) = verdict {
                still.insert(central_seq, waits);
                continue;
            }
            if waits.why.is_none() {
                self.waited.push(central_seq);
            }
            match verdict {
                Err(Verdict::Never(why)) => refuse(&waits.change, &why, rows),
                _ => has_taken = true,
            }
        }
        self.waiting.insert(key, still);
        has_taken
    }

    fn try_one(&mut self, key: OrderKey, change: &ChangeFact) -> Result<(), Verdict> {
        let none = BTreeSet::new();
        let open = open(&mut self.open, &self.saved, key).map_err(Verdict::Never)?;
        let before = open.document.heads();
        open.document.take(&change.bytes, &change.writer(self.actors.get(&change.origin).unwrap_or(&none)))?;
        if open.document.heads() != before {
            open.is_changed = true;
            let found = open.document.open_order().map(|order| order.exceptions()).unwrap_or_default();
            open.taken.push((change.central_seq, found.iter().map(kind_of).collect()));
            self.touched.insert(key);
        }
        Ok(())
    }

    /// Flags what does not fit together in an order since the last look, and settles what is so no longer.
    async fn look(&mut self, key: OrderKey, rows: &mut Rows) -> Result<(), CentralError> {
        if !self.open.contains_key(&key) && !self.saved.contains_key(&key) {
            return Ok(());
        }
        let Ok(open) = open(&mut self.open, &self.saved, key) else { return Ok(()) };
        let taken = std::mem::take(&mut open.taken);
        let Ok(order) = open.document.open_order() else { return Ok(()) };
        for payment in &order.payments {
            self.paid_by.entry((key.0, payment.sale.0)).or_default().insert(key);
        }
        let exceptions = order.exceptions();
        if exceptions.is_empty() && open.flagged.is_empty() {
            return Ok(());
        }
        if exceptions.iter().any(|exception| matches!(exception, OpenOrderException::UnpaidRemainder { .. })) {
            let rest = rest_id(order.id).0;
            open.rest = Some(rest);
            self.rest_of.insert((key.0, rest), key);
        }
        let (mut flagged, mut settled, rest) = (open.flagged.clone(), open.settled.clone(), open.rest);
        let returned = self.returned_of(key.0, &order).await?;
        let unsettled = order.unsettled(&returned, self.is_rest_done(key.0, rest).await?);
        let unsettled: BTreeSet<ExceptionKind> = unsettled.iter().map(kind_of).collect();
        for exception in &exceptions {
            let (kind, code) = (kind_of(exception), kind_of(exception).as_str());
            let is_settled = settled.iter().any(|settled| settled == code);
            // The first of those since which it has been so; nothing of the order but what was done elsewhere makes it so again.
            let since = taken.iter().rev().take_while(|(_, found)| found.contains(&kind)).last();
            if !flagged.iter().any(|flagged| flagged == code) || is_settled && unsettled.contains(&kind) {
                let central_seq = since.map_or(self.commit.central_seq, |(central_seq, _)| *central_seq);
                self.flag(key, central_seq, &order, exception, rows).await?;
                flagged.retain(|flagged| flagged != code);
                flagged.push(code.to_owned());
                settled.retain(|settled| settled != code);
            }
            if !unsettled.contains(&kind) && !settled.iter().any(|settled| settled == code) {
                rows.settle(subject(key, code), self.commit);
                settled.push(code.to_owned());
            }
        }
        let is_so: BTreeSet<&str> = exceptions.iter().map(|exception| kind_of(exception).as_str()).collect();
        for kind in ExceptionKind::ALL.map(ExceptionKind::as_str).into_iter().filter(|kind| !is_so.contains(kind)) {
            if flagged.iter().any(|flagged| flagged == kind) && !settled.iter().any(|settled| settled == kind) {
                rows.settle(subject(key, kind), self.commit);
            }
        }
        flagged.retain(|kind| is_so.contains(kind.as_str()));
        settled.retain(|kind| is_so.contains(kind.as_str()));
        if let Some(open) = self.open.get_mut(&key) {
            open.is_changed |= open.flagged != flagged || open.settled != settled;
            (open.flagged, open.settled) = (flagged, settled);
        }
        Ok(())
    }

    async fn flag(
        &self,
        key: OrderKey,
        central_seq: i64,
        order: &OpenOrder,
        exception: &OpenOrderException,
        rows: &mut Rows,
    ) -> Result<(), CentralError> {
        let sales: Vec<OrderId> = match exception {
            OpenOrderException::PaidTwice { sales, .. } => sales.clone(),
            OpenOrderException::TakenOutTwice { .. } => Vec::new(),
            _ => order.payments.iter().map(|payment| payment.sale).collect(),
        };
        let known = Known { tx: self.tx, receipts: &self.receipts, series: &self.series };
        let detail = sentence(order, exception, &known.names(key.0, &sales).await?);
        let last = order.payments.iter().filter(|payment| sales.contains(&payment.sale));
        let last = last.max_by_key(|payment| (payment.stamp.at_unix_ms, payment.sale)).map(|payment| payment.sale.0);
        rows.flag_subject(central_seq, subject(key, kind_of(exception).as_str()), last, detail);
        Ok(())
    }

    /// What came back of all sales of an order, up to the commit that is being taken.
    async fn returned_of(&mut self, store: Uuid, order: &OpenOrder) -> Result<Goods, CentralError> {
        let sales: BTreeSet<(Uuid, Uuid)> = order.payments.iter().map(|payment| (store, payment.sale.0)).collect();
        let unknown: BTreeSet<(Uuid, Uuid)> =
            sales.iter().filter(|sale| !self.returned_before.contains_key(sale)).copied().collect();
        if !unknown.is_empty() {
            let (stores, ids) = columns(&unknown);
            let sql = "SELECT r.store_id, r.original_id, r.product_id, sum(r.quantity_milli)::bigint
                FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, original_id) JOIN refunds AS r USING (store_id, original_id)
                GROUP BY 1, 2, 3";
            let rows = self.tx.query(sql, &[&stores, &ids]).await?;
            self.returned_before.extend(unknown.into_iter().map(|sale| (sale, Goods::new())));
            for row in &rows {
                let goods = self.returned_before.entry((row.get(0), row.get(1))).or_default();
                goods.insert(ProductId(row.get(2)), Quantity(row.get(3)));
            }
        }
        let mut goods = Goods::new();
        for sale in &sales {
            for of in [&self.returned_before, &self.returned] {
                of.get(sale).into_iter().for_each(|more| add(&mut goods, more));
            }
        }
        Ok(goods)
    }

    /// Whether the order of what was left unpaid of another was paid or given up itself.
    async fn is_rest_done(&self, store: Uuid, rest: Option<Uuid>) -> Result<bool, CentralError> {
        let Some(rest) = rest else { return Ok(false) };
        if let Some(open) = self.open.get(&(store, rest)) {
            return Ok(open.document.open_order().is_ok_and(|order| order.status() != OpenOrderStatus::Open));
        }
        let sql = "SELECT status <> 'open' FROM open_orders WHERE store_id = $1 AND open_order_id = $2";
        Ok(self.tx.query_opt(sql, &[&store, &rest]).await?.is_some_and(|row| row.get(0)))
    }

    /// Puts what has become of the orders into rows.
    pub(super) fn write(self, rows: &mut Rows) {
        rows.actors = self.announced;
        rows.waited = self.waited;
        for ((store, id), open) in self.open.into_iter().filter(|(_, open)| open.is_changed) {
            rows.open_orders.extend(row(store, &open.document));
            if let Ok(order) = open.document.open_order() {
                rows.order_payments.extend(order.payments.iter().map(|payment| (store, payment.sale.0, id)));
            }
            let (saved, flagged, settled, rest) = (open.document.save(), open.flagged, open.settled, open.rest);
            rows.order_documents.push(OrderDocumentRow { store, id, saved, flagged, settled, rest });
        }
        for ((store, document), waiting) in self.waiting {
            for (central_seq, Waiting { change, why }) in waiting {
                let Some(why) = why else { continue };
                let (device, incarnation) = change.origin;
                rows.waiting.push(WaitingRow { central_seq, store, document, device, incarnation });
                let detail = format!("{} of an open order does not count yet: {why}", whose(&change));
                rows.flag(central_seq, change.store, ExceptionKind::OpenOrderRefused, detail);
            }
        }
    }
}

/// Why a change does not count.
enum Verdict {
    /// It may once more has arrived.
    Later(String),
    Never(String),
}

impl From<Refusal> for Verdict {
    fn from(why: Refusal) -> Self {
        if why.may_pass_later() { Self::Later(why.to_string()) } else { Self::Never(why.to_string()) }
    }
}

/// The changes that wait, of these orders and of all orders with one of these origins.
async fn waiting(
    tx: &Transaction<'_>,
    keys: &BTreeSet<OrderKey>,
    origins: &BTreeSet<OriginKey>,
) -> Result<Vec<ChangeFact>, CentralError> {
    if keys.is_empty() && origins.is_empty() {
        return Ok(Vec::new());
    }
    let ((stores, ids), (devices, incarnations)) = (columns(keys), columns(origins));
    let rows = tx
        .query(
            "SELECT e.central_seq, e.device, e.incarnation, e.scope, e.commit_no, e.forked, e.bytes, e.seq
             FROM (SELECT store_id, document FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, document)
                   UNION SELECT store_id, document FROM waiting_changes
                   JOIN unnest($3::uuid[], $4::uuid[]) AS w (device, incarnation) USING (device, incarnation)) AS o
             JOIN waiting_changes USING (store_id, document)
             JOIN all_entries AS e USING (central_seq)",
            &[&stores, &ids, &devices, &incarnations],
        )
        .await?;
    Ok(rows.iter().filter_map(|row| ChangeFact::of(&CentralEntry::of(row))).collect())
}

/// Adds goods to others.
fn add(to: &mut Goods, goods: &Goods) {
    for (product, quantity) in goods {
        let sum = to.entry(*product).or_insert(Quantity(0));
        sum.0 = sum.0.saturating_add(quantity.0);
    }
}

fn subject((store, id): OrderKey, kind: &'static str) -> Subject {
    Subject { kind, store: Some(store), id }
}

fn columns(keys: &BTreeSet<(Uuid, Uuid)>) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.iter().copied().unzip()
}

/// An order that no store's device writes is nobody's: the gate takes nothing into it.
fn key_of(change: &ChangeFact) -> OrderKey {
    (change.writers.1.map_or(Uuid::nil(), |store| store.0), change.document)
}

fn open<'a>(
    open: &'a mut BTreeMap<OrderKey, Open>,
    saved: &BTreeMap<OrderKey, Saved>,
    key: OrderKey,
) -> Result<&'a mut Open, String> {
    Ok(match open.entry(key) {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let (kind, id) = (DocumentKind::OpenOrder, key.1.into_bytes());
            let new = || Open {
                document: Document::new(kind, id),
                flagged: Vec::new(),
                settled: Vec::new(),
                rest: None,
                is_changed: false,
                taken: Vec::new(),
            };
            slot.insert(match saved.get(&key) {
                Some(Saved { document, flagged, settled, rest }) => Open {
                    document: Document::load(kind, id, document).map_err(|e| e.to_string())?,
                    flagged: flagged.clone(),
                    settled: settled.clone(),
                    rest: *rest,
                    ..new()
                },
                None => new(),
            })
        }
    })
}

fn refuse(change: &ChangeFact, why: &str, rows: &mut Rows) {
    let detail = format!("{} of an open order does not count: {why}", whose(change));
    rows.flag(change.central_seq, change.store, ExceptionKind::OpenOrderRefused, detail);
}

fn whose(change: &ChangeFact) -> &'static str {
    match change.writers.0 {
        DeviceKind::Server => "a server's change",
        _ => "a till's change",
    }
}

/// What an order says, as its row. The same that tills show.
fn row(store: Uuid, document: &Document) -> Option<OpenOrderRow> {
    let order = document.open_order().ok()?;
    let (opened, changed) = document.open_order_stamps()?;
    let cart = order.to_cart(OrderId(Uuid::nil()));
    // Many people together may bring it beyond what an order can come to.
    let total = cart.totals(order.tax_mode.unwrap_or(TaxMode::Inclusive)).map_or(i64::MAX, |totals| totals.total_minor);
    Some(OpenOrderRow {
        store,
        id: order.id.0,
        label: text(&order.label),
        note: text(&order.note),
        status: match order.status() {
            OpenOrderStatus::Open => "open",
            OpenOrderStatus::Paid { .. } => "paid",
            OpenOrderStatus::Cancelled => "cancelled",
        },
        lines: i32::try_from(cart.lines.len()).unwrap_or(i32::MAX),
        total_minor: total,
        opened_ms: opened.at_unix_ms.cast_signed(),
        opened_by: opened.by.0,
        changed_ms: changed.at_unix_ms.cast_signed(),
        changed_by: changed.by.0,
    })
}

fn kind_of(exception: &OpenOrderException) -> ExceptionKind {
    match exception {
        OpenOrderException::PaidTwice { .. } => ExceptionKind::PaidTwice,
        OpenOrderException::PaidAndCancelled { .. } => ExceptionKind::PaidAndCancelled,
        OpenOrderException::PaidAndTakenOut { .. } => ExceptionKind::PaidAndTakenOut,
        OpenOrderException::UnpaidRemainder { .. } => ExceptionKind::UnpaidRemainder,
        OpenOrderException::TakenOutTwice { .. } => ExceptionKind::TakenOutTwice,
    }
}

/// What happened, for a manager; `receipts` are those of the sales that it is about.
fn sentence(order: &OpenOrder, exception: &OpenOrderException, receipts: &[String]) -> String {
    let of = if order.label.is_empty() { "an open order".to_owned() } else { format!("open order {}", order.label) };
    let receipts = listed(receipts);
    match exception {
        OpenOrderException::PaidTwice { .. } => {
            format!("the same goods of {of} were paid with {receipts}: one of them is to be refunded")
        }
        OpenOrderException::PaidAndCancelled { .. } => {
            format!("{of} was paid with {receipts} and given up by somebody who had not seen that; the sale stands")
        }
        OpenOrderException::PaidAndTakenOut { lines } => format!(
            "{} of {of} was paid with {receipts} and taken out by somebody who had not seen that; the sale stands",
            goods(order, lines)
        ),
        OpenOrderException::UnpaidRemainder { lines } => {
            format!("{} of {of} came in while it was being paid with {receipts}, and is not paid for", goods(order, lines))
        }
        OpenOrderException::TakenOutTwice { lines } => {
            format!("{} too much was taken out of {of}, by people who did not see each other", goods(order, lines))
        }
    }
}

/// How much of what.
fn goods(order: &OpenOrder, quantities: &BTreeMap<LineId, Quantity>) -> String {
    let lines = order.lines.iter().filter_map(|line| Some((line, *quantities.get(&line.id)?)));
    let goods: Vec<String> =
        lines.map(|(line, quantity)| format!("{} × {}", format_quantity(quantity), line.goods.name)).collect();
    listed(&goods)
}

fn listed(all: &[String]) -> String {
    match all.split_last() {
        Some((last, rest)) if all.len() <= NAMED_MAX && !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ if all.len() > NAMED_MAX => format!("{} and {} more", all[..NAMED_MAX].join(", "), all.len() - NAMED_MAX),
        _ => all.concat(),
    }
}

/// What is known of receipts: from earlier batches, and what this one has said so far.
struct Known<'a> {
    tx: &'a Transaction<'a>,
    receipts: &'a BTreeMap<(Uuid, Uuid), Receipt>,
    series: &'a BTreeMap<OriginKey, String>,
}

impl Known<'_> {
    /// What people call sales: by the numbers of their receipts, or by their ids while those are not known.
    async fn names(&self, store: Uuid, sales: &[OrderId]) -> Result<Vec<String>, CentralError> {
        let ids: Vec<Uuid> = sales.iter().map(|sale| sale.0).collect();
        let sql =
            "SELECT order_id, device_id, incarnation, receipt_number FROM orders WHERE store_id = $1 AND order_id = ANY($2)";
        let rows = self.tx.query(sql, &[&store, &ids]).await?;
        let there = rows.iter().map(|row| (row.get(0), Receipt { origin: (row.get(1), row.get(2)), number: row.get(3) }));
        let there: BTreeMap<Uuid, Receipt> = there.collect();
        let receipt = |id: &Uuid| there.get(id).or_else(|| self.receipts.get(&(store, *id)));
        let origins: BTreeSet<OriginKey> = ids.iter().filter_map(receipt).map(|receipt| receipt.origin).collect();
        let (devices, incarnations) = columns(&origins);
        let sql = "SELECT device_id, incarnation, series FROM unnest($1::uuid[], $2::uuid[]) AS w (device_id, incarnation)
            JOIN incarnations USING (device_id, incarnation)";
        let rows = self.tx.query(sql, &[&devices, &incarnations]).await?;
        let mut series: BTreeMap<OriginKey, String> = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        series.extend(self.series.iter().map(|(origin, series)| (*origin, series.clone())));
        let name = |id: &Uuid| {
            let receipt = receipt(id)?;
            Some(format!("receipt {}", receipt_number(series.get(&receipt.origin)?, receipt.number.unsigned_abs())))
        };
        Ok(ids.iter().map(|id| name(id).unwrap_or_else(|| format!("sale {id}"))).collect())
    }
}
