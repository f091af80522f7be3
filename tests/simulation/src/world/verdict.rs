//! Whether a world kept its promises, judged by what people saw outside it (notes on reliability, invariants I1 to I16).
//!
//! | invariant | here |
//! |---|---|
//! | I1 ack-durable | [`nothing_shown_is_lost`] |
//! | I2 money | each order in central is what was shown, and adds up; the sums follow from that |
//! | I3 chain | [`chains_hold`] |
//! | I5 converge | the caller: tills hold alike what they must hold alike, and so does a rebuild |
//! | I6 stock | [`stock_is_a_fold`] |
//! | I8 auth | [`nobody_wrote_elsewhere`] |
//! | I10 receipt | [`paper_is_honest`] |
//! | I11 liveness | the caller: everything arrived in time |
//! | I14 time | [`days_agree`] |
//!
//! Rights (I7), card payments (I9) and personal data (I13, I15) are not in the product yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use domain::fold;
use domain::ids::{OpenOrderId, OrderId, ProductId, ShiftId};
use domain::receipt::receipt_number;
use domain::record::{BusinessDay, Order, Record};
use journal::{Body, Entry, Hash, Origin, Scope};
use node::api::{ProductView, Query};
use node::handle::Node;
use node::store::retention::OF_GONE;
use node::till::{Answer, Till};
use sync_proto::scopes;
use sync_server::central::FeedRow;
use sync_server::central::reports::zone::Zone;
use sync_server::region::Region;

use super::closing::is_kept_by;
use super::founding::Founding;
use super::oracle::{Fate, Opened, Oracle, Paper, Seen};
use crate::day::Paid;
use crate::judge::paid_of;
use crate::shop::Shop;

/// Rows of a log that are read at once.
const ROWS_AT_ONCE: usize = 500;
/// How often a till that is not told of a sale asks again.
const TOLD_AGAIN: u32 = 30;

/// What the central store says, read from outside.
#[derive(Debug)]
pub struct CentralLog {
    rows: Vec<FeedRow>,
    /// Each with who wrote it, its place among the rows, and when by the writer's clock.
    records: Vec<(Origin, usize, u64, Record)>,
    /// Documents that somebody has changed.
    documents: BTreeSet<[u8; 16]>,
}

impl CentralLog {
    /// Reads it.
    ///
    /// # Errors
    /// Bytes that are no entry or record.
    pub fn read(rows: Vec<FeedRow>) -> Result<Self> {
        let (mut records, mut documents) = (Vec::new(), BTreeSet::new());
        for (place, row) in rows.iter().enumerate() {
            let Entry { at, body, .. } = Entry::decode(&row.bytes).context("an entry in central")?;
            match body {
                Body::Record { kind, version, bytes } => {
                    let record = Record::decode(kind, version, &bytes)?.context("a record of an unknown kind")?;
                    let origin = Origin { device: row.device, incarnation: row.incarnation };
                    records.push((origin, place, at.unix_ms(), record));
                }
                Body::Change { document, .. } => drop(documents.insert(document)),
            }
        }
        Ok(Self { rows, records, documents })
    }

    /// The orders, each with who wrote it.
    pub fn orders(&self) -> impl Iterator<Item = (&Origin, &Order, bool)> {
        self.records.iter().filter_map(|(origin, _, _, record)| match record {
            Record::SaleCompleted(order) => Some((origin, order, false)),
            Record::RefundGiven(order) => Some((origin, order, true)),
            _ => None,
        })
    }

    fn series(&self) -> BTreeMap<Origin, &str> {
        let started = self.records.iter().filter_map(|(origin, _, _, record)| match record {
            Record::DeviceStarted(started) => Some((*origin, started.series.as_str())),
            _ => None,
        });
        started.collect()
    }
}

/// I1: every cart that was shown as parked is an open order in central.
///
/// # Errors
/// The first that is not there.
pub fn nothing_parked_is_lost(log: &CentralLog, parked: &[OpenOrderId]) -> Result<()> {
    for id in parked {
        ensure!(log.documents.contains(id.as_bytes()), "open order {id} was shown as parked and is lost");
    }
    Ok(())
}

/// Nothing that honest tills wrote is left out of what a till shows.
///
/// # Errors
/// The first entry that is, with the reason.
pub fn everything_is_read(till: &mut Till) -> Result<()> {
    // What was done to an open order after this till had let go of it is for others to see.
    let mut select = till.db()?.prepare("SELECT why FROM unread WHERE why <> ? ORDER BY entry")?;
    let why: Vec<String> = select.query_map([OF_GONE], |row| row.get(0))?.collect::<Result<_, _>>()?;
    ensure!(why.is_empty(), "entries are kept but not shown: {why:?}");
    Ok(())
}

/// The open orders that a till has let go of.
///
/// # Errors
/// A failing disk.
pub fn gone_orders(till: &mut Till) -> Result<BTreeSet<String>> {
    let mut select = till.db()?.prepare("SELECT hex(id) FROM gone_order")?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// What tills agree on, but for what is left of open orders that one of them has let go of and another has not.
pub fn but_for(gone: &BTreeSet<String>, agreed: &str) -> String {
    let is_of_gone = |line: &&str| {
        let words: Vec<&str> =
            line.strip_prefix("open order ").or(line.strip_prefix("document ")).unwrap_or("").split(' ').collect();
        let of = [words.first(), words.last()];
        of.into_iter().flatten().any(|id| gone.contains(*id)) || line.starts_with("unread ") && line.ends_with(OF_GONE)
    };
    agreed.lines().filter(|line| !is_of_gone(line)).map(|line| format!("{line}\n")).collect()
}

/// I2: a sale that a till has let go of is shown as it was written, once the server has told of it. Answers whether there was one.
///
/// # Errors
/// Another sale, or none.
pub async fn a_gone_sale_is_told(node: &Node, log: &CentralLog) -> Result<bool> {
    let Answer::Orders(listed) = node.query(Query::Orders { text: String::new(), limit: 200 }).await? else {
        anyhow::bail!("asked for orders, answered something else")
    };
    let Some(gone) = listed.iter().find(|order| !order.is_here) else { return Ok(false) };
    let mut told = node.query(Query::Order { order: gone.order }).await;
    for _ in 0..TOLD_AGAIN {
        if told.is_ok() {
            break;
        }
        // The link may just have gone down, and is made again by itself.
        tokio::time::sleep(Duration::from_secs(1)).await;
        told = node.query(Query::Order { order: gone.order }).await;
    }
    let Answer::Order(told) = told.context("a sale that has gone")? else { anyhow::bail!("asked for an order") };
    let (_, written, _) = log.orders().find(|(_, order, _)| order.id == gone.order).context("a sale that is not in central")?;
    let shown = told.lines.iter().map(|line| (line.quantity_milli, line.amount_minor));
    let due = written.lines.iter().map(|line| (line.quantity.0, line.amount_minor));
    ensure!(shown.eq(due) && told.summary.total_minor == written.total_minor, "told {told:?}, written was {written:?}");
    Ok(true)
}

/// I1 and I2: what was shown is in central, once, as it was shown; nothing else is.
///
/// # Errors
/// The first promise that was broken.
pub fn nothing_shown_is_lost(log: &CentralLog, seen: &BTreeMap<OrderId, Seen>) -> Result<()> {
    let series = log.series();
    let mut found: BTreeMap<OrderId, Vec<Paid>> = BTreeMap::new();
    for (origin, order, is_refund) in log.orders() {
        order.check_sums().with_context(|| format!("order {}", order.id))?;
        let series = series.get(origin).with_context(|| format!("{origin:?} writes and never started"))?;
        found.entry(order.id).or_default().push(paid_of(order, is_refund, series));
    }
    for (id, orders) in &found {
        ensure!(orders.len() == 1, "order {id} is in central {} times: {orders:?}", orders.len());
        ensure!(seen.contains_key(id), "order {id} is in central and nobody asked for it: {:?}", orders[0]);
    }
    for (id, Seen { machine, paid, fate, is_gone, .. }) in seen {
        let found = found.get(id).map(|orders| &orders[0]);
        match (fate, found) {
            (Fate::Shown, None) => ensure!(*is_gone, "order {id} was shown as paid at machine {machine} and is lost: {paid:?}"),
            (Fate::Shown, Some(found)) => ensure!(found == paid, "shown as {paid:?}, central has {found:?}"),
            (Fate::Refused, Some(_)) => {
                anyhow::bail!("order {id} was shown as not recorded at machine {machine}, and is in central: {paid:?}")
            }
            (Fate::Unknown, Some(found)) => {
                let same = Paid { receipt: None, ..found.clone() } == Paid { receipt: None, ..paid.clone() };
                ensure!(same, "asked for {paid:?}, central has {found:?}");
            }
            (Fate::Unknown | Fate::Refused, None) => {}
        }
    }
    Ok(())
}

/// I3: every chain goes back to its beginning; where two entries stand at one place, both go back to it.
///
/// # Errors
/// The first link that does not hold.
pub fn chains_hold(log: &CentralLog) -> Result<()> {
    let mut places: BTreeMap<(Origin, Scope, u64), BTreeSet<Hash>> = BTreeMap::new();
    for row in &log.rows {
        let origin = Origin { device: row.device, incarnation: row.incarnation };
        places.entry((origin, Scope::new(row.scope.clone())?, row.seq)).or_default().insert(row.hash);
    }
    for row in &log.rows {
        let origin = Origin { device: row.device, incarnation: row.incarnation };
        let scope = Scope::new(row.scope.clone())?;
        let before = match row.seq {
            1 => BTreeSet::from([journal::chain::genesis(origin, &scope)]),
            seq => places.get(&(origin, scope.clone(), seq - 1)).cloned().unwrap_or_default(),
        };
        let holds = before.iter().any(|prev| journal::chain::link(prev, &row.bytes) == row.hash);
        ensure!(holds, "entry {} of {origin:?} in {scope} follows nothing", row.seq);
    }
    Ok(())
}

/// I8: tills write into their own store, the server writes what servers write.
///
/// # Errors
/// The first entry that is elsewhere.
pub fn nobody_wrote_elsewhere(founding: &Founding, log: &CentralLog) -> Result<()> {
    let staff = founding.shops.iter().map(|shop| scopes::staff(shop.store.id));
    let of_servers: Vec<Scope> = staff.chain([scopes::directory(), scopes::catalogue()]).collect();
    for row in &log.rows {
        let mine = match founding.store_of(row.device) {
            Some(shop) => row.scope == scopes::store(shop.store.id).as_str(),
            None => founding.is_server(row.device) && of_servers.iter().any(|scope| scope.as_str() == row.scope),
        };
        ensure!(mine, "device {:?} wrote into {}", row.device, row.scope);
    }
    Ok(())
}

/// I5: a server has what central has of all that servers write and of the stores that it serves, and nothing else.
///
/// # Errors
/// What it lacks, or has alone.
pub fn region_is_whole(log: &CentralLog, region: &Region) -> Result<()> {
    let stores = region.central_reading()?.stores;
    let is_kept = |row: &&FeedRow| is_kept_by(&stores, &row.scope);
    let mut due: BTreeSet<Hash> = log.rows.iter().filter(is_kept).map(|row| row.hash).collect();
    let mut after = 0;
    loop {
        let rows = region.rows_after(after, ROWS_AT_ONCE, usize::MAX)?;
        let Some(last) = rows.last() else { break };
        after = last.region_seq;
        for row in rows {
            ensure!(due.remove(&row.hash), "entry {} in {} is not in central, or twice here", row.seq, row.scope);
        }
    }
    ensure!(due.is_empty(), "{} entries of what it keeps are missing", due.len());
    Ok(())
}

/// I14: what counts for which day is what people saw, also where a day ends or clocks change: a shift counts for the day on the wall when it was opened, an
/// order for the day of its shift, and by the clock for the day on its receipt. So do the sums of each day.
///
/// # Errors
/// The first order, or the first day, that is another one.
pub fn days_agree(log: &CentralLog, zone: &Zone, oracle: &Oracle) -> Result<()> {
    for Opened { machine, day, by_the_clock } in oracle.shifts() {
        ensure!(day == by_the_clock, "a shift opened on {by_the_clock} at machine {machine} counts for {day}");
    }
    let shifts: BTreeMap<ShiftId, String> = log.records.iter().filter_map(|(_, _, _, record)| day_of_shift(record)).collect();
    let series = log.series();
    // A till that was copied goes on with the same numbers until that is noticed: what a machine printed is of its own orders. One that was put back
    // with its whole folder prints a number twice.
    let mut printed = BTreeMap::<(usize, String), BTreeSet<String>>::new();
    for paper in oracle.papers().into_iter().filter(|paper| !paper.says_copy) {
        printed.entry((paper.machine, paper.receipt)).or_default().insert(paper.at);
    }
    let seen = oracle.orders();
    let (mut by_shift, mut by_clock) = (Days::default(), Days::default());
    for (origin, _, at_ms, record) in &log.records {
        let (Record::SaleCompleted(order) | Record::RefundGiven(order)) = record else { continue };
        let total = if matches!(record, Record::RefundGiven(_)) { -order.total_minor } else { order.total_minor };
        let shift = shifts.get(&order.shift).with_context(|| format!("order {} is of no shift", order.id))?;
        let Some(Seen { machine, day, .. }) = seen.get(&order.id) else { continue };
        by_shift.add(shift, day, total);
        ensure!(shift == day, "order {} was taken on {day} and counts for {shift}", order.id);
        let number = series.get(origin).map(|series| receipt_number(series, order.receipt_number)).unwrap_or_default();
        if let Some(papers) = printed.get(&(*machine, number.clone())) {
            let local = zone.local(*at_ms);
            let paper =
                papers.get(&local).with_context(|| format!("receipt {number} says {papers:?}, and reports say {local}"))?;
            let reported = day_by_the_clock(zone, *at_ms)?;
            by_clock.add(&reported, paper.split(' ').next().unwrap_or_default(), total);
        }
    }
    by_shift.check("business day")?;
    by_clock.check("day")
}

fn day_of_shift(record: &Record) -> Option<(ShiftId, String)> {
    let Record::ShiftOpened(opening) = record else { return None };
    Some((opening.shift, opening.business_day.to_date()?.to_string()))
}

/// The day that a report counts a moment to: the last that has begun.
fn day_by_the_clock(zone: &Zone, at_ms: u64) -> Result<String> {
    let near = i32::try_from(at_ms / 86_400_000).context("a moment that no calendar has")?;
    let begun = |day: &BusinessDay| zone.day_start_ms(*day) <= at_ms.cast_signed();
    let day = [near + 1, near, near - 1].map(BusinessDay).into_iter().find(begun).context("no day has begun")?;
    Ok(day.to_date().context("a day that no calendar has")?.to_string())
}

/// Orders and their sum for each day: as it is reported, and as people saw it.
#[derive(Debug, Default)]
struct Days {
    reported: BTreeMap<String, (u64, i64)>,
    seen: BTreeMap<String, (u64, i64)>,
}

impl Days {
    fn add(&mut self, reported: &str, seen: &str, total: i64) {
        for (days, day) in [(&mut self.reported, reported), (&mut self.seen, seen)] {
            let (orders, sum) = days.entry(day.to_owned()).or_default();
            (*orders, *sum) = (*orders + 1, *sum + total);
        }
    }

    fn check(&self, what: &str) -> Result<()> {
        ensure!(self.reported == self.seen, "each {what} comes to {:?}, people saw {:?}", self.reported, self.seen);
        Ok(())
    }
}

/// I10: an original comes out once at most; what comes out again says COPY.
///
/// # Errors
/// Paper that lies.
pub fn paper_is_honest(papers: &[Paper]) -> Result<()> {
    let mut originals: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for paper in papers.iter().filter(|paper| paper.whole && !paper.says_copy) {
        let times = originals.entry(paper.job).or_default();
        *times += 1;
        ensure!(*times == 1, "receipt {} came out twice as an original at machine {}", paper.receipt, paper.machine);
    }
    Ok(())
}

/// I6: the stock on the screen is what the movements in central add up to.
///
/// # Errors
/// Another number.
pub fn stock_is_a_fold(shop: &Shop, log: &CentralLog, till: &Till) -> Result<()> {
    let mut due: BTreeMap<ProductId, i64> = BTreeMap::new();
    let scope = scopes::store(shop.store.id);
    let of_store = log.records.iter().filter(|(_, place, _, _)| log.rows[*place].scope == scope.as_str());
    for movement in of_store.flat_map(|(_, _, _, record)| fold::stock_movements(record)) {
        *due.entry(movement.product).or_default() += movement.quantity.0;
    }
    let shown = match till.query(Query::Search { text: "product".to_owned(), limit: 100 }) {
        Ok(Answer::Products(products)) => products,
        other => anyhow::bail!("asked for products, answered {other:?}"),
    };
    ensure!(shown.len() == shop.products.len(), "{} products are shown of {}", shown.len(), shop.products.len());
    for ProductView { id, name, stock_milli, .. } in shown {
        let due = due.get(&id).copied().unwrap_or(0);
        ensure!(stock_milli == due, "the stock of {name} is shown as {stock_milli}, the movements come to {due}");
    }
    Ok(())
}
