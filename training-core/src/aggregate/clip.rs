//! Centered clipping (Karimireddy et al., "Learning from History for Byzantine
//! Robust Optimization", 2021).

use super::{CoordinateMedian, check, median};
use crate::outer::{Aggregator, OuterError, Weighted};

/// `v ← v + Σᵢ (Δᵢ − v)·min(1, τ/‖Δᵢ − v‖) / n`, from the coordinate median,
/// until a step is no longer than `10⁻⁶` of `τ`.
///
/// `τ` is the median of the distances `‖Δᵢ − v‖` from where it starts: as long
/// as fewer than half lie, it is no longer than an honest distance, so what
/// any one contribution moves the result by is at most `τ/n` a step.
///
/// The theory asks that nodes send momenta rather than single steps. What
/// nodes send here sums H steps of an optimiser that keeps its momentum from
/// round to round, and with error feedback also what earlier rounds left out.
#[derive(Debug, Clone, Copy)]
pub struct CenteredClip {
    /// Most steps, `≥ 1`.
    pub steps: u32,
}

impl Default for CenteredClip {
    fn default() -> Self {
        Self { steps: 50 }
    }
}

impl Aggregator for CenteredClip {
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        let width = check(contributions)?;
        let mut centre: Vec<f64> = CoordinateMedian
            .aggregate(contributions)?
            .into_iter()
            .map(f64::from)
            .collect();
        let distances = |centre: &[f64]| -> Vec<f64> {
            let distance = |c: &Weighted<'_>| distance(c.delta, centre);
            contributions.iter().map(distance).collect()
        };
        let mut lengths = distances(&centre);
        let radius = median(lengths.clone());
        if radius <= 0.0 {
            // Most say the same: nothing to average.
            return Ok(to_single(&centre));
        }
        let count = contributions.len() as f64;
        for _ in 0..self.steps.max(1) {
            let mut step = vec![0.0_f64; width];
            for (contribution, length) in contributions.iter().zip(&lengths) {
                let weight = if *length > radius {
                    radius / length
                } else {
                    1.0
                } / count;
                for ((sum, value), at) in step.iter_mut().zip(contribution.delta).zip(&centre) {
                    *sum += weight * (f64::from(*value) - at);
                }
            }
            let moved = step.iter().map(|value| value * value).sum::<f64>().sqrt();
            centre.iter_mut().zip(&step).for_each(|(at, by)| *at += by);
            if moved <= 1e-6 * radius {
                break;
            }
            lengths = distances(&centre);
        }
        Ok(to_single(&centre))
    }
}

fn distance(values: &[f32], centre: &[f64]) -> f64 {
    let pairs = values.iter().zip(centre);
    pairs
        .map(|(value, at)| (f64::from(*value) - at).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn to_single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}
