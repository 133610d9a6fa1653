-- Keys of people's devices, which sign in instead of a password and a one-time code.

CREATE TABLE passkeys (
    id            TEXT    NOT NULL PRIMARY KEY,
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    -- What the device calls the key; good for one account.
    credential_id BLOB    NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 16 AND 1023),
    name          TEXT    NOT NULL,
    -- The public key, and what was settled when it was made.
    public_key    BLOB    NOT NULL,
    -- What every sign-in may change: the device's counter, and whether the key is backed up.
    state         BLOB    NOT NULL CHECK (length(state) = 7),
    -- How the device is reached, as bits.
    transports    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT;
CREATE INDEX passkeys_by_account ON passkeys (account_id, created_at);
