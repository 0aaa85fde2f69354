-- How far each destination (`reader`) has published each event log (relay/store/places.py).
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) WITHOUT ROWID;
