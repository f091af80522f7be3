-- The catalogue and the store as managers edit them. A picture has no row: it is read from its document.

-- Empty for none.
ALTER TABLE product ADD COLUMN category TEXT NOT NULL DEFAULT '';
-- None when it has a rate of its own, tax_rate_bp, which it is also sold at while the class is not known here.
ALTER TABLE product ADD COLUMN tax_class BLOB;
ALTER TABLE product ADD COLUMN picture BLOB;

CREATE TABLE tax_class (
    id      BLOB PRIMARY KEY,
    name    TEXT NOT NULL,
    rate_bp INTEGER NOT NULL,
    active  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- JSON arrays: lines, and languages.
ALTER TABLE store ADD COLUMN receipt_header TEXT NOT NULL DEFAULT '[]';
ALTER TABLE store ADD COLUMN languages TEXT NOT NULL DEFAULT '["en"]';
ALTER TABLE store ADD COLUMN time_zone TEXT NOT NULL DEFAULT 'UTC';

-- The program before this one left out kinds and fields that came with this schema: everything is projected again.
INSERT INTO meta (key, value) VALUES ('project_again', 1);
