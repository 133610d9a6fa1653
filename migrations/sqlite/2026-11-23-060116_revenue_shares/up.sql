-- What a vote gave to each account of a period's revenue, until it is claimed.

CREATE TABLE revenue_shares (
    id           TEXT    NOT NULL PRIMARY KEY,
    proposal_id  TEXT    NOT NULL REFERENCES proposals (id),
    -- Name of the period in the proposal.
    period       TEXT    NOT NULL,
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    weight       INTEGER NOT NULL CHECK (weight > 0),
    -- Its part of the sum, by largest remainder.
    amount_micro INTEGER NOT NULL CHECK (amount_micro > 0),
    created_at   INTEGER NOT NULL,
    -- When it went to the balance.
    claimed_at   INTEGER CHECK (claimed_at >= created_at),
    UNIQUE (proposal_id, account_id)
) STRICT;
CREATE INDEX revenue_shares_by_account ON revenue_shares (account_id, id);
CREATE INDEX revenue_shares_unclaimed ON revenue_shares (account_id) WHERE claimed_at IS NULL;
CREATE INDEX revenue_shares_by_period ON revenue_shares (period, id);

-- What a snapshot of contributions adds up.
CREATE INDEX panels_by_settlement ON panels (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX markets_by_opening ON markets (opened_at);
