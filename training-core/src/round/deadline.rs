//! How long a round may train.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// An adaptive deadline in allotted time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlineRule {
    /// Used until [`DeadlineRule::least_samples`] durations are known, `> 0`.
    pub initial: Micros,
    /// Lower bound, `> 0`.
    pub least: Micros,
    /// Upper bound, `≥ least`; also bounds extensions.
    pub most: Micros,
    /// `k`: how many median absolute deviations above the median.
    pub deviations: u32,
    /// Lower bound as a percentage of the median, `≥ 100`: a run of equal
    /// durations has no deviation, and must not cut off a node that is
    /// slightly slower for once.
    pub least_percent: u32,
    /// How many past durations to keep, `1..=1024`.
    pub window: usize,
    /// How many must be known before they are used, `1..=window`.
    pub least_samples: usize,
}

impl Default for DeadlineRule {
    fn default() -> Self {
        Self {
            initial: Micros::from_secs(600),
            least: Micros::from_secs(5),
            most: Micros::from_secs(3_600),
            deviations: 6,
            least_percent: 300,
            window: 32,
            least_samples: 4,
        }
    }
}

impl DeadlineRule {
    /// What is wrong with the rule, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        if self.initial.0 == 0 || self.least.0 == 0 {
            Some("deadlines must be positive")
        } else if self.most < self.least {
            Some("the longest deadline is below the shortest")
        } else if self.least_percent < 100 {
            Some("least_percent must be at least 100")
        } else if self.window == 0 || self.window > 1_024 {
            Some("the deadline window must be 1 to 1024 durations")
        } else if self.least_samples == 0 || self.least_samples > self.window {
            Some("least_samples must be 1 to the window")
        } else {
            None
        }
    }

    /// Allotted time for the next round, from past durations in µs:
    /// `clamp(max(m + k·MAD, p·m), least, most)` with `m` the median,
    /// `MAD = median |dᵢ − m|` and `p = least_percent/100`;
    /// [`DeadlineRule::initial`] while too few durations are known.
    pub fn allowance(&self, durations: &VecDeque<u64>) -> Micros {
        if durations.len() < self.least_samples {
            return self.initial;
        }
        let middle = median(durations.iter().copied());
        let deviation = median(durations.iter().map(|d| d.abs_diff(middle)));
        let spread = deviation.saturating_mul(u64::from(self.deviations));
        let ratio = middle.saturating_mul(u64::from(self.least_percent)) / 100;
        let allowance = middle.saturating_add(spread).max(ratio);
        Micros(allowance.clamp(self.least.0, self.most.0))
    }
}

/// The median, for an even count the floor of the mean of the middle two;
/// 0 for none.
fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let half = sorted.len() / 2;
    match (sorted.len(), sorted.len() % 2) {
        (0, _) => 0,
        (_, 1) => sorted[half],
        _ => u64::midpoint(sorted[half - 1], sorted[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_deviation_by_hand() {
        assert_eq!(median([].into_iter()), 0);
        assert_eq!(median([5, 1, 9].into_iter()), 5);
        assert_eq!(median([4, 1, 9, 6].into_iter()), 5);
        let rule = DeadlineRule {
            initial: Micros(77),
            least: Micros(1),
            most: Micros(1_000),
            deviations: 4,
            least_percent: 100,
            window: 8,
            least_samples: 3,
        };
        let allowance = |durations: &[u64]| rule.allowance(&durations.iter().copied().collect());
        assert_eq!(allowance(&[10, 10]), Micros(77));
        // m = 12, |d − m| = 2, 0, 8 → MAD 2 → 12 + 4·2
        assert_eq!(allowance(&[10, 12, 20]), Micros(20));
        assert_eq!(allowance(&[900, 1, 5_000]), Micros(1_000));
        let generous = DeadlineRule {
            least_percent: 250,
            ..rule.clone()
        };
        assert_eq!(generous.allowance(&[10, 10, 10].into()), Micros(25));
    }
}
