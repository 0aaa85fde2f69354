-- What was counted of events. One process writes the file; commands and the office read it.

-- How far each shard's log is counted; moved in the transaction that counts.
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) WITHOUT ROWID;

-- Counts by time. grain: 900, 3600 or 86400 seconds; start_ms: a multiple of it. dimension: what the series is about
-- within the account (account, set, identity, provider, pool), name: which one.
CREATE TABLE point (
    grain              INTEGER NOT NULL,
    start_ms           INTEGER NOT NULL,
    account            TEXT NOT NULL,
    dimension          TEXT NOT NULL,
    name               TEXT NOT NULL,
    sends              INTEGER NOT NULL DEFAULT 0,
    deliveries         INTEGER NOT NULL DEFAULT 0,
    delays             INTEGER NOT NULL DEFAULT 0,
    rejects            INTEGER NOT NULL DEFAULT 0,
    hard_bounces       INTEGER NOT NULL DEFAULT 0,
    soft_bounces       INTEGER NOT NULL DEFAULT 0,
    complaints         INTEGER NOT NULL DEFAULT 0,
    suppressed         INTEGER NOT NULL DEFAULT 0,
    opens              INTEGER NOT NULL DEFAULT 0,
    clicks             INTEGER NOT NULL DEFAULT 0,
    rendering_failures INTEGER NOT NULL DEFAULT 0,
    subscriptions      INTEGER NOT NULL DEFAULT 0,
    blocked            INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, dimension, name, grain, start_ms)
) WITHOUT ROWID;
CREATE INDEX point_by_time ON point (grain, start_ms);

-- Messages by the time they were accepted, and what became of them (relay.reputation.rates.Cell).
-- name: the configuration set, empty for the whole account.
CREATE TABLE cell (
    account      TEXT NOT NULL,
    name         TEXT NOT NULL,
    start_ms     INTEGER NOT NULL,
    sent         INTEGER NOT NULL,
    hard_bounces INTEGER NOT NULL,
    reporting    INTEGER NOT NULL,
    complaints   INTEGER NOT NULL,
    PRIMARY KEY (account, name, start_ms)
) WITHOUT ROWID;

-- Accounts (name empty) and configuration sets, and when their cells changed last.
CREATE TABLE subject (
    account    TEXT NOT NULL,
    name       TEXT NOT NULL,
    changed_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) WITHOUT ROWID;

-- Messages to spamtraps, by the second; which traps is not kept.
CREATE TABLE trap (
    account   TEXT NOT NULL,
    second_ms INTEGER NOT NULL,
    hits      INTEGER NOT NULL,
    PRIMARY KEY (account, second_ms)
) WITHOUT ROWID;
