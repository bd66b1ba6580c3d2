-- A row of the outbox is what one change brought. Rows that wait together say so in their bodies, and are
-- one item. Rows of a document are in order by their positions.
CREATE TABLE waiting (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    last INTEGER NOT NULL,
    position INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (document, replica, last)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting SELECT document, replica, last, position, body FROM outbox;
DROP TABLE outbox;
ALTER TABLE waiting RENAME TO outbox;
