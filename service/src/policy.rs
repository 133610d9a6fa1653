//! The policy in force, and its tick: from prices and settlements to signed
//! decisions.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use plumbline_access::Action;
use plumbline_governance::decision::{
    AllocationDecision, CheckpointDemand, DecisionBasis, DecisionTarget, Draft, TargetKind, Terms,
    is_due, issue,
};
use plumbline_governance::plan::{RunPlan, plan};
use plumbline_governance::policy::Policy;
use plumbline_governance::{Mode, Workload};
use plumbline_store::decisions::{self, Decision};
use plumbline_store::policies::{self, PolicyVersion};
use plumbline_store::runs::{Run, RunKind};
use plumbline_store::{Tx, control, evidence, log, outbox};
use serde_json::json;

use crate::allocations::TOPIC;
use crate::context::Context;
use crate::keys::hex;
use crate::ledger::TREASURY;
pub(crate) use crate::policy_facts::{Known, timestamp};
use crate::policy_facts::{Looked, STATE};
use crate::time::{Millis, rfc3339};
use crate::views::{Page, PolicyView};
use crate::{Result, Service, ServiceError, page, policy_record};

/// Raised by hand after a restore from a backup, so that older decisions are fenced off.
pub(crate) const EPOCH: &str = "allocation-epoch";

impl Service {
    /// The policy in force.
    pub fn policy(&self, ctx: &Context) -> Result<PolicyView> {
        self.allow(&ctx.actor, Action::ReadPolicy)?;
        let row = self.read(|tx| Ok(policies::active(tx)?))?;
        policy_view(row.ok_or_else(|| ServiceError::internal("no policy is in force"))?)
    }

    /// Every policy there was, newest first.
    pub fn policy_versions(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<PolicyView>> {
        self.allow(&ctx.actor, Action::ListPolicyVersions)?;
        let (before, limit) = (page::parse_cursor(cursor)?, page::bounded(limit));
        let rows = self.read(|tx| Ok(policies::list(tx, before, (limit + 1) as i64)?))?;
        let page = page::cut(rows, limit, |row| row.version.to_string(), |row| row);
        let items = page.items.into_iter().map(policy_view);
        Ok(Page {
            items: items.collect::<Result<_>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// One version of the policy.
    pub fn policy_version(&self, ctx: &Context, version: i64) -> Result<PolicyView> {
        self.allow(&ctx.actor, Action::ListPolicyVersions)?;
        policy_view(self.read(|tx| Ok(policies::get(tx, version)?))?)
    }

    /// The policy in force, compiled; compiled anew only when another came into force.
    pub(crate) fn active_policy(&self) -> Result<Arc<Policy>> {
        let row = self.read(|tx| Ok(policies::active(tx)?))?;
        let row = row.ok_or_else(|| ServiceError::internal("no policy is in force"))?;
        let mut cached = self
            .compiled_policy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((version, policy)) = cached.as_ref()
            && *version == row.version
        {
            return Ok(Arc::clone(policy));
        }
        let policy = Arc::new(Policy::parse(&row.toml).map_err(ServiceError::internal)?);
        *cached = Some((row.version, Arc::clone(&policy)));
        Ok(policy)
    }

    /// One tick: computes what every run is granted, and issues the decisions
    /// that are due. Writes nothing when nothing changed.
    pub(crate) fn evaluate_policy(&self) -> Result<()> {
        let policy = self.active_policy()?;
        let now = self.now();
        let at = timestamp(now)?;
        let known = self.known(&policy, now)?;
        if known.views.is_empty() {
            return Ok(());
        }
        let planned =
            plan(&policy, &known.state, &known.views, at).map_err(ServiceError::internal)?;
        let terms = Terms {
            audience: self.config.pool.clone(),
            epoch: known.epoch,
            mode: policy.document().mode,
            lease: policy.document().lease,
        };
        let mut due = Vec::new();
        for run in &planned.runs {
            let previous = known.previous(run.run);
            if is_due(previous, run.grant.action, run.grant.share, &terms, at) {
                due.push(self.decide(run, previous, &terms, at)?);
            }
        }
        let on_inference = self.decide_inference(&policy, &planned.runs, &terms, at)?;
        if due.is_empty() && on_inference.is_empty() && planned.state == known.state {
            return Ok(());
        }
        let record = policy_record::rows(&known.views, &known.state, &planned, &due)?;
        due.extend(on_inference);
        let count = due.len() as u64;
        let state = serde_json::to_string(&planned.state).map_err(ServiceError::internal)?;
        self.write(move |tx| {
            control::put(tx, STATE, &state, now)?;
            policy_record::keep(tx, &record, now)?;
            due.iter().try_for_each(|row| book_decision(tx, row, now))
        })?;
        self.counters.decisions.add(count);
        Ok(())
    }

    /// Everything that a tick of `policy` needs at `now`.
    pub(crate) fn known(&self, policy: &Policy, now: Millis) -> Result<Known> {
        let seconds = |s: u64| i64::try_from(s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let looked = Looked {
            now,
            window: seconds(policy.document().price.window_s),
            dwell: seconds(policy.document().control.dwell_s),
        };
        // A run of the embedded core that is not going gets nothing: nobody could use it.
        let is_going =
            |run: &Run| run.kind == RunKind::External || self.host.training(&run.id).is_some();
        let read = |look: &mut dyn FnMut(&mut Tx) -> Result<Known>| self.read(look);
        let mut known = self.policy_memory.known(read, looked, &is_going)?;
        if !self.config.defences.price_window {
            known.forget_all_but_last_prices();
        }
        Ok(known)
    }

    /// Digests of the exhibits that moved the price.
    fn exhibits_behind(&self, run: &RunPlan) -> Result<Vec<String>> {
        let Some(market) = run.basis.market else {
            return Ok(Vec::new());
        };
        let rows = self.read(|tx| Ok(evidence::judged(tx, &market.to_string())?))?;
        Ok(rows.into_iter().map(|row| row.content_hash).collect())
    }

    fn decide(
        &self,
        run: &RunPlan,
        previous: Option<&AllocationDecision>,
        terms: &Terms,
        at: Timestamp,
    ) -> Result<Decision> {
        let draft = Draft {
            decision_id: self.new_uuid(),
            target: DecisionTarget {
                kind: TargetKind::Run,
                uid: run.run,
                workload: Workload::Training,
            },
            action: run.grant.action,
            share_bps: run.grant.share,
            baseline: self.config.baseline.clone(),
            inference: None,
            checkpoint: CheckpointDemand::BestEffort,
            deadline_s: run.verdict.deadline_s,
            txn_id: None,
            depends_on: Vec::new(),
            basis: DecisionBasis {
                exhibit_digests: self.exhibits_behind(run)?,
                ..run.basis.clone()
            },
        };
        self.issue_decision(draft, previous, terms, at)
    }

    /// Issues and signs what a draft says.
    pub(crate) fn issue_decision(
        &self,
        draft: Draft,
        previous: Option<&AllocationDecision>,
        terms: &Terms,
        at: Timestamp,
    ) -> Result<Decision> {
        let decision = issue(draft, terms, previous, at).map_err(ServiceError::internal)?;
        let envelope = decision
            .sign(&[&self.signing_key])
            .map_err(ServiceError::internal)?;
        Ok(Decision {
            decision_id: decision.decision_id.to_string(),
            target_kind: "run".to_owned(),
            target_uid: decision.target.uid.to_string(),
            workload: decision.target.workload.as_str().to_owned(),
            epoch: decision.epoch as i64,
            generation: decision.generation as i64,
            share_bps: decision.share_bps.get().into(),
            action: decision.action.as_str().to_owned(),
            created_at: decision.not_before.as_millisecond(),
            expires_at: decision.expires_at.as_millisecond(),
            payload: serde_json::to_string(&decision).map_err(ServiceError::internal)?,
            envelope: serde_json::to_string(&envelope).map_err(ServiceError::internal)?,
            version: 0,
        })
    }
}

fn book_decision(tx: &mut Tx, row: &Decision, now: Millis) -> Result<()> {
    let version = decisions::insert(tx, row)?;
    // The payload's digest puts every word of the decision into the log.
    let digest = plumbline_transparency::tree::sha256(row.payload.as_bytes());
    let payload = json!({
        "version": version,
        "decision_id": row.decision_id,
        "run_id": row.target_uid,
        "action": row.action,
        "share_bps": row.share_bps,
        "generation": row.generation,
        "payload_sha256": hex(&digest),
    });
    let event = outbox::push(tx, now, TOPIC, "decided", &payload)?;
    Ok(log::place(tx, &row.decision_id, event)?)
}

/// Parses, compiles and tries out a policy document; gives back its text.
pub(crate) fn check_text(text: &str) -> Result<String> {
    Policy::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| ServiceError::invalid(error.code(), error.to_string()))
}

/// Puts `text` in force if no policy is.
pub(crate) fn ensure_active(tx: &mut Tx, text: &str, now: Millis) -> Result<()> {
    if policies::active(tx)?.is_some() {
        return Ok(());
    }
    let policy = Policy::parse(text).map_err(ServiceError::internal)?;
    policies::insert_active(tx, policy.hash(), text, TREASURY, None, now)?;
    Ok(())
}

fn policy_view(row: PolicyVersion) -> Result<PolicyView> {
    let policy = Policy::parse(&row.toml).map_err(ServiceError::internal)?;
    let document = policy.document();
    Ok(PolicyView {
        version: row.version,
        hash: row.hash,
        name: document.name.clone(),
        document_version: document.version,
        mode: match document.mode {
            Mode::Shadow => "shadow",
            Mode::Enforce => "enforce",
        }
        .to_owned(),
        toml: row.toml,
        created_at: rfc3339(row.created_at),
        active: row.active,
        proposal_id: row.proposal_id,
    })
}
