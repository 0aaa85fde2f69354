-- How many events of a kind there were: for an account as a whole (configuration set and destination are ""), and for
-- each combination of dimensions of a metrics destination; `dimensions` is a JSON list of name and value.
CREATE TABLE series (
    account           TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    destination       TEXT NOT NULL,
    kind              TEXT NOT NULL,
    dimensions        TEXT NOT NULL,
    count             INTEGER NOT NULL,
    PRIMARY KEY (account, configuration_set, destination, kind, dimensions)
) WITHOUT ROWID;

-- How many counts a destination left out because it had as many series as it may.
CREATE TABLE dropped (
    account           TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    destination       TEXT NOT NULL,
    count             INTEGER NOT NULL,
    PRIMARY KEY (account, configuration_set, destination)
) WITHOUT ROWID;

-- Up to where each shard's event log was counted; moved in the transaction that counts.
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) WITHOUT ROWID;
