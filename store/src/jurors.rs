//! Jurors: their stake, what of it is locked in seats, and how well they do.

use diesel::prelude::*;

use crate::schema::jurors;
use crate::{StoreError, Tx, changed};

/// A juror.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = jurors)]
pub struct Juror {
    /// The account.
    pub account_id: String,
    /// Stake, micro-credits; the sum over all jurors is what the account of the jury holds.
    pub stake_micro: i64,
    /// Part of the stake that is locked as deposits of open seats, micro-credits.
    pub locked_micro: i64,
    /// Cases with a known answer that were judged.
    pub gold_cases: i64,
    /// Those judged right.
    pub gold_right: i64,
    /// Seats that were held to the end, cases with a known answer not counted.
    pub seats: i64,
    /// Those whose vote was coherent with the settlement.
    pub coherent: i64,
    /// Gets the stake back as seats end, and is not drawn any more.
    pub leaving: bool,
    /// When the account first joined, unix ms.
    pub joined_at: i64,
}

/// The juror with this account.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<Juror>, StoreError> {
    tx.run(|conn| {
        jurors::table
            .find(account_id)
            .select(Juror::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Adds a juror.
///
/// # Errors
/// [`StoreError::Conflict`] if there is one, or there is no such account.
pub fn insert(tx: &mut Tx<'_>, juror: &Juror) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(jurors::table)
            .values(juror)
            .execute(conn)
    })?;
    Ok(())
}

/// Writes back a juror.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, juror: &Juror) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(jurors::table.find(&juror.account_id))
            .set(juror)
            .execute(conn)
    })?;
    changed(rows, "juror", &juror.account_id)
}

/// Up to `limit` jurors who are not leaving, with account ids greater than `after`, by account.
///
/// # Errors
/// Those of the database.
pub fn sitting(tx: &mut Tx<'_>, after: Option<&str>, limit: i64) -> Result<Vec<Juror>, StoreError> {
    tx.run(|conn| {
        jurors::table
            .filter(jurors::leaving.eq(false))
            .filter(jurors::account_id.gt(after.unwrap_or("")))
            .order(jurors::account_id)
            .limit(limit)
            .select(Juror::as_select())
            .load(conn)
    })
}

/// How many jurors are not leaving.
///
/// # Errors
/// Those of the database.
pub fn count_sitting(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.run(|conn| {
        jurors::table
            .filter(jurors::leaving.eq(false))
            .count()
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{juror, within};

    #[test]
    fn jurors_come_change_and_leave() {
        within(|tx| {
            assert_eq!(get(tx, "ada")?, None);
            insert(tx, &juror("ada"))?;
            insert(tx, &juror("bob"))?;
            assert!(matches!(
                insert(tx, &juror("ada")),
                Err(StoreError::Conflict { .. })
            ));
            let leaving = Juror {
                leaving: true,
                locked_micro: 40,
                ..juror("bob")
            };
            update(tx, &leaving)?;
            assert_eq!(get(tx, "bob")?, Some(leaving));
            assert_eq!(count_sitting(tx)?, 1);
            assert_eq!(sitting(tx, None, 9)?, [juror("ada")]);
            assert_eq!(sitting(tx, Some("ada"), 9)?, []);
            // Nothing that is not there can be locked.
            let overdrawn = Juror {
                locked_micro: 101,
                ..juror("ada")
            };
            assert!(update(tx, &overdrawn).is_err());
            assert_eq!(
                update(tx, &juror("eve")),
                Err(StoreError::not_found("juror", "eve"))
            );
            Ok(())
        })
        .unwrap();
    }
}
