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

-- What left on a day (days since 1970, UTC) from an address that warms up, to a group of providers; `used` is at least
-- what left. The others are answers of receivers.
CREATE TABLE volume (
    day      INTEGER NOT NULL,
    address  TEXT NOT NULL,
    grp      TEXT NOT NULL,
    used     INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    bounces  INTEGER NOT NULL DEFAULT 0,
    blocks   INTEGER NOT NULL DEFAULT 0,
    complaints INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, address, grp)
) WITHOUT ROWID;

-- Days taken off the warm-up schedule of an address because of the answers of receivers, and when and why.
CREATE TABLE warmup_hold (
    address    TEXT PRIMARY KEY,
    days       INTEGER NOT NULL,
    judged_day INTEGER NOT NULL,
    why        TEXT NOT NULL
) WITHOUT ROWID;

-- How far an address of a managed pool is with a group of providers: a day of the schedule, for which day (since 1970,
-- UTC), and when the warm-up began that it belongs to.
CREATE TABLE warmup_level (
    address    TEXT NOT NULL,
    grp        TEXT NOT NULL,
    level      INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    PRIMARY KEY (address, grp)
) WITHOUT ROWID;
