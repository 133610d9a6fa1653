CREATE TABLE idempotency_old (
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    key          TEXT    NOT NULL,
    request_hash TEXT    NOT NULL,
    status       INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
    body         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (account_id, key)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_old SELECT account_id, key, request_hash, status, body, at FROM idempotency;
DROP TABLE idempotency;
ALTER TABLE idempotency_old RENAME TO idempotency;
CREATE INDEX idempotency_by_time ON idempotency (at);
