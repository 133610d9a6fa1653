//! Markets of several outcomes: which of these is the case, instead of whether a claim is true.
//!
//! They share the row, the life cycle, the escrow and the payouts of other markets. What differs
//! is here: how they open ([`terms`]), trade ([`trades`]) and settle ([`settle`]). An account's
//! net cost and payout stay in its position; the shares are in rows of their own.
//!
//! The market's row keeps the price of the first outcome, within the bounds of a binary price,
//! and its settlement is what that outcome paid. Nothing decides about allocations by it.

pub(crate) mod settle;
pub(crate) mod terms;
pub(crate) mod trades;

use plumbline_market::categorical::{CategoricalMaker, CategoricalPosition};
use plumbline_market::money::{Micro, MicroShares};
use plumbline_market::probability::MAX_LOG_ODDS;
use plumbline_store::market_outcomes::{self, MarketOutcome};
use plumbline_store::markets::Market;
use plumbline_store::positions::{self, Position as PositionRow};
use plumbline_store::{Tx, outcome_holdings};

use crate::views::{MarketView, OutcomeHolding, OutcomeView, PositionView};
use crate::{Result, ServiceError};

/// The outcomes of a market and its maker, as stored.
pub(crate) struct Book {
    rows: Vec<MarketOutcome>,
    maker: CategoricalMaker,
}

impl Book {
    /// The book of a market; `None` for one on whether a claim is true.
    pub(crate) fn of(tx: &mut Tx, market: &Market) -> Result<Option<Self>> {
        if !has_several(market) {
            return Ok(None);
        }
        let rows = market_outcomes::list(tx, &market.id)?;
        let maker = CategoricalMaker::restore(
            rows.iter().map(|row| row.opening_price).collect(),
            Micro(market.liquidity_micro),
            rows.iter()
                .map(|row| MicroShares(row.shares_micro))
                .collect(),
        )
        .map_err(ServiceError::internal)?;
        Ok(Some(Self { rows, maker }))
    }

    fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.name.clone()).collect()
    }

    /// Name of the outcome at a stored place.
    fn name(&self, ordinal: i64) -> &str {
        let row = usize::try_from(ordinal).ok().and_then(|n| self.rows.get(n));
        row.map_or("", |row| row.name.as_str())
    }

    /// What an account holds: the shares by outcome, the net cost from its position.
    fn position(&self, tx: &mut Tx, account_id: &str) -> Result<CategoricalPosition> {
        let Some(first) = self.rows.first() else {
            return Err(ServiceError::internal("a book without outcomes"));
        };
        let row = positions::get(tx, &first.market_id, account_id)?;
        let held = outcome_holdings::of(tx, &first.market_id, account_id)?;
        let mut position = CategoricalPosition::empty(self.rows.len());
        position.net_cost = Micro(row.map_or(0, |row| row.cost_micro));
        for holding in held {
            self.put(&mut position, holding.ordinal, holding.shares_micro)?;
        }
        Ok(position)
    }

    fn put(&self, position: &mut CategoricalPosition, ordinal: i64, shares: i64) -> Result<()> {
        let slot = usize::try_from(ordinal)
            .ok()
            .and_then(|ordinal| position.shares.get_mut(ordinal));
        match slot {
            Some(slot) => *slot = MicroShares(shares),
            None => {
                return Err(ServiceError::internal(
                    "a holding of an outcome there is not",
                ));
            }
        }
        Ok(())
    }

    /// What the outcomes are worth: prices, or what they settled at.
    fn worth(&self, settled: bool) -> Vec<f64> {
        let prices = self.maker.prices();
        let settled_at = |row: &MarketOutcome| row.pi_billionths.filter(|_| settled);
        let worth = |(row, price): (&MarketOutcome, f64)| {
            settled_at(row).map_or(price, |pi| pi as f64 / 1e9)
        };
        self.rows.iter().zip(prices).map(worth).collect()
    }
}

/// The log-odds of the first outcome, within the bounds of a binary price.
fn first_log_odds(prices: &[f64]) -> f64 {
    let first = prices.first().copied().unwrap_or(0.5);
    let log_odds = first.ln() - (-first).ln_1p();
    log_odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)
}

/// Whether a market has several outcomes. Its own row says so: trades with yes and no ask this on their
/// way, and must not wait for a query.
pub(crate) const fn has_several(market: &Market) -> bool {
    market.outcome_count > 0
}

/// Refuses what is offered on markets with a YES and a NO only.
pub(crate) fn require_binary(market: &Market) -> Result<()> {
    if has_several(market) {
        return Err(ServiceError::refused(
            "binary-only",
            "the market has several outcomes; this is offered on markets with yes and no only",
        ));
    }
    Ok(())
}

/// Names and opening prices of a market's outcomes, in order; none for a market with yes and no.
pub(crate) fn opened_at(tx: &mut Tx, market: &Market) -> Result<Vec<(String, f64)>> {
    if !has_several(market) {
        return Ok(Vec::new());
    }
    let rows = market_outcomes::list(tx, &market.id)?;
    let opened = rows.into_iter().map(|row| (row.name, row.opening_price));
    Ok(opened.collect())
}

/// What a settled market of several outcomes was settled as: the outcomes that pay.
pub(crate) fn settled_as(tx: &mut Tx, market: &Market) -> Result<Option<String>> {
    if market.settlement.is_none() || !has_several(market) {
        return Ok(None);
    }
    let rows = market_outcomes::list(tx, &market.id)?;
    let pays = |row: &&MarketOutcome| row.pi_billionths.is_some_and(|pi| pi > 0);
    let names: Vec<&str> = rows
        .iter()
        .filter(pays)
        .map(|row| row.name.as_str())
        .collect();
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

/// The view of a market with its outcomes, if it has several.
pub(crate) fn with_outcomes(tx: &mut Tx, view: MarketView, market: &Market) -> Result<MarketView> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(view);
    };
    let settled = market.settlement.is_some();
    let prices = book.maker.prices();
    let outcomes = book
        .rows
        .iter()
        .zip(prices)
        .map(|(row, price)| OutcomeView {
            name: row.name.clone(),
            probability: price,
            opening_probability: row.opening_price,
            shares_micro: row.shares_micro,
            settlement: row
                .pi_billionths
                .filter(|_| settled)
                .map(|pi| pi as f64 / 1e9),
        });
    let cost = book
        .maker
        .manipulation_cost()
        .map_err(ServiceError::internal)?;
    Ok(MarketView {
        outcomes: Some(outcomes.collect()),
        manipulation_cost_micro: cost.get(),
        ..view
    })
}

/// The view of a position with the shares of each outcome and what they are worth, if the market
/// has several.
pub(crate) fn with_holdings(
    tx: &mut Tx,
    view: PositionView,
    market: &Market,
    account_id: &str,
) -> Result<PositionView> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(view);
    };
    let position = book.position(tx, account_id)?;
    let holdings = outcome_holdings::of(tx, &market.id, account_id)?;
    let holding = |row: outcome_holdings::Holding| OutcomeHolding {
        outcome: book.name(row.ordinal).to_owned(),
        shares_micro: row.shares_micro,
    };
    let value = position.value_at(&book.worth(market.settlement.is_some()));
    Ok(PositionView {
        value_micro: value.floor() as i64,
        outcomes: Some(holdings.into_iter().map(holding).collect()),
        ..view
    })
}

/// The position's row after a trade: what it cost in all, with no shares of its own.
fn position_row(market_id: &str, account_id: &str, position: &CategoricalPosition) -> PositionRow {
    PositionRow {
        market_id: market_id.to_owned(),
        account_id: account_id.to_owned(),
        yes_micro: 0,
        no_micro: 0,
        cost_micro: position.net_cost.get(),
        paid_micro: None,
        paid_at: None,
    }
}
