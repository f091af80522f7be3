-- New devices are sent the documents themselves first, kind by kind.
CREATE INDEX document_by_kind ON document (kind);
