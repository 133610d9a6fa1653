//! `plumbline admin`: what the operator does on the machine that the service runs on.

mod backup;
mod manifest;
mod restore;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Copy a service's data folder into a new folder; the service may be running
    Backup(backup::Backup),
    /// Check a backup and make a data folder of it
    Restore(restore::Restore),
}

impl Admin {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
        }
    }
}
