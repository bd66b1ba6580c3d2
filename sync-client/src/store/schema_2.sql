-- Whether `open_places` has all that stands open: a client before this did not note it.
ALTER TABLE documents ADD COLUMN is_settled INTEGER NOT NULL DEFAULT 0;
