-- Statements that copy a damaged spool, table by table. Those that read give the row number first.

-- name: columns_message
-- The columns of a table; none when it is not there.
SELECT name FROM pragma_table_info('message')

-- name: columns_content
-- As above.
SELECT name FROM pragma_table_info('content')

-- name: columns_delivery
-- As above.
SELECT name FROM pragma_table_info('delivery')

-- name: columns_event
-- As above.
SELECT name FROM pragma_table_info('event')

-- name: columns_inbox
-- As above.
SELECT name FROM pragma_table_info('inbox')

-- name: columns_meta
-- As above.
SELECT name FROM pragma_table_info('meta')

-- name: columns_usage
-- As above.
SELECT name FROM pragma_table_info('usage')

-- name: columns_dedupe
-- As above.
SELECT name FROM pragma_table_info('dedupe')

-- name: columns_scan
-- As above.
SELECT name FROM pragma_table_info('scan')

-- name: read_message
-- Rows in the order of the table, not of an index.
SELECT rowid, * FROM message NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_message
-- A row saved.
INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: read_content
-- Rows in the order of the table.
SELECT rowid, * FROM content NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_content
-- A row saved.
INSERT OR IGNORE INTO content VALUES (?, ?, ?, ?, ?, ?)

-- name: read_delivery
-- Rows in the order of the table.
SELECT rowid, * FROM delivery NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_delivery
-- A row saved.
INSERT OR IGNORE INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: read_event
-- Rows in the order of the table.
SELECT rowid, * FROM event NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_event
-- A row saved.
INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?)

-- name: read_inbox
-- Rows in the order of the table.
SELECT rowid, * FROM inbox NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_inbox
-- A row saved.
INSERT OR IGNORE INTO inbox VALUES (?, ?, ?, ?)

-- name: read_meta
-- Single values.
SELECT name, value FROM meta

-- name: insert_meta
-- A value saved.
INSERT OR IGNORE INTO meta VALUES (?, ?)

-- name: read_usage
-- Usage.
SELECT account, minute, recipients FROM usage

-- name: insert_usage
-- A row saved.
INSERT OR IGNORE INTO usage VALUES (?, ?, ?)

-- name: read_dedupe
-- Dedupe keys.
SELECT dedupe_key, settled_ms FROM dedupe

-- name: insert_dedupe
-- A row saved.
INSERT OR IGNORE INTO dedupe VALUES (?, ?)

-- name: read_scan
-- Rows in the order of the table.
SELECT rowid, * FROM scan NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_scan
-- A row saved.
INSERT OR IGNORE INTO scan VALUES (?, ?, ?, ?, ?, ?)

-- name: columns_hold
-- As above.
SELECT name FROM pragma_table_info('hold')

-- name: read_hold
-- Rows in the order of the table.
SELECT rowid, * FROM hold NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_hold
-- A row saved.
INSERT OR IGNORE INTO hold VALUES (?, ?, ?)

-- name: columns_dialogue
-- As above.
SELECT name FROM pragma_table_info('dialogue')

-- name: read_dialogue
-- Rows in the order of the table.
SELECT rowid, * FROM dialogue NOT INDEXED WHERE rowid > ? ORDER BY rowid

-- name: insert_dialogue
-- A row saved.
INSERT OR IGNORE INTO dialogue VALUES (?, ?, ?)
