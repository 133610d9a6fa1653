//! Fitting a judge's heads: an expert for each family of claims, and what carries over to families never seen.

use std::collections::BTreeMap;

use crate::claim::family_of;
use crate::domain::Domain;
use crate::error::DataError;
use crate::expert::{Calibration, Case, Expert, ExpertOptions, choose_cost, fit_weights};
use crate::linear::sigmoid;
use crate::logistic::{dot, fit_dense, inner};
use crate::metrics::{log_loss, mean_log_odds};
use crate::reader::{Features, Widths};
use crate::rows::{Row, fold_of};
use crate::weights::{Cold, Family, ReaderHead, Reading, Space, Weights, gate};

/// Fewest cases of a family that make an expert worth having when others of its size would have served.
const LEAST_CASES: usize = 40;
/// Folds over which the usual share of new words is measured.
const DOMAIN_FOLDS: usize = 5;
/// Slopes tried for families never seen.
const COLD_SLOPES: [f64; 12] = [
    0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
];
/// Log loss that transfer may cost any one held-out family, nats per case.
const COLD_HARM: f64 = 0.001;

/// How the lexical judge is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// log₂ of the buckets of each hashed table, 8..=24; a table takes 2^bits bytes of the file.
    pub bits: u32,
    /// Values of C (weight of the likelihood against ½‖w‖²) tried by cross-validation; each > 0, at least one.
    pub costs: Vec<f64>,
    /// The same for heads on a model's features, whose columns are brought to one scale.
    pub head_costs: Vec<f64>,
    /// Folds, grouped, within the training rows, on which calibration is fitted; ≥ 2.
    pub inner_folds: usize,
    /// Most passes of the solver; ≥ 1.
    pub epochs: usize,
    /// Precision of the prior that a kind of claim is calibrated as its family is; larger shrinks more; > 0.
    pub kind_precision: f64,
    /// Cases of each family used for what carries over to other families.
    pub cold_cases: usize,
    /// C of what carries over.
    pub cold_cost: f64,
    /// Seed of folds and of the solver's order.
    pub seed: u64,
    /// Attribution kept in the weights: data sets, authors, sources, licences.
    pub attribution: String,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            bits: 18,
            costs: vec![0.3, 1.0, 3.0],
            head_costs: vec![0.1, 0.3, 1.0, 3.0],
            inner_folds: 5,
            epochs: 30,
            kind_precision: 20.0,
            cold_cases: 1500,
            cold_cost: 0.3,
            seed: 1,
            attribution: String::new(),
        }
    }
}

impl TrainOptions {
    pub(crate) fn validate(&self) -> Result<(), DataError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let checks = [
            ("bits", (8..=24).contains(&self.bits), "is not in 8..=24"),
            (
                "costs",
                !self.costs.is_empty() && self.costs.iter().all(|c| positive(*c)),
                "is empty or has a value that is not > 0",
            ),
            (
                "head_costs",
                !self.head_costs.is_empty() && self.head_costs.iter().all(|c| positive(*c)),
                "is empty or has a value that is not > 0",
            ),
            ("inner_folds", self.inner_folds >= 2, "is not at least 2"),
            ("epochs", self.epochs >= 1, "is not at least 1"),
            (
                "kind_precision",
                positive(self.kind_precision),
                "is not > 0",
            ),
            ("cold_cost", positive(self.cold_cost), "is not > 0"),
        ];
        for (name, holds, reason) in checks {
            if !holds {
                return Err(DataError::Option { name, reason });
            }
        }
        Ok(())
    }

    pub(crate) fn hashed(&self) -> Space {
        Space::Hashed { bits: self.bits }
    }

    pub(crate) fn expert(&self, space: &Space) -> ExpertOptions {
        ExpertOptions {
            costs: match space {
                Space::Hashed { .. } => self.costs.clone(),
                Space::Dense(_) => self.head_costs.clone(),
            },
            inner_folds: self.inner_folds,
            epochs: self.epochs,
            seed: self.seed,
            kind_precision: self.kind_precision,
        }
    }
}

/// A row with everything read from it, so that folds do not read it again.
#[derive(Debug, Clone)]
pub(crate) struct Prepared<'a> {
    pub(crate) row: &'a Row,
    pub(crate) reading: Reading,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(row: &'a Row, bits: u32) -> Self {
        Self {
            row,
            reading: Reading::new(&row.claim_type, &row.prompt, &row.response, bits),
        }
    }

    /// A row that a model has read.
    pub(crate) fn of(row: &'a Row, features: &Features) -> Self {
        Self {
            row,
            reading: Reading::of(&row.passage(), features),
        }
    }

    fn full_case(&self) -> Case<'_> {
        Case {
            vector: &self.reading.full,
            kind: &self.row.claim_type,
            group: &self.row.group,
            label: self.row.label,
            weight: 1.0,
        }
    }
}

/// Fits the lexical judge on labelled rows.
///
/// Every family with at least 40 cases gets an expert: L2-regularised logistic regression, calibrated on grouped inner
/// folds. With two families or more, what carries over to a family never seen is fitted too.
/// Errors: [`DataError::Option`] for an option outside its domain, [`DataError::TooFew`] when no family has enough cases.
pub fn train(rows: &[Row], options: &TrainOptions) -> Result<Weights, DataError> {
    options.validate()?;
    let prepared: Vec<Prepared<'_>> = rows
        .iter()
        .map(|row| Prepared::new(row, options.bits))
        .collect();
    let all: Vec<&Prepared<'_>> = prepared.iter().collect();
    train_prepared(&all, &options.hashed(), options).map(|fitted| fitted.weights)
}

/// The model that a head is fitted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderIdentity {
    /// [`crate::Reader::name`].
    pub name: String,
    /// [`crate::Reader::version`].
    pub version: String,
    /// [`crate::Reader::widths`].
    pub widths: Widths,
}

impl ReaderIdentity {
    /// The identity of a reader.
    pub fn of(reader: &dyn crate::Reader) -> Self {
        Self {
            name: reader.name().to_owned(),
            version: reader.version(),
            widths: reader.widths(),
        }
    }

    /// Whether features have the reader's widths and are finite.
    pub fn fits(&self, features: &Features) -> bool {
        self.widths.fit(features)
    }

    pub(crate) fn space(&self) -> Space {
        Space::Dense(ReaderHead {
            name: self.name.clone(),
            version: self.version.clone(),
            widths: self.widths,
        })
    }
}

/// Fits heads on what a model made of labelled rows, `features[i]` of `rows[i]`, as [`train`] fits the lexical judge.
///
/// Errors: as [`train`], and [`DataError::Option`] when features are missing or not of the reader's widths.
pub fn train_heads(
    rows: &[Row],
    features: &[Features],
    reader: &ReaderIdentity,
    options: &TrainOptions,
) -> Result<Weights, DataError> {
    options.validate()?;
    let prepared = prepare_heads(rows, features, reader)?;
    let all: Vec<&Prepared<'_>> = prepared.iter().collect();
    train_prepared(&all, &reader.space(), options).map(|fitted| fitted.weights)
}

pub(crate) fn prepare_heads<'a>(
    rows: &'a [Row],
    features: &[Features],
    reader: &ReaderIdentity,
) -> Result<Vec<Prepared<'a>>, DataError> {
    let fit = |features: &Features| reader.widths.fit(features);
    if rows.len() != features.len() || !features.iter().all(fit) {
        return Err(DataError::Option {
            name: "features",
            reason: "is not one of the reader's widths for each row",
        });
    }
    let pairs = rows.iter().zip(features);
    Ok(pairs.map(|(row, read)| Prepared::of(row, read)).collect())
}

/// Weights, and what they would have said of the rows they were fitted on had they not seen them.
#[derive(Debug, Clone)]
pub(crate) struct Fitted {
    pub(crate) weights: Weights,
    /// Log-odds by row, from inner folds; none where the family has no expert.
    pub(crate) unseen: Vec<Option<f64>>,
}

/// Rows by family, with where they stand among all.
type ByFamily<'a, 'b> = BTreeMap<&'b str, Vec<(usize, &'a Prepared<'b>)>>;

fn by_family<'a, 'b>(rows: &[&'a Prepared<'b>]) -> ByFamily<'a, 'b> {
    let mut families = ByFamily::new();
    for (at, row) in rows.iter().enumerate() {
        let members = families.entry(family_of(&row.row.claim_type)).or_default();
        members.push((at, *row));
    }
    families
}

pub(crate) fn train_prepared(
    rows: &[&Prepared<'_>],
    space: &Space,
    options: &TrainOptions,
) -> Result<Fitted, DataError> {
    let by_family = by_family(rows);
    let mut families = BTreeMap::new();
    let mut unseen = vec![None; rows.len()];
    for (name, members) in &by_family {
        if members.len() >= LEAST_CASES {
            let own: Vec<&Prepared<'_>> = members.iter().map(|(_, row)| *row).collect();
            match fit_family(name, &own, space, options) {
                Ok((family, log_odds)) => {
                    families.insert((*name).to_owned(), family);
                    for ((at, _), log_odds) in members.iter().zip(log_odds) {
                        unseen[*at] = Some(log_odds);
                    }
                }
                // A family whose labels are all alike teaches nothing; its claims stay at the base rate.
                Err(DataError::OneClass(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    if families.is_empty() {
        return Err(DataError::TooFew {
            what: "labelled rows of one family, of both outcomes",
            have: by_family.values().map(Vec::len).max().unwrap_or(0),
            need: LEAST_CASES,
        });
    }
    let weights = Weights {
        space: space.clone(),
        families,
        cold: fit_cold(&by_family, space, options),
        attribution: options.attribution.clone(),
    };
    Ok(Fitted { weights, unseen })
}

/// What carries over alone, without experts.
pub(crate) fn train_cold(rows: &[&Prepared<'_>], space: &Space, options: &TrainOptions) -> Weights {
    Weights {
        space: space.clone(),
        families: BTreeMap::new(),
        cold: fit_cold(&by_family(rows), space, options),
        attribution: options.attribution.clone(),
    }
}

fn fit_family(
    name: &str,
    members: &[&Prepared<'_>],
    space: &Space,
    options: &TrainOptions,
) -> Result<(Family, Vec<f64>), DataError> {
    let cases: Vec<Case<'_>> = members.iter().map(|row| row.full_case()).collect();
    let (expert, unseen) = Expert::fit(name, &cases, &space.full(), &options.expert(space))?;
    let family = Family {
        table: space.table(expert.weights),
        domain: fit_domain(members, options.seed),
        calibration: expert.calibration,
        cold_coefficient: 0.0,
        prior_log_odds: prior_log_odds(&cases),
        cases: u32::try_from(cases.len()).unwrap_or(u32::MAX),
    };
    Ok((family, unseen))
}

fn prior_log_odds(cases: &[Case<'_>]) -> f64 {
    let labels: Vec<f64> = cases.iter().map(|case| case.label).collect();
    mean_log_odds(&labels)
}

fn fit_domain(members: &[&Prepared<'_>], seed: u64) -> Domain {
    let texts: Vec<(&[u64], usize)> = members
        .iter()
        .map(|row| {
            let fold = fold_of(&row.row.group, seed, DOMAIN_FOLDS);
            (row.reading.words.as_slice(), fold)
        })
        .collect();
    Domain::fit(&texts, DOMAIN_FOLDS)
}

/// What carries over: one model over all families, each family and each outcome weighing the same.
///
/// Its slope is chosen on families held out whole: of the slopes that cost no held-out family more than
/// [`COLD_HARM`], the one with the least mean log loss. 0, "I do not know", is always among them.
fn fit_cold(by_family: &ByFamily<'_, '_>, space: &Space, options: &TrainOptions) -> Cold {
    if let Space::Dense(_) = space {
        // Measured: a direction fitted on some families carries over to others worse than words do, and was above the
        // base rate's Brier score on one set in six. Heads know nothing of a family that they were not fitted on.
        return Cold::silent(space);
    }
    let mut members: Vec<(usize, &Prepared<'_>)> = Vec::new();
    for (family, rows) in by_family.values().enumerate() {
        let kept = rows.iter().filter(|(_, row)| {
            rows.len() <= options.cold_cases
                || fold_of(&row.row.group, options.seed, rows.len()) < options.cold_cases
        });
        members.extend(kept.map(|(_, row)| (family, *row)));
    }
    if by_family.len() < 2 {
        return Cold::default();
    }
    let cases = balanced_cases(&members, by_family.len());
    let columns = space.shared();
    let fit = |chosen: &[usize]| {
        fit_weights(
            &cases,
            chosen,
            &columns,
            options.cold_cost,
            &options.expert(space),
        )
    };
    let mut losses = vec![[0.0; COLD_SLOPES.len()]; by_family.len()];
    for (held_out, loss) in losses.iter_mut().enumerate() {
        let (test, train): (Vec<usize>, Vec<usize>) =
            (0..members.len()).partition(|i| members[*i].0 == held_out);
        let weights = fit(&train);
        let labels: Vec<f64> = test.iter().map(|i| cases[*i].label).collect();
        let scores: Vec<f64> = test
            .iter()
            .map(|i| gate(members[*i].1.reading.words.len()) * dot(&weights, cases[*i].vector))
            .collect();
        for (slot, slope) in loss.iter_mut().zip(COLD_SLOPES) {
            let p: Vec<f64> = scores.iter().map(|score| sigmoid(slope * score)).collect();
            *slot = log_loss(&p, &labels);
        }
    }
    let all: Vec<usize> = (0..members.len()).collect();
    let rows: Vec<&Prepared<'_>> = members.iter().map(|(_, row)| *row).collect();
    Cold {
        table: space.table(fit(&all)),
        domain: fit_domain(&rows, options.seed),
        slope: harmless_slope(&losses),
    }
}

fn balanced_cases<'a>(members: &[(usize, &'a Prepared<'a>)], families: usize) -> Vec<Case<'a>> {
    let mut totals = vec![(0.0, 0.0); families];
    for (family, row) in members {
        totals[*family].0 += row.row.label;
        totals[*family].1 += 1.0 - row.row.label;
    }
    let share = members.len() as f64 / families as f64 / 2.0;
    members
        .iter()
        .map(|(family, row)| {
            let (positive, negative) = totals[*family];
            let y = row.row.label;
            Case {
                vector: &row.reading.shared,
                kind: "",
                group: &row.row.group,
                label: y,
                weight: share * (y / f64::max(positive, 1.0) + (1.0 - y) / f64::max(negative, 1.0)),
            }
        })
        .collect()
}

fn harmless_slope(losses: &[[f64; COLD_SLOPES.len()]]) -> f64 {
    let mut best = (0.0, 0.0);
    for (at, slope) in COLD_SLOPES.iter().enumerate() {
        let gains: Vec<f64> = losses.iter().map(|loss| loss[0] - loss[at]).collect();
        let mean = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
        if gains.iter().all(|gain| *gain >= -COLD_HARM) && mean > best.0 {
            best = (mean, *slope);
        }
    }
    best.1
}

/// What one of `size` cases of a group counts in a recalibration: cases that share a prompt say less together than as
/// many that do not. Four count whole; beyond, the group counts as √(4·size).
pub(crate) fn group_weight(size: usize) -> f64 {
    (4.0 / size.max(1) as f64).min(1.0).sqrt()
}

impl Weights {
    /// The same weights with one more family, fitted on its first few settled cases.
    ///
    /// ```text
    /// ℓ = a + b·s + c·x      s: an expert fitted on these cases (scored out of fold),   x: what carries over
    /// ```
    ///
    /// a, b and c have normal priors (means 0, 0 and the slope for strangers; precisions 10, 2 and 20), so that a handful
    /// of cases recalibrates and a thousand make an expert. An expert for the family that is already there is replaced.
    /// Errors: [`DataError::TooFew`] below 10 cases or 4 groups, [`DataError::OneClass`] when all labels are alike.
    pub fn adapt(
        &self,
        family: &str,
        rows: &[Row],
        options: &TrainOptions,
    ) -> Result<Self, DataError> {
        options.validate()?;
        let Space::Hashed { bits } = self.space else {
            return Err(DataError::Option {
                name: "weights",
                reason: "is of heads on a model's features, which rows alone do not have",
            });
        };
        let prepared: Vec<Prepared<'_>> = rows.iter().map(|row| Prepared::new(row, bits)).collect();
        let members: Vec<&Prepared<'_>> = prepared.iter().collect();
        let fitted = self.adapt_prepared(family, &members, options)?;
        Ok(fitted.weights)
    }

    pub(crate) fn adapt_prepared(
        &self,
        family: &str,
        members: &[&Prepared<'_>],
        options: &TrainOptions,
    ) -> Result<Fitted, DataError> {
        if members.len() < 10 {
            return Err(DataError::TooFew {
                what: "settled cases",
                have: members.len(),
                need: 10,
            });
        }
        let cases: Vec<Case<'_>> = members.iter().map(|row| row.full_case()).collect();
        let columns = self.space.full();
        let (cost, scores) = choose_cost(family, &cases, &columns, &options.expert(&self.space))?;
        let prior = prior_log_odds(&cases);
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        for row in members {
            *sizes.entry(&row.row.group).or_default() += 1;
        }
        let data: Vec<(Vec<f64>, f64, f64)> = members
            .iter()
            .zip(&scores)
            .map(|(row, score)| {
                let x = vec![1.0, *score, self.cold.gated_score(&row.reading)];
                (
                    x,
                    row.row.label,
                    group_weight(sizes[row.row.group.as_str()]),
                )
            })
            .collect();
        let beta = fit_dense(&data, &[(0.0, 10.0), (0.0, 2.0), (self.cold.slope, 20.0)]);
        let all: Vec<usize> = (0..cases.len()).collect();
        let weights = fit_weights(&cases, &all, &columns, cost, &options.expert(&self.space));
        let fitted = Family {
            table: self.space.table(weights),
            domain: fit_domain(members, options.seed),
            calibration: Calibration {
                intercept: beta[0],
                slope: beta[1],
                kinds: BTreeMap::new(),
            },
            cold_coefficient: beta[2],
            prior_log_odds: prior,
            cases: u32::try_from(cases.len()).unwrap_or(u32::MAX),
        };
        let mut adapted = self.clone();
        adapted.families.insert(family.to_owned(), fitted);
        Ok(Fitted {
            weights: adapted,
            unseen: data.iter().map(|(x, ..)| Some(inner(&beta, x))).collect(),
        })
    }
}
