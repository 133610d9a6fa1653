//! Honest measurement of judges and of their pool: grouped folds, sets never seen, and few cases of a new kind.

mod contest;
mod leaks;
mod split;

pub use contest::{Contender, Stage, Staged, StagedReader};

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::features::View;
use crate::metrics::{
    auroc, base_rate_brier, brier, expected_calibration_error, log_loss, mean, probabilities,
};
use crate::pooling::{Pooling, Reference};
use crate::rows::Dataset;
use crate::train::TrainOptions;
use contest::{Entrant, Entry};
use leaks::view_auroc;
use split::{Split, Splits, splits};

/// Name under which the pool of several judges is measured.
pub const POOL: &str = "pool";

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

impl EvaluateOptions {
    fn validate(&self) -> Result<(), DataError> {
        self.train.validate()?;
        if self.folds < 2 || self.repeats < 1 {
            return Err(DataError::Option {
                name: "folds",
                reason: "is below 2, or repeats below 1",
            });
        }
        Ok(())
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRow {
    /// Name of the set.
    pub set: String,
    /// Name of the judge, or [`POOL`].
    pub judge: String,
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
    evaluate_judges(sets, &[Contender::Lexical], protocol, options)
}

/// Measures judges on each set and, where there are several, their pool.
///
/// Every judge is fitted on the same cases and tested on the same others. The pool's weights and calibration are
/// fitted on what the judges say of training cases that they had not seen (inner folds), never on test cases.
/// Rows come by set, then by number of labelled cases, then by judge, the pool last.
/// Errors: [`DataError`] for options outside their domain, features that are not one for each row, or too few rows.
pub fn evaluate_judges(
    sets: &[Dataset],
    contenders: &[Contender<'_>],
    protocol: Protocol,
    options: &EvaluateOptions,
) -> Result<Vec<EvaluationRow>, DataError> {
    options.validate()?;
    if protocol != Protocol::InDomain && sets.len() < 2 {
        return Err(DataError::TooFew {
            what: "sets",
            have: sets.len(),
            need: 2,
        });
    }
    let mut entrants = contenders
        .iter()
        .map(|contender| Entrant::new(contender, sets, options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let leaks = (
            view_auroc(View::PromptOnly, &set.rows, options),
            view_auroc(View::LengthOnly, &set.rows, options),
        );
        for stage in splits(sets, at, protocol, options) {
            let scores = measure(&mut entrants, sets, &stage, options)?;
            let named = scores.into_iter();
            rows.extend(named.map(|(judge, score)| score.row(set, judge, protocol, leaks)));
        }
    }
    Ok(rows)
}

/// Measures every judge, and the pool of several, on splits that are one measurement: folds of a set, or draws.
fn measure<'a>(
    entrants: &mut [Entrant<'a>],
    sets: &'a [Dataset],
    splits: &Splits,
    options: &EvaluateOptions,
) -> Result<Vec<(String, Score)>, DataError> {
    let mut names: Vec<String> = entrants.iter().map(|e| e.name().to_owned()).collect();
    if entrants.len() > 1 {
        names.push(POOL.to_owned());
    }
    let mut heard: Vec<Vec<Heard>> = names.iter().map(|_| Vec::new()).collect();
    for split in &splits.parts {
        let labels: Vec<f64> = split.test.iter().map(|i| split.label(sets, *i)).collect();
        let entries = entrants
            .iter_mut()
            .map(|entrant| entrant.enter(split, sets, options))
            .collect::<Result<Vec<_>, _>>()?;
        let mut answers: Vec<Vec<f64>> = entries.iter().map(Entry::log_odds).collect();
        if entries.len() > 1 {
            answers.push(pooled(entrants, &entries, split, sets));
        }
        for (heard, log_odds) in heard.iter_mut().zip(answers) {
            heard.push(Heard {
                log_odds,
                labels: labels.clone(),
                trained: split.own.len() as f64,
            });
        }
    }
    let scores = heard
        .iter()
        .map(|parts| Score::of_parts(parts, splits.together));
    Ok(names.into_iter().zip(scores).collect())
}

/// Pools of these judges by family of claims, fitted on what they say of labelled cases that they had not seen.
///
/// Errors: as [`evaluate_judges`].
pub fn fit_reference(
    sets: &[Dataset],
    contenders: &[Contender<'_>],
    options: &EvaluateOptions,
) -> Result<Reference, DataError> {
    options.validate()?;
    let mut entrants = contenders
        .iter()
        .map(|contender| Entrant::new(contender, sets, options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut reference = Reference::default();
    for set in 0..sets.len() {
        let split = Split::whole(set, sets[set].rows.len());
        let entries = entrants
            .iter_mut()
            .map(|entrant| entrant.enter(&split, sets, options))
            .collect::<Result<Vec<_>, _>>()?;
        // A family that is in two sets is known by the larger one.
        for (family, pool) in pooling(&entrants, &entries, &split, sets).reference.0 {
            let known = reference.0.get(&family).map_or(0, |known| known.cases);
            if pool.cases > known {
                reference.0.insert(family, pool);
            }
        }
    }
    Ok(reference)
}

/// What the pool of the judges says of the test cases of a split.
fn pooled(
    entrants: &[Entrant<'_>],
    entries: &[Entry],
    split: &Split,
    sets: &[Dataset],
) -> Vec<f64> {
    let pooling = pooling(entrants, entries, split, sets);
    let tested = split.test.iter().enumerate();
    tested
        .map(|(at, row)| {
            let views: Vec<_> = entries.iter().map(|entry| entry.views[at]).collect();
            pooling.log_odds(&views, &sets[split.set].rows[*row].claim_type)
        })
        .collect()
}

/// The pool fitted on a split's own cases.
fn pooling(
    entrants: &[Entrant<'_>],
    entries: &[Entry],
    split: &Split,
    sets: &[Dataset],
) -> Pooling {
    let judges: Vec<(String, String)> = entrants
        .iter()
        .map(|e| (e.name().to_owned(), e.family().to_owned()))
        .collect();
    let rows: Vec<_> = split
        .own
        .iter()
        .map(|i| &sets[split.set].rows[*i])
        .collect();
    let unseen: Vec<&[Option<f64>]> = entries.iter().map(|e| e.unseen.as_slice()).collect();
    let stated: Vec<f64> = entries.iter().map(|entry| entry.stated).collect();
    Pooling::fit(&judges, &rows, &unseen, &stated)
}

/// What one judge said of the test cases of one split.
struct Heard {
    log_odds: Vec<f64>,
    labels: Vec<f64>,
    trained: f64,
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

    /// One score over all parts together, or the mean of a score for each.
    fn of_parts(parts: &[Heard], together: bool) -> Self {
        if !together {
            let scores: Vec<Self> = parts
                .iter()
                .map(|part| Self::of(&part.log_odds, &part.labels, part.trained))
                .collect();
            return Self::average(&scores);
        }
        let join = |field: fn(&Heard) -> &Vec<f64>| -> Vec<f64> {
            parts.iter().flat_map(field).copied().collect()
        };
        let trained = mean(parts.iter().map(|part| part.trained));
        Self::of(
            &join(|part| &part.log_odds),
            &join(|part| &part.labels),
            trained,
        )
    }

    fn row(
        self,
        set: &Dataset,
        judge: String,
        protocol: Protocol,
        leaks: (f64, f64),
    ) -> EvaluationRow {
        let [auroc, brier, base_rate_brier, log_loss, ece] = self.measures;
        EvaluationRow {
            set: set.name.clone(),
            judge,
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
