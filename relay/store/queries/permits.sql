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

-- name: volumes
-- What left on each day that is kept.
SELECT day, address, grp, used, attempts, bounces, blocks, complaints FROM volume

-- name: reserve_volume
-- So much of a day may have left; in the end of a run exactly what did.
INSERT INTO volume (day, address, grp, used) VALUES (?, ?, ?, ?)
ON CONFLICT (day, address, grp) DO UPDATE SET used = excluded.used

-- name: note_answers
-- How receivers took the mail of a day.
INSERT INTO volume (day, address, grp, used, attempts, bounces, blocks, complaints) VALUES (?, ?, ?, 0, ?, ?, ?, ?)
ON CONFLICT (day, address, grp)
DO UPDATE SET attempts = excluded.attempts, bounces = excluded.bounces, blocks = excluded.blocks,
    complaints = excluded.complaints

-- name: forget_volumes
-- Days that are over and not kept.
DELETE FROM volume WHERE day < ?

-- name: holds
-- Addresses whose schedule was set back.
SELECT address, days, judged_day, why FROM warmup_hold

-- name: put_hold
-- An address is set back.
INSERT INTO warmup_hold (address, days, judged_day, why) VALUES (?, ?, ?, ?)
ON CONFLICT (address) DO UPDATE SET days = excluded.days, judged_day = excluded.judged_day, why = excluded.why

-- name: forget_answers
-- An operator set the warm-up of an address anew: it is judged by what comes from now on.
UPDATE volume SET attempts = 0, bounces = 0, blocks = 0, complaints = 0 WHERE address = ?

-- name: remove_hold
-- An operator set the warm-up of an address anew.
DELETE FROM warmup_hold WHERE address = ?

-- name: levels
-- How far addresses of managed pools are with each group of providers.
SELECT address, grp, level, day, started_ms FROM warmup_level

-- name: put_level
-- The level of an address with a group moved, or it began anew.
INSERT INTO warmup_level (address, grp, level, day, started_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (address, grp) DO UPDATE SET level = excluded.level, day = excluded.day, started_ms = excluded.started_ms
