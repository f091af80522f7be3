//! A trade of many sales that a test chooses by a number, and what every figure about it has to be, added up from the records.

use std::collections::BTreeMap;

use domain::document::Product;
use domain::ids::StaffId;
use domain::record::{BusinessDay, Order, OrderLine, Payment, PaymentMethod, Record, ShiftOpening};
use domain::tax::{self, TaxMode};
use serde_json::Value;
use sync_proto::documents::DocumentValue;
use sync_proto::scopes;
use uuid::Uuid;

use crate::shop::{
    Region, Writer, document, enrolment, gbp, line, order_id, product_value, shift_id, staff_id, staff_member, start, store,
    store_value,
};
use crate::world::{World, feed_all, project_all};

/// The days on which clocks of Europe change in 2026, and those around them: (first day, begin of the first day in UTC).
pub(crate) const SPRING: &str = "2026-03-28";
pub(crate) const AUTUMN: &str = "2026-10-24";
pub(crate) const ZONE: &str = "Europe/Berlin";
/// Of three days, when an hour of one of them is left out.
const HOURS: u64 = 71;
pub(crate) const RATES: [u32; 3] = [0, 700, 1_900];

/// One sale or refund, with what its entry adds.
pub(crate) struct Deal {
    pub(crate) store: u64,
    pub(crate) device: String,
    pub(crate) staff: Option<StaffId>,
    pub(crate) at_ms: u64,
    pub(crate) day: String,
    pub(crate) order: Order,
}

pub(crate) struct Trade {
    pub(crate) deals: Vec<Deal>,
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

impl Trade {
    /// Two stores with two tills each sell and refund for three days from `first` on, round the clock; the categories of products
    /// are `Drinks`, `Food` and none.
    pub(crate) async fn new(world: &World, seed: u64, first: &str, deals: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut region = Region::new(1);
        let mut server = Writer::new(90);
        let directory = scopes::directory();
        for n in [1, 2] {
            region.take(server.commit(vec![(directory.clone(), document(&store_value(n)).1)]));
            let member = staff_member(n, ["Ana", "Ben"][n as usize - 1]);
            region.take(server.commit(vec![(scopes::staff(store(n)), document(&member).1)]));
        }
        for (n, category) in [(1, "Drinks"), (2, "Food"), (3, "Food"), (4, "")] {
            let DocumentValue::Product(product) = product_value(n, "1.00") else { unreachable!("a product") };
            let product = DocumentValue::Product(Product { category: category.into(), ..product });
            region.take(server.commit(vec![(scopes::catalogue(), document(&product).1)]));
        }
        let first: jiff::civil::Date = first.parse().expect("a day");
        let begin_ms = first.in_tz(ZONE).expect("midnight").timestamp().as_millisecond() as u64;
        let day = |n: i64| first.checked_add(jiff::Span::new().days(n)).expect("a day");
        let mut tills: Vec<(u64, Writer)> = (1..=4).map(|n| (1 + (n as u64 - 1) / 2, Writer::new(n))).collect();
        for (at, (shop, till)) in tills.iter_mut().enumerate() {
            region.take(
                server.write(&directory, &enrolment(till.device(), Some(store(*shop)), &format!("Till {}", at + 1), at as u32)),
            );
            region.take(till.write(&scopes::store(store(*shop)), &start(&format!("S0{shop}-T0{}a", at + 1))));
            for n in 0..3 {
                let opened = ShiftOpening {
                    shift: shift_id(10 * at as u64 + n),
                    business_day: BusinessDay::from_date(day(n as i64)),
                    float_minor: 0,
                    currency: gbp(),
                };
                region.take(till.write(&scopes::store(store(*shop)), &Record::ShiftOpened(opened)));
            }
        }
        let mut made = Vec::new();
        for n in 1..=deals {
            let at = dice.below(4);
            let (shop, till) = &mut tills[at as usize];
            let shift_day = dice.below(3);
            // What is sold after midnight is of the evening before, as often as not.
            let at_ms = begin_ms + dice.below(HOURS * 3_600_000);
            till.now_ms = at_ms - 1_000;
            till.staff = [Some(staff_id(*shop)), None, Some(staff_id(9))][dice.below(3) as usize];
            let is_refund = dice.below(5) == 0;
            let order = order_of(&mut dice, n, 10 * at + shift_day, is_refund);
            made.push(Deal {
                store: *shop,
                device: till.device().to_string(),
                staff: till.staff,
                at_ms,
                day: day(shift_day as i64).to_string(),
                order: order.clone(),
            });
            let record = if is_refund { Record::RefundGiven(order) } else { Record::SaleCompleted(order) };
            region.take(till.write(&scopes::store(store(*shop)), &record));
        }
        feed_all(&world.central, &region).await;
        project_all(&world.central).await;
        Self { deals: made }
    }

    /// Local day and hour of every deal, as Postgres has them.
    pub(crate) async fn by_the_clock(&self, world: &World, zone: &str) -> Vec<(String, i64)> {
        let at: Vec<i64> = self.deals.iter().map(|d| d.at_ms as i64).collect();
        let sql = "SELECT to_char(l, 'YYYY-MM-DD'), extract(hour FROM l)::bigint
            FROM unnest($1::bigint[]) WITH ORDINALITY AS t (ms, n), LATERAL (SELECT to_timestamp(ms / 1000.0) AT TIME ZONE $2) AS z (l)
            ORDER BY n";
        let rows = world.client().await.query(sql, &[&at, &zone]).await.expect("times");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

fn order_of(dice: &mut Dice, n: u64, shift: u64, is_refund: bool) -> Order {
    let mode = if dice.below(3) == 0 { TaxMode::Exclusive } else { TaxMode::Inclusive };
    let sign = if is_refund { -1 } else { 1 };
    let mut lines: Vec<(u32, OrderLine)> = (0..=dice.below(4))
        .map(|_| {
            let (product, rate) = (1 + dice.below(5), RATES[dice.below(3) as usize]);
            let pieces = sign * (1 + dice.below(3) as i64);
            (rate, line(product, pieces, &format!("{}.{:02}", dice.below(20), 1 + dice.below(99))))
        })
        .collect();
    let taxes = tax::taxes(mode, lines.iter().map(|(rate, l)| (*rate, l.amount_minor))).expect("taxes");
    for (rate, line) in &mut lines {
        line.tax = taxes.iter().position(|t| t.rate_bp == *rate).expect("its rate") as u8;
    }
    let total_minor = tax::total_minor(&taxes).expect("a total");
    Order {
        id: order_id(n),
        receipt_number: n,
        shift: shift_id(shift),
        lines: lines.into_iter().map(|(_, l)| l).collect(),
        taxes,
        payments: vec![Payment { method: PaymentMethod::Cash, amount_minor: total_minor, tendered_minor: None }],
        total_minor,
        currency: gbp(),
        tax_mode: mode,
        original: None,
        reason: None,
        reference: None,
    }
}

/// What a row of a report has to say: sales, their amount, refunds, their amount, pieces, tax.
pub(crate) type Sums = (i64, i64, i64, i64, i64, i64);

/// The rows of a cut, added up from the records: `parts` says for a deal under which keys it comes, with amount, pieces and tax.
pub(crate) fn added_up<'a>(
    deals: impl IntoIterator<Item = (usize, &'a Deal)>,
    parts: impl Fn(usize, &Deal) -> Vec<(String, i64, i64, i64)>,
) -> BTreeMap<String, Sums> {
    let mut rows = BTreeMap::<String, Sums>::new();
    for (n, deal) in deals {
        let is_refund = deal.order.lines[0].quantity.0 < 0;
        let mut of_deal = BTreeMap::<String, (i64, i64, i64)>::new();
        for (key, amount, pieces, tax) in parts(n, deal) {
            let sums = of_deal.entry(key).or_default();
            *sums = (sums.0 + amount, sums.1 + pieces, sums.2 + tax);
        }
        for (key, (amount, pieces, tax)) in of_deal {
            let row = rows.entry(key).or_default();
            if is_refund {
                (row.2, row.3) = (row.2 + 1, row.3 - amount);
            } else {
                (row.0, row.1) = (row.0 + 1, row.1 + amount);
            }
            (row.4, row.5) = (row.4 + pieces, row.5 + tax);
        }
    }
    rows
}

/// What a report says, in the same form; rows without business left out.
pub(crate) fn said(report: &Value) -> BTreeMap<String, Sums> {
    let of = |row: &Value| {
        let n = |field: &str| row[field].as_i64().unwrap_or(0);
        assert_eq!(n("net_minor"), n("sales_minor") - n("refunds_minor"), "{row}");
        (n("sales"), n("sales_minor"), n("refunds"), n("refunds_minor"), n("quantity_milli"), n("tax_minor"))
    };
    let rows = report["rows"].as_array().unwrap_or_else(|| panic!("rows in {report}"));
    let rows = rows.iter().map(|row| (row["key"].as_str().expect("a key").to_owned(), of(row)));
    rows.filter(|(_, sums)| *sums != Sums::default()).collect()
}

/// The id of a product in rows.
pub(crate) fn product_key(of: &OrderLine) -> String {
    Uuid::from_bytes(*of.product.as_bytes()).to_string()
}
