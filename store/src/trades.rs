//! Trades, those booked for evidence among them.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::hot::append::Append;
use crate::hot::{Named, WORDS_FROM};
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
    let greatest = |conn: &mut SqliteConnection| {
        trades::table
            .filter(trades::id.lt(WORDS_FROM))
            .select(diesel::dsl::max(trades::id))
            .get_result(conn)
    };
    let is_it = |fact: &Append| matches!(fact, Append::Trade(other) if other.id == trade.id);
    if !tx.is_beyond(Named::Trades, &trade.id, greatest)?
        && (tx.is_pending(is_it) || place(tx, &trade.id)?.is_some())
    {
        return Err(StoreError::conflict("trades.id is taken"));
    }
    tx.append(Append::Trade(trade.clone()))
}

/// Position in the history of a trade that was written.
fn place(tx: &mut Tx<'_>, id: &str) -> Result<Option<i64>, StoreError> {
    tx.look(|conn| {
        trades::table
            .filter(trades::id.eq(id))
            .select(trades::seq)
            .get_result(conn)
            .optional()
    })
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
            .get_result(conn)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn trades_are_listed_newest_first_and_paged() {
        within(|tx| {
            let of = |id: &str, account: &str| Trade {
                id: id.to_owned(),
                market_id: "m1".to_owned(),
                account_id: account.to_owned(),
                at: 1,
                outcome: "yes".to_owned(),
                yes_micro: 5,
                no_micro: 0,
                cost_micro: 3,
                log_odds_before: 0.0,
                log_odds_after: 0.25,
                cause: "trade".to_owned(),
            };
            // Ids are not in the order of writing: the sequence is.
            let rows = [of("c", "ada"), of("a", "bob"), of("b", "ada")];
            for row in &rows {
                insert(tx, row)?;
            }
            assert_eq!(list(tx, "m1", None, 2)?, [rows[2].clone(), rows[1].clone()]);
            let before = seq_of(tx, "a")?;
            assert_eq!(list(tx, "m1", Some(before), 2)?, [rows[0].clone()]);
            assert_eq!(
                by_account(tx, "ada", 10)?,
                [rows[2].clone(), rows[0].clone()]
            );
            assert_eq!(seq_of(tx, "x"), Err(StoreError::not_found("trade", "x")));
            assert!(matches!(
                insert(tx, &of("c", "bob")),
                Err(StoreError::Conflict { .. })
            ));
            let odd = Trade {
                outcome: "maybe".to_owned(),
                ..of("d", "ada")
            };
            assert!(matches!(insert(tx, &odd), Err(StoreError::Database(_))));
            Ok(())
        })
        .unwrap();
    }
}
