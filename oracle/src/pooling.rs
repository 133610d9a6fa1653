//! Fitting the pool: how much each judge's evidence is worth beside the others', and how far their sum is to be trusted.

use std::collections::BTreeMap;

use crate::claim::family_of;
use crate::expert::{Calibration, Case};
use crate::features::Sparse;
use crate::linear::logit;
use crate::metrics::mean;
use crate::pool::{ErrorStatistics, Opinion, PoolConfig, pool};
use crate::rows::Row;

/// Cases that the prior is worth against the measured errors.
const PRIOR_CASES: f64 = 30.0;
/// Fewest cases of a family on which a pool is fitted.
const LEAST_CASES: usize = 20;
/// Precisions of the calibration's intercept about the base rate and of its slope about 1.
const INTERCEPT_PRECISION: f64 = 10.0;
const SLOPE_PRECISION: f64 = 20.0;
/// Precision of the prior that a kind of claim is calibrated as its family is.
const KIND_PRECISION: f64 = 20.0;

/// What a judge says of one case, as a pool that is being fitted sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PoolView {
    /// ℓ − prior, nats.
    pub(crate) evidence: f64,
    /// Log-odds of the base rate that the judge knows, nats.
    pub(crate) prior_log_odds: f64,
    /// Its standard error, nats.
    pub(crate) standard_error: f64,
}

/// A pool fitted for each family of claims that has cases enough.
#[derive(Debug, Clone)]
pub(crate) struct Pooling {
    judges: Vec<(String, String)>,
    families: BTreeMap<String, (PoolConfig, Calibration)>,
}

/// One case of a family.
struct Seen<'a> {
    row: &'a Row,
    evidence: Vec<Option<f64>>,
    weight: f64,
}

impl Pooling {
    /// Fits pools of `judges`, (name, family) each, on what they say of labelled rows that they had not seen:
    /// `unseen[judge][row]`, evidence in nats. `stated` is each judge's mean squared standard error there.
    pub(crate) fn fit(
        judges: &[(String, String)],
        rows: &[&Row],
        unseen: &[&[Option<f64>]],
        stated: &[f64],
    ) -> Self {
        let mut by_family: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for row in rows {
            *sizes.entry(&row.group).or_default() += 1;
        }
        for (at, row) in rows.iter().enumerate() {
            let members = by_family.entry(family_of(&row.claim_type)).or_default();
            members.push(Seen {
                row,
                evidence: unseen.iter().map(|judge| judge[at]).collect(),
                weight: crate::train::group_weight(sizes[row.group.as_str()]),
            });
        }
        let families = by_family.into_iter().filter_map(|(family, cases)| {
            let fitted = fit_family(judges, &cases, stated)?;
            Some((family.to_owned(), fitted))
        });
        Self {
            judges: judges.to_vec(),
            families: families.collect(),
        }
    }

    /// Statistics by family.
    pub(crate) fn statistics(&self) -> BTreeMap<String, ErrorStatistics> {
        let families = self.families.iter();
        families
            .filter_map(|(family, (config, _))| Some((family.clone(), config.statistics.clone()?)))
            .collect()
    }

    /// ℓ of a case of this kind, from one view for each judge.
    pub(crate) fn log_odds(&self, views: &[PoolView], kind: &str) -> f64 {
        match self.families.get(family_of(kind)) {
            Some((config, calibration)) => {
                let evidence: Vec<_> = views.iter().map(|view| Some(view.evidence)).collect();
                let errors: Vec<f64> = views.iter().map(|view| view.standard_error).collect();
                calibration.log_odds(shift(&self.judges, &evidence, &errors, config), kind)
            }
            None => {
                let evidence: Vec<_> = views.iter().map(|view| Some(view.evidence)).collect();
                let errors: Vec<f64> = views.iter().map(|view| view.standard_error).collect();
                let prior = mean(views.iter().map(|view| view.prior_log_odds));
                prior + shift(&self.judges, &evidence, &errors, &PoolConfig::default())
            }
        }
    }
}

/// What the pool makes of the evidence that is there.
fn shift(
    judges: &[(String, String)],
    evidence: &[Option<f64>],
    errors: &[f64],
    config: &PoolConfig,
) -> f64 {
    let opinions: Vec<Opinion> = judges
        .iter()
        .zip(evidence.iter().zip(errors))
        .filter_map(|((judge, family), (evidence, error))| {
            Some(Opinion {
                judge: judge.clone(),
                family: family.clone(),
                log_odds: (*evidence)?,
                standard_error: *error,
            })
        })
        .collect();
    pool(&opinions, 0, config).log_odds
}

fn fit_family(
    judges: &[(String, String)],
    cases: &[Seen<'_>],
    stated: &[f64],
) -> Option<(PoolConfig, Calibration)> {
    let complete = |case: &&Seen<'_>| case.evidence.iter().all(Option::is_some);
    if cases.iter().filter(complete).count() < LEAST_CASES {
        return None;
    }
    let statistics = measure(judges, cases, stated);
    let config = PoolConfig {
        statistics: Some(statistics),
        ..PoolConfig::default()
    };
    // Calibrated on the cases that all judges have judged: with some of them missing the sum means another thing.
    let whole: Vec<&Seen<'_>> = cases.iter().filter(complete).collect();
    let scores: Vec<f64> = whole
        .iter()
        .map(|case| {
            let errors: Vec<f64> = stated.iter().map(|variance| variance.sqrt()).collect();
            shift(judges, &case.evidence, &errors, &config)
        })
        .collect();
    let nothing = Sparse::default();
    let labelled: Vec<Case<'_>> = whole
        .iter()
        .map(|case| Case {
            vector: &nothing,
            kind: &case.row.claim_type,
            group: &case.row.group,
            label: case.row.label,
            weight: case.weight,
        })
        .collect();
    let base = logit(mean(cases.iter().map(|case| case.row.label)).clamp(1e-3, 1.0 - 1e-3));
    let prior = [(base, INTERCEPT_PRECISION), (1.0, SLOPE_PRECISION)];
    let calibration = Calibration::fit_about(prior, &scores, &labelled, KIND_PRECISION);
    Some((config, calibration))
}

/// Separation and covariance within outcomes, each from the cases in which the judges concerned judged; a label that
/// is a share of raters counts in part on either side.
fn measure(judges: &[(String, String)], cases: &[Seen<'_>], stated: &[f64]) -> ErrorStatistics {
    let n = judges.len();
    let means: Vec<[f64; 2]> = (0..n).map(|judge| outcome_means(cases, judge)).collect();
    let mut covariance = vec![vec![0.0; n]; n];
    for i in 0..n {
        for j in 0..=i {
            let (mut sum, mut weights) = (0.0, 0.0);
            for case in cases {
                let (Some(a), Some(b)) = (case.evidence[i], case.evidence[j]) else {
                    continue;
                };
                for (side, share) in [(1, case.row.label), (0, 1.0 - case.row.label)] {
                    let weight = case.weight * share;
                    sum += weight * (a - means[i][side]) * (b - means[j][side]);
                    weights += weight;
                }
            }
            covariance[i][j] = sum / weights.max(1e-9);
            covariance[j][i] = covariance[i][j];
        }
    }
    ErrorStatistics {
        judges: judges.iter().map(|(name, _)| name.clone()).collect(),
        covariance,
        cases: cases.len(),
        prior_cases: PRIOR_CASES,
        separation: means.iter().map(|[no, yes]| yes - no).collect(),
        stated_variance: stated.to_vec(),
    }
}

/// Mean evidence of a judge where the claim was not true, and where it was.
fn outcome_means(cases: &[Seen<'_>], judge: usize) -> [f64; 2] {
    let mut sums = [(0.0, 0.0); 2];
    for case in cases {
        let Some(evidence) = case.evidence[judge] else {
            continue;
        };
        for (side, share) in [(1, case.row.label), (0, 1.0 - case.row.label)] {
            let weight = case.weight * share;
            sums[side].0 += weight * evidence;
            sums[side].1 += weight;
        }
    }
    sums.map(|(sum, weight): (f64, f64)| sum / f64::max(weight, 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labelled rows, and three judges: a good one, the same again with a little noise, and one that says nothing much.
    fn made() -> (Vec<Row>, Vec<Vec<Option<f64>>>) {
        let mut state = 7_u64;
        let mut noise = || {
            let mut sum = 0.0;
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                sum += (state >> 11) as f64 / (1_u64 << 53) as f64;
            }
            sum - 6.0
        };
        let mut rows = Vec::new();
        let mut views = vec![Vec::new(); 3];
        for i in 0..600 {
            let label = f64::from(i % 2);
            let side = 2.0 * label - 1.0;
            let good = side + 1.4 * noise();
            views[0].push(Some(good));
            views[1].push((i % 3 > 0).then_some(good + 0.3 * noise()));
            views[2].push(Some(0.005 * side + 0.1 * noise()));
            rows.push(Row {
                id: format!("{i}"),
                claim_type: "k".to_owned(),
                prompt: String::new(),
                response: String::new(),
                label,
                group: format!("{i}"),
            });
        }
        (rows, views)
    }

    #[test]
    fn a_judge_that_says_little_is_not_taken_for_one_that_errs_little() {
        let (rows, views) = made();
        let rows: Vec<&Row> = rows.iter().collect();
        let judges = ["a", "b", "c"].map(|name| (name.to_owned(), name.to_owned()));
        let unseen: Vec<&[Option<f64>]> = views.iter().map(Vec::as_slice).collect();
        let pooling = Pooling::fit(&judges, &rows, &unseen, &[0.6; 3]);
        let view = |evidence| PoolView {
            evidence,
            prior_log_odds: 0.0,
            standard_error: 0.6_f64.sqrt(),
        };
        let ask = |evidence: [f64; 3]| pooling.log_odds(&evidence.map(view), "k");
        let said = ask([2.0, 2.0, 0.0]);
        // Two that say the same are one: twice the evidence would be 4.
        assert!((1.4..2.6).contains(&said), "{said}");
        assert!((ask([2.0, 2.0, 0.1]) - said).abs() < 0.3);
        assert!((ask([-2.0, -2.0, 0.0]) + said).abs() < 0.5);
        let statistics = &pooling.statistics()["k"];
        assert!(statistics.separation[0] > 1.8 && statistics.separation[2] < 0.1);
        // A judge far out of its domain is hardly heard.
        let mut views = [-3.0, 2.0, 0.0].map(view);
        views[0].standard_error = 4.0;
        assert!(pooling.log_odds(&views, "k") > 0.8);
    }

    #[test]
    fn without_cases_it_is_the_pool_of_strangers() {
        let judges = [("a".to_owned(), "a".to_owned())];
        let pooling = Pooling::fit(&judges, &[], &[&[]], &[1.0]);
        let view = PoolView {
            evidence: 0.4,
            prior_log_odds: -0.1,
            standard_error: 2.5,
        };
        assert!((pooling.log_odds(&[view], "k") - 0.3).abs() < 1e-9);
    }
}
