//! The price history of markets: one row per move, with its cause.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::schema::prices;
use crate::{StoreError, Tx};

/// A price from a time on.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, QueryableByName)]
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
    tx.run(|conn| {
        diesel::insert_into(prices::table)
            .values(price)
            .execute(conn)
    })?;
    tx.last_key()
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
            .first(conn)
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

/// At most `points` (≥ 2) prices of a market, oldest first, evenly spaced by rank, the first and the last
/// among them.
///
/// With n the rank from 0 and c the count, a row is kept when ⌊n(m−1)/(c−1)⌋ is not that of its
/// predecessor: m rows in all.
///
/// # Errors
/// Those of the database.
pub fn sample(tx: &mut Tx<'_>, market_id: &str, points: i64) -> Result<Vec<Price>, StoreError> {
    let query = diesel::sql_query(
        "SELECT seq, market_id, at, log_odds, cause, reference FROM (\
         SELECT *, row_number() OVER (ORDER BY seq) - 1 AS n, count(*) OVER () AS c FROM prices WHERE market_id = ?1) \
         WHERE n = 0 OR c <= ?2 OR n * (?2 - 1) / (c - 1) <> (n - 1) * (?2 - 1) / (c - 1) ORDER BY seq",
    );
    let points = points.clamp(2, 1_000_000);
    tx.run(|conn| {
        query
            .bind::<Text, _>(market_id)
            .bind::<BigInt, _>(points)
            .load(conn)
    })
}
