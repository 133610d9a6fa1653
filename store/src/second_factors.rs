//! The second factor of an account: the key of its one-time codes, and what to use when it is lost.

use diesel::prelude::*;

use crate::schema::{recovery_codes, second_factors};
use crate::{StoreError, Tx};

/// The key of an account's one-time codes.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = second_factors)]
#[diesel(treat_none_as_null = true)]
pub struct SecondFactor {
    /// The account.
    pub account_id: String,
    /// The key, shared with the person's device.
    pub secret: Vec<u8>,
    /// When it was made, unix ms.
    pub created_at: i64,
    /// When a first code of it was shown, unix ms; only from then on it is asked for.
    pub confirmed_at: Option<i64>,
    /// The newest period whose code was taken.
    pub last_step: i64,
    /// Wrong codes in a row.
    pub failures: i64,
    /// No code is looked at before, unix ms.
    pub locked_until: i64,
}

/// The account's second factor.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<SecondFactor>, StoreError> {
    tx.run(|conn| {
        second_factors::table
            .find(account_id)
            .select(SecondFactor::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Writes a second factor, in place of the one before.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put(tx: &mut Tx<'_>, row: &SecondFactor) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(second_factors::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// Forgets an account's second factor and its recovery codes.
///
/// # Errors
/// Those of the database.
pub fn remove(tx: &mut Tx<'_>, account_id: &str) -> Result<(), StoreError> {
    put_recovery(tx, account_id, &[])?;
    tx.run(|conn| diesel::delete(second_factors::table.find(account_id)).execute(conn))?;
    Ok(())
}

/// Replaces an account's recovery codes by those with these hashes.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put_recovery(
    tx: &mut Tx<'_>,
    account_id: &str,
    hashes: &[String],
) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::delete(recovery_codes::table.filter(recovery_codes::account_id.eq(account_id)))
            .execute(conn)?;
        for hash in hashes {
            diesel::insert_into(recovery_codes::table)
                .values((
                    recovery_codes::account_id.eq(account_id),
                    recovery_codes::code_hash.eq(hash),
                ))
                .execute(conn)?;
        }
        Ok(0)
    })?;
    Ok(())
}

/// Uses a recovery code up; whether there was one with this hash.
///
/// # Errors
/// Those of the database.
pub fn use_recovery(tx: &mut Tx<'_>, account_id: &str, hash: &str) -> Result<bool, StoreError> {
    let rows = tx
        .run(|conn| diesel::delete(recovery_codes::table.find((account_id, hash))).execute(conn))?;
    Ok(rows == 1)
}

/// Recovery codes that are left.
///
/// # Errors
/// Those of the database.
pub fn count_recovery(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        recovery_codes::table
            .filter(recovery_codes::account_id.eq(account_id))
            .count()
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn a_key_and_its_recovery_codes_come_and_go() {
        within(|tx| {
            let row = SecondFactor {
                account_id: "ada".to_owned(),
                secret: vec![1, 2, 3],
                created_at: 1,
                confirmed_at: None,
                last_step: 0,
                failures: 0,
                locked_until: 0,
            };
            assert_eq!(get(tx, "ada")?, None);
            put(tx, &row)?;
            let confirmed = SecondFactor {
                confirmed_at: Some(2),
                last_step: 7,
                ..row
            };
            put(tx, &confirmed)?;
            assert_eq!(get(tx, "ada")?, Some(confirmed));
            put_recovery(tx, "ada", &["a".to_owned(), "b".to_owned()])?;
            assert!(use_recovery(tx, "ada", "a")? && !use_recovery(tx, "ada", "a")?);
            assert!(!use_recovery(tx, "bob", "b")?);
            assert_eq!(count_recovery(tx, "ada")?, 1);
            put_recovery(tx, "ada", &["c".to_owned()])?;
            assert!(!use_recovery(tx, "ada", "b")?);
            remove(tx, "ada")?;
            assert_eq!((get(tx, "ada")?, count_recovery(tx, "ada")?), (None, 0));
            Ok(())
        })
        .unwrap();
    }
}
