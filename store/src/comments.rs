//! Comments on markets and on evidence.

use diesel::prelude::*;

use crate::schema::comments;
use crate::{StoreError, Tx, changed, found};

/// A comment. A removed one keeps its place, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = comments)]
pub struct Comment {
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// The submission that it is about, if it is about one.
    pub evidence_id: Option<String>,
    /// Who wrote it.
    pub account_id: String,
    /// The text; empty once removed.
    pub body: String,
    /// When it was written, unix ms.
    pub created_at: i64,
    /// When it was removed, unix ms.
    pub deleted_at: Option<i64>,
    /// Who removed it.
    pub deleted_by: Option<String>,
}

/// Adds a comment.
///
/// # Errors
/// [`StoreError::Conflict`] if market, submission or account do not exist.
pub fn insert(tx: &mut Tx<'_>, row: &Comment) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(comments::table)
            .values(row)
            .execute(conn)
    })?;
    Ok(())
}

/// The comment with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Comment, StoreError> {
    let row = tx.run(|conn| {
        comments::table
            .find(id)
            .select(Comment::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "comment", id)
}

/// Removes a comment's text for good.
///
/// # Errors
/// [`StoreError::NotFound`] if there is none, or it was removed before.
pub fn remove(tx: &mut Tx<'_>, id: &str, by: &str, at: i64) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            comments::table
                .find(id)
                .filter(comments::deleted_at.is_null()),
        )
        .set((
            comments::body.eq(""),
            comments::deleted_at.eq(at),
            comments::deleted_by.eq(by),
        ))
        .execute(conn)
    })?;
    changed(rows, "comment", id)
}

/// Up to `limit` comments in a market with ids after `after`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_market(
    tx: &mut Tx<'_>,
    market_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Comment>, StoreError> {
    tx.run(|conn| {
        comments::table
            .filter(comments::market_id.eq(market_id))
            .filter(comments::id.gt(after.unwrap_or("")))
            .order(comments::id)
            .limit(limit)
            .select(Comment::as_select())
            .load(conn)
    })
}

/// Up to `limit` comments on a submission with ids after `after`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn of_evidence(
    tx: &mut Tx<'_>,
    evidence_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Comment>, StoreError> {
    tx.run(|conn| {
        comments::table
            .filter(comments::evidence_id.eq(evidence_id))
            .filter(comments::id.gt(after.unwrap_or("")))
            .order(comments::id)
            .limit(limit)
            .select(Comment::as_select())
            .load(conn)
    })
}

/// Up to `limit` of an account's comments, newest first.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    tx: &mut Tx<'_>,
    account_id: &str,
    limit: i64,
) -> Result<Vec<Comment>, StoreError> {
    tx.run(|conn| {
        comments::table
            .filter(comments::account_id.eq(account_id))
            .order(comments::created_at.desc())
            .limit(limit)
            .select(Comment::as_select())
            .load(conn)
    })
}

/// How many comments an account wrote at `since` or later.
///
/// # Errors
/// Those of the database.
pub fn count_since(tx: &mut Tx<'_>, account_id: &str, since: i64) -> Result<i64, StoreError> {
    tx.run(|conn| {
        comments::table
            .filter(comments::account_id.eq(account_id))
            .filter(comments::created_at.ge(since))
            .count()
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evidence;
    use crate::testing::{evidence as submission, within};

    fn row(id: &str, about: Option<&str>) -> Comment {
        Comment {
            id: id.to_owned(),
            market_id: "m1".to_owned(),
            evidence_id: about.map(str::to_owned),
            account_id: "ada".to_owned(),
            body: "hm".to_owned(),
            created_at: 5,
            deleted_at: None,
            deleted_by: None,
        }
    }

    #[test]
    fn a_removed_comment_leaves_its_place() {
        within(|tx| {
            evidence::insert(tx, &submission("e1", "h"))?;
            for (id, about) in [("k1", None), ("k2", Some("e1")), ("k3", None)] {
                insert(tx, &row(id, about))?;
            }
            assert_eq!(of_evidence(tx, "e1", None, 9)?, [row("k2", Some("e1"))]);
            assert_eq!(of_market(tx, "m1", Some("k1"), 1)?, [row("k2", Some("e1"))]);
            assert_eq!(
                (count_since(tx, "ada", 5)?, count_since(tx, "ada", 6)?),
                (3, 0)
            );
            remove(tx, "k1", "bob", 9)?;
            let left = get(tx, "k1")?;
            assert_eq!(
                (left.body.as_str(), left.deleted_by.as_deref()),
                ("", Some("bob"))
            );
            assert!(remove(tx, "k1", "bob", 10).is_err());
            assert_eq!(of_market(tx, "m1", None, 9)?.len(), 3);
            assert!(insert(tx, &row("k4", Some("e9"))).is_err());
            Ok(())
        })
        .unwrap();
    }
}
