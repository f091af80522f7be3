-- The replica of one device. Everything that matters is in `entry`; the tables under "Projections" can be thrown away and
-- computed again from it. Ids are 16 bytes, amounts minor units, quantities thousandths, unit prices hundredths of a minor unit.

CREATE TABLE meta (
    -- db_uuid: names this file, so that a replaced file is noticed. sums_entry: the last entry that the sum tables hold.
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- The log ---------------------------------------------------------------------------------------------------------------

CREATE TABLE origin (
    id          INTEGER PRIMARY KEY,
    device      BLOB NOT NULL,
    incarnation BLOB NOT NULL,
    UNIQUE (device, incarnation)
) STRICT;

CREATE TABLE scope (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE entry (
    -- In the order of arrival here; never reused, because entries are never deleted.
    id        INTEGER PRIMARY KEY,
    origin    INTEGER NOT NULL REFERENCES origin (id),
    scope     INTEGER NOT NULL REFERENCES scope (id),
    seq       INTEGER NOT NULL,
    commit_no INTEGER NOT NULL,
    hash      BLOB NOT NULL,
    bytes     BLOB NOT NULL,
    -- On the last entry of a sealed commit: the signature, then the CBOR list of heads in scopes that are not followed here, if any.
    seal      BLOB,
    UNIQUE (origin, scope, seq)
) STRICT;

CREATE TABLE cursor (
    -- How far the regional server's sequence of a followed scope has been received.
    scope      INTEGER PRIMARY KEY REFERENCES scope (id),
    region_seq INTEGER NOT NULL
) STRICT;

CREATE TABLE ack (
    -- How far the commits of an own incarnation are known to be elsewhere.
    origin   INTEGER PRIMARY KEY REFERENCES origin (id),
    regional INTEGER NOT NULL,
    central  INTEGER NOT NULL
) STRICT;

-- What only this device knows ----------------------------------------------------------------------------------------------

CREATE TABLE pin_attempt (
    staff   BLOB PRIMARY KEY,
    -- Wrong in a row, and when the last one was, in Unix milliseconds.
    wrong   INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE print_job (
    n          INTEGER PRIMARY KEY,
    id         BLOB NOT NULL,
    order_id   BLOB NOT NULL,
    -- 0 for the original; the number of the copy otherwise.
    copy_no    INTEGER NOT NULL,
    title      TEXT NOT NULL,
    -- The document, not printer bytes: it can be rendered for another printer, identical in content.
    document   TEXT NOT NULL,
    -- queued, sending, confirmed, sent_unconfirmed, uncertain, reprinted or accepted.
    state      TEXT NOT NULL,
    problem    TEXT,
    created_ms INTEGER NOT NULL,
    UNIQUE (order_id, copy_no)
) STRICT;

CREATE TABLE print_attempt (
    -- Committed before the first byte: an attempt without an outcome at start-up is uncertain.
    n              INTEGER PRIMARY KEY,
    job            INTEGER NOT NULL REFERENCES print_job (n),
    profile        TEXT NOT NULL,
    bytes_sha256   BLOB NOT NULL,
    started_ms     INTEGER NOT NULL,
    ended_ms       INTEGER,
    accepted_bytes INTEGER,
    outcome        TEXT
) STRICT;

CREATE INDEX print_attempt_of_job ON print_attempt (job);

CREATE TABLE drawer_kick (
    -- The id of the order or of the drawer opening that asked for the pulse: at most one each.
    id         BLOB PRIMARY KEY,
    -- asked, begun, kicked or open_by_key. What is asked or begun at start-up is never sent again.
    state      TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Projections --------------------------------------------------------------------------------------------------------------

CREATE TABLE unread (
    -- Entries that this build could not take into the projections: of a newer kind, or broken.
    entry INTEGER PRIMARY KEY REFERENCES entry (id),
    why   TEXT NOT NULL
) STRICT;

CREATE TABLE series (
    origin INTEGER PRIMARY KEY REFERENCES origin (id),
    series TEXT NOT NULL
) STRICT;

CREATE TABLE device (
    id         BLOB PRIMARY KEY,
    store      BLOB,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    number     INTEGER NOT NULL,
    public_key BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE document (
    id    BLOB PRIMARY KEY,
    kind  INTEGER NOT NULL,
    saved BLOB NOT NULL
) STRICT;

CREATE TABLE store (
    id             BLOB PRIMARY KEY,
    code           TEXT NOT NULL,
    name           TEXT NOT NULL,
    -- JSON array of lines.
    address        TEXT NOT NULL,
    currency       TEXT NOT NULL,
    tax_exclusive  INTEGER NOT NULL,
    receipt_footer TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE staff (
    id       BLOB PRIMARY KEY,
    name     TEXT NOT NULL,
    role     TEXT NOT NULL,
    pin_hash TEXT NOT NULL,
    active   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE product (
    -- Its row in product_search.
    place       INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    code        TEXT NOT NULL,
    name        TEXT NOT NULL,
    price       INTEGER NOT NULL,
    tax_rate_bp INTEGER NOT NULL,
    active      INTEGER NOT NULL
) STRICT;

CREATE TABLE product_code (
    code    TEXT NOT NULL,
    -- 0: a barcode; 1: the shop's own code.
    own     INTEGER NOT NULL,
    product BLOB NOT NULL,
    -- In lower case, for codes typed by hand.
    folded  TEXT NOT NULL,
    PRIMARY KEY (code, own, product)
) STRICT, WITHOUT ROWID;

CREATE INDEX product_code_folded ON product_code (folded);
CREATE INDEX product_code_of_product ON product_code (product);

CREATE VIRTUAL TABLE product_search USING fts5 (
    name, code, content = '', contentless_delete = 1, prefix = '1 2 3', tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE orders (
    -- A UUIDv7, so this table is in the order in which orders were begun.
    id        BLOB PRIMARY KEY,
    origin    INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    is_refund INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    lines     INTEGER NOT NULL,
    -- The entry that holds the rest.
    entry     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE refunded (
    order_id BLOB NOT NULL,
    line     INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    PRIMARY KEY (order_id, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE shift (
    id           BLOB PRIMARY KEY,
    -- The origin that opened it.
    origin       INTEGER,
    business_day INTEGER,
    opened_ms    INTEGER,
    float_minor  INTEGER,
    closed_ms    INTEGER,
    counted      INTEGER,
    expected     INTEGER
) STRICT, WITHOUT ROWID;

-- Sums. They are written now and then rather than with every sale, and hold the entries up to meta.sums_entry; what came
-- after is kept in memory, and folded again at start-up.

CREATE TABLE stock_level (
    product  BLOB PRIMARY KEY,
    quantity INTEGER NOT NULL,
    -- How many lines sold it: the order of search results.
    sold     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shift_sum (
    shift         BLOB PRIMARY KEY,
    sales         INTEGER NOT NULL,
    refunds       INTEGER NOT NULL,
    sales_minor   INTEGER NOT NULL,
    refunds_minor INTEGER NOT NULL,
    cash_minor    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
    origin  INTEGER PRIMARY KEY,
    orders  INTEGER NOT NULL,
    lines   INTEGER NOT NULL,
    -- Decimal text: the sums may exceed 64 bits.
    rounded TEXT NOT NULL,
    exact   TEXT NOT NULL
) STRICT;
