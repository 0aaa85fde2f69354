-- Statements on statistics.db. Each has a name and a sentence.

-- name: add_point
-- Add to a point, made when it is not there.
INSERT INTO point (grain, start_ms, account, dimension, name, sends, deliveries, delays, rejects, hard_bounces,
    soft_bounces, complaints, suppressed, opens, clicks, rendering_failures, subscriptions, blocked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, dimension, name, grain, start_ms) DO UPDATE SET
    sends = sends + excluded.sends, deliveries = deliveries + excluded.deliveries, delays = delays + excluded.delays,
    rejects = rejects + excluded.rejects, hard_bounces = hard_bounces + excluded.hard_bounces,
    soft_bounces = soft_bounces + excluded.soft_bounces, complaints = complaints + excluded.complaints,
    suppressed = suppressed + excluded.suppressed, opens = opens + excluded.opens, clicks = clicks + excluded.clicks,
    rendering_failures = rendering_failures + excluded.rendering_failures,
    subscriptions = subscriptions + excluded.subscriptions, blocked = blocked + excluded.blocked

-- name: has_series
-- Whether an account has a series, at any time.
SELECT EXISTS (SELECT 1 FROM point WHERE account = ? AND dimension = ? AND name = ?)

-- name: count_series
-- How many series of a dimension an account has; no more are counted than a bound.
SELECT count(*) FROM (SELECT DISTINCT name FROM point WHERE account = ? AND dimension = ? LIMIT ?)

-- name: cell_of
-- The cell that begins at or before a time, with what it holds, and whether a later one exists.
SELECT start_ms, sent, reporting, EXISTS (
    SELECT 1 FROM cell AS later WHERE later.account = ?1 AND later.name = ?2 AND later.start_ms > cell.start_ms)
FROM cell WHERE account = ?1 AND name = ?2 AND start_ms <= ?3 ORDER BY start_ms DESC LIMIT 1

-- name: add_cell
-- Add to a cell, made when it is not there.
INSERT INTO cell (account, name, start_ms, sent, hard_bounces, reporting, complaints) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, name, start_ms) DO UPDATE SET
    sent = sent + excluded.sent, hard_bounces = hard_bounces + excluded.hard_bounces,
    reporting = reporting + excluded.reporting, complaints = complaints + excluded.complaints

-- name: touch
-- Say that the cells of a subject changed.
INSERT INTO subject (account, name, changed_ms) VALUES (?1, ?2, ?3)
ON CONFLICT (account, name) DO UPDATE SET changed_ms = ?3

-- name: add_trap
-- Count messages to spamtraps.
INSERT INTO trap (account, second_ms, hits) VALUES (?1, ?2, ?3)
ON CONFLICT (account, second_ms) DO UPDATE SET hits = hits + ?3

-- name: roll_up
-- Add points of one grain that are older than a time to those of a coarser one.
INSERT INTO point (grain, start_ms, account, dimension, name, sends, deliveries, delays, rejects, hard_bounces,
    soft_bounces, complaints, suppressed, opens, clicks, rendering_failures, subscriptions, blocked)
SELECT :coarse, start_ms - start_ms % (:coarse * 1000) AS begins, account, dimension, name, sum(sends),
    sum(deliveries), sum(delays), sum(rejects), sum(hard_bounces), sum(soft_bounces), sum(complaints),
    sum(suppressed), sum(opens), sum(clicks), sum(rendering_failures), sum(subscriptions),
    sum(blocked)
FROM point WHERE grain = :fine AND start_ms < :before_ms GROUP BY begins, account, dimension, name
ON CONFLICT (account, dimension, name, grain, start_ms) DO UPDATE SET
    sends = sends + excluded.sends, deliveries = deliveries + excluded.deliveries, delays = delays + excluded.delays,
    rejects = rejects + excluded.rejects, hard_bounces = hard_bounces + excluded.hard_bounces,
    soft_bounces = soft_bounces + excluded.soft_bounces, complaints = complaints + excluded.complaints,
    suppressed = suppressed + excluded.suppressed, opens = opens + excluded.opens, clicks = clicks + excluded.clicks,
    rendering_failures = rendering_failures + excluded.rendering_failures,
    subscriptions = subscriptions + excluded.subscriptions, blocked = blocked + excluded.blocked

-- name: oldest
-- The oldest point of a grain.
SELECT min(start_ms) FROM point WHERE grain = ?

-- name: drop_points
-- Points of one grain that are older than a time.
DELETE FROM point WHERE grain = ? AND start_ms < ?

-- name: drop_cells
-- Cells older than a year and some, and cells older than two months behind which there is enough newer mail.
DELETE FROM cell WHERE start_ms < :long_ms OR (account, name, start_ms) IN (
    SELECT account, name, start_ms FROM (
        SELECT account, name, start_ms, reporting + complaints AS reported,
            sum(sent) OVER newer - sent AS newer_sent, sum(reporting) OVER newer - reporting AS newer_reporting
        FROM cell
        WINDOW newer AS (PARTITION BY account, name ORDER BY start_ms DESC))
    WHERE start_ms < :short_ms AND newer_sent >= :enough AND (newer_reporting >= :enough OR reported = 0))

-- name: drop_traps
-- Messages to spamtraps that are long past.
DELETE FROM trap WHERE second_ms < ?

-- name: points
-- Points of a series since a time, of all accounts or of one, of every name or of one, added up by time.
SELECT start_ms, sum(sends), sum(deliveries), sum(delays), sum(rejects), sum(hard_bounces), sum(soft_bounces),
    sum(complaints), sum(suppressed), sum(opens), sum(clicks), sum(rendering_failures), sum(subscriptions),
    sum(blocked)
FROM point
WHERE grain = :grain AND start_ms >= :since_ms AND start_ms < :until_ms AND dimension = :dimension
    AND (:account IS NULL OR account = :account) AND (:name IS NULL OR name = :name)
GROUP BY start_ms ORDER BY start_ms

-- name: totals
-- The sums of every series of a dimension since a time, those that sent most first.
SELECT account, name, sum(sends), sum(deliveries), sum(delays), sum(rejects), sum(hard_bounces), sum(soft_bounces),
    sum(complaints), sum(suppressed), sum(opens), sum(clicks), sum(rendering_failures), sum(subscriptions),
    sum(blocked)
FROM point
WHERE start_ms >= :since_ms AND start_ms < :until_ms AND dimension = :dimension
    AND (:account IS NULL OR account = :account)
GROUP BY account, name ORDER BY sum(sends) DESC, account, name LIMIT :limit

-- name: cells
-- Cells of a subject from a time on, newest first.
SELECT start_ms, sent, hard_bounces, reporting, complaints FROM cell
WHERE account = ? AND name = ? AND start_ms >= ? ORDER BY start_ms DESC

-- name: subjects
-- Subjects whose cells changed at a time or later.
SELECT account, name, changed_ms FROM subject WHERE changed_ms >= ? ORDER BY account, name

-- name: trap_hits
-- Messages to spamtraps since a time.
SELECT coalesce(sum(hits), 0) FROM trap WHERE account = ? AND second_ms >= ?

-- name: trapped
-- Accounts with messages to spamtraps since a time.
SELECT DISTINCT account FROM trap WHERE second_ms >= ?

-- name: first_event
-- When anything was counted first, of any account.
SELECT min(start_ms) FROM point
