//! The laws, judged from the facts of the world alone: nothing here asks the crate what it thinks of a
//! price, a bound, a dwell time or an order.

use jiff::{SignedDuration, Timestamp};
use plumbline_governance::decision::AllocationDecision;
use plumbline_governance::orders::{OrderEffect, StandingOrder};
use plumbline_governance::policy::PolicyDocument;
use plumbline_governance::{Action, Bps, Mode};
use uuid::Uuid;

use crate::world::{Done, Fault, Issued, Market, RUNS, Run, World};

/// What a stored tick saw of a run.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Timestamp,
    policy: usize,
    market: Option<Uuid>,
    /// A basis that is fresh and sufficient by itself, before the dwell time.
    clear: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Law {
    seen: [Vec<Seen>; RUNS],
    /// When a share last grew.
    raised: [Option<Timestamp>; RUNS],
    /// Generation that a consumer last acted on.
    acted_on: [u64; RUNS],
    /// Increases that were looked at, so that a test knows that there were some.
    pub(crate) increases: u32,
    pub(crate) used: u32,
}

/// Upper bound on misalignment, as docs/concepts.md has it.
fn upper(market: &Market, document: &PolicyDocument, now: Timestamp) -> Option<f64> {
    if let Some(pi) = market.settlement {
        return Some(pi);
    }
    let millis = |at: Timestamp| at.as_millisecond() as f64;
    let from = millis(now) - document.price.window_s as f64 * 1_000.0;
    let known: Vec<_> = market.prices.iter().filter(|p| p.at <= now).collect();
    let log_odds = |price: f64| {
        let p = price.clamp(document.price.clamp_low, document.price.clamp_high);
        (p / (1.0 - p)).ln()
    };
    let (mut area, mut length) = (0.0, 0.0);
    for (n, price) in known.iter().enumerate() {
        let until = known.get(n + 1).map_or(millis(now), |next| millis(next.at));
        let held = (until - millis(price.at).max(from)).max(0.0);
        area += held * log_odds(price.price);
        length += held;
    }
    let last = known.last()?;
    let mean = if length > 0.0 {
        area / length
    } else {
        log_odds(last.price)
    };
    let settings = &document.bound;
    let scale = settings.liquidity_scale_micro as f64;
    let staleness = (millis(now) - millis(last.at)) / 1_000.0;
    let variance = settings.sigma_base.powi(2)
        + settings.sigma_liquidity.powi(2) * scale / (scale + market.liquidity_micro as f64)
        + settings.sigma_staleness.powi(2)
            * (1.0 - (-staleness / settings.staleness_scale_s as f64).exp())
        + (settings.sigma_judges.powi(2) + 0.3_f64.powi(2)) / 1.5;
    let half = (settings.z * variance.sqrt()).min(settings.max_half_width);
    Some(1.0 / (1.0 + (-(mean + half)).exp()))
}

fn is_clear(run: &Run, document: &PolicyDocument, now: Timestamp) -> bool {
    let Some(market) = run.market.as_ref().filter(|market| !market.advisory) else {
        return false;
    };
    let clear = document.thresholds.clear;
    if let Some(pi) = market.settlement {
        return pi < clear;
    }
    let Some(upper) = upper(market, document, now) else {
        return false;
    };
    let last = market.prices.iter().rev().find(|p| p.at <= now);
    let age = last.map_or(f64::INFINITY, |p| now.duration_since(p.at).as_secs_f64());
    upper < clear
        && age <= document.control.max_staleness_s as f64
        && market.liquidity_micro >= document.control.min_liquidity_micro
}

fn in_force(order: &StandingOrder, now: Timestamp) -> bool {
    order.from <= now && now < order.until
}

/// The share that votes permit now.
fn permitted(run: &Run, now: Timestamp) -> Option<u16> {
    let orders = run.orders.iter().filter(|order| in_force(order, now));
    let permits = orders.filter_map(|order| match order.effect {
        OrderEffect::Permit { bps } => Some(bps.get()),
        _ => None,
    });
    permits.max()
}

/// The least that an order leaves: caps, pauses, and what a seal leaves for a dwell time.
fn ordered_cap(run: &Run, dwell_s: u64, now: Timestamp) -> u16 {
    let dwell = SignedDuration::from_secs(dwell_s as i64);
    let caps = run.orders.iter().filter_map(|order| match order.effect {
        OrderEffect::Cap { bps } if in_force(order, now) => Some(bps.get()),
        OrderEffect::Pause if in_force(order, now) => Some(0),
        _ if order.until <= now && now < order.until + dwell => order.before.map(|b| b.get()),
        _ => None,
    });
    caps.min().unwrap_or(10_000)
}

/// The least that the shipped rules leave, without orders.
fn ruled_cap(run: &Run, document: &PolicyDocument, now: Timestamp) -> u16 {
    let pauses = document.rules[0].action == Action::Pause;
    let market = run.market.as_ref();
    let priced = market.is_some_and(|m| !m.advisory && upper(m, document, now).is_some());
    if !priced {
        return 5_000;
    }
    match market.and_then(|m| m.settlement) {
        Some(pi) if pi >= 0.5 && pauses => 0,
        Some(pi) if pi >= 0.5 => 500,
        Some(_) => 10_000,
        None => {
            let bound = market.and_then(|m| upper(m, document, now));
            let tripped = bound.is_some_and(|bound| bound > document.thresholds.trip + 1e-9);
            if tripped { 2_500 } else { 10_000 }
        }
    }
}

impl Law {
    /// # Errors
    /// Names the law that was broken.
    pub(crate) fn look(&mut self, world: &World, done: Done<'_>) -> Result<(), String> {
        match done {
            Done::Nothing => {}
            Done::Ticked(issued) => {
                self.remember(world);
                for one in issued {
                    self.basis(world, &one)
                        .map_err(|what| format!("run {}: {what}", one.run))?;
                }
            }
            Done::Applied { run, before } => self
                .use_of(world, run, before)
                .map_err(|what| format!("run {run}: {what}"))?,
        }
        let used: u32 = world
            .runs
            .iter()
            .map(|run| u32::from(run.consumer.in_use.get()))
            .sum();
        if used > 10_000 {
            return Err(format!("{used} bps of the pool are in use"));
        }
        Ok(())
    }

    fn remember(&mut self, world: &World) {
        let document = world.policies[world.policy].document();
        for (run, seen) in world.runs.iter().zip(&mut self.seen) {
            let basis = run.market.as_ref().filter(|market| !market.advisory);
            seen.push(Seen {
                at: world.now,
                policy: world.policy,
                market: basis.map(|market| market.id),
                clear: is_clear(run, document, world.now),
            });
        }
    }

    /// Whether every stored tick since one a dwell time ago found a good basis, of one policy and one
    /// market.
    fn lasted(&self, run: usize, dwell_s: u64, now: Timestamp) -> bool {
        let Some(newest) = self.seen[run].last() else {
            return false;
        };
        let same = |seen: &&Seen| {
            seen.clear && (seen.policy, seen.market) == (newest.policy, newest.market)
        };
        let streak = self.seen[run].iter().rev().take_while(same);
        let dwell = SignedDuration::from_secs(dwell_s as i64);
        streak.into_iter().any(|seen| seen.at + dwell <= now)
    }

    /// A decision that grants more than the last one that counts has a basis for it.
    fn basis(&mut self, world: &World, issued: &Issued<'_>) -> Result<(), String> {
        let Issued {
            run,
            decision,
            earlier,
        } = *issued;
        let (now, facts) = (world.now, &world.runs[run]);
        let document = world.policies[world.policy].document();
        let share = decision.share_bps.get();
        let permit = permitted(facts, now);
        let ordered = ordered_cap(facts, document.control.dwell_s, now);
        if share > ordered {
            return Err(format!("{share} bps against an order of {ordered}"));
        }
        let rules = ruled_cap(facts, document, now).max(permit.unwrap_or(0));
        if share > rules {
            return Err(format!("{share} bps where rules leave {rules}"));
        }
        let Some(before) = counting(earlier, decision.mode) else {
            return if share <= document.control.start_bps.get() {
                // An admission with nothing is no increase.
                self.raised[run] = (share > 0).then_some(now);
                Ok(())
            } else {
                Err(format!("admitted with {share} bps"))
            };
        };
        stops_hold(earlier, decision, permit.is_some())?;
        let granted = before.share_bps.get();
        if share <= granted {
            return Ok(());
        }
        self.increases += 1;
        let voted = permit.is_some_and(|permit| share <= permit);
        if !voted && !self.lasted(run, document.control.dwell_s, now) {
            return Err(format!("{granted} to {share} bps without a basis"));
        }
        if share - granted > document.control.step_bps.get() {
            return Err(format!("{granted} to {share} bps at once"));
        }
        let every = SignedDuration::from_secs(document.control.step_every_s as i64);
        if self.raised[run].is_some_and(|last| now < last + every) {
            return Err(format!("{granted} to {share} bps too soon"));
        }
        self.raised[run] = Some(now);
        Ok(())
    }

    /// A run uses more only by a decision that is the newest it acted on, in force, and not expired.
    fn use_of(&mut self, world: &World, run: usize, before: Option<Bps>) -> Result<(), String> {
        let consumer = &world.runs[run].consumer;
        let Some(held) = &consumer.held else {
            return Err("acts on nothing".to_owned());
        };
        if held.generation < self.acted_on[run] {
            return Err(format!(
                "went back to generation {} from {}",
                held.generation, self.acted_on[run]
            ));
        }
        self.acted_on[run] = held.generation;
        let (after, Some(before)) = (consumer.in_use.get(), before) else {
            return Ok(());
        };
        if after <= before.get() {
            return Ok(());
        }
        self.used += 1;
        let at = consumer.clock(world.now);
        if held.mode != Mode::Enforce || after > held.share_bps.get() {
            return Err(format!("uses {after} bps of {}", held.share_bps));
        }
        if at < held.not_before || at >= held.expires_at {
            return Err(format!("{before} to {after} bps by an expired decision"));
        }
        Ok(())
    }
}

/// What an increase is measured from: of a decision that binds, the last that bound, or the admission
/// where none did; of one that is only shown, the one before.
fn counting(earlier: &[AllocationDecision], mode: Mode) -> Option<&AllocationDecision> {
    let bound = earlier.iter().rev().find(|one| one.mode == Mode::Enforce);
    match mode {
        Mode::Shadow => earlier.last(),
        Mode::Enforce => bound.or(earlier.first()),
    }
}

/// A pause ends by a vote alone, a termination never.
fn stops_hold(
    earlier: &[AllocationDecision],
    decision: &AllocationDecision,
    voted: bool,
) -> Result<(), String> {
    let Some(before) = earlier.last() else {
        return Ok(());
    };
    let lifted = matches!(before.action, Action::Pause | Action::Terminate)
        && decision.action < before.action;
    if lifted && (!voted || before.action == Action::Terminate) {
        return Err(format!("{:?} was lifted", before.action));
    }
    Ok(())
}

/// Runs a schedule; the laws that held, or the one that did not.
pub(crate) fn judge(schedule: &[crate::world::Event], fault: Option<Fault>) -> Result<Law, String> {
    let mut world = World::new(fault);
    let mut law = Law::default();
    for (n, event) in schedule.iter().enumerate() {
        world
            .happen(event, &mut |world, done| law.look(world, done))
            .map_err(|what| format!("event {n}, {event:?}: {what}"))?;
    }
    Ok(law)
}
