-- Statements of readers: the event loop, the office, the command line.

-- name: strands
-- The strands beyond one in which something is queued, in order, each with the time of its first delivery. Two looks
-- into the index each, however much is queued, and none into the table.
WITH RECURSIVE head (strand) AS (
    SELECT (SELECT min(strand) FROM delivery WHERE state = 0 AND strand > ?1)
    UNION ALL
    SELECT (SELECT min(beyond.strand) FROM delivery AS beyond WHERE beyond.state = 0 AND beyond.strand > head.strand)
    FROM head WHERE head.strand IS NOT NULL
    LIMIT ?2
)
SELECT strand, (SELECT min(next_ms) FROM delivery WHERE state = 0 AND delivery.strand = head.strand)
FROM head WHERE strand IS NOT NULL ORDER BY strand

-- name: waiting
-- Positions in a strand of what is due, beyond one, in order; from the index alone.
SELECT next_ms, key FROM delivery
WHERE state = 0 AND strand = ?1 AND (next_ms, key) > (?3, ?4) AND next_ms <= ?2 ORDER BY next_ms, key LIMIT ?5

-- name: queued_deliveries
-- Deliveries (a JSON list of keys) that are queued, in the order of the list, each with its message.
SELECT d.key, d.state, d.attempts, d.next_ms, d.crashes, d.checksum, d.recipient, d.last_reply,
       d.source, d.wishes, d.delay_told,
       m.key, m.message_id, m.account, m.sender, m.accepted_ms, m.expires_ms, m.size_bytes, m.flags, m.checksum,
       m.options, m.mail_json
FROM json_each(?1) AS wanted
CROSS JOIN delivery AS d ON d.key = wanted.value
LEFT JOIN message AS m ON m.key = d.key >> 16
WHERE d.state = 0 ORDER BY wanted.key

-- name: due
-- Queued deliveries whose time has come, beyond a position, in order, each with its message; reads the whole index.
SELECT d.key, d.state, d.attempts, d.next_ms, d.crashes, d.checksum, d.recipient, d.last_reply,
       d.source, d.wishes, d.delay_told,
       m.key, m.message_id, m.account, m.sender, m.accepted_ms, m.expires_ms, m.size_bytes, m.flags, m.checksum,
       m.options, m.mail_json
FROM delivery AS d LEFT JOIN message AS m ON m.key = d.key >> 16
WHERE d.state = 0 AND (d.next_ms, d.key) > (?2, ?3) AND d.next_ms <= ?1
ORDER BY d.next_ms, d.key LIMIT ?4

-- name: content
-- What goes on the wire.
SELECT checksum, body_bytes, file, head, body FROM content WHERE key = ?

-- name: events
-- Events beyond a sequence number.
SELECT seq, event_id, kind, message_id, payload, notes FROM event WHERE seq > ? ORDER BY seq LIMIT ?

-- name: newest_events
-- The newest events beyond a sequence number, the last one first.
SELECT seq, event_id, kind, message_id, payload, notes FROM event WHERE seq > ? ORDER BY seq DESC LIMIT ?

-- name: event_backlog
-- The number of events beyond a sequence number, and none above a bound.
SELECT count(*) FROM (SELECT 1 FROM event WHERE seq > ? LIMIT 1000000)

-- name: last_event
-- The highest sequence number in use or used before.
SELECT max(coalesce((SELECT max(seq) FROM event), 0),
           coalesce((SELECT value FROM meta WHERE name = 'event_seq'), 0))

-- name: meta
-- A single value.
SELECT value FROM meta WHERE name = ?

-- name: last_key
-- The highest message key in the file, below a bound that only damage exceeds.
SELECT coalesce(max(key), 0) FROM message WHERE key < ?

-- name: last_delivery_key
-- The highest message key that a delivery names, below a bound.
SELECT coalesce(max(key), 0) >> 16 FROM delivery WHERE key < ? << 16

-- name: usage_since
-- Recipients accepted an account and minute.
SELECT account, minute, recipients FROM usage WHERE minute >= ? ORDER BY account, minute

-- name: inbox
-- What waits for other shards.
SELECT item_id, shard, payload FROM inbox ORDER BY rowid LIMIT ?

-- name: counts
-- Deliveries by state.
SELECT state, count(*) FROM delivery GROUP BY state

-- name: held_for
-- How many deliveries are held for a reason.
SELECT count(*) FROM delivery WHERE state = 1 AND last_reply = ?

-- name: queued
-- Queued deliveries by class (bit 1 of the strand), from an index alone.
SELECT strand & 2, count(*) FROM delivery WHERE state = 0 GROUP BY strand & 2

-- name: set_aside
-- Held and quarantined deliveries, from an index alone.
SELECT 1, count(*) FROM delivery WHERE state = 1 AND state IN (1, 2)
UNION ALL SELECT 2, count(*) FROM delivery WHERE state = 2 AND state IN (1, 2)

-- name: account_of
-- The account of the first delivery of a strand.
SELECT message.account FROM message WHERE message.key = (
    SELECT delivery.key >> 16 FROM delivery WHERE state = 0 AND strand = ? ORDER BY next_ms, key LIMIT 1
)

-- name: oldest_queued
-- When the oldest message with an open delivery was accepted. Keys grow with time, so the first content is it.
SELECT message.accepted_ms FROM content JOIN message ON message.key = content.key ORDER BY content.key LIMIT 1

-- name: entries
-- The queue as an operator looks at it: at most ?5 deliveries beyond key ?1 and up to ?2, without those that are in
-- none of the states ?3 (one bit each) or, where ?4 is given, of another account.
SELECT d.key, d.state, d.attempts, d.next_ms, d.recipient, d.last_reply,
       m.message_id, m.account, m.sender, m.accepted_ms, m.expires_ms, m.size_bytes, m.options,
       h.until_ms, h.rule, d.source
FROM (
    SELECT key, state, attempts, next_ms, recipient, last_reply, source FROM delivery
    WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?5
) AS d
LEFT JOIN message AS m ON m.key = d.key >> 16
LEFT JOIN hold AS h ON h.key = d.key AND d.state = 1
WHERE (?3 >> d.state) & 1 AND (?4 IS NULL OR m.account = ?4)
ORDER BY d.key

-- name: entries_end
-- The last key that such a look reaches, and how many deliveries it saw.
SELECT max(key), count(*) FROM (SELECT key FROM delivery WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3)

-- name: message_key
-- The key of a message id.
SELECT key FROM message WHERE message_id = ?

-- name: held_by_rule
-- How many deliveries each standing hold holds now.
SELECT hold.rule, count(*) FROM hold JOIN delivery ON delivery.key = hold.key AND delivery.state = 1
WHERE hold.rule > 0 AND hold.until_ms >= 0 GROUP BY hold.rule

-- name: next_end
-- When the next hold ends.
SELECT min(until_ms) FROM hold WHERE until_ms > 0

-- name: attempts
-- The attempts of deliveries beyond a key.
SELECT key, recipient, attempts_log FROM delivery WHERE key > ? ORDER BY key LIMIT ?

-- name: delivery
-- One delivery with its message.
SELECT d.key, d.state, d.attempts, d.next_ms, d.crashes, d.checksum, d.recipient, d.last_reply,
       d.source, d.wishes, d.delay_told,
       m.key, m.message_id, m.account, m.sender, m.accepted_ms, m.expires_ms, m.size_bytes, m.flags, m.checksum,
       m.options, m.mail_json
FROM delivery AS d LEFT JOIN message AS m ON m.key = d.key >> 16
WHERE d.key = ?

-- name: message_by_id
-- The message whose id begins with a text: ?1 is the text, ?2 the first text beyond it.
SELECT key, message_id, account, sender, accepted_ms, expires_ms, size_bytes, flags, checksum, options, mail_json
FROM message WHERE message_id >= ?1 AND message_id < ?2 ORDER BY message_id LIMIT 1

-- name: deliveries_of
-- The deliveries of a message with their attempts.
SELECT key, state, attempts, next_ms, crashes, checksum, recipient, last_reply, source, wishes, delay_told,
       attempts_log
FROM delivery WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16 ORDER BY key

-- name: dialogues_of
-- What was said in attempts at a message.
SELECT key, attempt, record FROM dialogue WHERE key >= ?1 << 16 AND key < (?1 + 1) << 16 ORDER BY key, attempt

-- name: scan
-- What scanners said of a message.
SELECT verdict, scanner, detail, spam_score, scanned_ms FROM scan WHERE key = ?

-- name: unfinished_bodies
-- Names and sizes of all body files.
SELECT key, file, body_bytes FROM content WHERE file IS NOT NULL ORDER BY key

-- name: finished
-- Messages beyond a key, and whether they are finished: no content means no open delivery.
SELECT key, NOT EXISTS (SELECT 1 FROM content WHERE content.key = message.key)
FROM message WHERE key > ? ORDER BY key LIMIT ?

-- name: without_content
-- Open deliveries whose message cannot be sent, because a part of it is gone.
SELECT key FROM delivery WHERE state < 2 AND (
    NOT EXISTS (SELECT 1 FROM content WHERE content.key = delivery.key >> 16)
    OR NOT EXISTS (SELECT 1 FROM message WHERE message.key = delivery.key >> 16)
)
