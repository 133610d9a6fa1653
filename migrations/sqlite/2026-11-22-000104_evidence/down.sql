DROP TABLE attachment_owners;
DROP TABLE attachments;
DROP TABLE comments;
DROP TABLE exhibit_challenges;
DROP TABLE fingerprints;
DROP TABLE commitments;
-- Struck evidence goes back to what it was before its challenge.
CREATE TABLE evidence_old (
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
INSERT INTO evidence_old
    SELECT id, market_id, account_id, kind, title, body, exhibits, content_hash, stake_micro, fee_micro,
        CASE status WHEN 'struck' THEN 'judged' ELSE status END, shift, log_odds_before, log_odds_after, locked_micro,
        yes_micro, no_micro, judgements, replay, reason, created_at, judged_at
    FROM evidence;
DROP TABLE evidence;
ALTER TABLE evidence_old RENAME TO evidence;
CREATE INDEX evidence_by_market ON evidence (market_id, id);
CREATE INDEX evidence_by_verdict ON evidence (market_id, status, id);
CREATE INDEX evidence_by_status ON evidence (status, id);
CREATE INDEX evidence_by_account ON evidence (market_id, account_id);
CREATE UNIQUE INDEX evidence_by_content ON evidence (market_id, content_hash) WHERE status NOT IN ('duplicate', 'rejected');
