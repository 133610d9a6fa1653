//! `plumbline market`: markets, from the command line.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::access::{Desk, amount, block_on, plain, price, text};

#[derive(Debug, Subcommand)]
pub enum MarketCommand {
    /// All markets, oldest first
    List(List),
    /// One market, with the rubric that says what will be found true
    Show(Show),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    desk: Desk,
    /// Only markets about the run with this id
    #[arg(long)]
    run: Option<String>,
    /// Only those in this status, as `open` or `paid`
    #[arg(long)]
    status: Option<String>,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    id: String,
}

impl MarketCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::List(list) => list.run().await,
                Self::Show(show) => show.run().await,
            }
        })
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let mut query = Vec::new();
        query.extend(self.run.map(|id| ("run_id", id)));
        query.extend(self.status.map(|status| ("status", status)));
        let client = self.desk.access.client()?;
        let markets = client.documents(&["markets"], query).await?;
        self.desk.print_all(&markets, "no market", line)
    }
}

impl Show {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let market = client.document(&["markets", &self.id]).await?;
        self.desk.print(&market, page)
    }
}

fn line(market: &Value) -> String {
    format!(
        "{}  {:<8}  {}  {}: {}",
        text(market, "id"),
        text(market, "status"),
        price(market, "probability"),
        plain(text(market, "run_name")),
        plain(text(market, "claim"))
    )
}

fn page(market: &Value) -> String {
    let mut lines = vec![
        line(market),
        format!("rubric: {}", plain(text(market, "rubric"))),
        format!(
            "credible between {} and {}, opened at {}; {} trades, {} submissions of evidence",
            price(&market["interval"], "low"),
            price(&market["interval"], "high"),
            price(market, "opening_probability"),
            market["trades"],
            market["evidence"]
        ),
        format!(
            "liquidity {} credits; pushing the price across one half costs {} credits in expectation",
            amount(market, "liquidity_micro"),
            amount(market, "manipulation_cost_micro")
        ),
        format!("closes {}", text(market, "closes_at")),
    ];
    let outcomes = market["outcomes"].as_array().into_iter().flatten();
    lines.extend(outcomes.map(|one| {
        let (name, price) = (plain(text(one, "name")), price(one, "probability"));
        format!("  {price}  {name}")
    }));
    let settlement = &market["settlement"];
    lines.push(match settlement["pi"].as_f64() {
        Some(pi) => format!("settled at {pi} ({})", text(settlement, "method")),
        None => format!("settles by: {}", text(settlement, "method")),
    });
    lines.join("\n")
}
