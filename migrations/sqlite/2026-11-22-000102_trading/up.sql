-- Fees, resting orders, standings and the record of forecasts.

-- Best limits of the resting orders of a market, as log-odds: the highest of those that push the price up,
-- the lowest of those that push it down. A move that reaches neither need not look at the orders.
CREATE TABLE order_books (
    market_id TEXT NOT NULL PRIMARY KEY REFERENCES markets (id),
    best_bid  REAL CHECK (best_bid BETWEEN -100 AND 100),
    best_ask  REAL CHECK (best_ask BETWEEN -100 AND 100)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    seq               INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id                TEXT    NOT NULL UNIQUE,
    market_id         TEXT    NOT NULL REFERENCES markets (id),
    account_id        TEXT    NOT NULL REFERENCES accounts (id),
    outcome           TEXT    NOT NULL CHECK (outcome IN ('yes', 'no')),
    side              TEXT    NOT NULL CHECK (side IN ('up', 'down')),
    limit_probability REAL    NOT NULL CHECK (limit_probability BETWEEN 0.005 AND 0.995),
    -- Exactly one of the two is above zero: a purchase for so much, or a sale of so many shares.
    budget_micro      INTEGER NOT NULL CHECK (budget_micro >= 0),
    shares_micro      INTEGER NOT NULL CHECK (shares_micro >= 0),
    remaining_micro   INTEGER NOT NULL CHECK (remaining_micro >= 0),
    reserved_micro    INTEGER NOT NULL CHECK (reserved_micro >= 0),
    filled_micro      INTEGER NOT NULL CHECK (filled_micro >= 0),
    cost_micro        INTEGER NOT NULL,
    fees_micro        INTEGER NOT NULL CHECK (fees_micro >= 0),
    status            TEXT    NOT NULL CHECK (status IN ('open', 'filled', 'cancelled', 'expired', 'closed')),
    reason            TEXT,
    created_at        INTEGER NOT NULL,
    expires_at        INTEGER,
    ended_at          INTEGER,
    CHECK ((budget_micro = 0) <> (shares_micro = 0)),
    CHECK ((status = 'open') = (ended_at IS NULL)),
    CHECK (status = 'open' OR reserved_micro = 0)
) STRICT;
CREATE INDEX orders_by_limit ON orders (market_id, status, side, limit_probability, seq);
CREATE INDEX orders_by_account ON orders (account_id, seq);
CREATE INDEX orders_by_owner ON orders (market_id, account_id, status, seq);
CREATE INDEX orders_open_by_account ON orders (account_id, status, seq);
CREATE INDEX orders_by_expiry ON orders (status, expires_at);

CREATE TABLE order_fills (
    order_id TEXT NOT NULL REFERENCES orders (id),
    trade_id TEXT NOT NULL REFERENCES trades (id),
    PRIMARY KEY (order_id, trade_id)
) STRICT, WITHOUT ROWID;

-- Fees of trades, held until the market is final (then they are due) or void (then they go back).
CREATE TABLE fees (
    market_id     TEXT    NOT NULL REFERENCES markets (id),
    account_id    TEXT    NOT NULL REFERENCES accounts (id),
    trade_micro   INTEGER NOT NULL CHECK (trade_micro >= 0),
    creator_micro INTEGER NOT NULL CHECK (creator_micro >= 0),
    returned_at   INTEGER,
    PRIMARY KEY (market_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fees_by_return ON fees (market_id, returned_at, account_id);

-- What each account made in paid markets, kept up by the transaction that pays.
CREATE TABLE standings (
    account_id     TEXT    NOT NULL PRIMARY KEY REFERENCES accounts (id),
    markets        INTEGER NOT NULL CHECK (markets >= 0),
    hits           INTEGER NOT NULL CHECK (hits BETWEEN 0 AND markets),
    trading_micro  INTEGER NOT NULL,
    evidence_micro INTEGER NOT NULL,
    total_micro    INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    CHECK (total_micro = trading_micro + evidence_micro)
) STRICT;
CREATE INDEX standings_by_total ON standings (total_micro DESC, account_id);
CREATE INDEX standings_by_trading ON standings (trading_micro DESC, account_id);
CREATE INDEX standings_by_evidence ON standings (evidence_micro DESC, account_id);

-- What each paid market had said before it was settled.
CREATE TABLE forecasts (
    market_id        TEXT    NOT NULL PRIMARY KEY REFERENCES markets (id),
    claim_kind       TEXT    NOT NULL,
    at               INTEGER NOT NULL,
    pi               REAL    NOT NULL CHECK (pi BETWEEN 0 AND 1),
    opening_log_odds REAL    NOT NULL CHECK (opening_log_odds BETWEEN -100 AND 100),
    closing_log_odds REAL    NOT NULL CHECK (closing_log_odds BETWEEN -100 AND 100),
    mean_log_odds    REAL    NOT NULL CHECK (mean_log_odds BETWEEN -100 AND 100),
    window_ms        INTEGER NOT NULL CHECK (window_ms >= 0)
) STRICT;
CREATE INDEX forecasts_by_time ON forecasts (at, market_id);
CREATE INDEX forecasts_by_kind ON forecasts (claim_kind, at, market_id);
