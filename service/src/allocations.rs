//! Signed decisions on their way out, acknowledgements on their way in.

use std::time::{Duration, Instant};

use plumbline_access::Action;
use plumbline_governance::Workload;
use plumbline_governance::ack::{self, AckPhase, AckStep};
use plumbline_governance::decision::AllocationDecision;
use plumbline_store::acks::{self, Ack, Put};
use plumbline_store::decisions::{self, Decision};
use plumbline_store::{Tx, runs};
use serde_json::json;

use crate::commands::Acknowledge;
use crate::context::Context;
use crate::cosigning::Terms as SigningTerms;
use crate::enforcement::check_scheduler;
use crate::events::publish;
use crate::time::{Millis, rfc3339};
use crate::views::{AckView, AllocationView, AllocationsView, DecisionView, Page, ShareChange};
use crate::{Result, Service, ServiceError, page};

/// Topic of everything about decisions.
pub(crate) const TOPIC: &str = "allocations";
/// Most decisions given out at once.
const MOST_DECIDED: usize = 1_000;
/// Newest decisions on a run among which changes are looked for.
const MOST_CHANGES: i64 = 400;
/// Longest long poll.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Service {
    /// The full desired state: the newest decision of every target.
    pub fn allocations(&self, ctx: &Context) -> Result<AllocationsView> {
        self.allow(&ctx.actor, Action::ListAllocations)?;
        let signatures = self.active_policy()?.document().signatures;
        self.read(|tx| {
            let version = decisions::last_version(tx)?;
            let mut rows = decisions::current(tx)?;
            // Training first: inference follows from it.
            rows.sort_by_key(|row| row.workload != Workload::Training.as_str());
            let terms = self.signing_terms(tx, signatures)?;
            let items = rows
                .into_iter()
                .map(|row| decision_view(tx, row, &terms))
                .collect::<Result<_>>()?;
            Ok(AllocationsView { version, items })
        })
    }

    /// Version of the newest decision; 0 before the first.
    pub fn allocations_version(&self, ctx: &Context) -> Result<i64> {
        self.allow(&ctx.actor, Action::ListAllocations)?;
        self.read(|tx| Ok(decisions::last_version(tx)?))
    }

    /// Up to `limit` decisions after `since`, oldest first.
    pub fn decided_since(
        &self,
        ctx: &Context,
        since: i64,
        limit: usize,
    ) -> Result<Vec<DecisionView>> {
        self.allow(&ctx.actor, Action::ListAllocations)?;
        let limit = limit.min(MOST_DECIDED) as i64;
        let signatures = self.active_policy()?.document().signatures;
        self.read(|tx| {
            let rows = decisions::since(tx, since, limit)?;
            let terms = self.signing_terms(tx, signatures)?;
            rows.into_iter()
                .map(|row| decision_view(tx, row, &terms))
                .collect()
        })
    }

    /// Whether this caller may read, for those who hand out what is kept in memory.
    pub fn may_read(&self, ctx: &Context) -> Result<()> {
        self.allow(&ctx.actor, Action::ListAllocations)
    }

    /// Waits until there is a decision newer than `since`, for `wait` at most;
    /// `None` when none came. Holds the calling thread while it waits.
    pub fn wait_allocations(
        &self,
        ctx: &Context,
        since: i64,
        wait: Duration,
    ) -> Result<Option<AllocationsView>> {
        self.allow(&ctx.actor, Action::ListAllocations)?;
        let deadline = Instant::now() + wait.min(LONGEST_WAIT);
        let mut seen = 0;
        loop {
            if self.read(|tx| Ok(decisions::last_version(tx)?))? > since {
                return self.allocations(ctx).map(Some);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            seen = self.bell.wait(seen, left);
        }
    }

    /// One decision, by its id.
    pub fn decision(&self, ctx: &Context, decision_id: &str) -> Result<DecisionView> {
        self.allow(&ctx.actor, Action::ReadDecision)?;
        let id = decision_id.to_owned();
        let signatures = self.active_policy()?.document().signatures;
        self.read(move |tx| {
            let row = decisions::get(tx, &id)?;
            let terms = self.signing_terms(tx, signatures)?;
            Ok(DecisionView {
                proof: self.proof_of(tx, &id)?,
                ..decision_view(tx, row, &terms)?
            })
        })
    }

    /// All decisions, newest first.
    pub fn decisions(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DecisionView>> {
        self.allow(&ctx.actor, Action::ListDecisions)?;
        let (before, limit) = (page::parse_cursor(cursor)?, page::bounded(limit));
        let signatures = self.active_policy()?.document().signatures;
        self.read(move |tx| {
            let terms = self.signing_terms(tx, signatures)?;
            let rows = decisions::list(tx, before, (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.version.to_string(), |row| row);
            let items = page
                .items
                .into_iter()
                .map(|row| decision_view(tx, row, &terms))
                .collect::<Result<_>>()?;
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// The decisions on a run's training that changed its share or action, oldest first, of the newest 400.
    pub fn share_changes(&self, ctx: &Context, run_id: &str) -> Result<Vec<ShareChange>> {
        self.allow(&ctx.actor, Action::ListDecisions)?;
        let id = run_id.to_owned();
        let training = Workload::Training.as_str();
        let mut given =
            self.read(move |tx| Ok(decisions::shares(tx, &id, training, MOST_CHANGES)?))?;
        given.reverse();
        // A renewal says again what holds.
        given.dedup_by(|a, b| (&a.action, a.share_bps) == (&b.action, b.share_bps));
        let change = |row: decisions::Given| ShareChange {
            at: rfc3339(row.created_at),
            decision_id: row.decision_id,
            action: row.action,
            share_bps: row.share_bps,
        };
        Ok(given.into_iter().map(change).collect())
    }

    /// Takes a scheduler's report. The same report again is the same fact;
    /// phases come in their order. Only the scheduler that registered the run may, an operator, and this
    /// program's own scheduler for what is trained here.
    pub fn acknowledge(&self, ctx: &Context, cmd: &Acknowledge) -> Result<AckView> {
        self.allow(&ctx.actor, Action::Acknowledge)?;
        let phase = check_ack(cmd)?;
        let (cmd, actor) = (cmd.clone(), ctx.actor.clone());
        let inner = std::sync::Arc::clone(&self.inner);
        let view = self.write_once(ctx, move |tx, now| {
            let decision = decisions::get(tx, &cmd.decision_id)?;
            inner.allow_report(tx, &actor, &decision.target_uid)?;
            book_ack(tx, &cmd, phase, now)
        })?;
        Ok(view)
    }

    /// What is in force for a run's training, as far as is known.
    pub(crate) fn allocation_of(&self, run_id: &str) -> Result<Option<AllocationView>> {
        let run_id = run_id.to_owned();
        self.read(move |tx| {
            let Some(row) = decisions::latest(tx, &run_id, "training")? else {
                return Ok(None);
            };
            let newest = acks::list(tx, &row.decision_id)?.pop();
            let decision = payload_of(&row)?;
            Ok(Some(AllocationView {
                decision_id: row.decision_id,
                action: row.action,
                share_bps: row.share_bps,
                generation: row.generation,
                phase: newest.as_ref().map(|ack| ack.phase.clone()),
                actual_bps: newest.and_then(|ack| ack.actual_bps),
                reason: decision.basis.explanation,
                created_at: rfc3339(row.created_at),
                expires_at: rfc3339(row.expires_at),
            }))
        })
    }
}

/// The decision as it was signed.
pub(crate) fn payload_of(row: &Decision) -> Result<AllocationDecision> {
    serde_json::from_str(&row.payload).map_err(ServiceError::internal)
}

fn check_ack(cmd: &Acknowledge) -> Result<AckPhase> {
    check_scheduler(&cmd.scheduler)?;
    if cmd
        .detail
        .as_ref()
        .is_some_and(|detail| detail.len() > 4096)
    {
        return Err(ServiceError::invalid(
            "detail-too-long",
            "detail has at most 4096 bytes",
        ));
    }
    if cmd
        .actual_bps
        .is_some_and(|bps| !(0..=10_000).contains(&bps))
    {
        return Err(ServiceError::invalid(
            "bad-share",
            "actual_bps lies between 0 and 10000",
        ));
    }
    let known = AckPhase::ALL
        .into_iter()
        .find(|phase| phase.as_str() == cmd.phase);
    known.ok_or_else(|| {
        let names = AckPhase::ALL.map(AckPhase::as_str).join(", ");
        ServiceError::invalid("bad-phase", format!("phase is one of {names}"))
    })
}

fn book_ack(tx: &mut Tx, cmd: &Acknowledge, phase: AckPhase, now: Millis) -> Result<AckView> {
    let decision = decisions::get(tx, &cmd.decision_id)?;
    let earlier: Vec<Ack> = acks::list(tx, &cmd.decision_id)?
        .into_iter()
        .filter(|ack| ack.scheduler == cmd.scheduler)
        .collect();
    let seen: Vec<AckPhase> = earlier
        .iter()
        .filter_map(|ack| {
            AckPhase::ALL
                .into_iter()
                .find(|phase| phase.as_str() == ack.phase)
        })
        .collect();
    let order =
        |error: ack::AckOrderError| ServiceError::refused("ack-out-of-order", error.to_string());
    let step = ack::step(&seen, phase).map_err(order)?;
    let row = Ack {
        decision_id: cmd.decision_id.clone(),
        scheduler: cmd.scheduler.clone(),
        phase: cmd.phase.clone(),
        at: now,
        observed_generation: cmd.observed_generation,
        actual_bps: cmd.actual_bps,
        body: serde_json::to_string(cmd).map_err(ServiceError::internal)?,
    };
    if acks::put(tx, &row)? == Put::Conflict {
        return Err(ServiceError::refused(
            "ack-conflict",
            "this phase was reported before, with other figures",
        ));
    }
    if let AckStep::Advanced(_) = step {
        let payload = json!({
            "decision_id": cmd.decision_id,
            "run_id": decision.target_uid,
            "scheduler": cmd.scheduler,
            "phase": cmd.phase,
            "actual_bps": cmd.actual_bps,
        });
        publish(tx, now, TOPIC, "acknowledged", &payload)?;
    }
    Ok(ack_view(row))
}

pub(crate) fn decision_view(
    tx: &mut Tx,
    row: Decision,
    terms: &SigningTerms,
) -> Result<DecisionView> {
    let target_name = match runs::get(tx, &row.target_uid) {
        Ok(run) => run.name,
        Err(_) => row.target_uid.clone(),
    };
    let acks = acks::list(tx, &row.decision_id)?
        .into_iter()
        .map(ack_view)
        .collect();
    Ok(DecisionView {
        version: row.version,
        signatures_needed: terms.needed(tx, &payload_of(&row)?)?,
        decision: serde_json::from_str(&row.payload).map_err(ServiceError::internal)?,
        envelope: serde_json::to_value(terms.envelope(tx, &row)?)
            .map_err(ServiceError::internal)?,
        target_name,
        acks,
        proof: None,
    })
}

fn ack_view(row: Ack) -> AckView {
    let detail = serde_json::from_str::<Acknowledge>(&row.body)
        .ok()
        .and_then(|cmd| cmd.detail);
    AckView {
        decision_id: row.decision_id,
        scheduler: row.scheduler,
        phase: row.phase,
        at: rfc3339(row.at),
        observed_generation: row.observed_generation,
        actual_bps: row.actual_bps,
        detail,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn acknowledgements_are_checked() {
        let ack = Acknowledge {
            decision_id: "d".into(),
            scheduler: "s".into(),
            phase: "received".into(),
            observed_generation: 1,
            actual_bps: None,
            detail: None,
        };
        assert_eq!(check_ack(&ack).unwrap(), AckPhase::Received);
        for (bad, code) in [
            (
                Acknowledge {
                    phase: "done".into(),
                    ..ack.clone()
                },
                "bad-phase",
            ),
            (
                Acknowledge {
                    scheduler: String::new(),
                    ..ack.clone()
                },
                "bad-scheduler",
            ),
            (
                Acknowledge {
                    actual_bps: Some(10_001),
                    ..ack.clone()
                },
                "bad-share",
            ),
        ] {
            assert_eq!(check_ack(&bad).unwrap_err().code(), code);
        }
    }
}
