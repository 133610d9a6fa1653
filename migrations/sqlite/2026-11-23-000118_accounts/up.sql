-- Accounts: invitations, a second factor, sessions that can be told apart, tokens that end.

ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN last_seen_at INTEGER;
CREATE INDEX sessions_by_time ON sessions (account_id, created_at);

ALTER TABLE tokens ADD COLUMN expires_at INTEGER;

CREATE TABLE invitations (
    id         TEXT    NOT NULL PRIMARY KEY,
    code_hash  TEXT    NOT NULL UNIQUE,
    note       TEXT    NOT NULL,
    roles      TEXT    NOT NULL,
    created_by TEXT    NOT NULL REFERENCES accounts (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_by    TEXT    REFERENCES accounts (id),
    used_at    INTEGER,
    revoked_at INTEGER,
    CHECK ((used_by IS NULL) = (used_at IS NULL)),
    CHECK (used_at IS NULL OR revoked_at IS NULL)
) STRICT, WITHOUT ROWID;

-- The key of one-time codes by time. Without confirmed_at it was shown and is not asked for yet.
CREATE TABLE second_factors (
    account_id   TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    secret       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER,
    -- The newest period whose code was taken: no code is taken twice.
    last_step    INTEGER NOT NULL,
    -- Wrong codes in a row, and until when no code is looked at.
    failures     INTEGER NOT NULL CHECK (failures >= 0),
    locked_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    code_hash  TEXT    NOT NULL,
    PRIMARY KEY (account_id, code_hash)
) STRICT, WITHOUT ROWID;
