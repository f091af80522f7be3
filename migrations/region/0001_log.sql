-- The regional server's log and what it needs beside it.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Who wrote: a device in one incarnation.
CREATE TABLE origin (
    id          INTEGER PRIMARY KEY,
    device      BLOB NOT NULL CHECK (length(device) = 16),
    incarnation BLOB NOT NULL CHECK (length(incarnation) = 16),
    UNIQUE (device, incarnation)
);

CREATE TABLE scope (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Every accepted entry, in the order of acceptance. The entries of one commit follow one another.
CREATE TABLE entry (
    region_seq INTEGER PRIMARY KEY,
    origin     INTEGER NOT NULL REFERENCES origin,
    scope      INTEGER NOT NULL REFERENCES scope,
    seq        INTEGER NOT NULL,
    commit_no  INTEGER NOT NULL,
    hash       BLOB NOT NULL,
    bytes      BLOB NOT NULL,
    seal       BLOB            -- the signature, on the last entry of a commit that came with one
);
CREATE UNIQUE INDEX entry_place ON entry (origin, scope, seq);
CREATE INDEX entry_commit ON entry (origin, commit_no);

-- Documents as this server knows them: what it edits next builds on these.
CREATE TABLE document (
    id    BLOB PRIMARY KEY,
    kind  INTEGER NOT NULL,
    scope TEXT NOT NULL,
    saved BLOB NOT NULL
) WITHOUT ROWID;

-- Codes that people know documents by: a product's or a store's code, a staff member's store and name.
CREATE TABLE document_code (
    kind INTEGER NOT NULL,
    code TEXT NOT NULL,
    id   BLOB NOT NULL,
    PRIMARY KEY (kind, code)
) WITHOUT ROWID;

-- Devices that were admitted; a projection of the DeviceEnrolled records.
CREATE TABLE device (
    device     BLOB PRIMARY KEY,
    store      BLOB,
    kind       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    number     INTEGER NOT NULL,
    public_key BLOB NOT NULL
) WITHOUT ROWID;

-- One-time enrolment codes: pending until used, too often mistaken, or too old.
CREATE TABLE enrolment_code (
    code_hash     BLOB PRIMARY KEY,  -- SHA-256: the code itself is shown once and not kept
    store         BLOB NOT NULL,
    name          TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
