-- What undoing imports asks.

-- What an import still has to take back from a product.
CREATE INDEX import_write_of_product ON import_write (product, import);
