-- Evidence with bonds and priority; commitments before it, disputes about it, comments and attachments beside it.

-- SQLite cannot change a CHECK: the table is made anew. Nothing refers to it yet.
CREATE TABLE evidence_new (
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
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'judged', 'duplicate', 'rejected', 'struck')),
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
    judged_at       INTEGER,
    -- Posted to the market's bonds; given back when the market is over, or lost in a dispute.
    bond_micro      INTEGER NOT NULL CHECK (bond_micro >= 0),
    -- Judged in this order: that of the commitment, where there was one.
    priority_at     INTEGER NOT NULL,
    priority_id     TEXT    NOT NULL,
    commitment_id   TEXT,
    attachments     TEXT    NOT NULL,
    -- Waits until older commitments are revealed or lapse.
    held            INTEGER NOT NULL CHECK (held IN (0, 1)),
    -- When the market was over and gave back what it held for it.
    released_at     INTEGER,
    struck_at       INTEGER,
    CHECK ((status = 'struck') = (struck_at IS NOT NULL)),
    CHECK (held = 0 OR status = 'pending')
) STRICT;
INSERT INTO evidence_new
    SELECT id, market_id, account_id, kind, title, body, exhibits, content_hash, stake_micro, fee_micro, status, shift,
        log_odds_before, log_odds_after, locked_micro, yes_micro, no_micro, judgements, replay, reason, created_at,
        judged_at, 0, created_at, id, NULL, '[]', 0, NULL, NULL
    FROM evidence;
DROP TABLE evidence;
ALTER TABLE evidence_new RENAME TO evidence;
CREATE INDEX evidence_by_market ON evidence (market_id, id);
CREATE INDEX evidence_by_verdict ON evidence (market_id, status, id);
CREATE INDEX evidence_by_status ON evidence (status, id);
CREATE INDEX evidence_by_account ON evidence (market_id, account_id);
-- The first submission of a content counts; later ones are kept, marked as duplicates.
CREATE UNIQUE INDEX evidence_by_content ON evidence (market_id, content_hash) WHERE status NOT IN ('duplicate', 'rejected');
CREATE INDEX evidence_by_hold ON evidence (market_id, priority_at, priority_id) WHERE held = 1;
CREATE INDEX evidence_by_release ON evidence (market_id, id) WHERE released_at IS NULL AND status <> 'pending';

CREATE TABLE commitments (
    id          TEXT    NOT NULL PRIMARY KEY,
    market_id   TEXT    NOT NULL REFERENCES markets (id),
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    commitment  TEXT    NOT NULL,
    bond_micro  INTEGER NOT NULL CHECK (bond_micro >= 0),
    status      TEXT    NOT NULL CHECK (status IN ('open', 'revealed', 'expired', 'released')),
    created_at  INTEGER NOT NULL,
    reveal_by   INTEGER NOT NULL CHECK (reveal_by >= created_at),
    evidence_id TEXT    REFERENCES evidence (id),
    UNIQUE (market_id, account_id, commitment),
    CHECK ((status = 'revealed') = (evidence_id IS NOT NULL))
) STRICT;
CREATE INDEX commitments_by_age ON commitments (market_id, status, created_at, id);
CREATE INDEX commitments_by_account ON commitments (market_id, account_id, status);
CREATE INDEX commitments_by_deadline ON commitments (reveal_by) WHERE status = 'open';

-- What later submissions are compared with.
CREATE TABLE fingerprints (
    evidence_id TEXT NOT NULL PRIMARY KEY REFERENCES evidence (id),
    market_id   TEXT NOT NULL REFERENCES markets (id),
    data        BLOB NOT NULL
) STRICT;
CREATE INDEX fingerprints_by_market ON fingerprints (market_id, evidence_id);

CREATE TABLE exhibit_challenges (
    id          TEXT    NOT NULL PRIMARY KEY,
    evidence_id TEXT    NOT NULL REFERENCES evidence (id),
    market_id   TEXT    NOT NULL REFERENCES markets (id),
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    reason      TEXT    NOT NULL,
    bond_micro  INTEGER NOT NULL CHECK (bond_micro >= 0),
    status      TEXT    NOT NULL CHECK (status IN ('open', 'upheld', 'rejected', 'undecided')),
    decided_by  TEXT    CHECK (decided_by IN ('replay', 'panel')),
    panel_id    TEXT,
    note        TEXT,
    -- Part of the losing bond that went to the treasury.
    burnt_micro INTEGER CHECK (burnt_micro >= 0),
    created_at  INTEGER NOT NULL,
    decided_at  INTEGER,
    CHECK ((status = 'open') = (decided_at IS NULL))
) STRICT;
CREATE INDEX exhibit_challenges_by_evidence ON exhibit_challenges (evidence_id, id);
CREATE INDEX exhibit_challenges_by_market ON exhibit_challenges (market_id, status, id);
CREATE INDEX exhibit_challenges_by_status ON exhibit_challenges (status, id);
-- One dispute at a time.
CREATE UNIQUE INDEX exhibit_challenges_one_open ON exhibit_challenges (evidence_id) WHERE status = 'open';

CREATE TABLE comments (
    id          TEXT    NOT NULL PRIMARY KEY,
    market_id   TEXT    NOT NULL REFERENCES markets (id),
    evidence_id TEXT    REFERENCES evidence (id),
    account_id  TEXT    NOT NULL REFERENCES accounts (id),
    body        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    deleted_by  TEXT    REFERENCES accounts (id),
    -- A removed comment leaves its place and nothing of its text.
    CHECK (deleted_at IS NULL OR body = '')
) STRICT;
CREATE INDEX comments_by_market ON comments (market_id, id);
CREATE INDEX comments_by_evidence ON comments (evidence_id, id) WHERE evidence_id IS NOT NULL;
CREATE INDEX comments_by_account ON comments (account_id, created_at);

CREATE TABLE attachments (
    hash       TEXT    NOT NULL PRIMARY KEY,
    media_type TEXT    NOT NULL,
    size       INTEGER NOT NULL CHECK (size > 0),
    data       BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Who brought it: counts against that account's quota.
CREATE TABLE attachment_owners (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    hash       TEXT    NOT NULL REFERENCES attachments (hash),
    size       INTEGER NOT NULL CHECK (size > 0),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, hash)
) STRICT, WITHOUT ROWID;
