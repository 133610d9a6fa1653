//! How good prices were: scores and reliability of forecasts of settled markets.
//!
//! ```text
//! Brier     = mean (p − π)²            base-rate Brier = mean (π̄ − π)²
//! log loss  = −mean [π ln p + (1−π) ln(1−p)]
//! ```
//!
//! `p` is what a market posted, `π` how it was settled, `π̄` the mean of `π`: a forecaster who
//! knew nothing but `π̄` scores the base-rate Brier. Lower is better for each.

use serde::Serialize;

use crate::probability::sigmoid;

/// Bins of the reliability diagram, evenly spaced over [0, 1].
pub const BINS: usize = 10;
/// Standard normal quantile of the bars: 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What a market posted and how it was settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Forecast, in (0, 1).
    pub p: f64,
    /// Settlement, in [0, 1].
    pub pi: f64,
}

/// One bin of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Least forecast of the bin.
    pub low: f64,
    /// Greatest forecast; it belongs to the next bin, but for the last.
    pub high: f64,
    /// Cases in it.
    pub cases: usize,
    /// Mean of their forecasts; of nothing, the middle of the bin.
    pub forecast: f64,
    /// Mean of their settlements, if there are any.
    pub outcome: Option<f64>,
    /// Wilson interval of that mean at 95 %: how little a few cases say.
    pub interval: (f64, f64),
}

/// Scores of a set of cases.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    /// Number of cases.
    pub cases: usize,
    /// Mean of the settlements, π̄.
    pub base_rate: f64,
    /// Brier score of the forecasts.
    pub brier: f64,
    /// Brier score of always saying π̄.
    pub base_rate_brier: f64,
    /// Log loss of the forecasts, nats.
    pub log_loss: f64,
}

/// Scores of `cases`; `None` of none.
pub fn scores(cases: &[Case]) -> Option<Scores> {
    if cases.is_empty() {
        return None;
    }
    let mean = |f: &dyn Fn(&Case) -> f64| cases.iter().map(f).sum::<f64>() / cases.len() as f64;
    let base_rate = mean(&|case| case.pi);
    Some(Scores {
        cases: cases.len(),
        base_rate,
        brier: mean(&|case| (case.p - case.pi).powi(2)),
        base_rate_brier: mean(&|case| (base_rate - case.pi).powi(2)),
        log_loss: mean(&log_loss),
    })
}

/// `−[π ln p + (1−π) ln(1−p)]`, with `0·ln 0 = 0`.
fn log_loss(case: &Case) -> f64 {
    let term = |weight: f64, log: f64| if weight > 0.0 { weight * log } else { 0.0 };
    -term(case.pi, case.p.ln()) - term(1.0 - case.pi, (-case.p).ln_1p())
}

/// The reliability diagram of `cases`: every bin, empty ones too.
pub fn reliability(cases: &[Case]) -> Vec<Bin> {
    (0..BINS)
        .map(|index| {
            let (low, high) = (index as f64 / BINS as f64, (index + 1) as f64 / BINS as f64);
            let of: Vec<&Case> = cases
                .iter()
                .filter(|case| bin_of(case.p) == index)
                .collect();
            let mean =
                |f: fn(&Case) -> f64| of.iter().map(|case| f(case)).sum::<f64>() / of.len() as f64;
            let outcome = (!of.is_empty()).then(|| mean(|case| case.pi));
            Bin {
                low,
                high,
                cases: of.len(),
                forecast: if of.is_empty() {
                    (low + high) / 2.0
                } else {
                    mean(|case| case.p)
                },
                outcome,
                interval: wilson(outcome.unwrap_or(0.5), of.len()),
            }
        })
        .collect()
}

fn bin_of(p: f64) -> usize {
    ((p * BINS as f64) as usize).min(BINS - 1)
}

/// Wilson's interval of a rate `r` seen in `n` cases (E. B. Wilson, JASA 22, 1927):
///
/// ```text
/// (r + z²/2n ± z √(r(1−r)/n + z²/4n²)) / (1 + z²/n)
/// ```
///
/// Settlements may be fractional; then it is an approximation that is too wide. All of [0, 1]
/// for no cases.
pub fn wilson(rate: f64, cases: usize) -> (f64, f64) {
    if cases == 0 {
        return (0.0, 1.0);
    }
    let n = cases as f64;
    let centre = rate + Z * Z / (2.0 * n);
    let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((centre - half) / scale).clamp(0.0, 1.0),
        ((centre + half) / scale).clamp(0.0, 1.0),
    )
}

/// `σ( (1/T) ∫ ℓ(t) dt )` over `[from, to]`: `moves` are `(time, log-odds)` in order, each in
/// force until the next; those before `from` count from there. `None` when no price was in
/// force. Times in any unit.
pub fn time_average(moves: &[(i64, f64)], from: i64, to: i64) -> Option<f64> {
    let mut weighted = 0.0;
    let mut total = 0.0;
    for (index, (at, log_odds)) in moves.iter().enumerate() {
        let until = moves.get(index + 1).map_or(to, |next| next.0).min(to);
        let held = (until - (*at).max(from)).max(0) as f64;
        weighted += log_odds * held;
        total += held;
    }
    let last = moves.iter().rev().find(|(at, _)| *at <= to);
    match last {
        None => None,
        Some(_) if total > 0.0 => Some(sigmoid(weighted / total)),
        Some((_, log_odds)) => Some(sigmoid(*log_odds)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() < 1e-9,
            "{actual} is not {expected}"
        );
    }

    #[test]
    fn scores_by_hand() {
        let cases = [
            Case { p: 0.8, pi: 1.0 },
            Case { p: 0.3, pi: 0.0 },
            Case { p: 0.5, pi: 0.5 },
        ];
        let scores = scores(&cases).unwrap();
        close(scores.base_rate, 0.5);
        close(scores.brier, (0.04 + 0.09) / 3.0);
        close(scores.base_rate_brier, 0.5 / 3.0);
        // −(ln .8 + ln .7 + ln .5)/3
        close(scores.log_loss, 0.424_321_891_937_629_2);
        assert_eq!(super::scores(&[]), None);
        let sure = super::scores(&[Case { p: 1.0, pi: 1.0 }]).unwrap();
        close(sure.log_loss, 0.0);
    }

    #[test]
    fn bins_hold_every_case_once() {
        let cases: Vec<Case> = (0..=100)
            .map(|n| Case {
                p: f64::from(n) / 100.0,
                pi: f64::from(n % 2),
            })
            .collect();
        let bins = reliability(&cases);
        assert_eq!(bins.len(), BINS);
        assert_eq!(bins.iter().map(|bin| bin.cases).sum::<usize>(), 101);
        assert_eq!((bins[0].cases, bins[9].cases), (10, 11));
        for bin in &bins {
            assert!(bin.low <= bin.forecast && bin.forecast <= bin.high);
            let outcome = bin.outcome.unwrap();
            assert!(bin.interval.0 <= outcome && outcome <= bin.interval.1);
        }
        let empty = reliability(&[]);
        assert!(
            empty
                .iter()
                .all(|bin| bin.outcome.is_none() && bin.interval == (0.0, 1.0))
        );
    }

    #[test]
    fn wilson_as_published() {
        // Newcombe 1998, table I: 81 of 263 and 0 of 20.
        let (low, high) = wilson(81.0 / 263.0, 263);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4);
        let (low, high) = wilson(0.0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 1e-4);
    }

    #[test]
    fn averages_weigh_by_time() {
        let logit = crate::probability::logit;
        let moves = [(0, logit(0.2)), (50, logit(0.8))];
        close(time_average(&moves, 0, 100).unwrap(), 0.5);
        close(time_average(&moves, 60, 100).unwrap(), 0.8);
        close(time_average(&moves, 0, 0).unwrap(), 0.2);
        close(time_average(&moves, 100, 100).unwrap(), 0.8);
        assert_eq!(time_average(&moves, -9, -1), None);
        assert_eq!(time_average(&[], 0, 1), None);
    }
}
