//! Decisions on the inference of hosted runs. They follow from what the tick
//! grants to the runs' training, under the floor and limits of the policy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plumbline_governance::decision::{
    AllocationDecision, CheckpointDemand, DecisionTarget, Draft, InferenceLimits, TargetKind,
    Terms, is_due,
};
use plumbline_governance::plan::RunPlan;
use plumbline_governance::policy::{InferenceSettings, LeaseSettings, Policy};
use plumbline_governance::{Action, Bps, Workload};
use plumbline_store::decisions::{self, Decision};
use uuid::Uuid;

use crate::allocations::payload_of;
use crate::{Result, Service};

/// What a run's inference is to get.
struct Due<'a> {
    run: &'a RunPlan,
    share: Bps,
    action: Action,
    limits: InferenceLimits,
}

impl Service {
    /// The decisions on inference that are due beside those on training. Runs
    /// that are not hosted here serve their own requests.
    pub(crate) fn decide_inference(
        &self,
        policy: &Policy,
        runs: &[RunPlan],
        terms: &Terms,
        at: Timestamp,
    ) -> Result<Vec<Decision>> {
        let Some(settings) = policy.document().inference else {
            return Ok(Vec::new());
        };
        let hosted: Vec<&RunPlan> = runs
            .iter()
            .filter(|run| self.host.training(&run.run.to_string()).is_some())
            .collect();
        let before = self.latest_on_inference(&hosted)?;
        let terms = Terms {
            lease: LeaseSettings {
                expiry_floor_bps: settings.floor_bps,
                ..terms.lease
            },
            ..terms.clone()
        };
        let mut decided = Vec::new();
        for run in hosted {
            let due = wanted(run, &settings);
            let previous = before.get(&run.run);
            let changed = previous.is_some_and(|previous| previous.inference != Some(due.limits));
            if changed || is_due(previous, due.action, due.share, &terms, at) {
                decided.push(self.issue_decision(
                    due.draft(self.new_uuid()),
                    previous,
                    &terms,
                    at,
                )?);
            }
        }
        Ok(decided)
    }

    fn latest_on_inference(&self, runs: &[&RunPlan]) -> Result<BTreeMap<Uuid, AllocationDecision>> {
        self.read(|tx| {
            let mut latest = BTreeMap::new();
            for run in runs {
                let uid = run.run.to_string();
                if let Some(row) = decisions::latest(tx, &uid, Workload::Inference.as_str())? {
                    latest.insert(run.run, payload_of(&row)?);
                }
            }
            Ok(latest)
        })
    }
}

fn wanted<'a>(run: &'a RunPlan, settings: &InferenceSettings) -> Due<'a> {
    let share = settings.share(run.grant.action, run.grant.share);
    Due {
        run,
        share,
        action: run.grant.action,
        limits: settings.limits(share),
    }
}

impl Due<'_> {
    fn draft(self, decision_id: Uuid) -> Draft {
        Draft {
            decision_id,
            target: DecisionTarget {
                kind: TargetKind::Run,
                uid: self.run.run,
                workload: Workload::Inference,
            },
            action: self.action,
            share_bps: self.share,
            baseline: None,
            inference: Some(self.limits),
            checkpoint: CheckpointDemand::BestEffort,
            deadline_s: self.run.verdict.deadline_s,
            txn_id: None,
            depends_on: Vec::new(),
            basis: self.run.basis.clone(),
        }
    }
}
