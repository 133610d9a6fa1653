//! Settling and paying markets of several outcomes.

use plumbline_market::categorical::{
    CategoricalPosition, PiVector, decisive_vector, payouts, refunds,
};
use plumbline_market::money::Micro;
use plumbline_market::plan::SettlementPlan;
use plumbline_market::probability::Pi;
use plumbline_market::settle::ObjectiveOutcome;
use plumbline_store::markets::Market;
use plumbline_store::positions::Position as PositionRow;
use plumbline_store::{Tx, market_outcomes, outcome_holdings};

use super::Book;
use crate::{Result, ServiceError};

/// Writes down what each outcome pays, and gives back what the first one pays: that is the number
/// that the market's life and row carry. Writing again replaces a proposal that was overruled.
pub(crate) fn settle_categorical(tx: &mut Tx, market: &Market, pi: &PiVector) -> Result<Pi> {
    market_outcomes::set_pi(tx, &market.id, pi.billionths())?;
    let first = pi.billionths().first().copied().unwrap_or_default();
    Pi::new(f64::from(first) / f64::from(PiVector::SCALE)).map_err(ServiceError::internal)
}

/// The settlement that a test's verdict gives: its own for a market with yes and no, and for one of
/// several outcomes that of the decisive candidates.
pub(crate) fn settle_by_test(
    tx: &mut Tx,
    market: &Market,
    plan: &SettlementPlan,
    verdict: &ObjectiveOutcome,
) -> Result<Pi> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(verdict.pi);
    };
    let decisive = verdict.arms.iter().map(|arm| arm.decisive);
    let candidates = plan.candidates.iter().map(String::as_str);
    let arms: Vec<(&str, bool)> = candidates.zip(decisive).collect();
    let pi = decisive_vector(&book.names(), &arms).map_err(ServiceError::internal)?;
    settle_categorical(tx, market, &pi)
}

/// What the holders of `rows` are due, in their order; `None` for a market with yes and no.
/// `rows` are in the order of accounts.
pub(crate) fn amounts_due(
    tx: &mut Tx,
    market: &Market,
    rows: &[PositionRow],
    pays: bool,
) -> Result<Option<Vec<Micro>>> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(None);
    };
    let pi = book.settlement(pays)?;
    let amounts = book
        .holders(tx, rows)?
        .into_iter()
        .map(|(_, held)| match &pi {
            Some(pi) => held.payout(pi).map_err(ServiceError::internal),
            None => Ok(held.locked()),
        });
    amounts.collect::<Result<_>>().map(Some)
}

/// Whether the books of a market of several outcomes are right before the first payment:
/// collateral and subsidy are exactly what escrow holds, the shares of all holders are those that
/// were sold, and escrow covers what is due. `false` for a market with yes and no, which is not
/// looked at.
pub(crate) fn check_books(
    tx: &mut Tx,
    market: &Market,
    rows: &[PositionRow],
    escrow: Micro,
    pays: bool,
) -> Result<bool> {
    let Some(book) = Book::of(tx, market)? else {
        return Ok(false);
    };
    let holders = book.holders(tx, rows)?;
    for (outcome, sold) in book.maker.shares().iter().enumerate() {
        let held: i128 = holders
            .iter()
            .map(|(_, held)| i128::from(held.shares[outcome].get()))
            .sum();
        if held != i128::from(sold.get()) {
            return Err(ServiceError::internal(format!(
                "{held} micro-shares of outcome {outcome} are held, {sold} were sold"
            )));
        }
    }
    let subsidy = Micro(market.subsidy_micro);
    let plan = match book.settlement(pays)? {
        Some(pi) => payouts(&holders, &pi, subsidy, escrow),
        None => refunds(&holders, subsidy, escrow),
    };
    plan.map(|_| true).map_err(ServiceError::internal)
}

impl Book {
    /// What the outcomes pay, if the market `pays` rather than refunds.
    fn settlement(&self, pays: bool) -> Result<Option<PiVector>> {
        if !pays {
            return Ok(None);
        }
        let part = |row: &market_outcomes::MarketOutcome| {
            let part = row.pi_billionths.and_then(|part| u32::try_from(part).ok());
            part.ok_or_else(|| ServiceError::internal("an outcome has no settlement"))
        };
        let parts = self.rows.iter().map(part).collect::<Result<Vec<_>>>()?;
        PiVector::new(parts)
            .map(Some)
            .map_err(ServiceError::internal)
    }

    /// The holdings of `rows`, which are in the order of accounts.
    fn holders(
        &self,
        tx: &mut Tx,
        rows: &[PositionRow],
    ) -> Result<Vec<(String, CategoricalPosition)>> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let (from, to) = (&first.account_id, &last.account_id);
        let held = outcome_holdings::between(tx, &first.market_id, from, to)?;
        let mut held = held.into_iter().peekable();
        let mut holders = Vec::with_capacity(rows.len());
        for row in rows {
            let mut position = CategoricalPosition::empty(self.rows.len());
            position.net_cost = Micro(row.cost_micro);
            // Accounts between two of the rows have been paid already.
            while held
                .next_if(|one| one.account_id < row.account_id)
                .is_some()
            {}
            while let Some(one) = held.next_if(|one| one.account_id == row.account_id) {
                self.put(&mut position, one.ordinal, one.shares_micro)?;
            }
            holders.push((row.account_id.clone(), position));
        }
        Ok(holders)
    }
}
