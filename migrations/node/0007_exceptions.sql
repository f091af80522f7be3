-- Stock counts, and what has to be known of an order to see that it was paid or given back twice.

-- A product in a count. Its quantity and its cut are in the entry.
CREATE TABLE stock_count (
    product BLOB NOT NULL,
    -- of the count
    id      BLOB NOT NULL,
    entry   INTEGER NOT NULL,
    -- Whether the level of the product begins with it: one of them.
    stands  INTEGER NOT NULL,
    PRIMARY KEY (product, id)
) STRICT, WITHOUT ROWID;

-- How far any count has heard of a history: an entry beyond it is covered by none.
CREATE TABLE counted_upto (
    device      BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (device, incarnation)
) STRICT, WITHOUT ROWID;

-- Which sales paid which open order.
CREATE TABLE paid_order (
    sale       BLOB NOT NULL,
    open_order BLOB NOT NULL,
    PRIMARY KEY (sale, open_order)
) STRICT, WITHOUT ROWID;
CREATE INDEX paid_order_of ON paid_order (open_order);

-- The refunds of a sale.
CREATE TABLE refund (
    sale   BLOB NOT NULL,
    refund BLOB NOT NULL,
    PRIMARY KEY (sale, refund)
) STRICT, WITHOUT ROWID;

-- The program before this one did not read counts, and kept neither payments nor refunds apart: everything is projected again.
INSERT OR REPLACE INTO meta (key, value) VALUES ('project_again', 1);
