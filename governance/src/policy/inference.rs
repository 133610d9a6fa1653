//! What a policy says about inference: its limits at a full share, its floor, its price.

use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::document::check;
use crate::decision::InferenceLimits;
use crate::{Action, Bps};

/// Largest of the limits, so that products stay whole numbers.
const LIMIT_MAX: u64 = 1_000_000_000;

/// Limits of a run's inference at a full share, and what its tokens cost. A
/// policy without it issues no decisions on inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceSettings {
    /// Most replicas, 1 to 10⁹.
    pub max_replicas: u32,
    /// Most requests per second, 1 to 10⁹.
    pub rps: u32,
    /// Most tokens per minute, 1 to 10⁹.
    pub tpm: u64,
    /// Most requests at once, 1 to 10⁹.
    pub concurrency: u32,
    /// Share that inference keeps whatever training is cut to, and falls to when contact is lost; a stop stays a stop.
    pub floor_bps: Bps,
    /// Price of 1,000 tokens of prompts, micro-credits, at most 10⁹.
    #[serde(default)]
    pub prompt_price_micro: u64,
    /// Price of 1,000 generated tokens, micro-credits, at most 10⁹.
    #[serde(default)]
    pub completion_price_micro: u64,
}

impl InferenceSettings {
    /// The share of inference beside a run's share of training: the same, but
    /// not below the floor unless the run is stopped.
    #[must_use]
    pub fn share(&self, action: Action, training: Bps) -> Bps {
        if action.stops() {
            return Bps::ZERO;
        }
        training.max(self.floor_bps)
    }

    /// The limits at a share.
    #[must_use]
    pub fn limits(&self, share: Bps) -> InferenceLimits {
        let full = InferenceLimits {
            max_replicas: self.max_replicas,
            rps: self.rps,
            tpm: self.tpm,
            concurrency: self.concurrency,
            admit_new: true,
        };
        full.at(share, Bps::FULL)
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        let limits = [
            ("inference.max_replicas", u64::from(self.max_replicas)),
            ("inference.rps", u64::from(self.rps)),
            ("inference.tpm", self.tpm),
            ("inference.concurrency", u64::from(self.concurrency)),
        ];
        for (field, limit) in limits {
            check(field, (1..=LIMIT_MAX).contains(&limit), "must be 1 to 10⁹")?;
        }
        for (field, price) in [
            ("inference.prompt_price_micro", self.prompt_price_micro),
            (
                "inference.completion_price_micro",
                self.completion_price_micro,
            ),
        ] {
            check(field, price <= LIMIT_MAX, "must be at most 10⁹")?;
        }
        Ok(())
    }
}
