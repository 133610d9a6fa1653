//! What each account made in paid markets, kept up by the transactions that pay; and what each paid
//! market had said before.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::prepared::Prepared;
use crate::schema::{forecasts, standings};
use crate::{StoreError, Tx};

/// What an account made in paid markets.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = standings)]
pub struct Standing {
    /// The account.
    pub account_id: String,
    /// Paid markets in which it had a position.
    pub markets: i64,
    /// Those of them in which it made a profit.
    pub hits: i64,
    /// Profit of trades, less fees, micro-credits.
    pub trading_micro: i64,
    /// Profit of evidence, micro-credits.
    pub evidence_micro: i64,
    /// Both together.
    pub total_micro: i64,
    /// When it changed last, unix ms.
    pub updated_at: i64,
}

/// What one market adds to a standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gain {
    /// Profit of trades, less fees, micro-credits.
    pub trading_micro: i64,
    /// Profit of evidence, micro-credits.
    pub evidence_micro: i64,
}

/// By what a list of standings is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Both profits together.
    Total,
    /// Profit of trades.
    Trading,
    /// Profit of evidence.
    Evidence,
}

/// Σ of the moves that an account's evidence made in a market.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct EvidenceMoves {
    /// The account.
    #[diesel(sql_type = Text)]
    pub account_id: String,
    /// YES micro-shares.
    #[diesel(sql_type = BigInt)]
    pub yes_micro: i64,
    /// NO micro-shares.
    #[diesel(sql_type = BigInt)]
    pub no_micro: i64,
    /// What they cost, micro-credits.
    #[diesel(sql_type = BigInt)]
    pub cost_micro: i64,
}

/// What a paid market had said before it was settled.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = forecasts)]
pub struct Forecast {
    /// The market.
    pub market_id: String,
    /// Kind of its claim.
    pub claim_kind: String,
    /// When it was paid, unix ms.
    pub at: i64,
    /// How it was settled, π ∈ [0, 1].
    pub pi: f64,
    /// Price at opening, as log-odds.
    pub opening_log_odds: f64,
    /// Last price, as log-odds.
    pub closing_log_odds: f64,
    /// Time average over the last window, as log-odds.
    pub mean_log_odds: f64,
    /// Length of that window, milliseconds.
    pub window_ms: i64,
}

/// Adds what an account made in one market.
///
/// # Errors
/// [`StoreError::Conflict`] if the account does not exist.
pub fn add(tx: &mut Tx<'_>, account_id: &str, result: Gain, at: i64) -> Result<(), StoreError> {
    let total = result.trading_micro.saturating_add(result.evidence_micro);
    tx.run(|conn| {
        Prepared {
            pieces: &[
                (
                    "INSERT INTO standings (account_id, markets, hits, trading_micro, evidence_micro, \
                     total_micro, updated_at) VALUES (",
                    account_id.into(),
                ),
                (", 1, ", i64::from(total > 0).into()),
                (", ", result.trading_micro.into()),
                (", ", result.evidence_micro.into()),
                (", ", total.into()),
                (", ", at.into()),
            ],
            rest: ") ON CONFLICT (account_id) DO UPDATE SET markets = markets + 1, \
                   hits = hits + excluded.hits, \
                   trading_micro = trading_micro + excluded.trading_micro, \
                   evidence_micro = evidence_micro + excluded.evidence_micro, \
                   total_micro = total_micro + excluded.total_micro, \
                   updated_at = excluded.updated_at",
        }
        .execute(conn)
    })?;
    Ok(())
}

/// The standing of an account; `None` before its first paid market.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<Standing>, StoreError> {
    tx.run(|conn| {
        standings::table
            .find(account_id)
            .select(Standing::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` standings, the best first, of equal ones by account; after a place, if given: the
/// amount and the account of the last one seen.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    by: By,
    after: Option<(i64, &str)>,
    limit: i64,
) -> Result<Vec<Standing>, StoreError> {
    let (amount, account) = after.unwrap_or((i64::MAX, ""));
    // A row value compares like the index orders, but for the direction of the amount.
    macro_rules! page {
        ($column:expr) => {{
            let same: Vec<Standing> = tx.run(|conn| {
                standings::table
                    .filter($column.eq(amount))
                    .filter(standings::account_id.gt(account))
                    .order(standings::account_id)
                    .limit(limit)
                    .select(Standing::as_select())
                    .load(conn)
            })?;
            let left = limit - i64::try_from(same.len()).unwrap_or(limit);
            let below: Vec<Standing> = tx.run(|conn| {
                standings::table
                    .filter($column.lt(amount))
                    .order(($column.desc(), standings::account_id))
                    .limit(left)
                    .select(Standing::as_select())
                    .load(conn)
            })?;
            Ok(same.into_iter().chain(below).collect())
        }};
    }
    match by {
        By::Total => page!(standings::total_micro),
        By::Trading => page!(standings::trading_micro),
        By::Evidence => page!(standings::evidence_micro),
    }
}

/// What the evidence of the accounts from `first` to `last` (both included) moved in a market.
///
/// # Errors
/// Those of the database.
pub fn evidence_moves(
    tx: &mut Tx<'_>,
    market_id: &str,
    first: &str,
    last: &str,
) -> Result<Vec<EvidenceMoves>, StoreError> {
    let query = diesel::sql_query(
        "SELECT account_id, SUM(yes_micro) AS yes_micro, SUM(no_micro) AS no_micro, \
         SUM(locked_micro) AS cost_micro FROM evidence WHERE market_id = ?1 AND account_id >= ?2 \
         AND account_id <= ?3 GROUP BY account_id",
    );
    tx.run(|conn| {
        query
            .bind::<Text, _>(market_id)
            .bind::<Text, _>(first)
            .bind::<Text, _>(last)
            .load(conn)
    })
}

/// Notes what a market had said. A second note of the same market changes nothing.
///
/// # Errors
/// [`StoreError::Conflict`] if the market does not exist.
pub fn record(tx: &mut Tx<'_>, forecast: &Forecast) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(forecasts::table)
            .values(forecast)
            .on_conflict(forecasts::market_id)
            .do_nothing()
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` forecasts, the latest first; only those of a kind of claim, if given.
///
/// # Errors
/// Those of the database.
pub fn forecasts(
    tx: &mut Tx<'_>,
    claim_kind: Option<&str>,
    limit: i64,
) -> Result<Vec<Forecast>, StoreError> {
    let newest = forecasts::table
        .order((forecasts::at.desc(), forecasts::market_id.desc()))
        .limit(limit)
        .select(Forecast::as_select());
    match claim_kind {
        None => tx.run(|conn| newest.load(conn)),
        Some(kind) => tx.run(|conn| newest.filter(forecasts::claim_kind.eq(kind)).load(conn)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn standings_add_up_and_are_paged() {
        within(|tx| {
            let made = |trading_micro, evidence_micro| Gain {
                trading_micro,
                evidence_micro,
            };
            assert_eq!(get(tx, "ada")?, None);
            add(tx, "ada", made(10, -3), 1)?;
            add(tx, "ada", made(-9, 0), 2)?;
            add(tx, "bob", made(-2, 0), 2)?;
            let ada = get(tx, "ada")?.unwrap();
            assert_eq!((ada.markets, ada.hits, ada.total_micro), (2, 1, -2));
            let ids = |rows: Vec<Standing>| -> Vec<String> {
                rows.into_iter().map(|row| row.account_id).collect()
            };
            assert_eq!(ids(list(tx, By::Total, None, 9)?), ["ada", "bob"]);
            assert_eq!(ids(list(tx, By::Total, Some((-2, "ada")), 9)?), ["bob"]);
            assert_eq!(ids(list(tx, By::Trading, None, 1)?), ["ada"]);
            assert_eq!(ids(list(tx, By::Trading, Some((1, "ada")), 9)?), ["bob"]);
            assert_eq!(ids(list(tx, By::Evidence, None, 9)?), ["bob", "ada"]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_market_is_recorded_once() {
        within(|tx| {
            let forecast = Forecast {
                market_id: "m1".to_owned(),
                claim_kind: "backdoor".to_owned(),
                at: 5,
                pi: 1.0,
                opening_log_odds: 0.0,
                closing_log_odds: 1.0,
                mean_log_odds: 0.5,
                window_ms: 10,
            };
            record(tx, &forecast)?;
            record(
                tx,
                &Forecast {
                    pi: 0.0,
                    ..forecast.clone()
                },
            )?;
            assert_eq!(
                super::forecasts(tx, None, 9)?,
                std::slice::from_ref(&forecast)
            );
            assert_eq!(super::forecasts(tx, Some("backdoor"), 9)?, [forecast]);
            assert!(super::forecasts(tx, Some("other"), 9)?.is_empty());
            crate::evidence::insert(
                tx,
                &crate::evidence::Evidence {
                    yes_micro: 7,
                    locked_micro: 3,
                    ..crate::testing::evidence("e1", "h")
                },
            )?;
            let moves = evidence_moves(tx, "m1", "ada", "ada")?;
            assert_eq!(
                (moves[0].yes_micro, moves[0].no_micro, moves[0].cost_micro),
                (7, 0, 3)
            );
            assert!(evidence_moves(tx, "m1", "b", "z")?.is_empty());
            Ok(())
        })
        .unwrap();
    }
}
