//! The inner learning rate as a function of tokens trained.

use serde::{Deserialize, Serialize};

/// How the rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Decay {
    /// Stay at the peak.
    Flat,
    /// Half a cosine from the peak down to `floor × peak` at `until` tokens,
    /// flat from there on (Loshchilov and Hutter, "SGDR", 2017, eq. 5).
    Cosine {
        /// Tokens of the whole run at which the floor is reached.
        until: u64,
        /// Fraction of the peak that remains, in `[0, 1]`.
        floor: f32,
    },
}

/// Learning rate by tokens of the whole run, so that it does not depend on
/// how many nodes there are or how often a run was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrSchedule {
    /// Highest rate, `> 0`.
    pub peak: f32,
    /// Tokens of linear warm-up.
    pub warm_up: u64,
    /// What follows the warm-up.
    pub decay: Decay,
}

impl LrSchedule {
    /// A linear warm-up to a constant rate.
    pub const fn flat(peak: f32, warm_up: u64) -> Self {
        Self {
            peak,
            warm_up,
            decay: Decay::Flat,
        }
    }

    /// Rate for the step that begins when `tokens` have been trained.
    ///
    /// With warm-up `w`: `η = peak · (tokens + 1)/w` while `tokens < w`, then
    /// `peak`, or with [`Decay::Cosine`]
    /// `peak · (f + (1 − f)·(1 + cos(π·min(1, (tokens − w)/(until − w))))/2)`.
    pub fn rate(&self, tokens: u64) -> f32 {
        if tokens < self.warm_up {
            return self.peak * ((tokens + 1) as f64 / self.warm_up as f64) as f32;
        }
        match self.decay {
            Decay::Flat => self.peak,
            Decay::Cosine { until, floor } => {
                let span = until.saturating_sub(self.warm_up).max(1) as f64;
                let done = ((tokens - self.warm_up) as f64 / span).min(1.0);
                let cosine = (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
                let floor = f64::from(floor);
                (f64::from(self.peak) * (floor + (1.0 - floor) * cosine)) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_then_flat_or_cosine() {
        let flat = LrSchedule::flat(0.004, 1_000);
        let cosine = LrSchedule {
            decay: Decay::Cosine {
                until: 3_000,
                floor: 0.1,
            },
            ..flat
        };
        for (schedule, tokens, want) in [
            (flat, 499, 0.002),
            (flat, 999, 0.004),
            (flat, 1_000_000, 0.004),
            (cosine, 499, 0.002),
            (cosine, 1_000, 0.004),
            (cosine, 2_000, 0.0022),
            (cosine, 3_000, 0.0004),
            (cosine, 9_000, 0.0004),
        ] {
            let got = schedule.rate(tokens);
            assert!(
                (got - want).abs() < 1e-8,
                "{tokens} tokens: {got}, not {want}"
            );
        }
    }

    #[test]
    fn no_warm_up_starts_at_the_peak() {
        assert_eq!(LrSchedule::flat(0.1, 0).rate(0), 0.1);
    }
}
