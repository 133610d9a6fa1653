//! What a consumer checks before it acts.

use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use super::{AllocationDecision, DecisionError};
use crate::policy::Signatures;
use crate::{Action, Mode};

/// Who a consumer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressee {
    /// Its audience name.
    pub audience: String,
    /// The run or pool that it controls.
    pub target: Uuid,
}

/// A decision to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Newer than the one in force: store it, then apply its
    /// [`AllocationDecision::effective`] state.
    Newer,
    /// The one in force, again: nothing changes.
    Repeated,
}

/// Why a decision is not acted on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RejectReason {
    /// It is for another audience.
    #[error("it is addressed to {0:?}")]
    WrongAudience(String),
    /// It is about another target.
    #[error("it is about {0}")]
    WrongTarget(Uuid),
    /// It contradicts itself.
    #[error("it contradicts itself: {0}")]
    Invalid(#[from] DecisionError),
    /// From before a restore or key change.
    #[error("its epoch {got} is older than {have}")]
    StaleEpoch {
        /// Epoch in force.
        have: u64,
        /// Epoch of the decision.
        got: u64,
    },
    /// Older than the one in force.
    #[error("its generation {got} is older than {have}")]
    StaleGeneration {
        /// Generation in force.
        have: u64,
        /// Generation of the decision.
        got: u64,
    },
    /// Another decision with the epoch and generation of the one in force.
    #[error("its generation {generation} was used by another decision, {existing}")]
    Conflict {
        /// The generation.
        generation: u64,
        /// The decision in force.
        existing: Uuid,
    },
    /// It expired before it arrived.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It was signed with a key whose time is over, or has not begun.
    #[error("key {0} does not count at this time")]
    RetiredKey(String),
    /// The target was terminated.
    #[error("the target was terminated for good")]
    Terminated,
}

impl RejectReason {
    /// Stable code for an acknowledgement.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::WrongAudience(_) => "wrong_audience",
            Self::WrongTarget(_) => "wrong_target",
            Self::Invalid(_) => "invalid",
            Self::StaleEpoch { .. } => "stale_epoch",
            Self::StaleGeneration { .. } => "stale_generation",
            Self::Conflict { .. } => "conflict",
            Self::Expired(_) => "expired",
            Self::RetiredKey(_) => "retired_key",
            Self::Terminated => "terminated",
        }
    }
}

/// Decides whether `incoming`, whose signatures are verified, replaces
/// `previous`, the one in force.
///
/// # Errors
/// Says why it must not be acted on; the decision in force then stays.
pub fn accept(
    addressee: &Addressee,
    previous: Option<&AllocationDecision>,
    incoming: &AllocationDecision,
    now: Timestamp,
) -> Result<Accepted, RejectReason> {
    if incoming.audience != addressee.audience {
        return Err(RejectReason::WrongAudience(incoming.audience.clone()));
    }
    if incoming.target.uid != addressee.target {
        return Err(RejectReason::WrongTarget(incoming.target.uid));
    }
    incoming.validate()?;
    if let Some(previous) = previous {
        let (have, got) = (previous.epoch, incoming.epoch);
        if got < have {
            return Err(RejectReason::StaleEpoch { have, got });
        }
        if got == have {
            match incoming.generation.cmp(&previous.generation) {
                std::cmp::Ordering::Less => {
                    return Err(RejectReason::StaleGeneration {
                        have: previous.generation,
                        got: incoming.generation,
                    });
                }
                std::cmp::Ordering::Equal if incoming == previous => {
                    return Ok(Accepted::Repeated);
                }
                std::cmp::Ordering::Equal => {
                    return Err(RejectReason::Conflict {
                        generation: incoming.generation,
                        existing: previous.decision_id,
                    });
                }
                std::cmp::Ordering::Greater => {}
            }
        }
        if previous.action == Action::Terminate && incoming.action != Action::Terminate {
            return Err(RejectReason::Terminated);
        }
    }
    if now >= incoming.expires_at {
        return Err(RejectReason::Expired(incoming.expires_at));
    }
    Ok(Accepted::Newer)
}

/// Whether `incoming` lets its target do anything that `previous` does not. A
/// first decision does; so does one that binds after one that was only shown,
/// unless it stops the target: what was in force before that is not known.
#[must_use]
pub fn loosens(previous: Option<&AllocationDecision>, incoming: &AllocationDecision) -> bool {
    let Some(previous) = previous else {
        return true;
    };
    if previous.mode == Mode::Shadow && incoming.mode == Mode::Enforce {
        return !incoming.action.stops();
    }
    let more_inference = match (&previous.inference, &incoming.inference) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => {
            new.max_replicas > old.max_replicas
                || new.rps > old.rps
                || new.tpm > old.tpm
                || new.concurrency > old.concurrency
                || (new.admit_new && !old.admit_new)
        }
    };
    // Without a baseline the share alone is the cap.
    let more_units = match (previous.max_units, incoming.max_units) {
        (Some(old), Some(new)) => new > old,
        _ => false,
    };
    more_inference
        || incoming.share_bps > previous.share_bps
        || more_units
        || incoming.on_expiry.floor_bps > previous.on_expiry.floor_bps
        || (previous.action.stops() && incoming.action < previous.action)
        || (previous.mode == Mode::Enforce && incoming.mode == Mode::Shadow)
}

/// Distinct signatures that `incoming` needs: more to loosen or to terminate
/// than to tighten, as `signatures` says.
#[must_use]
pub fn required_signatures(
    previous: Option<&AllocationDecision>,
    incoming: &AllocationDecision,
    signatures: &Signatures,
) -> usize {
    let terminates = incoming.action == Action::Terminate
        && previous.is_none_or(|previous| previous.action != Action::Terminate);
    if terminates || loosens(previous, incoming) {
        usize::from(signatures.loosen)
    } else {
        usize::from(signatures.tighten)
    }
}
