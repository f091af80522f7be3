-- Changes of the server's own documents that came back before what they build on: they are taken in when that comes.
CREATE TABLE waiting (
    document   BLOB NOT NULL,
    region_seq INTEGER NOT NULL REFERENCES entry (region_seq),
    PRIMARY KEY (document, region_seq)
) STRICT, WITHOUT ROWID;
