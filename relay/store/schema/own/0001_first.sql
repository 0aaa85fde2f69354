-- What the office found about the relay's own addresses, names and records.

-- The last result of each check; since_ms is when it became so. A check without an answer keeps its last result,
-- and no_answer says why.
CREATE TABLE own_check (
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    grade      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    next_step  TEXT NOT NULL,
    since_ms   INTEGER NOT NULL,
    checked_ms INTEGER NOT NULL,
    no_answer  TEXT NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- Stays of our addresses on block lists; ended_ms is 0 while one lasts.
CREATE TABLE listing (
    id        INTEGER PRIMARY KEY,
    address   TEXT NOT NULL,
    list_name TEXT NOT NULL,
    began_ms  INTEGER NOT NULL,
    ended_ms  INTEGER NOT NULL,
    detail    TEXT NOT NULL
);
CREATE UNIQUE INDEX listing_lasting ON listing (address, list_name) WHERE ended_ms = 0;
CREATE INDEX listing_by_end ON listing (ended_ms);
