-- Deciding together: stakes, delegations, proposals with their votes, seals, and what they put on runs.

CREATE TABLE stakes (
    account_id   TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    stake_micro  INTEGER NOT NULL CHECK (stake_micro >= 0),
    -- Part of it that was earned here; the rest was granted and gives no weight.
    earned_micro INTEGER NOT NULL CHECK (earned_micro BETWEEN 0 AND stake_micro),
    locked_until INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE delegations (
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    track       TEXT    NOT NULL,
    delegate_id TEXT    NOT NULL REFERENCES accounts (id),
    conviction  INTEGER NOT NULL CHECK (conviction BETWEEN 0 AND 6),
    since       INTEGER NOT NULL,
    PRIMARY KEY (account_id, track),
    CHECK (account_id <> delegate_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delegations_by_track ON delegations (track, account_id);
CREATE INDEX delegations_by_delegate ON delegations (delegate_id, track, account_id);

CREATE TABLE proposals (
    id         TEXT    NOT NULL PRIMARY KEY,
    track      TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    author_id  TEXT    NOT NULL REFERENCES accounts (id),
    action     TEXT    NOT NULL,
    -- What it is about, where only one proposal at a time may be: a market, a proposal, a seal.
    subject    TEXT,
    terms      TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('draft', 'deposit', 'voting', 'confirming', 'queued', 'executed',
        'expired', 'rejected', 'cancelled')),
    machine    TEXT    NOT NULL,
    -- When to look at it again.
    due_at     INTEGER,
    tally      TEXT    NOT NULL,
    -- What it would do, as computed when it was written.
    simulated  TEXT    NOT NULL,
    -- What it did, or why it could not.
    outcome    TEXT,
    created_at INTEGER NOT NULL,
    voting_at  INTEGER,
    ended_at   INTEGER
) STRICT;
CREATE INDEX proposals_by_state ON proposals (state, id);
CREATE INDEX proposals_by_author ON proposals (author_id, state);
CREATE INDEX proposals_by_track ON proposals (track, id);
CREATE INDEX proposals_by_track_and_state ON proposals (track, state, id);
CREATE INDEX proposals_due ON proposals (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX proposals_by_subject ON proposals (subject, state) WHERE subject IS NOT NULL;

CREATE TABLE proposal_deposits (
    proposal_id  TEXT    NOT NULL REFERENCES proposals (id),
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    amount_micro INTEGER NOT NULL CHECK (amount_micro > 0),
    status       TEXT    NOT NULL CHECK (status IN ('held', 'returned', 'forfeited')),
    PRIMARY KEY (proposal_id, account_id)
) STRICT, WITHOUT ROWID;

-- Who could vote with what when the vote began.
CREATE TABLE proposal_electors (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id),
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    stake_micro INTEGER NOT NULL CHECK (stake_micro >= 0),
    delegate_id TEXT,
    conviction  INTEGER NOT NULL CHECK (conviction BETWEEN 0 AND 6),
    PRIMARY KEY (proposal_id, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE proposal_votes (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id),
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    side        TEXT    NOT NULL CHECK (side IN ('for', 'against', 'abstain')),
    conviction  INTEGER NOT NULL CHECK (conviction BETWEEN 0 AND 6),
    at          INTEGER NOT NULL,
    PRIMARY KEY (proposal_id, account_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE proposal_steps (
    proposal_id TEXT    NOT NULL REFERENCES proposals (id),
    ordinal     INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    note        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (proposal_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE seals (
    id          TEXT    NOT NULL PRIMARY KEY,
    proposal_id TEXT    NOT NULL UNIQUE REFERENCES proposals (id),
    title       TEXT    NOT NULL,
    seal        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,
    order_id    TEXT,
    -- The vote about its use.
    vote_id     TEXT    REFERENCES proposals (id)
) STRICT;

CREATE TABLE standing_orders (
    id          TEXT    NOT NULL PRIMARY KEY,
    run_id      TEXT    NOT NULL REFERENCES runs (id),
    source_kind TEXT    NOT NULL CHECK (source_kind IN ('proposal', 'seal')),
    source_id   TEXT    NOT NULL,
    effect      TEXT    NOT NULL,
    from_at     INTEGER NOT NULL,
    until_at    INTEGER NOT NULL CHECK (until_at >= from_at),
    before_bps  INTEGER CHECK (before_bps BETWEEN 0 AND 10000),
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX standing_orders_by_end ON standing_orders (until_at);
CREATE INDEX standing_orders_by_run ON standing_orders (run_id, id);

-- What the policy was told about a run whenever its control changed or a decision was due.
CREATE TABLE policy_inputs (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    run_id      TEXT    NOT NULL REFERENCES runs (id),
    decision_id TEXT,
    entry       TEXT    NOT NULL
) STRICT;
CREATE INDEX policy_inputs_by_time ON policy_inputs (at, seq);
CREATE INDEX policy_inputs_by_run ON policy_inputs (run_id, seq);

-- The vote that put a version in force.
ALTER TABLE policies ADD COLUMN proposal_id TEXT;
