//! Open orders: the documents that tills write.
//!
//! A change counts when it passes the gate. One that may pass once more has arrived waits, flagged, and is looked at again whenever its order
//! goes on or its origin announces an actor. When a commit and all that waited for it are in, what people did at once and does not fit together
//! is flagged once per order and kind, at the change that made it so. Where a batch ends makes no difference to any of it.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

use domain::document::DocumentKind;
use domain::ids::{LineId, OrderId};
use domain::money::Quantity;
use domain::open_order::{OpenOrder, OpenOrderException, OpenOrderStatus};
use domain::receipt::{format_quantity, receipt_number};
use domain::record::DeviceKind;
use domain::tax::TaxMode;
use sync_proto::documents::Document;
use sync_proto::documents::gate::Refusal;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::commits::CentralEntry;
use super::facts::{ActorRow, ChangeFact, Facts, OpenOrderRow, OrderDocumentRow, OriginKey, Receipt, Rows, WaitingRow, text};
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// Most changes of one order that wait. Those beyond do not count.
const WAITING_MAX: usize = 1_000;
/// Most goods or receipts that a sentence names.
const NAMED_MAX: usize = 5;

/// The store of an order, and its id. Stores have nothing to do with each other's.
type OrderKey = (Uuid, Uuid);

/// The open orders of a batch.
pub(super) struct OpenOrders<'a> {
    tx: &'a Transaction<'a>,
    saved: BTreeMap<OrderKey, (Vec<u8>, Vec<String>)>,
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
}

/// An order of this batch.
struct Open {
    document: Document,
    /// The kinds of exceptions that it was flagged with.
    flagged: Vec<String>,
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
    /// The orders that the changes of a batch are of, and those with changes that wait for an announcement in it.
    pub(super) async fn load(tx: &'a Transaction<'a>, commits: &[Facts]) -> Result<Self, CentralError> {
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
        orders.load_documents(&keys).await?;
        orders.load_actors(&origins).await?;
        Ok(orders)
    }

    async fn load_documents(&mut self, keys: &BTreeSet<OrderKey>) -> Result<(), CentralError> {
        if keys.is_empty() {
            return Ok(());
        }
        let (stores, ids) = columns(keys);
        let sql = "SELECT store_id, id, saved, flagged FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, id)
            JOIN open_order_documents USING (store_id, id)";
        let rows = self.tx.query(sql, &[&stores, &ids]).await?;
        self.saved = rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect();
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
        for key in std::mem::take(&mut self.touched) {
            while self.take_waiting(key, rows) {}
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

    /// Flags what does not fit together in an order since the last look.
    async fn look(&mut self, key: OrderKey, rows: &mut Rows) -> Result<(), CentralError> {
        let Some(open) = self.open.get_mut(&key) else { return Ok(()) };
        let taken = std::mem::take(&mut open.taken);
        let Ok(order) = open.document.open_order() else { return Ok(()) };
        for exception in order.exceptions() {
            let kind = kind_of(&exception);
            if open.flagged.iter().any(|flagged| flagged == kind.as_str()) {
                continue;
            }
            // The first of those since which it has been so.
            let since = taken.iter().rev().take_while(|(_, found)| found.contains(&kind)).last();
            let Some((central_seq, _)) = since else { continue };
            open.flagged.push(kind.as_str().to_owned());
            let sales: Vec<OrderId> = match &exception {
                OpenOrderException::PaidTwice { sales } => sales.clone(),
                OpenOrderException::TakenOutTwice { .. } => Vec::new(),
                _ => order.payments.iter().map(|payment| payment.sale).collect(),
            };
            let known = Known { tx: self.tx, receipts: &self.receipts, series: &self.series };
            let detail = sentence(&order, &exception, &known.names(key.0, &sales).await?);
            let last = order.payments.iter().filter(|payment| sales.contains(&payment.sale));
            let last = last.max_by_key(|payment| (payment.stamp.at_unix_ms, payment.sale)).map(|payment| payment.sale.0);
            rows.flag_order(*central_seq, Some(key.0), last, kind, detail);
        }
        Ok(())
    }

    /// Puts what has become of the orders into rows.
    pub(super) fn write(self, rows: &mut Rows) {
        rows.actors = self.announced;
        rows.waited = self.waited;
        for ((store, id), open) in self.open.into_iter().filter(|(_, open)| open.is_changed) {
            rows.open_orders.extend(row(store, &open.document));
            rows.order_documents.push(OrderDocumentRow { store, id, saved: open.document.save(), flagged: open.flagged });
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
            "SELECT e.central_seq, e.device, e.incarnation, e.scope, e.commit_no, e.forked, e.bytes
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

fn columns(keys: &BTreeSet<(Uuid, Uuid)>) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.iter().copied().unzip()
}

/// An order that no store's device writes is nobody's: the gate takes nothing into it.
fn key_of(change: &ChangeFact) -> OrderKey {
    (change.writers.1.map_or(Uuid::nil(), |store| store.0), change.document)
}

fn open<'a>(
    open: &'a mut BTreeMap<OrderKey, Open>,
    saved: &BTreeMap<OrderKey, (Vec<u8>, Vec<String>)>,
    key: OrderKey,
) -> Result<&'a mut Open, String> {
    Ok(match open.entry(key) {
        Slot::Occupied(slot) => slot.into_mut(),
        Slot::Vacant(slot) => {
            let (kind, id) = (DocumentKind::OpenOrder, key.1.into_bytes());
            let (document, flagged) = match saved.get(&key) {
                Some((saved, flagged)) => (Document::load(kind, id, saved).map_err(|e| e.to_string())?, flagged.clone()),
                None => (Document::new(kind, id), Vec::new()),
            };
            slot.insert(Open { document, flagged, is_changed: false, taken: Vec::new() })
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
