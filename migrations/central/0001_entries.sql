-- What the regions deliver: the entries themselves, and how far each region has come.
-- Everything else in this database is a fold of `entries` and can be built again from it.

-- One number for every entry of every region, in the order in which they became visible.
CREATE SEQUENCE central_seq;

CREATE TABLE entries (
    -- The chain: who wrote it (device and incarnation), in which scope, in which place. An entry lands here once, whichever
    -- region brings it and however often.
    device       uuid   NOT NULL,
    incarnation  uuid   NOT NULL,
    scope        text   COLLATE "C" NOT NULL,
    seq          bigint NOT NULL CHECK (seq > 0),
    -- Readers follow this number with a cursor. A bare sequence would let them skip a transaction that took its numbers early
    -- and committed late. Writers therefore take one advisory lock before they draw a number and hold it until they have
    -- committed, so numbers become visible in ascending order. Gaps remain where a writer rolled back; nothing ever fills them.
    central_seq  bigint NOT NULL UNIQUE,
    -- The commit of the origin that it is part of.
    commit_no    bigint NOT NULL CHECK (commit_no > 0),
    -- The chain hash. It binds origin, scope, place and everything before it.
    hash         bytea  NOT NULL CHECK (octet_length(hash) = 32),
    -- The canonical bytes, exactly as they were signed.
    bytes        bytea  NOT NULL,
    -- The writer's own clock, in Unix milliseconds.
    at_ms        bigint NOT NULL,
    -- The region that brought it first, and its number there.
    region       uuid   NOT NULL,
    region_seq   bigint NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device, incarnation, scope, seq)
);

-- The other branch of a fork: an entry whose place in the chain was already taken by one with another hash. Both happened, so
-- both are kept exactly as signed, both are projected, and a manager is told.
CREATE TABLE forked_entries (
    device       uuid   NOT NULL,
    incarnation  uuid   NOT NULL,
    scope        text   COLLATE "C" NOT NULL,
    seq          bigint NOT NULL CHECK (seq > 0),
    -- Drawn from the same sequence as in `entries`, so that one cursor reads both.
    central_seq  bigint NOT NULL UNIQUE,
    commit_no    bigint NOT NULL CHECK (commit_no > 0),
    hash         bytea  NOT NULL CHECK (octet_length(hash) = 32),
    bytes        bytea  NOT NULL,
    at_ms        bigint NOT NULL,
    region       uuid   NOT NULL,
    region_seq   bigint NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device, incarnation, scope, seq, hash)
);

-- Both at once, for the projector. It never changes what it reads.
CREATE VIEW all_entries AS
    SELECT central_seq, device, incarnation, scope, seq, commit_no, bytes, false AS forked FROM entries
    UNION ALL
    SELECT central_seq, device, incarnation, scope, seq, commit_no, bytes, true AS forked FROM forked_entries;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the table % only grows: a record is corrected by another record', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER entries_only_grow BEFORE UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_are_not_emptied BEFORE TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER forked_entries_only_grow BEFORE UPDATE OR DELETE ON forked_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER forked_entries_are_not_emptied BEFORE TRUNCATE ON forked_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE feed_cursor (
    region      uuid   PRIMARY KEY,
    -- Everything up to here is in `entries`: the two change in one transaction. A region trusts this number and not its memory,
    -- so a database restored from a backup is filled up again from where the backup stands.
    region_seq  bigint NOT NULL CHECK (region_seq >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE device_contact (
    device_id     uuid   NOT NULL,
    incarnation   uuid   NOT NULL,
    -- The last commit that the device is known to have made, whether or not it has arrived here.
    known_commit  bigint NOT NULL,
    -- When a server last heard the device, by the server's clock; none when only its entries came, through others.
    seen_at_ms    bigint,
    -- Not a fold of entries: a rebuild of the read model leaves it alone.
    PRIMARY KEY (device_id, incarnation)
);
