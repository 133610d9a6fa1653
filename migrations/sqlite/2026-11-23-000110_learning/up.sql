-- What the judges had said where a market is settled, and the versions of the oracle that were learnt from it.

CREATE TABLE settled_cases (
    -- Place in the chain, from 1 without gaps.
    number     INTEGER NOT NULL PRIMARY KEY CHECK (number >= 1),
    market_id  TEXT    NOT NULL UNIQUE REFERENCES markets (id),
    claim_kind TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    -- The case as it was hashed, JSON.
    record     TEXT    NOT NULL,
    -- Covers the record and the hash of the case before.
    hash       TEXT    NOT NULL UNIQUE,
    -- What the learnt version that had not seen it, and the untaught pool, would have said, log-odds.
    learned    REAL    CHECK (learned BETWEEN -100 AND 100),
    untaught   REAL    CHECK (untaught BETWEEN -100 AND 100),
    CHECK ((learned IS NULL) = (untaught IS NULL))
) STRICT;
CREATE INDEX settled_cases_by_kind ON settled_cases (claim_kind, number);

CREATE TABLE oracle_versions (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- Hash of the content.
    id         TEXT    NOT NULL UNIQUE,
    origin     TEXT    NOT NULL CHECK (origin IN ('shipped', 'learned', 'trained')),
    -- The version as it was hashed, JSON.
    content    TEXT    NOT NULL,
    -- A held-out report that came with it, JSON.
    report     TEXT,
    cases      INTEGER NOT NULL CHECK (cases >= 0),
    created_at INTEGER NOT NULL,
    created_by TEXT    REFERENCES accounts (id),
    status     TEXT    NOT NULL CHECK (status IN ('candidate', 'in_force', 'retired')),
    -- When it last came into force, and by what.
    adopted_at INTEGER,
    adopted_by TEXT
) STRICT;
CREATE INDEX oracle_versions_by_origin ON oracle_versions (origin, number);
CREATE INDEX oracle_versions_by_status ON oracle_versions (status, number);
CREATE UNIQUE INDEX oracle_versions_in_force ON oracle_versions (status) WHERE status = 'in_force';

-- Weights that stand in for those that a judge was shipped with.
CREATE TABLE oracle_weights (
    hash       TEXT    NOT NULL PRIMARY KEY,
    judge      TEXT    NOT NULL,
    data       BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Which version judged.
ALTER TABLE evidence ADD COLUMN oracle_version TEXT;
