//! `plumbline oracle`: trains the lexical judge, and reports how it does on
//! cases that it did not see.

mod robustness;
mod settled;
mod source;
mod versions;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use plumbline_oracle::{
    Dataset, EvaluateOptions, EvaluationRow, LexicalJudge, Protocol, TrainOptions, evaluate, train,
};

#[derive(Debug, Subcommand)]
pub enum Oracle {
    /// Fit the lexical judge to labelled cases and write its weights
    Train(Train),
    /// Measure the lexical judge on cases held out by group
    Evaluate(Evaluate),
    /// Measure how far attacks on exhibits move the judges of text
    Robustness(robustness::Robustness),
    /// Show what the built-in weights, or a weights file, are made of
    Weights(WeightsOf),
    /// List what the oracle learnt from settled markets, and make it again to check it
    Versions(versions::Versions),
    /// Put a version in force; for operators
    Adopt(versions::Adopt),
}

/// Each input is JSON lines of `{id, claim_type, prompt, response, label, group}`.
#[derive(Debug, Args)]
pub struct Train {
    /// Labelled cases, one file a set
    #[arg(long, required_unless_present = "from_settled", num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    settled: settled::FromSettled,
    /// Where the weights go
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

#[derive(Debug, Args)]
pub struct Evaluate {
    /// Labelled cases, one file a set
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// What is held out
    #[arg(long, value_enum, default_value_t = Held::InDomain)]
    protocol: Held,
    /// Seed of folds and draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a list of JSON objects
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct WeightsOf {
    /// A weights file; the built-in weights by default
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Held {
    /// Groups of the same set
    InDomain,
    /// The whole set
    LeaveOneOut,
    /// All of the set but 50, 200 or 1000 cases
    FewShot,
}

impl Oracle {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Train(command) => command.run(),
            Self::Evaluate(command) => command.run(),
            Self::Robustness(command) => command.run(),
            Self::Weights(command) => command.run(),
            Self::Versions(command) => command.run(),
            Self::Adopt(command) => command.run(),
        }
    }
}

impl Train {
    fn run(self) -> Result<()> {
        if self.settled.is_wanted() {
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
        let rows: Vec<_> = read(&self.data)?
            .into_iter()
            .flat_map(|set| set.rows)
            .collect();
        let spinner = spinner(&format!("fitting {} cases", rows.len()), self.json);
        let weights = train(&rows, &options)?;
        spinner.finish_and_clear();
        let bytes = weights.to_bytes();
        std::fs::write(&self.out, &bytes)
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        if self.json {
            let families: Vec<_> = weights
                .families()
                .into_iter()
                .map(|(name, cases)| serde_json::json!({"family": name, "cases": cases}))
                .collect();
            let answer = serde_json::json!({
                "file": self.out, "bytes": bytes.len(), "version": weights.version(), "cases": rows.len(), "families": families,
            });
            println!("{answer}");
        } else {
            println!(
                "{}: {} bytes, version {}, {} cases",
                self.out.display(),
                bytes.len(),
                weights.version(),
                rows.len()
            );
        }
        Ok(())
    }
}

impl Evaluate {
    fn run(self) -> Result<()> {
        let sets = read(&self.data)?;
        let protocol = match self.protocol {
            Held::InDomain => Protocol::InDomain,
            Held::LeaveOneOut => Protocol::LeaveOneOut,
            Held::FewShot => Protocol::FewShot,
        };
        if protocol != Protocol::InDomain && sets.len() < 2 {
            bail!("this protocol trains on the other sets: give at least two files with --data");
        }
        let options = EvaluateOptions {
            seed: self.seed,
            train: TrainOptions {
                seed: self.seed,
                ..TrainOptions::default()
            },
            ..EvaluateOptions::default()
        };
        let spinner = spinner(
            &format!("fitting and scoring {} sets", sets.len()),
            self.json,
        );
        let rows = evaluate(&sets, protocol, &options)?;
        spinner.finish_and_clear();
        if self.json {
            println!("{}", serde_json::to_string(&rows)?);
        } else {
            print_table(&rows);
        }
        Ok(())
    }
}

impl WeightsOf {
    fn run(self) -> Result<()> {
        let judge = match &self.file {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                LexicalJudge::from_bytes(&bytes)
                    .with_context(|| format!("weights file {}", path.display()))?
            }
            None => LexicalJudge::shipped().context("the built-in weights")?,
        };
        let weights = judge.weights();
        println!("version {}", weights.version());
        for (family, cases) in weights.families() {
            println!("  {family}: {cases} cases");
        }
        println!("\n{}", weights.attribution());
        Ok(())
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Dataset>> {
    files.iter().map(|file| read_set(file)).collect()
}

fn read_set(file: &Path) -> Result<Dataset> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    Dataset::from_jsonl(name, &text).with_context(|| file.display().to_string())
}

fn print_table(rows: &[EvaluationRow]) {
    println!(
        "{:26} {:13} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6}",
        "set",
        "protocol",
        "cases",
        "n",
        "auroc",
        "brier",
        "base",
        "logloss",
        "ece",
        "prompt",
        "length"
    );
    for row in rows {
        println!(
            "{:26} {:13} {:6} {:6} {:6.3} {:6.3} {:6.3} {:7.3} {:6.3} {:6.3} {:6.3}",
            row.set,
            row.protocol.to_string(),
            row.cases,
            row.n,
            row.auroc,
            row.brier,
            row.base_rate_brier,
            row.log_loss,
            row.ece,
            row.prompt_only_auroc,
            row.length_only_auroc
        );
    }
}

/// A sign of life on a terminal; silent for JSON and pipes.
fn spinner(message: &str, quiet: bool) -> indicatif::ProgressBar {
    if quiet {
        return indicatif::ProgressBar::hidden();
    }
    let spinner = indicatif::ProgressBar::new_spinner().with_message(message.to_owned());
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    spinner
}
