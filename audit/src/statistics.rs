//! Exact tests and intervals from counts, by summing the distributions themselves.

/// Sum of the weights from `from` on, over the sum of all, for weights on `low..=high` with
/// `ratio(k) = weight(k+1)/weight(k)`, which falls as `k` grows. Starts at the largest weight, so
/// nothing overflows, and what underflows is negligible.
fn tail(low: u64, high: u64, from: u64, ratio: impl Fn(u64) -> f64) -> f64 {
    if from <= low {
        return 1.0;
    }
    if from > high {
        return 0.0;
    }
    // The first k whose weight is not below that of k + 1, by bisection.
    let (mut a, mut b) = (low, high);
    while a < b {
        let middle = a + (b - a) / 2;
        if ratio(middle) > 1.0 {
            a = middle + 1;
        } else {
            b = middle;
        }
    }
    let mode = a;
    let (mut all, mut part) = (0.0, 0.0);
    let mut weight = 1.0;
    for k in mode..=high {
        all += weight;
        if k >= from {
            part += weight;
        }
        weight *= ratio(k);
        if weight == 0.0 {
            break;
        }
    }
    weight = 1.0;
    for k in (low..mode).rev() {
        weight /= ratio(k);
        all += weight;
        if k >= from {
            part += weight;
        }
        if weight == 0.0 {
            break;
        }
    }
    part / all
}

/// One-sided Fisher's exact test: with `hits` of `trials` in one arm and `other_hits` of
/// `other_trials` elsewhere, `N`, `K` the totals, `p = Σ_{k ≥ hits} C(n,k) C(N−n,K−k) / C(N,K)`.
pub(crate) fn fisher_greater(hits: u64, trials: u64, other_hits: u64, other_trials: u64) -> f64 {
    if trials == 0 || other_trials == 0 {
        return 1.0;
    }
    let all_hits = hits + other_hits;
    let low = all_hits.saturating_sub(other_trials);
    let high = trials.min(all_hits);
    let ratio = |k: u64| {
        let up = (trials - k) as f64 * (all_hits - k) as f64;
        up / ((k + 1) as f64 * (other_trials + k + 1 - all_hits) as f64)
    };
    tail(low, high, hits, ratio)
}

/// `P(X ≥ k)` of a binomial variable with `n` trials at rate `p` in (0, 1).
pub(crate) fn binomial_at_least(k: u64, n: u64, p: f64) -> f64 {
    let odds = p / (1.0 - p);
    tail(0, n, k, |i| (n - i) as f64 / (i + 1) as f64 * odds)
}

/// Holm's step-down adjustment: `adjusted_(i) = min(1, max_{j ≤ i} (m−j+1)·p_(j))`.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = p_values.iter().copied().zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut highest = 0.0_f64;
    for (rank, (p, index)) in order.into_iter().enumerate() {
        highest = highest.max((p_values.len() - rank) as f64 * p).min(1.0);
        adjusted[index] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn tables_with_known_answers() {
        close(fisher_greater(3, 4, 1, 4), 17.0 / 70.0);
        close(fisher_greater(8, 8, 0, 16), 1.0 / 735_471.0);
        assert_eq!(fisher_greater(8, 8, 8, 8), 1.0);
        assert_eq!(fisher_greater(0, 8, 3, 8), 1.0);
        assert_eq!(fisher_greater(3, 8, 0, 0), 1.0);
    }

    #[test]
    fn tails_of_the_binomial() {
        close(binomial_at_least(2, 3, 0.5), 0.5);
        close(binomial_at_least(10, 10, 0.5), 1.0 / 1024.0);
        close(
            binomial_at_least(1, 1_000_000, 1e-6),
            -(1e6 * (-1e-6f64).ln_1p()).exp_m1(),
        );
        assert_eq!(binomial_at_least(0, 10, 0.1), 1.0);
    }

    #[test]
    fn large_tables_neither_overflow_nor_vanish() {
        let p = fisher_greater(5_200, 10_000, 49_000, 100_000);
        assert!(p > 1e-9 && p < 1e-7, "{p}");
    }

    #[test]
    fn holm_steps_down() {
        for (actual, expected) in holm(&[0.04, 0.01, 0.03, 0.005])
            .iter()
            .zip([0.06, 0.03, 0.06, 0.02])
        {
            close(*actual, expected);
        }
    }
}
