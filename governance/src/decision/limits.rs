//! Limits of inference, and what is left of them at a smaller share.

use serde::{Deserialize, Serialize};

use crate::Bps;

/// Limits of an inference target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceLimits {
    /// Most replicas.
    pub max_replicas: u32,
    /// Most requests per second.
    pub rps: u32,
    /// Most tokens per minute.
    pub tpm: u64,
    /// Most requests at once.
    pub concurrency: u32,
    /// Whether new requests may be admitted.
    pub admit_new: bool,
}

impl InferenceLimits {
    /// The limits at `share`, these being those at the share `whole`. Each is at
    /// least 1 as long as there is any share, so that what falls to a floor still
    /// answers; without a share all are 0 and nothing is admitted.
    #[must_use]
    pub fn at(&self, share: Bps, whole: Bps) -> Self {
        if share == Bps::ZERO || whole == Bps::ZERO {
            return Self {
                max_replicas: 0,
                rps: 0,
                tpm: 0,
                concurrency: 0,
                admit_new: false,
            };
        }
        let (share, whole) = (u128::from(share.get()), u128::from(whole.get()));
        let part = |limit: u64| {
            let part = (u128::from(limit) * share / whole).max(1);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        let small = |limit: u32| u32::try_from(part(limit.into())).unwrap_or(u32::MAX);
        Self {
            max_replicas: small(self.max_replicas),
            rps: small(self.rps),
            tpm: part(self.tpm),
            concurrency: small(self.concurrency),
            admit_new: self.admit_new,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_share_and_a_floor_still_answers() {
        let full = InferenceLimits {
            max_replicas: 4,
            rps: 50,
            tpm: u64::MAX,
            concurrency: 64,
            admit_new: true,
        };
        let at = |share| full.at(Bps::saturating(share), Bps::FULL);
        assert_eq!(at(10_000), full);
        let half = at(5_000);
        assert_eq!((half.max_replicas, half.rps, half.concurrency), (2, 25, 32));
        assert_eq!(half.tpm, u64::MAX / 2);
        let floor = at(1);
        assert_eq!(
            (floor.max_replicas, floor.rps, floor.concurrency),
            (1, 1, 1)
        );
        assert!(floor.admit_new);
        let none = at(0);
        assert_eq!((none.rps, none.tpm, none.admit_new), (0, 0, false));
    }
}
