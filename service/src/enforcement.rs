//! Whether decisions are obeyed: who is silent, who holds more than decided, and how much of the compute
//! could be stopped.

use std::collections::HashMap;

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

/// A decision that a target has had the time to obey.
type Due = (Decision, AllocationDecision);

/// A bounded number of queries, however many targets there are: this is part of every scrape of the figures.
fn look(tx: &mut Tx, now: Millis) -> Result<EnforcementView> {
    let current = decisions::current(tx)?;
    let due = due_decisions(tx, &current, now)?;
    let reports = Reports::read(tx, &due)?;
    let targets: Vec<TargetEnforcement> = current
        .iter()
        .zip(due)
        .filter_map(|(current, due)| Some(target(current, due?, &reports, now)))
        .collect();
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

/// The decision if its time to be enforced is over and it binds.
fn if_due(row: &Decision, now: Millis) -> Result<Option<Due>> {
    let decision = payload_of(row)?;
    let over = decision.enforce_by.as_millisecond() <= now;
    let due = over && decision.effective(decision.not_before).binding;
    Ok(due.then(|| (row.clone(), decision)))
}

/// For each current decision the newest one of its target and workload that is due; `None` where no decision has had
/// time yet, or none of them binds.
fn due_decisions(tx: &mut Tx, current: &[Decision], now: Millis) -> Result<Vec<Option<Due>>> {
    let due: Result<Vec<Option<Due>>> = current.iter().map(|row| if_due(row, now)).collect();
    let mut due = due?;
    let missing = due.iter().zip(current).filter(|(due, _)| due.is_none());
    let young: Vec<String> = missing.map(|(_, row)| row.target_uid.clone()).collect();
    if young.is_empty() {
        return Ok(due);
    }
    // Where all are decided in turn, the latest of each reach as far back as this.
    let newest = current.iter().map(|row| row.version).max().unwrap_or(0);
    let from = newest - LOOKED_AT * current.len() as i64;
    let mut earlier: HashMap<String, Vec<Decision>> = HashMap::new();
    for row in decisions::of_targets_since(tx, &young, from)? {
        earlier.entry(row.target_uid.clone()).or_default().push(row);
    }
    for (found, row) in due.iter_mut().zip(current).filter(|(due, _)| due.is_none()) {
        let rows = earlier.entry(row.target_uid.clone()).or_default();
        // One that is decided less often than others reaches further back.
        if (rows.len() as i64) < row.generation.min(LOOKED_AT) {
            *rows = decisions::by_target(tx, &row.target_uid, LOOKED_AT)?;
        }
        let newest = rows.iter().take(LOOKED_AT as usize);
        for earlier in newest.filter(|earlier| earlier.workload == row.workload) {
            *found = if_due(earlier, now)?;
            if found.is_some() {
                break;
            }
        }
    }
    Ok(due)
}

/// What schedulers reported, and the names of what they reported on.
struct Reports {
    of_decision: HashMap<String, Vec<Ack>>,
    /// By target and workload.
    last_of_target: HashMap<(String, String), Ack>,
    /// By target and workload.
    regular: HashMap<(String, String), Vec<EnforcementReport>>,
    names: HashMap<String, String>,
}

impl Reports {
    fn read(tx: &mut Tx, due: &[Option<Due>]) -> Result<Self> {
        let rows = due.iter().flatten().map(|(row, _)| row);
        let ids: Vec<String> = rows.clone().map(|row| row.decision_id.clone()).collect();
        let targets: Vec<String> = rows.map(|row| row.target_uid.clone()).collect();
        let mut of_decision: HashMap<String, Vec<Ack>> = HashMap::new();
        for ack in acks::of_decisions(tx, &ids)? {
            let reports = of_decision.entry(ack.decision_id.clone()).or_default();
            reports.push(ack);
        }
        let mut last_of_target: HashMap<_, Ack> = HashMap::new();
        for (target, workload, ack) in acks::latest_of_targets(tx, &targets)? {
            let last = last_of_target.entry((target, workload));
            let last = last.or_insert_with(|| ack.clone());
            if (last.at, &last.scheduler) <= (ack.at, &ack.scheduler) {
                *last = ack;
            }
        }
        let mut regular: HashMap<_, Vec<EnforcementReport>> = HashMap::new();
        for report in enforcement_reports::of_targets(tx, &targets)? {
            let of = (report.target_uid.clone(), report.workload.clone());
            regular.entry(of).or_default().push(report);
        }
        let names = runs::list(tx)?.into_iter().map(|run| (run.id, run.name));
        Ok(Self {
            of_decision,
            last_of_target,
            regular,
            names: names.collect(),
        })
    }
}

/// How one target does.
fn target(current: &Decision, due: Due, reports: &Reports, now: Millis) -> TargetEnforcement {
    let (row, decision) = due;
    let obeyed = |ack: &&Ack| matches!(ack.phase.as_str(), "enforced" | "released");
    let on_it = reports.of_decision.get(&row.decision_id);
    let enforced = on_it.and_then(|acks| acks.iter().find(obeyed));
    let key = (row.target_uid.clone(), row.workload.clone());
    let regular = reports.regular.get(&key).map_or(&[][..], Vec::as_slice);
    // The acknowledgement first: of two words at one instant the regular one is the later.
    let told = reports.last_of_target.get(&key);
    let told = told.map(|ack| (ack.at, ack.actual_bps));
    let again = regular.iter().map(|one| (one.at, Some(one.actual_bps)));
    let last = told.into_iter().chain(again).max_by_key(|(at, _)| *at);
    let held = last.and_then(|(_, held)| held);
    let overdue = regular.iter().any(|one| is_overdue(one, now));
    let name = reports.names.get(&row.target_uid);
    TargetEnforcement {
        target_name: name.unwrap_or(&row.target_uid).clone(),
        silent: enforced.is_none() || overdue,
        overdue,
        target_uid: row.target_uid,
        workload: row.workload,
        decision_id: row.decision_id,
        share_bps: current.share_bps,
        held_bps: held,
        last_report_at: last.map(|(at, _)| rfc3339(at)),
        diverges: held.is_some_and(|held| held > allowed(&decision, now)),
    }
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
