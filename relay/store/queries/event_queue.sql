-- Statements on what waits for destinations.

-- name: target_id
-- The number of a target.
SELECT id FROM target WHERE name = ?

-- name: note_published
-- Something is put under a name; no row when it was before.
INSERT INTO published (key, at_ms) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING key

-- name: forget_published
-- Names that nobody asks with any more.
DELETE FROM published WHERE at_ms < ?

-- name: add_target
-- A target that had nothing before.
INSERT INTO target (name) VALUES (?)

-- name: targets
-- All targets, with what waits, since when, and when the next is due.
SELECT name, waiting, bytes, dead,
    (SELECT created_ms FROM item WHERE id = (SELECT min(item) FROM post WHERE target = target.id)),
    (SELECT min(due_ms) FROM post WHERE target = target.id AND tried = 0),
    (SELECT min(due_ms) FROM post WHERE target = target.id AND tried = 1)
FROM target ORDER BY name

-- name: target
-- One target, as above.
SELECT name, waiting, bytes, dead,
    (SELECT created_ms FROM item WHERE id = (SELECT min(item) FROM post WHERE target = target.id)),
    (SELECT min(due_ms) FROM post WHERE target = target.id AND tried = 0),
    (SELECT min(due_ms) FROM post WHERE target = target.id AND tried = 1)
FROM target WHERE name = ?

-- name: count_target
-- More or less waits for a target, or has died.
UPDATE target SET waiting = waiting + ?, bytes = bytes + ?, dead = dead + ? WHERE id = ?

-- name: forget_target
-- A target that has nothing any more.
DELETE FROM target WHERE id = ? AND waiting = 0 AND dead = 0

-- name: add_item
-- Something new to deliver.
INSERT INTO item (open, key, kind, account, created_ms, subject, attributes, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_post
-- An item is to go to a target.
INSERT INTO post (target, item, due_ms, bytes) VALUES (?, ?, ?, ?)

-- name: due
-- Posts of a target that are due, of those never tried or of the others, those due first before others; but for some.
SELECT post.item, post.due_ms, post.attempts, post.error,
    item.key, item.kind, item.account, item.created_ms, item.subject, item.attributes, item.body
FROM post JOIN item ON item.id = post.item
WHERE post.target = ? AND post.tried = ? AND post.due_ms <= ? AND post.item NOT IN (SELECT value FROM json_each(?))
ORDER BY post.due_ms, post.item LIMIT ?

-- name: take_post
-- A post is over; its size and attempts are told.
DELETE FROM post WHERE target = ? AND item = ? RETURNING bytes, attempts

-- name: later
-- A post is to be tried again.
UPDATE post SET tried = 1, due_ms = ?, attempts = attempts + 1, error = ? WHERE target = ? AND item = ?

-- name: oldest_posts
-- The posts of a target that waited longest.
SELECT item FROM post WHERE target = ? ORDER BY item LIMIT ?

-- name: drop_last
-- An item that nothing else refers to.
DELETE FROM item WHERE id = ? AND open <= 1

-- name: drop_one
-- One reference less to an item.
UPDATE item SET open = open - 1 WHERE id = ?

-- name: delete_item
-- An item whose posts are gone.
DELETE FROM item WHERE id = ?

-- name: add_dead
-- A post has come to its end.
INSERT INTO dead (target, item, attempts, died_ms, error) VALUES (?, ?, ?, ?, ?)

-- name: dead_letters
-- Dead letters of all targets or of one, by number.
SELECT dead.id, target.name, dead.attempts, dead.died_ms, dead.error,
    item.id, item.key, item.kind, item.account, item.created_ms, item.subject, item.attributes, item.body
FROM dead JOIN target ON target.id = dead.target JOIN item ON item.id = dead.item
WHERE dead.id > ?1 AND (?2 = '' OR target.name = ?2) ORDER BY dead.id LIMIT ?3

-- name: dead_ids
-- Numbers of dead letters of all targets or of one, oldest first.
SELECT dead.id FROM dead JOIN target ON target.id = dead.target
WHERE ?1 = '' OR target.name = ?1 ORDER BY dead.id LIMIT ?2

-- name: is_dead
-- Whether there is a dead letter of a number.
SELECT 1 FROM dead WHERE id = ?

-- name: take_dead
-- A dead letter leaves; what it was is told.
DELETE FROM dead WHERE id = ? RETURNING target, item

-- name: body_size
-- How large an item is.
SELECT length(body) FROM item WHERE id = ?

-- name: first_items
-- The items that came first.
SELECT id, created_ms FROM item ORDER BY id LIMIT ?

-- name: posts_of
-- The targets that an item waits for.
SELECT target.id, target.name FROM target JOIN post ON post.target = target.id AND post.item = ?

-- name: dead_of
-- The dead letters of an item.
SELECT dead.id, target.name FROM dead JOIN target ON target.id = dead.target WHERE dead.item = ?

-- name: fullest
-- The target for which most waits, in bytes.
SELECT id, name FROM target WHERE waiting > 0 ORDER BY bytes DESC, id LIMIT 1

-- name: mentioning
-- Items above a number whose text mentions something, in any letter case.
SELECT id, body FROM item WHERE id > ? AND instr(lower(body), lower(?)) ORDER BY id LIMIT ?

-- name: items_of_account
-- Some items of an account.
SELECT id FROM item WHERE account = ? LIMIT ?
