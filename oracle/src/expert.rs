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
        let mut kinds: Vec<&str> = cases.iter().map(|case| case.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        // One kind alone is the family: its deviations would only repeat the family's own terms.
        if kinds.len() < 2 {
            kinds.clear();
        }
        let mut prior = vec![(0.0, 1e-3), (1.0, 1.0)];
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
    /// Fits weights on all cases, and the calibration on scores of inner folds that the weights had not seen.
    ///
    /// Errors: [`DataError::OneClass`] when all labels are on one side.
    pub(crate) fn fit(
        name: &str,
        cases: &[Case<'_>],
        size: usize,
        options: &ExpertOptions,
    ) -> Result<Self, DataError> {
        let (cost, scores) = choose_cost(name, cases, size, options)?;
        let calibration = Calibration::fit(&scores, cases, options.kind_precision);
        let all: Vec<usize> = (0..cases.len()).collect();
        Ok(Self {
            weights: fit_weights(cases, &all, size, cost, options),
            calibration,
        })
    }
}

/// The cost with the least calibrated log loss on inner folds, and the out-of-fold scores it gives.
pub(crate) fn choose_cost(
    name: &str,
    cases: &[Case<'_>],
    size: usize,
    options: &ExpertOptions,
) -> Result<(f64, Vec<f64>), DataError> {
    let positives: f64 = cases.iter().map(|case| case.label).sum();
    if positives < 1.0 || cases.len() as f64 - positives < 1.0 {
        return Err(DataError::OneClass(name.to_owned()));
    }
    let labels: Vec<f64> = cases.iter().map(|case| case.label).collect();
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    for &cost in &options.costs {
        let scores = out_of_fold(cases, size, cost, options);
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

fn out_of_fold(cases: &[Case<'_>], size: usize, cost: f64, options: &ExpertOptions) -> Vec<f64> {
    let folds: Vec<usize> = cases
        .iter()
        .map(|case| fold_of(case.group, options.seed ^ 0x5EED, options.inner_folds))
        .collect();
    let mut scores = vec![0.0; cases.len()];
    for fold in 0..options.inner_folds {
        let train: Vec<usize> = (0..cases.len()).filter(|i| folds[*i] != fold).collect();
        let weights = fit_weights(cases, &train, size, cost, options);
        for i in (0..cases.len()).filter(|i| folds[*i] == fold) {
            scores[i] = dot(&weights, cases[i].vector);
        }
    }
    scores
}

/// Weights fitted on the chosen cases, with each feature scaled by its inverse document frequency
///
/// ```text
/// idf_j = 1 + ln((1 + n)/(1 + df_j))
/// ```
///
/// which is a prior that rare features may carry more; the scale is folded into the weights, so scoring needs no table.
pub(crate) fn fit_weights(
    cases: &[Case<'_>],
    chosen: &[usize],
    size: usize,
    cost: f64,
    options: &ExpertOptions,
) -> Vec<f32> {
    let mut frequency = vec![0_u32; size];
    for &i in chosen {
        for index in &cases[i].vector.indices {
            frequency[*index as usize] += 1;
        }
    }
    let n = chosen.len() as f32;
    let scale: Vec<f32> = frequency
        .iter()
        .map(|df| 1.0 + ((1.0 + n) / (1.0 + *df as f32)).ln())
        .collect();
    let scaled: Vec<Sparse> = chosen
        .iter()
        .map(|&i| {
            let vector = cases[i].vector;
            Sparse {
                indices: vector.indices.clone(),
                values: vector
                    .indices
                    .iter()
                    .zip(&vector.values)
                    .map(|(index, value)| value * scale[*index as usize])
                    .collect(),
            }
        })
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
    let mut weights = fit_sparse(&data, size, fit);
    for (weight, scale) in weights.iter_mut().zip(&scale) {
        *weight *= scale;
    }
    weights
}
