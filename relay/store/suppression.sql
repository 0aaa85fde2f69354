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

-- name: migration_2
-- What feedback added says which feedback that was; `address` is '' where it is the same as `folded`. The list of the
-- whole relay knows digests only. `place` is how far each shard's events have been applied, in the same file.
ALTER TABLE suppression ADD COLUMN message_id TEXT NOT NULL DEFAULT '';
ALTER TABLE suppression ADD COLUMN feedback_id TEXT NOT NULL DEFAULT '';
CREATE TABLE trigger_event (
    account TEXT NOT NULL,
    folded TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (account, folded)
) STRICT, WITHOUT ROWID;
CREATE TABLE relay_list (
    digest BLOB PRIMARY KEY,
    step INTEGER NOT NULL,
    bounced_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX relay_list_by_end ON relay_list (until_ms);
CREATE TABLE place (
    reader TEXT NOT NULL,
    shard  INTEGER NOT NULL,
    log    INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, shard, log)
) STRICT, WITHOUT ROWID;
CREATE TABLE import_job (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    destination TEXT NOT NULL,
    action TEXT NOT NULL,
    form TEXT NOT NULL,
    source TEXT NOT NULL,
    rows_max INTEGER NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    completed_ms INTEGER NOT NULL DEFAULT 0,
    processed INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    sorted INTEGER NOT NULL DEFAULT 0,
    good INTEGER NOT NULL DEFAULT 0,
    place TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX import_job_by_account ON import_job (account, created_ms, id);
CREATE INDEX import_job_open ON import_job (created_ms) WHERE state IN ('CREATED', 'PROCESSING');

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
-- Add an address by hand, or change its reason: no feedback stands behind it any more.
INSERT INTO suppression (account, folded, address, reason, updated_ms)
VALUES (:account, :folded, iif(:address = :folded, '', :address), :reason, :updated_ms)
ON CONFLICT DO UPDATE SET address = excluded.address, reason = excluded.reason, updated_ms = excluded.updated_ms,
    message_id = '', feedback_id = '';

-- name: put_import
-- Add an address of a file, or change its reason; one that is there with it stays as it is.
INSERT INTO suppression (account, folded, address, reason, updated_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET address = excluded.address, reason = excluded.reason, updated_ms = excluded.updated_ms,
    message_id = '', feedback_id = ''
WHERE reason <> excluded.reason;

-- name: put_feedback
-- Add an address that feedback was about. A complaint stays one when a bounce of earlier mail follows.
INSERT INTO suppression (account, folded, address, reason, updated_ms, message_id, feedback_id)
VALUES (:account, :folded, iif(:address = :folded, '', :address), :reason, :updated_ms, :message_id, :feedback_id)
ON CONFLICT DO UPDATE SET address = excluded.address, reason = excluded.reason, updated_ms = excluded.updated_ms,
    message_id = excluded.message_id, feedback_id = excluded.feedback_id
WHERE reason <> 'COMPLAINT' OR excluded.reason = 'COMPLAINT';

-- name: remove
-- Remove an address.
DELETE FROM suppression WHERE account = :account AND folded = :folded;

-- name: remove_import
-- Remove an address of a file.
DELETE FROM suppression WHERE account = ? AND folded = ?;

-- name: put_trigger
-- Keep the feedback that added an address.
INSERT INTO trigger_event (account, folded, record) VALUES (:account, :folded, :record)
ON CONFLICT DO UPDATE SET record = excluded.record;

-- name: get_trigger
-- The feedback that added an address.
SELECT record FROM trigger_event WHERE account = :account AND folded = :folded;

-- name: remove_trigger
-- Forget the feedback that added an address.
DELETE FROM trigger_event WHERE account = :account AND folded = :folded;

-- name: drop_triggers
-- Forget feedback in a part of a list whose entry is gone or was not added by it.
DELETE FROM trigger_event WHERE account = :account AND folded BETWEEN :first AND :last AND NOT EXISTS (
    SELECT 1 FROM suppression AS s
    WHERE s.account = trigger_event.account AND s.folded = trigger_event.folded AND s.feedback_id <> '');

-- name: get
-- One entry.
SELECT account, iif(address = '', folded, address), reason, updated_ms, message_id, feedback_id FROM suppression
WHERE account = :account AND folded = :folded;

-- name: list
-- One page of an account's list: what fits among the next rows, however few that is.
SELECT account, iif(address = '', folded, address), reason, updated_ms, message_id, feedback_id, folded FROM (
    SELECT * FROM suppression WHERE account = :account AND folded > :after ORDER BY folded LIMIT :rows_max)
WHERE (:reason = '' OR reason = :reason) AND updated_ms BETWEEN :since_ms AND :until_ms ORDER BY folded LIMIT :limit;

-- name: list_end
-- The last of the next rows of a list, nothing when there are not that many.
SELECT folded FROM suppression WHERE account = :account AND folded > :after ORDER BY folded LIMIT 1 OFFSET :rows_max - 1;

-- name: any
-- Whether an account's list has entries.
SELECT EXISTS (SELECT 1 FROM suppression WHERE account = :account);

-- name: count
-- How many entries an account's list has.
SELECT count(*) FROM suppression WHERE account = :account;

-- name: nth
-- The entry so many places from the beginning of a list.
SELECT folded FROM suppression WHERE account = :account ORDER BY folded LIMIT 1 OFFSET :number;

-- name: remove_upto
-- Remove the beginning of a list.
DELETE FROM suppression WHERE account = :account AND folded <= :folded;

-- name: remove_triggers_upto
-- Forget the feedback of the beginning of a list.
DELETE FROM trigger_event WHERE account = :account AND folded <= :folded;

-- name: accounts_with
-- The accounts that have an address on their lists; one look into the index for each account.
WITH RECURSIVE listing (account) AS (
    SELECT min(account) FROM suppression
    UNION ALL
    SELECT (SELECT min(s.account) FROM suppression AS s WHERE s.account > listing.account) FROM listing
    WHERE listing.account IS NOT NULL)
SELECT account FROM listing WHERE EXISTS (
    SELECT 1 FROM suppression AS s WHERE s.account = listing.account AND s.folded = :folded);

-- name: get_stay
-- An address on the relay's list.
SELECT step, bounced_ms, until_ms FROM relay_list WHERE digest = :digest;

-- name: put_stay
-- Put an address on the relay's list, or lengthen its stay.
INSERT INTO relay_list (digest, step, bounced_ms, until_ms) VALUES (:digest, :step, :bounced_ms, :until_ms)
ON CONFLICT DO UPDATE SET step = excluded.step, bounced_ms = excluded.bounced_ms, until_ms = excluded.until_ms;

-- name: remove_stay
-- Take an address off the relay's list, and forget its stays.
DELETE FROM relay_list WHERE digest = :digest;

-- name: any_stay
-- Whether the relay's list has entries.
SELECT EXISTS (SELECT 1 FROM relay_list);

-- name: count_stays
-- How many addresses are on the relay's list.
SELECT count(*) FROM relay_list WHERE until_ms > :now_ms;

-- name: forget_stays
-- Forget some stays that ended long ago.
DELETE FROM relay_list WHERE digest IN (SELECT digest FROM relay_list WHERE until_ms < :before_ms LIMIT :limit);

-- name: create_job
-- Note an import.
INSERT INTO import_job (id, account, destination, action, form, source, rows_max, state, created_ms)
VALUES (:id, :account, :destination, :action, :form, :source, :rows_max, 'CREATED', :created_ms);

-- name: get_job
-- One import.
SELECT id, account, destination, action, form, source, rows_max, state, created_ms, completed_ms, processed, changed,
    failed, error, sorted, place
FROM import_job WHERE id = :id;

-- name: list_jobs
-- Imports of an account, newest first.
SELECT id, account, destination, action, form, source, rows_max, state, created_ms, completed_ms, processed, changed,
    failed, error, sorted, place
FROM import_job WHERE account = :account AND (created_ms, id) < (:before_ms, :before)
ORDER BY created_ms DESC, id DESC LIMIT :limit;

-- name: open_jobs
-- Imports that are not at their end, oldest first.
SELECT id, account, destination, action, form, source, rows_max, state, created_ms, completed_ms, processed, changed,
    failed, error, sorted, place
FROM import_job WHERE state IN ('CREATED', 'PROCESSING') ORDER BY created_ms LIMIT :limit;

-- name: begin_job
-- Begin an import, or begin it again.
UPDATE import_job SET state = 'PROCESSING', processed = 0, changed = 0, failed = 0, place = ''
WHERE id = :id AND state IN ('CREATED', 'PROCESSING') AND sorted = 0;

-- name: sort_job
-- Note that all of a file was read: so many bad rows, and the good ones kept in order.
UPDATE import_job SET sorted = 1, good = :good, failed = :failed WHERE id = :id;

-- name: move_job
-- Note how far an import has come.
UPDATE import_job SET processed = processed + :processed, changed = changed + :changed, place = :place WHERE id = :id;

-- name: end_job
-- End an import. Of rows for the same address one was applied, and all count.
UPDATE import_job SET state = :state, completed_ms = :now_ms, error = :error,
    failed = iif(:state = 'COMPLETED', failed, 0), processed = iif(:state = 'COMPLETED', good, 0)
WHERE id = :id AND state IN ('CREATED', 'PROCESSING');

-- name: old_jobs
-- Imports that ended long ago.
SELECT id FROM import_job WHERE completed_ms BETWEEN 1 AND :before_ms LIMIT :limit;

-- name: forget_job
-- Forget an import.
DELETE FROM import_job WHERE id = :id;
