-- The read model: what managers ask. The projector alone writes it, from `entries`, in order of central_seq, and moves its
-- cursor in the same transaction. It can be emptied and built again at any time and comes out the same, row for row.
--
-- Units ride in the names: *_minor are minor units of the currency beside them, *_milli thousandths of a piece (or kilogram,
-- metre), *_centi hundredths of a minor unit, *_bp basis points, *_ms Unix milliseconds of the writer's clock.
--
-- Keys of store-scoped tables begin with store_id: a unique constraint is checked regardless of row-level security, and a bare
-- id would tell one store which ids another one uses. There are no foreign keys: records may arrive before what they refer to.

CREATE TABLE projector_cursor (
    name         text   PRIMARY KEY,
    -- Everything up to here is in the tables below.
    central_seq  bigint NOT NULL
);
INSERT INTO projector_cursor (name, central_seq) VALUES ('read_model', 0);

-- Parts of commits whose other parts have not arrived. A commit is projected whole or not at all.
CREATE TABLE pending_parts (
    device       uuid   NOT NULL,
    incarnation  uuid   NOT NULL,
    commit_no    bigint NOT NULL,
    part         int    NOT NULL,
    central_seq  bigint NOT NULL,
    PRIMARY KEY (device, incarnation, commit_no, part)
);

-- Ids that have been projected: the same record twice, even from two branches of a fork, is one record.
CREATE TABLE record_keys (
    store_id     uuid     NOT NULL,
    -- 0: a record with an id of its own (order, adjustment); 5: the opening of a shift; 6: its closing.
    class        smallint NOT NULL,
    id           uuid     NOT NULL,
    -- The entry that was first.
    central_seq  bigint   NOT NULL,
    PRIMARY KEY (store_id, class, id)
);

-- Documents as the merge rules see them. The rows made from them are in stores, staff and products.
CREATE TABLE documents (
    id     uuid     PRIMARY KEY,
    kind   smallint NOT NULL,
    saved  bytea    NOT NULL
);

-- Entries of kinds or versions that this build does not know: kept, skipped, counted. A newer build rebuilds the read model.
CREATE TABLE skipped_kinds (
    -- 'record' or 'change'
    body     text   NOT NULL,
    kind     int    NOT NULL,
    version  int    NOT NULL,
    entries  bigint NOT NULL,
    PRIMARY KEY (body, kind, version)
);

CREATE TABLE stores (
    store_id        uuid PRIMARY KEY,
    code            text NOT NULL,
    name            text NOT NULL,
    address         text[] NOT NULL,
    currency        char(3) NOT NULL,
    -- 'inclusive' or 'exclusive'
    tax_mode        text NOT NULL,
    receipt_footer  text NOT NULL
);

CREATE TABLE devices (
    device_id       uuid PRIMARY KEY,
    -- none for a server
    store_id        uuid,
    -- 'till', 'handheld' or 'server'
    kind            text NOT NULL,
    name            text NOT NULL,
    -- its number in the store
    number          bigint NOT NULL,
    public_key      bytea NOT NULL,
    enrolled_at_ms  bigint NOT NULL
);

CREATE TABLE incarnations (
    device_id       uuid NOT NULL,
    incarnation     uuid NOT NULL,
    -- the receipt series, such as S01-T03b; empty for a server
    series          text NOT NULL,
    software        text NOT NULL,
    last_start_ms   bigint NOT NULL,
    PRIMARY KEY (device_id, incarnation)
);

-- How far each origin is in these tables; `device_contact` says how far it is known to be.
CREATE TABLE device_progress (
    device_id       uuid   NOT NULL,
    incarnation     uuid   NOT NULL,
    commits         bigint NOT NULL,
    last_at_ms      bigint NOT NULL,
    PRIMARY KEY (device_id, incarnation)
);

CREATE TABLE products (
    product_id      uuid PRIMARY KEY,
    code            text NOT NULL,
    name            text NOT NULL,
    barcodes        text[] NOT NULL,
    price_centi     bigint NOT NULL,
    tax_rate_bp     bigint NOT NULL,
    active          boolean NOT NULL
);

-- No PIN hashes: tills check PINs, the central database does not need them.
CREATE TABLE staff (
    store_id        uuid NOT NULL,
    staff_id        uuid NOT NULL,
    name            text NOT NULL,
    -- 'cashier', 'shift_lead' or 'manager'
    role            text NOT NULL,
    active          boolean NOT NULL,
    PRIMARY KEY (store_id, staff_id)
);

CREATE TABLE shifts (
    store_id        uuid NOT NULL,
    shift_id        uuid NOT NULL,
    device_id       uuid NOT NULL,
    -- The columns of the opening are null when only the closing has arrived, and the other way round.
    business_day    date,
    opened_at_ms    bigint,
    opened_by       uuid,
    float_minor     bigint,
    currency        char(3),
    closed_at_ms    bigint,
    closed_by       uuid,
    counted_minor   bigint,
    expected_minor  bigint,
    -- the last commit of the till that the closing covers
    cut_commit      bigint,
    PRIMARY KEY (store_id, shift_id)
);

CREATE TABLE orders (
    store_id        uuid NOT NULL,
    order_id        uuid NOT NULL,
    -- 'sale' or 'refund'; the amounts of a refund are negative
    kind            text NOT NULL,
    device_id       uuid NOT NULL,
    incarnation     uuid NOT NULL,
    receipt_number  bigint NOT NULL,
    shift_id        uuid NOT NULL,
    -- From the shift, never off a clock; null until the opening of the shift has arrived.
    business_day    date,
    staff_id        uuid,
    at_ms           bigint NOT NULL,
    currency        char(3) NOT NULL,
    tax_mode        text NOT NULL,
    -- what the till showed; nothing here computes it again
    total_minor     bigint NOT NULL,
    tax_minor       bigint NOT NULL,
    -- the sale that a refund refers to
    original_id     uuid,
    reason          text,
    reference       text,
    -- the entry it is from: its proof
    central_seq     bigint NOT NULL,
    PRIMARY KEY (store_id, order_id)
);
CREATE INDEX orders_by_day ON orders (business_day, currency);
CREATE INDEX orders_without_day ON orders (store_id, shift_id) WHERE business_day IS NULL;

CREATE TABLE order_lines (
    store_id          uuid NOT NULL,
    order_id          uuid NOT NULL,
    line              int  NOT NULL,
    product_id        uuid NOT NULL,
    -- at that moment
    name              text NOT NULL,
    quantity_milli    bigint NOT NULL,
    unit_price_centi  bigint NOT NULL,
    tax_rate_bp       bigint NOT NULL,
    amount_minor      bigint NOT NULL,
    -- in a refund, the line of the original order
    original_line     bigint,
    PRIMARY KEY (store_id, order_id, line)
);

CREATE TABLE payments (
    store_id        uuid NOT NULL,
    order_id        uuid NOT NULL,
    payment         int  NOT NULL,
    method          text NOT NULL,
    -- what it settled of the total; negative when paid out
    amount_minor    bigint NOT NULL,
    tendered_minor  bigint,
    change_minor    bigint NOT NULL,
    PRIMARY KEY (store_id, order_id, payment)
);

-- Refunds line by line, with quantities and amounts above zero and what they refer to. A table and not a view over orders: a view
-- reads with its owner's rights and would carry every store past row-level security.
CREATE TABLE refunds (
    store_id        uuid NOT NULL,
    order_id        uuid NOT NULL,
    line            int  NOT NULL,
    original_id     uuid,
    original_line   bigint,
    product_id      uuid NOT NULL,
    quantity_milli  bigint NOT NULL,
    amount_minor    bigint NOT NULL,
    PRIMARY KEY (store_id, order_id, line)
);
CREATE INDEX refunds_of_line ON refunds (store_id, original_id, original_line);

CREATE TABLE stock_movements (
    store_id          uuid NOT NULL,
    -- the order or the adjustment
    record_id         uuid NOT NULL,
    line              int  NOT NULL,
    product_id        uuid NOT NULL,
    -- negative when it leaves the shelf
    quantity_milli    bigint NOT NULL,
    -- 'sale', 'refund' or 'adjustment'
    reason            text NOT NULL,
    at_ms             bigint NOT NULL,
    -- Only in adjustments; a sale's are in orders and order_lines.
    unit_price_centi  bigint,
    amount_minor      bigint,
    device_id         uuid,
    shift_id          uuid,
    staff_id          uuid,
    note              text,
    reference         text,
    PRIMARY KEY (store_id, record_id, line)
);

-- The sum of the movements, kept so that a question costs one row.
CREATE TABLE stock_levels (
    store_id        uuid NOT NULL,
    product_id      uuid NOT NULL,
    quantity_milli  bigint NOT NULL,
    PRIMARY KEY (store_id, product_id)
);

-- One row a line of an account adjustment.
CREATE TABLE account_adjustments (
    store_id          uuid NOT NULL,
    record_id         uuid NOT NULL,
    line              int  NOT NULL,
    device_id         uuid NOT NULL,
    shift_id          uuid NOT NULL,
    staff_id          uuid,
    at_ms             bigint NOT NULL,
    description       text NOT NULL,
    quantity_milli    bigint NOT NULL,
    unit_price_centi  bigint NOT NULL,
    amount_minor      bigint NOT NULL,
    reference         text,
    PRIMARY KEY (store_id, record_id, line)
);

-- What a person should look at. A fact is never refused: it is taken and flagged here.
CREATE TABLE exceptions (
    -- the entry it is about, and its place among the flags of that entry
    central_seq  bigint NOT NULL,
    place        int    NOT NULL,
    -- none when the entry is of no store
    store_id     uuid,
    kind         text   NOT NULL,
    detail       text   NOT NULL,
    PRIMARY KEY (central_seq, place)
);

-- Row-level security. The role that owns the tables (the one that migrates, and with which the server connects) sees every store
-- through the policy `every_store`. Any other role sees nothing until it is granted SELECT and says which store it asks for, once a
-- transaction: SET LOCAL app.store_id = '...'. FORCE, so that the owner too goes through a policy and not around it. A session may
-- set app.store_id to any store: this guards against a forgotten WHERE, not against somebody who may write SQL.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'record_keys', 'stores', 'devices', 'staff', 'shifts', 'orders', 'order_lines', 'payments', 'refunds',
        'stock_movements', 'stock_levels', 'account_adjustments', 'exceptions'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY every_store ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format(
            'CREATE POLICY one_store ON %I FOR SELECT USING (store_id = NULLIF(current_setting(''app.store_id'', true), '''')::uuid)', t
        );
    END LOOP;
END
$$;
