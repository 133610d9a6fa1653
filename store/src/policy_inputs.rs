//! What the policy was told, whenever something followed from it: the record that a policy is replayed on.

use diesel::prelude::*;

use crate::schema::policy_inputs;
use crate::{StoreError, Tx};

/// One run at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = policy_inputs)]
pub struct PolicyInput {
    /// Position; grows.
    pub seq: i64,
    /// When, unix ms.
    pub at: i64,
    /// The run.
    pub run_id: String,
    /// The decision that was due, if one was.
    pub decision_id: Option<String>,
    /// The input, JSON.
    pub entry: String,
}

/// Adds an input.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such run.
pub fn insert(
    tx: &mut Tx<'_>,
    at: i64,
    run_id: &str,
    decision_id: Option<&str>,
    entry: &str,
) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(policy_inputs::table)
            .values((
                policy_inputs::at.eq(at),
                policy_inputs::run_id.eq(run_id),
                policy_inputs::decision_id.eq(decision_id),
                policy_inputs::entry.eq(entry),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` inputs from `from` to `to`, newest first.
///
/// # Errors
/// Those of the database.
pub fn between(
    tx: &mut Tx<'_>,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<PolicyInput>, StoreError> {
    tx.look(|conn| {
        policy_inputs::table
            .filter(policy_inputs::at.ge(from))
            .filter(policy_inputs::at.le(to))
            .order((policy_inputs::at.desc(), policy_inputs::seq.desc()))
            .limit(limit)
            .select(PolicyInput::as_select())
            .load(conn)
    })
}

/// The last input of a run before `seq`.
///
/// # Errors
/// Those of the database.
pub fn last_of_run(
    tx: &mut Tx<'_>,
    run_id: &str,
    seq: i64,
) -> Result<Option<PolicyInput>, StoreError> {
    tx.look(|conn| {
        policy_inputs::table
            .filter(policy_inputs::run_id.eq(run_id))
            .filter(policy_inputs::seq.lt(seq))
            .order(policy_inputs::seq.desc())
            .select(PolicyInput::as_select())
            .first(conn)
            .optional()
    })
}

/// Forgets inputs before `at`.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, at: i64) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::delete(policy_inputs::table.filter(policy_inputs::at.lt(at))).execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn inputs_are_found_by_time_and_by_run() {
        within(|tx| {
            for (at, decision) in [(1, None), (5, Some("d1")), (9, Some("d2"))] {
                insert(tx, at, "r1", decision, "{}")?;
            }
            let times =
                |rows: Vec<PolicyInput>| rows.into_iter().map(|row| row.at).collect::<Vec<_>>();
            assert_eq!(times(between(tx, 1, 9, 9)?), [9, 5, 1]);
            assert_eq!(times(between(tx, 2, 9, 1)?), [9]);
            let last = last_of_run(tx, "r1", 3)?.unwrap();
            assert_eq!((last.at, last.decision_id.as_deref()), (5, Some("d1")));
            prune(tx, 5)?;
            assert_eq!(times(between(tx, 0, 9, 9)?), [9, 5]);
            assert_eq!(last_of_run(tx, "r2", 9)?, None);
            Ok(())
        })
        .unwrap();
    }
}
