-- A sale is one row: its lines, tax lines and payments are arrays in it, which are written and read with it (docs/adr/0019). The tables that held
-- them become views of the same names and columns. Views here read with the rights of whoever asks, never with their owner's, so that
-- row-level security holds behind them: that takes PostgreSQL 15.

-- Who may read what goes away may read what comes in its place. A view asks for the right to read orders besides; nobody is given that here who did not
-- have it.
CREATE TEMP TABLE granted ON COMMIT DROP AS
SELECT c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS reader
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'public'::regnamespace AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner
  AND c.relname IN ('order_lines', 'order_taxes', 'payments', 'stock_movements', 'orders');

CREATE TABLE orders_whole (
    store_id                  uuid NOT NULL,
    order_id                  uuid NOT NULL,
    -- 'sale' or 'refund'; the amounts of a refund are negative
    kind                      text NOT NULL,
    device_id                 uuid NOT NULL,
    incarnation               uuid NOT NULL,
    receipt_number            bigint NOT NULL,
    shift_id                  uuid NOT NULL,
    -- From the shift, never off a clock; null until the opening of the shift has arrived.
    business_day              date,
    staff_id                  uuid,
    at_ms                     bigint NOT NULL,
    currency                  char(3) NOT NULL,
    tax_mode                  text NOT NULL,
    -- what the till showed; nothing here computes it again
    total_minor               bigint NOT NULL,
    tax_minor                 bigint NOT NULL,
    -- the sale that a refund refers to
    original_id               uuid,
    reason                    text,
    reference                 text,
    -- The lines, one place in each array a line.
    line_products             uuid[] NOT NULL,
    -- at that moment
    line_names                text[] NOT NULL,
    line_quantities_milli     bigint[] NOT NULL,
    line_prices_centi         bigint[] NOT NULL,
    line_tax_rates_bp         bigint[] NOT NULL,
    line_amounts_minor        bigint[] NOT NULL,
    -- in a refund, the lines of the original order; none in a sale
    line_originals            bigint[],
    -- The tax lines as they are on the receipt. Their sum of net and tax is the order's total.
    tax_rates_bp              bigint[] NOT NULL,
    tax_nets_minor            bigint[] NOT NULL,
    tax_amounts_minor         bigint[] NOT NULL,
    -- The payments: what each settled of the total, negative when paid out; what was handed over and given back.
    payment_methods           text[] NOT NULL,
    payment_amounts_minor     bigint[] NOT NULL,
    payment_tendered_minor    bigint[] NOT NULL,
    payment_change_minor      bigint[] NOT NULL,
    -- the entry it is from: its proof
    central_seq               bigint NOT NULL
);

INSERT INTO orders_whole
SELECT o.store_id, o.order_id, o.kind, o.device_id, o.incarnation, o.receipt_number, o.shift_id, o.business_day, o.staff_id, o.at_ms, o.currency,
    o.tax_mode, o.total_minor, o.tax_minor, o.original_id, o.reason, o.reference,
    COALESCE(l.products, '{}'), COALESCE(l.names, '{}'), COALESCE(l.quantities, '{}'), COALESCE(l.prices, '{}'), COALESCE(l.rates, '{}'),
    COALESCE(l.amounts, '{}'), CASE WHEN o.kind = 'refund' THEN COALESCE(l.originals, '{}') END,
    COALESCE(t.rates, '{}'), COALESCE(t.nets, '{}'), COALESCE(t.taxes, '{}'),
    COALESCE(p.methods, '{}'), COALESCE(p.amounts, '{}'), COALESCE(p.tendered, '{}'), COALESCE(p.change, '{}'), o.central_seq
FROM orders AS o
LEFT JOIN (
    SELECT store_id, order_id, array_agg(product_id ORDER BY line) AS products, array_agg(name ORDER BY line) AS names,
        array_agg(quantity_milli ORDER BY line) AS quantities, array_agg(unit_price_centi ORDER BY line) AS prices,
        array_agg(tax_rate_bp ORDER BY line) AS rates, array_agg(amount_minor ORDER BY line) AS amounts,
        array_agg(original_line ORDER BY line) AS originals
    FROM order_lines GROUP BY 1, 2) AS l USING (store_id, order_id)
LEFT JOIN (
    SELECT store_id, order_id, array_agg(rate_bp ORDER BY place) AS rates, array_agg(net_minor ORDER BY place) AS nets,
        array_agg(tax_minor ORDER BY place) AS taxes
    FROM order_taxes GROUP BY 1, 2) AS t USING (store_id, order_id)
LEFT JOIN (
    SELECT store_id, order_id, array_agg(method ORDER BY payment) AS methods, array_agg(amount_minor ORDER BY payment) AS amounts,
        array_agg(tendered_minor ORDER BY payment) AS tendered, array_agg(change_minor ORDER BY payment) AS change
    FROM payments GROUP BY 1, 2) AS p USING (store_id, order_id);

-- What was booked by hand, goods in and out and counts; what sales and refunds move is in their lines.
CREATE TABLE stock_adjustments (
    store_id          uuid NOT NULL,
    record_id         uuid NOT NULL,
    line              int  NOT NULL,
    product_id        uuid NOT NULL,
    -- negative when it leaves the shelf; 0 in a count
    quantity_milli    bigint NOT NULL,
    -- 'adjustment' or 'count'
    reason            text NOT NULL,
    at_ms             bigint NOT NULL,
    unit_price_centi  bigint NOT NULL,
    amount_minor      bigint NOT NULL,
    device_id         uuid NOT NULL,
    shift_id          uuid NOT NULL,
    staff_id          uuid,
    note              text NOT NULL,
    reference         text,
    -- what a count found
    counted_milli     bigint,
    -- the entry it is from
    central_seq       bigint NOT NULL,
    PRIMARY KEY (store_id, record_id, line)
);
CREATE INDEX stock_adjustments_of_product ON stock_adjustments (store_id, product_id);
INSERT INTO stock_adjustments SELECT * FROM stock_movements WHERE reason NOT IN ('sale', 'refund');

-- When it moved last, by the clock of who moved it.
ALTER TABLE stock_levels ADD COLUMN moved_at_ms bigint;
UPDATE stock_levels AS l SET moved_at_ms = m.at_ms
FROM (SELECT store_id, product_id, max(at_ms) AS at_ms FROM stock_movements GROUP BY 1, 2) AS m
WHERE m.store_id = l.store_id AND m.product_id = l.product_id;

DROP TABLE order_lines, order_taxes, payments, stock_movements, orders;
ALTER TABLE orders_whole RENAME TO orders;
ALTER TABLE orders ADD CONSTRAINT orders_pkey PRIMARY KEY (store_id, order_id);
CREATE INDEX orders_by_day ON orders (business_day, currency);
CREATE INDEX orders_without_day ON orders (store_id, shift_id) WHERE business_day IS NULL;
CREATE INDEX orders_by_time ON orders (at_ms);
CREATE INDEX orders_by_number ON orders (receipt_number);
CREATE INDEX orders_of_original ON orders (store_id, original_id) WHERE original_id IS NOT NULL;
-- Which orders have a product, and those of one store: `array_append(line_products, store_id) @> ARRAY[product, store]`.
CREATE INDEX orders_by_goods ON orders USING gin (array_append(line_products, store_id));

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['orders', 'stock_adjustments'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY every_store ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format(
            'CREATE POLICY one_store ON %I FOR SELECT USING (store_id = NULLIF(current_setting(''app.store_id'', true), '''')::uuid)', t
        );
    END LOOP;
END
$$;

-- The type of the rows that the projector hands over, all of a batch in one value.
CREATE TYPE arriving_order AS (
    store_id uuid, order_id uuid, kind text, device_id uuid, incarnation uuid, receipt_number bigint, shift_id uuid, staff_id uuid, at_ms bigint,
    currency text, tax_mode text, total_minor bigint, tax_minor bigint, original_id uuid, reason text, reference text, central_seq bigint,
    line_products uuid[], line_names text[], line_quantities_milli bigint[], line_prices_centi bigint[], line_tax_rates_bp bigint[],
    line_amounts_minor bigint[], line_originals bigint[], tax_rates_bp bigint[], tax_nets_minor bigint[], tax_amounts_minor bigint[],
    payment_methods text[], payment_amounts_minor bigint[], payment_tendered_minor bigint[], payment_change_minor bigint[]
);

CREATE VIEW order_lines WITH (security_invoker = true) AS
SELECT o.store_id, o.order_id, (l.place - 1)::int AS line, l.product_id, l.name, l.quantity_milli, l.unit_price_centi, l.tax_rate_bp,
    l.amount_minor, l.original_line
FROM orders AS o
CROSS JOIN LATERAL unnest(o.line_products, o.line_names, o.line_quantities_milli, o.line_prices_centi, o.line_tax_rates_bp,
    o.line_amounts_minor, o.line_originals) WITH ORDINALITY
    AS l (product_id, name, quantity_milli, unit_price_centi, tax_rate_bp, amount_minor, original_line, place);

CREATE VIEW order_taxes WITH (security_invoker = true) AS
SELECT o.store_id, o.order_id, (t.at - 1)::int AS place, t.rate_bp, t.net_minor, t.tax_minor
FROM orders AS o
CROSS JOIN LATERAL unnest(o.tax_rates_bp, o.tax_nets_minor, o.tax_amounts_minor) WITH ORDINALITY AS t (rate_bp, net_minor, tax_minor, at);

CREATE VIEW payments WITH (security_invoker = true) AS
SELECT o.store_id, o.order_id, (p.place - 1)::int AS payment, p.method, p.amount_minor, p.tendered_minor, p.change_minor
FROM orders AS o
CROSS JOIN LATERAL unnest(o.payment_methods, o.payment_amounts_minor, o.payment_tendered_minor, o.payment_change_minor) WITH ORDINALITY
    AS p (method, amount_minor, tendered_minor, change_minor, place);

CREATE VIEW stock_movements WITH (security_invoker = true) AS
SELECT o.store_id, o.order_id AS record_id, (l.place - 1)::int AS line, l.product_id, -l.quantity_milli AS quantity_milli, o.kind AS reason,
    o.at_ms, NULL::bigint AS unit_price_centi, NULL::bigint AS amount_minor, NULL::uuid AS device_id, NULL::uuid AS shift_id,
    NULL::uuid AS staff_id, NULL::text AS note, NULL::text AS reference, NULL::bigint AS counted_milli, o.central_seq
FROM orders AS o
CROSS JOIN LATERAL unnest(o.line_products, o.line_quantities_milli) WITH ORDINALITY AS l (product_id, quantity_milli, place)
UNION ALL
SELECT store_id, record_id, line, product_id, quantity_milli, reason, at_ms, unit_price_centi, amount_minor, device_id, shift_id, staff_id,
    note, reference, counted_milli, central_seq
FROM stock_adjustments;

-- The same of one product of a store, along the index: a condition on the view would read every order.
CREATE FUNCTION stock_movements_of(store uuid, product uuid) RETURNS SETOF stock_movements LANGUAGE sql STABLE AS $$
    SELECT o.store_id, o.order_id, (l.place - 1)::int, l.product_id, -l.quantity_milli, o.kind, o.at_ms, NULL::bigint, NULL::bigint, NULL::uuid,
        NULL::uuid, NULL::uuid, NULL::text, NULL::text, NULL::bigint, o.central_seq
    FROM orders AS o
    CROSS JOIN LATERAL unnest(o.line_products, o.line_quantities_milli) WITH ORDINALITY AS l (product_id, quantity_milli, place)
    WHERE o.store_id = store AND array_append(o.line_products, o.store_id) @> ARRAY[product, store] AND l.product_id = product
    UNION ALL
    SELECT a.store_id, a.record_id, a.line, a.product_id, a.quantity_milli, a.reason, a.at_ms, a.unit_price_centi, a.amount_minor, a.device_id,
        a.shift_id, a.staff_id, a.note, a.reference, a.counted_milli, a.central_seq
    FROM stock_adjustments AS a WHERE a.store_id = store AND a.product_id = product
$$;

DO $$
DECLARE
    g record;
BEGIN
    FOR g IN SELECT * FROM granted LOOP
        EXECUTE format('GRANT SELECT ON %I TO %s', g.relname, g.reader);
    END LOOP;
END
$$;

-- Nothing is projected yet: there is nothing to build again.
UPDATE projector_cursor SET version = 5 WHERE central_seq = 0;
