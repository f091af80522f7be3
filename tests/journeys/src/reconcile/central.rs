//! What the central database holds, asked of its tables and not of the program that fills them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Row};

use super::plan::Share;
use super::sums::Sums;

/// Lines of every kind of record, valued as the tills valued them, one row a till; the exact sum is not rounded anywhere.
const SHARES: &str = "
    WITH valued AS (
        SELECT o.device_id, l.amount_minor, l.quantity_milli, l.unit_price_centi
          FROM order_lines l JOIN orders o USING (store_id, order_id)
        UNION ALL
        SELECT device_id, amount_minor, quantity_milli, unit_price_centi FROM stock_movements WHERE reason = 'adjustment'
        UNION ALL
        SELECT device_id, amount_minor, quantity_milli, unit_price_centi FROM account_adjustments
    ), sums AS (
        SELECT device_id, count(*) AS lines, sum(amount_minor)::text AS rounded,
               sum(quantity_milli::numeric * unit_price_centi)::text AS exact
          FROM valued GROUP BY device_id
    ), counts AS (
        SELECT device_id, count(*) AS orders FROM orders GROUP BY device_id
    )
    SELECT d.name, coalesce(s.lines, 0), coalesce(s.rounded, '0'), coalesce(s.exact, '0'), coalesce(c.orders, 0)
      FROM devices d LEFT JOIN sums s USING (device_id) LEFT JOIN counts c USING (device_id)
     WHERE d.kind = 'till' ORDER BY d.name";

const LINES: &str = "
    SELECT (SELECT count(*) FROM order_lines) + (SELECT count(*) FROM account_adjustments)
         + (SELECT count(*) FROM stock_movements WHERE reason = 'adjustment')";

/// Whatever is there once too often, once too seldom, or does not add up.
const FLAWS: [&str; 7] = [
    "SELECT format('the chain of %s in %s holds %s entries up to number %s', device, scope, count(*), max(seq))
       FROM entries GROUP BY device, incarnation, scope HAVING count(*) <> max(seq) ORDER BY 1 LIMIT 10",
    "SELECT format('%s entries of %s are on another branch', count(*), device) FROM forked_entries GROUP BY device ORDER BY 1",
    "SELECT format('receipt %s of %s is there %s times', receipt_number, device_id, count(*))
       FROM orders GROUP BY device_id, incarnation, receipt_number HAVING count(*) <> 1 ORDER BY 1 LIMIT 10",
    "SELECT format('%s has %s receipts up to number %s', device_id, count(*), max(receipt_number))
       FROM orders GROUP BY device_id, incarnation HAVING count(*) <> max(receipt_number) ORDER BY 1",
    "SELECT format('order %s comes to %s, its lines to %s', o.order_id, o.total_minor, sum(l.amount_minor))
       FROM orders o LEFT JOIN order_lines l USING (store_id, order_id) WHERE o.tax_mode = 'inclusive'
      GROUP BY o.order_id, o.total_minor HAVING o.total_minor IS DISTINCT FROM sum(l.amount_minor) ORDER BY 1 LIMIT 10",
    "SELECT format('order %s comes to %s, its payments to %s', o.order_id, o.total_minor, coalesce(sum(p.amount_minor), 0))
       FROM orders o LEFT JOIN payments p USING (store_id, order_id)
      GROUP BY o.order_id, o.total_minor HAVING o.total_minor <> coalesce(sum(p.amount_minor), 0) ORDER BY 1 LIMIT 10",
    "SELECT format('product %s has %s thousandths in stock, its movements come to %s', product_id, l.quantity_milli, sum(m.quantity_milli))
       FROM stock_levels l FULL JOIN stock_movements m USING (store_id, product_id)
      GROUP BY store_id, product_id, l.quantity_milli HAVING l.quantity_milli IS DISTINCT FROM sum(m.quantity_milli) ORDER BY 1 LIMIT 10",
];

/// A connection to the central database.
pub struct Central {
    runtime: Runtime,
    client: Client,
}

impl Central {
    /// Connects.
    ///
    /// # Errors
    /// When the database is not there.
    pub fn connect(url: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(url, NoTls).await.context("the central database does not answer")?;
            // It ends with the client, or with the database: the next question says so then.
            tokio::spawn(connection);
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// What each till's records come to, by the till's name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn shares(&self) -> Result<BTreeMap<String, Share>> {
        let share = |row: Row| {
            let sums = Sums {
                lines: u64::try_from(row.get::<_, i64>(1))?,
                rounded_minor: row.get::<_, &str>(2).parse()?,
                exact: row.get::<_, &str>(3).parse()?,
            };
            Ok((row.get::<_, String>(0), Share { sums, orders: u64::try_from(row.get::<_, i64>(4))? }))
        };
        self.query(SHARES)?.into_iter().map(share).collect()
    }

    /// How many lines there are in all; cheap enough to watch.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn lines(&self) -> Result<u64> {
        let rows = self.query(LINES)?;
        let count: i64 = rows.first().context("a count is one row")?.get(0);
        Ok(u64::try_from(count)?)
    }

    /// A sentence for whatever is there once too often, once too seldom, or does not add up.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn flaws(&self) -> Result<Vec<String>> {
        let mut flaws = Vec::new();
        for question in FLAWS {
            flaws.extend(self.query(question)?.iter().map(|row| row.get::<_, String>(0)));
        }
        Ok(flaws)
    }

    /// Rows of any question.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn query(&self, question: &str) -> Result<Vec<Row>> {
        self.runtime.block_on(self.client.query(question, &[])).context("the central database does not answer")
    }
}
