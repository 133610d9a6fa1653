//! Checkpoints of runs, by content hash.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::checkpoints;
use crate::{StoreError, Tx, changed, found};

/// A checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = checkpoints)]
pub struct Checkpoint {
    /// The run.
    pub run_id: String,
    /// Content hash.
    pub id: String,
    /// Training round after which it was taken.
    pub round: i64,
    /// Tokens trained on by then.
    pub tokens: i64,
    /// When it was taken, unix ms.
    pub at: i64,
    /// Whether it must be kept, for instance because a market froze on it.
    pub pinned: bool,
}

/// Adds a checkpoint, or brings a known one up to date. One that is pinned stays so.
///
/// # Errors
/// [`StoreError::Conflict`] if the run does not exist.
pub fn upsert(tx: &mut Tx<'_>, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(checkpoints::table)
            .values(checkpoint)
            .on_conflict((checkpoints::run_id, checkpoints::id))
            .do_update()
            .set((
                checkpoints::round.eq(checkpoint.round),
                checkpoints::tokens.eq(checkpoint.tokens),
                checkpoints::at.eq(checkpoint.at),
                checkpoints::pinned.eq(sql::<Bool>("checkpoints.pinned OR excluded.pinned")),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` checkpoints of a run, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, run_id: &str, limit: i64) -> Result<Vec<Checkpoint>, StoreError> {
    tx.run(|conn| {
        checkpoints::table
            .filter(checkpoints::run_id.eq(run_id))
            .order((checkpoints::round.desc(), checkpoints::at.desc()))
            .limit(limit)
            .select(Checkpoint::as_select())
            .load(conn)
    })
}

/// One checkpoint of a run.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, run_id: &str, id: &str) -> Result<Checkpoint, StoreError> {
    let row = tx.run(|conn| {
        checkpoints::table
            .find((run_id, id))
            .select(Checkpoint::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "checkpoint", id)
}

/// Marks a checkpoint as one to keep.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn pin(tx: &mut Tx<'_>, run_id: &str, id: &str) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(checkpoints::table.find((run_id, id)))
            .set(checkpoints::pinned.eq(true))
            .execute(conn)
    })?;
    changed(rows, "checkpoint", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn checkpoints_are_listed_newest_first_and_stay_pinned() {
        within(|tx| {
            let of = |id: &str, round| Checkpoint {
                run_id: "r1".to_owned(),
                id: id.to_owned(),
                round,
                tokens: round * 100,
                at: round,
                pinned: false,
            };
            for row in [of("x", 1), of("z", 3), of("y", 2)] {
                upsert(tx, &row)?;
            }
            assert_eq!(list(tx, "r1", 2)?, [of("z", 3), of("y", 2)]);
            pin(tx, "r1", "x")?;
            upsert(tx, &of("x", 4))?;
            assert_eq!(
                get(tx, "r1", "x")?,
                Checkpoint {
                    pinned: true,
                    ..of("x", 4)
                }
            );
            assert_eq!(
                pin(tx, "r1", "w"),
                Err(StoreError::not_found("checkpoint", "w"))
            );
            assert!(matches!(
                get(tx, "r2", "x"),
                Err(StoreError::NotFound { .. })
            ));
            Ok(())
        })
        .unwrap();
    }
}
