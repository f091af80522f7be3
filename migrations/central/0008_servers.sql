-- The servers that feed this database, so that they meet: each writes its own certificate, and believes another's only where the authority of both
-- has signed it. What they then say to their tills is in the entries.
CREATE TABLE servers (
    device       uuid  PRIMARY KEY,
    -- DER.
    certificate  bytea NOT NULL CHECK (octet_length(certificate) <= 8192),
    -- What people call it, and where tills reach it.
    name         text  NOT NULL CHECK (octet_length(name) <= 400),
    address      text  NOT NULL CHECK (octet_length(address) <= 300),
    started_at   timestamptz NOT NULL DEFAULT now()
);
