-- Each body is sealed and repeats the key of its row.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    body BLOB NOT NULL
) STRICT;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE contexts (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (document, replica)
) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    space BLOB NOT NULL,
    place BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (document, replica, first)
) STRICT;
CREATE INDEX places ON entries (document, space, place);
-- Where something clashes, as a document over these tables found it.
CREATE TABLE open_places (
    document INTEGER NOT NULL REFERENCES documents (id),
    space BLOB NOT NULL,
    place BLOB NOT NULL,
    PRIMARY KEY (document, space, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    last INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (document, replica, last)
) STRICT;
CREATE TABLE conflicts (
    document INTEGER NOT NULL REFERENCES documents (id),
    key TEXT NOT NULL,
    seen_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (document, key)
) STRICT;
