//! Positions: what each account holds in each market, and what it was paid.

use std::rc::Rc;

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::hot::position_key;
use crate::prepared::prepared;
use crate::schema::positions;
use crate::{StoreError, Tx};

/// What an account holds in a market.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = positions)]
pub struct Position {
    /// The market.
    pub market_id: String,
    /// The holder.
    pub account_id: String,
    /// YES shares, micro-shares; ≥ 0.
    pub yes_micro: i64,
    /// NO shares, micro-shares; ≥ 0.
    pub no_micro: i64,
    /// What they cost so far, net of sales, micro-credits.
    pub cost_micro: i64,
    /// What the settlement paid, micro-credits.
    pub paid_micro: Option<i64>,
    /// When it was paid, unix ms.
    pub paid_at: Option<i64>,
}

/// The position of an account in a market.
///
/// # Errors
/// Those of the database.
pub fn get(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
) -> Result<Option<Position>, StoreError> {
    let row = tx.position(market_id, account_id)?;
    Ok(row.map(Rc::unwrap_or_clone))
}

/// Reads a position's row.
pub(crate) fn find(
    conn: &mut SqliteConnection,
    market_id: &str,
    account_id: &str,
) -> QueryResult<Option<Position>> {
    positions::table
        .find((market_id, account_id))
        .select(Position::as_select())
        .get_result(conn)
        .optional()
}

/// Adds a position or replaces the one stored. One that was paid out is final.
///
/// # Errors
/// [`StoreError::Conflict`] if it was paid out, or the market or the account does not exist.
pub fn upsert(tx: &mut Tx<'_>, position: &Position) -> Result<(), StoreError> {
    if keep(tx, position)? {
        return Ok(());
    }
    let rows = tx.run(|conn| write(conn, position))?;
    if rows == 0 {
        Err(paid_already(&position.market_id, &position.account_id))
    } else {
        Ok(())
    }
}

/// Writes a position's row, unless the one that is there was paid out; how many rows that were.
pub(crate) fn write(conn: &mut SqliteConnection, position: &Position) -> QueryResult<usize> {
    prepared!(
        [
            (
                "INSERT INTO positions (market_id, account_id, yes_micro, no_micro, cost_micro, \
                 paid_micro, paid_at) VALUES (",
                &position.market_id,
            ),
            (", ", &position.account_id),
            (", ", position.yes_micro),
            (", ", position.no_micro),
            (", ", position.cost_micro),
            (", ", position.paid_micro),
            (", ", position.paid_at),
        ],
        ") ON CONFLICT (market_id, account_id) DO UPDATE SET \
               yes_micro = excluded.yes_micro, no_micro = excluded.no_micro, \
               cost_micro = excluded.cost_micro, paid_micro = excluded.paid_micro, \
               paid_at = excluded.paid_at WHERE positions.paid_at IS NULL"
    )
    .execute(conn)
}

/// Writes the row of a position that is kept in memory. Two plain statements: an upsert could fail half-way,
/// so SQLite would first copy every page that it touches.
pub(crate) fn write_kept(conn: &mut SqliteConnection, position: &Position) -> QueryResult<usize> {
    let rows = prepared!(
        [
            ("UPDATE positions SET yes_micro = ", position.yes_micro),
            (", no_micro = ", position.no_micro),
            (", cost_micro = ", position.cost_micro),
            (", paid_micro = ", position.paid_micro),
            (", paid_at = ", position.paid_at),
            (" WHERE market_id = ", &position.market_id),
            (" AND account_id = ", &position.account_id),
        ],
        " AND paid_at IS NULL"
    )
    .execute(conn)?;
    if rows > 0 {
        return Ok(rows);
    }
    write(conn, position)
}

/// Keeps the position in the writer's memory, to be written before the commit, if nothing there can refuse
/// it: market and account exist, nothing was paid, and the table's own checks hold. Whether it did.
fn keep(tx: &mut Tx<'_>, position: &Position) -> Result<bool, StoreError> {
    let fits = position.yes_micro >= 0
        && position.no_micro >= 0
        && position.paid_micro.is_none() == position.paid_at.is_none()
        && position.paid_micro.is_none_or(|paid| paid >= 0);
    if tx.hot().is_none() || !fits {
        return Ok(false);
    }
    let (market_id, account_id) = (&position.market_id, &position.account_id);
    let allowed = match tx.position(market_id, account_id)? {
        Some(stored) => stored.paid_at.is_none(),
        None => tx.market(market_id)?.is_some() && tx.account(account_id)?.is_some(),
    };
    if let Some(hot) = tx.hot().filter(|_| allowed) {
        hot.positions
            .put(&position_key(market_id, account_id), position.clone());
    }
    Ok(allowed)
}

/// Up to `limit` positions in a market with account ids greater than `after`, by account.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Position>, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::market_id.eq(market_id))
            .filter(positions::account_id.gt(after.unwrap_or("")))
            .order(positions::account_id)
            .limit(limit)
            .select(Position::as_select())
            .load(conn)
    })
}

/// Every position of an account, those not paid out first.
///
/// # Errors
/// Those of the database.
pub fn by_account(tx: &mut Tx<'_>, account_id: &str) -> Result<Vec<Position>, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::account_id.eq(account_id))
            .order((positions::paid_at, positions::market_id))
            .select(Position::as_select())
            .load(conn)
    })
}

/// Up to `limit` positions of a market that are not paid out, by account.
///
/// # Errors
/// Those of the database.
pub fn unpaid(tx: &mut Tx<'_>, market_id: &str, limit: i64) -> Result<Vec<Position>, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::market_id.eq(market_id))
            .filter(positions::paid_at.is_null())
            .order(positions::account_id)
            .limit(limit)
            .select(Position::as_select())
            .load(conn)
    })
}

/// Whether any position of a market has been paid out.
///
/// # Errors
/// Those of the database.
pub fn any_paid(tx: &mut Tx<'_>, market_id: &str) -> Result<bool, StoreError> {
    tx.run(|conn| {
        diesel::select(diesel::dsl::exists(
            positions::table
                .filter(positions::market_id.eq(market_id))
                .filter(positions::paid_at.is_not_null()),
        ))
        .get_result(conn)
    })
}

/// Notes that a position was paid out. Together with the transfer in the same transaction, this makes
/// a payout happen once.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such position or it was paid before.
pub fn mark_paid(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
    paid_micro: i64,
    at: i64,
) -> Result<(), StoreError> {
    if tx.hot().is_some() {
        let stored = tx.position(market_id, account_id)?;
        let stored = stored.filter(|stored| stored.paid_at.is_none());
        let stored = stored.ok_or_else(|| paid_already(market_id, account_id))?;
        let paid = Position {
            paid_micro: Some(paid_micro),
            paid_at: Some(at),
            ..(*stored).clone()
        };
        if keep(tx, &paid)? {
            return Ok(());
        }
    }
    let rows = tx.run(|conn| {
        diesel::update(
            positions::table
                .find((market_id, account_id))
                .filter(positions::paid_at.is_null()),
        )
        .set((
            positions::paid_micro.eq(paid_micro),
            positions::paid_at.eq(at),
        ))
        .execute(conn)
    })?;
    if rows == 0 {
        Err(paid_already(market_id, account_id))
    } else {
        Ok(())
    }
}

fn paid_already(market_id: &str, account_id: &str) -> StoreError {
    StoreError::conflict(format!(
        "no unpaid position of account {account_id} in market {market_id}"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    fn position(account: &str, yes_micro: i64) -> Position {
        Position {
            market_id: "m1".to_owned(),
            account_id: account.to_owned(),
            yes_micro,
            no_micro: 0,
            cost_micro: yes_micro / 2,
            paid_micro: None,
            paid_at: None,
        }
    }

    #[test]
    fn a_position_is_replaced_until_it_is_paid() {
        within(|tx| {
            assert_eq!(get(tx, "m1", "ada")?, None);
            upsert(tx, &position("ada", 10))?;
            upsert(tx, &position("ada", 20))?;
            assert_eq!(get(tx, "m1", "ada")?, Some(position("ada", 20)));
            assert!(!any_paid(tx, "m1")?);
            mark_paid(tx, "m1", "ada", 20, 7)?;
            assert!(any_paid(tx, "m1")?);
            let paid = Position {
                paid_micro: Some(20),
                paid_at: Some(7),
                ..position("ada", 20)
            };
            assert_eq!(get(tx, "m1", "ada")?, Some(paid));
            for again in [
                mark_paid(tx, "m1", "ada", 20, 8),
                upsert(tx, &position("ada", 30)),
            ] {
                assert!(matches!(again, Err(StoreError::Conflict { .. })));
            }
            assert!(matches!(
                mark_paid(tx, "m1", "bob", 1, 1),
                Err(StoreError::Conflict { .. })
            ));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn lists_by_market_by_account_and_unpaid() {
        within(|tx| {
            upsert(tx, &position("bob", 4))?;
            upsert(tx, &position("ada", 2))?;
            assert_eq!(
                list(tx, "m1", None, 10)?,
                [position("ada", 2), position("bob", 4)]
            );
            assert_eq!(list(tx, "m1", Some("ada"), 10)?, [position("bob", 4)]);
            assert_eq!(by_account(tx, "bob")?, [position("bob", 4)]);
            assert_eq!(unpaid(tx, "m1", 1)?, [position("ada", 2)]);
            mark_paid(tx, "m1", "ada", 0, 1)?;
            assert_eq!(unpaid(tx, "m1", 10)?, [position("bob", 4)]);
            assert!(matches!(
                upsert(tx, &position("bob", -1)),
                Err(StoreError::Database(_))
            ));
            Ok(())
        })
        .unwrap();
    }
}
