-- Parked orders and tables, which every till of the store may take up again.

-- Who announced an Automerge actor: a change counts only under one of its writer's.
CREATE TABLE actor (
    -- the origin's own row, whatever its line
    origin INTEGER NOT NULL REFERENCES origin (id),
    actor  BLOB NOT NULL,
    PRIMARY KEY (origin, actor)
) STRICT, WITHOUT ROWID;

-- Those that nobody has paid or given up, as their documents say; and what was added to one while it was paid elsewhere.
CREATE TABLE open_order (
    id          BLOB PRIMARY KEY,
    -- The paid order that it is the rest of, while it has no document of its own.
    rest_of     BLOB,
    label       TEXT NOT NULL,
    note        TEXT NOT NULL,
    -- what is left in it
    lines       INTEGER NOT NULL,
    total_minor INTEGER NOT NULL,
    opened_ms   INTEGER NOT NULL,
    opened_by   BLOB NOT NULL,
    changed_ms  INTEGER NOT NULL,
    changed_by  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX open_order_by_change ON open_order (changed_ms);

-- The document of a change that is looked at again when more of it arrives.
ALTER TABLE unread ADD COLUMN waits_for BLOB;
CREATE INDEX unread_waiting ON unread (waits_for) WHERE waits_for IS NOT NULL;
