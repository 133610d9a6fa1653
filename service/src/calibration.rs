//! How good the prices of paid markets were. Each market is noted once, when it is paid.

use std::collections::BTreeMap;

use plumbline_access::Action;
use plumbline_market::calibration::{Bin, Case, reliability, scores, time_average};
use plumbline_market::probability::{logit, sigmoid};
use plumbline_store::markets::Market;
use plumbline_store::standings::{self, Forecast};
use plumbline_store::{Tx, portfolio};

use crate::context::Context;
use crate::markets::life_of;
use crate::outcomes::has_several;
use crate::time::Millis;
use crate::views::{BinView, CalibrationView, KindView, ScoresView};
use crate::{Result, Service, ServiceError};

/// Window of the averaged price before trading stopped.
const WINDOW: Millis = 3_600_000;
/// Prices that enter the average at most, the latest.
const MOST_PRICES: i64 = 20_000;
/// Paid markets that are counted, the latest.
const MOST_CASES: i64 = 10_000;
/// Cases from which on a reliability diagram says anything.
const ENOUGH: usize = 30;

impl Service {
    /// Scores and reliability of the prices of paid markets; only those of a kind of claim, if given.
    pub fn calibration(&self, ctx: &Context, claim_kind: Option<&str>) -> Result<CalibrationView> {
        self.allow(&ctx.actor, Action::ReadCalibration)?;
        let kind = claim_kind.map(str::to_owned);
        let rows =
            self.read(move |tx| Ok(standings::forecasts(tx, kind.as_deref(), MOST_CASES)?))?;
        let closing: Vec<Case> = rows
            .iter()
            .map(|row| case(row.closing_log_odds, row.pi))
            .collect();
        let average: Vec<Case> = rows
            .iter()
            .map(|row| case(row.mean_log_odds, row.pi))
            .collect();
        let known = scores(&closing);
        Ok(CalibrationView {
            cases: rows.len(),
            enough: rows.len() >= ENOUGH,
            base_rate: known.as_ref().map(|scores| scores.base_rate),
            base_rate_brier: known.as_ref().map(|scores| scores.base_rate_brier),
            closing: scores_view(&closing),
            average: scores_view(&average),
            window_s: WINDOW / 1_000,
            kinds: kinds(&rows),
        })
    }
}

fn case(log_odds: f64, pi: f64) -> Case {
    Case {
        p: sigmoid(log_odds),
        pi,
    }
}

fn kinds(rows: &[Forecast]) -> Vec<KindView> {
    let mut by_kind: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for row in rows {
        by_kind
            .entry(&row.claim_kind)
            .or_default()
            .push(case(row.closing_log_odds, row.pi));
    }
    let view = |(kind, cases): (&str, Vec<Case>)| {
        scores(&cases).map(|scores| KindView {
            claim_kind: kind.to_owned(),
            cases: scores.cases,
            base_rate: scores.base_rate,
            brier: scores.brier,
            base_rate_brier: scores.base_rate_brier,
            log_loss: scores.log_loss,
        })
    };
    by_kind.into_iter().filter_map(view).collect()
}

pub(crate) fn scores_view(cases: &[Case]) -> Option<ScoresView> {
    scores(cases).map(|scores| ScoresView {
        brier: scores.brier,
        log_loss: scores.log_loss,
        bins: reliability(cases).into_iter().map(bin_view).collect(),
    })
}

fn bin_view(bin: Bin) -> BinView {
    BinView {
        low: bin.low,
        high: bin.high,
        cases: bin.cases,
        forecast: bin.forecast,
        outcome: bin.outcome,
        outcome_low: bin.interval.0,
        outcome_high: bin.interval.1,
    }
}

/// Notes what a market that is being paid had said.
/// One of several outcomes has no probability of being true as a whole, and one that its own price
/// settles would flatter itself: they are left out.
pub(crate) fn record(tx: &mut Tx, market: &Market, now: Millis) -> Result<()> {
    if has_several(market) || life_of(market)?.rules.method.is_advisory() {
        return Ok(());
    }
    let Some(pi) = market.settlement else {
        return Err(ServiceError::internal("a paid market has a settlement"));
    };
    let until = market.frozen_at.unwrap_or(now);
    let from = (until - WINDOW).max(market.opened_at);
    let prices = portfolio::newest_prices(tx, &market.id, MOST_PRICES)?;
    let mean = time_average(&prices, from, until).unwrap_or_else(|| sigmoid(market.log_odds));
    let forecast = Forecast {
        market_id: market.id.clone(),
        claim_kind: market.claim_kind.clone(),
        at: now,
        pi,
        opening_log_odds: market.opening_log_odds,
        closing_log_odds: market.log_odds,
        mean_log_odds: logit(mean),
        window_ms: (until - from).max(0),
    };
    Ok(standings::record(tx, &forecast)?)
}
