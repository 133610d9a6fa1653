//! Trades on markets of several outcomes, with all prices after each.

use diesel::prelude::*;

use crate::sampling::sampled;
use crate::schema::{market_outcomes, outcome_trades};
use crate::{StoreError, Tx, found};

/// A trade of one outcome.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = outcome_trades)]
pub struct OutcomeTrade {
    /// Position in the history; grows. Given by the store: [`insert`] ignores it.
    #[diesel(skip_insertion)]
    pub seq: i64,
    /// Identifier.
    pub id: String,
    /// The market.
    pub market_id: String,
    /// Who traded.
    pub account_id: String,
    /// When, unix ms.
    pub at: i64,
    /// Place of the outcome among the market's.
    pub ordinal: i64,
    /// Shares received (negative: sold), micro-shares.
    pub shares_micro: i64,
    /// Complete sets that were turned into credits, micro-shares.
    pub sets_micro: i64,
    /// What the trader paid (negative: received), micro-credits.
    pub cost_micro: i64,
    /// Price of the outcome before.
    pub price_before: f64,
    /// Price of the outcome after.
    pub price_after: f64,
    /// Prices of all outcomes after, in their order, a JSON array.
    pub prices: String,
}

/// Adds a trade.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the outcome or the account does not exist.
pub fn insert(tx: &mut Tx<'_>, trade: &OutcomeTrade) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(outcome_trades::table)
            .values(trade)
            .execute(conn)
    })?;
    Ok(())
}

/// The trade with this id, and the name of its outcome.
///
/// # Errors
/// Those of the database.
pub fn named(tx: &mut Tx<'_>, id: &str) -> Result<Option<(OutcomeTrade, String)>, StoreError> {
    let row: Option<OutcomeTrade> = tx.run(|conn| {
        outcome_trades::table
            .filter(outcome_trades::id.eq(id))
            .select(OutcomeTrade::as_select())
            .get_result(conn)
            .optional()
    })?;
    let Some(trade) = row else { return Ok(None) };
    let name = tx.run(|conn| {
        market_outcomes::table
            .find((&trade.market_id, trade.ordinal))
            .select(market_outcomes::name)
            .get_result(conn)
    })?;
    Ok(Some((trade, name)))
}

/// Position of a trade in the history: what [`list`] takes as `before`.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn seq_of(tx: &mut Tx<'_>, id: &str) -> Result<i64, StoreError> {
    let row = tx.run(|conn| {
        outcome_trades::table
            .filter(outcome_trades::id.eq(id))
            .select(outcome_trades::seq)
            .get_result(conn)
            .optional()
    })?;
    found(row, "trade", id)
}

/// Up to `limit` trades of a market, newest first, before position `before` if given.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<OutcomeTrade>, StoreError> {
    tx.run(|conn| {
        outcome_trades::table
            .filter(outcome_trades::market_id.eq(market_id))
            .filter(outcome_trades::seq.lt(before.unwrap_or(i64::MAX)))
            .order(outcome_trades::seq.desc())
            .limit(limit)
            .select(OutcomeTrade::as_select())
            .load(conn)
    })
}

/// Up to `limit` trades of a market with `seq > after_seq`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn after(
    tx: &mut Tx<'_>,
    market_id: &str,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<OutcomeTrade>, StoreError> {
    tx.run(|conn| {
        outcome_trades::table
            .filter(outcome_trades::market_id.eq(market_id))
            .filter(outcome_trades::seq.gt(after_seq))
            .order(outcome_trades::seq)
            .limit(limit)
            .select(OutcomeTrade::as_select())
            .load(conn)
    })
}

/// Up to `limit` trades of an account, newest first.
///
/// # Errors
/// Those of the database.
pub fn by_account(
    tx: &mut Tx<'_>,
    account_id: &str,
    limit: i64,
) -> Result<Vec<OutcomeTrade>, StoreError> {
    tx.run(|conn| {
        outcome_trades::table
            .filter(outcome_trades::account_id.eq(account_id))
            .order(outcome_trades::seq.desc())
            .limit(limit)
            .select(OutcomeTrade::as_select())
            .load(conn)
    })
}

/// At most `points` (≥ 2) trades of a market, oldest first, the first and the last among them; as
/// [`crate::prices::sample`].
///
/// # Errors
/// Those of the database.
pub fn sample(
    tx: &mut Tx<'_>,
    market_id: &str,
    points: i64,
) -> Result<Vec<OutcomeTrade>, StoreError> {
    sampled(
        tx,
        points,
        |row: &OutcomeTrade| row.seq,
        |tx, most| after(tx, market_id, 0, most),
        |tx| {
            tx.run(|conn| {
                outcome_trades::table
                    .filter(outcome_trades::market_id.eq(market_id))
                    .order(outcome_trades::seq.desc())
                    .select(OutcomeTrade::as_select())
                    .get_result(conn)
            })
        },
        |tx, seq| {
            tx.run(|conn| {
                outcome_trades::table
                    .filter(outcome_trades::market_id.eq(market_id))
                    .filter(outcome_trades::seq.ge(seq))
                    .order(outcome_trades::seq)
                    .select(OutcomeTrade::as_select())
                    .get_result(conn)
                    .optional()
            })
        },
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{seed_outcomes, within};
    use crate::trades;

    fn trade(id: &str, account: &str, at: i64) -> OutcomeTrade {
        OutcomeTrade {
            seq: 0,
            id: id.to_owned(),
            market_id: "m2".to_owned(),
            account_id: account.to_owned(),
            at,
            ordinal: 1,
            shares_micro: 5,
            sets_micro: 0,
            cost_micro: 3,
            price_before: 0.5,
            price_after: 0.625,
            prices: "[0.375,0.625]".to_owned(),
        }
    }

    fn ids(rows: Vec<OutcomeTrade>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn trades_are_listed_paged_and_belong_to_an_outcome() {
        within(|tx| {
            seed_outcomes(tx)?;
            for (id, account) in [("c", "ada"), ("a", "bob"), ("b", "ada")] {
                insert(tx, &trade(id, account, 1))?;
            }
            assert_eq!(ids(list(tx, "m2", None, 2)?), ["b", "a"]);
            let before = seq_of(tx, "a")?;
            assert_eq!(ids(list(tx, "m2", Some(before), 2)?), ["c"]);
            assert_eq!(ids(after(tx, "m2", before, 9)?), ["b"]);
            assert_eq!(ids(by_account(tx, "ada", 10)?), ["b", "c"]);
            let named_a = named(tx, "a")?.unwrap();
            assert_eq!((named_a.0.id.as_str(), named_a.1.as_str()), ("a", "b"));
            assert_eq!(named(tx, "x")?, None);
            assert_eq!(seq_of(tx, "x"), Err(StoreError::not_found("trade", "x")));
            let elsewhere = OutcomeTrade {
                ordinal: 2,
                ..trade("d", "ada", 1)
            };
            for odd in [trade("c", "ada", 1), elsewhere] {
                assert!(matches!(insert(tx, &odd), Err(StoreError::Conflict { .. })));
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_sample_is_even_and_has_both_ends() {
        within(|tx| {
            seed_outcomes(tx)?;
            assert_eq!(sample(tx, "m2", 5)?, []);
            for at in 0..101 {
                insert(tx, &trade(&format!("t{at}"), "ada", at))?;
            }
            let times = |rows: Vec<OutcomeTrade>| rows.iter().map(|row| row.at).collect::<Vec<_>>();
            assert_eq!(times(sample(tx, "m2", 5)?), [0, 25, 50, 75, 100]);
            assert_eq!(sample(tx, "m2", 500)?.len(), 101);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn nobody_books_a_yes_or_no_trade_on_several_outcomes() {
        let binary = trades::Trade {
            id: "t".to_owned(),
            market_id: "m2".to_owned(),
            account_id: "ada".to_owned(),
            at: 1,
            outcome: "yes".to_owned(),
            yes_micro: 5,
            no_micro: 0,
            cost_micro: 3,
            log_odds_before: 0.0,
            log_odds_after: 0.25,
            cause: "trade".to_owned(),
        };
        let booked = within(move |tx| {
            seed_outcomes(tx)?;
            trades::insert(tx, &binary)
        });
        assert!(booked.is_err());
    }
}
