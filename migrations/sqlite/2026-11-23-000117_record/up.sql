-- The transparency log: a Merkle tree over the events, kept as tiles of 32 hashes, and what was signed of it.

-- Number of a tile: level * 2^48 + position.
CREATE TABLE log_tiles (
    tile   INTEGER NOT NULL PRIMARY KEY CHECK (tile >= 0),
    hashes BLOB    NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) BETWEEN 32 AND 1024)
) STRICT;

-- Where the event of a fact is: the leaf of event n has the index n - 1.
CREATE TABLE log_places (
    reference TEXT    NOT NULL PRIMARY KEY,
    event_id  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log_checkpoints (
    size INTEGER NOT NULL PRIMARY KEY CHECK (size > 0),
    note TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;

CREATE TRIGGER checkpoints_are_final BEFORE UPDATE ON log_checkpoints
BEGIN SELECT RAISE (ABORT, 'checkpoints are never changed'); END;
CREATE TRIGGER checkpoints_are_kept BEFORE DELETE ON log_checkpoints
BEGIN SELECT RAISE (ABORT, 'checkpoints are never deleted'); END;

-- What is in the log stays as it was.
CREATE TRIGGER events_are_final BEFORE UPDATE ON outbox
BEGIN SELECT RAISE (ABORT, 'events are never changed'); END;
CREATE TRIGGER events_are_kept BEFORE DELETE ON outbox
BEGIN SELECT RAISE (ABORT, 'events are never deleted'); END;

-- Keys that verify decisions and checkpoints, each with the time in which it may sign.
CREATE TABLE signing_keys (
    key_id     TEXT    NOT NULL PRIMARY KEY,
    -- 32 bytes, hexadecimal.
    public_key TEXT    NOT NULL UNIQUE,
    -- Whose it is; NULL: the service's own.
    owner_id   TEXT    REFERENCES accounts (id),
    -- Epoch of decisions from which it signs.
    epoch      INTEGER NOT NULL CHECK (epoch >= 0),
    not_before INTEGER NOT NULL,
    not_after  INTEGER CHECK (not_after >= not_before),
    -- DSSE envelope in which keys before it vouch for it; NULL for the first.
    statement  TEXT
) STRICT;
CREATE INDEX signing_keys_by_time ON signing_keys (not_before, key_id);
CREATE INDEX signing_keys_by_owner ON signing_keys (owner_id, not_before);

-- Signatures beside the service's own.
CREATE TABLE decision_signatures (
    decision_id TEXT    NOT NULL REFERENCES decisions (decision_id),
    key_id      TEXT    NOT NULL REFERENCES signing_keys (key_id),
    signature   TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (decision_id, key_id)
) STRICT, WITHOUT ROWID;
