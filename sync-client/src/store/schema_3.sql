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
-- What is kept of the past where somebody asked for it: each body is sealed and repeats the keys of its
-- row. Rows are numbered once for ever.
CREATE TABLE checkpoints (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    unix_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    snapshot BLOB NOT NULL
) STRICT;
CREATE INDEX checkpoints_of ON checkpoints (document);
CREATE TABLE tape (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    unix_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX tape_of ON tape (document);
CREATE TABLE undo (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    unix_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX undo_of ON undo (document);
CREATE TABLE feed (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id),
    unix_ms INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX feed_of ON feed (document);
-- Up to which row the feed of a document is gone: one row for each document that has a feed.
CREATE TABLE feeds (
    document INTEGER PRIMARY KEY REFERENCES documents (id),
    body BLOB NOT NULL
) STRICT;
