//! Whether decisions are obeyed: who is silent, who holds more than decided, and how much of the compute
//! could be stopped.

use plumbline_access::Action;
use plumbline_governance::decision::AllocationDecision;
use plumbline_store::acks::{self, Ack};
use plumbline_store::decisions::{self, Decision};
use plumbline_store::enforcement_reports::{self, EnforcementReport};
use plumbline_store::runs::{self, Run, RunKind};
use plumbline_store::{Tx, accounts};

use crate::accounts::account_of;
use crate::allocations::payload_of;
use crate::commands::ReportEnforcement;
use crate::context::{Actor, Context};
use crate::time::{Millis, rfc3339};
use crate::views::{EnforcementView, ReportTaken, TargetEnforcement};
use crate::{Inner, Result, Service, ServiceError};

/// Seconds between two reports of a scheduler that are taken.
const EVERY_S: std::ops::RangeInclusive<i64> = 5..=3_600;
/// Most targets in one report.
const MAX_REPORTED: usize = 256;
/// Longest detail, bytes.
const MAX_DETAIL: usize = 1_024;
/// A scheduler is overdue after so many times what it meant to wait: one report may be lost, and another late.
const PATIENCE: i64 = 3;

/// Decisions of a target that are looked at for the newest one whose time to be enforced is over.
const LOOKED_AT: i64 = 16;

impl Service {
    /// How every target obeys the newest decision that it has had the time to obey.
    pub fn enforcement(&self, ctx: &Context) -> Result<EnforcementView> {
        self.allow(&ctx.actor, Action::ReadEnforcement)?;
        self.enforcement_now()
    }

    /// Keeps what a scheduler holds, in the place of what it reported before.
    ///
    /// Errors: `bad-scheduler`, `bad-report`; forbidden for a run that it does not control. Nothing is kept then.
    pub fn report_enforcement(
        &self,
        ctx: &Context,
        cmd: &ReportEnforcement,
    ) -> Result<ReportTaken> {
        self.allow(&ctx.actor, Action::Acknowledge)?;
        check_report(cmd)?;
        let (cmd, actor) = (cmd.clone(), ctx.actor.clone());
        let inner = std::sync::Arc::clone(&self.inner);
        self.write_once(ctx, move |tx, now| {
            for item in &cmd.items {
                inner.allow_report(tx, &actor, &item.target_uid)?;
                enforcement_reports::put(
                    tx,
                    &EnforcementReport {
                        target_uid: item.target_uid.clone(),
                        workload: item.workload.clone(),
                        scheduler: cmd.scheduler.clone(),
                        at: now,
                        every_s: cmd.every_s,
                        epoch: item.epoch,
                        observed_generation: item.observed_generation,
                        actual_bps: item.actual_bps,
                        detail: item.detail.clone(),
                    },
                )?;
            }
            Ok(ReportTaken {
                at: rfc3339(now),
                items: cmd.items.len(),
            })
        })
    }

    pub(crate) fn enforcement_now(&self) -> Result<EnforcementView> {
        let now = self.now();
        self.read(|tx| look(tx, now))
    }
}

fn check_report(cmd: &ReportEnforcement) -> Result<()> {
    let wrong = |what: String| Err(ServiceError::invalid("bad-report", what));
    check_scheduler(&cmd.scheduler)?;
    if !EVERY_S.contains(&cmd.every_s) {
        let (least, most) = (EVERY_S.start(), EVERY_S.end());
        return wrong(format!("every_s lies between {least} and {most}"));
    }
    if cmd.items.is_empty() || cmd.items.len() > MAX_REPORTED {
        return wrong(format!("a report has 1 to {MAX_REPORTED} items"));
    }
    for item in &cmd.items {
        if !matches!(item.workload.as_str(), "training" | "inference") {
            return wrong("workload is training or inference".to_owned());
        }
        if !(0..=10_000).contains(&item.actual_bps) {
            return wrong("actual_bps lies between 0 and 10000".to_owned());
        }
        let detail = item.detail.as_ref();
        if detail.is_some_and(|detail| detail.len() > MAX_DETAIL) {
            return wrong(format!("detail has at most {MAX_DETAIL} bytes"));
        }
    }
    Ok(())
}

/// Refuses what cannot be the name of a scheduler.
pub(crate) fn check_scheduler(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 128 {
        return Err(ServiceError::invalid(
            "bad-scheduler",
            "scheduler is a name of 1 to 128 bytes",
        ));
    }
    Ok(())
}

impl Inner {
    /// Refuses whoever reports on a run that is not theirs to control. A report of a release frees compute for
    /// others, so one by a stranger would have it granted twice.
    pub(crate) fn allow_report(&self, tx: &mut Tx, actor: &Actor, run_id: &str) -> Result<()> {
        let account = account_of(actor)?;
        if !self.config.defences.bound_schedulers || actor.has_role("operator") {
            return Ok(());
        }
        let run = runs::get(tx, run_id)?;
        if run.owner_id == account || is_embedded(tx, &run, &account)? {
            return Ok(());
        }
        Err(ServiceError::Forbidden {
            needs: "to be the scheduler that registered the run".to_owned(),
        })
    }
}

/// Whether the run is trained here and the account is the one of this program's own scheduler: such accounts
/// have no password.
fn is_embedded(tx: &mut Tx, run: &Run, account: &str) -> Result<bool> {
    let own = accounts::get(tx, account)?.password_hash.is_none();
    Ok(own && run.kind == RunKind::Embedded)
}

fn look(tx: &mut Tx, now: Millis) -> Result<EnforcementView> {
    let mut targets = Vec::new();
    for row in decisions::current(tx)? {
        if let Some(target) = target(tx, &row, now)? {
            targets.push(target);
        }
    }
    let granted: i64 = targets.iter().map(|one| one.share_bps).sum();
    let covered: i64 = targets
        .iter()
        .filter(|one| !one.silent)
        .map(|one| one.share_bps)
        .sum();
    Ok(EnforcementView {
        at: rfc3339(now),
        silent: targets.iter().filter(|one| one.silent).count(),
        diverging: targets.iter().filter(|one| one.diverges).count(),
        // Of nothing granted, everything could be stopped.
        stop_coverage_bps: (covered * 10_000).checked_div(granted).unwrap_or(10_000),
        targets,
    })
}

/// How one target does; `None` where no decision on it has had time yet, or none of them binds.
fn target(tx: &mut Tx, current: &Decision, now: Millis) -> Result<Option<TargetEnforcement>> {
    let mut due = None;
    for row in decisions::by_target(tx, &current.target_uid, LOOKED_AT)? {
        let decision = payload_of(&row)?;
        let over = decision.enforce_by.as_millisecond() <= now;
        if over
            && row.workload == current.workload
            && decision.effective(decision.not_before).binding
        {
            due = Some((row, decision));
            break;
        }
    }
    let Some((row, decision)) = due else {
        return Ok(None);
    };
    let reports = acks::list(tx, &row.decision_id)?;
    let obeyed = |ack: &&Ack| matches!(ack.phase.as_str(), "enforced" | "released");
    let enforced = reports.iter().rev().find(obeyed);
    let newest = acks::latest_by_scheduler(tx, &row.target_uid)?;
    let regular = enforcement_reports::of_target(tx, &row.target_uid, &row.workload)?;
    // Acknowledgements first: of two words at one instant the regular one is the later.
    let told = newest.iter().map(|ack| (ack.at, ack.actual_bps));
    let again = regular.iter().map(|one| (one.at, Some(one.actual_bps)));
    let last = told.chain(again).max_by_key(|(at, _)| *at);
    let held = last.and_then(|(_, held)| held);
    let overdue = regular.iter().any(|one| is_overdue(one, now));
    Ok(Some(TargetEnforcement {
        target_name: name_of(tx, &row.target_uid)?,
        target_uid: row.target_uid,
        decision_id: row.decision_id,
        share_bps: current.share_bps,
        held_bps: held,
        last_report_at: last.map(|(at, _)| rfc3339(at)),
        silent: enforced.is_none() || overdue,
        overdue,
        diverges: held.is_some_and(|held| held > allowed(&decision, now)),
    }))
}

fn is_overdue(report: &EnforcementReport, now: Millis) -> bool {
    let patience = report.every_s.saturating_mul(PATIENCE * 1_000);
    now.saturating_sub(report.at) > patience
}

/// The share that a decision allows by now: the floor after its end.
fn allowed(decision: &AllocationDecision, now: Millis) -> i64 {
    let at = jiff::Timestamp::from_millisecond(now).unwrap_or(decision.not_before);
    decision.effective(at).share_bps.get().into()
}

fn name_of(tx: &mut Tx, run_id: &str) -> Result<String> {
    match runs::get(tx, run_id) {
        Ok(run) => Ok(run.name),
        Err(plumbline_store::StoreError::NotFound { .. }) => Ok(run_id.to_owned()),
        Err(error) => Err(error.into()),
    }
}
