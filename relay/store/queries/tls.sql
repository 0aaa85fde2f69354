-- Statements on MTA-STS policies and the counts of reports on TLS.

-- name: get_policy
-- The policy of a domain.
SELECT domain, record_id, mode, mx, max_age, fetched_ms, expires_ms, failure FROM policy WHERE domain = ?

-- name: put_policy
-- A policy was fetched.
INSERT INTO policy (domain, record_id, mode, mx, max_age, fetched_ms, expires_ms, used_ms, looked_ms, failure)
VALUES (:domain, :record_id, :mode, :mx, :max_age, :fetched_ms, :expires_ms, :fetched_ms, :fetched_ms, '')
ON CONFLICT (domain) DO UPDATE SET record_id = :record_id, mode = :mode, mx = :mx, max_age = :max_age,
    fetched_ms = :fetched_ms, expires_ms = :expires_ms, looked_ms = :fetched_ms, failure = ''

-- name: looked
-- A policy was compared with its domain's record, or could not be fetched.
UPDATE policy SET looked_ms = :now_ms, failure = :failure WHERE domain = :domain

-- name: used
-- Mail for a domain went by its policy.
UPDATE policy SET used_ms = :now_ms WHERE domain = :domain

-- name: due_policies
-- Policies of domains with mail lately that were not compared for a while, or for half of their time, oldest first.
SELECT domain, record_id, mode, mx, max_age, fetched_ms, expires_ms, failure FROM policy
WHERE looked_ms <= :now_ms - min(:compare_ms, max_age * 500) AND used_ms >= :used_ms ORDER BY looked_ms LIMIT :limit

-- name: drop_expired
-- Forget policies whose time is over.
DELETE FROM policy WHERE expires_ms <= ?

-- name: count_policies
-- How many policies there are.
SELECT count(*) FROM policy

-- name: drop_least_used
-- Make room: the policy that was used longest ago.
DELETE FROM policy WHERE domain IN (SELECT domain FROM policy ORDER BY used_ms LIMIT ?)

-- name: last_batch
-- The last batch that a process gave.
SELECT last FROM batch WHERE process = ?

-- name: put_batch
-- A process gave a batch.
INSERT INTO batch (process, last) VALUES (?, ?) ON CONFLICT (process) DO UPDATE SET last = excluded.last

-- name: add_count
-- Sessions more of one kind.
INSERT INTO count (day, domain, what, sessions) VALUES (:day, :domain, :what, :sessions)
ON CONFLICT (day, domain, what) DO UPDATE SET sessions = sessions + excluded.sessions

-- name: counted_domains
-- How many domains a day has.
SELECT count(DISTINCT domain) FROM count WHERE day = ?

-- name: has_counts
-- Whether a day has counts of a domain.
SELECT 1 FROM count WHERE day = ? AND domain = ? LIMIT 1

-- name: kinds
-- How many kinds of counts a day has of a domain.
SELECT count(*) FROM count WHERE day = ? AND domain = ?

-- name: domains
-- Domains of days before one, beyond a domain, in order.
SELECT DISTINCT day, domain FROM count WHERE day <= ? AND (day, domain) > (?, ?)
AND NOT EXISTS (SELECT 1 FROM report WHERE report.day = count.day AND report.domain = count.domain)
ORDER BY day, domain LIMIT ?

-- name: counts
-- What was counted of a domain on a day.
SELECT what, sessions FROM count WHERE day = ? AND domain = ?

-- name: drop_counts
-- Forget what was counted of a domain on a day.
DELETE FROM count WHERE day = ? AND domain = ?

-- name: drop_old_counts
-- Forget what is too old to be reported.
DELETE FROM count WHERE day < ?

-- name: drop_old_reports
-- Forget reports that are too old to be sent.
DELETE FROM report WHERE day < ?

-- name: put_report
-- A report is to be sent.
INSERT OR IGNORE INTO report (day, domain, rua, tries, next_ms) VALUES (?, ?, ?, 0, ?)

-- name: due_reports
-- Reports to send now.
SELECT day, domain, rua, tries FROM report WHERE next_ms <= ? ORDER BY next_ms LIMIT ?

-- name: later
-- Try a report again.
UPDATE report SET tries = tries + 1, next_ms = ? WHERE day = ? AND domain = ? AND rua = ?

-- name: drop_report
-- A report was sent, or is given up.
DELETE FROM report WHERE day = ? AND domain = ? AND rua = ?

-- name: has_reports
-- Whether a domain's day has reports that are not sent yet.
SELECT 1 FROM report WHERE day = ? AND domain = ? LIMIT 1
