-- What the closing of a shift covers: the last entry of the shift in each history that had some, as in the record. What is in no history up to one of
-- them came late. None while the shift is open, and of a till of an earlier program.
ALTER TABLE shifts ADD COLUMN cut bytea;

-- Nothing is projected yet: there is nothing to build again.
UPDATE projector_cursor SET version = 5 WHERE central_seq = 0;
