-- Statements on what SNDS said about the relay's own addresses.

-- name: figures
-- The figures that came since a time, by address, newest first; ?1 may be NULL for all addresses.
SELECT address, begin, end, rcpt_commands, data_commands, message_recipients, spam_rate, complaint_rate, trap_hits
FROM figures WHERE (?1 IS NULL OR address = ?1) AND came_ms >= ?2 ORDER BY address, begin DESC LIMIT ?3

-- name: last
-- The newest figures of each address.
SELECT address, begin, end, rcpt_commands, data_commands, message_recipients, spam_rate, complaint_rate, trap_hits
FROM figures AS one WHERE begin = (SELECT max(begin) FROM figures WHERE address = one.address)

-- name: put
-- Figures; what came later about the same period is right, and it stays as old as it is.
INSERT INTO figures (address, begin, end, rcpt_commands, data_commands, message_recipients, spam_rate, complaint_rate,
    trap_hits, came_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (address, begin) DO UPDATE SET
    end = excluded.end, rcpt_commands = excluded.rcpt_commands, data_commands = excluded.data_commands,
    message_recipients = excluded.message_recipients, spam_rate = excluded.spam_rate,
    complaint_rate = excluded.complaint_rate, trap_hits = excluded.trap_hits

-- name: forget
-- Figures that came too long ago.
DELETE FROM figures WHERE came_ms < ?

-- name: reading
-- How the last try went.
SELECT tried_ms, read_ms, failure, bad_lines FROM reading

-- name: note_read
-- The feed was read.
INSERT INTO reading (id, tried_ms, read_ms, failure, bad_lines) VALUES (1, ?1, ?1, '', ?2)
ON CONFLICT (id) DO UPDATE SET tried_ms = excluded.tried_ms, read_ms = excluded.read_ms, failure = '',
    bad_lines = excluded.bad_lines

-- name: note_failure
-- The feed could not be read.
INSERT INTO reading (id, tried_ms, read_ms, failure, bad_lines) VALUES (1, ?1, 0, ?2, 0)
ON CONFLICT (id) DO UPDATE SET tried_ms = excluded.tried_ms, failure = excluded.failure
