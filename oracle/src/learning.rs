//! Learning from settled cases how to pool: the judges' errors, their weights and the calibration.
//!
//! Everything is shrunk: with no cases the answer is the configuration one started from, and each part moves from
//! it only as far as the cases carry. The same cases in the same order give the same answer to the last digit kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::calibration::{CalibrationOptions, PoolCalibration, Scored};
use crate::error::DataError;
use crate::linear::{sigmoid, softplus};
use crate::pool::{
    ErrorStatistics, Ground, Opinion, PoolConfig, SettledCase, ground, pool, weighted,
};

/// Largest |a_i| of a judge's factor: no judge is multiplied or divided by more than twenty.
const MOST_FACTOR: f64 = 3.0;
/// Standard error, nats, from which on a judge says that it does not know: no error of its can be read off that.
const IGNORANT: f64 = 2.0;
/// Steps of the descent on the factors, in each of the rounds.
const STEPS: usize = 60;
/// Rounds of factors and scale in turn.
const ROUNDS: usize = 3;
/// Decimals of what is learnt: what lies below differs between machines, not between cases.
const DECIMALS: f64 = 1e9;

/// How much settled cases count against what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnOptions {
    /// Cases that the prior of the judges' errors is worth; > 0.
    pub prior_cases: f64,
    /// Precision of the prior that a judge's factor is what its separation of the outcomes says; > 0.
    pub factor_precision: f64,
    /// The maps.
    pub calibration: CalibrationOptions,
}

impl Default for LearnOptions {
    fn default() -> Self {
        Self {
            prior_cases: 30.0,
            factor_precision: 4.0,
            calibration: CalibrationOptions::default(),
        }
    }
}

/// What the judges said at the close of a case that was settled.
#[derive(Debug, Clone, PartialEq)]
pub struct LearningCase {
    /// Kind of the claim.
    pub kind: String,
    /// What each judge said.
    pub opinions: Vec<Opinion>,
    /// Judges that should have judged and did not.
    pub failed: usize,
    /// π, 0..=1.
    pub settlement: f64,
}

/// The configuration that the cases make of `base`, whose own statistics, factors and calibration are dropped.
///
/// Errors: [`DataError::Option`] for an option or a base outside its domain.
pub fn learn(
    base: &PoolConfig,
    cases: &[LearningCase],
    options: &LearnOptions,
) -> Result<PoolConfig, DataError> {
    let mut config = PoolConfig {
        statistics: None,
        factors: BTreeMap::new(),
        calibration: None,
        ..base.clone()
    };
    config.validate()?;
    let judged: Vec<&LearningCase> = cases
        .iter()
        .filter(|case| !case.opinions.is_empty() && (0.0..=1.0).contains(&case.settlement))
        .collect();
    if judged.is_empty() {
        return Ok(config);
    }
    config.statistics = statistics(&judged, options.prior_cases)?;
    config.factors = factors(&judged, &config, options);
    let pooled: Vec<Scored<'_>> = judged.iter().map(|case| scored(case, &config)).collect();
    config.calibration = Some(PoolCalibration::fit(&pooled, &options.calibration));
    round(&mut config);
    config.validate()?;
    Ok(config)
}

fn scored<'a>(case: &'a LearningCase, config: &PoolConfig) -> Scored<'a> {
    Scored {
        kind: &case.kind,
        log_odds: pool(&case.opinions, case.failed, config).log_odds,
        settlement: case.settlement,
    }
}

fn judges_of(cases: &[&LearningCase]) -> Vec<String> {
    let names: BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| case.opinions.iter().map(|opinion| opinion.judge.as_str()))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// `None` while no judge has cases enough for a variance.
fn statistics(
    cases: &[&LearningCase],
    prior_cases: f64,
) -> Result<Option<ErrorStatistics>, DataError> {
    let settled: Vec<SettledCase> = cases
        .iter()
        .map(|case| SettledCase {
            log_odds: case
                .opinions
                .iter()
                .filter(|opinion| opinion.standard_error < IGNORANT)
                .map(|opinion| (opinion.judge.clone(), opinion.log_odds))
                .collect(),
            settlement: case.settlement,
        })
        .collect();
    match ErrorStatistics::fit_pairwise(&judges_of(cases), &settled, prior_cases) {
        Ok(statistics) => Ok(Some(statistics)),
        Err(DataError::TooFew { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// One case as the descent sees it.
struct Vote {
    /// Places of its judges among the factors.
    judges: Vec<usize>,
    deviations: Vec<f64>,
    ground: Ground,
    settlement: f64,
}

/// Where the factors are drawn to: ln(μ_i / s₀²), μ_i being by how much judge i's log-odds tell the outcomes apart.
///
/// A calibrated judge of error variance s² has μ = s², so that Σ⁻¹μ, the weights of Fisher's discriminant, is Σ⁻¹1 of
/// judges nobody has measured. Without it a judge that tells a lot, and so varies a lot, would count for less than one
/// that was never tried.
fn separations(
    cases: &[&LearningCase],
    judges: &[String],
    prior_variance: f64,
    prior_cases: f64,
) -> Vec<f64> {
    let separation = |judge: &String| {
        let (mut sums, mut counts) = ([0.0; 2], [0.0_f64; 2]);
        for case in cases {
            let said = case.opinions.iter().find(|one| one.judge == *judge);
            if let Some(opinion) = said.filter(|one| one.standard_error < IGNORANT) {
                let side = usize::from(case.settlement >= 0.5);
                sums[side] += opinion.log_odds;
                counts[side] += 1.0;
            }
        }
        if counts[0] == 0.0 || counts[1] == 0.0 {
            return 0.0;
        }
        let sample = sums[1] / counts[1] - sums[0] / counts[0];
        let cases = counts[0] + counts[1];
        let shrunk = (prior_cases * prior_variance + cases * sample) / (prior_cases + cases);
        (shrunk / prior_variance)
            .max((-MOST_FACTOR).exp())
            .ln()
            .min(MOST_FACTOR)
    };
    judges.iter().map(separation).collect()
}

/// The factors a that minimise the log loss of the pool, drawn to m,
///
/// ```text
/// Σ_c [ softplus(z_c) − π_c z_c ] + ½ λ Σ_i (a_i − m_i)²,    z_c = α + β n_eff(w) Σ_i w_i d_ci,   w_i ∝ u_ci e^(a_i)
/// ```
///
/// α and β, the scale on which the pool is right, are fitted in turn with a, so that a weight does not change to make up
/// for a scale. A case that only one judge judged says nothing about weights.
fn factors(
    cases: &[&LearningCase],
    config: &PoolConfig,
    options: &LearnOptions,
) -> BTreeMap<String, f64> {
    let judges = judges_of(cases);
    let prior = Prior {
        means: separations(cases, &judges, config.judge_variance, options.prior_cases),
        precision: options.factor_precision,
    };
    let votes: Vec<Vote> = cases
        .iter()
        .filter(|case| case.opinions.len() > 1)
        .map(|case| vote(case, &judges, config))
        .collect();
    let mut a = prior.means.clone();
    if !votes.is_empty() {
        for _ in 0..ROUNDS {
            let scale = scale_of(&votes, &a);
            a = descend(&votes, a, scale, &prior);
        }
    }
    judges.into_iter().zip(a).collect()
}

/// Of the factors.
struct Prior {
    means: Vec<f64>,
    precision: f64,
}

fn vote(case: &LearningCase, judges: &[String], config: &PoolConfig) -> Vote {
    let place = |opinion: &Opinion| judges.iter().position(|judge| *judge == opinion.judge);
    let bound = config.log_odds_bound;
    Vote {
        judges: case.opinions.iter().filter_map(place).collect(),
        deviations: case
            .opinions
            .iter()
            .map(|opinion| (opinion.log_odds - config.base_log_odds).clamp(-bound, bound))
            .collect(),
        ground: ground(&case.opinions, config),
        settlement: case.settlement,
    }
}

impl Vote {
    /// n_eff Σ w d, and its gradient in the weights with the weights themselves.
    fn pooled(&self, a: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let factors: Vec<f64> = self.judges.iter().map(|judge| a[*judge]).collect();
        let weights = weighted(&self.ground.weights, &factors);
        let turned: Vec<f64> = self
            .ground
            .correlations
            .iter()
            .map(|row| row.iter().zip(&weights).map(|(r, w)| r * w).sum())
            .collect();
        let dot = |x: &[f64]| -> f64 { x.iter().zip(&weights).map(|(x, w)| x * w).sum() };
        let n_eff = 1.0 / dot(&turned).max(1e-9);
        let mean = dot(&self.deviations);
        let gradient = self
            .deviations
            .iter()
            .zip(&turned)
            .map(|(d, r)| n_eff * d - 2.0 * n_eff * n_eff * r * mean)
            .collect();
        (n_eff * mean, gradient, weights)
    }
}

fn scale_of(votes: &[Vote], a: &[f64]) -> (f64, f64) {
    let data: Vec<(Vec<f64>, f64, f64)> = votes
        .iter()
        .map(|vote| (vec![1.0, vote.pooled(a).0], vote.settlement, 1.0))
        .collect();
    let beta = crate::logistic::fit_dense(&data, &[(0.0, 4.0), (1.0, 8.0)]);
    (beta[0], beta[1].max(0.0))
}

/// Gradient descent with a step that grows while it helps and halves while it does not.
fn descend(votes: &[Vote], start: Vec<f64>, scale: (f64, f64), prior: &Prior) -> Vec<f64> {
    let mut a = start;
    let (mut value, mut gradient) = objective(votes, &a, scale, prior);
    let mut step = 1.0 / (prior.precision + votes.len() as f64);
    for _ in 0..STEPS {
        let next: Vec<f64> = a
            .iter()
            .zip(&gradient)
            .map(|(a, g)| (a - step * g).clamp(-MOST_FACTOR, MOST_FACTOR))
            .collect();
        let (lower, slope) = objective(votes, &next, scale, prior);
        if lower < value {
            let gained = value - lower;
            (a, value, gradient) = (next, lower, slope);
            step *= 1.5;
            if gained < 1e-9 * (1.0 + value.abs()) {
                break;
            }
        } else {
            step *= 0.5;
        }
    }
    a
}

fn objective(
    votes: &[Vote],
    a: &[f64],
    (intercept, slope): (f64, f64),
    prior: &Prior,
) -> (f64, Vec<f64>) {
    let away: Vec<f64> = a.iter().zip(&prior.means).map(|(a, m)| a - m).collect();
    let mut value: f64 = away.iter().map(|x| 0.5 * prior.precision * x * x).sum();
    let mut gradient: Vec<f64> = away.iter().map(|x| prior.precision * x).collect();
    for vote in votes {
        let (pooled, in_weights, weights) = vote.pooled(a);
        let z = intercept + slope * pooled;
        value += softplus(z) - vote.settlement * z;
        let residual = (sigmoid(z) - vote.settlement) * slope;
        let mean: f64 = in_weights.iter().zip(&weights).map(|(g, w)| g * w).sum();
        for ((judge, g), w) in vote.judges.iter().zip(&in_weights).zip(&weights) {
            gradient[*judge] += residual * w * (g - mean);
        }
    }
    (value, gradient)
}

/// Keeps nine decimals of everything learnt.
fn round(config: &mut PoolConfig) {
    let mut numbers: Vec<&mut f64> = config.factors.values_mut().collect();
    if let Some(statistics) = &mut config.statistics {
        numbers.extend(statistics.covariance.iter_mut().flatten());
    }
    if let Some(calibration) = &mut config.calibration {
        numbers.extend(&mut calibration.kind_variance);
        for map in calibration
            .kinds
            .values_mut()
            .chain([&mut calibration.global])
        {
            numbers.extend([&mut map.intercept, &mut map.slope]);
            numbers.extend(&mut map.covariance);
            numbers.extend(map.knots.iter_mut().flat_map(|(x, y)| [x, y]));
        }
    }
    for number in numbers {
        *number = rounded(*number);
    }
}

/// With nine decimals.
pub(crate) fn rounded(number: f64) -> f64 {
    // Adding 0 turns −0 into 0, which is written otherwise.
    (number * DECIMALS).round() / DECIMALS + 0.0
}

/// Log loss of log-odds against a settlement, nats.
pub fn log_loss(log_odds: f64, settlement: f64) -> f64 {
    softplus(log_odds) - settlement * log_odds
}
