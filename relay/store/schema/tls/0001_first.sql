-- MTA-STS policies of recipient domains, and what is counted for reports on TLS.
CREATE TABLE policy (
    domain     TEXT PRIMARY KEY,
    record_id  TEXT NOT NULL,
    mode       TEXT NOT NULL,
    mx         TEXT NOT NULL,      -- JSON array
    max_age    INTEGER NOT NULL,   -- seconds
    fetched_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER NOT NULL,
    looked_ms  INTEGER NOT NULL,   -- when it was last compared with the domain's record
    failure    TEXT NOT NULL       -- why the last fetch gave no policy, '' when it did
) WITHOUT ROWID;
CREATE INDEX policy_looked ON policy (looked_ms);

-- The last batch of counts of each process, so that a repeat adds nothing.
CREATE TABLE batch (
    process TEXT PRIMARY KEY,
    last    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE count (
    day      INTEGER NOT NULL,     -- days since 1970
    domain   TEXT NOT NULL,
    what     TEXT NOT NULL,        -- JSON: policy, strings, mx, result, source, host, address, reason
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain, what)
) WITHOUT ROWID;

CREATE TABLE report (
    day     INTEGER NOT NULL,
    domain  TEXT NOT NULL,
    rua     TEXT NOT NULL,
    tries   INTEGER NOT NULL,
    next_ms INTEGER NOT NULL,
    PRIMARY KEY (day, domain, rua)
) WITHOUT ROWID;
CREATE INDEX report_next ON report (next_ms);
