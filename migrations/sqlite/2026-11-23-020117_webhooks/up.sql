-- Notices of events to addresses that accounts chose.

CREATE TABLE webhooks (
    id            TEXT    NOT NULL PRIMARY KEY,
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    url           TEXT    NOT NULL,
    topics        TEXT    NOT NULL,
    -- What notices are signed with; needed to sign, so it is kept as it is.
    secret        TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    -- The last event that was dealt with.
    event_id      INTEGER NOT NULL,
    failures      INTEGER NOT NULL CHECK (failures >= 0),
    failing_since INTEGER,
    -- When to look for the next event; NULL once it has ended.
    due_at        INTEGER,
    ended_why     TEXT,
    CHECK ((due_at IS NULL) = (ended_why IS NOT NULL))
) STRICT;
CREATE INDEX webhooks_by_account ON webhooks (account_id, id);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE webhook_deliveries (
    seq        INTEGER NOT NULL PRIMARY KEY,
    webhook_id TEXT    NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    status     INTEGER,
    error      TEXT
) STRICT;
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, seq);
