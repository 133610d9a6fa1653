//! State of the allocator between its ticks: a small key-value table of JSON texts.

use diesel::prelude::*;

use crate::schema::control;
use crate::{StoreError, Tx};

/// Stores `json` under `key`, replacing what was there.
///
/// # Errors
/// Those of the database.
pub fn put(tx: &mut Tx<'_>, key: &str, json: &str, at: i64) -> Result<(), StoreError> {
    tx.run(|conn| {
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
    tx.run(|conn| {
        control::table
            .find(key)
            .select(control::json)
            .first(conn)
            .optional()
    })
}
