//! The formulas against independent high-precision values; `data/vectors.py` makes them.
#![allow(clippy::unwrap_used)]

use plumbline_market::lmsr;
use plumbline_market::statistics::{Counts, clopper_pearson, fisher_greater, holm};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

/// Fails unless `actual` is within `relative` of `expected`, or within `absolute`.
fn check(what: &str, actual: f64, expected: f64, relative: f64, absolute: f64) {
    let error = (actual - expected).abs();
    assert!(
        error <= relative * expected.abs() || error <= absolute,
        "{what}: {actual:e} is not {expected:e}"
    );
}

#[derive(Deserialize)]
struct Lmsr {
    moves: Vec<Move>,
    spends: Vec<Spend>,
    outcomes: Vec<Outcomes>,
}

#[derive(Deserialize)]
struct Move {
    p: f64,
    q: f64,
    b: f64,
    shares: f64,
    collateral: f64,
    payoff_at: std::collections::BTreeMap<String, f64>,
    kl: f64,
}

#[derive(Deserialize)]
struct Spend {
    p: f64,
    b: f64,
    spend: f64,
    shares: f64,
    proceeds: f64,
}

#[derive(Deserialize)]
struct Outcomes {
    quantities: Vec<f64>,
    b: f64,
    cost: f64,
    prices: Vec<f64>,
}

fn lmsr_vectors() -> Lmsr {
    read(include_str!("data/lmsr.json"))
}

#[test]
fn moves_match_high_precision_values() {
    for row in lmsr_vectors().moves {
        let Move { p, q, b, .. } = row;
        let at = format!("{p} to {q} at {b}");
        check(&at, lmsr::shares(p, q, b), row.shares, 1e-14, 1e-14 * b);
        check(&at, lmsr::collateral(p, q, b), row.collateral, 2e-14, 0.0);
        let (l, m) = (lmsr::shares(0.5, p, 1.0), lmsr::shares(0.5, q, 1.0));
        let cost = if q > p {
            lmsr::cost_between(l, m, b)
        } else {
            lmsr::cost_between(-l, -m, b)
        };
        check(&at, cost, row.collateral, 1e-13, 0.0);
        let (price, shares) = if q > p {
            (p, row.shares)
        } else {
            (1.0 - p, -row.shares)
        };
        check(
            &at,
            lmsr::cost(price, shares, b),
            row.collateral,
            1e-13,
            0.0,
        );
        for (pi, payoff) in row.payoff_at {
            check(
                &at,
                lmsr::payoff(p, q, pi.parse().unwrap(), b),
                payoff,
                1e-13,
                1e-14 * b,
            );
        }
        check(&at, lmsr::kl_divergence(p, q), row.kl, 1e-12, 1e-15);
    }
}

#[test]
fn spends_match_high_precision_values() {
    for row in lmsr_vectors().spends {
        let at = format!("spend {} at {} with {}", row.spend, row.p, row.b);
        check(
            &at,
            lmsr::shares_for_spend(row.p, row.spend, row.b),
            row.shares,
            1e-14,
            0.0,
        );
        check(
            &at,
            lmsr::cost(row.p, row.shares, row.b),
            row.spend,
            2e-14,
            0.0,
        );
        check(
            &at,
            lmsr::sell_proceeds(row.p, row.shares, row.b),
            row.proceeds,
            1e-14,
            0.0,
        );
    }
}

#[test]
fn many_outcomes_match_high_precision_values() {
    for row in lmsr_vectors().outcomes {
        let at = format!("{:?}", row.quantities);
        check(
            &at,
            lmsr::cost_n(&row.quantities, row.b),
            row.cost,
            1e-14,
            1e-14,
        );
        let prices = lmsr::prices_n(&row.quantities, row.b);
        assert!((prices.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        for (price, expected) in prices.iter().zip(row.prices) {
            check(&at, *price, expected, 1e-13, 0.0);
        }
    }
    assert_eq!(lmsr::cost_n(&[], 1.0), 0.0);
    assert!(lmsr::prices_n(&[], 1.0).is_empty());
}

#[derive(Deserialize)]
struct Statistics {
    fisher: Vec<Fisher>,
    clopper_pearson: Vec<Interval>,
    holm: Vec<Holm>,
}

#[derive(Deserialize)]
struct Fisher {
    arm: [u64; 2],
    rest: [u64; 2],
    p: f64,
}

#[derive(Deserialize)]
struct Interval {
    hits: u64,
    trials: u64,
    level: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Holm {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

#[test]
fn statistics_match_exact_rationals_and_scipy() {
    let vectors: Statistics = read(include_str!("data/statistics.json"));
    let counts = |[hits, trials]: [u64; 2]| Counts { hits, trials };
    for row in vectors.fisher {
        let at = format!("fisher {:?} {:?}", row.arm, row.rest);
        let p = fisher_greater(counts(row.arm), counts(row.rest)).unwrap();
        check(&at, p, row.p, 1e-10, 0.0);
    }
    for row in vectors.clopper_pearson {
        let at = format!("interval {}/{} at {}", row.hits, row.trials, row.level);
        let interval = clopper_pearson(counts([row.hits, row.trials]), row.level).unwrap();
        check(&at, interval.low, row.low, 1e-9, 1e-12);
        check(&at, interval.high, row.high, 1e-9, 1e-12);
    }
    for row in vectors.holm {
        for (actual, expected) in holm(&row.p).iter().zip(row.adjusted) {
            check("holm", *actual, expected, 1e-14, 0.0);
        }
    }
}
