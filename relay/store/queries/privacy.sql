-- Statements that find and erase an address in a file of history (relay/store/history_privacy.py).

-- name: mentions
-- Messages that may mention a text ?1, or its form in JSON ?2, both with wildcards around.
SELECT key FROM message
WHERE sender LIKE ?1 ESCAPE '!' OR CAST(mail_json AS TEXT) LIKE ?1 ESCAPE '!' OR CAST(mail_json AS TEXT) LIKE ?2 ESCAPE '!'
UNION
SELECT key >> 16 FROM delivery
WHERE recipient LIKE ?1 ESCAPE '!' OR attempts_log LIKE ?1 ESCAPE '!' OR attempts_log LIKE ?2 ESCAPE '!'
OR last_reply LIKE ?1 ESCAPE '!' OR wishes LIKE ?1 ESCAPE '!'
ORDER BY 1

-- name: dialogues
-- Dialogues beyond a row, at most ?2.
SELECT rowid, key, record FROM dialogue WHERE rowid > ?1 ORDER BY rowid LIMIT ?2

-- name: dialogues_of
-- What was said in attempts at a delivery.
SELECT rowid, record FROM dialogue WHERE key = ?

-- name: logs
-- The attempts of the deliveries of a message.
SELECT key, attempts_log FROM delivery WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16

-- name: replace_message
-- Put another row in the place of a message.
REPLACE INTO message (
    key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: change_delivery
-- Change what a delivery tells.
UPDATE delivery SET checksum = ?2, last_reply = ?3, wishes = ?4, attempts_log = ?5 WHERE key = ?1

-- name: change_dialogue
-- Change what was said.
UPDATE dialogue SET record = ?2 WHERE rowid = ?1

-- name: remove_message
-- Remove a message.
DELETE FROM message WHERE key = ?

-- name: remove_scan
-- Remove what scanners said of it.
DELETE FROM scan WHERE key = ?

-- name: remove_deliveries
-- Remove the deliveries from a key to before another.
DELETE FROM delivery WHERE key >= ? AND key < ?

-- name: remove_dialogues
-- Remove the dialogues of these deliveries.
DELETE FROM dialogue WHERE key >= ? AND key < ?

-- name: every_block
-- The blocks of archived events beyond a number, at most ?2.
SELECT id, data FROM block WHERE id > ?1 ORDER BY id LIMIT ?2

-- name: logged
-- All events of a shard's log.
SELECT seq, payload, notes FROM event ORDER BY seq

-- name: change_logged
-- Change what an event of the log tells.
UPDATE event SET payload = ?, notes = ? WHERE seq = ?

-- name: content_mentions
-- Messages on their way that have a text, with wildcards around, in head or body.
SELECT key FROM content WHERE CAST(head AS TEXT) LIKE ?1 ESCAPE '!' OR CAST(body AS TEXT) LIKE ?1 ESCAPE '!'

-- name: is_open
-- Whether a message has a delivery that is not over.
SELECT EXISTS (SELECT 1 FROM delivery WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16 AND state < 3)

-- name: queued_for
-- Deliveries to an address, in any letter case, that are not over.
SELECT key FROM delivery WHERE state < 3 AND lower(recipient) = lower(?)

-- name: of_account
-- The messages of an account.
SELECT key FROM message WHERE account = ?

-- name: blocks
-- All blocks of archived events.
SELECT id FROM block ORDER BY id

-- name: open_of_account
-- Deliveries of an account's messages that are not over.
SELECT delivery.key FROM message CROSS JOIN delivery
ON delivery.key >= message.key << 16 AND delivery.key < (message.key + 1) << 16
WHERE message.account = ? AND delivery.state < 3

-- name: remove_logged
-- Drop the events of a shard's log that have a text.
DELETE FROM event WHERE instr(CAST(payload AS TEXT), ?) > 0
