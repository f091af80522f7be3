-- What happens in one store, without what else the log holds: a device that catches up with much else gets it first.

CREATE INDEX entry_scope ON entry (scope, region_seq);
