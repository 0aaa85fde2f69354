-- Finished messages of one shard, accepted on one day. Columns as in the spool.
CREATE TABLE message (
    key         INTEGER PRIMARY KEY,
    message_id  TEXT NOT NULL,
    account     TEXT NOT NULL,
    sender      TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    flags       INTEGER NOT NULL,
    checksum    INTEGER NOT NULL,
    options     TEXT NOT NULL,
    mail_json   BLOB NOT NULL
);
CREATE UNIQUE INDEX message_by_id ON message (message_id);

CREATE TABLE delivery (
    key          INTEGER PRIMARY KEY,
    state        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    next_ms      INTEGER NOT NULL,
    crashes      INTEGER NOT NULL,
    checksum     INTEGER NOT NULL,
    strand         INTEGER NOT NULL,
    recipient    TEXT NOT NULL,
    last_reply   TEXT NOT NULL,
    source       TEXT NOT NULL,
    wishes       TEXT NOT NULL,
    delay_told   INTEGER NOT NULL,
    attempts_log TEXT NOT NULL
);

CREATE TABLE scan (
    key        INTEGER PRIMARY KEY,
    verdict    TEXT NOT NULL,
    scanner    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    spam_score REAL,
    scanned_ms INTEGER NOT NULL
);

CREATE TABLE dialogue (
    key     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    record  BLOB NOT NULL
);
CREATE UNIQUE INDEX dialogue_by_key ON dialogue (key, attempt);

-- What messages are searched by (relay/store/postings.py): keys filed under terms, unsorted, then in segments.
CREATE TABLE fresh (
    term INTEGER NOT NULL,
    key  INTEGER NOT NULL
);

CREATE TABLE segment (
    id    INTEGER PRIMARY KEY,
    least INTEGER NOT NULL,
    most  INTEGER NOT NULL
);

CREATE TABLE posting (
    segment INTEGER NOT NULL,
    term    INTEGER NOT NULL,
    key     INTEGER NOT NULL,
    PRIMARY KEY (segment, term, key)
) WITHOUT ROWID;
