-- Which entries gave money back for a sale: told to a device that asks for the sale because its replica no longer has it, or not yet.
CREATE TABLE refund_of (
    sale       BLOB NOT NULL,
    region_seq INTEGER NOT NULL REFERENCES entry (region_seq),
    PRIMARY KEY (sale, region_seq)
) STRICT, WITHOUT ROWID;
-- The program fills the table from the log, and takes this row away in the same transaction.
INSERT INTO meta (key, value) VALUES ('fill_refunds', x'01');
