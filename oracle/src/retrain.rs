//! Fitting a judge to settled cases, and measuring first whether it is better for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::claim::family_of;
use crate::error::DataError;
use crate::metrics::{
    auroc, base_rate_brier, brier, expected_calibration_error, log_loss, probabilities,
};
use crate::rows::{Row, fold_of};
use crate::train::TrainOptions;
use crate::weights::Weights;

/// A judge that can be fitted to settled cases of one family of claims.
pub trait Retrain: Sized + Clone {
    /// Name of the judge that the weights are for.
    fn judge(&self) -> &'static str;

    /// Log-odds of one case, nats.
    fn log_odds(&self, row: &Row) -> f64;

    /// The same judge, fitted to the settled cases of a family as well.
    /// Errors: [`DataError::TooFew`] and [`DataError::OneClass`] for cases that teach nothing.
    fn fitted(&self, family: &str, rows: &[Row], seed: u64) -> Result<Self, DataError>;

    /// The weights as a file.
    fn file(&self) -> Vec<u8>;
}

impl Retrain for Weights {
    fn judge(&self) -> &'static str {
        "lexical"
    }

    fn log_odds(&self, row: &Row) -> f64 {
        self.opinion(&row.claim_type, &row.prompt, &row.response)
            .log_odds
    }

    fn fitted(&self, family: &str, rows: &[Row], seed: u64) -> Result<Self, DataError> {
        let options = TrainOptions {
            seed,
            ..TrainOptions::default()
        };
        self.adapt(family, rows, &options)
    }

    fn file(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

/// How a judge does on cases of a family that it was not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Brier score.
    pub brier: f64,
    /// Log loss, nats.
    pub log_loss: f64,
    /// Expected calibration error.
    pub ece: f64,
}

/// What fitting to the settled cases of one family comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetrainRow {
    /// The family of claims.
    pub set: String,
    /// Name of the judge.
    pub judge: String,
    /// Texts.
    pub n: usize,
    /// Markets that they come from; never split between fitting and measuring.
    pub groups: usize,
    /// Brier score of always saying how often claims were settled as true.
    pub base_rate_brier: f64,
    /// The judge as it was.
    pub before: Measured,
    /// The judge fitted to the other folds; absent where the cases teach nothing.
    pub after: Option<Measured>,
    /// Whether the family is in the new weights: only where it lowers the held-out log loss.
    pub kept: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Fits a judge to settled cases, family by family, and measures each fit on held-out groups first.
///
/// The new judge has the families that lower the held-out log loss; `None` if none does.
/// Errors: [`DataError::Option`] for fewer than two folds, [`DataError::TooFew`] for no rows.
pub fn retrain<J: Retrain>(
    judge: &J,
    rows: &[Row],
    folds: usize,
    seed: u64,
) -> Result<(Option<J>, Vec<RetrainRow>), DataError> {
    if folds < 2 {
        return Err(DataError::Option {
            name: "folds",
            reason: "is not at least 2",
        });
    }
    if rows.is_empty() {
        return Err(DataError::TooFew {
            what: "settled texts",
            have: 0,
            need: 1,
        });
    }
    let mut by_family: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for row in rows {
        by_family
            .entry(family_of(&row.claim_type))
            .or_default()
            .push(row.clone());
    }
    let (mut better, mut report) = (None::<J>, Vec::new());
    for (family, rows) in by_family {
        let mut line = held_out(judge, family, &rows, folds, seed)?;
        if line.kept {
            let start = better.as_ref().unwrap_or(judge);
            match start.fitted(family, &rows, seed) {
                Ok(fitted) => better = Some(fitted),
                Err(error) => line = refused(line, error)?,
            }
        }
        report.push(line);
    }
    Ok((better, report))
}

fn refused(line: RetrainRow, error: DataError) -> Result<RetrainRow, DataError> {
    match error {
        DataError::TooFew { .. } | DataError::OneClass(_) => Ok(RetrainRow {
            kept: false,
            after: None,
            reason: Some(error.to_string()),
            ..line
        }),
        other => Err(other),
    }
}

fn held_out<J: Retrain>(
    judge: &J,
    family: &str,
    rows: &[Row],
    folds: usize,
    seed: u64,
) -> Result<RetrainRow, DataError> {
    let labels: Vec<f64> = rows.iter().map(|row| row.label).collect();
    let before: Vec<f64> = rows.iter().map(|row| judge.log_odds(row)).collect();
    let groups: BTreeSet<&str> = rows.iter().map(|row| row.group.as_str()).collect();
    let line = RetrainRow {
        set: family.to_owned(),
        judge: judge.judge().to_owned(),
        n: rows.len(),
        groups: groups.len(),
        base_rate_brier: base_rate_brier(&labels),
        before: measured(&before, &labels),
        after: None,
        kept: false,
        reason: None,
    };
    let mut after = before;
    for fold in 0..folds {
        let of = |row: &&Row| fold_of(&row.group, seed, folds) == fold;
        let train: Vec<Row> = rows.iter().filter(|row| !of(row)).cloned().collect();
        if train.len() == rows.len() {
            continue;
        }
        let fitted = match judge.fitted(family, &train, seed) {
            Ok(fitted) => fitted,
            Err(error) => return refused(line, error),
        };
        for (slot, row) in after.iter_mut().zip(rows) {
            if of(&row) {
                *slot = fitted.log_odds(row);
            }
        }
    }
    let after = measured(&after, &labels);
    let kept = after.log_loss < line.before.log_loss;
    Ok(RetrainRow {
        after: Some(after),
        kept,
        reason: (!kept).then(|| "it does no better on cases that it was not fitted on".to_owned()),
        ..line
    })
}

fn measured(log_odds: &[f64], labels: &[f64]) -> Measured {
    let p = probabilities(log_odds);
    Measured {
        auroc: auroc(log_odds, labels),
        brier: brier(&p, labels),
        log_loss: log_loss(&p, labels),
        ece: expected_calibration_error(&p, labels),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(family: &str, n: usize, teaches: bool) -> Vec<Row> {
        (0..n)
            .map(|i| {
                let label = f64::from(u8::from(i % 2 == 0));
                let word = if (label > 0.5) == teaches || !teaches && i % 3 == 0 {
                    "zebra stripes everywhere"
                } else {
                    "plain quiet meadow"
                };
                Row {
                    id: format!("{family}-{i}"),
                    claim_type: family.to_owned(),
                    prompt: format!("question {i}"),
                    response: format!("{word} {}", i % 7),
                    label,
                    group: format!("m{}", i / 2),
                }
            })
            .collect()
    }

    #[test]
    fn only_families_that_are_better_for_it_are_kept() {
        let judge = crate::LexicalJudge::shipped().unwrap();
        let mut all = rows("stripes", 60, true);
        all.extend(rows("few", 4, true));
        let (better, report) = retrain(judge.weights(), &all, 4, 1).unwrap();
        let of = |set: &str| report.iter().find(|row| row.set == set).unwrap();
        let kept = of("stripes");
        assert!(kept.kept, "{kept:?}");
        assert!(kept.after.unwrap().log_loss < kept.before.log_loss - 0.1);
        assert!(!of("few").kept && of("few").reason.is_some());
        let better = better.unwrap();
        assert!(better.families().iter().any(|(name, _)| name == "stripes"));
        assert!(!better.families().iter().any(|(name, _)| name == "few"));
        assert!(better.log_odds(&all[0]) > judge.weights().log_odds(&all[0]));
        assert!(Weights::from_bytes(&better.file()).is_ok());
        assert!(retrain(judge.weights(), &[], 4, 1).is_err());
        let (nothing, _) = retrain(judge.weights(), &rows("few", 4, true), 4, 1).unwrap();
        assert!(nothing.is_none());
    }
}
