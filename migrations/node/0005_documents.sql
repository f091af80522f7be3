-- A document is named by its kind and its id: whoever writes one of another kind under the same id is in nobody's way.
CREATE TABLE document_of_kind (
    kind  INTEGER NOT NULL,
    id    BLOB NOT NULL,
    saved BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
INSERT INTO document_of_kind (kind, id, saved) SELECT kind, id, saved FROM document;
DROP TABLE document;
ALTER TABLE document_of_kind RENAME TO document;

-- An actor follows from its seed now, and a change that was refused for its kind may be the first of a document of its own: everything is projected again.
INSERT OR REPLACE INTO meta (key, value) VALUES ('project_again', 1);
