//! The trained reader as it enters a measurement: taught anew at every stage, on what that stage allows.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;

use plumbline_oracle::{
    DataError, Dataset, Features, Passage, Reader, ReaderIdentity, Row, Stage, Staged,
    StagedReader, rows::fold_of,
};
use plumbline_training_model::Checkpoint;

use super::{LearnOptions, TrainedReader, learn, widths};
use crate::error::{ModelError, Result};

/// Of so many parts of the groups that may be learnt from, one is kept from the model and left to its heads.
const PARTS: usize = 5;

/// What the model is taught on, and what is left to the heads: a fifth of the groups, by their hashes.
///
/// A head fitted on what its model has learnt by heart would trust it too much.
pub fn left_to_heads(row: &Row) -> bool {
    fold_of(&row.group, 0, PARTS) == 0
}

/// Told what is being done and what share of it is done.
type Progress<'a> = &'a mut dyn FnMut(&str, f64);

/// Teaches a model for each stage of a measurement, and keeps it in a folder if there is one.
pub struct TrainedStages<'a> {
    options: LearnOptions,
    folder: Option<PathBuf>,
    progress: RefCell<Progress<'a>>,
}

impl<'a> TrainedStages<'a> {
    /// Models taught with `options`; `folder` keeps them between runs.
    pub fn new(options: LearnOptions, folder: Option<PathBuf>, progress: Progress<'a>) -> Self {
        Self {
            options,
            folder,
            progress: RefCell::new(progress),
        }
    }

    fn taught(&self, rows: &[&Row], name: &str) -> Result<Checkpoint> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}", self.options).as_bytes());
        for row in rows {
            hasher.update(&row.passage().content_hash());
            hasher.update(&row.label.to_le_bytes());
        }
        let file = format!("trained-{}.safetensors", &hasher.finalize().to_hex()[..16]);
        let path = self.folder.as_ref().map(|folder| folder.join(&file));
        if let Some(bytes) = path.as_ref().and_then(|path| std::fs::read(path).ok()) {
            return Ok(Checkpoint::from_memory(&file, &bytes)?);
        }
        let mut progress = self.progress.borrow_mut();
        let checkpoint = learn(rows, &self.options, &mut |done, loss| {
            progress(&format!("teaching for {name}, loss {loss:.3}"), done);
        })?;
        if let Some(path) = path {
            let bytes = checkpoint.to_bytes()?;
            std::fs::write(&path, bytes).map_err(|error| ModelError::file(&path, error))?;
        }
        Ok(checkpoint)
    }

    fn stage(&self, stage: Stage, sets: &[Dataset]) -> Result<Staged> {
        let uses = Uses::of(stage, sets);
        let learnt: Vec<&Row> = uses.rows(sets, Use::Learn);
        let reader = TrainedReader::new(self.taught(&learnt, &format!("{stage:?}"))?)?;
        let nothing = Features {
            content: vec![0.0; reader.widths().content],
            context: Vec::new(),
            extra: vec![0.0; reader.widths().extra],
        };
        let mut staged = Staged::default();
        for (set, uses) in sets.iter().zip(&uses.0) {
            let mut features = vec![nothing.clone(); set.rows.len()];
            let wanted: Vec<usize> = (0..set.rows.len())
                .filter(|row| uses[*row] == Use::Read)
                .collect();
            let passages: Vec<Passage<'_>> =
                wanted.iter().map(|row| set.rows[*row].passage()).collect();
            let read = reader
                .read(&passages)
                .map_err(|error| ModelError::Trained(error.to_string()))?;
            for (row, read) in wanted.into_iter().zip(read) {
                features[row] = read;
            }
            staged.features.push(features);
            staged
                .unseen
                .push(uses.iter().map(|u| *u == Use::Read).collect());
        }
        Ok(staged)
    }
}

/// What a row is used for at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The model learns from it.
    Learn,
    /// It is read, for heads to be fitted on or tested.
    Read,
    /// Neither: its group is under test in another set.
    Nothing,
}

/// By set and row.
struct Uses(Vec<Vec<Use>>);

impl Uses {
    fn of(stage: Stage, sets: &[Dataset]) -> Self {
        let uses = match stage {
            Stage::Fold { fold, folds, seed } => {
                // The fold after the one under test is left to the heads.
                let of = |row: &Row| match fold_of(&row.group, seed, folds) {
                    f if f == fold || f == (fold + 1) % folds => Use::Read,
                    _ => Use::Learn,
                };
                let of = |set: &Dataset| set.rows.iter().map(of).collect();
                sets.iter().map(of).collect()
            }
            Stage::Whole => {
                let of = |row: &Row| match left_to_heads(row) {
                    true => Use::Read,
                    false => Use::Learn,
                };
                let of = |set: &Dataset| set.rows.iter().map(of).collect();
                sets.iter().map(of).collect()
            }
            Stage::Without { set } => {
                let tested = &sets[set].rows;
                let groups: HashSet<&str> = tested.iter().map(|row| row.group.as_str()).collect();
                let of = |row: &Row| {
                    if groups.contains(row.group.as_str()) {
                        Use::Nothing
                    } else if left_to_heads(row) {
                        Use::Read
                    } else {
                        Use::Learn
                    }
                };
                let all = sets.iter().enumerate();
                all.map(|(at, other)| {
                    if at == set {
                        vec![Use::Read; other.rows.len()]
                    } else {
                        other.rows.iter().map(of).collect()
                    }
                })
                .collect()
            }
        };
        Self(uses)
    }

    fn rows<'a>(&self, sets: &'a [Dataset], wanted: Use) -> Vec<&'a Row> {
        let pairs = sets.iter().zip(&self.0);
        pairs
            .flat_map(|(set, uses)| set.rows.iter().zip(uses))
            .filter(|(_, u)| **u == wanted)
            .map(|(row, _)| row)
            .collect()
    }
}

impl StagedReader for TrainedStages<'_> {
    fn identity(&self) -> ReaderIdentity {
        ReaderIdentity {
            name: "trained".to_owned(),
            version: "staged".to_owned(),
            widths: widths(&self.options.model),
        }
    }

    fn family(&self) -> String {
        "small-transformer".to_owned()
    }

    fn read(&self, stage: Stage, sets: &[Dataset]) -> std::result::Result<Staged, DataError> {
        let refused = |error: ModelError| DataError::Model(error.to_string());
        self.stage(stage, sets).map_err(refused)
    }
}
