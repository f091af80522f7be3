-- What the server needs to let managers edit the catalogue and bring it in files. All of it but `author` and the imports can be
-- computed again from the documents.

-- Names of those who wrote documents here, for the history: entries carry ids alone.
CREATE TABLE author (
    id   BLOB PRIMARY KEY,
    name TEXT NOT NULL
) WITHOUT ROWID;

-- Barcodes of products that are on sale: two of them do not share one.
CREATE TABLE barcode (
    code    TEXT NOT NULL,
    product BLOB NOT NULL,
    PRIMARY KEY (code, product)
) WITHOUT ROWID;
CREATE INDEX barcode_of_product ON barcode (product);
-- The program fills the table from the documents, and takes this row away in the same transaction.
INSERT INTO meta (key, value) VALUES ('fill_barcodes', x'01');

-- Files of products. The file itself lies in the folder `imports` beside this database until it is written.
CREATE TABLE import (
    id        BLOB PRIMARY KEY,
    name      TEXT NOT NULL,
    author    BLOB,              -- none when the server's own command line brought it
    author_name TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    -- reading, ready, refused, applying, applied, undoing, undone or failed
    state     TEXT NOT NULL,
    -- Rows done in this step; moved in the transaction that writes them, so a restart goes on exactly there.
    done      INTEGER NOT NULL DEFAULT 0,
    file_rows INTEGER NOT NULL DEFAULT 0,
    added     INTEGER NOT NULL DEFAULT 0,
    changed   INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    wrong     INTEGER NOT NULL DEFAULT 0,
    kept      INTEGER NOT NULL DEFAULT 0,
    -- What broke, in a sentence; empty when nothing did.
    failure   TEXT NOT NULL DEFAULT '',
    -- JSON: the first problems and changes.
    problems  TEXT NOT NULL DEFAULT '[]',
    changes   TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;

-- What an import wrote: with it, and with the history in the documents, it can be undone.
CREATE TABLE import_write (
    import      BLOB NOT NULL,
    place       INTEGER NOT NULL,
    product     BLOB NOT NULL,
    change_hash BLOB NOT NULL,
    added       INTEGER NOT NULL,
    PRIMARY KEY (import, place)
) WITHOUT ROWID;
