//! The allocation decision: the contract between this service and whatever
//! schedules the runs.
//!
//! A decision is full desired state, never a delta. It is ordered (`epoch`,
//! then `generation` per target), it expires, and it says what it rests on.
//! [`issue`] writes one, [`accept`] is what a consumer checks before it acts,
//! and [`AllocationDecision::effective`] is what it applies at a given time.

mod accept;
mod issue;
mod limits;

pub use accept::{Accepted, Addressee, RejectReason, accept, loosens, required_signatures};
pub use issue::{Draft, Terms, is_due, issue};
pub use limits::InferenceLimits;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::dsse::{
    ALLOCATION_PAYLOAD_TYPE, DecisionSigner, DsseError, Envelope, PublicKeyRecord, verify,
};
use crate::{Action, Bps, Mode, Workload};

/// A decision that contradicts itself, or that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecisionError {
    /// A field has a value that its meaning forbids.
    #[error("decision field `{field}`: {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// The epoch is older than that of the decision before.
    #[error("epoch {epoch} is older than {previous} of the decision before")]
    EpochWentBack {
        /// Epoch asked for.
        epoch: u64,
        /// Epoch of the decision before.
        previous: u64,
    },
    /// A time does not fit the calendar.
    #[error("a time of the decision is out of range")]
    Time,
    /// No generation is left under this epoch.
    #[error("generations of this epoch are used up")]
    GenerationsUsedUp,
}

/// What a decision is about: a run, or a whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// One run.
    Run,
    /// Everything in a pool.
    Pool,
}

/// The target of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DecisionTarget {
    /// Run or pool.
    pub kind: TargetKind,
    /// Its identifier.
    pub uid: Uuid,
    /// What it does with its compute.
    pub workload: Workload,
}

/// What the share is a share of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Name of the resource, for example `inner_steps_per_s` or `nodes`.
    pub resource: String,
    /// How much of it the whole pool has, in its own units.
    pub amount: u64,
    /// When that was measured.
    pub measured_at: Timestamp,
}

/// Whether the workload must save its state before it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointDemand {
    /// It must be saved, within the grace time.
    Required,
    /// It should be.
    #[default]
    BestEffort,
}

/// What a consumer falls to once a decision has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnExpiry {
    /// The floor; never above the decision's own share.
    pub floor_bps: Bps,
}

/// The averaging window of the price.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BasisWindow {
    /// First instant of the window.
    pub from: Timestamp,
    /// Last instant.
    pub to: Timestamp,
    /// Time-weighted clamped price, 0 to 1, six decimals.
    pub price: f64,
}

/// Credible bounds, six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BasisBound {
    /// Lower bound, 0 to 1.
    pub lower: f64,
    /// Upper bound, 0 to 1.
    pub upper: f64,
}

/// What a decision rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionBasis {
    /// Hash of the policy applied, 64 hexadecimal digits.
    pub policy_hash: String,
    /// The market read, where there was one.
    pub market: Option<Uuid>,
    /// The price read and its window.
    pub price_window: Option<BasisWindow>,
    /// Bounds on the probability of misalignment.
    pub bound: Option<BasisBound>,
    /// Liquidity of the market, micro-credits.
    pub liquidity_micro: Option<u64>,
    /// Final settlement π, 0 to 1.
    pub settlement: Option<f64>,
    /// BLAKE3 digests of the exhibits that moved the price, hexadecimal.
    #[serde(default)]
    pub exhibit_digests: Vec<String>,
    /// Proposal that ordered it.
    pub proposal_id: Option<Uuid>,
    /// Seal that ordered it.
    pub seal_id: Option<Uuid>,
    /// Stable reason, snake_case.
    pub reason_code: String,
    /// The reason in sentences.
    pub explanation: String,
}

/// Where the decision stands in a transparency log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogProof {
    /// Index of its leaf.
    pub log_index: u64,
    /// Hashes of the inclusion proof, hexadecimal, leaf first.
    pub inclusion_proof: Vec<String>,
    /// The signed checkpoint it leads to.
    pub checkpoint: String,
}

/// One signed, ordered, expiring statement of how much a target may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllocationDecision {
    /// UUIDv7 of the decision.
    pub decision_id: Uuid,
    /// Who is to act on it.
    pub audience: String,
    /// What it is about.
    pub target: DecisionTarget,
    /// Fences restores and key changes; any higher epoch wins.
    pub epoch: u64,
    /// Counts up per target, from 1.
    pub generation: u64,
    /// The decision that it replaces.
    pub supersedes: Option<Uuid>,
    /// What to do.
    pub action: Action,
    /// Cap as a share of the pool.
    pub share_bps: Bps,
    /// What the share is a share of.
    pub baseline: Option<Baseline>,
    /// `⌊baseline.amount · share_bps / 10,000⌋`.
    pub max_units: Option<u64>,
    /// Limits of an inference target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inference: Option<InferenceLimits>,
    /// Whether it binds.
    pub mode: Mode,
    /// Time to save state before a cut, seconds.
    pub grace_s: u64,
    /// Whether state must be saved.
    pub checkpoint: CheckpointDemand,
    /// By when it must be enforced.
    pub enforce_by: Timestamp,
    /// First instant of force.
    pub not_before: Timestamp,
    /// From here on nothing new is admitted without a newer decision.
    pub refresh_after: Timestamp,
    /// From here on the floor holds.
    pub expires_at: Timestamp,
    /// What holds after expiry.
    pub on_expiry: OnExpiry,
    /// Reallocation that it is part of.
    pub txn_id: Option<Uuid>,
    /// Decisions whose release it waited for.
    #[serde(default)]
    pub depends_on: Vec<Uuid>,
    /// What it rests on.
    pub basis: DecisionBasis,
    /// Its place in the transparency log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<LogProof>,
}

/// Where a decision is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeasePhase {
    /// Not in force yet.
    Pending,
    /// In force.
    Live,
    /// Overdue for a newer one: the cap holds, nothing new is admitted.
    Overdue,
    /// Expired: save state, then fall to the floor.
    Expired,
}

/// What a consumer applies at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// Where the decision is in its life.
    pub phase: LeasePhase,
    /// Action to apply.
    pub action: Action,
    /// Share to hold.
    pub share_bps: Bps,
    /// The same in units of the baseline.
    pub max_units: Option<u64>,
    /// Whether new work may be admitted.
    pub admit_new: bool,
    /// Limits of an inference target. Requests are what inference does, not new work: they go on within the limits
    /// while the lease is overdue, and within those of the floor after it.
    pub inference: Option<InferenceLimits>,
    /// Whether to save state before the cut.
    pub checkpoint_first: bool,
    /// Whether to act at all; false in shadow mode and before `not_before`.
    pub binding: bool,
}

impl AllocationDecision {
    /// What to apply at `now`: the cap while the lease lives, the cap without
    /// admitting anything new while it is overdue, and after expiry the floor
    /// (`min(share, floor)`, so that expiry never loosens and a stop stays).
    #[must_use]
    pub fn effective(&self, now: Timestamp) -> Effective {
        let phase = if now < self.not_before {
            LeasePhase::Pending
        } else if now < self.refresh_after {
            LeasePhase::Live
        } else if now < self.expires_at {
            LeasePhase::Overdue
        } else {
            LeasePhase::Expired
        };
        let expired = phase == LeasePhase::Expired;
        let share_bps = if expired {
            self.share_bps.min(self.on_expiry.floor_bps)
        } else {
            self.share_bps
        };
        let action = if expired {
            self.action.max(Action::Throttle)
        } else {
            self.action
        };
        let admitted = self.inference.is_none_or(|limits| limits.admit_new);
        Effective {
            phase,
            action,
            share_bps,
            max_units: self
                .baseline
                .as_ref()
                .map(|baseline| share_bps.of_units(baseline.amount)),
            admit_new: phase == LeasePhase::Live && self.action.admits() && admitted,
            inference: self
                .inference
                .map(|limits| limits.at(share_bps, self.share_bps)),
            checkpoint_first: expired || self.checkpoint == CheckpointDemand::Required,
            binding: self.mode == Mode::Enforce && phase != LeasePhase::Pending,
        }
    }

    /// Checks that the decision does not contradict itself.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<(), DecisionError> {
        let rules = [
            (!self.audience.is_empty(), "audience", "must not be empty"),
            (self.generation >= 1, "generation", "counts from 1"),
            (
                self.supersedes != Some(self.decision_id),
                "supersedes",
                "is the decision itself",
            ),
            (
                !self.action.stops() || self.share_bps == Bps::ZERO,
                "share_bps",
                "must be 0 when the action stops the target",
            ),
            (
                self.not_before < self.refresh_after,
                "refresh_after",
                "must be after not_before",
            ),
            (
                self.refresh_after < self.expires_at,
                "expires_at",
                "must be after refresh_after",
            ),
            (
                self.enforce_by >= self.not_before,
                "enforce_by",
                "must not be before not_before",
            ),
            (
                self.on_expiry.floor_bps <= self.share_bps,
                "on_expiry",
                "must not be above share_bps: expiry never loosens",
            ),
            (
                self.max_units == self.units(),
                "max_units",
                "must be the floor of baseline.amount × share_bps / 10000",
            ),
            (
                self.inference.is_none() || self.target.workload == Workload::Inference,
                "inference",
                "goes with an inference target only",
            ),
            (
                self.basis_is_sound(),
                "basis",
                "holds no valid probabilities",
            ),
            (
                !self.basis.reason_code.is_empty(),
                "basis.reason_code",
                "must not be empty",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, problem)) => Err(DecisionError::Field { field, problem }),
            None => Ok(()),
        }
    }

    fn units(&self) -> Option<u64> {
        let baseline = self.baseline.as_ref()?;
        Some(self.share_bps.of_units(baseline.amount))
    }

    fn basis_is_sound(&self) -> bool {
        let probability = |value: f64| (0.0..=1.0).contains(&value);
        let window = self.basis.price_window;
        let bound = self.basis.bound;
        window.is_none_or(|w| probability(w.price) && w.from <= w.to)
            && bound
                .is_none_or(|b| probability(b.lower) && probability(b.upper) && b.lower <= b.upper)
            && self.basis.settlement.is_none_or(probability)
    }

    /// Signs the decision as a DSSE envelope of type
    /// [`ALLOCATION_PAYLOAD_TYPE`].
    ///
    /// # Errors
    /// When the decision cannot be written as JSON.
    pub fn sign(&self, signers: &[&DecisionSigner]) -> Result<Envelope, DsseError> {
        let payload =
            serde_json::to_vec(self).map_err(|error| DsseError::Json(error.to_string()))?;
        Ok(Envelope::sign(ALLOCATION_PAYLOAD_TYPE, &payload, signers))
    }

    /// Opens an envelope: verifies `threshold` signatures at `at`, then reads
    /// the payload. Whether to act on it is for [`accept`] to say.
    ///
    /// # Errors
    /// When the signatures do not suffice or the payload is no decision.
    pub fn open(
        envelope: &Envelope,
        keys: &[PublicKeyRecord],
        threshold: usize,
        at: Timestamp,
    ) -> Result<Self, DsseError> {
        let verified = verify(envelope, ALLOCATION_PAYLOAD_TYPE, keys, threshold, at)?;
        serde_json::from_slice(&verified.payload)
            .map_err(|error| DsseError::Json(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
