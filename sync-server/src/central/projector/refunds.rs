//! What came back of sales, and what came back twice.
//!
//! Two tills that do not hear one another may refund one line of one sale. Both refunds stand; the sale is flagged once, at the entry with which more
//! has come back of a line than was sold, be that a refund or, where it comes last, the sale.

use std::collections::{BTreeMap, BTreeSet};

use domain::fold;
use domain::ids::ProductId;
use domain::money::Quantity;
use domain::record::{Order, Record};
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::facts::{RecordFact, Rows, Subject};
use crate::central::CentralError;
use crate::central::exceptions::ExceptionKind;

/// A store and a sale.
type Sale = (Uuid, Uuid);

/// A refund of a batch: in which entry, of which sale, how much of which product.
#[derive(Debug, Clone)]
pub(super) struct Returned {
    pub(super) central_seq: i64,
    pub(super) sale: Sale,
    pub(super) goods: BTreeMap<ProductId, Quantity>,
}

/// A sale, line by line.
#[derive(Debug, Default)]
struct Lines {
    /// Nothing while the sale has not come.
    sold: BTreeMap<i64, i64>,
    back: BTreeMap<i64, i64>,
}

impl Lines {
    fn is_refunded_twice(&self) -> bool {
        self.sold.iter().any(|(line, sold)| self.back.get(line).is_some_and(|back| back > sold))
    }
}

/// Flags sales of which more came back than was sold, and answers the refunds of the batch.
pub(super) async fn take(tx: &Transaction<'_>, facts: &[RecordFact], rows: &mut Rows) -> Result<Vec<Returned>, CentralError> {
    let refunds: Vec<(&RecordFact, Sale, &Order)> = facts.iter().filter_map(refund_of).collect();
    let mut sales = load(tx, facts, refunds.iter().map(|(_, sale, _)| *sale).collect()).await?;
    for fact in facts {
        let (sale, is_touched) = match (&fact.record, fact.store) {
            (Record::SaleCompleted(o), Some(store)) => ((store, o.id.0), sales.contains_key(&(store, o.id.0))),
            (Record::RefundGiven(o), Some(store)) => match o.original {
                Some(original) => ((store, original.0), true),
                None => continue,
            },
            _ => continue,
        };
        if !is_touched {
            continue;
        }
        let lines = sales.entry(sale).or_default();
        let was = lines.is_refunded_twice();
        match &fact.record {
            Record::SaleCompleted(o) => lines.sold = (0..).zip(&o.lines).map(|(at, line)| (at, line.quantity.0)).collect(),
            record => {
                for (_, line, quantity) in fold::refunded_lines(record) {
                    *lines.back.entry(line.into()).or_default() += quantity.0;
                }
            }
        }
        if !was && lines.is_refunded_twice() {
            let subject = Subject { kind: ExceptionKind::RefundedTwice.as_str(), store: Some(sale.0), id: sale.1 };
            let detail = "more was given back of this sale than was sold, at tills that had not heard of one another";
            rows.flag_subject(fact.central_seq, subject, Some(sale.1), detail);
        }
    }
    Ok(refunds.into_iter().map(|(fact, sale, order)| returned(fact, sale, order)).collect())
}

fn refund_of(fact: &RecordFact) -> Option<(&RecordFact, Sale, &Order)> {
    let Record::RefundGiven(order) = &fact.record else { return None };
    Some((fact, (fact.store?, order.original?.0), order))
}

fn returned(fact: &RecordFact, sale: Sale, order: &Order) -> Returned {
    let mut goods = BTreeMap::new();
    for line in &order.lines {
        let back = goods.entry(line.product).or_insert(Quantity(0));
        back.0 -= line.quantity.0;
    }
    Returned { central_seq: fact.central_seq, sale, goods }
}

/// What earlier batches say of the sales that are refunded in this one, and of those of this one that were refunded before they came.
async fn load(
    tx: &Transaction<'_>,
    facts: &[RecordFact],
    refunded: BTreeSet<Sale>,
) -> Result<BTreeMap<Sale, Lines>, CentralError> {
    let sold_here = facts.iter().filter_map(|fact| match &fact.record {
        Record::SaleCompleted(order) => Some((fact.store?, order.id.0)),
        _ => None,
    });
    let mut sales: BTreeMap<Sale, Lines> = refunded.iter().map(|sale| (*sale, Lines::default())).collect();
    let asked: BTreeSet<Sale> = refunded.iter().copied().chain(sold_here).collect();
    if asked.is_empty() {
        return Ok(sales);
    }
    let (stores, ids): (Vec<Uuid>, Vec<Uuid>) = asked.into_iter().unzip();
    let back = tx
        .query(
            "SELECT r.store_id, r.original_id, r.original_line, sum(r.quantity_milli)::bigint
             FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, original_id) JOIN refunds AS r USING (store_id, original_id)
             WHERE r.original_line IS NOT NULL GROUP BY 1, 2, 3",
            &[&stores, &ids],
        )
        .await?;
    for row in &back {
        sales.entry((row.get(0), row.get(1))).or_default().back.insert(row.get(2), row.get(3));
    }
    if refunded.is_empty() {
        return Ok(sales);
    }
    let (stores, ids): (Vec<Uuid>, Vec<Uuid>) = refunded.into_iter().unzip();
    let sold = tx
        .query(
            "SELECT store_id, order_id, o.line_quantities_milli FROM unnest($1::uuid[], $2::uuid[]) AS w (store_id, order_id)
             JOIN orders AS o USING (store_id, order_id) WHERE o.kind = 'sale'",
            &[&stores, &ids],
        )
        .await?;
    for row in &sold {
        sales.entry((row.get(0), row.get(1))).or_default().sold = (0..).zip(row.get::<_, Vec<i64>>(2)).collect();
    }
    Ok(sales)
}
