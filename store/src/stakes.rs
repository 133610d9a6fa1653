//! Stakes for voting, and to whom their votes are delegated.

use diesel::prelude::*;

use crate::schema::{delegations, stakes};
use crate::{StoreError, Tx};

/// What an account has staked.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = stakes)]
pub struct Stake {
    /// The account.
    pub account_id: String,
    /// Stake, micro-credits; the sum over all is what the account of the stakes holds.
    pub stake_micro: i64,
    /// Part of it that was earned, micro-credits.
    pub earned_micro: i64,
    /// Not to be taken back before, unix ms.
    pub locked_until: i64,
    /// When it changed last, unix ms.
    pub changed_at: i64,
}

/// A delegation on one track.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = delegations)]
pub struct Delegation {
    /// Who delegates.
    pub account_id: String,
    /// On which track.
    pub track: String,
    /// To whom.
    pub delegate_id: String,
    /// Level of conviction, 0 to 6.
    pub conviction: i64,
    /// Since when, unix ms.
    pub since: i64,
}

/// An account's stake.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<Stake>, StoreError> {
    tx.run(|conn| {
        stakes::table
            .find(account_id)
            .select(Stake::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Stores a stake in place of the account's last.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put(tx: &mut Tx<'_>, stake: &Stake) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(stakes::table)
            .values(stake)
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` stakes, by account.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Stake>, StoreError> {
    tx.run(|conn| {
        stakes::table
            .order(stakes::account_id)
            .limit(limit)
            .select(Stake::as_select())
            .load(conn)
    })
}

/// How many accounts have ever staked.
///
/// # Errors
/// Those of the database.
pub fn count(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.run(|conn| stakes::table.count().get_result(conn))
}

/// To whom an account delegates on a track.
///
/// # Errors
/// Those of the database.
pub fn delegation(
    tx: &mut Tx<'_>,
    account_id: &str,
    track: &str,
) -> Result<Option<Delegation>, StoreError> {
    tx.run(|conn| {
        delegations::table
            .find((account_id, track))
            .select(Delegation::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Stores a delegation in place of the one on the same track.
///
/// # Errors
/// [`StoreError::Conflict`] if one of the accounts is not there.
pub fn delegate(tx: &mut Tx<'_>, delegation: &Delegation) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::replace_into(delegations::table)
            .values(delegation)
            .execute(conn)
    })?;
    Ok(())
}

/// Ends a delegation; whether there was one.
///
/// # Errors
/// Those of the database.
pub fn undelegate(tx: &mut Tx<'_>, account_id: &str, track: &str) -> Result<bool, StoreError> {
    let rows =
        tx.run(|conn| diesel::delete(delegations::table.find((account_id, track))).execute(conn))?;
    Ok(rows > 0)
}

/// Up to `limit` delegations on a track, by account.
///
/// # Errors
/// Those of the database.
pub fn on_track(tx: &mut Tx<'_>, track: &str, limit: i64) -> Result<Vec<Delegation>, StoreError> {
    tx.run(|conn| {
        delegations::table
            .filter(delegations::track.eq(track))
            .order(delegations::account_id)
            .limit(limit)
            .select(Delegation::as_select())
            .load(conn)
    })
}

/// How many delegations there are on a track.
///
/// # Errors
/// Those of the database.
pub fn count_on_track(tx: &mut Tx<'_>, track: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        delegations::table
            .filter(delegations::track.eq(track))
            .count()
            .get_result(conn)
    })
}

/// The delegations that an account has made.
///
/// # Errors
/// Those of the database.
pub fn of_delegator(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Delegation>, StoreError> {
    tx.run(|conn| {
        delegations::table
            .filter(delegations::account_id.eq(account_id))
            .order(delegations::track)
            .select(Delegation::as_select())
            .load(conn)
    })
}

/// Up to `limit` delegations to an account.
///
/// # Errors
/// Those of the database.
pub fn of_delegate(
    tx: &mut Tx<'_>,
    delegate_id: &str,
    limit: i64,
) -> Result<Vec<Delegation>, StoreError> {
    tx.run(|conn| {
        delegations::table
            .filter(delegations::delegate_id.eq(delegate_id))
            .order((delegations::track, delegations::account_id))
            .limit(limit)
            .select(Delegation::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn stake(account_id: &str, stake_micro: i64) -> Stake {
        Stake {
            account_id: account_id.to_owned(),
            stake_micro,
            earned_micro: stake_micro / 2,
            locked_until: 5,
            changed_at: 1,
        }
    }

    fn row(account_id: &str, track: &str, delegate_id: &str) -> Delegation {
        Delegation {
            account_id: account_id.to_owned(),
            track: track.to_owned(),
            delegate_id: delegate_id.to_owned(),
            conviction: 1,
            since: 3,
        }
    }

    #[test]
    fn stakes_change_and_are_listed() {
        within(|tx| {
            assert_eq!(get(tx, "ada")?, None);
            put(tx, &stake("bob", 10))?;
            put(tx, &stake("ada", 10))?;
            put(tx, &stake("ada", 30))?;
            assert_eq!(get(tx, "ada")?, Some(stake("ada", 30)));
            assert_eq!(list(tx, 9)?, [stake("ada", 30), stake("bob", 10)]);
            assert_eq!((list(tx, 1)?.len(), count(tx)?), (1, 2));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn an_account_has_one_delegate_on_a_track() {
        within(|tx| {
            delegate(tx, &row("ada", "treasury", "bob"))?;
            delegate(tx, &row("ada", "treasury", "bob"))?;
            delegate(tx, &row("ada", "loosen", "bob"))?;
            assert_eq!(
                on_track(tx, "treasury", 9)?,
                [row("ada", "treasury", "bob")]
            );
            assert_eq!(count_on_track(tx, "treasury")?, 1);
            let both = [row("ada", "loosen", "bob"), row("ada", "treasury", "bob")];
            assert_eq!(of_delegator(tx, "ada")?, both);
            assert_eq!(of_delegate(tx, "bob", 9)?, both);
            assert!(undelegate(tx, "ada", "loosen")? && !undelegate(tx, "ada", "loosen")?);
            assert_eq!(delegation(tx, "ada", "loosen")?, None);
            let oneself = delegate(tx, &row("ada", "loosen", "ada"));
            assert!(oneself.is_err());
            Ok(())
        })
        .unwrap();
    }
}
