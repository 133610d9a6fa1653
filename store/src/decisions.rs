//! Allocation decisions: the full desired state of each target, in the order they were made.

use diesel::prelude::*;

use crate::schema::{decision_heads, decisions};
use crate::{StoreError, Tx, found};

/// Keys in one query.
pub(crate) const TOGETHER: usize = 500;

/// An allocation decision.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = decisions)]
pub struct Decision {
    /// Identifier.
    pub decision_id: String,
    /// `run` or `pool`.
    pub target_kind: String,
    /// Whose share it sets.
    pub target_uid: String,
    /// `training` or `inference`.
    pub workload: String,
    /// Fences restores and key changes; never falls.
    pub epoch: i64,
    /// Grows with each decision on the target within an epoch.
    pub generation: i64,
    /// Share of the capacity, 1/10,000; 0..=10,000.
    pub share_bps: i64,
    /// One of `allow`, `throttle`, `pause`, `drain`, `terminate`.
    pub action: String,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// When it lapses, unix ms.
    pub expires_at: i64,
    /// The decision as signed, JSON.
    pub payload: String,
    /// The signed envelope, JSON.
    pub envelope: String,
    /// Position among all decisions; grows. Given by the store: [`insert`] ignores it.
    #[diesel(skip_insertion)]
    pub version: i64,
}

/// What a decision gave, without its document.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = decisions)]
pub struct Given {
    /// Identifier.
    pub decision_id: String,
    /// As [`Decision::share_bps`].
    pub share_bps: i64,
    /// As [`Decision::action`].
    pub action: String,
    /// When it was made, unix ms.
    pub created_at: i64,
}

/// Adds a decision, which becomes its target's latest; its version comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken, or if (epoch, generation) is not greater than that of the
/// target's latest decision.
pub fn insert(tx: &mut Tx<'_>, decision: &Decision) -> Result<i64, StoreError> {
    if let Some(head) = latest(tx, &decision.target_uid, &decision.workload)?
        && (decision.epoch, decision.generation) <= (head.epoch, head.generation)
    {
        return Err(StoreError::conflict(format!(
            "target {} has a decision of epoch {}, generation {}",
            head.target_uid, head.epoch, head.generation
        )));
    }
    tx.run(|conn| {
        diesel::insert_into(decisions::table)
            .values(decision)
            .execute(conn)
    })?;
    let version = tx.last_key()?;
    tx.run(|conn| {
        diesel::replace_into(decision_heads::table)
            .values((
                decision_heads::target_uid.eq(&decision.target_uid),
                decision_heads::workload.eq(&decision.workload),
                decision_heads::version.eq(version),
            ))
            .execute(conn)
    })?;
    Ok(version)
}

/// The decision with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, decision_id: &str) -> Result<Decision, StoreError> {
    let row = tx.run(|conn| {
        decisions::table
            .filter(decisions::decision_id.eq(decision_id))
            .select(Decision::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "decision", decision_id)
}

/// The latest decision on a target's workload.
///
/// # Errors
/// Those of the database.
pub fn latest(
    tx: &mut Tx<'_>,
    target_uid: &str,
    workload: &str,
) -> Result<Option<Decision>, StoreError> {
    tx.run(|conn| {
        decision_heads::table
            .inner_join(decisions::table.on(decisions::version.eq(decision_heads::version)))
            .filter(decision_heads::target_uid.eq(target_uid))
            .filter(decision_heads::workload.eq(workload))
            .select(Decision::as_select())
            .get_result(conn)
            .optional()
    })
}

/// The latest decision on each workload of each target, by target: the full desired state.
///
/// # Errors
/// Those of the database.
pub fn current(tx: &mut Tx<'_>) -> Result<Vec<Decision>, StoreError> {
    tx.run(|conn| {
        decision_heads::table
            .inner_join(decisions::table.on(decisions::version.eq(decision_heads::version)))
            .order((decision_heads::target_uid, decision_heads::workload))
            .select(Decision::as_select())
            .load(conn)
    })
}

/// Up to `limit` decisions after `version`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn since(tx: &mut Tx<'_>, version: i64, limit: i64) -> Result<Vec<Decision>, StoreError> {
    tx.run(|conn| {
        decisions::table
            .filter(decisions::version.gt(version))
            .order(decisions::version)
            .limit(limit)
            .select(Decision::as_select())
            .load(conn)
    })
}

/// Up to `limit` decisions, newest first, before `version` if given.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, before: Option<i64>, limit: i64) -> Result<Vec<Decision>, StoreError> {
    tx.run(|conn| {
        decisions::table
            .filter(decisions::version.lt(before.unwrap_or(i64::MAX)))
            .order(decisions::version.desc())
            .limit(limit)
            .select(Decision::as_select())
            .load(conn)
    })
}

/// Up to `limit` decisions on a target, newest first.
///
/// # Errors
/// Those of the database.
pub fn by_target(
    tx: &mut Tx<'_>,
    target_uid: &str,
    limit: i64,
) -> Result<Vec<Decision>, StoreError> {
    tx.run(|conn| {
        decisions::table
            .filter(decisions::target_uid.eq(target_uid))
            .order(decisions::version.desc())
            .limit(limit)
            .select(Decision::as_select())
            .load(conn)
    })
}

/// What up to `limit` decisions on a target's workload gave, newest first, without their documents.
///
/// # Errors
/// Those of the database.
pub fn shares(
    tx: &mut Tx<'_>,
    target_uid: &str,
    workload: &str,
    limit: i64,
) -> Result<Vec<Given>, StoreError> {
    tx.run(|conn| {
        decisions::table
            .filter(decisions::target_uid.eq(target_uid))
            .filter(decisions::workload.eq(workload))
            .order(decisions::version.desc())
            .limit(limit)
            .select(Given::as_select())
            .load(conn)
    })
}

/// Decisions on any of these targets after `version`, newest first: at most as many as there are versions.
///
/// # Errors
/// Those of the database.
pub fn of_targets_since(
    tx: &mut Tx<'_>,
    targets: &[String],
    version: i64,
) -> Result<Vec<Decision>, StoreError> {
    let mut found = Vec::new();
    for some in targets.chunks(TOGETHER) {
        let rows: Vec<Decision> = tx.run(|conn| {
            decisions::table
                .filter(decisions::target_uid.eq_any(some))
                .filter(decisions::version.gt(version))
                .select(Decision::as_select())
                .load(conn)
        })?;
        found.extend(rows);
    }
    found.sort_by_key(|row| std::cmp::Reverse(row.version));
    Ok(found)
}

/// Version of the newest decision; 0 before the first.
///
/// # Errors
/// Those of the database.
pub fn last_version(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.run(|conn| {
        let newest: Option<i64> = decisions::table
            .select(diesel::dsl::max(decisions::version))
            .get_result(conn)?;
        Ok(newest.unwrap_or(0))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    pub(crate) fn decision(id: &str, target: &str, generation: i64) -> Decision {
        Decision {
            decision_id: id.to_owned(),
            target_kind: "run".to_owned(),
            target_uid: target.to_owned(),
            workload: "training".to_owned(),
            epoch: 1,
            generation,
            share_bps: 2_500,
            action: "throttle".to_owned(),
            created_at: 1,
            expires_at: 2,
            payload: "{}".to_owned(),
            envelope: "{}".to_owned(),
            version: 0,
        }
    }

    #[test]
    fn the_latest_of_each_target_is_the_desired_state() {
        within(|tx| {
            let inference = Decision {
                workload: "inference".to_owned(),
                ..decision("d4", "r1", 1)
            };
            let rows = [
                decision("d1", "r1", 1),
                decision("d2", "r2", 1),
                decision("d3", "r1", 2),
                inference,
            ];
            let mut stored = Vec::new();
            for (version, row) in (1..).zip(&rows) {
                assert_eq!(insert(tx, row)?, version);
                stored.push(Decision {
                    version,
                    ..row.clone()
                });
            }
            let [d1, d2, d3, d4] = [0, 1, 2, 3].map(|at: usize| stored[at].clone());
            assert_eq!(latest(tx, "r1", "training")?, Some(d3.clone()));
            assert_eq!(latest(tx, "r9", "training")?, None);
            assert_eq!(current(tx)?, [d4.clone(), d3.clone(), d2.clone()]);
            assert_eq!(since(tx, 1, 2)?, [d2.clone(), d3.clone()]);
            assert_eq!(list(tx, Some(3), 9)?, [d2, d1.clone()]);
            assert_eq!(by_target(tx, "r1", 2)?, [d4, d3]);
            assert_eq!((last_version(tx)?, get(tx, "d1")?), (4, d1));
            assert!(matches!(get(tx, "d9"), Err(StoreError::NotFound { .. })));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn an_older_decision_is_refused() {
        within(|tx| {
            insert(tx, &decision("d1", "r1", 5))?;
            for (epoch, generation, newer) in [
                (1, 5, false),
                (1, 4, false),
                (0, 9, false),
                (1, 6, true),
                (2, 1, true),
            ] {
                let id = format!("d-{epoch}-{generation}");
                let result = insert(
                    tx,
                    &Decision {
                        epoch,
                        ..decision(&id, "r1", generation)
                    },
                );
                assert_eq!(result.is_ok(), newer, "{id}: {result:?}");
            }
            let odd = Decision {
                share_bps: 10_001,
                ..decision("d2", "r2", 1)
            };
            assert!(matches!(insert(tx, &odd), Err(StoreError::Database(_))));
            Ok(())
        })
        .unwrap();
    }
}
