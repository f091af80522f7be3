-- What undoing imports asks.

-- What an import still has to take back from a product.
CREATE INDEX import_write_of_product ON import_write (product, import);

-- Products that an import had put on sale and its undo took off sale, with the change that did. As long as that is what their documents
-- say, nobody has decided since that they are not sold, and a file that has them puts them on sale again: `added` of such a write is 2,
-- where it is 1 for a product that is new and 0 for one that was there.
CREATE TABLE taken_back (
    product     BLOB PRIMARY KEY,
    change_hash BLOB NOT NULL
) WITHOUT ROWID;

-- The step that broke, reading, applying or undoing: an undo goes on where it broke. Empty when none did.
ALTER TABLE import ADD COLUMN broke_in TEXT NOT NULL DEFAULT '';
