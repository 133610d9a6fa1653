//! Scores of probabilities against labels that may be shares of raters.

use crate::linear::{logit, sigmoid};

/// Area under the ROC curve, ties counted half; a label y counts as weight y of a positive and 1−y of a negative.
///
/// ```text
/// AUROC = Σ_{i,j} y_i (1−y_j) [s_i > s_j] + ½[s_i = s_j]  /  (Σ y_i · Σ (1−y_j))
/// ```
///
/// ½ when there are no positives or no negatives. The pair of a case with itself counts as a tie.
pub fn auroc(scores: &[f64], labels: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut below, mut wins) = (0.0, 0.0);
    for run in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
        let positive: f64 = run.iter().map(|i| labels[*i]).sum();
        let negative: f64 = run.iter().map(|i| 1.0 - labels[*i]).sum();
        wins += positive * (below + 0.5 * negative);
        below += negative;
    }
    let positives: f64 = labels.iter().sum();
    let pairs = positives * below;
    if pairs > 0.0 { wins / pairs } else { 0.5 }
}

/// Mean of (p − y)².
pub fn brier(probabilities: &[f64], labels: &[f64]) -> f64 {
    mean(
        probabilities
            .iter()
            .zip(labels)
            .map(|(p, y)| (p - y).powi(2)),
    )
}

/// Brier score of always saying the mean label: the variance of the labels.
pub fn base_rate_brier(labels: &[f64]) -> f64 {
    let rate = mean(labels.iter().copied());
    mean(labels.iter().map(|y| (y - rate).powi(2)))
}

/// Mean of −y ln p − (1−y) ln(1−p), with p kept in 10⁻⁶..=1−10⁻⁶; nats.
pub fn log_loss(probabilities: &[f64], labels: &[f64]) -> f64 {
    mean(probabilities.iter().zip(labels).map(|(p, y)| {
        let p = p.clamp(1e-6, 1.0 - 1e-6);
        -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
    }))
}

/// Expected calibration error over ten bins of equal count:
///
/// ```text
/// ECE = Σ_b n_b/n · |mean p in b − mean y in b|
/// ```
///
/// Bins hold equally many cases, so that every bin is estimated equally well.
pub fn expected_calibration_error(probabilities: &[f64], labels: &[f64]) -> f64 {
    let n = probabilities.len();
    if n == 0 {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let bins = 10.min(n);
    (0..bins)
        .map(|bin| {
            let part = &order[bin * n / bins..(bin + 1) * n / bins];
            let gap: f64 = part.iter().map(|i| probabilities[*i] - labels[*i]).sum();
            gap.abs() / n as f64
        })
        .sum()
}

/// σ(ℓ) of each.
pub(crate) fn probabilities(log_odds: &[f64]) -> Vec<f64> {
    log_odds.iter().map(|l| sigmoid(*l)).collect()
}

/// Log-odds of the mean label.
pub(crate) fn mean_log_odds(labels: &[f64]) -> f64 {
    logit(mean(labels.iter().copied()).clamp(1e-3, 1.0 - 1e-3))
}

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0_usize);
    for value in values {
        sum += value;
        n += 1;
    }
    if n == 0 { 0.0 } else { sum / n as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed_values() {
        let scores = [0.1, 0.4, 0.35, 0.8];
        let labels = [0.0, 0.0, 1.0, 1.0];
        assert!((auroc(&scores, &labels) - 0.75).abs() < 1e-12);
        assert!((brier(&scores, &labels) - 0.158_125).abs() < 1e-12);
        assert!((log_loss(&scores, &labels) - 0.472_287_8).abs() < 1e-6);
        assert!((base_rate_brier(&labels) - 0.25).abs() < 1e-12);
        assert!((auroc(&[0.5; 4], &labels) - 0.5).abs() < 1e-12);
        assert_eq!(auroc(&[0.1, 0.2], &[1.0, 1.0]), 0.5);
    }

    #[test]
    fn a_calibrated_forecast_has_no_calibration_error() {
        let probabilities: Vec<f64> = (0..1000).map(|i| if i < 500 { 0.2 } else { 0.8 }).collect();
        let labels: Vec<f64> = (0..1000)
            .map(|i| f64::from(u8::from(if i < 500 { i % 5 == 0 } else { i % 5 != 0 })))
            .collect();
        assert!(expected_calibration_error(&probabilities, &labels) < 1e-9);
        let over: Vec<f64> = probabilities
            .iter()
            .map(|p| if *p > 0.5 { 1.0 } else { 0.0 })
            .collect();
        assert!((expected_calibration_error(&over, &labels) - 0.2).abs() < 1e-9);
    }
}
