-- What providers asked for and how far it still holds. Kinds are those of relay.schedule.effects; a slowed lane keeps
-- its row until its factor is whole again.
CREATE TABLE standing (
    kind              TEXT NOT NULL,
    destination       TEXT NOT NULL,
    source            TEXT NOT NULL,
    account           TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    until_ms          INTEGER NOT NULL,
    factor            REAL NOT NULL,
    rule              TEXT NOT NULL,
    reply             TEXT NOT NULL,
    PRIMARY KEY (kind, destination, source, account, configuration_set)
) WITHOUT ROWID;
