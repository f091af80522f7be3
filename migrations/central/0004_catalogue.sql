-- The catalogue as managers edit it: categories, tax classes and pictures; how stores sell; who edits.

ALTER TABLE products
    -- empty for none
    ADD COLUMN category   text NOT NULL DEFAULT '',
    -- none when it has a rate of its own, tax_rate_bp
    ADD COLUMN tax_class  uuid,
    -- the bytes are in its document
    ADD COLUMN picture    uuid,
    -- The words of its name, codes and barcodes, in lower case and without accents, as the projector cuts them: searched by their
    -- beginning.
    ADD COLUMN search     tsvector NOT NULL DEFAULT '';

-- As well as SQL can; the next edit of a product, or a rebuild, says it as the projector does.
UPDATE products SET search = array_to_tsvector(ARRAY(
    SELECT DISTINCT left(word, 500)
    FROM regexp_split_to_table(lower(name || ' ' || code || ' ' || array_to_string(barcodes, ' ')), '[^[:alnum:]]+') AS word
    WHERE word <> ''));

CREATE INDEX products_search ON products USING gin (search);
CREATE INDEX products_by_name ON products (name, product_id);
CREATE INDEX products_by_category ON products (category, name, product_id);
CREATE INDEX products_by_tax_class ON products (tax_class) WHERE tax_class IS NOT NULL;

CREATE TABLE tax_classes (
    tax_class_id  uuid PRIMARY KEY,
    name          text NOT NULL,
    rate_bp       bigint NOT NULL,
    active        boolean NOT NULL
);

ALTER TABLE stores
    ADD COLUMN receipt_header  text[] NOT NULL DEFAULT '{}',
    -- the first one first
    ADD COLUMN languages       text[] NOT NULL DEFAULT '{en}',
    -- a name of the IANA time zone database
    ADD COLUMN time_zone       text NOT NULL DEFAULT 'UTC';

-- What entries name a manager by.
ALTER TABLE manager_accounts ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX manager_accounts_by_id ON manager_accounts (id);
