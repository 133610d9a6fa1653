//! Krum (Blanchard et al., "Machine Learning with Adversaries: Byzantine
//! Tolerant Gradient Descent", 2017).

use super::check;
use crate::outer::{Aggregator, OuterError, Weighted};

/// The one contribution that is closest to its neighbours:
/// `argminᵢ Σ_{j → i} ‖Δᵢ − Δⱼ‖²` over the `n − f − 2` nearest others, with
/// `f = min(⌊faulty·n⌋, ⌊(n − 3)/2⌋)`. Of equals, the least in lexical order of
/// values, so that the order of contributions does not matter.
#[derive(Debug, Clone, Copy)]
pub struct Krum {
    /// Part of the contributions that may be lies, in `[0, .5)`.
    pub faulty: f64,
}

impl Aggregator for Krum {
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        check(contributions)?;
        let count = contributions.len();
        let bound = count.saturating_sub(3) / 2;
        let faulty = ((self.faulty.clamp(0.0, 0.5) * count as f64) as usize).min(bound);
        let neighbours = count.saturating_sub(faulty + 2).max(1);
        let mut squares = vec![vec![0.0_f64; count]; count];
        for first in 0..count {
            for second in first + 1..count {
                let square =
                    distance_square(contributions[first].delta, contributions[second].delta);
                squares[first][second] = square;
                squares[second][first] = square;
            }
        }
        let score = |index: usize| {
            let mut others: Vec<f64> = (0..count)
                .filter(|other| *other != index)
                .map(|other| squares[index][other])
                .collect();
            others.sort_unstable_by(f64::total_cmp);
            others.iter().take(neighbours).sum::<f64>()
        };
        let scores: Vec<f64> = (0..count).map(score).collect();
        let order = |a: &usize, b: &usize| {
            let values = |index: usize| contributions[index].delta;
            let lexical = || {
                let pairs = values(*a).iter().zip(values(*b));
                let mut differing = pairs.map(|(x, y)| x.total_cmp(y));
                differing
                    .find(|o| o.is_ne())
                    .unwrap_or(std::cmp::Ordering::Equal)
            };
            scores[*a].total_cmp(&scores[*b]).then_with(lexical)
        };
        let best = (0..count).min_by(order).unwrap_or(0);
        Ok(contributions[best].delta.to_vec())
    }
}

fn distance_square(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
        .sum()
}
