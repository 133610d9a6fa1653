DROP INDEX acks_by_target;
ALTER TABLE acks DROP COLUMN workload;
CREATE INDEX acks_by_target ON acks (target_uid, scheduler, seq);
