//! Markets: the claims on runs, their price, and how they ended.

use std::rc::Rc;

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::prepared::prepared;
use crate::schema::markets;
use crate::{StoreError, Tx, found};

/// A market on one claim about one run.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = markets)]
pub struct Market {
    /// Identifier.
    pub id: String,
    /// The run that the claim is about.
    pub run_id: String,
    /// The claim, for people.
    pub claim: String,
    /// Its kind, for judges and policies.
    pub claim_kind: String,
    /// What counts as true; fixed at opening.
    pub rubric: String,
    /// One of `draft`, `open`, `closing`, `frozen`, `auditing`, `settling`, `challenged`, `final`, `paid`, `void`.
    pub status: String,
    /// Price now, as log-odds.
    pub log_odds: f64,
    /// Price at opening, as log-odds.
    pub opening_log_odds: f64,
    /// Liquidity b of the scoring rule, micro-credits; > 0.
    pub liquidity_micro: i64,
    /// Subsidy put into escrow at opening, micro-credits.
    pub subsidy_micro: i64,
    /// Account that holds the collateral.
    pub escrow_id: String,
    /// Account that opened it.
    pub creator_id: String,
    /// How it is settled.
    pub settlement_method: String,
    /// The test plan of an objective settlement, JSON.
    pub plan: Option<String>,
    /// Public terms of a trigger search, JSON.
    pub probe: Option<String>,
    /// State of the life-cycle machine (rules, commitment, freeze, proposal), JSON.
    pub life: String,
    /// When it closes at the latest, unix ms.
    pub closes_at: i64,
    /// Tokens of the run after which it closes.
    pub closes_after_tokens: Option<i64>,
    /// When it opened, unix ms.
    pub opened_at: i64,
    /// When it was frozen, unix ms.
    pub frozen_at: Option<i64>,
    /// Checkpoint on which it is settled.
    pub frozen_checkpoint: Option<String>,
    /// YES micro-shares less NO micro-shares in the hands of traders.
    pub net_shares_micro: i64,
    /// π ∈ [0, 1] once settled.
    pub settlement: Option<f64>,
    /// When it was settled, unix ms.
    pub settled_at: Option<i64>,
    /// What the settlement's test found, JSON.
    pub statistics: Option<String>,
    /// Lower end of the credible interval of the probability.
    pub interval_low: f64,
    /// Upper end of the credible interval of the probability.
    pub interval_high: f64,
    /// Effective number of independent judges.
    pub n_eff: f64,
    /// The ensemble's last assessment, JSON.
    pub assessment: Option<String>,
    /// Trades so far.
    pub trades: i64,
    /// Pieces of evidence so far.
    pub evidence: i64,
    /// Grows with each [`update`]; guards against lost updates.
    pub version: i64,
    /// Named outcomes, fixed at opening; 0 for a market on whether the claim is true.
    pub outcome_count: i64,
}

/// Adds a market.
///
/// # Errors
/// [`StoreError::Conflict`] if the id is taken or the run or an account does not exist.
pub fn insert(tx: &mut Tx<'_>, market: &Market) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(markets::table)
            .values(market)
            .execute(conn)
    })?;
    Ok(())
}

/// The market with this id.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Market, StoreError> {
    let row = tx.market(id)?;
    found(row.map(Rc::unwrap_or_clone), "market", id)
}

/// Reads a market's row.
pub(crate) fn find(conn: &mut SqliteConnection, id: &str) -> QueryResult<Option<Market>> {
    markets::table
        .find(id)
        .select(Market::as_select())
        .get_result(conn)
        .optional()
}

/// Up to `limit` markets with ids greater than `after`, by id; only those of a run and in a status, if given.
///
/// # Errors
/// Those of the database.
pub fn list(
    tx: &mut Tx<'_>,
    run_id: Option<&str>,
    status: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Market>, StoreError> {
    let mut query = markets::table
        .select(Market::as_select())
        .order(markets::id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(markets::id.gt(after));
    }
    if let Some(run_id) = run_id {
        query = query.filter(markets::run_id.eq(run_id));
    }
    if let Some(status) = status {
        query = query.filter(markets::status.eq(status));
    }
    tx.run(|conn| query.load(conn))
}

/// Up to `limit` markets of a run on whether a claim is true, newest first: those of several outcomes
/// say nothing about how likely the claim is.
///
/// # Errors
/// Those of the database.
pub fn newest_binary(tx: &mut Tx<'_>, run_id: &str, limit: i64) -> Result<Vec<Market>, StoreError> {
    tx.run(|conn| {
        markets::table
            .filter(markets::run_id.eq(run_id))
            .filter(markets::outcome_count.eq(0))
            .order(markets::id.desc())
            .limit(limit)
            .select(Market::as_select())
            .load(conn)
    })
}

/// Writes back a market read before; `version` must still be the stored one. The new version comes back.
///
/// # Errors
/// [`StoreError::Conflict`] if it was changed since it was read; [`StoreError::NotFound`].
pub fn update(tx: &mut Tx<'_>, market: &Market) -> Result<i64, StoreError> {
    let next = market.version + 1;
    if keep_traded(tx, market)? {
        return Ok(next);
    }
    let rows = tx.run(|conn| {
        prepared!(
            [
                ("UPDATE markets SET run_id = ", &market.run_id),
                (", claim = ", &market.claim),
                (", claim_kind = ", &market.claim_kind),
                (", rubric = ", &market.rubric),
                (", status = ", &market.status),
                (", log_odds = ", market.log_odds),
                (", opening_log_odds = ", market.opening_log_odds),
                (", liquidity_micro = ", market.liquidity_micro),
                (", subsidy_micro = ", market.subsidy_micro),
                (", escrow_id = ", &market.escrow_id),
                (", creator_id = ", &market.creator_id),
                (", settlement_method = ", &market.settlement_method),
                (", plan = ", &market.plan),
                (", probe = ", &market.probe),
                (", life = ", &market.life),
                (", closes_at = ", market.closes_at),
                (", closes_after_tokens = ", market.closes_after_tokens,),
                (", opened_at = ", market.opened_at),
                (", frozen_at = ", market.frozen_at),
                (", frozen_checkpoint = ", &market.frozen_checkpoint),
                (", net_shares_micro = ", market.net_shares_micro),
                (", settlement = ", market.settlement),
                (", settled_at = ", market.settled_at),
                (", statistics = ", &market.statistics),
                (", interval_low = ", market.interval_low),
                (", interval_high = ", market.interval_high),
                (", n_eff = ", market.n_eff),
                (", assessment = ", &market.assessment),
                (", trades = ", market.trades),
                (", evidence = ", market.evidence),
                (", version = ", next),
                (" WHERE id = ", &market.id),
                (" AND version = ", market.version),
            ],
            ""
        )
        .execute(conn)
    })?;
    if rows == 0 {
        let stored = get(tx, &market.id)?.version;
        return Err(StoreError::conflict(format!(
            "market {} is at version {stored}, not {}",
            market.id, market.version
        )));
    }
    Ok(next)
}

/// Keeps the market in the writer's memory, to be written before the commit, if it differs from the stored
/// one by a trade only: price, shares and count. Whether it did.
fn keep_traded(tx: &mut Tx<'_>, market: &Market) -> Result<bool, StoreError> {
    if tx.hot().is_none() {
        return Ok(false);
    }
    let Some(stored) = tx.market(&market.id)? else {
        return Ok(false);
    };
    // As the table's own checks have it: a market that fails them goes there to be refused.
    let fits = (-100.0..=100.0).contains(&market.log_odds) && market.trades >= 0;
    let mut kept = Market {
        log_odds: stored.log_odds,
        net_shares_micro: stored.net_shares_micro,
        trades: stored.trades,
        ..market.clone()
    };
    if !fits || kept != *stored {
        return Ok(false);
    }
    kept.log_odds = market.log_odds;
    kept.net_shares_micro = market.net_shares_micro;
    kept.trades = market.trades;
    kept.version += 1;
    if let Some(hot) = tx.hot() {
        hot.markets.put(&market.id, kept);
    }
    Ok(true)
}

/// Writes what a trade changes: see [`keep_traded`].
pub(crate) fn write_traded(conn: &mut SqliteConnection, market: &Market) -> QueryResult<usize> {
    prepared!(
        [
            ("UPDATE markets SET log_odds = ", market.log_odds),
            (", net_shares_micro = ", market.net_shares_micro),
            (", trades = ", market.trades),
            (", version = ", market.version),
            (" WHERE id = ", &market.id),
        ],
        ""
    )
    .execute(conn)
}

/// The open and closing markets with `closes_at <= now`, the longest overdue first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64) -> Result<Vec<Market>, StoreError> {
    let mut due = Vec::new();
    // One query per status: each walks its part of the index in order.
    for status in ["open", "closing"] {
        let rows: Vec<Market> = tx.run(|conn| {
            markets::table
                .filter(markets::status.eq(status))
                .filter(markets::closes_at.le(now))
                .select(Market::as_select())
                .load(conn)
        })?;
        due.extend(rows);
    }
    due.sort_by(|a, b| (a.closes_at, &a.id).cmp(&(b.closes_at, &b.id)));
    Ok(due)
}

/// Every market in a status, by id.
///
/// # Errors
/// Those of the database.
pub fn in_status(tx: &mut Tx<'_>, status: &str) -> Result<Vec<Market>, StoreError> {
    tx.run(|conn| {
        markets::table
            .filter(markets::status.eq(status))
            .order(markets::id)
            .select(Market::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{market, run, within};

    fn ids(rows: Vec<Market>) -> Vec<String> {
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn an_update_needs_the_version_it_read() {
        within(|tx| {
            let mut read = get(tx, "m1")?;
            assert_eq!(read, market("m1"));
            read.log_odds = 1.5;
            read.plan = None;
            read.settlement = Some(0.5);
            assert_eq!(update(tx, &read)?, 1);
            let stored = get(tx, "m1")?;
            assert_eq!(
                stored,
                Market {
                    version: 1,
                    ..read.clone()
                }
            );
            assert!(matches!(
                update(tx, &read),
                Err(StoreError::Conflict { .. })
            ));
            assert_eq!(update(tx, &stored)?, 2);
            assert_eq!(
                update(tx, &market("m9")),
                Err(StoreError::not_found("market", "m9"))
            );
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn lists_are_filtered_and_paged() {
        within(|tx| {
            crate::runs::insert(tx, &run("r2", "clean"))?;
            insert(
                tx,
                &Market {
                    status: "frozen".to_owned(),
                    closes_at: 5,
                    ..market("m2")
                },
            )?;
            insert(
                tx,
                &Market {
                    run_id: "r2".to_owned(),
                    status: "closing".to_owned(),
                    closes_at: 10,
                    ..market("m3")
                },
            )?;
            insert(
                tx,
                &Market {
                    run_id: "r2".to_owned(),
                    closes_at: 4,
                    ..market("m4")
                },
            )?;
            assert_eq!(
                ids(list(tx, None, None, None, 10)?),
                ["m1", "m2", "m3", "m4"]
            );
            assert_eq!(ids(list(tx, None, None, Some("m1"), 2)?), ["m2", "m3"]);
            assert_eq!(ids(list(tx, Some("r2"), None, None, 10)?), ["m3", "m4"]);
            assert_eq!(ids(list(tx, None, Some("open"), Some("m1"), 10)?), ["m4"]);
            assert_eq!(ids(list(tx, Some("r1"), Some("frozen"), None, 10)?), ["m2"]);
            assert_eq!(ids(newest_binary(tx, "r2", 10)?), ["m4", "m3"]);
            assert_eq!(ids(in_status(tx, "open")?), ["m1", "m4"]);
            assert_eq!(ids(due(tx, 9)?), ["m4"]);
            assert_eq!(ids(due(tx, 1_000)?), ["m4", "m3", "m1"]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn values_outside_their_domain_are_refused() {
        type Spoil = fn(&mut Market);
        let cases: [(&str, Spoil); 8] = [
            ("status", |row| row.status = "dreaming".to_owned()),
            ("log_odds", |row| row.log_odds = f64::NAN),
            ("log_odds", |row| row.log_odds = f64::INFINITY),
            ("liquidity", |row| row.liquidity_micro = 0),
            ("settlement", |row| row.settlement = Some(1.01)),
            ("interval", |row| row.interval_high = 1.5),
            ("n_eff", |row| row.n_eff = f64::INFINITY),
            ("subsidy", |row| row.subsidy_micro = -1),
        ];
        for (name, spoil) in cases {
            let mut row = market("m9");
            spoil(&mut row);
            assert!(
                matches!(
                    within(move |tx| insert(tx, &row)),
                    Err(StoreError::Database(_))
                ),
                "{name}"
            );
        }
        let orphan = Market {
            run_id: "r9".to_owned(),
            ..market("m9")
        };
        assert!(matches!(
            within(move |tx| insert(tx, &orphan)),
            Err(StoreError::Conflict { .. })
        ));
    }
}
