-- Inference: what requests have set aside until their tokens are counted, what was used, and revenue by period.

CREATE TABLE inference_reservations (
    id                     TEXT    NOT NULL PRIMARY KEY,
    account_id             TEXT    NOT NULL REFERENCES accounts (id),
    run_id                 TEXT    NOT NULL REFERENCES runs (id),
    reserved_micro         INTEGER NOT NULL CHECK (reserved_micro > 0),
    created_at             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE inference_usage (
    account_id        TEXT    NOT NULL REFERENCES accounts (id),
    -- First instant of the day, UTC.
    period            INTEGER NOT NULL,
    run_id            TEXT    NOT NULL REFERENCES runs (id),
    texts             INTEGER NOT NULL CHECK (texts >= 0),
    prompt_tokens     INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0),
    charged_micro     INTEGER NOT NULL CHECK (charged_micro >= 0),
    PRIMARY KEY (account_id, period, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX inference_usage_by_period ON inference_usage (period, account_id, run_id);

CREATE TABLE revenue_periods (
    version       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- From the end of the period before to the end of a day, UTC.
    from_at       INTEGER NOT NULL,
    until_at      INTEGER NOT NULL UNIQUE CHECK (until_at > from_at),
    revenue_micro INTEGER NOT NULL CHECK (revenue_micro >= 0),
    -- What everybody contributed, JSON.
    snapshot      TEXT    NOT NULL,
    closed_at     INTEGER NOT NULL
) STRICT;
