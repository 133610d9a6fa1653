//! Honest measurement of the lexical judge: grouped folds, sets never seen, and few cases of a new kind.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::claim::family_of;
use crate::error::DataError;
use crate::expert::{Case, ExpertOptions, fit_weights};
use crate::features::{View, extract};
use crate::logistic::dot;
use crate::metrics::{
    auroc, base_rate_brier, brier, expected_calibration_error, log_loss, mean, probabilities,
};
use crate::rows::{Dataset, Row, fold_of};
use crate::train::{Prepared, TrainOptions, train_cold, train_prepared};
use crate::weights::Weights;

/// What is trained on, and what is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Grouped folds within each set.
    InDomain,
    /// All other sets, then a set never seen.
    LeaveOneOut,
    /// All other sets and a few cases of the set, then the rest of it.
    FewShot,
}

impl std::str::FromStr for Protocol {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "in-domain" => Ok(Self::InDomain),
            "leave-one-out" => Ok(Self::LeaveOneOut),
            "few-shot" => Ok(Self::FewShot),
            _ => Err(DataError::Option {
                name: "protocol",
                reason: "is not in-domain, leave-one-out or few-shot",
            }),
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InDomain => "in-domain",
            Self::LeaveOneOut => "leave-one-out",
            Self::FewShot => "few-shot",
        })
    }
}

/// How measurements are made.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// How the judge is fitted.
    pub train: TrainOptions,
    /// Folds of the in-domain protocol, ≥ 2.
    pub folds: usize,
    /// Numbers of labelled cases of the few-shot protocol; one is left out where fewer than 100 cases would remain.
    pub few_shot: Vec<usize>,
    /// Draws of few-shot cases that are averaged, ≥ 1.
    pub repeats: usize,
    /// Seed of folds and draws.
    pub seed: u64,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self {
            train: TrainOptions::default(),
            folds: 5,
            few_shot: vec![50, 200, 1000],
            repeats: 3,
            seed: 9,
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// Name of the set.
    pub set: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Cases scored (mean over draws).
    pub cases: usize,
    /// Labelled cases of this set that were trained on (mean over folds or draws).
    pub n: usize,
    /// Area under the ROC curve; a label of at least ½ is a positive.
    pub auroc: f64,
    /// Brier score against the labels, shares of raters as they are.
    pub brier: f64,
    /// Brier score of always saying the set's mean label.
    pub base_rate_brier: f64,
    /// Log loss, nats.
    pub log_loss: f64,
    /// Expected calibration error, ten bins of equal count.
    pub ece: f64,
    /// AUROC in grouped folds from the prompt alone: how far the set leaks its label.
    pub prompt_only_auroc: f64,
    /// The same from lengths alone.
    pub length_only_auroc: f64,
}

/// Measures the lexical judge on each set. Errors: [`DataError`] for options outside their domain or too few rows.
pub fn evaluate(
    sets: &[Dataset],
    protocol: Protocol,
    options: &EvaluateOptions,
) -> Result<Vec<EvaluationRow>, DataError> {
    options.train.validate()?;
    if options.folds < 2 || options.repeats < 1 {
        return Err(DataError::Option {
            name: "folds",
            reason: "is below 2, or repeats below 1",
        });
    }
    if protocol != Protocol::InDomain && sets.len() < 2 {
        return Err(DataError::TooFew {
            what: "sets",
            have: sets.len(),
            need: 2,
        });
    }
    let prepared: Vec<Vec<Prepared<'_>>> = sets
        .iter()
        .map(|set| {
            set.rows
                .iter()
                .map(|row| Prepared::new(row, options.train.bits))
                .collect()
        })
        .collect();
    let mut rows = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let leaks = (
            view_auroc(View::PromptOnly, &set.rows, options),
            view_auroc(View::LengthOnly, &set.rows, options),
        );
        let scores = match protocol {
            Protocol::InDomain => vec![in_domain(&prepared[at], options)?],
            Protocol::LeaveOneOut => vec![leave_one_out(&prepared, at, options)?],
            Protocol::FewShot => few_shot(&prepared, at, options)?,
        };
        rows.extend(
            scores
                .into_iter()
                .map(|score| score.row(set, protocol, leaks)),
        );
    }
    Ok(rows)
}

/// Means over draws of everything measured.
struct Score {
    cases: f64,
    n: f64,
    measures: [f64; 5],
}

impl Score {
    fn of(log_odds: &[f64], labels: &[f64], n: f64) -> Self {
        let p = probabilities(log_odds);
        let majority: Vec<f64> = labels
            .iter()
            .map(|y| f64::from(u8::from(*y >= 0.5)))
            .collect();
        Self {
            cases: labels.len() as f64,
            n,
            measures: [
                auroc(log_odds, &majority),
                brier(&p, labels),
                base_rate_brier(labels),
                log_loss(&p, labels),
                expected_calibration_error(&p, labels),
            ],
        }
    }

    fn average(scores: &[Self]) -> Self {
        let over = |field: &dyn Fn(&Self) -> f64| mean(scores.iter().map(field));
        Self {
            cases: over(&|score| score.cases),
            n: over(&|score| score.n),
            measures: std::array::from_fn(|i| over(&|score| score.measures[i])),
        }
    }

    fn row(self, set: &Dataset, protocol: Protocol, leaks: (f64, f64)) -> EvaluationRow {
        let [auroc, brier, base_rate_brier, log_loss, ece] = self.measures;
        EvaluationRow {
            set: set.name.clone(),
            protocol,
            cases: self.cases.round() as usize,
            n: self.n.round() as usize,
            auroc,
            brier,
            base_rate_brier,
            log_loss,
            ece,
            prompt_only_auroc: leaks.0,
            length_only_auroc: leaks.1,
        }
    }
}

fn log_odds_of(weights: &Weights, rows: &[&Prepared<'_>]) -> Vec<f64> {
    rows.iter()
        .map(|row| weights.read(&row.row.claim_type, &row.reading).log_odds)
        .collect()
}

fn labels_of(rows: &[&Prepared<'_>]) -> Vec<f64> {
    rows.iter().map(|row| row.row.label).collect()
}

fn in_domain(rows: &[Prepared<'_>], options: &EvaluateOptions) -> Result<Score, DataError> {
    let (mut log_odds, mut labels, mut trained) = (Vec::new(), Vec::new(), 0.0);
    for fold in 0..options.folds {
        let (test, train): (Vec<&Prepared<'_>>, Vec<&Prepared<'_>>) = rows
            .iter()
            .partition(|row| fold_of(&row.row.group, options.seed, options.folds) == fold);
        if test.is_empty() {
            continue;
        }
        let weights = train_prepared(&train, &options.train)?;
        log_odds.extend(log_odds_of(&weights, &test));
        labels.extend(labels_of(&test));
        trained += train.len() as f64 / options.folds as f64;
    }
    Ok(Score::of(&log_odds, &labels, trained))
}

/// Weights fitted on every other set, with no row of a prompt or scenario that the set has too.
fn without(
    prepared: &[Vec<Prepared<'_>>],
    at: usize,
    options: &EvaluateOptions,
) -> Result<Weights, DataError> {
    let groups: HashSet<&str> = prepared[at]
        .iter()
        .map(|row| row.row.group.as_str())
        .collect();
    let families: HashSet<&str> = prepared[at]
        .iter()
        .map(|row| family_of(&row.row.claim_type))
        .collect();
    let others: Vec<&Prepared<'_>> = prepared
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != at)
        .flat_map(|(_, rows)| rows)
        .filter(|row| !groups.contains(row.row.group.as_str()))
        .collect();
    let mut weights = train_cold(&others, &options.train);
    // Another set may hold claims of the same family: then, and only then, an expert has been there before.
    let akin: Vec<&Prepared<'_>> = others
        .into_iter()
        .filter(|row| families.contains(family_of(&row.row.claim_type)))
        .collect();
    if !akin.is_empty() {
        match train_prepared(&akin, &options.train) {
            Ok(experts) => weights.families = experts.families,
            Err(DataError::TooFew { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(weights)
}

fn leave_one_out(
    prepared: &[Vec<Prepared<'_>>],
    at: usize,
    options: &EvaluateOptions,
) -> Result<Score, DataError> {
    let weights = without(prepared, at, options)?;
    let test: Vec<&Prepared<'_>> = prepared[at].iter().collect();
    Ok(Score::of(
        &log_odds_of(&weights, &test),
        &labels_of(&test),
        0.0,
    ))
}

fn few_shot(
    prepared: &[Vec<Prepared<'_>>],
    at: usize,
    options: &EvaluateOptions,
) -> Result<Vec<Score>, DataError> {
    let base = without(prepared, at, options)?;
    let mut scores = Vec::new();
    for &n in &options.few_shot {
        if prepared[at].len() < n + 100 {
            continue;
        }
        let mut draws = Vec::new();
        for repeat in 0..options.repeats {
            let (few, rest) = draw(&prepared[at], n, options.seed.wrapping_add(repeat as u64));
            let weights = adapted(&base, &few, options)?;
            draws.push(Score::of(
                &log_odds_of(&weights, &rest),
                &labels_of(&rest),
                few.len() as f64,
            ));
        }
        scores.push(Score::average(&draws));
    }
    Ok(scores)
}

/// `n` cases from whole groups in an order of the seed's, and the cases of all groups that were not touched.
fn draw<'a, 'b>(
    rows: &'a [Prepared<'b>],
    n: usize,
    seed: u64,
) -> (Vec<&'a Prepared<'b>>, Vec<&'a Prepared<'b>>) {
    let key = |row: &Prepared<'_>| fold_of(&row.row.group, seed ^ 0xF3E5, usize::MAX);
    let mut ordered: Vec<&Prepared<'b>> = rows.iter().collect();
    ordered.sort_by_key(|row| key(row));
    let touched: HashSet<&str> = ordered[..n]
        .iter()
        .map(|row| row.row.group.as_str())
        .collect();
    let rest = ordered[n..]
        .iter()
        .filter(|row| !touched.contains(row.row.group.as_str()))
        .copied()
        .collect();
    ordered.truncate(n);
    (ordered, rest)
}

/// The base weights with every family of the few cases that has enough of them.
fn adapted(
    base: &Weights,
    few: &[&Prepared<'_>],
    options: &EvaluateOptions,
) -> Result<Weights, DataError> {
    let families: HashSet<&str> = few
        .iter()
        .map(|row| family_of(&row.row.claim_type))
        .collect();
    let mut weights = base.clone();
    for family in families {
        let members: Vec<&Prepared<'_>> = few
            .iter()
            .filter(|row| family_of(&row.row.claim_type) == family)
            .copied()
            .collect();
        match weights.adapt_prepared(family, &members, &options.train) {
            Ok(better) => weights = better,
            Err(DataError::TooFew { .. } | DataError::OneClass(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(weights)
}

/// AUROC in grouped folds from one view of the cases alone.
fn view_auroc(view: View, rows: &[Row], options: &EvaluateOptions) -> f64 {
    let bits = options.train.bits;
    let vectors: Vec<_> = rows
        .iter()
        .map(|row| extract(view, &row.claim_type, &row.prompt, &row.response, bits))
        .collect();
    let cases: Vec<Case<'_>> = rows
        .iter()
        .zip(&vectors)
        .map(|(row, vector)| Case {
            vector,
            kind: &row.claim_type,
            group: &row.group,
            label: row.label,
            weight: 1.0,
        })
        .collect();
    let fit = ExpertOptions {
        costs: vec![1.0],
        inner_folds: 2,
        epochs: options.train.epochs,
        seed: options.train.seed,
        kind_precision: options.train.kind_precision,
    };
    let folds: Vec<usize> = rows
        .iter()
        .map(|row| fold_of(&row.group, options.seed, options.folds))
        .collect();
    let mut scores = vec![0.0; rows.len()];
    for fold in 0..options.folds {
        let train: Vec<usize> = (0..rows.len()).filter(|i| folds[*i] != fold).collect();
        let weights = fit_weights(&cases, &train, 1 << bits, 1.0, &fit);
        for i in (0..rows.len()).filter(|i| folds[*i] == fold) {
            scores[i] = dot(&weights, &vectors[i]);
        }
    }
    let labels: Vec<f64> = rows
        .iter()
        .map(|row| f64::from(u8::from(row.label >= 0.5)))
        .collect();
    auroc(&scores, &labels)
}
