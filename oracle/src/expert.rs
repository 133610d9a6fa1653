//! One fitted classifier: sparse weights, and the calibration that turns its score into honest log-odds.

use std::collections::BTreeMap;

use crate::error::DataError;
use crate::features::Sparse;
use crate::logistic::{SparseFit, dot, fit_dense, fit_sparse, inner};
use crate::metrics::{log_loss, mean_log_odds, probabilities};
use crate::rows::fold_of;

/// A case ready to be learnt from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) vector: &'a Sparse,
    pub(crate) kind: &'a str,
    pub(crate) group: &'a str,
    pub(crate) label: f64,
    pub(crate) weight: f64,
}

/// The columns of the cases' vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Columns {
    /// So many hashed buckets.
    Hashed(usize),
    /// Dense ones, with the share of the squared norm that each is given; the last is a constant.
    Dense(Vec<f32>),
}

/// How experts are fitted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ExpertOptions {
    /// Values of C tried; the one with the least log loss on inner folds is used.
    pub(crate) costs: Vec<f64>,
    pub(crate) inner_folds: usize,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
    /// Precision of the prior that a claim kind's calibration is its family's, nats⁻².
    pub(crate) kind_precision: f64,
}

/// ℓ = a + a_k + (b + b_k)·s for a score s on a claim of kind k; kinds not seen have a_k = b_k = 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Calibration {
    pub(crate) intercept: f64,
    pub(crate) slope: f64,
    /// (a_k, b_k) by kind.
    pub(crate) kinds: BTreeMap<String, (f64, f64)>,
}

/// Sparse weights with their calibration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expert {
    pub(crate) weights: Vec<f32>,
    pub(crate) calibration: Calibration,
}

impl Calibration {
    pub(crate) fn log_odds(&self, score: f64, kind: &str) -> f64 {
        let (da, db) = self.kinds.get(kind).copied().unwrap_or_default();
        self.intercept + da + (self.slope + db) * score
    }

    /// Platt's map with per-kind deviations, all shrunk: the family's slope to 1 (weakly), each kind's deviations to 0.
    pub(crate) fn fit(scores: &[f64], cases: &[Case<'_>], kind_precision: f64) -> Self {
        Self::fit_about([(0.0, 1e-3), (1.0, 1.0)], scores, cases, kind_precision)
    }

    /// The same with priors, (mean, precision) each, of the family's intercept and slope.
    pub(crate) fn fit_about(
        prior: [(f64, f64); 2],
        scores: &[f64],
        cases: &[Case<'_>],
        kind_precision: f64,
    ) -> Self {
        let mut kinds: Vec<&str> = cases.iter().map(|case| case.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        // One kind alone is the family: its deviations would only repeat the family's own terms.
        if kinds.len() < 2 {
            kinds.clear();
        }
        let mut prior = prior.to_vec();
        prior.extend(kinds.iter().flat_map(|_| [(0.0, kind_precision); 2]));
        let data: Vec<(Vec<f64>, f64, f64)> = scores
            .iter()
            .zip(cases)
            .map(|(score, case)| {
                let mut x = vec![0.0; prior.len()];
                (x[0], x[1]) = (1.0, *score);
                if let Ok(k) = kinds.binary_search(&case.kind) {
                    (x[2 + 2 * k], x[3 + 2 * k]) = (1.0, *score);
                }
                (x, case.label, case.weight)
            })
            .collect();
        let beta = fit_dense(&data, &prior);
        Self {
            intercept: beta[0],
            slope: beta[1],
            kinds: kinds
                .iter()
                .enumerate()
                .map(|(k, kind)| ((*kind).to_owned(), (beta[2 + 2 * k], beta[3 + 2 * k])))
                .collect(),
        }
    }
}

impl Expert {
    /// Fits weights on all cases, and the calibration on scores of inner folds that the weights had not seen; with the
    /// log-odds that those scores come to, by case.
    ///
    /// Errors: [`DataError::OneClass`] when all labels are on one side.
    pub(crate) fn fit(
        name: &str,
        cases: &[Case<'_>],
        columns: &Columns,
        options: &ExpertOptions,
    ) -> Result<(Self, Vec<f64>), DataError> {
        let (cost, scores) = choose_cost(name, cases, columns, options)?;
        let calibration = Calibration::fit(&scores, cases, options.kind_precision);
        let pairs = scores.iter().zip(cases);
        let unseen = pairs
            .map(|(score, case)| calibration.log_odds(*score, case.kind))
            .collect();
        let all: Vec<usize> = (0..cases.len()).collect();
        let expert = Self {
            weights: fit_weights(cases, &all, columns, cost, options),
            calibration,
        };
        Ok((expert, unseen))
    }
}

/// The cost with the least calibrated log loss on inner folds, and the out-of-fold scores it gives.
pub(crate) fn choose_cost(
    name: &str,
    cases: &[Case<'_>],
    columns: &Columns,
    options: &ExpertOptions,
) -> Result<(f64, Vec<f64>), DataError> {
    let positives: f64 = cases.iter().map(|case| case.label).sum();
    if positives < 1.0 || cases.len() as f64 - positives < 1.0 {
        return Err(DataError::OneClass(name.to_owned()));
    }
    let labels: Vec<f64> = cases.iter().map(|case| case.label).collect();
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    for &cost in &options.costs {
        let scores = out_of_fold(cases, columns, cost, options);
        // A plain two-parameter map is enough to compare costs, and cannot favour one by fitting kinds.
        let data: Vec<(Vec<f64>, f64, f64)> = scores
            .iter()
            .zip(cases)
            .map(|(score, case)| (vec![1.0, *score], case.label, case.weight))
            .collect();
        let beta = fit_dense(&data, &[(mean_log_odds(&labels), 1e-3), (1.0, 1e-3)]);
        let log_odds: Vec<f64> = data.iter().map(|(x, ..)| inner(&beta, x)).collect();
        let loss = log_loss(&probabilities(&log_odds), &labels);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, cost, scores));
        }
    }
    best.map(|(_, cost, scores)| (cost, scores))
        .ok_or(DataError::Option {
            name: "costs",
            reason: "is empty",
        })
}

fn out_of_fold(
    cases: &[Case<'_>],
    columns: &Columns,
    cost: f64,
    options: &ExpertOptions,
) -> Vec<f64> {
    let folds: Vec<usize> = cases
        .iter()
        .map(|case| fold_of(case.group, options.seed ^ 0x5EED, options.inner_folds))
        .collect();
    let mut scores = vec![0.0; cases.len()];
    for fold in 0..options.inner_folds {
        let train: Vec<usize> = (0..cases.len()).filter(|i| folds[*i] != fold).collect();
        let weights = fit_weights(cases, &train, columns, cost, options);
        for i in (0..cases.len()).filter(|i| folds[*i] == fold) {
            scores[i] = dot(&weights, cases[i].vector);
        }
    }
    scores
}

/// Weights fitted on the chosen cases, with each feature brought to its scale first.
///
/// Hashed features are scaled by their inverse document frequency
///
/// ```text
/// idf_j = 1 + ln((1 + n)/(1 + df_j))
/// ```
///
/// which is a prior that rare features may carry more. Dense ones are centred and divided by their standard deviation, so
/// that a column with large values has no more say than another. Both are folded into the weights (centres into the
/// constant, which is the last column), so scoring needs no table.
pub(crate) fn fit_weights(
    cases: &[Case<'_>],
    chosen: &[usize],
    columns: &Columns,
    cost: f64,
    options: &ExpertOptions,
) -> Vec<f32> {
    let (centre, scale) = match columns {
        Columns::Hashed(size) => (Vec::new(), inverse_frequency(cases, chosen, *size)),
        Columns::Dense(shares) => standard_scale(cases, chosen, shares),
    };
    let scaled: Vec<Sparse> = chosen
        .iter()
        .map(|&i| rescaled(cases[i].vector, &centre, &scale))
        .collect();
    let data: Vec<(&Sparse, f64, f64)> = chosen
        .iter()
        .zip(&scaled)
        .map(|(&i, vector)| (vector, cases[i].label, cases[i].weight))
        .collect();
    let fit = SparseFit {
        cost,
        epochs: options.epochs,
        tolerance: 0.02,
        seed: options.seed,
    };
    let mut weights = fit_sparse(&data, scale.len(), fit);
    for (weight, scale) in weights.iter_mut().zip(&scale) {
        *weight *= scale;
    }
    let moved: f32 = weights.iter().zip(&centre).map(|(w, m)| w * m).sum();
    if let (Some(constant), Columns::Dense(_)) = (weights.last_mut(), columns) {
        *constant -= moved;
    }
    weights
}

fn rescaled(vector: &Sparse, centre: &[f32], scale: &[f32]) -> Sparse {
    if vector.is_dense() {
        let columns = vector.values.iter().zip(centre).zip(scale);
        return Sparse::dense(columns.map(|((value, m), s)| (value - m) * s).collect());
    }
    let entries = vector.indices.iter().zip(&vector.values);
    Sparse {
        indices: vector.indices.clone(),
        values: entries
            .map(|(index, value)| value * scale[*index as usize])
            .collect(),
    }
}

fn inverse_frequency(cases: &[Case<'_>], chosen: &[usize], size: usize) -> Vec<f32> {
    let mut frequency = vec![0_u32; size];
    for &i in chosen {
        for index in &cases[i].vector.indices {
            frequency[*index as usize] += 1;
        }
    }
    let n = chosen.len() as f32;
    frequency
        .iter()
        .map(|df| 1.0 + ((1.0 + n) / (1.0 + *df as f32)).ln())
        .collect()
}

/// Centre of each column, and √share / deviation; the constant is left as it is.
fn standard_scale(cases: &[Case<'_>], chosen: &[usize], shares: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let n = chosen.len().max(1) as f64;
    let (mut sums, mut squares) = (vec![0.0_f64; shares.len()], vec![0.0_f64; shares.len()]);
    for &i in chosen {
        let columns = sums.iter_mut().zip(&mut squares);
        for ((sum, square), value) in columns.zip(&cases[i].vector.values) {
            let value = f64::from(*value);
            *sum += value;
            *square += value * value;
        }
    }
    let mut centre: Vec<f32> = sums.iter().map(|sum| (sum / n) as f32).collect();
    let mut scale: Vec<f32> = squares
        .iter()
        .zip(&sums)
        .zip(shares)
        .map(|((square, sum), share)| {
            let variance = square / n - (sum / n).powi(2);
            // A column that does not vary says nothing, and dividing by its deviation would only make noise of it.
            let varies = variance > 1e-9 * (1.0 + (sum / n).powi(2));
            if varies {
                (f64::from(*share) / variance).sqrt() as f32
            } else {
                0.0
            }
        })
        .collect();
    if let (Some(centre), Some(scale)) = (centre.last_mut(), scale.last_mut()) {
        (*centre, *scale) = (0.0, 1.0);
    }
    (centre, scale)
}
