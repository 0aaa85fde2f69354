-- Statements of the writer thread. Several rows go into one statement, because each statement gives up the
-- interpreter lock once and waits for it again.

-- name: insert_message
-- A message that was accepted.
INSERT INTO message
    (key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json)
VALUES /*row*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) /*row*/

-- name: insert_content
-- What goes on the wire, while a delivery is open.
INSERT INTO content (key, checksum, body_bytes, file, head, body)
VALUES /*row*/ (?, ?, ?, ?, ?, ?) /*row*/

-- name: insert_delivery
-- One recipient of a message.
INSERT INTO delivery
    (key, state, attempts, next_ms, crashes, checksum, strand, recipient, last_reply, source, wishes, delay_told,
     attempts_log)
VALUES /*row*/ (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) /*row*/

-- name: insert_event
-- A fact for the event log.
INSERT INTO event (seq, event_id, kind, message_id, payload, notes)
VALUES /*row*/ (?, ?, ?, ?, ?, ?) /*row*/

-- name: insert_dialogue
-- What was said in an attempt.
INSERT OR REPLACE INTO dialogue (key, attempt, record)
VALUES /*row*/ (?, ?, ?) /*row*/

-- name: drop_dialogues
-- Of a delivery, forget what was said between its first attempt and one of the last.
DELETE FROM dialogue WHERE key = ?1 AND attempt > 1 AND attempt <= ?2

-- name: add_usage
-- Recipients accepted for an account in a minute.
INSERT INTO usage (account, minute, recipients) VALUES (?, ?, ?)
ON CONFLICT (account, minute) DO UPDATE SET recipients = recipients + excluded.recipients

-- name: settle
-- The verdict on open deliveries: a final state stands over hold and quarantine, a new try does not lift them.
-- The attempts log stops growing at 64 KiB.
WITH verdict (key, state, attempts, next_ms, last_reply, source, delay_told, attempt) AS (
    VALUES /*row*/ (?, ?, ?, ?, ?, ?, ?, ?) /*row*/
)
UPDATE delivery SET
    state = CASE WHEN delivery.state = 0 OR verdict.state > 2 THEN verdict.state ELSE delivery.state END,
    attempts = verdict.attempts,
    next_ms = verdict.next_ms,
    crashes = 0,
    strand = CASE WHEN verdict.attempts > 0 THEN delivery.strand | 1 ELSE delivery.strand END,
    last_reply = verdict.last_reply,
    source = CASE WHEN verdict.source = '' THEN delivery.source ELSE verdict.source END,
    delay_told = max(delivery.delay_told, verdict.delay_told),
    attempts_log = CASE
        WHEN length(delivery.attempts_log) < 65536 THEN delivery.attempts_log || verdict.attempt
        ELSE delivery.attempts_log
    END
FROM verdict WHERE delivery.key = verdict.key AND delivery.state < 3

-- name: set_strand
-- Let queued deliveries (a JSON list of keys) wait in another strand.
UPDATE delivery SET strand = ?2 WHERE key IN (SELECT value FROM json_each(?1)) AND state = 0

-- name: claim_dedupe
-- Take a dedupe key; nothing changes when it was taken before.
INSERT OR IGNORE INTO dedupe (dedupe_key, settled_ms) VALUES (?, ?)

-- name: freeable
-- Of some messages (a JSON list of keys), those that still have content and no open delivery, with body files.
SELECT json_group_array(content.key), json_group_array(content.file) FILTER (WHERE content.file IS NOT NULL)
FROM json_each(?) AS wanted
CROSS JOIN content ON content.key = wanted.value
WHERE NOT EXISTS (
    SELECT 1 FROM delivery
    WHERE delivery.key >= content.key << 16 AND delivery.key < (content.key + 1) << 16 AND delivery.state < 3
)

-- name: free_content
-- Drop the content of messages (a JSON list of keys).
DELETE FROM content WHERE key IN (SELECT value FROM json_each(?))

-- name: remove_deliveries
-- Drop the deliveries of messages (a JSON list of keys) that history has.
DELETE FROM delivery WHERE key IN (
    SELECT delivery.key FROM json_each(?) AS wanted
    CROSS JOIN delivery ON delivery.key >= wanted.value << 16 AND delivery.key < (wanted.value + 1) << 16
)

-- name: remove_dialogues
-- Drop what was said in attempts at messages (a JSON list of keys) that history has.
DELETE FROM dialogue WHERE rowid IN (
    SELECT dialogue.rowid FROM json_each(?) AS wanted
    CROSS JOIN dialogue ON dialogue.key >= wanted.value << 16 AND dialogue.key < (wanted.value + 1) << 16
)

-- name: remove_holds
-- Drop the holds of messages (a JSON list of keys) that history has.
DELETE FROM hold WHERE key IN (
    SELECT hold.key FROM json_each(?) AS wanted
    CROSS JOIN hold ON hold.key >= wanted.value << 16 AND hold.key < (wanted.value + 1) << 16
)

-- name: remove_messages
-- Drop messages (a JSON list of keys) that history has.
DELETE FROM message WHERE key IN (SELECT value FROM json_each(?))

-- name: remove_scans
-- Drop what scanners said of messages (a JSON list of keys) that history has.
DELETE FROM scan WHERE key IN (SELECT value FROM json_each(?))

-- name: put_scan
-- What scanners said of a message that is here still; a later scan replaces an earlier one.
INSERT OR REPLACE INTO scan (key, verdict, scanner, detail, spam_score, scanned_ms)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM message WHERE key = ?1)

-- name: set_meta
-- Set a single value.
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: name_log
-- Give the event log its random number, once.
INSERT OR IGNORE INTO meta (name, value) VALUES ('event_log', ?)

-- name: touch
-- Changes nothing, but fails on a file that cannot be written.
DELETE FROM meta WHERE name = ''

-- name: count_incident
-- Note that the file was reopened; this first write also covers what a failed sync may have left in the log.
INSERT INTO meta (name, value) VALUES ('incidents', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1

-- name: prune_events
-- Drop at most 2,000 of the events up to a sequence number.
DELETE FROM event WHERE seq <= min(?1, (SELECT min(seq) FROM event) + 1999)

-- name: events_left
-- Say whether events up to a sequence number are left.
SELECT EXISTS (SELECT 1 FROM event WHERE seq <= ?)

-- name: prune_usage
-- Drop usage before a minute.
DELETE FROM usage WHERE minute < ?

-- name: prune_dedupe
-- Drop at most 2,000 dedupe keys settled before a time.
DELETE FROM dedupe WHERE dedupe_key IN (
    SELECT dedupe_key FROM dedupe WHERE settled_ms < ? ORDER BY settled_ms LIMIT 2000
)

-- name: inbox_put
-- Keep an item for another shard; a repeated id changes nothing.
INSERT OR IGNORE INTO inbox (item_id, shard, received_ms, payload) VALUES (?, ?, ?, ?)

-- name: inbox_remove
-- Drop an item that was handed over.
DELETE FROM inbox WHERE item_id = ?

-- name: quarantine
-- Set a delivery aside with the reason.
UPDATE delivery SET state = 2, last_reply = ?2 WHERE key = ?1 AND state < 2

-- name: hold_late
-- Hold queued deliveries that were due, and whose message was to be given up, before a time, with the reason.
UPDATE delivery SET state = 1, last_reply = ?2
WHERE state = 0 AND next_ms < ?1
    AND EXISTS (SELECT 1 FROM message WHERE message.key = delivery.key >> 16 AND message.expires_ms < ?1)

-- name: delivery_keys
-- The deliveries of a message.
SELECT key, state FROM delivery WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16 ORDER BY key

-- name: step
-- An operator's step from state ?2 to ?3 for some deliveries (a JSON list of keys); next_ms is kept for NULL.
UPDATE delivery SET state = ?3, next_ms = coalesce(?4, next_ms), crashes = 0
WHERE key IN (SELECT value FROM json_each(?1)) AND state = ?2 RETURNING key

-- name: except_let_go
-- Of some deliveries (a JSON list of keys), those that no operator has let go of a rule: ?2.
SELECT json_group_array(value) FROM json_each(?1)
WHERE value NOT IN (SELECT key FROM hold WHERE until_ms = -1 AND rule = ?2)

-- name: put_holds
-- Give the holds of some deliveries (a JSON list of keys) an end, and say which rule made them.
INSERT OR REPLACE INTO hold (key, until_ms, rule) SELECT value, ?2, ?3 FROM json_each(?1) WHERE true

-- name: drop_holds
-- Forget how some deliveries (a JSON list of keys) were held.
DELETE FROM hold WHERE key IN (SELECT value FROM json_each(?))

-- name: let_go
-- An operator lets go of some deliveries (a JSON list of keys): their rules shall leave them alone.
UPDATE hold SET until_ms = -1 WHERE key IN (SELECT value FROM json_each(?)) AND rule > 0

-- name: holds_ended
-- Deliveries whose hold has ended.
SELECT json_group_array(key) FROM (SELECT key FROM hold WHERE until_ms > 0 AND until_ms <= ? ORDER BY until_ms LIMIT ?)

-- name: held_by_rule
-- Some deliveries that a rule holds.
SELECT json_group_array(key) FROM (SELECT key FROM hold WHERE rule = ? AND until_ms >= 0 LIMIT ?)

-- name: messages_of
-- The messages of those of some deliveries (a JSON list of keys) that are in one of some states (one bit each).
SELECT key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json
FROM message WHERE key IN (
    SELECT delivery.key >> 16 FROM json_each(?1) AS wanted
    CROSS JOIN delivery ON delivery.key = wanted.value
    WHERE (?2 >> delivery.state) & 1
)

-- name: forget_source
-- Let some deliveries (a JSON list of keys) choose the address anew that they leave from.
UPDATE delivery SET source = '' WHERE key IN (SELECT value FROM json_each(?)) AND source <> ''

-- name: set_options
-- Send a message in another way from now on.
UPDATE message SET options = ?2, checksum = ?3 WHERE key = ?1

-- name: count_crash
-- A delivery was in flight at a crash; at three it is set aside.
UPDATE delivery SET
    crashes = crashes + 1,
    state = CASE WHEN crashes + 1 >= 3 THEN 2 ELSE state END,
    last_reply = CASE WHEN crashes + 1 >= 3 THEN 'in flight at three crashes' ELSE last_reply END
WHERE key = ? AND state = 0
RETURNING key, state
