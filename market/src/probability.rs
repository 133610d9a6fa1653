//! Probabilities, log-odds and settlements, and the elementary functions between them
//! in forms that neither overflow nor cancel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Lowest probability that a market may post.
pub const MIN_PROBABILITY: f64 = 0.005;
/// Highest probability that a market may post.
pub const MAX_PROBABILITY: f64 = 0.995;
/// `logit(0.995) = ln 199`: log-odds of a market stay within `±MAX_LOG_ODDS`.
pub const MAX_LOG_ODDS: f64 = 5.293_304_824_724_492;

/// Why a number is not a probability, log-odds or settlement.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ProbabilityError {
    /// NaN or infinite.
    #[error("not a finite number")]
    NotFinite,
    /// Finite, but outside the allowed range.
    #[error("{value} is outside [{low}, {high}]")]
    OutOfRange {
        /// What was given.
        value: f64,
        /// Lowest allowed value.
        low: f64,
        /// Highest allowed value.
        high: f64,
    },
}

/// A probability that a market may post: finite, within
/// [[`MIN_PROBABILITY`], [`MAX_PROBABILITY`]]. Serialised as a number, checked when read.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f64);

impl Probability {
    /// One half.
    pub const HALF: Self = Self(0.5);
    /// The lowest posted probability.
    pub const MIN: Self = Self(MIN_PROBABILITY);
    /// The highest posted probability.
    pub const MAX: Self = Self(MAX_PROBABILITY);

    /// `p` as it is. Errors: not finite, or outside the clamp.
    pub fn new(p: f64) -> Result<Self, ProbabilityError> {
        in_range(p, MIN_PROBABILITY, MAX_PROBABILITY).map(Self)
    }

    /// `min(max(p, 0.005), 0.995)`. Errors: NaN (infinities are clamped).
    pub fn clamped(p: f64) -> Result<Self, ProbabilityError> {
        if p.is_nan() {
            return Err(ProbabilityError::NotFinite);
        }
        Ok(Self(p.clamp(MIN_PROBABILITY, MAX_PROBABILITY)))
    }

    /// The number inside.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// `1 − p`.
    pub fn complement(self) -> Self {
        Self((1.0 - self.0).clamp(MIN_PROBABILITY, MAX_PROBABILITY))
    }

    /// `logit(p)`.
    pub fn log_odds(self) -> LogOdds {
        LogOdds(logit(self.0))
    }
}

impl TryFrom<f64> for Probability {
    type Error = ProbabilityError;

    fn try_from(p: f64) -> Result<Self, ProbabilityError> {
        Self::new(p)
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> f64 {
        p.0
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Log-odds, `ln(p/(1−p))`, in nats: any finite number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct LogOdds(f64);

impl LogOdds {
    /// Even odds.
    pub const ZERO: Self = Self(0.0);

    /// `l` as it is. Errors: not finite.
    pub fn new(l: f64) -> Result<Self, ProbabilityError> {
        if l.is_finite() {
            Ok(Self(l))
        } else {
            Err(ProbabilityError::NotFinite)
        }
    }

    /// `l`, which the caller knows to be finite.
    pub(crate) const fn from_finite(l: f64) -> Self {
        debug_assert!(l.is_finite());
        Self(l)
    }

    /// The number inside, in nats.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// `σ(ℓ)`, clamped to what a market may post.
    pub fn probability(self) -> Probability {
        Probability(sigmoid(self.0).clamp(MIN_PROBABILITY, MAX_PROBABILITY))
    }
}

impl TryFrom<f64> for LogOdds {
    type Error = ProbabilityError;

    fn try_from(l: f64) -> Result<Self, ProbabilityError> {
        Self::new(l)
    }
}

impl From<LogOdds> for f64 {
    fn from(l: LogOdds) -> f64 {
        l.0
    }
}

/// A settlement `π ∈ [0, 1]`: what a YES share pays, as a fraction of a credit.
///
/// Held in billionths, so that a payout is exact integer arithmetic. Serialised as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Pi(u32);

impl Pi {
    /// Parts in the whole.
    pub const SCALE: u32 = 1_000_000_000;
    /// The claim is false.
    pub const NO: Self = Self(0);
    /// The claim is true.
    pub const YES: Self = Self(Self::SCALE);

    /// `pi` rounded to the nearest billionth. Errors: not finite, or outside [0, 1].
    pub fn new(pi: f64) -> Result<Self, ProbabilityError> {
        let pi = in_range(pi, 0.0, 1.0)?;
        Ok(Self((pi * f64::from(Self::SCALE)).round() as u32))
    }

    /// The value in billionths, within [0, [`Pi::SCALE`]].
    pub const fn billionths(self) -> u32 {
        self.0
    }

    /// The value as a number in [0, 1].
    pub fn get(self) -> f64 {
        f64::from(self.0) / f64::from(Self::SCALE)
    }
}

impl TryFrom<f64> for Pi {
    type Error = ProbabilityError;

    fn try_from(pi: f64) -> Result<Self, ProbabilityError> {
        Self::new(pi)
    }
}

impl From<Pi> for f64 {
    fn from(pi: Pi) -> f64 {
        pi.get()
    }
}

/// `logit(p) = ln(p / (1−p))`, written `ln p − log1p(−p)`. Domain (0, 1).
pub fn logit(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

/// `σ(x) = 1 / (1 + e^(−x))`, without overflow for either sign.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `sp(x) = ln(1 + e^x) = max(x, 0) + log1p(e^(−|x|))`.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn in_range(value: f64, low: f64, high: f64) -> Result<f64, ProbabilityError> {
    if !value.is_finite() {
        Err(ProbabilityError::NotFinite)
    } else if !(low..=high).contains(&value) {
        Err(ProbabilityError::OutOfRange { value, low, high })
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_clamp_is_199_to_1() {
        assert!((MAX_LOG_ODDS - 199f64.ln()).abs() < 1e-15);
        assert!((logit(MAX_PROBABILITY) - MAX_LOG_ODDS).abs() < 1e-13);
    }

    #[test]
    fn strict_and_clamping_constructors() {
        assert_eq!(Probability::clamped(2.0).unwrap(), Probability::MAX);
        assert_eq!(
            Probability::clamped(f64::NEG_INFINITY).unwrap(),
            Probability::MIN
        );
        assert_eq!(
            Probability::clamped(f64::NAN),
            Err(ProbabilityError::NotFinite)
        );
        assert!(Probability::new(0.004).is_err());
        assert!(Probability::new(f64::NAN).is_err());
        assert!(LogOdds::new(f64::INFINITY).is_err());
        assert!(serde_json::from_str::<Probability>("0.999").is_err());
        assert_eq!(serde_json::to_string(&Probability::HALF).unwrap(), "0.5");
        let complement = Probability::MAX.complement().get();
        assert!((complement - MIN_PROBABILITY).abs() < 1e-15);
    }

    #[test]
    fn settlements_round_to_billionths() {
        for (pi, billionths) in [(0.0, 0), (1.0, Pi::SCALE), (0.8, 800_000_000), (1e-10, 0)] {
            let value = Pi::new(pi).unwrap();
            assert_eq!(value.billionths(), billionths);
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Pi>(&text).unwrap(), value);
        }
        assert!(Pi::new(1.000_000_1).is_err());
        assert!(Pi::new(f64::NAN).is_err());
    }

    #[test]
    fn elementary_functions_at_the_extremes() {
        assert_eq!(sigmoid(-800.0), 0.0);
        assert_eq!(sigmoid(800.0), 1.0);
        assert_eq!(softplus(800.0), 800.0);
        assert_eq!(softplus(-800.0), 0.0);
        assert!((softplus(0.0) - 2f64.ln()).abs() < 1e-16);
    }
}
