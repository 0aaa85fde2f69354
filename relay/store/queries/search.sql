-- Statements of the search for messages, in a spool and in the files of history alike (relay/store/search.py).

-- name: newest
-- Message keys from ?1 to below ?2, greatest first, at most ?3.
SELECT key FROM message WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3

-- name: scan_messages
-- Of at most ?2 messages below key ?1 those of an account, where one is given; greatest first.
SELECT key FROM (SELECT key, account FROM message WHERE key < ?1 ORDER BY key DESC LIMIT ?2)
WHERE ?3 = '' OR account = ?3 ORDER BY key DESC

-- name: scan_messages_end
-- The least of these messages, and how many there are.
SELECT coalesce(min(key), 0), count(*) FROM (SELECT key FROM message WHERE key < ?1 ORDER BY key DESC LIMIT ?2)

-- name: scan_recipients
-- Of at most ?2 deliveries of messages below key ?1 the messages of those whose recipient is like ?3; greatest first.
SELECT DISTINCT key >> 16 AS found FROM (
    SELECT key, recipient FROM delivery WHERE key < ?1 << 16 ORDER BY key DESC LIMIT ?2
) WHERE recipient LIKE ?3 ESCAPE '!' ORDER BY found DESC

-- name: scan_recipients_end
-- The message of the least of these deliveries, and how many there are.
SELECT coalesce(min(key) >> 16, 0), count(*) FROM (
    SELECT key FROM delivery WHERE key < ?1 << 16 ORDER BY key DESC LIMIT ?2
)

-- name: named
-- The key of a message id.
SELECT key FROM message WHERE message_id = ?

-- name: message
-- A message.
SELECT key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json
FROM message WHERE key = ?

-- name: deliveries
-- The deliveries of a message, without their attempts.
SELECT key, state, attempts, next_ms, crashes, checksum, recipient, last_reply, source, wishes, delay_told
FROM delivery WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16 ORDER BY key

-- name: extent
-- The least and the greatest key of a file.
SELECT coalesce((SELECT min(key) FROM message), 0), coalesce((SELECT max(key) FROM message), -1)

-- name: accepted_from
-- The first message from a key on, and when it was accepted.
SELECT key, accepted_ms FROM message WHERE key >= ? ORDER BY key LIMIT 1
