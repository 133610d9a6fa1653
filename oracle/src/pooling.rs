//! The pool fitted on labelled cases: how much each judge's evidence is worth beside the others', by family of claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::claim::family_of;
use crate::error::DataError;
use crate::expert::{Calibration, Case};
use crate::features::Sparse;
use crate::lexical::OUT_OF_DOMAIN_ERROR;
use crate::linear::{logit, solve_spd};
use crate::metrics::mean;
use crate::pool::{Opinion, PoolConfig, Pooled, pool};
use crate::rows::Row;

/// Cases that the prior is worth against what was measured.
const PRIOR_CASES: f64 = 30.0;
/// Variance of a judge, and correlation of two, before anything was measured.
const PRIOR_VARIANCE: f64 = 0.5;
const PRIOR_CORRELATION: f64 = 0.3;
/// Fewest cases of a family on which a pool is fitted.
pub(crate) const LEAST_CASES: usize = 20;
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

/// What labelled cases of one family say of the judges.
///
/// ```text
/// ℓ − ℓ₀ = b · Σ c_i (ℓ_i − ℓ₀),   c = max(Σ⁻¹μ, 0)
/// ```
///
/// Σ is the covariance of the judges' evidence within outcomes, and μ by how much each tells the outcomes apart, both
/// drawn to a prior by cases; b is a slope fitted after pooling, by kind of claim. It is Fisher's discriminant, and for
/// calibrated judges of equal variance and one ρ, whose μ is their variance, it is n_eff times their mean. Taking 1 for
/// μ, as the pool does that knows of no outcomes, would take a judge that says little for one that errs little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyPool {
    /// Judges, in the order of the rest.
    pub judges: Vec<String>,
    /// Sample covariance of their evidence within outcomes, nats².
    pub covariance: Vec<Vec<f64>>,
    /// Mean evidence where the claim was true less where it was not, nats.
    pub separation: Vec<f64>,
    /// Mean squared standard error that each stated, nats²: only what one states beyond that is added to its variance.
    pub stated_variance: Vec<f64>,
    /// Labelled cases.
    pub cases: usize,
    /// Log-odds of their base rate.
    pub prior_log_odds: f64,
    /// Slope after pooling.
    pub slope: f64,
    /// Intercept after pooling, base rate included.
    pub intercept: f64,
    /// By kind of claim, what is added to the intercept and to the slope.
    pub kinds: BTreeMap<String, (f64, f64)>,
}

/// Pools fitted on labelled cases, by family of claims.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reference(pub BTreeMap<String, FamilyPool>);

impl Reference {
    /// Checks sizes and that every number is finite. Errors: [`DataError::Option`].
    pub fn validate(&self) -> Result<(), DataError> {
        if self.0.values().all(FamilyPool::is_sound) {
            Ok(())
        } else {
            Err(DataError::Option {
                name: "reference",
                reason: "is not finite and one entry for each judge",
            })
        }
    }

    /// Pools opinions on a claim of this kind; none where its family, or one of the judges, was not measured.
    /// `failed` and `config` as in [`pool`], whose interval this one's is made like.
    pub fn pool(
        &self,
        kind: &str,
        opinions: &[Opinion],
        failed: usize,
        config: &PoolConfig,
    ) -> Option<Pooled> {
        let family = self.0.get(family_of(kind))?;
        let (measured, silent): (Vec<Opinion>, Vec<Opinion>) = opinions
            .iter()
            .cloned()
            .partition(|opinion| family.judges.contains(&opinion.judge));
        // One that says that it knows nothing of this family is not missed; one that says more would be.
        if silent
            .iter()
            .any(|opinion| opinion.standard_error < OUT_OF_DOMAIN_ERROR)
        {
            return None;
        }
        let pooled = family.pooled(kind, &measured, failed, config)?;
        let mut weights = pooled.weights.iter().copied();
        let known = |opinion: &Opinion| family.judges.contains(&opinion.judge);
        Some(Pooled {
            weights: opinions
                .iter()
                .map(|opinion| match known(opinion) {
                    true => weights.next().unwrap_or(0.0),
                    false => 0.0,
                })
                .collect(),
            ..pooled
        })
    }
}

impl FamilyPool {
    /// Pools opinions of judges that were measured, on a claim of a kind of this family.
    fn pooled(
        &self,
        kind: &str,
        opinions: &[Opinion],
        failed: usize,
        config: &PoolConfig,
    ) -> Option<Pooled> {
        let bound = config.log_odds_bound;
        let evidence: Vec<f64> = opinions
            .iter()
            .map(|opinion| (opinion.log_odds - config.base_log_odds).clamp(-bound, bound))
            .collect();
        let coefficients = self.coefficients(opinions)?;
        let slope = self.slope + self.kinds.get(kind).map_or(0.0, |(_, slope)| *slope);
        let total: f64 = coefficients.iter().sum();
        let weights: Vec<f64> = coefficients.iter().map(|c| c / total).collect();
        let pairs = || weights.iter().zip(&evidence);
        let mean: f64 = pairs().map(|(w, e)| w * e).sum();
        let disagreement: f64 = pairs().map(|(w, e)| w * (e - mean).powi(2)).sum();
        let stated: f64 = weights
            .iter()
            .zip(opinions)
            .map(|(w, opinion)| w * opinion.standard_error.powi(2))
            .sum();
        let failures = config.failure_variance * failed as f64 / (failed + opinions.len()) as f64;
        let shift = (slope.max(0.0) * total * mean).clamp(-bound, bound);
        let standard_deviation = (stated + disagreement + failures).sqrt();
        let log_odds = config.base_log_odds + shift;
        let half = config.interval_z * standard_deviation;
        Some(Pooled {
            log_odds,
            standard_deviation,
            low: log_odds - half,
            high: log_odds + half,
            n_eff: self.effective(opinions, &weights)?,
            weights,
        })
    }

    fn is_sound(&self) -> bool {
        let n = self.judges.len();
        let rows = self.covariance.iter();
        let whole = |values: &[f64]| values.len() == n && values.iter().all(|v| v.is_finite());
        let numbers = [self.prior_log_odds, self.slope, self.intercept];
        n > 0
            && self.covariance.len() == n
            && rows.clone().all(|row| whole(row))
            && whole(&self.separation)
            && whole(&self.stated_variance)
            && numbers.iter().all(|number| number.is_finite())
            && self
                .kinds
                .values()
                .all(|(a, b)| a.is_finite() && b.is_finite())
    }

    /// Where each opinion's judge stands; none if one was not measured, or there is no opinion.
    fn places(&self, opinions: &[Opinion]) -> Option<Vec<usize>> {
        let place = |opinion: &Opinion| self.judges.iter().position(|name| *name == opinion.judge);
        let places: Option<Vec<usize>> = opinions.iter().map(place).collect();
        places.filter(|places| !places.is_empty())
    }

    /// λ·prior + (1−λ)·sample, λ = n₀/(n₀ + n).
    fn shrunk(&self, prior: f64, sample: f64) -> f64 {
        let lambda = PRIOR_CASES / (PRIOR_CASES + self.cases as f64);
        lambda * prior + (1.0 - lambda) * sample
    }

    fn correlation(&self, i: usize, j: usize) -> f64 {
        if i == j {
            return 1.0;
        }
        let scale = (self.covariance[i][i] * self.covariance[j][j]).sqrt();
        let sample = if scale > 0.0 {
            self.covariance[i][j] / scale
        } else {
            PRIOR_CORRELATION
        };
        self.shrunk(PRIOR_CORRELATION, sample).clamp(0.0, 0.98)
    }

    /// c, one for each opinion, not all 0.
    fn coefficients(&self, opinions: &[Opinion]) -> Option<Vec<f64>> {
        let places = self.places(opinions)?;
        let deviation = |i: usize| {
            self.shrunk(PRIOR_VARIANCE, self.covariance[i][i].max(0.0))
                .sqrt()
        };
        let covariance: Vec<Vec<f64>> = places
            .iter()
            .zip(opinions)
            .map(|(i, opinion)| {
                let excess = opinion.standard_error.powi(2) - self.stated_variance[*i];
                let row = places.iter().map(|j| {
                    let common = self.correlation(*i, *j) * deviation(*i) * deviation(*j);
                    let own = if i == j { excess.max(0.0) + 1e-6 } else { 0.0 };
                    common + own
                });
                row.collect()
            })
            .collect();
        let toward: Vec<f64> = places
            .iter()
            .map(|i| self.shrunk(PRIOR_VARIANCE, self.separation[*i].max(0.0)))
            .collect();
        let solution = solve_spd(&covariance, &toward)?;
        let clipped: Vec<f64> = solution.iter().map(|c| c.max(0.0)).collect();
        let total: f64 = clipped.iter().sum();
        (total.is_finite() && total > 0.0).then_some(clipped)
    }

    /// n_eff = 1/(wᵀRw).
    fn effective(&self, opinions: &[Opinion], weights: &[f64]) -> Option<f64> {
        let places = self.places(opinions)?;
        let pairs = places.iter().zip(weights);
        let sum: f64 = pairs
            .clone()
            .flat_map(|(i, a)| {
                pairs
                    .clone()
                    .map(move |(j, b)| a * b * self.correlation(*i, *j))
            })
            .sum();
        Some(1.0 / sum.max(1e-9))
    }

    /// Σ c_i e_i of the evidence that is there, `stated` being everybody's error.
    fn shift(&self, evidence: &[Option<f64>], errors: &[f64]) -> f64 {
        let opinions: Vec<Opinion> = self
            .judges
            .iter()
            .zip(evidence.iter().zip(errors))
            .filter_map(|(judge, (evidence, error))| {
                Some(Opinion {
                    judge: judge.clone(),
                    family: String::new(),
                    log_odds: (*evidence)?,
                    standard_error: *error,
                })
            })
            .collect();
        let coefficients = self.coefficients(&opinions).unwrap_or_default();
        let pairs = coefficients.iter().zip(&opinions);
        pairs.map(|(c, opinion)| c * opinion.log_odds).sum()
    }
}

/// A pool fitted for each family of claims that has cases enough, and for the others the pool of strangers.
#[derive(Debug, Clone)]
pub(crate) struct Pooling {
    judges: Vec<(String, String)>,
    pub(crate) reference: Reference,
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
            reference: Reference(families.collect()),
        }
    }

    /// ℓ of a case of this kind, from one view for each judge.
    pub(crate) fn log_odds(&self, views: &[PoolView], kind: &str) -> f64 {
        if let Some(family) = self.reference.0.get(family_of(kind)) {
            let pairs = || self.judges.iter().zip(views);
            let measured = || pairs().filter(|((name, _), _)| family.judges.contains(name));
            let evidence: Vec<_> = measured().map(|(_, view)| Some(view.evidence)).collect();
            let errors: Vec<f64> = measured().map(|(_, view)| view.standard_error).collect();
            let (a, b) = family.kinds.get(kind).copied().unwrap_or_default();
            let shift = family.shift(&evidence, &errors);
            return family.intercept + a + (family.slope + b) * shift;
        }
        let opinions: Vec<Opinion> = self
            .judges
            .iter()
            .zip(views)
            .map(|((judge, family), view)| Opinion {
                judge: judge.clone(),
                family: family.clone(),
                log_odds: view.evidence,
                standard_error: view.standard_error,
            })
            .collect();
        let prior = mean(views.iter().map(|view| view.prior_log_odds));
        prior + pool(&opinions, 0, &PoolConfig::default()).log_odds
    }
}

fn fit_family(
    judges: &[(String, String)],
    cases: &[Seen<'_>],
    stated: &[f64],
) -> Option<FamilyPool> {
    // A judge that knows nothing of the family has no part in its pool.
    let speaks = |judge: &usize| {
        let said = cases.iter().filter(|case| case.evidence[*judge].is_some());
        said.count() >= LEAST_CASES
    };
    let speaking: Vec<usize> = (0..judges.len()).filter(speaks).collect();
    let judges: Vec<(String, String)> = speaking.iter().map(|i| judges[*i].clone()).collect();
    let stated: Vec<f64> = speaking.iter().map(|i| stated[*i]).collect();
    let cases: Vec<Seen<'_>> = cases
        .iter()
        .map(|case| Seen {
            row: case.row,
            evidence: speaking.iter().map(|i| case.evidence[*i]).collect(),
            weight: case.weight,
        })
        .collect();
    let (judges, cases, stated) = (&judges[..], &cases[..], &stated[..]);
    // Calibrated on the cases that all judges have judged: with some of them missing the sum means another thing.
    let whole: Vec<&Seen<'_>> = cases
        .iter()
        .filter(|case| case.evidence.iter().all(Option::is_some))
        .collect();
    if whole.len() < LEAST_CASES || judges.is_empty() {
        return None;
    }
    let mut fitted = measure(judges, cases, stated);
    let errors: Vec<f64> = stated.iter().map(|variance| variance.sqrt()).collect();
    let scores: Vec<f64> = whole
        .iter()
        .map(|case| fitted.shift(&case.evidence, &errors))
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
    let prior = [
        (fitted.prior_log_odds, INTERCEPT_PRECISION),
        (1.0, SLOPE_PRECISION),
    ];
    let calibration = Calibration::fit_about(prior, &scores, &labelled, KIND_PRECISION);
    fitted.intercept = calibration.intercept;
    fitted.slope = calibration.slope;
    fitted.kinds = calibration.kinds;
    Some(fitted)
}

/// Separation and covariance within outcomes, each from the cases in which the judges concerned judged; a label that
/// is a share of raters counts in part on either side.
fn measure(judges: &[(String, String)], cases: &[Seen<'_>], stated: &[f64]) -> FamilyPool {
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
            covariance[i][j] = sum / f64::max(weights, 1e-9);
            covariance[j][i] = covariance[i][j];
        }
    }
    let base = mean(cases.iter().map(|case| case.row.label)).clamp(1e-3, 1.0 - 1e-3);
    FamilyPool {
        judges: judges.iter().map(|(name, _)| name.clone()).collect(),
        covariance,
        separation: means.iter().map(|[no, yes]| yes - no).collect(),
        stated_variance: stated.to_vec(),
        cases: cases.len(),
        prior_log_odds: logit(base),
        slope: 1.0,
        intercept: logit(base),
        kinds: BTreeMap::new(),
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
        let family = &pooling.reference.0["k"];
        assert!(family.separation[0] > 1.8 && family.separation[2] < 0.1);
        assert!(pooling.reference.validate().is_ok());
        // The pool of a live ensemble is the same but for the base rate, and knows nothing of other families.
        let opinions: Vec<Opinion> = [2.0, 2.0, 0.0]
            .iter()
            .zip(&judges)
            .map(|(log_odds, (name, family))| Opinion {
                judge: name.clone(),
                family: family.clone(),
                log_odds: *log_odds,
                standard_error: 0.6_f64.sqrt(),
            })
            .collect();
        let config = PoolConfig::default();
        let live = pooling.reference.pool("k", &opinions, 0, &config);
        assert!(live.is_some_and(|live| (live.log_odds - said).abs() < 0.2));
        assert_eq!(pooling.reference.pool("other", &opinions, 0, &config), None);
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
