//! `plumbline completions` and `plumbline man`: what shells and `man` know of the commands, from the commands themselves.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Folder to write to; made if it is missing
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl Completions {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "plumbline", &mut script);
        // In one piece, and an error rather than a panic where the reader has gone.
        std::io::Write::write_all(&mut std::io::stdout().lock(), &script)?;
        Ok(())
    }
}

impl Man {
    pub fn run(self) -> Result<()> {
        std::fs::create_dir_all(&self.out)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.out))
            .with_context(|| format!("cannot write manual pages to {}", self.out.display()))?;
        println!("{}", self.out.display());
        Ok(())
    }
}
