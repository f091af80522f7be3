//! Whether a till that was found after an accident kept its promises.
//!
//! The judge reads the log as any outsider can, with the `journal` crate and the device's public key, adds up for himself, and compares
//! with what the witness swears to and with what the till says of itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use domain::fold;
use domain::ids::ProductId;
use domain::receipt::receipt_number;
use domain::record::{Order, Record};
use journal::{Body, OriginChain, View};
use node::store::log;

use crate::day::{Fact, Paid, Testimony};
use crate::rig::OpenTill;
use crate::shop::Shop;

/// What the log says, read from outside.
#[derive(Debug, Clone)]
pub struct Log {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// The receipt series.
    pub series: String,
}

impl Log {
    /// Reads the till's own log and verifies it from its first entry to its last seal.
    ///
    /// # Errors
    /// Anything that does not fit.
    pub fn read(shop: &Shop, open: &OpenTill) -> Result<Self> {
        let mut chain = OriginChain::new(open.till.own_chain().origin);
        let key = shop.till_key(open.number()).verifying_key();
        let mut records = Vec::new();
        for run in open.own_runs()? {
            for commit in chain.verify(&key, View::Whole, run.commits).context("the log does not verify")? {
                for chained in commit {
                    let Body::Record { kind, version, bytes } = &chained.entry.body else {
                        bail!("a till wrote a document change");
                    };
                    records.push(Record::decode(*kind, *version, bytes)?.context("a record of an unknown kind")?);
                }
            }
        }
        ensure!(chain == *open.till.own_chain(), "the till believes its chains to stand elsewhere than they do");
        let series: Vec<_> = records.iter().filter_map(series_of).collect();
        ensure!(series.len() == 1, "an incarnation starts once: {series:?}");
        Ok(Self { series: series[0].clone(), records })
    }

    /// What the log says in the witness's words.
    pub fn facts(&self) -> Vec<Fact> {
        self.records.iter().flat_map(|record| facts_of(record, &self.series)).collect()
    }

    fn orders(&self) -> impl Iterator<Item = (&Order, bool)> {
        self.records.iter().filter_map(|record| match record {
            Record::SaleCompleted(order) => Some((order, false)),
            Record::RefundGiven(order) => Some((order, true)),
            _ => None,
        })
    }

    fn shift_cash_minor(&self) -> Option<i64> {
        let last = self.records.iter().rev().find_map(|record| match record {
            Record::ShiftOpened(s) => Some(s.shift),
            _ => None,
        })?;
        Some(self.records.iter().filter_map(fold::cash_movement).filter(|(s, _)| *s == last).map(|(_, cash)| cash).sum())
    }
}

/// What was decided about the thing that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnderWay {
    /// Nothing was.
    Nothing,
    /// It happened.
    Happened,
    /// It did not.
    Lost,
}

/// What the judge found.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The log.
    pub log: Log,
    /// What became of the thing that was under way.
    pub under_way: UnderWay,
}

/// Checks what must hold of the log: nothing shown is lost, nothing is there twice, numbers have no gaps, every order has its paper, and
/// everything verifies from the first entry to the last seal.
///
/// # Errors
/// The first promise that was broken.
pub fn judge_log(shop: &Shop, open: &OpenTill, known: &Testimony) -> Result<Verdict> {
    let log = Log::read(shop, open)?;
    let under_way = nothing_shown_is_lost(&log, known)?;
    receipt_numbers_are_gapless(&log)?;
    every_order_has_its_paper(&log, open)?;
    what_counts_as_sent_is_there(open)?;
    Ok(Verdict { log, under_way })
}

/// Checks that the screen says what the log says: orders, money, stock.
///
/// What a screen shows depends on nothing but the log and its projections, so where those are compared otherwise
/// ([`OpenTill::projections`]), one look for each log is enough.
///
/// # Errors
/// The first promise that was broken.
pub fn judge_screen(shop: &Shop, open: &OpenTill, log: &Log) -> Result<()> {
    orders_are_shown_as_they_were(log, open)?;
    money_adds_up(log, open)?;
    stock_is_a_fold(shop, log, open)
}

/// [`judge_log`], then [`judge_screen`].
///
/// # Errors
/// The first promise that was broken.
pub fn judge(shop: &Shop, open: &OpenTill, known: &Testimony) -> Result<Verdict> {
    let verdict = judge_log(shop, open, known)?;
    judge_screen(shop, open, &verdict.log)?;
    Ok(verdict)
}

/// Promises 1 and 2: the log says what was shown, in that order, once each, and at most the thing that was under way besides.
fn nothing_shown_is_lost(log: &Log, known: &Testimony) -> Result<UnderWay> {
    let mut found = log.facts();
    let surplus = found.split_off(known.facts.len().min(found.len()));
    for (at, (found, shown)) in found.iter().zip(&known.facts).enumerate() {
        ensure!(found == shown, "fact {at} was shown as {shown:?} and is recorded as {found:?}");
    }
    ensure!(found.len() == known.facts.len(), "shown and lost: {:?}", &known.facts[found.len()..]);
    let asked = known.under_way.as_ref().and_then(|(_, fact)| fact.as_ref());
    match (surplus.as_slice(), asked) {
        ([], None) => Ok(UnderWay::Nothing),
        ([], Some(_)) => Ok(UnderWay::Lost),
        ([found], Some(asked)) if same_but_receipt(found, asked) => Ok(UnderWay::Happened),
        (surplus, asked) => bail!("recorded without having been shown: {surplus:?}; under way was {asked:?}"),
    }
}

fn same_but_receipt(found: &Fact, asked: &Fact) -> bool {
    match (found, asked) {
        (Fact::Settled(found), Fact::Settled(asked)) => Paid { receipt: None, ..found.clone() } == *asked,
        _ => found == asked,
    }
}

fn receipt_numbers_are_gapless(log: &Log) -> Result<()> {
    let numbers: Vec<u64> = log.orders().map(|(order, _)| order.receipt_number).collect();
    let due: Vec<u64> = (1..).take(numbers.len()).collect();
    ensure!(numbers == due, "receipt numbers are {numbers:?}");
    Ok(())
}

/// Promise 5 for each order, and that queries answer with what is in the log.
fn orders_are_shown_as_they_were(log: &Log, open: &OpenTill) -> Result<()> {
    let mut listed = BTreeMap::new();
    for summary in open.orders()? {
        ensure!(listed.insert(summary.order, summary.clone()).is_none(), "{} is listed twice", summary.receipt);
    }
    for (order, is_refund) in log.orders() {
        order.check_sums().with_context(|| format!("order {}", order.receipt_number))?;
        let paid = paid_of(order, is_refund, &log.series);
        let summary = listed.remove(&order.id).with_context(|| format!("{:?} is not listed", paid.receipt))?;
        let view = open.order(order.id)?;
        ensure!(view.summary == summary, "list and order differ: {summary:?}, {:?}", view.summary);
        let shown = Paid {
            order: summary.order,
            is_refund: summary.is_refund,
            total_minor: summary.total_minor,
            lines: view.lines.iter().map(|l| (l.name.clone(), l.quantity_milli, l.amount_minor)).collect(),
            receipt: Some(summary.receipt),
        };
        ensure!(shown == paid, "recorded as {paid:?}, shown as {shown:?}");
    }
    ensure!(listed.is_empty(), "listed and not in the log: {listed:?}");
    Ok(())
}

/// Promise 5 for the drawer and the ledger: float and cash, and every line, added up here and there.
fn money_adds_up(log: &Log, open: &OpenTill) -> Result<()> {
    let view = open.view();
    let closings: Vec<_> = log
        .records
        .iter()
        .filter_map(|record| match record {
            Record::ShiftClosed(closing) => Some(closing),
            _ => None,
        })
        .collect();
    for closing in &closings {
        let opening_to_closing: i64 =
            log.records.iter().filter_map(fold::cash_movement).filter(|(s, _)| *s == closing.shift).map(|(_, cash)| cash).sum();
        ensure!(closing.expected_minor == opening_to_closing, "a shift closed with the wrong expectation");
    }
    let is_open = |shift| closings.iter().all(|closing| closing.shift != shift);
    match (&view.shift, &view.last_closed_shift) {
        (Some(shift), _) => {
            ensure!(is_open(shift.id), "a closed shift is open");
            ensure!(Some(shift.expected_minor) == log.shift_cash_minor(), "the drawer should hold {:?}", log.shift_cash_minor());
            let sold: i64 = log.orders().filter(|(o, refund)| !refund && o.shift == shift.id).map(|(o, _)| o.total_minor).sum();
            let back: i64 = log.orders().filter(|(o, refund)| *refund && o.shift == shift.id).map(|(o, _)| -o.total_minor).sum();
            ensure!((shift.sales_minor, shift.refunds_minor) == (sold, back), "the shift's sums are not those of its orders");
        }
        (None, Some(closed)) => {
            ensure!(Some(closed.shift.expected_minor) == log.shift_cash_minor(), "the closed drawer's sum is wrong");
        }
        (None, None) => ensure!(log.shift_cash_minor().is_none(), "a shift was opened and is not shown"),
    }
    let sums = fold::LineSums::of(log.records.iter().flat_map(fold::valued_lines));
    let ledger = open.ledger()?;
    ensure!(ledger.orders == log.orders().count() as u64, "the ledger counts {} orders", ledger.orders);
    let rows: Vec<_> = ledger.devices.iter().map(|r| (r.lines, r.rounded_minor.clone(), r.exact.clone())).collect();
    let due = (sums.lines, sums.rounded_minor.to_string(), sums.exact.to_string());
    ensure!(rows == [due.clone()] || (rows.is_empty() && sums.lines == 0), "the ledger says {rows:?}, the log {due:?}");
    Ok(())
}

fn stock_is_a_fold(shop: &Shop, log: &Log, open: &OpenTill) -> Result<()> {
    let mut due: BTreeMap<ProductId, i64> = shop.products.iter().map(|p| (p.id, 0)).collect();
    for record in &log.records {
        for movement in fold::stock_movements(record) {
            *due.entry(movement.product).or_default() += movement.quantity.0;
        }
        // Of one till's log, a count had heard of everything before it.
        if let Record::StockCounted(count) = record {
            due.extend(count.lines.iter().map(|line| (line.product, line.quantity.0)));
        }
    }
    let shown: BTreeMap<_, _> = open.products()?.into_iter().map(|p| (p.id, p.stock_milli)).collect();
    ensure!(shown == due, "stock is shown as {shown:?}, and the log comes to {due:?}");
    Ok(())
}

/// Promise 9: a receipt waits, or has its fate, for every order.
fn every_order_has_its_paper(log: &Log, open: &OpenTill) -> Result<()> {
    let jobs = open.printed_orders()?;
    let orders: BTreeSet<_> = log.orders().map(|(order, _)| order.id).collect();
    ensure!(jobs.iter().copied().collect::<BTreeSet<_>>() == orders, "print jobs and orders differ");
    ensure!(jobs.len() == orders.len(), "an order has two originals");
    Ok(())
}

/// An acknowledgement is not pushed to the disk by itself, and must not outlive what it acknowledges.
fn what_counts_as_sent_is_there(open: &OpenTill) -> Result<()> {
    let (db, chain) = (open.till.db()?, open.till.own_chain());
    let Some(row) = log::find_origin(db, chain.origin)? else { return Ok(()) };
    let (regional, central) = log::acks(db, row)?;
    let OriginChain { commit, .. } = *chain;
    ensure!(central <= regional && regional <= commit, "of {commit} commits {regional} and {central} count as sent");
    Ok(())
}

fn facts_of(record: &Record, series: &str) -> Vec<Fact> {
    match record {
        Record::SaleCompleted(order) => vec![Fact::Settled(paid_of(order, false, series))],
        Record::RefundGiven(order) => vec![Fact::Settled(paid_of(order, true, series))],
        Record::StockAdjusted(a) => {
            a.lines.iter().map(|l| Fact::StockAdjusted { product: l.product, milli: l.quantity.0 }).collect()
        }
        Record::StockCounted(c) => {
            c.lines.iter().map(|l| Fact::StockCounted { product: l.product, milli: l.quantity.0 }).collect()
        }
        Record::ShiftOpened(s) => vec![Fact::ShiftOpened { float_minor: s.float_minor }],
        Record::ShiftClosed(s) => {
            vec![Fact::ShiftClosed { counted_minor: s.counted_minor, expected_minor: s.expected_minor }]
        }
        Record::DrawerOpened(_) => vec![Fact::DrawerOpened],
        Record::SignedIn(_) => vec![Fact::SignedIn],
        Record::AccountAdjusted(_) | Record::DeviceStarted(_) | Record::DeviceEnrolled(_) => Vec::new(),
    }
}

fn series_of(record: &Record) -> Option<String> {
    match record {
        Record::DeviceStarted(started) => Some(started.series.clone()),
        _ => None,
    }
}

/// What the people at the counter saw of an order.
pub(crate) fn paid_of(order: &Order, is_refund: bool, series: &str) -> Paid {
    Paid {
        order: order.id,
        is_refund,
        total_minor: order.total_minor,
        lines: order.lines.iter().map(|l| (l.name.clone(), l.quantity.0, l.amount_minor)).collect(),
        receipt: Some(receipt_number(series, order.receipt_number)),
    }
}
