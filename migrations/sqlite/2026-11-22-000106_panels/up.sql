-- Jurors, the panels they sit on, and cases with a known answer.

CREATE TABLE jurors (
    account_id   TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    stake_micro  INTEGER NOT NULL CHECK (stake_micro >= 0),
    -- Deposits of open seats.
    locked_micro INTEGER NOT NULL CHECK (locked_micro BETWEEN 0 AND stake_micro),
    gold_cases   INTEGER NOT NULL CHECK (gold_cases >= 0),
    gold_right   INTEGER NOT NULL CHECK (gold_right BETWEEN 0 AND gold_cases),
    seats        INTEGER NOT NULL CHECK (seats >= 0),
    coherent     INTEGER NOT NULL CHECK (coherent BETWEEN 0 AND seats),
    -- Gets the stake back as seats end, and is not drawn any more.
    leaving      INTEGER NOT NULL CHECK (leaving IN (0, 1)),
    joined_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX jurors_by_readiness ON jurors (leaving, account_id);

-- Seeds for draws, committed before anybody knows what they will be used for and used in order.
CREATE TABLE draw_secrets (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    commitment TEXT    NOT NULL UNIQUE,
    secret     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    panel_id   TEXT    UNIQUE
) STRICT;
CREATE INDEX draw_secrets_unused ON draw_secrets (number) WHERE panel_id IS NULL;

CREATE TABLE gold_cases (
    id         TEXT    NOT NULL PRIMARY KEY,
    snapshot   TEXT    NOT NULL,
    pi         INTEGER NOT NULL CHECK (pi BETWEEN 0 AND 1000000000),
    -- Whether pi is at least one half: both answers are drawn equally often.
    affirms    INTEGER NOT NULL CHECK (affirms IN (0, 1)),
    market_id  TEXT    UNIQUE REFERENCES markets (id),
    author_id  TEXT    REFERENCES accounts (id),
    created_at INTEGER NOT NULL,
    retired    INTEGER NOT NULL CHECK (retired IN (0, 1))
) STRICT;
CREATE INDEX gold_cases_by_answer ON gold_cases (retired, affirms, id);

-- A juror sees a case once.
CREATE TABLE gold_views (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    case_id    TEXT NOT NULL REFERENCES gold_cases (id),
    PRIMARY KEY (account_id, case_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE panels (
    id            TEXT    NOT NULL PRIMARY KEY,
    subject       TEXT    NOT NULL CHECK (subject IN ('settlement', 'exhibit', 'gold')),
    market_id     TEXT    REFERENCES markets (id),
    round         INTEGER CHECK (round >= 0),
    evidence_id   TEXT,
    challenge_id  TEXT,
    case_id       TEXT    REFERENCES gold_cases (id),
    -- What jurors are shown; a panel on a known case shows the size of the panel it comes with.
    snapshot      TEXT    NOT NULL,
    shown_size    INTEGER NOT NULL CHECK (shown_size > 0),
    status        TEXT    NOT NULL CHECK (status IN ('committing', 'revealing', 'ruled', 'tie', 'no_quorum',
        'withdrawn')),
    pi            INTEGER CHECK (pi BETWEEN 0 AND 1000000000),
    drawn_at      INTEGER NOT NULL,
    commit_by     INTEGER NOT NULL,
    reveal_by     INTEGER NOT NULL,
    reveal_ms     INTEGER NOT NULL CHECK (reveal_ms > 0),
    ended_at      INTEGER,
    settled_at    INTEGER,
    final_pi      INTEGER CHECK (final_pi BETWEEN 0 AND 1000000000),
    -- Of the draw: the public part of the seed, the secret one, and who could be drawn.
    public_seed   TEXT    NOT NULL,
    secret_number INTEGER REFERENCES draw_secrets (number),
    candidates    TEXT    NOT NULL,
    -- Over, and nobody's private matter.
    listed        INTEGER NOT NULL CHECK (listed IN (0, 1)),
    CHECK ((subject = 'gold') = (case_id IS NOT NULL)),
    CHECK ((status = 'ruled') = (pi IS NOT NULL))
) STRICT;
CREATE INDEX panels_by_commit_deadline ON panels (status, commit_by);
CREATE INDEX panels_by_reveal_deadline ON panels (status, reveal_by);
CREATE INDEX panels_by_market ON panels (market_id, settled_at, id);
CREATE INDEX panels_listed ON panels (listed, id);

CREATE TABLE panel_seats (
    panel_id      TEXT    NOT NULL REFERENCES panels (id),
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    ordinal       INTEGER NOT NULL,
    deposit_micro INTEGER NOT NULL CHECK (deposit_micro >= 0),
    state         TEXT    NOT NULL CHECK (state IN ('waiting', 'committed', 'revealed', 'denounced', 'conflicted')),
    commitment    TEXT,
    committed_at  INTEGER,
    -- Null in a revealed seat: the juror could not tell.
    vote_bps      INTEGER CHECK (vote_bps BETWEEN 0 AND 10000),
    nonce         TEXT,
    justification TEXT,
    revealed_at   INTEGER,
    denounced_by  TEXT    REFERENCES accounts (id),
    verdict       TEXT    CHECK (verdict IN ('coherent', 'incoherent', 'abstained', 'silent', 'denounced',
        'conflicted', 'unjudged')),
    paid_micro    INTEGER NOT NULL CHECK (paid_micro >= 0),
    slashed_micro INTEGER NOT NULL CHECK (slashed_micro BETWEEN 0 AND deposit_micro),
    PRIMARY KEY (panel_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX panel_seats_by_account ON panel_seats (account_id, panel_id);
