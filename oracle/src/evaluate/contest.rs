//! Judges as they enter a measurement: fitted on one part, asked about the other.

use std::collections::{BTreeMap, HashSet};

use super::EvaluateOptions;
use super::split::{Beyond, Split};
use crate::claim::family_of;
use crate::error::DataError;
use crate::metrics::mean;
use crate::pooling::PoolView;
use crate::reader::Features;
use crate::rows::Dataset;
use crate::train::{Fitted, Prepared, ReaderIdentity, prepare_heads, train_cold, train_prepared};
use crate::weights::{Space, Weights};

/// Cases by which it is known what error a judge usually states.
const STATED_CASES: usize = 200;

/// A judge to be measured.
pub enum Contender<'a> {
    /// The lexical judge.
    Lexical,
    /// Heads on what a model, which has seen no label, made of every row.
    Heads {
        /// The model.
        reader: ReaderIdentity,
        /// Family of the judge.
        family: String,
        /// What it made of the rows, by set and row.
        features: Vec<Vec<Features>>,
    },
    /// Heads on a model that itself learns from labels, and so is fitted anew for every stage of the measurement.
    Staged(&'a dyn StagedReader),
}

/// What a model that learns from labels may learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// All rows but those of one fold of each set.
    Fold {
        /// The fold that is tested.
        fold: usize,
        /// How many there are.
        folds: usize,
        /// Their seed, as in [`crate::rows::fold_of`].
        seed: u64,
    },
    /// All rows of other sets, but for those of groups that this set has too.
    Without {
        /// Place of the set.
        set: usize,
    },
    /// All rows but those left to the heads: what is shipped.
    Whole,
}

/// What a model made of the rows at one stage.
#[derive(Debug, Clone, Default)]
pub struct Staged {
    /// By set and row.
    pub features: Vec<Vec<Features>>,
    /// By set and row: whether the model had not seen the row's label. Heads are fitted on such rows alone.
    pub unseen: Vec<Vec<bool>>,
}

/// A model that learns from labels.
pub trait StagedReader {
    /// Its identity.
    fn identity(&self) -> ReaderIdentity;

    /// Family of the judge.
    fn family(&self) -> String;

    /// Fits the model at a stage and reads every row with it. No row that the stage leaves out may be learnt from.
    ///
    /// Errors: [`DataError`] when it cannot be fitted.
    fn read(&self, stage: Stage, sets: &[Dataset]) -> Result<Staged, DataError>;
}

/// What a judge made of a split.
pub(super) struct Entry {
    /// Its views of the test cases.
    pub(super) views: Vec<PoolView>,
    /// Evidence, nats, in the split's own cases, where it had not seen them.
    pub(super) unseen: Vec<Option<f64>>,
    /// Mean squared standard error, nats², that it states of the split's own cases.
    pub(super) stated: f64,
}

impl Entry {
    pub(super) fn log_odds(&self) -> Vec<f64> {
        let whole = |view: &PoolView| view.prior_log_odds + view.evidence;
        self.views.iter().map(whole).collect()
    }
}

/// A judge with all rows read.
pub(super) struct Entrant<'a> {
    name: String,
    family: String,
    space: Space,
    prepared: Vec<Vec<Prepared<'a>>>,
    /// Rows whose labels the model has not seen; all of them where it saw none.
    unseen: Option<Vec<Vec<bool>>>,
    staged: Option<(&'a dyn StagedReader, Option<Stage>)>,
    /// What was fitted on the other sets, by set under test.
    elsewhere: BTreeMap<usize, Weights>,
}

impl<'a> Entrant<'a> {
    pub(super) fn new(
        contender: &Contender<'a>,
        sets: &'a [Dataset],
        options: &EvaluateOptions,
    ) -> Result<Self, DataError> {
        let (name, family, space, prepared, staged) = match contender {
            Contender::Lexical => {
                let read = |set: &'a Dataset| {
                    let rows = set.rows.iter();
                    rows.map(|row| Prepared::new(row, options.train.bits))
                        .collect()
                };
                let prepared = sets.iter().map(read).collect();
                let space = options.train.hashed();
                (
                    "lexical".to_owned(),
                    "n-gram".to_owned(),
                    space,
                    prepared,
                    None,
                )
            }
            Contender::Heads {
                reader,
                family,
                features,
            } => {
                let prepared = prepare(sets, features, reader)?;
                (
                    reader.name.clone(),
                    family.clone(),
                    reader.space(),
                    prepared,
                    None,
                )
            }
            Contender::Staged(staged) => {
                let identity = staged.identity();
                let space = identity.space();
                (
                    identity.name,
                    staged.family(),
                    space,
                    Vec::new(),
                    Some((*staged, None)),
                )
            }
        };
        Ok(Self {
            name,
            family,
            space,
            prepared,
            unseen: None,
            staged,
            elsewhere: BTreeMap::new(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn family(&self) -> &str {
        &self.family
    }

    /// Fits the judge on what a split allows, and asks it about the rest.
    pub(super) fn enter(
        &mut self,
        split: &Split,
        sets: &'a [Dataset],
        options: &EvaluateOptions,
    ) -> Result<Entry, DataError> {
        self.prepare_stage(split, sets, options)?;
        match split.beyond {
            Beyond::Fold(_) | Beyond::Nothing => self.enter_fold(split, options),
            Beyond::OtherSets => self.enter_new(split, options),
        }
    }

    /// Has a model that learns from labels learn again, where the split wants another one than the last.
    fn prepare_stage(
        &mut self,
        split: &Split,
        sets: &'a [Dataset],
        options: &EvaluateOptions,
    ) -> Result<(), DataError> {
        let Some((reader, last)) = &mut self.staged else {
            return Ok(());
        };
        let stage = match split.beyond {
            Beyond::Fold(fold) => Stage::Fold {
                fold,
                folds: options.folds,
                seed: options.seed,
            },
            Beyond::OtherSets => Stage::Without { set: split.set },
            Beyond::Nothing => Stage::Whole,
        };
        if *last != Some(stage) {
            let staged = reader.read(stage, sets)?;
            self.prepared = prepare(sets, &staged.features, &reader.identity())?;
            self.unseen = Some(staged.unseen);
            self.elsewhere.clear();
            *last = Some(stage);
        }
        Ok(())
    }

    /// Whether a row may be learnt from by heads: its model has not learnt from it.
    fn honest(&self, set: usize, row: usize) -> bool {
        self.unseen.as_ref().is_none_or(|unseen| unseen[set][row])
    }

    fn entry(&self, split: &Split, places: &[usize], fitted: &Fitted) -> Entry {
        let weights = &fitted.weights;
        let sample = &split.own[..split.own.len().min(STATED_CASES)];
        let stated = self.views(weights, split.set, sample);
        Entry {
            views: self.views(weights, split.set, &split.test),
            unseen: self.unseen_evidence(split, places, fitted),
            stated: mean(stated.iter().map(|view| view.standard_error.powi(2))),
        }
    }

    fn views(&self, weights: &Weights, set: usize, rows: &[usize]) -> Vec<PoolView> {
        let rows = rows.iter().map(|i| &self.prepared[set][*i]);
        rows.map(|row| {
            let opinion = weights.read(&row.row.claim_type, &row.reading);
            PoolView {
                evidence: opinion.log_odds - opinion.prior_log_odds,
                prior_log_odds: opinion.prior_log_odds,
                standard_error: opinion.standard_error,
            }
        })
        .collect()
    }

    /// Places in `split.own` of rows that may be learnt from, and the rows.
    fn learnable(&self, split: &Split) -> (Vec<usize>, Vec<&Prepared<'a>>) {
        let own = split.own.iter().enumerate();
        own.filter(|(_, row)| self.honest(split.set, **row))
            .map(|(at, row)| (at, &self.prepared[split.set][*row]))
            .unzip()
    }

    /// Evidence by own case, from what was fitted on those at `places`.
    fn unseen_evidence(
        &self,
        split: &Split,
        places: &[usize],
        fitted: &Fitted,
    ) -> Vec<Option<f64>> {
        let mut unseen = vec![None; split.own.len()];
        for (at, log_odds) in places.iter().zip(&fitted.unseen) {
            let kind = &self.prepared[split.set][split.own[*at]].row.claim_type;
            let prior = fitted.weights.families.get(family_of(kind));
            unseen[*at] = log_odds
                .zip(prior)
                .map(|(l, family)| l - family.prior_log_odds);
        }
        unseen
    }

    fn enter_fold(&self, split: &Split, options: &EvaluateOptions) -> Result<Entry, DataError> {
        let (places, rows) = self.learnable(split);
        let fitted = match train_prepared(&rows, &self.space, &options.train) {
            // Too little is left for the heads of a model that learns from labels: it says nothing of this set.
            Err(DataError::TooFew { .. }) if self.unseen.is_some() => Fitted {
                weights: Weights::silent(&self.space),
                unseen: vec![None; rows.len()],
            },
            fitted => fitted?,
        };
        Ok(self.entry(split, &places, &fitted))
    }

    fn enter_new(&mut self, split: &Split, options: &EvaluateOptions) -> Result<Entry, DataError> {
        if !self.elsewhere.contains_key(&split.set) {
            let weights = self.without(split.set, options)?;
            self.elsewhere.insert(split.set, weights);
        }
        let (places, rows) = self.learnable(split);
        let mut fitted = Fitted {
            weights: self.elsewhere[&split.set].clone(),
            unseen: vec![None; rows.len()],
        };
        let families: HashSet<&str> = rows.iter().map(|r| family_of(&r.row.claim_type)).collect();
        for family in families {
            let (at, members): (Vec<usize>, Vec<&Prepared<'_>>) = rows
                .iter()
                .enumerate()
                .filter(|(_, row)| family_of(&row.row.claim_type) == family)
                .map(|(at, row)| (at, *row))
                .unzip();
            match fitted
                .weights
                .adapt_prepared(family, &members, &options.train)
            {
                Ok(better) => {
                    fitted.weights = better.weights;
                    for (at, log_odds) in at.iter().zip(better.unseen) {
                        fitted.unseen[*at] = log_odds;
                    }
                }
                Err(DataError::TooFew { .. } | DataError::OneClass(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.entry(split, &places, &fitted))
    }

    /// Weights fitted on every other set, with no row of a prompt or scenario that the set has too.
    fn without(&self, set: usize, options: &EvaluateOptions) -> Result<Weights, DataError> {
        let under_test = &self.prepared[set];
        let groups: HashSet<&str> = under_test.iter().map(|r| r.row.group.as_str()).collect();
        let families: HashSet<&str> = under_test
            .iter()
            .map(|row| family_of(&row.row.claim_type))
            .collect();
        let mut others: Vec<&Prepared<'_>> = Vec::new();
        for (other, rows) in self.prepared.iter().enumerate().filter(|(o, _)| *o != set) {
            let free = rows.iter().enumerate().filter(|(at, row)| {
                self.honest(other, *at) && !groups.contains(row.row.group.as_str())
            });
            others.extend(free.map(|(_, row)| row));
        }
        let mut weights = train_cold(&others, &self.space, &options.train);
        // Another set may hold claims of the same family: then, and only then, an expert has been there before.
        let akin: Vec<&Prepared<'_>> = others
            .into_iter()
            .filter(|row| families.contains(family_of(&row.row.claim_type)))
            .collect();
        if !akin.is_empty() {
            match train_prepared(&akin, &self.space, &options.train) {
                Ok(experts) => weights.families = experts.weights.families,
                Err(DataError::TooFew { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(weights)
    }
}

fn prepare<'a>(
    sets: &'a [Dataset],
    features: &[Vec<Features>],
    reader: &ReaderIdentity,
) -> Result<Vec<Vec<Prepared<'a>>>, DataError> {
    if sets.len() != features.len() {
        return Err(DataError::Option {
            name: "features",
            reason: "is not one list for each set",
        });
    }
    let pairs = sets.iter().zip(features);
    pairs
        .map(|(set, features)| prepare_heads(&set.rows, features, reader))
        .collect()
}
