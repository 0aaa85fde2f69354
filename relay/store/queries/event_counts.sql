-- Statements on the counts of events.

-- name: add
-- More events of a series that there is.
UPDATE series SET count = count + ?
WHERE account = ? AND configuration_set = ? AND destination = ? AND kind = ? AND dimensions = ?

-- name: series_of
-- How many series a destination has.
SELECT count(*) FROM series WHERE account = ? AND configuration_set = ? AND destination = ?

-- name: begin
-- The first events of a series.
INSERT INTO series (count, account, configuration_set, destination, kind, dimensions) VALUES (?, ?, ?, ?, ?, ?)

-- name: drop_counts
-- Events left out.
INSERT INTO dropped (count, account, configuration_set, destination) VALUES (?, ?, ?, ?)
ON CONFLICT (account, configuration_set, destination) DO UPDATE SET count = count + excluded.count

-- name: all
-- Every series.
SELECT account, configuration_set, destination, kind, dimensions, count FROM series

-- name: all_dropped
-- What destinations left out.
SELECT account, configuration_set, destination, count FROM dropped

-- name: destinations
-- The destinations that have series.
SELECT DISTINCT account, configuration_set, destination FROM series WHERE destination != ''

-- name: forget
-- The series of a destination that is no more.
DELETE FROM series WHERE account = ? AND configuration_set = ? AND destination = ?

-- name: forget_dropped
-- What a destination that is no more left out.
DELETE FROM dropped WHERE account = ? AND configuration_set = ? AND destination = ?
