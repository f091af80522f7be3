-- The signature of a commit, on its last entry where it came with one: a region that lost its log takes it back from here, and its devices check it.
ALTER TABLE entries ADD COLUMN seal bytea CHECK (octet_length(seal) = 64);
ALTER TABLE forked_entries ADD COLUMN seal bytea CHECK (octet_length(seal) = 64);

-- The hash of the row at a region's position: a region's log that has something else there was put back from a backup.
ALTER TABLE feed_cursor ADD COLUMN last_hash bytea CHECK (octet_length(last_hash) = 32);
