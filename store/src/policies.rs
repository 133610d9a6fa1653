//! Versions of the allocation policy. One at most is active.

use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::schema::policies;
use crate::{StoreError, Tx, found};

/// A version of the policy.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = policies)]
pub struct PolicyVersion {
    /// Position; grows.
    pub version: i64,
    /// Hash of the text.
    pub hash: String,
    /// The text, TOML.
    pub toml: String,
    /// Who put it in force.
    pub author_id: String,
    /// When, unix ms.
    pub created_at: i64,
    /// Whether it is in force.
    pub active: bool,
    /// The vote that put it in force.
    pub proposal_id: Option<String>,
}

/// Adds a version and makes it the one in force; its number comes back.
///
/// # Errors
/// Those of the database.
pub fn insert_active(
    tx: &mut Tx<'_>,
    hash: &str,
    toml: &str,
    author_id: &str,
    proposal_id: Option<&str>,
    created_at: i64,
) -> Result<i64, StoreError> {
    tx.run(|conn| {
        diesel::update(policies::table.filter(is_active()))
            .set(policies::active.eq(false))
            .execute(conn)?;
        diesel::insert_into(policies::table)
            .values((
                policies::hash.eq(hash),
                policies::toml.eq(toml),
                policies::author_id.eq(author_id),
                policies::created_at.eq(created_at),
                policies::active.eq(true),
                policies::proposal_id.eq(proposal_id),
            ))
            .execute(conn)
    })?;
    tx.last_key()
}

/// The version in force.
///
/// # Errors
/// Those of the database.
pub fn active(tx: &mut Tx<'_>) -> Result<Option<PolicyVersion>, StoreError> {
    tx.run(|conn| {
        policies::table
            .filter(is_active())
            .select(PolicyVersion::as_select())
            .get_result(conn)
            .optional()
    })
}

/// The version of that number.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, version: i64) -> Result<PolicyVersion, StoreError> {
    let row = tx.run(|conn| {
        policies::table
            .find(version)
            .select(PolicyVersion::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "policy version", &version.to_string())
}

/// Up to `limit` versions below `before`, newest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<PolicyVersion>, StoreError> {
    tx.run(|conn| {
        policies::table
            .filter(policies::version.lt(before.unwrap_or(i64::MAX)))
            .order(policies::version.desc())
            .limit(limit)
            .select(PolicyVersion::as_select())
            .load(conn)
    })
}

/// The condition of the partial index, word for word: SQLite does not use it for a bound value.
fn is_active() -> SqlLiteral<Bool> {
    sql("active = 1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn one_version_at_most_is_in_force() {
        within(|tx| {
            assert_eq!(active(tx)?, None);
            assert_eq!(insert_active(tx, "h1", "a = 1", "ada", None, 5)?, 1);
            assert_eq!(insert_active(tx, "h2", "a = 2", "ada", Some("p1"), 6)?, 2);
            let in_force = active(tx)?.map(|policy| (policy.version, policy.hash, policy.active));
            assert_eq!(in_force, Some((2, "h2".to_owned(), true)));
            let all: Vec<_> = list(tx, None, 9)?
                .into_iter()
                .map(|policy| (policy.version, policy.active))
                .collect();
            assert_eq!(all, [(2, true), (1, false)]);
            assert_eq!(list(tx, Some(2), 9)?.len(), 1);
            assert_eq!(get(tx, 2)?.proposal_id.as_deref(), Some("p1"));
            assert!(get(tx, 3).is_err());
            Ok(())
        })
        .unwrap();
    }
}
