-- Events that were archived on one day; see relay/store/event_archive.py.

-- The number of the last event of each shard that is in this file or in an older one.
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) WITHOUT ROWID;

-- Some events in the order in which they came, compressed together. least_ms and most_ms: when the first and the last
-- of them happened. closed: 1 where nothing may be appended, because something was erased. Key of an event: id << 7 | its index in the block.
CREATE TABLE block (
    id       INTEGER PRIMARY KEY,
    events   INTEGER NOT NULL,
    least_ms INTEGER NOT NULL,
    most_ms  INTEGER NOT NULL,
    closed   INTEGER NOT NULL DEFAULT 0,
    data     BLOB NOT NULL
);
CREATE INDEX block_by_time ON block (id, events, least_ms, most_ms);

-- What events are searched by (relay/store/postings.py): keys filed under terms, unsorted, then in segments.
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
