//! From several judges' log-odds to one, counting correlated judges as the few votes that they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibration::PoolCalibration;
use crate::claim::family_of;
use crate::error::DataError;

/// Least error variance of a judge, as a part of the prior's, however little it varied.
const LEAST_VARIANCE: f64 = 0.1;

/// How opinions are pooled. All log-odds and standard deviations are in nats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// ℓ₀, the log-odds of a claim without evidence.
    pub base_log_odds: f64,
    /// ρ between judges of different families before settled cases say otherwise, 0..=1.
    pub correlation: f64,
    /// ρ between judges of one family before settled cases say otherwise, 0..=1.
    pub family_correlation: f64,
    /// Error variance of a judge beyond its own standard error, before settled cases say otherwise; > 0.
    pub judge_variance: f64,
    /// Largest |ℓ − ℓ₀| the pool or any one judge may reach; > 0.
    pub log_odds_bound: f64,
    /// Half-width of the interval in standard deviations; 1.645 makes it a central 90 % interval.
    pub interval_z: f64,
    /// Standard deviation when no judge judged; > 0.
    pub prior_standard_deviation: f64,
    /// Variance added when every judge failed, in proportion when some did; ≥ 0.
    pub failure_variance: f64,
    /// What settled cases say about the judges' errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<ErrorStatistics>,
    /// By judge, what the log score on settled cases adds to the logarithm of its weight; absent is 0, finite.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub factors: BTreeMap<String, f64>,
    /// From pooled to calibrated log-odds, by kind of claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PoolCalibration>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            base_log_odds: 0.0,
            correlation: 0.3,
            family_correlation: 0.9,
            judge_variance: 0.5,
            log_odds_bound: 8.0,
            interval_z: 1.645,
            prior_standard_deviation: 2.0,
            failure_variance: 1.0,
            statistics: None,
            factors: BTreeMap::new(),
            calibration: None,
        }
    }
}

impl PoolConfig {
    /// Settled cases of this family of claims that the configuration was learnt from.
    pub(crate) fn settled_cases(&self, family: &str) -> usize {
        let kinds = self.calibration.iter().flat_map(|maps| &maps.kinds);
        kinds
            .filter(|(kind, _)| family_of(kind) == family)
            .map(|(_, map)| map.cases)
            .sum()
    }

    /// Checks the domains named on the fields. Errors: [`DataError::Option`] naming the field.
    pub fn validate(&self) -> Result<(), DataError> {
        let unit = |value: f64| (0.0..=1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let checks = [
            (
                "base_log_odds",
                self.base_log_odds.is_finite(),
                "is not finite",
            ),
            ("correlation", unit(self.correlation), "is not in 0..=1"),
            (
                "family_correlation",
                unit(self.family_correlation),
                "is not in 0..=1",
            ),
            (
                "judge_variance",
                positive(self.judge_variance),
                "is not a finite number > 0",
            ),
            (
                "log_odds_bound",
                positive(self.log_odds_bound),
                "is not a finite number > 0",
            ),
            (
                "interval_z",
                positive(self.interval_z),
                "is not a finite number > 0",
            ),
            (
                "prior_standard_deviation",
                positive(self.prior_standard_deviation),
                "is not a finite number > 0",
            ),
            (
                "failure_variance",
                self.failure_variance.is_finite() && self.failure_variance >= 0.0,
                "is not a finite number ≥ 0",
            ),
            (
                "factors",
                self.factors.values().all(|factor| factor.is_finite()),
                "has a value that is not finite",
            ),
        ];
        for (name, holds, reason) in checks {
            if !holds {
                return Err(DataError::Option { name, reason });
            }
        }
        if let Some(calibration) = &self.calibration {
            calibration.validate()?;
        }
        self.statistics
            .as_ref()
            .map_or(Ok(()), ErrorStatistics::validate)
    }
}

/// One judge's opinion, as the pool sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    /// Name of the judge.
    pub judge: String,
    /// Its family.
    pub family: String,
    /// ℓ_i, finite.
    pub log_odds: f64,
    /// Its standard error, finite, ≥ 0.
    pub standard_error: f64,
}

/// What the pool makes of the opinions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// ℓ.
    pub log_odds: f64,
    /// Standard deviation of ℓ, disagreement and failed judges included.
    pub standard_deviation: f64,
    /// ℓ − z·sd.
    pub low: f64,
    /// ℓ + z·sd.
    pub high: f64,
    /// Number of independent judges these are worth; 0 without opinions.
    pub n_eff: f64,
    /// w_i, in the order of the opinions; ≥ 0, summing to 1.
    pub weights: Vec<f64>,
}

/// Pools opinions about one claim; `failed` judges should have judged and did not.
///
/// ```text
/// ℓ = ℓ₀ + n_eff · Σ w_i (ℓ_i − ℓ₀),   w_i ∝ max(Σ⁻¹1, 0)_i · e^(a_i),   n_eff = 1 / (wᵀ R w)
/// sd² = n_eff² · wᵀ Σ w + Σ w_i (ℓ_i − Σ w_j ℓ_j)² + failure_variance · failed / (failed + n)
/// ```
///
/// Σ has ρ_ij s_i s_j off the diagonal and s_i² + se_i² on it; R has ρ_ij. With equal variances and one ρ this
/// is n_eff = n/(1+(n−1)ρ): the plain mean at ρ = 1, naive Bayes (the sum) at ρ = 0. A negative weight would let
/// a judge argue against itself, and rests on covariances that few cases cannot estimate, so it is set to 0.
/// a_i is the judge's factor: 0 until settled cases say that the pool is better off with more or less of it.
pub fn pool(opinions: &[Opinion], failed: usize, config: &PoolConfig) -> Pooled {
    let n = opinions.len();
    if n == 0 {
        let sd = config.prior_standard_deviation;
        return interval(config.base_log_odds, sd, 0.0, Vec::new(), config);
    }
    let deviations: Vec<f64> = opinions
        .iter()
        .map(|opinion| {
            (opinion.log_odds - config.base_log_odds)
                .clamp(-config.log_odds_bound, config.log_odds_bound)
        })
        .collect();
    let Ground {
        correlations,
        covariance,
        weights,
    } = ground(opinions, config);
    let weights = weighted(&weights, &factors_of(opinions, config));
    let n_eff = 1.0 / quadratic_form(&correlations, &weights).max(1e-9);
    let mean: f64 = weights.iter().zip(&deviations).map(|(w, d)| w * d).sum();
    let disagreement: f64 = weights
        .iter()
        .zip(&deviations)
        .map(|(w, d)| w * (d - mean) * (d - mean))
        .sum();
    let failures = config.failure_variance * failed as f64 / (failed + n) as f64;
    let variance = n_eff * n_eff * quadratic_form(&covariance, &weights) + disagreement + failures;
    let shift = (n_eff * mean).clamp(-config.log_odds_bound, config.log_odds_bound);
    interval(
        config.base_log_odds + shift,
        variance.sqrt(),
        n_eff,
        weights,
        config,
    )
}

/// How many standard deviations each opinion lies from what the others pool to; `None` for one alone.
///
/// ```text
/// |ℓ_i − ℓ_others| / √(s_i² + se_i² + sd_others²)
/// ```
///
/// No opinion counts as further out than the pool lets it.
pub fn deviations(opinions: &[Opinion], config: &PoolConfig) -> Vec<Option<f64>> {
    if opinions.len() < 2 {
        return vec![None; opinions.len()];
    }
    let covariance = ground(opinions, config).covariance;
    let deviation = |i: usize| {
        let mut others = opinions.to_vec();
        let own = others.remove(i);
        let pooled = pool(&others, 0, config);
        let variance = covariance[i][i] + pooled.standard_deviation.powi(2);
        let reach = config.log_odds_bound;
        let own = (own.log_odds - config.base_log_odds).clamp(-reach, reach);
        (config.base_log_odds + own - pooled.log_odds).abs() / variance.sqrt()
    };
    (0..opinions.len()).map(|i| Some(deviation(i))).collect()
}

fn interval(
    log_odds: f64,
    standard_deviation: f64,
    n_eff: f64,
    weights: Vec<f64>,
    config: &PoolConfig,
) -> Pooled {
    let half = config.interval_z * standard_deviation;
    Pooled {
        log_odds,
        standard_deviation,
        low: log_odds - half,
        high: log_odds + half,
        n_eff,
        weights,
    }
}

/// What the pool rests on before the judges' factors: their errors and the weights of least variance.
pub(crate) struct Ground {
    /// R, entries in 0..=1, positive definite.
    pub(crate) correlations: Vec<Vec<f64>>,
    /// Σ, nats².
    pub(crate) covariance: Vec<Vec<f64>>,
    /// max(Σ⁻¹1, 0), summing to 1.
    pub(crate) weights: Vec<f64>,
}

pub(crate) fn ground(opinions: &[Opinion], config: &PoolConfig) -> Ground {
    let correlations = correlation_matrix(opinions, config);
    let covariance = covariance_matrix(opinions, &correlations, config);
    Ground {
        weights: minimum_variance_weights(&covariance),
        correlations,
        covariance,
    }
}

fn factors_of(opinions: &[Opinion], config: &PoolConfig) -> Vec<f64> {
    let factor = |opinion: &Opinion| config.factors.get(&opinion.judge).copied().unwrap_or(0.0);
    opinions.iter().map(factor).collect()
}

/// u_i e^(a_i), scaled to sum to 1.
pub(crate) fn weighted(weights: &[f64], factors: &[f64]) -> Vec<f64> {
    let largest = factors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raw: Vec<f64> = weights
        .iter()
        .zip(factors)
        .map(|(weight, factor)| weight * (factor - largest).exp())
        .collect();
    let total: f64 = raw.iter().sum();
    if total > 0.0 {
        raw.iter().map(|weight| weight / total).collect()
    } else {
        weights.to_vec()
    }
}

/// The judges' errors as the pool counts them: Σ without their own standard errors, and R.
pub fn error_matrices(opinions: &[Opinion], config: &PoolConfig) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let ground = ground(opinions, config);
    (ground.covariance, ground.correlations)
}

/// R. Entries estimated from different cases need not fit together; then they are drawn towards
/// independence, in proportion, until they do.
fn correlation_matrix(opinions: &[Opinion], config: &PoolConfig) -> Vec<Vec<f64>> {
    let measured = config.statistics.as_ref();
    let raw = opinions
        .iter()
        .enumerate()
        .map(|(i, a)| {
            opinions
                .iter()
                .enumerate()
                .map(|(j, b)| {
                    if i == j {
                        return 1.0;
                    }
                    let prior = if a.family == b.family {
                        config.family_correlation
                    } else {
                        config.correlation
                    };
                    measured
                        .and_then(|statistics| statistics.correlation(&a.judge, &b.judge, prior))
                        .unwrap_or(prior)
                        .clamp(0.0, 1.0)
                })
                .collect()
        })
        .collect();
    crate::statistics::consistent(raw)
}

fn covariance_matrix(
    opinions: &[Opinion],
    correlations: &[Vec<f64>],
    config: &PoolConfig,
) -> Vec<Vec<f64>> {
    let scales: Vec<f64> = opinions
        .iter()
        .map(|opinion| {
            config
                .statistics
                .as_ref()
                .and_then(|statistics| statistics.variance(&opinion.judge, config.judge_variance))
                .unwrap_or(config.judge_variance)
                .sqrt()
        })
        .collect();
    (0..opinions.len())
        .map(|i| {
            (0..opinions.len())
                .map(|j| {
                    let common = correlations[i][j] * scales[i] * scales[j];
                    // The ridge keeps ρ = 1 between equal judges solvable; it is far below any real variance.
                    let own = opinions[i].standard_error.powi(2) + 1e-9;
                    if i == j { common + own } else { common }
                })
                .collect()
        })
        .collect()
}

/// w = max(Σ⁻¹1, 0), scaled to sum to 1; equal weights if Σ cannot be solved.
fn minimum_variance_weights(covariance: &[Vec<f64>]) -> Vec<f64> {
    let n = covariance.len();
    let equal = vec![1.0 / n as f64; n];
    let Some(solution) = crate::linear::solve_spd(covariance, &vec![1.0; n]) else {
        return equal;
    };
    let clipped: Vec<f64> = solution.iter().map(|w| w.max(0.0)).collect();
    let total: f64 = clipped.iter().sum();
    if total.is_finite() && total > 0.0 {
        clipped.iter().map(|w| w / total).collect()
    } else {
        equal
    }
}

/// xᵀAx.
fn quadratic_form(matrix: &[Vec<f64>], x: &[f64]) -> f64 {
    matrix
        .iter()
        .zip(x)
        .map(|(row, xi)| xi * row.iter().zip(x).map(|(a, xj)| a * xj).sum::<f64>())
        .sum()
}

/// The judges' errors on settled cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorStatistics {
    /// Judges, in the order of the matrix.
    pub judges: Vec<String>,
    /// Sample covariance of the judges' log-odds within each outcome, nats².
    pub covariance: Vec<Vec<f64>>,
    /// Settled cases on which every judge gave an opinion.
    pub cases: usize,
    /// How many cases the prior is worth against the sample; > 0.
    pub prior_cases: f64,
    /// Cases behind each entry of the matrix, where judges did not all judge the same ones; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<Vec<usize>>,
}

/// One settled case: what each judge had said, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SettledCase {
    /// Log-odds by judge.
    pub log_odds: BTreeMap<String, f64>,
    /// π, 0..=1.
    pub settlement: f64,
}

impl ErrorStatistics {
    /// Measures the judges' errors: the covariance of log-odds around their mean within each outcome (π ≥ ½, π < ½).
    ///
    /// Within outcomes because that is what naive Bayes supposes to be zero between judges; the part that all
    /// judges get right is no error. Cases that lack one of the judges are left out.
    /// Errors: [`DataError::TooFew`] below two judges' worth of usable cases.
    pub fn fit(
        judges: &[String],
        cases: &[SettledCase],
        prior_cases: f64,
    ) -> Result<Self, DataError> {
        if !(prior_cases.is_finite() && prior_cases > 0.0) {
            return Err(DataError::Option {
                name: "prior_cases",
                reason: "is not a finite number > 0",
            });
        }
        let mut sides: [Vec<Vec<f64>>; 2] = [Vec::new(), Vec::new()];
        for case in cases {
            let row: Option<Vec<f64>> = judges
                .iter()
                .map(|judge| case.log_odds.get(judge).copied().filter(|l| l.is_finite()))
                .collect();
            if let Some(row) = row {
                sides[usize::from(case.settlement >= 0.5)].push(row);
            }
        }
        let used = sides[0].len() + sides[1].len();
        let groups = sides.iter().filter(|side| !side.is_empty()).count();
        if used < groups + 1 || judges.is_empty() {
            return Err(DataError::TooFew {
                what: "settled cases",
                have: used,
                need: 3,
            });
        }
        let n = judges.len();
        let mut covariance = vec![vec![0.0; n]; n];
        for side in sides.iter().filter(|side| !side.is_empty()) {
            add_scatter(&mut covariance, side);
        }
        for value in covariance.iter_mut().flatten() {
            *value /= (used - groups) as f64;
        }
        Ok(Self {
            judges: judges.to_vec(),
            covariance,
            cases: used,
            prior_cases,
            counts: Vec::new(),
        })
    }

    fn validate(&self) -> Result<(), DataError> {
        let n = self.judges.len();
        let square = self.covariance.len() == n && self.covariance.iter().all(|row| row.len() == n);
        let counted = self.counts.is_empty()
            || (self.counts.len() == n && self.counts.iter().all(|row| row.len() == n));
        let finite = self
            .covariance
            .iter()
            .flatten()
            .all(|value| value.is_finite());
        if square && counted && finite && self.prior_cases > 0.0 {
            Ok(())
        } else {
            Err(DataError::Option {
                name: "statistics",
                reason: "is not a finite square covariance of its judges",
            })
        }
    }

    fn index(&self, judge: &str) -> Option<usize> {
        self.judges.iter().position(|name| name == judge)
    }

    /// λ = n₀/(n₀ + n), the weight of the prior in an entry of the matrix.
    fn shrinkage(&self, i: usize, j: usize) -> f64 {
        let cases = self.counts.get(i).map_or(self.cases, |row| row[j]);
        self.prior_cases / (self.prior_cases + cases as f64)
    }

    /// λ·prior + (1−λ)·sample variance.
    fn variance(&self, judge: &str, prior: f64) -> Option<f64> {
        let i = self.index(judge)?;
        let lambda = self.shrinkage(i, i);
        // A judge that says the same every time makes no errors by this measure, and knows nothing.
        let sample = self.covariance[i][i].max(LEAST_VARIANCE * prior);
        Some(lambda * prior + (1.0 - lambda) * sample)
    }

    /// λ·prior + (1−λ)·sample correlation.
    fn correlation(&self, a: &str, b: &str, prior: f64) -> Option<f64> {
        let (i, j) = (self.index(a)?, self.index(b)?);
        let scale = (self.covariance[i][i] * self.covariance[j][j]).sqrt();
        let sample = if scale > 0.0 {
            self.covariance[i][j] / scale
        } else {
            prior
        };
        let lambda = self.shrinkage(i, j);
        Some(lambda * prior + (1.0 - lambda) * sample)
    }
}

/// Adds Σ (x − x̄)(x − x̄)ᵀ of the rows.
fn add_scatter(total: &mut [Vec<f64>], rows: &[Vec<f64>]) {
    let n = total.len();
    let mean: Vec<f64> = (0..n)
        .map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64)
        .collect();
    for row in rows {
        for i in 0..n {
            for j in 0..n {
                total[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
