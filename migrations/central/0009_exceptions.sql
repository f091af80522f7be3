-- What people did at once: stock counts, goods sold that were not there, and when an exception is settled.

-- A product in a count. Its cut is in the entry.
CREATE TABLE stock_counts (
    store_id     uuid    NOT NULL,
    product_id   uuid    NOT NULL,
    -- of the count
    record_id    uuid    NOT NULL,
    -- whether the level of the product begins with it: one of them
    stands       boolean NOT NULL,
    -- its entry
    central_seq  bigint  NOT NULL,
    PRIMARY KEY (store_id, product_id, record_id)
);
ALTER TABLE stock_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE stock_counts FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON stock_counts TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY one_store ON stock_counts FOR SELECT USING (store_id = NULLIF(current_setting('app.store_id', true), '')::uuid);

-- reason 'count': what was counted, in counted_milli; quantity_milli is 0, because how far a count moves a level is known only from all that it had
-- heard of.
ALTER TABLE stock_movements
    ADD COLUMN counted_milli  bigint,
    -- the entry it is from
    ADD COLUMN central_seq    bigint NOT NULL DEFAULT 0;

ALTER TABLE stock_levels
    -- Whether goods were ever taken in or counted: only then is a level below zero an exception.
    ADD COLUMN tracked  boolean NOT NULL DEFAULT false;
CREATE INDEX stock_levels_tracked ON stock_levels (store_id, product_id) WHERE tracked;

ALTER TABLE exceptions
    -- The open order, product, document or sale that it is about, by its kind; none when nothing settles it.
    ADD COLUMN subject        uuid,
    -- The entry since which what caused it is no longer so, when that was, and the sale or refund in that commit. None while it is so.
    ADD COLUMN settled_seq    bigint,
    ADD COLUMN settled_at_ms  bigint,
    ADD COLUMN settled_order  uuid;
CREATE INDEX exceptions_of_subject ON exceptions (subject, kind) WHERE settled_seq IS NULL AND subject IS NOT NULL;

-- Which sales paid which open order.
CREATE TABLE open_order_payments (
    store_id       uuid NOT NULL,
    sale_id        uuid NOT NULL,
    open_order_id  uuid NOT NULL,
    PRIMARY KEY (store_id, sale_id, open_order_id)
);
CREATE INDEX open_order_payments_of_order ON open_order_payments (store_id, open_order_id);
ALTER TABLE open_order_payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE open_order_payments FORCE ROW LEVEL SECURITY;
CREATE POLICY every_store ON open_order_payments TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY one_store ON open_order_payments FOR SELECT USING (store_id = NULLIF(current_setting('app.store_id', true), '')::uuid);

ALTER TABLE open_order_documents
    -- Those of the kinds in `flagged` that were settled while they are still so: the goods came back, the rest was paid.
    ADD COLUMN settled  text[] NOT NULL DEFAULT '{}',
    -- The open order of what was left unpaid of this one, once something was.
    ADD COLUMN rest     uuid;
CREATE INDEX open_order_documents_of_rest ON open_order_documents (store_id, rest) WHERE rest IS NOT NULL;

-- Nothing is projected yet: there is nothing to build again.
UPDATE projector_cursor SET version = 4 WHERE central_seq = 0;
