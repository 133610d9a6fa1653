//! Runs that this service trains, and the stakes of nodes that work in them.

use diesel::prelude::*;

use crate::schema::{hosted_runs, node_stakes};
use crate::{StoreError, Tx, changed, found};

/// A run that is trained here, with what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = hosted_runs)]
pub struct HostedRun {
    /// The run.
    pub run_id: String,
    /// What it was started with, JSON.
    pub terms: String,
    /// `running` or `stopped`.
    pub wanted: String,
    /// Least stake of a node elsewhere, micro-credits; 0 asks for none.
    pub least_stake_micro: i64,
    /// When `wanted` changed last, unix ms.
    pub changed_at: i64,
}

/// A node's stake in a run.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = node_stakes, treat_none_as_null = true)]
pub struct NodeStake {
    /// Identifier.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// The node's public key, 64 hexadecimal digits.
    pub node_key: String,
    /// Who answers for it.
    pub account_id: String,
    /// Held in the run's bonds while it is bonded or leaving, micro-credits.
    pub stake_micro: i64,
    /// What a ban took of it, micro-credits.
    pub slashed_micro: i64,
    /// `bonded`, `leaving`, `returned` or `slashed`.
    pub status: String,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// When a stake that is leaving goes back, unix ms.
    pub free_at: Option<i64>,
    /// When it was over, unix ms.
    pub closed_at: Option<i64>,
    /// The ban that cost it, JSON.
    pub ban: Option<String>,
}

/// Adds a run.
///
/// # Errors
/// [`StoreError::Conflict`] if it is there or the run does not exist.
pub fn insert(tx: &mut Tx<'_>, row: &HostedRun) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(hosted_runs::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The run with this id, if it is trained here.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, run_id: &str) -> Result<Option<HostedRun>, StoreError> {
    tx.run(|conn| {
        hosted_runs::table
            .find(run_id)
            .select(HostedRun::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Runs of which this is wanted, by id.
///
/// # Errors
/// Those of the database.
pub fn wanted(tx: &mut Tx<'_>, wanted: &str) -> Result<Vec<HostedRun>, StoreError> {
    tx.run(|conn| {
        hosted_runs::table
            .filter(hosted_runs::wanted.eq(wanted))
            .order(hosted_runs::run_id)
            .select(HostedRun::as_select())
            .load(conn)
    })
}

/// How many runs are wanted to run.
///
/// # Errors
/// Those of the database.
pub fn count_running(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.run(|conn| {
        hosted_runs::table
            .filter(hosted_runs::wanted.eq("running"))
            .count()
            .get_result(conn)
    })
}

/// Notes what is wanted of a run.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn want(tx: &mut Tx<'_>, run_id: &str, wanted: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(hosted_runs::table.find(run_id))
            .set((
                hosted_runs::wanted.eq(wanted),
                hosted_runs::changed_at.eq(at),
            ))
            .execute(conn)
    })?;
    changed(rows, "hosted run", run_id)
}

/// Adds a stake.
///
/// # Errors
/// [`StoreError::Conflict`] if the node has one in the run.
pub fn stake(tx: &mut Tx<'_>, row: &NodeStake) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(node_stakes::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The stake with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn stake_row(tx: &mut Tx<'_>, id: &str) -> Result<NodeStake, StoreError> {
    let row = tx.run(|conn| {
        node_stakes::table
            .find(id)
            .select(NodeStake::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "node's stake", id)
}

/// Replaces a stake.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update_stake(tx: &mut Tx<'_>, row: &NodeStake) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(node_stakes::table.find(&row.id))
            .set(row)
            .execute(conn)
    })?;
    changed(rows, "node's stake", &row.id)
}

/// Up to `limit` stakes of a run that are held, of whichever node.
///
/// # Errors
/// Those of the database.
pub fn held(tx: &mut Tx<'_>, run_id: &str, limit: i64) -> Result<Vec<NodeStake>, StoreError> {
    tx.run(|conn| {
        node_stakes::table
            .filter(node_stakes::run_id.eq(run_id))
            // As in the partial index, word for word.
            .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
                "status IN ('bonded', 'leaving')",
            ))
            .order(node_stakes::node_key)
            .limit(limit)
            .select(NodeStake::as_select())
            .load(conn)
    })
}

/// Runs in which stakes are held, by id.
///
/// # Errors
/// Those of the database.
pub fn runs_with_stakes(tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    tx.run(|conn| {
        node_stakes::table
            .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
                "status IN ('bonded', 'leaving')",
            ))
            .select(node_stakes::run_id)
            .distinct()
            .order(node_stakes::run_id)
            .load(conn)
    })
}

/// Up to `limit` stakes of a run after the one with the id `after`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn stakes_of(
    tx: &mut Tx<'_>,
    run_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<NodeStake>, StoreError> {
    tx.run(|conn| {
        node_stakes::table
            .filter(node_stakes::run_id.eq(run_id))
            .filter(node_stakes::id.gt(after))
            .order(node_stakes::id)
            .limit(limit)
            .select(NodeStake::as_select())
            .load(conn)
    })
}

/// Whether an account's node has a stake somewhere that is not over.
///
/// # Errors
/// Those of the database.
pub fn any_held_of(tx: &mut Tx<'_>, account_id: &str) -> Result<bool, StoreError> {
    tx.run(|conn| {
        diesel::select(diesel::dsl::exists(
            node_stakes::table
                .filter(node_stakes::account_id.eq(account_id))
                .filter(node_stakes::closed_at.is_null()),
        ))
        .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn pledge(id: &str, key: &str) -> NodeStake {
        NodeStake {
            id: id.to_owned(),
            run_id: "r1".to_owned(),
            node_key: key.repeat(64),
            account_id: "ada".to_owned(),
            stake_micro: 5,
            slashed_micro: 0,
            status: "bonded".to_owned(),
            created_at: 1,
            free_at: None,
            closed_at: None,
            ban: None,
        }
    }

    #[test]
    fn runs_are_wanted_and_stakes_are_held_once() {
        within(|tx| {
            let run = HostedRun {
                run_id: "r1".to_owned(),
                terms: "{}".to_owned(),
                wanted: "running".to_owned(),
                least_stake_micro: 0,
                changed_at: 1,
            };
            insert(tx, &run)?;
            assert_eq!(wanted(tx, "running")?, [run]);
            want(tx, "r1", "stopped", 2)?;
            assert_eq!((count_running(tx)?, wanted(tx, "stopped")?.len()), (0, 1));
            let first = pledge("s1", "a");
            stake(tx, &first)?;
            stake(tx, &pledge("s2", "b"))?;
            assert!(stake(tx, &pledge("s3", "a")).is_err(), "it has one");
            assert!(any_held_of(tx, "ada")? && !any_held_of(tx, "bob")?);
            let slashed = NodeStake {
                slashed_micro: 5,
                status: "slashed".to_owned(),
                closed_at: Some(3),
                ban: Some("{}".to_owned()),
                ..first
            };
            update_stake(tx, &slashed)?;
            assert_eq!(stake_row(tx, "s1")?, slashed);
            assert_eq!(held(tx, "r1", 9)?, [pledge("s2", "b")]);
            assert_eq!(runs_with_stakes(tx)?, ["r1"]);
            stake(tx, &pledge("s3", "a"))?;
            assert_eq!(stakes_of(tx, "r1", "s1", 9)?.len(), 2);
            Ok(())
        })
        .unwrap();
    }
}
