//! Small values shared by every module.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A share of the pool in basis points: 0 to 10,000.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u16", into = "u16")]
pub struct Bps(u16);

/// A number of basis points above 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} basis points is more than the whole (10000)")]
pub struct BpsOutOfRange(pub u16);

impl Bps {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole pool.
    pub const FULL: Self = Self(10_000);

    /// A share of `bps` basis points.
    ///
    /// # Errors
    /// When `bps` exceeds 10,000.
    pub const fn new(bps: u16) -> Result<Self, BpsOutOfRange> {
        if bps > 10_000 {
            return Err(BpsOutOfRange(bps));
        }
        Ok(Self(bps))
    }

    /// The share nearest below `bps`, at most the whole.
    #[must_use]
    pub const fn saturating(bps: u32) -> Self {
        if bps > 10_000 {
            return Self::FULL;
        }
        Self(bps as u16)
    }

    /// Basis points, 0 to 10,000.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The share as a fraction, 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// `a + b`, at most the whole.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::saturating(self.0 as u32 + other.0 as u32)
    }

    /// `a − b`, at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Units of a baseline of `amount` units: `⌊amount · bps / 10,000⌋`.
    #[must_use]
    pub fn of_units(self, amount: u64) -> u64 {
        let units = u128::from(amount) * u128::from(self.0) / 10_000;
        // The quotient never exceeds `amount`, which is a u64.
        u64::try_from(units).unwrap_or(amount)
    }
}

impl TryFrom<u16> for Bps {
    type Error = BpsOutOfRange;

    fn try_from(bps: u16) -> Result<Self, BpsOutOfRange> {
        Self::new(bps)
    }
}

impl From<Bps> for u16 {
    fn from(bps: Bps) -> Self {
        bps.0
    }
}

impl std::fmt::Display for Bps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bps", self.0)
    }
}

/// What a run is told to do, from the mildest to the strictest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Use up to the share.
    #[default]
    Allow,
    /// Use up to a share that a rule has lowered.
    Throttle,
    /// Admit nothing new, finish what is in flight within the grace time.
    Drain,
    /// Stop now, keeping state; stays until it is lifted explicitly.
    Pause,
    /// Stop for good.
    Terminate,
}

impl Action {
    /// Whether the action leaves the run no share at all.
    #[must_use]
    pub const fn stops(self) -> bool {
        matches!(self, Self::Drain | Self::Pause | Self::Terminate)
    }

    /// Whether new work may be admitted under the action.
    #[must_use]
    pub const fn admits(self) -> bool {
        matches!(self, Self::Allow | Self::Throttle)
    }

    /// The name used in documents and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Throttle => "throttle",
            Self::Drain => "drain",
            Self::Pause => "pause",
            Self::Terminate => "terminate",
        }
    }
}

/// Whether decisions bind, or are only computed and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Computed, published and shown; consumers must not act on it.
    Shadow,
    /// Consumers act on it.
    #[default]
    Enforce,
}

/// What a run does with its compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Produces a model.
    Training,
    /// Serves one.
    Inference,
}

impl Workload {
    /// The name used in documents and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Inference => "inference",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn shares_are_bounded_and_units_are_floored() {
        assert_eq!(Bps::new(10_001), Err(BpsOutOfRange(10_001)));
        assert_eq!(Bps::saturating(70_000), Bps::FULL);
        let cases = [
            (2_500, 8, 2),
            (2_500, 7, 1),
            (3_333, 3, 0),
            (10_000, u64::MAX, u64::MAX),
            (0, 9, 0),
        ];
        for (bps, amount, units) in cases {
            assert_eq!(Bps::new(bps).unwrap().of_units(amount), units);
        }
        assert!(serde_json::from_str::<Bps>("10001").is_err());
        assert_eq!(serde_json::to_string(&Bps::FULL).unwrap(), "10000");
    }

    #[test]
    fn actions_are_ordered_by_strictness() {
        assert!(Action::Allow < Action::Throttle && Action::Throttle < Action::Drain);
        assert!(Action::Drain < Action::Pause && Action::Pause < Action::Terminate);
    }
}
