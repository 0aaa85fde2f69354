-- Statements on what permits keeps over restarts.

-- name: standings
-- All effects, those that end last first.
SELECT kind, destination, source, account, configuration_set, until_ms, factor, rule, reply
FROM standing ORDER BY until_ms DESC

-- name: put_standing
-- An effect is in force, or in force for longer.
INSERT INTO standing (kind, destination, source, account, configuration_set, until_ms, factor, rule, reply)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (kind, destination, source, account, configuration_set)
DO UPDATE SET until_ms = excluded.until_ms, factor = excluded.factor, rule = excluded.rule, reply = excluded.reply

-- name: remove_standing
-- An effect is over.
DELETE FROM standing
WHERE kind = ? AND destination = ? AND source = ? AND account = ? AND configuration_set = ?
