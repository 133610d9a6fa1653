//! What a consumer reports about a decision, and in which order.
//!
//! ```text
//! (none) → received → accepted → applying → enforced ─┐
//!                   ↘ rejected            ↘ partial ──┼→ released
//!                                         ↘ failed  ──┘
//! ```
//!
//! `enforced` says that the cap is in force; `released` says that what the
//! decision took away is free again. Only the latter lets anybody else have it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Bps;

/// How far a consumer has got with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPhase {
    /// The decision arrived and its signature is good.
    Received,
    /// It is newer than the last and addressed to this consumer.
    Accepted,
    /// It will not be acted on; the detail says why.
    Rejected,
    /// Acting on it has begun.
    Applying,
    /// The cap is in force.
    Enforced,
    /// Part of the excess could not be stopped yet.
    Partial,
    /// Nothing could be done; the detail says why.
    Failed,
    /// What the decision took away is free.
    Released,
}

/// What a report did to the state of a decision at a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckStep {
    /// The phase is new.
    Advanced(AckPhase),
    /// The phase was reported before; nothing changes.
    Repeated,
}

/// A report out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a decision that is {} cannot become {}", from.map_or("unreported", AckPhase::as_str), to.as_str())]
pub struct AckOrderError {
    /// Phase before; none when nothing was reported.
    pub from: Option<AckPhase>,
    /// Phase reported.
    pub to: AckPhase,
}

impl AckPhase {
    /// Every phase.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Accepted,
        Self::Rejected,
        Self::Applying,
        Self::Enforced,
        Self::Partial,
        Self::Failed,
        Self::Released,
    ];

    /// The name used on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Applying => "applying",
            Self::Enforced => "enforced",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }

    /// Phases that may follow; `None` is the state before any report.
    ///
    /// A partial or failed attempt may still end well without a new decision;
    /// no phase ever comes back, which makes a report idempotent on decision,
    /// consumer and phase.
    #[must_use]
    pub const fn successors(from: Option<Self>) -> &'static [Self] {
        match from {
            None => &[Self::Received],
            Some(Self::Received) => &[Self::Accepted, Self::Rejected],
            Some(Self::Accepted) => &[Self::Applying],
            Some(Self::Applying) => &[Self::Enforced, Self::Partial, Self::Failed],
            Some(Self::Partial) => &[Self::Enforced, Self::Failed, Self::Released],
            Some(Self::Failed | Self::Enforced) => &[Self::Released],
            Some(Self::Rejected | Self::Released) => &[],
        }
    }

    /// Whether no other phase can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        Self::successors(Some(self)).is_empty()
    }
}

/// Takes a report of `phase` after the phases in `seen`, oldest first.
///
/// # Errors
/// When the phase may not follow the last one.
pub fn step(seen: &[AckPhase], phase: AckPhase) -> Result<AckStep, AckOrderError> {
    if seen.contains(&phase) {
        return Ok(AckStep::Repeated);
    }
    let from = seen.last().copied();
    if AckPhase::successors(from).contains(&phase) {
        return Ok(AckStep::Advanced(phase));
    }
    Err(AckOrderError { from, to: phase })
}

/// An acknowledgement as a consumer sends it. Idempotent on
/// (`decision_id`, `scheduler`, `phase`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// The decision it is about.
    pub decision_id: Uuid,
    /// Who sends it.
    pub scheduler: String,
    /// How far it has got.
    pub phase: AckPhase,
    /// Generation of the decision now in force at the consumer.
    pub observed_generation: u64,
    /// Units in use at the time, in the resource of the decision's baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_units: Option<u64>,
    /// Share of the pool in use at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_bps: Option<Bps>,
    /// How it is enforced, for example `inner_steps` or `cgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The consumer's own names of the jobs concerned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub native_job_ids: Vec<String>,
    /// Reason of a rejection or failure, or any remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When the phase was reached, by the consumer's clock.
    pub at: Timestamp,
}

impl Acknowledgement {
    /// The share that the run is known to hold, for
    /// [`crate::control::RunInput::held`]: the reported share (or the granted
    /// one, where none is reported) once the release is acknowledged, unknown
    /// in every other phase.
    #[must_use]
    pub fn known_held(&self, granted: Bps) -> Option<Bps> {
        (self.phase == AckPhase::Released).then(|| self.actual_bps.unwrap_or(granted))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_whole_transition_table() {
        use AckPhase::*;
        let allowed = [
            (None, vec![Received]),
            (Some(Received), vec![Accepted, Rejected]),
            (Some(Accepted), vec![Applying]),
            (Some(Rejected), vec![]),
            (Some(Applying), vec![Enforced, Partial, Failed]),
            (Some(Enforced), vec![Released]),
            (Some(Partial), vec![Enforced, Failed, Released]),
            (Some(Failed), vec![Released]),
            (Some(Released), vec![]),
        ];
        for (from, to) in allowed {
            let seen: Vec<AckPhase> = from.into_iter().collect();
            for phase in AckPhase::ALL {
                let expected = if from == Some(phase) {
                    Ok(AckStep::Repeated)
                } else if to.contains(&phase) {
                    Ok(AckStep::Advanced(phase))
                } else {
                    Err(AckOrderError { from, to: phase })
                };
                assert_eq!(step(&seen, phase), expected);
            }
            assert_eq!(from.is_some_and(AckPhase::is_final), to.is_empty());
        }
    }

    #[test]
    fn an_earlier_phase_again_changes_nothing() {
        let seen = [AckPhase::Received, AckPhase::Accepted, AckPhase::Applying];
        assert_eq!(step(&seen, AckPhase::Received), Ok(AckStep::Repeated));
        let error = step(&seen, AckPhase::Released).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a decision that is applying cannot become released"
        );
    }

    #[test]
    fn only_a_release_frees_a_share() {
        let mut ack = Acknowledgement {
            decision_id: Uuid::nil(),
            scheduler: "core".into(),
            phase: AckPhase::Enforced,
            observed_generation: 3,
            actual_units: None,
            actual_bps: Bps::new(600).ok(),
            method: None,
            native_job_ids: vec![],
            detail: None,
            at: Timestamp::UNIX_EPOCH,
        };
        let granted = Bps::new(500).unwrap();
        assert_eq!(ack.known_held(granted), None);
        ack.phase = AckPhase::Released;
        assert_eq!(ack.known_held(granted), Bps::new(600).ok());
        ack.actual_bps = None;
        assert_eq!(ack.known_held(granted), Some(granted));
        let text = serde_json::to_string(&ack).unwrap();
        assert_eq!(serde_json::from_str::<Acknowledgement>(&text).unwrap(), ack);
        assert!(text.contains("\"phase\":\"released\""));
    }
}
