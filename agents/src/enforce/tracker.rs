//! What a consumer holds and owes, as a pure state: decisions in, orders and
//! acknowledgements out. The time is an argument everywhere.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use plumbline_governance::ack::{AckPhase, AckStep, step};
use plumbline_governance::decision::{
    Accepted, Addressee, AllocationDecision, DecisionTarget, LeasePhase, RejectReason, accept,
};
use plumbline_governance::dsse::Envelope;
use plumbline_governance::{Bps, Mode, Workload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Applied, EnforceError, Order};
use crate::client::{Ack, HeldShare};

/// Most acknowledgements that wait for the service; past it the oldest go.
const MAX_OWED: usize = 1_024;
/// Refused decisions remembered so that each is refused once.
const MAX_REFUSED: usize = 256;

/// Names one target: its identifier and its workload.
pub(super) type TargetKey = (Uuid, Workload);

pub(super) fn key_of(target: &DecisionTarget) -> TargetKey {
    (target.uid, target.workload)
}

/// A decision in force with what was reported about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The envelope as it came, so that it can be verified again.
    pub(super) envelope: Envelope,
    /// When it came, by this consumer's clock.
    pub(super) received_at: Timestamp,
    /// Name of its run, for people.
    pub(super) target_name: String,
    /// What was reported about it, oldest first, word for word.
    pub(super) acks: Vec<Ack>,
    /// Its lease ran out here: a clock that steps back does not revive it.
    #[serde(default)]
    pub(super) lapsed: bool,
    /// Share in force when it came, until it was acted on in its time: if it lapses before that, the floor
    /// must not be more than the run had.
    #[serde(default)]
    pub(super) before: Option<Bps>,
}

impl Held {
    fn phases(&self) -> Vec<AckPhase> {
        let named = |ack: &Ack| {
            AckPhase::ALL
                .into_iter()
                .find(|phase| phase.as_str() == ack.phase)
        };
        self.acks.iter().filter_map(named).collect()
    }
}

#[derive(Debug, Clone)]
struct Slot {
    held: Held,
    decision: AllocationDecision,
    /// The order that the enforcer last carried out, fully or not.
    applied: Option<Order>,
    /// It did not end well: try again at the next reconcile.
    unfinished: bool,
}

/// What the enforcer is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Apply the order.
    Apply(Order),
    /// Only the admission differs.
    Admission(Order),
}

/// All targets of one consumer.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    scheduler: String,
    audience: String,
    slots: BTreeMap<TargetKey, Slot>,
    owed: VecDeque<Ack>,
    refused: VecDeque<Uuid>,
}

impl Tracker {
    pub(super) fn new(scheduler: &str, audience: &str) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            audience: audience.to_owned(),
            ..Self::default()
        }
    }

    /// The decision in force for a target.
    pub(super) fn current(&self, key: &TargetKey) -> Option<&AllocationDecision> {
        self.slots.get(key).map(|slot| &slot.decision)
    }

    /// Puts back what a state file held. Its acknowledgements are owed again:
    /// the service takes a repetition for what it is.
    pub(super) fn restore(&mut self, held: Held, decision: AllocationDecision) {
        for ack in held.acks.clone() {
            self.owe(ack);
        }
        let key = key_of(&decision.target);
        self.slots.insert(
            key,
            Slot {
                held,
                decision,
                applied: None,
                unfinished: true,
            },
        );
    }

    /// What is held of each target that an order was carried out for.
    pub(super) fn holdings(&self) -> Vec<HeldShare> {
        let held = self.slots.values().filter_map(|slot| {
            let target = &slot.decision.target;
            Some(HeldShare {
                target_uid: target.uid.to_string(),
                workload: target.workload.as_str().to_owned(),
                epoch: slot.decision.epoch,
                observed_generation: slot.decision.generation,
                actual_bps: slot.in_force()?.get().into(),
            })
        });
        held.collect()
    }

    /// What must be kept over a restart.
    pub(super) fn snapshot(&self) -> Vec<Held> {
        self.slots.values().map(|slot| slot.held.clone()).collect()
    }

    /// Takes a verified decision. True when it is newer and must be kept before it is applied.
    pub(super) fn offer(
        &mut self,
        envelope: Envelope,
        decision: AllocationDecision,
        target_name: &str,
        now: Timestamp,
    ) -> bool {
        let key = key_of(&decision.target);
        let addressee = Addressee {
            audience: self.audience.clone(),
            target: decision.target.uid,
        };
        match accept(&addressee, self.current(&key), &decision, now) {
            Ok(Accepted::Repeated) => false,
            Ok(Accepted::Newer) => {
                let before = self.slots.remove(&key);
                let held = Held {
                    envelope,
                    received_at: now,
                    target_name: target_name.to_owned(),
                    acks: Vec::new(),
                    lapsed: false,
                    before: before.as_ref().and_then(Slot::in_force),
                };
                let applied = before.and_then(|slot| slot.applied);
                self.slots.insert(
                    key,
                    Slot {
                        held,
                        decision,
                        applied,
                        unfinished: true,
                    },
                );
                self.report(&key, AckPhase::Received, None, None);
                self.report(&key, AckPhase::Accepted, None, None);
                true
            }
            // Somebody else's business: not refused, only not ours.
            Err(RejectReason::WrongAudience(_) | RejectReason::WrongTarget(_)) => false,
            Err(reason) => {
                self.refuse(&decision, &reason);
                false
            }
        }
    }

    /// Everything that has to change now. With `reconcile` what is in force already is applied again.
    pub(super) fn due(&self, now: Timestamp, reconcile: bool) -> Vec<Step> {
        let steps = self.slots.values().filter_map(|slot| {
            let order = slot.order(now)?;
            let Some(applied) = &slot.applied else {
                return Some(Step::Apply(order));
            };
            let same_decision = applied.decision_id == order.decision_id;
            let same_cut = same_decision
                && applied.action == order.action
                && applied.share_bps == order.share_bps;
            if !same_cut || reconcile || slot.unfinished {
                return Some(Step::Apply(order));
            }
            (applied.admit_new != order.admit_new).then_some(Step::Admission(order))
        });
        steps.collect()
    }

    /// The next instant at which [`Tracker::due`] may change by itself.
    pub(super) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let moments = self.slots.values().flat_map(|slot| {
            let decision = &slot.decision;
            [
                decision.not_before,
                decision.refresh_after,
                decision.expires_at,
            ]
        });
        moments.filter(|moment| *moment > now).min()
    }

    /// The enforcer starts on an order.
    pub(super) fn applying(&mut self, order: &Order) {
        self.report(&key_of(&order.target), AckPhase::Applying, None, None);
    }

    /// The enforcer is done with an order, well or not.
    pub(super) fn applied(&mut self, order: &Order, outcome: &Result<Applied, EnforceError>) {
        let key = key_of(&order.target);
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        slot.applied = outcome.is_ok().then(|| order.clone());
        slot.unfinished = true;
        if order.expired {
            slot.held.lapsed = true;
        } else if outcome.is_ok() {
            slot.held.before = None;
        }
        match outcome {
            Ok(done) if done.actual_bps <= order.share_bps => {
                slot.unfinished = false;
                let (actual, method) = (Some(done.actual_bps), Some(done.method.as_str()));
                self.report(&key, AckPhase::Enforced, actual, method);
                self.report(&key, AckPhase::Released, actual, method);
            }
            Ok(done) => self.report(
                &key,
                AckPhase::Partial,
                Some(done.actual_bps),
                Some(&done.method),
            ),
            Err(error) => self.report(&key, AckPhase::Failed, None, Some(&error.0)),
        }
    }

    /// Only the admission of an order was changed.
    pub(super) fn admitted(&mut self, order: &Order) {
        if let Some(slot) = self.slots.get_mut(&key_of(&order.target)) {
            slot.applied = Some(order.clone());
        }
    }

    /// Whether some order has not ended well yet.
    pub(super) fn has_unfinished(&self) -> bool {
        self.slots
            .values()
            .any(|slot| slot.unfinished && slot.decision.mode == Mode::Enforce)
    }

    /// The oldest acknowledgement that the service has not got.
    pub(super) fn owed(&self) -> Option<&Ack> {
        self.owed.front()
    }

    /// The oldest acknowledgement was taken, or never will be.
    pub(super) fn settled(&mut self) {
        self.owed.pop_front();
    }

    /// Reports a phase if it may follow the last one; a repetition or an order
    /// after expiry has nothing new to report.
    fn report(
        &mut self,
        key: &TargetKey,
        phase: AckPhase,
        actual: Option<Bps>,
        detail: Option<&str>,
    ) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        if !matches!(step(&slot.held.phases(), phase), Ok(AckStep::Advanced(_))) {
            return;
        }
        let ack = self.ack(&slot.decision, phase, actual, detail);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.held.acks.push(ack.clone());
        }
        self.owe(ack);
    }

    /// Reports that a decision is not acted on, once.
    pub(super) fn refuse(&mut self, decision: &AllocationDecision, reason: &RejectReason) {
        if self.refused.contains(&decision.decision_id) {
            return;
        }
        tracing::warn!(decision = %decision.decision_id, %reason, "refused a decision");
        self.refused.push_back(decision.decision_id);
        if self.refused.len() > MAX_REFUSED {
            self.refused.pop_front();
        }
        let detail = format!("{}: {reason}", reason.code());
        let received = self.ack(decision, AckPhase::Received, None, None);
        let rejected = self.ack(decision, AckPhase::Rejected, None, Some(&detail));
        self.owe(received);
        self.owe(rejected);
    }

    fn ack(
        &self,
        decision: &AllocationDecision,
        phase: AckPhase,
        actual: Option<Bps>,
        detail: Option<&str>,
    ) -> Ack {
        Ack {
            decision_id: decision.decision_id.to_string(),
            scheduler: self.scheduler.clone(),
            phase: phase.as_str().to_owned(),
            observed_generation: i64::try_from(decision.generation).unwrap_or(i64::MAX),
            actual_bps: actual.map(|share| i64::from(share.get())),
            detail: detail.map(str::to_owned),
        }
    }

    fn owe(&mut self, ack: Ack) {
        self.owed.push_back(ack);
        if self.owed.len() > MAX_OWED {
            self.owed.pop_front();
        }
    }
}

impl Slot {
    /// What is to be in force at `now`; none while the decision does not bind.
    fn order(&self, now: Timestamp) -> Option<Order> {
        let decision = &self.decision;
        let at = if self.held.lapsed {
            now.max(decision.expires_at)
        } else {
            now
        };
        let mut effective = decision.effective(at);
        let expired = effective.phase == LeasePhase::Expired;
        if let Some(before) = self.held.before.filter(|_| expired) {
            effective.share_bps = effective.share_bps.min(before);
            let baseline = decision.baseline.as_ref();
            effective.max_units = baseline.map(|all| effective.share_bps.of_units(all.amount));
        }
        effective.binding.then(|| Order {
            target: decision.target.clone(),
            target_name: self.held.target_name.clone(),
            decision_id: decision.decision_id,
            generation: decision.generation,
            action: effective.action,
            share_bps: effective.share_bps,
            max_units: effective.max_units,
            admit_new: effective.admit_new,
            inference: effective.inference,
            checkpoint_first: effective.checkpoint_first,
            grace_s: decision.grace_s,
            expired,
        })
    }

    /// The share that the run has, as far as is known here.
    fn in_force(&self) -> Option<Bps> {
        if let Some(applied) = &self.applied {
            return Some(applied.share_bps);
        }
        let reported = self.held.acks.iter().rev().find_map(|ack| ack.actual_bps);
        let reported = reported.and_then(|share| u32::try_from(share).ok());
        reported.map(Bps::saturating).or(self.held.before)
    }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
