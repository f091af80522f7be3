-- Documents that came ahead of the log, and which of their changes the log has not brought yet: hashes of 32 bytes, one after the other.
CREATE TABLE ahead (
    kind    INTEGER NOT NULL,
    id      BLOB NOT NULL,
    changes BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- A replica that has none asks for them: after which kind and id, 2 and 16 bytes.
INSERT INTO meta (key, value) SELECT 'documents_after', zeroblob(18) WHERE NOT EXISTS (SELECT 1 FROM document);
