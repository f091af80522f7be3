-- What a closing covers, and what each history has of a shift: what came late is what no history has up to the closing's cut.

ALTER TABLE shift ADD COLUMN cut BLOB;

DROP TABLE shift_sum;
CREATE TABLE shift_part (
    shift         BLOB NOT NULL,
    -- The history.
    origin        INTEGER NOT NULL,
    sales         INTEGER NOT NULL,
    refunds       INTEGER NOT NULL,
    sales_minor   INTEGER NOT NULL,
    refunds_minor INTEGER NOT NULL,
    cash_minor    INTEGER NOT NULL,
    -- Its first and its last entry of the shift.
    first_entry   INTEGER NOT NULL,
    last_entry    INTEGER NOT NULL,
    PRIMARY KEY (shift, origin)
) STRICT, WITHOUT ROWID;

-- The program before this one summed shifts up without their histories: everything is projected again.
INSERT OR REPLACE INTO meta (key, value) VALUES ('project_again', 1);
