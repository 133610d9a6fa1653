//! What learning from settled cases promises, on judges whose quality is known.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use plumbline_oracle::calibration::{CalibrationOptions, posterior};
use plumbline_oracle::learning::{LearnOptions, LearningCase, learn, log_loss};
use plumbline_oracle::pool::{Opinion, PoolConfig, deviations, error_matrices, pool};
use plumbline_oracle::versions::{Reading, SettledRecord, Start, VersionRecord};
use proptest::prelude::*;

/// Numbers of a seed's: uniform by splitmix, normal by Box and Muller.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

fn opinion(judge: &str, log_odds: f64) -> Opinion {
    Opinion {
        judge: judge.to_owned(),
        family: judge.split('-').next().unwrap_or(judge).to_owned(),
        log_odds,
        standard_error: 0.3,
    }
}

/// A case whose true log-odds are `truth`: one judge near it, two that share a larger error, one that guesses.
fn case(dice: &mut Dice, kind: &str, slant: f64) -> (f64, LearningCase) {
    let truth = 1.5 * dice.normal();
    let shared = dice.normal();
    let opinions = vec![
        opinion("good", truth + slant + 0.4 * dice.normal()),
        opinion("twin-a", truth + slant + shared + 0.3 * dice.normal()),
        opinion("twin-b", truth + slant + shared + 0.3 * dice.normal()),
        opinion("guess", 1.5 * dice.normal()),
    ];
    let settlement = f64::from(dice.uniform() < 1.0 / (1.0 + (-truth).exp()));
    let case = LearningCase {
        kind: kind.to_owned(),
        opinions,
        failed: 0,
        settlement,
    };
    (truth, case)
}

fn cases(seed: u64, kind: &str, slant: f64, n: usize) -> Vec<(f64, LearningCase)> {
    let mut dice = Dice(seed);
    (0..n).map(|_| case(&mut dice, kind, slant)).collect()
}

fn only_cases(of: &[(f64, LearningCase)]) -> Vec<LearningCase> {
    of.iter().map(|(_, case)| case.clone()).collect()
}

fn weights_of(config: &PoolConfig) -> BTreeMap<String, f64> {
    let opinions: Vec<Opinion> = ["good", "twin-a", "twin-b", "guess"]
        .iter()
        .map(|judge| opinion(judge, 0.0))
        .collect();
    let pooled = pool(&opinions, 0, config);
    let names = opinions.into_iter().map(|opinion| opinion.judge);
    names.zip(pooled.weights).collect()
}

fn mean_loss(config: &PoolConfig, cases: &[(f64, LearningCase)]) -> f64 {
    let loss = |case: &LearningCase| {
        let pooled = posterior(&case.kind, &case.opinions, case.failed, config);
        log_loss(pooled.log_odds, case.settlement)
    };
    cases.iter().map(|(_, case)| loss(case)).sum::<f64>() / cases.len() as f64
}

#[test]
fn the_good_judge_gains_weight_and_the_pool_loses_less() {
    let base = PoolConfig::default();
    let unseen = cases(99, "kind", 0.0, 2_000);
    let (mut weight, mut loss) = (weights_of(&base)["good"], mean_loss(&base, &unseen));
    for n in [30, 120, 500] {
        let learnt = learn(
            &base,
            &only_cases(&cases(7, "kind", 0.0, n)),
            &LearnOptions::default(),
        )
        .unwrap();
        let (now, then) = (weights_of(&learnt), mean_loss(&learnt, &unseen));
        assert!(now["good"] > weight, "{n}: {now:?}, before {weight}");
        assert!(then < loss, "{n}: {then}, before {loss}");
        (weight, loss) = (now["good"], then);
        if n == 500 {
            assert!(now["good"] > 0.6, "{now:?}");
            assert!(now["guess"] < weights_of(&base)["guess"] / 2.0, "{now:?}");
        }
    }
}

#[test]
fn twins_are_found_to_err_together() {
    let learnt = learn(
        &PoolConfig::default(),
        &only_cases(&cases(3, "kind", 0.0, 600)),
        &LearnOptions::default(),
    )
    .unwrap();
    let opinions = [
        opinion("twin-a", 0.0),
        opinion("twin-b", 0.0),
        opinion("guess", 0.0),
    ];
    let (_, correlations) = error_matrices(&opinions, &learnt);
    assert!(correlations[0][1] > 0.8, "{correlations:?}");
    assert!(correlations[0][2] < 0.15, "{correlations:?}");
}

#[test]
fn intervals_cover_the_truth_and_widen_far_from_what_was_settled() {
    let settled = cases(11, "kind", 0.0, 800);
    let learnt = learn(
        &PoolConfig::default(),
        &only_cases(&settled),
        &LearnOptions::default(),
    )
    .unwrap();
    let of = |kind: &str, unseen: &[(f64, LearningCase)]| {
        let (mut covered, mut width) = (0.0, 0.0);
        for (truth, case) in unseen {
            let pooled = posterior(kind, &case.opinions, 0, &learnt);
            covered += f64::from(pooled.low <= *truth && *truth <= pooled.high);
            width += pooled.high - pooled.low;
        }
        (covered / unseen.len() as f64, width / unseen.len() as f64)
    };
    let (at_home, narrow) = of("kind", &cases(12, "kind", 0.0, 3_000));
    // A kind never settled, on which every judge is off by the same amount.
    let (abroad, wide) = of("strange", &cases(13, "strange", 0.8, 3_000));
    assert!(at_home >= 0.9, "{at_home}");
    assert!(abroad >= 0.9, "{abroad}");
    assert!(wide > narrow, "{wide} {narrow}");
    // And it is drawn to the base rate.
    let opinions = [opinion("good", 4.0)];
    let there = posterior("strange", &opinions, 0, &learnt).log_odds;
    let here = posterior("kind", &opinions, 0, &learnt).log_odds;
    assert!(there.abs() < here.abs(), "{there} {here}");
}

#[test]
fn a_judge_that_says_it_does_not_know_is_not_taken_for_one_that_never_errs() {
    let mut all = only_cases(&cases(41, "kind", 0.0, 300));
    for case in &mut all {
        case.opinions.push(Opinion {
            standard_error: 4.0,
            ..opinion("stranger", 0.0)
        });
    }
    let base = PoolConfig::default();
    let learnt = learn(&base, &all, &LearnOptions::default()).unwrap();
    let known = learnt.statistics.as_ref().unwrap();
    let at = known.judges.iter().position(|name| name == "stranger");
    assert_eq!(known.counts[at.unwrap()][at.unwrap()], 0);
    let opinions = [opinion("good", 0.0), opinion("stranger", 0.0)];
    let share = |config: &PoolConfig| pool(&opinions, 0, config).weights[1];
    // The good judge is proven, the stranger is not.
    assert!(share(&learnt) < share(&base) + 0.1, "{}", share(&learnt));
    assert!(
        deviations(
            &[
                opinion("good", 20.0),
                Opinion {
                    standard_error: 4.0,
                    ..opinion("stranger", 0.0)
                }
            ],
            &base
        )
        .iter()
        .all(|deviation| deviation.unwrap() < 3.0)
    );
}

#[test]
fn a_kind_is_calibrated_by_its_own_cases() {
    let mut all = only_cases(&cases(21, "fair", 0.0, 300));
    all.extend(only_cases(&cases(22, "slanted", 1.5, 300)));
    let learnt = learn(&PoolConfig::default(), &all, &LearnOptions::default()).unwrap();
    let at = |kind: &str| posterior(kind, &[opinion("good", 1.5)], 0, &learnt).log_odds;
    assert!(
        at("fair") > at("slanted") + 0.7,
        "{} {}",
        at("fair"),
        at("slanted")
    );
}

fn record(n: usize, case: &LearningCase) -> SettledRecord {
    SettledRecord {
        market_id: format!("m{n}"),
        claim_kind: case.kind.clone(),
        at: n as i64,
        pi: case.settlement,
        closing_log_odds: 0.1,
        pooled_log_odds: 0.2,
        pooled_low: -1.0,
        pooled_high: 1.0,
        ensemble: "e".to_owned(),
        readings: case
            .opinions
            .iter()
            .map(|opinion| Reading {
                judge: opinion.judge.clone(),
                family: opinion.family.clone(),
                log_odds: opinion.log_odds,
                standard_error: opinion.standard_error,
            })
            .collect(),
        failed: Vec::new(),
        misleading: 0,
        observed_effect: None,
        held_out_effect: None,
        exhibits: Vec::new(),
    }
    .rounded()
}

#[test]
fn versions_are_made_again_from_the_cases_and_a_forged_one_is_not() {
    let start = Start {
        pool: PoolConfig::default(),
        judges: Vec::new(),
        weights: BTreeMap::new(),
    };
    let mut chain: Vec<(String, SettledRecord)> = Vec::new();
    for (n, (_, case)) in cases(5, "kind", 0.0, 60).iter().enumerate() {
        let record = record(n, case);
        let previous = chain.last().map_or("", |(hash, _)| hash.as_str());
        // As a reader of the JSON sees it.
        let text = serde_json::to_string(&record).unwrap();
        let read: SettledRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read.chained(previous), record.chained(previous));
        chain.push((record.chained(previous), read));
    }
    let mut versions = vec![VersionRecord::shipped(&start)];
    for upto in [1, 2, 5, 30, 60] {
        let recent: Vec<SettledRecord> = chain[..upto].iter().map(|link| link.1.clone()).collect();
        let next = versions
            .last()
            .unwrap()
            .learned(&start, &recent, upto, &chain[upto - 1].0);
        let text = serde_json::to_string(&next.unwrap()).unwrap();
        versions.push(serde_json::from_str(&text).unwrap());
    }
    versions.push(versions.last().unwrap().trained("good", "00ff"));
    for (n, version) in versions.iter().enumerate() {
        let parent = n.checked_sub(1).map(|before| &versions[before]);
        version.check(&version.id(), parent, &chain).unwrap();
    }
    let last = versions[5].clone();
    assert_eq!(last.score.cases, 60);
    let mut forged = last.clone();
    forged.parameters.factors.insert("good".to_owned(), 2.0);
    let why = forged.check(&forged.id(), Some(&versions[4]), &chain);
    assert!(why.unwrap_err().contains("other parameters"));
    let mut cases = chain.clone();
    cases[10].1.pi = 1.0 - cases[10].1.pi;
    assert!(last.check(&last.id(), Some(&versions[4]), &cases).is_err());
}

#[test]
fn two_thousand_cases_are_learnt_from_at_once() {
    let cases = only_cases(&cases(17, "kind", 0.0, 2_000));
    let learnt = learn(&PoolConfig::default(), &cases, &LearnOptions::default()).unwrap();
    assert!(!learnt.calibration.unwrap().global.knots.is_empty());
}

fn arbitrary_cases() -> impl Strategy<Value = Vec<LearningCase>> {
    let opinions = proptest::collection::vec((0_usize..5, -9.0..9.0_f64, 0.0..4.0_f64), 0..5);
    let case = (opinions, 0_usize..3, 0.0..=1.0_f64, 0_usize..3).prop_map(
        |(raw, failed, settlement, kind)| {
            let said: BTreeMap<usize, (f64, f64)> = raw
                .into_iter()
                .map(|(judge, l, se)| (judge, (l, se)))
                .collect();
            let opinions = said
                .into_iter()
                .map(|(judge, (log_odds, standard_error))| Opinion {
                    judge: format!("j{judge}"),
                    family: format!("f{}", judge / 2),
                    log_odds,
                    standard_error,
                })
                .collect();
            LearningCase {
                kind: format!("k{kind}"),
                opinions,
                failed,
                settlement,
            }
        },
    );
    proptest::collection::vec(case, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_settled_the_pool_stays_sound(cases in arbitrary_cases(), votes in arbitrary_cases()) {
        let learnt = learn(&PoolConfig::default(), &cases, &LearnOptions::default()).unwrap();
        for vote in votes.iter().filter(|vote| !vote.opinions.is_empty()) {
            let n = vote.opinions.len();
            let pooled = posterior(&vote.kind, &vote.opinions, vote.failed, &learnt);
            prop_assert!((pooled.weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(pooled.weights.iter().all(|w| (0.0..=1.0).contains(w)));
            prop_assert!(pooled.n_eff >= 1.0 - 1e-6 && pooled.n_eff <= n as f64 + 1e-6);
            prop_assert!(pooled.low <= pooled.log_odds && pooled.log_odds <= pooled.high);
            prop_assert!(pooled.log_odds.abs() <= learnt.log_odds_bound + 1e-9);
            let (covariance, correlations) = error_matrices(&vote.opinions, &learnt);
            for matrix in [&covariance, &correlations] {
                for direction in [[1.0, -1.0, 0.5, -0.3, 0.9], [0.2, 0.7, -1.0, 1.0, -0.6], [1.0; 5]] {
                    let form: f64 = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)))
                        .map(|(i, j)| direction[i] * matrix[i][j] * direction[j]).sum();
                    prop_assert!(form >= -1e-6, "{matrix:?}");
                }
            }
        }
    }

    #[test]
    fn more_confident_judges_never_lower_a_calibrated_pool(cases in arbitrary_cases(), a in -6.0..6.0_f64, b in -6.0..6.0_f64) {
        let learnt = learn(&PoolConfig::default(), &cases, &LearnOptions::default()).unwrap();
        let at = |log_odds: f64| posterior("k0", &[Opinion { judge: "j0".to_owned(), family: "f0".to_owned(), log_odds, standard_error: 0.5 }], 0, &learnt).log_odds;
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(at(low) <= at(high) + 1e-9);
    }

    #[test]
    fn a_prior_worth_more_than_all_cases_is_not_moved(cases in arbitrary_cases()) {
        let stubborn = LearnOptions {
            prior_cases: 1e12,
            factor_precision: 1e12,
            calibration: CalibrationOptions {
                intercept_precision: 1e12,
                slope_precision: 1e12,
                kind_intercept_precision: 1e12,
                kind_slope_precision: 1e12,
                isotonic_cases: usize::MAX,
            },
        };
        let base = PoolConfig::default();
        let learnt = learn(&base, &cases, &stubborn).unwrap();
        for vote in cases.iter().filter(|vote| !vote.opinions.is_empty()) {
            let before = pool(&vote.opinions, vote.failed, &base);
            let after = posterior(&vote.kind, &vote.opinions, vote.failed, &learnt);
            prop_assert!((before.log_odds - after.log_odds).abs() < 1e-4);
            prop_assert!((before.standard_deviation - after.standard_deviation).abs() < 1e-4);
        }
    }
}
