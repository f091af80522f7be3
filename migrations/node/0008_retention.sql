-- What a till no longer keeps. An entry whose content has gone keeps its row, its place and its hash, so that chains go on as they were signed; its
-- `bytes` are empty then, and its `seal` is none. What it added to sums is in the tables below, with which a rebuild begins.

-- How far back a history is here.
CREATE TABLE floor (
    origin    INTEGER PRIMARY KEY REFERENCES origin (id),
    -- the last entry of the store's scope that was looked at for what can go
    seq       INTEGER NOT NULL,
    -- the last commit of which something has gone, and when it was written, in Unix milliseconds
    commit_no INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    -- the highest receipt number up to there
    receipt   INTEGER NOT NULL
) STRICT;

CREATE TABLE floor_stock_level (
    product  BLOB PRIMARY KEY,
    quantity INTEGER NOT NULL,
    sold     INTEGER NOT NULL,
    -- The count that stood when the last of it went; `quantity` is what that one had not heard of. A later count has heard of all of it.
    count    BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE floor_shift_part (
    shift         BLOB NOT NULL,
    origin        INTEGER NOT NULL,
    sales         INTEGER NOT NULL,
    refunds       INTEGER NOT NULL,
    sales_minor   INTEGER NOT NULL,
    refunds_minor INTEGER NOT NULL,
    cash_minor    INTEGER NOT NULL,
    first_entry   INTEGER NOT NULL,
    last_entry    INTEGER NOT NULL,
    PRIMARY KEY (shift, origin)
) STRICT, WITHOUT ROWID;

-- What an addendum says of a sale whose content has gone: which closing of its shift stands may still change.
CREATE TABLE gone_sale (
    entry         INTEGER PRIMARY KEY REFERENCES entry (id),
    shift         BLOB NOT NULL,
    at_ms         INTEGER NOT NULL,
    receipt       INTEGER NOT NULL,
    total_minor   INTEGER NOT NULL,
    cash_minor    INTEGER NOT NULL
) STRICT;

CREATE TABLE floor_ledger (
    origin  INTEGER PRIMARY KEY,
    orders  INTEGER NOT NULL,
    lines   INTEGER NOT NULL,
    rounded TEXT NOT NULL,
    exact   TEXT NOT NULL
) STRICT;

-- Entries that go together with the document of an open order, once all of its changes are among them.
CREATE TABLE goes_with (
    document  BLOB NOT NULL,
    entry     INTEGER NOT NULL REFERENCES entry (id),
    is_change INTEGER NOT NULL,
    PRIMARY KEY (document, entry)
) STRICT, WITHOUT ROWID;

-- Open orders that were closed and have gone: a change that comes late does not begin them anew.
CREATE TABLE gone_order (
    id BLOB PRIMARY KEY
) STRICT, WITHOUT ROWID;
