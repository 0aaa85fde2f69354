-- Statements on catalog.db. Each has a name and a sentence; `catalog_files.load_queries` reads them.

-- name: migration_1
-- The first form of the catalog.
CREATE TABLE account (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    sandbox INTEGER NOT NULL,
    daily_quota INTEGER NOT NULL,
    send_rate REAL NOT NULL,
    contact TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE credential (
    username TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_by_account ON credential (account, created_ms, username);
CREATE TABLE identity (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    verified INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_addresses ON identity (account) WHERE kind = 'EMAIL_ADDRESS';
CREATE TABLE dkim_key (
    account TEXT NOT NULL,
    domain TEXT NOT NULL,
    selector TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    public_txt TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, domain, selector),
    FOREIGN KEY (account, domain) REFERENCES identity (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE change (seq INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL) STRICT;
CREATE TABLE key_check (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL) STRICT;

-- name: get_key_check
-- The value that tells whether a master key is the right one.
SELECT sealed FROM key_check WHERE id = 1;

-- name: put_key_check
-- Keep it, unless there is one.
INSERT INTO key_check (id, sealed) VALUES (1, :sealed) ON CONFLICT DO NOTHING;

-- name: note_change
-- Say that something of an account changed.
INSERT INTO change (account) VALUES (:account);

-- name: prune_changes
-- Forget old changes; a reader that is further behind drops everything it has.
DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - :keep;

-- name: changes_since
-- The changes a reader has not seen, with the oldest that is still known.
SELECT seq, account FROM change WHERE seq >= :seq ORDER BY seq;

-- name: last_change
-- The newest change.
SELECT coalesce(max(seq), 0) FROM change;

-- name: create_account
-- Add an account.
INSERT INTO account (id, state, sandbox, daily_quota, send_rate, contact, created_ms)
VALUES (:id, 'enabled', :sandbox, :daily_quota, :send_rate, :contact, :created_ms) ON CONFLICT DO NOTHING;

-- name: get_account
-- One account.
SELECT id, state, sandbox, daily_quota, send_rate, contact FROM account WHERE id = :id;

-- name: list_accounts
-- All accounts.
SELECT id, state, sandbox, daily_quota, send_rate, contact FROM account ORDER BY id;

-- name: set_limits
-- Change what is given of an account's limits.
UPDATE account SET daily_quota = coalesce(:daily_quota, daily_quota), send_rate = coalesce(:send_rate, send_rate)
WHERE id = :id;

-- name: set_state
-- Pause, close or enable an account.
UPDATE account SET state = :state WHERE id = :id;

-- name: set_sandbox
-- Move an account into or out of the sandbox.
UPDATE account SET sandbox = :sandbox WHERE id = :id;

-- name: set_contact
-- Change where an account's own mail goes.
UPDATE account SET contact = :contact WHERE id = :id;

-- name: create_credential
-- Add a credential; user names are never used again, not even after they were revoked.
INSERT INTO credential (username, kind, account, name, sealed, created_ms)
VALUES (:username, :kind, :account, :name, :sealed, :created_ms) ON CONFLICT DO NOTHING;

-- name: get_credential
-- One credential with its sealed secret.
SELECT username, kind, account, name, created_ms, revoked_ms, sealed FROM credential WHERE username = :username;

-- name: list_credentials
-- The credentials of an account, oldest first.
SELECT username, kind, account, name, created_ms, revoked_ms FROM credential
WHERE account = :account ORDER BY created_ms, username;

-- name: list_all_credentials
-- The credentials of all accounts.
SELECT username, kind, account, name, created_ms, revoked_ms FROM credential ORDER BY account, created_ms, username;

-- name: revoke_credential
-- End a credential and forget its secret.
UPDATE credential SET revoked_ms = :now_ms, sealed = x'' WHERE username = :username AND revoked_ms IS NULL;

-- name: restore_credential
-- Bring a revoked key back with a secret given anew; only in the account it belonged to.
UPDATE credential SET revoked_ms = NULL, sealed = :sealed, name = :name
WHERE username = :username AND account = :account AND kind = :kind AND revoked_ms IS NOT NULL;

-- name: create_identity
-- Add an identity.
INSERT INTO identity (account, name, kind, verified, created_ms)
VALUES (:account, :name, :kind, 0, :created_ms) ON CONFLICT DO NOTHING;

-- name: get_identity
-- One identity.
SELECT account, name, kind, verified, created_ms FROM identity WHERE account = :account AND name = :name;

-- name: list_identities
-- One page of an account's identities, by name.
SELECT account, name, kind, verified, created_ms FROM identity
WHERE account = :account AND name > :after ORDER BY name LIMIT :limit;

-- name: verify_identity
-- Mark an identity as verified or not.
UPDATE identity SET verified = :verified WHERE account = :account AND name = :name;

-- name: delete_identity
-- Remove an identity; its keys go with it.
DELETE FROM identity WHERE account = :account AND name = :name;

-- name: covering_identities
-- The verified identities among some names (a JSON array).
SELECT account, name, kind, verified, created_ms,
    EXISTS (SELECT 1 FROM dkim_key AS k WHERE k.account = i.account AND k.domain = i.name AND k.state = 'active')
FROM identity AS i
WHERE account = :account AND name IN (SELECT value FROM json_each(:names)) AND kind = :kind AND verified;

-- name: has_addresses
-- Whether an account has address identities at all.
SELECT EXISTS (SELECT 1 FROM identity WHERE account = :account AND kind = 'EMAIL_ADDRESS');

-- name: create_dkim_key
-- Add a signing key to a domain identity.
INSERT INTO dkim_key (account, domain, selector, algorithm, sealed, public_txt, state, created_ms)
VALUES (:account, :domain, :selector, :algorithm, :sealed, :public_txt, 'active', :created_ms) ON CONFLICT DO NOTHING;

-- name: list_dkim_keys
-- The keys of a domain identity, RSA first.
SELECT selector, algorithm, public_txt, state, created_ms, sealed FROM dkim_key
WHERE account = :account AND domain = :domain ORDER BY algorithm DESC, created_ms, selector;

-- name: delete_dkim_key
-- Remove one key.
DELETE FROM dkim_key WHERE account = :account AND domain = :domain AND selector = :selector;
