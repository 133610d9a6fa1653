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
    /// Mean profit of an actor, credits: the mean over the seeds of the mean in each.
    pub mean_credits: f64,
    /// Half the width of its 95 % interval, by the spread over the seeds; absent for one seed.
    pub within_credits: Option<f64>,
    /// Mean profit in each seed, credits.
    #[serde(skip)]
    means: Vec<f64>,
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
        self.means
            .push(sum as f64 / 1e6 / profits.len().max(1) as f64);
        (self.mean_credits, self.within_credits) = mean_within(&self.means);
    }
}

/// The mean of independent values and half the width of its 95 % interval. Normal quantile: for 100
/// values it is 1 % too narrow.
fn mean_within(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    if values.len() < 2 {
        return (mean, None);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let variance = squares / (count - 1.0);
    (mean, Some(1.96 * (variance / count).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_by_the_spread_over_seeds() {
        assert_eq!(mean_within(&[3.0]), (3.0, None));
        let (mean, within) = mean_within(&[1.0, 3.0]);
        // The standard error of two values is half their distance.
        assert!((mean - 2.0).abs() < 1e-12);
        assert!((within.unwrap_or(0.0) - 1.96).abs() < 1e-12);
    }
}
