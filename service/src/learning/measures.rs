//! How good the judges, their pool, and the prices were on settled cases.

use std::collections::BTreeMap;

use plumbline_access::Action;
use plumbline_market::calibration::Case;
use plumbline_market::probability::sigmoid;
use plumbline_oracle::learning::log_loss;
use plumbline_oracle::versions::SettledRecord;
use plumbline_store::settled_cases::{self, SettledCase};

use super::cases::record_of;
use super::force::latest_of_line;
use super::versions::view_of;
use crate::calibration::scores_view;
use crate::context::Context;
use crate::views::{
    ComparisonView, CurvePointView, GapRowView, GapView, JudgeScoresView, KindCurveView,
    OracleCalibrationView,
};
use crate::{Result, Service};

/// Settled cases that are counted, the latest.
const MOST_CASES: i64 = 2_000;
/// Cases from which on a reliability diagram says anything.
const ENOUGH: usize = 30;
/// Kinds of claim with a curve, those with most cases.
const MOST_KINDS: usize = 12;
/// Points of a curve.
const MOST_POINTS: usize = 40;
/// Cases listed with their gap.
const MOST_GAPS: usize = 50;
/// Standard normal quantile of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// A case with what would have been said of it.
struct Settled {
    row: SettledCase,
    record: SettledRecord,
}

impl Service {
    /// Scores and reliability of each judge, the pool and the prices on settled cases; learning curves; the gap between
    /// observed and held-out probes.
    pub fn oracle_calibration(&self, ctx: &Context) -> Result<OracleCalibrationView> {
        self.allow(&ctx.actor, Action::ReadOracle)?;
        let (mut rows, latest) = self.read(|tx| {
            let rows = settled_cases::newest(tx, None, MOST_CASES)?;
            Ok((rows, latest_of_line(tx)?))
        })?;
        rows.reverse();
        let cases: Vec<Settled> = rows
            .into_iter()
            .map(|row| {
                let record = record_of(&row)?;
                Ok(Settled { row, record })
            })
            .collect::<Result<_>>()?;
        let of = |said: fn(&SettledRecord) -> f64| -> Vec<Case> {
            cases
                .iter()
                .map(|case| scored(said(&case.record), &case.record))
                .collect()
        };
        let learning = match latest {
            Some(version) => view_of(&version)?.score,
            None => None,
        };
        Ok(OracleCalibrationView {
            cases: cases.len(),
            enough: cases.len() >= ENOUGH,
            pool: scores_view(&of(|record| record.pooled_log_odds)),
            price: scores_view(&of(|record| record.closing_log_odds)),
            judges: judges(&cases),
            comparisons: comparisons(&cases),
            learning,
            kinds: kinds(&cases),
            gap: gap(&cases),
        })
    }
}

fn scored(log_odds: f64, record: &SettledRecord) -> Case {
    Case {
        p: sigmoid(log_odds),
        pi: record.pi,
    }
}

fn judges(cases: &[Settled]) -> Vec<JudgeScoresView> {
    let mut by_judge: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for case in cases {
        for reading in &case.record.readings {
            by_judge
                .entry(&reading.judge)
                .or_default()
                .push(scored(reading.log_odds, &case.record));
        }
    }
    let view = |(judge, cases): (&str, Vec<Case>)| {
        scores_view(&cases).map(|scores| JudgeScoresView {
            judge: judge.to_owned(),
            cases: cases.len(),
            scores,
        })
    };
    by_judge.into_iter().filter_map(view).collect()
}

/// Whether the price beats the pool: on all cases, and on those in which somebody submitted evidence that misled.
fn comparisons(cases: &[Settled]) -> Vec<ComparisonView> {
    let misled: Vec<&Settled> = cases.iter().filter(|c| c.record.misleading > 0).collect();
    let all: Vec<&Settled> = cases.iter().collect();
    [("all", all), ("misled", misled)]
        .into_iter()
        .filter_map(|(name, cases)| comparison(name, &cases))
        .collect()
}

fn comparison(name: &str, cases: &[&Settled]) -> Option<ComparisonView> {
    if cases.is_empty() {
        return None;
    }
    let n = cases.len() as f64;
    let losses = |case: &&Settled| {
        let record = &case.record;
        (
            log_loss(record.closing_log_odds, record.pi),
            log_loss(record.pooled_log_odds, record.pi),
        )
    };
    let pairs: Vec<(f64, f64)> = cases.iter().map(losses).collect();
    let price = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
    let pool = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
    let difference = price - pool;
    let scatter: f64 = pairs
        .iter()
        .map(|(price, pool)| (price - pool - difference).powi(2))
        .sum();
    let half = (cases.len() > 1).then(|| Z * (scatter / (n - 1.0) / n).sqrt());
    Some(ComparisonView {
        cases_of: name.to_owned(),
        cases: cases.len(),
        price_log_loss: price,
        pool_log_loss: pool,
        difference,
        low: half.map(|half| difference - half),
        high: half.map(|half| difference + half),
    })
}

/// Mean log losses over the first so many cases of each kind.
fn kinds(cases: &[Settled]) -> Vec<KindCurveView> {
    let mut by_kind: BTreeMap<&str, Vec<&Settled>> = BTreeMap::new();
    for case in cases {
        by_kind.entry(&case.row.claim_kind).or_default().push(case);
    }
    let mut kinds: Vec<KindCurveView> = by_kind
        .into_iter()
        .map(|(kind, cases)| KindCurveView {
            claim_kind: kind.to_owned(),
            cases: cases.len(),
            points: curve(&cases),
        })
        .collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.cases));
    kinds.truncate(MOST_KINDS);
    kinds
}

fn curve(cases: &[&Settled]) -> Vec<CurvePointView> {
    let mut sums = [0.0; 3];
    let mut seen = 0;
    let every = cases.len().div_ceil(MOST_POINTS).max(1);
    let mut points = Vec::new();
    for case in cases {
        // A case that no version has predicted yet is not on the curve yet.
        let (Some(learned), Some(untaught)) = (case.row.learned, case.row.untaught) else {
            continue;
        };
        let said = [learned, untaught, case.record.closing_log_odds];
        for (sum, log_odds) in sums.iter_mut().zip(said) {
            *sum += log_loss(log_odds, case.record.pi);
        }
        seen += 1;
        if seen % every == 0 || seen == cases.len() {
            let [learned, untaught, price] = sums.map(|sum| sum / seen as f64);
            points.push(CurvePointView {
                cases: seen,
                learned_log_loss: learned,
                untaught_log_loss: untaught,
                price_log_loss: price,
            });
        }
    }
    points
}

fn gap(cases: &[Settled]) -> GapView {
    let row = |case: &Settled| {
        Some(GapRowView {
            market_id: case.record.market_id.clone(),
            observed: case.record.observed_effect?,
            held_out: case.record.held_out_effect?,
        })
    };
    let mut rows: Vec<GapRowView> = cases.iter().rev().filter_map(row).collect();
    let n = rows.len();
    if n == 0 {
        return GapView::default();
    }
    let mean = |f: fn(&GapRowView) -> f64| rows.iter().map(f).sum::<f64>() / n as f64;
    let (observed, held_out) = (mean(|row| row.observed), mean(|row| row.held_out));
    rows.truncate(MOST_GAPS);
    GapView {
        cases: n,
        observed,
        held_out,
        rows,
    }
}
