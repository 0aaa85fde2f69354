-- Statements of the index of a file that is searched (relay/store/postings.py); in an attached file, too.

-- name: add
-- File keys under terms, unsorted.
INSERT INTO fresh (term, key) VALUES /*row*/ (?, ?) /*row*/

-- name: fresh_rows
-- How many rows wait to be sorted.
SELECT coalesce(max(rowid), 0) FROM fresh

-- name: begin_segment
-- Begin a segment for what waits.
INSERT INTO segment (id, least, most)
SELECT (SELECT coalesce(max(id), 0) + 1 FROM segment), min(key), max(key) FROM fresh

-- name: sort
-- Sort what waits into the newest segment: it is written from one end to the other.
INSERT OR IGNORE INTO posting (segment, term, key)
SELECT (SELECT max(id) FROM segment), term, key FROM fresh ORDER BY term, key

-- name: empty
-- Nothing waits any more.
DELETE FROM fresh

-- name: segments
-- The segments that have keys from ?1 to below ?2, those with the newest keys first.
SELECT id, most FROM segment WHERE most >= ?1 AND least < ?2 ORDER BY most DESC

-- name: common
-- How many keys a term has, counted up to ?2.
SELECT count(*) FROM (
    SELECT 1 FROM segment CROSS JOIN posting ON posting.segment = segment.id AND posting.term = ?1 LIMIT ?2
)

-- name: keys
-- The keys of a segment ?1 below ?2 that have the term ?3 and all of a JSON list of terms ?4, greatest first.
SELECT one.key FROM posting AS one
WHERE one.segment = ?1 AND one.term = ?3 AND one.key < ?2 AND NOT EXISTS (
    SELECT 1 FROM json_each(?4) AS other WHERE NOT EXISTS (
        SELECT 1 FROM posting AS two WHERE two.segment = ?1 AND two.term = other.value AND two.key = one.key
    )
)
ORDER BY one.key DESC

-- name: fresh_keys
-- The keys below ?1 that wait to be sorted and have all terms of a JSON list ?2 of ?3 terms, greatest first.
SELECT key FROM fresh WHERE key < ?1 AND term IN (SELECT value FROM json_each(?2))
GROUP BY key HAVING count(DISTINCT term) = ?3 ORDER BY key DESC

-- name: forget
-- Take a key from a term in all segments that may have it.
DELETE FROM posting WHERE term = ?1 AND key = ?2 AND segment IN (SELECT id FROM segment WHERE least <= ?2 AND most >= ?2)

-- name: forget_fresh
-- Take a key from what waits.
DELETE FROM fresh WHERE key = ?
