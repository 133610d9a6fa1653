//! Aggregators: several contributions become one, some of them perhaps lies.
//!
//! | aggregator | withstands | costs |
//! |---|---|---|
//! | [`Mean`] | nobody: one contribution can move it anywhere | `O(nd)` |
//! | [`NormClippedMean`] | magnitude, not direction | `O(nd)` |
//! | [`CoordinateMedian`] | less than half, coordinate by coordinate | `O(nd log n)` |
//! | [`TrimmedMean`] | as many as are trimmed on each side | `O(nd log n)` |
//! | [`Krum`] | `f` of `n ≥ 2f + 3` | `O(n²d)` |
//! | [`CenteredClip`] | less than half, by distance | `O(nd)` a step |
//!
//! The means weigh by tokens, of which a node can claim no more than it was
//! given. The others count heads: a weight that a node states itself would be
//! a vote that it gives itself.
//!
//! Contributions of [`SparseLoCo`](crate::codec::Scheme::SparseLoCo) hardly
//! overlap, so a rule that takes each coordinate for itself (median, trimmed
//! mean) throws nearly everything away; rules by distance do not.

mod clip;
mod coordinates;
mod krum;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use clip::CenteredClip;
pub use coordinates::{CoordinateMedian, TrimmedMean};
pub use krum::Krum;

use crate::outer::{Aggregator, Mean, OuterError, Weighted, norm};

/// Which aggregator a run uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum AggregatorSpec {
    /// [`Mean`].
    #[default]
    Mean,
    /// [`NormClippedMean`].
    NormClippedMean,
    /// [`CoordinateMedian`].
    CoordinateMedian,
    /// [`TrimmedMean`].
    TrimmedMean {
        /// Part of the contributions left out on each side, in `[0, .5)`.
        share: f64,
    },
    /// [`Krum`].
    Krum {
        /// Part of the contributions that may be lies, in `[0, .5)`.
        faulty: f64,
    },
    /// [`CenteredClip`].
    CenteredClip,
}

impl AggregatorSpec {
    /// One of each, with the settings that benchmarks use.
    pub const ALL: [Self; 6] = [
        Self::Mean,
        Self::NormClippedMean,
        Self::CoordinateMedian,
        Self::TrimmedMean { share: 0.4 },
        Self::Krum { faulty: 0.4 },
        Self::CenteredClip,
    ];

    /// Its name in figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::NormClippedMean => "norm_clipped_mean",
            Self::CoordinateMedian => "coordinate_median",
            Self::TrimmedMean { .. } => "trimmed_mean",
            Self::Krum { .. } => "krum",
            Self::CenteredClip => "centered_clip",
        }
    }

    /// What is out of its domain, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::TrimmedMean { share: part } | Self::Krum { faulty: part }
                if !(0.0..0.5).contains(part) =>
            {
                Some("the part to leave out must lie in [0, 0.5)")
            }
            _ => None,
        }
    }

    /// The aggregator.
    pub fn build(&self) -> Box<dyn Aggregator> {
        match *self {
            Self::Mean => Box::new(Mean),
            Self::NormClippedMean => Box::new(NormClippedMean),
            Self::CoordinateMedian => Box::new(CoordinateMedian),
            Self::TrimmedMean { share } => Box::new(TrimmedMean { share }),
            Self::Krum { faulty } => Box::new(Krum { faulty }),
            Self::CenteredClip => Box::new(CenteredClip::default()),
        }
    }
}

/// The token-weighted mean of contributions shortened to the median norm:
/// `Δ = Σᵢ nᵢ·Δᵢ·min(1, m/‖Δᵢ‖) / Σᵢ nᵢ` with `m` the median of the norms.
#[derive(Debug, Clone, Copy, Default)]
pub struct NormClippedMean;

impl Aggregator for NormClippedMean {
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        let width = check(contributions)?;
        let total: f64 = contributions.iter().map(|c| c.tokens as f64).sum();
        if total <= 0.0 {
            return Err(OuterError::NoWeight);
        }
        let norms: Vec<f64> = contributions.iter().map(|c| norm(c.delta)).collect();
        let bound = median(norms.clone());
        let mut mean = vec![0.0_f32; width];
        for (contribution, norm) in contributions.iter().zip(&norms) {
            let shorter = if *norm > bound { bound / norm } else { 1.0 };
            let weight = (contribution.tokens as f64 / total * shorter) as f32;
            for (sum, value) in mean.iter_mut().zip(contribution.delta) {
                *sum += weight * value;
            }
        }
        Ok(mean)
    }
}

/// The common length of at least one contribution.
fn check(contributions: &[Weighted<'_>]) -> Result<usize, OuterError> {
    let want = contributions.first().ok_or(OuterError::Empty)?.delta.len();
    let odd = contributions.iter().find(|c| c.delta.len() != want);
    odd.map_or(Ok(want), |odd| {
        Err(OuterError::Length {
            got: odd.delta.len(),
            want,
        })
    })
}

/// The median, of an even number the mean of the middle two; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
