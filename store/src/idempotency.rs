//! Answers already given, so that a repeated request gets the same one and nothing happens twice.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::hot::append::{self, Append};
use crate::schema::idempotency;
use crate::{StoreError, Tx};

/// An answer already given.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Hash of the request that it answers.
    pub request_hash: String,
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// The answer given to this account under this key.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str, key: &str) -> Result<Option<Answer>, StoreError> {
    let is_it = |fact: &Append| matches!(fact, Append::Answer(answer) if answer.account_id == account_id && answer.key == key);
    let query = |conn: &mut SqliteConnection| {
        idempotency::table
            .find((account_id, key))
            .select((
                idempotency::request_hash,
                idempotency::status,
                idempotency::body,
            ))
            .get_result(conn)
            .optional()
    };
    let row: Option<(String, i64, String)> = if tx.is_pending(is_it) {
        tx.run(query)?
    } else {
        tx.look(query)?
    };
    if let (None, Some(hot)) = (&row, tx.hot()) {
        hot.note_unanswered(account_id, key);
    }
    row.map(|(request_hash, status, body)| {
        let status = u16::try_from(status)
            .map_err(|_| StoreError::Corrupt(format!("HTTP status {status}")))?;
        Ok(Answer {
            request_hash,
            status,
            body,
        })
    })
    .transpose()
}

/// Keeps an answer.
///
/// # Errors
/// [`StoreError::Conflict`] if the account has one under this key already.
pub fn put(
    tx: &mut Tx<'_>,
    account_id: &str,
    key: &str,
    request_hash: &str,
    status: u16,
    body: &str,
    at: i64,
) -> Result<(), StoreError> {
    tx.append(Append::Answer(append::Answer {
        account_id: account_id.to_owned(),
        key: key.to_owned(),
        request_hash: request_hash.to_owned(),
        status: i64::from(status),
        body: body.to_owned(),
        at,
    }))
}

/// Forgets the answers given before `before`; how many there were.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: i64) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::delete(idempotency::table.filter(idempotency::at.lt(before))).execute(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn an_answer_is_kept_per_account_and_key_until_pruned() {
        within(|tx| {
            put(tx, "ada", "k", "hash", 201, "{}", 5)?;
            let kept = Answer {
                request_hash: "hash".to_owned(),
                status: 201,
                body: "{}".to_owned(),
            };
            assert_eq!(get(tx, "ada", "k")?, Some(kept));
            assert_eq!(get(tx, "bob", "k")?, None);
            assert!(matches!(
                put(tx, "ada", "k", "other", 200, "", 6),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!((prune(tx, 5)?, prune(tx, 6)?), (0, 1));
            assert_eq!(get(tx, "ada", "k")?, None);
            Ok(())
        })
        .unwrap();
    }
}
