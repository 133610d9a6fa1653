//! `plumbline oracle train` and `plumbline oracle fit-pool`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use plumbline_oracle::{
    EvaluateOptions, Reader, ReaderIdentity, Row, TrainOptions, Weights, fit_reference, train,
    train_heads,
};
use plumbline_oracle_candle::{LearnOptions, TrainedReader, learn, left_to_heads};

use super::contest::{Cases, Learner, with_contenders};
use super::settled::FromSettled;
use crate::progress::spinner;

/// Weights are reproduced byte for byte by the same files in the same order, seed and models.
#[derive(Debug, Args)]
pub struct Train {
    #[command(flatten)]
    cases: Cases,
    #[command(flatten)]
    settled: FromSettled,
    /// Which judge
    #[arg(long, value_enum, default_value_t = Learner::Lexical)]
    judge: Learner,
    /// Where the weights go; the model of `trained` goes beside them, ending in .safetensors
    #[arg(long)]
    out: PathBuf,
    /// Text kept inside the weights: sets, authors, sources, licences
    #[arg(long)]
    attribution: Option<PathBuf>,
    /// Seed of folds and of the solver's order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What each judge says of cases that it had not seen decides how much it is worth beside the others.
#[derive(Debug, Args)]
pub struct FitPool {
    #[command(flatten)]
    cases: Cases,
    /// The judges, with commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "lexical,trained,encoder"
    )]
    judge: Vec<Learner>,
    /// Where the pools of families go, as JSON
    #[arg(long)]
    out: PathBuf,
}

impl Train {
    pub fn run(self) -> Result<()> {
        if self.settled.is_wanted() {
            ensure!(
                self.judge == Learner::Lexical,
                "--from-settled fits the lexical judge only"
            );
            return self.settled.run(&self.out, self.seed, self.json);
        }
        let attribution = match &self.attribution {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => String::new(),
        };
        let options = TrainOptions {
            seed: self.seed,
            attribution,
            ..TrainOptions::default()
        };
        let (weights, cases) = self.fit(&options)?;
        let bytes = weights.to_bytes();
        write(&self.out, &bytes)?;
        if self.json {
            let families: Vec<_> = weights
                .families()
                .into_iter()
                .map(|(name, cases)| serde_json::json!({"family": name, "cases": cases}))
                .collect();
            let answer = serde_json::json!({
                "file": self.out, "bytes": bytes.len(), "version": weights.version(), "cases": cases, "families": families,
            });
            println!("{answer}");
        } else {
            println!(
                "{}: {} bytes, version {}, {cases} cases",
                self.out.display(),
                bytes.len(),
                weights.version(),
            );
        }
        Ok(())
    }

    /// The weights, and how many cases they were fitted on.
    fn fit(&self, options: &TrainOptions) -> Result<(Weights, usize)> {
        let sets = self.cases.read()?;
        let total: usize = sets.iter().map(|set| set.rows.len()).sum();
        let bar = spinner(&format!("fitting {total} cases"), self.json);
        let weights = match (self.judge, self.cases.reader(self.judge)?) {
            (Learner::Trained, _) => self.teach(&rows(sets), options, &bar)?,
            (_, None) => train(&rows(sets), options)?,
            (_, Some(reader)) => {
                let read = self.cases.features(&*reader, &sets, &bar)?;
                let features: Vec<_> = read.into_iter().flatten().collect();
                train_heads(
                    &rows(sets),
                    &features,
                    &ReaderIdentity::of(&*reader),
                    options,
                )?
            }
        };
        bar.finish_and_clear();
        Ok((weights, total))
    }

    /// Teaches the model on four fifths of the groups and fits its heads on the last.
    fn teach(
        &self,
        rows: &[Row],
        options: &TrainOptions,
        bar: &indicatif::ProgressBar,
    ) -> Result<Weights> {
        let (heads, taught): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|r| left_to_heads(r));
        let learning = LearnOptions {
            seed: self.seed,
            ..LearnOptions::default()
        };
        let checkpoint = learn(&taught, &learning, &mut |done, loss| {
            bar.set_message(format!("teaching: {:.0} %, loss {loss:.3}", 100.0 * done));
        })?;
        write(
            &self.out.with_extension("safetensors"),
            &checkpoint.to_bytes()?,
        )?;
        let reader = TrainedReader::new(checkpoint)?;
        let passages: Vec<_> = heads.iter().map(|row| row.passage()).collect();
        let features = reader.read(&passages)?;
        let heads: Vec<Row> = heads.into_iter().cloned().collect();
        Ok(train_heads(
            &heads,
            &features,
            &ReaderIdentity::of(&reader),
            options,
        )?)
    }
}

impl FitPool {
    pub fn run(self) -> Result<()> {
        let sets = self.cases.read()?;
        let bar = spinner("fitting", false);
        let options = EvaluateOptions::default();
        let reference = with_contenders(&self.cases, &sets, &self.judge, &bar, |contenders| {
            Ok(fit_reference(&sets, contenders, &options)?)
        })?;
        bar.finish_and_clear();
        let mut json = serde_json::to_string_pretty(&reference)?;
        json.push('\n');
        write(&self.out, json.as_bytes())?;
        for (family, pool) in &reference.0 {
            println!("{family}: {} cases", pool.cases);
        }
        Ok(())
    }
}

fn rows(sets: Vec<plumbline_oracle::Dataset>) -> Vec<Row> {
    sets.into_iter().flat_map(|set| set.rows).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
