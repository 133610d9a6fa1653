//! How markets come to an end: deadlines, heads of the log, seeds, and the exhibits of the freeze.

use diesel::prelude::*;

use crate::schema::{
    evidence, frozen_exhibits, markets, settlement_cases, settlement_seeds, trades,
};
use crate::{StoreError, Tx, found};

/// What is kept of a market's end beside the market.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = settlement_cases, treat_none_as_null = true)]
pub struct Case {
    /// The market.
    pub market_id: String,
    /// What was promised at the opening, canonical JSON.
    pub terms: String,
    /// The next moment at which the clock alone moves the case on, unix ms.
    pub due_at: Option<i64>,
    /// The log when the closing window began and what was drawn, JSON.
    pub closing: Option<String>,
    /// The log at the freeze and what was drawn, JSON.
    pub frozen: Option<String>,
    /// Why the market was called off.
    pub void_reason: Option<String>,
}

/// One leaf of the exhibit tree.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = frozen_exhibits)]
pub struct FrozenExhibit {
    /// The market.
    pub market_id: String,
    /// Place among the leaves, from zero.
    pub ordinal: i64,
    /// The submission.
    pub evidence_id: String,
    /// Hash of its content, hexadecimal.
    pub content_hash: String,
}

/// A trade as the log hashes it.
#[derive(Debug, Clone, PartialEq, Queryable)]
pub struct LogTrade {
    /// Position in the history.
    pub seq: i64,
    /// Identifier.
    pub id: String,
    /// Price after, as log-odds.
    pub log_odds_after: f64,
}

/// Adds the case of a new market with the seed of its draws (64 hexadecimal digits).
///
/// # Errors
/// [`StoreError::Conflict`] if it has one or the market does not exist.
pub fn insert(tx: &mut Tx<'_>, case: &Case, seed: &str) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(settlement_cases::table)
            .values(case)
            .execute(conn)?;
        diesel::insert_into(settlement_seeds::table)
            .values((
                settlement_seeds::market_id.eq(&case.market_id),
                settlement_seeds::seed.eq(seed),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// The case of a market; markets from before there were any have none.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, market_id: &str) -> Result<Option<Case>, StoreError> {
    tx.run(|conn| {
        settlement_cases::table
            .find(market_id)
            .select(Case::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Adds or replaces the case of a market.
///
/// # Errors
/// [`StoreError::Conflict`] if the market does not exist.
pub fn put(tx: &mut Tx<'_>, case: &Case) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(settlement_cases::table)
            .values(case)
            .on_conflict(settlement_cases::market_id)
            .do_update()
            .set(case)
            .execute(conn)
    })?;
    Ok(())
}

/// The seed of a market's draws. Secret until the freeze.
///
/// # Errors
/// Those of the database.
pub fn seed(tx: &mut Tx<'_>, market_id: &str) -> Result<Option<String>, StoreError> {
    tx.run(|conn| {
        settlement_seeds::table
            .find(market_id)
            .select(settlement_seeds::seed)
            .get_result(conn)
            .optional()
    })
}

/// Up to `limit` markets whose deadline has passed at `now`, the longest overdue first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<String>, StoreError> {
    tx.run(|conn| {
        settlement_cases::table
            .filter(settlement_cases::due_at.le(now))
            .order((settlement_cases::due_at, settlement_cases::market_id))
            .limit(limit)
            .select(settlement_cases::market_id)
            .load(conn)
    })
}

/// The open markets that the tokens of their run may close, as (market, run, tokens).
///
/// # Errors
/// Those of the database.
pub fn waiting_for_tokens(tx: &mut Tx<'_>) -> Result<Vec<(String, String, i64)>, StoreError> {
    tx.run(|conn| {
        markets::table
            .filter(markets::status.eq("open"))
            .filter(markets::closes_after_tokens.is_not_null())
            .order(markets::id)
            .select((
                markets::id,
                markets::run_id,
                markets::closes_after_tokens.assume_not_null(),
            ))
            .load(conn)
    })
}

/// Up to `limit` trades of a market after `seq`, in order.
///
/// # Errors
/// Those of the database.
pub fn log_after(
    tx: &mut Tx<'_>,
    market_id: &str,
    seq: i64,
    limit: i64,
) -> Result<Vec<LogTrade>, StoreError> {
    tx.run(|conn| {
        trades::table
            .filter(trades::market_id.eq(market_id))
            .filter(trades::seq.gt(seq))
            .order(trades::seq)
            .limit(limit)
            .select((trades::seq, trades::id, trades::log_odds_after))
            .load(conn)
    })
}

/// Up to `limit` trades of a market, the newest first.
///
/// # Errors
/// Those of the database.
pub fn last_trades(
    tx: &mut Tx<'_>,
    market_id: &str,
    limit: i64,
) -> Result<Vec<crate::trades::Trade>, StoreError> {
    tx.run(|conn| {
        trades::table
            .filter(trades::market_id.eq(market_id))
            .order(trades::seq.desc())
            .limit(limit)
            .select(crate::trades::Trade::as_select())
            .load(conn)
    })
}

/// Up to `limit` submissions on a market that wait for their judges, by id.
///
/// # Errors
/// Those of the database.
pub fn pending(tx: &mut Tx<'_>, market_id: &str, limit: i64) -> Result<Vec<String>, StoreError> {
    tx.run(|conn| {
        evidence::table
            .filter(evidence::market_id.eq(market_id))
            .filter(evidence::status.eq("pending"))
            .order(evidence::id)
            .limit(limit)
            .select(evidence::id)
            .load(conn)
    })
}

/// Adds the leaves of a market's exhibit tree.
///
/// # Errors
/// [`StoreError::Conflict`] if the market has leaves already.
pub fn insert_exhibits(tx: &mut Tx<'_>, leaves: &[FrozenExhibit]) -> Result<(), StoreError> {
    for leaf in leaves {
        tx.run(|conn| {
            diesel::insert_into(frozen_exhibits::table)
                .values(leaf)
                .execute(conn)
        })?;
    }
    Ok(())
}

/// The leaves of a market's exhibit tree, in order.
///
/// # Errors
/// Those of the database.
pub fn exhibits(tx: &mut Tx<'_>, market_id: &str) -> Result<Vec<FrozenExhibit>, StoreError> {
    tx.run(|conn| {
        frozen_exhibits::table
            .filter(frozen_exhibits::market_id.eq(market_id))
            .order(frozen_exhibits::ordinal)
            .select(FrozenExhibit::as_select())
            .load(conn)
    })
}

/// The leaf of a submission in its market's exhibit tree.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn exhibit(
    tx: &mut Tx<'_>,
    market_id: &str,
    evidence_id: &str,
) -> Result<FrozenExhibit, StoreError> {
    let row = tx.run(|conn| {
        frozen_exhibits::table
            .filter(frozen_exhibits::market_id.eq(market_id))
            .filter(frozen_exhibits::evidence_id.eq(evidence_id))
            .select(FrozenExhibit::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "frozen exhibit", evidence_id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{market, within};

    fn case(market_id: &str, due_at: Option<i64>) -> Case {
        Case {
            market_id: market_id.to_owned(),
            terms: "{}".to_owned(),
            due_at,
            closing: None,
            frozen: None,
            void_reason: None,
        }
    }

    #[test]
    fn cases_are_found_by_their_deadline() {
        within(|tx| {
            for (id, due_at) in [("m2", Some(7)), ("m3", None), ("m4", Some(5))] {
                crate::markets::insert(tx, &market(id))?;
                insert(tx, &case(id, due_at), "seed")?;
            }
            assert_eq!(due(tx, 4, 9)?, [""; 0]);
            assert_eq!(due(tx, 7, 9)?, ["m4", "m2"]);
            assert_eq!(due(tx, 7, 1)?, ["m4"]);
            put(tx, &case("m4", None))?;
            assert_eq!(due(tx, 9, 9)?, ["m2"]);
            assert_eq!(seed(tx, "m4")?.as_deref(), Some("seed"));
            assert_eq!((seed(tx, "m1")?, get(tx, "m1")?), (None, None));
            put(tx, &case("m1", Some(1)))?;
            assert_eq!(get(tx, "m1")?, Some(case("m1", Some(1))));
            let again = insert(tx, &case("m2", None), "other");
            assert!(matches!(again, Err(StoreError::Conflict { .. })));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn leaves_keep_their_order_and_are_added_once() {
        within(|tx| {
            let leaf = |ordinal, id: &str| FrozenExhibit {
                market_id: "m1".to_owned(),
                ordinal,
                evidence_id: id.to_owned(),
                content_hash: "h".to_owned(),
            };
            let leaves = [leaf(0, "e2"), leaf(1, "e1")];
            insert_exhibits(tx, &leaves)?;
            assert_eq!(exhibits(tx, "m1")?, leaves);
            assert_eq!(exhibit(tx, "m1", "e1")?.ordinal, 1);
            assert!(exhibit(tx, "m1", "e3").is_err());
            let again = insert_exhibits(tx, &[leaf(2, "e1")]);
            assert!(matches!(again, Err(StoreError::Conflict { .. })));
            Ok(())
        })
        .unwrap();
    }
}
