-- What schedulers hold by their own account, told again and again: the newest word of each.

CREATE TABLE enforcement_reports (
    target_uid          TEXT    NOT NULL,
    workload            TEXT    NOT NULL CHECK (workload IN ('training', 'inference')),
    scheduler           TEXT    NOT NULL,
    at                  INTEGER NOT NULL,
    -- Within this time the next one is due.
    every_s             INTEGER NOT NULL CHECK (every_s > 0),
    epoch               INTEGER NOT NULL,
    observed_generation INTEGER NOT NULL,
    actual_bps          INTEGER NOT NULL CHECK (actual_bps BETWEEN 0 AND 10000),
    detail              TEXT,
    PRIMARY KEY (target_uid, workload, scheduler)
) STRICT, WITHOUT ROWID;
