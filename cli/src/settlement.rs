//! `plumbline settlement`: how a market ends.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::access::{Desk, amount, block_on, micro, plain, text};

#[derive(Debug, Subcommand)]
pub enum SettlementCommand {
    /// The record: what stands, what happens next, proposals, challenges and rulings
    Show(Show),
    /// Propose the settlement of a panel market, with a bond
    Propose(Claim),
    /// Challenge the settlement that stands, with a doubled bond
    Challenge(Claim),
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    market: String,
}

#[derive(Debug, Args)]
pub struct Claim {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    market: String,
    /// The settlement, from 0 (the claim is false) to 1 (true)
    #[arg(long)]
    pi: f64,
    /// The most that may be held as a bond, in credits; exactly what is required is
    #[arg(long, value_parser = micro)]
    bond: i64,
    /// What speaks for it; a challenge needs one
    #[arg(long, default_value = "")]
    reason: String,
}

impl SettlementCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::Show(show) => show.run().await,
                Self::Propose(claim) => claim.run("settlement").await,
                Self::Challenge(claim) => claim.run("challenges").await,
            }
        })
    }
}

impl Show {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let record = client
            .document(&["markets", &self.market, "settlement"])
            .await?;
        self.desk.print(&record, page)
    }
}

impl Claim {
    async fn run(self, part: &str) -> Result<()> {
        let client = self.desk.access.client()?;
        let body = json!({"pi": self.pi, "bond_micro": self.bond, "reason": self.reason});
        let record = client.make(&["markets", &self.market, part], &body).await?;
        self.desk.print(&record, page)
    }
}

fn page(record: &Value) -> String {
    let mut lines = vec![format!(
        "{}: {} ({})",
        text(record, "status"),
        text(record, "stage"),
        text(record, "method")
    )];
    lines.extend(record["pi"].as_f64().map(|pi| format!("settled at {pi}")));
    let proposed = record["proposed_pi"].as_f64();
    lines.extend(proposed.map(|pi| format!("stands unless challenged: {pi}")));
    let deadline = record["deadline"].as_str();
    lines.extend(deadline.map(|by| format!("until {by}")));
    if record["next_bond_micro"].is_i64() {
        lines.push(format!(
            "a proposal or challenge now needs a bond of {} credits",
            amount(record, "next_bond_micro")
        ));
    }
    let entries = record["record"].as_array().into_iter().flatten();
    lines.extend(entries.map(entry));
    lines.join("\n")
}

fn entry(claim: &Value) -> String {
    let pi = claim["pi"]
        .as_f64()
        .map_or_else(String::new, |pi| format!(" {pi}"));
    let by = claim["account"]
        .as_str()
        .map_or_else(String::new, |who| format!(" by {}", plain(who)));
    let bond = match claim["bond_micro"].as_i64() {
        Some(bond) if bond > 0 => format!(", bond {} credits", amount(claim, "bond_micro")),
        _ => String::new(),
    };
    let reason = plain(text(claim, "reason"));
    let reason = if reason.is_empty() {
        reason
    } else {
        format!(": {reason}")
    };
    format!(
        "  {}  {} ({}){pi}{by}{bond}{reason}",
        text(claim, "at"),
        text(claim, "kind"),
        text(claim, "source")
    )
}
