//! `plumbline panel`: jury duty from the command line, over the public API only.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use plumbline_agents::client::{Opening, Panel};

use crate::access::{Access, block_on};
use crate::keep;

#[derive(Debug, Subcommand)]
pub enum PanelCommand {
    /// Your seats, newest first
    List(Access),
    /// One panel with its case, as JSON
    Show(Show),
    /// Commit a vote; the opening is written to a file first
    Commit(Commit),
    /// Reveal a committed vote from its file
    Reveal(Reveal),
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    access: Access,
    /// Panel id
    id: String,
}

#[derive(Debug, Args)]
pub struct Commit {
    #[command(flatten)]
    access: Access,
    /// Panel id
    id: String,
    /// The vote, basis points, 0 to 10000
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=10_000), required_unless_present = "cannot_tell")]
    vote_bps: Option<u16>,
    /// The case does not say
    #[arg(long, conflicts_with = "vote_bps")]
    cannot_tell: bool,
    /// Why; published with the ruling
    #[arg(long, default_value = "")]
    justification: String,
    /// Where the opening goes; `panel-ID.json` unless given
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Reveal {
    #[command(flatten)]
    access: Access,
    /// Panel id
    id: String,
    /// The file that the opening was kept in; `panel-ID.json` unless given
    #[arg(long)]
    kept: Option<PathBuf>,
}

impl PanelCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(access) => list(&access).await,
                Self::Show(show) => show.run().await,
                Self::Commit(commit) => commit.run().await,
                Self::Reveal(reveal) => reveal.run().await,
            }
        })
    }
}

async fn list(access: &Access) -> Result<()> {
    let panels = access.client()?.own_panels().await?;
    if panels.is_empty() {
        println!("no seat");
    }
    for panel in panels {
        println!("{}", line(&panel));
    }
    Ok(())
}

fn line(panel: &Panel) -> String {
    let seat = panel.seat.as_ref();
    let state = seat.map_or("", |seat| seat.verdict.as_deref().unwrap_or(&seat.state));
    let due = match panel.status.as_str() {
        "committing" => format!("  commit by {}", panel.commit_by),
        "revealing" => format!("  reveal by {}", panel.reveal_by),
        _ => panel
            .pi
            .map_or_else(String::new, |pi| format!("  ruled {pi}")),
    };
    format!("{}  {:<10}  {state}{due}", panel.id, panel.status)
}

impl Show {
    async fn run(self) -> Result<()> {
        let panel = self.access.client()?.panel(&self.id).await?;
        println!("{}", line(&panel));
        if let Some(case) = panel.case {
            println!("{}", serde_json::to_string_pretty(&case)?);
        }
        Ok(())
    }
}

impl Commit {
    async fn run(self) -> Result<()> {
        let client = self.access.client()?;
        let Some(seat) = client.panel(&self.id).await?.seat else {
            bail!("you have no seat on this panel");
        };
        let opening = Opening::new(self.vote_bps, self.justification);
        let commitment = opening
            .commitment(&self.id, &seat.account_id)
            .context("the vote cannot be hashed")?;
        // Kept first: a commitment whose opening is lost costs part of the deposit.
        let path = self.keep.unwrap_or_else(|| kept_in(&self.id));
        keep::write(&path, &opening)?;
        client.commit_vote(&self.id, &commitment).await?;
        println!("committed {commitment}");
        println!(
            "the opening is in {}; show it to nobody before you reveal it",
            path.display()
        );
        Ok(())
    }
}

impl Reveal {
    async fn run(self) -> Result<()> {
        let path = self.kept.unwrap_or_else(|| kept_in(&self.id));
        let opening: Opening = keep::read(&path)?;
        self.access
            .client()?
            .reveal_vote(&self.id, &opening)
            .await?;
        println!("revealed");
        Ok(())
    }
}

fn kept_in(id: &str) -> PathBuf {
    keep::file_for("panel", id)
}
