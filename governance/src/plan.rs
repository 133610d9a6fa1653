//! One tick of policy: from what is known about every run to what each is
//! granted, with the reasons.
//!
//! Price window → credible bound → rules → linear program → control. Nothing
//! is applied: the caller stores the returned state together with the
//! decisions it issues, and calls again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::allocator::{Allocation, AllocatorError, BudgetUse, Pool, Request, RunShare, allocate};
use crate::bound::{
    BoundError, CredibleBound, PriceObservation, PriceWindow, Uncertainty, credible_bound, logit,
    sigmoid, time_weighted_price,
};
use crate::control::{
    ControlError, ControlLimits, ControlState, RiskBasis, RunInput, ShareTarget, step,
};
use crate::decision::{BasisBound, BasisWindow, DecisionBasis};
use crate::orders::{OrderSource, Standing, StandingOrder};
use crate::policy::{BoundSettings, Policy, RuleInput, RunWeight, Verdict};
use crate::{Action, Bps, Workload};

/// Why a tick gave no answer; what was granted before then stays in force
/// until it lapses.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// A price or an uncertainty of a run is out of its domain.
    #[error("run {run}: {error}")]
    Bound {
        /// The run.
        run: Uuid,
        /// What is wrong.
        error: BoundError,
    },
    /// The program could not be solved.
    #[error(transparent)]
    Allocator(#[from] AllocatorError),
    /// The control inputs are inconsistent.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// What is known about a run's market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketView {
    /// The market.
    pub market: Uuid,
    /// Posted prices in order of time, each holding until the next; at least
    /// the one in force when the window begins.
    pub observations: Vec<PriceObservation>,
    /// What widens the bound.
    pub uncertainty: Uncertainty,
    /// Disputes not yet final.
    pub open_disputes: u32,
    /// Final π, once there is one.
    pub settlement: Option<f64>,
    /// The market says what its traders expect of each other and nobody ever looks at the claim:
    /// it can be a reason to tighten, never one to loosen, and its settlement settles nothing.
    #[serde(default)]
    pub advisory: bool,
    /// BLAKE3 digests of the exhibits behind the price, hexadecimal.
    pub exhibit_digests: Vec<String>,
}

/// What is known about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    pub run: Uuid,
    /// Its name, for the weights of the policy.
    pub name: String,
    /// What it does with its compute.
    pub workload: Workload,
    /// The market that prices it, the one that counts where there are several.
    pub market: Option<MarketView>,
    /// Markets on the run, at least 1 when `market` is given.
    pub market_count: u32,
    /// See [`RunInput::held`].
    pub held: Option<Bps>,
    /// Whether somebody entitled to has lifted a pause.
    pub lift: bool,
    /// Whether the run is over and only its release is awaited.
    pub withdrawn: bool,
    /// What votes and seals put on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<StandingOrder>,
}

/// What a tick found out and grants to one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The run.
    pub run: Uuid,
    /// Price and window; none without a price.
    pub window: Option<PriceWindow>,
    /// Bounds; those of complete ignorance without a price.
    pub bound: CredibleBound,
    /// What the rules say.
    pub verdict: Verdict,
    /// What the allocator wants.
    pub wanted: RunShare,
    /// What is granted.
    pub grant: ShareTarget,
    /// What a decision on the grant rests on.
    pub basis: DecisionBasis,
}

/// What a tick grants to everybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// When.
    pub at: Timestamp,
    /// Hash of the policy applied.
    pub policy_hash: String,
    /// One entry per run, in order of run id.
    pub runs: Vec<RunPlan>,
    /// Use of the pool by what the allocator wants.
    pub capacity: BudgetUse,
    /// Use of the risk budget by what the allocator wants.
    pub risk: BudgetUse,
    /// What else a reader should know.
    pub notes: Vec<String>,
    /// State for the next tick.
    pub state: ControlState,
}

/// One run after prices and rules.
struct Assessed<'a> {
    view: &'a RunView,
    weight: RunWeight,
    window: Option<PriceWindow>,
    bound: CredibleBound,
    /// The upper bound as the risk budget counts it.
    counted: f64,
    risk: RiskBasis,
    verdict: Verdict,
    standing: Standing,
    ordered: Option<OrderSource>,
}

/// One tick; see the module's documentation.
///
/// # Errors
/// When an input is out of its domain or a run is given twice.
pub fn plan(
    policy: &Policy,
    state: &ControlState,
    views: &[RunView],
    now: Timestamp,
) -> Result<Plan, PlanError> {
    let mut assessed = Vec::with_capacity(views.len());
    for view in views {
        let one = assess(policy, view, now).map_err(|error| PlanError::Bound {
            run: view.run,
            error,
        })?;
        assessed.push(one);
    }
    assessed.sort_by_key(|one| one.view.run);
    let requests: Vec<Request> = assessed.iter().map(|one| one.request(state)).collect();
    let budget = &policy.document().budget;
    let pool = Pool {
        capacity: budget.capacity_bps,
        risk_budget: budget.risk,
    };
    let allocation = allocate(&requests, &pool)?;
    let inputs: Vec<RunInput> = assessed
        .iter()
        .zip(&allocation.shares)
        .map(|(one, share)| one.input(share.share))
        .collect();
    let limits = ControlLimits::from(policy.document());
    let (next, grants) = step(&state.under(policy.hash()), &inputs, &limits, now)?;
    let Allocation {
        shares,
        capacity,
        risk,
        mut notes,
        ..
    } = allocation;
    if let Some(tail) = &budget.tail {
        notes.push(format!(
            "Risk is counted in the worst {} % of scenarios; bounds in explanations of the risk budget are those.",
            tail.worst_percent
        ));
    }
    let runs = assessed
        .into_iter()
        .zip(shares)
        .zip(grants)
        .map(|((one, wanted), grant)| one.finish(policy.hash(), wanted, grant))
        .collect();
    Ok(Plan {
        at: now,
        policy_hash: policy.hash().to_owned(),
        runs,
        capacity,
        risk,
        notes,
        state: next,
    })
}

/// Bounds where nothing is known: one half, as wide as the policy allows.
#[must_use]
pub fn ignorance(settings: &BoundSettings) -> CredibleBound {
    let half_width = settings.max_half_width;
    CredibleBound {
        price: 0.5,
        lower: sigmoid(logit(0.5) - half_width),
        upper: sigmoid(logit(0.5) + half_width),
        half_width,
    }
}

/// The worse of complete ignorance and what a signal says: it can only tighten.
fn no_better_than(ignorance: CredibleBound, signal: CredibleBound) -> CredibleBound {
    CredibleBound {
        price: ignorance.price.max(signal.price),
        lower: ignorance.lower.max(signal.lower),
        upper: ignorance.upper.max(signal.upper),
        half_width: ignorance.half_width.max(signal.half_width),
    }
}

fn assess<'a>(
    policy: &Policy,
    view: &'a RunView,
    now: Timestamp,
) -> Result<Assessed<'a>, BoundError> {
    let document = policy.document();
    let weight = policy.weight(&view.name);
    let mut window = None;
    let mut bound = ignorance(&document.bound);
    if let Some(market) = &view.market {
        window = time_weighted_price(&market.observations, &document.price, now)?;
        let settlement = market.settlement.filter(|_| !market.advisory);
        bound = match (settlement, &window) {
            (Some(pi), _) => CredibleBound::settled(pi)?,
            (None, Some(window)) if market.advisory => no_better_than(
                bound,
                credible_bound(window.price, &market.uncertainty, &document.bound)?,
            ),
            (None, Some(window)) => {
                credible_bound(window.price, &market.uncertainty, &document.bound)?
            }
            (None, None) => bound,
        };
    }
    let market = view.market.as_ref();
    let basis = market.filter(|market| !market.advisory);
    let settlement = basis.and_then(|market| market.settlement);
    let priced = basis.is_some() && (window.is_some() || settlement.is_some());
    let risk = RiskBasis {
        upper: bound.upper,
        staleness_s: market.map_or(0.0, |market| market.uncertainty.staleness_s),
        liquidity_micro: market.map_or(0, |market| market.uncertainty.liquidity_micro),
        market_count: if priced { view.market_count.max(1) } else { 0 },
        settlement,
        market: basis.map(|market| market.market),
    };
    let mut verdict = policy.evaluate(&RuleInput {
        price: bound.price,
        upper: bound.upper,
        lower: bound.lower,
        staleness_s: risk.staleness_s,
        liquidity_micro: risk.liquidity_micro,
        open_disputes: market.map_or(0, |market| market.open_disputes),
        settlement,
        severity: weight.severity,
        run_kind: view.workload,
        market_count: risk.market_count,
    });
    let standing = Standing::of(&view.orders, document.control.dwell_s, now);
    let ordered = standing.apply(&mut verdict);
    Ok(Assessed {
        view,
        weight,
        window,
        counted: match &document.budget.tail {
            Some(tail) => tail.of(bound.upper),
            None => bound.upper,
        },
        bound,
        risk,
        verdict,
        standing,
        ordered,
    })
}

impl Assessed<'_> {
    fn lift(&self) -> bool {
        self.view.lift || self.standing.lifts()
    }

    fn request(&self, state: &ControlState) -> Request {
        let latched = state
            .runs
            .get(&self.view.run)
            .and_then(|control| control.latched);
        let lifted = self.lift() && latched != Some(Action::Terminate);
        let (cap, cap_reason) = if self.view.withdrawn {
            (Bps::ZERO, "the run is over".to_owned())
        } else if latched.is_some() && !lifted {
            // What a stopped run cannot use goes to the others.
            (Bps::ZERO, "it was stopped and not lifted".to_owned())
        } else if self.verdict.cap < self.weight.cap {
            (self.verdict.cap, self.verdict.explanation.clone())
        } else {
            (
                self.weight.cap,
                "the most that the policy gives one run".to_owned(),
            )
        };
        Request {
            run: self.view.run,
            value: self.weight.value,
            severity: self.weight.severity,
            upper: self.counted,
            floor: self.weight.floor.min(cap),
            cap,
            cap_reason: cap_reason.trim_end_matches('.').to_owned(),
        }
    }

    fn input(&self, target: Bps) -> RunInput {
        RunInput {
            run: self.view.run,
            target,
            action: if self.view.withdrawn {
                self.verdict.action.max(Action::Drain)
            } else {
                self.verdict.action
            },
            basis: self.risk,
            held: self.view.held,
            lift: self.lift(),
            permit: self.standing.permitted(),
        }
    }

    fn finish(self, policy_hash: &str, wanted: RunShare, grant: ShareTarget) -> RunPlan {
        let mut sentences = vec![self.verdict.explanation.clone(), wanted.explanation.clone()];
        if let Some(limit) = &grant.limited {
            sentences.push(format!(
                "Granted {} of {}: {limit}.",
                grant.share, grant.target
            ));
        }
        for fault in &self.verdict.faults {
            sentences.push(format!("Rule {} failed: {}.", fault.id, fault.problem));
        }
        let market = self.view.market.as_ref();
        let (proposal_id, seal_id) = match self.ordered {
            Some(OrderSource::Proposal { id }) => (Some(id), None),
            Some(OrderSource::Seal { id }) => (None, Some(id)),
            None => (None, None),
        };
        let basis = DecisionBasis {
            policy_hash: policy_hash.to_owned(),
            market: market.map(|market| market.market),
            price_window: self.window.map(|window| BasisWindow {
                from: window.from,
                to: window.to,
                price: window.price,
            }),
            bound: Some(BasisBound {
                lower: self.bound.lower,
                upper: self.bound.upper,
            }),
            liquidity_micro: market.map(|market| market.uncertainty.liquidity_micro),
            settlement: self.risk.settlement,
            exhibit_digests: market.map_or_else(Vec::new, |m| m.exhibit_digests.clone()),
            proposal_id,
            seal_id,
            reason_code: self.verdict.reason.clone(),
            explanation: sentences.join(" "),
        };
        RunPlan {
            run: self.view.run,
            window: self.window,
            bound: self.bound,
            verdict: self.verdict,
            wanted,
            grant,
            basis,
        }
    }
}

#[cfg(test)]
mod tests;
