//! What people were told, and of which kinds and by which ways they want to be told.

use diesel::prelude::*;

use crate::schema::{notice_choices, notices};
use crate::{StoreError, Tx};

/// Notices that are kept of an account; older ones go when newer ones come.
pub const KEPT: i64 = 500;

/// One notice to one person.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = notices)]
pub struct Notice {
    /// Position; grows, and is never used twice.
    pub seq: i64,
    /// Whom it is for.
    pub account_id: String,
    /// What it tells of: nobody is told of the same twice.
    pub source: String,
    /// What sort of thing happened.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The rest, plain text.
    pub body: String,
    /// Path of the page about it.
    pub link: String,
    /// When it happened, unix ms.
    pub at: i64,
    /// Whether the page lists it; otherwise it was made to be mailed.
    pub listed: bool,
    /// When it was read, unix ms.
    pub read_at: Option<i64>,
}

/// A notice that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq, Insertable)]
#[diesel(table_name = notices)]
pub struct NewNotice {
    /// Whom it is for.
    pub account_id: String,
    /// See [`Notice::source`].
    pub source: String,
    /// What sort of thing happened.
    pub kind: String,
    /// One line.
    pub title: String,
    /// The rest, plain text.
    pub body: String,
    /// Path of the page about it.
    pub link: String,
    /// When it happened, unix ms.
    pub at: i64,
    /// Whether the page lists it.
    pub listed: bool,
}

/// Whether an account wants notices of a kind by a way.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = notice_choices)]
pub struct Choice {
    /// Whose.
    pub account_id: String,
    /// The kind.
    pub kind: String,
    /// `app` or `mail`.
    pub channel: String,
    /// Whether they do.
    pub wanted: bool,
}

/// Adds a notice unless the account was told of the same; its position if it was added. The oldest of more
/// than [`KEPT`] goes.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn add(tx: &mut Tx<'_>, notice: &NewNotice) -> Result<Option<i64>, StoreError> {
    let rows = tx.beside(|conn| {
        diesel::insert_into(notices::table)
            .values(notice)
            .on_conflict((notices::account_id, notices::source))
            .do_nothing()
            .execute(conn)
    })?;
    if rows == 0 {
        return Ok(None);
    }
    let added = tx.last_key()?;
    let oldest: Option<i64> = tx.look(|conn| {
        notices::table
            .filter(notices::account_id.eq(&notice.account_id))
            .filter(notices::listed.eq(notice.listed))
            .order(notices::seq.desc())
            .offset(KEPT)
            .limit(1)
            .select(notices::seq)
            .get_result(conn)
            .optional()
    })?;
    if let Some(oldest) = oldest {
        tx.beside(|conn| {
            diesel::delete(
                notices::table
                    .filter(notices::account_id.eq(&notice.account_id))
                    .filter(notices::listed.eq(notice.listed))
                    .filter(notices::seq.le(oldest)),
            )
            .execute(conn)
        })?;
    }
    Ok(Some(added))
}

/// Up to `limit` listed notices of an account before position `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    account_id: &str,
    before: Option<i64>,
    unread_only: bool,
    limit: i64,
) -> Result<Vec<Notice>, StoreError> {
    let mut query = notices::table
        .filter(notices::account_id.eq(account_id))
        .filter(notices::listed.eq(true))
        .filter(notices::seq.lt(before.unwrap_or(i64::MAX)))
        .order(notices::seq.desc())
        .limit(limit)
        .select(Notice::as_select())
        .into_boxed();
    if unread_only {
        query = query.filter(notices::read_at.is_null());
    }
    tx.look(|conn| query.load(conn))
}

/// Listed notices of an account that it has not read.
///
/// # Errors
/// Those of the database.
pub fn unread(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    tx.look(|conn| {
        notices::table
            .filter(notices::account_id.eq(account_id))
            .filter(notices::listed.eq(true))
            .filter(notices::read_at.is_null())
            .count()
            .get_result(conn)
    })
}

/// Marks notices of an account as read, those at `up_to` and before it; how many were unread.
///
/// # Errors
/// Those of the database.
pub fn mark_up_to(
    tx: &mut Tx<'_>,
    account_id: &str,
    up_to: i64,
    now: i64,
) -> Result<usize, StoreError> {
    tx.beside(|conn| {
        diesel::update(
            notices::table
                .filter(notices::account_id.eq(account_id))
                .filter(notices::listed.eq(true))
                .filter(notices::read_at.is_null())
                .filter(notices::seq.le(up_to)),
        )
        .set(notices::read_at.eq(now))
        .execute(conn)
    })
}

/// Marks one notice of an account as read; false if it has none at that position.
///
/// # Errors
/// Those of the database.
pub fn mark_one(tx: &mut Tx<'_>, account_id: &str, seq: i64, now: i64) -> Result<bool, StoreError> {
    let rows = tx.beside(|conn| {
        diesel::update(
            notices::table
                .find(seq)
                .filter(notices::account_id.eq(account_id))
                .filter(notices::listed.eq(true)),
        )
        .set(notices::read_at.eq(now))
        .execute(conn)
    })?;
    Ok(rows == 1)
}

/// What an account chose; what it did not is as it comes.
///
/// # Errors
/// Those of the database.
pub fn choices(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Choice>, StoreError> {
    tx.look(|conn| {
        notice_choices::table
            .filter(notice_choices::account_id.eq(account_id))
            .select(Choice::as_select())
            .load(conn)
    })
}

/// Keeps a choice.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn choose(tx: &mut Tx<'_>, choice: &Choice) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::replace_into(notice_choices::table)
            .values(choice)
            .execute(conn)
    })?;
    Ok(())
}

/// Forgets the notices and choices of an account.
///
/// # Errors
/// Those of the database.
pub fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::delete(notices::table.filter(notices::account_id.eq(account_id))).execute(conn)?;
        diesel::delete(notice_choices::table.filter(notice_choices::account_id.eq(account_id)))
            .execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::within;

    fn of(account: &str, source: &str) -> NewNotice {
        NewNotice {
            account_id: account.to_owned(),
            source: source.to_owned(),
            kind: "price".to_owned(),
            title: "t".to_owned(),
            body: "b".to_owned(),
            link: "/".to_owned(),
            at: 1,
            listed: true,
        }
    }

    #[test]
    fn nobody_is_told_of_the_same_twice() {
        within(|tx| {
            let first = add(tx, &of("ada", "event:1"))?.unwrap();
            assert_eq!(add(tx, &of("ada", "event:1"))?, None);
            let other = add(tx, &of("bob", "event:1"))?.unwrap();
            assert!(!mark_one(tx, "ada", other, 7)?);
            assert!(mark_one(tx, "ada", first, 7)?);
            assert_eq!((unread(tx, "ada")?, unread(tx, "bob")?), (0, 1));
            assert_eq!(list(tx, "ada", None, true, 9)?, []);
            assert_eq!(list(tx, "ada", None, false, 9)?[0].read_at, Some(7));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_newest_are_kept() {
        within(|tx| {
            for n in 0..KEPT + 3 {
                add(tx, &of("ada", &format!("event:{n}")))?;
            }
            assert_eq!(unread(tx, "ada")?, KEPT);
            let newest = list(tx, "ada", None, false, 1)?;
            assert_eq!(newest[0].source, format!("event:{}", KEPT + 2));
            assert_eq!(mark_up_to(tx, "ada", newest[0].seq - 1, 5)?, 499);
            assert_eq!(unread(tx, "ada")?, 1);
            forget(tx, "ada")?;
            assert_eq!(unread(tx, "ada")?, 0);
            Ok(())
        })
        .unwrap();
    }
}
