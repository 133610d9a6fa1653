//! State of the allocator between its ticks: a small key-value table of JSON texts.

use diesel::prelude::*;

use crate::schema::control;
use crate::{StoreError, Tx};

/// Stores `json` under `key`, replacing what was there.
///
/// # Errors
/// Those of the database.
pub fn put(tx: &mut Tx<'_>, key: &str, json: &str, at: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::replace_into(control::table)
            .values((
                control::key.eq(key),
                control::json.eq(json),
                control::at.eq(at),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// What is stored under `key`.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, StoreError> {
    tx.look(|conn| {
        control::table
            .find(key)
            .select(control::json)
            .get_result(conn)
            .optional()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn the_last_text_stays() {
        within(|tx| {
            assert_eq!(get(tx, "k")?, None);
            put(tx, "k", "1", 1)?;
            put(tx, "k", "2", 2)?;
            put(tx, "other", "3", 2)?;
            assert_eq!(get(tx, "k")?, Some("2".to_owned()));
            Ok(())
        })
        .unwrap();
    }
}
