//! Labelled cases and the judges that meet on them, as the commands name them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use plumbline_oracle::{Contender, Dataset, Features, Reader, ReaderIdentity};
use plumbline_oracle_candle::{FeatureFile, LearnOptions, TrainedStages};

use crate::judges::ModelFolder;

/// A judge that learns from labelled cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Learner {
    /// Words and characters
    Lexical,
    /// A sentence encoder (`make models`)
    Encoder,
    /// A language model (`make models`); reads a few cases a second
    Causal,
    /// A small transformer that is itself taught on the cases
    Trained,
}

/// Which cases and where models are.
#[derive(Debug, Args)]
pub struct Cases {
    /// Labelled cases, one file a set: JSON lines of `{id, claim_type, prompt, response, label, group}`
    #[arg(long, num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Most cases of each set; others are left out by whole groups
    #[arg(long, value_name = "N")]
    pub most: Option<usize>,
    /// Folder of optional models
    #[arg(
        long,
        value_name = "FOLDER",
        env = "PLUMBLINE_MODELS",
        default_value = "models"
    )]
    pub models: PathBuf,
    /// Folder that keeps what models made of cases, so that they are read once
    #[arg(long, value_name = "FOLDER")]
    pub features: Option<PathBuf>,
}

impl Cases {
    /// The sets.
    pub fn read(&self) -> Result<Vec<Dataset>> {
        if self.data.is_empty() {
            bail!("name at least one file of cases with --data");
        }
        let most = self.most.unwrap_or(usize::MAX);
        let sets = self.data.iter().map(|file| read_set(file));
        sets.map(|set| Ok(set?.sampled(most))).collect()
    }

    /// The model that a judge's heads are on, if it has one that has not to be taught.
    pub fn reader(&self, learner: Learner) -> Result<Option<Arc<dyn Reader>>> {
        let folder = ModelFolder(self.models.clone());
        let reader = match learner {
            Learner::Lexical | Learner::Trained => return Ok(None),
            Learner::Encoder => folder.encoder(),
            Learner::Causal => folder.causal(),
        };
        reader.map(Some).with_context(|| {
            format!(
                "the judge {learner:?} needs a model in {}: `make models` fetches it",
                self.models.display()
            )
        })
    }

    /// What a model makes of every case, by set and row.
    pub fn features(
        &self,
        reader: &dyn Reader,
        sets: &[Dataset],
        bar: &indicatif::ProgressBar,
    ) -> Result<Vec<Vec<Features>>> {
        let scratch;
        let folder = match &self.features {
            Some(folder) => folder.as_path(),
            None => {
                scratch = tempfile::tempdir()?;
                scratch.path()
            }
        };
        let mut file = FeatureFile::open(folder, &ReaderIdentity::of(reader))?;
        let mut all = Vec::with_capacity(sets.len());
        for set in sets {
            let mut progress = |done: usize| {
                let (name, judge) = (&set.name, reader.name());
                bar.set_message(format!(
                    "{judge} reads {name}: {done} of {}",
                    set.rows.len()
                ));
            };
            all.push(file.read(Some(reader), &set.rows, &mut progress)?);
        }
        Ok(all)
    }
}

/// Runs `work` with the contenders that `learners` name.
pub fn with_contenders<T>(
    cases: &Cases,
    sets: &[Dataset],
    learners: &[Learner],
    bar: &indicatif::ProgressBar,
    work: impl FnOnce(&[Contender<'_>]) -> Result<T>,
) -> Result<T> {
    if let Some(folder) = &cases.features {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let told = RefCell::new(String::new());
    let mut progress = |what: &str, done: f64| {
        let line = format!("{what}: {:.0} %", 100.0 * done);
        if *told.borrow() != line {
            bar.set_message(line.clone());
            *told.borrow_mut() = line;
        }
    };
    let stages = TrainedStages::new(
        LearnOptions::default(),
        cases.features.clone(),
        &mut progress,
    );
    let contenders = learners
        .iter()
        .map(|learner| {
            Ok(match (learner, cases.reader(*learner)?) {
                (Learner::Trained, _) => Contender::Staged(&stages),
                (_, None) => Contender::Lexical,
                (_, Some(reader)) => Contender::Heads {
                    family: reader.family().to_owned(),
                    features: cases.features(&*reader, sets, bar)?,
                    reader: ReaderIdentity::of(&*reader),
                },
            })
        })
        .collect::<Result<Vec<_>>>()?;
    work(&contenders)
}

/// The cases of one file.
pub fn read_set(file: &Path) -> Result<Dataset> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let set = Dataset::from_jsonl(name, &text).with_context(|| file.display().to_string())?;
    if set.rows.is_empty() {
        bail!("{} has no cases", file.display());
    }
    Ok(set)
}
