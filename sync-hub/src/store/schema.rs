//! The tables. Numbers of 64 bits without a sign are stored with one; random ones keep their bits.

use sync_sqlite::Schema;

/// "SHub".
pub(crate) const APPLICATION_ID: u32 = 0x5348_7562;

pub(super) const SCHEMA: Schema<'static> =
    Schema { application_id: APPLICATION_ID, version: 2, migrations: &[FIRST, SECOND] };

const FIRST: &str = "
-- One row: the name of this data directory and the number of the last change.
CREATE TABLE hub (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    hub INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;

-- Each start, in order, with the number of the last change before it.
CREATE TABLE boots (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    boot INTEGER NOT NULL UNIQUE,
    first_seq INTEGER NOT NULL
) STRICT;

-- Removals up to the horizon were forgotten.
CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    horizon INTEGER NOT NULL DEFAULT 0,
    removal_weight INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What was seen of each replica; the ranges are sealed.
CREATE TABLE contexts (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    ranges BLOB NOT NULL,
    PRIMARY KEY (document, replica)
) STRICT, WITHOUT ROWID;

-- The runs with live dots; the body is sealed and says again what the other columns say.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    live INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (document, replica, first)
) STRICT;
CREATE INDEX arrivals ON entries (document, seq, replica, first);

-- Which of the entries mark openings of replicas; a row whose entry is gone says nothing.
CREATE TABLE marks (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    first INTEGER NOT NULL,
    PRIMARY KEY (document, replica, first)
) STRICT, WITHOUT ROWID;

-- What the live dots of a block of counters sum up to; it follows from the entries.
CREATE TABLE sums (
    document INTEGER NOT NULL REFERENCES documents (id),
    replica BLOB NOT NULL,
    block INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    wide BLOB NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (document, replica, block)
) STRICT, WITHOUT ROWID;

-- What died or arrived dead at each number, and what is said of it; the body is sealed.
CREATE TABLE removals (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id),
    seq INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (document, seq)
) STRICT;
";

const SECOND: &str = "
-- About how many bytes the entries of a document cost, which it would take long to add up.
ALTER TABLE documents ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE documents SET bytes =
    (SELECT coalesce(sum(length(body) + 2 * min(max(last - first, 0), 63)), 0)
     FROM entries WHERE document = documents.id);
";
