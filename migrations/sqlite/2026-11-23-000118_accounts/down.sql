DROP TABLE recovery_codes;
DROP TABLE second_factors;
DROP TABLE invitations;
ALTER TABLE tokens DROP COLUMN expires_at;
DROP INDEX sessions_by_time;
ALTER TABLE sessions DROP COLUMN last_seen_at;
ALTER TABLE sessions DROP COLUMN agent;
