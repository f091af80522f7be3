-- Other servers on the same central database.

-- Stores whose entries this region keeps: it admitted a device of theirs, or one has greeted here.
CREATE TABLE served_store (
    store BLOB PRIMARY KEY CHECK (length(store) = 16)
) STRICT, WITHOUT ROWID;
INSERT INTO served_store (store) SELECT DISTINCT store FROM device WHERE store IS NOT NULL;

-- Writers whom no server that is known here has named yet, and where the first entry lies in the central database that was passed over
-- for it: from there on it is read again once somebody names them.
CREATE TABLE passed_over (
    device      BLOB PRIMARY KEY CHECK (length(device) = 16),
    central_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Two servers that do not see each other may give one code to two documents: each keeps its row, and the older one, whose id is the
-- smaller, is found first.
CREATE TABLE document_by_code (
    kind INTEGER NOT NULL,
    code TEXT NOT NULL,
    id   BLOB NOT NULL,
    PRIMARY KEY (kind, code, id)
) WITHOUT ROWID;
INSERT INTO document_by_code (kind, code, id) SELECT kind, code, id FROM document_code;
DROP TABLE document_code;
ALTER TABLE document_by_code RENAME TO document_code;
