//! What another policy, another price or an order would do: the same pure step as the tick's, on what is
//! known now or on the record, with nothing stored.

use std::sync::TryLockError;

use plumbline_access::Action;
use plumbline_governance::bound::PriceObservation;
use plumbline_governance::orders::StandingOrder;
use plumbline_governance::plan::{Plan, RunView, plan};
use plumbline_governance::policy::Policy;
use plumbline_governance::replay::{self, Replay};
use plumbline_governance::{Bps, Mode};
use plumbline_store::policies;
use uuid::Uuid;

use crate::commands::{AssumedPrice, SimulatePolicy};
use crate::context::Context;
use crate::policy::{Known, timestamp};
use crate::policy_record::{self, History};
use crate::runs::find_run;
use crate::time::{Millis, parse_rfc3339, rfc3339};
use crate::views::{
    DifferenceView, ReplayPoint, ReplayView, RunEffect, RunReplayView, SimulationView,
};
use crate::voting::actions::parse_policy;
use crate::{Result, Service, ServiceError};

/// Moments beside the recorded ones at which a replay asks the candidate.
const BETWEEN: u32 = 200;
/// A replay goes back so far unless asked otherwise.
const BACK: Millis = 7 * 86_400_000;
/// Prices that are assumed at once.
const MAX_ASSUMED: usize = 16;

/// A change to try.
pub(crate) struct WhatIf<'a> {
    /// The policy to ask.
    pub(crate) policy: &'a Policy,
    /// Orders on runs, beside those in force.
    pub(crate) orders: &'a [(Uuid, StandingOrder)],
    /// Prices instead of those that there are.
    pub(crate) prices: &'a [(Uuid, f64)],
}

impl Service {
    /// What a policy would grant now, or with other prices, and what it would have decided on the recorded
    /// history.
    ///
    /// # Errors
    /// Those of the document, by name; `bad-price`, `bad-time`, `overloaded` while another replay runs.
    pub fn simulate_policy(&self, ctx: &Context, cmd: &SimulatePolicy) -> Result<SimulationView> {
        self.allow(&ctx.actor, Action::SimulatePolicy)?;
        let policy = self.candidate(cmd)?;
        let prices = self.assumed(&cmd.prices)?;
        let now = self.now();
        let time =
            |text: &Option<String>, other: Millis| text.as_deref().map_or(Ok(other), parse_rfc3339);
        let (from, to) = (time(&cmd.from, now - BACK)?, time(&cmd.to, now)?);
        let runs = self.run_effects(&WhatIf {
            policy: &policy,
            orders: &[],
            prices: &prices,
        })?;
        let replay = if prices.is_empty() {
            Some(self.replay(&policy, from, to)?)
        } else {
            None
        };
        Ok(simulation_view(&policy, runs, replay))
    }

    /// What the policy in force would grant with other prices. Cheap, and open to readers: it is what the
    /// price on the page can be dragged for.
    ///
    /// # Errors
    /// `bad-price`, `not-found` for a run.
    pub fn assume_prices(&self, ctx: &Context, prices: &[AssumedPrice]) -> Result<SimulationView> {
        self.allow(&ctx.actor, Action::AssumePrice)?;
        let (policy, prices) = (self.active_policy()?, self.assumed(prices)?);
        let runs = self.run_effects(&WhatIf {
            policy: &policy,
            orders: &[],
            prices: &prices,
        })?;
        Ok(simulation_view(&policy, runs, None))
    }

    fn candidate(&self, cmd: &SimulatePolicy) -> Result<Policy> {
        match (&cmd.toml, cmd.version) {
            (Some(_), Some(_)) => Err(ServiceError::invalid(
                "bad-simulation",
                "give a document or a version, not both",
            )),
            (Some(toml), None) => parse_policy(toml),
            (None, Some(version)) => {
                let row = self.read(|tx| Ok(policies::get(tx, version)?))?;
                parse_policy(&row.toml)
            }
            (None, None) => {
                let row = self.read(|tx| Ok(policies::active(tx)?))?;
                let row = row.ok_or_else(|| ServiceError::internal("no policy is in force"))?;
                parse_policy(&row.toml)
            }
        }
    }

    fn assumed(&self, prices: &[AssumedPrice]) -> Result<Vec<(Uuid, f64)>> {
        if prices.len() > MAX_ASSUMED {
            return Err(ServiceError::invalid(
                "bad-price",
                "at most 16 prices are assumed at once",
            ));
        }
        let uid = |one: &AssumedPrice| -> Result<(Uuid, f64)> {
            let inside = one.probability > 0.0 && one.probability < 1.0;
            if !inside {
                return Err(ServiceError::invalid(
                    "bad-price",
                    "a price is a probability above 0 and below 1",
                ));
            }
            let id = self.read(|tx| Ok(find_run(tx, &one.run)?.id))?;
            Ok((id.parse().map_err(ServiceError::internal)?, one.probability))
        };
        prices.iter().map(uid).collect()
    }

    /// What every run would be granted at the next look, without the change and with it.
    pub(crate) fn run_effects(&self, change: &WhatIf) -> Result<Vec<RunEffect>> {
        let (now, active) = (self.now(), self.active_policy()?);
        let at = timestamp(now)?;
        // The longer of the two windows, so that either policy finds its prices.
        let longer = |policy: &&Policy| policy.document().price.window_s;
        let widest = [active.as_ref(), change.policy]
            .into_iter()
            .max_by_key(longer);
        let known = self.known(widest.unwrap_or(change.policy), now)?;
        let base = plan(&active, &known.state, &known.views, at).map_err(ServiceError::internal)?;
        let views = changed_views(&known, change, now)?;
        let then = plan(change.policy, &known.state, &views, at).map_err(ServiceError::internal)?;
        Ok(effects(&views, &base, &then))
    }

    /// The replay over the last week, for the page of a proposal.
    pub(crate) fn replay_recent(&self, policy: &Policy) -> Result<ReplayView> {
        let now = self.now();
        self.replay(policy, now - BACK, now)
    }

    fn replay(&self, policy: &Policy, from: Millis, to: Millis) -> Result<ReplayView> {
        // One at a time: a replay is seconds of work.
        let _one = match self.replaying.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(ServiceError::Overloaded { retry_after_s: 2 });
            }
        };
        let window = policy.document().price.window_s.saturating_mul(1_000);
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let history = self.read(|tx| policy_record::read(tx, from, to, window))?;
        let History {
            moments,
            prices,
            cut,
        } = history;
        let replay =
            replay::replay(policy, &moments, &prices, BETWEEN).map_err(ServiceError::internal)?;
        Ok(replay_view(replay, cut))
    }
}

/// What would be known if the change were so.
fn changed_views(known: &Known, change: &WhatIf, now: Millis) -> Result<Vec<RunView>> {
    let window = change
        .policy
        .document()
        .price
        .window_s
        .saturating_mul(1_000);
    let since = now.saturating_sub(i64::try_from(window).unwrap_or(i64::MAX));
    let mut views = known.views.clone();
    for view in &mut views {
        let orders = change.orders.iter().filter(|(run, _)| *run == view.run);
        view.orders.extend(orders.map(|(_, order)| *order));
        let assumed = change.prices.iter().find(|(run, _)| *run == view.run);
        if let (Some((_, price)), Some(market)) = (assumed, &mut view.market) {
            // As if it had stood there for the whole window, before any settlement.
            market.observations = vec![PriceObservation {
                at: timestamp(since.max(0))?,
                price: *price,
            }];
            market.uncertainty.staleness_s = 0.0;
            market.settlement = None;
        }
    }
    Ok(views)
}

fn effects(views: &[RunView], base: &Plan, then: &Plan) -> Vec<RunEffect> {
    let name = |run: Uuid| {
        let view = views.iter().find(|view| view.run == run);
        view.map(|view| view.name.clone()).unwrap_or_default()
    };
    base.runs
        .iter()
        .zip(&then.runs)
        .map(|(base, then)| RunEffect {
            run_id: then.run.to_string(),
            name: name(then.run),
            price: then.window.map(|window| window.price),
            upper: then.bound.upper,
            action: base.grant.action.as_str().to_owned(),
            share_bps: base.grant.share.get(),
            then_action: then.grant.action.as_str().to_owned(),
            then_share_bps: then.grant.share.get(),
            then_target_bps: target(then.wanted.share, then.grant.action.stops()),
            reason: then.basis.reason_code.clone(),
            explanation: then.basis.explanation.clone(),
        })
        .collect()
}

fn target(wanted: Bps, stops: bool) -> u16 {
    if stops { 0 } else { wanted.get() }
}

fn simulation_view(
    policy: &Policy,
    runs: Vec<RunEffect>,
    replay: Option<ReplayView>,
) -> SimulationView {
    let document = policy.document();
    SimulationView {
        name: document.name.clone(),
        version: document.version,
        hash: policy.hash().to_owned(),
        mode: match document.mode {
            Mode::Shadow => "shadow",
            Mode::Enforce => "enforce",
        }
        .to_owned(),
        runs,
        replay,
    }
}

fn replay_view(replay: Replay, cut: bool) -> ReplayView {
    let at = |at: jiff::Timestamp| rfc3339(at.as_millisecond());
    let difference = |one: replay::Difference| DifferenceView {
        decision_id: one.decision_id.to_string(),
        run: one.name,
        at: at(one.at),
        action: one.was.0.as_str().to_owned(),
        share_bps: one.was.1.get(),
        then_action: one.would.0.as_str().to_owned(),
        then_share_bps: one.would.1.get(),
        reason: one.reason,
        explanation: one.explanation,
    };
    let run = |one: replay::RunReplay| RunReplayView {
        run_id: one.run.to_string(),
        name: one.name,
        mean_share_bps: one.mean_was_bps,
        then_mean_share_bps: one.mean_would_bps,
        tighter: one.tighter,
        looser: one.looser,
        points: one
            .points
            .iter()
            .map(|point| ReplayPoint {
                at: at(point.at),
                share_bps: point.was.get(),
                then_share_bps: point.would.get(),
            })
            .collect(),
    };
    ReplayView {
        from: replay.from.map(at),
        to: replay.to.map(at),
        moments: replay.moments,
        compared: replay.compared,
        different: replay.different,
        differences: replay.differences.into_iter().map(difference).collect(),
        runs: replay.runs.into_iter().map(run).collect(),
        cut,
    }
}
