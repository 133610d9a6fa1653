//! What pooling promises.
#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn opinions(log_odds: &[f64]) -> Vec<Opinion> {
    log_odds
        .iter()
        .enumerate()
        .map(|(i, &log_odds)| Opinion {
            judge: format!("j{i}"),
            family: format!("f{i}"),
            log_odds,
            standard_error: 0.0,
        })
        .collect()
}

fn with_correlation(correlation: f64, base_log_odds: f64) -> PoolConfig {
    PoolConfig {
        correlation,
        base_log_odds,
        log_odds_bound: 100.0,
        ..PoolConfig::default()
    }
}

#[test]
fn correlation_one_is_the_mean_and_zero_is_naive_bayes() {
    let votes = opinions(&[1.0, 2.0, -0.5]);
    let base = 0.25;
    let mean = pool(&votes, 0, &with_correlation(1.0, base));
    assert!((mean.log_odds - 2.5 / 3.0).abs() < 1e-6, "{mean:?}");
    assert!((mean.n_eff - 1.0).abs() < 1e-6);
    let sum = pool(&votes, 0, &with_correlation(0.0, base));
    assert!(
        (sum.log_odds - (base + 2.5 - 3.0 * base)).abs() < 1e-6,
        "{sum:?}"
    );
    assert!((sum.n_eff - 3.0).abs() < 1e-6);
}

#[test]
fn equicorrelated_judges_count_as_published() {
    // n/(1+(n−1)ρ): nine judges at ρ = .4375 are two votes.
    for (n, rho, expected) in [(9, 0.4375, 2.0), (2, 0.5, 4.0 / 3.0), (4, 1.0 / 3.0, 2.0)] {
        let pooled = pool(&opinions(&vec![1.0; n]), 0, &with_correlation(rho, 0.0));
        assert!(
            (pooled.n_eff - expected).abs() < 1e-6,
            "{n} {rho} {pooled:?}"
        );
    }
}

#[test]
fn a_judge_out_of_its_domain_hardly_counts() {
    let mut votes = opinions(&[3.0, 0.0]);
    votes[1].standard_error = 4.0;
    let pooled = pool(&votes, 0, &PoolConfig::default());
    assert!(pooled.weights[1] < 0.05, "{pooled:?}");
    assert!((pooled.log_odds - 3.0).abs() < 0.2, "{pooled:?}");
}

#[test]
fn disagreement_and_failures_widen() {
    let config = PoolConfig::default();
    let agreed = pool(&opinions(&[1.0, 1.0]), 0, &config);
    let split = pool(&opinions(&[3.0, -1.0]), 0, &config);
    assert!((agreed.log_odds - split.log_odds).abs() < 1e-9);
    assert!(split.standard_deviation > agreed.standard_deviation + 0.5);
    let failed = pool(&opinions(&[1.0, 1.0]), 2, &config);
    assert!(failed.standard_deviation > agreed.standard_deviation);
    let none = pool(&[], 3, &config);
    assert_eq!((none.log_odds, none.n_eff), (config.base_log_odds, 0.0));
}

#[test]
fn statistics_shrink_with_few_cases() {
    let judges = vec!["a".to_owned(), "b".to_owned()];
    let case = |a: f64, b: f64, settlement: f64| SettledCase {
        log_odds: BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]),
        settlement,
    };
    // Within each outcome b repeats a: the sample correlation is 1.
    let cases = [
        case(1.0, 2.0, 1.0),
        case(3.0, 4.0, 1.0),
        case(-1.0, -2.0, 0.0),
        case(-3.0, -4.0, 0.0),
    ];
    let few = ErrorStatistics::fit(&judges, &cases, 50.0).unwrap();
    let rho = few.correlation("a", "b", 0.2).unwrap();
    assert!(rho > 0.2 && rho < 0.3, "{rho}");
    let many: Vec<SettledCase> = cases.iter().cycle().take(4000).cloned().collect();
    let many = ErrorStatistics::fit(&judges, &many, 50.0).unwrap();
    assert!(many.correlation("a", "b", 0.2).unwrap() > 0.98);
    assert!((many.variance("a", 0.5).unwrap() - 1.0).abs() < 0.02);
    assert!(ErrorStatistics::fit(&judges, &cases[..1], 50.0).is_err());
}

proptest! {
    #[test]
    fn order_does_not_matter_and_the_pool_is_bounded(
        votes in proptest::collection::vec((-50.0..50.0_f64, 0.0..5.0_f64), 1..7),
        rho in 0.0..=1.0_f64,
        turn in 0_usize..7,
    ) {
        let config = PoolConfig { correlation: rho, ..PoolConfig::default() };
        let mut list = opinions(&votes.iter().map(|v| v.0).collect::<Vec<_>>());
        for (opinion, vote) in list.iter_mut().zip(&votes) {
            opinion.standard_error = vote.1;
        }
        let pooled = pool(&list, 0, &config);
        let len = list.len();
        list.rotate_left(turn % len);
        let turned = pool(&list, 0, &config);
        prop_assert!((pooled.log_odds - turned.log_odds).abs() < 1e-6);
        prop_assert!((pooled.standard_deviation - turned.standard_deviation).abs() < 1e-6);
        prop_assert!(pooled.log_odds.abs() <= config.log_odds_bound + 1e-9);
        prop_assert!(pooled.low <= pooled.log_odds && pooled.log_odds <= pooled.high);
        prop_assert!(pooled.n_eff >= 1.0 - 1e-6 && pooled.n_eff <= len as f64 + 1e-6);
        prop_assert!((pooled.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
