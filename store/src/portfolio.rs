//! What one account holds and did, and how a market is spread over its holders.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::positions::Position;
use crate::schema::{positions, prices, trades};
use crate::trades::Trade;
use crate::{StoreError, Tx};

/// A sum.
#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = BigInt)]
    total: i64,
}

/// Up to `limit` positions of an account that are not paid out, by market.
///
/// # Errors
/// Those of the database.
pub fn open_positions(
    tx: &mut Tx<'_>,
    account_id: &str,
    limit: i64,
) -> Result<Vec<Position>, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::account_id.eq(account_id))
            .filter(positions::paid_at.is_null())
            .order(positions::market_id)
            .limit(limit)
            .select(Position::as_select())
            .load(conn)
    })
}

/// Σ of the stakes of an account's evidence that is not judged yet, micro-credits. Reads the evidence
/// that waits for its judgement.
///
/// # Errors
/// Those of the database.
pub fn pending_stakes(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    let query = diesel::sql_query(
        "SELECT COALESCE(SUM(stake_micro), 0) AS total FROM evidence WHERE status = 'pending' \
         AND account_id = ?1",
    );
    let sum: Sum = tx.run(|conn| query.bind::<Text, _>(account_id).get_result(conn))?;
    Ok(sum.total)
}

/// Up to `limit` trades of an account, newest first, before a place if given, each with its place.
///
/// # Errors
/// Those of the database.
pub fn trades_of(
    tx: &mut Tx<'_>,
    account_id: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(i64, Trade)>, StoreError> {
    tx.run(|conn| {
        trades::table
            .filter(trades::account_id.eq(account_id))
            .filter(trades::seq.lt(before.unwrap_or(i64::MAX)))
            .order(trades::seq.desc())
            .limit(limit)
            .select((trades::seq, Trade::as_select()))
            .load(conn)
    })
}

/// Up to `limit` of a market's positions as YES shares, NO shares and net cost, in millionths.
///
/// # Errors
/// Those of the database.
pub fn holdings(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    tx.run(|conn| {
        positions::table
            .filter(positions::market_id.eq(market_id))
            .limit(limit)
            .select((
                positions::yes_micro,
                positions::no_micro,
                positions::cost_micro,
            ))
            .load(conn)
    })
}

/// Up to `limit` prices of a market as time and log-odds, the newest, in order of time.
///
/// # Errors
/// Those of the database.
pub fn newest_prices(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut rows: Vec<(i64, f64)> = tx.run(|conn| {
        prices::table
            .filter(prices::market_id.eq(market_id))
            .order(prices::seq.desc())
            .limit(limit)
            .select((prices::at, prices::log_odds))
            .load(conn)
    })?;
    rows.reverse();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{evidence, within};

    #[test]
    fn reads_what_is_open_of_one_account() {
        within(|tx| {
            crate::positions::upsert(
                tx,
                &Position {
                    market_id: "m1".to_owned(),
                    account_id: "ada".to_owned(),
                    yes_micro: 5,
                    no_micro: 0,
                    cost_micro: 3,
                    paid_micro: None,
                    paid_at: None,
                },
            )?;
            assert_eq!(open_positions(tx, "ada", 9)?.len(), 1);
            assert!(open_positions(tx, "bob", 9)?.is_empty());
            assert_eq!(holdings(tx, "m1", 9)?, [(5, 0, 3)]);
            crate::positions::mark_paid(tx, "m1", "ada", 1, 1)?;
            assert!(open_positions(tx, "ada", 9)?.is_empty());
            assert_eq!(pending_stakes(tx, "ada")?, 0);
            crate::evidence::insert(tx, &evidence("e1", "h"))?;
            assert_eq!(pending_stakes(tx, "ada")?, 10);
            assert!(trades_of(tx, "ada", None, 9)?.is_empty());
            assert!(newest_prices(tx, "m1", 9)?.is_empty());
            Ok(())
        })
        .unwrap();
    }
}
