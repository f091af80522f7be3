-- Two histories of one origin: a till was put back from a backup, or copied, and wrote on. Both are kept as they were signed. The one that came
-- first is the origin's own row; the other goes on after `after_commit` of another under a row of its own, whose `incarnation` is the
-- beginning of the hash of its first entry. `root` is the origin's own row.
CREATE TABLE line (
    origin       INTEGER PRIMARY KEY REFERENCES origin (id),
    root         INTEGER NOT NULL REFERENCES origin (id),
    parent       INTEGER NOT NULL REFERENCES origin (id),
    after_commit INTEGER NOT NULL
) STRICT;
