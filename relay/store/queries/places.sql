-- Statements on places in event logs (relay/store/places.py), in whichever file the table is.

-- name: get
-- Where a reader stands in a log.
SELECT seq FROM place WHERE reader = ? AND shard = ? AND log = ?

-- name: move
-- A reader has all events up to a sequence number; a place never goes back.
INSERT INTO place (reader, shard, log, seq) VALUES (?, ?, ?, ?)
ON CONFLICT (reader, shard, log) DO UPDATE SET seq = max(place.seq, excluded.seq)

-- name: beyond
-- The readers whose place is beyond the end of a log.
SELECT reader FROM place WHERE shard = ? AND log = ? AND seq > ?

-- name: forget_beyond
-- Drop those places.
DELETE FROM place WHERE shard = ? AND log = ? AND seq > ?

-- name: readers
-- Everybody who has a place.
SELECT DISTINCT reader FROM place

-- name: forget
-- Drop the places of a reader.
DELETE FROM place WHERE reader = ?

-- name: all
-- Every place.
SELECT reader, shard, log, seq FROM place
