-- Statements on the event cursors.

-- name: get
-- Where a destination stands in a shard.
SELECT seq FROM cursor WHERE shard = ? AND destination = ?

-- name: move
-- A destination has all events up to a sequence number; a cursor never goes back.
INSERT INTO cursor (shard, destination, seq) VALUES (?, ?, ?)
ON CONFLICT (shard, destination) DO UPDATE SET seq = max(seq, excluded.seq)

-- name: destinations
-- The destinations that have a cursor.
SELECT DISTINCT destination FROM cursor

-- name: forget
-- Drop the cursors of a destination.
DELETE FROM cursor WHERE destination = ?
