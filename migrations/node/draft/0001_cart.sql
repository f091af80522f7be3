-- The cart being built, line by line, so that a crash gives it back. It is not a record of anything and may be lost.

CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    json TEXT NOT NULL
) STRICT;

CREATE TABLE line (
    position INTEGER PRIMARY KEY,
    json     TEXT NOT NULL
) STRICT;
