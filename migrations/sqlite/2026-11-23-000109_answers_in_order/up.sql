-- Answers were kept in the order of their accounts, so that each was written into a page of its own, bodies and
-- all. In the order of writing many share a page; and with the key first in the index, so do the entries of
-- keys that grow with time (UUIDv7), whoever sends them.
CREATE TABLE idempotency_new (
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    key          TEXT    NOT NULL,
    request_hash TEXT    NOT NULL,
    status       INTEGER NOT NULL CHECK (status BETWEEN 100 AND 599),
    body         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    UNIQUE (key, account_id)
) STRICT;
INSERT INTO idempotency_new (account_id, key, request_hash, status, body, at)
SELECT account_id, key, request_hash, status, body, at FROM idempotency ORDER BY at;
DROP TABLE idempotency;
ALTER TABLE idempotency_new RENAME TO idempotency;
CREATE INDEX idempotency_by_time ON idempotency (at);
