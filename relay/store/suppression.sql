-- Statements on suppression.db. `folded` is the address as it is compared: without case (SUPP-018).

-- name: migration_1
-- The first form of the lists.
CREATE TABLE suppression (
    account TEXT NOT NULL,
    folded TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (account, folded)
) STRICT, WITHOUT ROWID;
CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL) STRICT;

-- name: note_change
-- Say that an account's list changed.
INSERT INTO change (account) VALUES (:account);

-- name: prune_changes
-- Forget old changes; a reader that is further behind drops everything it has.
DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - :keep;

-- name: changes_since
-- The changes a reader has not seen, with the newest it has.
SELECT seq, account FROM change WHERE seq >= :seq ORDER BY seq;

-- name: last_change
-- The newest change.
SELECT coalesce(max(seq), 0) FROM change;

-- name: put
-- Add an address, or change its reason.
INSERT INTO suppression (account, folded, address, reason, updated_ms)
VALUES (:account, :folded, :address, :reason, :updated_ms)
ON CONFLICT DO UPDATE SET address = excluded.address, reason = excluded.reason, updated_ms = excluded.updated_ms;

-- name: remove
-- Remove an address.
DELETE FROM suppression WHERE account = :account AND folded = :folded;

-- name: get
-- One entry.
SELECT account, address, reason, updated_ms FROM suppression WHERE account = :account AND folded = :folded;

-- name: list
-- One page of an account's list.
SELECT account, address, reason, updated_ms, folded FROM suppression
WHERE account = :account AND folded > :after ORDER BY folded LIMIT :limit;

-- name: any
-- Whether an account's list has entries.
SELECT EXISTS (SELECT 1 FROM suppression WHERE account = :account);

-- name: count
-- How many entries an account's list has.
SELECT count(*) FROM suppression WHERE account = :account;
