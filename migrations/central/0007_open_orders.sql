-- Open orders: parked sales and tables, as the tills of a store write them.

-- Under which actors each origin writes documents, as it announced. A change under another one does not count.
CREATE TABLE announced_actors (
    device       uuid NOT NULL,
    incarnation  uuid NOT NULL,
    actor        uuid NOT NULL,
    PRIMARY KEY (device, incarnation, actor)
);

-- Open orders as the merge rules see them. Apart from `documents`, so that no till can take the id of a document of a server's.
CREATE TABLE open_order_documents (
    store_id  uuid   NOT NULL,
    id        uuid   NOT NULL,
    saved     bytea  NOT NULL,
    -- the kinds of exceptions that it was flagged with: each once
    flagged   text[] NOT NULL,
    PRIMARY KEY (store_id, id)
);

-- Changes of open orders that wait for what they build on, or for the announcement of their actor. Each is flagged until it is taken in.
CREATE TABLE waiting_changes (
    central_seq  bigint PRIMARY KEY,
    store_id     uuid   NOT NULL,
    document     uuid   NOT NULL,
    -- who wrote it
    device       uuid   NOT NULL,
    incarnation  uuid   NOT NULL
);
CREATE INDEX waiting_changes_of_document ON waiting_changes (store_id, document);
CREATE INDEX waiting_changes_of_origin ON waiting_changes (device, incarnation);

CREATE TABLE open_orders (
    store_id       uuid   NOT NULL,
    open_order_id  uuid   NOT NULL,
    -- both may be empty
    label          text   NOT NULL,
    note           text   NOT NULL,
    -- 'open', 'paid' or 'cancelled'
    status         text   NOT NULL,
    -- how many lines are in it, and what they come to; payments are in orders
    lines          int    NOT NULL,
    total_minor    bigint NOT NULL,
    opened_ms      bigint NOT NULL,
    opened_by      uuid   NOT NULL,
    -- what was done to it last
    changed_ms     bigint NOT NULL,
    changed_by     uuid   NOT NULL,
    PRIMARY KEY (store_id, open_order_id)
);
CREATE INDEX open_orders_by_change ON open_orders (status, changed_ms DESC);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['open_order_documents', 'waiting_changes', 'open_orders'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY every_store ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format(
            'CREATE POLICY one_store ON %I FOR SELECT USING (store_id = NULLIF(current_setting(''app.store_id'', true), '''')::uuid)', t
        );
    END LOOP;
END
$$;

-- Nothing is projected yet: there is nothing to build again.
UPDATE projector_cursor SET version = 3 WHERE central_seq = 0;
