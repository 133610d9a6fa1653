//! DiLoCo's outer step: pseudo-gradients, their mean, Nesterov momentum.
//!
//! Every node starts a round from the same parameters `θ`, takes H local
//! steps to `θᵢ`, and contributes the pseudo-gradient `Δᵢ = θ − θᵢ`. The outer
//! optimiser treats the aggregate `Δ` as a gradient (Douillard et al.,
//! "DiLoCo: Distributed Low-Communication Training of Language Models", 2023,
//! algorithm 1; Nesterov momentum with rate 0.7 and coefficient 0.9 from its
//! section 3.1 and table of hyper-parameters).

use serde::{Deserialize, Serialize};

use crate::schedule::LrSchedule;

/// Why an outer step could not be taken. Nothing was changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OuterError {
    /// There was nothing to aggregate.
    #[error("no contributions to aggregate")]
    Empty,
    /// Vectors of different lengths met.
    #[error("a vector has {got} values where {want} are needed")]
    Length {
        /// Values given.
        got: usize,
        /// Values needed.
        want: usize,
    },
    /// All weights are zero, so their mean is undefined.
    #[error("the contributions carry no tokens")]
    NoWeight,
}

/// One node's pseudo-gradient and the tokens it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    /// `Δᵢ`, one value per parameter.
    pub delta: &'a [f32],
    /// `nᵢ`: tokens the node trained on.
    pub tokens: u64,
}

/// Reduces pseudo-gradients to one.
pub trait Aggregator: Send {
    /// The aggregate of `contributions`, which must not depend on their order
    /// beyond floating-point rounding.
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError>;
}

/// The token-weighted mean. Trusts every contribution.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mean;

impl Aggregator for Mean {
    /// `Δ = Σᵢ nᵢ·Δᵢ / Σᵢ nᵢ`.
    fn aggregate(&self, contributions: &[Weighted<'_>]) -> Result<Vec<f32>, OuterError> {
        let want = contributions.first().ok_or(OuterError::Empty)?.delta.len();
        let total: f64 = contributions.iter().map(|c| c.tokens as f64).sum();
        if total <= 0.0 {
            return Err(OuterError::NoWeight);
        }
        let mut mean = vec![0.0_f32; want];
        for contribution in contributions {
            check_length(contribution.delta.len(), want)?;
            let weight = (contribution.tokens as f64 / total) as f32;
            for (sum, value) in mean.iter_mut().zip(contribution.delta) {
                *sum += weight * value;
            }
        }
        Ok(mean)
    }
}

/// Rate and momentum of the outer optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterOptions {
    /// Outer learning rate `η > 0`.
    pub rate: f32,
    /// Momentum `μ ∈ [0, 1)`.
    pub momentum: f32,
}

impl Default for OuterOptions {
    /// DiLoCo's values: rate 0.7, momentum 0.9.
    fn default() -> Self {
        Self {
            rate: 0.7,
            momentum: 0.9,
        }
    }
}

/// Nesterov momentum over pseudo-gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct Nesterov {
    options: OuterOptions,
    velocity: Vec<f32>,
}

impl Nesterov {
    /// An optimiser at rest for `parameters` values.
    pub fn new(options: OuterOptions, parameters: usize) -> Self {
        Self {
            options,
            velocity: vec![0.0; parameters],
        }
    }

    /// An optimiser that goes on with the velocity of a checkpoint.
    pub fn resume(options: OuterOptions, velocity: Vec<f32>) -> Self {
        Self { options, velocity }
    }

    /// The velocity `v`, for a checkpoint.
    pub fn velocity(&self) -> &[f32] {
        &self.velocity
    }

    /// One outer step in place:
    /// `v ← μ·v + Δ`, then `θ ← θ − η·(Δ + μ·v)`.
    ///
    /// (Sutskever et al., "On the importance of initialization and momentum
    /// in deep learning", 2013, in the form in which the lookahead is folded
    /// into the update.) With `μ = 0, η = 1` the step is plain averaging of
    /// the nodes' parameters.
    pub fn step(&mut self, parameters: &mut [f32], delta: &[f32]) -> Result<(), OuterError> {
        check_length(delta.len(), parameters.len())?;
        check_length(self.velocity.len(), parameters.len())?;
        let OuterOptions { rate, momentum } = self.options;
        for ((parameter, velocity), delta) in
            parameters.iter_mut().zip(&mut self.velocity).zip(delta)
        {
            *velocity = momentum * *velocity + delta;
            *parameter -= rate * (delta + momentum * *velocity);
        }
        Ok(())
    }
}

/// How the aggregate becomes a step of the global model.
#[derive(Debug, Clone, PartialEq)]
pub enum OuterStep {
    /// Nesterov momentum (DiLoCo).
    Nesterov(Nesterov),
    /// `θ ← θ − α·Δ` with `α` by tokens (SparseLoCo, whose error feedback does
    /// what momentum would).
    Plain(LrSchedule),
}

impl OuterStep {
    /// One step in place, `tokens` counted before it.
    ///
    /// # Errors
    /// [`OuterError::Length`]; nothing was changed.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        delta: &[f32],
        tokens: u64,
    ) -> Result<(), OuterError> {
        match self {
            Self::Nesterov(nesterov) => nesterov.step(parameters, delta),
            Self::Plain(schedule) => {
                check_length(delta.len(), parameters.len())?;
                let rate = schedule.rate(tokens);
                let pairs = parameters.iter_mut().zip(delta);
                pairs.for_each(|(parameter, delta)| *parameter -= rate * delta);
                Ok(())
            }
        }
    }

    /// The velocity, for a checkpoint; empty where there is none.
    pub fn velocity(&self) -> &[f32] {
        match self {
            Self::Nesterov(nesterov) => nesterov.velocity(),
            Self::Plain(_) => &[],
        }
    }
}

/// The pseudo-gradient `Δ = θ_start − θ_local`.
pub fn pseudo_gradient(start: &[f32], local: &[f32]) -> Result<Vec<f32>, OuterError> {
    check_length(local.len(), start.len())?;
    Ok(start.iter().zip(local).map(|(s, l)| s - l).collect())
}

/// Euclidean norm `‖x‖₂`, summed in double precision.
pub fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&value| f64::from(value) * f64::from(value))
        .sum::<f64>()
        .sqrt()
}

fn check_length(got: usize, want: usize) -> Result<(), OuterError> {
    if got == want {
        Ok(())
    } else {
        Err(OuterError::Length { got, want })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-6, "{got:?} is not {want:?}");
        }
    }

    #[test]
    fn two_steps_by_hand() {
        let mut outer = Nesterov::new(OuterOptions::default(), 2);
        let mut theta = vec![1.0, -2.0];
        // v = Δ = (0.1, −0.2); θ −= 0.7·(Δ + 0.9·v) = 0.7·1.9·Δ = (0.133, −0.266)
        outer.step(&mut theta, &[0.1, -0.2]).unwrap();
        close(&theta, &[0.867, -1.734]);
        close(outer.velocity(), &[0.1, -0.2]);
        // v = 0.9·(0.1, −0.2) + (0.2, 0.1) = (0.29, −0.08)
        // θ −= 0.7·((0.2, 0.1) + 0.9·v) = 0.7·(0.461, 0.028) = (0.3227, 0.0196)
        outer.step(&mut theta, &[0.2, 0.1]).unwrap();
        close(&theta, &[0.5443, -1.7536]);
        close(outer.velocity(), &[0.29, -0.08]);
    }

    #[test]
    fn plain_rate_averages_the_nodes() {
        let start = [1.0, 2.0];
        let first = pseudo_gradient(&start, &[0.0, 4.0]).unwrap();
        let second = pseudo_gradient(&start, &[2.0, 1.0]).unwrap();
        let mean = Mean
            .aggregate(&[
                Weighted {
                    delta: &first,
                    tokens: 3,
                },
                Weighted {
                    delta: &second,
                    tokens: 1,
                },
            ])
            .unwrap();
        let mut theta = start.to_vec();
        let options = OuterOptions {
            rate: 1.0,
            momentum: 0.0,
        };
        Nesterov::new(options, 2).step(&mut theta, &mean).unwrap();
        // (3·(0, 4) + 1·(2, 1)) / 4
        close(&theta, &[0.5, 3.25]);
    }

    #[test]
    fn bad_shapes_change_nothing() {
        let mut outer = Nesterov::new(OuterOptions::default(), 2);
        let mut theta = vec![1.0, 2.0];
        let error = outer.step(&mut theta, &[1.0]).unwrap_err();
        assert_eq!(error, OuterError::Length { got: 1, want: 2 });
        assert_eq!(theta, [1.0, 2.0]);
        assert_eq!(Mean.aggregate(&[]).unwrap_err(), OuterError::Empty);
        let idle = Weighted {
            delta: &[1.0],
            tokens: 0,
        };
        assert_eq!(Mean.aggregate(&[idle]).unwrap_err(), OuterError::NoWeight);
        let short = Weighted {
            delta: &[1.0],
            tokens: 1,
        };
        let long = Weighted {
            delta: &[1.0, 1.0],
            tokens: 1,
        };
        assert!(Mean.aggregate(&[short, long]).is_err());
    }

    #[test]
    fn norm_is_euclidean() {
        assert_eq!(norm(&[3.0, -4.0]), 5.0);
        assert_eq!(norm(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn mean_lies_between_and_ignores_order(
            rows in prop::collection::vec((prop::collection::vec(-5.0_f32..5.0, 4), 1_u64..1000), 1..6)
        ) {
            let weighted: Vec<Weighted<'_>> =
                rows.iter().map(|(delta, tokens)| Weighted { delta, tokens: *tokens }).collect();
            let mean = Mean.aggregate(&weighted).unwrap();
            let backward: Vec<Weighted<'_>> = weighted.iter().rev().copied().collect();
            let again = Mean.aggregate(&backward).unwrap();
            for index in 0..4 {
                let column = || rows.iter().map(|(delta, _)| delta[index]);
                let least = column().fold(f32::INFINITY, f32::min);
                let most = column().fold(f32::NEG_INFINITY, f32::max);
                prop_assert!(mean[index] >= least - 1e-4 && mean[index] <= most + 1e-4);
                prop_assert!((mean[index] - again[index]).abs() < 1e-4);
            }
        }
    }
}
