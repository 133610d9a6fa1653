DROP INDEX markets_by_opening;
DROP INDEX panels_by_settlement;
DROP TABLE revenue_shares;
