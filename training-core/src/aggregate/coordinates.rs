//! Rules that look at each coordinate for itself (Yin et al., "Byzantine-Robust
//! Distributed Learning: Towards Optimal Statistical Rates", 2018).

use super::check;
use crate::outer::{Aggregator, OuterError, Weighted};

/// In each coordinate the median; of an even number the mean of the middle two.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoordinateMedian;

impl Aggregator for CoordinateMedian {
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        by_coordinate(contributions, |sorted| {
            let middle = sorted.len() / 2;
            if sorted.len() % 2 == 1 {
                sorted[middle]
            } else {
                f32::midpoint(sorted[middle - 1], sorted[middle])
            }
        })
    }
}

/// In each coordinate the mean without the `⌊share·n⌋` least and greatest.
#[derive(Debug, Clone, Copy)]
pub struct TrimmedMean {
    /// Part left out on each side, in `[0, .5)`.
    pub share: f64,
}

impl Aggregator for TrimmedMean {
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        let count = contributions.len();
        let cut = (self.share.clamp(0.0, 0.5) * count as f64) as usize;
        let cut = cut.min(count.saturating_sub(1) / 2);
        by_coordinate(contributions, |sorted| {
            let kept = &sorted[cut..count - cut];
            let sum: f64 = kept.iter().map(|value| f64::from(*value)).sum();
            (sum / kept.len() as f64) as f32
        })
    }
}

/// `rule` over the sorted values of every coordinate; never called with none.
fn by_coordinate(
    contributions: &[Weighted<'_>],
    rule: impl Fn(&[f32]) -> f32,
) -> Result<Vec<f32>, OuterError> {
    let width = check(contributions)?;
    let mut column = vec![0.0; contributions.len()];
    let result = (0..width).map(|index| {
        for (value, contribution) in column.iter_mut().zip(contributions) {
            *value = contribution.delta[index];
        }
        column.sort_unstable_by(f32::total_cmp);
        rule(&column)
    });
    Ok(result.collect())
}
