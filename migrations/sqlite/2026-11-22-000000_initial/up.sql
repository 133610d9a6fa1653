-- Conventions: times are unix milliseconds, money is micro-credits, shares are micro-shares, identifiers
-- are text given by the caller. Tables that are read in order of writing have an integer key `seq` (or
-- `id`, `version`) that only grows: AUTOINCREMENT, so that a cursor held by a client never meets a reused one.

-- "PLMB": tells a Plumbline file from any other SQLite database.
PRAGMA application_id = 1347177794;

-- Accounts and credentials ---------------------------------------------------------------------------------

CREATE TABLE accounts (
    id            TEXT    NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL CHECK (kind IN ('user', 'treasury', 'escrow', 'burn')),
    handle        TEXT    NOT NULL,
    -- The handle in lower case, by Unicode's rules (SQLite's own NOCASE knows ASCII only).
    handle_key    TEXT    NOT NULL UNIQUE,
    password_hash TEXT,
    roles         TEXT    NOT NULL,
    -- The range leaves room to add any one entry without integer overflow.
    balance_micro INTEGER NOT NULL DEFAULT 0
        CHECK (balance_micro BETWEEN -4000000000000000000 AND 4000000000000000000),
    created_at    INTEGER NOT NULL,
    CONSTRAINT balance_not_negative CHECK (kind = 'treasury' OR balance_micro >= 0)
) STRICT;
CREATE INDEX accounts_by_kind ON accounts (kind);

CREATE TABLE sessions (
    id_hash    TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    csrf       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_by_account ON sessions (account_id);

CREATE TABLE tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    name         TEXT    NOT NULL,
    hash         TEXT    NOT NULL UNIQUE,
    scopes       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;
CREATE INDEX tokens_by_account ON tokens (account_id, id);

-- Ledger ---------------------------------------------------------------------------------------------------

CREATE TABLE transfers (
    seq       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id        TEXT    NOT NULL UNIQUE,
    at        INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    reference TEXT    NOT NULL
) STRICT;

CREATE TABLE entries (
    transfer_seq INTEGER NOT NULL REFERENCES transfers (seq),
    ordinal      INTEGER NOT NULL,
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    amount_micro INTEGER NOT NULL
        CHECK (amount_micro BETWEEN -4000000000000000000 AND 4000000000000000000),
    PRIMARY KEY (transfer_seq, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_account ON entries (account_id, transfer_seq);

CREATE TRIGGER transfers_are_final BEFORE UPDATE ON transfers
BEGIN SELECT RAISE (ABORT, 'transfers are never changed'); END;
CREATE TRIGGER transfers_are_kept BEFORE DELETE ON transfers
BEGIN SELECT RAISE (ABORT, 'transfers are never deleted'); END;
CREATE TRIGGER entries_are_final BEFORE UPDATE ON entries
BEGIN SELECT RAISE (ABORT, 'ledger entries are never changed'); END;
CREATE TRIGGER entries_are_kept BEFORE DELETE ON entries
BEGIN SELECT RAISE (ABORT, 'ledger entries are never deleted'); END;

CREATE TABLE idempotency (
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    key          TEXT    NOT NULL,
    request_hash TEXT    NOT NULL,
    status       INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
    body         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency (at);

-- Runs -----------------------------------------------------------------------------------------------------

CREATE TABLE runs (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL CHECK (kind IN ('embedded', 'external')),
    owner_id     TEXT    NOT NULL REFERENCES accounts (id),
    status       TEXT    NOT NULL,
    base_model   TEXT,
    parameters   INTEGER NOT NULL CHECK (parameters >= 0),
    tokens       INTEGER NOT NULL CHECK (tokens >= 0),
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    run_id TEXT    NOT NULL REFERENCES runs (id),
    id     TEXT    NOT NULL,
    round  INTEGER NOT NULL CHECK (round >= 0),
    tokens INTEGER NOT NULL CHECK (tokens >= 0),
    at     INTEGER NOT NULL,
    pinned INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    PRIMARY KEY (run_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoints_by_round ON checkpoints (run_id, round, at);

-- Markets --------------------------------------------------------------------------------------------------

CREATE TABLE markets (
    id                  TEXT    NOT NULL PRIMARY KEY,
    run_id              TEXT    NOT NULL REFERENCES runs (id),
    claim               TEXT    NOT NULL,
    claim_kind          TEXT    NOT NULL,
    rubric              TEXT    NOT NULL,
    status              TEXT    NOT NULL CHECK (status IN ('draft', 'open', 'closing', 'frozen', 'auditing',
        'settling', 'challenged', 'final', 'paid', 'void')),
    -- Prices live in [0.005, 0.995]; the wide range only keeps infinities out.
    log_odds            REAL    NOT NULL CHECK (log_odds BETWEEN -100 AND 100),
    opening_log_odds    REAL    NOT NULL CHECK (opening_log_odds BETWEEN -100 AND 100),
    liquidity_micro     INTEGER NOT NULL CHECK (liquidity_micro > 0),
    subsidy_micro       INTEGER NOT NULL CHECK (subsidy_micro >= 0),
    escrow_id           TEXT    NOT NULL REFERENCES accounts (id),
    creator_id          TEXT    NOT NULL REFERENCES accounts (id),
    settlement_method   TEXT    NOT NULL,
    plan                TEXT,
    probe               TEXT,
    life                TEXT    NOT NULL,
    closes_at           INTEGER NOT NULL,
    closes_after_tokens INTEGER CHECK (closes_after_tokens >= 0),
    opened_at           INTEGER NOT NULL,
    frozen_at           INTEGER,
    frozen_checkpoint   TEXT,
    net_shares_micro    INTEGER NOT NULL,
    settlement          REAL    CHECK (settlement BETWEEN 0 AND 1),
    settled_at          INTEGER,
    statistics          TEXT,
    interval_low        REAL    NOT NULL CHECK (interval_low BETWEEN 0 AND 1),
    interval_high       REAL    NOT NULL CHECK (interval_high BETWEEN 0 AND 1),
    n_eff               REAL    NOT NULL CHECK (n_eff >= 0 AND n_eff < 1e300),
    assessment          TEXT,
    trades              INTEGER NOT NULL CHECK (trades >= 0),
    evidence            INTEGER NOT NULL CHECK (evidence >= 0),
    version             INTEGER NOT NULL
) STRICT;
CREATE INDEX markets_by_run ON markets (run_id, id);
CREATE INDEX markets_by_status ON markets (status, id);
CREATE INDEX markets_by_close ON markets (status, closes_at);

CREATE TABLE prices (
    seq       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    market_id TEXT    NOT NULL REFERENCES markets (id),
    at        INTEGER NOT NULL,
    log_odds  REAL    NOT NULL CHECK (log_odds BETWEEN -100 AND 100),
    cause     TEXT    NOT NULL CHECK (cause IN ('open', 'trade', 'evidence', 'oracle')),
    reference TEXT
) STRICT;
CREATE INDEX prices_by_market ON prices (market_id, seq);
CREATE INDEX prices_by_time ON prices (market_id, at, seq);

CREATE TABLE trades (
    seq             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL UNIQUE,
    market_id       TEXT    NOT NULL REFERENCES markets (id),
    account_id      TEXT    NOT NULL REFERENCES accounts (id),
    at              INTEGER NOT NULL,
    outcome         TEXT    NOT NULL CHECK (outcome IN ('yes', 'no')),
    yes_micro       INTEGER NOT NULL,
    no_micro        INTEGER NOT NULL,
    cost_micro      INTEGER NOT NULL,
    log_odds_before REAL    NOT NULL CHECK (log_odds_before BETWEEN -100 AND 100),
    log_odds_after  REAL    NOT NULL CHECK (log_odds_after BETWEEN -100 AND 100),
    cause           TEXT    NOT NULL CHECK (cause IN ('trade', 'evidence'))
) STRICT;
CREATE INDEX trades_by_market ON trades (market_id, seq);
CREATE INDEX trades_by_account ON trades (account_id, seq);

CREATE TABLE positions (
    market_id  TEXT    NOT NULL REFERENCES markets (id),
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    yes_micro  INTEGER NOT NULL CHECK (yes_micro >= 0),
    no_micro   INTEGER NOT NULL CHECK (no_micro >= 0),
    cost_micro INTEGER NOT NULL,
    paid_micro INTEGER CHECK (paid_micro >= 0),
    paid_at    INTEGER,
    PRIMARY KEY (market_id, account_id),
    CHECK ((paid_micro IS NULL) = (paid_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX positions_by_account ON positions (account_id, paid_at);
CREATE INDEX positions_by_payment ON positions (market_id, paid_at, account_id);

CREATE TABLE evidence (
    id              TEXT    NOT NULL PRIMARY KEY,
    market_id       TEXT    NOT NULL REFERENCES markets (id),
    account_id      TEXT    NOT NULL REFERENCES accounts (id),
    kind            TEXT    NOT NULL,
    title           TEXT    NOT NULL,
    body            TEXT    NOT NULL,
    exhibits        TEXT    NOT NULL,
    content_hash    TEXT    NOT NULL,
    stake_micro     INTEGER NOT NULL CHECK (stake_micro >= 0),
    fee_micro       INTEGER NOT NULL CHECK (fee_micro >= 0),
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'judged', 'duplicate', 'rejected')),
    shift           REAL    NOT NULL CHECK (shift BETWEEN -1e6 AND 1e6),
    log_odds_before REAL    CHECK (log_odds_before BETWEEN -100 AND 100),
    log_odds_after  REAL    CHECK (log_odds_after BETWEEN -100 AND 100),
    locked_micro    INTEGER NOT NULL CHECK (locked_micro >= 0),
    yes_micro       INTEGER NOT NULL,
    no_micro        INTEGER NOT NULL,
    judgements      TEXT    NOT NULL,
    replay          TEXT,
    reason          TEXT,
    created_at      INTEGER NOT NULL,
    judged_at       INTEGER
) STRICT;
CREATE INDEX evidence_by_market ON evidence (market_id, id);
CREATE INDEX evidence_by_verdict ON evidence (market_id, status, id);
CREATE INDEX evidence_by_status ON evidence (status, id);
CREATE INDEX evidence_by_account ON evidence (market_id, account_id);
-- The first submission of a content counts; later ones are kept, marked as duplicates.
CREATE UNIQUE INDEX evidence_by_content ON evidence (market_id, content_hash) WHERE status NOT IN ('duplicate', 'rejected');

-- Events and jobs ------------------------------------------------------------------------------------------

CREATE TABLE outbox (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    topic   TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    payload TEXT    NOT NULL
) STRICT;
CREATE INDEX outbox_by_topic ON outbox (topic, id);

CREATE TABLE jobs (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind        TEXT    NOT NULL,
    key         TEXT    NOT NULL UNIQUE,
    payload     TEXT    NOT NULL,
    run_at      INTEGER NOT NULL,
    attempts    INTEGER NOT NULL CHECK (attempts >= 0),
    status      TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed')),
    last_error  TEXT,
    lease_until INTEGER,
    CHECK ((status = 'running') = (lease_until IS NOT NULL))
) STRICT;
CREATE INDEX jobs_by_time ON jobs (status, run_at);
CREATE INDEX jobs_by_lease ON jobs (status, lease_until);
CREATE INDEX jobs_by_status ON jobs (status, id);

-- Allocation decisions -------------------------------------------------------------------------------------

CREATE TABLE decisions (
    version     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    decision_id TEXT    NOT NULL UNIQUE,
    target_kind TEXT    NOT NULL CHECK (target_kind IN ('run', 'pool')),
    target_uid  TEXT    NOT NULL,
    workload    TEXT    NOT NULL CHECK (workload IN ('training', 'inference')),
    epoch       INTEGER NOT NULL CHECK (epoch >= 0),
    generation  INTEGER NOT NULL CHECK (generation >= 0),
    share_bps   INTEGER NOT NULL CHECK (share_bps BETWEEN 0 AND 10000),
    action      TEXT    NOT NULL CHECK (action IN ('allow', 'throttle', 'pause', 'drain', 'terminate')),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    payload     TEXT    NOT NULL,
    envelope    TEXT    NOT NULL
) STRICT;
CREATE INDEX decisions_by_target ON decisions (target_uid, version);

CREATE TRIGGER decisions_are_final BEFORE UPDATE ON decisions
BEGIN SELECT RAISE (ABORT, 'decisions are never changed'); END;

-- The newest decision of each target, so that the full desired state is read without a scan of the history.
CREATE TABLE decision_heads (
    target_uid TEXT    NOT NULL,
    workload   TEXT    NOT NULL,
    version    INTEGER NOT NULL REFERENCES decisions (version),
    PRIMARY KEY (target_uid, workload)
) STRICT, WITHOUT ROWID;

CREATE TABLE acks (
    seq                 INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    decision_id         TEXT    NOT NULL REFERENCES decisions (decision_id),
    scheduler           TEXT    NOT NULL,
    phase               TEXT    NOT NULL CHECK (phase IN ('received', 'accepted', 'rejected', 'applying',
        'enforced', 'partial', 'failed', 'released')),
    at                  INTEGER NOT NULL,
    observed_generation INTEGER NOT NULL,
    actual_bps          INTEGER CHECK (actual_bps >= 0),
    body                TEXT    NOT NULL,
    target_uid          TEXT    NOT NULL,
    UNIQUE (decision_id, scheduler, phase)
) STRICT;
CREATE INDEX acks_by_target ON acks (target_uid, scheduler, seq);

CREATE TABLE policies (
    version    INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    hash       TEXT    NOT NULL,
    toml       TEXT    NOT NULL,
    author_id  TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    active     INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;
CREATE UNIQUE INDEX policies_one_active ON policies (active) WHERE active = 1;

-- Small key-value state ------------------------------------------------------------------------------------

CREATE TABLE control (
    key  TEXT    NOT NULL PRIMARY KEY,
    json TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key  TEXT    NOT NULL PRIMARY KEY,
    json TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
