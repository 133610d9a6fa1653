//! What is fitted on and what is tested, by protocol.

use std::collections::HashSet;

use super::{EvaluateOptions, Protocol};
use crate::rows::{Dataset, Row, fold_of};

/// What a judge may learn from besides the set's own cases, and which model it may have learnt them with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The other cases of the set are enough.
    Fold(usize),
    /// All other sets.
    OtherSets,
    /// Nothing, and nothing is held out.
    Nothing,
}

/// One division of a set.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// The set under test.
    pub(super) set: usize,
    /// Its rows that may be learnt from.
    pub(super) own: Vec<usize>,
    /// Its rows that are tested.
    pub(super) test: Vec<usize>,
    pub(super) beyond: Beyond,
}

impl Split {
    /// All of a set, with nothing held out but what the model of a judge that learns from labels has not seen.
    pub(super) fn whole(set: usize, rows: usize) -> Self {
        Self {
            set,
            own: (0..rows).collect(),
            test: Vec::new(),
            beyond: Beyond::Nothing,
        }
    }

    pub(super) fn label(&self, sets: &[Dataset], row: usize) -> f64 {
        sets[self.set].rows[row].label
    }
}

/// Splits that make one measurement.
#[derive(Debug, Clone)]
pub(super) struct Splits {
    pub(super) parts: Vec<Split>,
    /// Whether their cases are scored together, or each split and then the mean.
    pub(super) together: bool,
}

/// The measurements of a set under a protocol.
pub(super) fn splits(
    sets: &[Dataset],
    set: usize,
    protocol: Protocol,
    options: &EvaluateOptions,
) -> Vec<Splits> {
    let rows = &sets[set].rows;
    match protocol {
        Protocol::InDomain => vec![folds(rows, set, options)],
        Protocol::LeaveOneOut => vec![Splits {
            parts: vec![Split {
                set,
                own: Vec::new(),
                test: (0..rows.len()).collect(),
                beyond: Beyond::OtherSets,
            }],
            together: true,
        }],
        Protocol::FewShot => {
            let sizes = options.few_shot.iter();
            sizes
                .filter(|n| rows.len() >= **n + 100)
                .map(|n| draws(rows, set, *n, options))
                .collect()
        }
    }
}

fn folds(rows: &[Row], set: usize, options: &EvaluateOptions) -> Splits {
    let part = |fold| {
        let (test, own): (Vec<usize>, Vec<usize>) = (0..rows.len())
            .partition(|i| fold_of(&rows[*i].group, options.seed, options.folds) == fold);
        Split {
            set,
            own,
            test,
            beyond: Beyond::Fold(fold),
        }
    };
    let parts = (0..options.folds).map(part);
    Splits {
        parts: parts.filter(|split| !split.test.is_empty()).collect(),
        together: true,
    }
}

fn draws(rows: &[Row], set: usize, n: usize, options: &EvaluateOptions) -> Splits {
    let part = |repeat: usize| {
        let (own, test) = draw(rows, n, options.seed.wrapping_add(repeat as u64));
        Split {
            set,
            own,
            test,
            beyond: Beyond::OtherSets,
        }
    };
    Splits {
        parts: (0..options.repeats).map(part).collect(),
        together: false,
    }
}

/// `n` cases from whole groups in an order of the seed's, and the cases of all groups that were not touched.
fn draw(rows: &[Row], n: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut ordered: Vec<usize> = (0..rows.len()).collect();
    ordered.sort_by_cached_key(|i| fold_of(&rows[*i].group, seed ^ 0xF3E5, usize::MAX));
    let rest = ordered.split_off(n);
    let touched: HashSet<&str> = ordered.iter().map(|i| rows[*i].group.as_str()).collect();
    let test = rest
        .into_iter()
        .filter(|i| !touched.contains(rows[*i].group.as_str()))
        .collect();
    (ordered, test)
}
