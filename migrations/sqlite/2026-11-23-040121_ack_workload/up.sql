-- Training and inference of a run are decided apart, and so is whether each is obeyed.

ALTER TABLE acks ADD COLUMN workload TEXT NOT NULL DEFAULT 'training' CHECK (workload IN ('training', 'inference'));
UPDATE acks SET workload = (SELECT workload FROM decisions WHERE decisions.decision_id = acks.decision_id);
DROP INDEX acks_by_target;
CREATE INDEX acks_by_target ON acks (target_uid, workload, scheduler, seq);
