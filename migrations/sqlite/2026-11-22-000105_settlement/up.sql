-- How markets come to an end: closing windows, draws, proposals, challenges and rulings.

-- One row beside each market. `closing` and `frozen` are JSON: the head of the market's log then, and what
-- was drawn from it.
CREATE TABLE settlement_cases (
    market_id   TEXT    NOT NULL PRIMARY KEY REFERENCES markets (id),
    -- What was promised at the opening, canonical JSON; its hash is in the first head of the log.
    terms       TEXT    NOT NULL,
    -- The next moment at which the clock alone moves the case on, unix ms. Secret while a market closes.
    due_at      INTEGER,
    closing     TEXT,
    frozen      TEXT,
    void_reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_cases_by_deadline ON settlement_cases (due_at, market_id) WHERE due_at IS NOT NULL;

-- Kept apart, so that nothing that reads a case can show a seed before its time.
CREATE TABLE settlement_seeds (
    market_id TEXT NOT NULL PRIMARY KEY REFERENCES markets (id),
    seed      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The record of a case, in order: who proposed or challenged, which jury was called, what it ruled.
CREATE TABLE settlement_claims (
    market_id     TEXT    NOT NULL REFERENCES markets (id),
    round         INTEGER NOT NULL CHECK (round >= 0),
    kind          TEXT    NOT NULL CHECK (kind IN ('proposal', 'challenge', 'search', 'ruling', 'no_ruling')),
    source        TEXT    NOT NULL CHECK (source IN ('test', 'ensemble', 'reference', 'person', 'panel', 'proposals')),
    -- Who put the bond up; nobody behind a ruling.
    account_id    TEXT    REFERENCES accounts (id),
    pi_billionths INTEGER CHECK (pi_billionths BETWEEN 0 AND 1000000000),
    bond_micro    INTEGER NOT NULL CHECK (bond_micro >= 0),
    -- What came back of the bonds, once they were given out.
    paid_micro    INTEGER CHECK (paid_micro >= 0),
    disputes      INTEGER,
    jurors        INTEGER,
    panel_id      TEXT,
    reason        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (market_id, round),
    CHECK ((kind = 'challenge') = (disputes IS NOT NULL)),
    CHECK (kind IN ('search', 'no_ruling') OR pi_billionths IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- The leaves of a market's exhibit tree, as they were when it was frozen.
CREATE TABLE frozen_exhibits (
    market_id    TEXT    NOT NULL REFERENCES markets (id),
    ordinal      INTEGER NOT NULL CHECK (ordinal >= 0),
    evidence_id  TEXT    NOT NULL,
    content_hash TEXT    NOT NULL,
    PRIMARY KEY (market_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX frozen_exhibits_by_evidence ON frozen_exhibits (market_id, evidence_id);

-- Open markets that the tokens of their run may close: looked at on every tick.
CREATE INDEX markets_by_tokens ON markets (status, id) WHERE closes_after_tokens IS NOT NULL;

-- Markets that were being settled when the machine had no searches yet: theirs was the test.
UPDATE markets SET life = json_set(life, '$.search', json('{"by":"test"}'))
    WHERE status = 'settling' AND json_extract(life, '$.proposal') IS NULL;
