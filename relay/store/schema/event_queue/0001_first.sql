-- Where what waits is to go: `stream:NAME`, `bus:ARN`, `subscription:ARN` ... The counts are those of its posts.
CREATE TABLE target (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL UNIQUE,
    waiting INTEGER NOT NULL DEFAULT 0,
    bytes   INTEGER NOT NULL DEFAULT 0,
    dead    INTEGER NOT NULL DEFAULT 0
);

-- What is to be delivered, once for all its targets; `open` counts its posts and dead letters. Ids are never used twice.
CREATE TABLE item (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    open       INTEGER NOT NULL,
    key        TEXT NOT NULL,
    kind       TEXT NOT NULL,
    account    TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    subject    TEXT NOT NULL,
    attributes TEXT NOT NULL,
    body       BLOB NOT NULL
);

-- An item on its way to one target; `tried` is 1 once an attempt failed, so that what was never tried can wait apart.
CREATE TABLE post (
    target   INTEGER NOT NULL,
    item     INTEGER NOT NULL,
    tried    INTEGER NOT NULL DEFAULT 0,
    due_ms   INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    bytes    INTEGER NOT NULL,
    error    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (target, item)
) WITHOUT ROWID;
CREATE INDEX post_due ON post (target, tried, due_ms, item);

-- An item that a target did not take, until an operator replays or deletes it.
CREATE TABLE dead (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    target   INTEGER NOT NULL,
    item     INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    died_ms  INTEGER NOT NULL,
    error    TEXT NOT NULL
);
CREATE INDEX dead_target ON dead (target, id);
CREATE INDEX dead_item ON dead (item);

-- What was put here under a name of its author's, so that it is put once however often the author asks.
CREATE TABLE published (
    key   TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- Up to where each shard's event log was routed; moved in the transaction that keeps what was routed.
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) WITHOUT ROWID;
