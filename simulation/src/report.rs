//! What simulations found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::crash::Coverage;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The seed that shows it, every time.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
}

/// What one kind of actor made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Profit {
    /// Actors of the kind, over all seeds.
    pub actors: u64,
    /// Seeds in which there were any.
    pub seeds: u64,
    /// Seeds in which they gained together.
    pub seeds_with_gain: u64,
    /// Mean profit of an actor, credits.
    pub mean_credits: f64,
    /// Sum over all, micro-credits.
    #[serde(skip)]
    sum_micro: i128,
}

/// What one seed did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    pub(crate) actors: u64,
    pub(crate) markets: u64,
    pub(crate) crashes: u64,
    /// Profit of each actor, micro-credits, by kind.
    pub(crate) profits: BTreeMap<&'static str, Vec<i64>>,
    pub(crate) coverage: Coverage,
    pub(crate) requests: BTreeMap<&'static str, u64>,
    pub(crate) checked: BTreeMap<&'static str, u64>,
    pub(crate) export: Vec<u8>,
}

/// The points at which a write can be cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WritePoints {
    /// Kinds of writing statements that ran.
    pub seen: usize,
    /// Kinds before (or, for commits, within or after) which the process died.
    pub struck: usize,
    /// Those of the seen that no death came before.
    pub missed: Vec<String>,
}

/// The result over all seeds.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Seeds simulated.
    pub seeds: u64,
    /// Actors in all.
    pub actors: u64,
    /// Markets in all.
    pub markets: u64,
    /// Deaths of the writing process in all.
    pub crashes: u64,
    /// What must not be.
    pub violations: Vec<Finding>,
    /// Where the process died.
    pub write_points: WritePoints,
    /// Requests by what came of them.
    pub requests: BTreeMap<&'static str, u64>,
    /// What the auditor recomputed.
    pub checked: BTreeMap<&'static str, u64>,
    /// Profits by kind of actor.
    pub profits: BTreeMap<&'static str, Profit>,
    #[serde(skip)]
    coverage: Coverage,
}

impl Summary {
    /// Adds one seed.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.actors += outcome.actors;
        self.markets += outcome.markets;
        self.crashes += outcome.crashes;
        self.violations.extend(outcome.findings);
        for (what, count) in outcome.requests {
            *self.requests.entry(what).or_default() += count;
        }
        for (what, count) in outcome.checked {
            *self.checked.entry(what).or_default() += count;
        }
        for (kind, profits) in outcome.profits {
            self.profits.entry(kind).or_default().add(&profits);
        }
        self.coverage.seen.extend(outcome.coverage.seen);
        self.coverage.struck.extend(outcome.coverage.struck);
        let missed = self.coverage.seen.difference(&self.coverage.struck);
        self.write_points = WritePoints {
            seen: self.coverage.seen.len(),
            struck: self.coverage.struck.len(),
            missed: missed.cloned().collect(),
        };
    }
}

impl Profit {
    fn add(&mut self, profits: &[i64]) {
        let sum: i128 = profits.iter().map(|profit| i128::from(*profit)).sum();
        self.actors += profits.len() as u64;
        self.seeds += 1;
        self.seeds_with_gain += u64::from(sum > 0);
        self.sum_micro += sum;
        self.mean_credits = self.sum_micro as f64 / 1e6 / self.actors.max(1) as f64;
    }
}
