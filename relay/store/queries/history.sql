-- Statements of the housekeeper: finished messages go to the file of their day. The file is attached as history.

-- name: attach
-- Attach the file of a day.
ATTACH ? AS history

-- name: detach
-- Detach it.
DETACH history

-- name: sync
-- A commit in the attached file is on disk before the spool forgets its rows.
PRAGMA history.synchronous = FULL

-- name: days
-- The days (since 1970) on which some messages (a JSON list of keys) were accepted.
SELECT DISTINCT message.accepted_ms / 86400000 FROM json_each(?) AS wanted
CROSS JOIN message ON message.key = wanted.value ORDER BY 1

-- name: to_file
-- What the messages of a day are searched by, without those that were copied before a crash and are filed already;
-- of their deliveries, recipients and states in turn.
SELECT message.key, account, sender, options, accepted_ms, mail_json, (
    SELECT json_group_array(json_array(CAST(recipient AS TEXT), CAST(state AS INTEGER))) FROM main.delivery
    WHERE delivery.key >= message.key << 16 AND delivery.key < (message.key + 1) << 16
) FROM json_each(?1) AS wanted
CROSS JOIN main.message ON message.key = wanted.value
WHERE message.accepted_ms / 86400000 = ?2
AND NOT EXISTS (SELECT 1 FROM history.message AS copied WHERE copied.key = message.key)

-- name: copy_messages
-- Copy the messages of a day; one that is there already was copied before a crash.
INSERT OR IGNORE INTO history.message
SELECT message.* FROM json_each(?1) AS wanted CROSS JOIN main.message ON message.key = wanted.value
WHERE message.accepted_ms / 86400000 = ?2

-- name: copy_deliveries
-- Copy their deliveries.
INSERT OR IGNORE INTO history.delivery
SELECT delivery.* FROM json_each(?1) AS wanted
CROSS JOIN main.message ON message.key = wanted.value
CROSS JOIN main.delivery ON delivery.key >= message.key << 16 AND delivery.key < (message.key + 1) << 16
WHERE message.accepted_ms / 86400000 = ?2

-- name: copy_scans
-- Copy what scanners said of them.
INSERT OR IGNORE INTO history.scan
SELECT scan.* FROM json_each(?1) AS wanted
CROSS JOIN main.message ON message.key = wanted.value
CROSS JOIN main.scan ON scan.key = message.key
WHERE message.accepted_ms / 86400000 = ?2

-- name: copy_dialogues
-- Copy what was said in their attempts.
INSERT OR IGNORE INTO history.dialogue
SELECT dialogue.* FROM json_each(?1) AS wanted
CROSS JOIN main.message ON message.key = wanted.value
CROSS JOIN main.dialogue ON dialogue.key >= message.key << 16 AND dialogue.key < (message.key + 1) << 16
WHERE message.accepted_ms / 86400000 = ?2
