//! Replay: what a policy would have decided, had it been in force over the recorded history.
//!
//! The record holds what the policy was told about a run whenever that run's control changed or a decision
//! was due, and every price. The replay steps the candidate through those moments and through moments in
//! between, with a control state of its own, and compares what it grants with what was decided. Replaying
//! the policy that was in force gives back its own decisions.
//!
//! What cannot be known is assumed the way a good scheduler does it: where the record says that a release
//! was acknowledged, the candidate's would have been too.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bound::PriceObservation;
use crate::control::{ControlState, RunControl};
use crate::plan::{Plan, PlanError, RunView, plan};
use crate::policy::Policy;
use crate::{Action, Bps};

/// Differences that are listed; all are counted.
pub const MAX_LISTED: usize = 200;
/// Points of a run's timeline.
pub const MAX_POINTS: usize = 400;

/// What was decided on a run at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The decision.
    pub decision_id: Uuid,
    /// What it said.
    pub action: Action,
    /// The share.
    pub share: Bps,
}

/// One run at a recorded moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What the policy was told, without prices.
    pub view: RunView,
    /// Its control before the moment; none for a run that was just admitted.
    pub before: Option<RunControl>,
    /// Its control after it.
    pub after: Option<RunControl>,
    /// The decision that was due, if one was.
    pub decided: Option<Decided>,
}

impl Entry {
    /// The same at a later moment, if nothing was recorded since: how a record that is cut off opens.
    #[must_use]
    pub fn carried(&self) -> Self {
        Self {
            view: self.view.clone(),
            before: self.after,
            after: self.after,
            decided: None,
        }
    }
}

/// A recorded moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// The runs of which something was recorded.
    pub entries: Vec<Entry>,
}

/// Prices of each market in order of time.
pub type Prices = BTreeMap<Uuid, Vec<PriceObservation>>;

/// A decision that would have been another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The decision.
    pub decision_id: Uuid,
    /// Its run.
    pub run: Uuid,
    /// The run's name.
    pub name: String,
    /// When it was made.
    pub at: Timestamp,
    /// What it said.
    pub was: (Action, Bps),
    /// What the candidate would have said.
    pub would: (Action, Bps),
    /// Why, stable.
    pub reason: String,
    /// Why, for people.
    pub explanation: String,
}

/// A run's share over time, as it was and as it would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Decided.
    pub was: Bps,
    /// Would have been.
    pub would: Bps,
}

/// What a replay says about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReplay {
    /// The run.
    pub run: Uuid,
    /// Its name.
    pub name: String,
    /// Share over the time of the record, on average, basis points.
    pub mean_was_bps: f64,
    /// The same under the candidate.
    pub mean_would_bps: f64,
    /// Decisions that would have granted less.
    pub tighter: u32,
    /// Decisions that would have granted more.
    pub looser: u32,
    /// Where the share changes.
    pub points: Vec<Point>,
}

/// What a replay says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Replay {
    /// First recorded moment.
    pub from: Option<Timestamp>,
    /// Last recorded moment.
    pub to: Option<Timestamp>,
    /// Moments at which the candidate was asked.
    pub moments: u32,
    /// Decisions compared.
    pub compared: u32,
    /// Of them, those that would have been others.
    pub different: u32,
    /// The first [`MAX_LISTED`] of those.
    pub differences: Vec<Difference>,
    /// Every run, by id.
    pub runs: Vec<RunReplay>,
}

/// Average shares and counts of one run, on the way.
#[derive(Debug, Default)]
struct Line {
    name: String,
    was: Bps,
    would: Bps,
    since: Option<Timestamp>,
    millis: f64,
    was_sum: f64,
    would_sum: f64,
    tighter: u32,
    looser: u32,
    points: Vec<Point>,
}

impl Line {
    fn pass(&mut self, now: Timestamp) {
        if let Some(since) = self.since {
            let millis = now.duration_since(since).as_millis().max(0) as f64;
            self.millis += millis;
            self.was_sum += millis * f64::from(self.was.get());
            self.would_sum += millis * f64::from(self.would.get());
        }
        self.since = Some(now);
    }

    fn mean(sum: f64, millis: f64, last: Bps) -> f64 {
        if millis > 0.0 {
            sum / millis
        } else {
            f64::from(last.get())
        }
    }

    fn note(&mut self, at: Timestamp) {
        let point = Point {
            at,
            was: self.was,
            would: self.would,
        };
        let same = |last: &Point| (last.was, last.would) == (point.was, point.would);
        if !self.points.last().is_some_and(same) && self.points.len() < MAX_POINTS {
            self.points.push(point);
        }
    }
}

/// A replay under way.
struct Stage<'a> {
    policy: &'a Policy,
    prices: &'a Prices,
    state: ControlState,
    known: BTreeMap<Uuid, (Timestamp, Entry)>,
    lines: BTreeMap<Uuid, Line>,
    replay: Replay,
}

/// Steps `policy` through the record, and through `between` more moments at even distances.
///
/// # Errors
/// When a recorded price or uncertainty is out of its domain.
pub fn replay(
    policy: &Policy,
    moments: &[Moment],
    prices: &Prices,
    between: u32,
) -> Result<Replay, PlanError> {
    let mut by_time: BTreeMap<Timestamp, Vec<&Entry>> = BTreeMap::new();
    for moment in moments {
        by_time
            .entry(moment.at)
            .or_default()
            .extend(&moment.entries);
    }
    let (Some((&from, _)), Some((&to, _))) = (by_time.first_key_value(), by_time.last_key_value())
    else {
        return Ok(Replay::default());
    };
    let mut times: BTreeSet<Timestamp> = by_time.keys().copied().collect();
    times.extend(evenly(from, to, between));
    let mut stage = Stage {
        policy,
        prices,
        state: ControlState::default(),
        known: BTreeMap::new(),
        lines: BTreeMap::new(),
        replay: Replay {
            from: Some(from),
            to: Some(to),
            ..Replay::default()
        },
    };
    for at in times {
        let entries = by_time.get(&at).map_or(&[][..], Vec::as_slice);
        stage.step(at, entries)?;
    }
    Ok(stage.finish())
}

/// `count` moments strictly between two others.
fn evenly(from: Timestamp, to: Timestamp, count: u32) -> impl Iterator<Item = Timestamp> {
    let millis = to.duration_since(from).as_millis();
    (1..=i128::from(count)).filter_map(move |n| {
        let part = millis.checked_mul(n)? / (i128::from(count) + 1);
        let part = SignedDuration::from_millis(i64::try_from(part).ok()?);
        from.checked_add(part)
            .ok()
            .filter(|at| from < *at && *at < to)
    })
}

impl Stage<'_> {
    fn step(&mut self, at: Timestamp, entries: &[&Entry]) -> Result<(), PlanError> {
        for entry in entries {
            self.learn(at, entry);
        }
        for line in self.lines.values_mut() {
            line.pass(at);
        }
        let views: Vec<RunView> = self
            .known
            .values()
            .map(|(since, entry)| self.view(at, *since, entry))
            .collect();
        let planned = plan(self.policy, &self.state, &views, at)?;
        self.replay.moments += 1;
        self.compare(at, entries, &planned);
        self.state = planned.state;
        Ok(())
    }

    /// Takes in what was recorded of a run; at its first appearance the candidate starts from where the
    /// run stood.
    fn learn(&mut self, at: Timestamp, entry: &Entry) {
        let run = entry.view.run;
        if !self.known.contains_key(&run) {
            let share = entry.before.map_or(Bps::ZERO, |before| before.granted);
            let line = Line {
                name: entry.view.name.clone(),
                was: share,
                would: share,
                since: Some(at),
                ..Line::default()
            };
            self.lines.insert(run, line);
            if let Some(before) = entry.before {
                self.state.runs.insert(run, before);
            }
        }
        self.known.insert(run, (at, entry.clone()));
    }

    /// What the candidate is told at a moment about a run of which something was recorded at `since`.
    fn view(&self, at: Timestamp, since: Timestamp, entry: &Entry) -> RunView {
        let mut view = entry.view.clone();
        let granted = self
            .state
            .runs
            .get(&view.run)
            .map(|control| control.granted);
        let recorded = entry.before.map(|before| before.granted);
        // A share of the candidate's own is released as the recorded one was.
        if granted != recorded || at != since {
            view.held = view.held.map(|held| granted.unwrap_or(held));
        }
        let Some(market) = &mut view.market else {
            return view;
        };
        let all = self
            .prices
            .get(&market.market)
            .map_or(&[][..], Vec::as_slice);
        let until = all.partition_point(|price| price.at <= at);
        let window = i64::try_from(self.policy.document().price.window_s).unwrap_or(i64::MAX);
        let start = at.checked_sub(SignedDuration::from_secs(window));
        let start = start.unwrap_or(Timestamp::MIN);
        // The price in force when the window begins counts too.
        let first = all[..until].partition_point(|price| price.at < start);
        market.observations = all[first.saturating_sub(1)..until].to_vec();
        let waited = at.duration_since(since).as_secs_f64().max(0.0);
        market.uncertainty.staleness_s = match market.observations.last() {
            Some(last) => at.duration_since(last.at).as_secs_f64().max(0.0),
            None => market.uncertainty.staleness_s + waited,
        };
        view
    }

    fn compare(&mut self, at: Timestamp, entries: &[&Entry], planned: &Plan) {
        for run in &planned.runs {
            let would = (run.grant.action, run.grant.share);
            let decided = entries.iter().find(|entry| entry.view.run == run.run);
            let decided = decided.and_then(|entry| entry.decided);
            let Some(line) = self.lines.get_mut(&run.run) else {
                continue;
            };
            line.would = would.1;
            if let Some(decided) = decided {
                line.was = decided.share;
                let was = (decided.action, decided.share);
                self.replay.compared += 1;
                if was != would {
                    line.tighter += u32::from(would.1 < was.1);
                    line.looser += u32::from(would.1 > was.1);
                    self.replay.different += 1;
                    if self.replay.differences.len() < MAX_LISTED {
                        self.replay.differences.push(Difference {
                            decision_id: decided.decision_id,
                            run: run.run,
                            name: line.name.clone(),
                            at,
                            was,
                            would,
                            reason: run.basis.reason_code.clone(),
                            explanation: run.basis.explanation.clone(),
                        });
                    }
                }
            }
            line.note(at);
        }
    }

    fn finish(self) -> Replay {
        let Self {
            lines, mut replay, ..
        } = self;
        replay.runs = lines
            .into_iter()
            .map(|(run, line)| RunReplay {
                run,
                mean_was_bps: Line::mean(line.was_sum, line.millis, line.was),
                mean_would_bps: Line::mean(line.would_sum, line.millis, line.would),
                name: line.name,
                tighter: line.tighter,
                looser: line.looser,
                points: line.points,
            })
            .collect();
        replay
    }
}

#[cfg(test)]
mod tests;
