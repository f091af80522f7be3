-- What the manager's reports and lists need beside the orders: tax by rate, what an exception is about, who has looked at it, how
-- far a device's clock is off, and the indexes behind every figure that can be opened.

-- The tax lines of the record, as they are on the receipt. Their sum of net and tax is the order's total.
CREATE TABLE order_taxes (
    store_id    uuid NOT NULL,
    order_id    uuid NOT NULL,
    -- the place in the record
    place       int  NOT NULL,
    rate_bp     bigint NOT NULL,
    net_minor   bigint NOT NULL,
    tax_minor   bigint NOT NULL,
    PRIMARY KEY (store_id, order_id, place)
);
ALTER TABLE order_taxes ENABLE ROW LEVEL SECURITY;
ALTER TABLE order_taxes FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON order_taxes TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY one_store ON order_taxes FOR SELECT USING (store_id = NULLIF(current_setting('app.store_id', true), '')::uuid);

ALTER TABLE exceptions
    -- who wrote the entry, and when by its own clock
    ADD COLUMN device_id uuid,
    ADD COLUMN at_ms     bigint NOT NULL DEFAULT 0,
    -- the sale or refund that it is about
    ADD COLUMN order_id  uuid;
CREATE INDEX exceptions_of_order ON exceptions (store_id, order_id) WHERE order_id IS NOT NULL;

-- That somebody has looked at an exception. Not a fold of entries: a rebuild of the read model leaves it alone, and the entry's number
-- and the kind say after it which exception was meant.
CREATE TABLE exception_reviews (
    central_seq     bigint NOT NULL,
    kind            text   NOT NULL,
    -- the manager's name
    reviewed_by     text   NOT NULL,
    reviewed_at_ms  bigint NOT NULL,
    note            text   NOT NULL,
    PRIMARY KEY (central_seq, kind)
);

ALTER TABLE device_contact
    -- The device's clock less the server's when it last greeted, half a round trip allowed for; none when it did not say.
    ADD COLUMN clock_drift_ms bigint;

CREATE INDEX orders_by_time ON orders (at_ms DESC, store_id, order_id);
CREATE INDEX orders_by_number ON orders (receipt_number);
CREATE INDEX orders_of_original ON orders (store_id, original_id) WHERE original_id IS NOT NULL;
CREATE INDEX order_lines_of_product ON order_lines (product_id, store_id, order_id);
CREATE INDEX stock_movements_of_product ON stock_movements (store_id, product_id, at_ms DESC, record_id, line);

-- Which shape of the read model the rows below the cursor have. A program that knows a newer one builds the rows again from the
-- entries, in one transaction, before it projects on; one that knows only an older one leaves them alone.
ALTER TABLE projector_cursor ADD COLUMN version int NOT NULL DEFAULT 1;
-- Nothing is projected yet: there is nothing to build again.
UPDATE projector_cursor SET version = 2 WHERE central_seq = 0;
