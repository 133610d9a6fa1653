//! Shares of single outcomes in the hands of accounts. What they cost and were paid is in
//! [`crate::positions`].

use diesel::prelude::*;

use crate::schema::outcome_holdings;
use crate::{StoreError, Tx};

/// What an account holds of one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = outcome_holdings)]
pub struct Holding {
    /// The market.
    pub market_id: String,
    /// The holder.
    pub account_id: String,
    /// Place of the outcome among the market's.
    pub ordinal: i64,
    /// Micro-shares; > 0.
    pub shares_micro: i64,
}

/// What an account holds in a market, by outcome; outcomes of which it holds nothing are left out.
///
/// # Errors
/// Those of the database.
pub fn of(tx: &mut Tx<'_>, market_id: &str, account_id: &str) -> Result<Vec<Holding>, StoreError> {
    between(tx, market_id, account_id, account_id)
}

/// What the accounts from `first` to `last` (both included) hold in a market, by account and outcome.
///
/// # Errors
/// Those of the database.
pub fn between(
    tx: &mut Tx<'_>,
    market_id: &str,
    first: &str,
    last: &str,
) -> Result<Vec<Holding>, StoreError> {
    tx.run(|conn| {
        outcome_holdings::table
            .filter(outcome_holdings::market_id.eq(market_id))
            .filter(outcome_holdings::account_id.ge(first))
            .filter(outcome_holdings::account_id.le(last))
            .order((outcome_holdings::account_id, outcome_holdings::ordinal))
            .select(Holding::as_select())
            .load(conn)
    })
}

/// Writes how many shares an account holds of an outcome; none removes the row.
///
/// # Errors
/// [`StoreError::Conflict`] if the outcome or the account does not exist.
pub fn put(
    tx: &mut Tx<'_>,
    market_id: &str,
    account_id: &str,
    ordinal: i64,
    shares_micro: i64,
) -> Result<(), StoreError> {
    if shares_micro == 0 {
        tx.run(|conn| {
            diesel::delete(outcome_holdings::table.find((market_id, account_id, ordinal)))
                .execute(conn)
        })?;
        return Ok(());
    }
    let row = Holding {
        market_id: market_id.to_owned(),
        account_id: account_id.to_owned(),
        ordinal,
        shares_micro,
    };
    tx.run(|conn| {
        diesel::insert_into(outcome_holdings::table)
            .values(&row)
            .on_conflict((
                outcome_holdings::market_id,
                outcome_holdings::account_id,
                outcome_holdings::ordinal,
            ))
            .do_update()
            .set(outcome_holdings::shares_micro.eq(shares_micro))
            .execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{seed_outcomes, within};

    #[test]
    fn holdings_are_replaced_and_none_is_no_row() {
        within(|tx| {
            seed_outcomes(tx)?;
            put(tx, "m2", "bob", 1, 4)?;
            put(tx, "m2", "ada", 1, 7)?;
            put(tx, "m2", "ada", 0, 3)?;
            put(tx, "m2", "ada", 1, 8)?;
            let brief = |rows: Vec<Holding>| -> Vec<(String, i64, i64)> {
                let row = |row: Holding| (row.account_id, row.ordinal, row.shares_micro);
                rows.into_iter().map(row).collect()
            };
            let all = brief(between(tx, "m2", "ada", "bob")?);
            let expected = [("ada", 0, 3), ("ada", 1, 8), ("bob", 1, 4)];
            assert_eq!(
                all,
                expected.map(|(who, n, held)| (who.to_owned(), n, held))
            );
            put(tx, "m2", "ada", 0, 0)?;
            put(tx, "m2", "ada", 0, 0)?;
            assert_eq!(brief(of(tx, "m2", "ada")?), [("ada".to_owned(), 1, 8)]);
            assert_eq!(of(tx, "m2", "nobody")?, []);
            for (account, ordinal) in [("ada", 2), ("eve", 0)] {
                let odd = put(tx, "m2", account, ordinal, 1);
                assert!(matches!(odd, Err(StoreError::Conflict { .. })));
            }
            Ok(())
        })
        .unwrap();
        let negative = within(|tx| {
            seed_outcomes(tx)?;
            put(tx, "m2", "ada", 0, -1)
        });
        assert!(matches!(negative, Err(StoreError::Database(_))));
    }
}
