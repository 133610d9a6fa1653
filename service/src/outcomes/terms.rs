//! Opening a market of several outcomes.

use std::collections::BTreeSet;

use plumbline_market::categorical::{
    CategoricalError, CategoricalMaker, MAX_OUTCOMES, NONE_OUTCOME, decisive_vector, price_floor,
};
use plumbline_market::money::Micro;
use plumbline_market::plan::SettlementPlan;
use plumbline_store::Tx;
use plumbline_store::market_outcomes::{self, MarketOutcome};
use plumbline_store::markets::Market;

use super::first_log_odds;
use crate::commands::{OpenMarket, OutcomeTerms};
use crate::{Result, ServiceError};

/// Fewest outcomes: two are a market with yes and no.
const FEWEST: usize = 3;
/// Longest name, bytes.
const LONGEST_NAME: usize = 120;
/// How far given probabilities may sum past one.
const SUM_SLACK: f64 = 1e-6;

/// The checked outcomes of a request.
pub(crate) struct Outcomes {
    names: Vec<String>,
    maker: CategoricalMaker,
    subsidy: Micro,
}

impl Outcomes {
    /// The outcomes that a request asks for; `None` when it asks for none.
    pub(crate) fn check(cmd: &OpenMarket) -> Result<Option<Self>> {
        let Some(terms) = &cmd.outcomes else {
            return Ok(None);
        };
        check_names(terms)?;
        // The default of the field: nobody has given a probability of "true".
        if cmd.probability != 0.5 {
            return Err(ServiceError::invalid(
                "bad-probability",
                "a market of several outcomes has a probability for each of them, and none of its own",
            ));
        }
        if cmd.settlement.method != "objective" {
            return Err(ServiceError::invalid(
                "bad-method",
                "a market of several outcomes is settled by an objective test",
            ));
        }
        if cmd.trade_fee_bps > 0 || cmd.creator_fee_bps > 0 {
            return Err(ServiceError::refused(
                "binary-only",
                "a market of several outcomes takes no trade fees",
            ));
        }
        let prices = opening_prices(terms)?;
        let (maker, subsidy) = CategoricalMaker::open(&prices, Micro(cmd.liquidity_micro))
            .map_err(|error| match error {
                CategoricalError::Liquidity(_) => {
                    ServiceError::invalid("bad-liquidity", error.to_string())
                }
                CategoricalError::OpeningPrice { .. } | CategoricalError::Sum(_) => {
                    ServiceError::invalid("bad-probability", error.to_string())
                }
                other => ServiceError::internal(other),
            })?;
        Ok(Some(Self {
            names: terms.iter().map(|one| one.name.clone()).collect(),
            maker,
            subsidy,
        }))
    }

    /// The market's row with the subsidy and the price of its outcomes. Errors: the outcomes are
    /// not the candidates of the committed plan and `none`.
    pub(crate) fn adapt(&self, market: Market) -> Result<Market> {
        let text = market.plan.as_deref().unwrap_or_default();
        let plan = SettlementPlan::from_canonical_json(text).map_err(ServiceError::internal)?;
        let arms: Vec<(&str, bool)> = plan
            .candidates
            .iter()
            .map(|candidate| (candidate.as_str(), false))
            .collect();
        decisive_vector(&self.names, &arms).map_err(|_| {
            bad(format!(
                "the outcomes are the candidates of the settlement plan, verbatim, and '{NONE_OUTCOME}'"
            ))
        })?;
        let log_odds = first_log_odds(self.maker.opening());
        Ok(Market {
            subsidy_micro: self.subsidy.get(),
            log_odds,
            opening_log_odds: log_odds,
            // Nobody judges it, so the interval excludes nothing.
            interval_low: 0.0,
            interval_high: 1.0,
            outcome_count: self.names.len() as i64,
            ..market
        })
    }

    /// Adds the outcomes of a market that was just added.
    pub(crate) fn insert(&self, tx: &mut Tx, market_id: &str) -> Result<()> {
        for (ordinal, (name, price)) in (0_i64..).zip(self.names.iter().zip(self.maker.opening())) {
            market_outcomes::insert(
                tx,
                &MarketOutcome {
                    market_id: market_id.to_owned(),
                    ordinal,
                    name: name.clone(),
                    opening_price: *price,
                    shares_micro: 0,
                    pi_billionths: None,
                },
            )?;
        }
        Ok(())
    }
}

fn bad(detail: String) -> ServiceError {
    ServiceError::invalid("bad-outcomes", detail)
}

fn check_names(terms: &[OutcomeTerms]) -> Result<()> {
    if !(FEWEST..=MAX_OUTCOMES).contains(&terms.len()) {
        return Err(bad(format!(
            "a market has {FEWEST} to {MAX_OUTCOMES} outcomes, or none for yes and no"
        )));
    }
    let mut seen = BTreeSet::new();
    for OutcomeTerms { name, .. } in terms {
        let shown: String = name.chars().take(40).collect();
        if name.is_empty() || name.len() > LONGEST_NAME || name.trim() != name {
            return Err(bad(format!(
                "'{shown}': a name is 1 to {LONGEST_NAME} bytes, without space at its ends"
            )));
        }
        if name.chars().any(hides) {
            return Err(bad(
                "a name has no control or direction characters".to_owned()
            ));
        }
        if name.eq_ignore_ascii_case("yes") || name.eq_ignore_ascii_case("no") {
            return Err(bad(format!("'{shown}' is the name of a binary outcome")));
        }
        if !seen.insert(name) {
            return Err(bad(format!("'{shown}' is there twice")));
        }
    }
    Ok(())
}

/// Characters that are not seen, or change how their neighbours are shown.
fn hides(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    c.is_control() || invisible || c == '\u{feff}'
}

/// The given probabilities; what they leave is shared equally by the outcomes without one.
fn opening_prices(terms: &[OutcomeTerms]) -> Result<Vec<f64>> {
    let refuse = |detail: String| Err(ServiceError::invalid("bad-probability", detail));
    let given: Vec<f64> = terms.iter().filter_map(|one| one.probability).collect();
    let floor = price_floor(terms.len());
    if given.iter().any(|p| !p.is_finite() || *p < floor) {
        return refuse(format!("an opening probability is at least {floor}"));
    }
    let (sum, missing) = (given.iter().sum::<f64>(), terms.len() - given.len());
    if missing == 0 {
        if (sum - 1.0).abs() > SUM_SLACK {
            return refuse(format!("the opening probabilities sum to {sum}, not to 1"));
        }
    } else if (1.0 - sum) / (missing as f64) < floor {
        return refuse(format!(
            "the opening probabilities leave less than {floor} for each outcome without one"
        ));
    }
    let rest = (1.0 - sum) / (missing.max(1) as f64);
    Ok(terms
        .iter()
        .map(|one| one.probability.unwrap_or(rest))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn terms(rows: &[(&str, Option<f64>)]) -> Vec<OutcomeTerms> {
        let term = |(name, probability): &(&str, Option<f64>)| OutcomeTerms {
            name: (*name).to_owned(),
            probability: *probability,
        };
        rows.iter().map(term).collect()
    }

    #[test]
    fn what_is_left_is_shared() {
        let prices = |rows| opening_prices(&terms(rows));
        let even = prices(&[("a", None), ("b", None), ("c", None)]).unwrap();
        assert!(even.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-15));
        let rest = prices(&[("a", Some(0.7)), ("b", None), ("c", None)]).unwrap();
        assert!((rest[0] - 0.7).abs() < 1e-15 && (rest[2] - 0.15).abs() < 1e-15);
        for (a, b, c) in [
            (Some(0.5), Some(0.4), Some(0.2)),
            (Some(0.5), Some(0.2), Some(0.2)),
            (Some(1.0), None, None),
            (Some(0.999), None, None),
            (Some(-0.2), Some(0.6), Some(0.6)),
            (Some(f64::NAN), None, None),
            (Some(f64::INFINITY), None, None),
            (Some(0.0), Some(0.5), Some(0.5)),
        ] {
            let refused = opening_prices(&terms(&[("a", a), ("b", b), ("c", c)])).unwrap_err();
            assert_eq!(refused.code(), "bad-probability", "{a:?} {b:?} {c:?}");
        }
    }

    #[test]
    fn names_are_unique_visible_and_not_yes_or_no() {
        let long = "x".repeat(121);
        for names in [
            &["a", "b"][..],
            &["a", "b", "b"],
            &["a", "b", ""],
            &["a", "b", " c"],
            &["a", "b", "Yes"],
            &["a", "b", "NO"],
            &["a", "b", "c\u{202e}"],
            &["a", "b", "c\n"],
            &["a", "b", &long],
        ] {
            let rows: Vec<_> = names.iter().map(|name| (*name, None)).collect();
            let refused = check_names(&terms(&rows)).unwrap_err();
            assert_eq!(refused.code(), "bad-outcomes", "{names:?}");
        }
        let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        let rows: Vec<_> = many.iter().map(|name| (name.as_str(), None)).collect();
        assert!(check_names(&terms(&rows)).is_err());
        assert!(check_names(&terms(&rows[..64])).is_ok());
    }
}
