DROP TABLE decision_signatures;
DROP TABLE signing_keys;
DROP TRIGGER events_are_kept;
DROP TRIGGER events_are_final;
DROP TABLE log_checkpoints;
DROP TABLE log_places;
DROP TABLE log_tiles;
