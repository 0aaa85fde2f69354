-- What SNDS said about the relay's own addresses.

-- The figures of one address and period, as `relay.reputation.snds.Figures`; times are the feed's own, without a zone.
CREATE TABLE figures (
    address            TEXT NOT NULL,
    begin              TEXT NOT NULL,
    end                TEXT NOT NULL,
    rcpt_commands      INTEGER NOT NULL,
    data_commands      INTEGER NOT NULL,
    message_recipients INTEGER NOT NULL,
    spam_rate          REAL NOT NULL,
    complaint_rate     REAL,
    trap_hits          INTEGER,
    came_ms            INTEGER NOT NULL,
    PRIMARY KEY (address, begin)
) WITHOUT ROWID;

-- How the last try to read the feed went, one row; failure is '' where it was read.
CREATE TABLE reading (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    tried_ms   INTEGER NOT NULL,
    read_ms    INTEGER NOT NULL,
    failure    TEXT NOT NULL,
    bad_lines  INTEGER NOT NULL
);
