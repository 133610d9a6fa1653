//! Asymmetric control between what the allocator wants and what is granted.
//!
//! Down at once. Up by at most a step per interval, and only after the upper
//! bound stayed under the clear threshold for the dwell time on a market that
//! is there, fresh and liquid, or on a final settlement. Compute that one run
//! gives up is handed to another only once its release is acknowledged.
//!
//! Laws, whatever the inputs and however the clock jumps:
//! - a share never grows without such a basis or a vote that permits it for a
//!   term (admission of a run that was never seen, at the policy's starting
//!   share, is the one exception);
//! - `Σ max(held, granted)` never exceeds the capacity, nor grows when it
//!   already does;
//! - a pause or a termination never lifts itself.
//!
//! A dwell time counts under one policy and on one market: another of either
//! starts it again. What grew while decisions were only shown does not bind:
//! once they bind again a share starts from the last one that did.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::policy::{ControlSettings, PolicyDocument, Thresholds};
use crate::{Action, Bps, Mode};

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The same run twice in one step.
    #[error("run {0} is given twice")]
    Duplicate(Uuid),
}

/// What the controller remembers of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunControl {
    /// Share granted by the current decision.
    pub granted: Bps,
    /// Largest share the run may still hold, from this or earlier decisions.
    pub held: Bps,
    /// A pause or termination in force.
    #[serde(default)]
    pub latched: Option<Action>,
    /// Since when the upper bound has been under the clear threshold on a good basis.
    #[serde(default)]
    pub under_clear_since: Option<Timestamp>,
    /// When the share last grew, admission included.
    #[serde(default)]
    pub last_raise_at: Option<Timestamp>,
    /// The market that `under_clear_since` counts on.
    #[serde(default)]
    pub market: Option<Uuid>,
    /// Share of the last decision that bound, while decisions are only shown.
    #[serde(default)]
    pub enforced: Option<Bps>,
}

impl RunControl {
    /// What no other run may be given.
    #[must_use]
    pub fn reserved(&self) -> Bps {
        let shown = self.held.max(self.granted);
        self.enforced.map_or(shown, |enforced| enforced.max(shown))
    }
}

/// What the controller remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ControlState {
    /// Every run admitted and not forgotten.
    pub runs: BTreeMap<Uuid, RunControl>,
    /// Hash of the policy that dwell times count under.
    #[serde(default)]
    pub policy: Option<String>,
}

impl ControlState {
    /// The same under the policy with this hash: under another one than before every dwell time begins
    /// again, as what was clear enough then may not be now.
    #[must_use]
    pub fn under(&self, policy: &str) -> Self {
        let mut state = self.clone();
        if self
            .policy
            .as_deref()
            .is_some_and(|before| before != policy)
        {
            for control in state.runs.values_mut() {
                control.under_clear_since = None;
            }
        }
        state.policy = Some(policy.to_owned());
        state
    }

    /// Forgets a run that holds nothing and is granted nothing; false, and
    /// nothing changes, while it still does.
    pub fn forget(&mut self, run: Uuid) -> bool {
        let idle = |control: &RunControl| control.reserved() == Bps::ZERO;
        if self.runs.get(&run).is_some_and(idle) {
            self.runs.remove(&run);
            return true;
        }
        false
    }

    /// Basis points that no run holds or is granted, out of `capacity`.
    #[must_use]
    pub fn headroom(&self, capacity: Bps) -> u32 {
        let reserved: u32 = self
            .runs
            .values()
            .map(|c| u32::from(c.reserved().get()))
            .sum();
        u32::from(capacity.get()).saturating_sub(reserved)
    }
}

/// What is known about a run's risk at the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskBasis {
    /// Upper credible bound, 0 to 1.
    pub upper: f64,
    /// Seconds since the market last moved.
    pub staleness_s: f64,
    /// Liquidity, micro-credits.
    pub liquidity_micro: u64,
    /// Markets on the run.
    pub market_count: u32,
    /// Final π, once there is one.
    pub settlement: Option<f64>,
    /// The market all this is from.
    #[serde(default)]
    pub market: Option<Uuid>,
}

/// One run's input to a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunInput {
    /// The run.
    pub run: Uuid,
    /// Share that the allocator wants it to have.
    pub target: Bps,
    /// Action that the rules demand.
    pub action: Action,
    /// What loosening could rest on.
    pub basis: RiskBasis,
    /// Share it is known to hold under its current decision, once the consumer
    /// acknowledged the release of the rest; none before that.
    pub held: Option<Bps>,
    /// Whether somebody entitled to has lifted a pause.
    pub lift: bool,
    /// Share up to which a vote in force lets it grow without any other basis.
    #[serde(default)]
    pub permit: Option<Bps>,
}

/// Settings of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ControlLimits {
    /// Largest sum of shares.
    pub capacity: Bps,
    /// Trip and clear thresholds.
    pub thresholds: Thresholds,
    /// Speeds and the demands on a basis.
    pub control: ControlSettings,
    /// Whether what is granted binds.
    pub mode: Mode,
}

impl From<&PolicyDocument> for ControlLimits {
    fn from(document: &PolicyDocument) -> Self {
        Self {
            capacity: document.budget.capacity_bps,
            thresholds: document.thresholds,
            control: document.control,
            mode: document.mode,
        }
    }
}

/// Why a run's risk gives no reason to loosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum NoBasis {
    /// No market prices it.
    #[error("no market prices the run")]
    MissingMarket,
    /// The market has not moved for too long.
    #[error("the market is stale")]
    StaleMarket,
    /// The market has too little liquidity.
    #[error("the market is thin")]
    ThinMarket,
    /// The upper bound is not under the clear threshold.
    #[error("the upper bound is not under the clear threshold")]
    NotClear,
    /// The final settlement is not under the clear threshold.
    #[error("the run settled above the clear threshold")]
    SettledAgainst,
}

/// What keeps a share below its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Limit {
    /// Nothing to loosen on.
    #[error("held: {reason}")]
    NoBasis {
        /// Why not.
        reason: NoBasis,
    },
    /// The dwell time is not over.
    #[error("held until {until}: the dwell time under the clear threshold")]
    Dwell {
        /// When it will be, if nothing changes.
        until: Timestamp,
    },
    /// The last increase is too recent.
    #[error("held until {until}: one step per interval")]
    Interval {
        /// When the next may come.
        until: Timestamp,
    },
    /// It grew by a whole step and may grow again.
    #[error("grew by a whole step; more after the interval")]
    Step,
    /// What it would get is not known to be free.
    #[error("{short_by} wait for other runs to release them")]
    Unreleased {
        /// How much is missing from the increase.
        short_by: Bps,
    },
    /// Paused or terminated.
    #[error("stopped; it does not lift itself")]
    Latched,
    /// Admitted at the starting share.
    #[error("admitted at the starting share")]
    Admission,
}

/// How a share changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// First share of a run.
    Admitted,
    /// Less than before.
    Tightened,
    /// The same as before.
    Held,
    /// More than before.
    Loosened,
}

/// What a run is granted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareTarget {
    /// The run.
    pub run: Uuid,
    /// What it is told to do.
    pub action: Action,
    /// The share granted.
    pub share: Bps,
    /// The share before; none for a run just admitted.
    pub previous: Option<Bps>,
    /// The share that the allocator wants.
    pub target: Bps,
    /// How the share changed.
    pub change: Change,
    /// What keeps it below the target.
    pub limited: Option<Limit>,
}

/// One step of control.
///
/// Runs in `state` but not in `inputs` keep what they hold and get no target;
/// to withdraw a run, give it a target of zero until its release is
/// acknowledged, then [`ControlState::forget`] it.
///
/// # Errors
/// When a run is given twice.
pub fn step(
    state: &ControlState,
    inputs: &[RunInput],
    limits: &ControlLimits,
    now: Timestamp,
) -> Result<(ControlState, Vec<ShareTarget>), ControlError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = inputs.iter().find(|input| !seen.insert(input.run)) {
        return Err(ControlError::Duplicate(twice.run));
    }
    let mut next = state.clone();
    let mut inputs: Vec<&RunInput> = inputs.iter().collect();
    inputs.sort_by_key(|input| input.run);
    // All cuts come first, but free nothing yet: what they take away stays
    // reserved through `held`.
    let mut wishes: Vec<Wish> = inputs
        .iter()
        .map(|input| cut(&mut next, input, limits, now))
        .collect();
    let asked: Vec<u32> = wishes.iter().map(|wish| wish.beyond_reserved).collect();
    let given = share_headroom(&asked, next.headroom(limits.capacity));
    let targets = wishes
        .iter_mut()
        .zip(given)
        .map(|(wish, given)| grant(&mut next, wish, given, limits.mode, now))
        .collect();
    Ok((next, targets))
}

/// What a run would like after the cuts.
#[derive(Debug)]
struct Wish {
    run: Uuid,
    action: Action,
    target: Bps,
    previous: Option<Bps>,
    /// Share after the cut.
    cut_to: Bps,
    /// Share it may grow to.
    up_to: Bps,
    /// The part of the growth that is not reserved for it already.
    beyond_reserved: u32,
    limited: Option<Limit>,
}

fn cut(state: &mut ControlState, input: &RunInput, limits: &ControlLimits, now: Timestamp) -> Wish {
    let known = state.runs.get(&input.run).copied();
    let mut control = known.unwrap_or(RunControl {
        granted: Bps::ZERO,
        held: input.held.unwrap_or(Bps::ZERO),
        latched: None,
        under_clear_since: None,
        last_raise_at: None,
        market: None,
        enforced: None,
    });
    if limits.mode == Mode::Enforce
        && let Some(enforced) = control.enforced.take()
    {
        control.granted = control.granted.min(enforced);
        control.held = control.held.max(enforced);
    }
    if control.market != input.basis.market {
        control.market = input.basis.market;
        control.under_clear_since = None;
    }
    // Until it is told otherwise a run may use all of what it was granted.
    control.held = input.held.unwrap_or(control.held).max(control.granted);
    control.latched = latch(control.latched, input);
    let basis = basis_for_loosening(&input.basis, limits);
    control.under_clear_since = match basis {
        Ok(()) => Some(control.under_clear_since.unwrap_or(now)),
        Err(_) => None,
    };
    let action = control.latched.unwrap_or(input.action);
    let target = if action.stops() {
        Bps::ZERO
    } else {
        input.target
    };
    control.granted = control.granted.min(target);
    let previous = known.map(|control| control.granted);
    let (up_to, limited) = match previous {
        None => admission(target, limits),
        Some(_) => growth(&control, target, basis, input.permit, limits, now),
    };
    let limited = if control.latched.is_some() {
        Some(Limit::Latched)
    } else {
        limited
    };
    let beyond = up_to.saturating_sub(control.reserved());
    state.runs.insert(input.run, control);
    Wish {
        run: input.run,
        action,
        target: input.target,
        previous,
        cut_to: control.granted,
        up_to,
        beyond_reserved: beyond.get().into(),
        limited,
    }
}

/// A pause stays until it is lifted while no rule demands it; a termination stays.
fn latch(latched: Option<Action>, input: &RunInput) -> Option<Action> {
    let demanded =
        matches!(input.action, Action::Pause | Action::Terminate).then_some(input.action);
    match latched {
        Some(Action::Terminate) => Some(Action::Terminate),
        Some(_) if input.lift && demanded.is_none() => None,
        latched => latched.max(demanded),
    }
}

/// Whether what is known about a run could justify a larger share.
///
/// # Errors
/// Says why not.
pub fn basis_for_loosening(basis: &RiskBasis, limits: &ControlLimits) -> Result<(), NoBasis> {
    let clear = limits.thresholds.clear;
    if let Some(settlement) = basis.settlement {
        return if settlement < clear {
            Ok(())
        } else {
            Err(NoBasis::SettledAgainst)
        };
    }
    if basis.market_count == 0 {
        return Err(NoBasis::MissingMarket);
    }
    // A NaN fails each of these comparisons, so it never counts as good news.
    let fresh = basis.staleness_s <= limits.control.max_staleness_s as f64;
    let is_clear = basis.upper < clear;
    if !fresh {
        Err(NoBasis::StaleMarket)
    } else if basis.liquidity_micro < limits.control.min_liquidity_micro {
        Err(NoBasis::ThinMarket)
    } else if !is_clear {
        Err(NoBasis::NotClear)
    } else {
        Ok(())
    }
}

fn admission(target: Bps, limits: &ControlLimits) -> (Bps, Option<Limit>) {
    let start = limits.control.start_bps;
    if start < target {
        (start, Some(Limit::Admission))
    } else {
        (target, None)
    }
}

/// How far a known run may grow now, and what stops it there.
fn growth(
    control: &RunControl,
    target: Bps,
    basis: Result<(), NoBasis>,
    permit: Option<Bps>,
    limits: &ControlLimits,
    now: Timestamp,
) -> (Bps, Option<Limit>) {
    let stay = control.granted;
    if target <= stay {
        return (stay, None);
    }
    let settings = &limits.control;
    let mut target = target;
    if let Some(hold) = no_basis(control, basis, settings, now) {
        // The vote's time lock stands for the dwell time; the steps are the same.
        match permit.filter(|permit| *permit > stay) {
            Some(permit) => target = target.min(permit),
            None => return (stay, Some(hold)),
        }
    }
    let next_step = control
        .last_raise_at
        .map(|last| after(last, settings.step_every_s));
    if let Some(until) = next_step.filter(|until| now < *until) {
        return (stay, Some(Limit::Interval { until }));
    }
    let stepped = stay.saturating_add(settings.step_bps);
    if stepped < target {
        (stepped, Some(Limit::Step))
    } else {
        (target, None)
    }
}

/// What holds a share back for want of a basis that has lasted.
fn no_basis(
    control: &RunControl,
    basis: Result<(), NoBasis>,
    settings: &ControlSettings,
    now: Timestamp,
) -> Option<Limit> {
    if let Err(reason) = basis {
        return Some(Limit::NoBasis { reason });
    }
    // A good basis always has a start; without one the dwell begins now.
    let until = after(control.under_clear_since.unwrap_or(now), settings.dwell_s);
    (now < until).then_some(Limit::Dwell { until })
}

/// The instant `seconds` after `since`; the end of time when that overflows,
/// which only ever delays an increase.
pub(crate) fn after(since: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    since
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// Splits `headroom` over what is asked for: everybody the same, nobody more
/// than asked.
fn share_headroom(asked: &[u32], headroom: u32) -> Vec<u32> {
    let mut order: Vec<usize> = (0..asked.len()).filter(|&i| asked[i] > 0).collect();
    order.sort_by_key(|&i| asked[i]);
    let mut given = vec![0; asked.len()];
    let mut left = headroom;
    for (position, &index) in order.iter().enumerate() {
        let waiting = u32::try_from(order.len() - position).unwrap_or(u32::MAX);
        given[index] = asked[index].min(left / waiting);
        left -= given[index];
    }
    given
}

fn grant(
    state: &mut ControlState,
    wish: &mut Wish,
    given: u32,
    mode: Mode,
    now: Timestamp,
) -> ShareTarget {
    let short_by = wish.beyond_reserved - given;
    let share = wish.up_to.saturating_sub(Bps::saturating(short_by));
    let share = share.max(wish.cut_to);
    if short_by > 0 {
        wish.limited = Some(Limit::Unreleased {
            short_by: Bps::saturating(short_by),
        });
    }
    if let Some(control) = state.runs.get_mut(&wish.run) {
        control.granted = share;
        control.held = control.held.max(share);
        if mode == Mode::Shadow {
            let before = wish.previous.unwrap_or(share);
            control.enforced = control.enforced.or(Some(before));
        }
        if share > wish.cut_to {
            control.last_raise_at = Some(now);
        }
    }
    let change = match wish.previous {
        None => Change::Admitted,
        Some(previous) if share < previous => Change::Tightened,
        Some(previous) if share > previous => Change::Loosened,
        Some(_) => Change::Held,
    };
    ShareTarget {
        run: wish.run,
        action: wish.action,
        share,
        previous: wish.previous,
        target: wish.target,
        change,
        limited: wish.limited,
    }
}

#[cfg(test)]
mod tests;
