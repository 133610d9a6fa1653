-- What people follow, what they were told, and by which way.

CREATE TABLE follows (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    topic      TEXT    NOT NULL,
    since      INTEGER NOT NULL,
    -- `own`: by taking part; `asked`; `left`: taking part does not make them follow it again.
    how        TEXT    NOT NULL CHECK (how IN ('own', 'asked', 'left')),
    -- The figure they were told last: a market's probability, a run's share in basis points.
    told       REAL,
    PRIMARY KEY (account_id, topic)
) STRICT, WITHOUT ROWID;
CREATE INDEX follows_by_topic ON follows (topic, account_id);

CREATE TABLE notices (
    seq        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    -- What it tells of, `event:ID` or a name: nobody is told of the same twice.
    source     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    link       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    -- Whether the page lists it; otherwise it was made to be mailed.
    listed     INTEGER NOT NULL CHECK (listed IN (0, 1)),
    read_at    INTEGER,
    UNIQUE (account_id, source)
) STRICT;
CREATE INDEX notices_by_account ON notices (account_id, listed, seq);
CREATE INDEX notices_unread ON notices (account_id, listed, read_at);

CREATE TABLE notice_choices (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    kind       TEXT    NOT NULL,
    channel    TEXT    NOT NULL CHECK (channel IN ('app', 'mail')),
    wanted     INTEGER NOT NULL CHECK (wanted IN (0, 1)),
    PRIMARY KEY (account_id, kind, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE mail_addresses (
    account_id      TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    address         TEXT    NOT NULL,
    pace            TEXT    NOT NULL CHECK (pace IN ('once', 'daily')),
    verified_at     INTEGER,
    -- Until it is verified: the code that was mailed, until when, and how many wrong ones were tried.
    code            TEXT,
    code_until      INTEGER NOT NULL,
    guesses         INTEGER NOT NULL CHECK (guesses >= 0),
    -- Codes are mailed at most so often.
    coded_at        INTEGER NOT NULL,
    -- Signs the links that end the mail.
    unsubscribe_key BLOB    NOT NULL CHECK (length(unsubscribe_key) = 32),
    CHECK ((verified_at IS NULL) OR (code IS NULL))
) STRICT;

-- Notices that wait to be mailed.
CREATE TABLE mail_items (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    notice_seq INTEGER NOT NULL REFERENCES notices (seq) ON DELETE CASCADE,
    PRIMARY KEY (account_id, notice_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX mail_items_by_notice ON mail_items (notice_seq);

-- The next mail to an account of each sort.
CREATE TABLE mails (
    account_id TEXT    NOT NULL REFERENCES accounts (id),
    sort       TEXT    NOT NULL CHECK (sort IN ('code', 'notices')),
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL CHECK (attempts >= 0),
    last_error TEXT,
    PRIMARY KEY (account_id, sort)
) STRICT, WITHOUT ROWID;
CREATE INDEX mails_due ON mails (due_at);
CREATE INDEX mails_failing ON mails (attempts);

CREATE INDEX webhooks_failing ON webhooks (failures);

-- Who took part before this is told of what comes, and not of what was.
INSERT INTO follows (account_id, topic, since, how, told)
SELECT p.account_id, 'market:' || p.market_id, 0, 'own', NULL
FROM positions p JOIN accounts a ON a.id = p.account_id
WHERE p.paid_at IS NULL AND a.kind = 'user';
INSERT INTO control (key, json, at)
SELECT 'notices', '{"done":' || COALESCE(MAX(id), 0) || '}', 0 FROM outbox;
