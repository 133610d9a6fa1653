//! What schedulers report about decisions.

use diesel::prelude::*;

use crate::decisions::TOGETHER;
use crate::schema::{acks, decisions};
use crate::{StoreError, Tx, found};

/// A scheduler's report on one phase of carrying out a decision.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = acks)]
pub struct Ack {
    /// The decision.
    pub decision_id: String,
    /// Name of the scheduler.
    pub scheduler: String,
    /// One of `received`, `accepted`, `rejected`, `applying`, `enforced`, `partial`, `failed`, `released`.
    pub phase: String,
    /// When it came, unix ms.
    pub at: i64,
    /// Generation that the scheduler acts on.
    pub observed_generation: i64,
    /// Share really in force, 1/10,000.
    pub actual_bps: Option<i64>,
    /// The report, JSON.
    pub body: String,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new and was stored.
    Inserted,
    /// The same report is stored already (whenever it came).
    Same,
    /// Another report on the same decision, scheduler and phase is stored; this one was not.
    Conflict,
}

/// Stores a report, once per (decision, scheduler, phase).
///
/// # Errors
/// [`StoreError::NotFound`] if there is no such decision.
pub fn put(tx: &mut Tx<'_>, ack: &Ack) -> Result<Put, StoreError> {
    let stored: Option<Ack> = tx.run(|conn| {
        acks::table
            .filter(acks::decision_id.eq(&ack.decision_id))
            .filter(acks::scheduler.eq(&ack.scheduler))
            .filter(acks::phase.eq(&ack.phase))
            .select(Ack::as_select())
            .get_result(conn)
            .optional()
    })?;
    if let Some(stored) = stored {
        return Ok(
            if stored
                == (Ack {
                    at: stored.at,
                    ..ack.clone()
                })
            {
                Put::Same
            } else {
                Put::Conflict
            },
        );
    }
    let about: Option<(String, String)> = tx.run(|conn| {
        decisions::table
            .filter(decisions::decision_id.eq(&ack.decision_id))
            .select((decisions::target_uid, decisions::workload))
            .get_result(conn)
            .optional()
    })?;
    let (target, workload) = found(about, "decision", &ack.decision_id)?;
    let about = (acks::target_uid.eq(target), acks::workload.eq(workload));
    tx.run(|conn| {
        diesel::insert_into(acks::table)
            .values((ack, about))
            .execute(conn)
    })?;
    Ok(Put::Inserted)
}

/// The reports on a decision, in the order they came.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, decision_id: &str) -> Result<Vec<Ack>, StoreError> {
    let mut rows: Vec<(i64, Ack)> = tx.run(|conn| {
        acks::table
            .filter(acks::decision_id.eq(decision_id))
            .select((acks::seq, Ack::as_select()))
            .load(conn)
    })?;
    rows.sort_by_key(|(seq, _)| *seq);
    Ok(rows.into_iter().map(|(_, ack)| ack).collect())
}

/// The reports on any of these decisions, in the order they came.
///
/// # Errors
/// Those of the database.
pub fn of_decisions(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Ack>, StoreError> {
    let mut rows: Vec<(i64, Ack)> = Vec::new();
    for some in ids.chunks(TOGETHER) {
        let found: Vec<(i64, Ack)> = tx.run(|conn| {
            acks::table
                .filter(acks::decision_id.eq_any(some))
                .select((acks::seq, Ack::as_select()))
                .load(conn)
        })?;
        rows.extend(found);
    }
    rows.sort_by_key(|(seq, _)| *seq);
    Ok(rows.into_iter().map(|(_, ack)| ack).collect())
}

/// A scheduler's last report with the target and the workload that it is about.
pub type Latest = (String, String, Ack);

/// The last report of each scheduler on any decision about any of these targets, for each workload.
///
/// # Errors
/// Those of the database.
pub fn latest_of_targets(tx: &mut Tx<'_>, targets: &[String]) -> Result<Vec<Latest>, StoreError> {
    let mut rows = Vec::new();
    for some in targets.chunks(TOGETHER) {
        let newest: Vec<Option<i64>> = tx.run(|conn| {
            acks::table
                .filter(acks::target_uid.eq_any(some))
                .group_by((acks::target_uid, acks::workload, acks::scheduler))
                .select(diesel::dsl::max(acks::seq))
                .load(conn)
        })?;
        let newest: Vec<i64> = newest.into_iter().flatten().collect();
        for seqs in newest.chunks(TOGETHER) {
            let found: Vec<Latest> = tx.run(|conn| {
                acks::table
                    .filter(acks::seq.eq_any(seqs))
                    .select((acks::target_uid, acks::workload, Ack::as_select()))
                    .load(conn)
            })?;
            rows.extend(found);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decisions::{self, tests::decision};
    use crate::testing::within;

    fn ack(decision: &str, scheduler: &str, phase: &str, at: i64) -> Ack {
        Ack {
            decision_id: decision.to_owned(),
            scheduler: scheduler.to_owned(),
            phase: phase.to_owned(),
            at,
            observed_generation: 1,
            actual_bps: Some(2_500),
            body: "{}".to_owned(),
        }
    }

    #[test]
    fn a_report_is_stored_once() {
        within(|tx| {
            decisions::insert(tx, &decision("d1", "r1", 1))?;
            let first = ack("d1", "core", "received", 1);
            assert_eq!(put(tx, &first)?, Put::Inserted);
            assert_eq!(
                put(
                    tx,
                    &Ack {
                        at: 9,
                        ..first.clone()
                    }
                )?,
                Put::Same
            );
            assert_eq!(
                put(
                    tx,
                    &Ack {
                        actual_bps: None,
                        ..first.clone()
                    }
                )?,
                Put::Conflict
            );
            assert_eq!(list(tx, "d1")?, [first]);
            let unknown = put(tx, &ack("d9", "core", "received", 1));
            assert_eq!(unknown, Err(StoreError::not_found("decision", "d9")));
            assert!(matches!(
                put(tx, &ack("d1", "core", "dreaming", 1)),
                Err(StoreError::Database(_))
            ));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_last_report_of_each_scheduler_counts() {
        within(|tx| {
            decisions::insert(tx, &decision("d1", "r1", 1))?;
            decisions::insert(tx, &decision("d2", "r1", 2))?;
            decisions::insert(tx, &decision("d3", "r2", 1))?;
            let mut inference = decision("d4", "r1", 1);
            inference.workload = "inference".to_owned();
            decisions::insert(tx, &inference)?;
            // The order they came in decides, not the time that they bear.
            let rows = [
                ack("d1", "slurm", "enforced", 9),
                ack("d1", "core", "received", 1),
                ack("d2", "core", "enforced", 3),
                ack("d3", "core", "failed", 4),
                ack("d4", "core", "enforced", 5),
            ];
            for row in &rows {
                put(tx, row)?;
            }
            let mut latest = latest_of_targets(tx, &["r1".to_owned()])?;
            latest.sort_by_key(|(_, _, ack)| ack.at);
            let [first, second, third] = [(2, "training"), (4, "inference"), (0, "training")]
                .map(|(row, workload)| ("r1".to_owned(), workload.to_owned(), rows[row].clone()));
            assert_eq!(latest, [first, second, third]);
            Ok(())
        })
        .unwrap();
    }
}
