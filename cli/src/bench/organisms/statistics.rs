//! Scores with intervals.

use plumbline_training_core::draw::Draw;
use serde::Serialize;

/// Resamples of an interval.
const RESAMPLES: usize = 2_000;
/// Prices are counted as at least this far from certainty, so that a logarithm stays finite.
const LEAST: f64 = 1e-3;

/// A mean with its central 95 % interval, by resampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    pub n: usize,
}

/// The mean of `values` with a percentile bootstrap (Efron 1979); none without values.
pub fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let mean = mean(values)?;
    let mut draw = Draw::new(
        "plumbline 2026 organisms bootstrap v1",
        &[&seed.to_le_bytes()],
    );
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..values.len()).map(|_| values[draw.below(values.len() as u64) as usize]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means[((RESAMPLES - 1) as f64 * q).round() as usize];
    Some(Estimate {
        mean,
        low: at(0.025),
        high: at(0.975),
        n: values.len(),
    })
}

pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// (p − y)².
pub fn brier(price: f64, truth: bool) -> f64 {
    let y = f64::from(u8::from(truth));
    (price - y).powi(2)
}

/// −ln of the probability given to what is the case, nats.
pub fn log_loss(price: f64, truth: bool) -> f64 {
    let price = price.clamp(LEAST, 1.0 - LEAST);
    -(if truth { price } else { 1.0 - price }).ln()
}

/// Upper end of the one-sided 95 % interval of a rate, by Clopper and Pearson (1934): the rate at which
/// `hits` or fewer of `n` have a chance of 5 %.
pub fn upper_rate(hits: usize, n: usize) -> f64 {
    if n == 0 || hits >= n {
        return 1.0;
    }
    let chance = |rate: f64| {
        let mut term = (1.0 - rate).powi(n as i32);
        let mut sum = term;
        for k in 1..=hits {
            term *= rate / (1.0 - rate) * (n - k + 1) as f64 / k as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 1.0 - 1e-12);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match chance(middle) > 0.05 {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_match_hand_worked_values() {
        assert!(
            (brier(0.9, true) - 0.01).abs() < 1e-12 && (brier(0.9, false) - 0.81).abs() < 1e-12
        );
        assert!((log_loss(0.5, true) - std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!((mean(&[]), median(&[])), (None, None));
        // No hit in 20: 1 − 0.05^(1/20).
        assert!(
            (upper_rate(0, 20) - 0.1391).abs() < 1e-3,
            "{}",
            upper_rate(0, 20)
        );
        assert!(
            (upper_rate(1, 10) - 0.3942).abs() < 1e-3,
            "{}",
            upper_rate(1, 10)
        );
    }

    #[test]
    fn intervals_hold_the_mean_and_are_repeatable() {
        let values: Vec<f64> = (0..40).map(f64::from).collect();
        let first = estimate(&values, 7);
        assert_eq!(first, estimate(&values, 7));
        assert!(first.is_some_and(|e| e.low < e.mean && e.mean < e.high && e.n == 40));
        assert_eq!(estimate(&[], 1), None);
    }
}
