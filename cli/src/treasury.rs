//! `plumbline treasury`: what inference earned, statements of it, and one's own shares.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use plumbline_agents::Client;
use serde_json::{Value, json};

use crate::access::{Desk, amount, block_on, text};

#[derive(Debug, Subcommand)]
pub enum TreasuryCommand {
    /// What was earned: today, and in each closed period
    Show(Desk),
    /// The statement of a closed period, as CSV
    Statement(Statement),
    /// Your shares of revenue, newest first
    Shares(Desk),
    /// Move a share to your balance, or all that wait
    Claim(Claim),
}

#[derive(Debug, Args)]
pub struct Statement {
    #[command(flatten)]
    desk: Desk,
    /// Number of the period, from `treasury show`
    period: u64,
    /// File to write; standard output by default
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Claim {
    #[command(flatten)]
    desk: Desk,
    /// Share id; all that are not claimed by default
    id: Option<String>,
}

impl TreasuryCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::Show(desk) => show(&desk).await,
                Self::Statement(statement) => statement.run().await,
                Self::Shares(desk) => shares(&desk).await,
                Self::Claim(claim) => claim.run().await,
            }
        })
    }
}

async fn show(desk: &Desk) -> Result<()> {
    let revenue = desk.access.client()?.document(&["treasury"]).await?;
    desk.print(&revenue, |revenue| {
        let mut lines = vec![format!(
            "{} credits earned today, {} set aside for requests under way",
            amount(revenue, "open_micro"),
            amount(revenue, "reserved_micro")
        )];
        let periods = revenue["periods"].as_array();
        lines.extend(periods.into_iter().flatten().map(|period| {
            format!(
                "{:>4}  {}  until {}  {} credits",
                period["version"],
                text(period, "period"),
                text(period, "until"),
                amount(period, "revenue_micro")
            )
        }));
        lines.join("\n")
    })
}

impl Statement {
    async fn run(self) -> Result<()> {
        let version = self.period.to_string();
        let client = self.desk.access.client()?;
        let csv = client.text(&["treasury", "statements", &version]).await?;
        if let Some(path) = &self.out {
            return std::fs::write(path, csv)
                .with_context(|| format!("cannot write {}", path.display()));
        }
        if self.desk.json {
            bail!("a statement is CSV; leave --json out");
        }
        print!("{csv}");
        Ok(())
    }
}

async fn all_shares(client: &Client) -> Result<Vec<Value>> {
    Ok(client
        .documents(&["treasury", "shares"], Vec::new())
        .await?)
}

async fn shares(desk: &Desk) -> Result<()> {
    let all = all_shares(&desk.access.client()?).await?;
    desk.print_all(&all, "nothing", line)
}

fn line(share: &Value) -> String {
    let claimed = match share["claimed_at"].as_str() {
        Some(at) => format!("claimed {at}"),
        None => "to claim".to_owned(),
    };
    format!(
        "{}  {}  {} credits  {claimed}",
        text(share, "id"),
        text(share, "period"),
        amount(share, "amount_micro")
    )
}

impl Claim {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let ids = match &self.id {
            Some(id) => vec![id.clone()],
            None => all_shares(&client)
                .await?
                .iter()
                .filter(|share| share["claimed_at"].is_null())
                .map(|share| text(share, "id").to_owned())
                .collect(),
        };
        let mut claimed = Vec::with_capacity(ids.len());
        for id in &ids {
            let path = ["treasury", "shares", id, "claim"];
            claimed.push(client.make(&path, &json!({})).await?);
        }
        self.desk.print_all(&claimed, "nothing to claim", line)
    }
}
