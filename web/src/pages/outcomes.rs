//! What the market page shows of a market of several outcomes.

use plumbline_service::context::Context;
use plumbline_service::views::{MarketView, OutcomePrices, OutcomeView};
use plumbline_service::{Result, Service};
use serde::Serialize;

use crate::chart::outcomes::{draw, leading};
use crate::chart::shape::Chart;

/// Points of the chart, besides the opening.
const CHART_POINTS: usize = 300;

/// The outcomes of the market.
#[derive(Debug, Serialize)]
pub(crate) struct OutcomesPart {
    /// Their prices over time.
    pub(crate) chart: Chart,
    /// All of them, the most likely first.
    pub(crate) rows: Vec<OutcomeRow>,
}

/// One outcome of the list.
#[derive(Debug, Serialize)]
pub(crate) struct OutcomeRow {
    /// The outcome.
    pub(crate) outcome: OutcomeView,
    /// Number of its series colour; 0 without a line of its own.
    pub(crate) colour: usize,
    /// Change of its price since the opening, in points of 100.
    pub(crate) change: f64,
}

/// How a settled market of several outcomes ended, in words.
pub(crate) fn settled_as(market: &MarketView) -> Option<String> {
    let outcomes = market.outcomes.as_ref()?;
    let pays = |one: &&OutcomeView| one.settlement.is_some_and(|pi| pi > 0.0);
    let names: Vec<&str> = outcomes
        .iter()
        .filter(pays)
        .map(|one| one.name.as_str())
        .collect();
    (!names.is_empty()).then(|| format!("Settled: {}.", names.join(", ")))
}

impl OutcomesPart {
    /// Loads the part; `None` for a market with yes and no.
    pub(crate) fn load(
        service: &Service,
        context: &Context,
        market: &MarketView,
        now: i64,
    ) -> Result<Option<Self>> {
        if market.outcomes.is_none() {
            return Ok(None);
        }
        let moves = service.outcome_chart(context, &market.id, CHART_POINTS)?;
        Ok(Some(Self::of(market, &moves, now)))
    }

    /// The part of a market with this history.
    pub(crate) fn of(market: &MarketView, moves: &[OutcomePrices], now: i64) -> Self {
        let lines = leading(market);
        let outcomes = market.outcomes.as_deref().unwrap_or_default();
        let mut rows: Vec<OutcomeRow> = outcomes
            .iter()
            .enumerate()
            .map(|(index, outcome)| OutcomeRow {
                colour: lines
                    .iter()
                    .position(|line| *line == index)
                    .map_or(0, |rank| rank + 1),
                change: (outcome.probability - outcome.opening_probability) * 100.0,
                outcome: outcome.clone(),
            })
            .collect();
        // Those with a line are in the order of the lines, the others follow by price.
        rows.sort_by(|a, b| {
            let rank = |row: &OutcomeRow| row.colour.wrapping_sub(1);
            let price = b.outcome.probability.total_cmp(&a.outcome.probability);
            rank(a).cmp(&rank(b)).then(price)
        });
        Self {
            chart: draw(market, moves, now),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples;

    #[test]
    fn a_settled_market_names_what_won() {
        assert_eq!(settled_as(&samples::outcomes_market()), None);
        assert_eq!(settled_as(&samples::settled_market()), None);
        let settled = samples::settled_outcomes_market();
        assert_eq!(
            settled_as(&settled).as_deref(),
            Some("Settled: # fast path.")
        );
    }

    #[test]
    fn rows_are_in_the_order_of_their_prices() {
        let part = OutcomesPart::of(&samples::outcomes_market(), &samples::outcome_prices(), 0);
        let prices: Vec<f64> = part
            .rows
            .iter()
            .map(|row| row.outcome.probability)
            .collect();
        assert!(
            prices.windows(2).all(|pair| pair[0] >= pair[1]),
            "{prices:?}"
        );
        let colours: Vec<usize> = part.rows.iter().map(|row| row.colour).collect();
        assert_eq!(colours, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
    }
}
