-- How far each destination has published each shard's event log.
CREATE TABLE cursor (
    shard       INTEGER NOT NULL,
    destination TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (shard, destination)
) WITHOUT ROWID;
