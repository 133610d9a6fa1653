-- How many named outcomes a market has, in its own row: 0 for one on whether a claim is true. Every trade asks this,
-- and must not wait for a query on market_outcomes.

ALTER TABLE markets ADD COLUMN outcome_count INTEGER NOT NULL DEFAULT 0 CHECK (outcome_count BETWEEN 0 AND 64);
UPDATE markets SET outcome_count = (SELECT count(*) FROM market_outcomes WHERE market_id = markets.id)
WHERE id IN (SELECT market_id FROM market_outcomes);

CREATE TRIGGER outcomes_are_counted BEFORE INSERT ON market_outcomes
WHEN NEW.ordinal >= (SELECT outcome_count FROM markets WHERE id = NEW.market_id)
BEGIN SELECT RAISE (ABORT, 'the market has fewer outcomes'); END;
