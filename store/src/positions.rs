//! Positions: what each account holds in each market, and what it was paid.

use diesel::prelude::*;
use diesel::query_dsl::methods;

use crate::schema::positions;
use crate::{StoreError, Tx};

/// What an account holds in a market.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = positions, primary_key(market_id, account_id), treat_none_as_null = true)]
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
    tx.run(|conn| {
        positions::table
            .find((market_id, account_id))
            .select(Position::as_select())
            .first(conn)
            .optional()
    })
}

/// Adds a position or replaces the one stored. One that was paid out is final.
///
/// # Errors
/// [`StoreError::Conflict`] if it was paid out, or the market or the account does not exist.
pub fn upsert(tx: &mut Tx<'_>, position: &Position) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        let statement = diesel::insert_into(positions::table)
            .values(position)
            .on_conflict((positions::market_id, positions::account_id))
            .do_update()
            .set(position);
        methods::FilterDsl::filter(statement, positions::paid_at.is_null()).execute(conn)
    })?;
    if rows == 0 {
        Err(paid_already(&position.market_id, &position.account_id))
    } else {
        Ok(())
    }
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
