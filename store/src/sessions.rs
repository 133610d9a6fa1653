//! Browser sessions. Only the hash of a session's secret is kept.

use diesel::prelude::*;

use crate::schema::sessions;
use crate::{StoreError, Tx};

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions)]
pub struct Session {
    /// Hash of the secret in the cookie.
    pub id_hash: String,
    /// Who signed in.
    pub account_id: String,
    /// Token that forms must carry.
    pub csrf: String,
    /// When it began, unix ms.
    pub created_at: i64,
    /// When it ends, unix ms.
    pub expires_at: i64,
    /// What the browser called itself when it was opened.
    pub agent: String,
    /// When it was last used, unix ms; `None` until some time after it was opened.
    pub last_seen_at: Option<i64>,
}

/// Adds a session.
///
/// # Errors
/// [`StoreError::Conflict`] if the hash is taken or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, session: &Session) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(sessions::table)
            .values(session)
            .execute(conn)
    })?;
    Ok(())
}

/// The session with this hash, expired or not: the caller knows the time.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id_hash: &str) -> Result<Option<Session>, StoreError> {
    tx.run(|conn| {
        sessions::table
            .find(id_hash)
            .select(Session::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Ends a session; ending one that is not there is no error.
///
/// # Errors
/// Those of the database.
pub fn delete(tx: &mut Tx<'_>, id_hash: &str) -> Result<(), StoreError> {
    tx.run(|conn| diesel::delete(sessions::table.find(id_hash)).execute(conn))?;
    Ok(())
}

/// Ends the sessions with `expires_at <= now`; how many there were.
///
/// # Errors
/// Those of the database.
pub fn delete_expired(tx: &mut Tx<'_>, now: i64) -> Result<usize, StoreError> {
    tx.run(|conn| {
        diesel::delete(sessions::table.filter(sessions::expires_at.le(now))).execute(conn)
    })
}

/// The account's sessions, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Session>, StoreError> {
    tx.run(|conn| {
        sessions::table
            .filter(sessions::account_id.eq(account_id))
            .order(sessions::created_at.desc())
            .select(Session::as_select())
            .load(conn)
    })
}

/// Notes that a session was used. One that has ended meanwhile stays so.
///
/// # Errors
/// Those of the database.
pub fn touch(tx: &mut Tx<'_>, id_hash: &str, at: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::update(sessions::table.find(id_hash))
            .set(sessions::last_seen_at.eq(at))
            .execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn sessions_end_by_hand_and_by_time() {
        within(|tx| {
            let session = |id: &str, expires_at| Session {
                id_hash: id.to_owned(),
                account_id: "ada".to_owned(),
                csrf: "c".to_owned(),
                created_at: 1,
                expires_at,
                agent: String::new(),
                last_seen_at: None,
            };
            for (id, end) in [("a", 10), ("b", 11), ("c", 12)] {
                insert(tx, &session(id, end))?;
            }
            assert_eq!(get(tx, "b")?, Some(session("b", 11)));
            touch(tx, "b", 7)?;
            let seen = of_account(tx, "ada")?;
            assert_eq!(seen.iter().map(|row| row.last_seen_at).max(), Some(Some(7)));
            assert_eq!((seen.len(), of_account(tx, "bob")?.len()), (3, 0));
            assert_eq!(delete_expired(tx, 11)?, 2);
            assert_eq!(get(tx, "b")?, None);
            delete(tx, "c")?;
            delete(tx, "c")?;
            assert_eq!(get(tx, "c")?, None);
            let stranger = Session {
                account_id: "nobody".to_owned(),
                ..session("d", 1)
            };
            assert!(matches!(
                insert(tx, &stranger),
                Err(StoreError::Conflict { .. })
            ));
            Ok(())
        })
        .unwrap();
    }
}
