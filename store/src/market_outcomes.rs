//! The outcomes of markets that have several, with the shares sold of each.

use diesel::prelude::*;

use crate::schema::market_outcomes;
use crate::{StoreError, Tx, changed};

/// One outcome of a market.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = market_outcomes)]
pub struct MarketOutcome {
    /// The market.
    pub market_id: String,
    /// Its place among the market's outcomes, from 0.
    pub ordinal: i64,
    /// Its name, unique in the market.
    pub name: String,
    /// Price at which it opened, in (0, 1).
    pub opening_price: f64,
    /// Shares in the hands of traders, micro-shares; ≥ 0.
    pub shares_micro: i64,
    /// What a share pays, in billionths of a credit, once that is known.
    pub pi_billionths: Option<i64>,
}

/// Adds an outcome.
///
/// # Errors
/// [`StoreError::Conflict`] if its place or its name is taken or the market does not exist.
pub fn insert(tx: &mut Tx<'_>, outcome: &MarketOutcome) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(market_outcomes::table)
            .values(outcome)
            .execute(conn)
    })?;
    Ok(())
}

/// The outcomes of a market in their order; none for a market on whether a claim is true.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, market_id: &str) -> Result<Vec<MarketOutcome>, StoreError> {
    tx.run(|conn| {
        market_outcomes::table
            .filter(market_outcomes::market_id.eq(market_id))
            .order(market_outcomes::ordinal)
            .select(MarketOutcome::as_select())
            .load(conn)
    })
}

/// Writes the shares sold of one outcome.
///
/// # Errors
/// [`StoreError::NotFound`] if there is no such outcome.
pub fn set_shares(
    tx: &mut Tx<'_>,
    market_id: &str,
    ordinal: i64,
    shares_micro: i64,
) -> Result<(), StoreError> {
    let rows = tx.run(|conn| {
        diesel::update(market_outcomes::table.find((market_id, ordinal)))
            .set(market_outcomes::shares_micro.eq(shares_micro))
            .execute(conn)
    })?;
    changed(rows, "outcome", market_id)
}

/// Writes what a share of each outcome pays, in their order, in billionths of a credit.
///
/// # Errors
/// [`StoreError::NotFound`] if there are fewer outcomes than numbers.
pub fn set_pi(tx: &mut Tx<'_>, market_id: &str, billionths: &[u32]) -> Result<(), StoreError> {
    for (ordinal, part) in (0_i64..).zip(billionths) {
        let rows = tx.run(|conn| {
            diesel::update(market_outcomes::table.find((market_id, ordinal)))
                .set(market_outcomes::pi_billionths.eq(i64::from(*part)))
                .execute(conn)
        })?;
        changed(rows, "outcome", market_id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::markets;
    use crate::testing::{seed_outcomes, within};

    #[test]
    fn outcomes_are_kept_in_order_and_unique() {
        within(|tx| {
            seed_outcomes(tx)?;
            assert_eq!(list(tx, "m1")?, []);
            set_shares(tx, "m2", 1, 9)?;
            set_pi(tx, "m2", &[250_000_000, 750_000_000])?;
            let rows = list(tx, "m2")?;
            assert_eq!((rows[0].name.as_str(), rows[1].shares_micro), ("a", 9));
            assert_eq!(rows[1].pi_billionths, Some(750_000_000));
            let copy = MarketOutcome {
                ordinal: 2,
                ..rows[0].clone()
            };
            assert!(matches!(
                insert(tx, &copy),
                Err(StoreError::Conflict { .. })
            ));
            for odd in [
                set_shares(tx, "m2", 2, 1),
                set_pi(tx, "m2", &[0, 0, 1_000_000_000]),
            ] {
                assert!(matches!(odd, Err(StoreError::NotFound { .. })));
            }
            let newest = markets::newest_binary(tx, "r1", 10)?;
            assert_eq!(newest.len(), 1, "only m1 is on whether a claim is true");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_market_has_no_more_outcomes_than_its_row_says() {
        let beyond = within(|tx| {
            seed_outcomes(tx)?;
            let first = list(tx, "m2")?.swap_remove(0);
            let name = "d".to_owned();
            insert(
                tx,
                &MarketOutcome {
                    ordinal: 3,
                    name,
                    ..first
                },
            )
        });
        assert!(matches!(beyond, Err(StoreError::Database(_))), "{beyond:?}");
    }

    #[test]
    fn values_outside_their_domain_are_refused() {
        let negative = within(|tx| {
            seed_outcomes(tx)?;
            set_shares(tx, "m2", 0, -1)
        });
        assert!(matches!(negative, Err(StoreError::Database(_))));
        let above = within(|tx| {
            seed_outcomes(tx)?;
            set_pi(tx, "m2", &[1_000_000_001])
        });
        assert!(matches!(above, Err(StoreError::Database(_))));
    }
}
