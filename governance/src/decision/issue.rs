//! Writing decisions.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    AllocationDecision, Baseline, CheckpointDemand, DecisionBasis, DecisionError, DecisionTarget,
    InferenceLimits, OnExpiry,
};
use crate::policy::LeaseSettings;
use crate::{Action, Bps, Mode};

/// What is decided; everything that follows from it is filled in by [`issue`].
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// UUIDv7 of the new decision.
    pub decision_id: Uuid,
    /// What it is about.
    pub target: DecisionTarget,
    /// What to do.
    pub action: Action,
    /// Cap as a share of the pool.
    pub share_bps: Bps,
    /// What the share is a share of.
    pub baseline: Option<Baseline>,
    /// Limits of an inference target.
    pub inference: Option<InferenceLimits>,
    /// Whether state must be saved before a cut.
    pub checkpoint: CheckpointDemand,
    /// The shortest deadline of the rules behind it, seconds.
    pub deadline_s: Option<u64>,
    /// Reallocation that it is part of.
    pub txn_id: Option<Uuid>,
    /// Decisions whose release it waited for.
    pub depends_on: Vec<Uuid>,
    /// What it rests on.
    pub basis: DecisionBasis,
}

/// Terms that all decisions of an issuer share.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Who is to act on the decisions.
    pub audience: String,
    /// Epoch of the issuer.
    pub epoch: u64,
    /// Whether decisions bind.
    pub mode: Mode,
    /// How long they hold.
    pub lease: LeaseSettings,
}

/// Writes the next decision for a target.
///
/// The generation is one above that of `previous` (1 without one), also across
/// epochs, so that it is monotonic per target for ever; probabilities of the
/// basis are rounded to six decimals; the floor after expiry is never above
/// the share.
///
/// # Errors
/// When the draft contradicts itself, the epoch went back, or a time or the
/// generation overflows.
pub fn issue(
    draft: Draft,
    terms: &Terms,
    previous: Option<&AllocationDecision>,
    now: Timestamp,
) -> Result<AllocationDecision, DecisionError> {
    if let Some(older) = previous.filter(|previous| previous.epoch > terms.epoch) {
        return Err(DecisionError::EpochWentBack {
            epoch: terms.epoch,
            previous: older.epoch,
        });
    }
    let generation = previous
        .map_or(0, |previous| previous.generation)
        .checked_add(1)
        .ok_or(DecisionError::GenerationsUsedUp)?;
    let lease = &terms.lease;
    let deadline_s = draft.deadline_s.unwrap_or(u64::MAX);
    let decision = AllocationDecision {
        decision_id: draft.decision_id,
        audience: terms.audience.clone(),
        target: draft.target,
        epoch: terms.epoch,
        generation,
        supersedes: previous.map(|previous| previous.decision_id),
        action: draft.action,
        share_bps: draft.share_bps,
        max_units: draft
            .baseline
            .as_ref()
            .map(|baseline| draft.share_bps.of_units(baseline.amount)),
        baseline: draft.baseline,
        inference: draft.inference,
        mode: terms.mode,
        grace_s: lease.grace_s,
        checkpoint: draft.checkpoint,
        enforce_by: later(now, lease.enforce_within_s.min(deadline_s))?,
        not_before: now,
        refresh_after: later(now, lease.refresh_s)?,
        expires_at: later(now, lease.expires_s)?,
        on_expiry: OnExpiry {
            floor_bps: lease.expiry_floor_bps.min(draft.share_bps),
        },
        txn_id: draft.txn_id,
        depends_on: draft.depends_on,
        basis: rounded(draft.basis),
        proof: None,
    };
    decision.validate()?;
    Ok(decision)
}

/// Whether a target needs a new decision at `now`: there is none, its action,
/// share or mode changed, or the previous one is to be renewed, which is at 3/8
/// to 1/2 of the time to the refresh. Half at most, so that a consumer that
/// polls has one in hand before it must stop admitting; at a place between that
/// its identifier draws, so that a thousand targets which were decided on
/// together are not renewed together, in the way of a decision that matters.
#[must_use]
pub fn is_due(
    previous: Option<&AllocationDecision>,
    action: Action,
    share_bps: Bps,
    terms: &Terms,
    now: Timestamp,
) -> bool {
    let Some(previous) = previous else {
        return true;
    };
    let age = now.duration_since(previous.not_before);
    let refresh = previous.refresh_after.duration_since(previous.not_before);
    previous.action != action
        || previous.share_bps != share_bps
        || previous.mode != terms.mode
        || previous.epoch != terms.epoch
        || previous.audience != terms.audience
        || age >= renewal_age(previous.target.uid, refresh)
}

/// Age at which the decision on a target is renewed.
fn renewal_age(target: Uuid, refresh: SignedDuration) -> SignedDuration {
    // The last bits of a UUIDv7 are random.
    let drawn = f64::from(target.as_u128() as u16) / f64::from(u16::MAX);
    refresh.mul_f64(0.375 + 0.125 * drawn)
}

fn later(now: Timestamp, seconds: u64) -> Result<Timestamp, DecisionError> {
    let seconds = i64::try_from(seconds).map_err(|_| DecisionError::Time)?;
    now.checked_add(SignedDuration::from_secs(seconds))
        .map_err(|_| DecisionError::Time)
}

/// Six decimals are exact in JSON both ways and more than any price means.
fn rounded(mut basis: DecisionBasis) -> DecisionBasis {
    let round = |value: f64| (value * 1e6).round() / 1e6;
    if let Some(window) = &mut basis.price_window {
        window.price = round(window.price);
    }
    if let Some(bound) = &mut basis.bound {
        bound.lower = round(bound.lower);
        bound.upper = round(bound.upper);
    }
    basis.settlement = basis.settlement.map(round);
    basis
}
