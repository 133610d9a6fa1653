//! `plumbline admin`: what the operator does on the machine that the service runs on.

mod backup;
mod manifest;
mod people;
mod restore;

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Copy a service's data folder into a new folder; the service may be running
    Backup(backup::Backup),
    /// Check a backup and make a data folder of it
    Restore(restore::Restore),
    /// List accounts with their roles, tokens and sessions; the service must be stopped
    People(people::People),
    /// Give an account a new password, when it is lost or stolen; the service must be stopped
    ResetPassword(people::ResetPassword),
    /// End every session and API token of an account, or of all; the service must be stopped
    Revoke(people::Revoke),
}

impl Admin {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::People(command) => command.run(),
            Self::ResetPassword(command) => command.run(),
            Self::Revoke(command) => command.run(),
        }
    }
}
