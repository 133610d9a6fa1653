//! `plumbline oracle`: trains the judges that learn, and reports how they and their pool do on cases that they did not
//! see.

mod contest;
mod evaluate;
mod robustness;
mod settled;
mod source;
mod train;
mod versions;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use plumbline_oracle::Weights;

use evaluate::Evaluate;
use train::{FitPool, Train};

/// The lexical judge's weights, as shipped.
const LEXICAL: &[u8] = include_bytes!("../../oracle/weights/lexical.bin");

#[derive(Debug, Subcommand)]
pub enum Oracle {
    /// Fit a judge to labelled cases and write its weights
    Train(Train),
    /// Fit the pool of judges to what they say of labelled cases that they had not seen
    FitPool(FitPool),
    /// Measure judges, or their pool, on cases held out by group
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

#[derive(Debug, Args)]
pub struct WeightsOf {
    /// A weights file; the built-in weights by default
    file: Option<PathBuf>,
}

impl Oracle {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Train(command) => command.run(),
            Self::FitPool(command) => command.run(),
            Self::Evaluate(command) => command.run(),
            Self::Robustness(command) => command.run(),
            Self::Weights(command) => command.run(),
            Self::Versions(command) => command.run(),
            Self::Adopt(command) => command.run(),
        }
    }
}

impl WeightsOf {
    fn run(self) -> Result<()> {
        let weights = match &self.file {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Weights::from_bytes(&bytes)
                    .with_context(|| format!("weights file {}", path.display()))?
            }
            None => Weights::from_bytes(LEXICAL).context("the built-in weights")?,
        };
        println!("version {}", weights.version());
        if let Some((name, version)) = weights.reader() {
            println!("heads on what {name} {version} reads");
        }
        for (family, cases) in weights.families() {
            println!("  {family}: {cases} cases");
        }
        println!("\n{}", weights.attribution());
        Ok(())
    }
}
