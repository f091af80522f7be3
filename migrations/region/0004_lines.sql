-- Two histories of one origin: a till was put back from a backup, or copied, and wrote on. Both are kept as they were signed. The one that came
-- first is the origin's own row; the other goes on after `after_commit` of it, under a row of its own whose `incarnation` is the
-- beginning of the hash of its first entry.
CREATE TABLE line (
    origin       INTEGER PRIMARY KEY REFERENCES origin,
    parent       INTEGER NOT NULL REFERENCES origin,
    after_commit INTEGER NOT NULL
);
