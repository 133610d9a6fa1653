DROP TRIGGER trades_are_binary;
DROP TABLE outcome_trades;
DROP TABLE outcome_holdings;
DROP TABLE market_outcomes;
