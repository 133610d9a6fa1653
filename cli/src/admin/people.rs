//! `plumbline admin people`, `reset-password`, `revoke`: for the day on which credentials are lost or stolen.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use plumbline_service::recovery;
use plumbline_store::{Store, StoreOptions};
use serde_json::json;

use crate::data_dir::DataDir;

/// The stopped service whose accounts are meant.
#[derive(Debug, Args)]
struct Stopped {
    /// The service's data folder; the service must be stopped
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
}

impl Stopped {
    fn open(&self) -> Result<Store> {
        let database = DataDir::open(&self.data_dir)?.database();
        anyhow::ensure!(
            database.exists(),
            "{} holds no service; name its folder with --data-dir",
            self.data_dir.display()
        );
        Store::open(&database, StoreOptions::default()).with_context(|| {
            format!(
                "cannot open {}; is the service stopped?",
                database.display()
            )
        })
    }
}

/// Lists accounts with their roles and what can be used to act as them.
#[derive(Debug, Args)]
pub struct People {
    #[command(flatten)]
    service: Stopped,
    /// Only accounts with this role
    #[arg(long)]
    role: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl People {
    pub fn run(self) -> Result<()> {
        let mut people = recovery::people(&self.service.open()?)?;
        if let Some(role) = &self.role {
            people.retain(|person| person.roles.contains(role));
        }
        if self.json {
            let rows: Vec<_> = people
                .iter()
                .map(|person| {
                    json!({"handle": person.handle, "roles": person.roles, "second_factor": person.second_factor,
                        "passkeys": person.passkeys, "tokens": person.tokens, "sessions": person.sessions})
                })
                .collect();
            println!("{}", serde_json::to_string(&rows)?);
            return Ok(());
        }
        for person in people {
            println!(
                "{}: {}; {} tokens, {} sessions, {} passkeys, {}",
                person.handle,
                person.roles.join(", "),
                person.tokens,
                person.sessions,
                person.passkeys,
                if person.second_factor {
                    "one-time codes"
                } else {
                    "password only"
                },
            );
        }
        Ok(())
    }
}

/// Gives an account a random password, prints it, and ends the account's sessions.
#[derive(Debug, Args)]
pub struct ResetPassword {
    #[command(flatten)]
    service: Stopped,
    /// The account's handle
    handle: String,
    /// Ask for no one-time codes any more: the authenticator and its recovery codes are lost
    #[arg(long)]
    second_factor: bool,
    /// Remove its passkeys: one of them is lost, or was added by whoever stole the account
    #[arg(long)]
    passkeys: bool,
}

impl ResetPassword {
    pub fn run(self) -> Result<()> {
        let store = self.service.open()?;
        let password =
            recovery::reset_password(&store, &self.handle, self.second_factor, self.passkeys)?;
        println!("{password}");
        eprintln!(
            "That is the password of {} now. Change it at /account/security.",
            self.handle
        );
        Ok(())
    }
}

/// Ends every session and API token of one account, or of all.
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    service: Stopped,
    /// The account's handle
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    handle: Option<String>,
    /// Everybody's
    #[arg(long)]
    all: bool,
}

impl Revoke {
    pub fn run(self) -> Result<()> {
        let ended = recovery::end_credentials(&self.service.open()?, self.handle.as_deref())?;
        println!(
            "{} tokens and {} sessions of {} accounts are over.",
            ended.tokens, ended.sessions, ended.accounts
        );
        Ok(())
    }
}
