//! What people follow, and the figure that they were told of it last.

use diesel::prelude::*;

use crate::schema::follows;
use crate::{StoreError, Tx};

/// That somebody follows something, or does not want to.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = follows)]
pub struct Follow {
    /// Who.
    pub account_id: String,
    /// What: `market:ID`, `run:ID`, `proposal:ID`, `panel:ID` or `proposals`.
    pub topic: String,
    /// Told of what happens after this, unix ms.
    pub since: i64,
    /// One of `own`, `asked`, `left`.
    pub how: String,
    /// The figure told last: a market's probability, a run's share in basis points.
    pub told: Option<f64>,
}

/// Adds a follow, or replaces the one of the same account and topic.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put(tx: &mut Tx<'_>, follow: &Follow) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::replace_into(follows::table)
            .values(follow)
            .execute(conn)
    })?;
    Ok(())
}

/// Adds a follow unless the account has one of the topic, whatever it says; whether it was added.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn add(tx: &mut Tx<'_>, follow: &Follow) -> Result<bool, StoreError> {
    let rows = tx.beside(|conn| {
        diesel::insert_into(follows::table)
            .values(follow)
            .on_conflict((follows::account_id, follows::topic))
            .do_nothing()
            .execute(conn)
    })?;
    Ok(rows == 1)
}

/// Notes the figure that an account was told.
///
/// # Errors
/// Those of the database.
pub fn set_told(
    tx: &mut Tx<'_>,
    account_id: &str,
    topic: &str,
    told: f64,
) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::update(follows::table.find((account_id, topic)))
            .set(follows::told.eq(told))
            .execute(conn)
    })?;
    Ok(())
}

/// What an account and a topic have to do with each other.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str, topic: &str) -> Result<Option<Follow>, StoreError> {
    tx.look(|conn| {
        follows::table
            .find((account_id, topic))
            .select(Follow::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` of what an account follows after the topic `after`, those that it left included.
///
/// # Errors
/// Those of the database.
pub fn of_account(
    tx: &mut Tx<'_>,
    account_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Follow>, StoreError> {
    tx.look(|conn| {
        follows::table
            .filter(follows::account_id.eq(account_id))
            .filter(follows::topic.gt(after.unwrap_or_default()))
            .order(follows::topic)
            .limit(limit)
            .select(Follow::as_select())
            .load(conn)
    })
}

/// Up to `limit` who follow a topic, or left it, after the account `after`.
///
/// # Errors
/// Those of the database.
pub fn of_topic(
    tx: &mut Tx<'_>,
    topic: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Follow>, StoreError> {
    tx.look(|conn| {
        follows::table
            .filter(follows::topic.eq(topic))
            .filter(follows::account_id.gt(after))
            .order(follows::account_id)
            .limit(limit)
            .select(Follow::as_select())
            .load(conn)
    })
}

/// Rows of an account.
///
/// # Errors
/// Those of the database.
pub fn count(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    tx.look(|conn| {
        follows::table
            .filter(follows::account_id.eq(account_id))
            .count()
            .get_result(conn)
    })
}

/// Forgets everything that an account follows.
///
/// # Errors
/// Those of the database.
pub fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::delete(follows::table.filter(follows::account_id.eq(account_id))).execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::within;

    #[test]
    fn taking_part_does_not_bring_back_what_was_left() {
        within(|tx| {
            let row = |account: &str, topic: &str, how: &str| Follow {
                account_id: account.to_owned(),
                topic: topic.to_owned(),
                since: 5,
                how: how.to_owned(),
                told: None,
            };
            assert!(add(tx, &row("ada", "market:m1", "own"))?);
            assert!(!add(tx, &row("ada", "market:m1", "own"))?);
            put(tx, &row("ada", "market:m1", "left"))?;
            assert!(!add(tx, &row("ada", "market:m1", "own"))?);
            assert!(add(tx, &row("bob", "market:m1", "asked"))?);
            set_told(tx, "bob", "market:m1", 0.25)?;
            let all = of_topic(tx, "market:m1", "", 9)?;
            let seen: Vec<_> = all
                .iter()
                .map(|f| (f.account_id.as_str(), f.how.as_str(), f.told))
                .collect();
            assert_eq!(seen, [("ada", "left", None), ("bob", "asked", Some(0.25))]);
            assert_eq!(of_topic(tx, "market:m1", "ada", 9)?.len(), 1);
            assert_eq!(of_account(tx, "ada", Some("market:m1"), 9)?, []);
            forget(tx, "bob")?;
            assert_eq!((count(tx, "bob")?, count(tx, "ada")?), (0, 1));
            Ok(())
        })
        .unwrap();
    }
}
