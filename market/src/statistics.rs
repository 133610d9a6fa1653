//! Exact statistics of counts: Fisher's test, Holm's correction, Clopper–Pearson intervals.

use statrs::function::beta::checked_beta_reg;
use statrs::stats_tests::{Alternative, fishers_exact};

/// Why a statistic cannot be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// More hits than trials.
    #[error("{hits} hits in {trials} trials")]
    MoreHitsThanTrials {
        /// Observed hits.
        hits: u64,
        /// Trials made.
        trials: u64,
    },
    /// More than [`MAX_TRIALS`] trials.
    #[error("{0} trials are too many")]
    TooMany(u64),
    /// The four counts do not make a table.
    #[error("the counts do not make a table")]
    Table,
    /// A confidence level outside (0, 1).
    #[error("the confidence level is outside (0, 1)")]
    Level,
}

/// Greatest number of trials in a table: the tail of the test is summed term by term.
pub const MAX_TRIALS: u64 = 1_000_000;

/// Hits among trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Trials in which the behaviour was seen.
    pub hits: u64,
    /// Trials made.
    pub trials: u64,
}

impl Counts {
    /// Errors when there are more hits than trials or too many trials.
    pub fn check(self) -> Result<Self, StatisticsError> {
        let Self { hits, trials } = self;
        if trials > MAX_TRIALS {
            return Err(StatisticsError::TooMany(trials));
        }
        if hits > trials {
            return Err(StatisticsError::MoreHitsThanTrials { hits, trials });
        }
        Ok(self)
    }

    /// `hits / trials`, 0 without trials.
    pub fn rate(self) -> f64 {
        if self.trials == 0 {
            0.0
        } else {
            self.hits as f64 / self.trials as f64
        }
    }
}

/// One-sided Fisher's exact test that `arm` hits more often than `rest`: with `N` trials and
/// `K` hits in all, the hypergeometric tail
///
/// ```text
/// p = Σ_{k ≥ arm.hits} C(n, k) C(N−n, K−k) / C(N, K),   n = arm.trials
/// ```
///
/// (R. A. Fisher 1935). Exact whatever the common rate. 1 when either side has no trials.
pub fn fisher_greater(arm: Counts, rest: Counts) -> Result<f64, StatisticsError> {
    let (arm, rest) = (arm.check()?, rest.check()?);
    let table = [
        arm.hits,
        arm.trials - arm.hits,
        rest.hits,
        rest.trials - rest.hits,
    ];
    let p = fishers_exact(&table, Alternative::Greater).map_err(|_| StatisticsError::Table)?;
    // A sum of probabilities can exceed one by rounding.
    Ok(p.min(1.0))
}

/// Holm's step-down adjustment (S. Holm 1979): with `p_(1) ≤ … ≤ p_(m)`,
/// `adjusted_(i) = min(1, max_{j ≤ i} (m−j+1)·p_(j))`. Rejecting those at most `α` keeps the
/// chance of any false rejection at most `α`. In the order of the input.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut running = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        let factor = (p_values.len() - rank) as f64;
        running = running.max(factor * p_values[index]).min(1.0);
        adjusted[index] = running;
    }
    adjusted
}

/// An interval of a rate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// Lower end, in [0, 1].
    pub low: f64,
    /// Upper end, in [0, 1].
    pub high: f64,
}

/// Clopper–Pearson interval (1934) of a rate at confidence `level`, `α = 1 − level`:
/// `low = B⁻¹(α/2; k, n−k+1)`, `high = B⁻¹(1−α/2; k+1, n−k)`; 0 and 1 where `k` is `0` or `n`.
/// [0, 1] without trials.
pub fn clopper_pearson(counts: Counts, level: f64) -> Result<Interval, StatisticsError> {
    let Counts { hits, trials } = counts.check()?;
    if !(level > 0.0 && level < 1.0) {
        return Err(StatisticsError::Level);
    }
    let tail = (1.0 - level) / 2.0;
    let (k, n) = (hits as f64, trials as f64);
    let low = if hits == 0 {
        0.0
    } else {
        beta_quantile(k, n - k + 1.0, tail)
    };
    // By symmetry I_x(a, b) = 1 − I_{1−x}(b, a), which keeps the small tail small.
    let high = if hits == trials {
        1.0
    } else {
        1.0 - beta_quantile(n - k, k + 1.0, tail)
    };
    Ok(Interval { low, high })
}

/// `x` with `I_x(a, b) = probability`, by bisection: the regularised incomplete beta function
/// is increasing in `x`, so this converges for every `a, b > 0`. The library's Newton
/// iteration (AS 64) starts no nearer to the ends than 1e-4 and has no bound on its steps,
/// which large samples with few hits would test.
fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        match checked_beta_reg(a, b, middle) {
            Ok(value) if value < probability => low = middle,
            _ => high = middle,
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn degenerate_tables() {
        let none = Counts { hits: 0, trials: 0 };
        let some = Counts { hits: 3, trials: 8 };
        assert_eq!(fisher_greater(none, some), Ok(1.0));
        assert_eq!(fisher_greater(some, none), Ok(1.0));
        let all = Counts { hits: 8, trials: 8 };
        assert_eq!(fisher_greater(all, all), Ok(1.0));
        let wrong = Counts { hits: 2, trials: 1 };
        assert!(fisher_greater(wrong, some).is_err());
        assert!(
            fisher_greater(
                some,
                Counts {
                    hits: 0,
                    trials: u64::MAX
                }
            )
            .is_err()
        );
        assert_eq!(
            clopper_pearson(none, 0.95),
            Ok(Interval {
                low: 0.0,
                high: 1.0
            })
        );
        assert_eq!(clopper_pearson(some, 1.0), Err(StatisticsError::Level));
    }

    #[test]
    fn intervals_of_rare_hits_in_large_samples() {
        // For no hits the upper end has a closed form, 1 − (α/2)^(1/n).
        let none = Counts {
            hits: 0,
            trials: MAX_TRIALS,
        };
        let interval = clopper_pearson(none, 0.95).unwrap();
        let exact = -(0.025f64.ln() / MAX_TRIALS as f64).exp_m1();
        assert!(
            (interval.high / exact - 1.0).abs() < 1e-6,
            "{} {exact}",
            interval.high
        );
    }

    #[test]
    fn the_lady_tasting_tea() {
        let p = fisher_greater(Counts { hits: 3, trials: 4 }, Counts { hits: 1, trials: 4 });
        assert!((p.unwrap() - 17.0 / 70.0).abs() < 1e-14);
    }

    #[test]
    fn holm_steps_down() {
        let adjusted = holm(&[0.04, 0.01, 0.03, 0.005]);
        for (actual, expected) in adjusted.iter().zip([0.06, 0.03, 0.06, 0.02]) {
            assert!((actual - expected).abs() < 1e-15);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
