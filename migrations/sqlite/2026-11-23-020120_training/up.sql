-- Runs that this service trains, and what nodes pledge for their work in them.

CREATE TABLE hosted_runs (
    run_id            TEXT    NOT NULL PRIMARY KEY REFERENCES runs (id),
    -- What it was started with, JSON.
    terms             TEXT    NOT NULL,
    -- What an operator wants of it. Whatever trains is brought into line with this.
    wanted            TEXT    NOT NULL CHECK (wanted IN ('running', 'stopped')),
    -- Least stake of a node elsewhere; 0 asks for none.
    least_stake_micro INTEGER NOT NULL CHECK (least_stake_micro >= 0),
    changed_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX hosted_runs_by_wanted ON hosted_runs (wanted, run_id);

CREATE TABLE node_stakes (
    id            TEXT    NOT NULL PRIMARY KEY,
    run_id        TEXT    NOT NULL REFERENCES hosted_runs (run_id),
    -- The node's public key, 64 hexadecimal digits; its name in the run.
    node_key      TEXT    NOT NULL CHECK (length(node_key) = 64),
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    stake_micro   INTEGER NOT NULL CHECK (stake_micro > 0),
    slashed_micro INTEGER NOT NULL CHECK (slashed_micro BETWEEN 0 AND stake_micro),
    -- bonded: the node may join. leaving: it may not, and its work is still looked at. returned, slashed: over.
    status        TEXT    NOT NULL CHECK (status IN ('bonded', 'leaving', 'returned', 'slashed')),
    created_at    INTEGER NOT NULL,
    -- When a stake that is leaving goes back.
    free_at       INTEGER,
    closed_at     INTEGER,
    -- The ban that cost it, with the evidence, JSON.
    ban           TEXT,
    CHECK ((status = 'leaving') <= (free_at IS NOT NULL)),
    CHECK ((status IN ('returned', 'slashed')) = (closed_at IS NOT NULL)),
    CHECK ((status = 'slashed') = (ban IS NOT NULL)),
    CHECK (status = 'slashed' OR slashed_micro = 0)
) STRICT;
CREATE UNIQUE INDEX node_stakes_held ON node_stakes (run_id, node_key) WHERE status IN ('bonded', 'leaving');
CREATE INDEX node_stakes_by_run ON node_stakes (run_id, id);
CREATE INDEX node_stakes_by_account ON node_stakes (account_id, id);
