//! The price history of markets: one row per move, with its cause.

use diesel::prelude::*;

use crate::hot::Counted;
use crate::hot::append::Append;
use crate::sampling::sampled;
use crate::schema::prices;
use crate::{StoreError, Tx};

/// A price from a time on.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = prices)]
pub struct Price {
    /// Position in the history; grows. Given by the store: [`insert`] ignores it.
    #[diesel(skip_insertion)]
    pub seq: i64,
    /// The market.
    pub market_id: String,
    /// When, unix ms.
    pub at: i64,
    /// Price from then on, as log-odds.
    pub log_odds: f64,
    /// What moved it: `open`, `trade`, `evidence` or `oracle`.
    pub cause: String,
    /// The id of that fact.
    pub reference: Option<String>,
}

/// Adds a price; its `seq` comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if the market does not exist.
pub fn insert(tx: &mut Tx<'_>, price: &Price) -> Result<i64, StoreError> {
    let seq = tx.next_key(Counted::Prices)?;
    tx.append(Append::Price(seq, price.clone()))?;
    Ok(seq)
}

/// Up to `limit` prices of a market with `seq > after_seq`, oldest first.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    market_id: &str,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<Price>, StoreError> {
    tx.run(|conn| {
        prices::table
            .filter(prices::market_id.eq(market_id))
            .filter(prices::seq.gt(after_seq))
            .order(prices::seq)
            .limit(limit)
            .select(Price::as_select())
            .load(conn)
    })
}

/// The price in force at `at`: the last one with a time `<= at`.
///
/// # Errors
/// Those of the database.
pub fn last_before(tx: &mut Tx<'_>, market_id: &str, at: i64) -> Result<Option<Price>, StoreError> {
    tx.run(|conn| {
        prices::table
            .filter(prices::market_id.eq(market_id))
            .filter(prices::at.le(at))
            .order((prices::at.desc(), prices::seq.desc()))
            .select(Price::as_select())
            .get_result(conn)
            .optional()
    })
}

/// The prices of a market after `at` (not at it), oldest first. With [`last_before`], a whole window.
///
/// # Errors
/// Those of the database.
pub fn since(tx: &mut Tx<'_>, market_id: &str, at: i64) -> Result<Vec<Price>, StoreError> {
    tx.run(|conn| {
        prices::table
            .filter(prices::market_id.eq(market_id))
            .filter(prices::at.gt(at))
            .order((prices::at, prices::seq))
            .select(Price::as_select())
            .load(conn)
    })
}

/// At most `points` (≥ 2) prices of a market, oldest first, the first and the last among them: all, if there
/// are no more; else evenly spaced by their position among the prices of all markets, which follows time.
///
/// # Errors
/// Those of the database.
pub fn sample(tx: &mut Tx<'_>, market_id: &str, points: i64) -> Result<Vec<Price>, StoreError> {
    sampled(
        tx,
        points,
        |row: &Price| row.seq,
        |tx, most| list(tx, market_id, 0, most),
        |tx| {
            tx.run(|conn| {
                prices::table
                    .filter(prices::market_id.eq(market_id))
                    .order(prices::seq.desc())
                    .select(Price::as_select())
                    .get_result(conn)
            })
        },
        |tx, seq| {
            tx.run(|conn| {
                prices::table
                    .filter(prices::market_id.eq(market_id))
                    .filter(prices::seq.ge(seq))
                    .order(prices::seq)
                    .select(Price::as_select())
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
    use crate::testing::within;

    fn add(tx: &mut Tx<'_>, at: i64) -> Result<i64, StoreError> {
        let price = Price {
            seq: 0,
            market_id: "m1".to_owned(),
            at,
            log_odds: 0.5,
            cause: "trade".to_owned(),
            reference: None,
        };
        insert(tx, &price)
    }

    fn times(rows: Vec<Price>) -> Vec<i64> {
        rows.into_iter().map(|row| row.at).collect()
    }

    #[test]
    fn windows_of_time_and_of_sequence() {
        within(|tx| {
            for (seq, at) in (1..).zip([10, 20, 20, 30]) {
                assert_eq!(add(tx, at)?, seq);
            }
            assert_eq!(times(list(tx, "m1", 1, 2)?), [20, 20]);
            assert_eq!(times(since(tx, "m1", 20)?), [30]);
            let cases = [
                (9, None),
                (10, Some(1)),
                (19, Some(1)),
                (20, Some(3)),
                (99, Some(4)),
            ];
            for (at, seq) in cases {
                assert_eq!(
                    last_before(tx, "m1", at)?.map(|price| price.seq),
                    seq,
                    "{at}"
                );
            }
            assert_eq!(last_before(tx, "m2", 99)?, None);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_sample_is_even_and_has_both_ends() {
        within(|tx| {
            assert_eq!(sample(tx, "m1", 5)?, []);
            for at in 0..101 {
                add(tx, at)?;
            }
            assert_eq!(times(sample(tx, "m1", 5)?), [0, 25, 50, 75, 100]);
            for points in [2, 3, 7, 50, 100] {
                let rows = times(sample(tx, "m1", points)?);
                assert_eq!(i64::try_from(rows.len()).unwrap(), points);
                assert_eq!((rows.first(), rows.last()), (Some(&0), Some(&100)));
                let gaps: Vec<i64> = rows.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
                assert!(most - least <= 1, "{points}: {gaps:?}");
            }
            for points in [101, 5_000] {
                assert_eq!(sample(tx, "m1", points)?.len(), 101);
            }
            assert_eq!(times(sample(tx, "m1", 0)?), [0, 100]);
            Ok(())
        })
        .unwrap();
    }
}
