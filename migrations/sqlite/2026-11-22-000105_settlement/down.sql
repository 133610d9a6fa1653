DROP INDEX markets_by_tokens;
DROP TABLE frozen_exhibits;
DROP TABLE settlement_claims;
DROP TABLE settlement_seeds;
DROP TABLE settlement_cases;
