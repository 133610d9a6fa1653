//! What schedulers say, time and again, that they hold.

use diesel::prelude::*;

use crate::schema::enforcement_reports;
use crate::{StoreError, Tx};

/// A scheduler's newest word on one target.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = enforcement_reports)]
pub struct EnforcementReport {
    /// The run.
    pub target_uid: String,
    /// `training` or `inference`.
    pub workload: String,
    /// Name of the scheduler.
    pub scheduler: String,
    /// When it came, unix ms.
    pub at: i64,
    /// Seconds within which the scheduler means to report again.
    pub every_s: i64,
    /// Epoch of the decision that it keeps to.
    pub epoch: i64,
    /// Generation of that decision.
    pub observed_generation: i64,
    /// Share really in force, 1/10,000.
    pub actual_bps: i64,
    /// How, or what is in the way.
    pub detail: Option<String>,
}

/// Keeps a report in the place of the one before it.
///
/// # Errors
/// Those of the database.
pub fn put(tx: &mut Tx<'_>, report: &EnforcementReport) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(enforcement_reports::table)
            .values(report)
            .execute(conn)
    })?;
    Ok(())
}

/// Targets of one query.
const TOGETHER: usize = 500;

/// The newest reports on these targets, one for each scheduler and workload.
///
/// # Errors
/// Those of the database.
pub fn of_targets(
    tx: &mut Tx<'_>,
    targets: &[String],
) -> Result<Vec<EnforcementReport>, StoreError> {
    let mut found = Vec::new();
    for some in targets.chunks(TOGETHER) {
        let rows: Vec<EnforcementReport> = tx.run(|conn| {
            enforcement_reports::table
                .filter(enforcement_reports::target_uid.eq_any(some))
                .select(EnforcementReport::as_select())
                .load(conn)
        })?;
        found.extend(rows);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::within;

    #[test]
    fn the_newest_report_of_each_scheduler_is_kept() {
        let report = |scheduler: &str, at| EnforcementReport {
            target_uid: "r".into(),
            workload: "training".into(),
            scheduler: scheduler.into(),
            at,
            every_s: 60,
            epoch: 1,
            observed_generation: 2,
            actual_bps: 700,
            detail: None,
        };
        within(move |tx| {
            put(tx, &report("b", 1))?;
            put(tx, &report("a", 2))?;
            put(tx, &report("b", 3))?;
            let mut kept = of_targets(tx, &["r".to_owned(), "s".to_owned()])?;
            kept.sort_by(|a, b| a.scheduler.cmp(&b.scheduler));
            assert_eq!(kept, [report("a", 2), report("b", 3)]);
            assert_eq!(of_targets(tx, &["s".to_owned()])?, []);
            Ok(())
        })
        .unwrap();
    }
}
