//! The policy in force, and its tick: from prices and settlements to signed
//! decisions.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use plumbline_access::Action;
use plumbline_governance::bound::Uncertainty;
use plumbline_governance::control::ControlState;
use plumbline_governance::decision::{
    AllocationDecision, CheckpointDemand, DecisionTarget, Draft, TargetKind, Terms, is_due, issue,
};
use plumbline_governance::orders::{OrderSource, StandingOrder};
use plumbline_governance::plan::{MarketView, RunPlan, RunView, plan};
use plumbline_governance::policy::Policy;
use plumbline_governance::{Bps, Mode, Workload};
use plumbline_oracle::ensemble::Assessment;
use plumbline_oracle::judge::JudgeOutcome;
use plumbline_store::acks::Ack;
use plumbline_store::decisions::{self, Decision};
use plumbline_store::markets::{self, Market};
use plumbline_store::policies::{self, PolicyVersion};
use plumbline_store::runs::{Run, RunKind};
use plumbline_store::{Tx, acks, control, evidence, log, outbox, prices, runs, standing};
use serde_json::json;
use uuid::Uuid;

use crate::allocations::{TOPIC, payload_of};
use crate::context::Context;
use crate::keys::hex;
use crate::ledger::TREASURY;
use crate::price_window::{self, PriceWindows};
use crate::settlement::{SELF_RESOLVING, open_disputes};
use crate::time::{Millis, rfc3339};
use crate::views::{Page, PolicyView};
use crate::{Result, Service, ServiceError, keys, page, policy_record};

/// Where the controller's memory is kept.
const STATE: &str = "allocation-control";
/// Raised by hand after a restore from a backup, so that older decisions are fenced off.
pub(crate) const EPOCH: &str = "allocation-epoch";
/// Markets of a run that are looked at for one that counts.
const MARKETS_LOOKED_AT: i64 = 20;

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
        if due.is_empty() && planned.state == known.state {
            return Ok(());
        }
        let count = due.len() as u64;
        let record = policy_record::rows(&known.views, &known.state, &planned, &due)?;
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
        let mut known = price_window::tick(&self.price_windows, |prices| {
            self.read(|tx| look(tx, prices, looked, &is_going))
        })?;
        if !self.config.defences.price_window {
            known.forget_all_but_last_prices();
        }
        Ok(known)
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
            basis: run.basis.clone(),
        };
        let decision = issue(draft, terms, previous, at).map_err(ServiceError::internal)?;
        let envelope = decision
            .sign(&[&self.signing_key])
            .map_err(ServiceError::internal)?;
        Ok(Decision {
            decision_id: decision.decision_id.to_string(),
            target_kind: "run".to_owned(),
            target_uid: run.run.to_string(),
            workload: Workload::Training.as_str().to_owned(),
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

/// When to look, and how far back.
#[derive(Clone, Copy)]
struct Looked {
    now: Millis,
    /// The policy's window of prices.
    window: Millis,
    /// Its dwell time: orders of seals that ended within it still count.
    dwell: Millis,
}

/// Everything that a tick needs, read in one transaction.
pub(crate) struct Known {
    pub(crate) state: ControlState,
    epoch: u64,
    pub(crate) views: Vec<RunView>,
    decisions: Vec<AllocationDecision>,
}

impl Known {
    /// As if the policy had no window to look back on.
    fn forget_all_but_last_prices(&mut self) {
        let markets = self.views.iter_mut().filter_map(|run| run.market.as_mut());
        for market in markets {
            let earlier = market.observations.len().saturating_sub(1);
            market.observations.drain(..earlier);
        }
    }

    fn previous(&self, run: Uuid) -> Option<&AllocationDecision> {
        self.decisions
            .iter()
            .find(|decision| decision.target.uid == run)
    }
}

fn look(
    tx: &mut Tx,
    prices: &mut PriceWindows,
    looked: Looked,
    is_going: &dyn Fn(&Run) -> bool,
) -> Result<Known> {
    let mut orders = standing_orders(tx, looked)?;
    let state = match control::get(tx, STATE)? {
        Some(text) => serde_json::from_str(&text).map_err(ServiceError::internal)?,
        None => ControlState::default(),
    };
    let epoch = u64::try_from(keys::epoch(tx)?).map_err(ServiceError::internal)?;
    let mut known = Known {
        state,
        epoch,
        views: Vec::new(),
        decisions: Vec::new(),
    };
    for run in runs::list(tx)?.into_iter().filter(is_going) {
        let uid: Uuid = run.id.parse().map_err(ServiceError::internal)?;
        let previous = decisions::latest(tx, &run.id, "training")?;
        let held = match &previous {
            Some(row) => released_share(&acks::list(tx, &row.decision_id)?, row),
            // A run that was never granted anything holds nothing.
            None => Some(Bps::ZERO),
        };
        if let Some(row) = &previous {
            known.decisions.push(payload_of(row)?);
        }
        let view = view_of(tx, prices, &run, uid, held, looked)?;
        known.views.push(RunView {
            orders: orders.remove(&run.id).unwrap_or_default(),
            ..view
        });
    }
    Ok(known)
}

/// What votes and seals put on runs, by run.
fn standing_orders(tx: &mut Tx, looked: Looked) -> Result<BTreeMap<String, Vec<StandingOrder>>> {
    let mut orders: BTreeMap<String, Vec<StandingOrder>> = BTreeMap::new();
    for row in standing::ending_after(tx, looked.now.saturating_sub(looked.dwell))? {
        let id: Uuid = id_of(&row.source_id)?;
        let order = StandingOrder {
            effect: serde_json::from_str(&row.effect).map_err(ServiceError::internal)?,
            source: match row.source_kind.as_str() {
                "seal" => OrderSource::Seal { id },
                _ => OrderSource::Proposal { id },
            },
            from: timestamp(row.from_at)?,
            until: timestamp(row.until_at)?,
            before: row
                .before_bps
                .map(|bps| Bps::saturating(u32::try_from(bps).unwrap_or(0))),
        };
        orders.entry(row.run_id).or_default().push(order);
    }
    Ok(orders)
}

fn id_of(text: &str) -> Result<Uuid> {
    text.parse().map_err(ServiceError::internal)
}

fn view_of(
    tx: &mut Tx,
    prices: &mut PriceWindows,
    run: &Run,
    uid: Uuid,
    held: Option<Bps>,
    looked: Looked,
) -> Result<RunView> {
    let rows = markets::newest_binary(tx, &run.id, MARKETS_LOOKED_AT)?;
    let rows: Vec<Market> = rows
        .into_iter()
        .filter(|market| market.status != "void")
        .collect();
    let market_count = rows.len() as u32;
    // A market that is only a signal counts where there is no other.
    let counts = rows
        .iter()
        .position(|market| market.settlement_method != SELF_RESOLVING)
        .unwrap_or(0);
    let market = rows
        .into_iter()
        .nth(counts)
        .map(|market| market_view(tx, prices, &market, looked))
        .transpose()?;
    Ok(RunView {
        run: uid,
        name: run.name.clone(),
        workload: Workload::Training,
        market,
        market_count,
        held,
        lift: false,
        withdrawn: run.status == "finished",
        orders: Vec::new(),
    })
}

/// What is read of a market: its moves inside any window a policy may use, and what widens its bound.
fn market_view(
    tx: &mut Tx,
    windows: &mut PriceWindows,
    market: &Market,
    looked: Looked,
) -> Result<MarketView> {
    let (now, window) = (looked.now, looked.window);
    let uid: Uuid = id_of(&market.id)?;
    let last = prices::last_before(tx, &market.id, now)?;
    let moved_at = last.map_or(market.opened_at, |price| price.at);
    let assessment: Option<Assessment> = market
        .assessment
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(ServiceError::internal)?;
    let exhibit_digests = evidence::judged(tx, &market.id)?
        .into_iter()
        .map(|row| row.content_hash)
        .collect();
    Ok(MarketView {
        market: uid,
        observations: windows.since(tx, &market.id, now - window)?,
        uncertainty: Uncertainty {
            liquidity_micro: u64::try_from(market.liquidity_micro).unwrap_or(0),
            staleness_s: (now - moved_at).max(0) as f64 / 1000.0,
            disagreement: assessment.as_ref().map_or(0.0, disagreement),
            effective_judges: market.n_eff,
        },
        open_disputes: open_disputes(market),
        advisory: market.settlement_method == SELF_RESOLVING,
        settlement: market.settlement,
        exhibit_digests,
    })
}

/// Standard deviation of the judges' log-odds, by their weights.
fn disagreement(assessment: &Assessment) -> f64 {
    let opinions: Vec<(f64, f64)> = assessment
        .judgements
        .iter()
        .filter_map(|outcome| match outcome {
            JudgeOutcome::Judged { judgement, weight } => Some((judgement.log_odds, *weight)),
            _ => None,
        })
        .collect();
    let mean: f64 = opinions
        .iter()
        .map(|(log_odds, weight)| log_odds * weight)
        .sum();
    opinions
        .iter()
        .map(|(log_odds, weight)| weight * (log_odds - mean).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The share a run is known to hold: what its schedulers reported when they
/// released the rest. Unknown while one that has taken the decision has not.
fn released_share(reports: &[Ack], decision: &Decision) -> Option<Bps> {
    let by = |scheduler: &str, phase: &str| {
        let mut found = reports.iter().rev();
        found.find(|ack| ack.scheduler == scheduler && ack.phase == phase)
    };
    let mut most = None;
    for report in reports {
        if by(&report.scheduler, "rejected").is_some() {
            continue;
        }
        let released = by(&report.scheduler, "released")?;
        let share = released.actual_bps.unwrap_or(decision.share_bps);
        most = most.max(Some(Bps::saturating(u32::try_from(share).unwrap_or(0))));
    }
    most
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

pub(crate) fn timestamp(at: Millis) -> Result<Timestamp> {
    Timestamp::from_millisecond(at).map_err(ServiceError::internal)
}
