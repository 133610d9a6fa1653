//! Whether decisions are obeyed: who is silent, who holds more than decided, and how much of the compute
//! could be stopped.

use plumbline_access::Action;
use plumbline_governance::decision::AllocationDecision;
use plumbline_store::acks::{self, Ack};
use plumbline_store::decisions::{self, Decision};
use plumbline_store::runs::{self, Run, RunKind};
use plumbline_store::{Tx, accounts};

use crate::accounts::account_of;
use crate::allocations::payload_of;
use crate::context::{Actor, Context};
use crate::time::{Millis, rfc3339};
use crate::views::{EnforcementView, TargetEnforcement};
use crate::{Inner, Result, Service, ServiceError};

/// Decisions of a target that are looked at for the newest one whose time to be enforced is over.
const LOOKED_AT: i64 = 16;

impl Service {
    /// How every target obeys the newest decision that it has had the time to obey.
    pub fn enforcement(&self, ctx: &Context) -> Result<EnforcementView> {
        self.allow(&ctx.actor, Action::ReadEnforcement)?;
        self.enforcement_now()
    }

    pub(crate) fn enforcement_now(&self) -> Result<EnforcementView> {
        let now = self.now();
        self.read(|tx| look(tx, now))
    }
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
    let last = newest.iter().max_by_key(|ack| ack.at);
    let held = last.and_then(|ack| ack.actual_bps);
    Ok(Some(TargetEnforcement {
        target_name: name_of(tx, &row.target_uid)?,
        target_uid: row.target_uid,
        decision_id: row.decision_id,
        share_bps: current.share_bps,
        held_bps: held,
        last_report_at: last.map(|ack| rfc3339(ack.at)),
        silent: enforced.is_none(),
        diverges: held.is_some_and(|held| held > allowed(&decision, now)),
    }))
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
