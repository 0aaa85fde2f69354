-- The spool of one shard. One process owns the file and one thread of it writes; see docs/internals.md.
-- The order of the statements decides the root pages: a damaged first page is rebuilt from it. Never reorder.

-- Single values: key_ceiling (no message key at or above it was ever given out), event_seq (highest
-- event), event_log (random, tells the event log from any other), incidents (how often the file was reopened after a failed write).
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- A message that was accepted once. flags: 1 SMTPUTF8, 2 eight-bit. checksum: over every other column.
-- options: a JSON object, empty for a message that is sent as the relay does by default.
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

-- What goes on the wire; a row exists exactly as long as its message has an open delivery.
-- Either body is set, or file names a file in bodies/ of body_bytes octets. checksum: over head and body.
CREATE TABLE content (
    key        INTEGER PRIMARY KEY,
    checksum   INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    file       TEXT,
    head       BLOB NOT NULL,
    body       BLOB
);
CREATE INDEX content_files ON content (key) WHERE file IS NOT NULL;

-- One message for one recipient; key is message key << 16 | index.
-- state: 0 queued, 1 held, 2 quarantined (open); 3 delivered, 4 bounced, 5 suppressed, 6 deleted,
-- 7 rejected (final).
-- source: the address it left from last, empty before. wishes: NOTIFY and ORCPT of its RCPT command, empty without.
-- strand: where it waits in the index, by whose mail it is (relay.schedule.fair); bit 0: a retry, bit 1: bulk.
-- delay_told: 1 once a report of its delay was written. attempts_log: JSON objects, a comma before each.
-- checksum: over key, recipient and wishes.
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
CREATE INDEX delivery_due ON delivery (strand, next_ms, key) WHERE state = 0;
CREATE INDEX delivery_set_aside ON delivery (state) WHERE state IN (1, 2);

-- The event log, pruned below the lowest place of all who read it. seq is never used twice.
-- notes: a JSON object of what the relay knows beside the record and does not publish, empty for nothing.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    event_id   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload    BLOB NOT NULL,
    notes      BLOB NOT NULL
);

-- Accepted recipients an account and minute (minutes since 1970), of the last day.
CREATE TABLE usage (
    account    TEXT NOT NULL,
    minute     INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    PRIMARY KEY (account, minute)
) WITHOUT ROWID;

-- What arrived here for another shard and waits to be handed over.
CREATE TABLE inbox (
    item_id     TEXT PRIMARY KEY,
    shard       INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    payload     BLOB NOT NULL
);

-- Settlements that must happen once.
CREATE TABLE dedupe (
    dedupe_key TEXT PRIMARY KEY,
    settled_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX dedupe_by_age ON dedupe (settled_ms);

-- What scanners said of a message, once for all its deliveries; it moves to history with its message.
CREATE TABLE scan (
    key        INTEGER PRIMARY KEY,
    verdict    TEXT NOT NULL,
    scanner    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    spam_score REAL,
    scanned_ms INTEGER NOT NULL
);

-- Holds that end by themselves or were made by a standing rule; a row without its delivery being held means nothing.
-- until_ms: 0 without an end, -1 let go by an operator, so that the rule leaves the delivery alone. rule: 0 for none.
CREATE TABLE hold (
    key      INTEGER PRIMARY KEY,
    until_ms INTEGER NOT NULL,
    rule     INTEGER NOT NULL
);
CREATE INDEX hold_by_end ON hold (until_ms) WHERE until_ms > 0;

-- What was said in an attempt, compressed JSON (relay/model/dialogue.py); moves to history with its message.
CREATE TABLE dialogue (
    key     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    record  BLOB NOT NULL
);
CREATE UNIQUE INDEX dialogue_by_key ON dialogue (key, attempt);
