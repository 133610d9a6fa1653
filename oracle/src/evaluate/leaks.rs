//! How far a set leaks its label: what the prompt alone, or lengths alone, reach.

use super::EvaluateOptions;
use crate::expert::{Case, Columns, ExpertOptions, fit_weights};
use crate::features::{View, extract};
use crate::logistic::dot;
use crate::metrics::auroc;
use crate::rows::{Row, fold_of};

/// AUROC in grouped folds from one view of the cases alone.
pub(super) fn view_auroc(view: View, rows: &[Row], options: &EvaluateOptions) -> f64 {
    let bits = options.train.bits;
    let vectors: Vec<_> = rows
        .iter()
        .map(|row| extract(view, &row.claim_type, &row.prompt, &row.response, bits))
        .collect();
    let cases: Vec<Case<'_>> = rows
        .iter()
        .zip(&vectors)
        .map(|(row, vector)| Case {
            vector,
            kind: &row.claim_type,
            group: &row.group,
            label: row.label,
            weight: 1.0,
        })
        .collect();
    let fit = ExpertOptions {
        costs: vec![1.0],
        inner_folds: 2,
        epochs: options.train.epochs,
        seed: options.train.seed,
        kind_precision: options.train.kind_precision,
    };
    let folds: Vec<usize> = rows
        .iter()
        .map(|row| fold_of(&row.group, options.seed, options.folds))
        .collect();
    let mut scores = vec![0.0; rows.len()];
    for fold in 0..options.folds {
        let train: Vec<usize> = (0..rows.len()).filter(|i| folds[*i] != fold).collect();
        let weights = fit_weights(&cases, &train, &Columns::Hashed(1 << bits), 1.0, &fit);
        for i in (0..rows.len()).filter(|i| folds[*i] == fold) {
            scores[i] = dot(&weights, &vectors[i]);
        }
    }
    let labels: Vec<f64> = rows
        .iter()
        .map(|row| f64::from(u8::from(row.label >= 0.5)))
        .collect();
    auroc(&scores, &labels)
}
