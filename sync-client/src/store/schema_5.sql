-- What a session decides by of an outbox row stands beside its body, and before it, so that opening reads no
-- bodies: a head, sealed, with the key of its row. Rows of clients before this have an empty one.
CREATE TABLE unsent (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    last INTEGER NOT NULL,
    position INTEGER NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (document, replica, last)
) STRICT, WITHOUT ROWID;
INSERT INTO unsent SELECT document, replica, last, position, x'', body FROM outbox;
DROP TABLE outbox;
ALTER TABLE unsent RENAME TO outbox;
