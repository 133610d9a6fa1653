//! Ballots and their weight: stake × conviction.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a ballot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Do it.
    For,
    /// Do not.
    Against,
    /// Counts toward the quorum, and to neither side.
    Abstain,
}

impl Side {
    /// The name used in documents and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::For => "for",
            Self::Against => "against",
            Self::Abstain => "abstain",
        }
    }

    /// The side of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::For, Self::Against, Self::Abstain]
            .into_iter()
            .find(|side| side.as_str() == name)
    }
}

/// How long a voter is ready to have the stake locked after the vote, 0 to 6.
///
/// | level | lock periods | weight per stake |
/// |---|---|---|
/// | 0 | 0 | 0.1 |
/// | 1 to 6 | 1, 2, 4, 8, 16, 32 | 1 to 6 |
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
pub struct Conviction(u8);

/// A level of conviction above 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a conviction is 0 to 6, not {0}")]
pub struct ConvictionOutOfRange(pub u8);

impl Conviction {
    /// The most there is.
    pub const MAX: Self = Self(6);

    /// The conviction of that level.
    ///
    /// # Errors
    /// When the level exceeds 6.
    pub const fn new(level: u8) -> Result<Self, ConvictionOutOfRange> {
        if level > Self::MAX.0 {
            return Err(ConvictionOutOfRange(level));
        }
        Ok(Self(level))
    }

    /// The level, 0 to 6.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }

    /// Weight of a unit of stake, in tenths: 1, then 10 to 60.
    #[must_use]
    pub const fn tenths(self) -> u8 {
        if self.0 == 0 { 1 } else { self.0 * 10 }
    }

    /// Lock periods after the vote: 0, then doubling from 1.
    #[must_use]
    pub const fn lock_periods(self) -> u64 {
        if self.0 == 0 { 0 } else { 1 << (self.0 - 1) }
    }

    /// Weight of `stake_micro`, in tenths of micro-credits.
    #[must_use]
    pub fn weight(self, stake_micro: u64) -> u128 {
        u128::from(stake_micro) * u128::from(self.tenths())
    }
}

impl TryFrom<u8> for Conviction {
    type Error = ConvictionOutOfRange;

    fn try_from(level: u8) -> Result<Self, ConvictionOutOfRange> {
        Self::new(level)
    }
}

impl From<Conviction> for u8 {
    fn from(conviction: Conviction) -> Self {
        conviction.0
    }
}

/// One voter's ballot. A later one by the same voter replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// What it says.
    pub side: Side,
    /// Weight of the voter's own stake.
    pub conviction: Conviction,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn conviction_is_bought_with_time() {
        let table = [
            (0, 1, 0),
            (1, 10, 1),
            (2, 20, 2),
            (3, 30, 4),
            (4, 40, 8),
            (5, 50, 16),
            (6, 60, 32),
        ];
        for (level, tenths, periods) in table {
            let conviction = Conviction::new(level).unwrap();
            assert_eq!(
                (conviction.tenths(), conviction.lock_periods()),
                (tenths, periods)
            );
            assert_eq!(
                conviction.weight(u64::MAX),
                u128::from(u64::MAX) * u128::from(tenths)
            );
        }
        assert_eq!(Conviction::new(7), Err(ConvictionOutOfRange(7)));
        assert!(serde_json::from_str::<Conviction>("7").is_err());
    }

    #[test]
    fn sides_have_names() {
        for side in [Side::For, Side::Against, Side::Abstain] {
            assert_eq!(Side::parse(side.as_str()), Some(side));
            assert_eq!(serde_json::to_value(side).unwrap(), side.as_str());
        }
        assert_eq!(Side::parse("maybe"), None);
    }
}
