//! Trades, those booked for evidence among them.

use diesel::prelude::*;

use crate::schema::trades;
use crate::{StoreError, Tx, found};

/// A trade.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = trades)]
pub struct Trade {
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// Who traded.
    pub account_id: String,
    /// When, unix ms.
    pub at: i64,
    /// `yes` or `no`.
    pub outcome: String,
    /// YES shares received (negative: sold), micro-shares.
    pub yes_micro: i64,
    /// NO shares received (negative: sold), micro-shares.
    pub no_micro: i64,
    /// What the trader paid (negative: received), micro-credits.
    pub cost_micro: i64,
    /// Price before, as log-odds.
    pub log_odds_before: f64,
    /// Price after, as log-odds.
    pub log_odds_after: f64,
    /// `trade` or `evidence`.
    pub cause: String,
}

/// Adds a trade.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the market or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, trade: &Trade) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(trades::table)
            .values(trade)
            .execute(conn)
    })?;
    Ok(())
}

/// Position of a trade in the history: what [`list`] takes as `before`.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn seq_of(tx: &mut Tx<'_>, id: &str) -> Result<i64, StoreError> {
    let row = tx.run(|conn| {
        trades::table
            .filter(trades::id.eq(id))
            .select(trades::seq)
            .first(conn)
            .optional()
    })?;
    found(row, "trade", id)
}

/// Up to `limit` trades of a market, newest first, before position `before` if given (see [`seq_of`]).
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Trade>, StoreError> {
    tx.run(|conn| {
        trades::table
            .filter(trades::market_id.eq(market_id))
            .filter(trades::seq.lt(before.unwrap_or(i64::MAX)))
            .order(trades::seq.desc())
            .limit(limit)
            .select(Trade::as_select())
            .load(conn)
    })
}

/// Up to `limit` trades of an account, newest first.
///
/// # Errors
/// Those of the database.
pub fn by_account(tx: &mut Tx<'_>, account_id: &str, limit: i64) -> Result<Vec<Trade>, StoreError> {
    tx.run(|conn| {
        trades::table
            .filter(trades::account_id.eq(account_id))
            .order(trades::seq.desc())
            .limit(limit)
            .select(Trade::as_select())
            .load(conn)
    })
}
