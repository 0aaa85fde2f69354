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

-- name: migration_2
-- Senders as SES knows them: users and their policies, what an identity is set to, how its DNS records are found,
-- DKIM keys with a life of their own, MAIL FROM, policies, configuration sets, reviews, mail to contacts.
CREATE TABLE account_details (
    account TEXT PRIMARY KEY REFERENCES account (id),
    mail_type TEXT NOT NULL,
    website_url TEXT NOT NULL,
    use_case TEXT NOT NULL,
    contact_language TEXT NOT NULL,
    contacts TEXT NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE review (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    kind TEXT NOT NULL,
    requested TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    decided_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX review_pending ON review (account, kind) WHERE state = 'PENDING';
CREATE INDEX review_by_account ON review (account, id);
CREATE TABLE user (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE user_policy (
    account TEXT NOT NULL,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (account, user, name),
    FOREIGN KEY (account, user) REFERENCES user (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
ALTER TABLE credential ADD COLUMN user TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN configuration_set TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN feedback_forwarding INTEGER NOT NULL DEFAULT 1;
ALTER TABLE identity ADD COLUMN txt_token TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN dkim_signing INTEGER;
ALTER TABLE identity ADD COLUMN dkim_origin TEXT NOT NULL DEFAULT 'AWS_SES';
ALTER TABLE identity ADD COLUMN dkim_key_length TEXT NOT NULL DEFAULT 'RSA_2048_BIT';
ALTER TABLE identity ADD COLUMN dkim_next_key_length TEXT NOT NULL DEFAULT 'RSA_2048_BIT';
ALTER TABLE identity ADD COLUMN dkim_length_changed_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN dkim_rotated_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN mail_from_domain TEXT NOT NULL DEFAULT '';
ALTER TABLE identity ADD COLUMN mail_from_fallback TEXT NOT NULL DEFAULT 'USE_DEFAULT_VALUE';
CREATE INDEX identity_mail_from ON identity (mail_from_domain) WHERE mail_from_domain <> '';
ALTER TABLE dkim_key ADD COLUMN origin TEXT NOT NULL DEFAULT 'AWS_SES';
ALTER TABLE dkim_key ADD COLUMN retired_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE identity_check (
    account TEXT NOT NULL,
    identity TEXT NOT NULL,
    aspect TEXT NOT NULL,
    state TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    checked_ms INTEGER NOT NULL,
    next_ms INTEGER NOT NULL,
    error_type TEXT NOT NULL,
    error_text TEXT NOT NULL,
    PRIMARY KEY (account, identity, aspect),
    FOREIGN KEY (account, identity) REFERENCES identity (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_check_due ON identity_check (next_ms) WHERE next_ms > 0;
INSERT INTO identity_check (account, identity, aspect, state, since_ms, checked_ms, next_ms, error_type, error_text)
SELECT account, name, 'VERIFICATION', 'SUCCESS', created_ms, 0, 0, '', '' FROM identity WHERE verified;
INSERT INTO identity_check (account, identity, aspect, state, since_ms, checked_ms, next_ms, error_type, error_text)
SELECT account, name, 'DKIM', 'SUCCESS', created_ms, 0, 0, '', '' FROM identity AS i
WHERE verified AND EXISTS (SELECT 1 FROM dkim_key AS k WHERE k.account = i.account AND k.domain = i.name);
CREATE TABLE identity_policy (
    account TEXT NOT NULL,
    identity TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (account, identity, name),
    FOREIGN KEY (account, identity) REFERENCES identity (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE identity_tag (
    account TEXT NOT NULL,
    identity TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, identity, key),
    FOREIGN KEY (account, identity) REFERENCES identity (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE configuration_set (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    sending_enabled INTEGER NOT NULL,
    reputation_metrics INTEGER NOT NULL,
    tls_policy TEXT NOT NULL,
    sending_pool TEXT NOT NULL,
    max_delivery_seconds INTEGER NOT NULL,
    suppressed_reasons TEXT,
    redirect_domain TEXT NOT NULL,
    https_policy TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE configuration_set_tag (
    account TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, configuration_set, key),
    FOREIGN KEY (account, configuration_set) REFERENCES configuration_set (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE verification_template (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    from_address TEXT NOT NULL,
    subject TEXT NOT NULL,
    content TEXT NOT NULL,
    success_url TEXT NOT NULL,
    failure_url TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE verification_link (
    token_hash BLOB PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    address TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    template TEXT NOT NULL,
    success_url TEXT NOT NULL,
    failure_url TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_link_by_address ON verification_link (account, address);
CREATE INDEX verification_link_by_mailbox ON verification_link (mailbox, created_ms);
CREATE INDEX verification_link_by_end ON verification_link (expires_ms);
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    recipient TEXT NOT NULL,
    signed_by TEXT NOT NULL,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

-- name: migration_3
-- What delivery asks of accounts.
ALTER TABLE account ADD COLUMN recipient_check INTEGER NOT NULL DEFAULT 0;
-- What counts for its suppression list, and since when enforcement has paused it.
ALTER TABLE account ADD COLUMN suppressed_reasons TEXT NOT NULL DEFAULT '["BOUNCE","COMPLAINT"]';
ALTER TABLE account ADD COLUMN paused_ms INTEGER NOT NULL DEFAULT 0;
-- Since when it is closed; 90 days later it is deleted.
ALTER TABLE account ADD COLUMN closed_ms INTEGER NOT NULL DEFAULT 0;
UPDATE account SET closed_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE state = 'closed';
-- Where mail leaves from: source addresses, pools, who uses which, ranges that accounts bring with them.
CREATE TABLE pool (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    scaling_mode TEXT NOT NULL,
    overflow TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE pool_tag (
    account TEXT NOT NULL,
    pool TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (account, pool, key),
    FOREIGN KEY (account, pool) REFERENCES pool (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE source_address (
    address TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    pool TEXT NOT NULL,
    helo_name TEXT NOT NULL,
    weight INTEGER NOT NULL,
    warmup TEXT NOT NULL,
    warmup_percent INTEGER NOT NULL,
    warmup_started_ms INTEGER NOT NULL,
    origin TEXT NOT NULL,
    declared TEXT NOT NULL,
    reserve INTEGER NOT NULL,
    absent_ms INTEGER NOT NULL,
    suspended TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    reverse_state TEXT NOT NULL DEFAULT 'unknown',
    reverse_names TEXT NOT NULL DEFAULT '[]',
    reverse_helo INTEGER NOT NULL DEFAULT 0,
    reverse_error TEXT NOT NULL DEFAULT '',
    reverse_checked_ms INTEGER NOT NULL DEFAULT 0,
    reverse_next_ms INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
CREATE INDEX source_address_by_pool ON source_address (account, pool);
CREATE TABLE address_range (
    network TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    registry TEXT NOT NULL,
    use_case TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pool_rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    pool TEXT NOT NULL
) STRICT;
CREATE TABLE account_sending (
    account TEXT PRIMARY KEY REFERENCES account (id),
    pool TEXT NOT NULL,
    shared_barred INTEGER NOT NULL,
    auto_warmup INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE identity ADD COLUMN pool TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN weight INTEGER NOT NULL DEFAULT 10;
ALTER TABLE configuration_set ADD COLUMN priority TEXT NOT NULL DEFAULT 'AUTO';
ALTER TABLE configuration_set ADD COLUMN weight INTEGER NOT NULL DEFAULT 10;
ALTER TABLE configuration_set ADD COLUMN engaged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE configuration_set ADD COLUMN engagement_metrics INTEGER;
ALTER TABLE configuration_set ADD COLUMN optimized_delivery INTEGER;
-- How feedback about an identity's mail is told. identity: its name, or its ARN where another account owns it.
CREATE TABLE identity_feedback (
    account TEXT NOT NULL,
    identity TEXT NOT NULL,
    forwarding INTEGER NOT NULL,
    bounce_topic TEXT NOT NULL,
    complaint_topic TEXT NOT NULL,
    delivery_topic TEXT NOT NULL,
    headers TEXT NOT NULL,
    PRIMARY KEY (account, identity)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER identity_feedback_goes AFTER DELETE ON identity
BEGIN DELETE FROM identity_feedback WHERE account = old.account AND identity = old.name; END;
-- Where events of a configuration set are published.
CREATE TABLE event_destination (
    account TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    name TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    types TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    role_arn TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, configuration_set, name),
    FOREIGN KEY (account, configuration_set) REFERENCES configuration_set (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- Topics, and who gets what is published to them.
CREATE TABLE topic (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    policy TEXT NOT NULL,
    delivery_policy TEXT NOT NULL,
    signature_version TEXT NOT NULL,
    ended INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE topic_subscription (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    topic TEXT NOT NULL,
    owner TEXT NOT NULL,
    protocol TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    state TEXT NOT NULL,
    token_hash BLOB NOT NULL,
    token_ms INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    authenticated INTEGER NOT NULL,
    protected INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    filter_policy TEXT NOT NULL,
    filter_scope TEXT NOT NULL,
    delivery_policy TEXT NOT NULL,
    redrive TEXT NOT NULL,
    sealed BLOB NOT NULL,
    FOREIGN KEY (account, topic) REFERENCES topic (account, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX topic_subscription_by_endpoint ON topic_subscription (account, topic, protocol, endpoint);
CREATE INDEX topic_subscription_by_token ON topic_subscription (token_hash);
CREATE INDEX topic_subscription_by_end ON topic_subscription (token_ms) WHERE state <> 'confirmed';
CREATE INDEX topic_subscription_unasked ON topic_subscription (token_ms) WHERE asked = 0;
CREATE INDEX topic_subscription_by_owner ON topic_subscription (owner, id);
-- What is held against how accounts send, and what follows from it.
ALTER TABLE account ADD COLUMN enforcement TEXT NOT NULL DEFAULT 'none';
ALTER TABLE account ADD COLUMN fresh_start_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE configuration_set ADD COLUMN enforcement TEXT NOT NULL DEFAULT 'none';
ALTER TABLE configuration_set ADD COLUMN fresh_start_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE finding (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    configuration_set TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    ends_ms INTEGER NOT NULL,
    evidence_from_ms INTEGER NOT NULL,
    evidence INTEGER NOT NULL,
    below_ms INTEGER NOT NULL,
    manual INTEGER NOT NULL,
    cause TEXT NOT NULL,
    note TEXT NOT NULL,
    about TEXT NOT NULL,
    reason TEXT NOT NULL,
    sample BLOB
) STRICT;
CREATE INDEX finding_by_subject ON finding (account, configuration_set, id);
CREATE INDEX finding_open ON finding (state) WHERE state <> 'closed';
CREATE TABLE account_link (
    account TEXT NOT NULL REFERENCES account (id),
    other TEXT NOT NULL REFERENCES account (id),
    PRIMARY KEY (account, other)
) STRICT, WITHOUT ROWID;
CREATE TABLE account_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL REFERENCES account (id),
    created_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX account_event_by_account ON account_event (account, id);
ALTER TABLE review ADD COLUMN finding INTEGER NOT NULL DEFAULT 0;
DROP INDEX review_pending;
CREATE UNIQUE INDEX review_pending ON review (account, kind, finding) WHERE state = 'PENDING';
-- Alarms on what is measured, and how they changed.
CREATE TABLE alarm (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    metric TEXT NOT NULL,
    configuration_set TEXT NOT NULL,
    threshold REAL NOT NULL,
    volume_min INTEGER NOT NULL,
    topic TEXT NOT NULL,
    actions TEXT NOT NULL,
    state TEXT NOT NULL,
    measured TEXT NOT NULL,
    reason TEXT NOT NULL,
    changed_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm_change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    old_state TEXT NOT NULL,
    told TEXT NOT NULL,
    alarm TEXT NOT NULL
) STRICT;
CREATE INDEX alarm_change_by_alarm ON alarm_change (account, name, id);
CREATE INDEX alarm_change_waiting ON alarm_change (id) WHERE told = 'waiting';

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
SELECT id, state, sandbox, daily_quota, send_rate, contact, recipient_check, weight, suppressed_reasons, enforcement,
    fresh_start_ms
FROM account WHERE id = :id;

-- name: list_accounts
-- All accounts.
SELECT id, state, sandbox, daily_quota, send_rate, contact, recipient_check, weight, suppressed_reasons, enforcement,
    fresh_start_ms
FROM account ORDER BY id;

-- name: set_weight
-- Change what share of the relay an account has beside others.
UPDATE account SET weight = :weight WHERE id = :id;

-- name: set_limits
-- Change what is given of an account's limits.
UPDATE account SET daily_quota = coalesce(:daily_quota, daily_quota), send_rate = coalesce(:send_rate, send_rate)
WHERE id = :id;

-- name: set_state
-- Pause, close or enable an account; the time of being closed is that of its beginning.
UPDATE account SET state = :state,
    closed_ms = CASE WHEN :state <> 'closed' THEN 0 WHEN state = 'closed' THEN closed_ms ELSE :now_ms END
WHERE id = :id;

-- name: closed_before
-- Accounts that were closed before a time.
SELECT id FROM account WHERE state = 'closed' AND closed_ms > 0 AND closed_ms <= :until_ms ORDER BY id;

-- name: note_pauses
-- Begin to count where a pause has no beginning yet.
UPDATE account SET paused_ms = :now_ms WHERE enforcement <> 'none' AND paused_ms = 0;

-- name: paused_before
-- Accounts whose pause by enforcement began before a time.
SELECT id FROM account WHERE enforcement <> 'none' AND paused_ms BETWEEN 1 AND :until_ms ORDER BY id;

-- name: set_suppressed_reasons
-- Change which reasons count for an account's suppression list.
UPDATE account SET suppressed_reasons = :suppressed_reasons WHERE id = :id;

-- name: set_sandbox
-- Move an account into or out of the sandbox.
UPDATE account SET sandbox = :sandbox WHERE id = :id;

-- name: set_recipient_check
-- Ask for the domains of recipients before mail is accepted, or not.
UPDATE account SET recipient_check = :recipient_check WHERE id = :id;

-- name: set_contact
-- Change where an account's own mail goes.
UPDATE account SET contact = :contact WHERE id = :id;

-- name: create_credential
-- Add a credential; user names are never used again, not even after they were revoked.
INSERT INTO credential (username, kind, account, name, sealed, created_ms, user)
VALUES (:username, :kind, :account, :name, :sealed, :created_ms, :user) ON CONFLICT DO NOTHING;

-- name: get_credential
-- One credential with its sealed secret.
SELECT username, kind, account, name, created_ms, revoked_ms, user, sealed FROM credential WHERE username = :username;

-- name: list_credentials
-- The credentials of an account, oldest first.
SELECT username, kind, account, name, created_ms, revoked_ms, user FROM credential
WHERE account = :account ORDER BY created_ms, username;

-- name: list_all_credentials
-- The credentials of all accounts.
SELECT username, kind, account, name, created_ms, revoked_ms, user FROM credential ORDER BY account, created_ms, username;

-- name: revoke_credential
-- End a credential and forget its secret.
UPDATE credential SET revoked_ms = :now_ms, sealed = x'' WHERE username = :username AND revoked_ms IS NULL;

-- name: restore_credential
-- Bring a revoked key back with a secret given anew; only in the account it belonged to.
UPDATE credential SET revoked_ms = NULL, sealed = :sealed, name = :name, user = :user
WHERE username = :username AND account = :account AND kind = :kind AND revoked_ms IS NOT NULL;

-- name: revoke_credentials_of
-- End all credentials of a user.
UPDATE credential SET revoked_ms = :now_ms, sealed = x''
WHERE account = :account AND user = :user AND revoked_ms IS NULL;

-- name: create_user
-- Add a user.
INSERT INTO user (account, name, created_ms) VALUES (:account, :name, :created_ms) ON CONFLICT DO NOTHING;

-- name: get_user
-- One user.
SELECT account, name, created_ms FROM user WHERE account = :account AND name = :name;

-- name: list_users
-- One page of an account's users, by name, with how many policies and active credentials each has.
SELECT account, name, created_ms,
    (SELECT count(*) FROM user_policy AS p WHERE p.account = u.account AND p.user = u.name),
    (SELECT count(*) FROM credential AS c WHERE c.account = u.account AND c.user = u.name AND c.revoked_ms IS NULL)
FROM user AS u WHERE account = :account AND name > :after ORDER BY name LIMIT :limit;

-- name: count_users
-- How many users an account has.
SELECT count(*) FROM user WHERE account = :account;

-- name: delete_user
-- Remove a user; its policies go with it.
DELETE FROM user WHERE account = :account AND name = :name;

-- name: put_user_policy
-- Add a policy of a user, or replace it.
INSERT INTO user_policy (account, user, name, document, updated_ms)
VALUES (:account, :user, :name, :document, :updated_ms)
ON CONFLICT DO UPDATE SET document = excluded.document, updated_ms = excluded.updated_ms;

-- name: list_user_policies
-- The policies of a user, by name.
SELECT name, document, updated_ms FROM user_policy WHERE account = :account AND user = :user ORDER BY name;

-- name: delete_user_policy
-- Remove a policy of a user.
DELETE FROM user_policy WHERE account = :account AND user = :user AND name = :name;

-- name: put_identity_policy
-- Add a policy of an identity, or replace it.
INSERT INTO identity_policy (account, identity, name, document, updated_ms)
VALUES (:account, :identity, :name, :document, :updated_ms)
ON CONFLICT DO UPDATE SET document = excluded.document, updated_ms = excluded.updated_ms;

-- name: list_identity_policies
-- The policies of an identity, by name.
SELECT name, document, updated_ms FROM identity_policy
WHERE account = :account AND identity = :identity ORDER BY name;

-- name: get_identity_policy
-- One policy of an identity.
SELECT name, document, updated_ms FROM identity_policy
WHERE account = :account AND identity = :identity AND name = :name;

-- name: delete_identity_policy
-- Remove a policy of an identity.
DELETE FROM identity_policy WHERE account = :account AND identity = :identity AND name = :name;

-- name: has_identity_policies
-- Whether any identity of an account has a policy.
SELECT EXISTS (SELECT 1 FROM identity_policy WHERE account = :account);

-- name: policies_of_identities
-- All identities among some names (a JSON array), verified or not; one row for each policy, NULL where there is none.
SELECT i.account, i.name, i.kind, i.verified, i.created_ms, p.name, p.document
FROM identity AS i LEFT JOIN identity_policy AS p ON p.account = i.account AND p.identity = i.name
WHERE i.account = :account AND i.name IN (SELECT value FROM json_each(:names)) ORDER BY i.name, p.name;

-- name: get_account_details
-- What an account says about itself.
SELECT mail_type, website_url, use_case, contacts, contact_language FROM account_details WHERE account = :account;

-- name: put_account_details
-- Keep what an account says about itself.
INSERT INTO account_details (account, mail_type, website_url, use_case, contact_language, contacts, updated_ms)
VALUES (:account, :mail_type, :website_url, :use_case, :contact_language, :contacts, :updated_ms)
ON CONFLICT DO UPDATE SET mail_type = excluded.mail_type, website_url = excluded.website_url,
    use_case = excluded.use_case, contact_language = excluded.contact_language, contacts = excluded.contacts,
    updated_ms = excluded.updated_ms;

-- name: create_review
-- Ask for something; at most one request of a kind waits for each account, or for each of its findings.
INSERT INTO review (account, kind, requested, state, reason, created_ms, finding)
VALUES (:account, :kind, :requested, 'PENDING', '', :created_ms, :finding) ON CONFLICT DO NOTHING RETURNING id;

-- name: get_review
-- One request.
SELECT id, account, kind, state, created_ms, requested, reason, decided_ms, finding FROM review WHERE id = :id;

-- name: record_rule
-- Keep what a rule did, as a request that was granted at once.
INSERT INTO review (account, kind, requested, state, reason, created_ms, decided_ms)
VALUES (:account, 'rule', :requested, 'GRANTED', :reason, :now_ms, :now_ms);

-- name: last_rule
-- When a rule changed an account last, 0: never.
SELECT coalesce(max(decided_ms), 0) FROM review WHERE account = :account AND kind = 'rule';

-- name: pending_review
-- The request of a kind that waits for an account.
SELECT id, account, kind, state, created_ms, requested, reason, decided_ms, finding FROM review
WHERE account = :account AND kind = :kind AND finding = :finding AND state = 'PENDING';

-- name: list_reviews
-- One page of requests, newest first; :account and :state may be NULL for all.
SELECT id, account, kind, state, created_ms, requested, reason, decided_ms, finding FROM review
WHERE (:account IS NULL OR account = :account) AND (:state IS NULL OR state = :state) AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: decide_review
-- Grant or deny a request that waits.
UPDATE review SET state = :state, reason = :reason, decided_ms = :now_ms WHERE id = :id AND state = 'PENDING';

-- name: create_configuration_set
-- Add a configuration set.
INSERT INTO configuration_set (account, name, sending_enabled, reputation_metrics, tls_policy, sending_pool,
    max_delivery_seconds, suppressed_reasons, redirect_domain, https_policy, created_ms, priority, weight, engaged,
    engagement_metrics, optimized_delivery, enforcement)
VALUES (:account, :name, :sending_enabled, :reputation_metrics, :tls_policy, :sending_pool,
    :max_delivery_seconds, :suppressed_reasons, :redirect_domain, :https_policy, :created_ms, :priority, :weight,
    :engaged, :engagement_metrics, :optimized_delivery, CASE WHEN EXISTS (
        SELECT 1 FROM finding WHERE account = :account AND configuration_set = :name AND state = 'sending paused')
    THEN 'paused' ELSE 'none' END)
ON CONFLICT DO NOTHING;

-- name: get_configuration_set
-- One configuration set.
SELECT account, name, sending_enabled, reputation_metrics, tls_policy, sending_pool, max_delivery_seconds,
    suppressed_reasons, redirect_domain, https_policy, created_ms, priority, weight, engaged, enforcement,
    fresh_start_ms, engagement_metrics, optimized_delivery
FROM configuration_set WHERE account = :account AND name = :name;

-- name: list_configuration_sets
-- One page of an account's configuration sets, by name.
SELECT account, name, sending_enabled, reputation_metrics, tls_policy, sending_pool, max_delivery_seconds,
    suppressed_reasons, redirect_domain, https_policy, created_ms, priority, weight, engaged, enforcement,
    fresh_start_ms, engagement_metrics, optimized_delivery
FROM configuration_set WHERE account = :account AND name > :after ORDER BY name LIMIT :limit;

-- name: count_configuration_sets
-- How many an account has.
SELECT count(*) FROM configuration_set WHERE account = :account;

-- name: update_configuration_set
-- Change everything about a configuration set but its name.
UPDATE configuration_set SET sending_enabled = :sending_enabled, reputation_metrics = :reputation_metrics,
    tls_policy = :tls_policy, sending_pool = :sending_pool, max_delivery_seconds = :max_delivery_seconds,
    suppressed_reasons = :suppressed_reasons, redirect_domain = :redirect_domain, https_policy = :https_policy,
    priority = :priority, weight = :weight, engaged = :engaged, engagement_metrics = :engagement_metrics,
    optimized_delivery = :optimized_delivery
WHERE account = :account AND name = :name;

-- name: delete_configuration_set
-- Remove a configuration set; its tags go with it, identities that name it as their default keep naming it.
DELETE FROM configuration_set WHERE account = :account AND name = :name;

-- name: create_event_destination
-- A new destination of a configuration set.
INSERT INTO event_destination (account, configuration_set, name, enabled, types, kind, target, role_arn, dimensions,
    created_ms)
VALUES (:account, :configuration_set, :name, :enabled, :types, :kind, :target, :role_arn, :dimensions, :created_ms);

-- name: list_event_destinations
-- The destinations of a configuration set; there are ten at most.
SELECT account, configuration_set, name, enabled, types, kind, target, role_arn, dimensions, created_ms
FROM event_destination WHERE account = :account AND configuration_set = :configuration_set ORDER BY name;

-- name: update_event_destination
-- Everything about a destination but its name.
UPDATE event_destination SET enabled = :enabled, types = :types, kind = :kind, target = :target,
    role_arn = :role_arn, dimensions = :dimensions
WHERE account = :account AND configuration_set = :configuration_set AND name = :name;

-- name: delete_event_destination
-- A destination is no more.
DELETE FROM event_destination
WHERE account = :account AND configuration_set = :configuration_set AND name = :name;

-- name: any_event_destination
-- Whether there is any.
SELECT 1 FROM event_destination LIMIT 1;

-- name: metrics_destinations
-- The names of all destinations that are metrics.
SELECT account, configuration_set, name FROM event_destination WHERE kind = 'metrics';

-- name: list_configuration_set_tags
-- The tags of a configuration set.
SELECT key, value FROM configuration_set_tag
WHERE account = :account AND configuration_set = :name ORDER BY key;

-- name: put_configuration_set_tag
-- Add a tag, or replace its value.
INSERT INTO configuration_set_tag (account, configuration_set, key, value) VALUES (:account, :name, :key, :value)
ON CONFLICT DO UPDATE SET value = excluded.value;

-- name: delete_configuration_set_tag
-- Remove a tag.
DELETE FROM configuration_set_tag WHERE account = :account AND configuration_set = :name AND key = :key;

-- name: set_default_configuration_set
-- Choose the configuration set of mail from an identity that names none, '' for none.
UPDATE identity SET configuration_set = :configuration_set WHERE account = :account AND name = :name;

-- name: identities_of_configuration_set
-- The identities whose default it is.
SELECT name FROM identity WHERE account = :account AND configuration_set = :configuration_set ORDER BY name LIMIT :limit;

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

-- name: get_identity_feedback
-- How feedback about an identity's mail is told.
SELECT forwarding, bounce_topic, complaint_topic, delivery_topic, headers FROM identity_feedback
WHERE account = :account AND identity = :identity;

-- name: any_identity_topic
-- Whether any identity has a topic for notifications.
SELECT 1 FROM identity_feedback WHERE bounce_topic <> '' OR complaint_topic <> '' OR delivery_topic <> '' LIMIT 1;

-- name: put_identity_feedback
-- Keep the settings.
INSERT OR REPLACE INTO identity_feedback
    (account, identity, forwarding, bounce_topic, complaint_topic, delivery_topic, headers)
VALUES (:account, :identity, :forwarding, :bounce_topic, :complaint_topic, :delivery_topic, :headers);

-- name: publishes
-- Whether a configuration set has an enabled destination for a type of event.
SELECT EXISTS (
    SELECT 1 FROM event_destination
    WHERE account = :account AND configuration_set = :configuration_set AND enabled
        AND EXISTS (SELECT 1 FROM json_each(types) WHERE value = :type)
);

-- name: covering_identity
-- A verified identity with its settings: default set, whether keys sign, what it says of signing, MAIL FROM.
-- Asked for one name at a time, since a list of names costs more than its look-ups.
SELECT account, name, kind, verified, created_ms,
    EXISTS (SELECT 1 FROM dkim_key AS k WHERE k.account = i.account AND k.domain = i.name AND k.state = 'active'),
    i.configuration_set, i.dkim_signing, i.mail_from_domain, i.mail_from_fallback,
    CASE i.mail_from_domain WHEN '' THEN '' ELSE (SELECT state FROM identity_check AS c
        WHERE c.account = i.account AND c.identity = i.name AND c.aspect = 'MAIL_FROM') END,
    i.pool
FROM identity AS i
WHERE account = :account AND name = :name AND kind = :kind AND verified;

-- name: has_addresses
-- Whether an account has address identities at all.
SELECT EXISTS (SELECT 1 FROM identity WHERE account = :account AND kind = 'EMAIL_ADDRESS');

-- name: get_mail_from
-- The MAIL FROM domain of an identity, and what holds while it is not usable.
SELECT mail_from_domain, mail_from_fallback FROM identity WHERE account = :account AND name = :name;

-- name: set_mail_from
-- Change them.
UPDATE identity SET mail_from_domain = :domain, mail_from_fallback = :fallback
WHERE account = :account AND name = :name;

-- name: sends_from_domain
-- Whether an account has the domain, or an address at it, as an identity.
SELECT 1 FROM identity WHERE account = :account AND (name = :domain OR substr(name, -length(:domain) - 1) = '@' || :domain) LIMIT 1;

-- name: delete_check
-- Forget a check that nobody wants any more.
DELETE FROM identity_check WHERE account = :account AND identity = :identity AND aspect = :aspect;

-- name: is_mail_from_domain
-- Whether a domain is the MAIL FROM domain of any identity.
SELECT EXISTS (SELECT 1 FROM identity WHERE mail_from_domain = :domain AND mail_from_domain <> '');

-- name: create_dkim_key
-- Add a signing key to a domain identity; it waits for its record.
INSERT INTO dkim_key (account, domain, selector, algorithm, sealed, public_txt, state, created_ms, origin)
VALUES (:account, :domain, :selector, :algorithm, :sealed, :public_txt, 'pending', :created_ms, :origin)
ON CONFLICT DO NOTHING;

-- name: list_dkim_keys
-- The keys of a domain identity, RSA first.
SELECT selector, algorithm, public_txt, state, created_ms, origin, retired_ms FROM dkim_key
WHERE account = :account AND domain = :domain ORDER BY algorithm DESC, created_ms, selector;

-- name: signing_keys
-- The keys that sign for a domain, RSA first.
SELECT selector, algorithm, sealed FROM dkim_key
WHERE account = :account AND domain = :domain AND state = 'active' ORDER BY algorithm DESC, created_ms, selector;

-- name: move_dkim_key
-- Change the state of a key; the time of its last retirement stays known.
UPDATE dkim_key SET state = :state, retired_ms = CASE WHEN :state = 'retired' THEN :now_ms ELSE retired_ms END
WHERE account = :account AND domain = :domain AND selector = :selector AND state = :before;

-- name: renew_dkim_key
-- Put a new pair behind the name of a retired key.
UPDATE dkim_key SET sealed = :sealed, public_txt = :public_txt, created_ms = :created_ms
WHERE account = :account AND domain = :domain AND selector = :selector AND state = 'retired';

-- name: dkim_work
-- One page of domains whose key is to be replaced, or that have keys in a state that ends.
SELECT account, name, dkim_rotated_ms FROM identity AS i
WHERE kind = 'DOMAIN' AND (account, name) > (:account, :name) AND EXISTS (SELECT 1 FROM dkim_key AS k
    WHERE k.account = i.account AND k.domain = i.name AND (
        (k.state = 'retired' AND k.retired_ms <= :retired_before_ms)
        OR (k.state = 'standby' AND i.dkim_rotated_ms <= :rotated_before_ms)
        OR (k.state = 'pending' AND EXISTS (SELECT 1 FROM dkim_key AS a
            WHERE a.account = i.account AND a.domain = i.name AND a.state = 'active'))
    ))
ORDER BY account, name LIMIT :limit;

-- name: list_zone_keys
-- One page of the keys that the relay's own zone makes known.
SELECT account, domain, selector, public_txt FROM dkim_key
WHERE origin = 'AWS_SES' AND (account, domain, selector) > (:account, :domain, :selector)
ORDER BY account, domain, selector LIMIT :limit;

-- name: get_dkim_settings
-- How an identity signs.
SELECT dkim_signing, dkim_origin, dkim_next_key_length, dkim_length_changed_ms, dkim_rotated_ms
FROM identity WHERE account = :account AND name = :name;

-- name: set_dkim_signing
-- Turn signing on or off for an identity.
UPDATE identity SET dkim_signing = :signing WHERE account = :account AND name = :name;

-- name: set_dkim_origin
-- Say where the keys of a domain come from.
UPDATE identity SET dkim_origin = :origin WHERE account = :account AND name = :name;

-- name: set_dkim_length
-- Say how long the next keys are.
UPDATE identity SET dkim_next_key_length = :length, dkim_length_changed_ms = :now_ms
WHERE account = :account AND name = :name;

-- name: note_dkim_rotation
-- Remember when another key began to sign.
UPDATE identity SET dkim_rotated_ms = :now_ms WHERE account = :account AND name = :name;

-- name: delete_dkim_key
-- Remove one key.
DELETE FROM dkim_key WHERE account = :account AND domain = :domain AND selector = :selector;

-- name: add_notice
-- Put a mail of the relay's own beside the change it tells about.
INSERT INTO notice (account, recipient, signed_by, head, body, created_ms)
VALUES (:account, :recipient, :signed_by, :head, :body, :created_ms);

-- name: list_notices
-- The numbers of mails that wait to be handed to a worker, oldest first.
SELECT id FROM notice WHERE id > :after ORDER BY id LIMIT :limit;

-- name: get_notice
-- One mail that waits.
SELECT id, account, recipient, signed_by, head, body, created_ms FROM notice WHERE id = :id;

-- name: count_notices
-- How many wait for an account, and their octets.
SELECT count(*), coalesce(sum(length(head) + length(body)), 0) FROM notice WHERE account = :account;

-- name: delete_notices
-- Forget mails (a JSON array of their numbers) that a worker has committed.
DELETE FROM notice WHERE id IN (SELECT value FROM json_each(:ids));

-- name: void_requests
-- Drop the mails of an address's unused links that are not handed over yet; each was written with its link.
DELETE FROM notice WHERE account = :account AND recipient = :address AND created_ms IN (
    SELECT created_ms FROM verification_link WHERE account = :account AND address = :address AND used_ms = 0
);

-- name: void_links
-- End the unused links of an address. They stay until they are old, because they count as mailed.
UPDATE verification_link SET used_ms = :now_ms WHERE account = :account AND address = :address AND used_ms = 0;

-- name: links_to_mailbox
-- How many links an account mailed to a mailbox since a time, and when the first of them.
SELECT count(*), min(created_ms) FROM verification_link
WHERE mailbox = :mailbox AND created_ms > :since_ms AND account = :account;

-- name: links_to_mailbox_of_all
-- The same, of all accounts.
SELECT count(*), min(created_ms) FROM verification_link WHERE mailbox = :mailbox AND created_ms > :since_ms;

-- name: links_of_account
-- How many links an account mailed to anybody since a time, and when the first of them.
SELECT count(*), min(created_ms) FROM verification_link WHERE account = :account AND created_ms > :since_ms;

-- name: add_link
-- Keep a link, by the hash of its token.
INSERT INTO verification_link (
    token_hash, account, address, mailbox, template, success_url, failure_url, created_ms, expires_ms, used_ms
) VALUES (
    :token_hash, :account, :address, :mailbox, :template, :success_url, :failure_url, :created_ms, :expires_ms, 0
);

-- name: get_link
-- One link by the hash of its token.
SELECT account, address, template, success_url, failure_url, used_ms = 0 AND expires_ms > :now_ms
FROM verification_link WHERE token_hash = :token_hash;

-- name: use_link
-- Use a link, once and in time.
UPDATE verification_link SET used_ms = :now_ms
WHERE token_hash = :token_hash AND used_ms = 0 AND expires_ms > :now_ms;

-- name: expired_links
-- Links whose time is over and that nobody used.
SELECT token_hash, account, address, template FROM verification_link
WHERE expires_ms <= :now_ms AND used_ms = 0 ORDER BY expires_ms LIMIT :limit;

-- name: close_link
-- Note that what follows from a link's end is done.
UPDATE verification_link SET used_ms = :now_ms WHERE token_hash = :token_hash AND used_ms = 0;

-- name: old_links
-- Say whether there are links that ended before a time.
SELECT EXISTS (SELECT 1 FROM verification_link WHERE expires_ms < :before_ms);

-- name: prune_links
-- Drop links that ended before a time.
DELETE FROM verification_link WHERE expires_ms < :before_ms;

-- name: set_address_check
-- Put the verification of an address into a state. Nothing of it is in DNS, so that no look is due.
INSERT INTO identity_check (
    account, identity, aspect, state, since_ms, checked_ms, next_ms, error_type, error_text
) VALUES (:account, :address, 'VERIFICATION', :state, :now_ms, :now_ms, 0, '', '')
ON CONFLICT (account, identity, aspect)
DO UPDATE SET state = excluded.state, since_ms = excluded.since_ms, checked_ms = excluded.checked_ms, next_ms = 0;

-- name: fail_address_check
-- End the verification of an address that still waits for its link.
UPDATE identity_check SET state = 'FAILED', since_ms = :now_ms, checked_ms = :now_ms
WHERE account = :account AND identity = :address AND aspect = 'VERIFICATION' AND state = 'PENDING';

-- name: get_address_check
-- The verification of an address.
SELECT state, since_ms, checked_ms FROM identity_check
WHERE account = :account AND identity = :address AND aspect = 'VERIFICATION';

-- name: count_templates
-- How many custom verification mails an account has.
SELECT count(*) FROM verification_template WHERE account = :account;

-- name: create_template
-- Add a custom verification mail.
INSERT INTO verification_template (
    account, name, from_address, subject, content, success_url, failure_url, updated_ms
) VALUES (:account, :name, :from_address, :subject, :content, :success_url, :failure_url, :now_ms)
ON CONFLICT DO NOTHING;

-- name: update_template
-- Change a custom verification mail.
UPDATE verification_template SET
    from_address = :from_address, subject = :subject, content = :content, success_url = :success_url,
    failure_url = :failure_url, updated_ms = :now_ms
WHERE account = :account AND name = :name;

-- name: get_template
-- One custom verification mail.
SELECT name, from_address, subject, content, success_url, failure_url, updated_ms FROM verification_template
WHERE account = :account AND name = :name;

-- name: list_templates
-- The custom verification mails of an account, without their content.
SELECT name, from_address, subject, '', success_url, failure_url, updated_ms FROM verification_template
WHERE account = :account ORDER BY name;

-- name: delete_template
-- Remove a custom verification mail.
DELETE FROM verification_template WHERE account = :account AND name = :name;

-- name: count_identities
-- How many identities an account has.
SELECT count(*) FROM identity WHERE account = :account;

-- name: get_identity_records
-- What the records of an identity are made of, beside its keys.
SELECT txt_token, mail_from_domain, configuration_set FROM identity WHERE account = :account AND name = :name;

-- name: set_txt_token
-- Give an identity the token of its TXT record.
UPDATE identity SET txt_token = :token WHERE account = :account AND name = :name;

-- name: list_identity_states
-- One page of an account's identities in a state of verification, by name.
SELECT i.account, i.name, i.kind, i.verified, i.created_ms, coalesce(c.state, 'NOT_STARTED') AS standing
FROM identity AS i LEFT JOIN identity_check AS c
    ON c.account = i.account AND c.identity = i.name AND c.aspect = 'VERIFICATION'
WHERE i.account = :account AND i.name > :after AND (:state = '' OR standing = :state) ORDER BY i.name LIMIT :limit;

-- name: list_checks
-- The checks of an identity.
SELECT aspect, state, since_ms, checked_ms, next_ms, error_type, error_text FROM identity_check
WHERE account = :account AND identity = :identity ORDER BY aspect;

-- name: put_check
-- Keep how a check stands.
INSERT INTO identity_check (account, identity, aspect, state, since_ms, checked_ms, next_ms, error_type, error_text)
VALUES (:account, :identity, :aspect, :state, :since_ms, :checked_ms, :next_ms, :error_type, :error_text)
ON CONFLICT DO UPDATE SET state = excluded.state, since_ms = excluded.since_ms, checked_ms = excluded.checked_ms,
    next_ms = excluded.next_ms, error_type = excluded.error_type, error_text = excluded.error_text;

-- name: due_checks
-- The identities with a check that is to be looked at in DNS: accounts take turns, each the longest due first.
SELECT account, identity FROM (
    SELECT c.account, c.identity, min(c.next_ms) AS due,
        row_number() OVER (PARTITION BY c.account ORDER BY min(c.next_ms)) AS turn
    FROM identity_check AS c JOIN identity AS i ON i.account = c.account AND i.name = c.identity
    WHERE c.next_ms > 0 AND c.next_ms <= :now_ms AND (i.kind = 'DOMAIN' OR c.aspect <> 'VERIFICATION')
    GROUP BY c.account, c.identity
) ORDER BY turn, due LIMIT :limit;

-- name: count_check_states
-- How many identities are in each state of an aspect.
SELECT state, count(*) FROM identity_check WHERE aspect = :aspect GROUP BY state;

-- name: failing_checks
-- Some identities whose records are not right: those that lost them, then those that are given up.
SELECT identity FROM identity_check WHERE aspect = :aspect AND state IN ('TEMPORARY_FAILURE', 'FAILED')
ORDER BY state = 'FAILED', since_ms DESC, identity LIMIT :limit;

-- name: contacts_of_account
-- Where mail about an account goes: its contact, and a JSON array of further ones.
SELECT a.contact, coalesce(d.contacts, '[]') FROM account AS a LEFT JOIN account_details AS d ON d.account = a.id
WHERE a.id = :account;

-- name: list_identity_tags
-- The tags of an identity.
SELECT key, value FROM identity_tag WHERE account = :account AND identity = :identity ORDER BY key;

-- name: put_identity_tag
-- Add a tag, or replace its value.
INSERT INTO identity_tag (account, identity, key, value) VALUES (:account, :identity, :key, :value)
ON CONFLICT DO UPDATE SET value = excluded.value;

-- name: delete_identity_tag
-- Remove a tag.
DELETE FROM identity_tag WHERE account = :account AND identity = :identity AND key = :key;

-- name: list_source_addresses
-- All source addresses, those of the relay first; an address lies in a range when the catalog part says so.
SELECT address, account, pool, helo_name, weight, warmup, warmup_percent, warmup_started_ms, origin, reserve,
    absent_ms, suspended, created_ms, reverse_state, reverse_names, reverse_helo, reverse_error, reverse_checked_ms,
    reverse_next_ms,
    coalesce((SELECT scaling_mode = 'MANAGED' FROM pool AS p
        WHERE p.account = s.account AND p.name = s.pool), 0)
FROM source_address AS s ORDER BY account, pool, address;

-- name: get_source_address
-- One source address.
SELECT address, account, pool, helo_name, weight, warmup, warmup_percent, warmup_started_ms, origin, reserve,
    absent_ms, suspended, created_ms, reverse_state, reverse_names, reverse_helo, reverse_error, reverse_checked_ms,
    reverse_next_ms,
    coalesce((SELECT scaling_mode = 'MANAGED' FROM pool AS p
        WHERE p.account = s.account AND p.name = s.pool), 0)
FROM source_address AS s WHERE address = :address;

-- name: count_source_addresses
-- How many source addresses there are.
SELECT count(*) FROM source_address;

-- name: create_source_address
-- Add a source address.
INSERT INTO source_address (
    address, account, pool, helo_name, weight, warmup, warmup_percent, warmup_started_ms, origin, declared, reserve,
    absent_ms, suspended, created_ms
) VALUES (
    :address, :account, :pool, :helo_name, :weight, :warmup, :warmup_percent, :warmup_started_ms, :origin, :declared,
    :reserve, :absent_ms, '', :created_ms
) ON CONFLICT DO NOTHING;

-- name: set_source_address
-- Change what is given of a source address.
UPDATE source_address SET
    helo_name = coalesce(:helo_name, helo_name), weight = coalesce(:weight, weight),
    warmup = coalesce(:warmup, warmup), warmup_percent = coalesce(:warmup_percent, warmup_percent),
    warmup_started_ms = coalesce(:warmup_started_ms, warmup_started_ms),
    reverse_next_ms = CASE WHEN :helo_name IS NULL THEN reverse_next_ms ELSE 1 END
WHERE address = :address;

-- name: place_source_address
-- Give a source address to an account and a pool, or to the reserve.
UPDATE source_address SET account = :account, pool = :pool, reserve = :reserve WHERE address = :address;

-- name: declare_source_address
-- Remember what the configuration says of an address, "" when it says nothing any more.
UPDATE source_address SET declared = :declared, origin = :origin WHERE address = :address;

-- name: declared_source_addresses
-- What the configuration said of addresses when it was last read.
SELECT address, declared, account, pool, reserve FROM source_address WHERE declared <> '';

-- name: suspend_source_address
-- Say why nobody may send from an address, "" when everybody may again.
UPDATE source_address SET suspended = :reason WHERE address = :address;

-- name: list_presence
-- Since when the host does not have its addresses.
SELECT address, absent_ms FROM source_address;

-- name: set_presence
-- Say since when the host does not have an address, 0 when it has it.
UPDATE source_address SET absent_ms = :absent_ms WHERE address = :address AND (absent_ms = 0) <> (:absent_ms = 0);

-- name: delete_source_address
-- Forget a source address.
DELETE FROM source_address WHERE address = :address;

-- name: due_reverse
-- Addresses whose reverse DNS is to be looked at.
SELECT address, helo_name FROM source_address WHERE reverse_next_ms <= :now_ms ORDER BY reverse_next_ms LIMIT :limit;

-- name: put_reverse
-- Keep what a look at an address in DNS found.
UPDATE source_address SET reverse_state = :state, reverse_names = :names, reverse_helo = :helo,
    reverse_error = :error, reverse_checked_ms = :checked_ms, reverse_next_ms = :next_ms
WHERE address = :address;

-- name: empty_pool
-- Put the addresses of a pool where its owner's other addresses are, or into the reserve.
UPDATE source_address SET pool = '', account = CASE WHEN :reserve THEN '' ELSE account END, reserve = :reserve
WHERE account = :account AND pool = :pool;

-- name: take_reserve
-- Addresses of the reserve, oldest first, that the host has.
SELECT address FROM source_address WHERE reserve AND absent_ms = 0 AND suspended = ''
ORDER BY created_ms, address LIMIT :count;

-- name: create_pool
-- Add a pool.
INSERT INTO pool (account, name, scaling_mode, overflow, created_ms)
VALUES (:account, :name, :mode, :overflow, :created_ms) ON CONFLICT DO NOTHING;

-- name: get_pool
-- One pool.
SELECT account, name, scaling_mode, overflow, created_ms FROM pool WHERE account = :account AND name = :name;

-- name: list_pools
-- All pools.
SELECT account, name, scaling_mode, overflow, created_ms FROM pool ORDER BY account, name;

-- name: count_pools
-- How many pools of a mode an account has.
SELECT count(*) FROM pool WHERE account = :account AND scaling_mode = :mode;

-- name: set_overflow
-- Say where mail goes that the addresses of a pool cannot carry now.
UPDATE pool SET overflow = :overflow WHERE account = :account AND name = :name;

-- name: delete_pool
-- Remove a pool; its tags go with it.
DELETE FROM pool WHERE account = :account AND name = :name;

-- name: list_pool_tags
-- The tags of a pool.
SELECT key, value FROM pool_tag WHERE account = :account AND pool = :name ORDER BY key;

-- name: put_pool_tag
-- Add a tag of a pool, or replace it.
INSERT INTO pool_tag (account, pool, key, value) VALUES (:account, :name, :key, :value)
ON CONFLICT DO UPDATE SET value = excluded.value;

-- name: delete_pool_tag
-- Remove a tag of a pool.
DELETE FROM pool_tag WHERE account = :account AND pool = :name AND key = :key;

-- name: set_sending_pool
-- Choose the pool of a configuration set.
UPDATE configuration_set SET sending_pool = :pool WHERE account = :account AND name = :name;

-- name: sets_of_pool
-- The configuration sets of an account that name a pool.
SELECT name FROM configuration_set WHERE account = :account AND sending_pool = :pool ORDER BY name LIMIT :limit;

-- name: identities_of_pool
-- The identities of an account that name a pool.
SELECT name FROM identity WHERE account = :account AND pool = :pool ORDER BY name LIMIT :limit;

-- name: set_identity_pool
-- Choose the pool of an identity.
UPDATE identity SET pool = :pool WHERE account = :account AND name = :name;

-- name: get_account_sending
-- Where an account's mail leaves from.
SELECT account, pool, shared_barred, auto_warmup FROM account_sending WHERE account = :account;

-- name: list_account_sending
-- Where the mail of accounts leaves from that are set to something.
SELECT account, pool, shared_barred, auto_warmup FROM account_sending WHERE pool <> '' OR shared_barred ORDER BY account;

-- name: put_account_sending
-- Set it.
INSERT INTO account_sending (account, pool, shared_barred, auto_warmup)
VALUES (:account, :pool, :shared_barred, :auto_warmup)
ON CONFLICT DO UPDATE SET pool = excluded.pool, shared_barred = excluded.shared_barred,
    auto_warmup = excluded.auto_warmup;

-- name: add_pool_rule
-- Add a rule.
INSERT INTO pool_rule (account, sender_domain, recipient_domain, pool)
VALUES (:account, :sender_domain, :recipient_domain, :pool) RETURNING id;

-- name: list_pool_rules
-- All rules, in the order they are read in.
SELECT id, account, sender_domain, recipient_domain, pool FROM pool_rule ORDER BY account = '', account, id;

-- name: count_pool_rules
-- How many rules an account has.
SELECT count(*) FROM pool_rule WHERE account = :account;

-- name: delete_pool_rule
-- Remove a rule.
DELETE FROM pool_rule WHERE id = :id;

-- name: add_range
-- Register a range.
INSERT INTO address_range (network, account, registry, use_case, created_ms)
VALUES (:network, :account, :registry, :use_case, :created_ms) ON CONFLICT DO NOTHING;

-- name: list_ranges
-- All registered ranges.
SELECT network, account, registry, use_case, created_ms FROM address_range ORDER BY account, network;

-- name: delete_range
-- Forget a range.
DELETE FROM address_range WHERE network = :network;

-- name: has_foreign_accounts
-- Whether there is another account than this one.
SELECT EXISTS (SELECT 1 FROM account WHERE id <> :account);

-- name: create_topic
-- Add a topic.
INSERT INTO topic (account, name, display_name, policy, delivery_policy, signature_version, ended, created_ms)
VALUES (:account, :name, :display_name, :policy, :delivery_policy, :signature_version, 0, :created_ms)
ON CONFLICT DO NOTHING;

-- name: get_topic
-- One topic.
SELECT account, name, display_name, policy, delivery_policy, signature_version, ended, created_ms FROM topic
WHERE account = :account AND name = :name;

-- name: list_topics
-- One page of an account's topics, by name.
SELECT account, name, display_name, policy, delivery_policy, signature_version, ended, created_ms FROM topic
WHERE account = :account AND name > :after ORDER BY name LIMIT :limit;

-- name: count_topics
-- How many topics an account has.
SELECT count(*) FROM topic WHERE account = :account;

-- name: update_topic
-- Change what a topic is set to.
UPDATE topic SET display_name = :display_name, policy = :policy, delivery_policy = :delivery_policy,
    signature_version = :signature_version
WHERE account = :account AND name = :name;

-- name: delete_topic
-- Remove a topic; its subscriptions go with it.
DELETE FROM topic WHERE account = :account AND name = :name;

-- name: count_ended
-- One subscription of a topic more is gone.
UPDATE topic SET ended = ended + 1 WHERE account = :account AND name = :name;

-- name: create_subscription
-- Add a subscription.
INSERT INTO topic_subscription (
    id, account, topic, owner, protocol, endpoint, state, token_hash, token_ms, asked, created_ms, authenticated,
    protected, raw, filter_policy, filter_scope, delivery_policy, redrive, sealed
) VALUES (
    :id, :account, :topic, :owner, :protocol, :endpoint, :state, :token_hash, :token_ms, :asked, :created_ms, 0, 0,
    :raw, :filter_policy, :filter_scope, :delivery_policy, :redrive, :sealed
);

-- name: get_subscription
-- One subscription.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription WHERE id = :id;

-- name: subscription_of_endpoint
-- The subscription of an endpoint to a topic.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription
WHERE account = :account AND topic = :topic AND protocol = :protocol AND endpoint = :endpoint;

-- name: subscription_of_token
-- The subscription that a token confirms.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription WHERE token_hash = :token_hash;

-- name: subscriptions_of_mailbox
-- Subscriptions of an address, in any letter case.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription
WHERE protocol IN ('email', 'email-json') AND lower(endpoint) = lower(:address) ORDER BY id LIMIT :limit;

-- name: list_subscriptions_of_topic
-- One page of a topic's subscriptions.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription WHERE account = :account AND topic = :topic AND id > :after ORDER BY id LIMIT :limit;

-- name: list_subscriptions
-- One page of an account's subscriptions.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription WHERE owner = :owner AND id > :after ORDER BY id LIMIT :limit;

-- name: count_subscriptions
-- How many subscriptions of a topic there are in each state.
SELECT state, count(*) FROM topic_subscription WHERE account = :account AND topic = :topic GROUP BY state;

-- name: update_subscription
-- Change what a subscription is set to.
UPDATE topic_subscription SET raw = :raw, filter_policy = :filter_policy, filter_scope = :filter_scope,
    delivery_policy = :delivery_policy, redrive = :redrive, sealed = :sealed
WHERE id = :id;

-- name: confirm_subscription
-- A subscription gets notifications from now on.
UPDATE topic_subscription SET state = 'confirmed', asked = 1, authenticated = :authenticated, protected = :protected
WHERE id = :id AND state <> 'confirmed';

-- name: renew_token
-- A subscription is asked to confirm itself with another token.
UPDATE topic_subscription SET state = :state, token_hash = :token_hash, token_ms = :token_ms, asked = 0 WHERE id = :id;

-- name: delete_subscription
-- Remove a subscription.
DELETE FROM topic_subscription WHERE id = :id;

-- name: subscriptions_unasked
-- Subscriptions whose endpoints are to be asked.
SELECT id, account, topic, owner, protocol, endpoint, state, token_ms, created_ms, authenticated, protected, raw,
    filter_policy, filter_scope, delivery_policy, redrive, sealed
FROM topic_subscription WHERE asked = 0 ORDER BY token_ms LIMIT :limit;

-- name: note_asked
-- The question to an endpoint is under way.
UPDATE topic_subscription SET asked = 1 WHERE id = :id AND token_ms = :token_ms;

-- name: subscriptions_over
-- Subscriptions that nobody confirmed in time.
SELECT id, account, topic, state FROM topic_subscription
WHERE state <> 'confirmed' AND token_ms < :before_ms ORDER BY token_ms LIMIT :limit;
-- name: open_finding
-- Hold something against an account or one of its sets.
INSERT INTO finding (account, configuration_set, kind, state, opened_ms, changed_ms, ends_ms, evidence_from_ms,
    evidence, below_ms, manual, cause, note, about, reason)
VALUES (:account, :configuration_set, :kind, :state, :now_ms, :now_ms, :ends_ms, :now_ms, 0, 0, :manual, :cause,
    :note, :about, '')
RETURNING id;

-- name: get_finding
-- One finding.
SELECT id, account, configuration_set, kind, state, opened_ms, changed_ms, ends_ms, evidence_from_ms, evidence,
    below_ms, manual, cause, note, about, reason
FROM finding WHERE id = :id;

-- name: list_findings
-- One page of findings, newest first; :account and :configuration_set may be NULL for all, :closed 0 for open ones.
SELECT id, account, configuration_set, kind, state, opened_ms, changed_ms, ends_ms, evidence_from_ms, evidence,
    below_ms, manual, cause, note, about, reason
FROM finding
WHERE (:account IS NULL OR account = :account)
    AND (:configuration_set IS NULL OR configuration_set = :configuration_set)
    AND (:closed OR state <> 'closed') AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: change_finding
-- Change where a finding stands.
UPDATE finding SET state = :state, changed_ms = :now_ms, ends_ms = :ends_ms, evidence_from_ms = :evidence_from_ms,
    evidence = :evidence, below_ms = :below_ms, reason = :reason,
    sample = CASE WHEN :state = 'closed' THEN NULL ELSE sample END
WHERE id = :id;

-- name: note_below
-- Say since when the rate of a finding is below its limit, 0: it is not.
UPDATE finding SET below_ms = :below_ms WHERE id = :id;

-- name: put_evidence
-- Say how many reports there were since its evidence counts.
UPDATE finding SET evidence = :evidence, changed_ms = :now_ms WHERE id = :id AND evidence < :evidence;

-- name: add_evidence
-- Count one more report.
UPDATE finding SET evidence = evidence + 1, changed_ms = :now_ms WHERE id = :id;

-- name: put_sample
-- Keep a message that shows the problem, until the finding is closed.
UPDATE finding SET sample = :sample WHERE id = :id;

-- name: get_sample
-- That message.
SELECT sample FROM finding WHERE id = :id;

-- name: has_paused_finding
-- Whether an account (empty set) or set is paused by a finding.
SELECT EXISTS (SELECT 1 FROM finding WHERE account = :account AND configuration_set = :configuration_set
    AND state = 'sending paused');

-- name: enforce_account
-- Pause an account by enforcement or end that; one that is suspended stays so.
UPDATE account SET enforcement = :enforcement,
    paused_ms = CASE WHEN :enforcement = 'none' THEN 0 WHEN enforcement <> 'none' THEN paused_ms ELSE :now_ms END
WHERE id = :account AND enforcement <> 'suspended';

-- name: suspend_account
-- Suspend an account for good, or undo that.
UPDATE account SET enforcement = :enforcement,
    paused_ms = CASE WHEN :enforcement = 'none' THEN 0 WHEN enforcement <> 'none' THEN paused_ms ELSE :now_ms END
WHERE id = :account;

-- name: enforce_set
-- Pause a configuration set by enforcement or end that.
UPDATE configuration_set SET enforcement = :enforcement WHERE account = :account AND name = :configuration_set;

-- name: fresh_start_of_account
-- Let rates of an account count from a time on.
UPDATE account SET fresh_start_ms = :now_ms WHERE id = :account;

-- name: fresh_start_of_set
-- Let rates of a configuration set count from a time on.
UPDATE configuration_set SET fresh_start_ms = :now_ms WHERE account = :account AND name = :configuration_set;

-- name: get_fresh_start
-- From when on rates of an account (empty set) or set count, 0: from the beginning.
SELECT CASE WHEN :configuration_set = '' THEN (SELECT fresh_start_ms FROM account WHERE id = :account)
    ELSE (SELECT fresh_start_ms FROM configuration_set WHERE account = :account AND name = :configuration_set) END;

-- name: watched_sets
-- Configuration sets with reputation metrics.
SELECT account, name FROM configuration_set WHERE reputation_metrics ORDER BY account, name LIMIT :limit;

-- name: decide_of_finding
-- Decide what waits about a finding: requests of one kind.
UPDATE review SET state = :state, reason = :reason, decided_ms = :now_ms
WHERE finding = :finding AND kind = :kind AND state = 'PENDING';

-- name: answered_findings
-- Findings of an account that it asks to have looked at again.
SELECT DISTINCT finding FROM review WHERE account = :account AND kind = 'appeal' AND finding > 0;

-- name: link_accounts
-- Say that two accounts belong together.
INSERT INTO account_link (account, other) VALUES (:account, :other) ON CONFLICT DO NOTHING;

-- name: unlink_accounts
-- Say that they do not.
DELETE FROM account_link WHERE (account = :account AND other = :other) OR (account = :other AND other = :account);

-- name: linked_accounts
-- The accounts that belong to one.
SELECT other FROM account_link WHERE account = :account UNION
SELECT account FROM account_link WHERE other = :account ORDER BY 1;

-- name: add_account_event
-- Note what happened to an account.
INSERT INTO account_event (account, created_ms, name, text) VALUES (:account, :now_ms, :name, :text);

-- name: drop_account_events
-- Forget all but the newest of an account.
DELETE FROM account_event WHERE account = :account AND id <= (
    SELECT id FROM account_event WHERE account = :account ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: account_events
-- What happened to an account, newest first.
SELECT id, created_ms, name, text FROM account_event WHERE account = :account ORDER BY id DESC LIMIT :limit;

-- name: open_case
-- The oldest open finding about an account itself.
SELECT id, state FROM finding WHERE account = :account AND configuration_set = '' AND state <> 'closed'
ORDER BY id LIMIT 1;

-- name: create_alarm
-- Add an alarm.
INSERT INTO alarm (account, name, description, metric, configuration_set, threshold, volume_min, topic, actions,
    state, measured, reason, changed_ms, created_ms)
VALUES (:account, :name, :description, :metric, :configuration_set, :threshold, :volume_min, :topic, :actions,
    :state, :measured, :reason, :changed_ms, :created_ms)
ON CONFLICT DO NOTHING;

-- name: update_alarm
-- Replace everything about an alarm but its name and age.
UPDATE alarm SET description = :description, metric = :metric, configuration_set = :configuration_set,
    threshold = :threshold, volume_min = :volume_min, topic = :topic, actions = :actions, state = :state,
    measured = :measured, reason = :reason, changed_ms = :changed_ms
WHERE account = :account AND name = :name;

-- name: get_alarm
-- One alarm.
SELECT account, name, metric, threshold, description, configuration_set, topic, actions, volume_min, state, measured,
    reason, changed_ms, created_ms
FROM alarm WHERE account = :account AND name = :name;

-- name: list_alarms
-- One page of alarms, of one account or of all, by account and name.
SELECT account, name, metric, threshold, description, configuration_set, topic, actions, volume_min, state, measured,
    reason, changed_ms, created_ms
FROM alarm
WHERE (:account IS NULL OR account = :account) AND (account, name) > (:after_account, :after_name)
ORDER BY account, name LIMIT :limit;

-- name: count_alarms
-- How many alarms an account has.
SELECT count(*) FROM alarm WHERE account = :account;

-- name: delete_alarm
-- Remove an alarm.
DELETE FROM alarm WHERE account = :account AND name = :name;

-- name: measure_alarm
-- What the last figure came to, where that changed nothing to be told.
UPDATE alarm SET measured = :measured WHERE account = :account AND name = :name;

-- name: add_alarm_change
-- A line of an alarm's history.
INSERT INTO alarm_change (account, name, old_state, told, alarm)
VALUES (:account, :name, :old_state, :told, :alarm);

-- name: drop_alarm_changes
-- Forget all but the newest of an alarm, and none that is still to be told.
DELETE FROM alarm_change WHERE account = :account AND name = :name AND told <> 'waiting' AND id <= (
    SELECT id FROM alarm_change WHERE account = :account AND name = :name ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: drop_alarm_changes_waiting
-- Forget all but the newest of an alarm whose changes nobody can be told.
DELETE FROM alarm_change WHERE account = :account AND name = :name AND id <= (
    SELECT id FROM alarm_change WHERE account = :account AND name = :name ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: delete_alarm_changes
-- Forget what was of an alarm that is no more, but for what is still to be told.
DELETE FROM alarm_change WHERE account = :account AND name = :name AND told <> 'waiting';

-- name: alarm_changes
-- How an alarm changed, newest first.
SELECT id, old_state, told, alarm FROM alarm_change WHERE account = :account AND name = :name AND id < :before
ORDER BY id DESC LIMIT :limit;

-- name: alarm_changes_waiting
-- Changes that are to be told, oldest first.
SELECT id, old_state, told, alarm FROM alarm_change WHERE told = 'waiting' AND id > :after ORDER BY id LIMIT :limit;

-- name: note_alarm_told
-- What became of the message about a change.
UPDATE alarm_change SET told = :told WHERE id = :id;

-- name: pause_set
-- Refuse new mail of a configuration set.
UPDATE configuration_set SET sending_enabled = 0 WHERE account = :account AND name = :name AND sending_enabled <> 0;

-- name: pause_account
-- Refuse new mail of an account that takes some.
UPDATE account SET state = 'paused' WHERE id = :account AND state = 'enabled';
