//! Choosing the next token from logits.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};
use crate::ops::lanes::{exp_sum, max, scale};

/// Most alternatives that may be reported per token.
const LOGPROBS_MAX: u8 = 20;

/// Most stop strings of one request.
const STOPS_MAX: usize = 17;

/// How a completion is drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// Divisor of the logits, 0 to 10; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Draw only from the likeliest tokens that together have this probability, in `(0, 1]`.
    pub top_p: f32,
    /// Seed of the draws; the same seed and prompt give the same text.
    pub seed: u64,
    /// Generation ends before the first of these to appear; at most 17, not empty.
    pub stop: Vec<String>,
    /// Report each token's log-probability and this many alternatives (at most 20).
    pub logprobs: Option<u8>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            max_tokens: 16,
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            stop: Vec::new(),
            logprobs: None,
        }
    }
}

impl Sampling {
    /// Checks the domains given on the fields.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let refuse = |reason: &str| Err(ModelError::Sampling(reason.to_owned()));
        if !(0.0..=10.0).contains(&self.temperature) {
            return refuse("temperature must be 0 to 10");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p must be above 0 and at most 1");
        }
        if self.stop.len() > STOPS_MAX || self.stop.iter().any(String::is_empty) {
            return refuse("stop must be at most 17 strings, none empty");
        }
        if self.logprobs.is_some_and(|count| count > LOGPROBS_MAX) {
            return refuse("logprobs must be at most 20");
        }
        Ok(())
    }
}

/// Draws tokens for one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    temperature: f32,
    top_p: f32,
    rng: ChaCha8Rng,
    /// Kept between tokens only to spare allocating them.
    weights: Vec<f32>,
    ids: Vec<u32>,
}

impl Sampler {
    /// A sampler for one sequence.
    pub(crate) fn new(sampling: &Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            weights: Vec::new(),
            ids: Vec::new(),
        }
    }

    /// The next token, from finite natural log-probabilities.
    pub(crate) fn choose(&mut self, logprobs: &[f32]) -> u32 {
        if self.temperature == 0.0 {
            let ids = 0..logprobs.len() as u32;
            return ids
                .min_by(|a, b| before(logprobs, *a, *b))
                .unwrap_or_default();
        }
        self.weights.clear();
        self.weights.extend_from_slice(logprobs);
        scale(&mut self.weights, 1.0 / self.temperature);
        let largest = max(&self.weights);
        exp_sum(&mut self.weights, largest);
        let weights = &self.weights;
        let sum = |ids: &[u32]| -> f64 { ids.iter().map(|id| weight(weights, *id)).sum() };
        self.ids.clear();
        self.ids.extend(0..logprobs.len() as u32);
        let mut mass = sum(&self.ids);
        if self.top_p < 1.0 {
            self.ids = nucleus(weights, mass, f64::from(self.top_p));
            mass = sum(&self.ids);
        }
        let mut draw = self.rng.random::<f64>() * mass;
        for id in &self.ids {
            draw -= weight(weights, *id);
            if draw < 0.0 {
                return *id;
            }
        }
        // Rounding can leave a hair's breadth past the last one.
        self.ids.last().map_or(0, |id| *id)
    }
}

fn weight(weights: &[f32], id: u32) -> f64 {
    f64::from(weights[id as usize])
}

/// The fewest ids, likeliest first, that have a share of `top_p` of `total`.
fn nucleus(weights: &[f32], total: f64, top_p: f64) -> Vec<u32> {
    // All that are lighter than this have less than the rest of the mass
    // together, so the nucleus is complete before any of them; that spares
    // sorting the long tail.
    let light = total * (1.0 - top_p) / weights.len() as f64;
    let heavy = |id: &u32| weight(weights, *id) >= light;
    let mut ids: Vec<u32> = (0..weights.len() as u32).filter(heavy).collect();
    ids.sort_unstable_by(|a, b| before(weights, *a, *b));
    let mut sum = 0.0;
    let reached = ids.iter().position(|id| {
        sum += weight(weights, *id);
        sum >= top_p * total
    });
    ids.truncate(reached.map_or(ids.len(), |last| last + 1));
    ids
}

/// Likelier first, lower ids first among equals.
fn before(values: &[f32], a: u32, b: u32) -> Ordering {
    let (x, y) = (values[a as usize], values[b as usize]);
    y.total_cmp(&x).then(a.cmp(&b))
}

/// The `count` likeliest ids, likeliest first, lower ids first among equals.
pub(crate) fn ranked(logprobs: &[f32], count: usize) -> Vec<u32> {
    let before = |a: &u32, b: &u32| before(logprobs, *a, *b);
    let mut ids: Vec<u32> = (0..logprobs.len() as u32).collect();
    let count = count.min(ids.len());
    if count == 0 {
        return Vec::new();
    }
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, before);
        ids.truncate(count);
    }
    ids.sort_unstable_by(before);
    ids
}

/// Turns logits into natural log-probabilities in place:
/// `zᵢ − max(z) − ln Σⱼ exp(zⱼ − max(z))`.
///
/// # Errors
/// [`ModelError::Diverged`] when the logits are not finite.
pub(crate) fn log_softmax(logits: &mut [f32]) -> Result<()> {
    if logits.iter().any(|z| !z.is_finite()) {
        return Err(ModelError::Diverged("logits are not finite".into()));
    }
    let largest = max(logits);
    let mut weights = logits.to_vec();
    let shift = largest + exp_sum(&mut weights, largest).ln();
    for z in logits {
        *z -= shift;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn logprobs() -> Vec<f32> {
        let mut z = vec![0.5f32.ln(), 0.1f32.ln(), 0.3f32.ln(), 0.1f32.ln()];
        log_softmax(&mut z).unwrap();
        z
    }

    fn frequencies(sampling: &Sampling) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0.0; 4];
        for _ in 0..20_000 {
            counts[sampler.choose(&logprobs()) as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn ranking_is_stable_among_equals() {
        assert_eq!(ranked(&logprobs(), 4), [0, 2, 1, 3]);
        assert_eq!(ranked(&logprobs(), 2), [0, 2]);
        assert_eq!(ranked(&[1.0, 1.0], 1), [0]);
        assert!(ranked(&[], 3).is_empty());
    }

    #[test]
    fn draws_follow_temperature_and_nucleus() {
        let near = |a: &[f64], b: [f64; 4]| {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 0.02, "{a} against {b}");
            }
        };
        let mut sampling = Sampling {
            temperature: 1.0,
            ..Sampling::default()
        };
        near(&frequencies(&sampling), [0.5, 0.1, 0.3, 0.1]);
        sampling.top_p = 0.7;
        near(&frequencies(&sampling), [0.625, 0.0, 0.375, 0.0]);
        sampling.temperature = 0.5;
        sampling.top_p = 1.0;
        near(
            &frequencies(&sampling),
            [25.0 / 36.0, 1.0 / 36.0, 0.25, 1.0 / 36.0],
        );
        sampling.temperature = 0.0;
        near(&frequencies(&sampling), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn requests_out_of_domain_are_refused() {
        let spoil: [fn(&mut Sampling); 6] = [
            |s| s.temperature = f32::NAN,
            |s| s.temperature = -0.1,
            |s| s.top_p = 0.0,
            |s| s.stop = vec![String::new()],
            |s| s.stop = vec!["x".into(); 18],
            |s| s.logprobs = Some(21),
        ];
        assert!(Sampling::default().validate().is_ok());
        for spoil in spoil {
            let mut sampling = Sampling::default();
            spoil(&mut sampling);
            assert!(sampling.validate().is_err(), "{sampling:?}");
        }
        assert!(log_softmax(&mut [0.0, f32::NAN]).is_err());
    }
}
