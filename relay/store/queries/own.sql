-- Statements on what the office found about the relay itself.

-- name: checks
-- The last result of every check, faults first.
SELECT kind, subject, grade, detail, next_step, since_ms, checked_ms, no_answer FROM own_check
ORDER BY CASE grade WHEN 'error' THEN 0 WHEN 'warning' THEN 1 WHEN 'unknown' THEN 2 ELSE 3 END, kind, subject

-- name: put_check
-- A result; the time since when it is so stays while the grade does.
INSERT INTO own_check (kind, subject, grade, detail, next_step, since_ms, checked_ms, no_answer)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, '')
ON CONFLICT (kind, subject) DO UPDATE SET
    since_ms = CASE WHEN grade = excluded.grade THEN since_ms ELSE excluded.since_ms END,
    grade = excluded.grade, detail = excluded.detail, next_step = excluded.next_step,
    checked_ms = excluded.checked_ms, no_answer = ''

-- name: put_no_answer
-- A check that found no answer keeps what it found before.
INSERT INTO own_check (kind, subject, grade, detail, next_step, since_ms, checked_ms, no_answer)
VALUES (?1, ?2, 'unknown', ?3, '', ?4, ?4, ?3)
ON CONFLICT (kind, subject) DO UPDATE SET checked_ms = excluded.checked_ms, no_answer = excluded.no_answer

-- name: forget_checks
-- Results of what is not looked at any more.
DELETE FROM own_check WHERE checked_ms < ?

-- name: lasting
-- Listings that last.
SELECT address, list_name, began_ms, ended_ms, detail FROM listing WHERE ended_ms = 0 ORDER BY address, list_name

-- name: listings
-- All listings of the last while, those that last first.
SELECT address, list_name, began_ms, ended_ms, detail FROM listing
ORDER BY ended_ms > 0, began_ms DESC LIMIT ?

-- name: begin_listing
-- A listing began.
INSERT OR IGNORE INTO listing (address, list_name, began_ms, ended_ms, detail) VALUES (?, ?, ?, 0, ?)

-- name: end_listing
-- A listing ended.
UPDATE listing SET ended_ms = ?3 WHERE address = ?1 AND list_name = ?2 AND ended_ms = 0

-- name: forget_listings
-- Listings that ended long ago.
DELETE FROM listing WHERE ended_ms > 0 AND ended_ms < ?
