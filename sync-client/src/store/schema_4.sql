-- From this version on the body of an outbox row has its position too.
-- What is known of other devices: each body is sealed and repeats the fingerprint. A hub tells it anew.
CREATE TABLE devices (
    number INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id),
    fingerprint BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (document, fingerprint)
) STRICT;
