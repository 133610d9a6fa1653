//! Fees of trades that a market holds until it is over.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::prepared::Prepared;
use crate::schema::fees;
use crate::{StoreError, Tx, changed};

/// What an account paid in fees in a market.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = fees)]
pub struct FeeRow {
    /// The market.
    pub market_id: String,
    /// Who paid.
    pub account_id: String,
    /// Fees for the treasury, micro-credits.
    pub trade_micro: i64,
    /// Fees for the market's creator, micro-credits.
    pub creator_micro: i64,
    /// When they were given back, unix ms: in a void market.
    pub returned_at: Option<i64>,
}

/// Adds to what an account paid in a market, micro-credits, each ≥ 0.
///
/// # Errors
/// [`StoreError::Conflict`] if the market or the account does not exist.
pub fn add(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
    trade_micro: i64,
    creator_micro: i64,
) -> Result<(), StoreError> {
    tx.beside(|conn| {
        Prepared {
            pieces: &[
                (
                    "INSERT INTO fees (market_id, account_id, trade_micro, creator_micro) VALUES (",
                    market_id.into(),
                ),
                (", ", account_id.into()),
                (", ", trade_micro.into()),
                (", ", creator_micro.into()),
            ],
            rest: ") ON CONFLICT (market_id, account_id) DO UPDATE SET \
                   trade_micro = trade_micro + excluded.trade_micro, \
                   creator_micro = creator_micro + excluded.creator_micro",
        }
        .execute(conn)
    })?;
    Ok(())
}

/// What an account paid in a market.
///
/// # Errors
/// Those of the database.
pub fn get(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
) -> Result<Option<FeeRow>, StoreError> {
    tx.run(|conn| {
        fees::table
            .find((market_id, account_id))
            .select(FeeRow::as_select())
            .get_result(conn)
            .optional()
    })
}

/// What the accounts from `first` to `last` (both included) paid in a market, by account.
///
/// # Errors
/// Those of the database.
pub fn between(
    tx: &mut Tx<'_>,
    market_id: &str,
    first: &str,
    last: &str,
) -> Result<Vec<FeeRow>, StoreError> {
    tx.run(|conn| {
        fees::table
            .filter(fees::market_id.eq(market_id))
            .filter(fees::account_id.ge(first))
            .filter(fees::account_id.le(last))
            .order(fees::account_id)
            .select(FeeRow::as_select())
            .load(conn)
    })
}

/// Up to `limit` rows of a market that were not given back, by account.
///
/// # Errors
/// Those of the database.
pub fn held(tx: &mut Tx<'_>, market_id: &str, limit: i64) -> Result<Vec<FeeRow>, StoreError> {
    tx.run(|conn| {
        fees::table
            .filter(fees::market_id.eq(market_id))
            .filter(fees::returned_at.is_null())
            .order(fees::account_id)
            .limit(limit)
            .select(FeeRow::as_select())
            .load(conn)
    })
}

/// Sums over a market of what was not given back, micro-credits: for the treasury, for the creator.
///
/// # Errors
/// Those of the database.
pub fn totals(tx: &mut Tx<'_>, market_id: &str) -> Result<(i64, i64), StoreError> {
    tx.run(|conn| {
        fees::table
            .filter(fees::market_id.eq(market_id))
            .filter(fees::returned_at.is_null())
            .select((
                sql::<BigInt>("COALESCE(SUM(trade_micro), 0)"),
                sql::<BigInt>("COALESCE(SUM(creator_micro), 0)"),
            ))
            .get_result(conn)
    })
}

/// Notes that fees went back to who paid them. With the transfer in the same transaction this happens once.
///
/// # Errors
/// [`StoreError::NotFound`] if there are none, or they went back before.
pub fn mark_returned(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
    at: i64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(
            fees::table
                .find((market_id, account_id))
                .filter(fees::returned_at.is_null()),
        )
        .set(fees::returned_at.eq(at))
        .execute(conn)
    })?;
    changed(rows, "held fee", account_id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn fees_add_up_and_go_back_once() {
        within(|tx| {
            assert_eq!(get(tx, "m1", "ada")?, None);
            assert_eq!(totals(tx, "m1")?, (0, 0));
            add(tx, "m1", "ada", 5, 2)?;
            add(tx, "m1", "ada", 1, 1)?;
            add(tx, "m1", "bob", 10, 0)?;
            assert_eq!(totals(tx, "m1")?, (16, 3));
            assert_eq!(between(tx, "m1", "ada", "ada")?.len(), 1);
            assert_eq!(between(tx, "m1", "a", "z")?.len(), 2);
            mark_returned(tx, "m1", "ada", 7)?;
            assert_eq!(totals(tx, "m1")?, (10, 0));
            let left: Vec<_> = held(tx, "m1", 9)?
                .into_iter()
                .map(|row| row.account_id)
                .collect();
            assert_eq!(left, ["bob"]);
            assert!(mark_returned(tx, "m1", "ada", 8).is_err());
            assert!(matches!(
                add(tx, "m1", "bob", -11, 0),
                Err(StoreError::Database(_))
            ));
            Ok(())
        })
        .unwrap();
    }
}
