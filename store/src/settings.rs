//! Settings of the service that outlive it: a small key-value table of JSON texts.

use diesel::prelude::*;

use crate::schema::settings;
use crate::{StoreError, Tx};

/// Stores `json` under `key`, replacing what was there.
///
/// # Errors
/// Those of the database.
pub fn put(tx: &mut Tx<'_>, key: &str, json: &str, at: i64) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(settings::table)
            .values((
                settings::key.eq(key),
                settings::json.eq(json),
                settings::at.eq(at),
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
        settings::table
            .find(key)
            .select(settings::json)
            .first(conn)
            .optional()
    })
}
