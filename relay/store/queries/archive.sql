-- Statements of the archive of events (relay/store/event_archive.py).

-- name: add_block
-- Begin a block.
INSERT INTO block (events, least_ms, most_ms, data) VALUES (?, ?, ?, ?)

-- name: extend_block
-- Add to the block that was begun last.
UPDATE block SET events = events + ?2, least_ms = min(least_ms, ?3), most_ms = max(most_ms, ?4), data = CAST(data || ?5 AS BLOB)
WHERE id = ?1

-- name: closed
-- Whether something was erased from a block, so that nothing may be added to it.
SELECT closed FROM block WHERE id = ?

-- name: last_block
-- The number of the newest block.
SELECT coalesce(max(id), 0) FROM block

-- name: block
-- The data of a block.
SELECT data FROM block WHERE id = ?

-- name: blocks
-- Blocks below ?1 with events from ?2 to before ?3, the newest first, at most ?4.
SELECT id, events FROM block WHERE id < ?1 AND most_ms >= ?2 AND least_ms < ?3 ORDER BY id DESC LIMIT ?4

-- name: blocks_from
-- Blocks from a number on, at most ?2.
SELECT id, events FROM block WHERE id >= ? ORDER BY id LIMIT ?

-- name: newest_block
-- The newest block.
SELECT id, events FROM block ORDER BY id DESC LIMIT 1

-- name: replace_block
-- Put other data in the place of a block; nothing is added to it any more.
UPDATE block SET data = ?2, closed = 1 WHERE id = ?1
