-- Markets of several outcomes. The row in `markets` is shared: its log_odds is that of the first outcome, and
-- `positions` holds what each account paid and was paid, with no YES or NO shares. What is particular is here.

CREATE TABLE market_outcomes (
    market_id     TEXT    NOT NULL REFERENCES markets (id),
    ordinal       INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 63),
    name          TEXT    NOT NULL CHECK (length(name) > 0),
    opening_price REAL    NOT NULL CHECK (opening_price > 0 AND opening_price < 1),
    -- Shares in the hands of traders; the prices follow from these and the opening prices.
    shares_micro  INTEGER NOT NULL CHECK (shares_micro >= 0),
    -- What a share pays, in billionths of a credit, once that is known; over a market they sum to the whole.
    pi_billionths INTEGER CHECK (pi_billionths BETWEEN 0 AND 1000000000),
    PRIMARY KEY (market_id, ordinal),
    UNIQUE (market_id, name)
) STRICT, WITHOUT ROWID;

-- Shares of an outcome that an account holds; no row is none.
CREATE TABLE outcome_holdings (
    market_id    TEXT    NOT NULL,
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    ordinal      INTEGER NOT NULL,
    shares_micro INTEGER NOT NULL CHECK (shares_micro > 0),
    PRIMARY KEY (market_id, account_id, ordinal),
    FOREIGN KEY (market_id, ordinal) REFERENCES market_outcomes (market_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE outcome_trades (
    seq          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    market_id    TEXT    NOT NULL,
    account_id   TEXT    NOT NULL REFERENCES accounts (id),
    at           INTEGER NOT NULL,
    ordinal      INTEGER NOT NULL,
    shares_micro INTEGER NOT NULL CHECK (shares_micro <> 0),
    -- Complete sets that the trade turned into credits.
    sets_micro   INTEGER NOT NULL CHECK (sets_micro >= 0),
    cost_micro   INTEGER NOT NULL,
    price_before REAL    NOT NULL CHECK (price_before > 0 AND price_before < 1),
    price_after  REAL    NOT NULL CHECK (price_after > 0 AND price_after < 1),
    -- Prices of all outcomes afterwards, in their order, as a JSON array.
    prices       TEXT    NOT NULL,
    FOREIGN KEY (market_id, ordinal) REFERENCES market_outcomes (market_id, ordinal)
) STRICT;
CREATE INDEX outcome_trades_by_market ON outcome_trades (market_id, seq);
CREATE INDEX outcome_trades_by_account ON outcome_trades (account_id, seq);

-- Whoever books a YES or NO trade on such a market is wrong about its books.
CREATE TRIGGER trades_are_binary BEFORE INSERT ON trades
WHEN EXISTS (SELECT 1 FROM market_outcomes WHERE market_id = NEW.market_id)
BEGIN SELECT RAISE (ABORT, 'the market has several outcomes'); END;
